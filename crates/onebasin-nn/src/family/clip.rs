//! CLIP: a tower that reads a text and one that sees an image, whose answers are compared.

use onebasin_core::Tensor;
use onebasin_core::graph::op::{Binary, Dim, Op, Unary};
use onebasin_core::graph::{Graph, ValueId};

use super::blocks::{Attention, Build, Sees};
use super::config::Config;
use super::encoder::{Attends, Feeds, Function, Layer, Norms, attention_to_all};
use crate::error::Result;

const ATTENDS: Attends =
    Attends { of: "self_attn", projections: ["q_proj", "k_proj", "v_proj", "out_proj"], norm: "layer_norm1" };
const FEEDS: Feeds = Feeds { inner: "mlp.fc1", outer: "mlp.fc2", norm: "layer_norm2" };
/// An end of text that old configurations name, where the largest token is meant.
const LARGEST_ENDS: usize = 2;

/// Of both towers the output is `[1, 1]`: how well an image and the text beside it fit.
pub(super) fn build(config: &Config, length: usize) -> Result<Graph> {
    let kind = config.text("model_type")?;
    let mut build = Build::over();
    if kind == "clip" {
        config.architecture(&["CLIPModel"])?;
        let width = config.size_or("projection_dim", 512)?;
        let text = Tower::of(config.part("text_config")?, "text_model.", Sees::Before)?;
        let (pooled, _) = build.text(&text, length, false)?;
        let text = build.linear("text_projection", pooled, width, false)?;
        let image = Tower::of(config.part("vision_config")?, "vision_model.", Sees::All)?;
        let (pooled, _) = build.image(&image)?;
        let image = build.linear("visual_projection", pooled, width, false)?;
        let output = build.fit(image, text, width)?;
        return Ok(build.done(output));
    }
    let [bare, projects] = if kind == "clip_text_model" {
        ["CLIPTextModel", "CLIPTextModelWithProjection"]
    } else {
        ["CLIPVisionModel", "CLIPVisionModelWithProjection"]
    };
    let is_bare = config.architecture(&[bare, projects])? == bare;
    let (pooled, states, projection) = if kind == "clip_text_model" {
        let tower = Tower::of(config.clone(), if is_bare { "" } else { "text_model." }, Sees::Before)?;
        let (pooled, states) = build.text(&tower, length, is_bare)?;
        (pooled, states, "text_projection")
    } else {
        let tower = Tower::of(config.clone(), if is_bare { "" } else { "vision_model." }, Sees::All)?;
        let (pooled, states) = build.image(&tower)?;
        (pooled, states, "visual_projection")
    };
    if is_bare {
        return Ok(build.done_with(&[states, pooled]));
    }
    let output = build.linear(projection, pooled, config.size_or("projection_dim", 512)?, false)?;
    Ok(build.done(output))
}

/// One of the two.
struct Tower {
    config: Config,
    root: &'static str,
    width: usize,
    layer: Layer,
}

impl Tower {
    fn of(config: Config, root: &'static str, sees: Sees) -> Result<Self> {
        let width = config.size("hidden_size")?;
        let layer = Layer {
            attention: Attention { sees, ..attention_to_all(width, config.size("num_attention_heads")?)? },
            inner: config.size("intermediate_size")?,
            function: Function::named(&config, "hidden_act", "quick_gelu")?,
            epsilon: config.number_or("layer_norm_eps", 1e-5)?,
            norms: Norms::Before,
            centred: true,
            biases: [true; 4],
        };
        Ok(Self { config, root, width, layer })
    }

    fn name(&self, part: &str) -> String {
        format!("{}{part}", self.root)
    }
}

impl Build {
    /// The state at the end of a text and, if they are asked for, all states: behind the last norm; else the stream.
    fn text(&mut self, tower: &Tower, length: usize, all: bool) -> Result<(ValueId, ValueId)> {
        let Tower { config, width, layer: Layer { epsilon, .. }, .. } = tower;
        let (width, epsilon) = (*width, *epsilon);
        let tokens = self.tokens("input_ids", length)?;
        let (table, places) = ("embeddings.token_embedding", "embeddings.position_embedding");
        let words = self.embedding(&tower.name(table), tokens, config.size("vocab_size")?, width)?;
        let rows = config.size("max_position_embeddings")?;
        let places = self.run_of_rows(&tower.name(places), rows, width, 0, length)?;
        let sum = self.add(&tower.name("embeddings.sum"), words, places)?;
        let stream = self.blocks(tower, sum)?;
        let norm = tower.name("final_layer_norm");
        let end = config.count_or("eos_token_id", 49_407)?;
        if all {
            let states = self.norm(&norm, stream, epsilon, true)?;
            return Ok((self.at_end(&tower.name("end"), states, tokens, end)?, states));
        }
        let state = self.at_end(&tower.name("end"), stream, tokens, end)?;
        Ok((self.norm(&norm, state, epsilon, true)?, stream))
    }

