//! What of a model no tensor of a checkpoint explains.

use std::fmt;

/// How the exporters of torch keep tensors as they are.
pub(crate) const REMEDY: &str = "export the network again with `torch.onnx.export(…, optimize=False)`, or, with the older \
                                 exporter (`dynamo=False`), with `do_constant_folding=False`";

/// A tensor of a model that no tensor of the checkpoint explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Its name in the model.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Why.
    pub cause: Cause,
}

/// Why a tensor of a model is not explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A BatchNorm of the checkpoint was multiplied into it.
    FoldedBatchNorm {
        /// The module of the BatchNorm.
        batch_norm: String,
    },
    /// It was computed from tensors of the checkpoint, as `weight_norm` and `spectral_norm` do.
    Parametrised {
        /// One of them.
        original: String,
    },
    /// Several tensors may be it.
    Ambiguous {
        /// How each would.
        candidates: Vec<String>,
    },
    /// No tensor is it.
    Absent,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, shape, cause } = self;
        match cause {
            Cause::FoldedBatchNorm { batch_norm } => write!(f, "BatchNorm `{batch_norm}` was folded into `{tensor}`"),
            Cause::Parametrised { original } => write!(f, "`{tensor}` was computed ahead from `{original}`"),
            Cause::Ambiguous { candidates } => {
                write!(f, "`{tensor}` {shape:?} may be {}", candidates.join(" or "))
            }
            Cause::Absent => write!(f, "`{tensor}` {shape:?} is no tensor of the checkpoint, nor made of any"),
        }
    }
}
