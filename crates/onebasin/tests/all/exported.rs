//! Networks that follow a graph which torch's default exporter wrote: it renames tensors, exchanges their axes, puts gates into
//! another order, and computes what it can.

use std::path::{Path, PathBuf};

use onebasin::core::stream::Stream;
use onebasin::core::symmetry::Alignment;
use onebasin::core::{Params, Tensor};
use onebasin::io::{Metadata, write};
use onebasin::{Align, Apply, Blueprint, Context, Merge, Model, Pair, apply};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn blueprint() -> Blueprint {
    Blueprint { graph: Some(golden("exported.onnx")), ..Blueprint::default() }
}

fn checkpoint() -> Model {
    Model::open(golden("exported.safetensors"), &blueprint()).unwrap()
}

/// The same network, trained differently.
fn other(params: &Params) -> Params {
    let shifted = |t: &Tensor| {
        let values: Vec<f32> =
            t.to_f32().unwrap().iter().enumerate().map(|(k, v)| v + (k as f32).sin() / 8.0).collect();
        Tensor::from_f32(t.shape(), values).unwrap()
    };
    params.iter().map(|(name, tensor)| (name.to_owned(), shifted(tensor))).collect()
}

#[test]
fn every_tensor_of_the_checkpoint_is_a_parameter_of_the_graph() {
    let model = checkpoint();
    assert!(model.rest().is_empty(), "{:?}", model.rest().names().collect::<Vec<_>>());
    let symmetry = model.symmetry().unwrap();
    let sizes: Vec<usize> = symmetry.groups().iter().map(|g| g.size).collect();
    assert_eq!(sizes, [5, 5, 12], "units of each direction, and of the layer after them; the table fixes those before");
    model.ensure(&symmetry, &Context::default()).unwrap();
}

#[test]
fn a_planted_permutation_is_found_and_undone() {
    let (folder, model) = (tempfile::tempdir().unwrap(), checkpoint());
    let symmetry = model.symmetry().unwrap();
    let planted =
        Alignment::random(&symmetry, &mut Stream::new(7, "planted")).apply(&symmetry, model.params()).unwrap();
    let b = folder.path().join("b.safetensors");
    write(&b, &planted, &Metadata::default()).unwrap();
    // The file was exported from the second network of one pair and from the first of the other.
    for (first, second) in [(golden("exported.safetensors"), b.clone()), (b, golden("exported.safetensors"))] {
        let pair = Pair::open(&first, &second, &blueprint()).unwrap();
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().params().unwrap();
        assert_eq!(&merged, pair.a().params());
    }
}

#[test]
fn a_network_of_other_values_follows_the_same_graph() {
    let (folder, model) = (tempfile::tempdir().unwrap(), checkpoint());
    let [b, moved] = ["b.safetensors", "moved.safetensors"].map(|name| folder.path().join(name));
    // Names as they are within another network.
    for prefix in ["", "model."] {
        let named: Params = other(model.params()).iter().map(|(n, t)| (format!("{prefix}{n}"), t.clone())).collect();
        write(&b, &named, &Metadata::default()).unwrap();
        let alone = Model::open(&b, &blueprint()).unwrap();
        assert!(alone.rest().is_empty());
        if prefix.is_empty() {
            assert_eq!(alone.graph(), model.graph(), "its place tells of each tensor what its values would");
        }
        let pair = Pair::open(golden("exported.safetensors"), &b, &blueprint()).unwrap();
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        apply(&aligned, pair.b(), &moved, &Apply::default(), &Context::default()).unwrap();
    }
}

/// A is an ONNX file, which holds an axis as a tensor; B a checkpoint, which does not.
#[test]
fn numbers_that_only_an_onnx_file_holds_are_of_its_graph() {
    let (folder, a) = (tempfile::tempdir().unwrap(), golden("axes.onnx"));
    let model = Model::open(&a, &Blueprint::default()).unwrap();
    let symmetry = model.symmetry().unwrap();
    let planted =
        Alignment::random(&symmetry, &mut Stream::new(7, "planted")).apply(&symmetry, model.params()).unwrap();
    let b = folder.path().join("b.safetensors");
    write(&b, &planted, &Metadata::default()).unwrap();
    for (first, second, kept) in [(&a, &b, &["val_9"][..]), (&b, &a, &[])] {
        let pair = Pair::open(first, second, &Blueprint::default()).unwrap();
        assert!(pair.account().copied.iter().eq(kept));
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().params().unwrap();
        assert_eq!(&merged, pair.a().params());
    }
}
