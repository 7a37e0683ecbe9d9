//! The control plane's machine: the LAN's bridge, and etcd, API server, controller manager and scheduler.
//!
//! It is no node and has the caller's files; only its network and its processes are its own. It routes for the nodes to
//! nowhere: no packet leaves the LAN, and an address of its own stands for the world outside. See Kubernetes' reference of each program for the flags.

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};

use super::daemon::Daemons;
use super::{configure, handshake, list, sysctl};
use crate::keys::{self, Keys};
use crate::machine::{BRIDGE, Machine};
use crate::process::feed;
use crate::shape::Shape;
use crate::{Place, lan};

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";

pub(super) fn run(place: &Place, machine: &Machine, shape: Shape) -> Result<Infallible> {
    network(shape)?;
    // The nodes are plugged in as soon as the caller hears of us.
    handshake()?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None).context("mount /proc")?;
    sysctl("kernel/hostname", machine.name())?;
    let mut daemons = Daemons::new(place, machine);
    let keys = Keys::of(place);
    daemons.start("etcd", &etcd(&place.run().join("etcd")))?;
    daemons.start("kube-apiserver", &api_server(&keys, shape)?)?;
    daemons.start("kube-controller-manager", &controller_manager(&keys, shape))?;
    daemons.start("kube-scheduler", &scheduler(&keys))?;
    daemons.keep()
}

fn network(shape: Shape) -> Result<()> {
    configure("/proc/sys/net/ipv4/ip_forward", "1")?;
    // Not there where the kernel has no IPv6, which then a cluster without it does not miss.
    drop(sysctl("net/ipv6/conf/all/disable_ipv6", "0"));
    drop(sysctl("net/ipv6/conf/all/forwarding", "1"));
    let mut lines =
        format!("link set lo up\nlink add {BRIDGE} type bridge\nlink set {BRIDGE} up\n");
    for address in lan::addresses(lan::CONTROL, shape.family)? {
        lines.push_str(&lan::address_line(address, BRIDGE));
    }
    for address in lan::outside(shape.family)? {
        lines.push_str(&format!("address add {address} dev lo\n"));
    }
    feed(Command::new("ip").args(["-batch", "-"]), &lines).context("make the LAN")?;
    Ok(())
}

fn etcd(folder: &Path) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.display()),
        // A cluster that a power cut of this machine may destroy.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
    ]
}

fn api_server(keys: &Keys, shape: Shape) -> Result<Vec<String>> {
    let certificate = |name| keys.certificate(name).display().to_string();
    let key = |name| keys.key(name).display().to_string();
    let authority = certificate(keys::AUTHORITY);
    let addresses = lan::addresses(lan::CONTROL, shape.family)?;
    let first = addresses.first().context("the control plane's address")?;
    Ok(vec![
        format!("--etcd-servers={ETCD}"),
        format!("--advertise-address={first}"),
        format!("--secure-port={}", lan::API_PORT),
        format!(
            "--service-cluster-ip-range={}",
            list(&lan::services(shape.family))
        ),
        format!("--tls-cert-file={}", certificate(keys::API_SERVER)),
        format!("--tls-private-key-file={}", key(keys::API_SERVER)),
        format!("--client-ca-file={authority}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged".to_owned(),
        "--profiling=false".to_owned(),
        format!(
            "--kubelet-client-certificate={}",
            certificate(keys::TO_KUBELETS)
        ),
        format!("--kubelet-client-key={}", key(keys::TO_KUBELETS)),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!(
            "--service-account-key-file={}",
            certificate(keys::SERVICE_ACCOUNTS)
        ),
        format!(
            "--service-account-signing-key-file={}",
            key(keys::SERVICE_ACCOUNTS)
        ),
        // Aggregated APIs, which upstream's suite has.
        "--enable-aggregator-routing".to_owned(),
        format!("--requestheader-client-ca-file={authority}"),
        format!("--requestheader-allowed-names={}", keys::FRONT_PROXY),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!(
            "--proxy-client-cert-file={}",
            certificate(keys::FRONT_PROXY)
        ),
        format!("--proxy-client-key-file={}", key(keys::FRONT_PROXY)),
    ])
}

fn controller_manager(keys: &Keys, shape: Shape) -> Vec<String> {
    let program = "kube-controller-manager";
    vec![
        format!("--kubeconfig={}", keys.kubeconfig(program).display()),
        // Each node gets a /24 and a /64 of these, which are the defaults.
        "--allocate-node-cidrs".to_owned(),
        format!("--cluster-cidr={}", list(&lan::pods(shape.family))),
        format!(
            "--service-cluster-ip-range={}",
            list(&lan::services(shape.family))
        ),
        format!(
            "--root-ca-file={}",
            keys.certificate(keys::AUTHORITY).display()
        ),
        format!(
            "--service-account-private-key-file={}",
            keys.key(keys::SERVICE_ACCOUNTS).display()
        ),
        format!(
            "--cluster-signing-cert-file={}",
            keys.certificate(keys::AUTHORITY).display()
        ),
        format!(
            "--cluster-signing-key-file={}",
            keys.key(keys::AUTHORITY).display()
        ),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
    ]
}

fn scheduler(keys: &Keys) -> Vec<String> {
    let kubeconfig = keys.kubeconfig("kube-scheduler");
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".to_owned(),
    ]
}
