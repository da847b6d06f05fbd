//! Merging without data: inputs are made up, are not called data, and the record says so.

use std::sync::Mutex;

use onebasin::core::graph::Graph;
use onebasin::core::graph::op::Conv;
use onebasin::core::stream::Stream;
use onebasin::{
    Align, Aligned, Context, Level, Merge, Merged, Method, Model, Observer, Pair, Params, Progress, Repair, Step,
    Tensor,
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
        assert_eq!(heard.count(how), if normalised { 2 } else { 1 }, "{:?}", heard.notes.lock().unwrap());
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

#[test]
fn ends_need_no_inputs() {
    let (pair, heard) = (pair(true), Heard::default());
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    assert_eq!(solved(&pair, &aligned, 0.0, &heard).params().unwrap(), *pair.a().params());
    assert!(heard.steps.lock().unwrap().is_empty() && heard.count("made-up") == 0);
}
