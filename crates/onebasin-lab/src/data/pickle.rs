//! Pickles of a dictionary of arrays, lists and text, read as data. Nothing is called: what a pickle would call is compared
//! with the four names that such files have, and anything else is refused.
//!
//! Read are the opcodes that Python 2 and 3 write for such a dictionary, in protocols 2 to 4. Source: Python's
//! `pickletools`, NumPy's `ndarray.__reduce__`.

use std::borrow::Cow;
use std::collections::HashMap;

type Result<T> = std::result::Result<T, String>;

/// Opcodes of a pickle; the largest file of CIFAR has 360,000.
const MAX_STEPS: usize = 1 << 22;

/// Where a value stands among all values.
type Id = usize;

/// A value.
#[derive(Debug, Clone)]
enum PickleValue<'a> {
    None,
    Number(i64),
    /// Bytes, or text as UTF-8.
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Call(Callee),
    /// An element type of this name.
    Element(Id),
    /// An array that has no content yet, or has this: shape, element type, whether it is Fortran-ordered, bytes.
    Array(Option<[Id; 4]>),
}

/// What may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callee {
    /// `_codecs.encode(text, "latin1")`: bytes.
    Encode,
    /// `numpy.core.multiarray._reconstruct(ndarray, …)`: an array without content.
    Reconstruct,
    /// `numpy.dtype(name, …)`
    Element,
    /// `numpy.ndarray`, which is only an argument.
    Array,
}

/// A pickle's dictionary.
pub(super) struct Dictionary<'a> {
    values: Vec<PickleValue<'a>>,
    entries: Vec<(Id, Id)>,
}

/// A matrix of bytes.
pub(super) struct Matrix<'a> {
    pub rows: usize,
    pub columns: usize,
    /// Row after row.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> Dictionary<'a> {
    /// Reads a pickle.
    ///
    /// Memory is a small multiple of the pickle's own length, and cost linear in it.
    ///
    /// # Errors
    /// Says where an opcode is unknown or misplaced, and what is asked for that is not on the list.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut machine = PickleMachine { bytes, budget: bytes.len(), ..PickleMachine::default() };
        for _ in 0..MAX_STEPS {
            let at = machine.at;
            match machine.step().map_err(|why| format!("byte {at} of the pickle: {why}"))? {
                None => {}
                Some(id) => {
                    let PickleValue::Dict(entries) = &machine.values[id] else {
                        return Err("the pickle holds no dictionary".to_owned());
                    };
                    return Ok(Self { entries: entries.clone(), values: machine.values });
                }
            }
        }
        Err(format!("the pickle has more than {MAX_STEPS} opcodes"))
    }

    fn get(&self, key: &str) -> Option<&PickleValue<'a>> {
        let is = |id: Id| matches!(&self.values[id], PickleValue::Bytes(found) if **found == *key.as_bytes());
        self.entries.iter().rev().find(|(found, _)| is(*found)).map(|(_, id)| &self.values[*id])
    }

    /// A list of numbers below `end`.
    pub(super) fn numbers(&self, key: &str, end: u16) -> Result<Vec<u16>> {
        let Some(PickleValue::List(items)) = self.get(key) else {
            return Err(format!("expected a list `{key}`, found none"));
        };
        let number = |(k, &id): (usize, &Id)| match &self.values[id] {
            PickleValue::Number(n) if (0..i64::from(end)).contains(n) => Ok(*n as u16),
            PickleValue::Number(n) => Err(format!("`{key}`: entry {k} is {n}, not in 0..{end}")),
            _ => Err(format!("`{key}`: entry {k} is no number")),
        };
        items.iter().enumerate().map(number).collect()
    }

    /// An array of bytes with two axes.
    pub(super) fn matrix(&self, key: &str) -> Result<Matrix<'_>> {
        let fail = |why: String| Err(format!("`{key}`: {why}"));
        let Some(PickleValue::Array(Some([shape, element, fortran, content]))) = self.get(key) else {
            return fail("expected an array, found none".to_owned());
        };
        let bytes = match (&self.values[*element], &self.values[*content]) {
            (PickleValue::Element(name), PickleValue::Bytes(bytes)) => match &self.values[*name] {
                PickleValue::Bytes(name) if **name == *b"u1" => bytes,
                _ => return fail("expected an array of unsigned bytes, found another element type".to_owned()),
            },
            _ => return fail("the array has no bytes or no element type".to_owned()),
        };
        let axes: Option<Vec<usize>> = match &self.values[*shape] {
            PickleValue::Tuple(axes) => axes.iter().map(|&id| self.size(id)).collect(),
            _ => None,
        };
        let Some([rows, columns]) = axes.as_deref() else {
            return fail("expected an array of two axes".to_owned());
        };
        let (rows, columns) = (*rows, *columns);
        if rows.checked_mul(columns) != Some(bytes.len()) {
            return fail(format!("an array of {rows} × {columns} bytes has {}", bytes.len()));
        }
        let bytes = match self.size(*fortran) {
            Some(0) => Cow::Borrowed(&**bytes),
            Some(1) => Cow::Owned((0..rows).flat_map(|r| bytes[r..].iter().step_by(rows)).copied().collect()),
            _ => return fail("the array does not say in which order its bytes are".to_owned()),
        };
        Ok(Matrix { rows, columns, bytes })
    }

    fn size(&self, id: Id) -> Option<usize> {
        if let PickleValue::Number(n) = self.values[id] { usize::try_from(n).ok() } else { None }
    }
}

