//! What must hold of any device, on networks with every notation.

pub(crate) mod training;

use onebasin_core::graph::op::{Conv, Pool, PoolKind, Unary};
use onebasin_core::graph::{Graph, Op};
use onebasin_core::matching::{Accelerator, Gram, MatchOptions, Source, Weights, ascend, weight_grams};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::solve::{Normal, NormalSums, Rows};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Perm, Tensor};
use onebasin_nn::exec::{Program, Workspace};
use onebasin_nn::optim::Optimizer;
use onebasin_nn::samples::synthetic;
use onebasin_nn::{Ends, Network, Runner, SolveOptions, SolveState, profile, solve_on};

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
    let mut caches = source.caches().unwrap();
    let mut current = Alignment::identity(&symmetry);
    for step in 0..12 {
        for (k, root) in source.roots().iter().enumerate() {
            let expected = weight_grams(&symmetry, root.id, &current, &a, &b).unwrap();
            assert_same(&caches[k].grams(&current).unwrap(), &expected, 100.0);
        }
        current = exchanged(&symmetry, &current, step);
    }
    let updated = caches.iter_mut().filter_map(|cache| cache.forget_if_updated().then_some(())).count();
    assert!(updated > 0, "nothing was brought up to date");
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

/// Sums of rows, weighted or not, and of other targets of the same rows.
pub(crate) fn sums_of_rows_are_those_of_the_processor(device: &dyn Accelerator) {
    let mut stream = Stream::new(0, "rows");
    let (inputs, units) = (150, 7);
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| stream.normal() as f32).collect() };
    let batches: Vec<[Vec<f32>; 3]> = [40, 133, 1]
        .map(|rows| [draw(rows * inputs), draw(rows * units), draw(rows).iter().map(|w| w.abs()).collect()])
        .into();
    let prior = vec![0.0; inputs * units];
    for weighted in [false, true] {
        let fresh = NormalSums::new(inputs, units, 174);
        for (known, mut here) in [(false, fresh.clone()), (true, fresh.again())] {
            let mut there = here.clone();
            let mut products = device.rows(inputs, units).unwrap().expect("it sums rows");
            for [x, r, w] in &batches {
                let rows = Rows { inputs: x, targets: r, weights: weighted.then_some(w) };
                here.add(&rows);
                there.add_on(&rows, &mut *products).unwrap();
            }
            there.take(&*products).unwrap();
            if !known {
                let solved = |sums: &NormalSums| sums.normal(true, 1e-2).unwrap().solve(sums, &prior);
                let (here, there) = (solved(&here), solved(&there));
                for (x, y) in here.weights.iter().chain(&here.bias).zip(there.weights.iter().chain(&there.bias)) {
                    assert!((x - y).abs() < 1e-4, "{x} for {y}");
                }
            }
            let normal = fresh_normal(&batches, inputs, units, weighted);
            let (here, there) = (normal.solve(&here, &prior), normal.solve(&there, &prior));
            here.weights.iter().zip(&there.weights).for_each(|(x, y)| assert!((x - y).abs() < 1e-4, "{x} for {y}"));
        }
    }
}

/// The problem of these rows, summed here.
fn fresh_normal(batches: &[[Vec<f32>; 3]], inputs: usize, units: usize, weighted: bool) -> Normal {
    let mut sums = NormalSums::new(inputs, units, 174);
    for [x, r, w] in batches {
        sums.add(&Rows { inputs: x, targets: r, weights: weighted.then_some(w) });
    }
    sums.normal(true, 1e-2).unwrap()
}

