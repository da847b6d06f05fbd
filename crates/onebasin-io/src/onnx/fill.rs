//! Weights for models that were published without.

use std::collections::BTreeMap;

use onebasin_core::{DType, Tensor, element_count};

use super::model::{Attribute, Node};
use super::write::MAX_MESSAGE;
use super::{OnnxModel, fail, unfit};
use crate::error::Result;

impl OnnxModel {
    /// Makes weights of the `ConstantOfShape` nodes whose shape is a tensor of the model and whose values are floats.
    ///
    /// `tensor` is asked for every such node, in running order, with the name of the node's output and the shape; what
    /// it gives is rounded to the node's element type. The node is then no more: its output is in
    /// [`params`](Self::params), and is written as an initialiser. Returns how many nodes were filled.
    ///
    /// Cost: that of `tensor`.
    ///
    /// # Errors
    /// If a shape is negative or too large for a model, or `tensor` fails or gives another shape; nothing has then
    /// changed.
    ///
    /// ```
    /// # use onebasin_io::OnnxModel;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/shapes.onnx");
    /// let mut model = OnnxModel::open(path.as_ref())?;
    /// let count = model.fill_constant_of_shape(|_name, shape| {
    ///     onebasin_core::Tensor::from_f32(shape, vec![0.5; shape.iter().product()])
    /// })?;
    /// assert_eq!(count, 2);
    /// assert_eq!(model.params().require("w")?.shape(), [4, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fill_constant_of_shape(
        &mut self,
        mut tensor: impl FnMut(&str, &[usize]) -> onebasin_core::error::Result<Tensor>,
    ) -> Result<usize> {
        let mut filled = BTreeMap::new();
        for (node, &position) in self.nodes.iter().zip(&self.positions) {
            let Some((name, shape, dtype)) = self.constant_of_shape(node)? else { continue };
            let weight = tensor(name, &shape).and_then(|t| t.cast(dtype));
            let weight = weight.map_err(|e| unfit(&self.path, node.label(), e.to_string()))?;
            if weight.shape() != shape {
                let why = format!("needs a tensor of shape {shape:?}, was given one of shape {:?}", weight.shape());
                return Err(unfit(&self.path, node.label(), why));
            }
            filled.insert(position, (name.to_owned(), weight));
        }
        let count = filled.len();
        let mut positions = self.positions.iter();
        self.nodes.retain(|_| positions.next().is_some_and(|p| !filled.contains_key(p)));
        self.positions.retain(|p| !filled.contains_key(p));
        for (position, (name, weight)) in filled {
            self.filled.insert(position, name.clone());
            self.params.insert(name, weight);
        }
        Ok(count)
    }

    /// Output, shape and element type of a node that makes a constant of floats.
    fn constant_of_shape<'a>(&self, node: &'a Node) -> Result<Option<(&'a str, Vec<usize>, DType)>> {
        let dtype = match node.attribute("value") {
            None => DType::F32,
            Some(Attribute::Tensor(value)) if value.dtype().is_float() => value.dtype(),
            Some(_) => return Ok(None),
        };
        let ([input], [output]) = (&node.inputs[..], &node.outputs[..]) else { return Ok(None) };
        let shape = self.params.get(input).filter(|t| t.dtype() == DType::I64 && t.shape().len() == 1);
        let (true, Some(shape)) = (node.is("ConstantOfShape") && !output.is_empty(), shape) else { return Ok(None) };
        let lengths: Vec<i64> = shape.bytes().as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect();
        let shape: Option<Vec<usize>> = lengths.iter().map(|&l| usize::try_from(l).ok()).collect();
        let fits = |s: &Vec<usize>| element_count(s).is_ok_and(|n| n.saturating_mul(dtype.size()) <= MAX_MESSAGE);
        let Some(shape) = shape.filter(fits) else {
            let limit = format!("{MAX_MESSAGE} bytes of a model");
            let why = format!("shape {lengths:?} of {dtype} is negative or larger than the {limit}");
            return Err(fail(&self.path, node.label(), why));
        };
        Ok(Some((output, shape, dtype)))
    }
}
