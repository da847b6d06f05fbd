//! Matrix products over slices: the one place that calls the GEMM kernels.

use gemm::{Parallelism, gemm};

/// A strided view of a matrix inside a slice: entry `(i, j)` is `data[i * row + j * col]`.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl<'a, T> Mat<'a, T> {
    /// A dense row-major matrix.
    ///
    /// # Panics
    /// If the slice is not `rows × cols` long.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} × {cols} matrix does not fit the slice");
        Self { data, rows, cols, row: cols, col: 1 }
    }

    /// The transpose, a view of the same data.
    #[must_use]
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }
}

macro_rules! product {
    ($name:ident, $t:ty) => {
        #[allow(unsafe_code)]
        fn $name(c: &mut [$t], a: Mat<'_, $t>, b: Mat<'_, $t>, accumulate: bool) {
            let (m, n, k) = (a.rows, b.cols, a.cols);
            assert_eq!(k, b.rows, "inner sizes differ: {m} × {k} times {} × {n}", b.rows);
            assert_eq!(c.len(), m * n, "the result needs {m} × {n} entries");
            if m == 0 || n == 0 {
                return;
            }
            if k == 0 {
                if !accumulate {
                    c.fill(0.0);
                }
                return;
            }
            // SAFETY: `Mat` is only built by `new` (dense, length checked) and `t` (same data, strides swapped), so every
            // `i * row + j * col` with i < rows and j < cols is in bounds; `c` was checked above and is borrowed mutably.
            unsafe {
                gemm(
                    m,
                    n,
                    k,
                    c.as_mut_ptr(),
                    1,
                    n as isize,
                    accumulate,
                    a.data.as_ptr(),
                    a.col as isize,
                    a.row as isize,
                    b.data.as_ptr(),
                    b.col as isize,
                    b.row as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        }
    };
}

product!(matmul_f32, f32);
product!(matmul_f64, f64);

/// Numbers that networks and similarities are computed in: `f32` and `f64`.
pub trait Scalar: Copy + Default + Send + Sync + 'static {
    /// `c = a · b`, or `c += a · b` where `accumulate`; `c` is dense row-major. Runs on the calling thread.
    ///
    /// # Panics
    /// If the sizes do not fit.
    fn matmul(c: &mut [Self], a: Mat<'_, Self>, b: Mat<'_, Self>, accumulate: bool);
}

impl Scalar for f32 {
    fn matmul(c: &mut [Self], a: Mat<'_, Self>, b: Mat<'_, Self>, accumulate: bool) {
        matmul_f32(c, a, b, accumulate);
    }
}

impl Scalar for f64 {
    fn matmul(c: &mut [Self], a: Mat<'_, Self>, b: Mat<'_, Self>, accumulate: bool) {
        matmul_f64(c, a, b, accumulate);
    }
}
