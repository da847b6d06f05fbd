//! Networks compared by what they do on your own data, and the way between them measured on it.
#![allow(clippy::print_stdout, reason = "it shows what it finds")]

use onebasin::core::stream::Stream;
use onebasin::{Align, Arrays, Context, Field, FieldKind, Measure, Method, Model, Network, Pair};

/// Points of a plane, and whether they lie in the unit circle.
fn points(count: usize, seed: u64) -> onebasin::Result<Arrays> {
    let mut stream = Stream::new(seed, "points");
    let xy: Vec<f32> = (0..2 * count).map(|_| 1.2 * stream.normal() as f32).collect();
    let inside = xy.chunks(2).map(|p| f32::from(p[0].hypot(p[1]) < 1.0)).collect();
    let field = |name: &str, shape: Vec<usize>, kind| Field { name: name.to_owned(), shape, kind };
    let inputs = vec![(field("point", vec![2], FieldKind::Real), xy)];
    let target = (field("inside", vec![], FieldKind::Index { below: 2 }), inside);
    Ok(Arrays::new("points of a plane", inputs, Some(target))?)
}

/// Matches by activations, and measures the way from one network to the other.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (train, test) = (points(600, 0)?, points(200, 1)?);
    let network = Network::new("mlp:24x2", &[2], 2)?;
    let [a, b] = [0, 1].map(|seed| network.init(seed));
    let pair = Pair::new(Model::of(&network, a?)?, Model::of(&network, b?)?)?;

    let context = Context { train: Some(&train), test: Some(&test), ..Context::default() };
    let aligned = pair.align(&Align { method: Method::Activation, ..Align::default() }, &context)?;
    println!("{aligned}");

    let report = pair.barrier(&[("activation", &aligned)], &Measure { points: 5, ..Measure::default() }, &context)?;
    for curve in &report.curves {
        println!("{}: test losses {:.3?}, barrier {:.3}", curve.name, curve.test.loss, curve.test.barrier.mean_ends);
    }
    Ok(())
}
