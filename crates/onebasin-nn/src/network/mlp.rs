//! Fully connected networks.

use onebasin_core::error::Result;
use onebasin_core::graph::{Graph, Op, ValueId};

use super::MAX_UNITS;

/// Hidden layers a network may have.
const MAX_LAYERS: usize = 1 << 10;

/// Units of every hidden layer, from `512x3` or `400-200-100`.
pub(super) fn hidden(sizes: &str) -> std::result::Result<Vec<usize>, String> {
    let units = |text: &str| match text.parse() {
        Ok(n) if (1..=MAX_UNITS).contains(&n) => Ok(n),
        _ => Err(format!("`{text}` is not a number of units between 1 and {MAX_UNITS}")),
    };
    match sizes.split_once('x') {
        Some((width, depth)) => match depth.parse() {
            Ok(depth) if (1..=MAX_LAYERS).contains(&depth) => Ok(vec![units(width)?; depth]),
            _ => Err(format!("`{depth}` is not a number of layers between 1 and {MAX_LAYERS}")),
        },
        None if sizes.split('-').nth(MAX_LAYERS).is_some() => Err(format!("more than {MAX_LAYERS} hidden layers")),
        None => sizes.split('-').map(units).collect(),
    }
}

/// Linear layers `fc1`, `fc2`, …, with or without bias, ReLU between them; samples of several axes are flattened first.
pub(super) fn mlp(g: &mut Graph, mut x: ValueId, hidden: &[usize], bias: bool, classes: usize) -> Result<ValueId> {
    if g.shape(x).len() > 2 {
        x = g.flatten("flatten", x)?;
    }
    for (layer, &units) in hidden.iter().enumerate() {
        x = linear(g, &format!("fc{}", layer + 1), x, bias, units)?;
        x = g.relu(x)?;
    }
    linear(g, &format!("fc{}", hidden.len() + 1), x, bias, classes)
}

fn linear(g: &mut Graph, name: &str, x: ValueId, bias: bool, out: usize) -> Result<ValueId> {
    if bias {
        return g.linear(name, x, out);
    }
    let features = g.shape(x).last().copied().unwrap_or(1);
    let weight = g.param(&format!("{name}.weight"), &[out, features])?;
    g.push(name, Op::Linear, &[x, weight])
}
