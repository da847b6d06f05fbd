//! What can go wrong on the way from files to a merged network; every error says what to do.

use std::path::{Path, PathBuf};

use onebasin_core::DType;
use onebasin_core::graph::Difference;
use onebasin_nn::check::Check;

use crate::unused::{Unused, unused_text};

/// An error of this library. Every variant carries its facts as fields, so that programs and other languages can tell them
/// apart; its text (`{error}`, not `{error:?}`) names the file or the tensor, what was expected and what was found, and
/// includes that of its causes.
///
/// [`Core`](Self::Core) holds an [`onebasin::core::Error`](onebasin_core::Error), [`File`](Self::File) an
/// [`onebasin::io::Error`](onebasin_io::Error), [`Network`](Self::Network) an [`onebasin::nn::Error`](onebasin_nn::Error).
///
/// ```
/// use onebasin::{Blueprint, Error, Model};
/// let error = Model::open("nowhere.safetensors", &Blueprint::default()).unwrap_err();
/// assert!(matches!(error, Error::File(_)));
/// assert!(error.to_string().starts_with("nowhere.safetensors: cannot open"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mathematics refused.
    #[error(transparent)]
    Core(#[from] onebasin_core::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] onebasin_io::Error),
    /// A network could not be built or run.
    #[error(transparent)]
    Network(#[from] onebasin_nn::Error),
    /// A GPU could not be used.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] onebasin_cuda::Error),
    /// What is wrong with a certain file.
    #[error("{}: {source}", .path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Two networks that are not the same network.
    #[error("A is {}, B is {}: {source}", .a.display(), .b.display())]
    Differ {
        /// The reference.
        a: PathBuf,
        /// The other one.
        b: PathBuf,
        /// In what they differ.
        source: Box<Error>,
    },
    /// Two networks whose graphs are not the same.
    #[error("A is {}, B is {}: they are not the same network: {difference}", .a.display(), .b.display())]
    OtherGraph {
        /// The reference.
        a: PathBuf,
        /// The other one.
        b: PathBuf,
        /// The first difference.
        difference: Difference,
    },
    /// What a file that describes a merge says, and is not done here or makes no sense.
    #[error("{}:{line}:{column}: {why}", .path.display())]
    MergeFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong there.
        why: String,
    },
    /// A network of other layers than a file that describes a merge says.
    #[error("{}: it has {found} layers, and `layer_range` takes {expected} of them: whole models are merged", .path.display())]
    Layers {
        /// The network.
        path: PathBuf,
        /// How many the file takes.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// Two classifiers of the same classes in another order.
    #[error(
        "A is {}, B is {}: both have the classes {labels}, in another order (`id2label` in config.json), so that an average would mix one class with another; put the rows of one classifier in the order of the other first", .a.display(), .b.display()
    )]
    Labels {
        /// The reference.
        a: PathBuf,
        /// The other one.
        b: PathBuf,
        /// The classes.
        labels: String,
    },
    /// An adapter without the network that it changes.
    #[error("{}: it is an adapter (adapter_config.json), and no network; merge it into its base first (`merge_and_unload` of peft)", .path.display())]
    Adapter {
        /// The folder.
        path: PathBuf,
    },
    /// A network that cannot stand side by side with another.
    #[error(
        "{}: {why}; classes stand side by side only of two built-in networks of one name, such as mlp:512x3 and vgg16, which a file \
         or an option says", .path.display()
    )]
    SideBySide {
        /// The network.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Tensors that the network does not use, and of which no result can be made.
    #[error("{} tensors are not used by the network, and no merge of them would be right:{}", .tensors.len(), unused_text(.tensors))]
    Unused {
        /// The tensors, with what they likely are.
        tensors: Vec<Unused>,
    },
    /// A tensor of the network that was to be ignored or carried.
    #[error(
        "`{tensor}` is used by the network, so it can be neither ignored nor carried; to keep units as they are in A, set λ of \
         their group to 0"
    )]
    Used {
        /// The tensor.
        tensor: String,
    },
    /// A tensor stored twice, equal to tensors that do not move together.
    #[error("`{tensor}`, which the network does not use, equals tensors that do not move together: {}", .originals.join(", "))]
    Ambiguous {
        /// The tensor.
        tensor: String,
        /// What it equals.
        originals: Vec<String>,
    },
    /// An alignment of other networks.
    #[error(
        "{alignment} was made for {role} = {expected}, and {} is not that file{}", .path.display(),
        if *.exchanged { ": it is the other network that the alignment was made for" } else { "" }
    )]
    MadeForOther {
        /// The file of the alignment.
        alignment: String,
        /// Which of the two networks: `a` or `b`.
        role: &'static str,
        /// The file it was made for.
        expected: String,
        /// The file it was used with.
        path: PathBuf,
        /// Whether that is the other one it was made for.
        exchanged: bool,
    },
    /// A network whose moved weights compute something else.
    #[error("the aligned network does not compute what it computed before: {0}")]
    Moved(Check),
    /// Names that fit under several prefixes, of which one may be the network.
    #[error("its names fit with any of these before them, and which is the network is not said: `{}`", .prefixes.join("`, `"))]
    SeveralPrefixes {
        /// The prefixes.
        prefixes: Vec<String>,
    },
    /// A prefix that no name begins with.
    #[error("no tensor's name begins with `{prefix}`")]
    NoPrefix {
        /// The prefix.
        prefix: String,
    },
    /// A network whose file does not say what it is, so that nothing is known of its symmetry.
    #[error(
        "{} does not say what network it is, so which units may be exchanged is not known; a blueprint says it: a built-in \
         network, an ONNX file of the same network, or a symmetry file", .path.display()
    )]
    NoSymmetry {
        /// The file.
        path: PathBuf,
    },
    /// A network that has to run, or to be explained, and whose graph is not known.
    #[error("{} does not say what network it is, so it cannot be run", .path.display())]
    NoGraph {
        /// The file.
        path: PathBuf,
    },
    /// A network with an operator that does not run.
    #[error("{}: this needs a network that runs, and node `{node}` ({operator}) does not", .path.display())]
    DoesNotRun {
        /// The file.
        path: PathBuf,
        /// The first node that does not run.
        node: String,
        /// What it is.
        operator: String,
    },
    /// Tensors that are not those of the graph.
    #[error("the tensors do not fit the graph: {matched} matched, {} unused ({}), and\n  {}", .unused.len(), first(.unused, ", "), first(.wrong, "\n  "))]
    Unfit {
        /// Tensors that fit.
        matched: usize,
        /// Names of tensors that the graph does not have.
        unused: Vec<String>,
        /// Tensors that are missing or have another shape, in words.
        wrong: Vec<String>,
    },
    /// Quantised weights, which were to be compared or averaged.
    #[error(
        "{}: tensor `{tensor}` ({dtype}) holds quantised weights, which node `{node}` dequantises: whole numbers are not \
         averaged; merge the float networks and quantise the result again", .path.display()
    )]
    Quantized {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: DType,
        /// The node that makes floats of it.
        node: String,
    },
    /// A step that looks at samples, and none were given.
    #[error("{what} looks at data, and none were given")]
    NeedsData {
        /// The step.
        what: &'static str,
    },
    /// An input that cannot be made up.
    #[error("activations need data here: input `{input}` of the network takes indices, and none can be made up")]
    NeedsIndices {
        /// The input.
        input: String,
    },
    /// An option that does not make sense.
    #[error("{option} must be {expected}, found {found}")]
    Option {
        /// Its name, as in the options struct.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// An alignment that also turns units, where only permutations are understood.
    #[error(
        "{what} is for alignments by permutations, and this one turns units as well; match with another method, such as weight"
    )]
    Turns {
        /// What is.
        what: &'static str,
    },
    /// An alignment of other kinds of groups.
    #[error("it does not fit {}: {why}", path.display())]
    OtherKinds {
        /// The network.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// An option that goes only with another.
    #[error("{option} needs {needs}")]
    Needs {
        /// The option.
        option: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A group that the symmetry does not have.
    #[error("there is no group `{group}`; known: {}", .known.join(", "))]
    NoGroup {
        /// The name asked for.
        group: String,
        /// The groups there are.
        known: Vec<String>,
    },
    /// A symmetry that changes what the network computes.
    #[error("{0}; nothing was written")]
    WrongSymmetry(Check),
    /// A format that cannot be written from this network.
    #[error("{}: {why}", .path.display())]
    Unwritable {
        /// The file asked for.
        path: PathBuf,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A state to go on from that belongs to another run.
    #[error("{}: belongs to other networks, data or options ({saved})", .path.display())]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// What it was made with, as JSON.
        saved: String,
    },
    /// A file with the state to go on from that is missing or holds something else.
    #[error("{}: there is no state to go on from: {why}", .path.display())]
    NoState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// This build cannot use GPUs.
    #[error("this program was built without the feature `cuda`, so there is only the processor")]
    NoCuda,
    /// The observer asked to stop. Nothing was written, but for the state that a later run goes on from.
    #[error("interrupted{}; {}", .steps.map_or_else(String::new, |n| format!(" after {n} steps")),
        if *.resumable { "the state is kept to go on from" } else if .steps.is_some() { "nothing was kept" } else { "nothing was written" })]
    Interrupted {
        /// Steps done, where they are counted.
        steps: Option<u64>,
        /// Whether a later run can go on.
        resumable: bool,
    },
}

