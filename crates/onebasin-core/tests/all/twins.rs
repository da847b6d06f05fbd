//! Slow obvious twins: what a pattern means, what an objective is, what the best element of a group is.

use std::collections::BTreeMap;

use onebasin_core::matching::{
    Element, Gram, MatchOptions, Order, Root, Source, StopReason, Weights, ascend, best_element, objective,
    weight_grams,
};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{
    Alignment, Group, GroupId, Symmetry, SymmetrySpec, TensorLayout, Term, TermKind, for_each_index,
};
use onebasin_core::{DType, Params, Tensor};
use onebasin_testkit::assert_close;
use proptest::prelude::*;

/// What stands at one position of a tensor: a place in the pattern, and the digits (group, unit) read there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Label {
    /// Empty where a slice stands: slices of one group belong together.
    place: Vec<usize>,
    digits: Vec<(Option<String>, usize)>,
    sliced: bool,
}

impl Label {
    fn of(group: Option<&String>, unit: usize, sliced: bool) -> Self {
        Self { place: vec![], digits: vec![(group.cloned(), unit)], sliced }
    }

    fn at(self, place: usize) -> Self {
        let place = if self.sliced { vec![] } else { [vec![place], self.place].concat() };
        Self { place, ..self }
    }

    fn beside(&self, other: &Self) -> Self {
        let sliced = self.sliced || other.sliced;
        let place = if sliced { vec![] } else { [self.place.clone(), other.place.clone()].concat() };
        Self { place, digits: [self.digits.clone(), other.digits.clone()].concat(), sliced }
    }
}

type Sizes = BTreeMap<String, usize>;

/// The labels of an axis, position by position, straight from the notation, at one entry of what chooses.
fn labels(term: &Term, len: usize, sizes: &Sizes, entry: usize) -> Vec<Label> {
    match &term.kind {
        TermKind::Fixed => (0..len).map(|u| Label::of(None, u, false)).collect(),
        TermKind::Number(n) | TermKind::Chooser(n) => (0..*n).map(|u| Label::of(None, u, false)).collect(),
        TermKind::Group { name, slice, .. } => {
            let units = slice.map_or(0..sizes[name], |(from, to)| from..to);
            units.map(|u| Label::of(Some(name), u, slice.is_some())).collect()
        }
        TermKind::Sum(parts) => {
            let part = |(k, part)| labels(part, len, sizes, entry).into_iter().map(move |l| l.at(k));
            parts.iter().enumerate().flat_map(part).collect()
        }
        TermKind::Cases(cases) => labels(&cases[entry], len, sizes, entry).into_iter().map(|l| l.at(entry)).collect(),
        TermKind::Product(factors) => product(factors, &vec![len; factors.len()], sizes, entry),
    }
}

/// The labels of terms beside each other, the last running fastest; one of them may choose for the others.
fn product(terms: &[Term], lens: &[usize], sizes: &Sizes, entry: usize) -> Vec<Label> {
    let own = terms.iter().position(|t| matches!(t.kind, TermKind::Chooser(_)));
    let at = |entry| terms.iter().zip(lens).map(|(t, len)| labels(t, *len, sizes, entry)).collect::<Vec<_>>();
    let counts: Vec<usize> = at(entry).iter().map(Vec::len).collect();
    let mut found = Vec::new();
    for_each_index(&counts, |index| {
        let factors = at(own.map_or(entry, |k| index[k]));
        let chosen = (0..terms.len()).filter(|k| Some(*k) != own).map(|k| factors[k][index[k]].clone());
        // What chooses says by the case's place where it stands.
        let chooser = own.filter(|_| !chosen.clone().any(|l| l.sliced)).map(|k| factors[k][index[k]].clone());
        found.push(chosen.chain(chooser).reduce(|x, y| x.beside(&y)).unwrap());
    });
    found
}

/// The label that an alignment fetches for a result position.
fn source(label: &Label, symmetry: &Symmetry, alignment: &Alignment) -> Label {
    let id = |name: &str| symmetry.group_named(name).unwrap();
    let unit = |g: GroupId| label.digits.iter().find(|d| d.0.as_deref() == Some(&symmetry.group(g).name)).unwrap().1;
    let moved = label.digits.iter().map(|(group, u)| {
        let Some(name) = group else { return (None, *u) };
        let copy = symmetry.ancestors(id(name)).iter().fold(0, |c, a| c * symmetry.group(*a).size + unit(*a));
        (Some(name.clone()), alignment.copies(id(name))[copy].at(*u))
    });
    Label { place: label.place.clone(), digits: moved.collect(), sliced: label.sliced }
}

