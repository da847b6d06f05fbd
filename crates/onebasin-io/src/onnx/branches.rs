//! Weights that branches of an `If` hold.

use std::collections::HashMap;

use onebasin_core::Tensor;

use super::OnnxModel;
use super::proto::{GraphProto, NodeProto, TensorProto, tag};
use super::tensor::decode;
use super::wire::WireField;
use crate::error::Result;

/// Whether a tensor is one that is trained: floats, and more than one.
pub(super) fn is_weight(tensor: &Tensor) -> bool {
    tensor.dtype().is_float() && tensor.len() > 1
}

/// How many values of a graph, and of the graphs within it, have each name.
fn count<'p>(graph: &'p GraphProto, times: &mut HashMap<&'p str, usize>) {
    let made = graph.node.iter().flat_map(|n| &n.output).chain(graph.initializer.iter().map(|t| &t.name));
    for name in made.chain(graph.input.iter().map(|v| &v.name)) {
        *times.entry(name).or_default() += 1;
    }
    let attributes = graph.node.iter().flat_map(|n| &n.attribute);
    attributes.flat_map(|a| a.g.iter().chain(&a.graphs)).for_each(|inner| count(inner, times));
}

impl OnnxModel {
    /// Reads the weights that branches hold. How deep they are nested was checked when the file was looked through.
    pub(super) fn read_branches(&mut self, main: &GraphProto, graph: &WireField) -> Result<()> {
        let mut times = HashMap::new();
        count(main, &mut times);
        for (node, field) in main.node.iter().zip(self.children(graph, tag::GRAPH_NODE)?) {
            self.read_branches_of(node, &field, &times)?;
        }
        Ok(())
    }

    fn read_branches_of(&mut self, node: &NodeProto, field: &WireField, times: &HashMap<&str, usize>) -> Result<()> {
        if node.op_type != "If" {
            return Ok(());
        }
        let attributes = self.children(field, tag::NODE_ATTRIBUTE)?;
        for (attribute, field) in node.attribute.iter().zip(attributes) {
            let Some(branch) = &attribute.g else { continue };
            for field in self.children(&field, tag::ATTRIBUTE_GRAPH)? {
                let tensors = self.children(&field, tag::GRAPH_INITIALIZER)?;
                for (tensor, field) in branch.initializer.iter().zip(tensors) {
                    self.read_branched(&tensor.name, tensor, field.payload.start, times)?;
                }
                let nodes = self.children(&field, tag::GRAPH_NODE)?;
                for (node, field) in branch.node.iter().zip(nodes) {
                    self.read_constant_within(node, &field, times)?;
                    self.read_branches_of(node, &field, times)?;
                }
            }
        }
        Ok(())
    }

    fn read_constant_within(
        &mut self,
        node: &NodeProto,
        field: &WireField,
        times: &HashMap<&str, usize>,
    ) -> Result<()> {
        let ([output], "Constant") = (&node.output[..], node.op_type.as_str()) else { return Ok(()) };
        for (attribute, field) in node.attribute.iter().zip(self.children(field, tag::NODE_ATTRIBUTE)?) {
            let Some(tensor) = attribute.t.as_ref().filter(|_| attribute.name == "value") else { continue };
            for value in self.children(&field, tag::ATTRIBUTE_TENSOR)? {
                self.read_branched(output, tensor, value.payload.start, times)?;
            }
        }
        Ok(())
    }

    fn read_branched(
        &mut self,
        name: &str,
        proto: &TensorProto,
        position: usize,
        times: &HashMap<&str, usize>,
    ) -> Result<()> {
        if name.is_empty() || times.get(name) != Some(&1) {
            return Ok(());
        }
        let found = decode(&self.path, &format!("tensor `{name}`"), proto, &self.externals)?;
        if let Some(tensor) = found.filter(is_weight) {
            self.params.insert(name, tensor);
            self.weights.insert(position, name.to_owned());
            self.branched.insert(name.to_owned());
        }
        Ok(())
    }
}
