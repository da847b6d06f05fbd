//! The calls to CUDA: driver, NVRTC and cuBLAS.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use cudarc::cublas::CudaBlas;
use cudarc::cublas::result::gemm_ex;
use cudarc::cublas::sys::cublasComputeType_t::{self, CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_16BF};
use cudarc::cublas::sys::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT;
use cudarc::cublas::sys::cublasOperation_t::{self, CUBLAS_OP_N, CUBLAS_OP_T};
use cudarc::cublas::sys::cudaDataType_t::CUDA_R_32F;
use cudarc::driver::sys::{CUdeviceptr, CUresult};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, CudaView, DevicePtr, DevicePtrMut, DriverError, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use crate::error::{Error, Result};
use crate::machine::{Argument, KERNELS, KernelName, Machine, Precision, Product, ProductForm};

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
    /// In the order of [`KernelName::ALL`].
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
        let load = |kernel: KernelName| module.load_function(kernel.name()).map_err(refused);
        let kernels = KernelName::ALL.into_iter().map(load).collect::<Result<_>>()?;
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
enum LaunchSlot<'a> {
    In(CudaView<'a, u8>),
    Out(&'a mut CudaSlice<u8>),
    Number(u64),
}

impl<'a> LaunchSlot<'a> {
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
    fn launch(&self, kernel: KernelName, entries: usize, arguments: &mut [Argument<'_, Self::Memory>]) -> Result<()> {
        assert!(kernel.takes(arguments), "{}: other arguments", kernel.name());
        let blocks = entries.div_ceil(THREADS as usize).clamp(1, BLOCKS) as u32;
        let grid = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut slots: Vec<LaunchSlot<'_>> = arguments.iter_mut().map(LaunchSlot::of).collect();
        let mut launch = self.stream.launch_builder(&self.kernels[kernel.index()]);
        for slot in &mut slots {
            match slot {
                LaunchSlot::In(view) => launch.arg(view as &CudaView<'_, u8>),
                LaunchSlot::Out(memory) => launch.arg(&mut **memory),
                LaunchSlot::Number(n) => launch.arg(n as &u64),
            };
        }
        // SAFETY: number and kind of the arguments are the kernel's, memory that it writes is borrowed mutably, and kernels
        // stay inside what the tables and sizes given to them name, which `Networks` and `Nodes` make from shapes.
        unsafe { launch.launch(grid) }.map_err(failed("starting a kernel"))?;
        Ok(())
    }

    #[allow(unsafe_code)]
    fn multiply(&self, out: &mut Self::Memory, a: &Self::Memory, b: &Self::Memory, product: Product) -> Result<()> {
        let Product { rows, columns, width, .. } = product;
        let what = "a matrix product";
        let call = Launch::of(product)
            .ok_or_else(|| Error::Failed { what, why: format!("{rows} × {columns} × {width} is too large") })?;
        // Products, unlike launches, do not choose the context of the calling thread.
        self.context.bind_to_thread().map_err(failed(what))?;
        for (memory, numbers) in [(&*out, rows * columns), (a, rows * width), (b, columns * width)] {
            assert!(memory.slice.len() >= 4 * numbers, "memory is as long as the sizes say");
        }
        let (a, _reading_a) = a.slice.device_ptr(&self.stream);
        let (b, _reading_b) = b.slice.device_ptr(&self.stream);
        let (c, _writing) = out.slice.device_ptr_mut(&self.stream);
        let pointer = |address: CUdeviceptr| address as *const c_void;
        let (alpha, beta) = (1.0_f32, f32::from(u8::from(product.added)));
        let number = |value: &f32| std::ptr::from_ref(value).cast();
        // SAFETY: the lengths are checked against the sizes of the call, memory of the driver is aligned for f32 and every
        // pattern of bits is one, and what is written is borrowed mutably.
        unsafe {
            gemm_ex(
                *self.blas.handle(),
                call.transa,
                call.transb,
                call.m,
                call.n,
                call.k,
                number(&alpha),
                pointer(b),
                CUDA_R_32F,
                call.lda,
                pointer(a),
                CUDA_R_32F,
                call.ldb,
                number(&beta),
                pointer(c).cast_mut(),
                CUDA_R_32F,
                call.m,
                call.compute,
                CUBLAS_GEMM_DFALT,
            )
        }
        .map_err(|why| Error::Failed { what, why: why.to_string() })
    }
}

/// A product as cuBLAS sees it, which reads memory column by column: the transpose of what is wanted, with B as its first
/// factor and A as its second.
#[derive(Debug, Clone, Copy)]
struct Launch {
    transa: cublasOperation_t,
    transb: cublasOperation_t,
    m: i32,
    n: i32,
    k: i32,
    lda: i32,
    ldb: i32,
    compute: cublasComputeType_t,
}

impl Launch {
    /// None if a size is more than cuBLAS can be told.
    fn of(product: Product) -> Option<Self> {
        let Product { rows, columns, width, form, precision, .. } = product;
        let [n, m, k] = [rows, columns, width].map(|n| i32::try_from(n).ok());
        let (n, m, k) = (n?, m?, k?);
        let (transa, lda) = if form == ProductForm::Nt { (CUBLAS_OP_T, k) } else { (CUBLAS_OP_N, m) };
        let (transb, ldb) = if form == ProductForm::Tn { (CUBLAS_OP_T, n) } else { (CUBLAS_OP_N, k) };
        let compute = match precision {
            Precision::F32 => CUBLAS_COMPUTE_32F,
            Precision::Bf16 => CUBLAS_COMPUTE_32F_FAST_16BF,
        };
        Some(Self { transa, transb, m, n, k, lda, ldb, compute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cuBLAS documents: `C = op(A) op(B)`, all column by column, `op(A)` being m × k and `op(B)` k × n.
    fn gemm(call: &Launch, a: &[f32], b: &[f32], c: &mut [f32]) {
        let at = |op, matrix: &[f32], lead: i32, i: i32, j: i32| {
            let (i, j) = if op == CUBLAS_OP_T { (j, i) } else { (i, j) };
            matrix[(i + j * lead) as usize]
        };
        for j in 0..call.n {
            for i in 0..call.m {
                let term = |l| at(call.transa, a, call.lda, i, l) * at(call.transb, b, call.ldb, l, j);
                c[(i + j * call.m) as usize] = (0..call.k).map(term).sum();
            }
        }
    }

    #[test]
    fn products_of_rows_are_what_is_asked_of_cublas() {
        let (rows, columns, width) = (3, 4, 2);
        let a: Vec<f32> = (0..rows * width).map(|k| k as f32).collect();
        let b: Vec<f32> = (0..columns * width).map(|k| 10.0 - k as f32).collect();
        for form in [ProductForm::Nt, ProductForm::Nn, ProductForm::Tn] {
            let mut c = vec![7.0; rows * columns];
            let product = Product { form, ..Product::new(rows, columns, width) };
            gemm(&Launch::of(product).unwrap(), &b, &a, &mut c);
            for i in 0..rows {
                for j in 0..columns {
                    let of_a = |k: usize| if form == ProductForm::Tn { a[k * rows + i] } else { a[i * width + k] };
                    let of_b = |k: usize| if form == ProductForm::Nt { b[j * width + k] } else { b[k * columns + j] };
                    let expected: f32 = (0..width).map(|k| of_a(k) * of_b(k)).sum();
                    assert_eq!(c[i * columns + j], expected, "{form:?}");
                }
            }
        }
        assert!(Launch::of(Product::new(1 << 40, columns, width)).is_none());
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
            for kernel in KernelName::ALL {
                assert!(ptx.contains(&format!(".entry {}(", kernel.name())), "{ptx}");
            }
        }
    }
}
