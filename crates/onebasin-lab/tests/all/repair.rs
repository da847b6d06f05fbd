//! REPAIR against a slow twin and its own definition, on small networks trained for a moment.

use std::ops::Range;
use std::sync::OnceLock;

use onebasin_core::graph::op::{Conv, Dim};
use onebasin_core::graph::{Graph, Op, ValueId, ValueSource};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::repair::{Repaired, Site, sites};
use onebasin_core::stream::Stream;
use onebasin_core::{Params, Tensor};
use onebasin_lab::{Data, Dataset};
use onebasin_nn::exec::{Batch, Lanes, Program, Wants, Workspace};
use onebasin_nn::optim::Optimizer;
use onebasin_nn::task::Classes;
use onebasin_nn::{RepairOptions, Samples, evaluate, recompute_batch_norm, repair};

const LAMBDA: f64 = 0.4;

/// What normalises the convolutions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Norm {
    None,
    Batch,
    Layer,
    Group,
}

fn mlp() -> Graph {
    let mut g = Graph::new();
    let x = g.input("image", &[1, 28, 28]).unwrap();
    let mut x = g.flatten("flat", x).unwrap();
    for (name, units) in [("fc1", 32), ("fc2", 24)] {
        x = g.linear(name, x, units).unwrap();
        x = g.relu(x).unwrap();
    }
    x = g.linear("fc3", x, 10).unwrap();
    g.output(x);
    g
}

/// Two convolutions with a shortcut around the second, and a transposed one in two groups.
fn convolutions(norm: Norm) -> Graph {
    let mut g = Graph::new();
    let x = g.input("image", &[1, 28, 28]).unwrap();
    let mut x =
        g.push("image4", Op::Reshape(vec![Dim::Same(0), Dim::Size(1), Dim::Same(1), Dim::Same(2)]), &[x]).unwrap();
    let layer = |g: &mut Graph, name: &str, x: ValueId, out: usize, kernel: usize| {
        let bias = norm == Norm::None && name != "conv2";
        let y = g.conv(name, x, out, kernel, Conv::square(2, kernel / 2), bias).unwrap();
        let name = format!("{name}.norm");
        match norm {
            Norm::None => y,
            Norm::Batch => g.batch_norm(&name, y).unwrap(),
            Norm::Layer => g.channel_norm(&name, y).unwrap(),
            Norm::Group => {
                let gain = g.param(&format!("{name}.weight"), &[out]).unwrap();
                let bias = g.param(&format!("{name}.bias"), &[out]).unwrap();
                g.push(&name, Op::GroupNorm { groups: 2, epsilon: 1e-5 }, &[y, gain, bias]).unwrap()
            }
        }
    };
    x = layer(&mut g, "conv1", x, 6, 3);
    x = g.relu(x).unwrap();
    let (y, short) = (layer(&mut g, "conv2", x, 8, 3), layer(&mut g, "short", x, 8, 1));
    x = g.add_values("sum", y, short).unwrap();
    x = g.relu(x).unwrap();
    let weight = g.param("up.weight", &[8, 3, 2, 2]).unwrap();
    let bias = g.param("up.bias", &[6]).unwrap();
    let up = Op::ConvTranspose { conv: Conv::square(2, 0).grouped(2), output_padding: vec![0, 0] };
    x = g.push("up", up, &[x, weight, bias]).unwrap();
    x = g.relu(x).unwrap();
    x = g.flatten("flat", x).unwrap();
    x = g.linear("fc", x, 10).unwrap();
    g.output(x);
    g
}

fn all() -> Vec<(String, Graph)> {
    let norms = [Norm::None, Norm::Batch, Norm::Layer, Norm::Group];
    let graphs = norms.map(|norm| (format!("convolutions {norm:?}"), convolutions(norm)));
    [("mlp".to_owned(), mlp())].into_iter().chain(graphs).collect()
}

