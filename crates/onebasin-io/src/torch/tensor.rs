//! What a pickle says of a tensor: where in which storage its elements lie.

use bytes::Bytes;
use onebasin_core::{DType, element_count};

use super::pickle::{Call, Id, Pickle, Value};

/// Axes that torch allows.
const MAX_AXES: usize = 64;

/// A tensor as a view of a storage.
#[derive(Debug, Clone)]
pub(super) struct TensorPlan {
    /// Name of the storage.
    pub(super) key: String,
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    /// In elements, as everything here.
    strides: Vec<usize>,
    offset: usize,
    /// Whether values are to be taken with the other sign.
    negative: bool,
}

/// A storage as a pickle names it.
pub(super) struct StoragePlan {
    pub(super) key: String,
    /// What its elements are, or why they cannot be used.
    dtype: Result<DType, String>,
    /// Bytes of one element, if that is known.
    pub(super) element: Option<usize>,
    /// Where a view of a storage begins.
    start: usize,
}

impl TensorPlan {
    /// Whether a call makes a tensor.
    pub(super) fn is_tensor(pickle: &Pickle<'_>, call: &Call) -> bool {
        let Some((module, name)) = pickle.name(call.callee) else { return false };
        match module {
            "torch._utils" => name.starts_with("_rebuild_"),
            "torch._tensor" => matches!(name, "_rebuild_from_type_v2" | "_rebuild_from_type"),
            "torch.nn.parameter" => matches!(name, "Parameter" | "Buffer"),
            "torch.storage" => name == "_load_from_bytes",
            "numpy.core.multiarray" | "numpy._core.multiarray" => name == "_reconstruct",
            _ => false,
        }
    }

    /// What a call makes.
    ///
    /// # Errors
    /// Says what kind of tensor it is, or what is missing.
    pub(super) fn of(pickle: &Pickle<'_>, call: &Call) -> Result<Self, String> {
        Self::nested(pickle, call, 0)
    }

    fn nested(pickle: &Pickle<'_>, call: &Call, depth: usize) -> Result<Self, String> {
        const BROKEN: &str = "what it is made of is missing";
        let (module, name) = pickle.name(call.callee).ok_or(BROKEN)?;
        let arguments = pickle.items(call.arguments).ok_or(BROKEN)?;
        let made = |id: Id| match pickle.get(id) {
            Value::Kept(key) => pickle.kept_tensor(*key).cloned().ok_or_else(|| BROKEN.to_owned()),
            Value::Call(call) if depth < 4 && Self::is_tensor(pickle, call) => Self::nested(pickle, call, depth + 1),
            _ => Err(BROKEN.to_owned()),
        };
        let kind = match (module, name, arguments) {
            ("torch._utils", "_rebuild_tensor", [storage, offset, shape, strides]) => {
                return Self::view(pickle, *storage, [*offset, *shape, *strides], None, None);
            }
            ("torch._utils", "_rebuild_tensor_v2", [storage, offset, shape, strides, _, _, rest @ ..]) => {
                return Self::view(pickle, *storage, [*offset, *shape, *strides], None, rest.first().copied());
            }
            ("torch._utils", "_rebuild_tensor_v3", [storage, offset, shape, strides, _, _, dtype, rest @ ..]) => {
                let dtype = pickle.name(*dtype).ok_or(BROKEN)?;
                let place = [*offset, *shape, *strides];
                return Self::view(pickle, *storage, place, Some(dtype), rest.first().copied());
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [data, ..])
            | ("torch.nn.parameter", _, [data, ..]) => return made(*data),
            ("torch._tensor", _, [function, _, inner, ..]) => {
                let call =
                    Call { callee: *function, arguments: *inner, state: None, entries: Vec::new(), items: Vec::new() };
                if depth < 4 && Self::is_tensor(pickle, &call) {
                    return Self::nested(pickle, &call, depth + 1);
                }
                "a tensor of a class of its own"
            }
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor", _) => "a sparse tensor",
            ("torch._utils", "_rebuild_qtensor", _) => "a quantised tensor",
            ("torch._utils", "_rebuild_meta_tensor_no_storage", _) => "a tensor without values, of the device `meta`",
            ("torch._utils", "_rebuild_nested_tensor", _) => "a nested tensor",
            ("torch.storage", ..) => {
                return Err("a tensor pickled without torch.save; save it with torch.save".to_owned());
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", ..) => {
                return Err("a NumPy array; save it as a tensor (torch.from_numpy)".to_owned());
            }
            _ => return Err(format!("a tensor made by `{name}`; save it as a plain tensor")),
        };
        Err(format!("{kind}; save it as a plain, dense one"))
    }

    fn view(
        pickle: &Pickle<'_>,
        storage: Id,
        [offset, shape, strides]: [Id; 3],
        dtype: Option<(&str, &str)>,
        metadata: Option<Id>,
    ) -> Result<Self, String> {
        let Value::Kept(kept) = pickle.get(storage) else { return Err("it has no storage".to_owned()) };
        let storage = StoragePlan::of(pickle, *kept).ok_or("its storage is not named as torch names them")?;
        let dtype = match dtype {
            Some((_, name)) => self::dtype(name),
            None => storage.dtype,
        }?;
        let lengths = |id: Id| {
            // `torch.Size` is a call with one tuple.
            let items = match pickle.get(id) {
                Value::Call(call) => pickle.items(*pickle.items(call.arguments)?.first()?)?,
                _ => pickle.items(id)?,
            };
            items.iter().take(MAX_AXES + 1).map(|id| pickle.size(*id)).collect::<Option<Vec<usize>>>()
        };
        let (shape, strides) = lengths(shape).zip(lengths(strides)).ok_or("its shape or strides are no numbers")?;
        if shape.len() != strides.len() || shape.len() > MAX_AXES {
            return Err(format!("it has {} lengths and {} strides", shape.len(), strides.len()));
        }
        let offset = pickle.size(offset).and_then(|offset| offset.checked_add(storage.start));
        let offset = offset.ok_or("its offset is no number")?;
        let flag = |name: &str| {
            let Some(Value::Dict(entries)) = metadata.map(|id| pickle.get(id)) else { return false };
            entries.iter().any(|(key, value)| pickle.text(*key) == Some(name) && pickle.int(*value) == Some(1))
        };
        let negative = flag("neg");
        if negative && !dtype.is_float() {
            return Err("its values are kept with the other sign; save it as a plain tensor".to_owned());
        }
        Ok(Self { key: storage.key, dtype, shape, strides, offset, negative })
    }

