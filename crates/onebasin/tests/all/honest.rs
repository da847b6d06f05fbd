//! What a merge says and keeps: networks of the same bits, masks, statistics known by name, samples that judge.

use std::sync::Mutex;

use onebasin::{
    Align, Arrays, Context, Field, FieldKind, Level, Measure, Merge, Method, Model, Network, Observer, Pair, Params,
    SymmetrySpec, Tensor,
};
use onebasin_core::matching::Kinship;
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::Alignment;

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn remark(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Heard {
    fn has(&self, words: &str) -> bool {
        self.0.lock().unwrap().iter().any(|text| text.contains(words))
    }
}

fn random(shape: &[usize], seed: u64, name: &str) -> Tensor {
    let mut stream = Stream::new(seed, name);
    Tensor::from_f32(shape, (0..shape.iter().product()).map(|_| stream.normal() as f32).collect()).unwrap()
}

fn block(seed: u64, extra: &[(&str, Tensor)]) -> Params {
    let mut net = Params::new();
    net.insert("fc1.weight", random(&[12, 6], seed, "fc1"));
    net.insert("fc2.weight", random(&[3, 12], seed, "fc2"));
    for (name, tensor) in extra {
        net.insert(*name, tensor.clone());
    }
    net
}

fn model(params: Params, lines: &[(&str, &str)]) -> Model {
    let fixed = [("fc1.weight", "h ."), ("fc2.weight", ". h")];
    let spec = SymmetrySpec::from_patterns(fixed.into_iter().chain(lines.iter().copied())).unwrap();
    Model::with_symmetry("mine", params, spec)
}

fn kind(pair: &Pair, options: &Align) -> Kinship {
    let record = pair.align(options, &Context::default()).unwrap().record.unwrap();
    record.diagnosis.unwrap().kind
}

#[test]
fn the_same_bits_are_not_compared() {
    let mask = Tensor::from_f32(&[4], vec![0.0, f32::NEG_INFINITY, f32::MIN, f32::INFINITY]).unwrap();
    let params = || block(1, &[("mask", mask.clone())]);
    for line in [("mask", "."), ("mask", "m")] {
        let pair = Pair::new(model(params(), &[line]), model(params(), &[line])).unwrap();
        for method in [Method::Auto, Method::Weight, Method::Spectral, Method::FrankWolfe, Method::Greedy] {
            let aligned = pair.align(&Align { method, ..Align::default() }, &Context::default()).unwrap();
            assert!(aligned.alignment.is_identity());
            assert_eq!(aligned.record.as_ref().unwrap().compared, "bits");
            let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap();
            assert_eq!(merged.params().unwrap(), params());
        }
        assert_eq!(kind(&pair, &Align::default()), Kinship::Identical);
    }
}

#[test]
fn a_mask_beside_weights_is_kept_from_file_to_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let mask = Tensor::from_f32(&[2, 2], vec![0.0, f32::NEG_INFINITY, 0.0, 0.0]).unwrap();
    let lines = [("mask", ". .")];
    let a = model(block(1, &[("mask", mask.clone())]), &lines);
    let symmetry = a.symmetry().unwrap();
    let moved = Alignment::random(&symmetry, &mut Stream::new(2, "b")).apply(&symmetry, a.params()).unwrap();
    for interpolation in [onebasin::Interpolation::Lerp, onebasin::Interpolation::Slerp] {
        let pair = Pair::new(model(a.params().clone(), &lines), model(moved.clone(), &lines)).unwrap();
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        assert_eq!(aligned.record.as_ref().unwrap().diagnosis.as_ref().unwrap().kind, Kinship::Renumbered);
        let merged = pair.merge(&aligned, &Merge { interpolation, ..Merge::default() }, &Context::default()).unwrap();
        let path = folder.path().join("m.safetensors");
        merged.write(&path).unwrap();
        let written = onebasin_io::read(&path).unwrap().params;
        assert_eq!(written, merged.params().unwrap());
        assert_eq!(written.get("mask"), Some(&mask));
    }
    let mut other = moved;
    other.insert("mask", Tensor::from_f32(&[2, 2], vec![f32::NEG_INFINITY, 0.0, 0.0, 0.0]).unwrap());
    let pair = Pair::new(model(a.params().clone(), &lines), model(other.clone(), &lines)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap();
    let path = folder.path().join("no.safetensors");
    for error in [merged.params().unwrap_err().to_string(), merged.write(&path).unwrap_err().to_string()] {
        assert!(error.contains("`mask`") || error.contains("mask"), "{error}");
    }
    assert!(!path.exists());
    other.insert("mask", Tensor::from_f32(&[2, 2], vec![0.0; 4]).unwrap());
    let pair = Pair::new(model(a.params().clone(), &lines), model(other, &lines)).unwrap();
    assert!(pair.align(&Align::default(), &Context::default()).is_err(), "an infinity of A alone");
}

#[test]
fn statistics_are_known_by_name_without_a_graph() {
    let statistics = |seed: u64| {
        let var = random(&[12], seed, "var").to_f32().unwrap().iter().map(|v| 50.0 * v * v).collect();
        let mean = random(&[12], seed, "mean").to_f32().unwrap().iter().map(|v| 40.0 * v).collect();
        [
            ("bn.running_mean", Tensor::from_f32(&[12], mean).unwrap()),
            ("bn.running_var", Tensor::from_f32(&[12], var).unwrap()),
            ("bn.num_batches_tracked", Tensor::from_u32(&[], vec![seed as u32]).unwrap()),
        ]
    };
    let lines = [("bn.running_mean", "h"), ("bn.running_var", "h"), ("bn.num_batches_tracked", "")];
    let pair = |extra: [&[(&str, Tensor)]; 2], lines: &[(&str, &str)]| {
        Pair::new(model(block(1, extra[0]), lines), model(block(2, extra[1]), lines)).unwrap()
    };
    let with = pair([&statistics(1), &statistics(2)], &lines);
    assert_eq!(with.a().statistics().len(), 3);
    let found = |pair: &Pair| pair.align(&Align::default(), &Context::default()).unwrap();
    let (all, weights) = (found(&with), found(&pair([&[], &[]], &[])));
    assert_eq!(all.perm("h"), weights.perm("h"), "statistics decide nothing");
    assert_eq!(all.record.unwrap().diagnosis, weights.record.unwrap().diagnosis);
    let heard = Heard::default();
    let context = Context { observer: &heard, ..Context::default() };
    let aligned = with.align(&Align::default(), &context).unwrap();
    let merged = with.merge(&aligned, &Merge::default(), &context).unwrap().params().unwrap();
    assert!(heard.has("the statistics of its BatchNorms are interpolated"));
    assert_eq!(merged.get("bn.num_batches_tracked"), with.a().params().get("bn.num_batches_tracked"));
}

#[test]
fn what_judges_was_not_looked_at_and_the_middle_is_the_middle() {
    let network = Network::new("mlp:8", &[6], 2).unwrap();
    let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    let samples = |count: usize| {
        let field = |name: &str, shape: Vec<usize>, kind| Field { name: name.to_owned(), shape, kind };
        let mut stream = Stream::new(3, "samples");
        let numbers = (0..6 * count).map(|_| stream.normal() as f32).collect();
        let labels = (0..count).map(|k| (k % 2) as f32).collect();
        let inputs = vec![(field("x", vec![6], FieldKind::Real), numbers)];
        Arrays::new("few", inputs, Some((field("y", vec![], FieldKind::Index { below: 2 }), labels))).unwrap()
    };
    let pair = Pair::new(a, b).unwrap();
    for (count, said) in [(1, true), (2, false), (50, false)] {
        let (train, heard) = (samples(count), Heard::default());
        let context = Context { train: Some(&train), test: Some(&train), observer: &heard, ..Context::default() };
        let aligned = pair.align(&Align::default(), &context).unwrap();
        assert_eq!(aligned.record.unwrap().judged.len(), 2);
        assert_eq!(heard.has("too few samples to hold some out"), said, "{count}");
    }
    let train = samples(20);
    let context = Context { train: Some(&train), test: Some(&train), ..Context::default() };
    for (points, values) in [(2, 3), (3, 3), (4, 5)] {
        let report = pair.barrier(&[], &Measure { points, ..Measure::default() }, &context).unwrap();
        let lambda = &report.curves[0].lambda;
        assert_eq!((lambda.len(), lambda[values / 2]), (values, 0.5));
    }
}

/// A table that is built in and not learned holds the units that it stands beside; one that was learned moves with them.
#[test]
fn a_table_that_both_networks_share_stays_as_it_is() {
    use onebasin_core::graph::op::{Binary, Op};
    let mut g = onebasin::Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let h = g.linear("fc1", x, 8).unwrap();
    let table = g.param("table", &[8]).unwrap();
    let h = g.push("scaled", Op::Binary(Binary::Mul), &[h, table]).unwrap();
    let h = g.relu(h).unwrap();
    let y = g.linear("fc2", h, 3).unwrap();
    g.output(y);
    let model = |seed: u64, table: u64| {
        let params: Params = g
            .params()
            .map(|p| (p.name.clone(), random(&p.shape, if p.name == "table" { table } else { seed }, &p.name)))
            .collect();
        Model::with_graph("net", params, g.clone()).unwrap()
    };
    let remarks =
        |pair: &Pair| [pair.a(), pair.b()].map(|m| m.remarks().iter().filter(|r| r.contains("`table`")).count());
    let shared = Pair::new(model(1, 7), model(2, 7)).unwrap();
    assert_eq!(remarks(&shared), [1, 0]);
    assert!(shared.a().symmetry().unwrap().groups().is_empty());
    let learned = Pair::new(model(1, 7), model(2, 8)).unwrap();
    assert_eq!(remarks(&learned), [0, 0]);
    assert_eq!(learned.a().symmetry().unwrap().groups()[0].size, 8);
    let aligned = shared.align(&Align::default(), &Context::default()).unwrap();
    let merged = shared.merge(&aligned, &Merge::default(), &Context::default()).unwrap().params().unwrap();
    assert_eq!(merged.require("table").unwrap(), shared.a().params().require("table").unwrap());
}
