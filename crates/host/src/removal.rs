//! The removal of a link, while others remove theirs.
//!
//! The kernel waits for its own readers before a link is gone, and removals that come one after another wait one after
//! another. Links of one group go by one request and wait once (`RTM_DELLINK` with `IFLA_GROUP`, rtnetlink(7)). So who finds
//! somebody else at it puts his link into the group of the next turn, waits for the turn, and finds his link gone with those
//! of somebody before him, or removes the whole group himself.
//!
//! Each caller puts only his own link into a group, under the lock of its record and after a look at its alias. Nobody
//! depends on anybody: who is killed gives up the turn, and who gets no turn in time, no file or no group removes his own link
//! alone.

use crate::error::Error;
use crate::rtnl::Rtnl;
use crate::store::{Queue, Store};
use model::change::Change;
use model::name::IfName;
use std::time::{Duration, Instant};

/// So long the others are waited for. Somebody may have been stopped at his turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Removes a link of which the caller knows that it is his. One that is gone is fine.
///
/// # Errors
/// The kernel keeps it.
pub(crate) fn remove(name: &IfName, store: &Store, rtnl: &mut Rtnl) -> Result<(), Error> {
    match store.removals().map(Queue::now) {
        // Nobody else is at it: others wait for this one.
        Some(Ok(_turn)) => alone(name, rtnl),
        Some(Err(queue)) => {
            // What did not go together goes alone, whatever was in the way.
            let _tried = together(queue, name, rtnl);
            alone(name, rtnl)
        }
        None => alone(name, rtnl),
    }
}

/// Waits until the link has gone with others, or takes them along. It may stand afterwards.
fn together(mut queue: Queue<'_>, name: &IfName, rtnl: &mut Rtnl) -> Result<(), Error> {
    let (Some(group), Some(ear)) = (queue.group(), queue.listen()) else {
        return Ok(());
    };
    rtnl.put_in_group(name, group)?;
    let deadline = Instant::now() + PATIENCE;
    while rtnl.link(name)?.is_some() {
        match queue.now() {
            Ok(turn) => {
                turn.retire(group);
                return rtnl.remove_group(group);
            }
            Err(waiting) => queue = waiting,
        }
        if !ear.hear(deadline) {
            break;
        }
    }
    Ok(())
}

fn alone(name: &IfName, rtnl: &mut Rtnl) -> Result<(), Error> {
    rtnl.apply(&[Change::RemoveLink(name.clone())], None).ok()
}
