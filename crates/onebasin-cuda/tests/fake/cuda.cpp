// A driver, compiler and cuBLAS without a GPU: memory is the processor's, and kernels run there.
//
// Stricter than the real ones where programs go wrong: every call but those that find devices needs a context chosen by its
// thread, ranges must lie in one allocation, nothing may be written beside one, and none may be left when the context goes.
// ONEBASIN_FAKE_GPUS says how many devices there are (1), ONEBASIN_FAKE_MEMORY how many bytes each has (2^32).

#include HOST

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace {

enum Status { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
              INVALID_CONTEXT = 201, NOT_FOUND = 500 };

const std::size_t FENCE = 64;
const unsigned char PAINT = 0xa5;

std::mutex guard;
std::map<char *, std::size_t> lent;
std::size_t used = 0;
int retained = 0;
int context;
thread_local void *current = nullptr;

[[noreturn]] void broken(const char *what) {
    std::fprintf(stderr, "fake CUDA: %s\n", what);
    std::abort();
}

std::size_t setting(const char *name, std::size_t otherwise) {
    const char *text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

int devices() { return (int)setting("ONEBASIN_FAKE_GPUS", 1); }

void check_range(const void *from, std::size_t bytes) {
    std::lock_guard<std::mutex> held(guard);
    char *start = (char *)from;
    auto after = lent.upper_bound(start);
    if (after == lent.begin()) broken("memory that was not lent");
    --after;
    if (start + bytes > after->first + after->second) broken("a range that is not inside one allocation");
}

// Takes a pointer to a function and gives back one to data, which the driver calls a function's handle.
struct Named {
    const char *name;
    void (*launch)(unsigned int, unsigned int, void **);
};

#define NAMED(kernel) {#kernel, launch_##kernel}

Named functions[] = {NAMED(gather_f32),
                     NAMED(gather_f16),
                     NAMED(gather_bf16),
                     NAMED(add_product),
                     NAMED(batch_norm),
                     NAMED(im2col),
                     NAMED(layer_norm),
                     NAMED(max_pool),
                     NAMED(mean),
                     NAMED(place),
                     NAMED(rectify),
                     NAMED(shift),
                     NAMED(sum),
                     NAMED(add),
                     NAMED(scale),
                     NAMED(partial_sums),
                     NAMED(centred_product),
                     NAMED(follow),
                     NAMED(take),
                     NAMED(im2col_back),
                     NAMED(max_pool_back),
                     NAMED(rectify_back),
                     NAMED(mean_back),
                     NAMED(shift_back),
                     NAMED(layer_norm_back),
                     NAMED(batch_norm_back),
                     NAMED(gain_back),
                     NAMED(sgd),
                     NAMED(adam)};

struct Program {
    std::string source;
};

}  // namespace

#define NEEDS_CONTEXT \
    if (current != &context) return INVALID_CONTEXT

extern "C" {

int cuInit(unsigned int) { return devices() ? SUCCESS : NO_DEVICE; }

int cuGetErrorString(int status, const char **text) {
    *text = status == NO_DEVICE         ? "no device is detected"
            : status == OUT_OF_MEMORY   ? "out of memory"
            : status == INVALID_CONTEXT ? "no context is chosen"
                                        : "another error";
    return SUCCESS;
}

int cuGetErrorName(int, const char **text) {
    *text = "ERROR";
    return SUCCESS;
}

int cuDeviceGetCount(int *count) {
    *count = devices();
    return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal < devices() ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int length, int) {
    std::snprintf(name, length, "a processor");
    return SUCCESS;
}

// Memory pools, which alone is asked about.
int cuDeviceGetAttribute(int *value, int attribute, int) {
    *value = attribute == 115;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **chosen, int) {
    std::lock_guard<std::mutex> held(guard);
    retained++;
    *chosen = &context;
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int) {
    std::lock_guard<std::mutex> held(guard);
    if (--retained == 0 && !lent.empty()) broken("memory that was not given back");
    return SUCCESS;
}

int cuCtxGetCurrent(void **chosen) {
    *chosen = current;
    return SUCCESS;
}

int cuCtxSetCurrent(void *chosen) {
    current = chosen;
    return SUCCESS;
}

int cuMemAllocAsync(char **memory, std::size_t bytes, void *) {
    NEEDS_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    std::lock_guard<std::mutex> held(guard);
    if (used + bytes > setting("ONEBASIN_FAKE_MEMORY", std::size_t(1) << 32)) return OUT_OF_MEMORY;
    used += bytes;
    char *all = (char *)std::malloc(bytes + 2 * FENCE);
    std::memset(all, PAINT, bytes + 2 * FENCE);
    *memory = all + FENCE;
    lent[*memory] = bytes;
    return SUCCESS;
}

int cuMemFreeAsync(char *memory, void *) {
    NEEDS_CONTEXT;
    std::lock_guard<std::mutex> held(guard);
    auto found = lent.find(memory);
    if (found == lent.end()) broken("memory given back that was not lent");
    for (std::size_t k = 0; k < FENCE; k++) {
        bool whole = (unsigned char)memory[k + found->second] == PAINT && (unsigned char)memory[-1 - (long)k] == PAINT;
        if (!whole) broken("something was written beside its memory");
    }
    used -= found->second;
    lent.erase(found);
    std::free(memory - FENCE);
    return SUCCESS;
}

int cuMemsetD8Async(char *memory, unsigned char value, std::size_t bytes, void *) {
    NEEDS_CONTEXT;
    check_range(memory, bytes);
    std::memset(memory, value, bytes);
    return SUCCESS;
}

int cuMemcpyHtoDAsync_v2(char *to, const void *from, std::size_t bytes, void *) {
    NEEDS_CONTEXT;
    check_range(to, bytes);
    std::memcpy(to, from, bytes);
    return SUCCESS;
}

int cuMemcpyDtoHAsync_v2(void *to, const char *from, std::size_t bytes, void *) {
    NEEDS_CONTEXT;
    check_range(from, bytes);
    std::memcpy(to, from, bytes);
    return SUCCESS;
}

int cuStreamSynchronize(void *) {
    NEEDS_CONTEXT;
    return SUCCESS;
}

int cuEventCreate(void **event, unsigned int) {
    NEEDS_CONTEXT;
    *event = std::malloc(1);
    return SUCCESS;
}

int cuEventDestroy_v2(void *event) {
    std::free(event);
    return SUCCESS;
}

int cuEventRecord(void *, void *) { return SUCCESS; }

int cuStreamWaitEvent(void *, void *, unsigned int) { return SUCCESS; }

int cuModuleLoadData(void **module, const void *image) {
    NEEDS_CONTEXT;
    if (!std::strstr((const char *)image, "__global__")) return INVALID_IMAGE;
    *module = new Program{(const char *)image};
    return SUCCESS;
}

int cuModuleUnload(void *module) {
    NEEDS_CONTEXT;
    delete (Program *)module;
    return SUCCESS;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    NEEDS_CONTEXT;
    for (Named &named : functions) {
        bool there = ((Program *)module)->source.find(std::string(" ") + name + "(") != std::string::npos;
        if (there && !std::strcmp(named.name, name)) {
            *function = &named;
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int cuLaunchKernel(void *function, unsigned int blocks, unsigned int y, unsigned int z, unsigned int threads, unsigned int v,
                   unsigned int w, unsigned int shared, void *, void **arguments, void **extra) {
    NEEDS_CONTEXT;
    if (!blocks || !threads || threads > 1024 || y != 1 || z != 1 || v != 1 || w != 1 || shared || extra) return INVALID_VALUE;
    ((Named *)function)->launch(blocks, threads, arguments);
    return SUCCESS;
}

int cublasCreate_v2(void **handle) {
    if (current != &context) return 1;
    *handle = std::malloc(1);
    return 0;
}

int cublasDestroy_v2(void *handle) {
    if (current != &context) return 1;
    std::free(handle);
    return 0;
}

int cublasSetStream_v2(void *, void *) { return 0; }

// C = α op(A) op(B) + β C, column by column, with factors as `seen`.
static int gemm(int opa, int opb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb,
                const float *beta, float *c, int ldc, float (*seen)(float)) {
    bool fits = lda >= (opa ? k : m) && ldb >= (opb ? n : k) && ldc >= m && m > 0 && n > 0 && k > 0;
    if (current != &context || !fits) return 7;
    check_range(a, 4 * (std::size_t(lda) * ((opa ? m : k) - 1) + (opa ? k : m)));
    check_range(b, 4 * (std::size_t(ldb) * ((opb ? k : n) - 1) + (opb ? n : k)));
    check_range(c, 4 * (std::size_t(ldc) * (n - 1) + m));
    for (std::size_t j = 0; j < std::size_t(n); j++) {
        for (std::size_t i = 0; i < std::size_t(m); i++) {
            float sum = 0;
            for (std::size_t l = 0; l < std::size_t(k); l++) {
                sum += seen(opa ? a[l + i * lda] : a[i + l * lda]) * seen(opb ? b[j + l * ldb] : b[l + j * ldb]);
            }
            float *out = c + i + j * ldc;
            *out = *alpha * sum + (*beta == 0 ? 0 : *beta * *out);
        }
    }
    return 0;
}

static float whole(float value) { return value; }

// To the nearest bf16, to even where two are as near.
static float brain(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, 4);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    std::memcpy(&value, &bits, 4);
    return value;
}

int cublasSgemm_v2(void *, int opa, int opb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b,
                   int ldb, const float *beta, float *c, int ldc) {
    return gemm(opa, opb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, whole);
}

// Of f32 (type 0) alone, in f32 (68) or by way of bf16 (75).
int cublasGemmEx(void *, int opa, int opb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                 const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int) {
    if (a_type || b_type || c_type || (compute != 68 && compute != 75)) return 15;
    return gemm(opa, opb, m, n, k, (const float *)alpha, (const float *)a, lda, (const float *)b, ldb, (const float *)beta,
                (float *)c, ldc, compute == 75 ? brain : whole);
}

int nvrtcCreateProgram(void **program, const char *source, const char *, int headers, const char *const *, const char *const *) {
    *program = new Program{source};
    return headers ? 4 : 0;
}

int nvrtcCompileProgram(void *, int, const char *const *) { return 0; }

int nvrtcGetPTXSize(void *program, std::size_t *size) {
    *size = ((Program *)program)->source.size() + 1;
    return 0;
}

// The "PTX" is the source.
int nvrtcGetPTX(void *program, char *ptx) {
    std::strcpy(ptx, ((Program *)program)->source.c_str());
    return 0;
}

int nvrtcDestroyProgram(void **program) {
    delete (Program *)*program;
    return 0;
}

}  // extern "C"
