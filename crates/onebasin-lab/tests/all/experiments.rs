//! Every experiment that comes along can be planned; small ones of every kind run, to the same bytes on any number of
//! threads, and their pages are seen.

use std::path::Path;

use onebasin_lab::report::{self, ExperimentOutcome};
use onebasin_lab::run::{RunOptions, Watcher, planned};
use onebasin_lab::shelf::Facts;
use onebasin_lab::stage::Stage;
use onebasin_lab::{Error, Experiment, Scale, Shelf, Store, built_in, run};
use onebasin_testkit::browser_or_skip;

const TRAINING: &str = r#"
[setting.training]
network = "mlp:12x2"
data = "digits"
recipe = "mnist-mlp"
seeds = [0, 1]
epochs = 2
batch = 50
samples = 400
measure = [200, 100]
"#;

/// An experiment of a kind, small enough for a test.
fn small(kind: &str) -> Experiment {
    Experiment::read(kind, &small_text(kind), Scale::Quick).unwrap()
}

fn small_text(kind: &str) -> String {
    let (setting, training, claim) = match kind {
        "curves" => (
            "methods = ['weight', 'one-pass', 'uncentred', 'activation', 'straight-through', 'portfolio', 'greedy', \
             'steepest-descent']\npoints = 3",
            TRAINING.to_owned(),
            "weight.test.barrier",
        ),
        "plane" => ("method = 'weight'\nsteps = 4\ncap = 2.0", TRAINING.to_owned(), "middle-aligned.loss"),
        "epochs" => ("methods = ['weight']\npoints = 3\nat = [1, 2]", TRAINING.to_owned(), "2.weight.train.barrier"),
        "widths" => (
            "methods = ['weight']\npoints = 3\nat = [8, 16]",
            TRAINING.replace("12x2", "{width}x2").replace("[0, 1]", "[0, 1, 2, 3]"),
            "rise.weight.test.barrier",
        ),
        "split" => {
            ("method = 'weight'\npoints = 3", TRAINING.replace("[0, 1]", "[0, 1, 2]"), "merged.test.calibration-error")
        }
        "many" => (
            "together = ['naive', 'rounds', 'tree', 'universe']\nshare = 0.5",
            TRAINING.replace("[0, 1]", "[0, 1, 2]"),
            "saved.rounds",
        ),
        "timings" => ("runs = 2\nnetworks = [['mlp:8x2', [5], 3]]", String::new(), "mlp:8x2.seconds"),
        _ => ("grid = 21\npoints = 11", String::new(), "best.least-accuracy"),
    };
    format!(
        "title = 'Small: <{kind}>'\nsource = 'Nowhere'\nkind = '{kind}'\n[setting]\n{setting}\n{training}\n\
         [[claim]]\nwhat = 'a number'\npaper = '0'\nhere = '{claim}'\nwant = '>= -9'\n"
    )
}

const KINDS: [&str; 8] = ["curves", "plane", "epochs", "widths", "split", "many", "timings", "counterexample"];

struct Quiet {
    stages: usize,
    total: f64,
    highest: f64,
}

impl Watcher for Quiet {
    fn planned(&mut self, total: f64, _: f64) {
        self.total = total;
    }

    fn begins(&mut self, _: &str) {
        self.stages += 1;
    }

    fn at(&mut self, done: f64, _: &str) -> bool {
        assert!(done >= 0.0 && done <= 1.000_001 * self.total, "{done} of {}", self.total);
        self.highest = done.max(self.highest);
        true
    }

    fn ends(&mut self, _: &str, _: f64) {}
}

/// Runs it into a folder; how many stages were computed.
fn reproduce(experiment: &Experiment, folder: &Path) -> usize {
    let (shelf, store) = (Shelf::new("nowhere"), Store::open(folder.join("cache")).unwrap());
    let mut observer = Quiet { stages: 0, total: 0.0, highest: 0.0 };
    let (steps, found) = run(experiment, &shelf, &store, &RunOptions::default(), &mut observer).unwrap();
    let outcome = ExperimentOutcome::new(experiment, &steps, &found, &store).unwrap();
    assert!(outcome.holds());
    let page = report::page(experiment, &outcome, &found, "a command", "a machine");
    report::write(&folder.join(&experiment.name), &page, &found, &outcome).unwrap();
    observer.stages
}

/// Every file of a folder that is not the cache's, with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.push((path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
    }
    all.sort();
    all
}

