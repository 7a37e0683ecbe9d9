//! The CNI wire format: versions, environment, configuration, result, error.
//!
//! Follows the CNI specification 0.1.0 to 1.1.0. Reading is forgiving where runtimes are known to differ (case of keys,
//! empty variables, unknown keys) and strict where a wrong value would make a wrong network.

mod chain;
mod conf;
mod env;
mod error;
mod given;
mod previous;
mod result;
mod version;

/// By this a file is known as the plugin, whatever it is called and of whatever version it is: every build of it holds these
/// bytes, because it says them to people ([`Version`]s follow). Of other programs only those of Podwire do, which look for it.
pub const MARK: &str = " (podwire)\nCNI protocol versions supported: ";

pub use chain::renewed;
pub use conf::{Asked, BASH_CNI_LOG, Ipam, Kind, LogTarget, NetConf, Valid};
pub use env::{Args, Call, Verb};
pub use error::{CniError, Code};
pub use given::{Given, told};
pub use previous::{extend, hand_on};
pub use result::{CniResult, Dns, Interface, IpConfig, RouteConfig};
pub use version::Version;
