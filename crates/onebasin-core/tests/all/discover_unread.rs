//! Entries of parameters that no node looks at.

use onebasin_core::graph::op::{Binary, Op};
use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::symmetry::{AxisRef, discover};

/// The first rows of a table of positions, added to tokens, and read again.
fn positions(rows: usize, table: usize) -> (Graph, ValueId) {
    let mut g = Graph::new();
    let x = g.input("x", &[1, rows, 5]).unwrap();
    let embed = g.param("embed", &[5, 6]).unwrap();
    let h = g.push("embedded", Op::MatMul, &[x, embed]).unwrap();
    let table = g.param("positions", &[table, 6]).unwrap();
    let first = g.push("first", Op::Slice { axis: 0, start: 0, len: rows, step: 1 }, &[table]).unwrap();
    let h = g.push("placed", Op::Binary(Binary::Add), &[h, first]).unwrap();
    let read = g.param("read", &[6, 2]).unwrap();
    let y = g.push("y", Op::MatMul, &[h, read]).unwrap();
    g.output(y);
    (g, table)
}

#[test]
fn rows_behind_a_cut_are_no_units() {
    for table in [8, 20] {
        let (g, positions) = positions(8, table);
        let found = discover(&g);
        let spec = found.spec();
        assert_eq!(spec.sizes.values().sum::<usize>(), 6, "{spec:?}");
        assert!(spec.tensors["positions"].to_string().ends_with(" embed"), "{}", spec.tensors["positions"]);
        let held = found.held();
        assert!(held.contains_key(&AxisRef { value: positions, axis: 0 }));
    }
}

/// What stands in two parameters alone, as the rank of a low-rank product does, is a group all the same.
#[test]
fn a_rank_between_two_parameters_is_free() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let (a, b) = (g.param("a", &[5, 3]).unwrap(), g.param("b", &[3, 4]).unwrap());
    let weight = g.push("ab", Op::MatMul, &[a, b]).unwrap();
    let y = g.push("y", Op::MatMul, &[x, weight]).unwrap();
    g.output(y);
    assert_eq!(discover(&g).spec().tensors["b"].to_string(), "a .");
}
