//! A node: its root, its link to the LAN, containerd with the images, kubelet and kube-proxy.
//!
//! What is configured here is what a distribution's packages and kubeadm would bring; nothing is here for the sake of
//! Podwire. See Kubernetes' references of KubeletConfiguration and KubeProxyConfiguration, and containerd's of its
//! configuration, version 3.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::daemon::Daemons;
use super::{configure, handshake, list, root, sysctl};
use crate::cgroup::Cgroups;
use crate::keys::{self, Keys};
use crate::machine::{Machine, UPLINK};
use crate::process::{feed, run as run_program};
use crate::shape::{Proxy, Shape};
use crate::{Place, lan};

/// What every distribution's package of plugins has; a network brings its own.
const PLUGINS: [&str; 6] = [
    "bandwidth",
    "bridge",
    "host-local",
    "loopback",
    "portmap",
    "ptp",
];
const CONTAINERD: &str = "/etc/containerd/config.toml";
const BASE_SPEC: &str = "/etc/containerd/base.json";
/// Where containerd tells its metrics, on the node.
pub(crate) const METRICS: &str = "127.0.0.1:1338";
/// kubeadm's.
const STATIC_PODS: &str = "/etc/kubernetes/manifests";
const KUBELET: &str = "/etc/kubernetes/kubelet.yaml";
const KUBE_PROXY: &str = "/etc/kubernetes/kube-proxy.yaml";

pub(super) fn run(place: &Place, machine: &Machine, shape: Shape) -> Result<Infallible> {
    let cgroups = Cgroups::find()?;
    let groups = cgroups.join(place, machine.name())?;
    let lines: Vec<_> = groups
        .iter()
        .map(|group| group.display().to_string())
        .collect();
    fs::write(machine.folder().join("cgroups"), lines.join("\n")).context("note the cgroups")?;
    own_cgroup_namespace()?;
    handshake()?;
    root::enter(place, machine, &cgroups)?;
    root::boot()?;
    identity(machine, shape)?;
    network(machine, shape)?;
    let plugins = place.bin().join("cni");
    for name in PLUGINS {
        fs::copy(plugins.join(name), Path::new("/opt/cni/bin").join(name))
            .with_context(|| format!("install the plugin {name}"))?;
    }
    let mut daemons = Daemons::new(place, machine);
    containerd(place, &mut daemons)?;
    kubelet(place, machine, shape, &mut daemons)?;
    kube_proxy(place, machine, shape, &mut daemons)?;
    daemons.keep()
}

/// From here on the groups that we are in are the roots of all that we see.
fn own_cgroup_namespace() -> Result<()> {
    #[expect(
        deprecated,
        reason = "unsafe only for UnshareFlags::FILES, which is not asked for here"
    )]
    let outcome = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWCGROUP);
    outcome.context("make a cgroup namespace")
}

fn identity(machine: &Machine, shape: Shape) -> Result<()> {
    let name = machine.name();
    sysctl("kernel/hostname", name)?;
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for address in lan::addresses(name, shape.family)? {
        hosts.push_str(&format!("{address} {name}\n"));
    }
    configure("/etc/hosts", &hosts)?;
    configure("/etc/hostname", &format!("{name}\n"))?;
    // The machine's own may be a link to a file that is not here.
    drop(fs::remove_file("/etc/resolv.conf"));
    configure("/etc/resolv.conf", "")?;
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    configure("/etc/machine-id", &format!("{digits:0<32}\n"))?;
    for folder in ["/etc/cni/net.d", "/etc/containerd", STATIC_PODS] {
        fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    }
    Ok(())
}

