// Networks run backward, and trained: what adds to a gradient, what it is summed from, and steps of optimisers.
//
// Every kernel named `…_back` adds to `dx`, the gradient of what went in, given `dy`, that of what came out.

// x += y.
extern "C" __global__ void add(float *x, const float *y, u64 count) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        x[entry] += y[entry];
    }
}

// y = factor · x.
extern "C" __global__ void scale(float *y, const float *x, u64 count, u64 factor) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        y[entry] = of_bits((u32)factor) * x[entry];
    }
}

// sums[part, k] = Σ x[outer, k, inner], over every `parts`-th position (outer, inner) from `part` on; a thread per sum.
extern "C" __global__ void partial_sums(float *sums, const float *x, u64 outer, u64 len, u64 inner, u64 parts) {
    for (u64 entry = first_entry(); entry < parts * len; entry += stride_of_grid()) {
        u64 part = entry % parts;
        u64 k = entry / parts;
        double total = 0.0;
        for (u64 position = part; position < outer * inner; position += parts) {
            total += (double)x[(position / inner * len + k) * inner + position % inner];
        }
        sums[part * len + k] = (float)total;
    }
}

// y = (a − centre of a) · (b − centre of b), centres channel by channel.
extern "C" __global__ void centred_product(float *y, const float *a, const float *b, const float *centre_a,
                                           const float *centre_b, u64 channels, u64 pixels, u64 count) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        u64 channel = entry / pixels % channels;
        y[entry] = (a[entry] - centre_a[channel]) * (b[entry] - centre_b[channel]);
    }
}

// running = (1 − share) · running + share · factor · now.
extern "C" __global__ void follow(float *running, const float *now, u64 count, u64 share, u64 factor) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        float part = of_bits((u32)share);
        running[entry] = (1.0f - part) * running[entry] + part * (of_bits((u32)factor) * now[entry]);
    }
}

// product[(sample, pixel), output] = dy[first + sample, output, pixel]: `place` the other way round.
extern "C" __global__ void take(float *product, const float *dy, u64 outputs, u64 pixels, u64 first, u64 samples) {
    for (u64 entry = first_entry(); entry < samples * outputs * pixels; entry += stride_of_grid()) {
        u64 output = entry % outputs;
        u64 pixel = entry / outputs % pixels;
        u64 sample = entry / outputs / pixels;
        product[entry] = dy[((first + sample) * outputs + output) * pixels + pixel];
    }
}

// Numbers of patches added where they were taken from; a thread per number of the image.
extern "C" __global__ void im2col_back(float *dx, const float *patches, u64 channels, u64 height, u64 width,
                                       u64 kernel_height, u64 kernel_width, u64 down, u64 right, u64 dilate_down,
                                       u64 dilate_right, u64 top, u64 left, u64 out_height, u64 out_width, u64 first,
                                       u64 samples) {
    for (u64 entry = first_entry(); entry < samples * channels * height * width; entry += stride_of_grid()) {
        u64 column = entry % width;
        u64 row = entry / width % height;
        u64 channel = entry / width / height % channels;
        u64 sample = entry / width / height / channels;
        float total = 0.0f;
        for (u64 tap = 0; tap < kernel_height * kernel_width; tap++) {
            // Positions before the first window wrap around to huge numbers, which lie behind the last one.
            u64 below = row + top - tap / kernel_width * dilate_down;
            u64 beside = column + left - tap % kernel_width * dilate_right;
            if (below % down == 0 && beside % right == 0 && below / down < out_height && beside / right < out_width) {
                u64 position = (sample * out_height + below / down) * out_width + beside / right;
                total += patches[(position * channels + channel) * kernel_height * kernel_width + tap];
            }
        }
        dx[first * channels * height * width + entry] += total;
    }
}

// What a window gave goes to the first of its numbers that is its largest; a thread per number of the image.
extern "C" __global__ void max_pool_back(float *dx, const float *x, const float *y, const float *dy, u64 planes, u64 height,
                                         u64 width, u64 kernel_height, u64 kernel_width, u64 down, u64 right, u64 top,
                                         u64 left, u64 out_height, u64 out_width) {
    for (u64 entry = first_entry(); entry < planes * height * width; entry += stride_of_grid()) {
        u64 column = entry % width;
        u64 row = entry / width % height;
        u64 plane = entry / width / height;
        float total = 0.0f;
        for (u64 tap = 0; tap < kernel_height * kernel_width; tap++) {
            u64 below = row + top - tap / kernel_width;
            u64 beside = column + left - tap % kernel_width;
            if (below % down != 0 || beside % right != 0 || below / down >= out_height || beside / right >= out_width) {
                continue;
            }
            u64 window = (plane * out_height + below / down) * out_width + beside / right;
            bool largest = x[entry] == y[window];
            for (u64 earlier = 0; earlier < tap && largest; earlier++) {
                u64 r = below - top + earlier / kernel_width;
                u64 c = beside - left + earlier % kernel_width;
                largest = !(r < height && c < width && x[(plane * height + r) * width + c] == y[window]);
            }
            total += largest ? dy[window] : 0.0f;
        }
        dx[entry] += total;
    }
}

