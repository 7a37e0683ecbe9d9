//! Type `host-local`: addresses for other people's plugins, which call it by this name. All its verbs.
//!
//! Follows the CNI specification, "delegated plugins", and the reference plugin's keys. Without `dataDir` the reservations
//! are records and leases of ours, on tmpfs: a reboot forgets them with the pods. With it they are files as the reference
//! plugin's; see `dir` below. No namespace is entered, and none need be there.

mod dir;

use crate::answer::{Answer, state};
use crate::log::Trace;
use crate::{addresses, check, del, gc, resolv};
use host::netns::Netns;
use host::reserved::{self, Reserved};
use host::rtnl::Rtnl;
use host::store::{Claim, Held, ROOT, Store};
use model::attachment::{Attachment, Key, Mode, PodAddress};
use model::bandwidth::Bandwidth;
use model::cni::{Call, CniError, CniResult, Code, Dns, Ipam, Valid, Verb, Version};
use model::name::NetworkName;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// So often the remains of an earlier ADD of the same attachment are removed.
const REMAINS: usize = 8;

pub(crate) fn run(
    call: &Call,
    conf: &Valid,
    began: u64,
    trace: &mut Trace,
) -> Result<Answer, CniError> {
    let data_dir = conf.data_dir().map(Path::new);
    match (call.verb, data_dir) {
        (Verb::Add, _) => {
            let ipam = conf.ipam(&call.args)?;
            let dns = resolv::dns(ipam.resolv_conf.as_deref())?;
            let key = del::key(call, conf)?;
            let taken = match data_dir {
                None => take(call, &key, &ipam, trace)?,
                Some(path) => dir::take(path, &key, &ipam)?,
            };
            let result = result(&taken, &ipam, dns);
            return Ok(Answer::Object(result.to_json(conf.version)));
        }
        (Verb::Del, None) => {
            del::del(call, conf, trace)?;
            // Of a pod from before this plugin came.
            release_before(&del::key(call, conf)?)?;
        }
        (Verb::Del, Some(path)) => dir::release(path, &del::key(call, conf)?)?,
        (Verb::Check, data_dir) => {
            conf.must_know("CHECK", Version::V0_4_0)?;
            let key = del::key(call, conf)?;
            match data_dir {
                None => holds(&key)?,
                Some(path) => dir::holds(path, &key)?,
            }
        }
        (Verb::Gc, None) => {
            gc::gc(conf, began, trace)?;
            collect_before(conf, began)?;
        }
        (Verb::Gc, Some(path)) => {
            conf.must_know("GC", Version::V1_1_0)?;
            dir::collect(path, conf, began)?;
        }
        (Verb::Status, data_dir) => {
            conf.must_know("STATUS", Version::V1_1_0)?;
            let ipam = conf.ipam(&call.args)?;
            match data_dir {
                None => has_room(conf, &ipam)?,
                Some(path) => dir::has_room(path, conf, &ipam)?,
            }
        }
        (Verb::Version, _) => {}
    }
    Ok(Answer::Nothing)
}

/// What the plugin that asked is told: neither interfaces nor an index, because it has them.
fn result(taken: &[PodAddress], ipam: &Ipam, dns: Dns) -> CniResult {
    CniResult {
        interfaces: Vec::new(),
        ips: plan::ipam::told(taken),
        routes: ipam.routes.clone(),
        dns,
    }
}

fn take(
    call: &Call,
    key: &Key,
    ipam: &Ipam,
    trace: &mut Trace,
) -> Result<Vec<PodAddress>, CniError> {
    let store = Store::open(Path::new(ROOT), &key.network).map_err(|error| state(&error))?;
    let wanted = record(call, key);
    for _ in 0..REMAINS {
        let mut held = match store.claim(&wanted).map_err(|error| state(&error))? {
            Claim::New(held) => held,
            Claim::Again(held) => {
                if let Some(addresses) = standing(&held, &store, ipam)? {
                    return Ok(addresses);
                }
                detach(held, &store, trace)?;
                continue;
            }
        };
        trace.step("record");
        let taken = given_before(&key.network)
            .and_then(|avoid| addresses::take_of(ipam, &mut held, &store, &avoid));
        trace.step("lease");
        let addresses = held.record().map(|record| record.addresses.clone());
        return match taken {
            Ok(()) => Ok(addresses.unwrap_or_default()),
            Err(error) => match detach(held, &store, trace) {
                Ok(()) => Err(error),
                Err(left) => {
                    let details = format!(
                        "{}; giving back what was taken failed too: {left}",
                        error.details
                    );
                    Err(error.details(details))
                }
            },
        };
    }
    let msg = format!(
        "container {} is attached by several callers at once",
        key.container
    );
    Err(CniError::new(Code::TryAgain, msg))
}

fn record(call: &Call, key: &Key) -> Attachment {
    let path = call.netns.clone().unwrap_or_default();
    // What the path means is the caller's business. Where it means nothing to us, nobody may judge the pod by it.
    let inode = Netns::open(Path::new(&path))
        .map(|netns| netns.inode())
        .ok();
    Attachment {
        addresses: Vec::new(),
        key: key.clone(),
        netns: path,
        inode: inode.unwrap_or_default(),
        standpoint: inode.and_then(|_| host::netns::standpoint().ok()),
        mode: Mode::Leased,
        mtu: None,
        pod: call.pod.clone(),
        ports: Vec::new(),
        mac: None,
        bandwidth: Bandwidth::default(),
        bridged: None,
        born: host::clock::boottime_ns(),
    }
}

fn detach(held: Held<'_>, store: &Store, trace: &mut Trace) -> Result<(), CniError> {
    let mut rtnl = Rtnl::open().map_err(|error| crate::answer::kernel(&error))?;
    del::detach(held, store, &mut rtnl, trace)
}

/// What this attachment has already, if that is what is asked for.
fn standing(
    held: &Held<'_>,
    store: &Store,
    ipam: &Ipam,
) -> Result<Option<Vec<PodAddress>>, CniError> {
    let Some(record) = held.record().filter(|record| record.mode == Mode::Leased) else {
        return Ok(None);
    };
    let fits = plan::ipam::fits(&record.addresses, &ipam.sets, &ipam.asked);
    let whole = fits && check::unleased(record, store)?.is_empty();
    Ok(whole.then(|| record.addresses.clone()))
}

/// What the reference plugin gave away before this one took its place. Which of it is of dead pods only a clock that jumps
/// could say; DEL and GC free it.
pub(crate) fn given_before(network: &NetworkName) -> Result<BTreeSet<IpAddr>, CniError> {
    let path = Path::new(reserved::DEFAULT);
    let Some(there) = Reserved::existing(path, network).map_err(|error| state(&error))? else {
        return Ok(BTreeSet::new());
    };
    let all = there.all().map_err(|error| state(&error))?;
    Ok(all.iter().map(|it| it.ip).collect())
}

/// Frees what it gave to this attachment.
pub(crate) fn release_before(key: &Key) -> Result<(), CniError> {
    dir::release(Path::new(reserved::DEFAULT), key)
}

/// Frees what it gave to attachments that are not listed. `called` is when the process began.
pub(crate) fn collect_before(conf: &Valid, called: u64) -> Result<(), CniError> {
    dir::collect(Path::new(reserved::DEFAULT), conf, called)
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

fn has_room(conf: &Valid, ipam: &Ipam) -> Result<(), CniError> {
    let store = Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?;
    store.map_or(Ok(()), |store| addresses::has_room(ipam, &store))
}
