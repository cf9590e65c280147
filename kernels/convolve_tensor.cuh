// convolve_tensor.cuh - convolve.cu on tensor cores by mma.sync: numbers of 16 bits, or of f32 rounded to tf32 (to the nearest, ties away from zero).
//
//   convolve_tensor_R_T(x, weight, bias, y, Convolution)                          R of 64 128: rows of a block
//   convolve_transposed_tensor_R_T(y, weight, bias, x, Convolution)
//   convolve_weight_tensor_R_T(x, y, parts, Convolution, int pieces)              parts in f32, to be added up and rounded by the host
//        operands, rows and columns as in convolve.cu
//
// Launch: 256 threads, grid (ceil(columns / 128), ceil(rows / R), groups), for the weight groups · pieces.
//
// The idea: R x 128 results a block, 64 bytes (32 numbers, 16 of f32) deep at a time; a warp has R / 2 x 32 of them, as products of 16 x 8 x 32 bytes.
//   1. Rows lie in shared memory along the shared axis, columns across it (neighbours in an image are neighbours there): ldmatrix reads the
//      first as they are and the second turned. Lines are 16 or 32 bytes longer than they are wide, so that what is read at once meets all 32 banks.
//      ldmatrix turns numbers of 16 bits only: columns of f32 are read as plain words.
//   2. The next panels are read into registers while this one is multiplied. A thread has one column all the way (where its window
//      begins is worked out once), and what a place along the shared axis adds stands in a table.
//   3. Results are written by columns' neighbours, 8 bytes a group of four lanes; bias is added in f32.
// Numbers of f32 are rounded once, when they are brought.
// For each step of 32 (16 bits) a warp does R / 4 products (16 for R = 64), reads R / 16 + 4 times four matrices, and its threads fetch R / 8 + 16
// elements at some ten instructions each: fetching, not multiplying, is the roof (see README.md).
#pragma once
#include "convolve.cuh"
#include "tensor.cuh"

constexpr int COLUMNS = 128, WIDE = COLUMNS + 8;

// What a number is in shared memory, and how many of them a register holds.
INLINE u32 word_of(bf16 x) { return x.bits; }
INLINE u32 word_of(f16 x) { return x.bits; }
INLINE u32 word_of(float x) { return to_tf32(x); }
template <class T> struct Stored { using Word = u16; };
template <> struct Stored<float> { using Word = u32; };

// What the instruction takes of four times 8 columns, 32 bytes deep.
template <class T, class Word> INLINE void read_columns(T, u32 (&b)[4][2], const Word* columns, int first) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int j = 0; j < 2; j++) {
        u32 four[4];
        read_matrices<true>(four, columns + lane % 16 * WIDE + first + lane / 16 * 8 + 16 * j);
        b[2 * j][0] = four[0]; b[2 * j][1] = four[1]; b[2 * j + 1][0] = four[2]; b[2 * j + 1][1] = four[3];
    }
}
INLINE void read_columns(float, u32 (&b)[4][2], const u32* columns, int first) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) b[j][half] = columns[(lane % 4 + 4 * half) * WIDE + first + 8 * j + lane / 4];
}

template <int ROWS, class T, class O, class D> INLINE void product(const D& d, const T* left, const T* right, const T* bias, O* out, i64 from, i64 to) {
    using Word = typename Stored<T>::Word;
    constexpr int EACH = 4 / sizeof(T), CHUNK = 16 / sizeof(T), DEPTH = 4 * CHUNK, LINE = DEPTH + CHUNK;
    constexpr int TALL = ROWS / 32, OF_ROWS = ROWS * DEPTH / BLOCK, FETCHED = COLUMNS * DEPTH / BLOCK;
    SHARED(Word, rows, [2][ROWS * LINE]);
    SHARED(Word, columns, [2][DEPTH * WIDE]);
    SHARED(Shared, table, [2][DEPTH]);
    int t = threadIdx.x, lane = t % WARP, line = t / WARP / 4 * (ROWS / 2), first = t / WARP % 4 * 32;
    i64 i0 = i64(blockIdx.y) * ROWS, j0 = i64(blockIdx.x) * COLUMNS, all_columns = d.columns();
    int left_rows = int(min(d.rows() - i0, i64(ROWS)));
    left += d.left() + i0 * d.left_row(); right += d.right();
    // Rows are read along the shared axis, columns along themselves.
    int row_k = t % DEPTH, row = t / DEPTH, column = t % COLUMNS, column_k = t / COLUMNS;
    bool there = j0 + column < all_columns, linear = d.is_linear();
    Where mine = there ? column_of(d, u32(j0 + column), linear) : Where{0, 0, 0, 0};
    u32 row_held[OF_ROWS / EACH], column_held[FETCHED / EACH];
    auto hold = [](u32* held, int e, u32 word) { held[e / EACH] = e % EACH ? held[e / EACH] | word << 16 : word; };
    auto held_word = [](const u32* held, int e) { return Word(held[e / EACH] >> e % EACH * 16); };
    auto note = [&](i64 k0, int which) { if (t < DEPTH && k0 + t < to) table[which][t] = shared_of(d, u32(k0 + t), linear); };
    auto read = [&](i64 k0, int which) {
        int depth = int(min(to - k0, i64(DEPTH)));
        const T* at = left + (row_k < depth ? table[which][row_k].left : 0) + row * d.left_row();
#pragma unroll
        for (int e = 0; e < OF_ROWS; e++) {
            hold(row_held, e, row + e * (BLOCK / DEPTH) < left_rows && row_k < depth ? word_of(*at) : 0);
            at += BLOCK / DEPTH * d.left_row();
        }
#pragma unroll
        for (int e = 0; e < FETCHED; e++) {
            int k = column_k + e * (BLOCK / COLUMNS);
            hold(column_held, e, there && k < depth ? word_of(element(d, right, mine, table[which][k].right, linear)) : 0);
        }
    };
    auto store = [&](int which) {
#pragma unroll
        for (int e = 0; e < OF_ROWS; e++) rows[which][(row + e * (BLOCK / DEPTH)) * LINE + row_k] = held_word(row_held, e);
#pragma unroll
        for (int e = 0; e < FETCHED; e++) columns[which][(column_k + e * (BLOCK / COLUMNS)) * WIDE + column] = held_word(column_held, e);
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
        const Word* row_at = &rows[now][(line + lane % 16) * LINE + lane / 16 * CHUNK];
#pragma unroll
        for (int k = 0; k < DEPTH; k += 2 * CHUNK) {
            u32 a[TALL][4], b[4][2];
#pragma unroll
            for (int i = 0; i < TALL; i++) read_matrices<false>(a[i], row_at + 16 * i * LINE + k);
            read_columns(T{}, b, &columns[now][k * WIDE], first);
#pragma unroll
            for (int i = 0; i < TALL; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) multiply(T{}, sum[i][j], a[i], b[j]);
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
                    if (own < left_rows) out[at + (i0 + own) * d.out_row()] = narrow<O>(bias ? result + widen(bias[d.group * d.rows() + i0 + own]) : result);
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
