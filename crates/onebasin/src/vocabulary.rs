//! Language models of different tokens: rows of their tables side by side where tokens spell the same.
//!
//! A row of an embedding or a head belongs to a token, and tokenizers number tokens as they like. So B is read with the rows of its
//! tables where A has the same tokens, and of tokens that B has not, the merged network has what A has.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use onebasin_core::{DType, Params, Storage, Tensor};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::error::Result;
use crate::model::Model;

/// How the tokens of two networks correspond.
#[derive(Debug, Clone)]
pub(crate) enum Vocabulary {
    /// They are no transformers with tokenizers that can be read: rows go by their numbers.
    Unknown,
    /// Every token has the same number in both.
    Same,
    /// They are numbered in two ways.
    Other(Arc<Tokens>),
}

/// Tokens of A in B.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The row of B for every row of A's tables; none of tokens that B has not.
    rows: Arc<[Option<u32>]>,
    /// Rows of B's tables.
    others: usize,
    /// How many there are of what.
    pub(crate) count: Count,
}

/// Tokens by whether both networks have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// In both.
    pub(crate) shared: usize,
    /// In A alone.
    pub(crate) only_a: usize,
    /// In B alone.
    pub(crate) only_b: usize,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shared, only_a, only_b } = self;
        write!(
            f,
            "A and B have different tokens: {shared} are in both by what they spell, and merged as such; {only_a} are A's alone and \
             stay as A has them; {only_b} are B's alone and are left out; A's tokenizer goes along"
        )
    }
}

/// B as a network of A's tokens, where both are transformers with tokenizers that number them in two ways.
///
/// Rows of tokens that B has not are the mean of those that both have, so that they weigh little where units are compared.
///
/// # Errors
/// If a table cannot be read.
pub(crate) fn in_tokens_of(a: &Model, b: Model) -> Result<(Model, Vocabulary)> {
    let (Some(of_a), Some(of_b)) = (a.tokens(), b.tokens()) else { return Ok((b, Vocabulary::Unknown)) };
    let (Some(first), Some(second)) = (Spelled::read(a.path()), Spelled::read(b.path())) else {
        return Ok((b, Vocabulary::Unknown));
    };
    let rows = first.rows_in(&second, of_a, of_b);
    if of_a == of_b && first.raw == second.raw {
        return Ok((b, Vocabulary::Same));
    }
    let shared = rows.iter().flatten().count();
    let used: HashSet<u32> = rows.iter().flatten().copied().collect();
    let count = Count { shared, only_a: first.raw.len() - shared, only_b: second.raw.len() - used.len() };
    let tokens = Tokens { rows, others: of_b, count };
    let b = tokens.read(&b)?;
    Ok((b, Vocabulary::Other(Arc::new(tokens))))
}

impl Tokens {
    /// A network of B's tokens as one of A's.
    ///
    /// # Errors
    /// If it has another number of tokens than B.
    pub(crate) fn read(&self, model: &Model) -> Result<Model> {
        model.with_tokens(self.rows.len(), &|table| {
            let (shape, rows) = (table.shape().to_vec(), 0..self.others);
            if shape.first() == Some(&self.others) {
                gathered(table, &self.rows)
            } else {
                Err(onebasin_core::Error::Rows { shape, rows }.into())
            }
        })
    }

    /// Gives a network the rows of A for all tokens that A alone has.
    pub(crate) fn keep(&self, params: &mut Params, a: &Model) -> Result<()> {
        for name in a.tables_of_tokens()? {
            let own = params.require(&name)?;
            let storage =
                Kept { own: own.clone(), of_a: a.params().require(&name)?.clone(), rows: Arc::clone(&self.rows) };
            let kept = Tensor::stored(own.dtype(), own.shape(), Arc::new(storage), 0)?;
            params.insert(&name[..], kept);
        }
        Ok(())
    }
}

/// What the tokens of a tokenizer spell.
struct Spelled {
    /// Tokens as the tokenizer has them.
    raw: HashMap<String, u32>,
    style: Style,
    /// Tokens that stand for what they are: `<|endoftext|>`.
    added: Vec<u32>,
}

/// How a tokenizer writes bytes, spaces and the inside of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A character a byte, `Ġ` a space.
    Bytes,
    /// `▁` a space, `<0x0A>` a byte.
    Spaces,
    /// `##` the inside of a word.
    Words,
}

impl Spelled {
    /// The tokenizer of a folder, if it has one that can be read.
    fn read(folder: &Path) -> Option<Self> {
        let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).ok()?;
        let decoder = serde_json::to_string(&tokenizer.get_decoder()).ok()?;
        let style = match (decoder.contains("\"ByteLevel\""), decoder.contains("\"WordPiece\"")) {
            (true, _) => Style::Bytes,
            (false, true) => Style::Words,
            (false, false) => Style::Spaces,
        };
        let added = tokenizer.get_added_tokens_decoder().into_keys().collect();
        Some(Self { raw: tokenizer.get_vocab(true), style, added })
    }

    /// The row of another's tables for each row of these; none of tokens that the other has not, and of rows without a token.
    fn rows_in(&self, other: &Self, len: usize, others: usize) -> Arc<[Option<u32>]> {
        let mut rows = vec![None; len];
        let there = |id: u32| (id as usize) < others;
        if self.style == other.style {
            for (token, id) in &self.raw {
                if let Some(row) = rows.get_mut(*id as usize) {
                    *row = other.raw.get(token).copied().filter(|id| there(*id));
                }
            }
            return rows.into();
        }
        let mut spelled: HashMap<Vec<u8>, u32> = HashMap::new();
        for (token, id) in other.raw.iter().filter(|(_, id)| there(**id)) {
            spelled.entry(other.spelling(token, *id)).and_modify(|first| *first = (*first).min(*id)).or_insert(*id);
        }
        for (token, id) in &self.raw {
            if let Some(row) = rows.get_mut(*id as usize) {
                *row = spelled.get(&self.spelling(token, *id)).copied();
            }
        }
        rows.into()
    }

    /// The bytes that a token spells.
    fn spelling(&self, token: &str, id: u32) -> Vec<u8> {
        if self.added.contains(&id) {
            return token.as_bytes().to_vec();
        }
        match self.style {
            Style::Bytes => token.chars().flat_map(byte_of).collect(),
            Style::Spaces => {
                let byte =
                    token.strip_prefix("<0x").and_then(|hex| u8::from_str_radix(hex.strip_suffix('>')?, 16).ok());
                byte.map_or_else(|| token.replace('▁', " ").into_bytes(), |byte| vec![byte])
            }
            Style::Words => token.strip_prefix("##").map_or_else(|| format!(" {token}"), str::to_owned).into_bytes(),
        }
    }
}

