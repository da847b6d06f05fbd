//! Watches the library's work: bars for its steps, remarks on standard error, Ctrl-C.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use onebasin::{Level, Observer, Progress, Step};

use crate::signals;
use crate::talk::Talk;

/// The program's observer.
pub struct Watch {
    talk: Talk,
    bar: Mutex<Option<(Step, ProgressBar)>>,
    /// When progress was last told in words.
    told: Mutex<Instant>,
}

/// Time between lines of progress, where there is no terminal to draw a bar on and details are asked for.
const TOLD_EVERY: Duration = Duration::from_secs(10);

impl Watch {
    pub fn new(talk: Talk) -> Self {
        Self { talk, bar: Mutex::default(), told: Mutex::new(Instant::now()) }
    }

    /// How a step is shown.
    fn bar(&self, step: Step, total: u64) -> ProgressBar {
        match step {
            Step::Matching => self.talk.bar(total, "matching, {msg} {bar:24} {pos}/{len} parts, eta {eta}"),
            Step::Activations => self.talk.bar(total, "activations {bar:24} {pos}/{len} samples, eta {eta}"),
            Step::Writing => self.talk.bar(total, "writing text {bar:24} {pos}/{len} tokens, eta {eta}"),
            Step::Remembering => self.talk.bar(total, "making inputs up {bar:24} {pos}/{len} steps, eta {eta}"),
            Step::StraightThrough => {
                self.talk.bar(total, "straight-through {bar:24} {pos}/{len} steps {msg} eta {eta}")
            }
            Step::Solving => self.talk.bar(total, "solving {bar:24} {pos}/{len} layers, eta {eta}"),
            Step::Distilling => self.talk.bar(total, "distilling {bar:24} {pos}/{len} steps, {msg}, eta {eta}"),
            Step::Evaluating => self.talk.bar(total, "evaluating {bar:24} {pos}/{len}, eta {eta}"),
            Step::Applying => self.talk.bar(total, "applying {wide_bar} {percent} % eta {eta}"),
            Step::Merging => self.talk.bar(total, "merging {wide_bar} {percent} % eta {eta}"),
            _ => self.talk.bar(total, "{bar:24} {pos}/{len}, eta {eta}"),
        }
    }
}

impl Observer for Watch {
    fn progress(&self, at: &Progress<'_>) {
        let Ok(mut shown) = self.bar.lock() else { return };
        if shown.as_ref().is_none_or(|(step, _)| *step != at.step) {
            *shown = Some((at.step, self.bar(at.step, at.total)));
        }
        let Some((_, bar)) = &*shown else { return };
        bar.set_position(at.done);
        bar.set_message(at.how.to_owned());
        if let (true, Ok(mut told)) = (bar.is_hidden(), self.told.lock())
            && told.elapsed() > TOLD_EVERY
        {
            *told = Instant::now();
            self.talk.detail(&format!("{:?}: {} of {} {}", at.step, at.done, at.total, at.how).to_lowercase());
        }
        if at.done >= at.total {
            bar.finish_and_clear();
            *shown = None;
        }
    }

    fn remark(&self, level: Level, text: &str) {
        match level {
            Level::Detail => self.talk.detail(text),
            Level::Finding => self.talk.say(text),
            Level::Note => self.talk.say(&format!("note: {text}")),
        }
    }

    fn stops(&self) -> bool {
        signals::interrupted()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(Some((_, bar))) = self.bar.get_mut().map(Option::take) {
            bar.finish_and_clear();
        }
    }
}
