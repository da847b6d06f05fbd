//! Pickles as data: opcodes are walked and what they would make is written down; nothing is called.
//!
//! Every value has a place and stays there; all else holds places. So a value that is met again is no copy, a value may hold
//! itself, and neither costs more than its opcodes. Source: Python's `pickletools`.

use std::collections::HashMap;

use super::tensor::TensorPlan;

/// Where a value lies in [`Pickle::values`].
pub(super) type Id = u32;

/// What an opcode makes.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `None`, floats, integers beyond 64 bits: nothing that is asked for.
    Other,
    Int(i64),
    Text(&'a str),
    /// Bytes, and text of Python 2 that is no UTF-8.
    Bytes(&'a [u8]),
    /// A list or a set.
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or a function.
    Name(&'a str, &'a str),
    /// What the program that wrote the pickle keeps elsewhere: for torch, a storage.
    Kept(Id),
    /// What a call would give.
    Call(Box<Call>),
}

/// A call that is not made, and what is put into its result.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) callee: Id,
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
    pub(super) entries: Vec<(Id, Id)>,
    pub(super) items: Vec<Id>,
}

/// A pickle that was walked to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    /// The value that the pickle is.
    pub(super) root: Id,
    /// Bytes up to its end.
    pub(super) length: usize,
    /// Tensors that the program keeps elsewhere as wholes, by key.
    pub(super) tensors: HashMap<String, TensorPlan>,
}

impl<'a> Pickle<'a> {
    /// Walks a pickle of any protocol from the start of `bytes`.
    ///
    /// Cost: linear in the pickle; memory about 100 bytes a value.
    ///
    /// # Errors
    /// Says where an opcode is unknown or misplaced, the bytes end, or there are more than `limit` values.
    pub(super) fn walk(bytes: &'a [u8], limit: usize) -> Result<Self, String> {
        let mut machine = PickleMachine { bytes, ..PickleMachine::default() };
        // What opcodes of one byte make over and over.
        machine.values.push(Value::Other);
        machine.values.push(Value::Tuple(Vec::new()));
        machine.values.extend((0..256).map(Value::Int));
        loop {
            let at = machine.at;
            if machine.values.len().max(machine.stack.len()).max(machine.marks.len()) > limit {
                return Err(format!("pickle: more than {limit} values, at byte {at}"));
            }
            if let Some(root) = machine.step().map_err(|why| format!("pickle: {why}, at byte {at}"))? {
                return Ok(Self { values: machine.values, root, length: machine.at, tensors: HashMap::new() });
            }
        }
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Value::Int(number) = self.get(id) { Some(*number) } else { None }
    }

    pub(super) fn size(&self, id: Id) -> Option<usize> {
        usize::try_from(self.int(id)?).ok()
    }

    /// A text or a number, as the key of something that is kept elsewhere.
    pub(super) fn key(&self, id: Id) -> Option<String> {
        self.text(id).map(str::to_owned).or_else(|| self.int(id).map(|key| key.to_string()))
    }

    /// The tensor of this key that the program keeps elsewhere.
    pub(super) fn kept_tensor(&self, key: Id) -> Option<&TensorPlan> {
        self.tensors.get(&self.key(key)?)
    }

    /// The items of a list or a tuple.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        if let Value::List(items) | Value::Tuple(items) = self.get(id) { Some(items) } else { None }
    }

    /// Module and name of a class or a function.
    pub(super) fn name(&self, id: Id) -> Option<(&'a str, &'a str)> {
        if let Value::Name(module, name) = self.get(id) { Some((module, name)) } else { None }
    }
}

/// The state of a walk.
#[derive(Default)]
struct PickleMachine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

const OTHER: Id = 0;
const EMPTY: Id = 1;
const ZERO: Id = 2;
const SHORT: &str = "a value is missing";