fn network(machine: &Machine, shape: Shape) -> Result<()> {
    // Not there where the kernel has no IPv6.
    drop(sysctl("net/ipv6/conf/all/disable_ipv6", "0"));
    drop(sysctl("net/ipv6/conf/default/disable_ipv6", "0"));
    sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    let mut lines = format!("link set lo up\nlink set {UPLINK} up\n");
    for address in lan::addresses(machine.name(), shape.family)? {
        lines.push_str(&lan::address_line(address, UPLINK));
    }
    for gateway in lan::addresses(lan::CONTROL, shape.family)? {
        let all = if gateway.is_ipv4() {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        lines.push_str(&format!("route add {all} via {gateway}\n"));
    }
    feed(Command::new("ip").args(["-batch", "-"]), &lines).context("connect the node")?;
    Ok(())
}

fn containerd(place: &Place, daemons: &mut Daemons<'_>) -> Result<()> {
    let ctr = place.program("ctr")?;
    let spec = run_program(Command::new(&ctr).args(["oci", "spec"]))?;
    let mut spec: Value = serde_json::from_str(&spec).context("ctr oci spec: no JSON")?;
    // A container mounts a /proc of its own, and on a real machine reads the node's boot id there.
    spec["hooks"] = json!({"createContainer": [{
        "path": "/usr/bin/mount",
        "args": ["mount", "--no-canonicalize", "-n", "--bind", root::OWN_BOOT_ID, root::BOOT_ID.trim_start_matches('/')],
    }]});
    configure(BASE_SPEC, &spec.to_string())?;
    // The metrics have the time of every CNI call. A root without CAP_SYS_RESOURCE may not lower a score for the
    // out-of-memory killer, and without the restriction no sandbox would start.
    let config = format!(
        "version = 3\n\
         [metrics]\n\
         address = '{METRICS}'\n\
         [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
         sandbox = '{pause}'\n\
         [plugins.'io.containerd.cri.v1.runtime']\n\
         restrict_oom_score_adj = true\n\
         [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
         bin_dirs = ['/opt/cni/bin']\n\
         conf_dir = '/etc/cni/net.d'\n\
         [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n\
         runtime_type = 'io.containerd.runc.v2'\n\
         base_runtime_spec = '{BASE_SPEC}'\n\
         [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n\
         BinaryName = '{runc}'\n\
         SystemdCgroup = false\n",
        pause = place.image("pause")?,
        runc = place.program("runc")?.display(),
    );
    configure(CONTAINERD, &config)?;
    daemons.start("containerd", &[])
}

fn kubelet(
    place: &Place,
    machine: &Machine,
    shape: Shape,
    daemons: &mut Daemons<'_>,
) -> Result<()> {
    let keys = Keys::of(place);
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // Refused by default on machines with version 1.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": lan::dns(shape.family),
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": keys.certificate(keys::AUTHORITY)},
        },
        "authorization": {"mode": "Webhook"},
        "failSwapOn": false,
        "staticPodPath": STATIC_PODS,
        // The disk is the machine's, and its being full says nothing about a node.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
            "memory.available": "100Mi",
        },
        // Its default is below /usr, which is read-only.
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "maxPods": 250,
        // What a test kills again and again would otherwise rest for up to five minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    });
    configure(KUBELET, &config.to_string())?;
    let name = machine.name();
    let arguments = [
        format!("--config={KUBELET}"),
        format!("--kubeconfig={}", keys.kubeconfig(name).display()),
        format!("--hostname-override={name}"),
        format!("--node-ip={}", list(&lan::addresses(name, shape.family)?)),
        "--v=2".to_owned(),
    ];
    daemons.start("kubelet", &arguments)
}

fn kube_proxy(
    place: &Place,
    machine: &Machine,
    shape: Shape,
    daemons: &mut Daemons<'_>,
) -> Result<()> {
    let mode = match shape.proxy {
        Proxy::Nftables => "nftables",
        Proxy::Iptables => "iptables",
        Proxy::Without => return Ok(()),
    };
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "clusterCIDR": list(&lan::pods(shape.family)),
        "hostnameOverride": machine.name(),
        "clientConnection": {"kubeconfig": Keys::of(place).kubeconfig("kube-proxy")},
        // These sysctls are the whole machine's, or read-only in a namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    configure(KUBE_PROXY, &config.to_string())?;
    daemons.start("kube-proxy", &[format!("--config={KUBE_PROXY}")])
}
