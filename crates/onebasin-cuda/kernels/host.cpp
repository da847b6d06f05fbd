// The kernels as a library for the processor: a grid is two loops, and arguments come as the driver takes them, an array of
// pointers to values.

#include <cmath>
#include <utility>

#define __global__
#define __device__ static

struct Index {
    unsigned int x, y, z;
};

static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

#include "common.cu"
#include "similarity.cu"
#include "forward.cu"
#include "backward.cu"

template <typename... T, std::size_t... I>
static void call(void (*kernel)(T...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<T *>(arguments[I])...);
}

template <typename... T>
static void run(void (*kernel)(T...), unsigned int blocks, unsigned int threads, void **arguments) {
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (unsigned int block = 0; block < blocks; block++) {
        for (unsigned int thread = 0; thread < threads; thread++) {
            blockIdx = {block, 0, 0};
            threadIdx = {thread, 0, 0};
            call(kernel, arguments, std::index_sequence_for<T...>());
        }
    }
}

#define LAUNCHER(kernel)                                                                         \
    extern "C" void launch_##kernel(unsigned int blocks, unsigned int threads, void **arguments) { \
        run(kernel, blocks, threads, arguments);                                                 \
    }

LAUNCHER(gather_f32)
LAUNCHER(gather_f16)
LAUNCHER(gather_bf16)
LAUNCHER(add_product)
LAUNCHER(batch_norm)
LAUNCHER(im2col)
LAUNCHER(layer_norm)
LAUNCHER(max_pool)
LAUNCHER(mean)
LAUNCHER(place)
LAUNCHER(rectify)
LAUNCHER(shift)
LAUNCHER(sum)
LAUNCHER(add)
LAUNCHER(scale)
LAUNCHER(partial_sums)
LAUNCHER(centred_product)
LAUNCHER(follow)
LAUNCHER(take)
LAUNCHER(im2col_back)
LAUNCHER(max_pool_back)
LAUNCHER(rectify_back)
LAUNCHER(mean_back)
LAUNCHER(shift_back)
LAUNCHER(layer_norm_back)
LAUNCHER(batch_norm_back)
LAUNCHER(gain_back)
LAUNCHER(sgd)
LAUNCHER(adam)
