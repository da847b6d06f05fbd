//! The solve, on graphs of every kind of site.

use onebasin_core::error::Result;
use onebasin_core::graph::op::{Binary, Cell, Conv, Direction, Op, Unary};
use onebasin_core::graph::{Graph, ValueId, ValueSource};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::solve::sites;
use onebasin_core::stream::Stream;
use onebasin_core::{Params, Tensor};
use onebasin_nn::exec::Program;
use onebasin_nn::samples::synthetic;
use onebasin_nn::{Ends, SolveOptions, SolveState, Solved, predict, profile, solve, solve_on};

/// Adds a network to an empty graph and gives its output.
type Make = fn(&mut Graph) -> Result<ValueId>;

/// Graphs by what they have.
fn graphs() -> Vec<(&'static str, Graph)> {
    let made: [(&str, Make); 10] = [
        ("linear", linear),
        ("batch norm, shortcuts in either order", |g| residual(g, Graph::batch_norm)),
        ("layer norm", |g| residual(g, Graph::channel_norm)),
        ("group norm", |g| residual(g, group_norm)),
        ("grouped and depthwise", grouped),
        ("attention", attention),
        ("gated units", gated),
        ("one spatial axis", lines),
        ("a normalisation alone", alone),
        ("a head on two levels", shared_head),
    ];
    let graph = |(name, make): (&'static str, Make)| {
        let mut graph = Graph::new();
        let output = make(&mut graph).expect(name);
        graph.output(output);
        (name, graph)
    };
    made.into_iter().map(graph).collect()
}

fn linear(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 12])?;
    let h = g.linear("fc1", x, 10)?;
    let h = g.relu(h)?;
    let w = g.param("product.weight", &[10, 9])?;
    let b = g.param("product.bias", &[9])?;
    let h = g.push("product", Op::MatMul, &[h, w])?;
    let h = g.add_values("biased", h, b)?;
    let h = g.unary("gelu", Unary::Gelu, h)?;
    g.linear("fc3", h, 4)
}

fn group_norm(g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId> {
    let units = g.shape(x)[1];
    let gain = g.param(&format!("{name}.weight"), &[units])?;
    let bias = g.param(&format!("{name}.bias"), &[units])?;
    g.push(name, Op::GroupNorm { groups: 2, epsilon: 1e-5 }, &[x, gain, bias])
}

fn residual(g: &mut Graph, norm: fn(&mut Graph, &str, ValueId) -> Result<ValueId>) -> Result<ValueId> {
    let x = g.input("x", &[1, 3, 8, 8])?;
    let x = g.conv("stem", x, 6, 3, Conv::square(1, 1), false)?;
    let x = norm(g, "stem.norm", x)?;
    let x = g.relu(x)?;
    let h = g.conv("a.conv1", x, 8, 3, Conv::square(2, 1), true)?;
    let h = norm(g, "a.norm1", h)?;
    let h = g.relu(h)?;
    let h = g.conv("a.conv2", h, 8, 3, Conv::square(1, 1), false)?;
    let h = norm(g, "a.norm2", h)?;
    let shortcut = g.conv("a.shortcut", x, 8, 1, Conv::square(2, 0), false)?;
    let x = g.add_values("a.add", h, shortcut)?;
    let x = g.relu(x)?;
    let h = g.conv("b.conv", x, 8, 3, Conv::square(1, 1), false)?;
    let h = norm(g, "b.norm", h)?;
    let x = g.add_values("b.add", x, h)?;
    let x = g.relu(x)?;
    let x = g.global_average("pool", x)?;
    g.linear("fc", x, 5)
}

fn grouped(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 4, 7, 7])?;
    let weight = g.param("grouped.weight", &[8, 2, 3, 3])?;
    let bias = g.param("grouped.bias", &[8])?;
    let x = g.push("grouped", Op::Conv(Conv::square(1, 1).grouped(2)), &[x, weight, bias])?;
    let x = g.relu(x)?;
    let weight = g.param("depthwise.weight", &[8, 1, 3, 3])?;
    let dilated = Conv { dilations: vec![2, 1], ..Conv::square(1, 1).grouped(8) };
    let x = g.push("depthwise", Op::Conv(dilated), &[x, weight])?;
    let x = g.batch_norm("depthwise.norm", x)?;
    let x = g.relu(x)?;
    let x = g.conv("pointwise", x, 6, 1, Conv::square(1, 0), true)?;
    let x = g.global_average("pool", x)?;
    g.linear("fc", x, 3)
}

