//! A model that is a language model: what it reads and writes, and whether its head is its embedding.

use onebasin_core::graph::Graph;
use onebasin_core::{Params, Tensor};
use onebasin_nn::family::{Config, family, step, writes};
use onebasin_nn::samples::picked_from;
use onebasin_nn::{Arrays, Field, FieldKind, GenerateOptions, generate};

use super::{Model, Remade};
use crate::error::Result;

/// The node of a transformer's head.
const HEAD: &str = "lm_head";
/// How configurations call the number of their layers.
const LAYERS: [&str; 3] = ["num_hidden_layers", "n_layer", "num_layers"];
/// How a configuration calls the number of its tokens.
const TOKENS: &str = "vocab_size";

impl Model {
    /// What a language model reads: the name of its input, the number of its tokens, and how many it sees at once; none of networks
    /// that do not answer every token of a text.
    ///
    /// ```
    /// # use onebasin::{Model, Network};
    /// let network = Network::new("mlp:4x1", &[3], 2)?;
    /// assert_eq!(Model::of(&network, network.init(0)?)?.reads(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reads(&self) -> Option<(&str, usize, usize)> {
        // A masked language model answers every token too, but not with what follows.
        if self.family.as_ref().is_some_and(|config| !writes(config)) {
            return None;
        }
        let graph = self.graph()?;
        let mut inputs = graph.inputs();
        let (input, None) = (inputs.next()?, inputs.next()) else { return None };
        let ([1, length], [1, positions, answers]) = (graph.shape(input), graph.shape(*graph.outputs().first()?))
        else {
            return None;
        };
        let vocabulary = picked_from(graph, input)?;
        (positions == length && *answers == vocabulary).then(|| (&graph.value(input).name[..], vocabulary, *length))
    }

    /// Texts that a language model writes, as many tokens each as its graph is for; none of other networks.
    pub(crate) fn writes(
        &self,
        samples: usize,
        seed: u64,
        tell: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Arrays>> {
        let Some(config) = &self.family else { return Ok(None) };
        let Some((name, below, length)) = self.reads() else { return Ok(None) };
        let name = name.to_owned();
        let options = GenerateOptions { samples, length, seed, ..GenerateOptions::default() };
        let of_file = |past| Ok(step(config, past)?.with_param_names(|name| self.naming.in_file(name).to_owned())?);
        let tokens = generate(&of_file, self.params(), &options, tell)?;
        let field = Field { name, shape: vec![length], kind: FieldKind::Index { below } };
        let tokens = tokens.into_iter().map(|token| token as f32).collect();
        Ok(Some(Arrays::new("text that the networks wrote", vec![(field, tokens)], None)?))
    }

    /// The same transformer with its first layer and its first tokens alone; none of others.
    pub(crate) fn first_layer(&self) -> Result<Option<Self>> {
        const SOME: usize = 256;
        const LENGTH: usize = 16;
        let Some(config) = &self.family else { return Ok(None) };
        let mut small = LAYERS
            .into_iter()
            .filter(|key| config.size(key).is_ok())
            .fold(config.clone(), |config, key| config.with(key, 1.into()));
        if let Ok(tokens) = config.size(TOKENS) {
            small = small.with(TOKENS, tokens.min(SOME).into());
        }
        if let Some(first) = config.entries().get("layer_types").and_then(|types| types.get(0)) {
            small = small.with("layer_types", vec![first.clone()].into());
        }
        let Ok(graph) = family(&small, LENGTH.min(config.positions())) else { return Ok(None) };
        let graph = graph.with_param_names(|name| self.naming.in_file(name).to_owned())?;
        let mut params = Params::new();
        for param in graph.params() {
            let Some(own) = self.params().get(&param.name) else { return Ok(None) };
            let cut = match (own.shape(), &param.shape[..]) {
                (all, some) if all == some => None,
                ([all, rest @ ..], [some, others @ ..]) if rest == others && some < all => Some(0..*some),
                _ => return Ok(None),
            };
            params.insert(&param.name[..], own.rows_anew(cut)?);
        }
        let remade = Remade { dtype: None, untied: false };
        Ok(Some(Self { family: Some(small), ..self.remade(&graph, params, remade) }))
    }

    /// How many layers a known transformer has, where its configuration says one number.
    pub(crate) fn layers(&self) -> Option<usize> {
        let config = self.family.as_ref()?;
        LAYERS.into_iter().find_map(|key| config.size(key).ok())
    }

    /// How many tokens a known transformer has a row for, where it reads tokens.
    pub(crate) fn tokens(&self) -> Option<usize> {
        let tokens = self.family.as_ref()?.size(TOKENS).ok()?;
        self.tables_of_tokens().is_ok_and(|tables| !tables.is_empty()).then_some(tokens)
    }

    /// Tensors of a known transformer whose first axis is of tokens: its embedding, a head of its own, and that head's bias.
    pub(crate) fn tables_of_tokens(&self) -> Result<Vec<String>> {
        let Some(config) = &self.family else { return Ok(Vec::new()) };
        let Ok(tokens) = config.size(TOKENS) else { return Ok(Vec::new()) };
        let (own, more) = (self.graph_by(config)?, self.graph_by(&config.clone().with(TOKENS, (tokens + 1).into()))?);
        let grows = own.params().zip(more.params()).filter(|(own, more)| own.shape.first() != more.shape.first());
        Ok(grows.map(|(own, _)| own.name.clone()).collect())
    }

    /// The graph that another configuration makes of it, by the names that tensors have here.
    fn graph_by(&self, config: &Config) -> Result<Graph> {
        let length = self.graph().and_then(|graph| Some(*graph.shape(graph.inputs().next()?).get(1)?)).unwrap_or(1);
        Ok(family(config, length)?.with_param_names(|name| self.naming.in_file(name).to_owned())?)
    }

    /// The same transformer for so many tokens, whose tables are made of its own.
    pub(crate) fn with_tokens(&self, tokens: usize, made: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let Some(config) = &self.family else { return Ok(self.clone()) };
        let config = config.clone().with(TOKENS, tokens.into());
        let graph = self.graph_by(&config)?;
        let mut params = self.params().clone();
        for name in self.tables_of_tokens()? {
            let table = made(params.require(&name)?)?;
            params.insert(name, table);
        }
        let remade = self.remade(&graph, params, Remade { dtype: None, untied: false });
        Ok(Self { family: Some(config), ..remade })
    }

    /// Whether its graph is that of a transformer known by its configuration.
    pub(crate) fn is_of_family(&self) -> bool {
        self.family.is_some()
    }

    /// The head of a transformer that is known: its node's weight, and whether that is something else as well.
    fn head(&self) -> Option<(String, bool)> {
        let graph = self.family.as_ref().and(self.graph())?;
        let node = graph.nodes().iter().find(|node| node.name == HEAD)?;
        let weight = *node.inputs.get(1)?;
        let uses = graph.nodes().iter().flat_map(|node| &node.inputs).filter(|v| **v == weight).count();
        Some((graph.value(weight).name.clone(), uses > 1))
    }

    /// Whether its head is its embedding; none of networks that are not known as transformers with a head.
    pub(crate) fn is_tied(&self) -> Option<bool> {
        self.head().map(|(_, tied)| tied)
    }

    /// The same network with a head of its own, equal to its embedding.
    pub(crate) fn untied(self) -> Result<Self> {
        let (Some((of, true)), Some(config), Some(graph)) = (self.head(), self.family.clone(), self.graph()) else {
            return Ok(self);
        };
        let length = graph.inputs().next().map_or(1, |input| graph.shape(input)[1]);
        let config = config.untied();
        let graph = family(&config, length)?.with_param_names(|name| self.naming.in_file(name).to_owned())?;
        let mut params = self.params().clone();
        let own = graph.params().find(|param| params.get(&param.name).is_none()).map(|param| param.name.clone());
        if let Some(own) = own {
            params.insert(own, params.require(&of)?.clone());
        }
        let said = "its head is its embedding, and becomes a tensor of its own beside a network whose head is one";
        let remade = Remade { dtype: None, untied: true };
        Ok(self.remade(&graph, params, remade).remarked(said.to_owned()))
    }
}
