//! The calls to CUDA: driver, NVRTC and cuBLAS.

use std::fmt;
use std::sync::Arc;

use cudarc::cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
use cudarc::cublas::{CudaBlas, Gemm, GemmConfig};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, CudaView, DriverError, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use crate::error::{Error, Result};
use crate::machine::{Argument, KERNELS, Kernel, Machine, Sizes};

/// Threads of a block.
const THREADS: u32 = 256;

/// Blocks of a grid at most; threads then take several entries each.
const BLOCKS: usize = 1 << 16;

/// An opened GPU.
pub(crate) struct Gpu {
    name: String,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    /// In the order of [`Kernel::ALL`].
    kernels: Vec<CudaFunction>,
}

/// Bytes on the GPU.
pub(crate) struct Bytes {
    slice: CudaSlice<u8>,
    context: Arc<CudaContext>,
}

/// Memory is given back, and cuBLAS closed, on whichever thread drops them, and neither chooses the context there. Where none
/// can be chosen the driver is gone, and all with it.
impl Drop for Bytes {
    fn drop(&mut self) {
        self.context.bind_to_thread().ok();
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.context.bind_to_thread().ok();
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Gpu {
    pub(crate) fn open(ordinal: usize) -> Result<Self> {
        find_libraries()?;
        let none = |why: DriverError| Error::NoDevice { why: said(why) };
        let count = CudaContext::device_count().map_err(none)?.max(0) as usize;
        if count == 0 {
            return Err(Error::NoDevice { why: "the driver knows none".to_owned() });
        }
        if ordinal >= count {
            return Err(Error::NoSuchDevice { ordinal, count });
        }
        let context = CudaContext::new(ordinal).map_err(none)?;
        let name = context.name().map_err(none)?;
        let stream = context.default_stream();
        let module = context.load_module(compile(None)?).map_err(refused)?;
        let load = |kernel: Kernel| module.load_function(kernel.name()).map_err(refused);
        let kernels = Kernel::ALL.into_iter().map(load).collect::<Result<_>>()?;
        let blas = CudaBlas::new(Arc::clone(&stream))
            .map_err(|why| Error::Failed { what: "starting cuBLAS", why: why.to_string() })?;
        Ok(Self { name, context, stream, blas, kernels })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Says which library of CUDA is not on this machine; cudarc panics where it calls one that is not.
fn find_libraries() -> Result<()> {
    let toolkit = "the CUDA toolkit brings it (where it is not found, name its folder in LD_LIBRARY_PATH)";
    let missing = |library, remedy| Err(Error::NoLibrary { library, remedy });
    match has_libraries() {
        [false, ..] => missing("libcuda", "the NVIDIA driver brings it"),
        [_, false, _] => missing("libnvrtc", toolkit),
        [.., false] => missing("libcublas", toolkit),
        [true, true, true] => Ok(()),
    }
}

/// Whether driver, NVRTC and cuBLAS are on this machine.
#[allow(unsafe_code)]
fn has_libraries() -> [bool; 3] {
    use cudarc::{cublas, driver, nvrtc};
    // SAFETY: loading these libraries runs nothing but their own initialisation.
    unsafe { [driver::sys::is_culib_present(), nvrtc::sys::is_culib_present(), cublas::sys::is_culib_present()] }
}

/// Compiles the kernels to PTX for the oldest GPUs that NVRTC knows, which the driver translates for its own.
/// Where an architecture is given, for that one.
fn compile(arch: Option<&'static str>) -> Result<Ptx> {
    let options = CompileOptions { name: Some("onebasin.cu".to_owned()), arch, ..CompileOptions::default() };
    compile_ptx_with_opts(KERNELS, options).map_err(|why| Error::Kernels {
        why: match why {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => other.to_string(),
        },
    })
}

fn refused(why: DriverError) -> Error {
    let hint = match why.0 {
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => "; the driver is older than libnvrtc",
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => "; the GPU is older than libnvrtc can compile for",
        _ => "",
    };
    Error::Kernels { why: said(why) + hint }
}

fn failed(what: &'static str) -> impl Fn(DriverError) -> Error {
    move |why| Error::Failed { what, why: said(why) }
}

/// Why there is no memory of this size.
fn memory(bytes: usize) -> impl Fn(DriverError) -> Error {
    move |why| match why.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::Memory { bytes },
        _ => failed("keeping memory")(why),
    }
}

/// The driver's words, without cudarc's around them.
fn said(why: DriverError) -> String {
    why.error_string().map_or_else(|_| format!("{:?}", why.0), |text| text.to_string_lossy().into_owned())
}

/// An argument while a launch is prepared.
enum Slot<'a> {
    In(CudaView<'a, u8>),
    Out(&'a mut CudaSlice<u8>),
    Number(u64),
}

impl<'a> Slot<'a> {
    fn of(argument: &'a mut Argument<'_, Bytes>) -> Self {
        match argument {
            Argument::In(memory, from) => Self::In(memory.slice.slice(*from..)),
            Argument::Out(memory) => Self::Out(&mut memory.slice),
            Argument::Number(n) => Self::Number(*n),
        }
    }
}

impl Machine for Gpu {
    type Memory = Bytes;

    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory> {
        let slice = self.stream.clone_htod(bytes).map_err(memory(bytes.len()))?;
        Ok(Bytes { slice, context: Arc::clone(&self.context) })
    }

    fn zeros(&self, bytes: usize) -> Result<Self::Memory> {
        let slice = self.stream.alloc_zeros(bytes).map_err(memory(bytes))?;
        Ok(Bytes { slice, context: Arc::clone(&self.context) })
    }

    fn download(&self, memory: &Self::Memory, out: &mut [u8]) -> Result<()> {
        let what = failed("copying results back");
        self.stream.memcpy_dtoh(&memory.slice.slice(..out.len()), out).map_err(&what)?;
        self.stream.synchronize().map_err(&what)
    }

    #[allow(unsafe_code)]
    fn launch(&self, kernel: Kernel, entries: usize, arguments: &mut [Argument<'_, Self::Memory>]) -> Result<()> {
        assert!(kernel.takes(arguments), "{}: other arguments", kernel.name());
        let blocks = entries.div_ceil(THREADS as usize).clamp(1, BLOCKS) as u32;
        let grid = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut slots: Vec<Slot<'_>> = arguments.iter_mut().map(Slot::of).collect();
        let mut launch = self.stream.launch_builder(&self.kernels[kernel.index()]);
        for slot in &mut slots {
            match slot {
                Slot::In(view) => launch.arg(view as &CudaView<'_, u8>),
                Slot::Out(memory) => launch.arg(&mut **memory),
                Slot::Number(n) => launch.arg(n as &u64),
            };
        }
        // SAFETY: number and kind of the arguments are the kernel's, memory that it writes is borrowed mutably, and kernels
        // stay inside what the tables and sizes given to them name, which `Networks` makes from tensors of their shapes.
        unsafe { launch.launch(grid) }.map_err(failed("starting a kernel"))?;
        Ok(())
    }

    #[allow(unsafe_code)]
    fn multiply(&self, product: &mut Self::Memory, a: &Self::Memory, b: &Self::Memory, sizes: Sizes) -> Result<()> {
        let Sizes { rows, columns, width } = sizes;
        let what = "a matrix product";
        let config = column_major(sizes)
            .ok_or_else(|| Error::Failed { what, why: format!("{rows} × {columns} × {width} is too large") })?;
        // Products, unlike launches, do not choose the context of the calling thread.
        self.context.bind_to_thread().map_err(failed(what))?;
        let short = "memory is as long as the sizes say";
        // SAFETY: every pattern of bits is an f32, memory of the driver is aligned for it, and the lengths are checked.
        let (a, b) = unsafe { (a.slice.transmute(rows * width), b.slice.transmute(columns * width)) };
        // SAFETY: the same.
        let mut c = unsafe { product.slice.transmute_mut::<f32>(rows * columns) }.expect(short);
        // SAFETY: the sizes in the configuration are those of the three views.
        unsafe {
            self.blas.gemm::<CudaView<'_, f32>, CudaView<'_, f32>, _>(
                config,
                &b.expect(short),
                &a.expect(short),
                &mut c,
            )
        }
        .map_err(|why| Error::Failed { what, why: why.to_string() })
    }
}

/// `C = A Bᵀ` of row-major matrices as cuBLAS sees it, which reads memory column by column: `Cᵀ = B Aᵀ`, so B is its first
/// factor, transposed, and A its second.
fn column_major(Sizes { rows, columns, width }: Sizes) -> Option<GemmConfig<f32>> {
    let [rows, columns, width] = [rows, columns, width].map(|n| i32::try_from(n).ok());
    let (m, n, k) = (columns?, rows?, width?);
    let (transa, transb) = (CUBLAS_OP_T, CUBLAS_OP_N);
    Some(GemmConfig { transa, transb, m, n, k, alpha: 1.0, lda: k, ldb: k, beta: 0.0, ldc: m })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cuBLAS documents: `C = α op(A) op(B) + β C`, all column by column, `op(A)` being m × k and `op(B)` k × n.
    fn gemm(config: &GemmConfig<f32>, a: &[f32], b: &[f32], c: &mut [f32]) {
        let at = |op, matrix: &[f32], lead: i32, i: i32, j: i32| {
            let (i, j) = if op == CUBLAS_OP_T { (j, i) } else { (i, j) };
            matrix[(i + j * lead) as usize]
        };
        for j in 0..config.n {
            for i in 0..config.m {
                let term = |l| at(config.transa, a, config.lda, i, l) * at(config.transb, b, config.ldb, l, j);
                let out = &mut c[(i + j * config.ldc) as usize];
                *out = config.alpha * (0..config.k).map(term).sum::<f32>() + config.beta * *out;
            }
        }
    }

    #[test]
    fn products_of_rows_are_what_is_asked_of_cublas() {
        let (rows, columns, width) = (3, 4, 2);
        let a: Vec<f32> = (0..rows * width).map(|k| k as f32).collect();
        let b: Vec<f32> = (0..columns * width).map(|k| 10.0 - k as f32).collect();
        let mut c = vec![7.0; rows * columns];
        gemm(&column_major(Sizes { rows, columns, width }).unwrap(), &b, &a, &mut c);
        for i in 0..rows {
            for j in 0..columns {
                let expected: f32 = (0..width).map(|k| a[i * width + k] * b[j * width + k]).sum();
                assert_eq!(c[i * columns + j], expected);
            }
        }
        assert!(column_major(Sizes { rows: 1 << 40, columns, width }).is_none());
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "the test task collects this line")]
    fn nvrtc_compiles_the_kernels() {
        if !has_libraries()[1] {
            println!("SKIPPED nvrtc_compiles_the_kernels: libnvrtc was not found; name its folder in LD_LIBRARY_PATH");
            return;
        }
        // Names of real GPUs have the code assembled for them too.
        for arch in [None, Some("sm_80"), Some("sm_90")] {
            let ptx = compile(arch).unwrap().to_src();
            for kernel in Kernel::ALL {
                assert!(ptx.contains(&format!(".entry {}(", kernel.name())), "{ptx}");
            }
        }
    }
}
