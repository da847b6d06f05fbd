// Similarities of weights: entries of unfolded tensors gathered into panels, and products of panels added up.

struct Half {
    u16 bits;
};

struct Brain {
    u16 bits;
};

__device__ float widen(float value) { return value; }

__device__ float widen(Brain value) { return of_bits((u32)value.bits << 16); }

__device__ float widen(Half value) {
    u32 sign = (u32)(value.bits & 0x8000) << 16;
    u32 exponent = (value.bits >> 10) & 31;
    u32 fraction = value.bits & 0x3ff;
    if (exponent == 0) {
        // Subnormal: a multiple of 2^-24, which is a normal single.
        float size = (float)fraction * 5.9604644775390625e-8f;
        return sign ? -size : size;
    }
    // Infinities and NaN keep all ones; the bias grows from 15 to 127.
    exponent = exponent == 31 ? 255 : exponent + 112;
    return of_bits(sign | exponent << 23 | fraction << 13);
}

// panel[row, first + column] = tensor[positions[row · context + contexts[column]] · stride + offsets[column]],
// or the same taken off where `subtract` is not 0. The panel has `width` columns, `columns` of which are filled.
template <typename T>
__device__ void gather(float *panel, u64 rows, u64 width, u64 first, u64 columns, u64 subtract, const T *tensor, u64 stride,
                       const u32 *positions, u64 context, const u64 *offsets, const u32 *contexts) {
    for (u64 entry = first_entry(); entry < rows * columns; entry += stride_of_grid()) {
        u64 row = entry / columns;
        u64 column = entry % columns;
        u64 position = positions[row * context + contexts[column]];
        float value = widen(tensor[position * stride + offsets[column]]);
        float *out = panel + row * width + first + column;
        *out = subtract ? *out - value : value;
    }
}

extern "C" __global__ void gather_f32(float *panel, u64 rows, u64 width, u64 first, u64 columns, u64 subtract,
                                      const float *tensor, u64 stride, const u32 *positions, u64 context,
                                      const u64 *offsets, const u32 *contexts) {
    gather(panel, rows, width, first, columns, subtract, tensor, stride, positions, context, offsets, contexts);
}

extern "C" __global__ void gather_f16(float *panel, u64 rows, u64 width, u64 first, u64 columns, u64 subtract,
                                      const Half *tensor, u64 stride, const u32 *positions, u64 context,
                                      const u64 *offsets, const u32 *contexts) {
    gather(panel, rows, width, first, columns, subtract, tensor, stride, positions, context, offsets, contexts);
}

extern "C" __global__ void gather_bf16(float *panel, u64 rows, u64 width, u64 first, u64 columns, u64 subtract,
                                       const Brain *tensor, u64 stride, const u32 *positions, u64 context,
                                       const u64 *offsets, const u32 *contexts) {
    gather(panel, rows, width, first, columns, subtract, tensor, stride, positions, context, offsets, contexts);
}

// sum[i] += product[i], in double.
extern "C" __global__ void add_product(double *sum, const float *product, u64 count) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        sum[entry] += (double)product[entry];
    }
}
