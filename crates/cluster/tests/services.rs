//! What users have on top of a pod network: Services, host ports, names, probes, and what kubectl does in pods.
//!
//! Each scenario is a function that takes any cluster of two nodes, and holds for every family that it has; `on!` makes
//! tests of all of them on one shape. Who serves is one pod on each node, `web-NODE`, which tells its name and whom it
//! sees.

pub(crate) mod cluster_ip;
pub(crate) mod demo;
pub(crate) mod dns;
pub(crate) mod host_port;
pub(crate) mod kubectl;
pub(crate) mod node_port;
pub(crate) mod probes;
mod web;

use anyhow::{Result, anyhow};
use cluster::Cluster;

/// All scenarios as tests on a cluster of this shape.
macro_rules! on {
    ($shape:literal) => {
        crate::services::on!($shape:
            cluster_ip::a_service_address_leads_to_every_pod_of_the_service,
            cluster_ip::a_pod_reaches_itself_through_its_service_and_sees_others_as_they_are,
            demo::pods_on_a_master_and_a_worker_reach_all_five_targets,
            dns::a_headless_service_has_the_addresses_of_its_pods,
            dns::a_pod_finds_services_by_name,
            host_port::a_host_port_leads_to_its_pod_from_everywhere,
            host_port::a_host_port_of_one_address_is_at_no_other,
            kubectl::kubectl_enters_reads_and_forwards_to_pods_on_every_node,
            node_port::a_node_port_of_policy_cluster_shows_the_node_that_was_asked,
            node_port::a_node_port_of_policy_local_shows_the_client_where_a_pod_is,
            probes::a_pod_that_is_not_ready_gets_nothing_of_its_service,
            probes::probes_by_http_tcp_and_exec_are_answered,
        );
    };
    ($shape:literal: $($module:ident::$scenario:ident),+ $(,)?) => {$(
        #[test]
        fn $scenario() -> anyhow::Result<()> {
            crate::services::play($shape, crate::services::$module::$scenario)
        }
    )+};
}
pub(crate) use on;

/// One scenario, with what is known of the cluster if it fails.
pub(crate) fn play(shape: &str, scenario: fn(&Cluster) -> Result<()>) -> Result<()> {
    let cluster = crate::with(shape)?;
    scenario(&cluster).map_err(|error| anyhow!("{error:#}\n{}", cluster.explain()))
}

mod dual_iptables {
    crate::services::on!("2 --family dual --proxy iptables");
}

mod dual_nftables {
    crate::services::on!("2 --family dual");
}
