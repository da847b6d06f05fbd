//! Moments and Grams of activations against slow twins.

use onebasin_core::matching::{ActivationKind, ActivationSimilarity, TapMoments};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Tensor};
use onebasin_testkit::assert_close;

/// A symmetry of one tensor: one axis for every pattern, to give groups their sizes.
fn symmetry(axes: &[(&str, usize)]) -> Symmetry {
    let params: Params = axes
        .iter()
        .map(|(pattern, len)| ((*pattern).to_owned(), Tensor::from_f32(&[*len], vec![0.0; *len]).unwrap()))
        .collect();
    let spec = SymmetrySpec::from_patterns(axes.iter().map(|(pattern, _)| (*pattern, *pattern))).unwrap();
    let sizes = [("heads", 3), ("v", 4), ("pad", 5)].into_iter().filter(|(n, _)| axes.iter().any(|a| a.0.contains(n)));
    Symmetry::resolve(&SymmetrySpec { sizes: sizes.map(|(n, s)| (n.to_owned(), s)).collect(), ..spec }, &params)
        .unwrap()
}

/// Activations `[samples, units, pixels]`, far from zero, B related to A.
fn activations(seed: u64, [samples, units, pixels]: [usize; 3]) -> [Vec<f32>; 2] {
    let mut stream = Stream::new(seed, "activations");
    let a: Vec<f32> = (0..samples * units * pixels).map(|_| (30.0 + stream.normal()) as f32).collect();
    let b = a.iter().map(|a| (0.5 * f64::from(*a) - 20.0 + stream.normal()) as f32).collect();
    [a, b]
}

fn group(symmetry: &Symmetry, name: &str) -> GroupId {
    symmetry.group_named(name).unwrap()
}

/// Moments of axis 1 of `[samples, units, pixels]`, taken in batches of these sizes.
fn similarity(
    symmetry: &Symmetry,
    pattern: &str,
    [_, units, pixels]: [usize; 3],
    [a, b]: &[Vec<f32>; 2],
    batches: &[usize],
    kind: ActivationKind,
) -> ActivationSimilarity {
    let layout = |batch: usize| symmetry.layout("tap", &pattern.parse().unwrap(), &[batch, units, pixels]).unwrap();
    let mut tap = TapMoments::new(symmetry, "tap", &layout(batches[0]), 1).unwrap();
    let mut at = 0;
    for &batch in batches {
        let end = at + batch * units * pixels;
        tap.add(symmetry, &layout(batch), &a[at..end], &b[at..end]).unwrap();
        at = end;
    }
    assert_eq!(at, a.len());
    ActivationSimilarity::new(symmetry, vec![tap], kind).unwrap()
}

