//! The graph as it grows: operators with shapes for two batches. Only what the outputs depend on is built in the end.

use std::collections::HashMap;

use onebasin_core::Tensor;
use onebasin_core::graph::{Graph, Op, ValueId, shape};

use super::PerBatch;
use super::array::{ElementKind, bounded};

/// A value of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PlanSlot(usize);

/// Where the values of a plan are in the graph.
#[derive(Debug)]
pub(super) struct Built(Vec<Option<ValueId>>);

impl Built {
    /// None for what no output depends on.
    pub(super) fn of(&self, slot: PlanSlot) -> Option<ValueId> {
        self.0.get(slot.0).copied().flatten()
    }
}

#[derive(Debug, Clone)]
enum SlotOrigin {
    Input,
    Param,
    Constant(Tensor),
    /// Output of a step.
    Step(usize),
}

#[derive(Debug)]
struct PlanValue {
    name: String,
    origin: SlotOrigin,
    kind: ElementKind,
    shape: PerBatch<Vec<usize>>,
}

#[derive(Debug)]
struct PlanStep {
    name: String,
    op: Op,
    inputs: Vec<PlanSlot>,
    outputs: Vec<PlanSlot>,
}

#[derive(Debug, Default)]
pub(super) struct GraphPlan {
    values: Vec<PlanValue>,
    inputs: Vec<PlanSlot>,
    steps: Vec<PlanStep>,
    params: HashMap<String, PlanSlot>,
}

impl GraphPlan {
    fn add(&mut self, name: &str, origin: SlotOrigin, kind: ElementKind, shape: PerBatch<Vec<usize>>) -> PlanSlot {
        self.values.push(PlanValue { name: name.to_owned(), origin, kind, shape });
        PlanSlot(self.values.len() - 1)
    }

    pub(super) fn input(&mut self, name: &str, kind: ElementKind, shape: PerBatch<Vec<usize>>) -> PlanSlot {
        let slot = self.add(name, SlotOrigin::Input, kind, shape);
        self.inputs.push(slot);
        slot
    }

    pub(super) fn param(&mut self, name: &str, kind: ElementKind, shape: &[usize]) -> PlanSlot {
        if let Some(known) = self.params.get(name) {
            return *known;
        }
        let slot = self.add(name, SlotOrigin::Param, kind, [shape.to_vec(), shape.to_vec()]);
        self.params.insert(name.to_owned(), slot);
        slot
    }

    pub(super) fn constant(&mut self, name: &str, tensor: Tensor, kind: ElementKind) -> PlanSlot {
        let shape = tensor.shape().to_vec();
        self.add(name, SlotOrigin::Constant(tensor), kind, [shape.clone(), shape])
    }

    pub(super) fn shape(&self, slot: PlanSlot) -> &PerBatch<Vec<usize>> {
        &self.values[slot.0].shape
    }

    pub(super) fn kind(&self, slot: PlanSlot) -> ElementKind {
        self.values[slot.0].kind
    }

    /// Adds choices between pairs of values of the same shape, by one condition.
    pub(super) fn choose(
        &mut self,
        condition: PlanSlot,
        pairs: &[(PlanSlot, PlanSlot)],
    ) -> Result<Vec<PlanSlot>, String> {
        let condition = match &self.shape(condition)[0][..] {
            [] => condition,
            _ => self.push(Op::Reshape(Vec::new()), &[condition], ElementKind::Bool)?[0],
        };
        pairs.iter().map(|(a, b)| Ok(self.push(Op::Where, &[condition, *a, *b], self.kind(*a))?[0])).collect()
    }

    /// Says what numbers a value holds, where they are others than those of what its step makes besides.
    pub(super) fn set_kind(&mut self, slot: PlanSlot, kind: ElementKind) {
        self.values[slot.0].kind = kind;
    }

    /// Whether a value is a tensor of the graph's own.
    pub(super) fn is_constant(&self, slot: PlanSlot) -> bool {
        matches!(self.values[slot.0].origin, SlotOrigin::Constant(_))
    }

    /// An input whose first axis has these lengths for the two batches.
    pub(super) fn batch(&self, lengths: PerBatch<usize>) -> Option<PlanSlot> {
        let first = |shape: &PerBatch<Vec<usize>>| Some([*shape[0].first()?, *shape[1].first()?]);
        self.inputs.iter().copied().find(|slot| first(self.shape(*slot)) == Some(lengths))
    }

    /// An input whose first axis has these lengths divided by a number, and that number.
    pub(super) fn multiple(&self, [first, second]: PerBatch<usize>) -> Option<(PlanSlot, usize)> {
        self.inputs.iter().copied().find_map(|slot| {
            let [a, b] = self.shape(slot).each_ref().map(|shape| shape.first().copied().unwrap_or(0));
            let times = first.checked_div(a)?;
            (a != b && times > 0 && a.checked_mul(times) == Some(first) && b.checked_mul(times) == Some(second))
                .then_some((slot, times))
        })
    }

    /// The matrix that a value is the transpose of.
    pub(super) fn transposed(&self, slot: PlanSlot) -> Option<PlanSlot> {
        let SlotOrigin::Step(step) = self.values[slot.0].origin else { return None };
        let PlanStep { op, inputs, .. } = &self.steps[step];
        matches!(op, Op::Transpose(order) if order[..] == [1, 0]).then(|| inputs[0])
    }

