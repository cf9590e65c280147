// matmul_pieces.cu - the end of a product whose shared axis was cut into pieces, so that few large results use the whole device.
//
//   matmul_pieces_T(sums, out, start, bias, Product, View start_batch, i64 batches)      T of f32 f64 bf16 f16
//        out[z][i][j] = alpha · (sums[z][0][i][j] + sums[z][1][i][j] + ...) + beta · start[z][i][j] + bias[j]
//        sums [batches, pieces, m, n] in the type that is computed in
//
// Launch: over batches · m · n. A thread adds up one result, neighbours read neighbours: pieces are added in their order, so
// the sum is the same on every run.
#include "product.cuh"

template <class T> INLINE void join(const Real<T>* sums, T* out, const T* start, const T* bias, const Product& p, const View& start_batch, i64 batches) {
    i64 matrix = p.m * p.n, count = batches * matrix;
    for (i64 index = first_of_grid(); index < count; index += step_of_grid()) {
        u32 z = quotient(index, matrix), at = u32(index - z * matrix), i = quotient(at, p.n), j = u32(at - i * p.n);
        Real<T> sum = 0;
#pragma unroll 4
        for (int piece = 0; piece < int(p.pieces); piece++) sum += sums[(i64(z) * p.pieces + piece) * matrix + at];
        sum *= Real<T>(p.alpha);
        if (start) sum += Real<T>(p.beta) * widen(start[place_of(start_batch, z) + i * p.start_row + j * p.start_column]);
        if (bias) sum += widen(bias[j]);
        out[index] = narrow<T>(sum);
    }
}
#define JOIN(name, T)                                                                                                                      \
    KERNEL(matmul_pieces_##name, const Real<T>* sums, T* out, const T* start, const T* bias, Product product, View start_batch, i64 batches) { \
        join<T>(sums, out, start, bias, product, start_batch, batches);                                                                    \
    }
FLOATS(JOIN)
