//! Networks run, and trained, somewhere else than on this processor.

use onebasin_core::Params;
use onebasin_core::graph::Graph;

use crate::error::Result;
use crate::optim::Optimizer;

/// A device that networks can be run and trained on.
///
/// Results are those of the processor up to rounding, and the same bytes from run to run on the same device.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::Params;
/// use onebasin_nn::exec::{Flat, Program, Workspace};
/// use onebasin_nn::optim::Optimizer;
/// use onebasin_nn::{Error, Network, Result, Runner, Running, Training};
///
/// /// The processor, as if it were a device.
/// struct Here;
/// struct NetworkHere(Program, Flat);
///
/// impl Runner for Here {
///     fn bring(&self, graph: &Graph, params: &Params) -> Result<Box<dyn Running>> {
///         let program = Program::new(graph.clone())?;
///         let flat = program.flatten(params)?;
///         Ok(Box::new(NetworkHere(program, flat)))
///     }
///     fn bring_to_train(&self, _: &Graph, _: &Params, _: &[Params], _: Optimizer) -> Result<Box<dyn Training>> {
///         Err(Error::Options("networks do not train there".to_owned()))
///     }
/// }
///
/// impl Running for NetworkHere {
///     fn forward(&self, batch: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
///         let mut space = Workspace::inference(&self.0, batch)?;
///         space.inputs().into_iter().zip(inputs).for_each(|(to, input)| to.copy_from_slice(input));
///         self.0.forward(&self.1, &mut space);
///         Ok(space.outputs().into_iter().map(<[f32]>::to_vec).collect())
///     }
/// }
///
/// let network = Network::new("mlp:4x1", &[3], 2)?;
/// let there = Here.bring(&network.graph()?, &network.init(0)?)?;
/// assert_eq!(there.forward(5, &[&[0.5; 15]])?[0].len(), 10);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub trait Runner: Send + Sync {
    /// Brings a network there.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) names a node that does not run there; also if a tensor is missing, or does
    /// not fit on the device.
    fn bring(&self, graph: &Graph, params: &Params) -> Result<Box<dyn Running>>;

    /// Brings a network there to be trained. `moments` are the optimiser's state vectors, as tensors named like what is
    /// trained; none before the first step.
    ///
    /// # Errors
    /// As [`Self::bring`].
    fn bring_to_train(
        &self,
        graph: &Graph,
        params: &Params,
        moments: &[Params],
        optimizer: Optimizer,
    ) -> Result<Box<dyn Training>>;
}

/// A network on a device. Several threads may ask it at once.
pub trait Running: Send + Sync {
    /// What the network answers, those of [`outputs`](crate::exec::outputs), for this many samples of every input, all as
    /// the graph says. BatchNorms use their running statistics.
    ///
    /// Shapes: `[batch, numbers of a sample]` for every input and output, images channels-first.
    ///
    /// # Errors
    /// If the network's shapes do not allow this batch, inputs are not as many and as long as it takes, or the device fails.
    fn forward(&self, batch: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>>;
}

/// A network on a device, being trained.
pub trait Training {
    /// The same as [`Running::forward`], keeping what [`Self::step`] needs. BatchNorms use the statistics of these samples,
    /// and running ones follow by this share.
    ///
    /// # Errors
    /// As [`Running::forward`].
    fn forward(&mut self, batch: usize, inputs: &[&[f32]], share: f64) -> Result<Vec<Vec<f32>>>;

    /// Takes the optimiser's step of this number, from 1, and rate, given the gradients of the outputs last computed.
    ///
    /// Shapes: those of these outputs. Each forward pass serves one step.
    ///
    /// # Errors
    /// If the gradients are not as many and as long as those outputs, or the device fails.
    fn step(&mut self, gradients: &[&[f32]], rate: f64, step: u64) -> Result<()>;

    /// The parameters, and the optimiser's state vectors, as [`Runner::bring_to_train`] takes them.
    ///
    /// Cost: all of them come back from the device.
    ///
    /// # Errors
    /// If the device fails.
    fn save(&self) -> Result<(Params, Vec<Params>)>;
}
