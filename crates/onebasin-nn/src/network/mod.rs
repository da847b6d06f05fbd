//! The built-in networks: a name that gives a graph and initial weights.
//!
//! [`known`] is the table of them. A name with the shape of one sample and the number of classes is a [`Network`].

pub(crate) mod init;
mod layers;
mod mlp;
mod resnet;
mod table;
mod vgg;

use std::collections::BTreeMap;

use onebasin_core::graph::{Graph, Op};
use onebasin_core::symmetry::{SymmetrySpec, discover};
use onebasin_core::widen::Widener;
use onebasin_core::{DType, Params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use table::Architecture;
pub use table::{Builtin, known};

/// A built-in network with its input and output sizes: all a checkpoint needs to carry.
///
/// ```
/// use onebasin_nn::Network;
/// let net = Network::new("mlp:512x3", &[28, 28], 10)?;
/// assert_eq!(net.init(0)?.element_count(), 932_362);
/// let net = Network::new("resnet20-ln:4", &[3, 32, 32], 10)?;
/// let graph = net.graph()?;
/// assert_eq!(graph.shape(graph.outputs()[0]), [1, 10]);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The name: `mlp:512x3`, or another of [`known`].
    pub name: String,
    /// Shape of one sample: `[784]`, `[28, 28]`, `[3, 32, 32]`.
    pub input: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Number of units of groups that have more than the name says, by the group's name
    /// ([`onebasin_core::widen::Widener`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub widths: BTreeMap<String, usize>,
}

/// Units a layer may have; more is a typing error or an attack.
const MAX_UNITS: usize = 1 << 20;
/// Numbers one sample may have.
const MAX_INPUT: usize = 1 << 28;
/// Numbers all weights together may have.
const MAX_WEIGHTS: usize = 1 << 36;

impl Network {
    /// Header entry of a checkpoint that says which network it is of.
    pub const HEADER: &str = "onebasin.network";

    /// A network by name, for samples of a shape. Images are `[channels, height, width]` or `[height, width]`; fully
    /// connected networks flatten whatever comes.
    ///
    /// # Errors
    /// [`Error::Network`] lists the names that are known, or says why such samples do not fit.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let unknown = Network::new("resnet21-ln", &[3, 32, 32], 10).unwrap_err();
    /// assert!(unknown.to_string().contains("known are"));
    /// ```
    pub fn new(name: &str, input: &[usize], classes: usize) -> Result<Self> {
        let network = Self { name: name.to_owned(), input: input.to_vec(), classes, widths: BTreeMap::new() };
        network.graph()?;
        Ok(network)
    }

