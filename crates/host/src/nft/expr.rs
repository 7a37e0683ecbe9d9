//! Rules as nf_tables expressions: the small programs that the kernel runs for each packet.
//!
//! Each condition loads something into a register and compares it; the verdict comes last. Follows
//! linux/netfilter/nf_tables.h (`NFTA_*`, one nest per expression), and in the choice and order of expressions nft(8) and
//! iptables-nft(8), because what they cannot read back they print wrongly, and iptables-save then stores it wrongly. So a
//! prefix is always load, mask, compare: old iptables-nft does not know the shorter load for whole bytes.

use super::attr::Attrs;
use super::number::*;
use ipnet::IpNet;
use model::addr::Family;
use model::firewall::{Is, Match, Rule, Set, SetKind, TableFamily, Verdict};

/// Length and place of an address in its protocol's header.
pub(super) struct Field {
    pub(super) offset: u32,
    pub(super) bytes: u8,
}

/// Where TCP, UDP and SCTP have the destination port.
const DESTINATION_PORT: Field = Field {
    offset: 2,
    bytes: 2,
};

/// Where the source address stands.
pub(super) fn source(family: Family) -> Field {
    match family {
        Family::V4 => Field {
            offset: 12,
            bytes: 4,
        },
        Family::V6 => Field {
            offset: 8,
            bytes: 16,
        },
    }
}

/// Where the destination address stands.
pub(super) fn destination(family: Family) -> Field {
    match family {
        Family::V4 => Field {
            offset: 16,
            bytes: 4,
        },
        Family::V6 => Field {
            offset: 24,
            bytes: 16,
        },
    }
}

/// Encodes a rule for a table of `family`; none if its conditions cannot stand there.
pub(super) fn encode(family: TableFamily, rule: &Rule) -> Option<Attrs> {
    let mut program = Program {
        table: family,
        known: None,
        out: Attrs::default(),
    };
    for condition in &rule.matches {
        program.condition(condition)?;
    }
    program.verdict(rule.verdict)?;
    Some(program.out)
}

struct Program {
    table: TableFamily,
    /// The protocol that a condition before has already established, in tables of both.
    known: Option<Family>,
    out: Attrs,
}

impl Program {
    fn condition(&mut self, condition: &Match) -> Option<()> {
        match condition {
            Match::Iif(is, name) => {
                self.meta(NFT_META_IIFNAME);
                self.compare(*is, &interface(name));
            }
            Match::OifIn(is, set) => {
                if set.kind() != SetKind::Interfaces {
                    return None;
                }
                self.meta(NFT_META_OIFNAME);
                self.lookup(*is, *set);
            }
            Match::Source(is, net) => self.prefix(*is, *net, source)?,
            Match::Destination(is, net) => self.prefix(*is, *net, destination)?,
            Match::SourceIn(is, set) => self.member(*is, *set, source)?,
            Match::DestinationIn(is, set) => self.member(*is, *set, destination)?,
            Match::PairIn(set) => self.pair(*set)?,
            Match::ToThisNode => self.local_destination(),
            Match::NoReversePath => self.no_reverse_path(),
            Match::Dnat => self.dnat(),
        }
        Some(())
    }

    fn verdict(&mut self, verdict: Verdict) -> Option<()> {
        match verdict {
            Verdict::Accept => self.immediate(NF_ACCEPT),
            Verdict::Drop => {
                self.expr("counter", |e| {
                    e.be64(NFTA_COUNTER_BYTES, 0).be64(NFTA_COUNTER_PACKETS, 0);
                });
                self.immediate(NF_DROP);
            }
            Verdict::Masquerade => self.expr("masq", |e| {
                e.be32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
            }),
            Verdict::Dnat(map) => self.lead(map)?,
        }
        Some(())
    }

