// convolve.cu - convolution as a product of matrices that are never made: one sum of products x · weight · y, read in three directions.
//
//   convolve_T(x, weight, bias, y, Convolution)                                   T of f32 f64; 16 bits: convolve_tensor.cu
//   convolve_transposed_T(y, weight, bias, x, Convolution)                        the gradient for x, or a transposed convolution
//   convolve_weight_T(x, y, parts, Convolution, int pieces)                       the gradient of the weight, in `pieces` that are to be added up
//
//   struct Window { int size, count, kernel, stride, before, dilation; }          as src/device/window.rs, for depth, height, width
//   struct Convolution { Window windows[3]; i64 batch, groups, inputs, outputs; i64 x[5], weight[5], y[5]; } (224 bytes)
//   inputs, outputs: channels of one group. x, weight, y: steps in elements of what is read, any (weight [groups · outputs, inputs, taps ...]); what
//   is written is dense, parts [pieces, groups · outputs, inputs, taps ...]. bias (T, may be null): one for each channel that is written.
//
// Launch: 256 threads, grid (ceil(columns / 64), ceil(rows / 64), groups) with rows and columns
//   convolve: outputs, batch · windows; transposed: inputs, batch · elements; weight: outputs, inputs · taps, z = groups · pieces, piece the faster.
//
// The idea: rows times columns as in matmul.cu (tile 64 x 64, 16 deep, 4 x 4 results for each thread, panels doubled). Where an element of the
// input stands is a sum of what its column says (image and window) and what its place along the shared axis says (channel and tap):
// the first is worked out once for each thread, the second once for each panel by sixteen threads, into a table in shared memory.
// Both parts have their share of the address already, so an element costs four additions and three comparisons, no product and no
// division but by strides of a transposed convolution. Column neighbours are
// neighbours in an image, so that warps read whole lines; the input is read from the cache `taps` times, from memory once.
#include "convolve.cuh"

constexpr int TILE = 64, DEPTH = 16, LINE = TILE + 4, COUNT = TILE * DEPTH / BLOCK;

template <class T, class D> INLINE void product(const D& d, const T* left, const T* right, const T* bias, T* out, i64 from, i64 to) {
    using R = Real<T>;
    SHARED(R, rows, [2][DEPTH * LINE]);
    SHARED(R, columns, [2][DEPTH * LINE]);
    SHARED(Shared, table, [2][DEPTH]);
    int t = threadIdx.x, tx = t % 16, ty = t / 16;
    i64 i0 = i64(blockIdx.y) * TILE, j0 = i64(blockIdx.x) * TILE, all_rows = d.rows(), all_columns = d.columns();
    left += d.left(); right += d.right();
    // Rows are read along the shared axis, columns along themselves.
    int row_k = t % DEPTH, row = t / DEPTH, column = t % TILE, column_k = t / TILE;
    bool there = j0 + column < all_columns, linear = d.is_linear();
    Where mine = there ? column_of(d, u32(j0 + column), linear) : Where{0, 0, 0, 0};
    R row_held[COUNT], column_held[COUNT];
    auto note = [&](i64 k0, int which) { if (t < DEPTH && k0 + t < to) table[which][t] = shared_of(d, u32(k0 + t), linear); };
    auto read = [&](i64 k0, int which) {
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            i64 i = i0 + row + e * (BLOCK / DEPTH);
            row_held[e] = i < all_rows && k0 + row_k < to ? R(widen(left[i * d.left_row() + table[which][row_k].left])) : R(0);
            int k = column_k + e * (BLOCK / TILE);
            column_held[e] = there && k0 + k < to ? R(widen(element(d, right, mine, table[which][k].right, linear))) : R(0);
        }
    };
    auto store = [&](int which) {
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            rows[which][row_k * LINE + row + e * (BLOCK / DEPTH)] = row_held[e];
            columns[which][(column_k + e * (BLOCK / TILE)) * LINE + column] = column_held[e];
        }
    };
    R sum[4][4] = {};
    note(from, 0); note(from + DEPTH, 1);
    __syncthreads();
    read(from, 0); store(0);
    __syncthreads();
    int now = 0;
    for (i64 k0 = from; k0 < to; k0 += DEPTH) {
        bool more = k0 + DEPTH < to;
        if (more) read(k0 + DEPTH, now ^ 1);
#pragma unroll 8
        for (int k = 0; k < DEPTH; k++) {
            Pack<R, 4> a = *reinterpret_cast<const Pack<R, 4>*>(&rows[now][k * LINE + ty * 4]), b = *reinterpret_cast<const Pack<R, 4>*>(&columns[now][k * LINE + tx * 4]);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += a.items[i] * b.items[j];
        }
        if (more) { store(now ^ 1); note(k0 + 2 * DEPTH, now); }
        now ^= 1;
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        i64 column_at = j0 + tx * 4 + j;
        if (column_at >= all_columns) continue;
        i64 at = d.out(u32(column_at));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            i64 row_at = i0 + ty * 4 + i;
            if (row_at < all_rows) out[at + row_at * d.out_row()] = narrow<T>(bias ? sum[i][j] + widen(bias[d.group * all_rows + row_at]) : sum[i][j]);
        }
    }
}

#define CONVOLUTION(t, T)                                                                                                       \
    KERNEL_IN_PAIRS(convolve_##t, const T* x, const T* weight, const T* bias, T* y, Convolution c) {                            \
        Forward d{c, int(blockIdx.z)};                                                                                          \
        product(d, weight, x, bias, y, 0, d.depth());                                                                           \
    }                                                                                                                           \
    KERNEL_IN_PAIRS(convolve_transposed_##t, const T* y, const T* weight, const T* bias, T* x, Convolution c) {                 \
        Transposed d{c, int(blockIdx.z)};                                                                                       \
        product(d, weight, y, bias, x, 0, d.depth());                                                                           \
    }                                                                                                                           \
    KERNEL_IN_PAIRS(convolve_weight_##t, const T* x, const T* y, T* parts, Convolution c, int pieces) {                         \
        Weight d{c, int(blockIdx.z) / pieces, int(blockIdx.z) % pieces};                                                        \
        i64 piece = (d.depth() + pieces - 1) / pieces, from = d.piece * piece, to = min(d.depth(), from + piece);               \
        product<T>(d, y, x, nullptr, parts, from, to);                                                                          \
    }
CONVOLUTION(f32, float) CONVOLUTION(f64, double)
