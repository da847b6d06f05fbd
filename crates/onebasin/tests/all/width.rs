//! Wider merges: what they need, and that their files are networks like any other.

use onebasin::nn::samples::synthetic;
use onebasin::{Align, Blueprint, Context, Error, Merge, Model, Network, Pair, Repair};

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
    needs(Merge { batch_norm_samples: 0, ..wide(1.5) });
    assert!(matches!(refused(&wide(1.5), &Context::default()), Error::NeedsData { .. }));
}
