// attention.cuh - what every kernel of attention is given: see attention.cu.
#pragma once
#include "numbers.cuh"
#include "random.cuh"
#include "view.cuh"

// Exponentials are powers of two: their factor is multiplied into the scale.
constexpr float LOG2_E = 1.44269504f;

struct Attention {
    i64 groups, queries, keys, width, value_width, q_row, q_column, k_row, k_column, v_row, v_column, mask_row, mask_column;
    double scale, kept;
    u64 threshold;
    Draw draw;
    int causal, mask_kind, dropout, pad;
};

// Where the mask of matrix z begins.
template <class T> INLINE const void* mask_of(const Attention& how, const void* mask, const View& batch, i64 z) {
    if (!how.mask_kind) return nullptr;
    i64 at = place_of(batch, z);
    return how.mask_kind == 1 ? static_cast<const void*>(static_cast<const u8*>(mask) + at) : static_cast<const void*>(static_cast<const T*>(mask) + at);
}
// Of a query, for gradients on tensor cores: what its scores are less than by the logarithms of their weights, in powers of two, and its product.
struct alignas(8) Row { float level, product; };
INLINE Row row_of(const Attention& how, const float* maxima, const float* shares, const float* products, i64 z, int i) {
    i64 at = z * how.queries + i;
    if (i >= how.queries || shares[at] == 0) return {INFINITY, 0};
    return {maxima[at] * LOG2_E - log2f(shares[at]), products[at]};
}
