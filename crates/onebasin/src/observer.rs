//! Who is told how work goes, and may stop it.

/// A step of the work, as an [`Observer`] hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Parts of both networks compared by weights, sweep after sweep.
    Matching,
    /// Samples run through both networks, to compare activations.
    Activations,
    /// Steps of inputs made up until BatchNorms see in them what they remember.
    Remembering,
    /// Tokens of text that networks write, to be compared and solved on.
    Writing,
    /// Steps of straight-through matching.
    StraightThrough,
    /// Layers of a merged network solved.
    Solving,
    /// Steps of training a merged network to answer as its ends do.
    Distilling,
    /// Networks measured on data.
    Evaluating,
    /// Weights moved by an alignment, from file to file.
    Applying,
    /// Weights merged, from file to file.
    Merging,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The step.
    pub step: Step,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, in the same unit: samples, steps, layers, networks or weights.
    pub total: u64,
    /// How it goes, in a few words; often empty.
    pub how: &'a str,
}

/// How much a remark matters.
///
/// ```
/// use onebasin::Level;
/// assert!(Level::Note > Level::Finding && Level::Finding > Level::Detail);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only for those who want to know every sweep.
    Detail,
    /// What was found out on the way.
    Finding,
    /// What the user should know before trusting the result.
    Note,
}

/// Hears how work goes, and may stop it. All methods have defaults that do nothing, so `impl Observer for Mine {}` is silent.
///
/// Methods are called by the threads that work, so they take `&self`; each piece of work asks its own observer, so that one
/// merge can be stopped while another goes on.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use onebasin::{Level, Observer, Progress};
///
/// #[derive(Default)]
/// struct Bar {
///     stop: AtomicBool,
/// }
/// impl Observer for Bar {
///     fn progress(&self, at: &Progress<'_>) {
///         eprintln!("{:?}: {} of {}", at.step, at.done, at.total);
///     }
///     fn remark(&self, level: Level, text: &str) {
///         if level > Level::Detail {
///             eprintln!("{text}");
///         }
///     }
///     fn stops(&self) -> bool {
///         self.stop.load(Ordering::Relaxed)
///     }
/// }
/// let bar = Bar::default();
/// assert!(!bar.stops());
/// ```
pub trait Observer: Sync {
    /// A step has come further, by as much as is done at a time (of activations some thousand samples); the last call for a
    /// step has `done == total`.
    fn progress(&self, _at: &Progress<'_>) {}

    /// Something worth saying, without a full stop.
    fn remark(&self, _level: Level, _text: &str) {}

    /// Whether work is to stop; asked at least twice a second. Files are then left as they were.
    fn stops(&self) -> bool {
        false
    }
}

/// The observer that says nothing and never stops.
///
/// ```
/// use onebasin::{Observer, Quiet};
/// assert!(!Quiet.stops());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Observer for Quiet {}