    /// Puts what the map is asked for into one register after another, and takes address and port out of the same.
    fn lead(&mut self, map: Set) -> Option<()> {
        let (family, at) = match map.kind() {
            SetKind::Ports(family) => (family, false),
            SetKind::PortsAt(family) => (family, true),
            SetKind::Prefixes(_)
            | SetKind::Addresses(_)
            | SetKind::Interfaces
            | SetKind::Pairs(_)
            | SetKind::Pods(_) => return None,
        };
        let address = destination(family);
        let behind = NFT_REG32_00 + u32::from(address.bytes) / 4;
        let mut next = NFT_REG32_00;
        if at {
            self.address(family, &address)?;
            next = behind;
        }
        self.load_meta(NFT_META_L4PROTO, next);
        self.load(NFT_PAYLOAD_TRANSPORT_HEADER, &DESTINATION_PORT, next + 1);
        self.expr("lookup", |e| {
            e.text(NFTA_LOOKUP_SET, map.name())
                .be32(NFTA_LOOKUP_SREG, NFT_REG_1)
                .be32(NFTA_LOOKUP_DREG, NFT_REG_1);
        });
        self.expr("nat", |e| {
            e.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT)
                .be32(NFTA_NAT_FAMILY, u32::from(nfproto(family)))
                .be32(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1)
                .be32(NFTA_NAT_REG_PROTO_MIN, behind);
        });
        Some(())
    }

    fn pair(&mut self, set: Set) -> Option<()> {
        let SetKind::Pairs(family) = set.kind() else {
            return None;
        };
        let second = destination(family);
        let behind = NFT_REG32_00 + u32::from(second.bytes) / 4;
        self.address(family, &source(family))?;
        self.load(NFT_PAYLOAD_NETWORK_HEADER, &second, behind);
        self.lookup(Is::In, set);
        Some(())
    }

    fn prefix(&mut self, is: Is, net: IpNet, field: fn(Family) -> Field) -> Option<()> {
        let family = Family::of(net.addr());
        self.address(family, &field(family))?;
        if net.prefix_len() < family.bits() {
            self.mask(&octets(net.netmask()));
        }
        self.compare(is, &octets(net.network()));
        Some(())
    }

    fn member(&mut self, is: Is, set: Set, field: fn(Family) -> Field) -> Option<()> {
        let (SetKind::Prefixes(family) | SetKind::Addresses(family) | SetKind::Pods(family)) =
            set.kind()
        else {
            return None;
        };
        self.address(family, &field(family))?;
        self.lookup(is, set);
        Some(())
    }

    /// Loads an address, in a table of both families only after the question which protocol it is.
    fn address(&mut self, family: Family, field: &Field) -> Option<()> {
        if !self.table.sees(family) {
            return None;
        }
        if self.table == TableFamily::Inet && self.known != Some(family) {
            self.meta(NFT_META_NFPROTO);
            self.compare(Is::In, &[nfproto(family)]);
            self.known = Some(family);
        }
        self.load(NFT_PAYLOAD_NETWORK_HEADER, field, NFT_REG_1);
        Some(())
    }

    fn load(&mut self, header: u32, field: &Field, register: u32) {
        self.expr("payload", |e| {
            e.be32(NFTA_PAYLOAD_DREG, register)
                .be32(NFTA_PAYLOAD_BASE, header)
                .be32(NFTA_PAYLOAD_OFFSET, field.offset)
                .be32(NFTA_PAYLOAD_LEN, u32::from(field.bytes));
        });
    }

    fn local_destination(&mut self) {
        self.expr("fib", |e| {
            e.be32(NFTA_FIB_DREG, NFT_REG_1)
                .be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE)
                .be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
        });
        self.compare(Is::In, &RTN_LOCAL.to_ne_bytes());
    }

    fn no_reverse_path(&mut self) {
        self.expr("fib", |e| {
            e.be32(NFTA_FIB_DREG, NFT_REG_1)
                .be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_OIF)
                .be32(
                    NFTA_FIB_FLAGS,
                    NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT,
                );
        });
        // The answer is one byte, but nft compares the whole register, and prints anything shorter as a prefix.
        self.compare(Is::In, &[0; 4]);
    }

    fn dnat(&mut self) {
        self.expr("ct", |e| {
            e.be32(NFTA_CT_DREG, NFT_REG_1)
                .be32(NFTA_CT_KEY, NFT_CT_STATUS);
        });
        self.mask(&IPS_DST_NAT.to_ne_bytes());
        self.compare(Is::NotIn, &[0; 4]);
    }

    fn meta(&mut self, key: u32) {
        self.load_meta(key, NFT_REG_1);
    }

    fn load_meta(&mut self, key: u32, register: u32) {
        self.expr("meta", |e| {
            e.be32(NFTA_META_DREG, register).be32(NFTA_META_KEY, key);
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        let length = u32::try_from(mask.len()).unwrap_or_default();
        let zero = [0; 16];
        self.expr("bitwise", |e| {
            e.be32(NFTA_BITWISE_SREG, NFT_REG_1)
                .be32(NFTA_BITWISE_DREG, NFT_REG_1)
                .be32(NFTA_BITWISE_LEN, length)
                .nest(NFTA_BITWISE_MASK, |data| {
                    data.put(NFTA_DATA_VALUE, mask);
                })
                .nest(NFTA_BITWISE_XOR, |data| {
                    data.put(NFTA_DATA_VALUE, &zero[..mask.len()]);
                });
        });
    }

    fn compare(&mut self, is: Is, value: &[u8]) {
        let op = match is {
            Is::In => NFT_CMP_EQ,
            Is::NotIn => NFT_CMP_NEQ,
        };
        self.expr("cmp", |e| {
            e.be32(NFTA_CMP_SREG, NFT_REG_1)
                .be32(NFTA_CMP_OP, op)
                .nest(NFTA_CMP_DATA, |data| {
                    data.put(NFTA_DATA_VALUE, value);
                });
        });
    }

    fn lookup(&mut self, is: Is, set: Set) {
        self.expr("lookup", |e| {
            e.text(NFTA_LOOKUP_SET, set.name())
                .be32(NFTA_LOOKUP_SREG, NFT_REG_1);
            if is == Is::NotIn {
                e.be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
            }
        });
    }

    fn immediate(&mut self, code: u32) {
        self.expr("immediate", |e| {
            e.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT)
                .nest(NFTA_IMMEDIATE_DATA, |data| {
                    data.nest(NFTA_DATA_VERDICT, |verdict| {
                        verdict.be32(NFTA_VERDICT_CODE, code);
                    });
                });
        });
    }

    fn expr(&mut self, name: &str, fill: impl FnOnce(&mut Attrs)) {
        self.out.nest(NFTA_LIST_ELEM, |e| {
            e.text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, fill);
        });
    }
}

/// A table's family as the kernel has it.
pub(super) fn table_family(family: TableFamily) -> u8 {
    match family {
        TableFamily::Ip => NFPROTO_IPV4,
        TableFamily::Ip6 => NFPROTO_IPV6,
        TableFamily::Inet => NFPROTO_INET,
    }
}

/// The protocol of a packet as the kernel has it.
pub(super) fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => NFPROTO_IPV4,
        Family::V6 => NFPROTO_IPV6,
    }
}

/// An address's bytes.
pub(super) fn octets(ip: std::net::IpAddr) -> Vec<u8> {
    match ip {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A link's name as it is compared: `pw*` by its first letters, a whole name with all the zeros behind it.
fn interface(name: &str) -> Vec<u8> {
    match name.strip_suffix('*') {
        Some(prefix) => prefix.as_bytes().to_vec(),
        None => padded(name),
    }
}

/// A link's name in the kernel's full length.
pub(super) fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}
