//! Similarities of units from activations: both networks run over the same data, values inside them compared.

use std::borrow::Cow;

use onebasin_core::Params;
use onebasin_core::graph::ValueId;
use onebasin_core::matching::{ActivationKind, ActivationSimilarity, TapMoments};
use onebasin_core::symmetry::{AxisRef, Discovery, Pattern, Symmetry, Tap, TensorLayout, Term, TermKind, discover};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exec::{Program, Wants, Workspace};
use crate::samples::{Feeds, Samples};

/// How activations are compared.
///
/// ```
/// use onebasin_core::matching::ActivationKind;
/// use onebasin_nn::ActivationOptions;
/// assert_eq!(ActivationOptions::default().kind, ActivationKind::Pearson);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationOptions {
    /// How the activations of two units become one number.
    pub kind: ActivationKind,
}

/// Samples of a shard at most; cut by sizes alone, so that results do not depend on the number of threads.
const SHARD: usize = 500;

/// Shards that run side by side, of both networks.
const WAVE: usize = 8;

/// Similarities of the units of two networks, from their activations on samples.
///
/// Formula: for units `i` of A and `j` of B, [`ActivationKind`] of their activations `a_i` and `b_j` over all samples and
/// pixels: the correlation `cov(a_i, b_j) / (σ_a σ_b)`, or `E[a_i b_j]`.
///
/// The data are run through both networks once, in their order, BatchNorms on running statistics; the values that
/// [`Discovery::taps`](onebasin_core::symmetry::Discovery::taps) names are compared sample by sample, pixel by pixel.
/// `symmetry` is that of the parameters as discovered from the network's graph, or a restriction of it. `observe` is
/// called with the number of samples done; when it returns false the work is given up.
///
/// Shapes: a Gram `[n, n]` for every root group of `n` units, rows being units of A.
///
/// Cost: two forward passes, and for every tap with `n` units `2 n²` multiply-adds per sample (and pixel); memory is `n²`
/// per tap and the buffers of eight shards of both networks, whatever the size of the data.
///
/// # Errors
/// If the data do not fit the network's inputs, there are none, a tensor is missing, the symmetry is another than
/// the graph's, activations are not finite, or [`Error::Stopped`].
///
/// Source: Ainsworth et al. 2023, §3.1, generalised from layers to the taps of any graph.
///
/// ```
/// use onebasin_core::symmetry::{Alignment, Symmetry};
/// use onebasin_core::Perm;
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{ActivationOptions, Network, activation_similarity};
/// let network = Network::new("mlp:3x1", &[4], 2)?;
/// let (graph, a) = (network.graph()?, network.init(0)?);
/// let symmetry = Symmetry::resolve(&network.symmetry()?, &a).map_err(onebasin_core::Error::from)?;
/// // B is A with its hidden units turned round: unit 2 of B is unit 0 of A.
/// let b = Alignment::new(&symmetry, vec![vec![Perm::new(vec![2, 1, 0])?]])?.apply(&symmetry, &a)?;
/// let (data, options) = (synthetic(&graph, 50, 0)?, ActivationOptions::default());
/// let program = Program::new(graph)?;
/// let found = activation_similarity(&program, [&a, &b], &symmetry, &data, &options, &mut |_done| true)?;
/// let gram = &found.grams(symmetry.roots()[0])[0].data;
/// assert!((gram[2] - 1.0).abs() < 1e-6);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn activation_similarity(
    program: &Program,
    ends: [&Params; 2],
    symmetry: &Symmetry,
    data: &dyn Samples,
    options: &ActivationOptions,
    observe: &mut dyn FnMut(usize) -> bool,
) -> Result<ActivationSimilarity> {
    if data.is_empty() {
        let why = "activations need at least one sample; it has none".to_owned();
        return Err(Error::Data { spec: data.name().to_owned(), why });
    }
    let feeds = Feeds::new(program.graph(), data)?;
    let flats = [program.flatten(ends[0])?, program.flatten(ends[1])?];
    let size = program.shard(SHARD).min(data.len());
    let taps = Layouts::discover(program, symmetry, size, |found| found.taps(symmetry))?;
    let last = match data.len() % size {
        0 => None,
        rest => Some(Layouts::discover(program, symmetry, rest, |_| taps.axes.clone())?),
    };
    let new = |(tap, layout): (&AxisRef, &TensorLayout)| {
        TapMoments::new(symmetry, &program.graph().value(tap.value).name, layout, tap.axis)
    };
    let mut moments: Vec<TapMoments> =
        taps.axes.iter().zip(&taps.of_axis).map(new).collect::<std::result::Result<_, onebasin_core::Error>>()?;
    let wants = Wants { values: taps.values(), ..Wants::default() };
    let mut spaces: Vec<Workspace> = Vec::new();
    let starts: Vec<usize> = (0..data.len()).step_by(size).collect();
    for wave in starts.chunks(WAVE) {
        let samples = |start: usize| start..(start + size).min(data.len());
        while spaces.len() < 2 * wave.len() {
            spaces.push(Workspace::new(program, size, wants.clone())?);
        }
        let spaces = &mut spaces[..2 * wave.len()];
        let run = |(k, space): (usize, &mut Workspace)| {
            let samples = samples(wave[k / 2]);
            space.resize(program, samples.len())?;
            feeds.fill(data, samples, &mut space.inputs())?;
            program.forward(&flats[k % 2], space);
            Ok(())
        };
        spaces.par_iter_mut().enumerate().map(run).collect::<Result<()>>()?;
        let add = |(k, moments): (usize, &mut TapMoments)| {
            for pair in spaces.chunks_exact(2) {
                let layouts = last.as_ref().filter(|_| pair[0].batch() < size).unwrap_or(&taps);
                let [a, b] = [0, 1].map(|end| layouts.look(k, &pair[end]));
                moments.add(symmetry, &layouts.of_axis[k], &a, &b)?;
            }
            Ok(())
        };
        moments.par_iter_mut().enumerate().map(add).collect::<Result<()>>()?;
        if !observe(samples(wave[wave.len() - 1]).end) {
            return Err(Error::Stopped);
        }
    }
    Ok(ActivationSimilarity::new(symmetry, moments, options.kind)?)
}