fn layer_norm(g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId> {
    let axis = g.shape(x).len() - 1;
    let units = g.shape(x)[axis];
    let gain = g.param(&format!("{name}.weight"), &[units])?;
    let bias = g.param(&format!("{name}.bias"), &[units])?;
    g.push(name, Op::LayerNorm { axes: vec![axis], epsilon: 1e-5, centred: true }, &[x, gain, bias])
}

fn attention(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 6, 8])?;
    let h = layer_norm(g, "norm1", x)?;
    let [q, k, v] = ["q", "k", "v"].map(|name| g.linear(name, h, 8));
    let (q, k, v) = (q?, k?, v?);
    let k = g.push("kt", Op::Transpose(vec![0, 2, 1]), &[k])?;
    let scores = g.push("scores", Op::MatMul, &[q, k])?;
    let scores = g.push("softmax", Op::Softmax { axis: 2, log: false }, &[scores])?;
    let h = g.push("mixed", Op::MatMul, &[scores, v])?;
    let h = g.linear("o", h, 8)?;
    let x = g.add_values("add", x, h)?;
    let h = g.linear("post", x, 8)?;
    let h = layer_norm(g, "norm2", h)?;
    let h = g.unary("gelu", Unary::Gelu, h)?;
    g.linear("head", h, 3)
}

fn gated(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 5, 6])?;
    let gate = g.linear("gate", x, 10)?;
    let gate = g.unary("silu", Unary::Silu, gate)?;
    let up = g.linear("up", x, 10)?;
    let h = g.push("gated", Op::Binary(Binary::Mul), &[gate, up])?;
    let h = g.linear("down", h, 6)?;
    g.add_values("add", h, x)
}

fn lines(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 4, 20])?;
    let conv = Conv { strides: vec![2], dilations: vec![1], before: vec![1], after: vec![1], groups: 1 };
    let weight = g.param("conv.weight", &[6, 4, 3])?;
    let bias = g.param("conv.bias", &[6])?;
    let x = g.push("conv", Op::Conv(conv), &[x, weight, bias])?;
    let x = g.relu(x)?;
    let x = g.flatten("flat", x)?;
    g.linear("fc", x, 3)
}

fn alone(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 3, 6, 6])?;
    let x = g.conv("conv1", x, 6, 3, Conv::square(1, 1), true)?;
    let h = g.batch_norm("norm", x)?;
    let h = g.relu(h)?;
    let h = g.conv("conv2", h, 6, 3, Conv::square(1, 1), false)?;
    let x = g.add_values("add", x, h)?;
    let x = g.relu(x)?;
    let x = g.global_average("pool", x)?;
    let x = layer_norm(g, "last", x)?;
    g.linear("fc", x, 4)
}

/// Two levels of features, and a head of two layers whose weights both levels share.
fn shared_head(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 3, 8, 8])?;
    let fine = g.conv("stem", x, 6, 3, Conv::square(1, 1), true)?;
    let fine = g.relu(fine)?;
    let coarse = g.conv("down", fine, 6, 3, Conv::square(2, 1), true)?;
    let coarse = g.relu(coarse)?;
    let first = [g.param("head1.weight", &[7, 6, 3, 3])?, g.param("head1.bias", &[7])?];
    let second = g.param("head2.weight", &[3, 7, 1, 1])?;
    let mut answers = Vec::new();
    for (name, level) in [("fine", fine), ("coarse", coarse)] {
        let h = g.push(&format!("{name}.1"), Op::Conv(Conv::square(1, 1)), &[level, first[0], first[1]])?;
        let h = g.relu(h)?;
        let h = g.push(&format!("{name}.2"), Op::Conv(Conv::square(1, 0)), &[h, second])?;
        answers.push(g.global_average(&format!("{name}.pool"), h)?);
    }
    g.add_values("add", answers[0], answers[1])
}

/// A layer that is used three times, each time on what the one before gave.
fn again(g: &mut Graph) -> Result<ValueId> {
    let x = g.input("x", &[1, 10])?;
    let mut h = g.linear("first", x, 12)?;
    for _ in 0..3 {
        h = g.relu(h)?;
        h = g.linear("again", h, 12)?;
    }
    h = g.relu(h)?;
    g.linear("last", h, 5)
}

