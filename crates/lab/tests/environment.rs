//! What a node and a process in it are, and that nothing of them stays.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Lab, wire};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_node_has_its_own_run_and_etc_cni() -> Result<()> {
    Lab::scenario(|lab| {
        let (one, two) = (lab.node("one").start()?, lab.node("two").start()?);
        let files = [
            "/run/mine",
            "/etc/cni/net.d/10-mine.conf",
            "/etc/lab-mine",
            "/var/log/mine.log",
            "/var/lib/cni/mine",
            "/var/lib/lab-mine",
        ];
        one.run(|| files.map(|file| fs::write(file, "one").expect(file)));
        for file in files {
            ensure!(one.run(|| fs::exists(file))?, "{file} is not in its node");
            ensure!(
                !two.run(|| fs::exists(file))?,
                "{file} is in the other node"
            );
            ensure!(!fs::exists(file)?, "{file} is in the machine");
        }
        // Programs of the machine still find their files.
        one.command("cat")
            .arg("/etc/passwd")
            .output_within(SOON)?
            .ok()?;
        Ok(())
    })
}

#[test]
fn work_goes_to_a_namespace_that_somebody_else_made() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let other = Lab::new()?;
        let door = node.run(|| fs::File::open("/proc/thread-self/ns/net"))?;
        let inode = door.metadata()?.ino();
        let guest = other.guest("one's network", door);
        let own = || -> Result<u64> { Ok(fs::metadata("/proc/thread-self/ns/net")?.ino()) };
        assert_eq!(guest.attempt(own)?, inode);
        other.close();
        assert!(guest.attempt(own).is_err(), "its laboratory has ended");
        assert_eq!(node.attempt(own)?, inode, "the node lives on");
        Ok(())
    })
}

#[test]
fn a_node_and_a_pod_are_seen_by_programs_as_by_code() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = node.pod("a")?;
        let inode = |path: &str| -> Result<u64> { Ok(fs::metadata(path)?.ino()) };
        let mounted = node.run(|| inode(pod.path()))?;
        assert_eq!(mounted, pod.run(|| inode("/proc/thread-self/ns/net"))?);
        let stat = |place: &lab::Place| {
            let command = place
                .command("stat")
                .args(["-L", "-c", "%i", "/proc/self/ns/net"]);
            command.output_within(SOON)?.ok()
        };
        assert_eq!(stat(&pod)?.stdout.trim(), mounted.to_string());
        assert_ne!(stat(&node)?.stdout, stat(&pod)?.stdout);
        let again = node
            .pod("a")
            .expect_err("two pods of one name")
            .root_cause()
            .to_string();
        assert!(again.contains("exists"), "{again}");

        pod.destroy()?;
        assert!(!node.run(|| fs::exists(pod.path()))?);
        let gone = pod.attempt(|| Ok(())).expect_err("the pod is gone");
        let gone = format!("{gone:#}");
        assert!(gone.contains("one/a is gone"), "{gone}");
        Ok(())
    })
}

#[test]
fn a_panic_inside_comes_out_as_it_was() {
    let lab = Lab::new().expect("a laboratory");
    let node = lab.node("one").start().expect("a node");
    let number = std::process::id();
    let panic = std::panic::catch_unwind(|| node.run(|| panic!("number {number}")));
    let words = panic.expect_err("a panic").downcast::<String>();
    assert_eq!(*words.expect("its words"), format!("number {number}"));
}

#[test]
fn a_killed_process_is_reported() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let process = node
            .command("sh")
            .args([
                "-c",
                "echo ready; echo oh >&2; exec cat /dev/zero >/dev/null",
            ])
            .spawn()?;
        process.wait_for_line("ready", SOON)?;
        process.wait_for_line("oh", SOON)?;
        assert!(process.is_running());
        let early = process
            .wait_within(Duration::ZERO)
            .expect_err("it runs")
            .to_string();
        assert!(early.contains("has not ended in time"), "{early}");

        process.kill(Signal::KILL)?;
        assert_eq!(process.wait_within(SOON)?.signal(), Some(9));
        let explained = lab.explain();
        assert!(explained.contains("ended by signal 9"), "{explained}");
        assert!(explained.contains("stdout: ready"), "{explained}");
        assert!(explained.contains("stderr: oh"), "{explained}");
        Ok(())
    })
}

#[test]
fn a_process_is_fed_and_heard() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let input = "x".repeat(1 << 20);
        let output = node
            .command("cat")
            .stdin(&*input)
            .output_within(SOON)?
            .ok()?;
        assert!(output.stdout == input);
        let failed = node.command("sh").args(["-c", "echo no >&2; exit 3"]);
        let failed = failed.output_within(SOON)?;
        assert_eq!((failed.status.code(), &*failed.stderr), (Some(3), "no\n"));
        assert!(
            failed
                .ok()
                .expect_err("exit code 3")
                .to_string()
                .contains("no")
        );

        let lines = node
            .command("sh")
            .args(["-c", "echo a; read x; echo a again"])
            .stdin("go\n");
        let lines = lines.spawn()?;
        lines.wait_for_line("a again", SOON)?;
        let missing = lines
            .wait_for_line("never", SOON)
            .expect_err("it has ended")
            .to_string();
        assert!(missing.contains("stdout: a again"), "{missing}");

        let slow = node
            .command("cat")
            .arg("/dev/zero")
            .output_within(Duration::from_millis(50));
        assert!(
            slow.expect_err("a deadline")
                .to_string()
                .contains("not ended in time")
        );
        let absent = node
            .command("/no/such/program")
            .spawn()
            .expect_err("no program");
        assert!(
            format!("{absent:#}").contains("/no/such/program"),
            "{absent:#}"
        );
        Ok(())
    })
}

#[test]
fn dropping_the_lab_leaves_no_process_and_no_namespace() -> Result<()> {
    // A cable from each namespace into another laboratory vanishes when the namespace ends.
    let witness = Lab::new()?;
    let switch = witness.segment("witness")?;

    let lab = Lab::new()?;
    let lan = lab.segment("lan")?;
    let node = lab.node("one").uplink(&lan, &["10.128.0.2/24"]).start()?;
    let pod = node.pod("a")?;
    let in_node = node.command("cat").arg("/dev/zero").spawn()?;
    let in_pod = pod.command("cat").arg("/dev/zero").spawn()?;
    let ports: Vec<String> = [&*lan, &*node, &*pod]
        .into_iter()
        .map(|place| {
            let network = place.run(|| fs::File::open("/proc/thread-self/ns/net"))?;
            switch.plug(network.as_fd(), "witness", wire::mac_of(place.name()))
        })
        .collect::<Result<_>>()?;
    ensure!(switch.run(|| ports.iter().all(|port| wire::exists(port))));

    let started = Instant::now();
    drop(lab);
    ensure!(
        started.elapsed() < SOON,
        "ending took {:?}",
        started.elapsed()
    );
    for process in [in_node, in_pod] {
        ensure!(!process.is_running());
        let path = format!("/proc/{}", process.pid());
        ensure!(!fs::exists(&path)?, "{path} is still there");
    }
    for port in &ports {
        switch.attempt(|| wire::wait_until_gone(port, SOON))?;
    }
    ensure!(lan.attempt(|| Ok(())).is_err() && node.enter_line().is_none());
    Ok(())
}