/// The byte that a character of a byte-level tokenizer stands for, else its own.
///
/// Printable characters of Latin-1 are bytes themselves; all other bytes are, in their order, the characters from 256 on.
fn byte_of(char: char) -> Vec<u8> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let at = char as usize;
    let found = if at < 256 {
        Some(at as u8).filter(printable)
    } else {
        (0..=255).filter(|byte| !printable(byte)).nth(at - 256)
    };
    found.map_or_else(|| char.to_string().into_bytes(), |byte| vec![byte])
}

/// A table with other rows, made when they are looked at.
struct Gathered {
    from: Tensor,
    rows: Arc<[Option<u32>]>,
    /// A row for tokens that it has not.
    mean: Vec<u8>,
}

/// Rows that are read at a time while their mean is taken.
const RUN: usize = 4096;

fn gathered(from: &Tensor, rows: &Arc<[Option<u32>]>) -> Result<Tensor> {
    let (all, each) = (from.shape()[0], from.shape()[1..].iter().product::<usize>());
    let mut shared = vec![false; all];
    for row in rows.iter().flatten() {
        shared[*row as usize] = true;
    }
    let (mut sum, mut count) = (vec![0.0; each], 0_usize);
    for start in (0..all).step_by(RUN) {
        let run = from.rows_anew(Some(start..all.min(start + RUN)))?;
        let values = run.to_f64()?;
        for (_, row) in values.chunks_exact(each).enumerate().filter(|(k, _)| shared[start + k]) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            count += 1;
        }
    }
    for value in &mut sum {
        *value /= count.max(1) as f64;
    }
    let mean = Tensor::from_f64_as(from.dtype(), &[each], &sum)?.bytes().to_vec();
    let shape: Vec<usize> = [rows.len()].into_iter().chain(from.shape()[1..].iter().copied()).collect();
    let storage = Gathered { from: from.clone(), rows: Arc::clone(rows), mean };
    Ok(Tensor::stored(from.dtype(), &shape, Arc::new(storage), 0)?)
}

/// Calls with every row that a range of bytes has a part of: its number, where in it the part begins, and the bytes to be filled.
fn by_rows(
    each: usize,
    offset: u64,
    to: &mut [u8],
    mut fill: impl FnMut(usize, usize, &mut [u8]) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    let (mut at, mut rest) = (offset as usize, to);
    while !rest.is_empty() {
        let within = at % each;
        let (part, after) = rest.split_at_mut((each - within).min(rest.len()));
        fill(at / each, within, part)?;
        at += part.len();
        rest = after;
    }
    Ok(())
}

fn said(error: &onebasin_core::Error) -> String {
    error.to_string()
}

impl Storage for Gathered {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        by_rows(self.mean.len(), offset, to, |row, within, part| {
            let range = within..within + part.len();
            match self.rows[row] {
                Some(row) => {
                    let own =
                        self.from.rows_anew(Some(row as usize..row as usize + 1)).map_err(|error| said(&error))?;
                    part.copy_from_slice(&own.read().map_err(|error| said(&error))?[range]);
                }
                None => part.copy_from_slice(&self.mean[range]),
            }
            Ok(())
        })
    }
}

/// A table, with another's rows of tokens that only that one has.
struct Kept {
    own: Tensor,
    of_a: Tensor,
    rows: Arc<[Option<u32>]>,
}

impl Kept {
    /// Bytes of these rows of a table, in this type.
    fn read(table: &Tensor, rows: std::ops::Range<usize>, dtype: DType) -> std::result::Result<Tensor, String> {
        let own = table.rows_anew(Some(rows)).map_err(|error| said(&error))?;
        if own.dtype() == dtype { Ok(own) } else { own.cast(dtype).map_err(|error| said(&error)) }
    }
}

impl Storage for Kept {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        let each = self.own.byte_len() / self.rows.len();
        let first = offset as usize / each;
        let rows = first..(offset as usize + to.len()).div_ceil(each);
        let own = Self::read(&self.own, rows.clone(), self.own.dtype())?;
        let of_a = Self::read(&self.of_a, rows, self.own.dtype())?;
        let (own, of_a) = (own.read().map_err(|error| said(&error))?, of_a.read().map_err(|error| said(&error))?);
        by_rows(each, offset, to, |row, within, part| {
            let from = if self.rows[row].is_some() { own } else { of_a };
            let at = (row - first) * each + within;
            part.copy_from_slice(&from[at..at + part.len()]);
            Ok(())
        })
    }
}
