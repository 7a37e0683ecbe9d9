//! What is: the one crate that observes the machine and changes it.
//!
//! Blocking and silent. It decides nothing: `plan` says what should be, as a list of [`model::change::Change`]; here each
//! change becomes netlink messages, nftables transactions or files, and whatever fails comes back as an [`Error`] that
//! names the operation and the kernel's own words.

pub mod charge;
pub mod clock;
pub mod conntrack;
mod error;
pub mod events;
#[cfg(any(test, fuzzing))]
pub mod heard;
pub mod log;
pub mod machine;
pub mod mounts;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod program;
pub mod remains;
mod removal;
pub mod reserved;
pub mod rtnl;
pub mod store;
pub mod survey;
pub mod sysctl;
pub mod teardown;
pub mod usage;
pub mod watch;

pub use error::{Error, Report};
