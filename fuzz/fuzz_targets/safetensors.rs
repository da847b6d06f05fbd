//! safetensors: header and tensors, from bytes and from a file.
#![no_main]

use bytes::Bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(found) = onebasin_io::read_bytes(&Bytes::copy_from_slice(data), "net.safetensors".as_ref()) {
        onebasin_fuzz::look(&found.params);
        onebasin_fuzz::open("net.safetensors", data);
    }
});
