//! Foreign packet filter tables as nf_tables messages, in the dialects that wrote them.
//!
//! A [`Table`](crate::firewall::Table) is described, then installed as one transaction. Tables of families `ip` and `ip6`
//! look as iptables-nft makes them (xt matches and targets, a counter in each rule), so that
//! iptables lists them; `inet` tables look as nft makes them. Only what firewalls of the field need.

use anyhow::{Context, Result};
use ipnet::IpNet;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook,
    Immediate, InetHookNumber, ListAttribute, Meta, MetaKey, NfTablesMessage, Operator, Payload,
    Register, RuleAttribute, RuleMessage, TableAttribute, TableMessage, Verdict as Code,
    VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::firewall::{Family, Match, Policy, Verdict};
use crate::netlink::{Named, exchange};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`.
const NETWORK_HEADER: u32 = 1;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`.
const TRANSPORT_HEADER: u32 = 2;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_ICMPV6: u8 = 58;

/// Messages of one transaction on one table.
pub(crate) struct Batch {
    family: Family,
    table: String,
    messages: Vec<Named<NetfilterMessage>>,
}

impl Batch {
    /// A transaction that begins by adding the table if it is not there.
    pub(crate) fn new(family: Family, table: &str) -> Self {
        let mut batch = Self {
            family,
            table: table.to_owned(),
            messages: vec![control("begin", ControlMessage::BatchBegin)],
        };
        let message = TableMessage {
            attributes: vec![TableAttribute::Name(table.to_owned())],
        };
        batch.push(
            "add table",
            NfTablesMessage::NewTable(message),
            NLM_F_CREATE,
        );
        batch
    }

