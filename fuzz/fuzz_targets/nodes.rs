//! `nodes.toml`; the body runs under proptest beside the reader too.
#![no_main]

#[path = "nodes/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    source::file::text::chance::nodes(bytes);
});
