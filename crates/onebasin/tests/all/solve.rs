//! Merges that are solved, through the library.

use onebasin::nn::samples::synthetic;
use onebasin::{
    Align, Context, Error, Many, Measure, Merge, MergeMany, Model, Network, Observer, Pair, Progress, Repair, Samples,
    Step,
};

fn network() -> Network {
    Network::new("mlp:12x2", &[8], 3).unwrap()
}

fn model(seed: u64) -> Model {
    Model::of(&network(), network().init(seed).unwrap()).unwrap()
}

fn samples(count: usize) -> impl Samples {
    synthetic(&network().graph().unwrap(), count, 5).unwrap()
}

#[test]
fn the_ends_of_a_solved_merge_are_the_ends() {
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = samples(300);
    let context = Context { train: Some(&data), ..Context::default() };
    for repair in [Repair::Solve, Repair::Distil] {
        let at = |lambda| {
            let options = Merge { lambda, repair, solve_samples: 200, ..Merge::default() };
            pair.merge(&aligned, &options, &context).unwrap().params().unwrap()
        };
        assert_eq!(at(0.0), *pair.a().params());
        assert_eq!(at(1.0), aligned.apply(pair.b().params()).unwrap());
        assert_ne!(at(0.5), pair.merge(&aligned, &Merge::default(), &context).unwrap().params().unwrap());
    }
}

#[test]
fn what_was_solved_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = samples(300);
    let context = Context { train: Some(&data), ..Context::default() };
    let options = Merge { repair: Repair::Solve, solve_samples: 250, ..Merge::default() };
    let path = folder.path().join("merged.safetensors");
    let written = pair.merge(&aligned, &options, &context).unwrap().write(&path).unwrap();
    let solved = written.solved.unwrap();
    assert_eq!((solved.samples, solved.held_out, solved.after.sites.len(), solved.distilled), (250, 50, 3, 0));
    let last = |fits: &onebasin::nn::Profile| fits.answered();
    assert!(last(&solved.after) > last(&solved.before));
    assert_eq!((&written.options["repair"], &written.options["solve_samples"]), (&"solve".into(), &250.into()));
    assert_eq!(*Model::open(&path, &onebasin::Blueprint::default()).unwrap().params(), {
        pair.merge(&aligned, &options, &context).unwrap().params().unwrap()
    });
}

/// Stops before the second layer, or never.
#[derive(Default)]
struct Stopping {
    armed: bool,
    reached: std::sync::atomic::AtomicBool,
}

impl onebasin::Observer for Stopping {
    fn progress(&self, progress: &onebasin::Progress<'_>) {
        let here = self.armed && progress.step == onebasin::Step::Solving && progress.done == 1;
        self.reached.fetch_or(here, std::sync::atomic::Ordering::Relaxed);
    }

