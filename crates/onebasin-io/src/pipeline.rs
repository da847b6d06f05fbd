//! Tensors of two checkpoints passing by in bounded memory, each byte read once.
//!
//! A's bytes come in pieces, in order; B's come tensor by tensor, since a permutation reads them in any order. Two
//! tensors of B are held at a time: the one that pieces are made from, and the one that is being read. Jobs (read a tensor
//! of B; read a piece of A and work on it) are handed to the thread pool as soon as what they need is there.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onebasin_core::Tensor;
use rayon::Scope;

use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::streamed::Passed;

/// Entries of a piece at most.
const PIECE: usize = 1 << 20;
/// Pieces begin at multiples of this.
const GRAIN: usize = 4096;
/// Bytes of all pieces in flight at most.
const IN_FLIGHT: usize = 256 << 20;

/// One tensor to work on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassStep<'a> {
    pub(crate) name: &'a str,
    pub(crate) entries: usize,
    pub(crate) a: Option<&'a Tensor>,
    pub(crate) b: Option<&'a Tensor>,
}

/// Some entries of a step.
pub(crate) struct Piece<'p> {
    /// The first entry.
    pub(crate) start: usize,
    /// Their number.
    pub(crate) entries: usize,
    /// Their bytes in A.
    pub(crate) a: &'p [u8],
    /// All bytes of B's tensor.
    pub(crate) b: &'p [u8],
    /// Room for results; it holds what was left there before.
    pub(crate) scratch: &'p mut Vec<u8>,
}

/// What is done with each piece of one step; pieces come in any order, from any thread.
pub(crate) type PieceWork<'w> = Box<dyn Fn(Piece<'_>) -> Result<()> + Send + Sync + 'w>;

/// A pass over steps.
pub(crate) struct Pass<'a> {
    pub(crate) steps: &'a [PassStep<'a>],
    pub(crate) a: Option<&'a Reader<'a>>,
    pub(crate) b: &'a Reader<'a>,
    /// What an interruption is said to have interrupted.
    pub(crate) output: &'a Path,
    /// Told of entries that are done, and asked, with none, whether to go on.
    pub(crate) progress: &'a Passed<'a>,
}

impl Pass<'_> {
    /// Passes over all steps; `work` makes ready what one of them needs, shortly before its pieces come.
    ///
    /// Memory: two of B's tensors, and 256 MiB of pieces at most.
    ///
    /// # Errors
    /// The first failure of a read, of a value that is not finite, or of work.
    pub(crate) fn run<'w>(&self, work: &(dyn Fn(usize) -> Result<PieceWork<'w>> + Sync)) -> Result<()> {
        let threads = rayon::current_num_threads();
        let piece = IN_FLIGHT / (threads + 1) / (2 * size_of::<f64>()) / GRAIN * GRAIN;
        let largest = self.steps.iter().filter_map(|s| s.b).map(Tensor::byte_len).max().unwrap_or(0);
        let board = Board {
            next_b: 0,
            reading_b: false,
            buffers: vec![vec![0; largest]; 2],
            ready: VecDeque::new(),
            next_a: (0, 0),
            reading_a: false,
            slots: (0..=threads).map(|_| PieceSlot::default()).collect(),
            failed: None,
        };
        let running = UnderWay { pass: self, work, piece: piece.clamp(GRAIN, PIECE), board: Mutex::new(board) };
        rayon::scope(|scope| running.advance(scope));
        let failed = running.board().failed.take();
        failed.map_or(Ok(()), Err)
    }
}

struct UnderWay<'a, 'w> {
    pass: &'a Pass<'a>,
    work: &'a (dyn Fn(usize) -> Result<PieceWork<'w>> + Sync),
    piece: usize,
    board: Mutex<Board<'w>>,
}

/// What is under way, and what is free.
struct Board<'w> {
    /// The step whose tensor of B is read next.
    next_b: usize,
    reading_b: bool,
    /// Room for tensors of B.
    buffers: Vec<Vec<u8>>,
    /// Steps whose pieces can be made, in order; the first is that of `next_a`.
    ready: VecDeque<Arc<Held<'w>>>,
    /// Step and first entry of the next piece.
    next_a: (usize, usize),
    reading_a: bool,
    slots: Vec<PieceSlot>,
    failed: Option<Error>,
}

