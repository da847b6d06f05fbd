//! Networks whose tensors are in memory: another program's arrays.

use std::path::Path;

use onebasin_core::Params;
use onebasin_core::symmetry::SymmetrySpec;
use onebasin_io::{Checkpoint, Metadata};

use super::Model;
use crate::blueprint::Blueprint;
use crate::error::{InFile, Result};
use crate::unused::Rules;

impl Model {
    /// Tensors in memory as a network: what [`open`](Self::open) makes of a file, made of tensors that are there already. `name`
    /// stands in messages where a path would.
    ///
    /// Cost: that of reading the graph; tensors are shared.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use onebasin::{Blueprint, Model, Network};
    /// let params = Network::new("mlp:16x2", &[8], 3)?.init(0)?;
    /// let blueprint = Blueprint { network: Some("mlp:16x2".into()), ..Blueprint::default() };
    /// let model = Model::hold("mine", params, &blueprint)?;
    /// assert!(model.runs());
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn hold(name: &str, params: Params, blueprint: &Blueprint) -> Result<Self> {
        let rules = Rules { ignore: blueprint.ignore.clone(), carry: blueprint.carry.clone() };
        let mut model = Self { rules, memory: blueprint.memory, ..Self::in_memory(name, params) };
        model.set_aside();
        let graph = blueprint.graph_over(&[&model])?;
        let spec = blueprint.symmetry.as_deref().map(super::open::symmetry_file).transpose()?;
        model.followed(graph.as_ref(), spec.as_ref(), blueprint)
    }

    /// Other tensors as a network of this one's structure: its graph, its built-in network, and what was said of it by hand.
    ///
    /// Cost: that of comparing names and shapes; tensors are shared.
    ///
    /// # Errors
    /// [`Error::Unfit`](crate::Error::Unfit) lists the tensors that are missing or have another shape.
    ///
    /// ```
    /// use onebasin::{Model, Network};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let model = Model::of(&network, network.init(0)?)?;
    /// let other = model.like("client 1", network.init(1)?)?;
    /// assert_eq!(other.symmetry()?, model.symmetry()?);
    /// let error = model.like("client 2", Network::new("mlp:8x2", &[8], 3)?.init(1)?).unwrap_err();
    /// assert!(error.to_string().contains("the graph has [16, 8]"));
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn like(&self, name: &str, params: Params) -> Result<Self> {
        let mut model = Self {
            network: self.network.clone(),
            rules: self.rules.clone(),
            memory: self.memory,
            spec: self.spec.clone(),
            ..Self::in_memory(name, params)
        };
        model.set_aside();
        match (&self.graph, &self.spec) {
            (Some(graph), _) => model.fitted(graph, None).in_file(Path::new(name)),
            (None, Some(spec)) => model.with_spec(spec, None).in_file(Path::new(name)),
            (None, None) => Ok(model),
        }
    }

    /// The same where which units may be exchanged is said by hand, under names as this network has them or without their
    /// common prefix. Where a graph is known it still says how the network runs.
    ///
    /// # Errors
    /// If what is said names tensors that are not there, or is no symmetry of their shapes.
    ///
    /// ```
    /// use onebasin::{Blueprint, Model, Params, SymmetrySpec, Tensor};
    /// let tensor = |shape: &[usize]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]);
    /// let params = Params::from_iter([("up".to_owned(), tensor(&[4, 3])?), ("down".to_owned(), tensor(&[2, 4])?)]);
    /// let spec = SymmetrySpec::from_patterns([("up", "h ."), ("down", ". h")])?;
    /// let model = Model::hold("mine", params, &Blueprint::default())?.given(&spec)?;
    /// assert_eq!(model.symmetry()?.groups()[0].size, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn given(self, spec: &SymmetrySpec) -> Result<Self> {
        let name = self.path().to_owned();
        let model = self.with_spec(spec, None).in_file(&name)?;
        model.symmetry().in_file(&name)?;
        Ok(model)
    }

    /// All tensors that a file written in this network's place would hold, if those that its graph uses were these.
    pub(crate) fn whole(&self, params: Params) -> Params {
        let own = |name: &str| self.renamed_from.get(name).map_or(name, String::as_str).to_owned();
        let rest = self.rest.iter().map(|(name, tensor)| (own(name), tensor.clone()));
        rest.chain(params.into_iter().map(|(name, tensor)| (own(&name), tensor))).collect()
    }

    pub(super) fn in_memory(name: &str, params: Params) -> Self {
        let checkpoint = Checkpoint::identified(Path::new(name), params, Metadata::default(), String::new());
        Self { is_file: false, ..Self::bare(checkpoint) }
    }
}
