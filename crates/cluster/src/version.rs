//! The versions of everything that the cluster is made of; nothing else names one.
//!
//! A new version is a change in here and a run of `cargo xtask cluster build` and `cargo xtask cluster test`.

/// Of the Go compiler, at least.
pub const GO: &str = "1.26.0";
/// Module `k8s.io/kubernetes`, without the `v`; its staging modules are `v0.` and the rest.
pub const KUBERNETES: &str = "1.37.2";
/// Module `go.etcd.io/etcd/server/v3`.
pub const ETCD: &str = "v3.7.3";
/// Module `github.com/containerd/containerd/v2`.
pub const CONTAINERD: &str = "v2.4.2";
/// Module `github.com/opencontainers/runc`.
pub const RUNC: &str = "v1.5.2";
/// Module `github.com/containernetworking/plugins`.
pub const PLUGINS: &str = "v1.9.1";
/// Module `github.com/coredns/coredns`.
pub const COREDNS: &str = "v1.15.0";
/// Module `helm.sh/helm/v4`.
pub const HELM: &str = "v4.3.1";
/// Podwire's own, as deploy/podwire.yaml asks for it.
pub const PODWIRE: &str = env!("CARGO_PKG_VERSION");