/// A step whose tensor of B is there.
struct Held<'w> {
    work: PieceWork<'w>,
    /// None if the step needs nothing of B.
    buffer: Option<Vec<u8>>,
}

/// Room for one piece.
#[derive(Default)]
struct PieceSlot {
    a: Vec<u8>,
    scratch: Vec<u8>,
}

struct PieceJob<'w> {
    step: usize,
    start: usize,
    entries: usize,
    held: Arc<Held<'w>>,
    slot: PieceSlot,
}

impl<'w> UnderWay<'_, 'w> {
    fn board(&self) -> MutexGuard<'_, Board<'w>> {
        // A panic of work is passed on by the scope; what the board holds does not matter any more.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts every job that can start.
    fn advance<'s>(&'s self, scope: &Scope<'s>) {
        let mut board = self.board();
        let steps = self.pass.steps;
        if !(self.pass.progress)(0) {
            board.failed.get_or_insert_with(|| Error::Interrupted { path: self.pass.output.to_owned() });
        }
        if board.failed.is_some() {
            return;
        }
        if !board.reading_b && board.next_b < steps.len() {
            let step = board.next_b;
            let buffer = if steps[step].b.is_some() { board.buffers.pop().map(Some) } else { Some(None) };
            if let Some(buffer) = buffer {
                (board.reading_b, board.next_b) = (true, step + 1);
                scope.spawn(move |scope| self.hold(scope, step, buffer));
            }
        }
        if !board.reading_a
            && let Some(held) = board.ready.front().cloned()
            && let Some(slot) = board.slots.pop()
        {
            let (step, start) = board.next_a;
            let entries = self.piece.min(steps[step].entries - start);
            board.next_a = (step, start + entries);
            if start + entries == steps[step].entries {
                board.next_a = (step + 1, 0);
                board.ready.pop_front();
            }
            board.reading_a = true;
            let job = PieceJob { step, start, entries, held, slot };
            scope.spawn(move |scope| self.piece(scope, job));
        }
    }

    /// Reads a tensor of B and makes its step ready.
    fn hold<'s>(&'s self, scope: &Scope<'s>, step: usize, mut buffer: Option<Vec<u8>>) {
        let PassStep { name, b, .. } = self.pass.steps[step];
        let read = match (b, &mut buffer) {
            (Some(tensor), Some(buffer)) => self.pass.b.read(name, tensor, 0, &mut buffer[..tensor.byte_len()]),
            _ => Ok(()),
        };
        let held = read.and_then(|()| (self.work)(step)).map(|work| Held { work, buffer });
        let mut board = self.board();
        board.reading_b = false;
        match held {
            Ok(held) => board.ready.push_back(Arc::new(held)),
            Err(error) => drop(board.failed.get_or_insert(error)),
        }
        drop(board);
        self.advance(scope);
    }

    /// Reads a piece of A, lets the next one be read, and works on this one.
    fn piece<'s>(&'s self, scope: &Scope<'s>, mut job: PieceJob<'w>) {
        let PassStep { name, a, b, .. } = self.pass.steps[job.step];
        let PieceSlot { a: bytes, scratch } = &mut job.slot;
        let read = match (a, self.pass.a) {
            (Some(tensor), Some(reader)) => {
                let size = tensor.dtype().size();
                bytes.resize(job.entries * size, 0);
                reader.read(name, tensor, job.start * size, bytes)
            }
            _ => Ok(()),
        };
        self.board().reading_a = false;
        self.advance(scope);
        let whole = job.held.buffer.as_deref().zip(b).map_or(&[][..], |(buffer, b)| &buffer[..b.byte_len()]);
        let piece = Piece { start: job.start, entries: job.entries, a: bytes, b: whole, scratch };
        let done = read.and_then(|()| (job.held.work)(piece));
        (self.pass.progress)(job.entries as u64);
        let mut board = self.board();
        board.slots.push(job.slot);
        board.buffers.extend(Arc::into_inner(job.held).and_then(|held| held.buffer));
        if let Err(error) = done {
            board.failed.get_or_insert(error);
        }
        drop(board);
        self.advance(scope);
    }
}
