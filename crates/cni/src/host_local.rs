//! Type `host-local`: addresses for other people's plugins, which call it by this name. All its verbs.
//!
//! Follows the CNI specification, "delegated plugins", and the reference plugin's keys. Without `dataDir` the reservations
//! are records and leases of ours, on tmpfs: a reboot forgets them with the pods. With it they are files as the reference
//! plugin's; see `reserved`. No namespace is entered, and none need be there.

use crate::addresses::{self, Part, Taken};
use crate::answer::{Answer, kernel, state};
use crate::claim::{self, Work};
use crate::log::Trace;
use crate::{check, del, delegate, gc, reserved, resolv};
use host::netns::Netns;
use host::rtnl::Rtnl;
use host::store::{Held, ROOT, Store};
use model::attachment::{Attachment, Key, Mode};
use model::cni::{Call, CniError, CniResult, Code, Ipam, Valid, Verb, Version};
use std::path::Path;

pub(crate) fn run(
    call: &Call,
    conf: &Valid,
    began: u64,
    trace: &mut Trace,
) -> Result<Answer, CniError> {
    // Its record would be the one that is locked by whoever waits for this answer.
    let is_held = matches!(call.verb, Verb::Add | Verb::Del)
        && conf.data_dir().is_none()
        && delegate::is_held_above(&del::key(call, conf)?);
    match call.verb {
        Verb::Add if is_held => {
            let msg =
                "host-local without ipam.dataDir is asked in the name of Podwire's type bridge";
            let hint = "name ipam.dataDir, or let type bridge have ipam.type host-local itself";
            return Err(CniError::new(Code::Config, msg).details(hint));
        }
        Verb::Del if is_held => {}
        Verb::Add => return add(call, conf, trace),
        // With files the record of that key, if there is one, is another type's, which may have it locked while it asks.
        Verb::Del => match conf.data_dir() {
            None => del::run(call, conf, trace)?,
            Some(path) => {
                let released = host::reserved::release(Path::new(path), &del::key(call, conf)?);
                del::told(released.map_err(|error| state(&error))?, conf)?;
            }
        },
        Verb::Check => {
            conf.must_know("CHECK", Version::V0_4_0)?;
            let key = del::key(call, conf)?;
            match conf.data_dir() {
                None => holds(&key)?,
                Some(path) => reserved::holds(Path::new(path), &key)?,
            }
        }
        // Also of a time when the network had no `dataDir`.
        Verb::Gc => gc::run(conf, began, trace)?,
        Verb::Status => {
            conf.must_know("STATUS", Version::V1_1_0)?;
            let ipam = conf.ipam(&call.args)?;
            has_room(conf, &addresses::parts_of(&ipam)?)?;
        }
        Verb::Version => {}
    }
    Ok(Answer::Nothing)
}

/// Whether each part has an address left.
pub(crate) fn has_room(conf: &Valid, parts: &[Part<'_>]) -> Result<(), CniError> {
    let store = Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?;
    let taken = Taken {
        network: &conf.name,
        store: store.as_ref(),
        folder: reserved::folder(conf),
    };
    taken.has_room(parts)
}

/// Tells the plugin that asked neither interfaces nor an index, because it has them.
fn add(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<Answer, CniError> {
    let ipam = conf.ipam(&call.args)?;
    let parts = addresses::parts_of(&ipam)?;
    let dns = resolv::dns(ipam.resolv_conf.as_deref())?;
    let key = del::key(call, conf)?;
    let taken = match conf.data_dir() {
        Some(path) => reserved::take(Path::new(path), &key, &parts)?,
        None => {
            let store = Store::open(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?;
            let netns = Netns::open(Path::new(call.netns.as_deref().unwrap_or_default())).ok();
            let wanted = claim::record(call, key, Mode::Leased, netns.as_ref());
            let mut leasing = Leasing {
                conf,
                store: &store,
                ipam: &ipam,
                parts: &parts,
                rtnl: None,
            };
            claim::attach(&wanted, &store, conf, &mut leasing, trace)?.addresses
        }
    };
    let result = CniResult {
        interfaces: Vec::new(),
        ips: plan::ipam::told(&taken),
        routes: ipam.routes,
        dns,
    };
    Ok(Answer::Object(result.to_json(conf.version)))
}

struct Leasing<'a> {
    conf: &'a Valid,
    store: &'a Store,
    ipam: &'a Ipam,
    parts: &'a [Part<'a>],
    /// Nothing but what it takes back needs one.
    rtnl: Option<Rtnl>,
}

impl Work for Leasing<'_> {
    fn standing(
        &mut self,
        held: &Held<'_>,
        _: &Attachment,
    ) -> Result<Option<Attachment>, CniError> {
        let Some(record) = held.record().filter(|record| record.mode == Mode::Leased) else {
            return Ok(None);
        };
        let fits = plan::ipam::fits(&record.addresses, &self.ipam.sets, &self.ipam.asked);
        let whole = fits && check::unleased(record, self.store)?.is_empty();
        Ok(whole.then(|| record.clone()))
    }

    fn make(&mut self, held: &mut Held<'_>, trace: &mut Trace) -> Result<(), CniError> {
        let folder = reserved::folder(self.conf);
        let avoid = reserved::given(folder, &self.conf.name)?;
        let taken = addresses::take(held, self.store, self.parts, &avoid, folder);
        trace.step("lease");
        taken
    }

    fn rtnl(&mut self) -> Result<&mut Rtnl, CniError> {
        match &mut self.rtnl {
            Some(rtnl) => Ok(rtnl),
            none => Ok(none.insert(Rtnl::open().map_err(|error| kernel(&error))?)),
        }
    }
}

fn holds(key: &Key) -> Result<(), CniError> {
    let store = Store::existing(Path::new(ROOT), &key.network).map_err(|error| state(&error))?;
    let held = match &store {
        Some(store) => store.hold(key).map_err(|error| state(&error))?,
        None => None,
    };
    let found = match (&store, held.as_ref().and_then(Held::record)) {
        (Some(store), Some(record)) => check::unleased(record, store)?,
        (None | Some(_), _) => {
            vec![format!(
                "container {} has no address as {}",
                key.container, key.ifname
            )]
        }
    };
    if found.is_empty() {
        return Ok(());
    }
    Err(check::different(&found))
}