    /// Adds an operator, all of whose outputs are of this kind.
    pub(super) fn push(&mut self, op: Op, inputs: &[PlanSlot], kind: ElementKind) -> Result<Vec<PlanSlot>, String> {
        let shapes = |k: usize| inputs.iter().map(|s| self.shape(*s)[k].as_slice()).collect::<Vec<_>>();
        let first = shape::infer(&op, &shapes(0))?;
        // Where the model holds its batch fast, the second batch ends.
        let second = shape::infer(&op, &shapes(1)).unwrap_or_else(|_| first.clone());
        if let Some(shape) = first.iter().chain(&second).find(|s| !bounded(s)) {
            return Err(format!("makes a value of shape {shape:?}, which is too large"));
        }
        let shapes: Vec<_> = first.into_iter().zip(second).map(|(a, b)| (kind, [a, b])).collect();
        Ok(self.step("", op, inputs.to_vec(), &shapes))
    }

    pub(super) fn unknown(
        &mut self,
        name: &str,
        operator: &str,
        inputs: Vec<PlanSlot>,
        outputs: &[(ElementKind, PerBatch<Vec<usize>>)],
    ) -> Vec<PlanSlot> {
        self.step(name, Op::Unknown(operator.to_owned()), inputs, outputs)
    }

    fn step(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<PlanSlot>,
        outputs: &[(ElementKind, PerBatch<Vec<usize>>)],
    ) -> Vec<PlanSlot> {
        let index = self.steps.len();
        let outputs: Vec<PlanSlot> =
            outputs.iter().map(|(kind, shape)| self.add(name, SlotOrigin::Step(index), *kind, shape.clone())).collect();
        self.steps.push(PlanStep { name: name.to_owned(), op, inputs, outputs: outputs.clone() });
        outputs
    }

    /// Where the steps that follow begin.
    pub(super) fn mark(&self) -> usize {
        self.steps.len()
    }

    /// Forgets the steps since a mark that have no name yet: those of a conversion that was given up.
    pub(super) fn back_to(&mut self, mark: usize) {
        while self.steps.len() > mark && self.steps.last().is_some_and(|s| s.name.is_empty()) {
            self.steps.pop();
        }
    }

    /// Names the steps of a node: the one that makes its only output as the node, those of several outputs as these,
    /// what comes before with a number.
    pub(super) fn rename(&mut self, mark: usize, name: &str, outputs: &[(&str, PlanSlot)]) {
        let mut number = 0;
        for index in mark..self.steps.len() {
            if !self.steps[index].name.is_empty() {
                continue;
            }
            let made = |slot: PlanSlot| matches!(self.values[slot.0].origin, SlotOrigin::Step(s) if s == index);
            let mine: Vec<&str> = outputs.iter().filter(|(_, slot)| made(*slot)).map(|(n, _)| *n).collect();
            self.steps[index].name = match (mine.len(), outputs.len()) {
                (0, _) => {
                    number += 1;
                    format!("{name}/{number}")
                }
                (a, b) if a == b => name.to_owned(),
                _ => mine[0].to_owned(),
            };
        }
    }

    /// The graph of what these outputs, by their names, depend on, and where values are in it.
    pub(super) fn build(&self, outputs: &[(&str, PlanSlot)]) -> onebasin_core::error::Result<(Graph, Built)> {
        let mut live = vec![false; self.values.len()];
        for (_, slot) in outputs {
            live[slot.0] = true;
        }
        for step in self.steps.iter().rev() {
            if step.outputs.iter().any(|s| live[s.0]) {
                step.inputs.iter().for_each(|s| live[s.0] = true);
            }
        }
        let mut graph = Graph::new();
        let mut ids: Vec<Option<ValueId>> = vec![None; self.values.len()];
        for (k, value) in self.values.iter().enumerate().filter(|(_, v)| matches!(v.origin, SlotOrigin::Input)) {
            let id = graph.input(&value.name, &value.shape[0])?;
            graph.set_numbers(id, value.kind.numbers());
            ids[k] = Some(id);
        }
        for step in self.steps.iter().filter(|s| s.outputs.iter().any(|o| live[o.0])) {
            let inputs = step.inputs.iter().map(|s| self.leaf(&mut graph, &mut ids, *s));
            let inputs = inputs.collect::<onebasin_core::error::Result<Vec<_>>>()?;
            let made = if let Op::Unknown(operator) = &step.op {
                let shapes: Vec<Vec<usize>> = step.outputs.iter().map(|s| self.shape(*s)[0].clone()).collect();
                graph.push_unknown(&step.name, operator, &inputs, &shapes)?
            } else {
                graph.push_many(&step.name, step.op.clone(), &inputs)?
            };
            step.outputs.iter().zip(made).for_each(|(s, id)| ids[s.0] = Some(id));
        }
        for (_, slot) in outputs {
            let id = self.leaf(&mut graph, &mut ids, *slot)?;
            graph.output(id);
        }
        Ok((graph, Built(ids)))
    }

    /// The value in the graph, which for a parameter or a constant begins with its first use.
    fn leaf(
        &self,
        graph: &mut Graph,
        ids: &mut [Option<ValueId>],
        slot: PlanSlot,
    ) -> onebasin_core::error::Result<ValueId> {
        let value = &self.values[slot.0];
        let id = match (ids[slot.0], &value.origin) {
            (Some(id), _) => id,
            (None, SlotOrigin::Param) => {
                let id = graph.param(&value.name, &value.shape[0])?;
                graph.set_numbers(id, value.kind.numbers());
                id
            }
            (None, SlotOrigin::Constant(tensor)) => graph.constant(&value.name, tensor.clone())?,
            (None, SlotOrigin::Input | SlotOrigin::Step(_)) => {
                let why = "is read before it is made".to_owned();
                return Err(onebasin_core::Error::Graph { node: value.name.clone(), why });
            }
        };
        ids[slot.0] = Some(id);
        Ok(id)
    }
}
