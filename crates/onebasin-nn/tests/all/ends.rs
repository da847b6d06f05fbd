//! Networks with two inputs and two outputs: everything is fed, everything is looked at.

use onebasin_core::graph::Graph;
use onebasin_core::matching::{ActivationKind, Element, best_element};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec, discover};
use onebasin_core::{Params, Tensor};
use onebasin_nn::exec::{Program, Workspace, outputs};
use onebasin_nn::samples::{Arrays, Field, FieldKind};
use onebasin_nn::task::{Classes, Task, Values};
use onebasin_nn::{
    ActivationOptions, CheckOptions, RepairOptions, SteOptions, SteState, activation_similarity, check, curve,
    evaluate, gradient, predict, repair, straight_through,
};

/// `h = relu(A left + B right)`, `m = relu(C h)`; answers `D h` and `E m`.
fn network() -> Graph {
    let mut graph = Graph::new();
    let [left, right] = [("left", 4), ("right", 3)].map(|(name, len)| graph.input(name, &[1, len]).unwrap());
    let [a, b] = [("a", left), ("b", right)].map(|(name, x)| graph.linear(name, x, 8).unwrap());
    let h = graph.add_values("sum", a, b).unwrap();
    let h = graph.relu(h).unwrap();
    let m = graph.linear("c", h, 6).unwrap();
    let m = graph.relu(m).unwrap();
    let [logits, values] = [("d", h, 3), ("e", m, 2)].map(|(name, x, out)| graph.linear(name, x, out).unwrap());
    for y in [logits, values] {
        graph.output(y);
    }
    graph
}

fn drawn(graph: &Graph, seed: u64) -> Params {
    let draw = |value: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(seed, &value.name);
        let numbers = (0..value.shape.iter().product()).map(|_| 0.6 * stream.normal() as f32).collect();
        (value.name.clone(), Tensor::from_f32(&value.shape, numbers).unwrap())
    };
    graph.params().map(draw).collect()
}

fn normals(name: &str, count: usize) -> Vec<f32> {
    let mut stream = Stream::new(9, name);
    (0..count).map(|_| stream.normal() as f32).collect()
}

const SAMPLES: usize = 60;

/// Noise for both inputs, given in this order, with labels.
fn samples(order: [&str; 2]) -> Arrays {
    let input = |name: &str| {
        let len = if name == "left" { 4 } else { 3 };
        let field = Field { name: name.to_owned(), shape: vec![len], kind: FieldKind::Real };
        (field, normals(name, SAMPLES * len))
    };
    let labels = Field { name: "labels".to_owned(), shape: vec![], kind: FieldKind::Index { below: 3 } };
    let target = (labels, (0..SAMPLES).map(|s| (s % 3) as f32).collect());
    Arrays::new("noise", order.map(input).to_vec(), Some(target)).unwrap()
}

/// Both outputs for all samples at once.
fn answers(program: &Program, params: &Params) -> [Vec<f32>; 2] {
    let mut space = Workspace::inference(program, SAMPLES).unwrap();
    let inputs = [normals("left", SAMPLES * 4), normals("right", SAMPLES * 3)];
    space.inputs().into_iter().zip(inputs).for_each(|(to, from)| to.copy_from_slice(&from));
    program.forward(&program.flatten(params).unwrap(), &mut space);
    let found = space.outputs();
    assert_eq!((found.len(), found[0]), (2, space.output()));
    [found[0].to_vec(), found[1].to_vec()]
}

#[test]
fn evaluation_feeds_both_inputs_whatever_the_order_of_fields() {
    let program = Program::new(network()).unwrap();
    let params = drawn(program.graph(), 0);
    let labels: Vec<f32> = (0..SAMPLES).map(|s| (s % 3) as f32).collect();
    let [logits, values] = answers(&program, &params);
    let expected = Classes.outcome(&[&logits, &values], &labels, SAMPLES);
    for order in [["left", "right"], ["right", "left"]] {
        let data = samples(order);
        let found = evaluate(&program, &params, &data, &Classes).unwrap();
        assert!((found.loss - expected.loss / SAMPLES as f64).abs() < 1e-12);
        assert_eq!(found.accuracy, expected.correct.map(|c| c as f64 / SAMPLES as f64));
        let scores = predict(&program, &params, &data).unwrap().scores(&onebasin_nn::samples::labels(&data).unwrap());
        assert!((scores.loss - found.loss).abs() < 1e-6 && Some(scores.accuracy) == found.accuracy);
    }
}

