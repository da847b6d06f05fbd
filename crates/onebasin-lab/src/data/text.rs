//! Text: a file of characters as tokens of a language model, in windows that do not overlap.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use onebasin_nn::{Arrays, Field, FieldKind};

use crate::error::{Error, Result};

/// What a language model reads: how its input is called, how many tokens there are of, how many it sees at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// The name of its input.
    pub input: String,
    /// Tokens that it knows.
    pub vocabulary: usize,
    /// Tokens that it sees at once.
    pub length: usize,
    /// The folder that it lies in, if it lies in one, with a `tokenizer.json` where it has one.
    pub folder: Option<PathBuf>,
}

/// A text in two splits: its first nine tenths, and the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// How it was asked for.
    pub name: String,
    /// Windows of the first nine tenths.
    pub train: Arrays,
    /// Windows of the last tenth.
    pub test: Arrays,
    /// What to tell of how it was read.
    pub notes: Vec<String>,
}

/// A file larger than this is no text to hold in memory.
const LARGEST: u64 = 1 << 30;

impl Text {
    /// Reads a file for a language model.
    ///
    /// Tokens are those of the model's `tokenizer.json`. Without one they are characters, by their place in the sorted alphabet of the
    /// file, if the model knows as many tokens as there are of these; or bytes, if it knows 256. A sample is a window of as many
    /// tokens as the model sees, its target the token after each; windows do not overlap.
    ///
    /// # Errors
    /// [`Error::Data`] if the file cannot be read, is shorter than two windows, or the model's tokens are not known.
    ///
    /// ```
    /// use onebasin_lab::data::{Reads, Text};
    /// use onebasin_nn::Samples;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("abc.txt");
    /// std::fs::write(&path, "abcab".repeat(20))?;
    /// let reads = Reads { input: "input_ids".to_owned(), vocabulary: 3, length: 4, folder: None };
    /// let text = Text::open(&path, &reads)?;
    /// assert_eq!((text.train.len(), text.test.len()), (18, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: &Path, reads: &Reads) -> Result<Self> {
        let name = named(path);
        let fail = |why: String| Error::Data { spec: name.clone(), why };
        let text = read(path)?;
        let at = text.char_indices().nth(text.chars().count() * 9 / 10).map_or(text.len(), |(at, _)| at);
        let (tokens, how) = Tokens::of(&text, reads).map_err(fail)?;
        let (first, last) = text.split_at(at);
        let mut notes = vec![format!("{name} is read as {how}")];
        let mut split = |text: &str| -> Result<Arrays> {
            let (tokens, lost) = tokens.read(text).map_err(fail)?;
            if lost > 0 {
                let share = 100.0 * lost as f64 / text.chars().count() as f64;
                notes.push(format!(
                    "{lost} characters of {name} ({share:.1} %) are no tokens of the model and are left out"
                ));
            }
            if let Some(other) = tokens.iter().find(|token| **token as usize >= reads.vocabulary) {
                let why = format!("it has token {other}, and the model knows {}", reads.vocabulary);
                return Err(fail(why));
            }
            windows(&name, &tokens, reads)
        };
        let (train, test) = (split(first)?, split(last)?);
        Ok(Self { name, train, test, notes })
    }
}

/// The characters of a file, sorted: what a network of characters knows.
///
/// # Errors
/// [`Error::Data`] if the file cannot be read, is no text, or is empty.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("a.txt"), "banana")?;
/// assert_eq!(onebasin_lab::data::alphabet(&folder.path().join("a.txt"))?, ['a', 'b', 'n']);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn alphabet(path: &Path) -> Result<Vec<char>> {
    Ok(alphabet_of(&read(path)?))
}

fn alphabet_of(text: &str) -> Vec<char> {
    text.chars().collect::<BTreeSet<char>>().into_iter().collect()
}

fn named(path: &Path) -> String {
    format!("text:{}", path.display())
}

fn read(path: &Path) -> Result<String> {
    let fail = |why: String| Error::Data { spec: named(path), why };
    let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > LARGEST {
        return Err(fail(format!("it has {size} bytes; at most {LARGEST} are held")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    if text.is_empty() { Err(fail("it is empty".to_owned())) } else { Ok(text) }
}

/// Windows of a text, and what follows each token.
fn windows(name: &str, tokens: &[u32], reads: &Reads) -> Result<Arrays> {
    let length = reads.length;
    let field = |name: &str| Field {
        name: name.to_owned(),
        shape: vec![length],
        kind: FieldKind::Index { below: reads.vocabulary },
    };
    let all: Vec<&[u32]> = tokens.chunks_exact(length + 1).collect();
    if all.is_empty() {
        let why =
            format!("a split of it has {} tokens, and a window with what follows it {}", tokens.len(), length + 1);
        return Err(Error::Data { spec: name.to_owned(), why });
    }
    let part = |from: usize| all.iter().flat_map(|w| &w[from..from + length]).map(|token| *token as f32).collect();
    Ok(Arrays::new(name, vec![(field(&reads.input), part(0))], Some((field("next"), part(1))))?)
}

/// How characters become tokens.
enum Tokens {
    Own(Box<tokenizers::Tokenizer>),
    Characters(Vec<char>),
    Bytes,
}

impl Tokens {
    fn of(text: &str, reads: &Reads) -> std::result::Result<(Self, String), String> {
        let file = reads.folder.as_ref().map(|folder| folder.join("tokenizer.json"));
        if let Some(file) = file.filter(|file| file.is_file()) {
            let read = tokenizers::Tokenizer::from_file(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            return Ok((Self::Own(Box::new(read)), format!("tokens of {}", file.display())));
        }
        let alphabet = alphabet_of(text);
        if alphabet.len() == reads.vocabulary {
            let how = format!("characters, by their place among the {} that it has", alphabet.len());
            return Ok((Self::Characters(alphabet), how));
        }
        if reads.vocabulary == 256 {
            return Ok((Self::Bytes, "bytes".to_owned()));
        }
        Err(format!(
            "{} holds no tokenizer.json, and its {} tokens are neither the {} characters of the file nor bytes",
            reads.folder.as_ref().map_or("the network".into(), |folder| folder.to_string_lossy()),
            reads.vocabulary,
            alphabet.len()
        ))
    }

    /// The tokens of a text, and how many of its characters, spaces aside, are in none.
    fn read(&self, text: &str) -> std::result::Result<(Vec<u32>, usize), String> {
        match self {
            Self::Own(tokenizer) => {
                let found = tokenizer.encode(text, false).map_err(|e| e.to_string())?;
                let mut seen = vec![false; text.len()];
                for (start, end) in found.get_offsets() {
                    seen[*start.min(&text.len())..*end.min(&text.len())].fill(true);
                }
                let is_lost = |(at, c): &(usize, char)| !c.is_whitespace() && !seen[*at];
                Ok((found.get_ids().to_vec(), text.char_indices().filter(is_lost).count()))
            }
            Self::Characters(alphabet) => {
                let token =
                    |c| alphabet.binary_search(&c).map(|at| at as u32).map_err(|_| format!("`{c}` is no token"));
                Ok((text.chars().map(token).collect::<std::result::Result<_, _>>()?, 0))
            }
            Self::Bytes => Ok((text.bytes().map(u32::from).collect(), 0)),
        }
    }
}
