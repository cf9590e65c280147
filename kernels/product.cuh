// product.cuh - what every kernel of matrix products is given, which part of the results a block computes, and how sums become results.
#pragma once
#include "numbers.cuh"
#include "view.cuh"

// Sizes, and strides in elements, any. The shared axis is cut into `pieces`, each `share` long but for the last: then `out` holds the bare sums,
// [batches, pieces, m, n] in the type that is computed in, and matmul_pieces.cu adds them up in order.
struct Product {
    i64 first, m, n, k, a_row, a_step, b_step, b_column, start_row, start_column, pieces, share;
    double alpha, beta;
};

// A block's part: a tile of the results of one batch, over one piece of the shared axis. Tiles are counted along the first axis of the
// grid, batches and pieces along the third. Blocks that run at the same time are neighbours both ways, eight tiles high, so that the
// second-level cache holds what they share.
template <int ROWS, int COLUMNS> struct Part {
    i64 row, column, batch, from;
    int piece, depth;

    INLINE Part(const Product& p, u32 tile, u32 z) {
        u32 across = u32((p.n + COLUMNS - 1) / COLUMNS), down = u32((p.m + ROWS - 1) / ROWS);
        u32 band = tile / (8 * across), rest = tile - band * 8 * across, height = down - 8 * band < 8 ? down - 8 * band : 8;
        row = i64(8 * band + rest % height) * ROWS; column = i64(rest / height) * COLUMNS;
        u32 pieces = u32(p.pieces);
        batch = p.first + z / pieces; piece = int(z % pieces);
        from = piece * p.share;
        depth = int(p.k - from < p.share ? p.k - from : p.share);
    }
};

// Four neighbours of a row from their sums, in the type that they are computed in; those behind the last column are left out.
template <class T, class R, class P>
INLINE void put_four(T* out, const T* start, const T* bias, const Product& p, const P& part, i64 i, i64 j, const Pack<R, 4>& sums) {
    if (i >= p.m) return;
    bool whole = p.n % 4 == 0 && j < p.n;
    if (p.pieces > 1) {
        R* to = reinterpret_cast<R*>(out) + ((part.batch * p.pieces + part.piece) * p.m + i) * p.n + j;
        if (whole) *reinterpret_cast<Pack<R, 4>*>(to) = sums;
        else for (int e = 0; e < 4; e++) if (j + e < p.n) to[e] = sums.items[e];
        return;
    }
    Pack<T, 4> four;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        R result = times(R(p.alpha), sums.items[e]);
        if (j + e < p.n) {
            if (start) result = plus(result, times(R(p.beta), R(widen(start[i * p.start_row + (j + e) * p.start_column]))));
            if (bias) result = plus(result, R(widen(bias[j + e])));
        }
        four.items[e] = narrow<T>(result);
    }
    T* to = out + (part.batch * p.m + i) * p.n + j;
    if (whole) *reinterpret_cast<Pack<T, 4>*>(to) = four;
    else for (int e = 0; e < 4; e++) if (j + e < p.n) to[e] = four.items[e];
}