impl<'a> PickleMachine<'a> {
    /// One opcode; at the last one, the value that the pickle is.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.byte()? {
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            // Nothing, and a buffer that is not in the file.
            b'N' | 0x97 => self.stack.push(OTHER),
            0x88 => self.stack.push(ZERO + 1),
            0x89 => self.stack.push(ZERO),
            b'K' => {
                let number = self.byte()?;
                self.int(number.into())?;
            }
            b'M' => {
                let number = self.number(2)?;
                self.int(number as i64)?;
            }
            b'J' => {
                let number = self.number(4)?;
                self.int(i64::from(number as u32 as i32))?;
            }
            code @ (0x8a | 0x8b) => {
                let length = self.number(if code == 0x8a { 1 } else { 4 })?;
                self.long(length)?;
            }
            b'I' | b'L' => self.decimal()?,
            b'F' => {
                self.line()?;
                self.stack.push(OTHER);
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(OTHER);
            }
            b'U' | b'C' | 0x8c => self.string(1)?,
            b'T' | b'B' | b'X' => self.string(4)?,
            0x8d | 0x8e | 0x96 => self.string(8)?,
            b'S' | b'V' => {
                let line = self.line()?;
                let quoted = line.len() >= 2 && matches!(line[0], b'\'' | b'"');
                self.text(if quoted { &line[1..line.len() - 1] } else { line })?;
            }
            0x98 => drop(self.top()?),
            b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b')' => self.stack.push(EMPTY),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // With nothing above a mark, what is dropped is the mark.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            code @ 0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Value::Tuple(items))?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))?;
            }
            b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let entries = pairs(&self.since_mark()?)?;
                self.push(Value::Dict(entries))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.set(pairs(&items)?)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(pairs(&items)?)?;
            }
            code @ (b'q' | b'r') => {
                let key = self.number(if code == b'q' { 1 } else { 4 })?;
                self.remember(key)?;
            }
            b'p' => {
                let key = self.key()?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            code @ (b'h' | b'j') => {
                let key = self.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(key)?;
            }
            b'g' => {
                let key = self.key()?;
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.name_line()?, self.name_line()?);
                self.push(Value::Name(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module as usize], &self.values[name as usize]) {
                    (&Value::Text(module), &Value::Text(name)) => self.push(Value::Name(module, name))?,
                    _ => return Err("the name of a class that is no text".to_owned()),
                }
            }
            // Names that both sides have numbered beforehand.
            code @ 0x82..=0x84 => {
                self.take(1 << (code - 0x82))?;
                self.stack.push(OTHER);
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            0x92 => {
                let (_, arguments, callee) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            b'o' => {
                let mut items = self.since_mark()?;
                if items.is_empty() {
                    return Err(SHORT.to_owned());
                }
                let callee = items.remove(0);
                self.call_with(callee, items)?;
            }
            b'i' => {
                let (module, name) = (self.name_line()?, self.name_line()?);
                let items = self.since_mark()?;
                self.push(Value::Name(module, name))?;
                let callee = self.pop()?;
                self.call_with(callee, items)?;
            }
            b'b' => {
                let (state, target) = (self.pop()?, self.top()?);
                if let Value::Call(call) = &mut self.values[target as usize] {
                    call.state = Some(state);
                }
            }
            b'P' => {
                let line = self.line()?;
                self.text(line)?;
                let key = self.pop()?;
                self.push(Value::Kept(key))?;
            }
            b'Q' => {
                let key = self.pop()?;
                self.push(Value::Kept(key))?;
            }
            other => return Err(format!("no opcode {other:#04x}")),
        }
        Ok(None)
    }

    /// The next bytes.
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let found = self.at.checked_add(length).and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or_else(|| format!("{length} more bytes are expected, it ends"))?;
        self.at += length;
        Ok(found)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(word))
    }

    /// The bytes up to the end of the line.
    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or("a line without end")?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn name_line(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.line()?).map_err(|_| "the name of a class that is no text".to_owned())
    }

    /// The number of a line, as a key of the memo.
    fn key(&mut self) -> Result<u64, String> {
        let line = std::str::from_utf8(self.line()?).ok();
        line.and_then(|line| line.parse().ok()).ok_or_else(|| "a key of the memo that is no number".to_owned())
    }

    fn decimal(&mut self) -> Result<(), String> {
        let line = std::str::from_utf8(self.line()?).unwrap_or_default();
        match line.trim_end_matches('L').parse() {
            Ok(number) => self.int(number)?,
            Err(_) => self.stack.push(OTHER),
        }
        Ok(())
    }

    /// A number of `length` bytes.
    fn long(&mut self, length: u64) -> Result<(), String> {
        let bytes = self.take(usize::try_from(length).map_err(|e| e.to_string())?)?;
        if bytes.len() > 8 {
            self.push(Value::Bytes(bytes))?;
            return Ok(());
        }
        let negative = bytes.last().is_some_and(|b| b >> 7 == 1);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        self.int(i64::from_le_bytes(word))
    }

    fn int(&mut self, number: i64) -> Result<(), String> {
        if let Ok(small) = u8::try_from(number) {
            self.stack.push(ZERO + Id::from(small));
            return Ok(());
        }
        self.push(Value::Int(number))
    }

    /// Bytes or text behind a length of so many bytes.
    fn string(&mut self, bytes: usize) -> Result<(), String> {
        let length = self.number(bytes)?;
        let found = self.take(usize::try_from(length).map_err(|e| e.to_string())?)?;
        self.text(found)
    }

    fn text(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        self.push(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        let id = Id::try_from(self.values.len()).map_err(|_| "it has more values than can be counted".to_owned())?;
        self.values.push(value);
        self.stack.push(id);
        Ok(())
    }

    /// Where the values after the last mark start.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, String> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| SHORT.to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn last(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor()).ok_or(SHORT)?;
        Ok(self.stack.split_off(start))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, key: u64) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), String> {
        let id = self.memo.get(&key).copied().ok_or_else(|| format!("nothing was kept as {key}"))?;
        self.stack.push(id);
        Ok(())
    }

    fn call(&mut self, callee: Id, arguments: Id) -> Result<(), String> {
        let call = Call { callee, arguments, state: None, entries: Vec::new(), items: Vec::new() };
        self.push(Value::Call(Box::new(call)))
    }

    fn call_with(&mut self, callee: Id, arguments: Vec<Id>) -> Result<(), String> {
        self.push(Value::Tuple(arguments))?;
        let arguments = self.pop()?;
        self.call(callee, arguments)
    }

    /// Adds items to the list, or whatever else takes them, on top.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::List(list) => list.extend(items),
            Value::Call(call) => call.items.extend(items),
            _ => return Err("items for what takes none".to_owned()),
        }
        Ok(())
    }

    /// Adds entries to the dictionary, or whatever else takes them, on top.
    fn set(&mut self, entries: Vec<(Id, Id)>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Dict(dict) => dict.extend(entries),
            Value::Call(call) => call.entries.extend(entries),
            _ => return Err("entries for what takes none".to_owned()),
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[k, v]| (*k, *v)).collect())
    } else {
        Err("a key without a value".to_owned())
    }
}
