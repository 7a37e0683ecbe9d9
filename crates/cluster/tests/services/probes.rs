//! kubelet's probes: from the node to the pod, and what comes of them.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use cluster::pod::{self, Pod};
use cluster::{Client, Cluster};
use serde_json::json;

use super::web::{self, SERVICE_TCP, SOON};

/// As long as this file is there, a pod says that it is not ready.
const SICK: &str = "/tmp/sick";
const PERIOD: u64 = 1;
const OFTEN: u32 = 3;
/// More than the probe's period, several times.
const IN_A_ROW: usize = 12;

pub(crate) fn probes_by_http_tcp_and_exec_are_answered(cluster: &Cluster) -> Result<()> {
    let ways = [
        ("http", json!({"httpGet": {"path": "/", "port": pod::PORT}})),
        ("tcp", json!({"tcpSocket": {"port": pod::PORT}})),
        ("exec", json!({"exec": {"command": ["true"]}})),
    ];
    let mut items = Vec::new();
    for node in cluster.nodes() {
        for (name, probe) in &ways {
            let mut item = web::pod(cluster, node.name())?;
            item["metadata"]["name"] = format!("{name}-{}", node.name()).into();
            for kind in ["startupProbe", "readinessProbe", "livenessProbe"] {
                let mut probe = probe.clone();
                probe["periodSeconds"] = PERIOD.into();
                item["spec"]["containers"][0][kind] = probe;
            }
            items.push(item);
        }
    }
    let (_objects, pods) = web::start(cluster, &items)?;
    ensure!(pods.len() == items.len(), "{pods:?}");
    for pod in &pods {
        for kind in ["Liveness", "Readiness"] {
            let what = format!("{pod:?} was probed {OFTEN} times for {kind}");
            cluster.until(SOON, &what, || {
                ensure!(probed(cluster, pod, kind, "failed")? == 0, "a probe failed");
                let often = probed(cluster, pod, kind, "successful")?;
                ensure!(often >= OFTEN, "{often} times");
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// How many probes of a pod had this result, as its kubelet counts them.
fn probed(cluster: &Cluster, pod: &Pod, kind: &str, result: &str) -> Result<u32> {
    let path = format!("/api/v1/nodes/{}/proxy/metrics/probes", pod.node);
    let metrics = cluster.kubectl(&["get", "--raw", &path])?;
    let labels = [
        format!("pod=\"{}\"", pod.name),
        format!("probe_type=\"{kind}\""),
        format!("result=\"{result}\""),
    ];
    let lines = metrics.lines().filter(|line| {
        line.starts_with("prober_probe_total{") && labels.iter().all(|label| line.contains(label))
    });
    let counts = lines.map(|line| {
        let (_, count) = line.rsplit_once(' ').context("a count")?;
        count
            .parse::<u32>()
            .with_context(|| format!("count {count:?}"))
    });
    // kubelet forgets what it counted for a pod that is gone, so an earlier one of this name does not count.
    counts.sum()
}

pub(crate) fn a_pod_that_is_not_ready_gets_nothing_of_its_service(cluster: &Cluster) -> Result<()> {
    let mut items = web::pods(cluster)?;
    for item in &mut items {
        let healthy = format!("test ! -e {SICK}");
        item["spec"]["containers"][0]["readinessProbe"] = json!({
            "exec": {"command": ["sh", "-c", healthy]},
            "periodSeconds": PERIOD,
            "failureThreshold": 1,
        });
    }
    items.push(web::service("web", &json!({"app": "web"}), &json!({})));
    let (_objects, pods) = web::start(cluster, &items)?;
    let [well, sick] = pods.as_slice() else {
        anyhow::bail!("{pods:?}");
    };
    let to = SocketAddr::new(web::addresses(cluster, "web")?[0], SERVICE_TCP);
    let client = Client::Pod(cluster, well);
    sick.run(cluster, &["touch", SICK])?;
    cluster.until(SOON, "only the other pod answers", || {
        for _ in 0..IN_A_ROW {
            let name = client.get(to, "hostname")?;
            ensure!(name == well.name, "{name} answers");
        }
        Ok(())
    })?;
    sick.run(cluster, &["rm", SICK])?;
    web::answers(cluster, client, to, &sick.name)
}
