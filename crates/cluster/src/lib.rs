//! A real Kubernetes cluster on one machine: control plane, kubelet, containerd and kube-proxy, on nodes made of namespaces.
//!
//! The programs are built from their Go modules (`build`), the images from those programs and the machine's own (`image`);
//! nothing comes from a container registry. Everything lies below one folder, the [`Place`]; a machine is a set of
//! namespaces with a disk of its own, and the LAN between them exists in the control plane's network namespace only, so that
//! the machine's own network is never touched. It knows nothing of the network under test but how a user installs it.

pub mod build;
pub mod image;
pub mod place;
pub mod version;

pub use place::Place;
