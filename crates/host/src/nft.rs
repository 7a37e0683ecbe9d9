//! nftables through nf_tables' own netlink protocol, without nft(8).
//!
//! Our table is written whole or element by element, each list of changes as one transaction; other programs' chains are
//! read only where they can stop a pod's packet. Which rules there should be is decided elsewhere. Follows
//! linux/netfilter/nf_tables.h and the kernel's netlink specification `nftables`.

pub(crate) mod attr;
mod expr;
mod foreign;
pub(crate) mod message;
mod number;
mod ports;
mod set;
mod transaction;

use crate::Error;
use crate::netlink::{NETFILTER, Socket};
use expr::table_family;
use message::{Message, read};
use model::change::Change;
use model::firewall::{
    ChainRef, Elements, ForeignChain, ForeignRule, Set, TABLE, TableFamily, TableState,
};
use number::*;
use rustix::io::Errno;
use std::collections::BTreeMap;
use transaction::{Transaction, our_table};

/// A socket to the nftables of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
}

impl Nft {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel has no nfnetlink.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(NETFILTER)?,
        })
    }

    /// The socket's netlink port: notifications about this socket's own transactions carry it.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn port(&mut self) -> Result<u32, Error> {
        self.socket.port()
    }

    /// The ruleset's generation: another number after every transaction of anybody.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let message = Message::new(NFT_MSG_GETGEN, NFPROTO_UNSPEC);
        self.socket
            .get("read the ruleset's generation", &message, |raw| {
                read(raw)?.1.be32(NFTA_GEN_ID)
            })
    }

    /// The version of our table; none without the table. One question, one answer.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn version(&mut self) -> Result<Option<String>, Error> {
        let message = our_table(NFT_MSG_GETTABLE);
        unless_gone(self.socket.get("read our table", &message, |raw| {
            let udata = read(raw)?.1.get(NFTA_TABLE_USERDATA).unwrap_or_default();
            Some(attr::comment(udata, NFTNL_UDATA_TABLE_COMMENT).unwrap_or_default())
        }))
    }

    /// Our table as it stands; none without it.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn table(&mut self) -> Result<Option<TableState>, Error> {
        let Some(version) = self.version()? else {
            return Ok(None);
        };
        Ok(Some(TableState {
            version,
            rules: self.rule_counts()?,
            elements: self.elements()?,
        }))
    }

    /// What stands in the places of these elements: those themselves, or what is there instead. One question each.
    ///
    /// # Errors
    /// The kernel does not tell, or an element is not of its set's kind (`EINVAL`).
    pub fn standing(&mut self, wanted: &Elements) -> Result<Elements, Error> {
        let mut found = Elements::new();
        for (set, elements) in wanted {
            for element in elements {
                let operation = format!("read element {element} of {set}");
                let Some(message) = set::question(*set, element) else {
                    return Err(Error::new(operation, Errno::INVAL));
                };
                let entries = self
                    .socket
                    .get(&operation, &message, |raw| Some(set::entries(read(raw)?.1)));
                if let Some(entries) = unless_gone(entries)? {
                    let stands = set::decode(set.kind(), entries);
                    found.entry(*set).or_default().extend(stands);
                }
            }
        }
        Ok(found)
    }

    /// Other programs' base chains of type filter on forward and input, without those of dormant tables, which the kernel
    /// does not call.
    ///
    /// A rule of ours whose conditions cannot be read, or that does anything but accept, is [`Role::Ours`] without
    /// conditions.
    ///
    /// [`Role::Ours`]: model::firewall::Role::Ours
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn foreign(&mut self) -> Result<Vec<ForeignChain>, Error> {
        let message = Message::new(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC);
        let mut chains = self.socket.dump("read the chains", &message, |raw| {
            let (family, attrs) = read(raw)?;
            foreign::chain(family, attrs)
        })?;
        if chains.is_empty() {
            return Ok(chains);
        }
        let flags = self.table_flags()?;
        let flags = |chain: &ChainRef| {
            flags
                .get(&(table_family(chain.family), chain.table.clone()))
                .copied()
                .unwrap_or(0)
        };
        chains.retain(|found| flags(&found.chain) & NFT_TABLE_F_DORMANT == 0);
        for found in &mut chains {
            found.owned = flags(&found.chain) & NFT_TABLE_F_OWNER != 0;
            found.rules = self.foreign_rules(&found.chain)?;
        }
        Ok(chains)
    }

    /// Makes the changes to nftables among `changes`, all of them or none, in one transaction. With a generation only if
    /// the ruleset is still that one: otherwise [`Error::is_stale`]. A table or rule that is to be removed may be gone.
    ///
    /// # Errors
    /// The first change that the kernel refused, with its number. A change that is none of nftables', a rule that cannot
    /// stand in its table, or an element that is not of its set's kind, is `EINVAL`, and nothing is sent.
    pub fn apply(&mut self, changes: &[Change], generation: Option<u32>) -> Result<(), Error> {
        let mut wanted: Vec<usize> = (0..changes.len()).collect();
        while !wanted.is_empty() {
            let gone = self.attempt(changes, &wanted, generation)?;
            if gone.is_empty() {
                break;
            }
            wanted.retain(|place| !gone.contains(place));
        }
        Ok(())
    }

    /// Tries the wanted ones of the changes as one transaction. If nothing but rules that were to be removed and are gone
    /// already stands in the way, nothing has happened, and these are the places of those changes.
    fn attempt(
        &mut self,
        changes: &[Change],
        wanted: &[usize],
        generation: Option<u32>,
    ) -> Result<Vec<usize>, Error> {
        let mut transaction = Transaction::begin(generation);
        for &place in wanted {
            let change = &changes[place];
            if transaction.add(place, change).is_none() {
                return Err(Error::new(change.to_string(), Errno::INVAL));
            }
        }
        let Transaction { batch, owners, .. } = transaction.end();
        let mut gone = Vec::new();
        for failure in self.socket.exchange(batch)? {
            match owners[failure.message] {
                Some(place)
                    if failure.errno == Errno::NOENT
                        && matches!(changes[place], Change::RemoveRule(..)) =>
                {
                    gone.push(place);
                }
                Some(place) => return Err(failure.of(changes[place].to_string())),
                None => return Err(failure.of("change the ruleset")),
            }
        }
        Ok(gone)
    }

    /// How many rules each chain of our table holds.
    fn rule_counts(&mut self) -> Result<BTreeMap<String, usize>, Error> {
        let message = Message::new(NFT_MSG_GETCHAIN, NFPROTO_INET);
        let chains = self.socket.dump("read our chains", &message, |raw| {
            let (_, attrs) = read(raw)?;
            (attrs.text(NFTA_CHAIN_TABLE)? == TABLE).then(|| attrs.text(NFTA_CHAIN_NAME))?
        })?;
        let mut counts: BTreeMap<String, usize> = chains.into_iter().map(|c| (c, 0)).collect();
        let mut message = Message::new(NFT_MSG_GETRULE, NFPROTO_INET);
        message.attrs.text(NFTA_RULE_TABLE, TABLE);
        let rules = self.socket.dump("read our rules", &message, |raw| {
            read(raw)?.1.text(NFTA_RULE_CHAIN)
        })?;
        for chain in rules {
            *counts.entry(chain).or_default() += 1;
        }
        Ok(counts)
    }

    /// What our sets hold; one that is not there is left out.
    fn elements(&mut self) -> Result<Elements, Error> {
        let mut elements = Elements::new();
        for set in Set::ALL {
            let operation = format!("read set {set}");
            let message = set::about(NFT_MSG_GETSETELEM, set);
            let entries = self
                .socket
                .dump(&operation, &message, |raw| Some(set::entries(read(raw)?.1)));
            if let Some(entries) = unless_gone(entries)? {
                let entries = entries.into_iter().flatten().collect();
                elements.insert(set, set::decode(set.kind(), entries));
            }
        }
        Ok(elements)
    }

    /// The flags of all tables, by family and name.
    fn table_flags(&mut self) -> Result<BTreeMap<(u8, String), u32>, Error> {
        let message = Message::new(NFT_MSG_GETTABLE, NFPROTO_UNSPEC);
        let tables = self.socket.dump("read the tables", &message, |raw| {
            let (family, attrs) = read(raw)?;
            Some((
                (family, attrs.text(NFTA_TABLE_NAME)?),
                attrs.be32(NFTA_TABLE_FLAGS)?,
            ))
        })?;
        Ok(tables.into_iter().collect())
    }

    /// The rules of one chain; none if it went away meanwhile.
    fn foreign_rules(&mut self, chain: &ChainRef) -> Result<Vec<ForeignRule>, Error> {
        let family: TableFamily = chain.family;
        let mut message = Message::new(NFT_MSG_GETRULE, table_family(family));
        message
            .attrs
            .text(NFTA_RULE_TABLE, &chain.table)
            .text(NFTA_RULE_CHAIN, &chain.chain);
        let rules = self
            .socket
            .dump(&format!("read chain {chain}"), &message, |raw| {
                foreign::rule(family, read(raw)?.1)
            });
        Ok(unless_gone(rules)?.unwrap_or_default())
    }
}

#[cfg(any(test, fuzzing))]
/// For [`crate::heard`].
pub(crate) fn read_all(raw: crate::netlink::Raw<'_>) {
    let Some((family, attrs)) = read(raw) else {
        return;
    };
    let _ = attrs.be32(NFTA_GEN_ID);
    drop(foreign::chain(family, attrs));
    let udata = attrs.get(NFTA_TABLE_USERDATA).unwrap_or_default();
    drop(attr::comment(udata, NFTNL_UDATA_TABLE_COMMENT));
    for family in [TableFamily::Ip, TableFamily::Ip6, TableFamily::Inet] {
        drop(foreign::rule(family, attrs));
    }
    for set in Set::ALL {
        drop(set::decode(set.kind(), set::entries(attrs)));
    }
}

/// What does not exist is an answer too.
fn unless_gone<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}
