//! What the arithmetic asks of a device.

use crate::error::Result;

/// The source of the kernels, CUDA C++ that needs no header.
pub(crate) const KERNELS: &str = concat!(
    include_str!("../kernels/common.cu"),
    include_str!("../kernels/similarity.cu"),
    include_str!("../kernels/forward.cu"),
    include_str!("../kernels/backward.cu")
);

/// The kernels of [`KERNELS`]; their formulas stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelName {
    GatherF32,
    GatherF16,
    GatherBf16,
    AddProduct,
    Im2Col,
    Place,
    BatchNorm,
    LayerNorm,
    Rectify,
    Sum,
    MaxPool,
    Mean,
    Shift,
    Add,
    Scale,
    PartialSums,
    CentredProduct,
    Follow,
    Take,
    Im2ColBack,
    MaxPoolBack,
    RectifyBack,
    MeanBack,
    ShiftBack,
    LayerNormBack,
    BatchNormBack,
    GainBack,
    Sgd,
    Adam,
}

impl KernelName {
    /// All of them.
    pub(crate) const ALL: [Self; 29] = [
        Self::GatherF32,
        Self::GatherF16,
        Self::GatherBf16,
        Self::AddProduct,
        Self::Im2Col,
        Self::Place,
        Self::BatchNorm,
        Self::LayerNorm,
        Self::Rectify,
        Self::Sum,
        Self::MaxPool,
        Self::Mean,
        Self::Shift,
        Self::Add,
        Self::Scale,
        Self::PartialSums,
        Self::CentredProduct,
        Self::Follow,
        Self::Take,
        Self::Im2ColBack,
        Self::MaxPoolBack,
        Self::RectifyBack,
        Self::MeanBack,
        Self::ShiftBack,
        Self::LayerNormBack,
        Self::BatchNormBack,
        Self::GainBack,
        Self::Sgd,
        Self::Adam,
    ];

    /// The name of the function, and its parameters: memory that is written (`o`) or read (`i`), and numbers (`n`).
    fn signature(self) -> (&'static str, &'static str) {
        match self {
            Self::GatherF32 => ("gather_f32", "onnnnnininii"),
            Self::GatherF16 => ("gather_f16", "onnnnnininii"),
            Self::GatherBf16 => ("gather_bf16", "onnnnnininii"),
            Self::AddProduct => ("add_product", "oin"),
            Self::Im2Col => ("im2col", "oinnnnnnnnnnnnnnn"),
            Self::Place => ("place", "oiinnnnn"),
            Self::BatchNorm => ("batch_norm", "oiiiiinnnn"),
            Self::LayerNorm => ("layer_norm", "oiiinnnn"),
            Self::Rectify => ("rectify", "oin"),
            Self::Sum => ("sum", "oiin"),
            Self::MaxPool => ("max_pool", "oinnnnnnnnnnn"),
            Self::Mean => ("mean", "oinnn"),
            Self::Shift => ("shift", "oinnnnnn"),
            Self::Add => ("add", "oin"),
            Self::Scale => ("scale", "oinn"),
            Self::PartialSums => ("partial_sums", "oinnnn"),
            Self::CentredProduct => ("centred_product", "oiiiinnn"),
            Self::Follow => ("follow", "oinnn"),
            Self::Take => ("take", "oinnnn"),
            Self::Im2ColBack => ("im2col_back", "oinnnnnnnnnnnnnnn"),
            Self::MaxPoolBack => ("max_pool_back", "oiiinnnnnnnnnnn"),
            Self::RectifyBack => ("rectify_back", "oiin"),
            Self::MeanBack => ("mean_back", "oinnn"),
            Self::ShiftBack => ("shift_back", "oinnnnnn"),
            Self::LayerNormBack => ("layer_norm_back", "ooiiinnnn"),
            Self::BatchNormBack => ("batch_norm_back", "oiiiiiiinnnn"),
            Self::GainBack => ("gain_back", "oiinn"),
            Self::Sgd => ("sgd", "ooinnnn"),
            Self::Adam => ("adam", "oooinnn"),
        }
    }

    /// The name of the function.
    pub(crate) fn name(self) -> &'static str {
        self.signature().0
    }

    /// Its place among all of them.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Whether these are its arguments, in number and kind.
    pub(crate) fn takes<M>(self, arguments: &[Argument<'_, M>]) -> bool {
        let kind = |argument: &Argument<'_, M>| match argument {
            Argument::In(..) => 'i',
            Argument::Out(_) => 'o',
            Argument::Number(_) => 'n',
        };
        arguments.iter().map(kind).eq(self.signature().1.chars())
    }
}

/// What a kernel is given, in the order of its parameters: pointers, and numbers of 64 bits.
#[derive(Debug)]
pub(crate) enum Argument<'a, M> {
    /// Memory that is read, from this byte on.
    In(&'a M, usize),
    /// Memory that is written.
    Out(&'a mut M),
    /// A number.
    Number(u64),
}

/// How the factors of a product lie, row-major and dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProductForm {
    /// `A Bᵀ`: A has a row for every row of the product, B one for every column.
    Nt,
    /// `A B`: B has a column for every column of the product.
    Nn,
    /// `Aᵀ B`: A has a column for every row of the product as well.
    Tn,
}

/// How exactly factors are multiplied; sums are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As they are, in f32.
    F32,
    /// Rounded to bf16 first.
    Bf16,
}

/// A product of matrices of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    /// Its rows.
    pub(crate) rows: usize,
    /// Its columns.
    pub(crate) columns: usize,
    /// Terms of each of its sums.
    pub(crate) width: usize,
    /// How the factors lie.
    pub(crate) form: ProductForm,
    /// Whether it is added to what is there.
    pub(crate) added: bool,
    /// How exactly it is computed.
    pub(crate) precision: Precision,
}

impl Product {
    /// `A Bᵀ` in f32.
    pub(crate) const fn new(rows: usize, columns: usize, width: usize) -> Self {
        Self { rows, columns, width, form: ProductForm::Nt, added: false, precision: Precision::F32 }
    }

    /// Added to what is there, of factors that lie so.
    pub(crate) const fn adds(self, form: ProductForm) -> Self {
        Self { form, added: true, ..self }
    }
}

/// A device: memory of its own, kernels, and matrix products. Work is done in the order in which it is asked for.
pub(crate) trait Machine: Send + Sync {
    /// Bytes on the device, aligned for any number; given back when dropped.
    type Memory: Send + Sync;

    /// New memory with these bytes, at least one.
    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory>;

    /// New memory of zeros, at least one byte.
    fn zeros(&self, bytes: usize) -> Result<Self::Memory>;

    /// Copies memory back, when all work asked for is done.
    ///
    /// # Panics
    /// If `out` is longer than the memory.
    fn download(&self, memory: &Self::Memory, out: &mut [u8]) -> Result<()>;

    /// Runs a kernel over `entries` entries.
    ///
    /// # Panics
    /// If these are not the arguments of the kernel, in number and kind.
    fn launch(&self, kernel: KernelName, entries: usize, arguments: &mut [Argument<'_, Self::Memory>]) -> Result<()>;

    /// Computes a product of `a` and `b` into `out`.
    ///
    /// # Panics
    /// If the memory is shorter than the sizes say.
    fn multiply(&self, out: &mut Self::Memory, a: &Self::Memory, b: &Self::Memory, product: Product) -> Result<()>;
}
