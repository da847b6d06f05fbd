//! The bytes of a model with tensors, inputs, attributes and shapes exchanged.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bytes::Bytes;
use onebasin_core::Tensor;
use prost::Message;

use super::{Edits, NodeEdit};
use crate::error::Error;
use crate::error::Result;
use crate::onnx::proto::{
    AttributeProto, Dimension, TensorHead, TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto, tag,
};
use crate::onnx::tensor::code;
use crate::onnx::wire::{Rope, WireKind, fields};
use crate::onnx::write::{INITIALIZERS_STAND_ALONE, MAX_MESSAGE};
use crate::onnx::{OnnxModel, fail, unfit};

/// The model with these changes, as one message without external data.
pub(super) fn edited(model: &OnnxModel, edits: &Edits) -> Result<Bytes> {
    let tensors = model.weights.iter().filter_map(|(at, name)| Some((*at, edits.tensors.get(name)?)));
    let nodes = edits.nodes.iter().map(|(node, edit)| (model.positions[*node], edit));
    let editor = Editor { model, edits, tensors: tensors.collect(), nodes: nodes.collect() };
    let whole = 0..model.bytes.len();
    let Some(rope) = editor.message(WireKind::Model, whole)? else { return Ok(model.bytes.clone()) };
    if rope.len() > MAX_MESSAGE {
        return Err(Error::OnnxTooLarge { path: model.path.clone(), bytes: rope.len(), limit: MAX_MESSAGE });
    }
    let mut bytes = Vec::with_capacity(rope.len());
    rope.write_to(&mut bytes).map_err(|why| Error::io(&model.path, "put together", why))?;
    Ok(bytes.into())
}

struct Editor<'a> {
    model: &'a OnnxModel,
    edits: &'a Edits,
    /// New tensors by the positions of the old.
    tensors: BTreeMap<usize, &'a Tensor>,
    nodes: HashMap<usize, &'a NodeEdit>,
}

