//! What becomes of operators when axes get longer, and which of them mix units.

use crate::graph::Op;
use crate::graph::op::{Binary, Dim};
use crate::symmetry::{Term, TermKind};

/// How the axes of a value change.
pub(super) struct Lengths {
    pub(super) axes: Vec<AxisLengths>,
}

/// How one axis changes.
pub(super) struct AxisLengths {
    pub(super) narrow: usize,
    pub(super) wide: usize,
    /// Its parts one after the other: their lengths before and afterwards; none where it is one part.
    pub(super) parts: Vec<(usize, usize)>,
}

impl AxisLengths {
    fn changes(&self) -> bool {
        self.narrow != self.wide
    }

    /// Where a position that begins a part comes to lie.
    fn moved(&self, position: usize) -> Option<usize> {
        let (mut narrow, mut wide) = (0, 0);
        for (before, afterwards) in &self.parts {
            if narrow == position {
                return Some(wide);
            }
            (narrow, wide) = (narrow + before, wide + afterwards);
        }
        match position {
            0 => Some(0),
            _ if position == self.narrow => Some(self.wide),
            _ => None,
        }
    }
}

/// Lengths of the parts of a term, before and afterwards, in order; none where it is one part.
pub(super) fn parts(
    term: &Term,
    fixed: usize,
    size: &dyn Fn(&str) -> usize,
    narrow: &dyn Fn(&str) -> usize,
) -> Vec<(usize, usize)> {
    match &term.kind {
        TermKind::Sum(parts) => {
            parts.iter().map(|p| (super::extent(p, fixed, narrow), super::extent(p, fixed, size))).collect()
        }
        TermKind::Fixed
        | TermKind::Number(_)
        | TermKind::Group { .. }
        | TermKind::Product(_)
        | TermKind::Chooser(_)
        | TermKind::Cases(_) => Vec::new(),
    }
}

