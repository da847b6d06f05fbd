//! Reading NumPy's `.npz`: a zip archive of `.npy` arrays.
//!
//! An array is `\x93NUMPY`, a version, the length of a header, the header (a Python dict with the keys `descr`,
//! `fortran_order` and `shape`), and the values (NEP 1).

use bytes::Bytes;
use onebasin_core::{DType, element_count};

use crate::archive::Archive;
use crate::format::{Gathered, NPY, check_claim};

/// The arrays of an archive, named as its entries without `.npy`. Other entries are passed over, and arrays of element
/// types that are not known are, by name.
pub(crate) fn read(bytes: &Bytes) -> Result<Gathered, String> {
    const SUFFIX: &[u8] = b".npy";
    if bytes.starts_with(NPY) {
        return Err("a lone .npy array has no name; save it with `numpy.savez(FILE, NAME=array)`".to_owned());
    }
    let archive = Archive::open(bytes).map_err(|e| format!("zip archive: {e}"))?;
    let mut claimed = 0_u64;
    let mut arrays = Vec::new();
    for (i, entry) in archive.entries.iter().enumerate() {
        if let Some(name) = entry.name.strip_suffix(SUFFIX) {
            let name = std::str::from_utf8(name).map_err(|_| format!("the name of zip entry {i} is not UTF-8"))?;
            claimed = claimed.saturating_add(entry.size);
            arrays.push((entry, name));
        }
    }
    if arrays.is_empty() {
        return Err("it holds no .npy arrays".to_owned());
    }
    check_claim(claimed, bytes.len() as u64)?;
    let mut gathered = Gathered::default();
    for (entry, name) in arrays {
        let named = |why: String| format!("tensor `{name}`: {why}");
        let array = archive.read(entry).map_err(|e| named(format!("zip entry: {e}")))?;
        match parse(&array).map_err(named)? {
            Ok((dtype, shape, data)) => gathered.insert(name, dtype, &shape, data)?,
            Err(why) => gathered.pass_over(name, why),
        }
    }
    Ok(gathered)
}

/// What an array holds, or why it is passed over.
type Parsed = Result<(DType, Vec<usize>, Bytes), String>;

/// The element type, shape and row-major little-endian values of a `.npy` array.
fn parse(array: &Bytes) -> Result<Parsed, String> {
    let (header, data) = split_header(array).ok_or("its .npy header is cut short or not text")?;
    let field = |key: &str| {
        let at = header.find(&format!("'{key}':"))? + key.len() + 3;
        header.get(at..).map(str::trim_start)
    };
    let missing = |key: &str| format!("its .npy header has no valid `{key}`: {}", header.trim());

    let descr = field("descr").ok_or_else(|| missing("descr"))?;
    let descr = descr.strip_prefix('\'').and_then(|d| d.split('\'').next()).unwrap_or(descr);
    let Some(dtype) = dtype(descr) else {
        let known = "f8, f4, f2, bfloat16, integers up to 64 bits, bool";
        let descr = descr.trim();
        let remedy = if descr.ends_with('O') {
            "it holds Python objects; save the arrays in it one by one (`numpy.savez(FILE, **dict)`)"
        } else {
            "save it as one of them"
        };
        return Ok(Err(format!("element type `{descr}`; known: {known}; {remedy}")));
    };
    let order = field("fortran_order").ok_or_else(|| missing("fortran_order"))?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return Err(missing("fortran_order"));
    }
    let shape = field("shape").and_then(shape).ok_or_else(|| missing("shape"))?;

    let expected = element_count(&shape).ok().and_then(|count| count.checked_mul(dtype.size()));
    if expected != Some(data.len()) {
        let expected = expected.map_or("more than fit in memory".to_owned(), |n| n.to_string());
        return Err(format!("a {dtype} array of shape {shape:?} needs {expected} bytes, found {}", data.len()));
    }
    // A shape without elements may have lengths whose strides do not fit a number.
    let data = if fortran && !data.is_empty() { row_major(&data, &shape, dtype.size()) } else { data };
    let data = if descr.starts_with('>') { swap(&data, dtype.size()) } else { data };
    Ok(Ok((dtype, shape, data)))
}

fn split_header(array: &Bytes) -> Option<(&str, Bytes)> {
    let (version, rest) = array.strip_prefix(NPY)?.split_first_chunk::<2>()?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk()?;
        (u16::from_le_bytes(*length).into(), rest)
    } else {
        let (length, rest) = rest.split_first_chunk()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, array.slice_ref(data)))
}

fn dtype(descr: &str) -> Option<DType> {
    if !descr.starts_with(['<', '>', '|']) {
        return None;
    }
    Some(match descr.get(1..)? {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" => DType::I8,
        "u8" => DType::U64,
        "u4" => DType::U32,
        "u2" => DType::U16,
        "u1" => DType::U8,
        "b1" => DType::Bool,
        // `ml_dtypes`, whose types NumPy knows by their size alone, has one of two bytes beside `f2`.
        "V2" => DType::BF16,
        _ => return None,
    })
}

/// The lengths of a tuple as Python prints it: `()`, `(3,)`, `(3, 4)`.
fn shape(text: &str) -> Option<Vec<usize>> {
    let (inner, _) = text.strip_prefix('(')?.split_once(')')?;
    inner.split(',').map(str::trim).filter(|length| !length.is_empty()).map(|length| length.parse().ok()).collect()
}

/// Values stored first axis fastest, rewritten last axis fastest. `data` fills the shape and is not empty.
fn row_major(data: &[u8], shape: &[usize], size: usize) -> Bytes {
    let strides: Vec<usize> = shape
        .iter()
        .scan(size, |stride, &length| {
            let this = *stride;
            *stride *= length;
            Some(this)
        })
        .collect();
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(data.len());
    while out.len() < data.len() {
        out.extend_from_slice(&data[at..at + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Bytes::from(out)
}

fn swap(data: &[u8], size: usize) -> Bytes {
    let mut data = data.to_vec();
    data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    Bytes::from(data)
}
