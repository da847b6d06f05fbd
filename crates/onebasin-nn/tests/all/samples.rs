//! Samples: held, chosen, made up, and which of their fields feeds what.

use onebasin_core::graph::Graph;
use onebasin_nn::samples::{Arrays, Chosen, Feeds, Field, FieldKind, Samples, dead_leaves, labels, synthetic};

fn field(name: &str, shape: &[usize], kind: FieldKind) -> Field {
    Field { name: name.to_owned(), shape: shape.to_vec(), kind }
}

fn real(name: &str, shape: &[usize]) -> Field {
    field(name, shape, FieldKind::Real)
}

fn classes(below: usize) -> Field {
    field("class", &[], FieldKind::Index { below })
}

/// Six samples of two fields and a label; number `k` of sample `s` is `10 s + k`, negative in the second field.
fn six() -> Arrays {
    let numbers = |len: usize, sign: f32| (0..6 * len).map(|k| sign * (10 * (k / len) + k % len) as f32).collect();
    let inputs = vec![(real("left", &[2, 2]), numbers(4, 1.0)), (real("right", &[3]), numbers(3, -1.0))];
    Arrays::new("six", inputs, Some((classes(6), (0..6_u8).map(f32::from).collect()))).unwrap()
}

/// A network that takes samples of this shape.
fn taking(shape: &[usize]) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("images", &[&[1], shape].concat()).unwrap();
    graph.output(x);
    graph
}

fn two_inputs() -> Graph {
    let mut graph = Graph::new();
    let [right, left] = [("right", 3), ("left", 4)].map(|(name, len)| graph.input(name, &[1, len]).unwrap());
    let [a, b] = [("a", right), ("b", left)].map(|(name, x)| graph.linear(name, x, 2).unwrap());
    let y = graph.add_values("y", a, b).unwrap();
    graph.output(y);
    graph
}

#[test]
fn arrays_that_do_not_fit_name_the_field() {
    let error = |inputs, target| Arrays::new("made up", inputs, target).unwrap_err().to_string();
    let x = |numbers: usize| vec![(real("x", &[2]), vec![0.5; numbers])];
    let found = error(x(5), None);
    assert!(found.contains("`made up`") && found.contains("`x`") && found.contains("5 numbers"), "{found}");
    let found = error(x(4), Some((classes(3), vec![0.0; 3])));
    assert!(found.contains("`x` has 2 samples, field `class` has 3"), "{found}");
    for wrong in [3.0, -1.0, 0.5, f32::NAN, f32::INFINITY] {
        let found = error(x(4), Some((classes(3), vec![0.0, wrong])));
        assert!(found.contains(&format!("`class` has {wrong} in sample 1")), "{found}");
    }
    let tokens = (field("tokens", &[2], FieldKind::Index { below: 7 }), vec![6.0, 6.0, 6.0, 7.0]);
    assert!(error(vec![tokens], None).contains("`tokens` has 7 in sample 1"));
    assert!(error(vec![(real("x", &[0]), vec![])], None).contains("`x`"));
    assert!(error(vec![], None).contains("at least one input"));
    assert_eq!(Arrays::new("none", x(0), Some((classes(3), vec![]))).unwrap().len(), 0);
}

#[test]
fn chosen_samples_are_the_others_in_their_order() {
    let all = six();
    let order = [4, 5, 0, 2, 3, 3, 1];
    let chosen = Chosen::new(&all, order.to_vec()).unwrap();
    assert_eq!((chosen.len(), chosen.name(), chosen.target()), (7, "six", all.target()));
    for run in [0..7, 1..4, 2..2, 5..7] {
        for (input, len) in [(0, 4), (1, 3)] {
            let mut found = vec![f32::NAN; run.len() * len];
            chosen.fill(input, run.clone(), &mut found).unwrap();
            for (out, &s) in found.chunks_exact(len).zip(&order[run.clone()]) {
                let mut expected = vec![0.0; len];
                all.fill(input, s as usize..s as usize + 1, &mut expected).unwrap();
                assert_eq!(out, expected);
            }
        }
        let mut found = vec![f32::NAN; run.len()];
        chosen.fill_target(run.clone(), &mut found).unwrap();
        assert!(found.iter().zip(&order[run]).all(|(f, s)| *f == *s as f32));
    }
    let again = Chosen::new(&chosen, vec![6, 0]).unwrap();
    assert_eq!((labels(&again).unwrap(), labels(&Chosen::first(&chosen, 3)).unwrap()), (vec![1, 4], vec![4, 5, 0]));
    assert_eq!((Chosen::first(&all, 9).len(), Chosen::first(&all, 0).is_empty()), (6, true));
    let error = Chosen::new(&all, vec![0, 6]).err().unwrap().to_string();
    assert!(error.contains("`six`") && error.contains("no sample 6; it has 6"), "{error}");
}

