//! A host port has one owner: nobody takes it from him, and he takes nothing else along when he goes.

use anyhow::{Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Pod, probe, programs};
use serde_json::{Value, json};

use super::{Kind, SOON, Side, said};

fn alone(lab: &Lab, kind: Kind) -> Result<Side> {
    Side::alone(lab.node("one").start()?, kind, 0)
}

#[test]
fn the_second_pod_that_wants_a_port_is_refused_and_told_who_has_it() -> Result<()> {
    for kind in [Kind::Bridge, Kind::Routed] {
        Lab::scenario(|lab| {
            let side = alone(lab, kind)?;
            let first = side.pod("first", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
            let _listener = probe::listen(&first.pod, 80)?;
            let before = side.elements()?;
            let second = side.node.pod("second")?;
            let wants = json!([{"hostPort": 81, "containerPort": 81}, {"hostPort": 8080, "containerPort": 81}]);
            let answer = side.with(&wants).add(&second)?;
            ensure!(answer.error_code() == Some(103), "{answer:?}");
            let msg = answer.json["msg"].as_str().unwrap_or_default();
            ensure!(
                msg.contains("host port 8080/tcp") && msg.contains("default/first"),
                "{msg}"
            );
            ensure!(
                side.elements()? == before,
                "{before}became\n{}",
                side.elements()?
            );
            probe::tcp(&side.node, "127.0.0.1:8080".parse()?, SOON)?;
            // Nothing of it is left, and without that port it starts.
            let network = side.conf["name"].as_str().unwrap_or_default();
            let records = said(
                &side.node,
                &format!("ls /run/podwire/{network}/attachments"),
            )?;
            ensure!(!records.contains("second"), "{records}");
            side.with(&json!([{"hostPort": 81, "containerPort": 81}]))
                .add(&second)?
                .ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn of_many_pods_that_want_one_port_at_once_one_gets_it() -> Result<()> {
    Lab::scenario(|lab| {
        let side =
            alone(lab, Kind::Routed)?.with(&json!([{"hostPort": 8080, "containerPort": 80}]));
        let pods: Vec<Pod> = (0..24)
            .map(|i| side.node.pod(&format!("p{i}")))
            .collect::<Result<_>>()?;
        let answers = at_once(&pods, |pod| side.add(pod))?;
        let winners: Vec<_> = answers
            .iter()
            .filter(|answer| answer.code == Some(0))
            .collect();
        ensure!(winners.len() == 1, "{} have it", winners.len());
        for answer in answers.iter().filter(|answer| answer.code != Some(0)) {
            ensure!(answer.error_code() == Some(103), "{answer:?}");
        }
        let address = winners[0].addresses()[0]
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let elements = side.elements()?;
        ensure!(
            elements.lines().count() == 4 && elements.contains(&address),
            "{elements}"
        );
        at_once(&pods, |pod| side.del(pod))?;
        ensure!(side.elements()?.is_empty(), "{}", side.elements()?);
        Ok(())
    })
}

/// Runs the work for all of them at the same time.
fn at_once<T: Send>(pods: &[Pod], work: impl Fn(&Pod) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = pods
            .iter()
            .map(|pod| scope.spawn(move || work(pod)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|outcome| outcome.map_err(|_| anyhow::anyhow!("a call panicked"))?)
            .collect()
    })
}

#[test]
fn a_del_removes_exactly_its_own() -> Result<()> {
    for kind in [Kind::Bridge, Kind::Routed] {
        Lab::scenario(|lab| {
            let side = alone(lab, kind)?;
            let ports = |from: u16| -> Value {
                json!([{"hostPort": from, "containerPort": 80}, {"hostPort": from, "containerPort": 53, "protocol": "udp"},
                    {"hostPort": from, "containerPort": 7, "protocol": "SCTP", "hostIP": "10.128.0.2"}])
            };
            let first = side.pod("first", &ports(8000))?;
            let first_alone = side.elements()?;
            let second = side.pod("second", &ports(9000))?;
            side.del(&second.pod)?;
            ensure!(side.elements()? == first_alone);
            // A DEL that comes twice, and one of somebody who never was.
            side.del(&second.pod)?;
            side.del(&side.node.pod("never")?)?;
            ensure!(side.elements()? == first_alone);
            // What another one has by now in the places of the record is his.
            let (theirs, ours) = ("them/x/eth0", "one-first");
            ensure!(first_alone.contains(ours), "{first_alone}");
            super::nft(
                &side.node,
                &format!(
                    "delete element inet podwire ports4 {{ tcp . 8000 }}
                     add element inet podwire ports4 {{ tcp . 8000 comment \"{theirs}\" : 10.9.9.9 . 80 }}"
                ),
            )?;
            side.del(&first.pod)?;
            let left = side.elements()?;
            ensure!(left.lines().count() == 1 && left.contains(theirs), "{left}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_same_add_again_gets_the_same_answer_and_with_other_ports_it_gets_those() -> Result<()> {
    Lab::scenario(|lab| {
        let side = alone(lab, Kind::Routed)?;
        let ports = json!([{"hostPort": 8080, "containerPort": 80}]);
        let first = side.pod("first", &ports)?;
        let elements = side.elements()?;
        let again = side.with(&ports).add(&first.pod)?.ok()?;
        ensure!(again == first.result && side.elements()? == elements);
        let other = json!([{"hostPort": 8081, "containerPort": 80}]);
        side.with(&other).add(&first.pod)?.ok()?;
        let elements = side.elements()?;
        ensure!(
            elements.contains("tcp . 8081") && !elements.contains("8080"),
            "{elements}"
        );
        side.with(&json!([])).add(&first.pod)?.ok()?;
        ensure!(side.elements()?.is_empty(), "{}", side.elements()?);
        Ok(())
    })
}

#[test]
fn check_compares_the_ports_and_gc_takes_them() -> Result<()> {
    Lab::scenario(|lab| {
        let side = alone(lab, Kind::Routed)?;
        let first = side.pod("first", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
        side.check(&first)?.ok()?;
        said(&side.node, "nft flush map inet podwire ports6")?;
        let answer = side.check(&first)?;
        ensure!(answer.error_code() == Some(101), "{answer:?}");
        let msg = answer.json["msg"].as_str().unwrap_or_default();
        ensure!(msg.contains("ports6 lacks tcp . 8080"), "{msg}");
        let mut conf = side.conf.clone();
        conf["cni.dev/valid-attachments"] = json!([]);
        side.plugin.call_network(&side.node, "GC", &conf)?.ok()?;
        ensure!(side.elements()?.is_empty(), "{}", side.elements()?);
        Ok(())
    })
}

#[test]
fn status_shows_who_has_which_port() -> Result<()> {
    Lab::scenario(|lab| {
        let side = alone(lab, Kind::Routed)?;
        side.pod("first", &json!([{"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "10.128.0.2"}]))?;
        let status = side
            .node
            .command(programs()?.tool)
            .args(["status", "--json"]);
        let status: Value = serde_json::from_str(&status.output_within(SOON)?.ok()?.stdout)?;
        let ports = &status["networks"][0]["attachments"][0]["ports"];
        let wanted = json!([{"host_port": 53, "container_port": 5353, "protocol": "udp", "host_ip": "10.128.0.2"}]);
        ensure!(*ports == wanted, "{ports}");
        Ok(())
    })
}

#[test]
fn without_host_ports_no_system_call_is_made_for_them() -> Result<()> {
    Lab::scenario(|lab| {
        let side = alone(lab, Kind::Routed)?;
        // The first ADD puts the node in order; what a later one does is the usual case.
        side.pod("first", &json!([]))?;
        let mut counts = Vec::new();
        for (name, conf) in [("plain", side.clone()), ("empty", side.with(&json!([])))] {
            let pod = side.node.pod(name)?;
            let mut command = side
                .node
                .command("strace")
                .args(["-f", "-qq", "-o", "/run/trace"])
                .arg(programs()?.plugins.join("podwire"))
                .env("CNI_COMMAND", "ADD");
            for (variable, value) in Attachment::of(&pod).environment() {
                command = command.env(variable, value);
            }
            command
                .stdin(conf.conf.to_string())
                .output_within(SOON)?
                .ok()?;
            let trace = side
                .node
                .attempt(|| Ok(std::fs::read_to_string("/run/trace")?))?;
            ensure!(!trace.contains("route_localnet"), "{trace}");
            counts.push(trace.lines().filter(|line| line.contains("sendto")).count());
        }
        ensure!(counts[0] == counts[1], "{counts:?}");
        Ok(())
    })
}
