//! The kernels compiled for the processor, as a machine, and tests of the arithmetic on it.
#![allow(unsafe_code, reason = "functions of a library that was just compiled are called")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::process::Command;
use std::sync::Arc;

use libloading::{Library, Symbol};
use onebasin_core::graph::Graph;
use onebasin_core::linalg::{Mat, Scalar};
use onebasin_core::matching::{Accelerator, RootProducts, RowProducts};
use onebasin_core::{DType, Params, Tensor};
use onebasin_nn::optim::Optimizer;
use onebasin_nn::{Runner, Running};

#[path = "../tests/checks/mod.rs"]
mod checks;

use crate::error::Result;
use crate::forward::DeviceNetwork;
use crate::machine::{Argument, KernelName, Machine, Precision, Product, ProductForm};
use crate::networks::Networks;
use crate::rows::DeviceRows;
use crate::training::DeviceTraining;

/// Few enough that convolutions take two samples, then one.
const PATCHES: usize = 300_000;

type Launcher = unsafe extern "C" fn(u32, u32, *mut *mut c_void);

/// A processor that runs kernels as a GPU does, on memory that nothing else sees.
#[derive(Clone)]
struct Host {
    kernels: Arc<Library>,
    training: Precision,
}

/// Memory aligned for any number.
struct HostMemory(UnsafeCell<Vec<u64>>);

// SAFETY: a machine is used by one thread at a time, and kernels write only what they were lent to write.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    fn bytes(&self) -> &[u8] {
        // SAFETY: nothing writes while `self` is borrowed.
        bytemuck::cast_slice(unsafe { &*self.0.get() })
    }
}

impl Host {
    /// Compiles the kernels, or says that the test is skipped.
    #[allow(clippy::print_stdout, reason = "the test task collects this line")]
    fn or_skip(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("kernels.so");
        let kernels = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let ran = Command::new(&compiler)
            .args(["-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-ffp-contract=off"])
            .args([format!("{kernels}/host.cpp").as_ref(), "-o".as_ref(), library.as_os_str()])
            .output();
        let Ok(ran) = ran else {
            println!("SKIPPED {test}: no C++ compiler `{}`; name one in CXX", compiler.display());
            return None;
        };
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        // SAFETY: the library has no initialisation.
        let kernels = Arc::new(unsafe { Library::new(library) }.unwrap());
        Some(Self { kernels, training: Precision::F32 })
    }

    /// Runs a kernel on a grid of this many blocks and threads.
    fn run(&self, kernel: KernelName, grid: (u32, u32), arguments: &mut [Argument<'_, HostMemory>]) {
        assert!(kernel.takes(arguments), "{}: other arguments", kernel.name());
        let mut values: Vec<u64> = Vec::new();
        for argument in arguments {
            values.push(match argument {
                Argument::In(memory, from) => memory.bytes()[*from..].as_ptr().expose_provenance() as u64,
                Argument::Out(memory) => memory.0.get_mut().as_mut_ptr().expose_provenance() as u64,
                Argument::Number(n) => *n,
            });
        }
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
        // SAFETY: the function has this type, and the kernel these arguments; pointers and numbers are 64 bits each.
        unsafe {
            let launch: Symbol<'_, Launcher> = self.kernels.get(format!("launch_{}", kernel.name())).unwrap();
            launch(grid.0, grid.1, pointers.as_mut_ptr());
        }
    }
}

impl Machine for Host {
    type Memory = HostMemory;

    fn upload(&self, bytes: &[u8]) -> Result<HostMemory> {
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Ok(HostMemory(words.into()))
    }

    fn zeros(&self, bytes: usize) -> Result<HostMemory> {
        Ok(HostMemory(vec![0; bytes.div_ceil(8)].into()))
    }

    fn download(&self, memory: &HostMemory, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&memory.bytes()[..out.len()]);
        Ok(())
    }

    fn launch(&self, kernel: KernelName, _: usize, arguments: &mut [Argument<'_, HostMemory>]) -> Result<()> {
        self.run(kernel, (3, 7), arguments);
        Ok(())
    }

    fn multiply(&self, out: &mut HostMemory, a: &HostMemory, b: &HostMemory, product: Product) -> Result<()> {
        let Product { rows, columns, width, form, added, precision } = product;
        let seen = |value: &f32| match precision {
            Precision::F32 => *value,
            Precision::Bf16 => half::bf16::from_f32(*value).to_f32(),
        };
        let floats = |memory: &HostMemory, len: usize| -> Vec<f32> {
            bytemuck::cast_slice::<u8, f32>(memory.bytes())[..len].iter().map(seen).collect()
        };
        let (a, b) = (floats(a, rows * width), floats(b, columns * width));
        let a = if form == ProductForm::Tn { Mat::new(&a, width, rows).t() } else { Mat::new(&a, rows, width) };
        let b = if form == ProductForm::Nt { Mat::new(&b, columns, width).t() } else { Mat::new(&b, width, columns) };
        f32::matmul(&mut bytemuck::cast_slice_mut(out.0.get_mut())[..rows * columns], a, b, added);
        Ok(())
    }
}

impl Accelerator for Host {
    fn hold(&self, pairs: &[[&Tensor; 2]]) -> Box<dyn RootProducts> {
        Box::new(Networks::new(Arc::new(self.clone()), pairs))
    }

