// depthwise.cu - convolutions whose groups have one input channel, without a product of matrices: there is nothing in it to share.
//
//   depthwise_T(x, weight, bias, y, Convolution)                                  T of f32 f64 bf16 f16; inputs = 1
//   depthwise_transposed_T(y, weight, bias, x, Convolution)                       the gradient for x
//   depthwise_weight_T(x, y, parts, Convolution, int pieces)                      parts [pieces, groups · outputs, taps], f32 (f64 for T = f64)
//        operands as in convolve.cu
//
// Launch: 256 threads. A thread for each number that is written, grid (ceil(count / 256), 1, 1); the weight: grid (groups · outputs, pieces,
// ceil(taps / 9)), a block for nine taps of a channel.
//
// The idea: neighbours write neighbours and so read neighbours; what taps read again comes from the nearest cache, weights are the same for a
// whole warp nearly always. Bound by bytes: x and y once, some taps multiply-adds for each. A product of matrices would fill one row of
// its 64. The gradient of a weight reads y once for nine taps, which have a sum in a register each; lanes, then warps are joined in
// their order.
#include "convolve.cuh"

template <class T> INLINE void depthwise(const T* x, const T* weight, const T* bias, T* y, const Convolution& c) {
    i64 index = first_of_grid(), windows = volume(c.windows, &Window::count), channels = c.groups * c.outputs;
    if (index >= c.batch * channels * windows) return;
    i64 row = quotient(index, windows), n = quotient(row, channels), channel = row - n * channels;
    int z, p, q;
    split(c.windows, &Window::count, u32(index - row * windows), z, p, q);
    z = start(c.windows[0], z); p = start(c.windows[1], p); q = start(c.windows[2], q);
    x += n * c.x[0] + quotient(channel, c.outputs) * c.x[1]; weight += channel * c.weight[0];
    Real<T> sum = bias ? Real<T>(widen(bias[channel])) : Real<T>(0);
#pragma unroll 1
    for (int i = 0; i < c.windows[0].kernel; i++, z += c.windows[0].dilation) {
        if (u32(z) >= u32(c.windows[0].size)) continue;
#pragma unroll 1
        for (int j = 0, at_y = p; j < c.windows[1].kernel; j++, at_y += c.windows[1].dilation) {
            if (u32(at_y) >= u32(c.windows[1].size)) continue;
            const T *from = x + z * c.x[2] + at_y * c.x[3], *by = weight + i * c.weight[2] + j * c.weight[3];
#pragma unroll 4
            for (int k = 0; k < c.windows[2].kernel; k++) {
                int at_x = q + k * c.windows[2].dilation;
                if (u32(at_x) < u32(c.windows[2].size)) sum += Real<T>(widen(from[at_x * c.x[4]])) * Real<T>(widen(by[k * c.weight[4]]));
            }
        }
    }
    y[index] = narrow<T>(sum);
}

template <class T> INLINE void depthwise_transposed(const T* y, const T* weight, const T* bias, T* x, const Convolution& c) {
    i64 index = first_of_grid(), elements = volume(c.windows, &Window::size);
    if (index >= c.batch * c.groups * elements) return;
    i64 row = quotient(index, elements), n = quotient(row, c.groups), channel = row - n * c.groups;
    int z, p, q;
    split(c.windows, &Window::size, u32(index - row * elements), z, p, q);
    z += c.windows[0].before; p += c.windows[1].before; q += c.windows[2].before;
    Real<T> sum = bias ? Real<T>(widen(bias[channel])) : Real<T>(0);
#pragma unroll 1
    for (i64 o = channel * c.outputs; o < (channel + 1) * c.outputs; o++) {
        const T *of = y + n * c.y[0] + o * c.y[1], *by_channel = weight + o * c.weight[0];
#pragma unroll 1
        for (int i = 0; i < c.windows[0].kernel; i++) {
            int at_z = z - i * c.windows[0].dilation;
            if (!inside(at_z, c.windows[0].count, c.windows[0].stride)) continue;
#pragma unroll 1
            for (int j = 0; j < c.windows[1].kernel; j++) {
                int at_y = p - j * c.windows[1].dilation;
                if (!inside(at_y, c.windows[1].count, c.windows[1].stride)) continue;
                const T *from = of + at_z * c.y[2] + at_y * c.y[3], *by = by_channel + i * c.weight[2] + j * c.weight[3];
#pragma unroll 4
                for (int k = 0; k < c.windows[2].kernel; k++) {
                    int at_x = q - k * c.windows[2].dilation;
                    if (inside(at_x, c.windows[2].count, c.windows[2].stride)) sum += Real<T>(widen(from[at_x * c.y[4]])) * Real<T>(widen(by[k * c.weight[4]]));
                }
            }
        }
    }
    x[index] = narrow<T>(sum);
}

