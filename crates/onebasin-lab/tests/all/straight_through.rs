//! Straight-through matching: never worse than its start on held-out samples, the same bits when gone on with.

use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_core::{Params, stream::Stream};
use onebasin_lab::{Data, TrainOptions, TrainState, train};
use onebasin_nn::exec::Program;
use onebasin_nn::task::Classes;
use onebasin_nn::{Error, Network, SteOptions, SteState, straight_through};

fn trained(network: &Network, data: &Data, seed: u64) -> Params {
    let options = TrainOptions { seed, epochs: 1, batch: 100, ..TrainOptions::default() };
    let state = TrainState::fresh(network, seed).unwrap();
    train(&network.graph().unwrap(), &data.train, &state, &options, &mut |_| true).unwrap().params
}

#[test]
fn the_best_alignment_is_kept_and_a_stop_changes_nothing() {
    let data = Data::open("digits").unwrap();
    let data = Data { train: data.train.take(3000), ..data };
    let network = Network::new("mlp:32x2", data.train.shape(), 10).unwrap();
    let ends = [trained(&network, &data, 0), trained(&network, &data, 1)];
    let ends = [&ends[0], &ends[1]];
    let symmetry = Symmetry::resolve(&network.symmetry().unwrap(), ends[0]).unwrap();
    let program = Program::new(network.graph().unwrap()).unwrap();
    let start = Alignment::random(&symmetry, &mut Stream::new(0, "start"));
    let options = SteOptions { epochs: 4, rate: 10.0, held_out: 500, every: 5, ..SteOptions::default() };
    let fresh = || SteState::fresh(&symmetry, ends, &start, options.pull).unwrap();
    let mut losses = Vec::new();
    let whole = straight_through(&program, &symmetry, ends, &data.train, &Classes, fresh(), &options, &mut |c| {
        losses.push(c.loss);
        true
    })
    .unwrap();
    let lowest = losses.iter().fold(f64::INFINITY, |m: f64, l| m.min(*l));
    assert_eq!(whole.best_loss, lowest);
    assert!(lowest < losses[0], "{losses:?}");

    let mut seen = 0;
    let half = straight_through(&program, &symmetry, ends, &data.train, &Classes, fresh(), &options, &mut |_| {
        seen += 1;
        seen < 3
    })
    .unwrap();
    assert!(half.step < whole.step);
    let gone_on =
        straight_through(&program, &symmetry, ends, &data.train, &Classes, half, &options, &mut |_| true).unwrap();
    assert_eq!(gone_on, whole);

    let all = SteOptions { held_out: data.train.len(), ..options.clone() };
    let refused = straight_through(&program, &symmetry, ends, &data.train, &Classes, fresh(), &all, &mut |_| true);
    assert!(matches!(refused, Err(Error::Options(_))));
}