    /// The same network with these numbers of units, by group, as [`Widener::sized`](onebasin_core::widen::Widener::sized)
    /// takes them; where a built-in network has just these sizes, that one.
    ///
    /// # Errors
    /// [`Error::Network`] if a group is not known, keeps its width, would have fewer units, or all weights are too many.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let network = Network::new("mlp:32x3", &[8], 3)?;
    /// let all = ["fc1", "fc2", "fc3"].map(|group| (group.to_owned(), 40)).into();
    /// assert_eq!(network.widened(&all)?.name, "mlp:40x3");
    /// let wide = Network::new("resnet20-a", &[3, 32, 32], 10)?.widened(&[("conv1".to_owned(), 20)].into())?;
    /// let graph = wide.graph()?;
    /// assert_eq!(graph.shape(graph.param_named("conv1.weight")?), [20, 3, 3, 3]);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn widened(&self, widths: &BTreeMap<String, usize>) -> Result<Self> {
        let mut all = self.widths.clone();
        all.extend(widths.iter().map(|(group, size)| (group.clone(), *size)));
        let wide = Self { widths: all, ..self.clone() };
        let graph = wide.graph()?;
        let tensors = |graph: &Graph| -> BTreeMap<String, Vec<usize>> {
            graph.params().map(|p| (p.name.clone(), p.shape.clone())).collect()
        };
        let shapes = tensors(&graph);
        let named = wide.built_in_name(&shapes).and_then(|name| Self::new(&name, &self.input, self.classes).ok());
        Ok(named.filter(|named| named.graph().is_ok_and(|graph| tensors(&graph) == shapes)).unwrap_or(wide))
    }

    /// The name that a built-in network of this family would have with tensors of these shapes.
    fn built_in_name(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Option<String> {
        let (family, _) = self.name.split_once(':').unwrap_or((&self.name, ""));
        if let Architecture::Mlp { hidden, .. } = Architecture::read(&self.name).ok()? {
            let units = |layer: usize| shapes.get(&format!("fc{layer}.weight"))?.first().copied();
            let hidden = (1..=hidden.len()).map(units).collect::<Option<Vec<usize>>>()?;
            let same = hidden.iter().all(|units| Some(units) == hidden.first());
            let all = || hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
            let sizes = if same { format!("{}x{}", hidden.first()?, hidden.len()) } else { all() };
            return Some(format!("{family}:{sizes}"));
        }
        let graph = Self::new(family, &self.input, self.classes).ok()?.graph().ok()?;
        let first = graph.params().find(|p| p.shape.len() > 1)?;
        let ratio = *shapes.get(&first.name)?.first()? as f64 / first.shape[0] as f64;
        Some(if ratio == 1.0 { family.to_owned() } else { format!("{family}:{ratio}") })
    }

    /// The network of this name that a checkpoint's tensors fit: features and classes are read from the first and last
    /// layer, images are of the size the network was made for. Tensors that the network does not have are passed over.
    ///
    /// # Errors
    /// If the name is not known ([`Error::Network`]), tensors are missing ([`Error::Missing`] lists them), or one has another
    /// shape ([`Error::Weights`]).
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let params = Network::new("mlp:16x2", &[8], 3)?.init(0)?;
    /// let found = Network::fitting("mlp:16x2", &params)?;
    /// assert_eq!((found.input, found.classes), (vec![8], 3));
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn fitting(name: &str, params: &Params) -> Result<Self> {
        let architecture = Architecture::read(name)?;
        let graph = Self::new(name, &architecture.sample(1), 1)?.graph()?;
        let is_layer = |op: &Op| matches!(op, Op::Linear | Op::Conv(_));
        let mut layers = graph.nodes().iter().filter(|n| is_layer(&n.op)).map(|n| graph.value(n.inputs[1]));
        let (first, last) = (layers.next(), layers.next_back());
        let missing: Vec<String> =
            graph.params().filter(|p| params.get(&p.name).is_none()).map(|p| p.name.clone()).collect();
        if !missing.is_empty() {
            let all = graph.params().count();
            return Err(Error::Missing { network: name.to_owned(), all, missing });
        }
        let len = |layer: Option<&onebasin_core::graph::Value>, axis: usize| {
            let shape = layer.and_then(|v| params.get(&v.name)).map_or(&[][..], onebasin_core::Tensor::shape);
            shape.get(axis).copied().ok_or_else(|| Error::Weights {
                network: name.to_owned(),
                tensor: layer.map_or_else(String::new, |v| v.name.clone()),
                expected: layer.map_or_else(Vec::new, |v| v.shape.clone()),
                found: format!("{shape:?}"),
            })
        };
        let network = Self::new(name, &architecture.sample(len(first, 1)?), len(last, 0)?)?;
        network.check_own(params)?;
        Ok(network)
    }

    /// The built-in network whose tensors these are, by names and shapes, if they are exactly those of one; of several the
    /// first of [`known`], as they have the same units. Fully connected networks are not recognised: too many have layers
    /// `fc1`, `fc2`.
    ///
    /// Cost: that of making every built-in network's graph.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let params = Network::new("resnet20-bn:2", &[3, 32, 32], 10)?.init(0)?;
    /// assert_eq!(Network::recognised(&params).map(|n| n.name).as_deref(), Some("resnet20-bn:2"));
    /// assert!(Network::recognised(&Network::new("mlp:16x2", &[8], 3)?.init(0)?).is_none());
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn recognised(params: &Params) -> Option<Self> {
        let names = known().iter().flat_map(|family| family.names).filter(|name| !name.contains(':'));
        names.filter_map(|name| Self::of_width(name, params)).find(|network| network.check(params).is_ok())
    }

    /// The network of this family whose first layer is as wide as the checkpoint's.
    fn of_width(family: &str, params: &Params) -> Option<Self> {
        let architecture = Architecture::read(family).ok()?;
        let graph = Self::new(family, &architecture.sample(1), 1).ok()?.graph().ok()?;
        let first = graph.params().find(|p| p.shape.len() > 1)?;
        let units = *params.get(&first.name)?.shape().first()?;
        let ratio = units as f64 / first.shape[0] as f64;
        let name = if ratio == 1.0 { family.to_owned() } else { format!("{family}:{ratio}") };
        Self::fitting(&name, params).ok()
    }

    /// The network of the same weights for samples of another shape: images of another size, where the network ends in an
    /// average over pixels.
    ///
    /// # Errors
    /// [`Error::Network`] names the first tensor whose shape would change.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let network = Network::new("resnet20-ln:1", &[3, 32, 32], 10)?;
    /// assert!(network.with_input(&[3, 16, 16]).is_ok());
    /// assert!(network.with_input(&[1, 32, 32]).is_err());
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn with_input(&self, input: &[usize]) -> Result<Self> {
        let other = Self { input: input.to_vec(), ..self.clone() };
        let (from, to) = (self.graph()?, other.graph()?);
        match from.params().zip(to.params()).find(|(a, b)| a.shape != b.shape) {
            None => Ok(other),
            Some((a, b)) => {
                let (old, new) = (&self.input, input);
                let why = format!(
                    "tensor `{}` has shape {:?} for samples of shape {old:?}, {:?} for {new:?}",
                    a.name, a.shape, b.shape
                );
                Err(fail(&self.name, why))
            }
        }
    }

    /// Its operators, for a batch of one: one input, one output `[1, classes]`, parameters named
    /// `LAYER.weight`, `LAYER.bias`, `LAYER.running_mean` and `LAYER.running_var`.
    ///
    /// Cost: linear in the number of layers.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn graph(&self) -> Result<Graph> {
        let architecture = Architecture::read(&self.name)?;
        let numbers = self.input.iter().try_fold(1_usize, |n, &len| n.checked_mul(len));
        if self.input.is_empty() || !numbers.is_some_and(|n| (1..=MAX_INPUT).contains(&n)) {
            return Err(fail(&self.name, format!("samples of shape {:?} are out of range", self.input)));
        }
        if !(1..=MAX_UNITS).contains(&self.classes) {
            return Err(fail(&self.name, format!("{} classes are not between 1 and {MAX_UNITS}", self.classes)));
        }
        if architecture.sample(1).len() == 3 && !matches!(self.input.len(), 2 | 3) {
            let why = format!(
                "it takes images [channels, height, width] or [height, width], found samples of shape {:?}",
                self.input
            );
            return Err(fail(&self.name, why));
        }
        let misfit = |e: onebasin_core::Error| fail(&self.name, format!("samples of shape {:?}: {e}", self.input));
        let mut graph = Graph::new();
        let x = graph.input("input", &[&[1], self.input.as_slice()].concat()).map_err(misfit)?;
        let y = architecture.build(&mut graph, x, self.classes).map_err(misfit)?;
        graph.output(y);
        if !self.widths.is_empty() {
            if let Some((group, size)) = self.widths.iter().find(|(_, size)| **size > MAX_UNITS) {
                return Err(fail(&self.name, format!("{size} units of `{group}` are more than {MAX_UNITS}")));
            }
            let sized = Widener::new(&graph).and_then(|widener| widener.sized(&self.widths));
            graph = sized.map_err(|e| fail(&self.name, format!("other widths: {e}")))?;
        }
        let sizes = graph.params().map(|p| p.shape.iter().product::<usize>());
        let weights = sizes.fold(0_usize, usize::saturating_add);
        if weights > MAX_WEIGHTS {
            return Err(fail(&self.name, format!("it has {weights} weights, more than {MAX_WEIGHTS}")));
        }
        Ok(graph)
    }

    /// Which units may be exchanged, discovered from its graph.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let symmetry = Network::new("mlp:16x1", &[8], 3)?.symmetry()?;
    /// let (first, second) = (&symmetry.tensors["fc1.weight"], &symmetry.tensors["fc2.weight"]);
    /// assert_eq!(first.axes[0], second.axes[1]);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn symmetry(&self) -> Result<SymmetrySpec> {
        Ok(discover(&self.graph()?).spec().clone())
    }

    /// Initial weights, as Flax draws them: kernels of linear layers and convolutions normal with variance 1/fan-in,
    /// truncated at two standard deviations and rescaled to keep the variance; fan-in is input channels of a group times
    /// taps. Gains and running variances are one, biases and running means zero. One stream `init/{tensor}` per tensor.
    ///
    /// Cost: one draw per weight, tensors side by side on threads.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let network = Network::new("mlp:16x1", &[8], 3)?;
    /// assert_eq!(network.init(0)?, network.init(0)?);
    /// assert_ne!(network.init(0)?, network.init(1)?);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn init(&self, seed: u64) -> Result<Params> {
        init::draw(&self.graph()?, seed)
    }

    /// Passes only if the tensors are exactly this network's. Beside a BatchNorm's running statistics, PyTorch's counter
    /// `num_batches_tracked` may stand; it is an integer and changes nothing.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first tensor that is missing, extra, or of another shape.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// let wide = Network::new("mlp:16x1", &[8], 3)?.init(0)?;
    /// let misfit = Network::new("mlp:8x1", &[8], 3)?.check(&wide).unwrap_err();
    /// assert!(misfit.to_string().contains("`fc1.weight`"));
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn check(&self, params: &Params) -> Result<()> {
        self.check_own(params)?;
        let graph = self.graph()?;
        let shapes: BTreeMap<&str, &[usize]> = graph.params().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
        let is_counter = |name: &str| {
            let norm = name.strip_suffix(".num_batches_tracked");
            norm.is_some_and(|norm| shapes.contains_key(format!("{norm}.running_mean").as_str()))
        };
        for (name, tensor) in params.iter().filter(|(name, _)| !shapes.contains_key(name)) {
            if !is_counter(name) || tensor.dtype().is_float() || tensor.dtype() == DType::Bool {
                return Err(self.misfit(name, &[], "a tensor the network does not have".to_owned()));
            }
        }
        Ok(())
    }

    /// Passes only if every tensor of the network is there and has its shape.
    fn check_own(&self, params: &Params) -> Result<()> {
        for param in self.graph()?.params() {
            match params.get(&param.name) {
                Some(t) if t.shape() == param.shape && t.dtype().is_float() => {}
                Some(t) => {
                    return Err(self.misfit(&param.name, &param.shape, format!("{} {:?}", t.dtype(), t.shape())));
                }
                None if self.name.starts_with("mlp:") && param.name.strip_suffix(".bias").is_some() => {
                    let found = format!("none of this name; without biases it is `mlp-nobias{}`", &self.name[3..]);
                    return Err(self.misfit(&param.name, &param.shape, found));
                }
                None => return Err(self.misfit(&param.name, &param.shape, "none of this name".to_owned())),
            }
        }
        Ok(())
    }

    fn misfit(&self, tensor: &str, expected: &[usize], found: String) -> Error {
        let (network, tensor, expected) = (self.name.clone(), tensor.to_owned(), expected.to_vec());
        Error::Weights { network, tensor, expected, found }
    }
}

/// That there is no such network.
fn fail(name: &str, why: String) -> Error {
    Error::Network { name: name.to_owned(), why }
}