    /// A base chain with priority `filter`; one that exists gets the policy.
    pub(crate) fn base_chain(&mut self, name: &str, hook: InetHookNumber, policy: Policy) {
        let message = ChainMessage {
            attributes: vec![
                ChainAttribute::Table(self.table.clone()),
                ChainAttribute::Name(name.to_owned()),
                ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(0)]),
                ChainAttribute::Policy(match policy {
                    Policy::Accept => NF_ACCEPT,
                    Policy::Drop => NF_DROP,
                }),
                ChainAttribute::Type("filter".to_owned()),
            ],
        };
        let what = format!("add chain {name}");
        self.push(&what, NfTablesMessage::NewChain(message), NLM_F_CREATE);
    }

    pub(crate) fn chain(&mut self, name: &str) {
        let message = ChainMessage {
            attributes: vec![
                ChainAttribute::Table(self.table.clone()),
                ChainAttribute::Name(name.to_owned()),
            ],
        };
        let what = format!("add chain {name}");
        self.push(&what, NfTablesMessage::NewChain(message), NLM_F_CREATE);
    }

    /// A rule at the end of the chain.
    pub(crate) fn rule(&mut self, chain: &str, matches: &[Match], verdict: &Verdict) {
        let mut expressions: Vec<ListAttribute<ExpressionAttribute>> = Vec::new();
        for one in matches {
            expressions.extend(self.matching(one));
        }
        if self.family.is_iptables() {
            expressions.push(raw("counter", vec![be64(1, 0), be64(2, 0)]));
        }
        expressions.push(self.verdict(verdict));
        let mut attributes = vec![
            RuleAttribute::Table(self.table.clone()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(expressions),
        ];
        if self.family.is_iptables() && matches.iter().any(|one| matches!(one, Match::Icmp6(_))) {
            // The xt match refuses to work where the rule does not name its protocol.
            let protocol = vec![be(1, u32::from(IPPROTO_ICMPV6)), be(2, 0)];
            attributes.push(RuleAttribute::Compat(protocol));
        }
        let message = RuleMessage { attributes };
        self.push(
            &format!("add rule to {chain}: {matches:?} {verdict:?}"),
            NfTablesMessage::NewRule(message),
            NLM_F_CREATE | NLM_F_APPEND,
        );
    }

    /// Hands the transaction to the kernel, in the network namespace of the calling thread.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.messages.push(control("end", ControlMessage::BatchEnd));
        exchange(NETLINK_NETFILTER, self.messages)
            .with_context(|| format!("write table {} {}", self.family.name(), self.table))
    }

    fn push(&mut self, what: &str, message: NfTablesMessage, flags: u16) {
        let header = NetfilterHeader::new(self.family.number(), 0, 0);
        let mut message = NetlinkMessage::from(NetfilterMessage::new(header, message));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        self.messages.push((what.to_owned(), message));
    }

    fn matching(&self, one: &Match) -> Vec<ListAttribute<ExpressionAttribute>> {
        match one {
            Match::In(name) => interface(MetaKey::Iifname, name, Operator::Equal),
            Match::NotIn(name) => interface(MetaKey::Iifname, name, Operator::NotEqual),
            Match::Out(name) => interface(MetaKey::Oifname, name, Operator::Equal),
            Match::NotOut(name) => interface(MetaKey::Oifname, name, Operator::NotEqual),
            Match::Source(net) => prefix(*net, true),
            Match::Destination(net) => prefix(*net, false),
            Match::Established => self.established(),
            Match::TcpPort(port) => vec![
                load(MetaKey::L4Proto),
                compare(Operator::Equal, vec![IPPROTO_TCP]),
                payload(TRANSPORT_HEADER, 2, 2),
                compare(Operator::Equal, port.to_be_bytes().to_vec()),
            ],
            Match::Icmp6(kind) => self.icmp6(*kind),
        }
    }

    fn icmp6(&self, kind: u8) -> Vec<ListAttribute<ExpressionAttribute>> {
        let mut expressions = vec![
            load(MetaKey::L4Proto),
            compare(Operator::Equal, vec![IPPROTO_ICMPV6]),
        ];
        if self.family.is_iptables() {
            // `struct ip6t_icmp`: type, first and last code, flags; padded to 8 bytes.
            let info = vec![kind, 0, 255, 0, 0, 0, 0, 0];
            expressions.push(xt("match", "icmp6", 0, info));
        } else {
            expressions.push(payload(TRANSPORT_HEADER, 0, 1));
            expressions.push(compare(Operator::Equal, vec![kind]));
        }
        expressions
    }

    fn established(&self) -> Vec<ListAttribute<ExpressionAttribute>> {
        /// `xt_conntrack_mtinfo3` and where in it `match_flags` and `state_mask` are.
        const INFO: usize = 168;
        const MATCH_FLAGS: usize = 146;
        const STATE_MASK: usize = 150;
        const XT_CONNTRACK_STATE: u16 = 1;
        const ESTABLISHED_OR_RELATED: u16 = 6;
        if self.family.is_iptables() {
            let mut info = vec![0; INFO];
            put(&mut info, MATCH_FLAGS, XT_CONNTRACK_STATE);
            put(&mut info, STATE_MASK, ESTABLISHED_OR_RELATED);
            return vec![xt("match", "conntrack", 3, info)];
        }
        let mask = u32::from(ESTABLISHED_OR_RELATED).to_ne_bytes();
        vec![
            raw("ct", vec![be(2, 0), be(1, 1)]),
            raw(
                "bitwise",
                vec![
                    be(1, 1),
                    be(2, 1),
                    be(3, 4),
                    data(4, &mask),
                    data(5, &[0; 4]),
                ],
            ),
            compare(Operator::NotEqual, vec![0; 4]),
        ]
    }

    fn verdict(&self, verdict: &Verdict) -> ListAttribute<ExpressionAttribute> {
        let (code, chain) = match verdict {
            Verdict::Accept => (Code::Other(NF_ACCEPT), None),
            Verdict::Drop => (Code::Other(NF_DROP), None),
            Verdict::Return => (Code::Return, None),
            Verdict::Jump(chain) => (Code::Jump, Some(chain)),
            Verdict::Reject => return self.reject(),
        };
        let mut attributes = vec![VerdictAttribute::Code(code)];
        attributes.extend(chain.map(|chain| VerdictAttribute::Chain(chain.clone())));
        Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Verdict),
            Immediate::Data(DataAttribute::Verdict(attributes)),
        ])
        .into()
    }

    /// As `icmp-host-prohibited`, `icmp6-adm-prohibited`, and `icmpx admin-prohibited`.
    fn reject(&self) -> ListAttribute<ExpressionAttribute> {
        /// `NFT_REJECT_ICMPX_UNREACH` and `NFT_REJECT_ICMPX_ADMIN_PROHIBITED`.
        const ICMPX: (u32, u8) = (2, 3);
        match self.family {
            Family::Ip => xt("target", "REJECT", 0, vec![6, 0, 0, 0, 0, 0, 0, 0]),
            Family::Ip6 => xt("target", "REJECT", 0, vec![1, 0, 0, 0, 0, 0, 0, 0]),
            Family::Inet => raw(
                "reject",
                vec![be(1, ICMPX.0), DefaultNla::new(2, vec![ICMPX.1])],
            ),
        }
    }
}

