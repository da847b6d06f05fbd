//! Products of rows, summed on a device: what a solve adds up.

use std::sync::Arc;

use onebasin_core::matching::RowProducts;

use crate::error::Result;
use crate::machine::{Argument, KernelName, Machine, Product, ProductForm};

/// `Σ x xᵀ` and `Σ x rᵀ` in the memory of a device.
pub(crate) struct DeviceRows<M: Machine> {
    machine: Arc<M>,
    inputs: usize,
    units: usize,
    square: Sum<M>,
    cross: Sum<M>,
}

/// A sum in f64, and room for a product in f32.
struct Sum<M: Machine> {
    total: M::Memory,
    product: M::Memory,
    len: usize,
}

impl<M: Machine> Sum<M> {
    fn new(machine: &M, len: usize) -> Result<Self> {
        Ok(Self { total: machine.zeros(8 * len)?, product: machine.zeros(4 * len)?, len })
    }

    /// Adds `Aᵀ B`.
    fn add(&mut self, machine: &M, a: &M::Memory, b: &M::Memory, sizes: Product) -> Result<()> {
        machine.multiply(&mut self.product, a, b, sizes)?;
        let count = Argument::Number(self.len as u64);
        let mut arguments = [Argument::Out(&mut self.total), Argument::In(&self.product, 0), count];
        machine.launch(KernelName::AddProduct, self.len, &mut arguments)
    }

    fn fetch(&self, machine: &M) -> Result<Vec<f64>> {
        let mut sum = vec![0.0; self.len];
        machine.download(&self.total, bytemuck::cast_slice_mut(&mut sum))?;
        Ok(sum)
    }
}

impl<M: Machine> DeviceRows<M> {
    pub(crate) fn new(machine: Arc<M>, inputs: usize, units: usize) -> Result<Self> {
        let (square, cross) = (Sum::new(&*machine, inputs * inputs)?, Sum::new(&*machine, inputs * units)?);
        Ok(Self { machine, inputs, units, square, cross })
    }

    fn add(&mut self, inputs: &[f32], targets: &[f32], square: bool) -> Result<()> {
        let count = inputs.len() / self.inputs.max(1);
        if count == 0 || self.units == 0 {
            return Ok(());
        }
        let machine = &*self.machine;
        let (x, r) = (machine.upload(bytemuck::cast_slice(inputs))?, machine.upload(bytemuck::cast_slice(targets))?);
        let sizes = |columns| Product { form: ProductForm::Tn, ..Product::new(self.inputs, columns, count) };
        if square {
            self.square.add(machine, &x, &x, sizes(self.inputs))?;
        }
        self.cross.add(machine, &x, &r, sizes(self.units))
    }
}

impl<M: Machine> RowProducts for DeviceRows<M> {
    fn add(&mut self, inputs: &[f32], targets: &[f32], square: bool) -> onebasin_core::error::Result<()> {
        Ok(Self::add(self, inputs, targets, square)?)
    }

    fn sums(&self) -> onebasin_core::error::Result<[Vec<f64>; 2]> {
        Ok([self.square.fetch(&self.machine)?, self.cross.fetch(&self.machine)?])
    }
}
