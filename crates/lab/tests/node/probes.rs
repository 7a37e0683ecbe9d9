//! What podwired answers by HTTP: whether it is alive, whether pods can come, and how much of everything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::walk::{Agent, Mode, Site};
use lab::{Lab, Place, programs};

use super::{SOON, Scene, findings, said};

const ADDRESS: &str = "127.0.0.1:10112";
const REPAIRS: &str = "podwire_repairs_total";
/// Budget of the agent's memory.
const MEMORY: f64 = 20_000_000.0;

/// Status and body of a GET from inside.
fn get(place: &Place, path: &str) -> Result<(u16, String)> {
    place.attempt(|| {
        let mut stream = connect(SOON)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\n\r\n")?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("read the answer")?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("no end of the head")?;
        let status = head.split(' ').nth(1).context("no status")?;
        Ok((status.parse()?, body.to_owned()))
    })
}

fn connect(within: Duration) -> Result<TcpStream> {
    connect_to(ADDRESS, within)
}

fn connect_to(address: &str, within: Duration) -> Result<TcpStream> {
    let address: SocketAddr = address.parse()?;
    let stream = TcpStream::connect_timeout(&address, within).context("connect")?;
    stream.set_read_timeout(Some(within))?;
    Ok(stream)
}

/// A number of `/metrics`; the name with its labels.
fn number(place: &Place, name: &str) -> Result<f64> {
    let (status, text) = get(place, "/metrics")?;
    ensure!(status == 200, "{status} {text}");
    let start = format!("{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    let word = line.with_context(|| format!("no {name} in\n{text}"))?;
    Ok(word.parse()?)
}

#[test]
fn probes_and_metrics_tell_how_the_agent_and_the_node_are_and_only_to_the_node() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let node = scene.master();
        ensure!(get(node, "/livez")? == (200, "ok\n".into()));
        ensure!(get(node, "/readyz")? == (200, "ok\n".into()));
        ensure!(get(node, "/")?.0 == 404);
        for (name, expected) in [
            ("podwire_ready", 1.0),
            ("podwire_nodes", 2.0),
            ("podwire_ways{path=\"direct\"}", 2.0),
            ("podwire_findings{about=\"node\"}", 0.0),
            ("podwire_attachments{network=\"podwire\"}", 2.0),
            (
                "podwire_addresses_used{network=\"podwire\",range=\"10.244.0.0/24\"}",
                2.0,
            ),
            (
                "podwire_addresses{network=\"podwire\",range=\"10.244.0.0/24\"}",
                253.0,
            ),
            ("podwire_changes_total{kind=\"write_conflist\"}", 1.0),
            (REPAIRS, 0.0),
        ] {
            let told = number(node, name)?;
            ensure!((told - expected).abs() < 0.5, "{name} is {told}");
        }
        let memory = number(node, "process_resident_memory_bytes")?;
        ensure!(memory > 1e6 && memory < MEMORY, "{memory} bytes");
        let from_outside = scene.site.worker().attempt(|| {
            let address: SocketAddr = "10.128.0.2:10112".parse()?;
            Ok(TcpStream::connect_timeout(&address, SOON).map(drop))
        })?;
        ensure!(
            from_outside.is_err(),
            "another machine reaches the listener"
        );
        Ok(())
    })
}

#[test]
fn a_repair_is_counted_and_so_is_what_it_changed() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let (node, agent) = (scene.master(), &scene.agents[0]);
        let kind = "podwire_changes_total{kind=\"put_table\"}";
        let (before, repairs) = (number(node, kind)?, number(node, REPAIRS)?);
        let known = agent.status(SOON, "a report", |status| status["table"].is_string())?;
        said(node, "nft delete table inet podwire")?;
        agent.status(SOON, "the ruleset as it is now", |status| {
            status["table"].is_string() && status["generation"] != known["generation"]
        })?;
        ensure!(
            number(node, REPAIRS)? > repairs + 0.5,
            "no repair is counted"
        );
        let after = number(node, kind)?;
        ensure!((after - before - 1.0).abs() < 0.1, "{before} then {after}");
        Ok(())
    })
}

