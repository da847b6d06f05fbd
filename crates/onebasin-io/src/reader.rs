//! Reading tensors of a checkpoint piece by piece, and its digest on the way.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use onebasin_core::{Params, Tensor, all_finite};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::checkpoint::{Checkpoint, FilePart};
use crate::error::Result;
use crate::passing::Passing;

/// Bytes read, hashed and looked at while they are in cache.
const CHUNK: usize = 1 << 20;

/// Reads tensors of one checkpoint in an order known beforehand.
///
/// The digest of a file needs its bytes in order. Files whose tensors are read in the order in which they lie are hashed
/// as they pass by; what is left of a file, or all of one whose tensors come in another order, is read for the digest at the
/// end.
pub(crate) struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    /// Tensors that are copied as they are, whatever their values.
    carried: &'a Params,
    hashes: Vec<Mutex<Hash>>,
    passing: Vec<Passing>,
}

struct Hash {
    /// Whether tensors come in the order of the file, so that nothing before one of them will come later.
    in_order: bool,
    /// Bytes hashed so far.
    until: u64,
    sum: Sha256,
}

impl<'a> Reader<'a> {
    /// A reader of these tensors, which will come in this order.
    pub(crate) fn new<'t>(
        checkpoint: &'a Checkpoint,
        carried: &'a Params,
        order: impl Iterator<Item = &'t Tensor>,
    ) -> Self {
        let mut last = vec![Some(0); checkpoint.files.len()];
        if checkpoint.digest.get().is_some() {
            last.fill(None);
        }
        for (part, offset) in order.filter(|t| !t.is_empty()).filter_map(|t| checkpoint.locate(t)) {
            last[part] = last[part].filter(|last| *last < offset + 1).map(|_| offset + 1);
        }
        let hash = |last: Option<u64>| Mutex::new(Hash { in_order: last.is_some(), until: 0, sum: Sha256::new() });
        let total = checkpoint.files.iter().map(FilePart::len).sum();
        let passing = checkpoint.files.iter().map(|_| Passing::of(total)).collect();
        Self { checkpoint, carried, hashes: last.into_iter().map(hash).collect(), passing }
    }

    /// Reads bytes of a tensor, from its byte `from` on.
    ///
    /// # Errors
    /// If the file cannot be read, or a floating-point value of a tensor that is not carried is a NaN.
    pub(crate) fn read(&self, name: &str, tensor: &Tensor, from: usize, to: &mut [u8]) -> Result<()> {
        let place = self.checkpoint.locate(tensor);
        for (k, chunk) in to.chunks_mut(CHUNK).enumerate() {
            let at = from + k * CHUNK;
            match place {
                Some((part, begin)) => self.read_part(part, begin + at as u64, chunk)?,
                None => chunk.copy_from_slice(&tensor.bytes()[at..][..chunk.len()]),
            }
            let checked = tensor.dtype().is_float() && self.carried.get(name).is_none();
            if checked && !all_finite(tensor.dtype(), chunk) {
                let failed = |e| self.checkpoint.core_error(e);
                let length = chunk.len() / tensor.dtype().size();
                let values = Tensor::new(tensor.dtype(), &[length], Bytes::copy_from_slice(chunk)).map_err(failed)?;
                if values.to_f64().map_err(failed)?.iter().any(|v| v.is_nan()) {
                    tensor.check_finite(name).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the checkpoint its digest.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn finish(self) -> Result<()> {
        let (checkpoint, hashes) = (self.checkpoint, self.hashes);
        if checkpoint.digest.get().is_some() {
            return Ok(());
        }
        let digests = checkpoint.files.par_iter().zip(hashes).map(|(part, hash)| {
            let mut hash = hash.into_inner().unwrap_or_else(PoisonError::into_inner);
            hash.catch_up(part, part.len())?;
            Ok(hex::encode(hash.sum.finalize()))
        });
        let digests = digests.collect::<Result<Vec<_>>>()?;
        checkpoint.digest.get_or_init(|| checkpoint.combined(&digests));
        Ok(())
    }

    fn read_part(&self, part: usize, offset: u64, chunk: &mut [u8]) -> Result<()> {
        let (file, hash) = (&self.checkpoint.files[part], &self.hashes[part]);
        file.fill(offset, chunk)?;
        if let Some(open) = file.file() {
            self.passing[part].passed(open.file(), chunk.len(), Some(offset + chunk.len() as u64));
        }
        let mut hash = hash.lock().unwrap_or_else(PoisonError::into_inner);
        if hash.in_order {
            hash.catch_up(file, offset)?;
            hash.sum.update(&*chunk);
            hash.until += chunk.len() as u64;
        }
        Ok(())
    }
}

impl Hash {
    /// Reads what lies before `offset` and was not met: the header, and tensors that nobody asked for.
    fn catch_up(&mut self, part: &FilePart, offset: u64) -> Result<()> {
        let from = self.until.min(offset);
        part.hash(&mut self.sum, from, offset)?;
        self.until = self.until.max(offset);
        Ok(())
    }
}
