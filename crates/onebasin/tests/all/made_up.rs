//! Merging without data: inputs are made up, are not called data, and the record says so.

use std::sync::Mutex;

use onebasin::core::graph::Graph;
use onebasin::core::graph::op::Conv;
use onebasin::core::merge::Interpolation;
use onebasin::core::stream::Stream;
use onebasin::{
    Align, Aligned, Context, Level, Merge, Merged, Method, Model, Network, Observer, Pair, Params, Progress, Repair,
    Step, Tensor,
};

#[derive(Default)]
struct Heard {
    notes: Mutex<Vec<String>>,
    steps: Mutex<Vec<Step>>,
}

impl Observer for Heard {
    fn progress(&self, at: &Progress<'_>) {
        self.steps.lock().unwrap().push(at.step);
    }

    fn remark(&self, level: Level, text: &str) {
        if level == Level::Note {
            self.notes.lock().unwrap().push(text.to_owned());
        }
    }
}

impl Heard {
    fn count(&self, words: &str) -> usize {
        self.notes.lock().unwrap().iter().filter(|text| text.contains(words)).count()
    }
}

fn network(normalised: bool) -> Graph {
    let mut g = Graph::new();
    let x = g.input("image", &[1, 2, 8, 8]).unwrap();
    let mut y = g.conv("conv", x, 4, 3, Conv::square(1, 1), false).unwrap();
    if normalised {
        y = g.batch_norm("norm", y).unwrap();
    }
    y = g.relu(y).unwrap();
    y = g.global_average("pool", y).unwrap();
    y = g.linear("fc", y, 3).unwrap();
    g.output(y);
    g
}

fn pair(normalised: bool) -> Pair {
    let graph = network(normalised);
    let model = |seed: u64| {
        let draw = |p: &onebasin::core::graph::Value| {
            let mut stream = Stream::new(seed, &p.name);
            let number = |_| 0.2 + stream.normal().abs() as f32 * if stream.below(2) == 0 { 0.5 } else { -0.1 };
            let numbers: Vec<f32> = (0..p.shape.iter().product::<usize>()).map(number).collect();
            let positive = p.name.ends_with("running_var");
            let numbers = numbers.into_iter().map(|x| if positive { x.abs() + 0.1 } else { x }).collect();
            (p.name.clone(), Tensor::from_f32(&p.shape, numbers).unwrap())
        };
        Model::with_graph("net", graph.params().map(draw).collect::<Params>(), graph.clone()).unwrap()
    };
    Pair::new(model(0), model(1)).unwrap()
}

fn solved<'a>(pair: &Pair, aligned: &Aligned, lambda: f64, heard: &'a Heard) -> Merged<'a> {
    let options = Merge { repair: Repair::Solve, lambda, ..Merge::default() };
    pair.merge(aligned, &options, &Context { observer: heard, ..Context::default() }).unwrap()
}

#[test]
fn layers_are_solved_without_data_and_the_record_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (normalised, how) in [(true, "BatchNorms see in them what they remember"), (false, "dead leaves")] {
        let (pair, heard) = (pair(normalised), Heard::default());
        let context = Context { observer: &heard, ..Context::default() };
        let options = Align { method: Method::Activation, ..Align::default() };
        let aligned = pair.align(&options, &context).unwrap();
        assert_eq!(aligned.record.as_ref().unwrap().compared, "activations on made-up inputs");
        assert_eq!(heard.count("activations are compared on"), 1);
        let average = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().params().unwrap();

        let merged = solved(&pair, &aligned, 0.5, &heard);
        let params = merged.params().unwrap();
        assert_ne!(params, average);
        assert_eq!(heard.count("layers are solved on"), 1);
        assert_eq!(heard.count(how), 2, "{:?}", heard.notes.lock().unwrap());
        assert_eq!(heard.count("cannot be used as it stands"), 0);
        let made = heard.steps.lock().unwrap().iter().filter(|step| **step == Step::Remembering).count();
        assert_eq!(made > 0, normalised);

        let written = merged.write(folder.path().join(format!("{normalised}.safetensors"))).unwrap();
        assert_eq!((&written.options["data"], &written.options["made_up_inputs"]), (&().into(), &true.into()));
        assert_eq!(params, solved(&pair, &aligned, 0.5, &heard).params().unwrap());
        let again = heard.steps.lock().unwrap().iter().filter(|step| **step == Step::Remembering).count();
        assert_eq!(made, again, "inputs are made once for a pair");
    }
}

/// Without data `auto` looks at images that are made up, as many as there is time for; where inputs are no images it does not.
#[test]
fn methods_are_judged_on_made_up_images() {
    let context = Context::default();
    let judged = |pair: &Pair, budget| {
        let aligned = pair.align(&Align { budget, ..Align::default() }, &context).unwrap();
        aligned.record.unwrap().judged
    };
    let [weights, activations] = &judged(&pair(true), None)[..] else { panic!("two candidates") };
    assert_eq!((&weights.compared[..], &activations.compared[..]), ("weights", "activations on made-up inputs"));
    assert!(weights.explained.is_some() && weights.loss.is_none());
    assert!(judged(&pair(true), Some(1e-6)).is_empty());

    let network = Network::new("mlp:8", &[6], 2).unwrap();
    let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    assert!(judged(&Pair::new(a, b).unwrap(), None).is_empty());
}

/// What a merge is prepared with serves the match too.
#[test]
fn inputs_that_solving_needs_are_looked_at_by_auto() {
    let (pair, heard) = (pair(true), Heard::default());
    let context = Context { observer: &heard, ..Context::default() };
    let options = Merge { repair: Repair::Solve, ..Merge::default() };
    pair.prepare(&options, &context).unwrap();
    let count = || heard.steps.lock().unwrap().iter().filter(|step| **step == Step::Remembering).count();
    let made = count();
    let aligned = pair.align(&Align::default(), &context).unwrap();
    pair.merge(&aligned, &options, &context).unwrap().params().unwrap();
    assert!(made > 0 && count() == made);
}

/// Where only some groups leave an end, the others stay there, and layers are solved all the same.
#[test]
fn a_group_between_the_ends_is_solved_wherever_the_others_are() {
    let (pair, heard) = (pair(false), Heard::default());
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let name = pair.a().symmetry().unwrap().groups()[0].name.clone();
    for lambda in [0.0, 1.0] {
        let options =
            Merge { repair: Repair::Solve, lambda, group_lambda: [(name.clone(), 0.5)].into(), ..Merge::default() };
        let solved = pair.merge(&aligned, &options, &Context { observer: &heard, ..Context::default() }).unwrap();
        let plain = Merge { repair: Repair::None, ..options };
        let plain = pair.merge(&aligned, &plain, &Context::default()).unwrap();
        assert_ne!(solved.params().unwrap(), plain.params().unwrap());
    }
    assert_eq!(heard.count("layers are solved on"), 2);
}

#[test]
fn a_circle_is_not_solved_for() {
    let pair = pair(false);
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let options = Merge { repair: Repair::Solve, interpolation: Interpolation::Slerp, ..Merge::default() };
    let refused = pair.merge(&aligned, &options, &Context::default()).unwrap_err().to_string();
    assert!(refused.contains("the straight mix"), "{refused}");
}

#[test]
fn ends_need_no_inputs() {
    let (pair, heard) = (pair(true), Heard::default());
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    assert_eq!(solved(&pair, &aligned, 0.0, &heard).params().unwrap(), *pair.a().params());
    assert!(heard.steps.lock().unwrap().is_empty() && heard.count("made-up") == 0);
}
