// qr.cu - Householder's reflections for a block of columns, in f64.
//
//   reflect_f64(a, vectors, triangle, Columns)
//        makes `width` columns of a [m, n] from column `first` on upper triangular. Their vectors go to the same columns of `vectors` [m, k], which
//        holds zeros (0 above the diagonal, 1 on it); `triangle` [.., 32, 32], zeros before, becomes T with 1 - V · T · Vᵀ the product of all
//
//   struct Columns { i64 m, n, k, first, width, triangle_batch; }
//
// Launch: 32, 64, 128 or 256 threads, grid (matrices, 1, 1). The rest of the matrix then changes by products (multiply_f64 of factor.cu): W = Vᵀ · A, W ← Tᵀ · W, A ← A - V · W,
// where nearly all of the arithmetic is. A column's sums are taken by all threads, 32 columns beside each other, so that rows are read as whole lines.
#include "block.cuh"

struct Columns { i64 m, n, k, first, width, triangle_batch; };
constexpr int MOST = 32;

KERNEL(reflect_f64, double* a, double* vectors, double* triangle, Columns p) {
    SHARED(double, parts, [BLOCK]);
    SHARED(double, common, [MOST]);
    a += blockIdx.x * p.m * p.n; vectors += blockIdx.x * p.m * p.k; triangle += blockIdx.x * p.triangle_batch;
    int t = threadIdx.x, column = t % MOST, group = t / MOST, groups = blockDim.x / MOST;
    for (int at = 0; at < int(p.width); at++) {
        i64 pivot = p.first + at;
        double beta, share = mirror(a + pivot * p.n + pivot, vectors + pivot * p.k + pivot, p.m - pivot, p.n, p.k, beta);
        __syncthreads();
        // What each column (of the vectors so far, or still to be changed) has in common with this vector.
        const double* other = (column < at ? vectors : a) + p.first + column;
        const double* v = vectors + pivot;
        i64 step = column < at ? p.k : p.n;
        double sum = 0;
        if (column < p.width && column != at)
            for (i64 row = pivot + group; row < p.m; row += groups) sum = fma(v[row * p.k], other[row * step], sum);
        parts[t] = sum;
        __syncthreads();
        if (group == 0) {
            for (int g = 1; g < groups; g++) sum += parts[g * MOST + column];
            common[column] = -share * sum;
        }
        __syncthreads();
        if (column > at && column < p.width)
            for (i64 row = pivot + group; row < p.m; row += groups) a[row * p.n + p.first + column] = fma(common[column], v[row * p.k], a[row * p.n + p.first + column]);
        if (t < at) {
            double entry = 0;
            for (int k = t; k < at; k++) entry = fma(triangle[t * MOST + k], common[k], entry);
            triangle[t * MOST + at] = entry;
        }
        if (t == 0) triangle[at * MOST + at] = share;
        __syncthreads();
    }
}