#[test]
fn what_is_published_of_data_is_what_opening_finds() {
    for set in ["digits", "digits@20"] {
        let opened = Facts { digest: None, ..Shelf::new("unused").facts(set).unwrap() };
        assert_eq!(Facts::published(set).unwrap(), opened, "{set}");
    }
    assert_eq!(Facts::published("cifar10@16").unwrap().shape, [3, 16, 16]);
    for set in ["cifar", "mnist@", "mnist@x", "imagenet@32"] {
        assert_eq!(Facts::published(set), None, "{set}");
    }
}

#[test]
fn every_experiment_of_the_paper_is_there_and_can_be_planned() {
    let named: Vec<&str> = built_in().collect();
    for item in [
        "fig1",
        "fig2-mnist",
        "fig2-cifar10-mlp",
        "fig2-cifar10-resnet20",
        "fig2-imagenet",
        "fig3-mnist",
        "fig3-cifar10",
        "fig4-resnet20",
        "fig4-vgg16",
        "fig5",
        "fig6",
        "table2",
        "table3",
        "fig13",
        "a1",
        "a5",
        "a7",
        "a11",
    ] {
        assert!(named.iter().any(|n| n.starts_with(item)), "{item} is missing of {named:?}");
    }
    let published = |set: &str| Ok(Facts::published(set).unwrap());
    for name in named {
        for scale in [Scale::Quick, Scale::Paper] {
            let experiment = Experiment::named(name, scale).unwrap();
            let (steps, _) = planned(&experiment, &published, None).unwrap();
            assert!(!steps.is_empty() && steps.iter().all(|s| s.cost > 0.0 && s.cost.is_finite()), "{name}");
            let seconds = steps.iter().map(|s| s.cost).sum::<f64>() / 6e10;
            assert!(scale == Scale::Paper || seconds < 600.0, "{name}: {seconds} s are not quick");
        }
    }
}

#[test]
fn small_ones_of_every_kind_run_and_are_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let experiment = small(kind);
        assert!(reproduce(&experiment, folder.path()) > 0, "{kind}");
        let first = files(&folder.path().join(kind));
        assert_eq!(reproduce(&experiment, folder.path()), 0, "{kind} was computed again");
        assert_eq!(files(&folder.path().join(kind)), first);
        assert!(first.iter().any(|(name, _)| name == "index.html"));
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let [one, three] = [1, 3].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            for kind in ["curves", "split", "many"] {
                reproduce(&small(kind), folder.path());
            }
        });
        ["curves", "split", "many"].map(|kind| files(&folder.path().join(kind)))
    });
    for (a, b) in one.iter().flatten().zip(three.iter().flatten()) {
        assert_eq!(a.0, b.0);
        assert!(a.1 == b.1, "{} differs", a.0);
    }
}

#[test]
fn a_change_computes_what_it_concerns() {
    let folder = tempfile::tempdir().unwrap();
    let mut experiment = small("epochs");
    assert_eq!(reproduce(&experiment, folder.path()), 2 + 2 * 3);
    let onebasin_lab::kind::Kind::Epochs(kind) = &mut experiment.kind else { unreachable!() };
    kind.points = 5;
    assert_eq!(reproduce(&experiment, folder.path()), 4, "lines alone");
    let curves = small("curves");
    let (steps, _) = planned(&curves, &|set| Shelf::new("nowhere").facts(set), None).unwrap();
    let store = Store::open(folder.path().join("cache")).unwrap();
    let trained = |s: &&onebasin_lab::plan::PlannedStage| matches!(s.stage, Stage::Train(_));
    for step in steps.iter().filter(trained) {
        assert!(store.done(&step.key, &step.stage.files(&step.epochs())).is_some(), "networks are shared");
    }
}

/// Epochs whose weights were not kept are trained again, to the same bits.
#[test]
fn weights_of_an_epoch_can_be_asked_for_later() {
    let folder = tempfile::tempdir().unwrap();
    reproduce(&small("curves"), folder.path());
    let before = files(&folder.path().join("curves"));
    reproduce(&small("epochs"), folder.path());
    assert_eq!(reproduce(&small("curves"), folder.path()), 0);
    assert_eq!(files(&folder.path().join("curves")), before);
}