/// Of every entry of a tensor, the one that an alignment fetches there.
fn gather(layout: &TensorLayout, symmetry: &Symmetry, alignment: &Alignment) -> Vec<usize> {
    let sizes = symmetry.groups().iter().map(|g: &Group| (g.name.clone(), g.size)).collect();
    let labels = product(&layout.pattern.axes, &layout.shape, &sizes, 0);
    let find = |wanted: Label| labels.iter().position(|l| *l == wanted).expect("every label has a source");
    labels.iter().map(|l| find(source(l, symmetry, alignment))).collect()
}

const SHAPES: [(&str, &[usize], &str); 16] = [
    ("plain", &[6, 5], "s ."),
    ("nested", &[12, 6], "(h q@h) s"),
    ("fused", &[6, 30], "s (h q@h + h q@h + h v@h)"),
    ("meeting", &[24], "(h q@h v@h)"),
    ("deep", &[36], "(h q@h x@q)"),
    ("tied", &[6, 6], "s s"),
    ("flat", &[3, 24, 7], ". (4 s) w"),
    ("cat", &[13], "(s + w)"),
    ("pad", &[13], "(p[0:2] + w + p[2:6])"),
    ("mixed", &[26], "(2 (s + w))"),
    ("experts", &[3, 6, 4], "h s q@h"),
    ("apart", &[4, 2, 3, 3], "q@h . h x@q"),
    ("woven", &[12], "([s | s] #2)"),
    ("uneven", &[12], "([p[0:3] | (1 + 2)] #2 + p[3:5] + p[5:6] + 3)"),
    ("gates", &[2, 14, 6], "#2 [(2 w) | (2 u)] s"),
    ("states", &[7, 3, 2], "[w | u] h #2"),
];

fn zoo(seed: u64) -> (Params, Symmetry) {
    let draw = |(name, shape, _): &(&str, &[usize], &str)| {
        let mut s = Stream::new(seed, name);
        let values = (0..shape.iter().product()).map(|_| s.normal() as f32).collect();
        ((*name).to_owned(), Tensor::from_f32(shape, values).unwrap())
    };
    let params: Params = SHAPES.iter().map(draw).collect();
    let mut spec = SymmetrySpec::from_patterns(SHAPES.iter().map(|(n, _, p)| (*n, *p))).unwrap();
    spec.sizes.extend([("h".to_owned(), 3), ("u".to_owned(), 7)]);
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    (params, symmetry)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn applying_means_what_the_pattern_says(seed: u64) {
        let (params, symmetry) = zoo(seed);
        let alignment = Alignment::random(&symmetry, &mut Stream::new(seed, "alignment"));
        let moved = alignment.apply(&symmetry, &params).unwrap();
        for (name, layout) in symmetry.tensors() {
            let (before, after) = (params.get(name).unwrap(), moved.get(name).unwrap());
            let gather = gather(layout, &symmetry, &alignment);
            let (x, y) = (before.to_f32().unwrap(), after.to_f32().unwrap());
            for (at, from) in gather.into_iter().enumerate() {
                prop_assert_eq!(y[at], x[from], "{} {}", name, at);
            }
        }
    }

    /// The value of every element on the Grams is what the objective changes by, so the Grams are right.
    #[test]
    fn grams_tell_how_the_objective_changes(seed: u64, types in [0_usize..4, 0..4]) {
        const TYPES: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];
        let ((a, symmetry), (b, _)) = (zoo(seed), zoo(seed ^ 1));
        let [a, b] = [(a, types[0]), (b, types[1])].map(|(net, k)| {
            let cast = |(name, tensor): (&str, &Tensor)| (name.to_owned(), tensor.cast(TYPES[k]).unwrap());
            net.iter().map(cast).collect::<Params>()
        });
        let factor = if types.contains(&0) { 4096.0 } else { SINGLE };
        let current = Alignment::random(&symmetry, &mut Stream::new(seed, "current"));
        let before = objective(&symmetry, &current, &a, &b).unwrap();
        for root in symmetry.roots().into_iter().filter(|r| symmetry.group(*r).name != "s") {
            let grams = weight_grams(&symmetry, root, &current, &a, &b).unwrap();
            let best = best_element(&symmetry, root, &grams, &Element::of(&symmetry, &current, root), None).unwrap();
            let mut next = current.clone();
            best.element.store(&mut next, root);
            let after = objective(&symmetry, &next, &a, &b).unwrap();
            assert_close(after - before, best.value - best.current, factor, 1000.0);
            prop_assert!(best.value >= best.current);
        }
    }
}