#[test]
fn gradients_of_a_task_and_of_both_outputs_agree_with_central_differences() {
    const STEP: f64 = 1e-6;
    let program = Program::<f64>::new(network()).unwrap();
    let mut flat = program.flatten(&drawn(program.graph(), 0)).unwrap();
    let mut space = Workspace::training(&program, 5).unwrap();
    for (to, name) in space.inputs().into_iter().zip(["left", "right"]) {
        let numbers = normals(name, to.len());
        to.iter_mut().zip(numbers).for_each(|(to, from)| *to = f64::from(from));
    }
    let seeds: Vec<Vec<f64>> = ["first", "second"]
        .iter()
        .zip([15, 10])
        .map(|(name, len)| normals(name, len).into_iter().map(f64::from).collect())
        .collect();
    program.forward(&flat, &mut space);
    program.backward_from(&flat, &[&seeds[0], &seeds[1]], &mut space);
    let found = space.d_weights.clone();
    for k in 0..found.len() {
        let kept = flat.weights[k];
        let mut at = |w: f64| {
            flat.weights[k] = w;
            program.forward(&flat, &mut space);
            let products = |(y, seed): (&[f64], &Vec<f64>)| y.iter().zip(seed).map(|(y, s)| y * s).sum::<f64>();
            space.outputs().into_iter().zip(&seeds).map(products).sum::<f64>()
        };
        let expected = (at(kept + STEP) - at(kept - STEP)) / (2.0 * STEP);
        flat.weights[k] = kept;
        assert!((found[k] - expected).abs() < 1e-7, "weight {k}: {} for {expected}", found[k]);
    }
    // The task looks at the first output alone.
    let program = Program::new(network()).unwrap();
    let found = gradient(&program, &drawn(program.graph(), 0), &samples(["left", "right"]), &Classes).unwrap();
    let still = |name: &str| found.get(name).unwrap().to_f32().unwrap().iter().all(|g| *g == 0.0);
    assert!(still("e.weight") && still("c.bias") && !still("d.weight") && !still("b.weight"));
}

/// An output that another is computed from gets both gradients.
#[test]
fn an_output_inside_the_network_is_seen_and_seeded() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 2]).unwrap();
    let h = graph.linear("h", x, 1).unwrap();
    let y = graph.linear("y", h, 1).unwrap();
    let bias = graph.nodes()[1].inputs[2];
    for v in [y, h, y, bias] {
        graph.output(v);
    }
    assert_eq!(outputs(&graph), [y, h]);
    let program = Program::<f64>::new(graph).unwrap();
    // y = 5 (2 a + 3 b + 0.5) + 7
    let flat = onebasin_nn::exec::Flat { weights: vec![2.0, 3.0, 0.5, 5.0, 7.0], statistics: vec![] };
    let mut space = Workspace::training(&program, 1).unwrap();
    space.input(0).copy_from_slice(&[1.0, -1.0]);
    program.forward(&flat, &mut space);
    assert_eq!(space.outputs(), [[4.5], [-0.5]]);
    program.backward_from(&flat, &[&[1.0], &[10.0]], &mut space);
    assert_eq!(space.d_weights, [15.0, -15.0, 15.0, -0.5, 1.0]);
}

/// Moves a network by a random element and finds it again.
#[test]
fn activations_recover_a_planted_permutation() {
    let program = Program::new(network()).unwrap();
    let params = drawn(program.graph(), 0);
    let symmetry = Symmetry::resolve(discover(program.graph()).spec(), &params).unwrap();
    assert_eq!(symmetry.roots().len(), 2);
    let planted = Alignment::random(&symmetry, &mut Stream::new(1, "planted"));
    let moved = planted.apply(&symmetry, &params).unwrap();
    let options = ActivationOptions { kind: ActivationKind::Uncentred };
    let data = samples(["right", "left"]);
    let found = activation_similarity(&program, [&params, &moved], &symmetry, &data, &options, &mut |_| true).unwrap();
    let mut alignment = Alignment::identity(&symmetry);
    for root in symmetry.roots() {
        let start = Element::identity(&symmetry, root);
        best_element(&symmetry, root, found.grams(root), &start, None).unwrap().element.store(&mut alignment, root);
    }
    assert_eq!(alignment, planted.inverse(&symmetry));
}