constexpr int TAPS = 9, WARPS = BLOCK / WARP;

template <class T> INLINE void depthwise_weight(const T* x, const T* y, Real<T>* parts, const Convolution& c, int pieces) {
    using R = Real<T>;
    SHARED(R, joined, [WARPS][TAPS]);
    i64 channel = blockIdx.x, channels = c.groups * c.outputs, windows = volume(c.windows, &Window::count), all = c.batch * windows;
    int taps = int(volume(c.windows, &Window::kernel)), first = blockIdx.z * TAPS, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    i64 piece = (all + pieces - 1) / pieces, end = min(all, (i64(blockIdx.y) + 1) * piece);
    x += quotient(channel, c.outputs) * c.x[1]; y += channel * c.y[1];
    // Where each tap reads, seen from where a window begins.
    Where tap[TAPS];
#pragma unroll
    for (int e = 0; e < TAPS; e++) {
        Where w{0, 0, 0, 0};
        if (first + e < taps) split(c.windows, &Window::kernel, u32(first + e), w.z, w.y, w.x);
        w.z *= c.windows[0].dilation; w.y *= c.windows[1].dilation; w.x *= c.windows[2].dilation;
        tap[e] = w.settled(c.x + 2);
    }
    R sum[TAPS] = {};
#pragma unroll 1
    for (i64 k = i64(blockIdx.y) * piece + threadIdx.x; k < end; k += BLOCK) {
        i64 n = quotient(k, windows);
        int z, p, q;
        split(c.windows, &Window::count, u32(k - n * windows), z, p, q);
        R arriving = widen(y[n * c.y[0] + z * c.y[2] + p * c.y[3] + q * c.y[4]]);
        Where from = Where{n * c.x[0], start(c.windows[0], z), start(c.windows[1], p), start(c.windows[2], q)}.settled(c.x + 2);
#pragma unroll
        for (int e = 0; e < TAPS; e++) {
            bool there = first + e < taps && u32(from.z + tap[e].z) < u32(c.windows[0].size) && u32(from.y + tap[e].y) < u32(c.windows[1].size) && u32(from.x + tap[e].x) < u32(c.windows[2].size);
            if (there) sum[e] += arriving * R(widen(x[from.at + tap[e].at]));
        }
    }
#pragma unroll
    for (int e = 0; e < TAPS; e++) {
#pragma unroll
        for (int step = WARP / 2; step > 0; step /= 2) sum[e] += __shfl_xor_sync(EVERYONE, sum[e], step);
        if (lane == 0) joined[warp][e] = sum[e];
    }
    __syncthreads();
    if (threadIdx.x >= TAPS || first + int(threadIdx.x) >= taps) return;
    R total = 0;
    for (int w = 0; w < WARPS; w++) total += joined[w][threadIdx.x];
    parts[(blockIdx.y * channels + channel) * taps + first + threadIdx.x] = total;
}

#define DEPTHWISE(t, T)                                                                                                             \
    KERNEL(depthwise_##t, const T* x, const T* weight, const T* bias, T* y, Convolution c) { depthwise(x, weight, bias, y, c); }    \
    KERNEL_OF((BLOCK, 4), depthwise_transposed_##t, const T* y, const T* weight, const T* bias, T* x, Convolution c) { depthwise_transposed(y, weight, bias, x, c); } \
    KERNEL_IN_PAIRS(depthwise_weight_##t, const T* x, const T* y, Real<T>* parts, Convolution c, int pieces) { depthwise_weight(x, y, parts, c, pieces); }
FLOATS(DEPTHWISE)
