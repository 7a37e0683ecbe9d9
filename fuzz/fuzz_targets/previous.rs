//! `prevResult`, handed on in every version; the body runs under proptest in `crates/model/tests/hostile.rs` too.
#![no_main]

#[allow(dead_code, reason = "each target has one of the bodies")]
#[path = "../../crates/model/tests/hostile/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    body::previous(bytes);
});
