//! More than two networks: planted numberings, cycles, order, and what must not change.

use onebasin_core::matching::pairs_objective;
use onebasin_core::matching::{
    ManyMatch, ManyOptions, MatchOptions, Origin, Start, StopReason, UniverseOptions, match_cycle_consistent,
    match_weights, merge_many, merge_tree,
};
use onebasin_core::merge::mean;
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Tensor};

const MLP: [(&str, &[usize], &str); 5] = [
    ("fc1", &[24, 10], "h1 ."),
    ("bias", &[24], "h1"),
    ("fc2", &[30, 24], "h2 h1"),
    ("fc3", &[24, 30], "h3 h2"),
    ("fc4", &[5, 24], ". h3"),
];
const FAMILIES: [(&str, &[usize], &str); 4] = [
    ("in", &[8, 20], "stream ."),
    ("q", &[12, 8], "(heads q@heads) stream"),
    ("o", &[8, 12], "stream (heads q@heads)"),
    ("out", &[9, 8], ". stream"),
];

fn draw(shapes: &[(&str, &[usize], &str)], seed: u64) -> Params {
    let tensor = |(name, shape, _): &(&str, &[usize], &str)| {
        let mut stream = Stream::new(seed, name);
        let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        ((*name).to_owned(), Tensor::from_f32(shape, values).unwrap())
    };
    shapes.iter().map(tensor).collect()
}

fn symmetry(shapes: &[(&str, &[usize], &str)]) -> Symmetry {
    let mut spec = SymmetrySpec::from_patterns(shapes.iter().map(|(n, _, p)| (*n, *p))).unwrap();
    if shapes.iter().any(|s| s.2.contains('@')) {
        spec.sizes.insert("heads".to_owned(), 3);
    }
    Symmetry::resolve(&spec, &draw(shapes, 0)).unwrap()
}

/// One network in random numberings, each with noise of its own; and the alignments into the first numbering.
fn planted(shapes: &[(&str, &[usize], &str)], count: u64, noise: f64, seed: u64) -> (Vec<Params>, Vec<Alignment>) {
    let (symmetry, original) = (symmetry(shapes), draw(shapes, seed));
    let plants: Vec<Alignment> =
        (0..count).map(|k| Alignment::random(&symmetry, &mut Stream::new(seed, &format!("plant/{k}")))).collect();
    let model = |(k, plant): (usize, &Alignment)| {
        let moved = plant.apply(&symmetry, &original).unwrap();
        let other = draw(shapes, seed + 1000 + k as u64);
        let add = |(name, t): (&str, &Tensor)| {
            let noisy = t
                .to_f32()
                .unwrap()
                .iter()
                .zip(other.get(name).unwrap().to_f32().unwrap().iter())
                .map(|(x, n)| x + noise as f32 * n)
                .collect();
            (name.to_owned(), Tensor::from_f32(t.shape(), noisy).unwrap())
        };
        moved.iter().map(add).collect()
    };
    let models = plants.iter().enumerate().map(model).collect();
    let truth = plants.iter().map(|p| plants[0].compose(&symmetry, &p.inverse(&symmetry))).collect();
    (models, truth)
}

type Method = fn(&Symmetry, &[&Params], u64, Start) -> ManyMatch;

const METHODS: [(&str, Method); 4] = [
    ("sweeps", |symmetry, models, seed, start| {
        let options = ManyOptions { seed, start, ..ManyOptions::default() };
        merge_many(symmetry, models, &options, &mut |_| true).unwrap()
    }),
    ("tree", |symmetry, models, seed, start| {
        let options = ManyOptions { seed, start, ..ManyOptions::default() };
        merge_tree(symmetry, models, &options, &mut |_| true).unwrap()
    }),
    ("universe", |symmetry, models, seed, start| universe(symmetry, models, seed, start, Origin::Start)),
    ("universe inside", |symmetry, models, seed, start| universe(symmetry, models, seed, start, Origin::Barycentre)),
];

fn universe(symmetry: &Symmetry, models: &[&Params], seed: u64, start: Start, origin: Origin) -> ManyMatch {
    let polish = ManyOptions { seed, start, ..ManyOptions::default() };
    let options = UniverseOptions { origin, polish, ..UniverseOptions::default() };
    match_cycle_consistent(symmetry, models, &options, &mut |_| true).unwrap()
}

#[test]
fn planted_numberings_of_five_networks_are_recovered_through_noise() {
    let symmetry = symmetry(&MLP);
    for seed in 0..3 {
        let (models, truth) = planted(&MLP, 5, 0.5, seed);
        let models: Vec<&Params> = models.iter().collect();
        let best = pairs_objective(&symmetry, &models, &truth).unwrap();
        for (name, method) in METHODS {
            for start in [Start::Identity, Start::Signature] {
                let found = method(&symmetry, &models, seed, start);
                assert_eq!(found.alignments, truth, "{name} from {start:?}, seed {seed}");
                assert!((found.objective - best).abs() <= 1e-12 * best, "{name}");
                assert_eq!(found.stop, StopReason::Converged);
            }
        }
    }
}

#[test]
fn families_are_recovered_too() {
    let symmetry = symmetry(&FAMILIES);
    let (models, truth) = planted(&FAMILIES, 4, 0.2, 1);
    let models: Vec<&Params> = models.iter().collect();
    for (name, method) in METHODS {
        assert_eq!(method(&symmetry, &models, 1, Start::Identity).alignments, truth, "{name}");
    }
}

