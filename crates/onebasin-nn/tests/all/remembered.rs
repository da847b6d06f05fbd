//! Inputs that BatchNorms remember.

use onebasin_core::Params;
use onebasin_core::graph::op::{Conv, Unary};
use onebasin_core::graph::{Graph, Op};
use onebasin_core::stream::Stream;
use onebasin_nn::exec::{Program, Workspace};
use onebasin_nn::samples::{dead_leaves, synthetic};
use onebasin_nn::{
    Arrays, Error, Field, FieldKind, RememberedOptions, Samples, recollection, recompute_batch_norm, remembered,
    remembers,
};

/// Two convolutions with a BatchNorm behind each, the second on a shortcut too, and classes.
fn network() -> Graph {
    let mut g = Graph::new();
    let x = g.input("image", &[1, 3, 16, 16]).unwrap();
    let mut y = g.conv("conv1", x, 5, 3, Conv::square(1, 1), false).unwrap();
    y = g.batch_norm("norm1", y).unwrap();
    let short = y;
    y = g.unary("relu1", Unary::Relu, y).unwrap();
    y = g.conv("conv2", y, 5, 3, Conv::square(1, 1), false).unwrap();
    y = g.batch_norm("norm2", y).unwrap();
    y = g.add_values("sum", y, short).unwrap();
    y = g.unary("relu2", Unary::Relu, y).unwrap();
    y = g.global_average("pool", y).unwrap();
    y = g.linear("fc", y, 4).unwrap();
    g.output(y);
    g
}

/// Random weights whose BatchNorms remember a world of images: rough ones, brighter in one channel.
fn ends(program: &Program) -> [Params; 2] {
    let mut stream = Stream::new(4, "world");
    let (images, len) = (64, 3 * 256);
    let numbers = (0..images * len).map(|k| stream.normal() as f32 * 0.6 + (k / 256 % 3) as f32 * 0.4).collect();
    let field = Field { name: "image".to_owned(), shape: vec![3, 16, 16], kind: FieldKind::Real };
    let world = Arrays::new("world", vec![(field, numbers)], None).unwrap();
    [0, 1].map(|seed| {
        let mut stream = Stream::new(seed, "weights");
        let mut flat = program.flatten(&ones(program)).unwrap();
        flat.weights.iter_mut().for_each(|w| *w = 0.4 * stream.normal() as f32);
        recompute_batch_norm(program, &program.unflatten(&flat).unwrap(), &world, images).unwrap()
    })
}

fn ones(program: &Program) -> Params {
    let tensor = |shape: &[usize]| onebasin_core::Tensor::from_f32(shape, vec![1.0; shape.iter().product()]).unwrap();
    program.graph().params().map(|p| (p.name.clone(), tensor(&p.shape))).collect()
}

fn options() -> RememberedOptions {
    RememberedOptions { images: 40, batch: 24, steps: 12, ..RememberedOptions::default() }
}

#[test]
fn moments_come_nearer_to_what_every_network_remembers() {
    let program = Program::new(network()).unwrap();
    let ends = ends(&program);
    let options = RememberedOptions { steps: 30, ..options() };
    let found = remembered(&program, &[&ends[0], &ends[1]], &options, &mut |_, _| true).unwrap();
    assert!(found.after < 0.3 * found.before, "{} → {}", found.before, found.after);
    let leaves = dead_leaves(program.graph(), 40, 0).unwrap();
    for end in &ends {
        let [made, start] = [&found.samples, &leaves].map(|s| recollection(&program, end, s).unwrap());
        assert!(made < 0.3 * start, "{start} → {made}");
    }
    let mut pixels = vec![0.0; 40 * 768];
    found.samples.fill(0, 0..40, &mut pixels).unwrap();
    assert!(pixels.iter().all(|p| (-3.0..=3.0).contains(p)));
    assert_eq!((found.samples.name(), found.samples.target()), ("made-up inputs", None));
}

