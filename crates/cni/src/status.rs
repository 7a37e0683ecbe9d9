//! STATUS: whether an ADD could be served now.
//!
//! Takes no lock and needs no agent. A range without an address left counts as "cannot" (code 50), with numbers.

use crate::addresses;
use crate::answer::state;
use host::store::{ROOT, Store};
use model::addr::{Family, PodRange};
use model::cni::{CniError, Code, Valid, Version};
use std::path::Path;

pub(crate) fn status(conf: &Valid) -> Result<(), CniError> {
    conf.must_know("STATUS", Version::V1_1_0)?;
    let network = conf.network()?;
    let Some(store) =
        Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?
    else {
        return Ok(());
    };
    for family in [Family::V4, Family::V6] {
        let ranges: Vec<&PodRange> = network
            .ranges
            .iter()
            .filter(|range| range.family() == family)
            .collect();
        let full =
            |range: &&&PodRange| store.used(range).is_ok_and(|used| used >= range.capacity());
        if !ranges.is_empty() && ranges.iter().filter(full).count() == ranges.len() {
            let error = addresses::exhausted(&store, &ranges);
            return Err(CniError {
                code: Code::Unavailable,
                ..error
            });
        }
    }
    Ok(())
}
