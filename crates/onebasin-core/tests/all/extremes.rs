//! What no alignment changes decides nothing, numbers that drown others are kept from it, and what has no mean is kept.

use onebasin_core::error::Error;
use onebasin_core::matching::{
    Kinship, MatchOptions, PortfolioOptions, Start, Weights, best_of, comparable, diagnose, match_weights, objective,
};
use onebasin_core::merge::{Interpolation, Products, mean, merge, merge_by_group, merge_within};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Tensor};

const STREAM: [(&str, &[usize], &str); 6] = [
    ("i", &[30, 12], "s ."),
    ("a", &[50, 30], "h s"),
    ("b", &[30, 50], "s h"),
    ("c", &[50, 30], "k s"),
    ("e", &[30, 50], "s k"),
    ("o", &[5, 30], ". s"),
];

fn network(seed: u64, shapes: &[(&str, &[usize], &str)]) -> Params {
    let draw = |(name, shape, _): &(&str, &[usize], &str)| {
        let mut stream = Stream::new(seed, name);
        let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        ((*name).to_owned(), Tensor::from_f32(shape, values).unwrap())
    };
    shapes.iter().map(draw).collect()
}

fn symmetry(params: &Params, patterns: &[(&str, &str)]) -> Symmetry {
    Symmetry::resolve(&SymmetrySpec::from_patterns(patterns.iter().copied()).unwrap(), params).unwrap()
}

fn patterns<'a>(shapes: &[(&'a str, &[usize], &'a str)]) -> Vec<(&'a str, &'a str)> {
    shapes.iter().map(|(name, _, pattern)| (*name, *pattern)).collect()
}

fn noisy(params: &Params, share: f64, seed: u64) -> Params {
    let one = |(name, t): (&str, &Tensor)| {
        let mut stream = Stream::new(seed, name);
        let values: Vec<f64> = t.to_f64().unwrap().iter().map(|v| v + share * stream.normal()).collect();
        (name.to_owned(), Tensor::from_f64_as(t.dtype(), t.shape(), &values).unwrap())
    };
    params.iter().map(one).collect()
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::from_f32(&[values.len()], values.to_vec()).unwrap()
}

#[test]
fn a_mask_of_any_size_hides_no_planted_numbering() {
    let lower = |value: f32| (0..64).map(|k| if k % 8 > k / 8 { value } else { 0.0 }).collect::<Vec<_>>();
    for value in [0.0, f32::MIN, f32::NEG_INFINITY] {
        for seed in 0..5 {
            let mut a = network(seed, &STREAM);
            let planted = Alignment::random(&symmetry(&a, &patterns(&STREAM)), &mut Stream::new(seed, "planted"));
            let mut b = noisy(&planted.apply(&symmetry(&a, &patterns(&STREAM)), &a).unwrap(), 0.8, seed);
            for net in [&mut a, &mut b] {
                net.insert("mask", Tensor::from_f32(&[8, 8], lower(value)).unwrap());
            }
            let symmetry = symmetry(&a, &[patterns(&STREAM), vec![("mask", ". .")]].concat());
            let weights = Weights::new(&symmetry, &a, &b).unwrap();
            let runs = best_of(&weights, &PortfolioOptions::default(), &mut |_| true).unwrap();
            let found = &runs[0].found.alignment;
            assert_eq!(found.inverse(&symmetry).groups_of(&symmetry), planted.groups_of(&symmetry), "{value}, {seed}");
            assert!(objective(&symmetry, found, &a, &b).unwrap() < 1e6);
            let told = diagnose(&weights, found, 0).unwrap();
            assert!(matches!(told.kind, Kinship::Alignable | Kinship::SameAncestor), "{value}: {told}");
            let merged = merge(&a, &found.apply(&symmetry, &b).unwrap(), 0.5, Interpolation::Lerp).unwrap();
            assert_eq!(merged.get("mask"), a.get("mask"));
        }
    }
}

trait Copies {
    fn groups_of(&self, symmetry: &Symmetry) -> Vec<Vec<u32>>;
}

impl Copies for Alignment {
    fn groups_of(&self, symmetry: &Symmetry) -> Vec<Vec<u32>> {
        symmetry.roots().into_iter().map(|id| self.copies(id)[0].as_slice().to_vec()).collect()
    }
}

