//! Which groups can be widened, and what becomes of shapes and attributes.

use onebasin_core::graph::op::{Conv, Dim, Reduce};
use onebasin_core::graph::{Graph, Op, ValueId};
use onebasin_core::widen::{Kept, Wide, Widener};

/// Sizes of groups with so many units more.
fn more(widener: &Widener, by: usize) -> std::collections::BTreeMap<String, usize> {
    let group = |id| widener.symmetry().group(id);
    widener.free().map(group).map(|group| (group.name.clone(), group.size + by)).collect()
}

fn kept<'k>(widener: &'k Widener, group: &str) -> &'k str {
    widener.kept().iter().find(|k: &&Kept| k.group == group).map_or("", |k| &k.why)
}

fn image(g: &mut Graph) -> ValueId {
    g.input("x", &[1, 3, 4, 4]).unwrap()
}

#[test]
fn attributes_that_count_channels_follow() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let h = g.conv("conv", x, 6, 3, Conv::square(1, 1), false).unwrap();
    let h = g.conv("deep", h, 6, 3, Conv::square(1, 1).grouped(6), false).unwrap();
    let h = g.push("flat", Op::Reshape(vec![Dim::Same(0), Dim::Size(96)]), &[h]).unwrap();
    let y = g.linear("fc", h, 2).unwrap();
    g.output(y);
    let widener = Widener::new(&g).unwrap();
    assert_eq!(widener.kept(), []);
    let wide = widener.sized(&more(&widener, 3)).unwrap();
    let shape = |name: &str| wide.shape(wide.param_named(name).unwrap()).to_vec();
    assert_eq!(shape("deep.weight"), [9, 1, 3, 3]);
    assert_eq!(shape("fc.weight"), [2, 9 * 16]);
    let Op::Conv(deep) = &wide.nodes()[1].op else { panic!("a convolution") };
    assert_eq!(deep.groups, 9);
}

#[test]
fn stages_behind_padded_shortcuts_are_groups_of_their_own() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let h = g.conv("conv1", x, 4, 3, Conv::square(1, 1), false).unwrap();
    let h = g.relu(h).unwrap();
    let around = vec![0, 2, 0, 0];
    let mode = onebasin_core::graph::op::PadMode::Constant(0.0);
    let pad = Op::Pad { before: around.clone(), after: around, mode };
    let shortcut = g.push("shortcut", pad, &[h]).unwrap();
    let branch = g.conv("conv2", h, 8, 3, Conv::square(1, 1), false).unwrap();
    let sum = g.add_values("add", branch, shortcut).unwrap();
    let y = g.conv("head", sum, 2, 1, Conv::square(1, 0), false).unwrap();
    g.output(y);
    let widener = Widener::new(&g).unwrap();
    assert_eq!(widener.kept(), []);
    assert_eq!(more(&widener, 0), [("conv1".to_owned(), 4), ("shortcut".to_owned(), 8)].into());
    let wide = widener.sized(&[("conv1".to_owned(), 5), ("shortcut".to_owned(), 11)].into()).unwrap();
    assert_eq!(wide.shape(wide.param_named("shortcut.weight").unwrap()), [11, 5, 1, 1]);
}

#[test]
fn what_a_still_unit_would_change_keeps_its_width_by_name() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let h = g.conv("normed", x, 6, 3, Conv::square(1, 1), false).unwrap();
    let h = g.channel_norm("norm", h).unwrap();
    let h = g.conv("softened", h, 5, 1, Conv::square(1, 0), false).unwrap();
    let h = g.push("soft", Op::Softmax { axis: 1, log: false }, &[h]).unwrap();
    let h = g.conv("grouped", h, 8, 1, Conv::square(1, 0), false).unwrap();
    let h = g.conv("groups", h, 4, 1, Conv::square(1, 0).grouped(2), false).unwrap();
    let mean = g.push("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: true }, &[h]).unwrap();
    let h = g.push("sub", Op::Binary(onebasin_core::graph::op::Binary::Sub), &[h, mean]).unwrap();
    let h = g.conv("free", h, 4, 1, Conv::square(1, 0), false).unwrap();
    let y = g.conv("last", h, 2, 1, Conv::square(1, 0), false).unwrap();
    g.output(y);
    let widener = Widener::new(&g).unwrap();
    assert!(kept(&widener, "normed").contains("LayerNorm `norm` averages over"), "{:?}", widener.kept());
    assert!(kept(&widener, "softened").contains("Softmax `soft` normalises over"), "{:?}", widener.kept());
    let all: Vec<&str> = widener.free().map(|id| widener.symmetry().group(id).name.as_str()).collect();
    assert_eq!(all, ["free"], "{:?}", widener.kept());
    let error = widener.sized(&[("normed".to_owned(), 7)].into()).unwrap_err();
    assert!(error.to_string().contains("averages over its units"), "{error}");
    assert!(Wide::new(&widener, [(widener.symmetry().group_named("free").unwrap(), vec![9])].into()).is_err());
}
