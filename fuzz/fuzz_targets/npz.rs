//! Reading archives of NumPy.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onebasin_fuzz::open("net.npz", data));