#[test]
fn huge_channels_drown_no_others() {
    let shapes: [(&str, &[usize], &str); 2] = [("w", &[40, 9], "h ."), ("v", &[4, 40], ". h")];
    for (factor, offset) in [(1e4, 0.0), (1e6, 0.0), (0.0, 1e4), (0.0, 1e8), (0.0, 3e38), (0.0, f32::NEG_INFINITY)] {
        for seed in 0..5 {
            let mut a = network(seed, &shapes);
            let mut values = a.require("w").unwrap().to_f32().unwrap().into_owned();
            values.chunks_mut(9).for_each(|row| row[3] = if factor > 0.0 { row[3] * factor } else { offset });
            a.insert("w", Tensor::from_f32(&[40, 9], values).unwrap());
            let symmetry = symmetry(&a, &patterns(&shapes));
            let b = Alignment::random(&symmetry, &mut Stream::new(seed, "planted")).apply(&symmetry, &a).unwrap();
            let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true).unwrap();
            assert_eq!(found.alignment.apply(&symmetry, &b).unwrap(), a, "{factor} {offset} {seed}");
        }
    }
    // Ordinary networks are compared as they are.
    let a = network(0, &shapes);
    let [same, _] = comparable(&symmetry(&a, &patterns(&shapes)), &a, &a).unwrap();
    assert!(matches!(same, std::borrow::Cow::Borrowed(_)));
}

#[test]
fn a_mask_along_units_leaves_the_others_to_be_matched() {
    let shapes: [(&str, &[usize], &str); 2] = [("w", &[12, 9], "h ."), ("v", &[4, 12], ". h")];
    for value in [-1e9, f32::MIN, f32::NEG_INFINITY] {
        let mut a = network(3, &shapes);
        let mut mask = vec![0.0; 12];
        (mask[2], mask[7]) = (value, value);
        a.insert("mask", vector(&mask));
        let symmetry = symmetry(&a, &[patterns(&shapes), vec![("mask", "h")]].concat());
        let b = Alignment::random(&symmetry, &mut Stream::new(9, "planted")).apply(&symmetry, &a).unwrap();
        for start in [Start::Identity, Start::Signature] {
            let [x, y] = comparable(&symmetry, &a, &b).unwrap();
            let weights = Weights::new(&symmetry, &x, &y).unwrap();
            let from = start.alignment(&weights, 0).unwrap();
            let found =
                onebasin_core::matching::ascend(&weights, &from, &MatchOptions::default(), &mut |_| true).unwrap();
            assert_eq!(found.alignment.apply(&symmetry, &b).unwrap(), a, "{value} {start:?}");
        }
    }
}

#[test]
fn verdicts_on_what_bits_and_the_symmetry_decide() {
    for width in [2, 4, 8, 32] {
        let net = |seed| {
            let shapes: [(&str, &[usize], &str); 2] = [("w", &[width, 6], "h ."), ("v", &[3, width], ". h")];
            network(seed, &shapes)
        };
        let a = net(1);
        let moves = symmetry(&a, &[("w", "h ."), ("v", ". h")]);
        let still = symmetry(&a, &[("w", ". ."), ("v", ". .")]);
        let told = |symmetry: &Symmetry, b: &Params| {
            let weights = Weights::new(symmetry, &a, b).unwrap();
            let found = best_of(&weights, &PortfolioOptions::default(), &mut |_| true).unwrap().remove(0).found;
            diagnose(&weights, &found.alignment, 0).unwrap()
        };
        assert_eq!(told(&moves, &a).kind, Kinship::Identical);
        assert_eq!(told(&still, &a).kind, Kinship::Identical);
        assert_eq!(told(&still, &net(2)).kind, Kinship::Fixed);
        let b = Alignment::random(&moves, &mut Stream::new(5, "b")).apply(&moves, &a).unwrap();
        let renumbered = told(&moves, &b);
        assert!(matches!(renumbered.kind, Kinship::Renumbered | Kinship::Identical), "{renumbered}");
        let stranger = told(&moves, &net(2));
        assert!(matches!(stranger.kind, Kinship::Unrelated | Kinship::TooSmall), "{width}: {stranger}");
        let tested = stranger.tested.expect("no bits decide");
        assert!(tested.numbering > tested.level && tested.matched > tested.level, "{stranger}");
    }
}

