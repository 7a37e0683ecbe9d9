//! Datagrams that no kernel sends, put before everything that reads one: nothing may panic, and nothing may go on for ever.
//!
//! Built for tests and for the fuzzer only (`fuzz`, which sets `cfg(fuzzing)`): the decoders are nobody else's business. What
//! a decoder makes of a message stands beside it and in `tests`.

use crate::netlink::{notices, read_all};

/// Every decoder reads every message of the datagram, and its attributes in every place where attributes are read.
pub fn reply(datagram: &[u8]) {
    read_all(datagram);
    for (_, raw) in notices(datagram) {
        crate::rtnl::read_all(raw);
        crate::nft::read_all(raw);
        crate::conntrack::read_all(raw);
        crate::events::read_all(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// Texts that decide something, as attributes have them.
    const TEXTS: [&[u8]; 10] = [
        b"podwire\0",
        b"filter\0",
        b"payload\0",
        b"bitwise\0",
        b"cmp\0",
        b"meta\0",
        b"immediate\0",
        b"match\0",
        b"tbf\0",
        b"bridge\0",
    ];

    /// An attribute, most of them well-formed, with others in it.
    fn attribute() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            vec(any::<u8>(), 0..20),
            any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
            (0..16_u32).prop_map(|number| number.to_be_bytes().to_vec()),
            select(&TEXTS[..]).prop_map(<[u8]>::to_vec),
            Just(vec![0xff; 16]),
        ];
        let leaf = (0..24_u16, value, 0..8_u16).prop_map(framed);
        leaf.prop_recursive(4, 64, 6, |inner| {
            let nest = vec(inner, 0..6).prop_map(|all| all.concat());
            (0..24_u16, nest, 0..16_u16).prop_map(framed)
        })
    }

    /// One in sixteen or so says that it is longer or shorter than it is.
    fn framed((kind, value, lie): (u16, Vec<u8>, u16)) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).expect("small");
        let length = match lie {
            0 => length.wrapping_sub(5),
            1 => length + 3,
            _ => length,
        };
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let kinds = [
            2_u16, 3, 16, 17, 20, 24, 28, 36, 80, 0x0a00, 0x0a03, 0x0a06, 0x0a0c, 0x0a0f, 0x0100,
        ];
        let header = prop_oneof![
            vec(any::<u8>(), 0..16),
            // Address family, and what an expression's or a route's type would be.
            (select(&[0_u8, 1, 2, 10][..]), vec(0..16_u8, 15)).prop_map(|(family, rest)| {
                let mut bytes = vec![family];
                bytes.extend(rest);
                bytes
            }),
        ];
        let parts = (
            select(kinds.to_vec()),
            any::<u16>(),
            header,
            vec(attribute(), 0..8),
            0..4_usize,
        );
        parts.prop_map(|(kind, flags, header, attributes, cut)| {
            let header = &header[..header.len().min([4, 8, 12, 16][cut])];
            let body = [header, &attributes.concat()].concat();
            let mut bytes = u32::try_from(body.len() + 16)
                .expect("small")
                .to_ne_bytes()
                .to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            bytes.extend([0; 8]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn messages_that_no_kernel_sends_are_read_or_passed_over(all in vec(message(), 0..4)) {
            reply(&all.concat());
        }

        #[test]
        fn a_message_that_is_cut_or_spoilt_is_read_or_passed_over(
            whole in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let at = at.index(whole.len());
            reply(&whole[..at]);
            let mut spoilt = whole;
            spoilt[at] ^= byte;
            reply(&spoilt);
        }

        #[test]
        fn bytes_are_passed_over(bytes in vec(any::<u8>(), 0..200)) {
            reply(&bytes);
        }
    }
}