/// An operator with attributes that count units made to fit longer axes.
///
/// # Errors
/// What cannot follow.
pub(super) fn followed(op: &Op, inputs: &[Lengths], outputs: &[Lengths]) -> Result<Op, String> {
    let changes = |values: &[Lengths]| values.iter().any(|v| v.axes.iter().any(AxisLengths::changes));
    if !changes(inputs) && !changes(outputs) {
        return Ok(op.clone());
    }
    let channels = || inputs.first().and_then(|x| x.axes.get(1));
    let sizes = |dims: &[Dim]| -> Vec<Dim> {
        let out = outputs.first().map_or(&[][..], |y| &y.axes);
        let dim = |(at, dim): (usize, &Dim)| match dim {
            Dim::Size(n) => Dim::Size(out.get(at).map_or(*n, |axis| axis.wide)),
            Dim::Same(_) | Dim::Rest => *dim,
        };
        dims.iter().enumerate().map(dim).collect()
    };
    Ok(match op {
        Op::Conv(conv) if conv.groups > 1 => {
            let mut conv = conv.clone();
            conv.groups = grouped(conv.groups, channels())?;
            Op::Conv(conv)
        }
        Op::ConvTranspose { conv, output_padding } if conv.groups > 1 => {
            let mut conv = conv.clone();
            conv.groups = grouped(conv.groups, channels())?;
            Op::ConvTranspose { conv, output_padding: output_padding.clone() }
        }
        Op::GroupNorm { groups, epsilon } => Op::GroupNorm { groups: grouped(*groups, channels())?, epsilon: *epsilon },
        Op::Reshape(dims) => Op::Reshape(sizes(dims)),
        Op::Expand(dims) => Op::Expand(sizes(dims)),
        Op::Slice { axis, start: first, len, step } => {
            let (Some(x), Some(y)) = (inputs.first(), outputs.first()) else { return Ok(op.clone()) };
            let (from, to) = (&x.axes[*axis], &y.axes[*axis]);
            if !from.changes() && !to.changes() {
                return Ok(op.clone());
            }
            match (from.moved(*first), step) {
                (Some(start), 1) if from.moved(first + len) == Some(start + to.wide) => {
                    Op::Slice { axis: *axis, start, len: to.wide, step: 1 }
                }
                (Some(_) | None, _) => return Err("it takes units by number".to_owned()),
            }
        }
        Op::Pad { before, after, .. } => {
            let (Some(x), Some(y)) = (inputs.first(), outputs.first()) else { return Ok(op.clone()) };
            let rigid =
                |axis: usize| before[axis] + after[axis] > 0 && (x.axes[axis].changes() || y.axes[axis].changes());
            if (0..before.len()).any(rigid) {
                return Err("it adds units by number".to_owned());
            }
            op.clone()
        }
        Op::Linear
        | Op::MatMul
        | Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::Pool(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::ScatterElements { .. }
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::NonZero
        | Op::Resize { .. }
        | Op::Recurrent { .. } => op.clone(),
        Op::Unknown(name) => return Err(format!("operator `{name}` is not known")),
    })
}

/// The number of groups of channels afterwards.
fn grouped(groups: usize, channels: Option<&AxisLengths>) -> Result<usize, String> {
    match channels {
        Some(axis) if !axis.changes() => Ok(groups),
        Some(axis) if axis.narrow == groups => Ok(axis.wide),
        Some(_) | None => Err(format!("its {groups} groups of channels are counted")),
    }
}

/// Axes over which an operator takes sums of computed values, so that a unit that computes nothing would count: number of
/// the input, axis, and what is done there.
pub(super) fn mixed(
    op: &Op,
    ranks: &[usize],
    channels: usize,
    computed: &dyn Fn(usize) -> bool,
    constant: &dyn Fn(usize) -> bool,
) -> Vec<(usize, usize, &'static str)> {
    let over = |axes: &[usize], what| axes.iter().map(|axis| (0, *axis, what)).collect();
    let rank = |input: usize| ranks.get(input).copied().unwrap_or(0);
    match op {
        Op::LayerNorm { axes, .. } => over(axes, "averages over"),
        Op::GroupNorm { groups, .. } if *groups != channels => over(&[1], "averages over"),
        Op::LocalResponseNorm { .. } => over(&[1], "looks at neighbours among"),
        Op::Softmax { axis, .. } => over(&[*axis], "normalises over"),
        Op::Reduce { axes, .. } => over(axes, "reduces over"),
        Op::MatMul if computed(0) && computed(1) && rank(0) > 0 && rank(1) > 0 => {
            vec![
                (0, rank(0) - 1, "multiplies computed values over"),
                (1, rank(1).max(2) - 2, "multiplies computed values over"),
            ]
        }
        Op::Linear if computed(1) => {
            vec![(0, rank(0).max(1) - 1, "multiplies computed values over"), (1, 1, "multiplies computed values over")]
        }
        Op::Conv(_) | Op::ConvTranspose { .. } if computed(1) => {
            vec![
                (0, 1, "multiplies computed values over"),
                (1, 0, "multiplies computed values over"),
                (1, 1, "multiplies computed values over"),
            ]
        }
        Op::Binary(Binary::Div | Binary::Pow) if !constant(1) => (0..ranks.len())
            .flat_map(|input| (0..rank(input)).map(move |axis| (input, axis, "may be undefined at zeros among")))
            .collect(),
        Op::Gather { axis } | Op::GatherElements { axis } | Op::ScatterElements { axis, .. } => {
            over(&[*axis], "picks by number among")
        }
        Op::TopK { axis, .. } => over(&[*axis], "ranks"),
        Op::CumSum { axis, .. } => over(&[*axis], "sums one by one over"),
        Op::NonZero => over(&(0..rank(0)).collect::<Vec<_>>(), "counts"),
        Op::Linear
        | Op::MatMul
        | Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::Pool(_)
        | Op::BatchNorm { .. }
        | Op::GroupNorm { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Expand(_)
        | Op::Resize { .. }
        | Op::Recurrent { .. }
        | Op::Unknown(_) => Vec::new(),
    }
}

/// The axis of a parameter whose entries are what an operator computes, if there is one: how much A and B count in an entry
/// is decided by the unit that it is of.
pub(super) fn rows(op: &Op, input: usize, rank: usize) -> Option<usize> {
    match op {
        Op::Linear | Op::Conv(_) | Op::BatchNorm { .. } | Op::GroupNorm { .. } => Some(0),
        Op::ConvTranspose { .. } => Some(usize::from(input == 1)),
        Op::MatMul => Some(match input {
            0 => rank.checked_sub(2)?,
            _ => rank.checked_sub(1)?,
        }),
        Op::Recurrent { .. } => Some(if input > 3 { 2 } else { 1 }),
        Op::Pool(_)
        | Op::LayerNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Expand(_)
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::ScatterElements { .. }
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::NonZero
        | Op::Resize { .. }
        | Op::Unknown(_) => None,
    }
}