#[test]
fn labels_are_one_index_a_sample() {
    let x = || vec![(real("x", &[]), vec![0.0; 2])];
    let error = |target| labels(&Arrays::new("odd", x(), target).unwrap()).unwrap_err().to_string();
    assert!(error(None).contains("there is none"));
    assert!(error(Some((real("y", &[]), vec![0.0; 2]))).contains("`y`"));
    assert!(error(Some((field("t", &[2], FieldKind::Index { below: 1 }), vec![0.0; 4]))).contains("`t` has [2]"));
}

#[test]
fn fields_feed_the_inputs_of_their_names() {
    let (graph, all) = (two_inputs(), six());
    let feeds = Feeds::new(&graph, &all).unwrap();
    assert_eq!((feeds.fields().collect::<Vec<_>>(), feeds.target()), (vec![(1, 3), (0, 4)], 1));
    let (mut right, mut left, mut target) = ([0.0; 3], [0.0; 4], [0.0]);
    let feed = feeds.feed(&all, 2);
    feed(1..2, &mut [&mut right, &mut left], &mut target).unwrap();
    assert_eq!((right, left, target), ([-30.0, -31.0, -32.0], [30.0, 31.0, 32.0, 33.0], [3.0]));
    feed(0..1, &mut [&mut right, &mut left], &mut []).unwrap();
    assert_eq!(right, [-20.0, -21.0, -22.0]);
}

#[test]
fn a_field_alone_feeds_an_input_alone_whatever_their_names() {
    let mut graph = Graph::new();
    let x = graph.input("pixels", &[1, 784]).unwrap();
    graph.output(x);
    let images = |shape: &[usize]| synthetic(&taking(shape), 1, 0).unwrap();
    assert!(Feeds::new(&graph, &images(&[28, 28])).is_ok());
    let error = Feeds::new(&graph, &images(&[28, 27])).unwrap_err().to_string();
    assert!(error.contains("`images` have 756 numbers a sample") && error.contains("`pixels` takes 784"), "{error}");
    let error = Feeds::new(&graph, &six()).unwrap_err().to_string();
    assert!(error.contains("`pixels`") && error.contains("known: `left`, `right`"), "{error}");
    let error = Feeds::new(&two_inputs(), &images(&[3])).unwrap_err().to_string();
    assert!(error.contains("`right`") && error.contains("known: `images`"), "{error}");
}

#[test]
fn synthetic_images_are_the_same_every_time_and_fill_the_range() {
    let images = synthetic(&taking(&[3, 16, 16]), 20, 5).unwrap();
    assert_eq!(images, synthetic(&taking(&[3, 16, 16]), 20, 5).unwrap());
    assert_ne!(images, synthetic(&taking(&[3, 16, 16]), 20, 6).unwrap());
    let mut seen = vec![0.0; 20 * 3 * 16 * 16];
    images.fill(0, 0..20, &mut seen).unwrap();
    let mean = seen.iter().sum::<f32>() / seen.len() as f32;
    let deviation = (seen.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / seen.len() as f32).sqrt();
    assert!(mean.abs() < 0.5 && (0.7..1.8).contains(&deviation), "{mean} {deviation}");
    // Halves of 1/32 are exact.
    assert!(seen.iter().all(|v| (32.0 * v + 127.5).fract() == 0.0));
    assert_eq!(synthetic(&taking(&[7]), 3, 0).unwrap().len(), 3);
    assert!(images.target().is_none());
}

#[test]
fn dead_leaves_are_the_same_every_time_and_hide_each_other() {
    let images = dead_leaves(&taking(&[3, 16, 16]), 20, 5).unwrap();
    assert_eq!(images, dead_leaves(&taking(&[3, 16, 16]), 20, 5).unwrap());
    assert_ne!(images, dead_leaves(&taking(&[3, 16, 16]), 20, 6).unwrap());
    let more = dead_leaves(&taking(&[3, 16, 16]), 21, 5).unwrap();
    let (mut seen, mut again) = (vec![0.0; 20 * 768], vec![0.0; 20 * 768]);
    images.fill(0, 0..20, &mut seen).unwrap();
    more.fill(0, 0..20, &mut again).unwrap();
    assert_eq!(seen, again);
    let mean = seen.iter().sum::<f32>() / seen.len() as f32;
    let deviation = (seen.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / seen.len() as f32).sqrt();
    assert!(mean.abs() < 0.5 && (0.7..1.8).contains(&deviation), "{mean} {deviation}");
    // Neighbours on one leaf are alike: most steps are small, and some are edges.
    let steps: Vec<f32> = seen.chunks_exact(16).flat_map(|row| row.windows(2).map(|w| (w[1] - w[0]).abs())).collect();
    let share = |least: f32| steps.iter().filter(|s| **s > least).count() as f32 / steps.len() as f32;
    assert!(
        share(0.5 * deviation) < 0.35 && share(deviation) > 0.01,
        "{} {}",
        share(0.5 * deviation),
        share(deviation)
    );
    assert!(images.target().is_none());
}
