//! STATUS: whether an ADD could be served now.
//!
//! Takes no lock and needs no agent. A range without an address left counts as "cannot" (code 50), with numbers.

use crate::{addresses, delegate, host_local};
use model::cni::{Call, CniError, Valid, Version};

pub(crate) fn status(call: &Call, conf: &Valid) -> Result<(), CniError> {
    conf.must_know("STATUS", Version::V1_1_0)?;
    let network = conf.network(&call.args)?;
    delegate::pass("STATUS", conf)?;
    host_local::has_room(conf, &addresses::parts(&network, &[])?)
}