/// Weights of any network of a graph.
fn network(graph: &Graph, seed: u64) -> Params {
    let mut params = Params::new();
    for param in graph.params() {
        let mut stream = Stream::new(seed, &format!("solve test/{}", param.name));
        let count: usize = param.shape.iter().product();
        let inputs: usize = param.shape.iter().skip(1).product();
        let around = if param.name.ends_with("running_var") || param.shape.len() == 1 && param.name.contains("norm") {
            |n: f64| 1.0 + 0.3 * n.clamp(-2.0, 2.0)
        } else {
            |n: f64| n
        };
        let scale = if param.shape.len() > 1 { (2.0 / inputs as f64).sqrt() } else { 1.0 };
        let values = (0..count).map(|_| scale * around(stream.normal())).collect();
        params.insert(&param.name[..], Tensor::from_f64(&param.shape, values).unwrap());
    }
    params
        .iter()
        .map(|(name, t)| (name.to_owned(), Tensor::from_f32(t.shape(), t.to_f32().unwrap().to_vec()).unwrap()))
        .collect()
}

fn run(graph: &Graph, ends: &Ends<'_>, merged: &Params, options: &SolveOptions) -> Solved {
    let data = synthetic(graph, 300, 1).unwrap();
    solve(&Program::new(graph.clone()).unwrap(), ends, merged, &data, options, &mut |_, _| true).unwrap()
}

/// Everything that the sites of a graph may change, made wrong.
fn spoilt(graph: &Graph, params: &Params) -> Params {
    let mut spoilt = params.clone();
    let (found, _) = sites(graph);
    for site in found {
        let layer = site.layer.into_iter().flat_map(|layer| [Some(layer.weight), layer.bias]);
        let norm = site.norm.into_iter().flat_map(|norm| [norm.gain, norm.bias]);
        for value in layer.chain(norm).flatten() {
            let name = &graph.value(value).name;
            let tensor = params.require(name).unwrap();
            spoilt.insert(name.clone(), Tensor::from_f32(tensor.shape(), vec![0.25; tensor.len()]).unwrap());
        }
    }
    spoilt
}

#[test]
fn where_both_ends_are_one_network_it_comes_back() {
    for (name, graph) in graphs() {
        let a = network(&graph, 3);
        let data = synthetic(&graph, 40, 9).unwrap();
        let program = Program::new(graph.clone()).unwrap();
        let norms: Vec<bool> = sites(&graph).0.iter().map(|s| s.norm.is_some_and(|n| n.statistics.is_none())).collect();
        // Where a normalisation measures every sample, the aim in front of it is right for the gain that it has.
        let start = if norms.contains(&true) { a.clone() } else { spoilt(&graph, &a) };
        let solved = run(&graph, &Ends::pair([&a, &a], 0.5), &start, &SolveOptions::default());
        let fits = profile(&program, &Ends::pair([&a, &a], 0.5), &solved.params, &data).unwrap();
        assert!(fits.sites.iter().chain(&fits.outputs).all(|site| site.explained > 0.999), "{name}: {fits:?}");
        let [expected, found] = [&a, &solved.params].map(|net| predict(&program, net, &data).unwrap().probabilities);
        let worst = expected.iter().zip(&found).map(|(e, f)| (e - f).abs()).fold(0.0, f64::max);
        assert!(worst < 0.02, "{name}: answers differ by {worst}");
    }
}

/// Behind gains near or at zero nothing tells what stands in front of them, which moves the level of all other units.
#[test]
fn faint_gains_of_a_normalisation_do_no_harm() {
    for (name, graph) in graphs().into_iter().filter(|(name, _)| *name == "layer norm" || *name == "group norm") {
        for faint in [0.0_f32, 0.05, -0.05] {
            let mut a = network(&graph, 3);
            for norm in ["stem.norm", "a.norm1", "a.norm2"] {
                let mut numbers = a.require(&format!("{norm}.weight")).unwrap().to_f32().unwrap().into_owned();
                numbers.iter_mut().skip(1).step_by(3).for_each(|gain| *gain = faint);
                a.insert(format!("{norm}.weight"), Tensor::from_f32(&[numbers.len()], numbers).unwrap());
            }
            let program = Program::new(graph.clone()).unwrap();
            let data = synthetic(&graph, 40, 9).unwrap();
            let solved = run(&graph, &Ends::pair([&a, &a], 0.5), &a, &SolveOptions::default());
            let fits = profile(&program, &Ends::pair([&a, &a], 0.5), &solved.params, &data).unwrap();
            assert!(fits.answered() > 0.99999, "{name}, gains of {faint}: {fits:?}");
        }
    }
}

