// block.cuh - what the threads of a block, or of a warp, find out together, in f64 and in an order that the shape alone decides.
#pragma once
#include "device.cuh"

// Given to every lane of the warp.
INLINE double sum_of_warp(double x) {
#pragma unroll
    for (int apart = WARP / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(EVERYONE, x, apart);
    return x;
}
// A NaN is larger than all, so that it is not lost.
INLINE double larger(double most, double x) { return x > most || x != x ? x : most; }

// Given to every thread of a block of 32, 64, 128 or 256.
template <class F> INLINE double agreed(double x, const F& join) {
    SHARED(double, held, [BLOCK]);
    int t = threadIdx.x;
    held[t] = x;
    for (int apart = blockDim.x / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if (t < apart) held[t] = x = join(x, held[t + apart]);
    }
    __syncthreads();
    x = held[0];
    __syncthreads();
    return x;
}
INLINE double sum_of_block(double x) { return agreed(x, [](double a, double b) { return a + b; }); }
INLINE double largest_of_block(double x) { return agreed(x, [](double a, double b) { return larger(a, b); }); }

// The reflection 1 - share · v · vᵀ that takes x (`length` numbers, `step` apart) to a multiple of the first axis, which is left there with
// zeros behind it, and to beta; v goes to v (which may be x: then the multiple is in beta alone), whose first number is 1. All threads of the block take part. What was written is seen after a barrier.
INLINE double mirror(double* x, double* v, i64 length, i64 step, i64 v_step, double& beta) {
    int t = threadIdx.x, threads = blockDim.x;
    double alpha = x[0], most = 0, squares = 0;
    for (i64 i = 1 + t; i < length; i += threads) most = larger(most, fabs(x[i * step]));
    most = largest_of_block(most);                           // after it x[0] has been read by all
    if (t == 0) v[0] = 1;
    if (most == 0) {
        beta = alpha;
        for (i64 i = 1 + t; i < length; i += threads) v[i * v_step] = 0;
        return 0;
    }
    // Squares of numbers that are not above 1 overflow no more than the result does.
    for (i64 i = 1 + t; i < length; i += threads) { double y = x[i * step] / most; squares = fma(y, y, squares); }
    beta = -copysign(hypot(alpha, most * sqrt(sum_of_block(squares))), alpha);
    for (i64 i = 1 + t; i < length; i += threads) {
        v[i * v_step] = x[i * step] / (alpha - beta);
        if (v != x) x[i * step] = 0;
    }
    if (t == 0 && v != x) x[0] = beta;
    return (beta - alpha) / beta;
}

// Is one of two numbers before the other? Equal ones keep their order; NaN and signed zeros have a place too.
INLINE i64 rank_key(double x) { i64 bits = __double_as_longlong(x); return bits < 0 ? bits ^ 0x7fffffffffffffffll : bits; }
INLINE i64 rank_of(const double* numbers, i64 at, i64 n, bool descending) {
    i64 own = rank_key(numbers[at]), rank = 0;
    for (i64 i = 0; i < n; i++) {
        i64 other = rank_key(numbers[i]);
        rank += (descending ? other > own : other < own) || (other == own && i < at);
    }
    return rank;
}