    /// A tensor of a whole storage, or of a part of it.
    pub(super) fn of_storage(key: String, dtype: DType, shape: Vec<usize>, strides: Vec<usize>, offset: usize) -> Self {
        Self { key, dtype, shape, strides, offset, negative: false }
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> Option<usize> {
        element_count(&self.shape).ok()?.checked_mul(self.dtype.size())
    }

    /// Its elements, row-major: a slice of the storage where they lie so.
    ///
    /// # Errors
    /// If it reaches beyond the storage.
    pub(super) fn read(&self, storage: &Bytes, big_endian: bool) -> Result<Bytes, String> {
        let size = self.dtype.size();
        let length = self.len().ok_or("it is larger than memory")?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        // The stride of an axis of one element is never gone.
        let axes = || self.shape.iter().zip(&self.strides).map(|(n, stride)| (*n, if *n == 1 { 0 } else { *stride }));
        let last = axes().try_fold(self.offset, |last, (n, stride)| last.checked_add((n - 1).checked_mul(stride)?));
        let end = last.and_then(|last| last.checked_add(1)?.checked_mul(size));
        let Some(end) = end.filter(|end| *end <= storage.len()) else {
            let (shape, strides, offset) = (&self.shape, &self.strides, self.offset);
            return Err(format!(
                "a {} tensor of shape {shape:?}, strides {strides:?} and offset {offset} reaches beyond the {} bytes of its storage",
                self.dtype,
                storage.len()
            ));
        };
        let start = self.offset * size;
        let mut expected = 1;
        let axes: Vec<(usize, usize)> = axes().collect();
        let plain = axes.iter().rev().all(|(n, stride)| {
            let fits = *n == 1 || *stride == expected;
            expected *= n;
            fits
        });
        if plain && !self.negative && !(big_endian && size > 1) {
            return Ok(storage.slice(start..end));
        }
        let mut data = Vec::with_capacity(length);
        let mut index = vec![0; axes.len()];
        let mut at = start;
        while data.len() < length {
            data.extend_from_slice(&storage[at..at + size]);
            for (index, (n, stride)) in index.iter_mut().zip(&axes).rev() {
                *index += 1;
                at += stride * size;
                if *index < *n {
                    break;
                }
                at -= stride * size * n;
                *index = 0;
            }
        }
        if big_endian {
            data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if self.negative {
            data.chunks_exact_mut(size).for_each(|element| element[size - 1] ^= 0x80);
        }
        Ok(data.into())
    }
}

impl StoragePlan {
    /// A storage by what the pickle keeps of it: `("storage", type, key, location, count[, (key, start, count)])`.
    pub(super) fn of(pickle: &Pickle<'_>, kept: Id) -> Option<Self> {
        let [tag, class, key, _, _, view @ ..] = pickle.items(kept)? else { return None };
        if pickle.text(*tag)? != "storage" {
            return None;
        }
        let (_, class) = pickle.name(*class)?;
        let start = match view.first().and_then(|view| pickle.items(*view)) {
            Some([_, start, _]) => pickle.size(*start)?,
            _ => 0,
        };
        let key = pickle.key(*key)?;
        let (dtype, element) = storage_type(class);
        Some(Self { key, dtype, element, start })
    }
}

/// The elements of a class of storages, and the bytes of one where that is known.
pub(super) fn storage_type(class: &str) -> (Result<DType, String>, Option<usize>) {
    let known = match class {
        "DoubleStorage" => DType::F64,
        "FloatStorage" => DType::F32,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        // Tensors of an untyped storage say themselves what they are of.
        "ByteStorage" | "UntypedStorage" => DType::U8,
        "BoolStorage" => DType::Bool,
        other => {
            let element = match other {
                "ComplexDoubleStorage" => Some(16),
                "ComplexFloatStorage" => Some(8),
                "QInt32Storage" => Some(4),
                "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => Some(1),
                _ => None,
            };
            return (Err(unknown(other.trim_end_matches("Storage"))), element);
        }
    };
    (Ok(known), Some(known.size()))
}

/// The element type that torch calls so.
fn dtype(name: &str) -> Result<DType, String> {
    Ok(match name {
        "float64" | "double" => DType::F64,
        "float32" | "float" => DType::F32,
        "float16" | "half" => DType::F16,
        "bfloat16" => DType::BF16,
        "float8_e4m3fn" => DType::F8E4M3,
        "float8_e5m2" => DType::F8E5M2,
        "int64" | "long" => DType::I64,
        "int32" | "int" => DType::I32,
        "int16" | "short" => DType::I16,
        "int8" => DType::I8,
        "uint64" => DType::U64,
        "uint32" => DType::U32,
        "uint16" => DType::U16,
        "uint8" => DType::U8,
        "bool" => DType::Bool,
        other => return Err(unknown(other)),
    })
}

fn unknown(name: &str) -> String {
    format!("element type `{name}`; known: {}", crate::format::KNOWN)
}
