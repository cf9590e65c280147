// convolve_tensor.cu - convolve.cu on tensor cores by mma.sync, for bf16 and f16: sums in f32, rounded once.
//
//   convolve_tensor_R_T(x, weight, bias, y, Convolution)                          T of bf16 f16; R of 64 128: rows of a block
//   convolve_transposed_tensor_R_T(y, weight, bias, x, Convolution)
//   convolve_weight_tensor_R_T(x, y, parts, Convolution, int pieces)              parts in f32, to be added up and rounded by the host
//        operands, rows and columns as in convolve.cu
//
// Launch: 256 threads, grid (ceil(columns / 128), ceil(rows / R), groups), for the weight groups · pieces.
//
// The idea: R x 128 results a block, 32 deep at a time; a warp has R / 2 x 32 of them, as products of 16 x 8 x 16.
//   1. Rows lie in shared memory along the shared axis, columns across it (neighbours in an image are neighbours there): ldmatrix reads the
//      first as they are and the second turned. Lines are 16 bytes longer than they are wide, so eight of them meet all 32 banks.
//   2. The next panels are read into registers while this one is multiplied. A thread has one column all the way (where its window
//      begins is worked out once), and what a place along the shared axis adds stands in a table.
//   3. Results are written by columns' neighbours, 8 bytes a group of four lanes; bias is added in f32.
// For each step of 32 a warp does R / 4 products (16 for R = 64), reads R / 16 + 4 times four matrices, and its threads fetch R / 8 + 16
// elements at some ten instructions each: fetching, not multiplying, is the roof (see README.md).
#include "convolve.cuh"
#include "tensor.cuh"

constexpr int COLUMNS = 128, DEPTH = 32, LINE = DEPTH + 8, WIDE = COLUMNS + 8, FETCHED = COLUMNS * DEPTH / BLOCK;

