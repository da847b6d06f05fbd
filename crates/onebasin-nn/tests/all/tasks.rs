//! Tasks: losses from their definitions, gradients against central differences, and what does not fit.

use std::ops::Range;

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::{Binary, Dim, Op, Reduce};
use onebasin_core::stream::Stream;
use onebasin_nn::evaluate;
use onebasin_nn::exec::{Batch, Flat, Lanes, Program};
use onebasin_nn::samples::{Arrays, Field, FieldKind};
use onebasin_nn::task::{Classes, OwnLoss, Task, Tokens, Values, usual};

fn normals(name: &str, count: usize) -> Vec<f64> {
    let mut stream = Stream::new(3, name);
    (0..count).map(|_| stream.normal()).collect()
}

fn indices(count: usize, below: usize) -> Vec<f32> {
    let mut stream = Stream::new(4, "indices");
    (0..count).map(|_| stream.below(below) as f32).collect()
}

/// Holds the gradient of a task against central differences of its loss, for a first output of so many numbers and another
/// one.
#[track_caller]
fn check(task: &dyn Task<f64>, numbers: usize, targets: &[f32], samples: usize) {
    const STEP: f64 = 1e-5;
    const SCALE: f64 = 0.7;
    let mut outputs = [normals("first", numbers), normals("second", 5)];
    let mut found = [vec![f64::NAN; numbers], vec![f64::NAN; 5]];
    {
        let [first, second] = &mut found;
        let seen: Vec<&[f64]> = outputs.iter().map(Vec::as_slice).collect();
        task.gradient(&seen, targets, samples, SCALE, &mut [first, second]);
    }
    for k in 0..2 {
        for i in 0..outputs[k].len() {
            let kept = outputs[k][i];
            let mut at = |y: f64| {
                outputs[k][i] = y;
                let seen: Vec<&[f64]> = outputs.iter().map(Vec::as_slice).collect();
                task.outcome(&seen, targets, samples).loss
            };
            let expected = SCALE * (at(kept + STEP) - at(kept - STEP)) / (2.0 * STEP);
            outputs[k][i] = kept;
            assert!((found[k][i] - expected).abs() < 1e-8, "output {k}, {i}: {} for {expected}", found[k][i]);
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    check(&Classes, 6 * 4, &indices(6, 4), 6);
    check(&Tokens, 2 * 3 * 5, &indices(6, 5), 2);
    let values: Vec<f32> = normals("values", 12).into_iter().map(|v| v as f32).collect();
    check(&Values, 12, &values, 4);
    check(&OwnLoss, 7, &[], 7);
    check(&OwnLoss, 1, &[], 7);
    check(&OwnLoss, 1, &[], 1);
}

#[test]
fn tokens_are_classes_at_every_position() {
    let outputs: Vec<f32> = normals("outputs", 3 * 4 * 5).into_iter().map(|v| v as f32).collect();
    let targets = indices(12, 5);
    let (tokens, classes) = (Tokens.outcome(&[&outputs], &targets, 3), Classes.outcome(&[&outputs], &targets, 12));
    assert_eq!((tokens, tokens.count), (classes, 12));
    let mut gradients = [vec![0.0; 60], vec![0.0; 60]];
    let [t, c] = &mut gradients;
    Tokens.gradient(&[&outputs], &targets, 3, 0.5, &mut [t]);
    Classes.gradient(&[&outputs], &targets, 12, 0.5, &mut [c]);
    assert_eq!(gradients[0], gradients[1]);
}

#[test]
fn losses_are_those_of_their_definitions() {
    let found = Classes.outcome(&[&[1.0_f64, 3.0, 2.0, 2.0, 0.0, 2.0]], &[1.0, 2.0], 2);
    let expected = (1.0_f64.exp() + 3.0_f64.exp() + 2.0_f64.exp()).ln() - 3.0 + (2.0 * 2.0_f64.exp() + 1.0).ln() - 2.0;
    assert!((found.loss - expected).abs() < 1e-14);
    // Of equally large ones the first.
    assert_eq!((found.correct, found.count), (Some(1), 2));
    let found = Values.outcome(&[&[1.0_f64, 2.0, 0.0, -1.0]], &[0.0, 4.0, 0.0, 2.0], 2);
    assert_eq!((found.loss, found.correct, found.count), (2.5 + 4.5, None, 2));
    let found = OwnLoss.outcome(&[&[0.5_f64, 0.25, 0.25]], &[], 3);
    assert_eq!((found.loss, found.correct, found.count), (1.0, None, 3));
    assert_eq!(OwnLoss.outcome(&[&[0.5_f64]], &[], 4).loss, 2.0);
    assert_eq!(found + Classes.outcome(&[&[1.0_f64, 0.0]], &[0.0], 1) + found, {
        let one = Classes.outcome(&[&[1.0_f64, 0.0]], &[0.0], 1);
        onebasin_nn::exec::Outcome { loss: 1.0 + one.loss + 1.0, correct: Some(1), count: 7 }
    });
}

fn samples(target: Option<(&[usize], FieldKind)>) -> Arrays {
    let x = Field { name: "x".to_owned(), shape: vec![2], kind: FieldKind::Real };
    let target = target.map(|(shape, kind)| {
        let field = Field { name: "t".to_owned(), shape: shape.to_vec(), kind };
        let numbers = vec![0.0; 3 * field.len()];
        (field, numbers)
    });
    Arrays::new("three", vec![(x, vec![0.0; 6])], target).unwrap()
}

/// A graph whose first output `y` has this shape a sample; without one it is the mean over the batch.
fn answers(shape: Option<&[usize]>) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 2]).unwrap();
    let y = match shape {
        Some(shape) => {
            let y = graph.linear("fc", x, shape.iter().product()).unwrap();
            let dims = std::iter::once(Dim::Same(0));
            let dims = dims.chain(shape.iter().map(|n| Dim::Size(*n))).collect();
            graph.push("y", Op::Reshape(dims), &[y]).unwrap()
        }
        None => graph.push("y", Op::Reduce { kind: Reduce::Mean, axes: vec![0, 1], keep: false }, &[x]).unwrap(),
    };
    graph.output(y);
    graph
}

