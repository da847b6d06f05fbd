//! Networks that are trained here: the built-in ones, and transformers by their configuration.

use std::path::{Path, PathBuf};

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_io::{Metadata, Target};
use onebasin_nn::Network;
use onebasin_nn::family::{Config, family, init};
use serde_json::{Map, Value, json};

use crate::data::{Data, Reads, Text, alphabet};
use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// A network that is to be trained.
#[derive(Debug, Clone)]
pub struct Trainee {
    /// How it was asked for.
    pub name: String,
    graph: Graph,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    BuiltIn(Network),
    /// A transformer, and what its folder has beside the weights.
    Family(Config, Files),
}

/// Names of files, and what is in them.
type Files = Vec<(String, Vec<u8>)>;

/// Language models of characters that are known by name.
pub const OF_CHARACTERS: [&str; 2] = ["gpt2-char", "llama-char"];
/// The file that says what a transformer is.
const CONFIG: &str = "config.json";
/// Files that a folder's tokenizer may consist of.
const TOKENIZER: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
/// Positions that a network is trained for at most.
const LONGEST: usize = 1 << 12;

impl Trainee {
    /// A network for images with labels: a built-in one by its name, such as `mlp:512x3`; `vit:128x4`, a vision transformer of width 128
    /// and four layers that sees patches of 4 × 4 pixels; or the one that a `config.json`, or the folder with one, describes.
    ///
    /// # Errors
    /// If there is none of this name; all are listed.
    ///
    /// ```
    /// use onebasin_lab::{Data, Trainee};
    /// let data = Data::open("digits")?;
    /// assert_eq!(Trainee::of_images("mlp:16x2", &data)?.init(0)?.len(), 6);
    /// assert!(Trainee::of_images("vit:24x1", &data).is_err()); // which sees images with channels
    /// # Ok::<(), onebasin_lab::Error>(())
    /// ```
    pub fn of_images(name: &str, data: &Data) -> Result<Self> {
        let (shape, classes) = (data.train.shape(), data.train.classes());
        let (config, files) = match vit(name, shape, classes)? {
            Some(config) => (config, Vec::new()),
            None if is_described(name) => {
                let (config, files, _) = described(name)?;
                (config, files)
            }
            None => {
                let network = Network::new(name, shape, classes)?;
                return Ok(Self::from(network.graph()?, network));
            }
        };
        let text = format!("{config:#}\n");
        let config = Config::parse(&text)?;
        let graph = family(&config, 1)?;
        let files = [(CONFIG.to_owned(), text.into_bytes())].into_iter().chain(files).collect();
        Ok(Self { name: name.to_owned(), graph, kind: Kind::Family(config, files) })
    }

    fn from(graph: Graph, network: Network) -> Self {
        Self { name: network.name.clone(), graph, kind: Kind::BuiltIn(network) }
    }

    /// A language model, and the text as it reads it: one of [`OF_CHARACTERS`], whose tokens are the characters of the text, or the
    /// one that a `config.json`, or the folder with one, describes. It is built for as many positions as it has.
    ///
    /// # Errors
    /// If there is none of this name, it is not known how it is built, or the text is none that it reads.
    pub fn of_text(name: &str, text: &Path) -> Result<(Self, Text)> {
        let (config, files, folder) = match OF_CHARACTERS.iter().position(|known| *known == name) {
            Some(which) => {
                let characters = alphabet(text)?;
                let config = [gpt2, llama][which](characters.len());
                (config, of_characters(&characters), None)
            }
            None => described(name)?,
        };
        let text_of = format!("{config:#}\n");
        let config = Config::parse(&text_of)?;
        let length = config.positions();
        if length > LONGEST {
            let why =
                format!("it has {length} positions, and {LONGEST} are trained at most; say fewer in its {CONFIG}");
            return Err(unfit(name, &why));
        }
        let graph = family(&config, length)?;
        let Some((input, vocabulary)) = reads(&graph) else {
            return Err(unfit(name, "it does not answer every token of a text"));
        };
        let text = Text::open(text, &Reads { input, vocabulary, length, folder })?;
        let files = [(CONFIG.to_owned(), text_of.into_bytes())].into_iter().chain(files).collect();
        Ok((Self { name: name.to_owned(), graph, kind: Kind::Family(config, files) }, text))
    }

    /// Its graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What is recorded of it.
    pub fn described(&self) -> Value {
        match &self.kind {
            Kind::BuiltIn(network) => json!(network),
            Kind::Family(config, _) => json!(config.entries()),
        }
    }

    /// Initial weights.
    ///
    /// # Errors
    /// If they are too many.
    pub fn init(&self, seed: u64) -> Result<Params> {
        Ok(match &self.kind {
            Kind::BuiltIn(network) => network.init(seed)?,
            Kind::Family(config, _) => init(config, seed)?,
        })
    }

    /// How it is trained where nobody says how.
    pub fn usual(&self) -> Recipe {
        let input = self.graph.inputs().next().map_or(0, |input| self.graph.shape(input).len());
        Recipe::usual(matches!(self.kind, Kind::Family(..)), input == 2)
    }

