//! The frame of each ADD that keeps a record: claim it, see whether what it says stands, make that, or take it all back.
//!
//! The record is there before the first change, and its lock is held until the answer. A failure removes what was made, as a DEL
//! would, and so is removed what an ADD left that was killed. What is made is the caller's business.

use crate::answer::state;
use crate::del;
use crate::log::Trace;
use host::netns::Netns;
use host::rtnl::Rtnl;
use host::store::{Claim, Held, Store};
use model::attachment::{Attachment, Key, Mode};
use model::bandwidth::Bandwidth;
use model::cni::{Call, CniError, Code, Valid};

/// So often the remains of an earlier ADD of the same attachment are removed.
const REMAINS: usize = 8;

/// What an ADD does with its record.
pub(crate) trait Work {
    /// What an earlier ADD left, if it is what is wanted now and all of it stands.
    fn standing(
        &mut self,
        held: &Held<'_>,
        wanted: &Attachment,
    ) -> Result<Option<Attachment>, CniError>;

    /// Makes what the record stands for.
    fn make(&mut self, held: &mut Held<'_>, trace: &mut Trace) -> Result<(), CniError>;

    /// The socket for taking it back. Who has one already gives that: when something is short, a new one may not be had.
    fn rtnl(&mut self) -> Result<&mut Rtnl, CniError>;
}

/// The record of the attachment that stands when this is over.
///
/// # Errors
/// It could not be made; then nothing of it is left.
pub(crate) fn attach(
    wanted: &Attachment,
    store: &Store,
    conf: &Valid,
    work: &mut dyn Work,
    trace: &mut Trace,
) -> Result<Attachment, CniError> {
    for _ in 0..REMAINS {
        match store.claim(wanted).map_err(|error| state(&error))? {
            Claim::New(held) => {
                trace.step("record");
                return make(held, store, conf, work, trace);
            }
            Claim::Again(held) => match work.standing(&held, wanted)? {
                Some(record) => return Ok(record),
                None => del::detach(held, store, conf, work.rtnl()?, trace)?,
            },
        }
    }
    let container = &wanted.key.container;
    let msg = format!("container {container} is attached by several callers at once");
    Err(CniError::new(Code::TryAgain, msg))
}

/// A record that names no more than who it is for. A namespace that is not there is the caller's business; then nobody may
/// judge the pod by it.
pub(crate) fn record(call: &Call, key: Key, mode: Mode, netns: Option<&Netns>) -> Attachment {
    Attachment {
        addresses: Vec::new(),
        key,
        netns: call.netns.clone().unwrap_or_default(),
        inode: netns.map(Netns::inode).unwrap_or_default(),
        standpoint: netns.map(Netns::standpoint),
        mode,
        mtu: None,
        mac: None,
        bandwidth: Bandwidth::default(),
        pod: call.pod.clone(),
        ports: Vec::new(),
        bridged: None,
        born: host::clock::boottime_ns(),
    }
}

pub(crate) fn unreadable() -> CniError {
    let msg = "the record of this attachment has become unreadable";
    CniError::new(Code::Io, msg)
}

/// Makes everything, or removes what was made and says why.
fn make(
    mut held: Held<'_>,
    store: &Store,
    conf: &Valid,
    work: &mut dyn Work,
    trace: &mut Trace,
) -> Result<Attachment, CniError> {
    let made = work.make(&mut held, trace);
    let error = match (made, held.record()) {
        (Ok(()), Some(record)) => return Ok(record.clone()),
        (Ok(()), None) => return Err(unreadable()),
        (Err(error), _) => error,
    };
    let rtnl = work.rtnl();
    let Err(left) = rtnl.and_then(|rtnl| del::detach(held, store, conf, rtnl, trace)) else {
        return Err(error);
    };
    let details = format!(
        "{}; removing what was made failed as well: {left}",
        error.details
    );
    Err(error.details(details))
}