    /// The state of an image's class token behind the last norm, and the stream.
    fn image(&mut self, tower: &Tower) -> Result<(ValueId, ValueId)> {
        let Tower { config, width, layer: Layer { epsilon, .. }, .. } = tower;
        let (width, epsilon) = (*width, *epsilon);
        let patches = self.patches(&tower.name("embeddings.patch_embedding"), config, width, false)?;
        let class = tower.name("embeddings.class_embedding");
        let token = self.graph.param(&class, &[width])?;
        let shape = Op::Reshape([1, 1, width].map(Dim::Size).to_vec());
        let token = self.graph.push(&format!("{class}.token"), shape, &[token])?;
        let sequence = self.beside(&class, token, patches)?;
        let length = self.graph.shape(sequence)[1];
        let places = self.run_of_rows(&tower.name("embeddings.position_embedding"), length, width, 0, length)?;
        let sum = self.add(&tower.name("embeddings.sum"), sequence, places)?;
        let stream = self.norm(&tower.name("pre_layrnorm"), sum, epsilon, true)?;
        let stream = self.blocks(tower, stream)?;
        let class = self.first(&tower.name("pooled"), stream)?;
        Ok((self.norm(&tower.name("post_layernorm"), class, epsilon, true)?, stream))
    }

    fn blocks(&mut self, tower: &Tower, mut stream: ValueId) -> Result<ValueId> {
        for at in 0..tower.config.layers("num_hidden_layers")? {
            let block = tower.name(&format!("encoder.layers.{at}"));
            stream = self.block(&block, (ATTENDS, FEEDS), &tower.layer, stream)?;
        }
        Ok(stream)
    }

    /// The state where a text first has its end, which what comes behind does not reach; the first of all where it has none.
    fn at_end(&mut self, name: &str, states: ValueId, tokens: ValueId, end: usize) -> Result<ValueId> {
        let (length, width) = (self.graph.shape(states)[1], self.width(states));
        let named = |part: &str| format!("{name}.{part}");
        let mut number = |part: &str, shape: &[usize], values: Vec<f32>| -> Result<ValueId> {
            Ok(self.graph.constant(&named(part), Tensor::from_f32(shape, values)?)?)
        };
        let places = number("places", &[length], (0..length).map(|at| at as f32).collect())?;
        let end_token = number("token", &[], vec![end as f32])?;
        let mut push = |part: &str, op: Op, inputs: &[ValueId]| self.graph.push(&named(part), op, inputs);
        let likely =
            if end == LARGEST_ENDS { tokens } else { push("ends", Op::Binary(Binary::Equal), &[tokens, end_token])? };
        let found = self.graph.push_many(&named("at"), Op::TopK { axis: 1, count: 1, largest: true }, &[likely])?;
        let mut push = |part: &str, op: Op, inputs: &[ValueId]| self.graph.push(&named(part), op, inputs);
        let is_end = push("is", Op::Binary(Binary::Equal), &[places, found[1]])?;
        let row = push("row", Op::Reshape(vec![Dim::Same(0), Dim::Size(1), Dim::Size(length)]), &[is_end])?;
        let state = push("state", Op::MatMul, &[row, states])?;
        Ok(push("flat", Op::Reshape(vec![Dim::Same(0), Dim::Size(width)]), &[state])?)
    }

    /// The cosine of every image and the text beside it, times a number that is learned.
    fn fit(&mut self, image: ValueId, text: ValueId, width: usize) -> Result<ValueId> {
        // Of length √width; both together width times too long.
        let norm = Op::LayerNorm { axes: vec![1], epsilon: 0.0, centred: false };
        let mut push = |name: &str, op: Op, inputs: &[ValueId]| self.graph.push(name, op, inputs);
        let image = push("image.unit", norm.clone(), &[image])?;
        let image = push("image.row", Op::Reshape(vec![Dim::Same(0), Dim::Size(1), Dim::Size(width)]), &[image])?;
        let text = push("text.unit", norm, &[text])?;
        let text = push("text.column", Op::Reshape(vec![Dim::Same(0), Dim::Size(width), Dim::Size(1)]), &[text])?;
        let product = push("fit.product", Op::MatMul, &[image, text])?;
        let flat = push("fit.flat", Op::Reshape(vec![Dim::Same(0), Dim::Size(1)]), &[product])?;
        let cosine = self.scaled("fit.cosine", flat, 1.0 / width as f64)?;
        let scale = self.graph.param("logit_scale", &[])?;
        let scale = self.unary("fit.scale", Unary::Exp, scale)?;
        self.multiply("fit", cosine, scale)
    }
}