#[test]
fn ends_of_a_group_are_kept_bit_for_bit() {
    let a = Params::from_iter([("w".to_owned(), vector(&[-0.0, 1.0, -0.0, 0.0]))]);
    let b = Params::from_iter([("w".to_owned(), vector(&[-0.0, 3.0, 0.0, -0.0]))]);
    let symmetry = symmetry(&a, &[("w", "h")]);
    let h = symmetry.group_named("h").unwrap();
    let by = |lambda: f64| merge_by_group(&symmetry, &a, &b, 0.5, &[(h, lambda)].into()).unwrap();
    let bits = |net: &Params| net.require("w").unwrap().bytes().clone();
    assert_eq!((bits(&by(0.0)), bits(&by(1.0))), (bits(&a), bits(&b)));
}

#[test]
fn whole_numbers_that_move_have_no_mean() {
    let codes = |v: [u32; 3]| {
        let mut net = Params::from_iter([("codes".to_owned(), Tensor::from_u32(&[3], v.to_vec()).unwrap())]);
        net.insert("bn.num_batches_tracked", Tensor::from_u32(&[], vec![v[0]]).unwrap());
        net.insert("shape", Tensor::from_u32(&[2], vec![v[0], 7]).unwrap());
        net
    };
    let (a, same, b) = (codes([1, 2, 3]), codes([1, 2, 3]), codes([9, 2, 3]));
    let symmetry = symmetry(&a, &[("codes", "h"), ("bn.num_batches_tracked", ""), ("shape", ".")]);
    let h = symmetry.group_named("h").unwrap();
    let within = |b: &Params, lambda| merge_within(&symmetry, &a, b, lambda, Interpolation::Lerp);
    assert_eq!(within(&same, 0.7).unwrap(), a);
    let Error::NoMean { tensor, index, .. } = within(&b, 0.7).unwrap_err() else { panic!("another error") };
    assert_eq!((tensor.as_str(), index), ("codes", vec![0]));
    assert_eq!((within(&b, 0.0).unwrap(), within(&b, 1.0).unwrap()), (a.clone(), b.clone()));
    // λ by group decides for what stands in it; the counter is A's, other numbers that do not move are the nearer end's.
    let mixed = merge_by_group(&symmetry, &a, &b, 0.7, &[(h, 1.0)].into()).unwrap();
    assert_eq!(mixed.get("codes"), b.get("codes"));
    assert_eq!(mixed.get("bn.num_batches_tracked"), a.get("bn.num_batches_tracked"));
    assert_eq!(mixed.get("shape"), b.get("shape"));
    assert!(merge_by_group(&symmetry, &a, &b, 0.0, &[(h, 0.5)].into()).is_err());
    let still = vec![Alignment::identity(&symmetry); 2];
    assert!(matches!(mean(&symmetry, &[&a, &b], &still, None), Err(Error::NoMean { .. })));
    assert_eq!(mean(&symmetry, &[&a, &same], &still, None).unwrap(), a);
}