    fn rows(&self, inputs: usize, units: usize) -> onebasin_core::error::Result<Option<Box<dyn RowProducts>>> {
        Ok(Some(Box::new(DeviceRows::new(Arc::new(self.clone()), inputs, units)?)))
    }
}

impl Runner for Host {
    fn bring(&self, graph: &Graph, params: &Params) -> onebasin_nn::Result<Box<dyn Running>> {
        Ok(Box::new(DeviceNetwork::new(Arc::new(self.clone()), graph, params, PATCHES)?))
    }

    fn bring_to_train(
        &self,
        graph: &Graph,
        params: &Params,
        moments: &[Params],
        optimizer: Optimizer,
    ) -> onebasin_nn::Result<Box<dyn onebasin_nn::Training>> {
        let how = (PATCHES, self.training);
        Ok(Box::new(DeviceTraining::new(Arc::new(self.clone()), graph, params, moments, optimizer, how)?))
    }
}

/// Every 16-bit float that is a number, through the kernel and through the core's conversion.
#[test]
fn kernels_read_halves_as_the_core_does() {
    let Some(host) = Host::or_skip("kernels_read_halves_as_the_core_does") else { return };
    for (dtype, kernel) in [(DType::F16, KernelName::GatherF16), (DType::BF16, KernelName::GatherBf16)] {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let count = 1 << 16;
        let tensor = Tensor::new(dtype, &[count], bytes.clone().into()).unwrap();
        let (memory, position) = (host.upload(&bytes).unwrap(), host.zeros(4).unwrap());
        let columns: Vec<u64> = (0..count as u64).collect();
        let offsets = host.upload(bytemuck::cast_slice(&columns)).unwrap();
        let (contexts, mut panel) = (host.zeros(4 * count).unwrap(), host.zeros(4 * count).unwrap());
        let (one, all) = (|| Argument::Number(1), || Argument::Number(count as u64));
        let mut arguments = [
            Argument::Out(&mut panel),
            one(),
            all(),
            Argument::Number(0),
            all(),
            Argument::Number(0),
            Argument::In(&memory, 0),
            one(),
            Argument::In(&position, 0),
            one(),
            Argument::In(&offsets, 0),
            Argument::In(&contexts, 0),
        ];
        host.run(kernel, (5, 64), &mut arguments);
        let mut found = vec![0.0_f32; count];
        host.download(&panel, bytemuck::cast_slice_mut(&mut found)).unwrap();
        for (k, (found, expected)) in found.iter().zip(&*tensor.to_f32().unwrap()).enumerate() {
            assert!(found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()), "{dtype} {k:#x}");
        }
    }
}

#[test]
fn grams_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("grams_by_the_kernels_are_those_of_the_processor") else { return };
    checks::grams_are_those_of_the_processor(&host);
}

#[test]
fn kept_grams_are_brought_up_to_date_by_the_kernels() {
    let Some(host) = Host::or_skip("kept_grams_are_brought_up_to_date_by_the_kernels") else { return };
    checks::kept_grams_are_brought_up_to_date(&host);
}

#[test]
fn matches_by_the_kernels_end_where_those_of_the_processor_do() {
    let Some(host) = Host::or_skip("matches_by_the_kernels_end_where_those_of_the_processor_do") else { return };
    checks::ascents_end_where_those_of_the_processor_do(&host);
}

#[test]
fn wide_grams_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("wide_grams_by_the_kernels_are_those_of_the_processor") else { return };
    checks::wide_grams_are_those_of_the_processor(&host);
}

#[test]
fn sums_of_rows_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("sums_of_rows_by_the_kernels_are_those_of_the_processor") else { return };
    checks::sums_of_rows_are_those_of_the_processor(&host);
}

#[test]
fn solves_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("solves_by_the_kernels_are_those_of_the_processor") else { return };
    checks::solves_are_those_of_the_processor(&host);
}

#[test]
fn threads_share_the_kernels() {
    let Some(host) = Host::or_skip("threads_share_the_kernels") else { return };
    checks::threads_share_a_device(&host);
}

#[test]
fn outputs_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("outputs_by_the_kernels_are_those_of_the_processor") else { return };
    checks::outputs_are_those_of_the_processor(&host);
}

#[test]
fn operators_without_a_kernel_are_refused() {
    let Some(host) = Host::or_skip("operators_without_a_kernel_are_refused") else { return };
    checks::other_operators_are_refused(&host);
}

#[test]
fn steps_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("steps_by_the_kernels_are_those_of_the_processor") else { return };
    checks::training::steps_are_those_of_the_processor(&host);
}

#[test]
fn gradients_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("gradients_by_the_kernels_are_those_of_the_processor") else { return };
    checks::training::gradients_are_those_of_the_processor(&host);
}

#[test]
fn training_by_the_kernels_goes_on() {
    let Some(host) = Host::or_skip("training_by_the_kernels_goes_on") else { return };
    checks::training::training_goes_on(&host);
}

#[test]
fn steps_by_the_kernels_in_bf16_are_near() {
    let Some(host) = Host::or_skip("steps_by_the_kernels_in_bf16_are_near") else { return };
    checks::training::steps_in_bf16_are_near(&host, &Host { training: Precision::Bf16, ..host.clone() });
}

#[test]
fn gradients_by_the_kernels_are_near_exact_ones() {
    let Some(host) = Host::or_skip("gradients_by_the_kernels_are_near_exact_ones") else { return };
    checks::training::gradients_are_near_exact_ones(&host);
}