/// The rounding of single precision, in units of that of double precision.
const SINGLE: f64 = (1_u64 << 29) as f64;

/// A source without what it keeps, and with these roots.
struct Afresh<'a>(&'a Weights<'a>, Vec<Root>);

impl Source for Afresh<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.0.symmetry()
    }

    fn roots(&self) -> &[Root] {
        &self.1
    }

    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>, onebasin_core::Error> {
        self.0.grams(root, current)
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64, onebasin_core::Error> {
        self.0.objective(alignment)
    }

    fn gain(&self, root: GroupId, from: &Alignment, to: &Alignment) -> Result<f64, onebasin_core::Error> {
        self.0.gain(root, from, to)
    }
}

/// Two neighbouring units of a random copy of a random group are exchanged.
fn nudge(symmetry: &Symmetry, alignment: &Alignment, stream: &mut Stream) -> Alignment {
    let ids = (0..symmetry.groups().len()).map(GroupId);
    let mut perms: Vec<Vec<Vec<u32>>> =
        ids.map(|id| alignment.copies(id).iter().map(|p| p.as_slice().to_vec()).collect()).collect();
    let group = stream.below(perms.len());
    let copy = stream.below(perms[group].len());
    let at = stream.below(perms[group][copy].len() - 1);
    perms[group][copy].swap(at, at + 1);
    let perm = |p: Vec<u32>| onebasin_core::Perm::new(p).unwrap();
    Alignment::new(symmetry, perms.into_iter().map(|c| c.into_iter().map(perm).collect()).collect()).unwrap()
}

#[test]
fn kept_grams_are_those_from_scratch() {
    for seed in 0..20 {
        let ((a, symmetry), (b, _)) = (zoo(seed), zoo(seed + 100));
        let weights = Weights::new(&symmetry, &a, &b).unwrap();
        let mut caches = weights.caches().expect("weights keep their Grams");
        let mut stream = Stream::new(seed, "nudges");
        let mut alignment = Alignment::random(&symmetry, &mut stream);
        let mut updated = 0;
        for step in 1..=30 {
            for (k, root) in weights.roots().iter().enumerate() {
                let (kept, scratch) =
                    (caches[k].grams(&alignment).unwrap().into_owned(), weights.grams(root.id, &alignment).unwrap());
                for (x, y) in kept.iter().zip(&scratch) {
                    assert_eq!((&x.digits, &x.lens), (&y.digits, &y.lens));
                    x.data.iter().zip(&y.data).for_each(|(x, y)| assert_close(*x, *y, SINGLE, 1000.0));
                }
            }
            alignment = nudge(&symmetry, &alignment, &mut stream);
            if step % 10 == 0 {
                updated += caches.iter_mut().filter_map(|cache| cache.forget_if_updated().then_some(())).count();
                assert!(!caches.iter_mut().any(|cache| cache.forget_if_updated()));
            }
        }
        assert!(updated > 0, "seed {seed}: nothing was brought up to date");
    }
}

#[test]
fn an_ascent_that_keeps_grams_ends_where_one_without_does() {
    for seed in 0..10 {
        let ((a, symmetry), (b, _)) = (zoo(seed), zoo(seed + 100));
        let weights = Weights::new(&symmetry, &a, &b).unwrap();
        let start = Alignment::random(&symmetry, &mut Stream::new(seed, "start"));
        let options = MatchOptions { seed, ..MatchOptions::default() };
        let kept = ascend(&weights, &start, &options, &mut |_| true).unwrap();
        let afresh = ascend(&Afresh(&weights, weights.roots().to_vec()), &start, &options, &mut |_| true).unwrap();
        assert_eq!(kept.alignment, afresh.alignment, "seed {seed}");
        assert_eq!(kept.stop, StopReason::Converged);
        assert_close(kept.sweeps.last().unwrap().objective, kept.objective, SINGLE, 1000.0);
        assert_eq!(weights.objective(&kept.alignment).unwrap(), kept.objective);
    }
}