/// The state of reading: values once made stay where they are, and all else holds their places.
#[derive(Default)]
struct PickleMachine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<PickleValue<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes of text that may still be made into others.
    budget: usize,
}

impl<'a> PickleMachine<'a> {
    /// One opcode; at the last one, the value that the pickle is.
    fn step(&mut self) -> Result<Option<Id>> {
        let [opcode] = self.word()?;
        match opcode {
            0x80 => {
                let [version] = self.word()?;
                if !(2..=4).contains(&version) {
                    return Err(format!("expected protocol 2, 3 or 4, found {version}"));
                }
            }
            0x95 => self.at = self.at.checked_add(8).ok_or("a frame without end")?,
            b'}' => self.push(PickleValue::Dict(Vec::new())),
            b']' => self.push(PickleValue::List(Vec::new())),
            b')' => self.push(PickleValue::Tuple(Vec::new())),
            b'N' => self.push(PickleValue::None),
            0x88 => self.push(PickleValue::Number(1)),
            0x89 => self.push(PickleValue::Number(0)),
            b'K' => self.number(|m| Ok(m.word::<1>()?[0].into()))?,
            b'M' => self.number(|m| Ok(u16::from_le_bytes(m.word()?).into()))?,
            b'J' => self.number(|m| Ok(i32::from_le_bytes(m.word()?).into()))?,
            0x8a => self.number(Self::long)?,
            b'U' | b'C' | 0x8c => {
                let [len] = self.word()?;
                self.text(usize::from(len))?;
            }
            b'T' | b'B' | b'X' => {
                let len = u32::from_le_bytes(self.word()?);
                self.text(len as usize)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(count).filter(|&s| s >= self.floor()).ok_or(SHORT)?;
                let items = self.stack.split_off(start);
                self.push(PickleValue::Tuple(items));
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(PickleValue::Tuple(items));
            }
            b'q' => {
                let [key] = self.word()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.word()?);
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [key] = self.word()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.word()?);
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(PickleValue::Call(Callee::of(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (PickleValue::Bytes(name), PickleValue::Bytes(module)) = (&self.values[name], &self.values[module])
                else {
                    return Err("a name that is no text".to_owned());
                };
                let callee = Callee::of(module, name)?;
                self.push(PickleValue::Call(callee));
            }
            b'R' => self.call()?,
            b'b' => self.build()?,
            b'a' | b'e' => {
                let items = if opcode == b'e' { self.since_mark()? } else { vec![self.pop()?] };
                match self.top().map(|id| &mut self.values[id])? {
                    PickleValue::List(list) => list.extend(items),
                    _ => return Err("entries for what is no list".to_owned()),
                }
            }
            b's' | b'u' => {
                let items = if opcode == b'u' {
                    self.since_mark()?
                } else {
                    let (value, key) = (self.pop()?, self.pop()?);
                    vec![key, value]
                };
                let (pairs, rest) = items.as_chunks::<2>();
                match self.top().map(|id| &mut self.values[id])? {
                    PickleValue::Dict(dict) if rest.is_empty() => {
                        dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                    }
                    _ => return Err("entries for what is no dictionary, or a key without a value".to_owned()),
                }
            }
            b'.' => return self.pop().map(Some),
            _ => return Err(format!("opcode {opcode:#04x} does not occur in files of this data set")),
        }
        Ok(None)
    }

    /// The next bytes.
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let found = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or_else(|| format!("{len} more bytes are expected, the file ends"))?;
        self.at += len;
        Ok(found)
    }