    fn stops(&self) -> bool {
        self.reached.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn a_solve_that_was_stopped_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = samples(300);
    let options = Merge { repair: Repair::Solve, state: Some(at("state.safetensors")), ..Merge::default() };
    let write = |options: &Merge, name: &str, armed: bool| {
        let observer = Stopping { armed, ..Stopping::default() };
        let context = Context { train: Some(&data), observer: &observer, ..Context::default() };
        pair.merge(&aligned, options, &context)?.write(at(name))
    };
    write(&options, "whole.safetensors", false).unwrap();
    assert!(!at("state.safetensors").exists());
    let stopped = write(&options, "parts.safetensors", true).unwrap_err();
    assert_eq!(stopped.to_string(), "interrupted after 1 steps; the state is kept to go on from");
    assert!(!at("parts.safetensors").exists());
    let resume = Merge { resume: true, ..options.clone() };
    let other = write(&Merge { lambda: 0.25, ..resume.clone() }, "parts.safetensors", false).unwrap_err();
    assert!(matches!(other, Error::OtherRun { .. }), "{other}");
    // Another alignment that no record tells from this one.
    let still = onebasin::Alignment::identity(&aligned.symmetry);
    let moved = onebasin::Aligned { alignment: still, ..aligned.clone() };
    let elsewhere = pair.merge(&moved, &resume, &Context { train: Some(&data), ..Context::default() }).unwrap();
    assert!(matches!(elsewhere.write(at("parts.safetensors")).unwrap_err(), Error::OtherRun { .. }));
    write(&resume, "parts.safetensors", false).unwrap();
    assert_eq!(std::fs::read(at("whole.safetensors")).unwrap(), std::fs::read(at("parts.safetensors")).unwrap());
    assert!(!at("state.safetensors").exists());
    assert!(matches!(write(&resume, "again.safetensors", false).unwrap_err(), Error::NoState { .. }));
    let none = Merge { resume: true, state: None, ..options };
    assert!(matches!(write(&none, "again.safetensors", false).unwrap_err(), Error::Needs { option: "resume", .. }));
}

#[test]
fn a_merge_that_leans_is_nearer_to_a_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = samples(400);
    let context = Context { train: Some(&data), ..Context::default() };
    let merged = |options: &Merge| pair.merge(&aligned, options, &context);
    let leaning = Merge { repair: Repair::Solve, lean: true, ..Merge::default() };
    let midpoint = Merge { lean: false, ..leaning.clone() };
    let from_a = |options: &Merge| {
        let params = merged(options).unwrap().params().unwrap();
        let program = pair.a().program_for(&data).unwrap();
        let ends = onebasin::nn::Ends::pair([pair.a().params(), pair.a().params()], 0.5);
        let fit = onebasin::nn::profile(&program, &ends, &params, &data).unwrap();
        1.0 - fit.sites[1].explained
    };
    assert!(from_a(&leaning) < 0.9 * from_a(&midpoint), "{} {}", from_a(&leaning), from_a(&midpoint));
    let written = merged(&leaning).unwrap().write(folder.path().join("m.safetensors")).unwrap();
    assert_eq!(written.options["lean"], "a");
    assert!(written.solved.unwrap().to_string().contains("leaning to A, so no midpoint"));
    for (refused, why) in
        [(Merge { lean: true, ..Merge::default() }, "repair by solve"), (Merge { width: 1.5, ..leaning }, "a midpoint")]
    {
        let error = merged(&refused).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_group_at_zero_follows_a() {
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = samples(300);
    let context = Context { train: Some(&data), ..Context::default() };
    let group_lambda = [("fc1".to_owned(), 0.0), ("fc2".to_owned(), 0.0)].into();
    let options = Merge { repair: Repair::Solve, group_lambda, ..Merge::default() };
    let merged = pair.merge(&aligned, &options, &context).unwrap().params().unwrap();
    let numbers = |net: &onebasin::Params, name: &str| net.require(name).unwrap().to_f64().unwrap().into_owned();
    for name in ["fc1.weight", "fc2.weight"] {
        let (a, m) = (numbers(pair.a().params(), name), numbers(&merged, name));
        assert!(a.iter().zip(&m).all(|(a, m)| (a - m).abs() < 1e-4), "{name}");
    }
    assert_ne!(numbers(pair.a().params(), "fc3.weight"), numbers(&merged, "fc3.weight"));
}

/// Streams of a network with option-A shortcuts are numbered by parts: units of each follow the λ of their own group.
#[test]
fn groups_that_share_an_axis_follow_each_its_own() {
    let network = Network::new("resnet20-a", &[3, 8, 8], 4).unwrap();
    let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    let pair = Pair::new(a, b).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let data = synthetic(&network.graph().unwrap(), 200, 5).unwrap();
    let context = Context { train: Some(&data), ..Context::default() };
    let group_lambda = pair.a().symmetry().unwrap().groups().iter().map(|group| (group.name.clone(), 0.0)).collect();
    let options = Merge { repair: Repair::Solve, group_lambda, ..Merge::default() };
    let merged = pair.merge(&aligned, &options, &context).unwrap().params().unwrap();
    let program = pair.a().program().unwrap();
    let moved = aligned.apply(pair.b().params()).unwrap();
    let at_a = onebasin::nn::Ends::pair([pair.a().params(), &moved], 0.0);
    let fits = onebasin::nn::profile(&program, &at_a, &merged, &data).unwrap();
    let (head, layers) = fits.sites.split_last().unwrap();
    assert!(layers.iter().all(|site| site.explained > 0.999), "{layers:?}");
    assert!(head.explained < 0.999, "{head:?}");
}

/// A symmetry file may call groups as it likes; where the graph is solved by its own names, that is said.
#[test]
fn a_group_that_the_graph_does_not_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| folder.path().join(name);
    let text = "[tensors]\n\"fc1.weight\" = \"mine .\"\n\"fc1.bias\" = \"mine\"\n\"fc2.weight\" = \"other mine\"\n\"fc2.bias\" = \
                \"other\"\n\"fc3.weight\" = \". other\"\n\"fc3.bias\" = \".\"\n";
    std::fs::write(named("net.symmetry.toml"), text).unwrap();
    let context = Context::default();
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &context).unwrap();
    for (which, lambda) in [("a.safetensors", 0.0), ("b.safetensors", 1.0)] {
        pair.merge(&aligned, &Merge { lambda, ..Merge::default() }, &context).unwrap().write(named(which)).unwrap();
    }
    let blueprint = onebasin::Blueprint {
        network: Some("mlp:12x2".to_owned()),
        symmetry: Some(named("net.symmetry.toml")),
        ..onebasin::Blueprint::default()
    };
    let pair = Pair::open(named("a.safetensors"), named("b.safetensors"), &blueprint).unwrap();
    let data = samples(100);
    let context = Context { train: Some(&data), ..Context::default() };
    let aligned = pair.align(&Align { method: onebasin::Method::Weight, ..Align::default() }, &context).unwrap();
    let options = Merge { repair: Repair::Solve, group_lambda: [("mine".to_owned(), 0.0)].into(), ..Merge::default() };
    let error = pair.merge(&aligned, &options, &context).and_then(|merged| merged.params()).unwrap_err();
    assert!(error.to_string().contains("`mine`"), "{error}");
}

