//! `onebasin reproduce`: an experiment of the paper, from data to page.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar};
use onebasin_lab::experiment::{Experiment, Tests};
use onebasin_lab::report::{self, ExperimentOutcome};
use onebasin_lab::run::{RunOptions, Watcher, planned};
use onebasin_lab::shelf::{Facts, Shelf};
use onebasin_lab::{Error, Scale, Store, built_in, run as run_experiment};
use serde_json::json;

use crate::args::ReproduceArgs;
use crate::files::check_outputs;
use crate::signals;
use crate::talk::{self, Talk};

/// Multiply-adds a second on two cores of a few years ago, of training and evaluation together.
const RATE: f64 = 6e10;
/// Time between lines, where no bar can be drawn.
const LINE: Duration = Duration::from_mins(1);

pub fn run(args: &ReproduceArgs, talk: Talk) -> Result<()> {
    let Some(name) = args.experiment.as_deref().filter(|_| !args.list) else { return list(talk) };
    let scale = args.scale;
    let experiment = open(name, scale)?;
    let (shelf, store) =
        (Shelf::new(&args.data), Store::open(args.cache.clone().unwrap_or_else(|| args.output.join("cache")))?);
    let folder = args.output.join(format!("{}-{}", experiment.name, scale.name()));
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot create the folder", folder.display()))?;
    check_outputs([&folder.join("index.html")], &[])?;
    signals::keeps_a_state();
    let device = args.device.open_to_train(args.precision, talk)?;
    let options =
        RunOptions { device: device.as_ref(), save_every: Duration::from_secs_f64(args.save_every.clamp(0.0, 1e6)) };
    let mut shown = Shown::new(talk);
    let ran = run_experiment(&experiment, &shelf, &store, &options, &mut shown);
    shown.bar.finish_and_clear();
    let (steps, found) = match ran {
        Err(error @ Error::Stopped) => return Err(error.into()),
        other => other.with_context(|| format!("data sets are looked for in {} (--data)", args.data.display()))?,
    };
    let outcome = ExperimentOutcome::new(&experiment, &steps, &found, &store)?;
    let command = format!("onebasin reproduce {name} --scale {} --data DIR", scale.name());
    let page = report::page(
        &experiment,
        &outcome,
        &found,
        &command,
        &machine(device.as_ref().map(onebasin::Device::trains_as)),
    );
    report::write(&folder, &page, &found, &outcome)?;
    talk.result("onebasin.experiment/1", &outcome, &text(&experiment, &outcome, &folder)?)?;
    let missed = outcome.claims.iter().filter(|c| c.holds == Some(false)).count();
    if missed > 0 {
        let all = outcome.claims.iter().filter(|c| c.holds.is_some()).count();
        return Err(talk::Told(format!("{missed} of {all} claims do not hold")).into());
    }
    Ok(())
}

/// An experiment that comes along, or one of the user's.
fn open(name: &str, scale: Scale) -> Result<Experiment> {
    let path = Path::new(name);
    if path.extension().is_none_or(|x| x != "toml") {
        return Ok(Experiment::named(name, scale)?);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{name}: cannot read"))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Experiment::read(&stem, &text, scale)?)
}

/// The processor and its threads.
fn machine(device: Option<&str>) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, n)| n.trim().to_owned()));
    let threads = rayon::current_num_threads();
    let device = device.map_or(String::new(), |d| format!("; {d}"));
    format!("{}, {threads} threads{device}", name.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
}