/// A network whose hidden units are a millionth as large, and count a million times, is the same network.
#[test]
fn what_is_solved_does_not_depend_on_the_scale_of_units() {
    let (_, graph) = graphs().swap_remove(1);
    let shrunk = |params: &Params, by: f64| {
        let mut shrunk = params.clone();
        for (name, by) in [("a.norm1.weight", by), ("a.norm1.bias", by), ("a.conv2.weight", 1.0 / by)] {
            let tensor = params.require(name).unwrap();
            let numbers = tensor.to_f32().unwrap().iter().map(|w| (f64::from(*w) * by) as f32).collect();
            shrunk.insert(name, Tensor::from_f32(tensor.shape(), numbers).unwrap());
        }
        shrunk
    };
    let explained = |by: f64| {
        let [a, b] = [1, 2].map(|seed| shrunk(&network(&graph, seed), by));
        let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
        let ends = Ends::pair([&a, &b], 0.5);
        let solved = run(&graph, &ends, &average, &SolveOptions::default());
        let data = synthetic(&graph, 100, 9).unwrap();
        profile(&Program::new(graph.clone()).unwrap(), &ends, &solved.params, &data).unwrap().answered()
    };
    let (usual, small) = (explained(1.0), explained(1e-6));
    assert!((usual - small).abs() < 0.01, "{usual}, and {small} in small units");
}

/// Outputs are measured as outputs, whatever stands between them and the last site; what does not vary is no reason for alarm.
#[test]
fn what_is_answered_is_measured_at_the_outputs() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 12]).unwrap();
    let h = graph.linear("fc1", x, 10).unwrap();
    let h = graph.relu(h).unwrap();
    let slope = graph.param("slope", &[10]).unwrap();
    let y = graph.push("scaled", Op::Binary(Binary::Mul), &[h, slope]).unwrap();
    graph.output(y);
    let still = graph.push("still", Op::Binary(Binary::Sub), &[h, h]).unwrap();
    graph.output(still);
    let [a, mut b] = [1, 1].map(|seed| network(&graph, seed));
    let average = a.clone();
    b.insert("slope", Tensor::from_f32(&[10], (0..10).map(|k| k as f32 - 4.0).collect()).unwrap());
    let (program, data) = (Program::new(graph.clone()).unwrap(), synthetic(&graph, 100, 9).unwrap());
    let fits = profile(&program, &Ends::pair([&a, &b], 0.5), &average, &data).unwrap();
    assert!(fits.sites[0].explained > 0.999 && fits.outputs[0].explained < 0.9, "{fits:?}");
    assert_eq!(fits.outputs[1].explained, 1.0);
    let left = run(&graph, &Ends::pair([&a, &b], 0.5), &average, &SolveOptions::default()).left;
    assert_eq!(
        left.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["`scaled`: its `slope` is no weight, gain or bias of a layer"]
    );
    let alike = run(&graph, &Ends::pair([&a, &a], 0.5), &average, &SolveOptions::default()).left;
    assert!(alike.is_empty(), "nothing is averaged where both are the same: {alike:?}");
}

/// Numbers that are not finite are no good fit, and ends that give none cannot be compared with.
#[test]
fn what_is_not_finite_is_not_explained() {
    let (_, graph) = graphs().swap_remove(0);
    let a = network(&graph, 1);
    let mut broken = a.clone();
    broken.insert("fc3.bias", Tensor::from_f32(&[4], vec![f32::NAN; 4]).unwrap());
    let (program, data) = (Program::new(graph).unwrap(), synthetic(&graphs().swap_remove(0).1, 20, 9).unwrap());
    let of = |ends: [&Params; 2], merged| profile(&program, &Ends::pair(ends, 0.5), merged, &data);
    assert!(of([&a, &a], &broken).unwrap().answered() < -1e9);
    assert!(of([&a, &broken], &a).unwrap_err().to_string().contains("not finite"));
}

#[test]
fn a_computed_weight_is_named() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 12]).unwrap();
    let weight = graph.param("weight", &[12, 10]).unwrap();
    let weight = graph.unary("tanh", Unary::Tanh, weight).unwrap();
    let h = graph.push("product", Op::MatMul, &[x, weight]).unwrap();
    let h = graph.relu(h).unwrap();
    let y = graph.linear("fc", h, 3).unwrap();
    graph.output(y);
    let (_, left) = sites(&graph);
    assert_eq!(left.iter().map(|left| &left.node[..]).collect::<Vec<_>>(), ["product"]);
}

