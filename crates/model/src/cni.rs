//! The CNI wire format: versions, environment, configuration, result, error.
//!
//! Follows the CNI specification 0.1.0 to 1.1.0. Reading is forgiving where runtimes are known to differ (case of keys,
//! empty variables, unknown keys) and strict where a wrong value would make a wrong network.

mod conf;
mod env;
mod error;
mod previous;
mod result;
mod version;

pub use conf::{Kind, LogTarget, NetConf, Valid};
pub use env::{Call, Verb};
pub use error::{CniError, Code};
pub use previous::hand_on;
pub use result::{CniResult, Interface, IpConfig, RouteConfig};
pub use version::Version;
