//! What a step works with, besides its options.

use onebasin_core::Params;
use onebasin_nn::exec::Program;
use onebasin_nn::task::{Task, usual};
use onebasin_nn::{Runner, Samples};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::observer::{Level, Observer, Quiet};

/// What a step works with, besides its options: samples, a device, an observer.
///
/// The default has no samples, computes on the processor's threads, and says nothing.
///
/// ```
/// use onebasin::{Arrays, Context, Field, FieldKind, Quiet};
/// let field = |name: &str, shape: Vec<usize>, kind| Field { name: name.to_owned(), shape, kind };
/// let pixels = (field("x", vec![2], FieldKind::Real), vec![0.0, 1.0, 1.0, 0.0]);
/// let labels = (field("y", vec![], FieldKind::Index { below: 2 }), vec![1.0, 0.0]);
/// let samples = Arrays::new("two points", vec![pixels], Some(labels))?;
/// let context = Context { train: Some(&samples), observer: &Quiet, ..Context::default() };
/// assert_eq!(context.train.map(|s| s.len()), Some(2));
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Samples to match, repair and recompute BatchNorm statistics on; labels are looked at only where a loss is needed.
    pub train: Option<&'a dyn Samples>,
    /// Samples that nothing was fitted to, to measure on.
    pub test: Option<&'a dyn Samples>,
    /// How answers are judged; none is the usual task of the samples' target.
    pub task: Option<&'a dyn Task>,
    /// Where similarities of weights are computed and networks evaluated, if not on the processor.
    pub device: Option<&'a Device>,
    /// Who hears how it goes, and may stop it.
    pub observer: &'a dyn Observer,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Self { train: None, test: None, task: None, device: None, observer: &Quiet }
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { train, test, task, device, observer: _ } = self;
        f.debug_struct("Context")
            .field("train", &train.map(Samples::name))
            .field("test", &test.map(Samples::name))
            .field("task", &task.map(|_| "given"))
            .field("device", device)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// The samples to learn from, which `what` cannot do without.
    pub(crate) fn samples(&self, what: &'static str) -> Result<&'a dyn Samples> {
        self.train.ok_or(Error::NeedsData { what })
    }

    /// How answers on these samples are judged.
    pub(crate) fn judge(&self, samples: &dyn Samples) -> &'a dyn Task {
        self.task.unwrap_or_else(|| usual(samples))
    }

    /// Fails if the observer asks to stop.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.observer.stops() { Err(Error::INTERRUPTED) } else { Ok(()) }
    }

    /// What evaluates a network, if not the processor; says so where a device was given and cannot.
    pub(crate) fn runner(&self, program: &Program, params: &Params) -> Result<Option<&'a dyn Runner>> {
        let Some(device) = self.device else { return Ok(None) };
        let runner = device.runner(program, params)?;
        if runner.is_none() {
            self.note(&format!(
                "a node of the network does not run on {}; it is evaluated on the processor",
                device.name()
            ));
        }
        Ok(runner)
    }

    pub(crate) fn detail(&self, text: &str) {
        self.observer.remark(Level::Detail, text);
    }

    pub(crate) fn note(&self, text: &str) {
        self.observer.remark(Level::Note, text);
    }
}