#[test]
fn repair_keeps_the_function_of_an_end() {
    let program = Program::new(network()).unwrap();
    let ends = [0, 1].map(|seed| drawn(program.graph(), seed));
    let data = samples(["right", "left"]);
    let at = |lambda: f64, merged: &Params| {
        let options = RepairOptions { lambda, ..RepairOptions::default() };
        repair(&program, [&ends[0], &ends[1]], merged, &data, &options).unwrap()
    };
    let (expected, found) = (answers(&program, &ends[1]), answers(&program, &at(1.0, &ends[1]).params));
    for (e, f) in expected.iter().flatten().zip(found.iter().flatten()) {
        assert!((e - f).abs() < 1e-4, "{f} for {e}");
    }
    let middle = merge(&ends[0], &ends[1], 0.5, Interpolation::Lerp).unwrap();
    assert_ne!(at(0.5, &middle).params, middle);
}

#[test]
fn curves_and_straight_through_matching_run() {
    let program = Program::new(network()).unwrap();
    let ends = [0, 1].map(|seed| drawn(program.graph(), seed));
    let ends = [&ends[0], &ends[1]];
    let data = samples(["right", "left"]);
    let found =
        curve("", &program, ends, &[0.0, 0.5, 1.0], [&data, &data], &Classes, None, &|_, p| Ok(p), &mut || true);
    let found = found.unwrap();
    assert_eq!((found.train.accuracy.len(), &found.train), (3, &found.test));
    assert_eq!(found.train.loss[0], evaluate(&program, ends[0], &data, &Classes).unwrap().loss);
    let symmetry = Symmetry::resolve(discover(program.graph()).spec(), ends[0]).unwrap();
    let options = SteOptions { epochs: 2, batch: 10, held_out: 20, every: 2, ..SteOptions::default() };
    let start = Alignment::identity(&symmetry);
    let state = SteState::fresh(&symmetry, ends, &start, 0.0).unwrap();
    let found = straight_through(&program, &symmetry, ends, &data, &Classes, state, &options, &mut |c| {
        assert!(c.accuracy.is_some());
        true
    });
    assert!(found.unwrap().best_loss.is_finite());
}

/// Values have losses and no accuracies, and no curve of them.
#[test]
fn nothing_is_right_or_wrong_about_values() {
    let program = Program::new(network()).unwrap();
    let params = drawn(program.graph(), 0);
    let [logits, _] = answers(&program, &params);
    let field = |name: &str, len| Field { name: name.to_owned(), shape: vec![len], kind: FieldKind::Real };
    let inputs = [("left", 4), ("right", 3)].map(|(name, len)| (field(name, len), normals(name, SAMPLES * len)));
    let data = Arrays::new("values", inputs.to_vec(), Some((field("y", 3), logits))).unwrap();
    let found = evaluate(&program, &params, &data, &Values).unwrap();
    assert!(found.loss < 1e-10 && found.accuracy.is_none(), "{found:?}");
    let ends = [&params, &params];
    let found = curve("", &program, ends, &[0.0, 1.0], [&data, &data], &Values, None, &|_, p| Ok(p), &mut || true);
    let json = serde_json::to_string(&found.unwrap()).unwrap();
    assert!(!json.contains("accuracy"), "{json}");
}

/// A symmetry that changes the second output alone is refused, by the group that does it.
#[test]
fn a_check_compares_every_output() {
    let program = Program::new(network()).unwrap();
    let params = drawn(program.graph(), 0);
    let right = [("a.weight", "h ."), ("a.bias", "h"), ("b.weight", "h ."), ("b.bias", "h"), ("d.weight", ". h")];
    let second = [("c.weight", "m h"), ("c.bias", "m"), ("d.bias", "."), ("e.bias", ".")];
    for (last, faults) in [(". m", &[][..]), (". .", &["m"])] {
        let patterns = right.into_iter().chain(second).chain([("e.weight", last)]);
        let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns(patterns).unwrap(), &params).unwrap();
        let found = check(&program, &params, &symmetry, &CheckOptions::default()).unwrap();
        let named: Vec<&str> = found.faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((found.passes(), &named[..]), (faults.is_empty(), faults));
    }
}