#[test]
fn inputs_are_the_same_for_any_number_of_threads() {
    let program = Program::new(network()).unwrap();
    let ends = ends(&program);
    let made = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| remembered(&program, &[&ends[0], &ends[1]], &options(), &mut |_, _| true).unwrap())
    };
    let one = made(1);
    assert_eq!(one, made(3));
    let other = RememberedOptions { seed: 1, ..options() };
    assert_ne!(one, remembered(&program, &[&ends[0], &ends[1]], &other, &mut |_, _| true).unwrap());
}

/// The distance written out: every position of every channel, in f64, from the values that a plain run keeps.
#[test]
fn the_distance_is_what_it_says() {
    let program = Program::new(network()).unwrap();
    let [end, _] = ends(&program);
    let samples = synthetic(program.graph(), 7, 3).unwrap();
    let mut graph = network();
    let inputs: Vec<_> =
        graph.nodes().iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })).map(|n| n.inputs[0]).collect();
    for input in inputs {
        graph.output(input);
    }
    let listening = Program::new(graph).unwrap();
    let mut space = Workspace::inference(&listening, 7).unwrap();
    samples.fill(0, 0..7, space.input(0)).unwrap();
    listening.forward(&listening.flatten(&end).unwrap(), &mut space);
    let mut expected = 0.0;
    for (k, norm) in ["norm1", "norm2"].into_iter().enumerate() {
        let numbers =
            |what: &str| end.require(&format!("{norm}.running_{what}")).unwrap().to_f64().unwrap().into_owned();
        let (means, variances) = (numbers("mean"), numbers("var"));
        for channel in 0..5 {
            let seen = space.outputs()[k + 1].chunks_exact(256).enumerate().filter(|(row, _)| row % 5 == channel);
            let seen: Vec<f64> = seen.flat_map(|(_, row)| row.iter().map(|x| f64::from(*x))).collect();
            let mean = seen.iter().sum::<f64>() / seen.len() as f64;
            let variance = seen.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / seen.len() as f64;
            let scale = variances[channel] + 1e-5;
            let spread = ((variance + 1e-5) / scale).ln();
            expected += ((mean - means[channel]).powi(2) / scale + 0.25 * spread * spread) / 10.0;
        }
    }
    let found = recollection(&program, &end, &samples).unwrap();
    assert!((found - expected).abs() < 1e-6 * expected, "found {found}, expected {expected}");
}

#[test]
fn what_cannot_be_made_says_why() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 4]).unwrap();
    let y = graph.linear("fc", x, 2).unwrap();
    graph.output(y);
    assert!(!remembers(&graph) && remembers(&network()));
    let program = Program::new(graph).unwrap();
    let error = remembered(&program, &[], &options(), &mut |_, _| true).unwrap_err().to_string();
    assert!(error.contains("no BatchNorm that remembers"), "{error}");

    let program = Program::new(network()).unwrap();
    let [end, _] = ends(&program);
    let make = |options: RememberedOptions, networks: &[&Params], steps: usize| {
        remembered(&program, networks, &options, &mut |done, _| done < steps)
    };
    assert!(matches!(make(options(), &[&end], 3), Err(Error::Stopped)));
    let error = make(options(), &[], 99).unwrap_err().to_string();
    assert!(error.contains("at least one network"), "{error}");
    let error = make(RememberedOptions { rate: 0.0, ..options() }, &[&end], 99).unwrap_err().to_string();
    assert!(error.contains("must be positive"), "{error}");
    let program = Program::new(network()).unwrap().within(1 << 30);
    let mut broken = end.clone();
    broken.insert("norm2.running_var".to_owned(), onebasin_core::Tensor::from_f32(&[5], vec![f32::NAN; 5]).unwrap());
    let error = remembered(&program, &[&broken], &options(), &mut |_, _| true).unwrap_err().to_string();
    assert!(error.contains("norm2.running_var"), "{error}");
}