#[test]
fn at_every_site_more_is_explained_than_by_the_average() {
    for (name, graph) in graphs() {
        let [a, b] = [1, 2].map(|seed| network(&graph, seed));
        let ends = Ends::pair([&a, &b], 0.5);
        let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
        let solved = run(&graph, &ends, &average, &SolveOptions::default());
        assert!(solved.left.is_empty(), "{name}: {:?}", solved.left);
        let program = Program::new(graph.clone()).unwrap();
        let data = synthetic(&graph, 100, 9).unwrap();
        let fits = |net| profile(&program, &ends, net, &data).unwrap();
        let (before, after) = (fits(&average), fits(&solved.params));
        let last = (before.answered(), after.answered());
        assert!(last.1 > last.0 && last.1 > 0.0, "{name}: {last:?}\n{before:?}\n{after:?}");
        let shapes =
            |net: &Params| net.iter().map(|(n, t)| (n.to_owned(), t.shape().to_vec(), t.dtype())).collect::<Vec<_>>();
        assert_eq!(shapes(&solved.params), shapes(&average));
    }
}

/// Of an affine repair every unit has the weights of the average up to a factor, and a network whose units were halved comes back
/// but for what holds it to the average, ten rows of three hundred.
#[test]
fn an_affine_repair_keeps_the_weights_of_a_unit_up_to_a_factor() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 12]).unwrap();
    let mut h = graph.linear("fc1", x, 10).unwrap();
    h = graph.relu(h).unwrap();
    h = graph.linear("fc2", h, 8).unwrap();
    h = graph.relu(h).unwrap();
    let y = graph.linear("fc3", h, 4).unwrap();
    graph.output(y);
    let (a, b) = (network(&graph, 1), network(&graph, 2));
    let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
    let options = SolveOptions { units_only: true, spread: 0.0, ..SolveOptions::default() };
    let found = run(&graph, &Ends::pair([&a, &b], 0.5), &average, &options).params;
    let mut changed = 0;
    for name in ["fc1.weight", "fc2.weight", "fc3.weight"] {
        let [before, after] = [&average, &found].map(|net| net.require(name).unwrap().to_f64().unwrap().into_owned());
        let inputs = average.require(name).unwrap().shape()[1];
        for (row, new) in before.chunks(inputs).zip(after.chunks(inputs)) {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let factor = dot(row, new) / dot(row, row);
            changed += usize::from((factor - 1.0).abs() > 1e-3);
            for (x, y) in row.iter().zip(new) {
                assert!((factor * x - y).abs() <= 1e-5 * dot(new, new).sqrt(), "{name}: {y} is not {factor} times {x}");
            }
        }
    }
    assert!(changed > 10, "{changed} units got another scale");
    let scaled: Params = a
        .iter()
        .map(|(name, tensor)| {
            let half = tensor.to_f32().unwrap().iter().map(|w| 0.5 * w).collect();
            (name.to_owned(), Tensor::from_f32(tensor.shape(), half).unwrap())
        })
        .collect();
    let ends = Ends::pair([&a, &a], 0.5);
    let back = run(&graph, &ends, &scaled, &options).params;
    let (program, data) = (Program::new(graph.clone()).unwrap(), synthetic(&graph, 100, 9).unwrap());
    let [before, after] = [&scaled, &back].map(|net| profile(&program, &ends, net, &data).unwrap().answered());
    assert!(before < 0.6 && after > 0.98, "{before} {after}");
}

