//! Two pieces of work in one process do not disturb each other.

use std::sync::atomic::{AtomicBool, Ordering};

use onebasin::{Align, Aligned, Blueprint, Context, Error, Merge, Model, Network, Observer, Pair, Threads};

/// Stops when told.
#[derive(Default)]
struct Switch(AtomicBool);

impl Observer for Switch {
    fn stops(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn pair(folder: &std::path::Path) -> Pair {
    let network = Network::new("mlp:64x2", &[32], 4).unwrap();
    for (name, seed) in [("a", 0), ("b", 1)] {
        let model = Model::of(&network, network.init(seed).unwrap()).unwrap();
        model.save(folder.join(format!("{name}.safetensors"))).unwrap();
    }
    Pair::open(folder.join("a.safetensors"), folder.join("b.safetensors"), &Blueprint::default()).unwrap()
}

#[test]
fn one_merge_is_stopped_and_another_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let pair = pair(folder.path());
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let (stopped, goes_on) = (Switch(AtomicBool::new(true)), Switch::default());
    let merge = |observer: &Switch, name: &str| {
        let context = Context { observer, ..Context::default() };
        pair.merge(&aligned, &Merge::default(), &context).and_then(|m| m.write(folder.path().join(name)))
    };
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| merge(&stopped, "stopped.safetensors"));
        let second = scope.spawn(|| merge(&goes_on, "whole.safetensors"));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert!(first.unwrap_err().is_interrupted());
    assert!(second.is_ok() && folder.path().join("whole.safetensors").is_file());
    assert!(!folder.path().join("stopped.safetensors").exists());
    let names = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 3, "nothing is left behind");
}

/// Stopped by its observer after the merge has begun to write.
#[test]
fn a_write_that_is_stopped_leaves_the_old_file() {
    struct AfterFirst(AtomicBool);
    impl Observer for AfterFirst {
        fn progress(&self, _: &onebasin::Progress<'_>) {
            self.0.store(true, Ordering::Relaxed);
        }
        fn stops(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let pair = pair(folder.path());
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let out = folder.path().join("out.safetensors");
    std::fs::write(&out, b"old").unwrap();
    let observer = AfterFirst(AtomicBool::new(false));
    let context = Context { observer: &observer, ..Context::default() };
    let error = pair.merge(&aligned, &Merge::default(), &context).unwrap().write(&out).unwrap_err();
    assert!(error.is_interrupted() && matches!(error, Error::File(_)), "{error}");
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
}

#[test]
fn results_do_not_depend_on_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let pair = pair(folder.path());
    let on = |threads: usize| -> (Aligned, Vec<u8>) {
        Threads::new(threads).unwrap().run(|| {
            let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
            let out = folder.path().join(format!("{threads}.safetensors"));
            pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().write(&out).unwrap();
            (aligned, std::fs::read(out).unwrap())
        })
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn networks_in_memory_merge_without_a_file() {
    let network = Network::new("mlp:16", &[8], 3).unwrap();
    let model = |seed| Model::of(&network, network.init(seed).unwrap()).unwrap();
    let pair = Pair::new(model(0), model(1)).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = merged.write(folder.path().join("m.safetensors")).unwrap();
    assert!(written.inputs.is_empty(), "what was made in memory has no file to name");
    let back = Model::open(folder.path().join("m.safetensors"), &Blueprint::default()).unwrap();
    assert_eq!(*back.params(), merged.params().unwrap());
    assert_eq!(back.network(), Some(&network));
}
