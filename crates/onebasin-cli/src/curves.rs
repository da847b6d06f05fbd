//! Loss and accuracy on the way from A to B.

use anyhow::Result;
use indicatif::ProgressBar;
use onebasin::Params;
use onebasin::merge::{Interpolation, merge};
use onebasin::report::{Curve, Split};
use onebasin_nn::exec::Program;
use onebasin_nn::{Data, evaluate};

use crate::signals;

/// Evaluates the straight line between two networks at every λ, on both splits.
pub fn curve(
    name: &str,
    program: &Program,
    ends: [&Params; 2],
    lambda: &[f64],
    data: &Data,
    bar: &ProgressBar,
) -> Result<Curve> {
    let mut values: [Vec<f64>; 4] = Default::default();
    for &l in lambda {
        signals::check()?;
        let between = merge(ends[0], ends[1], l, Interpolation::Lerp)?;
        let (train, test) = (evaluate(program, &between, &data.train)?, evaluate(program, &between, &data.test)?);
        let found = [train.loss, train.accuracy, test.loss, test.accuracy];
        values.iter_mut().zip(found).for_each(|(v, x)| v.push(x));
        bar.inc(1);
    }
    let [train_loss, train_accuracy, test_loss, test_accuracy] = values;
    Ok(Curve {
        name: name.to_owned(),
        lambda: lambda.to_vec(),
        train: Split::new(lambda, train_loss, train_accuracy)?,
        test: Split::new(lambda, test_loss, test_accuracy)?,
    })
}