extern "C" __global__ void rectify_back(float *dx, const float *y, const float *dy, u64 count) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        dx[entry] += y[entry] > 0.0f ? dy[entry] : 0.0f;
    }
}

extern "C" __global__ void mean_back(float *dx, const float *dy, u64 outer, u64 len, u64 inner) {
    for (u64 entry = first_entry(); entry < outer * len * inner; entry += stride_of_grid()) {
        dx[entry] += dy[entry / inner / len * inner + entry % inner] / (float)len;
    }
}

// No two positions come from one, as `step` is not 0; a thread per number of `dy`.
extern "C" __global__ void shift_back(float *dx, const float *dy, u64 outer, u64 to, u64 from, u64 inner, u64 start,
                                      u64 step) {
    for (u64 entry = first_entry(); entry < outer * to * inner; entry += stride_of_grid()) {
        u64 position = start + entry / inner % to * step;
        if (position < from) {
            dx[(entry / inner / to * from + position) * inner + entry % inner] += dy[entry];
        }
    }
}

// x̂ = (x − mean) / √(variance + ε); t = gain · dy; dx += (t − mean of t − x̂ · mean of t x̂) / √(variance + ε).
// Also slopes = x̂ · dy, whose sums are the gradient of the gain. A thread per (outer, inner).
extern "C" __global__ void layer_norm_back(float *dx, float *slopes, const float *x, const float *gain, const float *dy,
                                           u64 outer, u64 len, u64 inner, u64 epsilon) {
    for (u64 group = first_entry(); group < outer * inner; group += stride_of_grid()) {
        u64 start = group / inner * len * inner + group % inner;
        float mean = mean_of(x + start, len, inner);
        float spread = spread_of(x + start, len, inner, mean, epsilon);
        float level = 0.0f, slope = 0.0f;
        for (u64 k = 0; k < len; k++) {
            u64 at = start + k * inner;
            float normal = (x[at] - mean) / spread;
            slopes[at] = normal * dy[at];
            level += gain[k] * dy[at];
            slope += gain[k] * slopes[at];
        }
        level /= (float)len;
        slope /= (float)len;
        for (u64 k = 0; k < len; k++) {
            u64 at = start + k * inner;
            dx[at] += (gain[k] * dy[at] - level - (x[at] - mean) / spread * slope) / spread;
        }
    }
}

// The same with mean and variance of a channel over all samples. `levels` are the means of dy, `slopes` those of
// dy · (x − mean).
extern "C" __global__ void batch_norm_back(float *dx, const float *dy, const float *x, const float *gain, const float *mean,
                                           const float *variance, const float *levels, const float *slopes, u64 channels,
                                           u64 pixels, u64 count, u64 epsilon) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        u64 channel = entry / pixels % channels;
        float square = variance[channel] + of_bits((u32)epsilon);
        float slope = (x[entry] - mean[channel]) / square * slopes[channel];
        dx[entry] += gain[channel] / sqrtf(square) * (dy[entry] - levels[channel] - slope);
    }
}

// d += slopes / √(variance + ε), the gradient of a BatchNorm's gain; slopes are sums of dy · (x − mean) here.
extern "C" __global__ void gain_back(float *d, const float *slopes, const float *variance, u64 count, u64 epsilon) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        d[entry] += slopes[entry] / sqrtf(variance[entry] + of_bits((u32)epsilon));
    }
}

// velocity = momentum · velocity + gradient + decay · weights; weights −= rate · velocity.
extern "C" __global__ void sgd(float *weights, float *velocity, const float *gradient, u64 count, u64 momentum, u64 decay,
                               u64 rate) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        velocity[entry] = of_bits((u32)momentum) * velocity[entry] + gradient[entry] + of_bits((u32)decay) * weights[entry];
        weights[entry] -= of_bits((u32)rate) * velocity[entry];
    }
}

// m = β₁ m + (1 − β₁) gradient; v = β₂ v + (1 − β₂) gradient²; weights −= rate · m / (√v + ε), with the corrections of bias
// in rate and ε.
extern "C" __global__ void adam(float *weights, float *m, float *v, const float *gradient, u64 count, u64 rate,
                                u64 epsilon) {
    for (u64 entry = first_entry(); entry < count; entry += stride_of_grid()) {
        m[entry] = 0.9f * m[entry] + (1.0f - 0.9f) * gradient[entry];
        v[entry] = 0.999f * v[entry] + (1.0f - 0.999f) * gradient[entry] * gradient[entry];
        weights[entry] -= of_bits((u32)rate) * m[entry] / (sqrtf(v[entry]) + of_bits((u32)epsilon));
    }
}
