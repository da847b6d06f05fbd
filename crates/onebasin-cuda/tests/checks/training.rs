//! What must hold of training on any device.

use std::ops::Range;

use onebasin_core::graph::Graph;
use onebasin_core::stream::Stream;
use onebasin_core::{DType, Params, Tensor};
use onebasin_lab::{Dataset, Event, TrainOptions, TrainState, train, train_on};
use onebasin_nn::exec::{Batch, Lanes, Program, Workspace};
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::task::Classes;
use onebasin_nn::{Network, Runner};

use super::{ends, windows};

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-2 };

/// How near steps must come: rounding puts some number on the other side of a rectifier, and it is one of a few hundred
/// that a channel's gradient is summed from. On the processor that changes gradients as much.
const SHARE: f32 = 4e-2;

/// Images of noise.
fn noise(shape: &[usize], samples: usize) -> Dataset {
    let mut stream = Stream::new(3, "noise");
    let count = samples * shape.iter().product::<usize>();
    let images = (0..count).map(|_| stream.below(256) as u8).collect();
    Dataset::new(shape, 10, images, (0..samples).map(|s| (s % 10) as u16).collect()).unwrap()
}

fn options(optimizer: Optimizer, rate: f64) -> TrainOptions {
    let schedule = Schedule::Constant;
    TrainOptions { seed: 5, epochs: 1, batch: 4, optimizer, rate, schedule, augment: None }
}

/// Tensors of the same shapes.
fn zeros(of: &Params) -> Params {
    let zero = |(name, t): (&str, &Tensor)| (name.to_owned(), Tensor::from_f32(t.shape(), vec![0.0; t.len()]).unwrap());
    of.iter().map(zero).collect()
}

/// How far every number has come from `from`, at most, and how far it is from where it should be.
fn distances(name: &str, [from, expected, found]: [&Params; 3]) -> Vec<(String, [f32; 2])> {
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = |a: &Tensor, b: &Tensor| {
        let [a, b] = [a, b].map(|t| t.cast(DType::F32).unwrap());
        let (a, b) = (a.to_f32().unwrap(), b.to_f32().unwrap());
        assert_eq!(a.len(), b.len());
        a.iter().zip(&*b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()))
    };
    let distance = |(tensor, expected): (&str, &Tensor)| {
        let [from, found] = [from, found].map(|p| p.require(tensor).unwrap());
        (format!("{name}: {tensor}"), [largest(expected, from), largest(expected, found)])
    };
    expected.iter().map(distance).collect()
}

/// Passes only if every tensor came as far as it should, to within a share of its way, or of the longest way of any.
fn assert_near(distances: &[(String, [f32; 2])], share: f32) {
    let longest = distances.iter().fold(0.0_f32, |m, (_, [way, _])| m.max(*way));
    assert!(longest > 0.0 && longest.is_finite(), "{distances:?}");
    for (tensor, [way, off]) in distances {
        assert!(
            *off <= share * way.max(1e-3 * longest),
            "{tensor}: {off} off after {way}; the longest way is {longest}"
        );
    }
}

/// Three steps of built-in networks of every kind, the last on fewer samples: weights, statistics, moments.
pub(crate) fn steps_are_those_of_the_processor(device: &dyn Runner) {
    for (name, shape, optimizer, rate) in [
        ("mlp:24x2", vec![28, 28], SGD, 0.1),
        ("mlp:24x2", vec![28, 28], Optimizer::Adam, 1e-3),
        ("vgg16-ln:0.125", vec![3, 32, 32], SGD, 1e-4),
        ("resnet20-ln:0.5", vec![3, 32, 32], SGD, 1e-4),
        ("resnet20-bn:0.5", vec![3, 32, 32], SGD, 1e-5),
        ("resnet20-a", vec![3, 32, 32], SGD, 1e-5),
    ] {
        let (network, data) = (Network::new(name, &shape, 10).unwrap(), noise(&shape, 11));
        let (options, fresh) = (options(optimizer, rate), TrainState::fresh(&network, 0).unwrap());
        let expected = train(&network.graph().unwrap(), &data, &fresh, &options, &mut |_| true).unwrap();
        let found = train_on(Some(device), &network.graph().unwrap(), &data, &fresh, &options, &mut |_| true).unwrap();
        assert_near(&distances(name, [&fresh.params, &expected.params, &found.params]), SHARE);
        assert_eq!(found.moments.len(), expected.moments.len());
        for (expected, found) in expected.moments.iter().zip(&found.moments) {
            assert_near(&distances(name, [&zeros(expected), expected, found]), SHARE);
        }
    }
}