fn list(talk: Talk) -> Result<()> {
    let published = |set: &str| {
        Facts::published(set)
            .ok_or_else(|| Error::Experiment { name: set.to_owned(), why: "no such data set".to_owned() })
    };
    let (mut text, mut rows) = (String::new(), Vec::new());
    for name in built_in() {
        let mut costs = Vec::new();
        let (mut title, mut source, mut nightly) = (String::new(), String::new(), false);
        for scale in Scale::ALL {
            // Few have a desk scale; the others can be read.
            let Ok(experiment) = Experiment::named(name, scale) else { continue };
            let (steps, _) = planned(&experiment, &published, None)?;
            let seconds = steps.iter().map(|s| s.cost).sum::<f64>() / RATE;
            let data = experiment.kind.training().map(|t| t.data.clone());
            nightly = experiment.quick_runs_in == Tests::Nightly;
            costs.push((scale.name(), seconds, data));
            (title, source) = (experiment.title, experiment.source);
        }
        writeln!(text, "{name}: {title} ({source})")?;
        for (scale, seconds, data) in &costs {
            let time = HumanDuration(Duration::from_secs_f64(seconds.max(1.0)));
            let on = data.as_ref().map_or(String::new(), |d| format!(" on {d}"));
            let mark = if nightly && *scale == Scale::Quick.name() { " (nightly)" } else { "" };
            writeln!(text, "    {scale}: about {time}{on}{mark}")?;
        }
        let costs: Vec<_> = costs
            .iter()
            .map(|(scale, seconds, data)| json!({ "scale": scale, "seconds_on_two_cores": seconds, "data": data }))
            .collect();
        rows.push(json!({ "experiment": name, "title": title, "source": source, "nightly": nightly, "scales": costs }));
    }
    talk.result("onebasin.experiments/1", &json!({ "experiments": rows }), &text)
}

fn text(experiment: &Experiment, outcome: &ExperimentOutcome, folder: &Path) -> Result<String> {
    let mut text = format!("{} ({})\n", experiment.title, experiment.source);
    let widest = outcome.claims.iter().map(|c| c.what.chars().count()).max().unwrap_or(0);
    let wide = talk::width() >= widest + 50;
    for claim in &outcome.claims {
        let (what, here, paper) = (&claim.what, claim.shown(), &claim.paper);
        let holds = match (&claim.want, claim.holds) {
            (Some(want), Some(true)) => format!("{want} holds"),
            (Some(want), Some(false)) => format!("{want} DOES NOT HOLD"),
            _ => String::new(),
        };
        let line = if wide {
            format!("  {what:<widest$}  here {here:<10} paper {paper:<14} {holds}")
        } else {
            format!("  {what}\n    here {here}, paper {paper}{}{holds}", if holds.is_empty() { "" } else { ", " })
        };
        writeln!(text, "{}", line.trim_end())?;
    }
    write!(text, "{}", folder.join("index.html").display())?;
    Ok(text)
}

/// A bar over the whole plan, or lines where there is no terminal.
struct Shown {
    talk: Talk,
    bar: ProgressBar,
    title: String,
    said: Instant,
}

impl Shown {
    fn new(talk: Talk) -> Self {
        let bar = talk.bar(0, "{prefix} {wide_bar} {percent} % eta {eta} {msg}");
        Self { talk, bar, title: String::new(), said: Instant::now() }
    }
}

impl Watcher for Shown {
    fn planned(&mut self, total: f64, done: f64) {
        self.bar.set_length((total / 1e6) as u64);
        self.bar.set_position((done / 1e6) as u64);
        self.bar.reset_eta();
    }

    fn begins(&mut self, title: &str) {
        title.clone_into(&mut self.title);
        self.bar.set_prefix(self.title.clone());
        self.bar.set_message("");
    }

    fn at(&mut self, done: f64, how: &str) -> bool {
        self.bar.set_position((done / 1e6) as u64);
        self.bar.set_message(how.to_owned());
        if self.bar.is_hidden() && self.said.elapsed() > LINE {
            self.said = Instant::now();
            let percent = 1e-4 * done / self.bar.length().unwrap_or(1).max(1) as f64;
            let eta = HumanDuration(self.bar.eta());
            let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
            self.talk.say(&format!("{percent:.0} %: {}{how}; eta {eta}", self.title));
        }
        !signals::interrupted()
    }

    fn ends(&mut self, title: &str, seconds: f64) {
        if self.bar.is_hidden() {
            self.talk.say(&format!("{title}: {seconds:.1} s"));
        }
    }
}
