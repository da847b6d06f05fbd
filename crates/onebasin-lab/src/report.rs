//! What is written of an experiment: a page, its figures as files, and its numbers.

use std::collections::BTreeMap;
use std::path::Path;

use onebasin_io::write_atomic;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::experiment::{Claim, Experiment, Scale};
use crate::kind::Findings;
use crate::page::{ColumnAlign, Page, PageTable, Section};
use crate::plan::PlannedStage;
use crate::stage::{Stage, training};
use crate::store::Store;

/// Name and version of the JSON form.
pub const SCHEMA: &str = "onebasin.experiment/1";

/// An experiment and its numbers, as a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentOutcome {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the experiment.
    pub experiment: String,
    /// `quick`, `desk` or `paper`.
    pub scale: String,
    /// Version of the program.
    pub version: String,
    /// What the paper found, and what was found here.
    pub claims: Vec<Compared>,
    /// All numbers.
    pub values: BTreeMap<String, f64>,
    /// SHA-256 of every network that was trained.
    pub networks: BTreeMap<String, String>,
}

/// A number of the paper beside the one here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// What the number is.
    pub what: String,
    /// The paper's.
    pub paper: String,
    /// Here.
    pub here: f64,
    /// What it should be, if something is wanted.
    pub want: Option<String>,
    /// Whether it is.
    pub holds: Option<bool>,
    /// Factor by which it is shown.
    pub times: f64,
}

impl ExperimentOutcome {
    /// Compares what was found with what the paper found.
    ///
    /// # Errors
    /// If the experiment names a value that there is not.
    pub fn new(experiment: &Experiment, steps: &[PlannedStage], found: &Findings, store: &Store) -> Result<Self> {
        let compare = |claim: &Claim| compare(&experiment.name, claim, &found.values);
        let mut networks = BTreeMap::new();
        for step in steps {
            let Stage::Train(train) = &step.stage else { continue };
            let Some(done) = store.done(&step.key, &[]) else { continue };
            let last = training::weights(train.options.epochs);
            let part = train.data.split.map_or(String::new(), |p| format!(", part {p}"));
            let name = format!("{}, seed {}{part}", train.network.name, train.options.seed);
            networks.insert(name, done.files.get(&last).cloned().unwrap_or_default());
        }
        Ok(Self {
            schema: SCHEMA.to_owned(),
            experiment: experiment.name.clone(),
            scale: experiment.scale.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            claims: experiment.claims.iter().map(compare).collect::<Result<_>>()?,
            values: found.values.clone(),
            networks,
        })
    }

    /// Whether everything that is wanted holds.
    pub fn holds(&self) -> bool {
        self.claims.iter().all(|c| c.holds != Some(false))
    }
}

fn compare(name: &str, claim: &Claim, values: &BTreeMap<String, f64>) -> Result<Compared> {
    let fail = |why: String| Error::Experiment { name: name.to_owned(), why };
    let here = *values.get(&claim.here).ok_or_else(|| {
        let near = values.keys().filter(|k| k.split('.').next() == claim.here.split('.').next());
        let near = near.take(12).cloned().collect::<Vec<_>>().join(", ");
        fail(format!("there is no value `{}` for the claim `{}` (there are {near}, …)", claim.here, claim.what))
    })?;
    let holds = claim.want.as_ref().map(|want| {
        let bound = |text: &str| text.trim().parse::<f64>().map_err(|why| fail(format!("`{want}`: {why}")));
        match (want.strip_prefix("<="), want.strip_prefix(">=")) {
            (Some(most), _) => Ok(here <= bound(most)?),
            (_, Some(least)) => Ok(here >= bound(least)?),
            _ => Err(fail(format!("`{want}` is neither `<= NUMBER` nor `>= NUMBER`"))),
        }
    });
    Ok(Compared {
        what: claim.what.clone(),
        paper: claim.paper.clone(),
        here,
        want: claim.want.clone(),
        holds: holds.transpose()?,
        times: claim.times,
    })
}

