//! From an ONNX model to its symmetry: what is found leaves the function as it is, or the network does not run.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use onebasin_core::symmetry::{Symmetry, discover};
use onebasin_io::OnnxModel;
use onebasin_nn::check::{CheckOptions, check};
use onebasin_nn::exec::Program;

/// Values of a network at most, and multiply-adds: fuzzing is for many small ones.
const LARGE: usize = 1 << 16;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(model) = OnnxModel::parse(&Bytes::copy_from_slice(data), "net.onnx".as_ref()) else { return };
    let Ok(graph) = model.graph(&BTreeMap::new()) else { return };
    let found = discover(&graph);
    let params = graph.params().filter_map(|p| Some((p.name.clone(), model.params().get(&p.name)?.clone()))).collect();
    let Ok(symmetry) = Symmetry::resolve(found.spec(), &params) else { return };
    let small = graph.values().iter().all(|v| v.shape.iter().fold(1_usize, |n, d| n.saturating_mul(*d)) < LARGE);
    if !small || params.check_finite().is_err() {
        return;
    }
    let Ok(program) = Program::new(graph) else { return };
    if program.multiply_adds() < LARGE as f64 {
        check(&program, &params, &symmetry, &CheckOptions { samples: 1, ..CheckOptions::default() }).ok();
    }
});
