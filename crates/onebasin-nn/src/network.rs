//! The built-in networks: a name that gives a graph, initial weights and a symmetry.

use onebasin::graph::Graph;
use onebasin::stream::Stream;
use onebasin::symmetry::SymmetrySpec;
use onebasin::{Params, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A built-in network with its input and output sizes: all a checkpoint needs to carry.
///
/// `mlp:512x3` has three hidden layers of 512 ReLU units, `mlp:400-200-100` hidden layers of 400, 200 and 100.
///
/// ```
/// use onebasin_nn::Network;
/// let net = Network::new("mlp:512x3", 784, 10)?;
/// assert_eq!(net.init(0)?.element_count(), 932_362);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The name: `mlp:512x3`.
    pub name: String,
    /// Numbers in one input.
    pub input: usize,
    /// Number of classes.
    pub classes: usize,
}

/// Units a layer may have; more is a typing error or an attack.
const MAX_UNITS: usize = 1 << 20;
/// Hidden layers a network may have.
const MAX_LAYERS: usize = 1 << 10;

impl Network {
    /// A network by name.
    ///
    /// # Errors
    /// [`Error::Network`] lists the forms that are known.
    pub fn new(name: &str, input: usize, classes: usize) -> Result<Self> {
        let network = Self { name: name.to_owned(), input, classes };
        if !(1..=1 << 28).contains(&input) || !(1..=MAX_UNITS).contains(&classes) {
            return Err(network.unknown(&format!("{input} inputs and {classes} classes are out of range")));
        }
        network.hidden()?;
        Ok(network)
    }

    /// The network of this name that a checkpoint's tensors fit: sizes are read from the first and last layer.
    ///
    /// # Errors
    /// If the name is not known or a tensor is missing or has another shape.
    pub fn fitting(name: &str, params: &Params) -> Result<Self> {
        let network = Self::new(name, 1, 1)?;
        let last = network.hidden()?.len() + 1;
        let axis = |tensor: &str, axis: usize| {
            params.get(tensor).and_then(|t| t.shape().get(axis).copied()).ok_or_else(|| Error::Weights {
                network: name.to_owned(),
                tensor: tensor.to_owned(),
                expected: Vec::new(),
                found: "missing".to_owned(),
            })
        };
        let network = Self::new(name, axis("fc1.weight", 1)?, axis(&format!("fc{last}.weight"), 0)?)?;
        network.check(params)?;
        Ok(network)
    }

    fn unknown(&self, why: &str) -> Error {
        let why =
            format!("{why}; known: `mlp:512x3` (three hidden layers of 512), `mlp:400-200-100` (one number a layer)");
        Error::Network { name: self.name.clone(), why }
    }

    /// Units of every hidden layer.
    fn hidden(&self) -> Result<Vec<usize>> {
        let Some(sizes) = self.name.strip_prefix("mlp:") else { return Err(self.unknown("no such family")) };
        let units = |text: &str| match text.parse() {
            Ok(n) if (1..=MAX_UNITS).contains(&n) => Ok(n),
            _ => Err(self.unknown(&format!("`{text}` is not a number of units between 1 and {MAX_UNITS}"))),
        };
        match sizes.split_once('x') {
            None => sizes.split('-').take(MAX_LAYERS).map(units).collect(),
            Some((width, depth)) => match depth.parse() {
                Ok(depth) if (1..=MAX_LAYERS).contains(&depth) => Ok(vec![units(width)?; depth]),
                _ => Err(self.unknown(&format!("`{depth}` is not a number of layers between 1 and {MAX_LAYERS}"))),
            },
        }
    }

    /// Its operators.
    pub fn graph(&self) -> Result<Graph> {
        let mut graph = Graph::new();
        let mut x = graph.input("image", &[1, self.input])?;
        let hidden = self.hidden()?;
        for (layer, &units) in hidden.iter().enumerate() {
            x = graph.linear(&format!("fc{}", layer + 1), x, units)?;
            x = graph.relu(x)?;
        }
        x = graph.linear(&format!("fc{}", hidden.len() + 1), x, self.classes)?;
        graph.output(x);
        Ok(graph)
    }

    /// Which units may be exchanged: one group `h1`, `h2`, … per hidden layer.
    pub fn symmetry(&self) -> Result<SymmetrySpec> {
        let layers = self.hidden()?.len() + 1;
        let side = |layer: usize| if layer == 0 || layer == layers { ".".to_owned() } else { format!("h{layer}") };
        let mut patterns = Vec::new();
        for layer in 1..=layers {
            patterns.push((format!("fc{layer}.weight"), format!("{} {}", side(layer), side(layer - 1))));
            patterns.push((format!("fc{layer}.bias"), side(layer)));
        }
        let spec = SymmetrySpec::from_patterns(patterns.iter().map(|(n, p)| (n.as_str(), p.as_str())));
        Ok(spec.map_err(onebasin::Error::from)?)
    }

    /// Initial weights, as Flax's `Dense` draws them: kernels normal with variance 1/fan-in, truncated at two standard
    /// deviations and rescaled to keep the variance; biases zero. One named stream per tensor.
    pub fn init(&self, seed: u64) -> Result<Params> {
        /// Standard deviation of a standard normal truncated to [−2, 2].
        const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;
        let mut params = Params::new();
        for param in self.graph()?.params() {
            let mut stream = Stream::new(seed, &format!("init/{}", param.name));
            let mut draw = |scale: f64| loop {
                let z = stream.normal();
                if z.abs() <= 2.0 {
                    break (z * scale) as f32;
                }
            };
            let count = param.shape.iter().product();
            let values = match param.shape[..] {
                [_, fan_in] => (0..count).map(|_| draw((1.0 / fan_in as f64).sqrt() / TRUNCATED_STD)).collect(),
                _ => vec![0.0; count],
            };
            params.insert(&param.name, Tensor::from_f32(&param.shape, values)?);
        }
        Ok(params)
    }

    /// Passes only if the tensors are exactly this network's.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first tensor that is missing, extra, or of another shape.
    pub fn check(&self, params: &Params) -> Result<()> {
        let graph = self.graph()?;
        let fail = |tensor: &str, expected: &[usize], found: String| Error::Weights {
            network: self.name.clone(),
            tensor: tensor.to_owned(),
            expected: expected.to_vec(),
            found,
        };
        for param in graph.params() {
            match params.get(&param.name) {
                Some(t) if t.shape() == param.shape && t.dtype().is_float() => {}
                Some(t) => return Err(fail(&param.name, &param.shape, format!("{} {:?}", t.dtype(), t.shape()))),
                None => return Err(fail(&param.name, &param.shape, "none of this name".to_owned())),
            }
        }
        match params.names().find(|name| graph.params().all(|p| p.name != *name)) {
            Some(extra) => Err(fail(extra, &[], "a tensor the network does not have".to_owned())),
            None => Ok(()),
        }
    }
}