/// A run that is stopped after every step, and goes on, is the run that never stopped.
pub(crate) fn training_goes_on(device: &dyn Runner) {
    let (network, data) = (Network::new("mlp:12x2", &[28, 28], 10).unwrap(), noise(&[28, 28], 11));
    for optimizer in [SGD, Optimizer::Adam] {
        let options = TrainOptions { epochs: 2, ..options(optimizer, 1e-2) };
        let run = |state: &TrainState, observe: &mut dyn FnMut(Event<'_>) -> bool| {
            train_on(Some(device), &network.graph().unwrap(), &data, state, &options, observe).unwrap()
        };
        let fresh = TrainState::fresh(&network, 0).unwrap();
        let whole = run(&fresh, &mut |_| true);
        let mut state = fresh;
        while state.epoch < options.epochs {
            state = run(&state, &mut |_| false);
        }
        assert_eq!(state, whole);
    }
}

/// Gradients of built-in networks against those in double precision: nearly exact where no rectifier decides otherwise,
/// which is why the networks see few and small images.
pub(crate) fn gradients_are_near_exact_ones(device: &dyn Runner) {
    for (name, shape) in [
        ("vgg16-ln:0.125", vec![3, 32, 32]),
        ("resnet20-ln:0.5", vec![3, 16, 16]),
        ("resnet20-bn:0.5", vec![3, 16, 16]),
        ("resnet20-a", vec![3, 16, 16]),
    ] {
        const BATCH: usize = 2;
        let (network, data) = (Network::new(name, &shape, 10).unwrap(), noise(&shape, BATCH));
        let fresh = TrainState::fresh(&network, 0).unwrap();
        let program = Program::<f64>::new(network.graph().unwrap()).unwrap();
        let flat = program.flatten(&fresh.params).unwrap();
        let mut lanes = Lanes::new(&program, BATCH, true).unwrap();
        let feed = |samples: Range<usize>, inputs: &mut [&mut [f64]], labels: &mut [f32]| {
            let mut single = vec![0.0; inputs[0].len()];
            let samples: Vec<u32> = samples.map(|s| s as u32).collect();
            data.gather(&samples, &mut single, labels)?;
            inputs[0].iter_mut().zip(single).for_each(|(to, from)| *to = from.into());
            Ok(())
        };
        lanes.run(&program, &flat, &Batch { samples: BATCH, target: 1, feed: &feed, task: &Classes }).unwrap();
        let mut sum = vec![0.0; flat.weights.len()];
        for part in lanes.d_weights(BATCH) {
            sum.iter_mut().zip(part).for_each(|(s, g)| *s += *g);
        }
        let exact = program.unflatten_weights(&sum).unwrap();
        let options = options(Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }, 1e-9);
        let found = train_on(Some(device), &network.graph().unwrap(), &data, &fresh, &options, &mut |_| true).unwrap();
        let there = train(&network.graph().unwrap(), &data, &fresh, &options, &mut |_| true).unwrap().params;
        let mut followed = distances(name, [&fresh.params, &there, &found.params]);
        followed.retain(|(name, _)| name.contains("running_"));
        assert_eq!(followed.is_empty(), name.contains("-ln"), "{name}");
        assert!(followed.iter().all(|(_, [way, off])| *off <= 1e-3 * way), "{followed:?}");
        let distances = distances(name, [&zeros(&exact), &exact, &found.moments[0]]);
        assert_near(&distances, SHARE);
        let mut shares: Vec<f32> = distances.iter().map(|(_, [way, off])| off / way).collect();
        shares.sort_unstable_by(f32::total_cmp);
        assert!(shares[shares.len() / 2] < 2e-5, "{name}: {shares:?}");
    }
}

