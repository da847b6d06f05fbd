//! Laws 2–4 and 8 on random networks: composition, inverses, recovery, a rising objective, the order of names.

use onebasin_core::matching::{MatchOptions, match_weights, objective};
use onebasin_core::merge::{MergeRule, Products};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Gather, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Tensor};
use proptest::prelude::*;

/// A multilayer perceptron of these layer sizes, with normal weights.
fn mlp(sizes: &[usize], seed: u64) -> (Params, Symmetry) {
    let mut params = Params::new();
    let mut patterns = Vec::new();
    let last = sizes.len() - 1;
    let side = |l: usize| if l == 0 || l == last { ".".to_owned() } else { format!("h{l}") };
    for l in 1..=last {
        let mut s = Stream::new(seed, &format!("fc{l}"));
        let mut draw = |n: usize| (0..n).map(|_| s.normal() as f32).collect::<Vec<_>>();
        let (out, input) = (sizes[l], sizes[l - 1]);
        params.insert(format!("fc{l}.weight"), Tensor::from_f32(&[out, input], draw(out * input)).unwrap());
        params.insert(format!("fc{l}.bias"), Tensor::from_f32(&[out], draw(out)).unwrap());
        patterns.push((format!("fc{l}.weight"), format!("{} {}", side(l), side(l - 1))));
        patterns.push((format!("fc{l}.bias"), side(l)));
    }
    let spec = SymmetrySpec::from_patterns(patterns.iter().map(|(n, p)| (n.as_str(), p.as_str()))).unwrap();
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    (params, symmetry)
}

/// A network that uses the whole notation: products, concatenations, slices, nested families, a tied axis.
fn zoo(seed: u64) -> (Params, Symmetry) {
    let shapes: [(&str, &[usize], &str); 9] = [
        ("in.weight", &[6, 5], "stream ."),
        ("q.weight", &[12, 6], "(heads qk@heads) stream"),
        ("v.weight", &[6, 6], "(heads v@heads) stream"),
        ("o.weight", &[6, 6], "stream (heads v@heads)"),
        ("qkv.weight", &[6, 30], "stream (heads qk@heads + heads qk@heads + heads v@heads)"),
        ("recurrent.weight", &[6, 6], "stream stream"),
        ("flat.weight", &[3, 24, 7], ". (4 stream) wide"),
        ("cat.weight", &[13, 2], "(stream + wide) ."),
        ("pad.weight", &[11], "(pad[0:2] + wide + pad[2:4])"),
    ];
    let mut params = Params::new();
    for (name, shape, _) in &shapes {
        let mut s = Stream::new(seed, name);
        let values = (0..shape.iter().product()).map(|_| s.normal() as f32).collect();
        params.insert(*name, Tensor::from_f32(shape, values).unwrap());
    }
    let mut spec = SymmetrySpec::from_patterns(shapes.iter().map(|(n, _, p)| (*n, *p))).unwrap();
    spec.sizes.insert("heads".to_owned(), 3);
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    (params, symmetry)
}

fn network(kind: bool, sizes: &[usize], seed: u64) -> (Params, Symmetry) {
    if kind { zoo(seed) } else { mlp(sizes, seed) }
}

