//! Similarities from activations: planted permutations are recovered in one update, cuts and threads change nothing.

use std::collections::BTreeMap;

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::{Dim, Op, Reduce};
use onebasin_core::matching::{ActivationKind, ActivationSimilarity, Element, best_element};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec, discover};
use onebasin_core::{Params, Tensor};
use onebasin_io::OnnxModel;
use onebasin_nn::exec::Program;
use onebasin_nn::{
    ActivationOptions, Arrays, Chosen, Error, Field, FieldKind, Network, Samples, activation_similarity,
};

/// Random images that fit the first input of a graph: whole numbers in range where it picks entries by them.
fn noise(graph: &Graph, samples: usize) -> Arrays {
    let input = graph.inputs().next().unwrap();
    let shape = graph.shape(input)[1..].to_vec();
    let entries = graph.nodes().iter().find(|n| n.inputs.get(1) == Some(&input) && matches!(n.op, Op::Gather { .. }));
    let entries = entries.map(|n| graph.shape(n.inputs[0])[0]);
    let mut stream = Stream::new(0, "images");
    let count = samples * shape.iter().product::<usize>();
    let unit = if entries.is_some() { 1.0 } else { 255.0 };
    let images = (0..count).map(|_| stream.below(entries.unwrap_or(256)) as f32 / unit).collect();
    images_of(&shape, images)
}

fn images_of(shape: &[usize], numbers: Vec<f32>) -> Arrays {
    let field = Field { name: "images".to_owned(), shape: shape.to_vec(), kind: FieldKind::Real };
    Arrays::new("images", vec![(field, numbers)], None).unwrap()
}

/// Biases and gains moved off their start, so that units differ in more than their weights.
fn jittered(params: &Params) -> Params {
    let jitter = |(name, tensor): (&str, &Tensor)| {
        let mut stream = Stream::new(3, name);
        let size = if tensor.shape().len() == 1 { 0.2 } else { 0.0 };
        let values = tensor.to_f64().unwrap().iter().map(|v| (v + stream.range(0.0, size)) as f32).collect();
        (name.to_owned(), Tensor::from_f32(tensor.shape(), values).unwrap())
    };
    params.iter().map(jitter).collect()
}

fn compare(
    program: &Program,
    ends: [&Params; 2],
    symmetry: &Symmetry,
    data: &dyn Samples,
    kind: ActivationKind,
) -> ActivationSimilarity {
    activation_similarity(program, ends, symmetry, data, &ActivationOptions { kind }, &mut |_| true).unwrap()
}

/// The best element of every root, one update each.
fn solve(symmetry: &Symmetry, found: &ActivationSimilarity) -> Alignment {
    let mut alignment = Alignment::identity(symmetry);
    for root in symmetry.roots() {
        let start = Element::identity(symmetry, root);
        best_element(symmetry, root, found.grams(root), &start, None).unwrap().element.store(&mut alignment, root);
    }
    alignment
}

/// Plants a random element and finds it again from activations on noise, in all groups.
#[track_caller]
fn recovers(what: &str, graph: Graph, params: &Params, samples: usize) {
    let symmetry = Symmetry::resolve(discover(&graph).spec(), params).unwrap();
    let program = Program::new(graph).unwrap();
    let data = noise(program.graph(), samples);
    let planted = Alignment::random(&symmetry, &mut Stream::new(1, "planted"));
    let moved = planted.apply(&symmetry, params).unwrap();
    let expected = planted.inverse(&symmetry);
    let correlations = compare(&program, [params, &moved], &symmetry, &data, ActivationKind::Pearson);
    let dead = |id: GroupId, unit: usize| {
        let n = symmetry.group(id).size;
        let flat = correlations.grams(id).iter().filter(|g| g.digits == [id]);
        flat.flat_map(|g| &g.data[unit * n..][..n]).all(|v| *v == 0.0) && symmetry.children(id).is_empty()
    };
    for kind in [ActivationKind::Uncentred, ActivationKind::Pearson] {
        let found = compare(&program, [params, &moved], &symmetry, &data, kind);
        let alignment = solve(&symmetry, &found);
        for id in (0..symmetry.groups().len()).map(GroupId) {
            let name = &symmetry.group(id).name;
            for (copy, (found, expected)) in alignment.copies(id).iter().zip(expected.copies(id)).enumerate() {
                // Units that never change are interchangeable.
                for unit in (0..found.len()).filter(|u| symmetry.group(id).parent.is_some() || !dead(id, *u)) {
                    assert_eq!(
                        found.at(unit),
                        expected.at(unit),
                        "{what}, {kind:?}: unit {unit} of `{name}`, copy {copy}"
                    );
                }
            }
        }
        let (matched, best) = (found.matched(&symmetry, &alignment), found.matched(&symmetry, &expected));
        for ((root, matched), (_, best)) in matched.into_iter().zip(best) {
            let name = &symmetry.group(root).name;
            assert!(
                (matched - best).abs() < 1e-3 && matched > 0.2,
                "{what}, {kind:?}: `{name}` {matched}, planted {best}"
            );
        }
    }
}

fn built_in(name: &str, input: &[usize]) -> (Graph, Params) {
    let net = Network::new(name, input, 10).unwrap();
    (net.graph().unwrap(), jittered(&net.init(1).unwrap()))
}

