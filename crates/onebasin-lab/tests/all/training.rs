//! Training that resumes to the same bits, and the data sets it runs on.

use onebasin_lab::{Data, Event, TrainOptions, TrainState, train};
use onebasin_nn::exec::Program;
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::task::Classes;
use onebasin_nn::{Network, evaluate};
use onebasin_testkit::data_or_skip;

#[test]
fn training_resumes_and_runs_on_any_number_of_threads_to_the_same_bits() {
    let data = Data::open("digits").unwrap().train.take(730);
    let network = Network::new("mlp:24x2", &[784], 10).unwrap();
    let sgd = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
    for (optimizer, schedule) in [(Optimizer::Adam, Schedule::Constant), (sgd, Schedule::Cosine { warmup_epochs: 1.0 })]
    {
        let options = |epochs| TrainOptions { epochs, batch: 300, optimizer, schedule, ..TrainOptions::default() };
        let run = |state, options: &TrainOptions, stop: usize| {
            let mut go_on = |event: Event<'_>| !matches!(event, Event::Epoch { state, .. } if state.epoch == stop);
            train(&network.graph().unwrap(), &data, &state, options, &mut go_on).unwrap()
        };
        let fresh = || TrainState::fresh(&network, 3).unwrap();
        let whole = run(fresh(), &options(4), 4);
        let half = run(fresh(), &options(4), 2);
        assert_eq!(half.epoch, 2);
        assert_eq!(run(half, &options(4), 4), whole);
        // Stopped at every step in turn, each time packed and unpacked.
        let mut state = fresh();
        while state.epoch < 4 {
            let stopped = train(&network.graph().unwrap(), &data, &state, &options(4), &mut |_| false).unwrap();
            let (params, entry) = stopped.pack();
            state = TrainState::unpack(&params, &entry).unwrap();
            assert_eq!(state, stopped);
        }
        assert_eq!(state, whole);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        assert_eq!(pool.install(|| run(fresh(), &options(4), 4)), whole);
    }
}

#[test]
fn training_learns_and_a_bad_rate_is_named() {
    let data = Data::open("digits").unwrap();
    let network = Network::new("mlp:64", &[784], 10).unwrap();
    let small = data.train.take(2000);
    let options = TrainOptions { epochs: 3, batch: 50, ..TrainOptions::default() };
    let fresh = || TrainState::fresh(&network, 0).unwrap();
    let state = train(&network.graph().unwrap(), &small, &fresh(), &options, &mut |_| true).unwrap();
    let program = Program::new(network.graph().unwrap()).unwrap();
    let found = evaluate(&program, &state.params, &data.test, &Classes).unwrap();
    assert!(found.accuracy.unwrap() > 0.75, "{found:?}");
    let wild = TrainOptions { rate: 1e30, ..options };
    let error = train(&network.graph().unwrap(), &small, &fresh(), &wild, &mut |_| true).unwrap_err().to_string();
    assert!(error.contains("lower learning rate"), "{error}");
}

#[test]
fn digits_are_always_the_same_and_balanced() {
    use sha2::Digest;
    let data = Data::open("digits").unwrap();
    assert_eq!((data.train.len(), data.test.len()), (10_000, 2_000));
    for split in [&data.train, &data.test] {
        let mut counts = [0; 10];
        split.labels().iter().for_each(|&l| counts[usize::from(l)] += 1);
        assert_eq!(counts, [split.len() / 10; 10]);
    }
    let digest = hex::encode(sha2::Sha256::digest(data.train.images().unwrap()));
    assert_eq!(digest, "6f806b670404e2033365dc87bb952c6c42c96cc00d3b3b99b477d94a52594fcd");
}

#[test]
fn mnist_is_read_whole() {
    let Some(folder) = data_or_skip("mnist_is_read_whole") else { return };
    let data = Data::open(&format!("mnist:{}", folder.join("mnist").display())).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!((data.train.shape(), data.train.classes()), (&[28, 28][..], 10));
    assert!(data.notes.is_empty(), "{:?}", data.notes);
    assert_eq!(data.train.labels()[..5], [5, 0, 4, 1, 9]);
}

#[test]
fn a_broken_mnist_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let open = || Data::open(&format!("mnist:{}", folder.path().display())).unwrap_err().to_string();
    assert!(open().contains("there is no train-images-idx3-ubyte"), "{}", open());
    write("train-images-idx3-ubyte", &[0, 0, 8]);
    assert!(open().contains("header of 16 bytes"), "{}", open());
    write("train-images-idx3-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9]);
    assert!(open().contains("0x0803") && open().contains("0x0801"), "{}", open());
    write("train-images-idx3-ubyte", &[0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255]);
    assert!(open().contains("claims shape"), "{}", open());
    write("train-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 9]);
    assert!(open().contains("needs 2 bytes, found 1"), "{}", open());
}
