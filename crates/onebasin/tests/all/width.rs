//! Wider merges: what they need, and that their files are networks like any other.

use onebasin::nn::samples::synthetic;
use onebasin::{Align, Blueprint, Context, Error, Merge, Model, Network, Pair, Repair, Symmetry, Tensor};

fn pair(network: &Network) -> Pair {
    let [a, b] = [0, 1].map(|seed| Model::of(network, network.init(seed).unwrap()).unwrap());
    Pair::new(a, b).unwrap()
}

fn wide(width: f64) -> Merge {
    Merge { width, repair: Repair::Solve, ..Merge::default() }
}

#[test]
fn a_file_of_a_wider_network_opens_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, input, found) in [
        ("mlp:16x2", &[6][..], "mlp:20x2"),
        ("resnet20-bn:0.25", &[3, 8, 8], "resnet20-bn:0.3125"),
        ("resnet20-a", &[3, 8, 8], "resnet20-a"),
    ] {
        let network = Network::new(name, input, 4).unwrap();
        let pair = pair(&network);
        let data = synthetic(&network.graph().unwrap(), 24, 0).unwrap();
        let context = Context { train: Some(&data), ..Context::default() };
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        let merged = pair.merge(&aligned, &wide(1.25), &context).unwrap();
        let path = folder.path().join("wide.safetensors");
        assert_eq!(merged.write(&path).unwrap().options["width"], 1.25);
        let opened = Model::open(&path, &Blueprint::default()).unwrap();
        let model = merged.model().unwrap();
        assert_eq!(opened.params(), model.params(), "{name}");
        assert_eq!(opened.graph(), model.graph(), "{name}");
        assert_eq!(opened.network().map(|n| n.name.as_str()), Some(found));
        assert!(opened.runs() && opened.program_for(&data).is_ok(), "{name}");
        assert_eq!(Pair::new(opened, model).unwrap().account().merged, merged.params().unwrap().len());
    }
}

#[test]
fn width_one_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new("mlp:8x2", &[6], 3).unwrap();
    let pair = pair(&network);
    let data = synthetic(&network.graph().unwrap(), 40, 0).unwrap();
    let context = Context { train: Some(&data), ..Context::default() };
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let bytes = |options: &Merge, name: &str| {
        let path = folder.path().join(name);
        pair.merge(&aligned, options, &context).unwrap().write(&path).unwrap();
        std::fs::read(path).unwrap()
    };
    let plain = Merge { repair: Repair::Solve, ..Merge::default() };
    assert_eq!(bytes(&plain, "plain.safetensors"), bytes(&wide(1.0), "one.safetensors"));
}

#[test]
fn what_cannot_be_widened_is_refused_by_name() {
    let network = Network::new("mlp:8x2", &[6], 3).unwrap();
    let pair = pair(&network);
    let data = synthetic(&network.graph().unwrap(), 8, 0).unwrap();
    let context = Context { train: Some(&data), ..Context::default() };
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let refused = |options: &Merge, context: &Context<'_>| pair.merge(&aligned, options, context).unwrap_err();
    for width in [f64::NAN, 0.5, 2.5, f64::INFINITY, -1.0] {
        assert!(matches!(refused(&wide(width), &context), Error::Option { option: "width", .. }), "{width}");
    }
    let needs = |options: Merge| {
        let error = refused(&options, &context);
        assert!(matches!(error, Error::Needs { .. }), "{error}");
    };
    needs(Merge { repair: Repair::None, ..wide(1.5) });
    needs(Merge { lambda: 0.0, ..wide(1.5) });
    needs(Merge { group_lambda: [("fc1".to_owned(), 0.5)].into(), ..wide(1.5) });
    needs(Merge { solve_samples: 0, ..wide(1.5) });
    assert!(matches!(refused(&wide(1.5), &Context::default()), Error::NeedsData { .. }));
}

/// Two networks of one ONNX model give a wider ONNX model, which opens as what was computed with: every size in it is another.
#[test]
fn an_onnx_model_is_written_with_all_its_sizes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["chunk", "gn", "optiona", "vgg", "mobile"] {
        let golden = format!("{}/tests/goldens/wide/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let a = Model::open(&golden, &Blueprint::default()).unwrap();
        let graph = a.graph().unwrap().clone();
        let turned = |t: &Tensor| {
            let values: Vec<f32> =
                t.to_f32().unwrap().iter().enumerate().map(|(k, v)| v + 0.2 * v.abs() * (k as f32).sin()).collect();
            Tensor::from_f32(t.shape(), values).unwrap()
        };
        let params = a.params().iter().map(|(name, tensor)| (name.to_owned(), turned(tensor))).collect();
        let before = a.symmetry().unwrap();
        let data = synthetic(&graph, 24, 0).unwrap();
        let pair = Pair::new(a, Model::with_graph("b", params, graph).unwrap()).unwrap();
        let context = Context { train: Some(&data), ..Context::default() };
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        let merged = pair.merge(&aligned, &wide(1.5), &context).unwrap();
        let refused = merged.write(folder.path().join("wide.safetensors")).unwrap_err();
        assert!(matches!(refused, Error::Unwritable { .. }), "{name}: {refused}");
        let path = folder.path().join(format!("{name}.onnx"));
        merged.write(&path).unwrap();
        let (opened, model) = (Model::open(&path, &Blueprint::default()).unwrap(), merged.model().unwrap());
        assert_eq!(opened.params(), model.params(), "{name}");
        // Where both networks differ, the result has neither's numbers.
        let [of_a, of_b] = [pair.a().params(), pair.b().params()];
        let is_new = |(tensor, t): (&str, &Tensor)| of_a.get(tensor) == of_b.get(tensor) || of_a.get(tensor) != Some(t);
        assert!(model.params().iter().all(is_new), "{name}");
        assert!(opened.runs() && opened.program_for(&data).is_ok(), "{name}");
        let after = opened.symmetry().unwrap();
        let sizes = |symmetry: &Symmetry| symmetry.groups().iter().map(|g| g.size).sum::<usize>();
        assert!(sizes(&after) > sizes(&before), "{name}");
        opened.ensure(&after, &Context::default()).unwrap();
    }
}