fn initial(graph: &Graph, seed: u64) -> Params {
    let draw = |value: &onebasin_core::graph::Value| {
        let len = value.shape.iter().product::<usize>();
        let mut stream = Stream::new(seed, &value.name);
        let values = if value.shape.len() > 1 {
            let fan = (len / value.shape[0]) as f64;
            (0..len).map(|_| (stream.normal() * (2.0 / fan).sqrt()) as f32).collect()
        } else {
            let one = value.name.ends_with("weight") || value.name.ends_with("var");
            vec![f32::from(u8::from(one)); len]
        };
        (value.name.clone(), Tensor::from_f32(&value.shape, values).unwrap())
    };
    graph.params().map(draw).collect()
}

/// Adam for two epochs.
fn trained(program: &Program, seed: u64, data: &Dataset) -> Params {
    const BATCH: usize = 50;
    let mut flat = program.flatten(&initial(program.graph(), seed)).unwrap();
    let mut moments = vec![vec![0.0; flat.weights.len()]; Optimizer::Adam.moments()];
    let mut lanes = Lanes::new(program, BATCH, true).unwrap();
    for step in 0..2 * data.len() / BATCH {
        let order = Stream::new(seed, &format!("order/{}", step * BATCH / data.len())).permutation(data.len());
        let start = step * BATCH % data.len();
        let feed = |shard: Range<usize>, inputs: &mut [&mut [f32]], labels: &mut [f32]| {
            Ok(data.gather(&order.as_slice()[start + shard.start..start + shard.end], inputs[0], labels)?)
        };
        let found =
            lanes.run(program, &flat, &Batch { samples: BATCH, target: 1, feed: &feed, task: &Classes }).unwrap();
        Optimizer::Adam.step(&mut flat.weights, &lanes.d_weights(BATCH), &mut moments, 3e-3, step as u64 + 1);
        program.update_statistics(&mut flat.statistics, &found.moments, 0.1);
    }
    program.unflatten(&flat).unwrap()
}

struct Case {
    name: String,
    program: Program,
    ends: [Params; 2],
    merged: Params,
    data: Dataset,
    test: Dataset,
}

fn case(name: String, graph: Graph) -> Case {
    let data = Data::open("digits").unwrap();
    let program = Program::new(graph).unwrap();
    let ends = [1, 2].map(|seed| trained(&program, seed, &data.train.take(2000)));
    let merged = merge(&ends[0], &ends[1], LAMBDA, Interpolation::Lerp).unwrap();
    Case { name, program, ends, merged, data: data.train.take(700), test: data.test }
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| all().into_iter().map(|(name, graph)| case(name, graph)).collect())
}

fn options(memory: usize) -> RepairOptions {
    RepairOptions { lambda: LAMBDA, memory }
}

impl Case {
    fn ends(&self) -> [&Params; 2] {
        [&self.ends[0], &self.ends[1]]
    }

    fn repaired(&self) -> Repaired {
        repair(&self.program, self.ends(), &self.merged, &self.data, &options(1 << 30)).unwrap()
    }
}

/// A value over all samples at once, with its shape.
fn value(program: &Program, params: &Params, data: &Dataset, value: ValueId) -> (Vec<f32>, Vec<usize>) {
    let wants = Wants { values: vec![value], ..Wants::default() };
    let mut space = Workspace::new(program, data.len(), wants).unwrap();
    data.fill(0, 0..data.len(), space.input(0)).unwrap();
    program.forward(&program.flatten(params).unwrap(), &mut space);
    let (numbers, shape) = space.value(value).unwrap();
    (numbers.to_vec(), shape.to_vec())
}

/// Mean and variance (divisor `n − correction`) of every unit, from their definitions.
fn moments((numbers, shape): &(Vec<f32>, Vec<usize>), axes: &Range<usize>, correction: f64) -> Vec<[f64; 2]> {
    let inner: usize = shape[axes.end..].iter().product();
    let units: usize = shape[axes.clone()].iter().product();
    let mut by_unit = vec![Vec::new(); units];
    for (at, v) in numbers.iter().enumerate() {
        by_unit[at / inner % units].push(f64::from(*v));
    }
    let of = |values: &Vec<f64>| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        [mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - correction)]
    };
    by_unit.iter().map(of).collect()
}

