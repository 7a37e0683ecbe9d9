//! Routers that a node hears: it goes on hearing them when it forwards.

use anyhow::{Result, ensure};
use lab::walk::{Agent, Site};
use lab::{Lab, Place, programs, watch, wire};

use super::{SOON, said};
use crate::plugin::advertisement::{LIAR, accept_ra, default_route, lie};

/// Another link than that between the nodes: there the node has its way out.
#[test]
fn a_default_route_by_advertisement_outlives_that_ipv6_is_forwarded() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        let router = node.pod("router")?;
        for words in [
            "ip link add way0 type veth peer name eth0 netns router",
            "ip link add deaf0 type veth peer name deaf1",
        ] {
            said(node, words)?;
        }
        for link in ["way0", "deaf0"] {
            let file = format!("ipv6/conf/{link}/accept_ra");
            node.attempt(|| wire::set_parameter(&file, "1"))?;
            said(node, &format!("ip link set {link} up"))?;
        }
        said(&router, "ip link set eth0 up")?;
        // The kernel sees a cable some time after it is there; until then a link hears and sends nothing of all nodes.
        let ends: [(&Place, &str); 2] = [(node, "way0"), (&router, "eth0")];
        for (place, link) in ends {
            let route = format!("ff00::/8 dev {link} ");
            watch::until(place, &route, &[], SOON, || {
                let routes = said(place, "ip -6 route show table local")?;
                Ok(routes.contains(&route).then_some(()))
            })?;
        }
        lie(&router, &[node])?;
        let expected = format!("default via {LIAR} dev way0 proto ra");
        let is_there = || Ok(default_route(node)?.contains(&expected).then_some(()));
        watch::until(node, "the router is heard", &[], SOON, is_there)?;

        let agent = Agent::start(node, &programs()?)?;
        agent.ready(SOON)?;
        let forwards = said(node, "cat /proc/sys/net/ipv6/conf/all/forwarding")?;
        ensure!(forwards.trim() == "1", "it forwards nothing");
        ensure!(is_there()?.is_some(), "{}", default_route(node)?);
        ensure!(accept_ra(node, "way0")? == "2" && accept_ra(node, "deaf0")? == "1");
        Ok(())
    })
}