/// Taps, and how their values are laid out for one batch size.
struct Layouts {
    axes: Vec<AxisRef>,
    of_axis: Vec<TensorLayout>,
    /// The values that stand side by side along each axis.
    values: Vec<Vec<ValueId>>,
}

impl Layouts {
    /// For this many samples, the taps that `pick` takes of what is discovered.
    ///
    /// # Errors
    /// Names a parameter whose pattern is another in `symmetry` than in the graph.
    fn discover(
        program: &Program,
        symmetry: &Symmetry,
        batch: usize,
        pick: impl FnOnce(&Discovery<'_>) -> Vec<AxisRef>,
    ) -> Result<Self> {
        let graph = program.graph().with_batch(batch)?;
        let found = discover(&graph);
        for (name, layout) in symmetry.tensors() {
            let pattern = found.spec().tensors.get(name);
            if pattern != Some(&layout.pattern) {
                let expected = pattern.map_or_else(|| "no such parameter".to_owned(), |p| format!("`{p}`"));
                return Err(Error::Options(format!(
                    "activations need the symmetry that the network's graph gives: `{name}` is `{}` here, {expected} there",
                    layout.pattern
                )));
            }
        }
        let axes = pick(&found);
        let (mut of_axis, mut values) = (Vec::new(), Vec::new());
        for at in &axes {
            let value = graph.value(at.value);
            let still = || Pattern { axes: vec![Term { kind: TermKind::Fixed, column: 1 }; value.shape.len()] };
            let alone = || Tap { pattern: still(), shape: value.shape.clone(), values: vec![at.value] };
            let tap = found.tap(*at).unwrap_or_else(alone);
            let layout = symmetry.layout(&value.name, &tap.pattern, &tap.shape);
            of_axis.push(layout.map_err(onebasin_core::Error::from)?);
            values.push(tap.values);
        }
        Ok(Self { axes, of_axis, values })
    }

    /// What a run left at a tap.
    fn look<'s>(&self, tap: usize, space: &'s Workspace) -> Cow<'s, [f32]> {
        let value = |v: &ValueId| space.value(*v).map_or(&[][..], |(found, _)| found);
        let found: Vec<&[f32]> = self.values[tap].iter().map(value).collect();
        if let [one] = found[..] {
            return Cow::Borrowed(one);
        }
        let shape = &self.of_axis[tap].shape;
        let run = shape[self.axes[tap].axis..].iter().product::<usize>() / found.len();
        let rows = found.iter().map(|values| values.len() / run.max(1)).min().unwrap_or(0);
        let row = |row: usize| found.iter().flat_map(move |values| &values[row * run..][..run]);
        Cow::Owned((0..rows).flat_map(row).copied().collect())
    }

    /// The values, each once.
    fn values(&self) -> Vec<ValueId> {
        let mut values: Vec<ValueId> = self.values.iter().flatten().copied().collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}