fn output(graph: &Graph, site: &Site) -> ValueId {
    graph.node(site.node).outputs[0]
}

/// Mean and standard deviation of every unit of a site.
fn spread(case: &Case, params: &Params, site: &Site) -> Vec<[f64; 2]> {
    let value = value(&case.program, params, &case.data, output(case.program.graph(), site));
    moments(&value, &site.axes, 0.0).into_iter().map(|[mean, variance]| [mean, variance.sqrt()]).collect()
}

/// Recomputes the statistics of BatchNorms one by one, each in a pass of its own, as `n − 1` variances.
fn set_statistics(case: &Case, params: &mut Params, norm: &onebasin_core::graph::Node) {
    let graph = case.program.graph();
    let input = value(&case.program, params, &case.data, norm.inputs[0]);
    let found = moments(&input, &(1..2), 1.0);
    for (part, value) in norm.inputs[3..].iter().enumerate() {
        let found = found.iter().map(|m| m[part] as f32).collect();
        let name = graph.value(*value).name.clone();
        params.insert(name, Tensor::from_f32(graph.shape(*value), found).unwrap());
    }
}

/// The obvious way: whole passes, one and more for every site.
fn twin(case: &Case) -> Params {
    let graph = case.program.graph();
    let sites = sites(graph);
    let mut params = case.merged.clone();
    for (id, node) in graph.nodes().iter().enumerate() {
        if matches!(node.op, Op::BatchNorm { .. }) {
            set_statistics(case, &mut params, node);
        }
        let Some(site) = sites.iter().find(|s| s.node.0 == id) else { continue };
        let [a, b] = case.ends().map(|end| spread(case, end, site));
        let found = spread(case, &params, site);
        let (mut scale, mut shift) = (Vec::new(), Vec::new());
        for ((a, b), [mean, std]) in a.iter().zip(&b).zip(&found) {
            let target = [0, 1].map(|k| (1.0 - LAMBDA) * a[k] + LAMBDA * b[k]);
            let r = target[1] / std;
            scale.push(r);
            shift.push(target[0] - r * mean);
        }
        site.correct(graph, &mut params, &scale, Some(&shift)).unwrap();
    }
    params
}

fn numbers(params: &Params, name: &str) -> Vec<f64> {
    params.get(name).unwrap().to_f64().unwrap().into_owned()
}

/// Largest difference of two lists, relative to the largest number.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let largest = a.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest
}

fn logits(case: &Case, params: &Params) -> Vec<f64> {
    let output = case.program.graph().outputs()[0];
    value(&case.program, params, &case.data, output).0.into_iter().map(f64::from).collect()
}

/// Rounding of single precision, through the layers of these networks.
const ROUNDING: f64 = 256.0 * f32::EPSILON as f64;

#[test]
fn statistics_are_interpolated() {
    for case in cases() {
        let graph = case.program.graph();
        let repaired = case.repaired();
        let expected = if case.name == "mlp" { 2 } else { 4 };
        assert_eq!(repaired.corrections.len(), expected, "{}", case.name);
        for (site, correction) in sites(graph).iter().zip(&repaired.corrections) {
            let [a, b] = case.ends().map(|end| spread(case, end, site));
            let found = spread(case, &repaired.params, site);
            assert_eq!((correction.units, correction.still), (found.len(), 0));
            let largest = a.iter().map(|[m, s]| m.abs() + s).fold(0.0, f64::max);
            for ((a, b), found) in a.iter().zip(&b).zip(&found) {
                for k in usize::from(site.shift.is_none())..2 {
                    let target = (1.0 - LAMBDA) * a[k] + LAMBDA * b[k];
                    let what = (&case.name, &correction.node, ["mean", "deviation"][k]);
                    assert!((found[k] - target).abs() < ROUNDING * largest, "{what:?}: {} for {target}", found[k]);
                }
            }
        }
        for node in graph.nodes().iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })) {
            let mut measured = repaired.params.clone();
            set_statistics(case, &mut measured, node);
            for value in &node.inputs[3..] {
                let name = &graph.value(*value).name;
                let apart = apart(&numbers(&measured, name), &numbers(&repaired.params, name));
                assert!(apart < ROUNDING, "{} {name}: {apart}", case.name);
            }
        }
    }
}