#[test]
fn the_target_tells_the_usual_task_and_what_does_not_fit_is_told() {
    let index = |below| FieldKind::Index { below };
    let class = samples(Some((&[], index(4))));
    let tokens = samples(Some((&[3], index(4))));
    let values = samples(Some((&[3], FieldKind::Real)));
    let none = samples(None);
    usual(&class).check(&answers(Some(&[4])), &class).unwrap();
    usual(&class).check(&answers(Some(&[4, 1, 1])), &class).unwrap();
    usual(&tokens).check(&answers(Some(&[3, 4])), &tokens).unwrap();
    usual(&values).check(&answers(Some(&[3])), &values).unwrap();
    usual(&none).check(&answers(Some(&[1])), &none).unwrap();
    usual(&none).check(&answers(None), &none).unwrap();
    let refused = |shape: Option<&[usize]>, samples: &Arrays, words: &[&str]| {
        let error = usual(samples).check(&answers(shape), samples).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(Some(&[5]), &class, &["`three`", "4 classes", "`y` has shape [1, 5]"]);
    refused(Some(&[4, 3]), &tokens, &["of shape [3, 4] a sample", "[1, 4, 3]"]);
    refused(Some(&[2, 4]), &tokens, &["[3]", "[1, 2, 4]"]);
    refused(Some(&[4]), &values, &["target of shape [3]", "[1, 4]"]);
    refused(Some(&[2]), &none, &["its loss", "one number a sample"]);
    let mismatched = |task: &dyn Task, samples: &Arrays, words: &str| {
        let error = task.check(&answers(Some(&[4])), samples).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    mismatched(&Classes, &none, "no target");
    mismatched(&Classes, &tokens, "`t` has shape [3]");
    mismatched(&Values, &none, "no target");
    mismatched(&Tokens, &values, "one index at every position");
}

/// Holds the gradient of a batch against central differences of its mean loss: the batch is cut, the mean is over all
/// answers.
#[track_caller]
fn check_batch(graph: Graph, task: &dyn Task<f64>, input: &[f32], targets: &[f32], samples: usize) {
    const STEP: f64 = 1e-6;
    let program = Program::<f64>::new(graph).unwrap();
    let (len, target) = (input.len() / samples, targets.len() / samples);
    let feed = |shard: Range<usize>, inputs: &mut [&mut [f64]], to: &mut [f32]| {
        let from = &input[shard.start * len..shard.end * len];
        inputs[0].iter_mut().zip(from).for_each(|(to, from)| *to = f64::from(*from));
        to.copy_from_slice(&targets[shard.start * target..shard.end * target]);
        Ok(())
    };
    let batch = Batch { samples, target, feed: &feed, task };
    let mut lanes = Lanes::new(&program, samples, true).unwrap();
    let mut flat = Flat { weights: normals("weights", program.weight_count()), statistics: vec![] };
    let outcome = lanes.run(&program, &flat, &batch).unwrap().outcome;
    let mut found = vec![0.0; flat.weights.len()];
    assert!(lanes.d_weights(samples).len() > 1, "one lane cuts nothing");
    for part in lanes.d_weights(samples) {
        found.iter_mut().zip(part).for_each(|(sum, d)| *sum += d);
    }
    for k in 0..found.len() {
        let kept = flat.weights[k];
        let mut at = |w: f64| {
            flat.weights[k] = w;
            lanes.run(&program, &flat, &batch).unwrap().outcome.loss / outcome.count as f64
        };
        let expected = (at(kept + STEP) - at(kept - STEP)) / (2.0 * STEP);
        flat.weights[k] = kept;
        assert!((found[k] - expected).abs() < 1e-7, "weight {k}: {} for {expected}", found[k]);
    }
}

/// Positions, and words there are.
const SENTENCE: [usize; 2] = [3, 5];

/// A word's vector, and from it how likely each word is to follow.
fn sentences() -> Graph {
    let [positions, words] = SENTENCE;
    let mut graph = Graph::new();
    let tokens = graph.input("tokens", &[1, positions]).unwrap();
    let table = graph.param("table", &[words, 4]).unwrap();
    let vectors = graph.push("vectors", Op::Gather { axis: 0 }, &[table, tokens]).unwrap();
    let y = graph.linear("next", vectors, words).unwrap();
    graph.output(y);
    graph
}

/// `mean (w x + b)²`, over a sample or the whole batch.
fn own_loss(axes: Vec<usize>) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 2]).unwrap();
    let y = graph.linear("fc", x, 3).unwrap();
    let squares = graph.push("squares", Op::Binary(Binary::Mul), &[y, y]).unwrap();
    let loss = graph.push("loss", Op::Reduce { kind: Reduce::Mean, axes, keep: false }, &[squares]).unwrap();
    graph.output(loss);
    graph
}

