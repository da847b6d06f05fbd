// What all kernels share.
//
// One thread per entry, in strides of the whole grid, so that any grid computes the same. Nothing here needs a header, and
// nothing but the qualifiers and the four indices is CUDA's: with those defined, the files compile for a processor too.
// Every parameter is a pointer or 64 bits long.

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;

__device__ float of_bits(u32 bits) {
    union {
        u32 bits;
        float value;
    } both;
    both.bits = bits;
    return both.value;
}

__device__ u64 first_entry() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ u64 stride_of_grid() { return (u64)gridDim.x * blockDim.x; }