#[test]
fn a_shortcut_that_stands_behind_its_branch_is_known_in_front_of_it() {
    let (_, graph) = graphs().swap_remove(1);
    let (found, _) = sites(&onebasin_core::solve::solving_order(&graph));
    let added = |name: &str| {
        let ordered = onebasin_core::solve::solving_order(&graph);
        let site = found.iter().find(|site| ordered.node(site.node).name == name).unwrap();
        site.added.iter().map(|v| graph.value(*v).name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(added("a.conv2"), ["a.shortcut"]);
    assert_eq!(added("a.shortcut"), [""; 0]);
    assert_eq!(added("b.conv").len(), 1);
}

#[test]
fn units_that_belong_to_one_end_follow_it() {
    let (_, graph) = graphs().swap_remove(0);
    let [a, b] = [1, 2].map(|seed| network(&graph, seed));
    let mut ends = Ends::pair([&a, &b], 0.5);
    for site in sites(&graph).0 {
        let units = graph.shape(site.target)[site.axis];
        ends.by_unit.insert(site.target, vec![vec![0.0; units], vec![1.0; units]]);
    }
    let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
    let solved = run(&graph, &ends, &average, &SolveOptions::default());
    let program = Program::new(graph.clone()).unwrap();
    let data = synthetic(&graph, 100, 9).unwrap();
    let fits = profile(&program, &Ends::pair([&a, &b], 1.0), &solved.params, &data).unwrap();
    assert!(fits.sites.iter().chain(&fits.outputs).all(|site| site.explained > 0.999), "{fits:?}");
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    for (name, graph) in graphs().into_iter().take(5) {
        let [a, b] = [1, 2].map(|seed| network(&graph, seed));
        let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = SolveOptions { rows: 900, ..SolveOptions::default() };
            pool.install(|| run(&graph, &Ends::pair([&a, &b], 0.5), &average, &options).params)
        };
        assert_eq!(with(1), with(3), "{name}");
    }
}

#[test]
fn what_is_not_solved_is_named() {
    let mut g = Graph::new();
    let x = g.input("x", &[5, 1, 4]).unwrap();
    let [w, r] = [("lstm.w", [1, 24, 4]), ("lstm.r", [1, 24, 6])].map(|(name, shape)| g.param(name, &shape).unwrap());
    let op = Op::Recurrent { cell: Cell::Lstm, direction: Direction::Forward };
    let outputs = g.push_many("lstm", op, &[x, w, r]).unwrap();
    let h = g.linear("tied", outputs[1], 6).unwrap();
    let h = g.linear("tied", h, 6).unwrap();
    let weight = g.param_named("tied.weight").unwrap();
    let h = g.push("turned", Op::MatMul, &[h, weight]).unwrap();
    g.output(h);
    let (found, left) = sites(&g);
    assert!(found.is_empty());
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    assert_eq!(left[0], "`lstm`: recurrent layers are not solved");
    assert!(left[1].ends_with("is also used by `turned`, in another way"), "{left:?}");
    assert!(g.values().iter().any(|v| v.source == ValueSource::Param));
}

/// Two BatchNorms with one gain: neither may be given another, so what stands in front is solved for itself.
#[test]
fn a_gain_that_two_have_is_left_as_it_is() {
    let mut g = Graph::new();
    let mut x = g.input("x", &[1, 3, 6, 6]).unwrap();
    let gain = g.param("gain", &[6]).unwrap();
    for name in ["a", "b"] {
        x = g.conv(name, x, 6, 3, Conv::square(1, 1), true).unwrap();
        let own =
            ["bias", "running_mean", "running_var"].map(|what| g.param(&format!("{name}.norm.{what}"), &[6]).unwrap());
        x = g
            .push(&format!("{name}.norm"), Op::BatchNorm { epsilon: 1e-5 }, &[x, gain, own[0], own[1], own[2]])
            .unwrap();
        x = g.relu(x).unwrap();
    }
    let x = g.global_average("pool", x).unwrap();
    let y = g.linear("fc", x, 3).unwrap();
    g.output(y);
    let (_, left) = sites(&g);
    assert_eq!(
        left.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["`a.norm`: its `gain` is used more than once", "`b.norm`: its `gain` is used more than once",]
    );
    let mut a = network(&g, 3);
    a.insert("gain", Tensor::from_f32(&[6], vec![2.0, 0.5, -1.0, 1.5, 1.0, 3.0]).unwrap());
    // Statistics are those of the samples, as training leaves them; the solve measures them anew.
    let data = synthetic(&g, 300, 1).unwrap();
    let program = Program::new(g.clone()).unwrap();
    let a = onebasin_nn::recompute_batch_norm(&program, &a, &data, 300).unwrap();
    let solved = run(&g, &Ends::pair([&a, &a], 0.5), &a, &SolveOptions::default());
    assert_eq!(solved.params.require("gain").unwrap(), a.require("gain").unwrap());
    let fits = profile(&program, &Ends::pair([&a, &a], 0.5), &solved.params, &data).unwrap();
    assert!(fits.sites.iter().chain(&fits.outputs).all(|site| site.explained > 0.999), "{fits:?}");
}

/// A network that computes the same tells all of the first one's units: leaning to it changes nothing but rounding and ridge.
#[test]
fn leaning_between_equals_is_no_lean() {
    for (name, graph) in graphs() {
        let a = network(&graph, 1);
        let data = synthetic(&graph, 200, 1).unwrap();
        let program = Program::new(graph).unwrap();
        let ends = Ends::pair([&a, &a], 0.5);
        let options = SolveOptions { lean: true, ..SolveOptions::default() };
        let solved = solve(&program, &ends, &a, &data, &options, &mut |_, _| true).unwrap();
        let found = profile(&program, &ends, &solved.params, &data).unwrap().answered();
        assert!(found > 0.98, "{name}: {found}");
    }
}

#[test]
fn a_solve_goes_on_to_the_same_bits_from_every_site() {
    for (name, graph) in graphs() {
        let [a, b] = [1, 2].map(|seed| network(&graph, seed));
        let data = synthetic(&graph, 60, 1).unwrap();
        let program = Program::new(graph).unwrap();
        let (average, ends) = (merge(&a, &b, 0.5, Interpolation::Lerp).unwrap(), Ends::pair([&a, &b], 0.5));
        let mut states = Vec::new();
        let solved = |state, mut states: Option<&mut Vec<SolveState>>| {
            let mut keep = |state: &SolveState, _: usize| {
                if let Some(states) = &mut states {
                    states.push(state.clone());
                }
                true
            };
            solve_on(&program, &ends, state, &data, &SolveOptions::default(), None, &mut keep).unwrap()
        };
        let whole = solved(SolveState::fresh(average), Some(&mut states));
        // All uses of a weight are one step.
        let steps = whole.sites.len() - if name == "a head on two levels" { 2 } else { 0 };
        assert_eq!(states.len(), steps + 1);
        for state in states {
            let done = state.done;
            assert_eq!(solved(state, None), whole, "{name} from site {done}");
        }
    }
}

/// 576 inputs, whose Gram takes more than the rows that are left.
#[test]
fn a_gram_that_does_not_fit_leaves_the_dual() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 4, 8, 8]).unwrap();
    let h = g.conv("conv1", x, 64, 3, Conv::square(1, 1), true).unwrap();
    let h = g.relu(h).unwrap();
    let h = g.conv("conv2", h, 16, 3, Conv::square(1, 1), true).unwrap();
    let h = g.relu(h).unwrap();
    let h = g.flatten("flat", h).unwrap();
    let y = g.linear("fc", h, 3).unwrap();
    g.output(y);
    let [a, b] = [1, 2].map(|seed| network(&g, seed));
    let data = synthetic(&g, 20, 1).unwrap();
    let program = Program::new(g).unwrap();
    let (average, ends) = (merge(&a, &b, 0.5, Interpolation::Lerp).unwrap(), Ends::pair([&a, &b], 0.5));
    let solved = |memory: usize| {
        let options = SolveOptions { memory, ..SolveOptions::default() };
        solve(&program, &ends, &average, &data, &options, &mut |_, _| true).map(|solved| solved.params)
    };
    let answered = |params: &Params| profile(&program, &ends, params, &data).unwrap().answered();
    let [all, some] = [1 << 30, 5 << 20].map(|memory| solved(memory).unwrap());
    assert_ne!(all, some);
    let [all, some, average] = [&all, &some, &average].map(answered);
    assert!(some > average && (all - some).abs() < 0.2, "{all}, {some}, {average}");
    let error = (0..40).rev().find_map(|k| solved((5 << 20) * k / 40).err()).unwrap();
    assert!(error.to_string().contains("fewer samples take less"), "{error}");
}

