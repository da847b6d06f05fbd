//! Protobuf as bytes: where each field lies, which messages hold tensors, and messages put together again from pieces
//! of the old one.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;

use super::Checked;

/// Messages within messages that are followed before a file is refused; the limit of protobuf's own readers.
pub(super) const MAX_DEPTH: usize = 100;

/// The messages on the way from a model to its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireKind {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl WireKind {
    /// The message that a field holds, if it leads to a tensor.
    pub(super) fn child(self, field: &WireField) -> Option<Self> {
        use WireKind::{Attribute, Function, Graph, Model, Node, Sparse, Tensor, Training};
        if !field.delimited {
            return None;
        }
        Some(match (self, field.tag) {
            (Model, 7) | (Training, 1 | 2) | (Attribute, 6 | 11) => Graph,
            (Model, 20) => Training,
            (Model, 25) => Function,
            (Graph, 1) | (Function, 7) => Node,
            (Graph, 15) | (Attribute, 22 | 23) => Sparse,
            (Node, 5) | (Function, 11) => Attribute,
            (Graph, 5) | (Sparse, 1 | 2) | (Attribute, 5 | 10) => Tensor,
            _ => return None,
        })
    }
}

/// One field of a message, as positions in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WireField {
    /// Its number.
    pub(super) tag: u32,
    /// Whether it says its length: a message, a string, bytes, or packed numbers.
    pub(super) delimited: bool,
    /// Number, length and content.
    pub(super) whole: Range<usize>,
    /// The content alone.
    pub(super) payload: Range<usize>,
}

/// The fields of the message at `range` of `bytes`, in order, until the first that is no field.
pub(super) fn fields(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Checked<WireField>> + '_ {
    let mut at = range.start;
    std::iter::from_fn(move || {
        (at < range.end).then(|| {
            let field = field(bytes, at..range.end);
            at = field.as_ref().map_or(range.end, |f| f.whole.end);
            field
        })
    })
}

fn field(bytes: &[u8], range: Range<usize>) -> Checked<WireField> {
    let cut = || format!("the field at byte {} is cut short or damaged", range.start);
    let message = bytes.get(..range.end).ok_or_else(cut)?;
    let (key, mut start) = varint(message, range.start).ok_or_else(cut)?;
    let tag = u32::try_from(key >> 3).ok().filter(|&t| t > 0).ok_or_else(cut)?;
    let length = match key & 7 {
        0 => varint(message, start).map(|(_, end)| end - start),
        1 => Some(8),
        2 => varint(message, start).and_then(|(length, end)| {
            start = end;
            usize::try_from(length).ok()
        }),
        5 => Some(4),
        kind => return Err(format!("the field at byte {} has wire type {kind}, which ONNX never uses", range.start)),
    };
    let end = length.and_then(|l| start.checked_add(l)).filter(|&end| end <= range.end).ok_or_else(cut)?;
    Ok(WireField { tag, delimited: key & 7 == 2, whole: range.start..end, payload: start..end })
}

fn varint(bytes: &[u8], start: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.get(start..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, start + i + 1));
        }
    }
    None
}

/// Where every tensor within the message at `range` lies, at whatever depth.
pub(super) fn tensors(bytes: &[u8], kind: WireKind, range: Range<usize>) -> Checked<Vec<Range<usize>>> {
    fn go(bytes: &[u8], kind: WireKind, range: Range<usize>, depth: usize, out: &mut Vec<Range<usize>>) -> Checked<()> {
        if kind == WireKind::Tensor {
            out.push(range);
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(format!("messages are nested more than {MAX_DEPTH} deep at byte {}", range.start));
        }
        for field in fields(bytes, range) {
            let field = field?;
            if let Some(child) = kind.child(&field) {
                go(bytes, child, field.payload, depth + 1, out)?;
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    go(bytes, kind, range, 0, &mut out)?;
    Ok(out)
}

/// Bytes in pieces, most of them still in a memory map.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Rope {
    /// Number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.len = self.len.saturating_add(piece.len());
        self.pieces.push(piece);
    }

    /// Adds a field that says its length.
    pub(super) fn field(&mut self, tag: u32, content: impl Into<Self>) {
        let content = content.into();
        let mut head = Vec::new();
        put_varint(&mut head, u64::from(tag) << 3 | 2);
        put_varint(&mut head, content.len as u64);
        self.push(head.into());
        self.len = self.len.saturating_add(content.len);
        self.pieces.extend(content.pieces);
    }

    /// Adds a field that holds a number.
    pub(super) fn number(&mut self, tag: u32, value: u64) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::from(tag) << 3);
        put_varint(&mut bytes, value);
        self.push(bytes.into());
    }

    /// Writes the bytes in order.
    pub(super) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        self.pieces.iter().try_for_each(|piece| out.write_all(piece))
    }
}

impl From<Bytes> for Rope {
    fn from(piece: Bytes) -> Self {
        Self { len: piece.len(), pieces: vec![piece] }
    }
}

impl From<Vec<u8>> for Rope {
    fn from(piece: Vec<u8>) -> Self {
        Bytes::from(piece).into()
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart_again() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut rope = Rope::default();
            rope.number(14, value);
            rope.field(9, vec![7; 200]);
            let mut bytes = Vec::new();
            rope.write_to(&mut bytes).unwrap();
            assert_eq!(bytes.len(), rope.len());
            let found: Vec<WireField> = fields(&bytes, 0..bytes.len()).collect::<Result<_, _>>().unwrap();
            assert_eq!((found[0].tag, found[1].tag, found.len()), (14, 9, 2));
            assert_eq!(varint(&bytes, found[0].payload.start), Some((value, found[0].payload.end)));
            assert_eq!(bytes[found[1].payload.clone()], [7; 200]);
        }
    }

    #[test]
    fn lengths_beyond_the_message_groups_and_field_zero_are_refused() {
        for bytes in
            [&[0x0a, 5, 1][..], &[0x0b], &[0x02, 0], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
        {
            assert!(fields(bytes, 0..bytes.len()).any(|f| f.is_err()), "{bytes:?}");
        }
    }
}
