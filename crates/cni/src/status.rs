//! STATUS: whether an ADD could be served now.
//!
//! Takes no lock and needs no agent. A range without an address left counts as "cannot" (code 50), with numbers.

use crate::answer::state;
use crate::{addresses, delegate};
use host::store::{ROOT, Store};
use model::addr::Family;
use model::cni::{Call, CniError, Code, Valid, Version};
use model::span::Span;
use std::path::Path;

pub(crate) fn status(call: &Call, conf: &Valid) -> Result<(), CniError> {
    conf.must_know("STATUS", Version::V1_1_0)?;
    let network = conf.network(&call.args)?;
    delegate::pass("STATUS", conf)?;
    let Some(store) =
        Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?
    else {
        return Ok(());
    };
    if let Some(ipam) = &network.ipam {
        return addresses::has_room(ipam, &store);
    }
    for family in [Family::V4, Family::V6] {
        let spans: Vec<&Span> = network
            .spans
            .iter()
            .filter(|span| span.family() == family)
            .collect();
        let full = |span: &&&Span| store.used(span).is_ok_and(|used| used >= span.capacity());
        if !spans.is_empty() && spans.iter().filter(full).count() == spans.len() {
            let error = addresses::exhausted(&store, &spans);
            return Err(CniError {
                code: Code::Unavailable,
                ..error
            });
        }
    }
    Ok(())
}