#[test]
fn groups_side_by_side_end_where_one_after_another_does() {
    for seed in 0..10 {
        let ((a, symmetry), (b, _)) = (zoo(seed), zoo(seed + 100));
        let weights = Weights::new(&symmetry, &a, &b).unwrap();
        let mut chained = weights.roots().to_vec();
        let all = 0..chained.len();
        for (k, root) in chained.iter_mut().enumerate() {
            root.neighbours = all.clone().filter(|&other| other != k || root.quadratic).collect();
        }
        let start = Alignment::random(&symmetry, &mut Stream::new(seed, "start"));
        for order in [Order::Random, Order::Forward, Order::Alternating] {
            let options = MatchOptions { seed, order, ..MatchOptions::default() };
            let [beside, after] = [weights.roots().to_vec(), chained.clone()]
                .map(|roots| ascend(&Afresh(&weights, roots), &start, &options, &mut |_| true).unwrap());
            assert_eq!((&beside.alignment, beside.objective), (&after.alignment, after.objective), "seed {seed}");
            assert_eq!(beside.sweeps[0].gain.to_bits(), after.sweeps[0].gain.to_bits(), "seed {seed}");
        }
    }
}

/// All permutations of `0..n`.
fn permutations(n: usize) -> Vec<Vec<u32>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(n - 1);
    shorter.iter().flat_map(|p| (0..n).map(move |at| [&p[..at], &[n as u32 - 1], &p[at..]].concat())).collect()
}

#[test]
fn nested_families_are_solved_exactly() {
    for seed in 0..10 {
        let shapes: [(&str, &[usize], &str); 3] =
            [("q", &[6, 4], "(h q@h) ."), ("v", &[4, 6], ". (h v@h)"), ("gain", &[2], "h")];
        let draw = |salt: u64| -> Params {
            let tensor = |(name, shape, _): &(&str, &[usize], &str)| {
                let mut s = Stream::new(seed + 100 * salt, name);
                let values = (0..shape.iter().product()).map(|_| s.normal()).collect();
                ((*name).to_owned(), Tensor::from_f64(shape, values).unwrap())
            };
            shapes.iter().map(tensor).collect()
        };
        let (a, b) = (draw(0), draw(1));
        let spec = SymmetrySpec::from_patterns(shapes.iter().map(|(n, _, p)| (*n, *p))).unwrap();
        let symmetry = Symmetry::resolve(&spec, &a).unwrap();
        let identity = Alignment::identity(&symmetry);
        let root = symmetry.roots()[0];
        let grams = weight_grams(&symmetry, root, &identity, &a, &b).unwrap();
        let found = best_element(&symmetry, root, &grams, &Element::of(&symmetry, &identity, root), None).unwrap();

        let perm = |p: &[u32]| onebasin_core::Perm::new(p.to_vec()).unwrap();
        let (two, three) = (permutations(2), permutations(3));
        let mut best = f64::NEG_INFINITY;
        for h in &two {
            for [q0, q1] in three.iter().flat_map(|x| three.iter().map(move |y| [x, y])) {
                for [v0, v1] in three.iter().flat_map(|x| three.iter().map(move |y| [x, y])) {
                    let perms = vec![vec![perm(h)], vec![perm(q0), perm(q1)], vec![perm(v0), perm(v1)]];
                    let element = Alignment::new(&symmetry, perms).unwrap();
                    best = best.max(objective(&symmetry, &element, &a, &b).unwrap());
                }
            }
        }
        assert_close(found.value, best, 256.0, best);
    }
}