    fn word<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes as taken"))
    }

    /// A line of at most 64 bytes.
    fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().take(65).position(|&b| b == b'\n').ok_or("a name without end")?;
        let line = self.take(len)?;
        self.at += 1;
        Ok(line)
    }

    fn number(&mut self, read: impl FnOnce(&mut Self) -> Result<i64>) -> Result<()> {
        let number = read(self)?;
        self.push(PickleValue::Number(number));
        Ok(())
    }

    /// A number of as many bytes as it says.
    fn long(&mut self) -> Result<i64> {
        let [len] = self.word()?;
        let bytes = self.take(usize::from(len))?;
        if bytes.len() > 8 {
            return Err(format!("a number of {len} bytes"));
        }
        let negative = bytes.last().is_some_and(|b| b >> 7 == 1);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(word))
    }

    fn text(&mut self, len: usize) -> Result<()> {
        let text = self.take(len)?;
        self.push(PickleValue::Bytes(Cow::Borrowed(text)));
        Ok(())
    }

    fn push(&mut self, value: PickleValue<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Where the values after the last mark start.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| SHORT.to_owned())
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        let id = self.memo.get(&key).copied().ok_or_else(|| format!("nothing was kept as {key}"))?;
        self.stack.push(id);
        Ok(())
    }

    /// What a call of one of the known names gives.
    fn call(&mut self) -> Result<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (PickleValue::Tuple(arguments), PickleValue::Call(callee)) =
            (&self.values[arguments], &self.values[callee])
        else {
            return Err("a call of what cannot be called".to_owned());
        };
        let made = match (callee, &arguments[..]) {
            (Callee::Encode, &[text, codec]) => self.encode(text, codec)?,
            (Callee::Reconstruct, &[class, ..]) if matches!(self.values[class], PickleValue::Call(Callee::Array)) => {
                PickleValue::Array(None)
            }
            (Callee::Element, &[name, ..]) => PickleValue::Element(name),
            _ => return Err(format!("a call of {callee:?} with {} arguments", arguments.len())),
        };
        self.push(made);
        Ok(())
    }

    /// The bytes that UTF-8 text of characters below 256 stands for.
    fn encode(&mut self, text: Id, codec: Id) -> Result<PickleValue<'a>> {
        let (PickleValue::Bytes(text), PickleValue::Bytes(codec)) = (&self.values[text], &self.values[codec]) else {
            return Err("text to encode that is none".to_owned());
        };
        if !matches!(&**codec, b"latin1" | b"latin-1") {
            return Err("text in another encoding than latin1".to_owned());
        }
        self.budget = self.budget.checked_sub(text.len()).ok_or("text is encoded again and again")?;
        let text = std::str::from_utf8(text).map_err(|e| format!("text that is no UTF-8: {e}"))?;
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        Ok(PickleValue::Bytes(Cow::Owned(bytes.ok_or("text that is not latin1")?)))
    }

    /// Gives an array its content; what an element type is given changes nothing for single bytes.
    fn build(&mut self) -> Result<()> {
        let (state, target) = (self.pop()?, self.top()?);
        let PickleValue::Tuple(state) = &self.values[state] else { return Err("a state that is no tuple".to_owned()) };
        let content = match state[..] {
            [_, shape, element, fortran, content] => Some([shape, element, fortran, content]),
            _ => None,
        };
        match &mut self.values[target] {
            PickleValue::Array(array) if content.is_some() => *array = content,
            PickleValue::Element(_) => {}
            _ => return Err("a state for what has none".to_owned()),
        }
        Ok(())
    }
}

const SHORT: &str = "a value is missing";

impl Callee {
    fn of(module: &[u8], name: &[u8]) -> Result<Self> {
        match (module, name) {
            (b"_codecs", b"encode") => Ok(Self::Encode),
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Ok(Self::Reconstruct),
            (b"numpy", b"dtype") => Ok(Self::Element),
            (b"numpy", b"ndarray") => Ok(Self::Array),
            _ => {
                let [module, name] = [module, name].map(String::from_utf8_lossy);
                Err(format!("asks for `{module}.{name}`, which files of this data set do not"))
            }
        }
    }
}
