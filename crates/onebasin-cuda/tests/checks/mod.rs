//! What must hold of any device, on networks with every notation.

use onebasin::matching::similarity::{Gram, weight_grams};
use onebasin::matching::{Accelerator, MatchOptions, Source, Weights, ascend};
use onebasin::stream::Stream;
use onebasin::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin::{DType, Params, Perm, Tensor};

/// Tensors with every notation: nested families, products, sums, slices, ties, several contexts.
const SHAPES: [(&str, &[usize], &str); 10] = [
    ("plain", &[6, 5], "s ."),
    ("nested", &[12, 6], "(h q@h) s"),
    ("fused", &[6, 30], "s (h q@h + h q@h + h v@h)"),
    ("meeting", &[24], "(h q@h v@h)"),
    ("deep", &[36], "(h q@h x@q)"),
    ("tied", &[6, 6], "s s"),
    ("wide", &[6, 40, 9, 9], "s w . ."),
    ("flat", &[3, 24, 40], ". (4 s) w"),
    ("pad", &[44], "(p[0:2] + w + p[2:4])"),
    ("mixed", &[92], "(2 (s + w))"),
];

fn network(seed: u64, dtype: DType) -> Params {
    let draw = |(name, shape, _): &(&str, &[usize], &str)| {
        let mut stream = Stream::new(seed, name);
        let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        ((*name).to_owned(), Tensor::from_f32(shape, values).unwrap().cast(dtype).unwrap())
    };
    SHAPES.iter().map(draw).collect()
}

fn symmetry(params: &Params) -> Symmetry {
    let mut spec = SymmetrySpec::from_patterns(SHAPES.iter().map(|(n, _, p)| (*n, *p))).unwrap();
    spec.sizes.insert("h".to_owned(), 3);
    Symmetry::resolve(&spec, params).unwrap()
}

/// Passes only if Grams agree to 16 roundings of single precision of numbers of this size.
fn assert_same(found: &[Gram], expected: &[Gram], scale: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((&found.digits, &found.lens), (&expected.digits, &expected.lens));
        for (x, y) in found.data.iter().zip(&expected.data) {
            assert!((x - y).abs() <= 16.0 * f64::from(f32::EPSILON) * scale, "{x} for {y}");
        }
    }
}

/// Types of A and B.
const TYPES: [[DType; 2]; 4] =
    [[DType::F32; 2], [DType::F16, DType::BF16], [DType::F32, DType::F16], [DType::F64, DType::F32]];

/// For every notation and element type.
pub(crate) fn grams_are_those_of_the_processor(device: &dyn Accelerator) {
    for (seed, types) in (0..).zip(TYPES) {
        let (a, b) = (network(2 * seed, types[0]), network(2 * seed + 1, types[1]));
        let symmetry = symmetry(&a);
        let current = Alignment::random(&symmetry, &mut Stream::new(seed, "current"));
        let source = Weights::new(&symmetry, &a, &b).unwrap().on(device);
        for root in symmetry.roots() {
            let found = source.grams(root, &current).unwrap();
            assert_same(&found, &weight_grams(&symmetry, root, &current, &a, &b).unwrap(), 100.0);
        }
    }
}

/// Units are exchanged one pair after the other.
pub(crate) fn kept_grams_are_brought_up_to_date(device: &dyn Accelerator) {
    let (a, b) = (network(0, DType::F32), network(1, DType::BF16));
    let symmetry = symmetry(&a);
    let source = Weights::new(&symmetry, &a, &b).unwrap().on(device);
    let mut cache = source.cache().unwrap();
    let mut current = Alignment::identity(&symmetry);
    for step in 0..12 {
        for (k, root) in source.roots().iter().enumerate() {
            let expected = weight_grams(&symmetry, root.id, &current, &a, &b).unwrap();
            assert_same(&cache.grams(k, &current).unwrap(), &expected, 100.0);
        }
        current = exchanged(&symmetry, &current, step);
    }
    assert!(!cache.forget_updated().is_empty(), "nothing was brought up to date");
}

/// The alignment with two units of the largest group exchanged.
fn exchanged(symmetry: &Symmetry, alignment: &Alignment, at: usize) -> Alignment {
    let largest = (0..symmetry.groups().len()).max_by_key(|&g| symmetry.groups()[g].size).unwrap();
    let copies = |g: usize| {
        let copy = |perm: &Perm| {
            let mut units = perm.as_slice().to_vec();
            if g == largest {
                units.swap(at, at + 1);
            }
            Perm::new(units).unwrap()
        };
        alignment.copies(GroupId(g)).iter().map(copy).collect()
    };
    Alignment::new(symmetry, (0..symmetry.groups().len()).map(copies).collect()).unwrap()
}

/// From the identity, towards a planted permutation.
pub(crate) fn ascents_end_where_those_of_the_processor_do(device: &dyn Accelerator) {
    let a = network(0, DType::F16);
    let symmetry = symmetry(&a);
    let b = Alignment::random(&symmetry, &mut Stream::new(0, "planted")).apply(&symmetry, &a).unwrap();
    let options = MatchOptions::default();
    let start = Alignment::identity(&symmetry);
    let here = ascend(&Weights::new(&symmetry, &a, &b).unwrap(), &start, &options, &mut |_| true).unwrap();
    let there = Weights::new(&symmetry, &a, &b).unwrap().on(device);
    let there = ascend(&there, &start, &options, &mut |_| true).unwrap();
    assert_eq!((there.alignment, there.objective, there.stop), (here.alignment, here.objective, here.stop));
}

/// Layers of some hundred units, and rows longer than two panels.
pub(crate) fn wide_grams_are_those_of_the_processor(device: &dyn Accelerator) {
    let draw = |seed| {
        let tensor = |name: &str, shape: &[usize]| {
            let mut stream = Stream::new(seed, name);
            let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
            (name.to_owned(), Tensor::from_f32(shape, values).unwrap())
        };
        [tensor("in", &[515, 2600]), tensor("out", &[300, 515])].into_iter().collect::<Params>()
    };
    let (a, b) = (draw(0), draw(1));
    let spec = SymmetrySpec::from_patterns([("in", "h ."), ("out", "o h")]).unwrap();
    let symmetry = Symmetry::resolve(&spec, &a).unwrap();
    let current = Alignment::random(&symmetry, &mut Stream::new(0, "current"));
    let source = Weights::new(&symmetry, &a, &b).unwrap().on(device);
    for root in symmetry.roots() {
        let expected = weight_grams(&symmetry, root, &current, &a, &b).unwrap();
        assert_same(&source.grams(root, &current).unwrap(), &expected, 500.0);
    }
}

/// Four threads at once, and what they used is given back by a fifth.
pub(crate) fn threads_share_a_device(device: &dyn Accelerator) {
    let (a, b) = (network(0, DType::BF16), network(1, DType::F16));
    let symmetry = symmetry(&a);
    let current = Alignment::random(&symmetry, &mut Stream::new(0, "current"));
    let source = Weights::new(&symmetry, &a, &b).unwrap().on(device);
    std::thread::scope(|scope| {
        for turn in 0..4 {
            let (source, symmetry, current, a, b) = (&source, &symmetry, &current, &a, &b);
            scope.spawn(move || {
                let mut roots = symmetry.roots();
                roots.rotate_left(turn);
                for root in roots {
                    let expected = weight_grams(symmetry, root, current, a, b).unwrap();
                    assert_same(&source.grams(root, current).unwrap(), &expected, 100.0);
                }
            });
        }
    });
    std::thread::scope(|scope| scope.spawn(move || drop(source)).join().unwrap());
}
