//! Alignment files, and whether they fit a network.
#![no_main]

use bytes::Bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(file) = onebasin_io::read_bytes(&Bytes::copy_from_slice(data), "alignment.safetensors".as_ref()) {
        let net = onebasin_fuzz::net();
        if let Ok((symmetry, alignment)) = onebasin_io::read_alignment(&file, &net) {
            alignment.apply(&symmetry, &net).expect("it fits");
        }
    }
});
