// Networks run forward, images as [samples, channels, height, width]. Products of matrices are not here.

// patches[position, (channel, tap)] for `samples` images from `first` on; zeros outside the image.
extern "C" __global__ void im2col(float *patches, const float *x, u64 channels, u64 height, u64 width, u64 kernel_height,
                                  u64 kernel_width, u64 down, u64 right, u64 dilate_down, u64 dilate_right, u64 top,
                                  u64 left, u64 out_height, u64 out_width, u64 first, u64 samples) {
    u64 taps = kernel_height * kernel_width;
    u64 count = samples * out_height * out_width * channels * taps;
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        u64 tap = entry % taps;
        u64 channel = entry / taps % channels;
        u64 position = entry / taps / channels;
        u64 sample = first + position / (out_height * out_width);
        // Positions before the image wrap around to huge numbers, which lie outside it too.
        u64 row = position / out_width % out_height * down + tap / kernel_width * dilate_down - top;
        u64 column = position % out_width * right + tap % kernel_width * dilate_right - left;
        bool inside = row < height && column < width;
        patches[entry] = inside ? x[((sample * channels + channel) * height + row) * width + column] : 0.0f;
    }
}

// y[first + sample, output, pixel] = product[(sample, pixel), output], plus the output's bias where there is one.
extern "C" __global__ void place(float *y, const float *product, const float *bias, u64 has_bias, u64 outputs, u64 pixels,
                                 u64 first, u64 samples) {
    for (u64 entry = first_entry(); entry < samples * outputs * pixels; entry += stride_of_grid()) {
        u64 pixel = entry % pixels;
        u64 output = entry / pixels % outputs;
        u64 sample = entry / pixels / outputs;
        float value = product[(sample * pixels + pixel) * outputs + output];
        y[first * outputs * pixels + entry] = has_bias ? value + bias[output] : value;
    }
}

// y = gain · (x − mean) / √(variance + ε) + bias, channel by channel.
extern "C" __global__ void batch_norm(float *y, const float *x, const float *gain, const float *bias, const float *mean,
                                      const float *variance, u64 channels, u64 pixels, u64 count, u64 epsilon) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        u64 channel = entry / pixels % channels;
        float spread = sqrtf(variance[channel] + of_bits((u32)epsilon));
        y[entry] = gain[channel] * ((x[entry] - mean[channel]) / spread) + bias[channel];
    }
}

// The mean of x[0], x[stride] and so on.
__device__ float mean_of(const float *x, u64 len, u64 stride) {
    float total = 0.0f;
    for (u64 k = 0; k < len; k++) {
        total += x[k * stride];
    }
    return total / (float)len;
}

// √(variance + ε) of the same, whose mean this is.
__device__ float spread_of(const float *x, u64 len, u64 stride, float mean, u64 epsilon) {
    float variance = 0.0f;
    for (u64 k = 0; k < len; k++) {
        float distance = x[k * stride] - mean;
        variance += distance * distance;
    }
    return sqrtf(variance / (float)len + of_bits((u32)epsilon));
}

// BatchNorm's formula over the middle of [outer, len, inner], with mean and variance of what is there; a thread per (outer, inner).
extern "C" __global__ void layer_norm(float *y, const float *x, const float *gain, const float *bias, u64 outer, u64 len,
                                      u64 inner, u64 epsilon) {
    for (u64 group = first_entry(); group < outer * inner; group += stride_of_grid()) {
        u64 start = group / inner * len * inner + group % inner;
        float mean = mean_of(x + start, len, inner);
        float spread = spread_of(x + start, len, inner, mean, epsilon);
        for (u64 k = 0; k < len; k++) {
            y[start + k * inner] = gain[k] * ((x[start + k * inner] - mean) / spread) + bias[k];
        }
    }
}

// y = max(x, 0); NaN stays.
extern "C" __global__ void rectify(float *y, const float *x, u64 count) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        y[entry] = x[entry] < 0.0f ? 0.0f : x[entry];
    }
}

// y = a + b.
extern "C" __global__ void sum(float *y, const float *a, const float *b, u64 count) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        y[entry] = a[entry] + b[entry];
    }
}

// The largest number of every window inside the image; NaN wins.
extern "C" __global__ void max_pool(float *y, const float *x, u64 planes, u64 height, u64 width, u64 kernel_height,
                                    u64 kernel_width, u64 down, u64 right, u64 top, u64 left, u64 out_height,
                                    u64 out_width) {
    for (u64 entry = first_entry(); entry < planes * out_height * out_width; entry += stride_of_grid()) {
        u64 plane = entry / out_width / out_height;
        float largest = of_bits(0xff800000);
        for (u64 tap = 0; tap < kernel_height * kernel_width; tap++) {
            u64 row = entry / out_width % out_height * down + tap / kernel_width - top;
            u64 column = entry % out_width * right + tap % kernel_width - left;
            if (row < height && column < width) {
                float value = x[(plane * height + row) * width + column];
                largest = value > largest || value != value ? value : largest;
            }
        }
        y[entry] = largest;
    }
}

// The mean over the middle of [outer, len, inner].
extern "C" __global__ void mean(float *y, const float *x, u64 outer, u64 len, u64 inner) {
    for (u64 entry = first_entry(); entry < outer * inner; entry += stride_of_grid()) {
        y[entry] = mean_of(x + entry / inner * len * inner + entry % inner, len, inner);
    }
}

// y[outer, k, inner] = x[outer, start + k · step, inner], zeros where there is no such position; `start` and `step` may be
// negative.
extern "C" __global__ void shift(float *y, const float *x, u64 outer, u64 to, u64 from, u64 inner, u64 start, u64 step) {
    for (u64 entry = first_entry(); entry < outer * to * inner; entry += stride_of_grid()) {
        u64 position = start + entry / inner % to * step;
        bool inside = position < from;
        y[entry] = inside ? x[(entry / inner / to * from + position) * inner + entry % inner] : 0.0f;
    }
}
