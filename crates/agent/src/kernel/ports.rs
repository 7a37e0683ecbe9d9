//! Host ports go into the table only under the lock of the record that they belong to.
//!
//! A DEL withdraws the ports, and from then on nobody looks for them; an ADD puts them in itself. So while somebody works on
//! an attachment, its ports stay as they stand, and whatever that leaves to do is found by the next look. The plugin does
//! the same where there is no agent.

use host::machine::Machine;
use host::store::{Attempt, Held, Store};
use host::{Error, Report};
use model::attachment::Attachment;
use model::change::Change;
use model::firewall::{Element, Elements, Owner, Set, TableState};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The attachment with those of its ports that are to stand: all of them, or, while somebody works on it, those that do.
pub(super) fn settled(
    store: &Store,
    name: &str,
    mut attachment: Attachment,
    table: Option<&TableState>,
) -> Result<Option<Attachment>, Error> {
    let stand = |attachment: &Attachment| {
        plan::ports::elements(attachment)
            .iter()
            .all(|(set, wanted)| {
                let held = table.and_then(|table| table.elements.get(set));
                held.is_some_and(|held| held.is_superset(wanted))
            })
    };
    if !stand(&attachment) && matches!(store.try_hold(name)?, Attempt::Busy) {
        let whole = attachment.clone();
        attachment.ports.retain(|map| {
            stand(&Attachment {
                ports: vec![*map],
                ..whole.clone()
            })
        });
    }
    Ok(attachment.has_elements().then_some(attachment))
}

/// As [`super::apart::apply`], without host ports of attachments that somebody works on.
pub(super) fn apply(
    machine: &mut Machine,
    run: &Path,
    changes: Vec<Change>,
    generation: u32,
) -> Report {
    let wanted = wanted(&changes);
    if wanted.is_empty() {
        return super::apart::apply(machine, &changes, generation);
    }
    match guarded(machine, run, changes.clone(), &wanted, generation) {
        Ok(report) => report,
        Err(error) => Report {
            failed: (0..changes.len())
                .map(|place| (place, error.clone()))
                .collect(),
        },
    }
}

fn guarded(
    machine: &mut Machine,
    run: &Path,
    mut changes: Vec<Change>,
    wanted: &Elements,
    generation: u32,
) -> Result<Report, Error> {
    let stores = Store::all(run)?;
    let owners: BTreeSet<&Owner> = wanted
        .values()
        .flatten()
        .filter_map(Element::owner)
        .collect();
    let held = hold(&stores, &owners)?;
    let standing = machine.standing(wanted)?;
    let may = |set: Set, element: &Element| {
        let stands = |elements: &Elements| {
            elements
                .get(&set)
                .is_some_and(|elements| elements.contains(element))
        };
        let Some(owner) = element.owner() else {
            return true;
        };
        stands(&standing) || held.get(owner).is_some_and(|(_, ports)| stands(ports))
    };
    for change in &mut changes {
        if let Change::AddElements(set, elements) = change {
            elements.retain(|element| may(*set, element));
        }
        if let Change::PutTable(table) = change {
            for (set, elements) in &mut table.elements {
                elements.retain(|element| may(*set, element));
            }
        }
    }
    Ok(super::apart::apply(machine, &changes, generation))
}

/// The host ports that the changes put into the table.
fn wanted(changes: &[Change]) -> Elements {
    let mut wanted = Elements::new();
    let mut put = |set: Set, elements: &mut dyn Iterator<Item = &Element>| {
        let mut elements = elements.peekable();
        if set.is_owned() && elements.peek().is_some() {
            wanted.entry(set).or_default().extend(elements.cloned());
        }
    };
    for change in changes {
        if let Change::AddElements(set, elements) = change {
            put(*set, &mut elements.iter());
        }
        if let Change::PutTable(table) = change {
            for (set, elements) in &table.elements {
                put(*set, &mut elements.iter());
            }
        }
    }
    wanted
}

/// The records of these owners that nobody works on, each with the ports that it has.
fn hold<'s>(
    stores: &'s [Store],
    owners: &BTreeSet<&Owner>,
) -> Result<BTreeMap<Owner, (Held<'s>, Elements)>, Error> {
    let mut held = BTreeMap::new();
    for store in stores {
        for name in store.attachments()? {
            let is_asked = store
                .peek(&name)?
                .is_some_and(|record| owners.contains(&record.key.owner()));
            if !is_asked {
                continue;
            }
            if let Attempt::Free(record) = store.try_hold(&name)?
                && let Some(attachment) = record.record()
            {
                let ports = plan::ports::elements(attachment);
                held.insert(attachment.key.owner(), (record, ports));
            }
        }
    }
    Ok(held)
}
