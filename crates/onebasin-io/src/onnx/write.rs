//! A model with other weights: the old bytes with pieces exchanged.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use onebasin_core::{Params, Tensor};
use prost::Message;
use serde_json::Value as Json;

use super::external::{CHECKSUM, Externals, LENGTH, LOCATION, OFFSET};
use super::proto::{
    Dimension, StringStringEntryProto, TensorHead, TensorProto, TensorShapeProto, TensorType, TypeProto,
    ValueInfoProto, tag,
};
use super::tensor::code;
use super::wire::{Rope, WireKind, fields};
use super::{OnnxModel, fail, unfit};
use crate::atomic::{Check, Draft, GoOn, Landing};
use crate::error::{Error, Result};
use crate::metadata::PROVENANCE;
use crate::place::Place;
use crate::target::data_file;

/// Bytes that one protobuf message may take.
pub(super) const MAX_MESSAGE: usize = i32::MAX as usize;

/// From this version on, initialisers need not be inputs as well.
pub(super) const INITIALIZERS_STAND_ALONE: i64 = 4;

impl OnnxModel {
    /// Writes the model with other weights: the same names and shapes, each cast to the element type it has in the
    /// model.
    ///
    /// Layout: everything else is the bytes that were read, in their order, so unchanged weights give an unchanged
    /// file. Changed elements are written as `raw_data`. If the model had external data, the same tensors (and those
    /// of [`fill_constant_of_shape`](Self::fill_constant_of_shape)) go to one file beside it, called
    /// `<name>.data`, in order of the model, larger ones at multiples of 4096 bytes so that they can be mapped.
    /// `provenance` becomes the entry [`PROVENANCE`] of `metadata_props`; without one the entries stay as they are.
    ///
    /// Cost: one pass over the weights to see which changed, one to write; no tensor is copied in memory.
    ///
    /// Files appear whole or not at all: the old model is set aside until both files are in their places, and put back if
    /// one cannot take its own; by the next write into the folder, where a process is killed between these renames.
    ///
    /// # Errors
    /// If `params` have other names or shapes, or one cannot be cast; if the model would not fit one protobuf message;
    /// or as [`write_atomic`](crate::write_atomic).
    pub fn write(&self, path: &Path, params: &Params, provenance: Option<&Json>) -> Result<()> {
        self.write_while(path, params, provenance, &|| true, &|_| Ok(()))
    }

    /// The same, given up as soon as `go_on` says no, and put in its place only if `check` agrees. The name of the file that
    /// `check` sees is that of `path`.
    ///
    /// # Errors
    /// As [`Self::write`], [`Error::Interrupted`], and [`Error::Refused`].
    pub fn write_while(
        &self,
        path: &Path,
        params: &Params,
        provenance: Option<&Json>,
        go_on: &GoOn<'_>,
        check: &Check<'_>,
    ) -> Result<()> {
        let core = |source| Error::Core { path: self.path.clone(), source };
        self.params.check_same_structure(params).map_err(core)?;
        let landing = Landing::at(path)?;
        let data = match &landing.place {
            _ if self.externals.is_empty() => None,
            Place::File(end) => Some(DataFile::beside(end)?),
            Place::Stream(_) => {
                let why = "external data go to a file beside the model, so this must be the name of a file";
                return Err(Error::Unwritable { path: path.to_owned(), why });
            }
        };
        let mut writer = Writer { model: self, params, provenance: provenance.map(Json::to_string), data };
        let whole = 0..self.bytes.len();
        let out = writer.message(WireKind::Model, whole)?.unwrap_or_else(|| self.bytes.clone().into());
        if out.len() > MAX_MESSAGE {
            return Err(Error::OnnxTooLarge { path: path.to_owned(), bytes: out.len(), limit: MAX_MESSAGE });
        }
        let name = landing.place.name();
        let mut names = vec![name.clone()];
        if let Some(data) = writer.data {
            let (path, name) = (path.with_file_name(&data.location), OsString::from(data.location));
            Draft::create(&path, &landing.draft(&name), go_on)?.fill(|file| data.content.write_to(file))?;
            names.insert(0, name);
        }
        Draft::create(path, &landing.draft(&name), go_on)?.fill(|file| out.write_to(file))?;
        landing.check(check)?;
        landing.land(&names, go_on)
    }
}

/// The file that the external data of a model is written to.
struct DataFile {
    location: String,
    content: Rope,
}

impl DataFile {
    fn beside(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            let why = std::io::Error::new(ErrorKind::InvalidInput, "the model must name it, and this name is no UTF-8");
            return Err(Error::io(path, "name its external data", why));
        };
        let file = data_file(path);
        if file.is_dir() {
            return Err(Error::IsFolder { path: file });
        }
        Ok(Self { location: format!("{name}.data"), content: Rope::default() })
    }

    /// Adds the data of a tensor, and says where it now lies.
    fn add(&mut self, data: Bytes) -> [(&'static str, String); 3] {
        const PAGE: usize = 4096;
        static ZEROS: [u8; PAGE] = [0; PAGE];
        let align = if data.len() < PAGE { 64 } else { PAGE };
        let gap = self.content.len().next_multiple_of(align) - self.content.len();
        self.content.push(Bytes::from_static(&ZEROS[..gap]));
        let (offset, length) = (self.content.len(), data.len());
        self.content.push(data);
        [(LOCATION, self.location.clone()), (OFFSET, offset.to_string()), (LENGTH, length.to_string())]
    }
}

struct Writer<'a> {
    model: &'a OnnxModel,
    params: &'a Params,
    provenance: Option<String>,
    data: Option<DataFile>,
}

