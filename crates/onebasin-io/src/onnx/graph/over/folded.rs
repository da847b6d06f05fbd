//! BatchNorms that an exporter multiplied into the weights before them.

use onebasin_core::{Params, Tensor};

/// Constants that frameworks add to the variance.
const EPSILONS: [f64; 6] = [1e-5, 1e-3, 1e-4, 1e-6, 1e-12, 0.0];

/// Largest relative difference of a product in single precision.
const TOLERANCE: f64 = 1e-4;

/// The BatchNorms of a checkpoint: modules with running statistics.
pub(super) fn batch_norms(params: &Params) -> Vec<&str> {
    let names = params.names().filter_map(|name| name.strip_suffix(".running_var"));
    names.filter(|m| params.get(&format!("{m}.running_mean")).is_some()).collect()
}

/// Whether a weight of the model is that of the checkpoint times `γ / √(σ² + ε)`, channel by channel.
///
/// Cost: one pass over the weights, most often ended by the first channel.
pub(super) fn is_folded(found: &Tensor, weight: &Tensor, module: &str, params: &Params) -> bool {
    if found.shape() != weight.shape() {
        return false;
    }
    let get = |name: &str| params.get(&format!("{module}.{name}")).and_then(|t| t.to_f64().ok());
    let Some(variance) = get("running_var") else { return false };
    let gain = get("weight").map_or_else(|| vec![1.0; variance.len()], std::borrow::Cow::into_owned);
    if gain.len() != variance.len() {
        return false;
    }
    let (Ok(found), Ok(values)) = (found.to_f64(), weight.to_f64()) else { return false };
    let shape = weight.shape();
    // The channels of a convolution lie on axis 0, those of a transposed one on axis 1.
    (0..shape.len().min(2)).filter(|axis| shape[*axis] == variance.len()).any(|axis| {
        let inner = shape[axis + 1..].iter().product::<usize>().max(1);
        EPSILONS.iter().any(|epsilon| {
            found.iter().zip(&values[..]).enumerate().all(|(k, (f, v))| {
                let channel = k / inner % variance.len();
                let expected = v * gain[channel] / (variance[channel] + epsilon).sqrt();
                (f - expected).abs() <= TOLERANCE * expected.abs().max(1e-6)
            })
        })
    })
}