/// Gradients of the weights of a graph of uneven windows, and of one of two inputs and outputs.
pub(crate) fn gradients_are_those_of_the_processor(device: &dyn Runner) {
    for (name, graph) in [("windows", windows()), ("ends", ends())] {
        assert_gradients(device, name, graph);
    }
}

fn assert_gradients(device: &dyn Runner, name: &str, graph: Graph) {
    let program = Program::<f32>::new(graph).unwrap();
    let draw = |value: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(7, &value.name);
        let numbers = (0..value.shape.iter().product()).map(|_| 0.3 * stream.normal() as f32).collect();
        (value.name.clone(), Tensor::from_f32(&value.shape, numbers).unwrap())
    };
    let params: Params = program.graph().params().map(draw).collect();
    let (batch, flat) = (3, program.flatten(&params).unwrap());
    let mut space = Workspace::training(&program, batch).unwrap();
    let mut stream = Stream::new(8, "samples");
    space.inputs().into_iter().flatten().for_each(|x| *x = stream.normal() as f32);
    let inputs: Vec<Vec<f32>> = space.inputs().into_iter().map(|input| input.to_vec()).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    program.forward(&flat, &mut space);
    let seed = |output: &[f32]| output.iter().map(|_| stream.normal() as f32).collect();
    let seeds: Vec<Vec<f32>> = space.outputs().into_iter().map(seed).collect();
    let seeds: Vec<&[f32]> = seeds.iter().map(Vec::as_slice).collect();
    program.backward_from(&flat, &seeds, &mut space);
    let expected = program.unflatten_weights(&space.d_weights).unwrap();
    let plain = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let mut training = device.bring_to_train(program.graph(), &params, &[], plain).unwrap();
    let outputs = training.forward(batch, &inputs, 0.1).unwrap();
    assert!(outputs.iter().map(Vec::len).eq(seeds.iter().map(|seed| seed.len())));
    let short: Vec<&[f32]> = seeds.iter().map(|seed| &seed[1..]).collect();
    assert!(training.step(&short, 1.0, 1).unwrap_err().to_string().contains("gradient"));
    training.forward(batch, &inputs, 0.1).unwrap();
    training.step(&seeds, 1.0, 1).unwrap();
    let (_, moments) = training.save().unwrap();
    assert_near(&distances(name, [&zeros(&expected), &expected, &moments[0]]), 1e-4);
    assert!(training.step(&seeds, 1.0, 2).is_err(), "nothing was run forward");
}

/// Steps with products of bf16 are near those of f32, and are not those.
pub(crate) fn steps_in_bf16_are_near(single: &dyn Runner, brain: &dyn Runner) {
    let (network, data) = (Network::new("resnet20-ln:0.5", &[3, 32, 32], 10).unwrap(), noise(&[3, 32, 32], 4));
    let (options, fresh) = (options(SGD, 1e-3), TrainState::fresh(&network, 0).unwrap());
    let run = |device| {
        train_on(Some(device), &network.graph().unwrap(), &data, &fresh, &options, &mut |_| true).unwrap().params
    };
    let (expected, found) = (run(single), run(brain));
    let distances = distances("bf16", [&fresh.params, &expected, &found]);
    assert_near(&distances, 0.5);
    let (way, off) = distances.iter().fold((0.0, 0.0), |(w, o), (_, [way, off])| (w + way, o + off));
    assert!(off > 1e-4 * way && off < 0.1 * way, "{off} of {way}");
}
