//! What is counted of a network, against counts made by hand.

use onebasin::core::graph::{Graph, Op};
use onebasin::{Model, Overview, Params, Share, SymmetrySpec, Tensor};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::from_f32(shape, vec![0.0; shape.iter().product()]).unwrap()
}

fn of_graph(graph: Graph) -> Overview {
    let params: Params = graph.params().map(|p| (p.name.clone(), zeros(&p.shape))).collect();
    Overview::of(&Model::with_graph("net", params, graph).unwrap()).unwrap()
}

/// A stream of 8 units, `blocks` blocks with 6 hidden units each, and 3 outputs.
fn residual(blocks: usize) -> Overview {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let mut h = g.linear("stem", x, 8).unwrap();
    for k in 0..blocks {
        let up = g.linear(&format!("blocks.{k}.up"), h, 6).unwrap();
        let up = g.relu(up).unwrap();
        let down = g.linear(&format!("blocks.{k}.down"), up, 8).unwrap();
        h = g.push(&format!("add{k}"), Op::Binary(onebasin::core::graph::op::Binary::Add), &[h, down]).unwrap();
    }
    let y = g.linear("head", h, 3).unwrap();
    g.output(y);
    of_graph(g)
}

/// A family: 4 heads of 3 units each.
fn heads() -> Overview {
    let params: Params =
        [("q", vec![12, 5]), ("k", vec![12, 5])].map(|(n, s)| (n.to_owned(), zeros(&s))).into_iter().collect();
    let patterns = [("q", "(heads qk@heads) ."), ("k", "(heads qk@heads) .")];
    let mut spec = SymmetrySpec::from_patterns(patterns).unwrap();
    spec.sizes.insert("heads".to_owned(), 4);
    Overview::of(&Model::with_symmetry("net", params, spec)).unwrap()
}

#[test]
fn counts_are_those_made_by_hand() {
    let seen = residual(2);
    // The stream and two groups of hidden units.
    assert_eq!(seen.free_units, 8 + 6 + 6);
    // stem 8×5, 8; each block 6×8, 6, 8×6, 8; head 3×8, 3: of these stay the 5 inputs and twice the 3 outputs.
    let along = 13 + 8 + 2 * (14 + 6 + 14 + 8) + 11 + 3;
    assert_eq!(seen.places, Share { free: along - 5 - 3 - 3, all: along });
    let values = 40 + 8 + 2 * (48 + 6 + 48 + 8) + 24 + 3;
    assert_eq!(seen.values, Share { free: values - 3, all: values });
    let frozen: Vec<_> = seen.frozen.iter().map(|f| (f.why.as_str(), f.axes, f.places, f.tensors)).collect();
    assert_eq!(frozen, [("an output of the network", 2, 6, 2), ("an input of the network", 1, 5, 1)]);
    let stream = &seen.groups[seen.groups.iter().position(|g| g.name == "stem").unwrap()];
    // Rows and bias of the stem, columns of `up`, rows and bias of `down`, columns of the head.
    assert_eq!((stream.size, stream.axes, stream.tensors), (8, 2 + 2 * 3 + 1, 2 + 2 * 3 + 1));
    let order: Vec<&str> = seen.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(order, ["stem", "blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down", "head"]);
    assert_eq!(seen.layers[0].operators, ["Linear"]);
}

#[test]
fn a_family_counts_all_its_copies() {
    let seen = heads();
    let family = seen.groups.iter().find(|group| group.name == "qk").unwrap();
    assert_eq!((family.copies, family.size, family.units, family.parent.as_deref()), (4, 3, 12, Some("heads")));
    assert_eq!(seen.free_units, 4 + 12);
    assert_eq!((seen.places, seen.values.free), (Share { free: 24, all: 34 }, 120));
    assert_eq!(seen.frozen[0].why, "the symmetry that was given does not move it");
    assert!(
        seen.text(60, false).contains("\n  qk: 4 copies (one a unit of heads) × 3 = 12 units\n"),
        "{}",
        seen.text(60, false)
    );
}

#[test]
fn an_axis_that_stays_in_part_says_why() {
    let params = Params::from_iter([("w".to_owned(), zeros(&[7, 6]))]);
    let spec = SymmetrySpec::from_patterns([("w", "(a[0:2] + 3 + a[2:4]) (b 2)")]).unwrap();
    let seen = Overview::of(&Model::with_symmetry("net", params, spec)).unwrap();
    let axes = &seen.tensors[0].axes;
    assert_eq!(axes[0].parts.iter().map(|p| (p.len, p.groups.len())).collect::<Vec<_>>(), [(2, 1), (3, 0), (2, 1)]);
    assert_eq!((axes[0].free, axes[1].free), (4, 6));
    assert!(axes.iter().all(|axis| axis.why.is_some()), "the order inside of a unit stays as well");
    assert_eq!((seen.free_units, seen.frozen[0].axes, seen.frozen[0].places), (4 + 3, 1, 3));
    assert_eq!(seen.values, Share { free: 42, all: 42 });
}

#[test]
fn layers_that_repeat_are_told_once() {
    let seen = residual(40);
    let folded = seen.folded();
    assert_eq!(
        folded.runs.iter().map(|run| (run.first, run.layers.len(), run.times)).collect::<Vec<_>>(),
        [(0, 1, 1), (1, 2, 40), (81, 1, 1)]
    );
    let run = &folded.runs[1];
    assert_eq!((run.stem(), run.layers[0].tensors[0].as_str()), ("blocks.{0..39}", "blocks.{0..39}.up.weight"));
    assert_eq!(folded.kinds.iter().map(|kind| kind.groups.len()).collect::<Vec<_>>(), [1, 40]);
    assert_eq!(folded.term(&seen, "stem blocks.7.up"), "stem blocks.{0..39}.up");
    let text = seen.text(60, false);
    assert!(text.lines().count() < 30, "{text}");
    assert!(text.contains("×40: blocks.{0..39}, 2 layers\n") && text.contains("40 groups × 6 = 240 units"), "{text}");
    let all = seen.text(60, true);
    assert!(seen.tensors.iter().all(|tensor| all.contains(&tensor.name)), "{all}");
}

#[test]
fn a_chain_of_equal_layers_is_no_repetition() {
    let mut g = Graph::new();
    let mut x = g.input("x", &[1, 4]).unwrap();
    for k in 0..9 {
        x = g.linear(&format!("fc{k}"), x, 4).unwrap();
        x = g.relu(x).unwrap();
    }
    g.output(x);
    let folded = of_graph(g).folded();
    assert!(folded.runs.iter().all(|run| run.times == 1), "each reads the units of the one before: {folded:?}");
}

#[test]
fn text_is_as_wide_as_the_terminal_and_obeys_no_name() {
    let hostile = "\u{1b}[31m<b>\u{202e}".repeat(30);
    let params: Params = [hostile.as_str(), "a b", ""].iter().map(|n| ((*n).to_owned(), zeros(&[3, 2]))).collect();
    let spec = SymmetrySpec::from_patterns([(hostile.as_str(), "h ."), ("a b", "h ."), ("", "h .")]).unwrap();
    let seen = Overview::of(&Model::with_symmetry("net", params, spec)).unwrap();
    for seen in [seen, residual(3), heads()] {
        for width in 12..100 {
            for all in [false, true] {
                let text = seen.text(width, all);
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
                assert!(!text.contains(['\u{1b}', '\u{202e}']));
            }
        }
    }
}
