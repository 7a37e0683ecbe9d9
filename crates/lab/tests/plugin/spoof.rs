//! A routed pod cannot speak with an address that is not its own.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use lab::{Lab, Place, Pod, wire};

use super::{Kind, Rig, SOON, addresses, said};

const PORT: u16 = 9;

/// Packets that the rule has dropped.
fn dropped(place: &Place) -> Result<u64> {
    let table = said(place, "nft list table inet podwire")?;
    let rule = table
        .lines()
        .find(|line| line.contains("oif missing"))
        .context("the rule")?;
    let count = rule
        .split_whitespace()
        .skip_while(|word| *word != "packets")
        .nth(1);
    Ok(count.context("a counter")?.parse()?)
}

fn send(from: &Pod, source: IpAddr, to: SocketAddr, text: &str) -> Result<()> {
    let socket =
        from.attempt(|| UdpSocket::bind((source, 0)).with_context(|| format!("bind {source}")))?;
    socket.send_to(text.as_bytes(), to)?;
    Ok(())
}

#[test]
fn a_pod_that_takes_anothers_address_is_not_heard() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let (liar, own) = rig.pod("liar")?;
        let (victim, others) = rig.pod("victim")?;
        let gateways = ["10.244.0.1", "fd00:10:244::1"];
        let foreign = ["192.0.2.7", "2001:db8::7"];
        let families = addresses(&own)
            .into_iter()
            .zip(addresses(&others))
            .zip(gateways)
            .zip(foreign);
        for (((own, other), gateway), foreign) in families {
            let (own, other, gateway): (IpAddr, IpAddr, IpAddr) =
                (own.parse()?, other.parse()?, gateway.parse()?);
            let foreign: IpAddr = foreign.parse()?;
            let target = SocketAddr::new(gateway, PORT);
            let receiver = rig.node.attempt(|| Ok(UdpSocket::bind(target)?))?;
            receiver.set_read_timeout(Some(SOON))?;
            let before = dropped(&rig.node)?;
            for stolen in [other, foreign] {
                liar.attempt(|| wire::add_address("lo", stolen.into()))?;
                send(&liar, stolen, target, "a lie")?;
            }
            send(&liar, own, target, "the truth")?;
            send(&victim, other, target, "the truth")?;
            let mut text = [0; 32];
            for sender in [own, other] {
                let (length, from) = receiver.recv_from(&mut text)?;
                ensure!(
                    &text[..length] == b"the truth" && from.ip() == sender,
                    "{from} was heard"
                );
            }
            ensure!(
                dropped(&rig.node)? == before + 2,
                "{} packets dropped",
                dropped(&rig.node)? - before
            );
        }
        Ok(())
    })
}
