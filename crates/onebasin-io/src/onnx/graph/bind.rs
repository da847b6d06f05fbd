//! What the names of a model stand for, and the shapes they have.

use std::rc::Rc;

use onebasin_core::nearest;

use super::array::{Array, ElementKind, bounded, constant, elements};
use super::plan::PlanSlot;
use super::{Binding, DEPTH, Importer, PerBatch};
use crate::error::{Error, Result};
use crate::onnx::model::{Dim, Value};
use crate::onnx::{fail, unfit};

/// Whether the one open axis of an input, whose axis 0 is none of samples, has to be that of the samples: as of the state of
/// recurrent layers, one behind the other.
fn batch_stands_behind(dims: &[Dim], batch: usize) -> bool {
    let open = dims.iter().filter(|dim| !matches!(dim, Dim::Fixed(_))).count();
    open == 1 && matches!(dims.first(), Some(Dim::Fixed(n)) if *n != batch)
}

impl<'a> Importer<'a> {
    /// Every name in the caller's shapes is an input, or a value that a node makes.
    pub(super) fn check_names(&self) -> Result<()> {
        let inputs = || self.model.inputs.iter().map(|v| v.name.as_str());
        let made = || self.nodes.iter().flat_map(|placed| placed.node.makes());
        for name in self.shapes.keys() {
            if !inputs().chain(made()).any(|known| known == name) {
                let hint =
                    nearest(name, inputs().chain(made())).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                let inputs = inputs().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
                let why = format!("the model has no such value, its inputs are {inputs}{hint}");
                return Err(unfit(&self.model.path, format!("shape of `{name}`"), why));
            }
        }
        Ok(())
    }

    /// Adds the inputs; those whose shape is given come first, as they say what the axes' names stand for.
    pub(super) fn bind_inputs(&mut self) -> Result<()> {
        let model = self.model;
        for input in &model.inputs {
            if let Some(given) = self.shapes.get(&input.name) {
                self.name_axes(input, given)?;
            }
        }
        for input in &model.inputs {
            if let Some(Dim::Named(name)) = input.shape.as_ref().and_then(|s| s.first()) {
                self.symbols.entry(name).or_insert([1, 2]);
            }
        }
        for input in &model.inputs {
            let shape = self.input_shape(input)?;
            for shape in &shape {
                self.check(&input.name, shape)?;
            }
            let kind = input.dtype.map_or(ElementKind::Float, ElementKind::of);
            let slot = Some(self.plan.input(&input.name, kind, shape));
            self.bindings.insert(&input.name, Binding { slot, ..Binding::default() });
        }
        Ok(())
    }