/// Whole networks: a perceptron, and convolutions with norms.
pub(crate) fn solves_are_those_of_the_processor(device: &dyn Accelerator) {
    for (name, input) in
        [("mlp:24x2", vec![8, 8]), ("resnet20-bn:0.25", vec![3, 16, 16]), ("resnet20-ln:0.25", vec![3, 16, 16])]
    {
        let network = Network::new(name, &input, 5).unwrap();
        let (graph, a, b) = (network.graph().unwrap(), network.init(0).unwrap(), network.init(1).unwrap());
        let data = synthetic(&graph, 60, 0).unwrap();
        let program = Program::new(graph).unwrap();
        let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
        let (ends, options) = (Ends::pair([&a, &b], 0.5), SolveOptions { rounds: 1, ..SolveOptions::default() });
        let solved = |device: Option<&dyn Accelerator>| {
            let fresh = SolveState::fresh(average.clone());
            let found = solve_on(&program, &ends, fresh, &data, &options, device, &mut |_, _| true).unwrap();
            profile(&program, &ends, &found.params, &data).unwrap().answered()
        };
        let (here, there) = (solved(None), solved(Some(device)));
        assert!((here - there).abs() < 1e-3, "{name}: {there} for {here}");
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

/// Built-in networks of every kind, and a graph of what they do not do with windows.
pub(crate) fn outputs_are_those_of_the_processor(device: &dyn Runner) {
    for (name, input) in [
        ("mlp:24x2", vec![28, 28]),
        ("vgg16-ln:0.25", vec![3, 32, 32]),
        ("vgg16-bn:0.25", vec![3, 32, 32]),
        ("resnet20-ln:1", vec![3, 32, 32]),
        ("resnet20-bn:1", vec![3, 32, 32]),
        ("resnet20-a", vec![3, 32, 32]),
        ("resnet18", vec![3, 64, 64]),
        ("resnet50", vec![3, 32, 32]),
    ] {
        let graph = Network::new(name, &input, 10).unwrap().graph().unwrap();
        assert_outputs(device, name, graph);
    }
    assert_outputs(device, "windows", windows());
    assert_outputs(device, "ends", ends());
}

/// A graph of two inputs and two outputs, one of which the other is computed from.
fn ends() -> Graph {
    let mut graph = Graph::new();
    let [left, right] = [("left", 5), ("right", 3)].map(|(name, len)| graph.input(name, &[1, len]).unwrap());
    let [a, b] = [("a", left), ("b", right)].map(|(name, x)| graph.linear(name, x, 7).unwrap());
    let sum = graph.add_values("sum", a, b).unwrap();
    let inner = graph.relu(sum).unwrap();
    let last = graph.linear("last", inner, 4).unwrap();
    for y in [last, inner] {
        graph.output(y);
    }
    graph
}

/// A graph of what the built-in networks do not do with windows; no BatchNorm, so that one pass has one gradient.
fn windows() -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 3, 11, 8]).unwrap();
    let conv = |strides, dilations| Conv { strides, dilations, before: vec![2, 0], after: vec![1, 3], groups: 1 };
    let y = graph.conv("first", x, 5, 3, conv(vec![1, 1], vec![1, 1]), true).unwrap();
    let y = graph.push("relu", Op::Unary(Unary::Relu), &[y]).unwrap();
    let y = graph.conv("second", y, 4, 3, conv(vec![2, 1], vec![1, 2]), true).unwrap();
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: vec![3, 2],
        strides: vec![2, 1],
        before: vec![1, 0],
        after: vec![0, 1],
        ceil: true,
    };
    let y = graph.max_pool("pool", y, pool).unwrap();
    // Windows that overlap give the same number twice, so that the next ones have ties.
    let none = || vec![0, 0];
    let again = Pool {
        kind: PoolKind::Max,
        kernel: vec![2, 2],
        strides: vec![1, 1],
        before: none(),
        after: none(),
        ceil: false,
    };
    let y = graph.max_pool("again", y, again).unwrap();
    let len = graph.shape(y)[3];
    let y = graph.push("back", Op::Slice { axis: 3, start: len - 1, len: len / 2, step: -2 }, &[y]).unwrap();
    graph.output(y);
    graph
}

/// Passes only if a graph of random parameters answers random samples as it does on the processor.
fn assert_outputs(device: &dyn Runner, name: &str, graph: Graph) {
    let statistics: Vec<&str> = graph.statistics().map(|v| graph.value(v).name.as_str()).collect();
    let draw = |value: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(7, &value.name);
        let len = value.shape.iter().product::<usize>();
        let size = 1.5 / (value.shape.iter().skip(1).product::<usize>() as f64).sqrt();
        let number = |_| {
            let number = size * stream.normal();
            (if statistics.contains(&value.name.as_str()) { 0.5 + number.abs() } else { number }) as f32
        };
        (value.name.clone(), Tensor::from_f32(&value.shape, (0..len).map(number).collect()).unwrap())
    };
    let params: Params = graph.params().map(draw).collect();
    let program = Program::new(graph).unwrap();
    let (batch, flat) = (3, program.flatten(&params).unwrap());
    let mut space = Workspace::inference(&program, batch).unwrap();
    let mut stream = Stream::new(8, "samples");
    space.inputs().into_iter().flatten().for_each(|x| *x = stream.normal() as f32);
    let inputs: Vec<Vec<f32>> = space.inputs().into_iter().map(|input| input.to_vec()).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    program.forward(&flat, &mut space);
    let network = device.bring(program.graph(), &params).unwrap();
    let found = network.forward(batch, &inputs).unwrap();
    assert_eq!(found.len(), space.outputs().len());
    for (found, expected) in found.iter().zip(space.outputs()) {
        let scale = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        assert_eq!(found.len(), expected.len());
        assert!(scale > 0.0 && scale.is_finite(), "{name}: outputs up to {scale}");
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() <= 1e-4 * scale, "{name}: {x} for {y}, outputs up to {scale}");
        }
    }
    assert!(network.forward(batch, &inputs[1..]).is_err());
    assert!(network.forward(batch + 1, &inputs).unwrap_err().to_string().contains("samples of input"));
}

/// A node that does not run there is named.
pub(crate) fn other_operators_are_refused(device: &dyn Runner) {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 4]).unwrap();
    let y = graph.push("soft", Op::Softmax { axis: 1, log: false }, &[x]).unwrap();
    graph.output(y);
    let trained = device.bring_to_train(&graph, &Params::new(), &[], Optimizer::Adam).err().unwrap();
    for why in [device.bring(&graph, &Params::new()).err().unwrap(), trained] {
        let said = why.to_string();
        assert!(said.contains("`soft`") && said.contains("Softmax on the GPU"), "{said}");
    }
}