    /// Where it is written: a file, or of a transformer a folder that transformers opens.
    ///
    /// # Errors
    /// If something else is there.
    pub fn target(&self, path: &Path) -> Result<Target> {
        Ok(match &self.kind {
            Kind::BuiltIn(_) => Target::file(path),
            Kind::Family(_, files) => Target::folder(path, files.clone())?,
        })
    }

    /// What a file of its weights says of it.
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::default();
        match &self.kind {
            Kind::BuiltIn(network) => metadata.set_json(Network::HEADER, &json!(network)),
            Kind::Family(..) => metadata.set("format", "pt"),
        }
        metadata
    }
}

/// The input of a language model and how many tokens it knows, if it answers every token.
fn reads(graph: &Graph) -> Option<(String, usize)> {
    let input = graph.inputs().next()?;
    let ([1, length], [1, positions, answers]) = (graph.shape(input), graph.shape(*graph.outputs().first()?)) else {
        return None;
    };
    (length == positions).then(|| (graph.value(input).name.clone(), *answers))
}

/// Whether a name is that of a `config.json`, or of a folder with one.
fn is_described(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|extension| extension == "json") || path.join(CONFIG).is_file()
}

fn unfit(name: &str, why: &str) -> Error {
    Error::Options(format!("{name}: {why}"))
}

/// What a `config.json` says, and the tokenizer beside it.
fn described(name: &str) -> Result<(Value, Files, Option<PathBuf>)> {
    let path = if Path::new(name).is_dir() { Path::new(name).join(CONFIG) } else { PathBuf::from(name) };
    if !is_described(name) {
        let known = OF_CHARACTERS.join(", ");
        let why = format!("no language model of this name; known are {known}, and any {CONFIG}");
        return Err(unfit(name, &why));
    }
    let text = std::fs::read_to_string(&path).map_err(|why| unfit(name, &why.to_string()))?;
    let config: Map<String, Value> = serde_json::from_str(&text).map_err(|why| unfit(name, &why.to_string()))?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let read = |file: &&str| Some(((*file).to_owned(), std::fs::read(folder.join(file)).ok()?));
    let files = TOKENIZER.iter().filter_map(read).collect();
    Ok((Value::Object(config), files, Some(folder)))
}

/// A vision transformer by its name, `vit:WIDTHxLAYERS`, for images of this shape; none of other names.
fn vit(name: &str, shape: &[usize], classes: usize) -> Result<Option<Value>> {
    const PATCH: usize = 4;
    const HEAD: usize = 32;
    let Some(sizes) = name.strip_prefix("vit:") else { return Ok(None) };
    let sizes = sizes.split_once('x').and_then(|(width, layers)| Some((width.parse().ok()?, layers.parse().ok()?)));
    let (width, layers): (usize, usize) =
        sizes.ok_or_else(|| unfit(name, "a vision transformer is `vit:WIDTHxLAYERS`, as in `vit:128x4`"))?;
    let [channels, height, side] = shape else {
        return Err(unfit(
            name,
            &format!("it sees images of channels, rows and columns, and these have shape {shape:?}"),
        ));
    };
    if height != side || !side.is_multiple_of(PATCH) || !width.is_multiple_of(HEAD) || width == 0 {
        let why = format!(
            "images of {height} × {side} pixels are not cut into patches of {PATCH} × {PATCH}, or its width is no multiple of {HEAD}"
        );
        return Err(unfit(name, &why));
    }
    Ok(Some(json!({
        "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": width / HEAD, "intermediate_size": 4 * width, "hidden_act": "gelu", "image_size": side,
        "patch_size": PATCH, "num_channels": channels, "num_labels": classes, "layer_norm_eps": 1e-12, "qkv_bias": true,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "torch_dtype": "float32",
        "id2label": (0..classes).map(|k| (k.to_string(), json!(format!("LABEL_{k}")))).collect::<Map<_, _>>(),
    })))
}

/// Four layers of width 128, as GPT-2.
fn gpt2(vocabulary: usize) -> Value {
    json!({
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": vocabulary, "n_layer": 4, "n_embd": 128,
        "n_head": 4, "n_positions": 64, "n_inner": 512, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": true, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0,
        "torch_dtype": "float32",
    })
}

/// Four layers of width 128, as Llama, two heads of queries for one of keys.
fn llama(vocabulary: usize) -> Value {
    json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocabulary, "num_hidden_layers": 4,
        "hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 344,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false, "bos_token_id": 0, "eos_token_id": 0,
        "torch_dtype": "float32",
    })
}

/// A tokenizer whose tokens are characters, by their place in the alphabet; any other is an error where it is used.
fn of_characters(alphabet: &[char]) -> Files {
    let vocabulary: Map<String, Value> =
        alphabet.iter().enumerate().map(|(at, c)| (c.to_string(), json!(at))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "(?s:.)" }, "behavior": "Isolated", "invert": false },
        "post_processor": null, "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" },
    });
    let config = json!({ "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false });
    [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)]
        .map(|(name, value)| (name.to_owned(), format!("{value:#}\n").into_bytes()))
        .into()
}
