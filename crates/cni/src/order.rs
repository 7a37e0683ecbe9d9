//! Puts the node in order for a pod that comes: our table, forwarding, other people's forward chains.
//!
//! What is in order is remembered by the ruleset's generation, so that the next call with the same configuration asks the
//! kernel one question. The check and the change are one transaction that names the generation: of sixty-four calls at once
//! one wins, the others look again. With an agent's own configuration the agent does all that; a network of type `bash-cni`
//! is put in order beside an agent too, which learns of it from the records and may be slow or stuck.

use host::Error;
use host::nft::Nft;
use host::store::{ROOT, Store};
use host::sysctl::Sysctls;
use model::change::Change;
use model::cni::NetConf;
use model::state::HostState;
use plan::order::{self, By, IP_FORWARD};
use std::path::Path;

/// How often others may be quicker with the ruleset. Each of them brings the node nearer to order.
const ROUNDS: usize = 256;

/// Sees to it that pods of this network can talk.
///
/// # Errors
/// The kernel refuses to show or to change what stands in the way.
pub(crate) fn node(conf: &NetConf, store: &Store) -> Result<(), Error> {
    let by = if host::charge::is_taken(Path::new(ROOT))? {
        By::BesideAgent
    } else {
        By::Alone
    };
    if by == By::BesideAgent && !conf.alone {
        return Ok(());
    }
    let sysctls = Sysctls::default();
    let mut have = HostState::default();
    if conf.alone
        && let Some(value) = sysctls.read(IP_FORWARD)?
    {
        have.sysctls.insert(IP_FORWARD.into(), value);
    }
    let mark = order::mark(conf, by);
    let mut nft = Nft::open()?;
    for _ in 0..ROUNDS {
        have.generation = nft.generation()?;
        let forwards = have
            .sysctls
            .get(IP_FORWARD)
            .is_none_or(|value| value != "0");
        if forwards && store.in_order(mark) == Some(have.generation) {
            return Ok(());
        }
        have.table = nft.table()?;
        // With an agent's configuration other people's chains are the agent's business, whether it runs or not.
        have.foreign = if conf.alone {
            nft.foreign()?
        } else {
            Vec::new()
        };
        let changes = order::order(conf, by, &have);
        let (kernel, rules): (Vec<Change>, Vec<Change>) = changes
            .into_iter()
            .partition(|change| matches!(change, Change::SetSysctl(_)));
        for change in kernel {
            if let Change::SetSysctl(sysctl) = change {
                sysctls.write(&sysctl)?;
                have.sysctls.insert(sysctl.key, sysctl.value);
            }
        }
        if rules.is_empty() {
            store.set_in_order(mark, have.generation);
            return Ok(());
        }
        match nft.apply(&rules, Some(have.generation)) {
            Ok(()) => {}
            Err(error) if error.is_stale() => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::because(
        "put the ruleset in order",
        "other programs change it all the time",
    ))
}