impl Writer<'_> {
    /// The message at `range` as it is to be written; none if it stays as it is.
    ///
    /// How deep messages are nested was checked when the model was read.
    fn message(&mut self, kind: WireKind, range: Range<usize>) -> Result<Option<Rope>> {
        let model = self.model;
        if kind == WireKind::Tensor {
            return self.tensor(range);
        }
        let mut out = Rope::default();
        let mut changed = false;
        for field in fields(&model.bytes, range.clone()) {
            let field = field.map_err(|why| fail(&model.path, "the file", why))?;
            let child = kind.child(&field);
            let dropped = match child {
                Some(WireKind::Node) => model.filled.contains_key(&field.payload.start),
                None => {
                    kind == WireKind::Model && field.tag == tag::MODEL_METADATA && self.supersedes(&field.payload)?
                }
                Some(_) => false,
            };
            let new = match child {
                Some(child) if !dropped => self.message(child, field.payload)?,
                _ => None,
            };
            changed |= dropped || new.is_some();
            match new {
                Some(new) => out.field(field.tag, new),
                None if dropped => {}
                None => out.push(model.bytes.slice(field.whole)),
            }
        }
        if kind == WireKind::Graph && range.start == model.graph && !model.filled.is_empty() {
            self.add_filled(&mut out)?;
            changed = true;
        }
        if kind == WireKind::Model
            && let Some(value) = self.provenance.take()
        {
            let entry = StringStringEntryProto { key: PROVENANCE.to_owned(), value };
            out.field(tag::MODEL_METADATA, entry.encode_to_vec());
            changed = true;
        }
        Ok(changed.then_some(out))
    }

    /// Whether the provenance to be written takes the place of this entry.
    fn supersedes(&self, entry: &Range<usize>) -> Result<bool> {
        let entry = StringStringEntryProto::decode(self.model.bytes.slice(entry.clone()));
        let entry = entry.map_err(|e| fail(&self.model.path, "metadata_props", e.to_string()))?;
        Ok(self.provenance.is_some() && entry.key == PROVENANCE)
    }

    fn tensor(&mut self, range: Range<usize>) -> Result<Option<Rope>> {
        let model = self.model;
        let damaged = |why: String| fail(&model.path, "the file", why);
        let head = TensorHead::decode(model.bytes.slice(range.clone())).map_err(|e| damaged(e.to_string()))?;
        let external = Externals::holds(head.data_location);
        let data = match model.weights.get(&range.start) {
            Some(name) => {
                let data = self.cast(name)?.bytes().clone();
                if !external && model.params.get(name).is_some_and(|old| *old.bytes() == data) {
                    return Ok(None);
                }
                data
            }
            None if external => model.externals.data(&model.path, &head.name, &head.external_data, None)?,
            None => return Ok(None),
        };
        let mut out = Rope::default();
        for field in fields(&model.bytes, range) {
            let field = field.map_err(damaged)?;
            let moved = match field.tag {
                tag::TENSOR_DATA_LOCATION => true,
                tag::TENSOR_EXTERNAL_DATA => {
                    let entry = StringStringEntryProto::decode(model.bytes.slice(field.payload));
                    let key = entry.map_err(|e| damaged(e.to_string()))?.key;
                    [LOCATION, OFFSET, LENGTH, CHECKSUM].contains(&key.as_str())
                }
                tag => tag::TENSOR_DATA.contains(&tag),
            };
            if !moved {
                out.push(model.bytes.slice(field.whole));
            }
        }
        self.add_data(&mut out, data, external);
        Ok(Some(out))
    }

    /// The weight to be written, in the element type of the model.
    fn cast(&self, name: &str) -> Result<Tensor> {
        let place = format!("tensor `{name}`");
        let tensors = self.model.params.require(name).and_then(|old| Ok((old, self.params.require(name)?)));
        let (old, new) = tensors.map_err(|e| unfit(&self.model.path, &place, e))?;
        new.cast(old.dtype()).map_err(|_| {
            let (old, new) = (old.dtype(), new.dtype());
            let why = format!("is {old} in the model and was given as {new}; only floats are converted");
            unfit(&self.model.path, &place, why)
        })
    }

    /// Ends a tensor with its data.
    fn add_data(&mut self, out: &mut Rope, data: Bytes, external: bool) {
        match &mut self.data {
            Some(file) if external => {
                for (key, value) in file.add(data) {
                    let entry = StringStringEntryProto { key: key.to_owned(), value };
                    out.field(tag::TENSOR_EXTERNAL_DATA, entry.encode_to_vec());
                }
                out.number(tag::TENSOR_DATA_LOCATION, 1);
            }
            _ => out.field(tag::TENSOR_RAW_DATA, data),
        }
    }

    /// Ends the graph with the weights that were nodes.
    fn add_filled(&mut self, out: &mut Rope) -> Result<()> {
        for name in self.model.filled.values() {
            let weight = self.cast(name)?;
            let dims: Vec<i64> = weight.shape().iter().map(|&d| d as i64).collect();
            let data_type = code(weight.dtype());
            let head = TensorProto { dims: dims.clone(), data_type, name: name.clone(), ..TensorProto::default() };
            let mut tensor = Rope::from(head.encode_to_vec());
            self.add_data(&mut tensor, weight.bytes().clone(), true);
            out.field(tag::GRAPH_INITIALIZER, tensor);
            if self.model.ir_version < INITIALIZERS_STAND_ALONE {
                let dim = dims.iter().map(|&d| Dimension { dim_value: Some(d), dim_param: None }).collect();
                let tensor = TensorType { elem_type: data_type, shape: Some(TensorShapeProto { dim }) };
                let input =
                    ValueInfoProto { name: name.clone(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) };
                out.field(tag::GRAPH_INPUT, input.encode_to_vec());
            }
        }
        Ok(())
    }
}
