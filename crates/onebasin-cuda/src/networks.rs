//! Two networks on a device, and the Grams of their weights.

use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::matching::{Columns, RootProducts, Table};
use onebasin_core::{DType, Tensor};

use crate::error::Result;
use crate::machine::{Argument, KernelName, Machine, Product};
use crate::tables::{Packed, TablePlace};

/// Tensors of A and B, in the memory of a device as soon as they have been asked for.
pub(crate) struct Networks<M: Machine> {
    machine: Arc<M>,
    /// They share their bytes with the networks.
    pairs: Vec<[Tensor; 2]>,
    /// By pair. Held while the device computes: work of several threads would take the same time and several times the memory.
    stored: Mutex<Vec<Option<[Stored<M>; 2]>>>,
}

/// A tensor on the device.
struct Stored<M: Machine> {
    memory: M::Memory,
    /// What reads its element type.
    gather: KernelName,
}

impl<M: Machine> Stored<M> {
    fn new(machine: &M, tensor: &Tensor) -> Result<Self> {
        let gather = match tensor.dtype() {
            DType::F16 => KernelName::GatherF16,
            DType::BF16 => KernelName::GatherBf16,
            dtype => {
                assert_eq!(dtype, DType::F32, "products are asked for of f32, f16 and bf16 alone");
                KernelName::GatherF32
            }
        };
        Ok(Self { memory: machine.upload(tensor.bytes())?, gather })
    }
}

impl<M: Machine> Networks<M> {
    pub(crate) fn new(machine: Arc<M>, pairs: &[[&Tensor; 2]]) -> Self {
        let stored = Mutex::new(pairs.iter().map(|_| None).collect());
        Self { machine, pairs: pairs.iter().map(|pair| pair.map(Tensor::clone)).collect(), stored }
    }

    fn sum(&self, side: usize, panels: &[Vec<Columns<'_>>]) -> Result<Vec<f64>> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let width_of = |panel: &[Columns<'_>]| panel.iter().map(|c| c.a.offsets.len()).sum::<usize>();
        let mut sum = vec![0.0; side * side];
        let panels: Vec<_> = panels.iter().filter(|panel| width_of(panel) > 0).collect();
        let widest = panels.iter().map(|panel| width_of(panel)).max().unwrap_or(0);
        if side == 0 || widest == 0 {
            return Ok(sum);
        }
        let mut packed = Packed::default();
        for columns in panels.iter().copied().flatten() {
            if stored[columns.pair].is_none() {
                let [a, b] = &self.pairs[columns.pair];
                stored[columns.pair] = Some([Stored::new(&*self.machine, a)?, Stored::new(&*self.machine, b)?]);
            }
            [Some(&columns.a), Some(&columns.b), columns.before.as_ref()]
                .into_iter()
                .flatten()
                .for_each(|t| packed.add(t));
        }
        let (bytes, places) = packed.finish();
        let (tables, mut places) = (self.machine.upload(&bytes)?, places.into_iter());
        let mut next = || places.next().expect("every table was packed");
        let mut total = self.machine.zeros(8 * side * side)?;
        let mut product = self.machine.zeros(4 * side * side)?;
        let [mut a, mut b] = [self.machine.zeros(4 * side * widest)?, self.machine.zeros(4 * side * widest)?];
        for panel in panels {
            let sizes = Product::new(side, side, width_of(panel));
            let mut first = 0;
            for columns in panel {
                let [of_a, of_b] = stored[columns.pair].as_ref().expect("every pair was brought");
                let mut gather = |panel: &mut M::Memory, stored: &Stored<M>, table: &Table<'_>, subtract| {
                    self.gather(panel, stored, table, (&tables, next()), sizes, first, subtract)
                };
                gather(&mut a, of_a, &columns.a, false)?;
                gather(&mut b, of_b, &columns.b, false)?;
                if let Some(before) = &columns.before {
                    gather(&mut b, of_b, before, true)?;
                }
                first += columns.a.offsets.len();
            }
            self.machine.multiply(&mut product, &a, &b, sizes)?;
            let count = side * side;
            let mut arguments = [Argument::Out(&mut total), Argument::In(&product, 0), Argument::Number(count as u64)];
            self.machine.launch(KernelName::AddProduct, count, &mut arguments)?;
        }
        self.machine.download(&total, bytemuck::cast_slice_mut(&mut sum))?;
        Ok(sum)
    }

    /// Fills the columns of a panel from `first` on with the entries that a table names, or takes them off.
    #[allow(clippy::too_many_arguments, reason = "a kernel's parameters, in its order")]
    fn gather(
        &self,
        panel: &mut M::Memory,
        stored: &Stored<M>,
        table: &Table<'_>,
        (tables, place): (&M::Memory, TablePlace),
        sizes: Product,
        first: usize,
        subtract: bool,
    ) -> Result<()> {
        let columns = table.offsets.len();
        let number = |n: usize| Argument::Number(n as u64);
        let mut arguments = [
            Argument::Out(panel),
            number(sizes.rows),
            number(sizes.width),
            number(first),
            number(columns),
            number(usize::from(subtract)),
            Argument::In(&stored.memory, 0),
            number(table.stride),
            Argument::In(tables, place.positions),
            number(table.context),
            Argument::In(tables, place.offsets),
            Argument::In(tables, place.contexts),
        ];
        self.machine.launch(stored.gather, sizes.rows * columns, &mut arguments)
    }
}

impl<M: Machine> RootProducts for Networks<M> {
    fn products(&self, side: usize, panels: &[Vec<Columns<'_>>]) -> onebasin_core::error::Result<Vec<f64>> {
        Ok(self.sum(side, panels)?)
    }
}