impl From<onebasin_core::symmetry::SymmetryError> for Error {
    fn from(why: onebasin_core::symmetry::SymmetryError) -> Self {
        Self::Core(why.into())
    }
}

/// Result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the observer asked to stop, wherever that was noticed.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Interrupted { .. }
            | Self::Network(onebasin_nn::Error::Stopped)
            | Self::File(onebasin_io::Error::Interrupted { .. }) => true,
            Self::At { source, .. } | Self::Differ { source, .. } => source.is_interrupted(),
            _ => false,
        }
    }

    /// What is wrong, in one word: the name of the innermost variant.
    ///
    /// ```
    /// use onebasin::{Blueprint, Model};
    /// assert_eq!(Model::open("nowhere.safetensors", &Blueprint::default()).unwrap_err().kind(), "Io");
    /// ```
    pub fn kind(&self) -> String {
        let named = match self.innermost() {
            Self::Core(error) => format!("{error:?}"),
            Self::File(error) => format!("{error:?}"),
            Self::Network(error) => format!("{error:?}"),
            other => format!("{other:?}"),
        };
        named.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
    }

    /// The error without what says where it arose.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::At { source, .. } | Self::Differ { source, .. } => source.innermost(),
            other => other,
        }
    }

    pub(crate) const INTERRUPTED: Self = Self::Interrupted { steps: None, resumable: false };
}

/// Says which file an error is about.
pub(crate) trait InFile<T> {
    fn in_file(self, path: &Path) -> Result<T>;
}

impl<T, E: Into<Error>> InFile<T> for Result<T, E> {
    fn in_file(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::At { path: path.to_owned(), source: Box::new(source.into()) })
    }
}

/// The first of many, and how many more there are.
fn first(all: &[String], between: &str) -> String {
    const SHOWN: usize = 12;
    let shown = all[..all.len().min(SHOWN)].join(between);
    if all.len() > SHOWN { format!("{shown}{between}… and {} more", all.len() - SHOWN) } else { shown }
}
