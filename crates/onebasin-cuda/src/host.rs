//! The kernels compiled for the processor, as a machine, and tests of the arithmetic on it.
#![allow(unsafe_code, reason = "functions of a library that was just compiled are called")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::process::Command;
use std::sync::Arc;

use libloading::{Library, Symbol};
use onebasin::linalg::{Mat, Scalar};
use onebasin::matching::accelerator::{Accelerator, Products};
use onebasin::matching::similarity::{Gram, weight_grams};
use onebasin::matching::{MatchOptions, Source, Weights, ascend};
use onebasin::stream::Stream;
use onebasin::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin::{DType, Params, Perm, Tensor};

use crate::error::Result;
use crate::machine::{Argument, Kernel, Machine, Sizes};
use crate::networks::Networks;

type Launcher = unsafe extern "C" fn(u32, u32, *mut *mut c_void);

/// A processor that runs kernels as a GPU does, on memory that nothing else sees.
#[derive(Clone)]
struct Host {
    kernels: Arc<Library>,
}

/// Memory aligned for any number.
struct Memory(UnsafeCell<Vec<u64>>);

// SAFETY: a machine is used by one thread at a time, and kernels write only what they were lent to write.
unsafe impl Sync for Memory {}

impl Memory {
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
            .arg(format!("-DKERNELS=\"{kernels}/similarity.cu\""))
            .args([format!("{kernels}/host.cpp").as_ref(), "-o".as_ref(), library.as_os_str()])
            .output();
        let Ok(ran) = ran else {
            println!("SKIPPED {test}: no C++ compiler `{}`; name one in CXX", compiler.display());
            return None;
        };
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        // SAFETY: the library has no initialisation.
        Some(Self { kernels: Arc::new(unsafe { Library::new(library) }.unwrap()) })
    }

    /// Runs a kernel on a grid of this many blocks and threads.
    fn run(&self, kernel: Kernel, grid: (u32, u32), arguments: &mut [Argument<'_, Memory>]) {
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
    type Memory = Memory;

    fn upload(&self, bytes: &[u8]) -> Result<Memory> {
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Ok(Memory(words.into()))
    }

    fn zeros(&self, bytes: usize) -> Result<Memory> {
        Ok(Memory(vec![0; bytes.div_ceil(8)].into()))
    }

    fn download(&self, memory: &Memory, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&memory.bytes()[..out.len()]);
        Ok(())
    }

    fn launch(&self, kernel: Kernel, _: usize, arguments: &mut [Argument<'_, Memory>]) -> Result<()> {
        self.run(kernel, (3, 7), arguments);
        Ok(())
    }

    fn multiply(&self, product: &mut Memory, a: &Memory, b: &Memory, sizes: Sizes) -> Result<()> {
        let Sizes { rows, columns, width } = sizes;
        let floats = |memory: &Memory, len| bytemuck::cast_slice::<u8, f32>(memory.bytes())[..len].to_vec();
        let (a, b) = (floats(a, rows * width), floats(b, columns * width));
        let out = &mut bytemuck::cast_slice_mut(product.0.get_mut())[..rows * columns];
        f32::matmul(out, Mat::new(&a, rows, width), Mat::new(&b, columns, width).t(), false);
        Ok(())
    }
}

impl Accelerator for Host {
    fn load(&self, pairs: &[[&Tensor; 2]]) -> onebasin::error::Result<Box<dyn Products>> {
        Ok(Box::new(Networks::load(Arc::new(self.clone()), pairs)?))
    }
}

/// Every 16-bit float that is a number, through the kernel and through the core's conversion.
#[test]
fn kernels_read_halves_as_the_core_does() {
    let Some(host) = Host::or_skip("kernels_read_halves_as_the_core_does") else { return };
    for (dtype, kernel) in [(DType::F16, Kernel::GatherF16), (DType::BF16, Kernel::GatherBf16)] {
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

/// Tensors with every notation: nested families, products, sums, slices, ties, several contexts.
const SHAPES: [(&str, &[usize], &str); 10] = [
    ("plain", &[6, 5], "s ."),
    ("nested", &[12, 6], "(h q@h) s"),
    ("fused", &[6, 30], "s (h q@h + h q@h + h v@h)"),
    ("meeting", &[24], "(h q@h v@h)"),
    ("deep", &[36], "(h q@h x@q)"),
    ("tied", &[6, 6], "s s"),
    ("wide", &[6, 40, 9, 9], "s w . ."),
    ("flat", &[3, 24, 40], ". (4 s) w"),
    ("pad", &[44], "(p[0:2] + w + p[2:4])"),
    ("mixed", &[92], "(2 (s + w))"),
];

fn network(seed: u64, dtype: DType) -> Params {
    let draw = |(name, shape, _): &(&str, &[usize], &str)| {
        let mut stream = Stream::new(seed, name);
        let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        ((*name).to_owned(), Tensor::from_f32(shape, values).unwrap().cast(dtype).unwrap())
    };
    SHAPES.iter().map(draw).collect()
}

fn symmetry(params: &Params) -> Symmetry {
    let mut spec = SymmetrySpec::from_patterns(SHAPES.iter().map(|(n, _, p)| (*n, *p))).unwrap();
    spec.sizes.insert("h".to_owned(), 3);
    Symmetry::resolve(&spec, params).unwrap()
}

/// Passes only if Grams agree to some rounding of single precision in sums of this size.
fn assert_same(found: &[Gram], expected: &[Gram], scale: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((&found.digits, &found.lens), (&expected.digits, &expected.lens));
        for (x, y) in found.data.iter().zip(&expected.data) {
            assert!((x - y).abs() <= 16.0 * f64::from(f32::EPSILON) * scale, "{x} for {y}");
        }
    }
}

/// Types of A and B.
const TYPES: [[DType; 2]; 4] =
    [[DType::F32; 2], [DType::F16, DType::BF16], [DType::F32, DType::F16], [DType::F64, DType::F32]];

#[test]
fn grams_by_the_kernels_are_those_of_the_processor() {
    let Some(host) = Host::or_skip("grams_by_the_kernels_are_those_of_the_processor") else { return };
    for (seed, types) in (0..).zip(TYPES) {
        let (a, b) = (network(2 * seed, types[0]), network(2 * seed + 1, types[1]));
        let symmetry = symmetry(&a);
        let current = Alignment::random(&symmetry, &mut Stream::new(seed, "current"));
        let source = Weights::new(&symmetry, &a, &b).unwrap().on(&host).unwrap();
        for root in symmetry.roots() {
            let found = source.grams(root, &current).unwrap();
            assert_same(&found, &weight_grams(&symmetry, root, &current, &a, &b).unwrap(), 1e4);
        }
    }
}

#[test]
fn kept_grams_are_brought_up_to_date_by_the_kernels() {
    let Some(host) = Host::or_skip("kept_grams_are_brought_up_to_date_by_the_kernels") else { return };
    let (a, b) = (network(0, DType::F32), network(1, DType::BF16));
    let symmetry = symmetry(&a);
    let source = Weights::new(&symmetry, &a, &b).unwrap().on(&host).unwrap();
    let mut cache = source.cache().unwrap();
    let mut current = Alignment::identity(&symmetry);
    for step in 0..12 {
        for (k, root) in source.roots().iter().enumerate() {
            let expected = weight_grams(&symmetry, root.id, &current, &a, &b).unwrap();
            assert_same(&cache.grams(k, &current).unwrap(), &expected, 1e4);
        }
        current = exchanged(&symmetry, &current, step);
    }
    assert!(!cache.forget_updated().is_empty(), "nothing was brought up to date");
}

/// The alignment with two units of the largest group exchanged.
fn exchanged(symmetry: &Symmetry, alignment: &Alignment, at: usize) -> Alignment {
    let largest = (0..symmetry.groups().len()).max_by_key(|&g| symmetry.groups()[g].size).unwrap();
    let copies = |g: usize| {
        let copy = |perm: &Perm| {
            let mut units = perm.as_slice().to_vec();
            if g == largest {
                units.swap(at, at + 1);
            }
            Perm::new(units).unwrap()
        };
        alignment.copies(GroupId(g)).iter().map(copy).collect()
    };
    Alignment::new(symmetry, (0..symmetry.groups().len()).map(copies).collect()).unwrap()
}

#[test]
fn matches_by_the_kernels_end_where_those_of_the_processor_do() {
    let Some(host) = Host::or_skip("matches_by_the_kernels_end_where_those_of_the_processor_do") else { return };
    let a = network(0, DType::F16);
    let symmetry = symmetry(&a);
    let b = Alignment::random(&symmetry, &mut Stream::new(0, "planted")).apply(&symmetry, &a).unwrap();
    let options = MatchOptions::default();
    let start = Alignment::identity(&symmetry);
    let here = ascend(&Weights::new(&symmetry, &a, &b).unwrap(), &start, &options, &mut |_| true).unwrap();
    let there = Weights::new(&symmetry, &a, &b).unwrap().on(&host).unwrap();
    let there = ascend(&there, &start, &options, &mut |_| true).unwrap();
    assert_eq!((there.alignment, there.objective, there.stop), (here.alignment, here.objective, here.stop));
}