    fn name_axes(&mut self, input: &'a Value, given: &[usize]) -> Result<()> {
        let Some(dims) = &input.shape else { return Ok(()) };
        let unfit = |why: String| unfit(&self.model.path, format!("shape {given:?} of input `{}`", input.name), why);
        if dims.len() != given.len() {
            return Err(unfit(format!("the model gives it {} axes", dims.len())));
        }
        for (axis, (dim, &len)) in dims.iter().zip(given).enumerate() {
            match dim {
                // The batch of an exported model is whatever it was exported with.
                Dim::Fixed(n) if *n != len && axis > 0 => {
                    return Err(unfit(format!("the model has {n} on axis {axis}")));
                }
                Dim::Named(name) => {
                    let leads = |v: &Value| v.shape.as_ref().and_then(|s| s.first()) == Some(dim);
                    let follows = axis == 0 || self.model.inputs.iter().any(leads);
                    let pair = [len, if follows { len + 1 } else { len }];
                    let known = *self.symbols.entry(name).or_insert(pair);
                    if known[0] != len {
                        return Err(unfit(format!("axis {axis} is `{name}`, which is {} elsewhere", known[0])));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn input_shape(&self, input: &'a Value) -> Result<PerBatch<Vec<usize>>> {
        let (name, model) = (&input.name, self.model);
        let ask = |axis: String| {
            let flag = format!("--input-shape {name}=1x3x224x224");
            fail(&model.path, format!("input `{name}`"), format!("{axis}; pass its whole shape, as in `{flag}`"))
        };
        let given = self.shapes.get(name);
        let Some(dims) = &input.shape else {
            let given = given.ok_or_else(|| ask("the model does not say how many axes it has".to_owned()))?;
            let mut more = given.clone();
            more.first_mut().into_iter().for_each(|n| *n += 1);
            return Ok([given.clone(), more]);
        };
        let batch = self.batch();
        let mut pair = [Vec::new(), Vec::new()];
        for (axis, dim) in dims.iter().enumerate() {
            let symbol = if let Dim::Named(symbol) = dim { self.symbols.get(symbol.as_str()).copied() } else { None };
            let lengths = match (given, dim, symbol) {
                (_, _, Some(lengths)) => lengths,
                (Some(given), ..) => [given[axis]; 2],
                (None, Dim::Fixed(n), _) => [*n; 2],
                (None, Dim::Unknown, _) if axis == 0 => [1; 2],
                (None, Dim::Unknown | Dim::Named(_), _) if batch_stands_behind(dims, batch) => [batch, batch + 1],
                (None, Dim::Named(n), _) => return Err(ask(format!("axis {axis} is `{n}`, of no fixed length"))),
                (None, Dim::Unknown, _) => return Err(ask(format!("axis {axis} has no length in the model"))),
            };
            pair[0].push(lengths[0]);
            let follows = axis == 0 && lengths[0] == batch;
            pair[1].push(if follows { lengths[0].saturating_add(1) } else { lengths[1] });
        }
        Ok(pair)
    }

    /// Number of samples: the length of axis 0 of the first input that has axes.
    fn batch(&self) -> usize {
        let first = |input: &Value| {
            if let Some(given) = self.shapes.get(&input.name) {
                return given.first().copied();
            }
            match input.shape.as_ref()?.first()? {
                Dim::Fixed(n) => Some(*n),
                Dim::Named(name) => self.symbols.get(name.as_str()).map(|pair| pair[0]),
                Dim::Unknown => Some(1),
            }
        };
        self.model.inputs.iter().find_map(first).unwrap_or(1)
    }

    /// What a name stands for; tensors of the model on first sight.
    pub(super) fn binding(&mut self, name: &'a str) -> Binding {
        if let Some(known) = self.bindings.get(name) {
            return known.clone();
        }
        let mut binding = Binding::default();
        if let Some(tensor) = self.model.params.get(name) {
            binding.known = Array::of(tensor).map(|array| Rc::new([array.clone(), array]));
            binding.weight = tensor.dtype().is_float() && !self.origins.constants.contains(name);
            binding.dtype = Some(tensor.dtype());
            self.bindings.insert(name, binding.clone());
        }
        binding
    }

    /// Lengths of a value's axes, if it has been reached.
    pub(super) fn shape(&mut self, name: &'a str) -> Option<PerBatch<Vec<usize>>> {
        let binding = self.binding(name);
        match (binding.slot, binding.known, self.model.params.get(name)) {
            (Some(slot), ..) => Some(self.plan.shape(slot).clone()),
            (None, Some(known), _) => Some([known[0].shape.clone(), known[1].shape.clone()]),
            (None, None, tensor) => tensor.map(|t| [t.shape().to_vec(), t.shape().to_vec()]),
        }
    }

    /// The value in the graph that a name stands for.
    pub(super) fn slot(&mut self, name: &'a str) -> Result<PlanSlot> {
        let binding = self.binding(name);
        if let Some(slot) = binding.slot {
            return Ok(slot);
        }
        let refused = |source| Error::Core { path: self.model.path.clone(), source };
        let fixed = binding.known.as_ref().filter(|pair| !binding.weight && pair[0] == pair[1]);
        let slot = if let Some(pair) = fixed {
            self.plan.constant(name, pair[0].tensor().map_err(refused)?, pair[0].kind())
        } else if let Some(node) = binding.node {
            if self.depth == DEPTH {
                let why = format!("is computed by more than {DEPTH} nodes, one within the other; simplify the model");
                return Err(fail(&self.model.path, format!("value `{name}`"), why));
            }
            self.depth += 1;
            self.convert(node)?;
            self.depth -= 1;
            return self.bindings.get(name).and_then(|b| b.slot).ok_or_else(|| self.absent(name));
        } else if let Some(tensor) = self.model.params.get(name) {
            self.check(name, tensor.shape())?;
            if let Some(recipe) = self.origins.recipes.get(name) {
                let mark = self.plan.mark();
                let made = recipe
                    .plan(&mut self.plan)
                    .map_err(|why| fail(&self.model.path, format!("value `{name}`"), why))?;
                self.plan.rename(mark, name, &[(name, made)]);
                made
            } else if tensor.dtype().is_float() && !self.origins.constants.contains(name) {
                self.plan.param(name, ElementKind::Float, tensor.shape())
            } else {
                let data = elements(tensor).ok_or_else(|| self.absent(name))?;
                let made = constant(tensor.shape(), &data).map_err(refused)?;
                self.plan.constant(name, made, ElementKind::of(tensor.dtype()))
            }
        } else {
            return Err(self.absent(name));
        };
        self.bindings.entry(name).or_default().slot = Some(slot);
        Ok(slot)
    }

    fn absent(&self, name: &str) -> Error {
        let why = "is of an element type that has no numbers here, or an output that its node leaves out";
        fail(&self.model.path, format!("value `{name}`"), why)
    }

    /// The shape that the caller, the model or its own elements give to a value.
    pub(super) fn shape_given(&mut self, name: &'a str) -> Result<Option<PerBatch<Vec<usize>>>> {
        if let Some(given) = self.shapes.get(name) {
            self.check(name, given)?;
            return Ok(Some([given.clone(), given.clone()]));
        }
        if let Some(known) = self.binding(name).known {
            return Ok(Some([known[0].shape.clone(), known[1].shape.clone()]));
        }
        let Some(dims) = self.declared.get(name).and_then(|v| v.shape.as_ref()) else { return Ok(None) };
        let lengths = dims.iter().map(|dim| match dim {
            Dim::Fixed(n) => Some([*n; 2]),
            Dim::Named(symbol) => self.symbols.get(symbol.as_str()).copied(),
            Dim::Unknown => None,
        });
        let Some(lengths) = lengths.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let shapes = [0, 1].map(|k| lengths.iter().map(|pair: &PerBatch<usize>| pair[k]).collect::<Vec<_>>());
        for shape in &shapes {
            self.check(name, shape)?;
        }
        Ok(Some(shapes))
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        if bounded(shape) {
            return Ok(());
        }
        Err(fail(&self.model.path, format!("value `{name}`"), format!("has shape {shape:?}, which is too large")))
    }
}
