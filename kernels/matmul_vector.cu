// matmul_vector.cu - one row times a matrix: bound by reading the matrix, once.
//
//   matmul_along_T(a, b, out, start, bias, Product, View a_batch, View b_batch, View start_batch)      T of f32 f64 bf16 f16
//   matmul_across_T(... the same)
//        as matmul_T in matmul.cu with m = 1. A matrix times one column is the same with its operands exchanged.
//
// Launch: 256 threads, grid (ceil(n / COLUMNS), 1, batches · pieces). COLUMNS: along 8, across 128.
//
// The idea: two ways to lie, two kernels. Where the matrix lies along the shared axis a warp has a column of it: its lanes read neighbours, four
// numbers each, and their sums are added as a tree. Where columns are neighbours a thread has four of them, a warp reads 128 of one k, the eight warps
// every eighth k, and their sums are added in order. Four reads are under way for each thread; with the shared axis cut into pieces
// there are blocks for every multiprocessor. Registers are few: five blocks on a multiprocessor.
#include "product.cuh"

constexpr int ALONG = BLOCK / WARP, ACROSS = 4 * WARP;

// Four neighbours, those that there are.
template <class T> INLINE Pack<Real<T>, 4> four_of(const T* at, i64 step, i64 count, bool whole) {
    Pack<Real<T>, 4> four = {};
    if (whole && count >= 4) {
        Pack<T, 4> word = *reinterpret_cast<const Pack<T, 4>*>(at);
#pragma unroll
        for (int e = 0; e < 4; e++) four.items[e] = widen(word.items[e]);
    } else {
#pragma unroll
        for (int e = 0; e < 4; e++) if (e < count) four.items[e] = widen(at[e * step]);
    }
    return four;
}
template <class T> INLINE bool lies_in_fours(const T* at, i64 step, i64 other) { return step == 1 && other % 4 == 0 && is_aligned(at, sizeof(Pack<T, 4>)); }

template <class T>
INLINE void along(const T* a, const T* b, T* out, const T* start, const T* bias, const Product& p, const View& a_batch, const View& b_batch, const View& start_batch) {
    using R = Real<T>;
    SHARED(R, sums, [ALONG]);
    Part<1, ALONG> part(p, blockIdx.x, blockIdx.z);
    a += place_of(a_batch, part.batch) + part.from * p.a_step; b += place_of(b_batch, part.batch) + part.from * p.b_step;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    i64 column = part.column + warp;
    bool a_whole = lies_in_fours(a, p.a_step, 0), b_whole = lies_in_fours(b, p.b_step, p.b_column);
    Pack<R, 4> sum = {};
    if (column < p.n) {
        b += column * p.b_column;
#pragma unroll 4
        for (int k = lane * 4; k < part.depth; k += WARP * 4) {
            Pack<R, 4> x = four_of(a + k * p.a_step, p.a_step, part.depth - k, a_whole), y = four_of(b + k * p.b_step, p.b_step, part.depth - k, b_whole);
#pragma unroll
            for (int e = 0; e < 4; e++) sum.items[e] += x.items[e] * y.items[e];
        }
    }
    R all = (sum.items[0] + sum.items[1]) + (sum.items[2] + sum.items[3]);
#pragma unroll
    for (int by = WARP / 2; by; by /= 2) all += __shfl_xor_sync(EVERYONE, all, by);
    if (lane == 0) sums[warp] = all;
    __syncthreads();
    if (start) start += place_of(start_batch, part.batch);
    if (threadIdx.x < ALONG / 4) {
        int at = threadIdx.x * 4;
        put_four(out, start, bias, p, part, 0, part.column + at, *reinterpret_cast<const Pack<R, 4>*>(&sums[at]));
    }
}

template <class T>
INLINE void across(const T* a, const T* b, T* out, const T* start, const T* bias, const Product& p, const View& a_batch, const View& b_batch, const View& start_batch) {
    using R = Real<T>;
    SHARED(R, sums, [BLOCK / WARP][ACROSS]);
    Part<1, ACROSS> part(p, blockIdx.x, blockIdx.z);
    a += place_of(a_batch, part.batch) + part.from * p.a_step; b += place_of(b_batch, part.batch) + part.from * p.b_step;
    int warp = threadIdx.x / WARP, at = threadIdx.x % WARP * 4;
    i64 column = part.column + at;
    bool whole = lies_in_fours(b, p.b_column, p.b_step);
    b += column * p.b_column;
    Pack<R, 4> sum = {};
#pragma unroll 4
    for (int k = warp; k < part.depth; k += BLOCK / WARP) {
        R x = widen(a[k * p.a_step]);
        Pack<R, 4> y = four_of(b + k * p.b_step, p.b_column, p.n - column, whole);
#pragma unroll
        for (int e = 0; e < 4; e++) sum.items[e] += x * y.items[e];
    }
    *reinterpret_cast<Pack<R, 4>*>(&sums[warp][at]) = sum;
    __syncthreads();
    if (warp) return;
    for (int other = 1; other < BLOCK / WARP; other++) {
        Pack<R, 4> more = *reinterpret_cast<const Pack<R, 4>*>(&sums[other][at]);
#pragma unroll
        for (int e = 0; e < 4; e++) sum.items[e] += more.items[e];
    }
    if (start) start += place_of(start_batch, part.batch);
    put_four(out, start, bias, p, part, 0, column, sum);
}

#define VECTOR_PRODUCT(name, T)                                                                                                                              \
    KERNEL(matmul_along_##name, const T* a, const T* b, T* out, const T* start, const T* bias, Product product, View a_batch, View b_batch, View start_batch) { \
        along<T>(a, b, out, start, bias, product, a_batch, b_batch, start_batch);                                                                              \
    }                                                                                                                                                        \
    KERNEL(matmul_across_##name, const T* a, const T* b, T* out, const T* start, const T* bias, Product product, View a_batch, View b_batch, View start_batch) { \
        across<T>(a, b, out, start, bias, product, a_batch, b_batch, start_batch);                                                                             \
    }
FLOATS(VECTOR_PRODUCT)