#[test]
fn too_little_memory_says_how_many_samples_fit() {
    let (_, graph) = graphs().swap_remove(1);
    let a = network(&graph, 1);
    let data = synthetic(&graph, 300, 1).unwrap();
    let options = SolveOptions { memory: 1 << 20, ..SolveOptions::default() };
    let program = Program::new(graph).unwrap();
    let error = solve(&program, &Ends::pair([&a, &a], 0.5), &a, &data, &options, &mut |_, _| true).unwrap_err();
    assert!(error.to_string().contains("samples fit"), "{error}");
}

/// What is minimised is the sum of 1 − R² over the places: no weight a little further on does better.
#[test]
fn weights_that_two_levels_share_are_the_best_for_both_together() {
    let mut graph = Graph::new();
    let output = {
        let [x, z] = ["x", "z"].map(|name| graph.input(name, &[1, 4]).unwrap());
        let weight = graph.param("shared.weight", &[3, 4]).unwrap();
        let bias = graph.param("shared.bias", &[3]).unwrap();
        let z = graph.unary("other", Unary::Abs, z).unwrap();
        let [a, b] = [("a", x), ("b", z)].map(|(n, v)| graph.push(n, Op::Linear, &[v, weight, bias]).unwrap());
        [a, b]
    };
    for value in output {
        graph.output(value);
    }
    let [a, b] = [1, 2].map(|seed| network(&graph, seed));
    // B is another network on one side: what is solved for cannot please both places.
    let mut ends = Ends::pair([&a, &b], 0.5);
    for (site, shares) in sites(&graph).0.iter().zip([[0.9, 0.1], [0.2, 0.8]]) {
        ends.by_unit.insert(site.target, shares.map(|share| vec![share; 3]).to_vec());
    }
    let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
    let (data, program) = (synthetic(&graph, 300, 1).unwrap(), Program::new(graph.clone()).unwrap());
    let options = SolveOptions { ridge: 0.0, spread: 0.0, ..SolveOptions::default() };
    let solved = solve(&program, &ends, &average, &data, &options, &mut |_, _| true).unwrap();
    assert_eq!(solved.sites, ["a", "b"]);
    let sum = |params: &Params| {
        profile(&program, &ends, params, &data).unwrap().sites.iter().map(|s| s.explained).sum::<f64>()
    };
    let best = sum(&solved.params);
    assert!(best > sum(&average) + 1e-3, "{best} {}", sum(&average));
    for name in ["shared.weight", "shared.bias"] {
        let tensor = solved.params.require(name).unwrap();
        let values = tensor.to_f32().unwrap().to_vec();
        for at in 0..values.len() {
            for step in [-0.02, 0.02] {
                let mut moved = values.clone();
                moved[at] += step;
                let mut params = solved.params.clone();
                params.insert(name, Tensor::from_f32(tensor.shape(), moved).unwrap());
                assert!(sum(&params) < best, "{name} {at} {step}");
            }
        }
    }
}

