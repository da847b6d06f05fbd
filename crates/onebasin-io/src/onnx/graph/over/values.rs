//! What the values of tensors are compared by: sums over mixed bits, which no reordering changes.

use onebasin_core::{DType, Tensor, element_count};

/// The type in which tensors of two types are compared: the shorter one, of equally long ones the first.
pub(super) fn common(a: DType, b: DType) -> DType {
    if b.size() < a.size() { b } else { a }
}

/// A tensor in the type in which it is compared; none if it cannot be converted.
pub(super) fn as_type(tensor: &Tensor, dtype: DType) -> Option<Tensor> {
    tensor.cast(dtype).ok()
}

/// Bits spread over 64, as the finaliser of splitmix64 does.
fn mix(bits: u64) -> u64 {
    let mut x = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn each(bytes: &[u8], size: usize, mut see: impl FnMut(u64)) {
    match size {
        2 => bytes.as_chunks().0.iter().for_each(|b| see(u64::from(u16::from_le_bytes(*b)))),
        4 => bytes.as_chunks().0.iter().for_each(|b| see(u64::from(u32::from_le_bytes(*b)))),
        8 => bytes.as_chunks().0.iter().for_each(|b| see(u64::from_le_bytes(*b))),
        _ => bytes.iter().for_each(|b| see(u64::from(*b))),
    }
}

fn sum(bytes: &[u8], size: usize) -> u64 {
    let mut sum = 0_u64;
    each(bytes, size, |bits| sum = sum.wrapping_add(mix(bits)));
    sum
}

/// The sum over all elements: equal for tensors of the same elements in any order.
pub(super) fn fingerprint(tensor: &Tensor) -> u64 {
    sum(tensor.bytes(), tensor.dtype().size())
}

/// A number that equal elements in the same order have in common.
pub(super) fn ordered(tensor: &Tensor) -> u64 {
    let mut state = 0_u64;
    each(tensor.bytes(), tensor.dtype().size(), |bits| state = mix(state ^ bits));
    state
}

/// The sum over every slice of an axis.
pub(super) fn slice_fingerprints(tensor: &Tensor, axis: usize) -> Vec<u64> {
    let (shape, size) = (tensor.shape(), tensor.dtype().size());
    let inner = element_count(&shape[axis + 1..]).unwrap_or(0) * size;
    let mut sums = vec![0_u64; shape[axis]];
    for block in tensor.bytes().chunks_exact((shape[axis] * inner).max(1)) {
        for (to, slice) in sums.iter_mut().zip(block.chunks_exact(inner.max(1))) {
            *to = to.wrapping_add(sum(slice, size));
        }
    }
    sums
}

/// Whether all elements are the same.
pub(super) fn is_uniform(tensor: &Tensor) -> bool {
    distinct(tensor, 2) < 2
}

/// Whether a tensor leaves out what it is added to: infinities, and beside them one number at most.
pub(super) fn is_mask(tensor: &Tensor) -> bool {
    distinct(tensor, 3) <= 2
        && !tensor.is_empty()
        && tensor.to_f64().is_ok_and(|v| v.iter().any(|x| x.is_infinite()) && !v.iter().any(|x| x.is_nan()))
}

/// Whether its elements tell it from other tensors: at least four, three of them different.
pub(super) fn is_telling(tensor: &Tensor) -> bool {
    tensor.len() >= 4 && distinct(tensor, 3) == 3
}

/// How many different elements there are, counted up to `most`.
fn distinct(tensor: &Tensor, most: usize) -> usize {
    let mut found: Vec<&[u8]> = Vec::with_capacity(most);
    for element in tensor.bytes().chunks_exact(tensor.dtype().size()) {
        if !found.contains(&element) {
            found.push(element);
            if found.len() == most {
                break;
            }
        }
    }
    found.len()
}
