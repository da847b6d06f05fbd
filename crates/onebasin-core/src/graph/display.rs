//! A graph as text: one line a node.

use std::fmt;

use super::op::{Conv, Dim, Pool};
use super::{Graph, Op, ValueId, ValueSource};

/// Inputs first, then one line a node, `name: operator (inputs) -> shape`, then the outputs.
///
/// ```
/// use onebasin_core::graph::Graph;
/// let mut g = Graph::new();
/// let x = g.input("image", &[1, 4])?;
/// let y = g.linear("fc", x, 3)?;
/// g.output(y);
/// let text = "input image [1, 4]\nfc: Linear (image, fc.weight, fc.bias) -> [1, 3]\noutput fc\n";
/// assert_eq!(g.to_string(), text);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in self.inputs() {
            writeln!(f, "input {} {:?}", self.value(input).name, self.shape(input))?;
        }
        for node in &self.nodes {
            let inputs: Vec<String> = node.inputs.iter().map(|v| self.operand(*v)).collect();
            let shapes: Vec<String> = node.outputs.iter().map(|v| format!("{:?}", self.shape(*v))).collect();
            writeln!(f, "{}: {} ({}) -> {}", node.name, node.op, inputs.join(", "), shapes.join(", "))?;
        }
        self.outputs.iter().try_for_each(|v| writeln!(f, "output {}", self.value(*v).name))
    }
}

impl Graph {
    /// A value's name; for a constant of one element its number, for another its shape as well.
    fn operand(&self, id: ValueId) -> String {
        let value = self.value(id);
        let ValueSource::Constant(tensor) = &value.source else { return value.name.clone() };
        match tensor.to_f64() {
            Ok(numbers) if numbers.len() == 1 => format!("{}", numbers[0] as f32),
            _ => format!("{} {:?}", value.name, value.shape),
        }
    }
}

/// The name, with what departs from stride 1, dilation 1, no padding and one group.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(conv) => call(f, "Conv", &conv_text(conv)),
            Self::ConvTranspose { conv, output_padding } => {
                let mut parts = conv_text(conv);
                parts.extend(unless(output_padding, 0, "output_padding"));
                call(f, "ConvTranspose", &parts)
            }
            Self::Pool(pool) => call(f, &format!("{:?}Pool", pool.kind), &pool_text(pool)),
            Self::Unary(unary) => write!(f, "{unary:?}"),
            Self::Binary(binary) => write!(f, "{binary:?}"),
            Self::Reduce { kind, axes, keep } => {
                call(f, &format!("Reduce{kind:?}"), &[format!("axes {axes:?}"), format!("keep {keep}")])
            }
            Self::Reshape(dims) => dims_text(f, "Reshape", dims),
            Self::Expand(dims) => dims_text(f, "Expand", dims),
            Self::Unknown(name) => write!(f, "Unknown({name})"),
            op => write!(f, "{op:?}"),
        }
    }
}

fn call(f: &mut fmt::Formatter<'_>, name: &str, parts: &[String]) -> fmt::Result {
    if parts.is_empty() { f.write_str(name) } else { write!(f, "{name}({})", parts.join(", ")) }
}

fn unless(values: &[usize], usual: usize, what: &str) -> Option<String> {
    values.iter().any(|v| *v != usual).then(|| format!("{what} {values:?}"))
}

fn conv_text(conv: &Conv) -> Vec<String> {
    let parts = [
        unless(&conv.strides, 1, "strides"),
        unless(&conv.dilations, 1, "dilations"),
        unless(&conv.before, 0, "before"),
        unless(&conv.after, 0, "after"),
        (conv.groups != 1).then(|| format!("groups {}", conv.groups)),
    ];
    parts.into_iter().flatten().collect()
}

fn pool_text(pool: &Pool) -> Vec<String> {
    let parts = [
        Some(format!("{:?}", pool.kernel)),
        unless(&pool.strides, 1, "strides"),
        unless(&pool.before, 0, "before"),
        unless(&pool.after, 0, "after"),
        pool.ceil.then(|| "ceil".to_owned()),
    ];
    parts.into_iter().flatten().collect()
}

/// `=0` is axis 0 of the input, `_` the rest.
fn dims_text(f: &mut fmt::Formatter<'_>, name: &str, dims: &[Dim]) -> fmt::Result {
    let text = dims.iter().map(|d| match d {
        Dim::Same(axis) => format!("={axis}"),
        Dim::Size(n) => n.to_string(),
        Dim::Rest => "_".to_owned(),
    });
    write!(f, "{name}[{}]", text.collect::<Vec<_>>().join(", "))
}