/// Unrelated networks: whatever is found, composing around a cycle moves nothing, and the first stays still.
#[test]
fn around_a_cycle_nothing_moves_and_nothing_falls() {
    for shapes in [&MLP[..], &FAMILIES[..]] {
        let symmetry = symmetry(shapes);
        let models: Vec<Params> = (0..4).map(|seed| draw(shapes, seed)).collect();
        let models: Vec<&Params> = models.iter().collect();
        for (name, method) in METHODS {
            let found = method(&symmetry, &models, 7, Start::Identity);
            assert!(found.alignments[0].is_identity());
            let around = [(0, 1), (1, 2), (2, 3), (3, 0)]
                .iter()
                .map(|&(to, from)| found.between(&symmetry, to, from))
                .reduce(|path, step| path.compose(&symmetry, &step))
                .unwrap();
            assert!(around.is_identity(), "{name}");
            let value = pairs_objective(&symmetry, &models, &found.alignments).unwrap();
            assert!((found.objective - value).abs() <= 1e-10 * value, "{name}: {} but {value}", found.objective);
            assert!(name == "tree" || found.objective >= found.start_objective, "{name}");
            if name == "sweeps" {
                let mut last = found.start_objective;
                for round in &found.rounds {
                    assert!(round.objective >= last - 1e-12 * last.abs(), "{:?}", found.rounds);
                    last = round.objective;
                }
            }
        }
    }
}

/// Two networks: as for a pair, no result is worth less than the start, and none moves the first.
#[test]
fn two_networks_are_a_pair() {
    let symmetry = symmetry(&MLP);
    for seed in 0..5 {
        let (a, b) = (draw(&MLP, 2 * seed), draw(&MLP, 2 * seed + 1));
        let identity = Alignment::identity(&symmetry);
        let pair = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true).unwrap();
        for (name, method) in METHODS {
            let found = method(&symmetry, &[&a, &b], seed, Start::Identity);
            assert!(found.alignments[0].is_identity());
            assert!((found.start_objective - pair.start_objective).abs() < 1e-9);
            assert!(found.objective >= found.start_objective, "{name}");
            let again =
                match_weights(&symmetry, &a, &b, Some(&found.alignments[1]), &MatchOptions::default(), &mut |_| true);
            assert_eq!(again.unwrap().alignment, found.alignments[1], "{name} left something to gain");
            assert_ne!(found.alignments[1], identity);
        }
    }
}

/// The universe treats networks alike: listed in another order they are aligned the same way.
#[test]
fn the_order_of_networks_changes_nothing_in_the_universe() {
    let symmetry = symmetry(&MLP);
    let (models, _) = planted(&MLP, 4, 1.0, 2);
    let run = |order: [usize; 4]| {
        let listed: Vec<&Params> = order.iter().map(|&k| &models[k]).collect();
        let found = universe(&symmetry, &listed, 0, Start::Identity, Origin::Start);
        let place = |k: usize| order.iter().position(|&o| o == k).unwrap();
        (1..4).map(|k| found.between(&symmetry, place(0), place(k))).collect::<Vec<_>>()
    };
    assert_eq!(run([0, 1, 2, 3]), run([2, 0, 3, 1]));
}

#[test]
fn one_network_repeated_gives_itself_back() {
    let symmetry = symmetry(&MLP);
    let model = draw(&MLP, 3);
    for count in [1, 3] {
        let models = vec![&model; count];
        for (name, method) in METHODS {
            let found = method(&symmetry, &models, 0, Start::Identity);
            assert!(found.alignments.iter().all(Alignment::is_identity), "{name}");
            assert_eq!(mean(&symmetry, &models, &found.alignments, None).unwrap(), model, "{name}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    let symmetry = symmetry(&MLP);
    let models: Vec<Params> = (0..3).map(|seed| draw(&MLP, seed)).collect();
    let models: Vec<&Params> = models.iter().collect();
    for (name, method) in METHODS {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| method(&symmetry, &models, 0, Start::Signature))
        };
        assert_eq!(run(1), run(2), "{name}");
    }
}

#[test]
fn what_cannot_be_matched_is_refused_and_interruption_is_said() {
    let symmetry = symmetry(&MLP);
    let options = ManyOptions::default();
    let none = merge_many(&symmetry, &[], &options, &mut |_| true).unwrap_err();
    assert_eq!(none.to_string(), "there must be at least one network, found none");
    let (a, mut b) = (draw(&MLP, 0), draw(&MLP, 1));
    for found in [
        merge_many(&symmetry, &[&a, &b, &a], &options, &mut |_| false).unwrap(),
        merge_tree(&symmetry, &[&a, &b, &a], &options, &mut |_| false).unwrap(),
        match_cycle_consistent(&symmetry, &[&a, &b, &a], &UniverseOptions::default(), &mut |_| false).unwrap(),
    ] {
        assert_eq!(found.stop, StopReason::Interrupted);
    }
    b.insert("bias", Tensor::from_f32(&[24], vec![f32::NAN; 24]).unwrap());
    for found in [
        merge_many(&symmetry, &[&a, &b], &options, &mut |_| true),
        merge_tree(&symmetry, &[&a, &b], &options, &mut |_| true),
        match_cycle_consistent(&symmetry, &[&a, &b], &UniverseOptions::default(), &mut |_| true),
    ] {
        assert!(found.unwrap_err().to_string().contains("tensor `bias` holds 24 value(s) that are not finite"));
    }
    let still = vec![Alignment::identity(&symmetry); 2];
    let error = mean(&symmetry, &[&a], &still, None).unwrap_err().to_string();
    assert_eq!(error, "1 networks need one alignment and one weight each, found 2 alignments and 1 weights");
    let error = mean(&symmetry, &[&a, &a], &still, Some(&[1.0, -1.0])).unwrap_err().to_string();
    assert_eq!(error, "weights must be finite numbers of positive sum, found [1.0, -1.0]");
}