/// Networks that were never aligned lose most of their spread. Rebuilding it may cost accuracy where units have no
/// counterpart, as in the narrow convolutions without BatchNorm.
#[test]
fn averages_come_back_to_life() {
    for case in cases() {
        let before = recompute_batch_norm(&case.program, &case.merged, &case.data, 500).unwrap();
        let metrics = |params: &Params| evaluate(&case.program, params, &case.test, &Classes).unwrap();
        let (before, after) = (metrics(&before), metrics(&case.repaired().params));
        assert!(after.loss < before.loss, "{}: {before:?}, {after:?}", case.name);
        if ["mlp", "convolutions Batch"].contains(&case.name.as_str()) {
            assert!(after.accuracy >= before.accuracy, "{}: {before:?}, {after:?}", case.name);
        }
    }
}

#[test]
fn one_pass_finds_what_many_passes_find() {
    for case in cases() {
        let (fast, slow) = (case.repaired().params, twin(case));
        for (name, tensor) in fast.iter() {
            let apart = apart(&numbers(&slow, name), &tensor.to_f64().unwrap());
            assert!(apart < ROUNDING, "{} {name}: {apart}", case.name);
        }
        let apart = apart(&logits(case, &slow), &logits(case, &fast));
        assert!(apart < ROUNDING, "{}: {apart}", case.name);
    }
}

/// Among the memories are some that keep a part of the shards.
#[test]
fn neither_threads_nor_memory_change_a_bit() {
    for case in cases() {
        let expected = case.repaired();
        for (threads, memory) in [(1, 1 << 30), (2, 0), (3, 1 << 22), (2, 1 << 23)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let run = || repair(&case.program, case.ends(), &case.merged, &case.data, &options(memory)).unwrap();
            assert_eq!(pool.install(run), expected, "{}: {threads} threads, {memory} bytes", case.name);
        }
    }
}

#[test]
fn an_end_keeps_its_function() {
    for case in cases() {
        for (lambda, end) in [(0.0, &case.ends[0]), (1.0, &case.ends[1])] {
            let options = RepairOptions { lambda, ..RepairOptions::default() };
            let repaired = repair(&case.program, case.ends(), end, &case.data, &options).unwrap().params;
            let apart_logits = apart(&logits(case, end), &logits(case, &repaired));
            assert!(apart_logits < ROUNDING, "{}: {apart_logits}", case.name);
            if case.program.graph().statistics().next().is_none() {
                for (name, tensor) in end.iter() {
                    let apart = apart(&tensor.to_f64().unwrap(), &numbers(&repaired, name));
                    assert!(apart < ROUNDING, "{} {name}: {apart}", case.name);
                }
            }
        }
    }
}

/// What a unit of the merged network is multiplied by and moved by before the repair, the repair takes away again; a
/// weight that a BatchNorm follows may be multiplied too.
#[test]
fn scales_of_merged_units_do_not_matter() {
    for case in cases() {
        let graph = case.program.graph();
        let expected = logits(case, &case.repaired().params);
        let mut moved = case.merged.clone();
        let mut stream = Stream::new(7, "scales");
        for site in sites(graph) {
            let scale: Vec<f64> = (0..site.units(graph)).map(|_| (0.5 * stream.normal()).exp()).collect();
            let shift: Vec<f64> = scale.iter().map(|_| 0.1 * stream.normal()).collect();
            site.correct(graph, &mut moved, &scale, Some(&shift)).unwrap();
        }
        let repaired = repair(&case.program, case.ends(), &moved, &case.data, &options(1 << 30)).unwrap().params;
        let apart = apart(&expected, &logits(case, &repaired));
        assert!(apart < 4.0 * ROUNDING, "{}: {apart}", case.name);
    }
}

