// spectrum.cu - what singular values and eigenvalues both need: matrices of a size that can be squared, vectors with a sign; in f64.
//
//   scale_f64(a, scales, i64 rows, i64 columns, int mirrored, u64* fault, u64 operation)
//        divides each matrix by its largest magnitude, which goes to scales; `mirrored`: its lower triangle counts for both. A matrix with numbers
//        that are not finite becomes zeros, and the least of (operation << 40 | place of such a number) goes to fault
//   signs_f64(first, second, i64 count, Vectors first, Vectors second)
//        flips both vectors where the element of largest magnitude in the first is negative; `second` may be null
//
//   struct Vectors { i64 length, step, next, batch; }            elements of a vector and their distance, distances of vectors and matrices
//
// Launch: scale: 32, 64, 128 or 256 threads, grid (matrices, 1, 1); signs: 256 threads, grid (matrices, ceil(count / 8), 1), a warp for each vector.
#include "block.cuh"
#include "view.cuh"

struct Vectors { i64 length, step, next, batch; };
constexpr double LEAST = 2.2250738585072014e-308;

KERNEL(scale_f64, double* a, double* scales, i64 rows, i64 columns, int mirrored, u64* fault, u64 operation) {
    i64 count = rows * columns, begin = blockIdx.x * count;
    double most = 0;
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) {
        if (mirrored && i % columns > i / columns) continue;
        double x = fabs(a[begin + i]);
        if (!(x < INFINITY)) { atomicMin(fault, operation << 40 | u64(begin + i)); x = NAN; }
        most = larger(most, x);
    }
    most = largest_of_block(most);
    bool sound = most == most;
    double scale = most < LEAST ? 1.0 : most;
    if (threadIdx.x == 0) scales[blockIdx.x] = sound ? scale : 1.0;
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) {
        i64 row = i / columns, column = i % columns;
        if (mirrored && column > row) continue;
        double x = sound ? a[begin + i] / scale : 0.0;
        a[begin + i] = x;
        if (mirrored) a[begin + column * columns + row] = x;
    }
}

KERNEL(signs_f64, double* first, double* second, i64 count, Vectors p, Vectors q) {
    i64 vector = i64(blockIdx.y) * (BLOCK / WARP) + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (vector >= count) return;
    first += blockIdx.x * p.batch + vector * p.next;
    double most = 0; i64 place = p.length;
    for (i64 i = lane; i < p.length; i += WARP) {
        double x = first[i * p.step];
        if (fabs(x) > fabs(most)) { most = x; place = i; }
    }
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        double x = __shfl_xor_sync(EVERYONE, most, apart); i64 other = __shfl_xor_sync(EVERYONE, place, apart);
        if (fabs(x) > fabs(most) || (fabs(x) == fabs(most) && other < place)) { most = x; place = other; }
    }
    if (!(most < 0)) return;
    for (i64 i = lane; i < p.length; i += WARP) first[i * p.step] = -first[i * p.step];
    if (second) {
        second += blockIdx.x * q.batch + vector * q.next;
        for (i64 i = lane; i < q.length; i += WARP) second[i * q.step] = -second[i * q.step];
    }
}
