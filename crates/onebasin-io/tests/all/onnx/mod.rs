//! ONNX models: what is read, that nothing is lost in writing, and what bad input is told.

mod goldens;
mod graph;
mod hostile;
mod inlined;
mod over;
mod real;
mod written;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use onebasin_core::{DType, Params, Tensor};
use onebasin_io::OnnxModel;

const GOLDENS: [&str; 7] = ["raw", "typed", "half", "constant", "subgraph", "shapes", "external"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}.onnx"))
}

fn open(name: &str) -> OnnxModel {
    OnnxModel::open(&golden(name)).unwrap()
}

fn names(params: &Params) -> Vec<&str> {
    params.names().collect()
}

/// The `i`th element of the tensors that [`ramp`] in the script of the goldens makes.
fn ramp(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64 / 8.0 - 1.0).collect()
}

/// A tensor of zeros that takes no memory until it is written.
fn zeros(shape: &[usize]) -> onebasin_core::error::Result<Tensor> {
    Tensor::new(DType::F32, shape, Bytes::from(vec![0; 4 * shape.iter().product::<usize>()]))
}

/// These weights, the floats among them doubled.
fn doubled(params: &Params) -> Params {
    let double = |t: &Tensor| {
        let values = t.to_f64().unwrap().iter().map(|v| 2.0 * v).collect::<Vec<_>>();
        Tensor::from_f64_as(t.dtype(), t.shape(), &values).unwrap()
    };
    params.iter().map(|(n, t)| (n.to_owned(), if t.dtype().is_float() { double(t) } else { t.clone() })).collect()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn integer(tag: u64, value: i64) -> Vec<u8> {
    [varint(tag << 3), varint(value as u64)].concat()
}

fn delimited(tag: u64, content: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let mut out = delimited(4, op_type.as_bytes());
    out.extend(inputs.iter().flat_map(|name| delimited(1, name.as_bytes())));
    out.extend(outputs.iter().flat_map(|name| delimited(2, name.as_bytes())));
    out
}

fn tensor(name: &str, dims: &[i64], data_type: i64, raw: &[u8]) -> Vec<u8> {
    let dims = dims.iter().flat_map(|&d| integer(1, d));
    dims.chain([integer(2, data_type), delimited(8, name.as_bytes()), delimited(9, raw)].concat()).collect()
}

fn import(opset: i64) -> Vec<u8> {
    delimited(8, &integer(2, opset))
}

fn model(nodes: &[Vec<u8>], tensors: &[Vec<u8>], outputs: &[&str], opset: i64) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|node| delimited(1, node));
    let tensors = tensors.iter().flat_map(|tensor| delimited(5, tensor));
    let outputs = outputs.iter().flat_map(|name| delimited(12, &delimited(1, name.as_bytes())));
    let graph: Vec<u8> = nodes.chain(tensors).chain(outputs).collect();
    [integer(1, 8), delimited(7, &graph), import(opset)].concat()
}
