//! A real Kubernetes cluster on one machine: control plane, kubelet, containerd and kube-proxy, on nodes made of namespaces.
//!
//! The programs are built from their Go modules (`build`), the images from those programs and the machine's own (`image`);
//! nothing comes from a container registry. Everything lies below one folder, the [`Place`]; a machine is a set of
//! namespaces with a disk of its own, and the LAN between them exists in the control plane's network namespace only, so that
//! the machine's own network is never touched. It knows nothing of the network under test but how a user installs it.

mod api;
pub mod bench;
pub mod build;
mod cgroup;
pub mod client;
mod cluster;
pub mod conformance;
pub mod demo;
mod dns;
mod fill;
pub mod helm;
pub mod image;
mod import;
mod init;
mod keys;
pub mod lan;
pub mod machine;
mod meter;
mod network;
mod node;
mod objects;
pub mod older;
pub mod place;
pub mod pod;
mod process;
pub mod progress;
mod quantile;
pub mod scale;
mod shape;
mod up;
pub mod version;
pub mod wait;

pub use client::{Client, Listener};
pub use cluster::Cluster;
pub use init::init;
pub use machine::Machine;
pub use meter::{Memory, Usage};
pub use node::Node;
pub use objects::Objects;
pub use place::Place;
pub use shape::{Family, MASTER, Network, Proxy, Shape};
