//! ONNX: what is read is written back, and read again.
#![no_main]

use bytes::Bytes;
use onebasin_io::OnnxModel;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(model) = OnnxModel::parse(&Bytes::copy_from_slice(data), "net.onnx".as_ref()) {
        onebasin_fuzz::look(model.params());
        let path = onebasin_fuzz::file("net.onnx", b"");
        if model.write(&path, model.params(), None).is_ok() {
            assert_eq!(OnnxModel::open(&path).map(|again| again.params() == model.params()).ok(), Some(true));
        }
    }
});
