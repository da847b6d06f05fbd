//! Experts in separate tensors: aligned and merged expert by expert, and left alone where their tensors do not go together.

use onebasin::core::graph::{Graph, Op, Value, op::Binary};
use onebasin::core::stream::Stream;
use onebasin::core::symmetry::GroupId;
use onebasin::{Align, Alignment, Context, DType, Model, Pair, Params, Tensor};

const EXPERTS: usize = 3;

/// `Σ_e p_e f_e(x)` around a shortcut.
fn graph() -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 4]).unwrap();
    let x = g.linear("in", x, 6).unwrap();
    let mut sum = g.relu(x).unwrap();
    let x = sum;
    let p = g.linear("router", x, EXPERTS).unwrap();
    let p = g.push("p", Op::Softmax { axis: 1, log: false }, &[p]).unwrap();
    for e in 0..EXPERTS {
        let up = g.linear(&format!("{e}.up"), x, 5).unwrap();
        let h = g.relu(up).unwrap();
        let y = g.linear(&format!("{e}.down"), h, 6).unwrap();
        let weight = Op::Slice { axis: 1, start: e, len: 1, step: 1 };
        let weight = g.push(&format!("{e}.p"), weight, &[p]).unwrap();
        let y = g.push(&format!("{e}.weighted"), Op::Binary(Binary::Mul), &[y, weight]).unwrap();
        sum = g.add_values(&format!("{e}.sum"), sum, y).unwrap();
    }
    let y = g.linear("out", sum, 2).unwrap();
    g.output(y);
    g
}

fn random(graph: &Graph) -> Params {
    let tensor = |p: &Value| {
        let mut stream = Stream::new(1, &p.name);
        let values = (0..p.shape.iter().product()).map(|_| stream.normal() as f32).collect();
        (p.name.clone(), Tensor::from_f32(&p.shape, values).unwrap())
    };
    graph.params().map(tensor).collect()
}

fn model(name: &str, params: &Params) -> Model {
    Model::with_graph(name, params.clone(), graph()).unwrap()
}

#[test]
fn a_renumbered_copy_is_recovered_expert_by_expert() {
    let a = random(&graph());
    let symmetry = model("a", &a).symmetry().unwrap();
    let units = (0..symmetry.groups().len()).map(GroupId);
    assert_eq!(units.map(|g| symmetry.group(g).size * symmetry.copies(g)).sum::<usize>(), 6 + EXPERTS + EXPERTS * 5);
    let b = Alignment::random(&symmetry, &mut Stream::new(2, "planted")).apply(&symmetry, &a).unwrap();
    let pair = Pair::new(model("a", &a), model("b", &b)).unwrap();
    pair.ensure(&symmetry, &Context::default()).unwrap();
    let found = pair.align(&Align::default(), &Context::default()).unwrap();
    assert_eq!(found.apply(&b).unwrap(), a);
    assert_eq!((found.account.merged, found.account.moved), (a.len(), a.len() - 1));
}

/// One expert in another type: bytes of one are none of the others'.
#[test]
fn experts_of_several_types_stay_where_they_are() {
    let mut params = random(&graph());
    let half = params.require("1.up.weight").unwrap().cast(DType::F16).unwrap();
    params.insert("1.up.weight", half);
    let symmetry = model("a", &params).symmetry().unwrap();
    assert_eq!(symmetry.stack_of("1.up.weight"), None);
    let units = (0..symmetry.groups().len()).map(GroupId);
    assert_eq!(units.map(|g| symmetry.group(g).size).sum::<usize>(), 6 + EXPERTS * 5);
}
