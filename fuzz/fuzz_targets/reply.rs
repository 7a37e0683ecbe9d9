//! What the kernel answers on netlink; the body, `host::heard`, runs under proptest there too.
#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    host::heard::reply(datagram);
});
