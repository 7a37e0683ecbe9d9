//! A node as it shows after changes that were made, without looking at it again.
//!
//! Only for what comes with every node that joins or leaves the cluster: routes, elements of our table, and the conflist.
//! Whatever else is changed may show otherwise than it was asked for, so there the node has to be looked at.

use crate::diff::place;
use model::change::Change;
use model::firewall::{Element, Set};
use model::state::HostState;

/// What `have` becomes by these changes; none if that cannot be told from here.
#[must_use]
pub fn after(mut have: HostState, changes: &[Change]) -> Option<HostState> {
    let mut transaction = false;
    for change in changes {
        match change {
            Change::ReplaceRoute(route) => {
                have.routes.retain(|old| place(old) != place(route));
                have.routes.insert(route.clone());
            }
            Change::RemoveRoute(route) => {
                have.routes.remove(route);
            }
            Change::AddElements(set, new) => {
                transaction = true;
                add(&mut have, *set, new)?;
            }
            Change::RemoveElements(set, gone) => {
                transaction = true;
                remove(&mut have, *set, gone)?;
            }
            Change::WriteConflist(text) => have.conflist = Some(text.clone()),
            Change::AddLink(_)
            | Change::SetPromiscuous(_)
            | Change::SetMac(..)
            | Change::AskAddress(_)
            | Change::AddRouteWith(..)
            | Change::AdmitStation(..)
            | Change::SetUp(_)
            | Change::SetDown(_)
            | Change::RemoveLink(_)
            | Change::AddAddress(_)
            | Change::RemoveAddress(_)
            | Change::AddRoute(_)
            | Change::AddNeighbour(_)
            | Change::RemoveNeighbour(_)
            | Change::PutTable(_)
            | Change::RemoveTable
            | Change::InsertRule(..)
            | Change::RemoveRule(..)
            | Change::ForgetFlows(_)
            | Change::SetSysctl(_)
            | Change::PutQdisc(_)
            | Change::RemoveFile(_)
            | Change::RemoveFolder(_) => return None,
        }
    }
    if transaction {
        // The kernel leaves 0 out. If somebody else's came between, the next transaction is refused as stale.
        have.generation = have.generation.checked_add(1).unwrap_or(1);
    }
    Some(have)
}

fn add(have: &mut HostState, set: Set, new: &[Element]) -> Option<()> {
    let table = have.table.as_mut()?;
    let held = table.elements.entry(set).or_default();
    held.extend(new.iter().cloned());
    Some(())
}

fn remove(have: &mut HostState, set: Set, gone: &[Element]) -> Option<()> {
    let table = have.table.as_mut()?;
    let held = table.elements.get_mut(&set)?;
    held.retain(|element| !gone.contains(element));
    if held.is_empty() {
        table.elements.remove(&set);
    }
    Some(())
}