impl Editor<'_> {
    /// The message at `range` as it is to be; none if it stays as it is.
    ///
    /// How deep messages are nested was checked when the model was read.
    fn message(&self, kind: WireKind, range: Range<usize>) -> Result<Option<Rope>> {
        let model = self.model;
        if kind == WireKind::Tensor {
            return self.tensor(range);
        }
        let edit = if kind == WireKind::Node { self.nodes.get(&range.start).copied() } else { None };
        let (mut out, mut changed, mut input) = (Rope::default(), edit.is_some(), 0);
        let mut numbers: Vec<&String> = Vec::new();
        for field in fields(&model.bytes, range.clone()) {
            let field = field.map_err(|why| fail(&model.path, "the file", why))?;
            if let Some(edit) = edit {
                match field.tag {
                    tag::NODE_INPUT => {
                        input += 1;
                        let exchanged =
                            edit.inputs.get(&(input - 1)).or(edit.convolution.as_ref().filter(|_| input == 2));
                        if let Some(name) = exchanged {
                            out.field(tag::NODE_INPUT, name.clone().into_bytes());
                            continue;
                        }
                        if edit.convolution.is_some() && input > 2 {
                            continue;
                        }
                    }
                    tag::NODE_OPERATOR if edit.convolution.is_some() => {
                        out.field(tag::NODE_OPERATOR, b"Conv".to_vec());
                        continue;
                    }
                    tag::NODE_ATTRIBUTE if edit.convolution.is_some() => continue,
                    tag::NODE_ATTRIBUTE => {
                        let attribute = AttributeProto::decode(model.bytes.slice(field.payload.clone()))
                            .map_err(|e| fail(&model.path, "an attribute", e.to_string()))?;
                        if let Some((name, wanted)) = edit.numbers.get_key_value(&attribute.name) {
                            numbers.push(name);
                            out.field(tag::NODE_ATTRIBUTE, self.attribute(field.payload, wanted)?);
                            continue;
                        }
                    }
                    _ => {}
                }
            }
            let new = match kind.child(&field) {
                Some(child) => self.message(child, field.payload.clone())?,
                None if kind == WireKind::Graph && tag::GRAPH_VALUES.contains(&field.tag) => {
                    match self.value(field.payload.clone())? {
                        Said::Same => None,
                        Said::Other(value) => Some(value),
                        Said::Nothing => {
                            changed = true;
                            continue;
                        }
                    }
                }
                None => None,
            };
            changed |= new.is_some();
            match new {
                Some(new) => out.field(field.tag, new),
                None => out.push(model.bytes.slice(field.whole)),
            }
        }
        if let Some(edit) = edit {
            if let (Some(weight), true) = (&edit.convolution, input < 2) {
                out.field(tag::NODE_INPUT, weight.clone().into_bytes());
            }
            for (name, wanted) in edit.numbers.iter().filter(|(name, _)| !numbers.contains(name)) {
                let number = wanted.first().copied().unwrap_or_default();
                let attribute =
                    AttributeProto { name: name.clone(), i: number, r#type: 2, ..AttributeProto::default() };
                out.field(tag::NODE_ATTRIBUTE, attribute.encode_to_vec());
            }
        }
        if kind == WireKind::Graph && range.start == model.graph {
            for (name, tensor) in &self.edits.added {
                changed = true;
                self.add(&mut out, name, tensor);
            }
        }
        Ok(changed.then_some(out))
    }

    /// An attribute with other whole numbers.
    fn attribute(&self, range: Range<usize>, wanted: &[i64]) -> Result<Rope> {
        let (model, mut out, mut is_list) = (self.model, Rope::default(), false);
        for field in fields(&model.bytes, range) {
            let field = field.map_err(|why| fail(&model.path, "an attribute", why))?;
            match field.tag {
                tag::ATTRIBUTE_INT => {}
                tag::ATTRIBUTE_INTS => is_list = true,
                _ => out.push(model.bytes.slice(field.whole)),
            }
        }
        let field = if is_list { tag::ATTRIBUTE_INTS } else { tag::ATTRIBUTE_INT };
        for number in wanted {
            out.number(field, number.cast_unsigned());
        }
        Ok(out)
    }

    /// A tensor of another shape.
    fn tensor(&self, range: Range<usize>) -> Result<Option<Rope>> {
        let model = self.model;
        let head = TensorHead::decode(model.bytes.slice(range.clone()))
            .map_err(|e| fail(&model.path, "a tensor", e.to_string()))?;
        let external = crate::onnx::external::Externals::holds(head.data_location);
        let data = match self.tensors.get(&range.start) {
            Some(tensor) => Some((Some(tensor.shape()), tensor.bytes().clone())),
            None if external => Some((None, model.externals.data(&model.path, &head.name, &head.external_data, None)?)),
            None => return Ok(None),
        };
        let Some((shape, data)) = data else { return Ok(None) };
        let mut out = Rope::default();
        for field in fields(&model.bytes, range) {
            let field = field.map_err(|why| fail(&model.path, "a tensor", why))?;
            let moved = match field.tag {
                tag::TENSOR_DIMS => shape.is_some(),
                tag::TENSOR_DATA_LOCATION | tag::TENSOR_EXTERNAL_DATA => true,
                tag => tag::TENSOR_DATA.contains(&tag),
            };
            if !moved {
                out.push(model.bytes.slice(field.whole));
            }
        }
        shape.unwrap_or_default().iter().for_each(|len| out.number(tag::TENSOR_DIMS, *len as u64));
        out.field(tag::TENSOR_RAW_DATA, data);
        Ok(Some(out))
    }

    /// What the model says of a value.
    fn value(&self, range: Range<usize>) -> Result<Said> {
        let model = self.model;
        let failed = |why: String| fail(&model.path, "the shape of a value", why);
        let value = ValueInfoProto::decode(model.bytes.slice(range.clone())).map_err(|e| failed(e.to_string()))?;
        if self.edits.silent.contains(&value.name) {
            return Ok(Said::Nothing);
        }
        let (Some(shape), Some(TypeProto { tensor_type: Some(mut tensor) })) =
            (self.edits.shapes.get(&value.name), value.r#type)
        else {
            return Ok(Said::Same);
        };
        let Some(said) = &mut tensor.shape else { return Ok(Said::Same) };
        if said.dim.len() != shape.len() {
            return Err(unfit(
                &model.path,
                format!("value `{}`", value.name),
                "has another number of axes in the model",
            ));
        }
        let before = said.clone();
        for (dim, len) in said.dim.iter_mut().zip(shape).filter(|(dim, _)| dim.dim_value.is_some()) {
            dim.dim_value = Some(*len as i64);
        }
        if *said == before {
            return Ok(Said::Same);
        }
        let mut out = Rope::default();
        for field in fields(&model.bytes, range) {
            let field = field.map_err(failed)?;
            if field.tag == tag::VALUE_TYPE {
                let new = TypeProto { tensor_type: Some(tensor.clone()) };
                out.field(tag::VALUE_TYPE, new.encode_to_vec());
            } else {
                out.push(model.bytes.slice(field.whole));
            }
        }
        Ok(Said::Other(out))
    }

    /// Adds a tensor to the graph.
    fn add(&self, out: &mut Rope, name: &str, tensor: &Tensor) {
        let dims: Vec<i64> = tensor.shape().iter().map(|&len| len as i64).collect();
        let data_type = code(tensor.dtype());
        let head = TensorProto { dims: dims.clone(), data_type, name: name.to_owned(), ..TensorProto::default() };
        let mut rope = Rope::from(head.encode_to_vec());
        rope.field(tag::TENSOR_RAW_DATA, tensor.bytes().clone());
        out.field(tag::GRAPH_INITIALIZER, rope);
        if self.model.ir_version < INITIALIZERS_STAND_ALONE {
            let dim = dims.iter().map(|&len| Dimension { dim_value: Some(len), dim_param: None }).collect();
            let tensor_type = Some(TensorType { elem_type: data_type, shape: Some(TensorShapeProto { dim }) });
            let input = ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) };
            out.field(tag::GRAPH_INPUT, input.encode_to_vec());
        }
    }
}

/// What becomes of what the model says of a value.
enum Said {
    Same,
    Other(Rope),
    Nothing,
}