#[test]
fn a_weight_that_is_used_on_what_it_gave_itself_is_solved_in_rounds_or_named() {
    let mut graph = Graph::new();
    let output = again(&mut graph).unwrap();
    graph.output(output);
    let program = Program::new(graph.clone()).unwrap();
    for seed in 0..4 {
        let a = network(&graph, seed);
        // Of two networks that are alike something is there to be won.
        let b = merge(&a, &network(&graph, seed + 10), 0.3, Interpolation::Lerp).unwrap();
        let (average, ends) = (merge(&a, &b, 0.5, Interpolation::Lerp).unwrap(), Ends::pair([&a, &b], 0.5));
        let solved = run(&graph, &ends, &average, &SolveOptions::default());
        assert_eq!(solved.sites, ["first", "again", "again", "again", "last"]);
        let data = synthetic(&graph, 300, 1).unwrap();
        let answered = |net| profile(&program, &ends, net, &data).unwrap().answered();
        assert!(answered(&solved.params) > answered(&average));
        let kept = solved.params.get("again.weight") == average.get("again.weight");
        assert_eq!(kept, !solved.left.is_empty(), "{:?}", solved.left);
    }
}

#[test]
fn a_solve_in_rounds_goes_on_to_the_same_bits_from_every_step() {
    let mut graph = Graph::new();
    let output = again(&mut graph).unwrap();
    graph.output(output);
    let a = network(&graph, 1);
    let b = merge(&a, &network(&graph, 11), 0.3, Interpolation::Lerp).unwrap();
    let (average, ends) = (merge(&a, &b, 0.5, Interpolation::Lerp).unwrap(), Ends::pair([&a, &b], 0.5));
    let (data, options) = (synthetic(&graph, 100, 1).unwrap(), SolveOptions::default());
    let program = Program::new(graph.clone()).unwrap();
    let mut states = Vec::new();
    let whole = solve_on(&program, &ends, SolveState::fresh(average), &data, &options, None, &mut |state, _| {
        states.push(state.clone());
        true
    });
    let whole = whole.unwrap();
    assert!(states.len() > 5);
    for state in states {
        let done = state.done;
        let found = solve_on(&program, &ends, state, &data, &options, None, &mut |_, _| true).unwrap();
        assert_eq!(found.params, whole.params, "{done}");
    }
}