#[test]
fn units_without_spread_stay() {
    for case in cases() {
        let graph = case.program.graph();
        for dead_in in 0..3 {
            let mut params = [&case.ends[0], &case.ends[1], &case.merged].map(Params::clone);
            for site in sites(graph) {
                let mut scale = vec![1.0; site.units(graph)];
                scale[1] = 0.0;
                site.correct(graph, &mut params[dead_in], &scale, None).unwrap();
            }
            let [a, b, merged] = params;
            let repaired = repair(&case.program, [&a, &b], &merged, &case.data, &options(1 << 30)).unwrap();
            repaired.params.check_finite().unwrap();
            for (site, correction) in sites(graph).iter().zip(&repaired.corrections) {
                assert_eq!(correction.still, 1, "{} {}", case.name, correction.node);
                let bias = site.shift.map(|v| &graph.value(v).name);
                assert!(bias.is_none_or(|b| numbers(&repaired.params, b)[1] == numbers(&merged, b)[1]));
            }
        }
    }
}

#[test]
fn shared_weights_and_logits_are_no_sites() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 8]).unwrap();
    let mut x = g.linear("first", x, 8).unwrap();
    x = g.relu(x).unwrap();
    for _ in 0..2 {
        x = g.linear("twice", x, 8).unwrap();
        x = g.relu(x).unwrap();
    }
    let constant = g.constant("fixed", Tensor::from_f32(&[8, 8], vec![0.5; 64]).unwrap()).unwrap();
    x = g.push("constant", Op::Linear, &[x, constant]).unwrap();
    x = g.relu(x).unwrap();
    let y = g.linear("logits", x, 3).unwrap();
    let y = g.push("softmax", Op::Softmax { axis: 1, log: true }, &[y]).unwrap();
    g.output(y);
    let dead = g.linear("unused", x, 3).unwrap();
    g.relu(dead).unwrap();
    let names = |g: &Graph| sites(g).iter().map(|s| g.node(s.node).name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&g), ["first", "unused"]);
    assert!(g.params().all(|p| p.source == ValueSource::Param));

    let program = Program::new(g).unwrap();
    let [a, b] = [1, 2].map(|seed| initial(program.graph(), seed));
    let merged = merge(&a, &b, LAMBDA, Interpolation::Lerp).unwrap();
    let data = Dataset::new(&[8], 3, (0..160_u8).collect(), vec![0; 20]).unwrap();
    let repaired = repair(&program, [&a, &b], &merged, &data, &options(0)).unwrap();
    assert_eq!(repaired.corrections.iter().map(|c| c.node.as_str()).collect::<Vec<_>>(), ["first"]);
    for (name, tensor) in merged.iter().filter(|(name, _)| !name.starts_with("first")) {
        assert_eq!(repaired.params.get(name), Some(tensor));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let program = Program::new(mlp()).unwrap();
    let a = initial(program.graph(), 1);
    let data = Data::open("digits").unwrap().test.take(10);
    let error = |merged: &Params, data: &Dataset, lambda: f64| {
        let options = RepairOptions { lambda, ..RepairOptions::default() };
        repair(&program, [&a, &a], merged, data, &options).unwrap_err().to_string()
    };
    assert!(error(&a, &data, 1.5).contains("λ must lie"));
    assert!(error(&a, &data.take(0), 0.5).contains("at least one sample"));
    assert!(error(&Params::new(), &data, 0.5).contains("there is no tensor `fc1.weight`"));
    let small = Dataset::new(&[2], 10, vec![0; 4], vec![0; 2]).unwrap();
    assert!(error(&a, &small, 0.5).contains("`images` have 2 numbers a sample"));
    let mut wild = a.clone();
    wild.insert("fc1.bias", Tensor::from_f32(&[32], vec![f32::INFINITY; 32]).unwrap());
    let error = error(&wild, &data, 0.5);
    assert!(error.contains("`fc1`") && error.contains("the merged network"), "{error}");
}