fn exported(name: &str) -> (Graph, Params) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../onebasin-io/tests/goldens/networks");
    let model = OnnxModel::open(&std::path::Path::new(folder).join(name)).unwrap();
    let graph = model.graph(&BTreeMap::new()).unwrap();
    let used = graph.params().map(|p| (p.name.clone(), model.params().get(&p.name).unwrap().clone())).collect();
    (graph, used)
}

#[test]
fn planted_permutations_of_built_in_networks_are_recovered() {
    for (name, input, samples) in
        [("mlp:64-48", &[8, 8][..], 300), ("vgg16-bn:0.125", &[3, 32, 32], 100), ("resnet20-a", &[3, 32, 32], 12)]
    {
        let (graph, params) = built_in(name, input);
        recovers(name, graph, &params, samples);
    }
}

#[test]
fn planted_permutations_of_exported_networks_are_recovered() {
    let plain = ["densenet", "unet", "mobilenet", "shufflenet"];
    let nested = ["transformer", "transformer_folded"];
    for name in plain.iter().chain(&nested).chain(&["gru", "lstm", "experts"]) {
        let (graph, params) = exported(&format!("{name}.onnx"));
        recovers(name, graph, &params, 64);
    }
}

/// The queries and keys of two heads meet each other, so no weight reads them: they show where they are computed.
#[test]
fn what_no_weight_reads_shows_where_it_is_computed() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 5, 6]).unwrap();
    let [q, k] = ["q", "k"].map(|name| graph.linear(name, x, 8).unwrap());
    let heads = |graph: &mut Graph, name: &str, x, order: &[usize]| {
        let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Size(2), Dim::Rest];
        let split = graph.push(&format!("{name}.split"), Op::Reshape(dims), &[x]).unwrap();
        graph.push(&format!("{name}.heads"), Op::Transpose(order.to_vec()), &[split]).unwrap()
    };
    let (left, right) = (heads(&mut graph, "q", q, &[0, 2, 1, 3]), heads(&mut graph, "k", k, &[0, 2, 3, 1]));
    let scores = graph.push("scores", Op::MatMul, &[left, right]).unwrap();
    let y = graph.push("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: false }, &[scores]).unwrap();
    graph.output(y);
    let draw = |p: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(0, &p.name);
        let values = (0..p.shape.iter().product()).map(|_| stream.normal() as f32).collect();
        (p.name.clone(), Tensor::from_f32(&p.shape, values).unwrap())
    };
    let params: Params = graph.params().map(draw).collect();
    let found = discover(&graph);
    assert_eq!(found.value_pattern(q).unwrap().to_string(), ". . (q q.2@q)");
    assert_eq!(found.value_pattern(left).unwrap().to_string(), ". q . q.2@q");
    let symmetry = Symmetry::resolve(found.spec(), &params).unwrap();
    let taps: Vec<_> = found.taps(&symmetry).into_iter().map(|t| (t.value, t.axis)).collect();
    assert_eq!(taps, [(k, 2)]);
    recovers("attention", graph, &params, 20);
}

#[test]
fn threads_change_no_bit() {
    let (graph, params) = built_in("resnet20-a", &[3, 32, 32]);
    let other = jittered(&params);
    let symmetry = Symmetry::resolve(discover(&graph).spec(), &params).unwrap();
    let program = Program::new(graph).unwrap();
    let data = noise(program.graph(), 53);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compare(&program, [&params, &other], &symmetry, &data, ActivationKind::Pearson))
    };
    let (one, two) = (with(1), with(2));
    for root in symmetry.roots() {
        assert_eq!(one.grams(root), two.grams(root));
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let (graph, params) = built_in("mlp:16-12", &[4, 4]);
    let symmetry = Symmetry::resolve(discover(&graph).spec(), &params).unwrap();
    let program = Program::new(graph).unwrap();
    let data = noise(program.graph(), 9000);
    let options = ActivationOptions::default();
    let run = |symmetry: &Symmetry, data: &dyn Samples, observe: &mut dyn FnMut(usize) -> bool| {
        activation_similarity(&program, [&params, &params], symmetry, data, &options, observe)
    };
    let mut seen = Vec::new();
    let mut stop = |done| {
        seen.push(done);
        false
    };
    assert!(matches!(run(&symmetry, &data, &mut stop), Err(Error::Stopped)));
    assert_eq!(seen, [4000]);
    let restricted = symmetry.restrict(|name| name.ends_with("weight"));
    assert!(run(&restricted, &Chosen::first(&data, 3), &mut |_| true).is_ok());
    assert!(matches!(run(&symmetry, &Chosen::first(&data, 0), &mut |_| true), Err(Error::Data { .. })));
    let wide = images_of(&[5, 4], vec![0.0; 20]);
    assert!(matches!(run(&symmetry, &wide, &mut |_| true), Err(Error::Data { .. })));
    let spec = SymmetrySpec::from_toml(&symmetry.spec().to_toml().replace("fc2", "second")).unwrap();
    let names = spec.tensors.into_iter().map(|(n, p)| (n.replace("second", "fc2"), p)).collect();
    let other = Symmetry::resolve(&SymmetrySpec { tensors: names, ..SymmetrySpec::default() }, &params).unwrap();
    let error = run(&other, &Chosen::first(&data, 3), &mut |_| true).unwrap_err().to_string();
    assert!(
        error.contains("the symmetry that the network's graph gives: `fc2.bias` is `second` here, `fc2` there"),
        "{error}"
    );
}
