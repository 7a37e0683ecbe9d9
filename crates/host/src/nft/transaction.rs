//! Changes as one nf_tables transaction: all of them happen, or none.
//!
//! Follows linux/netfilter/nfnetlink.h (`NFNL_MSG_BATCH_BEGIN`, `NFNL_BATCH_GENID`, `NFNL_MSG_BATCH_END`). What must be gone
//! is first made and then deleted, as nft(8) scripts do it, because deleting what is not there fails and the message that
//! does not fail (`NFT_MSG_DESTROYTABLE`) is younger than kernels that are in use.

use super::attr::udata;
use super::expr::{encode, table_family};
use super::message::Message;
use super::number::*;
use super::set;
use crate::netlink::Batch;
use model::change::Change;
use model::firewall::{Chain, ChainRef, Hook, Rule, Set, TABLE, Table, TableFamily};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

/// Messages that are sent together, each with the change that it belongs to.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) batch: Batch,
    /// By place in the batch; none for the frame around the changes.
    pub(super) owners: Vec<Option<usize>>,
    change: Option<usize>,
}

impl Transaction {
    pub(super) fn begin(generation: Option<u32>) -> Self {
        let mut transaction = Self::default();
        transaction.push(&Message::begin(generation), 0);
        transaction
    }

    /// Adds the messages of a change; none if it cannot be said in nf_tables' language.
    pub(super) fn add(&mut self, place: usize, change: &Change) -> Option<()> {
        self.change = Some(place);
        match change {
            Change::PutTable(table) => self.put_table(table)?,
            Change::RemoveTable => self.remove_table(),
            Change::AddElements(set, elements) => {
                self.elements(NFT_MSG_NEWSETELEM, *set, elements)?;
            }
            Change::RemoveElements(set, elements) => {
                self.elements(NFT_MSG_DELSETELEM, *set, elements)?;
            }
            Change::InsertRule(chain, before, rule) => self.insert_rule(chain, *before, rule)?,
            Change::RemoveRule(chain, handle) => self.remove_rule(chain, *handle),
            Change::SetSysctl(_)
            | Change::AddLink(_)
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
            | Change::ReplaceRoute(_)
            | Change::RemoveRoute(_)
            | Change::AddNeighbour(_)
            | Change::RemoveNeighbour(_)
            | Change::PutQdisc(_)
            | Change::ForgetFlows(_)
            | Change::WriteConflist(_)
            | Change::RemoveFile(_)
            | Change::RemoveFolder(_) => return None,
        }
        Some(())
    }

    pub(super) fn end(mut self) -> Self {
        self.change = None;
        self.push(&Message::end(), 0);
        self
    }

    fn put_table(&mut self, table: &Table) -> Option<()> {
        self.remove_table();
        let mut message = our_table(NFT_MSG_NEWTABLE);
        message.attrs.put(
            NFTA_TABLE_USERDATA,
            &udata(NFTNL_UDATA_TABLE_COMMENT, &table.version),
        );
        self.push(&message, NLM_F_CREATE);
        for (set, id) in Set::ALL.into_iter().zip(1..) {
            self.push(&set::create(set, id), NLM_F_CREATE);
        }
        for (set, elements) in &table.elements {
            self.elements(NFT_MSG_NEWSETELEM, *set, elements)?;
        }
        for chain in &table.chains {
            self.push(&new_chain(chain), NLM_F_CREATE);
            for rule in &chain.rules {
                let message = new_rule(TableFamily::Inet, TABLE, chain.name, rule)?;
                self.push(&message, NLM_F_CREATE | NLM_F_APPEND);
            }
        }
        Some(())
    }

    fn remove_table(&mut self) {
        self.push(&our_table(NFT_MSG_NEWTABLE), NLM_F_CREATE);
        self.push(&our_table(NFT_MSG_DELTABLE), 0);
    }

    fn elements<'a>(
        &mut self,
        kind: u16,
        set: Set,
        elements: impl IntoIterator<Item = &'a model::firewall::Element>,
    ) -> Option<()> {
        let flags = match kind {
            // What is there may be another's.
            NFT_MSG_NEWSETELEM if set.is_owned() => NLM_F_CREATE | NLM_F_EXCL,
            NFT_MSG_NEWSETELEM => NLM_F_CREATE,
            _ => 0,
        };
        for message in set::change(kind, set, elements)? {
            self.push(&message, flags);
        }
        Some(())
    }

    /// Without a place to stand before, the rule goes to the chain's end.
    fn insert_rule(&mut self, chain: &ChainRef, before: Option<u64>, rule: &Rule) -> Option<()> {
        let mut message = new_rule(chain.family, &chain.table, &chain.chain, rule)?;
        let flags = match before {
            Some(handle) => {
                message.attrs.be64(NFTA_RULE_POSITION, handle);
                NLM_F_CREATE
            }
            None => NLM_F_CREATE | NLM_F_APPEND,
        };
        self.push(&message, flags);
        Some(())
    }

    fn remove_rule(&mut self, chain: &ChainRef, handle: u64) {
        let mut message = Message::new(NFT_MSG_DELRULE, table_family(chain.family));
        message
            .attrs
            .text(NFTA_RULE_TABLE, &chain.table)
            .text(NFTA_RULE_CHAIN, &chain.chain)
            .be64(NFTA_RULE_HANDLE, handle);
        self.push(&message, 0);
    }

    fn push(&mut self, message: &Message, flags: u16) {
        self.batch.push(message, flags);
        self.owners.push(self.change);
    }
}

/// A message about our table.
pub(super) fn our_table(kind: u16) -> Message {
    let mut message = Message::new(kind, NFPROTO_INET);
    message.attrs.text(NFTA_TABLE_NAME, TABLE);
    message
}

fn new_chain(chain: &Chain) -> Message {
    let hook = match chain.hook {
        Hook::Prerouting => NF_INET_PRE_ROUTING,
        Hook::Output => NF_INET_LOCAL_OUT,
        Hook::Input => NF_INET_LOCAL_IN,
        Hook::Forward => NF_INET_FORWARD,
        Hook::Postrouting => NF_INET_POST_ROUTING,
    };
    let mut message = Message::new(NFT_MSG_NEWCHAIN, NFPROTO_INET);
    message
        .attrs
        .text(NFTA_CHAIN_TABLE, TABLE)
        .text(NFTA_CHAIN_NAME, chain.name)
        .nest(NFTA_CHAIN_HOOK, |nest| {
            nest.be32(NFTA_HOOK_HOOKNUM, hook)
                .put(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes());
        })
        .be32(NFTA_CHAIN_POLICY, NF_ACCEPT)
        .text(NFTA_CHAIN_TYPE, if chain.nat { "nat" } else { "filter" });
    message
}

fn new_rule(family: TableFamily, table: &str, chain: &str, rule: &Rule) -> Option<Message> {
    let expressions = encode(family, rule)?;
    let mut message = Message::new(NFT_MSG_NEWRULE, table_family(family));
    message
        .attrs
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, chain)
        .nest(NFTA_RULE_EXPRESSIONS, |list| list.append(&expressions))
        .put(
            NFTA_RULE_USERDATA,
            &udata(NFTNL_UDATA_RULE_COMMENT, &rule.comment),
        );
    Some(message)
}