#[test]
fn what_is_wrong_with_an_experiment_is_named() {
    let read = |text: &str| Experiment::read("mine", text, Scale::Quick).unwrap_err().to_string();
    let head = "title = 't'\nsource = 's'\nkind = 'curves'\n";
    for (text, part) in [
        ("", "title"),
        ("title = 1", "title"),
        (&format!("{head}[setting]\npoints = 3\nmethods = []\nmany = 1\n"), "many"),
        (&format!("{head}[setting]\npoints = 3\nmethods = ['magic']\n{TRAINING}"), "magic"),
        (
            &format!("{head}[setting]\npoints = 3\nmethods = []\n{}", TRAINING.replace("mnist-mlp", "soup")),
            "imagenet-resnet50",
        ),
        (&head.replace("curves", "curbs"), "setting"),
        (&format!("{}[setting]\n", head.replace("curves", "curbs")), "counterexample"),
    ] {
        let found = read(text);
        assert!(found.contains(part) && found.contains("mine") || found.contains("no recipe"), "{text}: {found}");
    }
    for (kind, from, to, part) in [
        ("epochs", "at = [1, 2]", "at = [3]", "from 0 to 2, found [3]"),
        ("epochs", "at = [1, 2]", "at = []", "found []"),
        ("widths", "at = [8, 16]", "at = [8]", "found [8.0]"),
        ("widths", "at = [8, 16]", "at = [16, 8]", "rising, found [16.0, 8.0]"),
        ("plane", "steps = 4", "steps = 1", "two places"),
        ("many", "seeds = [0, 1, 2]", "seeds = []", "no seeds"),
        ("timings", "runs = 2", "runs = 0", "`runs` is 0"),
        ("counterexample", "grid = 21", "grid = 0", "two points"),
        ("curves", "recipe =", "weight_decay = 5e-4\nrecipe =", "`mnist-mlp`, which trains with Adam"),
    ] {
        let text = small_text(kind);
        assert!(text.contains(from), "{text}");
        let experiment = Experiment::read(kind, &text.replace(from, to), Scale::Quick).unwrap();
        let refused = planned(&experiment, &|set| Ok(Facts::published(set).unwrap()), None).err().unwrap().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    let unknown = Experiment::named("fig99", Scale::Quick).unwrap_err().to_string();
    assert!(unknown.contains("fig2-mnist"), "{unknown}");
    let mut experiment = small("curves");
    experiment.claims[0].here = "weight.test.barier".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let (shelf, store) = (Shelf::new("nowhere"), Store::open(folder.path()).unwrap());
    let mut quiet = Quiet { stages: 0, total: 0.0, highest: 0.0 };
    let (steps, found) = run(&experiment, &shelf, &store, &RunOptions::default(), &mut quiet).unwrap();
    let wrong = ExperimentOutcome::new(&experiment, &steps, &found, &store).unwrap_err().to_string();
    assert!(wrong.contains("weight.test.barier") && wrong.contains("weight.test.barrier"), "{wrong}");
    let missing = Shelf::new("nowhere").facts("mnist").unwrap_err().to_string();
    assert!(missing.contains("nowhere/mnist"), "{missing}");
}

#[test]
fn two_processes_do_not_share_a_stage() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (steps, _) = planned(&small("plane"), &|set| Shelf::new("nowhere").facts(set), None).unwrap();
    let held = store.lock(&steps[0].key).unwrap();
    let refused = store.lock(&steps[0].key).err().unwrap();
    assert!(matches!(&refused, Error::Store { .. }) && refused.to_string().contains("another process"), "{refused}");
    drop(held);
    assert!(store.lock(&steps[0].key).is_ok());
}

fn is_svg(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|x| x == "svg")
}

#[test]
fn pages_of_every_kind_are_seen_in_a_browser() {
    let Some(browser) = browser_or_skip("pages_of_every_kind_are_seen_in_a_browser") else { return };
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        reproduce(&small(kind), folder.path());
        let page = folder.path().join(kind).join("index.html");
        let figures = files(&folder.path().join(kind)).iter().filter(|(name, _)| is_svg(name)).count();
        for (width, dark) in [(1200, false), (360, true)] {
            let look = browser.look(&page, width, dark);
            assert!(look.console.is_empty() && look.requests.is_empty(), "{kind}: {look:?}");
            assert!(look.overflow <= 0.0 && look.smallest_text >= 9.0, "{kind}, {width}: {look:?}");
            assert!(look.lowest_contrast >= 4.5, "{kind}: {look:?}");
            assert!(look.figures.len() >= figures, "{kind}: {} of {figures} figures", look.figures.len());
            assert!(look.figures.iter().all(|f| f.width > 0.0 && f.height > 0.0 && f.marks > 0), "{kind}: {look:?}");
        }
    }
}
