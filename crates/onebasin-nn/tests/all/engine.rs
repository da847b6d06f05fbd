//! The executor against a slow twin in f64.

use onebasin_core::stream::Stream;
use onebasin_nn::Network;
use onebasin_nn::exec::{Flat, Program, Workspace};
use onebasin_nn::task::{Classes, Task};

/// Mean cross-entropy of an MLP, straight from its definition, in f64. `weights` holds W₁, b₁, W₂, b₂, …
fn loss_twin(sizes: &[usize], weights: &[f64], inputs: &[f64], labels: &[f32]) -> f64 {
    let mut total = 0.0;
    for (x, &label) in inputs.chunks_exact(sizes[0]).zip(labels) {
        let mut value = x.to_vec();
        let mut at = 0;
        for layer in 1..sizes.len() {
            let (n, m) = (sizes[layer - 1], sizes[layer]);
            let unit = |i: usize| {
                let row = &weights[at + i * n..][..n];
                weights[at + n * m + i] + row.iter().zip(&value).map(|(w, v)| w * v).sum::<f64>()
            };
            let next: Vec<f64> = (0..m).map(unit).collect();
            value = if layer + 1 < sizes.len() { next.iter().map(|v| v.max(0.0)).collect() } else { next };
            at += n * m + m;
        }
        total += value.iter().map(|v| v.exp()).sum::<f64>().ln() - value[label as usize];
    }
    total / labels.len() as f64
}

#[test]
fn gradients_agree_with_central_differences_of_the_twin() {
    let sizes = [5, 7, 4, 3];
    let network = Network::new("mlp:7-4", &[5], 3).unwrap();
    let program = Program::new(network.graph().unwrap()).unwrap();
    let mut stream = Stream::new(1, "gradients");
    let weights: Vec<f32> = (0..program.weight_count()).map(|_| 0.7 * stream.normal() as f32).collect();
    let inputs: Vec<f32> = (0..6 * 5).map(|_| stream.normal() as f32).collect();
    let labels = [0.0, 1.0, 2.0, 2.0, 1.0, 0.0];

    let flat = Flat { weights: weights.clone(), statistics: Vec::new() };
    let mut space = Workspace::training(&program, 6).unwrap();
    space.input(0).copy_from_slice(&inputs);
    program.forward(&flat, &mut space);
    let loss = Classes.outcome(&space.outputs(), &labels, 6).loss / 6.0;
    program.backward(&flat, &Classes, &labels, 1.0 / 6.0, &mut space);

    let inputs: Vec<f64> = inputs.iter().map(|&v| f64::from(v)).collect();
    let mut exact: Vec<f64> = weights.iter().map(|&v| f64::from(v)).collect();
    assert!((loss - loss_twin(&sizes, &exact, &inputs, &labels)).abs() < 64.0 * f64::from(f32::EPSILON));
    let largest = space.d_weights.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    for i in 0..exact.len() {
        const STEP: f64 = 1e-6;
        let mut at = |d: f64| {
            let kept = std::mem::replace(&mut exact[i], f64::from(weights[i]) + d);
            let loss = loss_twin(&sizes, &exact, &inputs, &labels);
            exact[i] = kept;
            loss
        };
        let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let error = (f64::from(space.d_weights[i]) - expected).abs();
        assert!(
            error < 64.0 * f64::from(f32::EPSILON * largest),
            "weight {i}: {} against {expected}",
            space.d_weights[i]
        );
    }
}