/// The numbers of one row: every sample and pixel at these positions of axis 1.
fn samples(values: &[f32], [_, units, pixels]: [usize; 3], positions: &[usize]) -> Vec<f64> {
    let sample = |s: &[f32]| -> Vec<f64> {
        positions.iter().flat_map(|p| &s[p * pixels..][..pixels]).map(|v| f64::from(*v)).collect()
    };
    values.chunks_exact(units * pixels).flat_map(sample).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The similarity of two rows, in two passes.
fn twin(kind: ActivationKind, a: &[f64], b: &[f64]) -> f64 {
    let product = |x: &[f64], y: &[f64]| mean(&x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<_>>());
    let centred = |x: &[f64]| {
        let mean = mean(x);
        x.iter().map(|v| v - mean).collect::<Vec<_>>()
    };
    let (ca, cb) = (centred(a), centred(b));
    match kind {
        ActivationKind::Uncentred => product(a, b),
        ActivationKind::Pearson if product(&ca, &ca) == 0.0 || product(&cb, &cb) == 0.0 => 0.0,
        ActivationKind::Pearson => product(&ca, &cb) / (product(&ca, &ca) * product(&cb, &cb)).sqrt(),
    }
}

/// Positions of every row of a root, in the order of its Gram.
type RowPositions = Vec<Vec<usize>>;

#[track_caller]
fn equals_twin(axes: &[(&str, usize)], pattern: &str, shape: [usize; 3], roots: &[(&str, RowPositions)]) {
    let symmetry = symmetry(axes);
    let values = activations(1, shape);
    let n = shape[0];
    for kind in [ActivationKind::Uncentred, ActivationKind::Pearson] {
        for batches in [vec![n], vec![1; n], vec![n / 3, n / 2, n - n / 3 - n / 2]] {
            let found = similarity(&symmetry, pattern, shape, &values, &batches, kind);
            for (root, rows) in roots {
                let [gram] = found.grams(group(&symmetry, root)) else { panic!("`{root}` should have one Gram") };
                let of = |values: &Vec<f32>| rows.iter().map(|p| samples(values, shape, p)).collect::<Vec<_>>();
                let (ra, rb) = (of(&values[0]), of(&values[1]));
                assert_eq!(gram.data.len(), rows.len() * rows.len());
                for (k, found) in gram.data.iter().enumerate() {
                    let (a, b) = (&ra[k / rows.len()], &rb[k % rows.len()]);
                    // Products are about 1000, and sums are taken over all samples.
                    let scale = twin(ActivationKind::Uncentred, a, a);
                    assert_close(*found, twin(kind, a, b), a.len() as f64, scale);
                }
            }
        }
    }
}

fn one_each(range: std::ops::Range<usize>) -> RowPositions {
    range.map(|p| vec![p]).collect()
}

#[test]
fn plain_groups_equal_the_twin() {
    equals_twin(&[("c", 5)], ". c .", [7, 5, 3], &[("c", one_each(0..5))]);
    let wide = 70;
    equals_twin(&[("c", wide)], ". c .", [9, wide, 100], &[("c", one_each(0..wide))]);
}

#[test]
fn products_concatenations_and_slices_equal_the_twin() {
    let flat = (0..5).map(|c| (0..4).map(|p| c * 4 + p).collect()).collect();
    equals_twin(&[("c", 5)], ". (c 4) .", [8, 20, 2], &[("c", flat)]);
    let pads = [0, 1, 6, 7, 8].map(|p| vec![p]).to_vec();
    let axes = [("c", 4), ("(pad[0:2] + pad[2:5])", 5)];
    equals_twin(&axes, ". (pad[0:2] + c + pad[2:5]) .", [8, 9, 2], &[("c", one_each(2..6)), ("pad", pads)]);
}

#[test]
fn families_show_all_their_digits() {
    let shape = [10, 12, 2];
    equals_twin(&[("(heads v@heads)", 12)], ". (heads v@heads) .", shape, &[("heads", one_each(0..12))]);
}

#[test]
fn dead_units_count_nothing_and_make_no_nan() {
    let (symmetry, shape) = (symmetry(&[("c", 3)]), [40, 3, 20]);
    let [mut a, b] = activations(2, shape);
    a.chunks_exact_mut(20).step_by(3).for_each(|unit| unit.fill(0.1));
    let found = similarity(&symmetry, ". c .", shape, &[a, b], &[17, 23], ActivationKind::Pearson);
    let data = &found.grams(GroupId(0))[0].data;
    assert_eq!(data[..3], [0.0; 3]);
    assert!(data[3..].iter().all(|v| v.is_finite() && *v != 0.0));
    let matched = found.matched(&symmetry, &Alignment::identity(&symmetry));
    assert_close(matched[0].1, (data[4] + data[8]) / 3.0, 8.0, 1.0);
}

#[test]
fn matched_correlation_follows_the_alignment() {
    let (symmetry, shape) = (symmetry(&[("(heads v@heads)", 12)]), [30, 12, 1]);
    let [a, _] = activations(3, shape);
    let alignment = Alignment::random(&symmetry, &mut Stream::new(4, "element"));
    let pattern = ". (heads v@heads) .".parse().unwrap();
    let layout = symmetry.layout("tap", &pattern, &shape).unwrap();
    let gather = alignment.inverse(&symmetry).axis_gather(&symmetry, &layout.axes[1]);
    let b = Tensor::from_f32(&shape, a.clone()).unwrap().gather(1, &gather).unwrap().to_f32().unwrap().into_owned();
    let found = similarity(&symmetry, ". (heads v@heads) .", shape, &[a, b], &[30], ActivationKind::Uncentred);
    assert_close(found.matched(&symmetry, &alignment)[0].1, 1.0, 64.0, 1.0);
    assert!(found.matched(&symmetry, &Alignment::identity(&symmetry))[0].1 < 0.5);
}

#[test]
fn bad_activations_are_told() {
    let symmetry = symmetry(&[("c", 3), ("d", 3)]);
    let layout = symmetry.layout("relu1", &". c".parse().unwrap(), &[2, 3]).unwrap();
    let other = symmetry.layout("relu1", &". d".parse().unwrap(), &[2, 3]).unwrap();
    let new = || TapMoments::new(&symmetry, "relu1", &layout, 1).unwrap();
    let short = new().add(&symmetry, &layout, &[0.0; 6], &[0.0; 4]).unwrap_err().to_string();
    assert_eq!(short, "`relu1` should have 6 numbers, found [6, 4]");
    let changed = new().add(&symmetry, &other, &[0.0; 6], &[0.0; 6]).unwrap_err().to_string();
    assert_eq!(changed, "axis 1 of `relu1`, now `. d`, has other groups than before");
    assert!(TapMoments::new(&symmetry, "relu1", &layout, 2).is_err());
    let mut tap = new();
    let empty = ActivationSimilarity::new(&symmetry, vec![tap.clone()], ActivationKind::Pearson).unwrap_err();
    assert_eq!(empty.to_string(), "no sample of activations `relu1` was seen");
    tap.add(&symmetry, &layout, &[0.0; 6], &[f32::INFINITY; 6]).unwrap();
    let infinite = ActivationSimilarity::new(&symmetry, vec![tap], ActivationKind::Pearson).unwrap_err().to_string();
    assert!(infinite.contains("`relu1` of network B are not finite"), "{infinite}");
    for (pattern, shape) in [(". e", vec![2, 3]), (". c@d", vec![2, 3]), (". c", vec![2, 4]), ("c", vec![2, 3])] {
        assert!(symmetry.layout("relu1", &pattern.parse().unwrap(), &shape).is_err(), "{pattern}");
    }
}
