//! Networks that answer different classes, merged into one that answers those of both.

use onebasin::nn::samples::synthetic;
use onebasin::nn::{Predictions, predict};
use onebasin::{Align, Blueprint, Context, Error, Merge, Model, Network, Pair, Params, Repair, Tensor};

/// Networks of one name, `classes` of each, whose layers are the same but for the last.
fn siblings(name: &str, input: &[usize], classes: [usize; 2]) -> [(Network, Params); 2] {
    let network = |classes| Network::new(name, input, classes).unwrap();
    let [a, b] = classes.map(network);
    let (of_a, mut of_b) = (a.init(0).unwrap(), b.init(1).unwrap());
    for (name, tensor) in of_a.iter().filter(|(name, t)| b.init(1).unwrap().require(name).unwrap().shape() == t.shape())
    {
        of_b.insert(name, tensor.clone());
    }
    [(a, of_a), (b, of_b)]
}

/// Odds of the classes of a network among themselves, in numbers that do not depend on what else is answered.
fn odds(network: &Network, params: &Params, classes: std::ops::Range<usize>) -> Vec<f64> {
    let data = synthetic(&network.graph().unwrap(), 20, 7).unwrap();
    let program = onebasin::nn::exec::Program::new(network.graph().unwrap()).unwrap();
    let Predictions { classes: all, probabilities } = predict(&program, params, &data).unwrap();
    let of = |p: &[f64]| p[classes.clone()].iter().map(|q| q / p[classes.start]).collect::<Vec<_>>();
    probabilities.chunks_exact(all).flat_map(of).collect()
}

#[test]
fn each_answers_its_own_classes() {
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs()));
    for (name, input) in [("mlp:16x2", &[6][..]), ("resnet20-bn:0.25", &[3, 8, 8]), ("vgg16-ln:0.0625", &[3, 32, 32])] {
        let [(a, of_a), (b, of_b)] = siblings(name, input, [3, 2]);
        let models = [Model::of(&a, of_a.clone()).unwrap(), Model::of(&b, of_b.clone()).unwrap()];
        let [first, second] = models;
        let pair = Pair::side_by_side(first, second).unwrap();
        let data = synthetic(&a.graph().unwrap(), 60, 0).unwrap();
        let context = Context { train: Some(&data), ..Context::default() };
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        for repair in [Repair::None, Repair::Solve] {
            let options = Merge { repair, batch_norm_samples: 0, ..Merge::default() };
            let merged = pair.merge(&aligned, &options, &context).unwrap().model().unwrap();
            let network = merged.network().unwrap();
            assert_eq!(network.classes, 5);
            if repair == Repair::None {
                let [of_a, of_b] = [odds(&a, &of_a, 0..3), odds(&b, &of_b, 0..2)];
                assert!(near(&odds(network, merged.params(), 0..3), &of_a), "{name}");
                assert!(near(&odds(network, merged.params(), 3..5), &of_b), "{name}");
            }
        }
    }
}

#[test]
fn the_file_is_a_network_of_all_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [(_, of_a), (_, of_b)] = siblings("mlp:8x2", &[6], [4, 2]);
    for (file, params) in [("a.safetensors", &of_a), ("b.safetensors", &of_b)] {
        let named = params.iter().map(|(name, t)| (format!("module.{name}"), t.clone())).collect();
        onebasin::io::write(&at(file), &named, &onebasin::io::Metadata::default()).unwrap();
    }
    let blueprint = Blueprint { network: Some("mlp:8x2".to_owned()), ..Blueprint::default() };
    let open = |file: &str| Model::open(at(file), &blueprint).unwrap();
    let pair = Pair::side_by_side(open("a.safetensors"), open("b.safetensors")).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap();
    let written = merged.write(at("m.safetensors")).unwrap();
    assert_eq!(written.options["side_by_side"], serde_json::json!([4, 2]));
    assert_eq!(written.inputs.len(), 2);
    let opened = Model::open(at("m.safetensors"), &Blueprint::default()).unwrap();
    assert_eq!(opened.network().unwrap().classes, 6);
    assert!(opened.params().get("module.fc3.weight").is_some());
    assert!(merged.write(at("a.safetensors")).is_err(), "an input is not replaced unasked");
}

#[test]
fn what_cannot_stand_side_by_side_is_refused() {
    let model = |name: &str, classes| {
        let network = Network::new(name, &[6], classes).unwrap();
        Model::of(&network, network.init(0).unwrap()).unwrap()
    };
    let other = Pair::side_by_side(model("mlp:8x2", 2), model("mlp:9x2", 2)).unwrap_err();
    assert!(other.to_string().contains("it is `mlp:9x2`, and A is `mlp:8x2`"), "{other}");
    let graph = Network::new("mlp:8x2", &[6], 2).unwrap();
    let own = Model::with_graph("mine", graph.init(0).unwrap(), graph.graph().unwrap()).unwrap();
    assert!(matches!(Pair::side_by_side(own, model("mlp:8x2", 2)).unwrap_err(), Error::SideBySide { .. }));

    let pair = Pair::side_by_side(model("mlp:8x2", 2), model("mlp:8x2", 3)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = synthetic(&Network::new("mlp:8x2", &[6], 5).unwrap().graph().unwrap(), 20, 0).unwrap();
    let context = Context { train: Some(&data), ..Context::default() };
    for options in [
        Merge { repair: Repair::Distil, ..Merge::default() },
        Merge { repair: Repair::Data, ..Merge::default() },
        Merge { repair: Repair::Solve, width: 1.5, ..Merge::default() },
    ] {
        let error = pair.merge(&aligned, &options, &context).unwrap_err();
        assert!(error.to_string().contains("classes side by side"), "{error}");
    }
}

/// A solve aims at each network's answers for its own classes, whatever λ is.
#[test]
fn a_solve_aims_at_the_answers_of_the_network_that_knows_a_class() {
    let [(a, of_a), (b, _)] = siblings("mlp:16x2", &[6], [3, 2]);
    let mut other = b.init(5).unwrap();
    other.insert("fc3.bias", Tensor::from_f32(&[2], vec![30.0, -30.0]).unwrap());
    let pair = Pair::side_by_side(Model::of(&a, of_a).unwrap(), Model::of(&b, other).unwrap()).unwrap();
    let data = synthetic(&a.graph().unwrap(), 300, 0).unwrap();
    let context = Context { train: Some(&data), ..Context::default() };
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    for lambda in [0.25, 0.75] {
        let options = Merge { repair: Repair::Solve, lambda, ..Merge::default() };
        let merged = pair.merge(&aligned, &options, &context).unwrap().params().unwrap();
        let bias = merged.require("fc3.bias").unwrap().to_f32().unwrap().into_owned();
        assert!((bias[3] - 30.0).abs() < 5.0 && (bias[4] + 30.0).abs() < 5.0, "{bias:?}");
        assert!(bias[..3].iter().all(|x| x.abs() < 5.0), "{bias:?}");
    }
}