impl Compared {
    /// The number as it is shown.
    pub fn shown(&self) -> String {
        let percent = if self.times == 100.0 { " %" } else { "" };
        format!("{}{percent}", short(self.times * self.here))
    }
}

/// Four digits after the point at most.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    if value.abs() >= 10.0 { format!("{value:.2}") } else { text }
}

/// The page of an experiment. `command` makes it again; `machine` is what it ran on.
pub fn page(
    experiment: &Experiment,
    outcome: &ExperimentOutcome,
    found: &Findings,
    command: &str,
    machine: &str,
) -> Page {
    let wanted = |c: &Compared| match (&c.want, c.holds) {
        (Some(want), Some(holds)) => {
            let want = want.replace("<=", "≤").replace(">=", "≥");
            format!("{want}: {}", if holds { "holds" } else { "does not hold" })
        }
        _ => String::new(),
    };
    let row = |c: &Compared| vec![c.what.clone(), c.paper.clone(), c.shown(), wanted(c)];
    let claims = PageTable {
        caption: "The paper and what was found here".to_owned(),
        head: ["", "paper", "here", "wanted"].map(str::to_owned).to_vec(),
        rows: outcome.claims.iter().map(row).collect(),
        align: vec![ColumnAlign::Left, ColumnAlign::Right, ColumnAlign::Right, ColumnAlign::Left],
    };
    let on = experiment.kind.training().map_or(String::new(), |t| format!(", on {}", t.data));
    let scale = match experiment.scale {
        Scale::Quick => {
            format!("At quick scale{on}: smaller than the paper's, to show the same phenomenon in minutes.")
        }
        Scale::Desk => format!("At desk scale{on}: fewer epochs, images and widths than the paper's."),
        Scale::Paper => format!("At the paper's scale{on}."),
    };
    let section = |title: &str| Section { title: title.to_owned(), ..Section::default() };
    let mut facts = vec![("command".to_owned(), command.to_owned()), ("machine".to_owned(), machine.to_owned())];
    facts.push(("program".to_owned(), format!("onebasin {}", outcome.version)));
    facts.extend(found.facts.clone());
    facts.extend(outcome.networks.iter().map(|(name, digest)| (name.clone(), digest.clone())));
    let mut sections = Vec::new();
    if !claims.rows.is_empty() {
        sections.push(Section { tables: vec![claims], ..section("Paper and here") });
    }
    sections.push(Section { figures: found.figures.clone(), ..section("Figures") });
    sections.push(Section { tables: found.tables.clone(), ..section("Numbers") });
    sections.push(Section { text: experiment.notes.clone(), facts, ..section("How it was made") });
    sections.retain(|s| !(s.figures.is_empty() && s.tables.is_empty() && s.facts.is_empty() && s.text.is_empty()));
    Page {
        title: experiment.title.clone(),
        lead: format!("{} of Git Re-Basin (Ainsworth, Hayase and Srinivasa, ICLR 2023). {scale}", experiment.source),
        sections,
    }
}

/// Writes the page (`index.html`), the figures (SVG, PNG, CSV) and the numbers (`result.json`) into a folder.
///
/// # Errors
/// If a file cannot be written or a figure not drawn.
pub fn write(folder: &Path, page: &Page, found: &Findings, outcome: &ExperimentOutcome) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|why| Error::store(folder, why))?;
    let put =
        |name: &str, bytes: &[u8]| -> Result<()> { Ok(write_atomic(&folder.join(name), |out| out.write_all(bytes))?) };
    for figure in &found.figures {
        figure.check()?;
        put(&format!("{}.svg", figure.name), figure.svg().as_bytes())?;
        put(&format!("{}.png", figure.name), &figure.png(2.0)?)?;
        put(&format!("{}.csv", figure.name), figure.csv().as_bytes())?;
    }
    let mut json = serde_json::to_vec_pretty(outcome).map_err(|why| Error::store(folder, why))?;
    json.push(b'\n');
    put("result.json", &json)?;
    put("index.html", page.html().as_bytes())
}