/// Two perceptrons wide enough for samples, in single precision: B is A renumbered, plus noise of this share of its spread.
fn wide(noise: f64, seed: u64) -> (Params, Params, Symmetry, Alignment) {
    let shapes: [(&str, &[usize], &str); 4] =
        [("fc1", &[96, 700], "g ."), ("fc2", &[80, 96, 9], "h g ."), ("fc3", &[600, 80], ". h"), ("bias", &[96], "g")];
    let draw = |of: &str, size: f64, on: Option<&Params>| -> Params {
        let tensor = |(name, shape, _): &(&str, &[usize], &str)| {
            let mut stream = Stream::new(seed, &format!("{of}/{name}"));
            let base = on.map(|on| on.get(name).unwrap().to_f64().unwrap().into_owned());
            let value = |k: usize| base.as_ref().map_or(0.0, |b| b[k]);
            let values = (0..shape.iter().product()).map(|k| (value(k) + size * stream.normal()) as f32).collect();
            ((*name).to_owned(), Tensor::from_f32(shape, values).unwrap())
        };
        shapes.iter().map(tensor).collect()
    };
    let a = draw("a", 1.0, None);
    let symmetry =
        Symmetry::resolve(&SymmetrySpec::from_patterns(shapes.map(|(n, _, p)| (n, p))).unwrap(), &a).unwrap();
    let plant = Alignment::random(&symmetry, &mut Stream::new(seed, "plant"));
    let b = plant.apply(&symmetry, &draw("noise", noise, Some(&a))).unwrap();
    (a, b, symmetry.clone(), plant.inverse(&symmetry))
}

/// How much more than the current element the best one of a root is worth, by Grams made from scratch.
fn left(weights: &Weights<'_>, root: usize, alignment: &Alignment) -> f64 {
    let id = weights.roots()[root].id;
    let grams = weights.grams(id, alignment).unwrap();
    let best =
        best_element(weights.symmetry(), id, &grams, &Element::of(weights.symmetry(), alignment, id), None).unwrap();
    best.value - best.current
}

#[test]
fn what_a_part_of_the_columns_proves_is_so() {
    let mut proven = [0, 0];
    for seed in 0..12 {
        for noise in [0.0, 0.1, 0.5, 1.0, 3.0] {
            let (a, b, symmetry, truth) = wide(noise, seed);
            let weights = Weights::new(&symmetry, &a, &b).unwrap();
            let mut caches = weights.caches().expect("weights keep their Grams");
            // At the truth, and where one pair of units is exchanged.
            for (k, root) in weights.roots().iter().enumerate() {
                for wrong in [false, true] {
                    let all = (0..symmetry.groups().len()).map(|g| truth.copies(GroupId(g)).to_vec());
                    let mut perms: Vec<Vec<onebasin_core::Perm>> = all.collect();
                    if wrong {
                        let mut units = truth.copies(root.id)[0].as_slice().to_vec();
                        units.swap(0, 1);
                        perms[root.id.0] = vec![onebasin_core::Perm::new(units).unwrap()];
                    }
                    let alignment = Alignment::new(&symmetry, perms).unwrap();
                    assert!(caches[k].samples(), "group {k} is wide enough");
                    assert!(caches[k].sample(&alignment).unwrap().is_some());
                    let units: Vec<usize> =
                        alignment.copies(root.id)[0].as_slice().iter().map(|&u| u as usize).collect();
                    if caches[k].proves(&alignment, &units).unwrap() {
                        proven[usize::from(noise > 0.5)] += 1;
                        let left = left(&weights, k, &alignment);
                        assert!(left <= root.rounding, "seed {seed}, noise {noise}, group {k}: {left} is left");
                    }
                }
            }
        }
    }
    assert!(proven[0] > 50, "{proven:?}: networks of one origin are proven");
}

#[test]
fn an_ascent_over_samples_stops_where_no_whole_gram_gains() {
    for seed in 0..6 {
        for noise in [0.0, 0.5, 1.0, 30.0] {
            let (a, b, symmetry, truth) = wide(noise, seed);
            let weights = Weights::new(&symmetry, &a, &b).unwrap();
            let start = Alignment::identity(&symmetry);
            let found = ascend(&weights, &start, &MatchOptions::default(), &mut |_| true).unwrap();
            assert_eq!(found.stop, StopReason::Converged);
            assert!(found.objective >= found.start_objective);
            assert_eq!(found.objective, weights.objective(&found.alignment).unwrap());
            for (k, root) in weights.roots().iter().enumerate() {
                let left = left(&weights, k, &found.alignment);
                assert!(left <= root.rounding, "seed {seed}, noise {noise}, group {k}: {left} is left");
            }
            if noise <= 0.5 {
                assert_eq!(found.alignment, truth, "seed {seed}, noise {noise}");
            }
        }
    }
}