#[test]
fn single_numbers_are_averaged_and_infinities_are_kept() {
    let net = |scale: f32, mask: [f32; 2]| {
        let mut net = Params::from_iter([("mask".to_owned(), vector(&mask))]);
        net.insert("scale", Tensor::from_f32(&[], vec![scale]).unwrap());
        net.insert("w", vector(&[scale, -scale, 1.0]));
        net
    };
    let (inf, zero) = (f32::NEG_INFINITY, 0.0);
    let (a, b) = (net(2.5, [inf, zero]), net(4.5, [inf, zero]));
    let symmetry = symmetry(&a, &[("mask", "."), ("scale", ""), ("w", "h")]);
    for interpolation in [Interpolation::Lerp, Interpolation::Slerp] {
        let merged = merge(&a, &b, 0.5, interpolation).unwrap();
        assert_eq!(merged.get("mask"), a.get("mask"));
        assert!(merged.require("w").unwrap().to_f64().unwrap().iter().all(|v| v.is_finite()));
        if interpolation == Interpolation::Lerp {
            assert_eq!(merged.require("scale").unwrap().to_f32().unwrap()[..], [3.5]);
        }
    }
    let other = net(4.5, [zero, inf]);
    assert!(
        matches!(merge(&a, &other, 0.5, Interpolation::Lerp), Err(Error::NoMean { tensor, .. }) if tensor == "mask")
    );
    assert_eq!(merge(&a, &other, 1.0, Interpolation::Lerp).unwrap(), other);
    let still = vec![Alignment::identity(&symmetry); 2];
    assert_eq!(mean(&symmetry, &[&a, &b], &still, None).unwrap().get("mask"), a.get("mask"));
    assert!(mean(&symmetry, &[&a, &other], &still, None).is_err());
    // A circle is that of the weights, whatever constants both hold beside them.
    let without = |net: &Params| Params::from_iter([("w".to_owned(), net.require("w").unwrap().clone())]);
    let mut large = [without(&a), without(&b)];
    for net in &mut large {
        net.insert("mask", vector(&[f32::MIN, 0.0]));
    }
    let plain = Products::of(&without(&a), &without(&b)).unwrap();
    let [x, y] = &large;
    assert_eq!(format!("{:?}", Products::of(x, y).unwrap()), format!("{plain:?}"));
    assert_eq!(a.require("scale").unwrap().dtype(), DType::F32);
}

#[test]
fn every_layer_has_heads_of_its_own() {
    // The file of docs/symmetry.md, with fewer heads.
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/symmetry.md")).unwrap();
    let mut files = text.split("```toml").skip(1).filter_map(|rest| rest.split("```").next());
    let file = files.find(|file| file.contains("[sizes]")).expect("it has a file with sizes");
    let spec = SymmetrySpec::from_toml(&file.replace("= 12", "= 3")).unwrap();
    let mut a = Params::new();
    let mut draw = |name: &str, shape: &[usize]| {
        let mut stream = Stream::new(1, name);
        let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        a.insert(name, Tensor::from_f32(shape, values).unwrap());
    };
    for layer in 0..2 {
        draw(&format!("h.{layer}.attn.c_attn.weight"), &[12, 36]);
        draw(&format!("h.{layer}.attn.c_proj.weight"), &[12, 12]);
        draw(&format!("h.{layer}.mlp.c_fc.weight"), &[12, 20]);
    }
    draw("head.weight", &[7, 12]);
    let symmetry = Symmetry::resolve(&spec, &a).unwrap();
    let heads = symmetry.groups().iter().filter(|g| g.name.starts_with("heads")).count();
    assert_eq!(heads, 2);
    for seed in 0..5 {
        let b = Alignment::random(&symmetry, &mut Stream::new(seed, "planted")).apply(&symmetry, &a).unwrap();
        let weights = Weights::new(&symmetry, &a, &b).unwrap();
        let found = best_of(&weights, &PortfolioOptions::default(), &mut |_| true).unwrap().remove(0).found;
        assert_eq!(found.alignment.apply(&symmetry, &b).unwrap(), a, "{seed}");
    }
}

#[test]
fn templates_say_what_they_do_not_fit() {
    let a = network(0, &STREAM);
    let fails = |lines: &[(&str, &str)], sizes: &[(&str, usize)]| {
        let mut spec = SymmetrySpec::from_patterns(lines.iter().copied()).unwrap();
        spec.sizes.extend(sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)));
        Symmetry::resolve(&spec, &a).unwrap_err().to_string()
    };
    let all: Vec<(&str, &str)> = patterns(&STREAM);
    let with = |line: (&'static str, &'static str)| [all.clone(), vec![line]].concat();
    assert!(fails(&with(("layer.{l}", ". .")), &[]).contains("template `layer.{l}` fits no tensor"));
    assert!(fails(&with(("*.bias", ".")), &[]).contains("template `*.bias` fits no tensor"));
    assert!(fails(&all, &[("heads{l}", 3)]).contains("template `heads{l}` fits no group"));
    assert!(fails(&with(("*a*b*", ".")), &[]).contains("more than 2 `*`"));
    let still = SymmetrySpec::from_patterns([("*", ". .")]).unwrap();
    assert!(Symmetry::resolve(&still, &a).unwrap().groups().is_empty());
}