#[test]
fn an_agent_that_cannot_put_its_node_in_order_is_alive_and_not_ready_and_says_why() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        // The conflist cannot be put in the place of a folder.
        said(node, "mkdir -p /etc/cni/net.d/10-podwire.conflist/x")?;
        let agent = Agent::start(node, &programs()?)?;
        agent.status(SOON, "that the conflist cannot be written", |status| {
            findings(status).contains("10-podwire.conflist")
        })?;
        ensure!(get(node, "/livez")?.0 == 200);
        let (status, why) = get(node, "/readyz")?;
        ensure!(
            status == 503 && why.contains("not been in order yet"),
            "{status} {why}"
        );
        ensure!(number(node, "podwire_ready")? < 0.5);
        ensure!(number(node, "podwire_rounds_total{outcome=\"failed\"}")? > 0.5);
        said(node, "rm -r /etc/cni/net.d/10-podwire.conflist")?;
        agent.status(SOON, "that nothing is wrong", |status| {
            findings(status).is_empty()
        })?;
        // Whoever waits for the node is told before the report is written.
        ensure!(get(node, "/readyz")?.0 == 200);
        Ok(())
    })
}

#[test]
fn a_taken_address_is_named_stops_nothing_and_is_taken_once_it_is_free() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        let other = node.attempt(|| TcpListener::bind(ADDRESS).context("take the address"))?;
        let agent = Agent::start(node, &programs()?)?;
        agent.ready(SOON)?;
        agent.status(SOON, "the taken address", |status| {
            let told = findings(status);
            told.contains("no probes and no metrics on 127.0.0.1:10112: Address in use")
                && told.contains("--listen")
        })?;
        drop(other);
        agent
            .process
            .wait_for_line("probes and metrics: http://127.0.0.1:10112", SOON)?;
        ensure!(get(node, "/readyz")?.0 == 200);
        // The report is written anew with the next round.
        said(node, "ip link add dummy0 type veth")?;
        agent.status(SOON, "that nothing is wrong any more", |status| {
            findings(status).is_empty()
        })?;
        Ok(())
    })
}

#[test]
fn an_agent_that_is_told_so_listens_nowhere() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let agent = Agent::start_with(site.master(), &programs()?, &["--listen", "none"])?;
        agent.ready(SOON)?;
        let listening = said(site.master(), "ss -Hltun")?;
        ensure!(!listening.contains("10112"), "{listening}");
        Ok(())
    })
}

#[test]
fn whoever_holds_all_connections_and_says_nothing_is_cut_off() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        let agent = Agent::start(node, &programs()?)?;
        agent.ready(SOON)?;
        let silent: Vec<TcpStream> =
            node.attempt(|| (0..16).map(|_| connect(SOON)).collect::<Result<_>>())?;
        let asked = Instant::now();
        // Behind as many as are served at a time, each for 5 s.
        let within = Duration::from_secs(20);
        let status = node.attempt(|| {
            let mut stream = connect(within)?;
            write!(stream, "GET /livez HTTP/1.1\r\nHost: node\r\n\r\n")?;
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .context("read the answer")?;
            Ok(answer.contains("200 OK"))
        })?;
        if !status {
            bail!("no answer after {:?}", asked.elapsed());
        }
        ensure!(number(node, "podwire_http_cut_off_total")? > 0.5);
        drop(silent);
        Ok(())
    })
}

#[test]
fn whoever_holds_connections_from_another_machine_does_not_shut_the_nodes_probes_out() -> Result<()>
{
    /// As many as are served at a time, and of them as many as come from elsewhere.
    const ALL: usize = 16;
    const STRANGERS: usize = 12;
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        let open = ["--listen", "0.0.0.0:10112"];
        let agent = Agent::start_with(node, &programs()?, &open)?;
        agent.ready(SOON)?;
        let silent: Vec<TcpStream> = site.worker().attempt(|| {
            let connect = |_| connect_to("10.128.0.2:10112", SOON);
            (0..ALL).map(connect).collect()
        })?;
        // Also where the kubelet asks at the node's own address.
        for address in [ADDRESS, "10.128.0.2:10112"] {
            let answer = node.attempt(|| {
                let mut stream = connect_to(address, SOON)?;
                write!(stream, "GET /livez HTTP/1.1\r\nHost: node\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).context("the answer")?;
                Ok(answer)
            })?;
            ensure!(answer.contains("200 OK"), "{answer}");
        }
        let cut_off = number(node, "podwire_http_cut_off_total")?;
        ensure!(cut_off < 0.5, "the probes waited for {cut_off} of them");
        for mut refused in &silent[STRANGERS..] {
            ensure!(refused.read(&mut [0])? == 0, "it says something");
        }
        Ok(())
    })
}
