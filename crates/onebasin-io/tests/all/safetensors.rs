//! Law 7 for safetensors: what is written is read; every truncation is an error; no byte makes a panic.

use bytes::Bytes;
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Tensor};
use onebasin_io::{Metadata, read, read_alignment, read_bytes, write, write_alignment};
use proptest::prelude::*;

const DTYPES: [DType; 15] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F8E4M3,
    DType::F8E5M2,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U64,
    DType::U32,
    DType::U16,
    DType::U8,
    DType::Bool,
];

/// A tensor of any type and shape (zero-length axes and scalars included), with any bits.
fn tensor() -> impl Strategy<Value = Tensor> {
    (0..DTYPES.len(), prop::collection::vec(0_usize..4, 0..4), any::<u64>()).prop_map(|(dtype, shape, seed)| {
        let dtype = DTYPES[dtype];
        let len = shape.iter().product::<usize>() * dtype.size();
        let mut stream = Stream::new(seed, "bytes");
        let byte = |_| if dtype == DType::Bool { stream.below(2) as u8 } else { stream.below(256) as u8 };
        Tensor::new(dtype, &shape, Bytes::from((0..len).map(byte).collect::<Vec<u8>>())).unwrap()
    })
}

fn checkpoint() -> impl Strategy<Value = (Params, Metadata)> {
    let names = prop::collection::btree_map("[a-zA-Z0-9_./ é\"\\\\-]{1,12}", tensor(), 0..6);
    let entries = prop::collection::btree_map("[a-z.\"]{1,8}", ".{0,12}", 0..4);
    (names, entries).prop_map(|(tensors, entries)| (tensors.into_iter().collect(), Metadata(entries)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read((params, metadata) in checkpoint()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        write(&path, &params, &metadata).unwrap();
        let found = read(&path).unwrap();
        prop_assert_eq!(&found.params, &params);
        prop_assert_eq!(&found.metadata, &metadata);
        let bytes = std::fs::read(&path).unwrap();
        write(&path, &found.params, &found.metadata).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), bytes);
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

fn small() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let params = [("a".to_owned(), Tensor::from_f32(&[2, 2], vec![1., 2., 3., 4.]).unwrap())].into_iter().collect();
    let mut metadata = Metadata::default();
    metadata.set("key", "value");
    write(&path, &params, &metadata).unwrap();
    std::fs::read(&path).unwrap()
}

#[test]
fn every_truncation_is_an_error() {
    let whole = small();
    for length in 0..whole.len() {
        let cut = Bytes::copy_from_slice(&whole[..length]);
        assert!(read_bytes(&cut, "cut".as_ref()).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn no_byte_makes_a_panic() {
    let whole = small();
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            read_bytes(&Bytes::from(bytes), "flipped".as_ref()).ok();
        }
    }
}

#[test]
fn shapes_that_overflow_are_refused() {
    for shape in ["[9223372036854775807, 9223372036854775807]", "[4611686018427387904]", "[-1]", "[1.5]"] {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}"#);
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
        let error = read_bytes(&Bytes::from(bytes), "net".as_ref()).unwrap_err().to_string();
        assert!(error.contains("net: not a valid safetensors file"), "{error}");
    }
}

#[test]
fn an_alignment_is_read_as_written_and_only_for_its_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alignment.safetensors");
    let net = |width: usize| -> Params {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, vec![0.5; shape.iter().product()]).unwrap();
        [("q".to_owned(), tensor(&[12, width])), ("o".to_owned(), tensor(&[width, 12]))].into_iter().collect()
    };
    let mut spec = SymmetrySpec::from_patterns([("q", "(h q@h) s"), ("o", "s (h q@h)")]).unwrap();
    spec.sizes.insert("h".to_owned(), 3);
    let symmetry = Symmetry::resolve(&spec, &net(5)).unwrap();
    let alignment = Alignment::random(&symmetry, &mut Stream::new(0, "alignment"));
    write_alignment(&path, &symmetry, &alignment, Metadata::default()).unwrap();
    let file = read(&path).unwrap();
    assert_eq!(read_alignment(&file, &net(5)).unwrap(), (symmetry, alignment));
    let error = read_alignment(&file, &net(6)).unwrap_err().to_string();
    assert!(error.contains("another network") && error.contains("`s` is 5, the axis is 6"), "{error}");

    let mut broken = file.clone();
    broken.params.insert("s", Tensor::from_u32(&[5], vec![0, 1, 2, 3, 3]).unwrap());
    let error = read_alignment(&broken, &net(5)).unwrap_err().to_string();
    assert!(error.contains("group `s`") && error.contains("3 appears twice"), "{error}");
}