#[test]
fn batches_are_means_over_all_answers() {
    let (samples, [positions, words]) = (200, SENTENCE);
    let count = samples * positions;
    check_batch(sentences(), &Tokens, &indices(count, words), &indices(count, words)[..], samples);
    let numbers: Vec<f32> = normals("x", 2 * samples).into_iter().map(|v| v as f32).collect();
    for axes in [vec![1], vec![0, 1]] {
        check_batch(own_loss(axes), &OwnLoss, &numbers, &[], samples);
    }
}

#[test]
fn sentences_are_judged_at_every_position() {
    let (samples, [positions, words]) = (40, SENTENCE);
    let program = Program::<f32>::new(sentences()).unwrap();
    let weights = normals("weights", program.weight_count()).into_iter().map(|w| w as f32).collect();
    let params = program.unflatten(&Flat { weights, statistics: vec![] }).unwrap();
    let field =
        |name: &str| Field { name: name.to_owned(), shape: vec![positions], kind: FieldKind::Index { below: words } };
    let tokens = indices(samples * positions, words);
    let target = (field("next"), tokens.iter().rev().copied().collect());
    let data = Arrays::new("sentences", vec![(field("tokens"), tokens.clone())], Some(target)).unwrap();
    let found = evaluate(&program, &params, &data, usual(&data)).unwrap();
    let value = |name: &str| params.get(name).unwrap().to_f64().unwrap().into_owned();
    let [table, weight, bias] = ["table", "next.weight", "next.bias"].map(value);
    let (mut loss, mut right) = (0.0, 0);
    for (word, next) in tokens.iter().zip(tokens.iter().rev()) {
        let vector = &table[*word as usize * 4..][..4];
        let dot = |k: usize| vector.iter().zip(&weight[4 * k..]).map(|(v, w)| v * w).sum::<f64>() + bias[k];
        let scores: Vec<f64> = (0..words).map(dot).collect();
        let best = (0..words).fold(0, |best, k| if scores[k] > scores[best] { k } else { best });
        loss += scores.iter().map(|s| s.exp()).sum::<f64>().ln() - scores[*next as usize];
        right += usize::from(best == *next as usize);
    }
    let count = tokens.len() as f64;
    assert!((found.loss - loss / count).abs() < 1e-5, "{found:?}");
    assert_eq!(found.accuracy, Some(right as f64 / count));
}