#[test]
fn many_are_solved_together() {
    let many = Many::new((0..3).map(model).collect()).unwrap();
    let data = samples(300);
    let context = Context { train: Some(&data), ..Context::default() };
    let mean = MergeMany { repair: Repair::Solve, ..MergeMany::default() }.run(&many, &context).unwrap();
    let solved = mean.solved.unwrap();
    assert_eq!((solved.samples, solved.held_out), (300, 0));
    let last = |fits: &onebasin::nn::Profile| fits.answered();
    assert!(last(&solved.after) > last(&solved.before));
    let refused = MergeMany { repair: Repair::Data, ..MergeMany::default() }.run(&many, &context).unwrap_err();
    assert!(matches!(refused, Error::Option { option: "repair", .. }), "{refused}");
}

#[test]
fn solving_needs_samples_and_can_be_stopped() {
    struct Stops;
    impl Observer for Stops {
        fn progress(&self, at: &Progress<'_>) {
            assert!(at.step != Step::Evaluating);
        }
        fn stops(&self) -> bool {
            true
        }
    }
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let options = Merge { repair: Repair::Solve, check: false, ..Merge::default() };
    let data = samples(50);
    let none = Context { train: Some(&data), ..Context::default() };
    let empty = Merge { solve_samples: 0, ..options.clone() };
    assert!(matches!(pair.merge(&aligned, &empty, &none), Err(Error::Needs { .. })));
    let measure = Measure { repair: Repair::Solve, solve_samples: 0, ..Measure::default() };
    let both = Context { train: Some(&data), test: Some(&data), ..Context::default() };
    assert!(matches!(pair.barrier(&[], &measure, &both), Err(Error::Needs { .. })));
    let stops = Stops;
    let stopped = Context { train: Some(&data), observer: &stops, ..Context::default() };
    let merged = pair.merge(&aligned, &options, &stopped);
    assert!(merged.and_then(|merged| merged.params()).is_err());
}