impl Family {
    fn number(self) -> NetfilterProtoFamily {
        match self {
            Self::Ip => NetfilterProtoFamily::IPv4,
            Self::Ip6 => NetfilterProtoFamily::IPv6,
            Self::Inet => NetfilterProtoFamily::Inet,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        }
    }

    fn is_iptables(self) -> bool {
        !matches!(self, Self::Inet)
    }
}

fn control(name: &str, message: ControlMessage) -> Named<NetfilterMessage> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, message));
    message.header.flags = NLM_F_REQUEST;
    (format!("{name} a batch"), message)
}

fn interface(
    key: MetaKey,
    name: &str,
    operator: Operator,
) -> Vec<ListAttribute<ExpressionAttribute>> {
    let mut value = name.as_bytes().to_vec();
    value.push(0);
    vec![load(key), compare(operator, value)]
}

/// Compares the first bytes of the address; iptables and nft do the same for whole-byte prefixes.
fn prefix(net: IpNet, source: bool) -> Vec<ListAttribute<ExpressionAttribute>> {
    let (octets, offset) = match (net, source) {
        (IpNet::V4(net), true) => (net.network().octets().to_vec(), 12),
        (IpNet::V4(net), false) => (net.network().octets().to_vec(), 16),
        (IpNet::V6(net), true) => (net.network().octets().to_vec(), 8),
        (IpNet::V6(net), false) => (net.network().octets().to_vec(), 24),
    };
    let length = net.prefix_len().div_ceil(8);
    let bits = net.prefix_len() % 8;
    let mut expressions = vec![payload(NETWORK_HEADER, offset, u32::from(length))];
    if bits != 0 {
        let mut mask = vec![0xff; usize::from(length)];
        if let Some(last) = mask.last_mut() {
            *last <<= 8 - bits;
        }
        let zero = vec![0; usize::from(length)];
        expressions.push(raw(
            "bitwise",
            vec![
                be(1, 1),
                be(2, 1),
                be(3, u32::from(length)),
                data(4, &mask),
                data(5, &zero),
            ],
        ));
    }
    let value = octets.get(..usize::from(length)).unwrap_or_default();
    expressions.push(compare(Operator::Equal, value.to_vec()));
    expressions
}

fn load(key: MetaKey) -> ListAttribute<ExpressionAttribute> {
    Expressions::Meta(vec![
        Meta::Key(key),
        Meta::DestinationRegister(Register::Reg1),
    ])
    .into()
}

fn payload(base: u32, offset: u32, length: u32) -> ListAttribute<ExpressionAttribute> {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
    .into()
}

fn compare(operator: Operator, value: Vec<u8>) -> ListAttribute<ExpressionAttribute> {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
    .into()
}

/// An iptables extension: kind `match` or `target`, with the bytes of its C structure.
fn xt(kind: &str, name: &str, revision: u32, info: Vec<u8>) -> ListAttribute<ExpressionAttribute> {
    let mut name = name.as_bytes().to_vec();
    name.push(0);
    raw(
        kind,
        vec![
            DefaultNla::new(1, name),
            be(2, revision),
            DefaultNla::new(3, info),
        ],
    )
}

fn raw(kind: &str, attributes: Vec<DefaultNla>) -> ListAttribute<ExpressionAttribute> {
    Expressions::Other {
        expression_type: kind.to_owned(),
        attributes,
    }
    .into()
}

fn be(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

fn be64(kind: u16, value: u64) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

/// `NFTA_DATA_VALUE` nested in the attribute.
fn data(kind: u16, value: &[u8]) -> DefaultNla {
    const NLA_F_NESTED: u16 = 0x8000;
    const NLA_HEADER: u16 = 4;
    const NFTA_DATA_VALUE: u16 = 1;
    let length = u16::try_from(value.len()).map_or(u16::MAX, |length| length + NLA_HEADER);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(NFTA_DATA_VALUE.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}

fn put(info: &mut [u8], at: usize, value: u16) {
    if let Some(place) = info.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}
