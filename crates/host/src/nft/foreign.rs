//! Other programs' chains and rules, read only as far as it matters to a pod's packet.
//!
//! Two questions are asked of a rule: is it ours (nft's comment in the user data, or the xt match `comment` that iptables-nft
//! writes when it restores what it saved), and does it end every packet that comes to it? Follows
//! linux/netfilter/nf_tables.h, nf_tables_compat.h and iptables' `nft-shared.c`. What is not understood is no error:
//! such a rule is somebody else's, and stays.

use super::attr::{Read, comment, text};
use super::expr::{Field, destination, nfproto, source};
use super::number::*;
use ipnet::IpNet;
use model::addr::Family;
use model::firewall::{
    COMMENT, ChainRef, ForeignChain, ForeignRule, Hook, Is, Match, Role, TABLE, TableFamily,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A chain of somebody else's that filters what is forwarded or comes in; its owner and rules are not known yet.
pub(super) fn chain(family: u8, attrs: Read<'_>) -> Option<ForeignChain> {
    let family = match family {
        NFPROTO_IPV4 => TableFamily::Ip,
        NFPROTO_IPV6 => TableFamily::Ip6,
        NFPROTO_INET => TableFamily::Inet,
        _ => return None,
    };
    let hook = match attrs.nested(NFTA_CHAIN_HOOK)?.be32(NFTA_HOOK_HOOKNUM)? {
        NF_INET_LOCAL_IN => Hook::Input,
        NF_INET_FORWARD => Hook::Forward,
        _ => return None,
    };
    let (table, chain) = (attrs.text(NFTA_CHAIN_TABLE)?, attrs.text(NFTA_CHAIN_NAME)?);
    let ours = family == TableFamily::Inet && table == TABLE;
    if ours || attrs.text(NFTA_CHAIN_TYPE)? != "filter" {
        return None;
    }
    Some(ForeignChain {
        chain: ChainRef {
            family,
            table,
            chain,
        },
        hook,
        drops: attrs.be32(NFTA_CHAIN_POLICY) == Some(NF_DROP),
        owned: false,
        rules: Vec::new(),
    })
}

/// A rule of a table of `family`.
pub(super) fn rule(family: TableFamily, attrs: Read<'_>) -> Option<ForeignRule> {
    let handle = attrs.be64(NFTA_RULE_HANDLE)?;
    let steps: Vec<Step> = attrs
        .nested(NFTA_RULE_EXPRESSIONS)
        .map(|list| {
            list.each()
                .map(|(_, e)| step(Read(e)).unwrap_or(Step::Unknown))
                .collect()
        })
        .unwrap_or_default();
    let in_user_data = attrs
        .get(NFTA_RULE_USERDATA)
        .and_then(|udata| comment(udata, NFTNL_UDATA_RULE_COMMENT))
        .is_some_and(|text| text == COMMENT);
    let in_match = steps
        .iter()
        .any(|step| matches!(step, Step::Comment(text) if text == COMMENT));
    let role = if in_user_data || in_match {
        Role::Ours(conditions(family, &steps).unwrap_or_default())
    } else if is_final(&steps) {
        Role::Final
    } else {
        Role::Other
    };
    Some(ForeignRule { handle, role })
}

/// One expression, as far as it is understood.
enum Step {
    /// Something is put into a register.
    Load { register: u32, what: Loaded },
    /// A register is masked.
    Mask { register: u32, mask: Vec<u8> },
    /// A register is compared.
    Compare {
        register: u32,
        is: Is,
        value: Vec<u8>,
    },
    /// Counts or logs; the packet goes on.
    Aside,
    /// An xt match that always matches.
    Comment(String),
    /// Accepts the packet.
    Accept,
    /// Drops or rejects the packet.
    End,
    /// Anything else.
    Unknown,
}

#[derive(Clone, PartialEq, Eq)]
enum Loaded {
    Protocol,
    Iif,
    Network { offset: u32, mask: Option<Vec<u8>> },
}

fn step(expression: Read<'_>) -> Option<Step> {
    let name = expression.text(NFTA_EXPR_NAME)?;
    let data = expression.nested(NFTA_EXPR_DATA).unwrap_or(Read(&[]));
    match name.as_str() {
        "meta" => {
            let what = match data.be32(NFTA_META_KEY)? {
                NFT_META_NFPROTO => Loaded::Protocol,
                NFT_META_IIFNAME => Loaded::Iif,
                _ => return None,
            };
            Some(Step::Load {
                register: data.be32(NFTA_META_DREG)?,
                what,
            })
        }
        "payload" if data.be32(NFTA_PAYLOAD_BASE)? == NFT_PAYLOAD_NETWORK_HEADER => {
            let what = Loaded::Network {
                offset: data.be32(NFTA_PAYLOAD_OFFSET)?,
                mask: None,
            };
            Some(Step::Load {
                register: data.be32(NFTA_PAYLOAD_DREG)?,
                what,
            })
        }
        "bitwise" => mask(data),
        "cmp" => {
            let is = match data.be32(NFTA_CMP_OP)? {
                NFT_CMP_EQ => Is::In,
                NFT_CMP_NEQ => Is::NotIn,
                _ => return None,
            };
            let value = data.nested(NFTA_CMP_DATA)?.get(NFTA_DATA_VALUE)?.to_vec();
            Some(Step::Compare {
                register: data.be32(NFTA_CMP_SREG)?,
                is,
                value,
            })
        }
        "counter" | "log" => Some(Step::Aside),
        "match" if data.text(NFTA_XT_NAME)? == "comment" => {
            Some(Step::Comment(text(data.get(NFTA_XT_INFO)?)))
        }
        "immediate" => {
            let verdict = data
                .nested(NFTA_IMMEDIATE_DATA)?
                .nested(NFTA_DATA_VERDICT)?;
            match verdict.be32(NFTA_VERDICT_CODE)? {
                NF_ACCEPT => Some(Step::Accept),
                NF_DROP => Some(Step::End),
                _ => None,
            }
        }
        "reject" => Some(Step::End),
        "target" if matches!(data.text(NFTA_XT_NAME)?.as_str(), "REJECT" | "DROP") => {
            Some(Step::End)
        }
        _ => None,
    }
}

/// A plain mask: within one register, and nothing flipped.
fn mask(data: Read<'_>) -> Option<Step> {
    let register = data.be32(NFTA_BITWISE_SREG)?;
    let mask = data
        .nested(NFTA_BITWISE_MASK)?
        .get(NFTA_DATA_VALUE)?
        .to_vec();
    let flip = data.nested(NFTA_BITWISE_XOR)?.get(NFTA_DATA_VALUE)?;
    let plain = data.be32(NFTA_BITWISE_DREG)? == register && flip.iter().all(|byte| *byte == 0);
    plain.then_some(Step::Mask { register, mask })
}

fn is_final(steps: &[Step]) -> bool {
    let mut steps = steps
        .iter()
        .skip_while(|s| matches!(s, Step::Aside | Step::Comment(_)));
    matches!(steps.next(), Some(Step::End))
}

/// What the rule asks before it accepts; none if something about it is not understood, so that it equals no rule that
/// anybody wants.
fn conditions(family: TableFamily, steps: &[Step]) -> Option<Vec<Match>> {
    let mut protocol = match family {
        TableFamily::Ip => Some(Family::V4),
        TableFamily::Ip6 => Some(Family::V6),
        TableFamily::Inet => None,
    };
    let mut registers: BTreeMap<u32, Loaded> = BTreeMap::new();
    let mut found = Vec::new();
    for step in steps {
        match step {
            Step::Load { register, what } => {
                registers.insert(*register, what.clone());
            }
            Step::Mask { register, mask } => {
                let Loaded::Network {
                    mask: slot @ None, ..
                } = registers.get_mut(register)?
                else {
                    return None;
                };
                *slot = Some(mask.clone());
            }
            Step::Compare {
                register,
                is,
                value,
            } => match registers.get(register)? {
                Loaded::Protocol => protocol = Some(known(*is, value)?),
                Loaded::Iif => found.push(Match::Iif(*is, interface(value)?)),
                Loaded::Network { offset, mask } => {
                    found.push(address(protocol?, *is, *offset, mask.as_deref(), value)?);
                }
            },
            Step::Aside | Step::Comment(_) => {}
            Step::Accept => return Some(found),
            Step::End | Step::Unknown => return None,
        }
    }
    None
}

fn known(is: Is, value: &[u8]) -> Option<Family> {
    [Family::V4, Family::V6]
        .into_iter()
        .find(|family| is == Is::In && value == [nfproto(*family)])
}

/// A whole name is compared with its terminator, a prefix without.
fn interface(value: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(value).ok()?;
    Some(match name.split_once('\0') {
        Some((whole, _)) => whole.to_owned(),
        None => format!("{name}*"),
    })
}

/// An address and its prefix: either masked, or only its first bytes were loaded.
fn address(
    family: Family,
    is: Is,
    offset: u32,
    mask: Option<&[u8]>,
    value: &[u8],
) -> Option<Match> {
    let mut bytes = [0; 16];
    bytes.get_mut(..value.len())?.copy_from_slice(value);
    let ip = match family {
        Family::V4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        Family::V6 => IpAddr::from(bytes),
    };
    let length = match mask {
        Some(mask) if mask.len() == value.len() => ones(mask)?,
        Some(_) => return None,
        None => u8::try_from(value.len() * 8).ok()?,
    };
    let net = IpNet::new(ip, length).ok()?;
    let at = |field: Field| field.offset == offset;
    if at(source(family)) {
        Some(Match::Source(is, net))
    } else if at(destination(family)) {
        Some(Match::Destination(is, net))
    } else {
        None
    }
}

/// The length of a prefix whose mask this is; none if there are holes in it.
fn ones(mask: &[u8]) -> Option<u8> {
    let mut length = 0;
    let mut bits = mask
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    while bits.next()? {
        length += 1;
    }
    bits.all(|one| !one).then_some(length)
}
