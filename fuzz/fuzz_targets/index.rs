//! Indices of shards: the shard beside it holds one network.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let shard = onebasin_fuzz::file("model-1.safetensors", b"");
    onebasin_io::write(&shard, &onebasin_fuzz::net(), &onebasin_io::Metadata::default()).expect("there is room");
    onebasin_fuzz::open("model.safetensors.index.json", data);
});
