//! Reading files of torch, of every container.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onebasin_fuzz::open("net.pt", data));