template <int ROWS, class T, class O, class D> INLINE void product(const D& d, const T* left, const T* right, const T* bias, O* out, i64 from, i64 to) {
    constexpr int TALL = ROWS / 32, OF_ROWS = ROWS * DEPTH / BLOCK;
    SHARED(T, rows, [2][ROWS * LINE]);
    SHARED(T, columns, [2][DEPTH * WIDE]);
    SHARED(Shared, table, [2][DEPTH]);
    int t = threadIdx.x, lane = t % WARP, line = t / WARP / 4 * (ROWS / 2), first = t / WARP % 4 * 32;
    i64 i0 = i64(blockIdx.y) * ROWS, j0 = i64(blockIdx.x) * COLUMNS, all_columns = d.columns();
    int left_rows = int(min(d.rows() - i0, i64(ROWS)));
    left += d.left() + i0 * d.left_row(); right += d.right();
    // Rows are read along the shared axis, columns along themselves.
    int row_k = t % DEPTH, row = t / DEPTH, column = t % COLUMNS, column_k = t / COLUMNS;
    bool there = j0 + column < all_columns, linear = d.is_linear();
    Where mine = there ? column_of(d, u32(j0 + column), linear) : Where{0, 0, 0, 0};
    u32 row_held[OF_ROWS / 2], column_held[FETCHED / 2];    // two in a register
    auto note = [&](i64 k0, int which) { if (t < DEPTH && k0 + t < to) table[which][t] = shared_of(d, u32(k0 + t), linear); };
    auto read = [&](i64 k0, int which) {
        int depth = int(min(to - k0, i64(DEPTH)));
        const T* at = left + (row_k < depth ? table[which][row_k].left : 0) + row * d.left_row();
#pragma unroll
        for (int e = 0; e < OF_ROWS; e++) {
            u32 bits = row + e * (BLOCK / DEPTH) < left_rows && row_k < depth ? at->bits : 0;
            row_held[e / 2] = e % 2 ? row_held[e / 2] | bits << 16 : bits;
            at += BLOCK / DEPTH * d.left_row();
        }
#pragma unroll
        for (int e = 0; e < FETCHED; e++) {
            int k = column_k + e * (BLOCK / COLUMNS);
            u32 bits = there && k < depth ? element(d, right, mine, table[which][k].right, linear).bits : 0;
            column_held[e / 2] = e % 2 ? column_held[e / 2] | bits << 16 : bits;
        }
    };
    auto store = [&](int which) {
#pragma unroll
        for (int e = 0; e < OF_ROWS; e++) rows[which][(row + e * (BLOCK / DEPTH)) * LINE + row_k] = T{u16(row_held[e / 2] >> e % 2 * 16)};
#pragma unroll
        for (int e = 0; e < FETCHED; e++) columns[which][(column_k + e * (BLOCK / COLUMNS)) * WIDE + column] = T{u16(column_held[e / 2] >> e % 2 * 16)};
    };
    float sum[TALL][4][4] = {};
    note(from, 0); note(from + DEPTH, 1);
    __syncthreads();
    if (from < to) { read(from, 0); store(0); }
    __syncthreads();
    int now = 0;
    for (i64 k0 = from; k0 < to; k0 += DEPTH) {
        bool more = k0 + DEPTH < to;
        if (more) read(k0 + DEPTH, now ^ 1);
        const T *row_at = &rows[now][(line + lane % 16) * LINE + lane / 16 * 8], *column_at = &columns[now][lane % 16 * WIDE + first + lane / 16 * 8];
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16) {
            u32 a[TALL][4], b[2][4];
#pragma unroll
            for (int i = 0; i < TALL; i++) read_matrices<false>(a[i], row_at + 16 * i * LINE + k);
#pragma unroll
            for (int j = 0; j < 2; j++) read_matrices<true>(b[j], column_at + k * WIDE + 16 * j);
#pragma unroll
            for (int i = 0; i < TALL; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    u32 two[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    multiply(T{}, sum[i][j], a[i], two);
                }
        }
        if (more) { store(now ^ 1); note(k0 + 2 * DEPTH, now); }
        now ^= 1;
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            i64 column_at = j0 + first + 8 * j + lane % 4 * 2 + e;
            if (column_at >= all_columns) continue;
            i64 at = d.out(u32(column_at));
#pragma unroll
            for (int i = 0; i < TALL; i++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int own = line + 16 * i + 8 * half + lane / 4;
                    float result = sum[i][j][2 * half + e];
                    if (own < left_rows) out[at + (i0 + own) * d.out_row()] = narrow<O>(bias ? result + to_f32(bias[d.group * d.rows() + i0 + own]) : result);
                }
        }
}

#define CONVOLUTION(r, t, T)                                                                                                    \
    KERNEL_IN_PAIRS(convolve_tensor_##r##_##t, const T* x, const T* weight, const T* bias, T* y, Convolution c) {               \
        Forward d{c, int(blockIdx.z)};                                                                                          \
        product<r>(d, weight, x, bias, y, 0, d.depth());                                                                        \
    }                                                                                                                           \
    KERNEL_IN_PAIRS(convolve_transposed_tensor_##r##_##t, const T* y, const T* weight, const T* bias, T* x, Convolution c) {    \
        Transposed d{c, int(blockIdx.z)};                                                                                       \
        product<r>(d, weight, y, bias, x, 0, d.depth());                                                                        \
    }                                                                                                                           \
    KERNEL_IN_PAIRS(convolve_weight_tensor_##r##_##t, const T* x, const T* y, float* parts, Convolution c, int pieces) {        \
        Weight d{c, int(blockIdx.z) / pieces, int(blockIdx.z) % pieces};                                                        \
        i64 piece = (d.depth() + pieces - 1) / pieces, from = d.piece * piece, to = min(d.depth(), from + piece);               \
        product<r>(d, y, x, static_cast<const T*>(nullptr), parts, from, to);                                                   \
    }
CONVOLUTION(64, bf16, bf16) CONVOLUTION(128, bf16, bf16) CONVOLUTION(64, f16, f16) CONVOLUTION(128, f16, f16)