fn random(symmetry: &Symmetry, seed: u64, name: &str) -> Alignment {
    Alignment::random(symmetry, &mut Stream::new(seed, name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn inverse_and_composition(whole: bool, sizes in prop::collection::vec(0_usize..9, 2..6), seed: u64) {
        let (net, symmetry) = network(whole, &sizes, seed);
        let (p, q) = (random(&symmetry, seed, "p"), random(&symmetry, seed, "q"));
        let moved = q.apply(&symmetry, &net).unwrap();
        prop_assert_eq!(&q.inverse(&symmetry).apply(&symmetry, &moved).unwrap(), &net);
        let twice = p.apply(&symmetry, &moved).unwrap();
        prop_assert_eq!(p.compose(&symmetry, &q).apply(&symmetry, &net).unwrap(), twice);
        prop_assert!(q.inverse(&symmetry).compose(&symmetry, &q).is_identity());
    }

    #[test]
    fn all_axes_at_once_is_axis_after_axis(whole: bool, sizes in prop::collection::vec(0_usize..9, 2..6), seed: u64, dtype in 0..5_usize) {
        let dtype = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U8][dtype];
        let (net, symmetry) = network(whole, &sizes, seed);
        let alignment = random(&symmetry, seed, "p");
        let mut cut = Stream::new(seed, "cut");
        for (name, tensor) in net.iter() {
            let bytes = (0..tensor.len() * dtype.size()).map(|_| cut.below(256) as u8).collect::<Vec<u8>>();
            let tensor = Tensor::new(dtype, tensor.shape(), bytes.into()).unwrap();
            let mut expected = tensor.clone();
            for (axis, layout) in symmetry.tensor(name).unwrap().axes.iter().enumerate() {
                expected = expected.gather(axis, &alignment.axis_gather(&symmetry, layout)).unwrap();
            }
            prop_assert_eq!(&alignment.apply_tensor(&symmetry, name, &tensor).unwrap(), &expected);
            let (x, y) = (cut.below(tensor.len() + 1), cut.below(tensor.len() + 1));
            let (start, end) = (x.min(y), x.max(y));
            let mut part = vec![0; (end - start) * dtype.size()];
            Gather::new(&symmetry, &alignment, name, &tensor).unwrap().fill(tensor.bytes(), start, &mut part);
            prop_assert_eq!(&part[..], &expected.bytes()[start * dtype.size()..end * dtype.size()]);
        }
    }

    #[test]
    fn a_merged_range_is_the_formula(
        types in [0..4_usize, 0..4, 0..4],
        lambda in prop_oneof![Just(0.5), 0.001..0.999],
        start in 0_usize..3000,
        entries in 0_usize..3000,
        seed: u64,
    ) {
        let [a, b, cast] = types.map(|k| [DType::F64, DType::F32, DType::F16, DType::BF16][k]);
        let values = |name: &str, dtype| {
            let mut s = Stream::new(seed, name);
            let spread: Vec<f64> = (0..6000).map(|_| s.normal() * 2_f64.powi(s.below(60) as i32 - 45)).collect();
            Tensor::from_f64_as(dtype, &[60, 100], &spread).unwrap()
        };
        let (ta, tb) = (values("a", a), values("b", b));
        let products = Products::blocks(a, ta.bytes(), b, tb.bytes());
        prop_assert_eq!(products.len(), 2);
        let slow = |x: &f64, y: &f64| x + lambda * (y - x);
        let line: Vec<f64> = ta.to_f64().unwrap().iter().zip(&*tb.to_f64().unwrap()).map(|(x, y)| slow(x, y)).collect();
        let expected = Tensor::from_f64_as(a, &[60, 100], &line).unwrap().cast(cast).unwrap();
        let rule = MergeRule::lerp(lambda).unwrap().cast(cast).unwrap().tensor("w", &[60, 100], a, b);
        prop_assert_eq!(rule.dtype(), cast);
        let part = |t: &Tensor| t.bytes().slice(start * t.dtype().size()..(start + entries) * t.dtype().size());
        let mut found = vec![0; entries * cast.size()];
        rule.fill(start, &part(&ta), &part(&tb), &mut found);
        prop_assert_eq!(&found[..], &part(&expected)[..]);
    }

    #[test]
    fn one_hidden_layer_is_recovered_in_one_sweep(input in 1_usize..7, hidden in 0_usize..24, seed: u64) {
        let (a, symmetry) = mlp(&[input, hidden, 3], seed);
        let b = random(&symmetry, seed, "plant").apply(&symmetry, &a).unwrap();
        let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true).unwrap();
        prop_assert_eq!(found.alignment.apply(&symmetry, &b).unwrap(), a);
        prop_assert_eq!(found.sweeps.len(), 1);
    }

    #[test]
    fn identity_stays_identity(whole: bool, sizes in prop::collection::vec(0_usize..9, 2..6), seed: u64) {
        let (a, symmetry) = network(whole, &sizes, seed);
        let found = match_weights(&symmetry, &a, &a, None, &MatchOptions::default(), &mut |_| true).unwrap();
        prop_assert_eq!(found.alignment.apply(&symmetry, &a).unwrap(), a);
    }

    #[test]
    fn the_objective_never_falls(whole: bool, sizes in prop::collection::vec(1_usize..12, 3..6), seed: u64) {
        let (a, symmetry) = network(whole, &sizes, seed);
        let (b, _) = network(whole, &sizes, seed ^ 1);
        let start = random(&symmetry, seed, "start");
        let options = MatchOptions { seed, ..MatchOptions::default() };
        let found = match_weights(&symmetry, &a, &b, Some(&start), &options, &mut |_| true).unwrap();
        prop_assert_eq!(found.start_objective, objective(&symmetry, &start, &a, &b).unwrap());
        prop_assert_eq!(found.objective, objective(&symmetry, &found.alignment, &a, &b).unwrap());
        let mut last = found.start_objective;
        for sweep in &found.sweeps {
            prop_assert!(sweep.objective >= last - 1e-12 * last.abs(), "{:?}", found.sweeps);
            last = sweep.objective;
        }
    }

    #[test]
    fn the_order_of_insertion_changes_nothing(seed: u64) {
        let (a, symmetry) = zoo(seed);
        let mut entries: Vec<_> = a.iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
        Stream::new(seed, "order").shuffle(&mut entries);
        let shuffled: Params = entries.into_iter().collect();
        prop_assert_eq!(Symmetry::resolve(symmetry.spec(), &shuffled).unwrap(), symmetry);
        prop_assert_eq!(shuffled, a);
    }
}

#[test]
fn a_planted_element_of_the_whole_notation_is_never_worse_than_the_start() {
    let (a, symmetry) = zoo(3);
    let plant = random(&symmetry, 3, "plant");
    let b = plant.apply(&symmetry, &a).unwrap();
    let truth = plant.inverse(&symmetry);
    let best = objective(&symmetry, &truth, &a, &b).unwrap();
    let found = match_weights(&symmetry, &a, &b, Some(&truth), &MatchOptions::default(), &mut |_| true).unwrap();
    assert_eq!(found.alignment, truth);
    assert_eq!(found.objective, best);
}

#[test]
fn a_planted_permutation_of_three_layers_is_recovered() {
    for seed in 0..5 {
        let (a, symmetry) = mlp(&[50, 64, 64, 64, 10], seed);
        let b = random(&symmetry, seed, "plant").apply(&symmetry, &a).unwrap();
        let options = MatchOptions { seed, ..MatchOptions::default() };
        let found = match_weights(&symmetry, &a, &b, None, &options, &mut |_| true).unwrap();
        assert_eq!(found.alignment.apply(&symmetry, &b).unwrap(), a);
        assert!(found.sweeps.len() <= 4, "{} sweeps", found.sweeps.len());
    }
}

#[test]
fn threads_change_nothing() {
    let (a, symmetry) = mlp(&[20, 90, 70, 5], 0);
    let (b, _) = mlp(&[20, 90, 70, 5], 1);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true).unwrap())
    };
    assert_eq!(run(1), run(3));
}
