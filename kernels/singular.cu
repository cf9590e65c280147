// singular.cu - singular values by Jacobi's rotations, in f64.
//
//   turn_f64(rows, basis, i64 n, i64 round, int* turned)         one round of the tournament, in which pairs of rows are made orthogonal
//   turn_all_f64(rows, basis, i64 n, u64* fault, u64 operation)  all rounds, until no pair had to be turned; where that does not end, the
//        least of (operation << 40 | the matrix's first place) goes to fault
//   singular_f64(rows, basis, scales, lengths, values, right, sorted, i64 n)
//        values in descending order, rows of length 1 (completed where values are 0), and the basis in that order. lengths: [.., n]
//
// Launch: turn: 256 threads, grid (matrices, ceil(pairs / 8), 1), a warp for each pair; others: 32, 64, 128 or 256 threads, grid (matrices, 1, 1).
//
// The rows of R (of A = Q · R) are turned against each other, two at a time, until all are orthogonal; their lengths are the values, small
// ones as exact as large ones. Pairs meet as in a tournament: all but the first row go around a table. A block does a small matrix by itself,
// which suits batches; of a large one a launch does a round.
#include "block.cuh"
#include "view.cuh"

constexpr double PRECISION = 2.220446049250313e-16;
constexpr int SWEEPS = 60;

// Rows of length n, turned by a warp; says whether they had to be. a ← c · a - s · b, b ← s · a + c · b.
INLINE void rotate(double* a, double* b, i64 n, double cosine, double sine, int lane) {
    for (i64 i = lane; i < n; i += WARP) {
        double x = a[i], y = b[i];
        a[i] = cosine * x - sine * y;
        b[i] = sine * x + cosine * y;
    }
}
INLINE bool turn(double* rows, double* basis, i64 first, i64 second, i64 n, int lane) {
    double *a = rows + first * n, *b = rows + second * n, common = 0, of_a = 0, of_b = 0;
    for (i64 i = lane; i < n; i += WARP) {
        double x = a[i], y = b[i];
        common = fma(x, y, common); of_a = fma(x, x, of_a); of_b = fma(y, y, of_b);
    }
    common = sum_of_warp(common); of_a = sum_of_warp(of_a); of_b = sum_of_warp(of_b);
    double least = PRECISION * sqrt(double(n)) * sqrt(of_a) * sqrt(of_b);
    if (fabs(common) <= least || least == 0) return false;
    double zeta = (of_b - of_a) / (2 * common), tangent = copysign(1.0, zeta) / (fabs(zeta) + hypot(zeta, 1.0));
    double cosine = 1 / hypot(tangent, 1.0), sine = cosine * tangent;
    __syncwarp();                                            // all have read
    rotate(a, b, n, cosine, sine, lane);
    rotate(basis + first * n, basis + second * n, n, cosine, sine, lane);
    return true;
}
// The row that sits at a place in this round. The ring of places: 1, 2, 4, 6, ..., then back by the odd ones to 3.
INLINE i64 seated(i64 place, i64 round, i64 pairs) {
    if (place == 0) return 0;
    i64 ring = 2 * pairs - 1, at = place == 1 ? 0 : place % 2 == 0 ? place / 2 : ring - (place - 1) / 2;
    at = (at - round % ring + ring) % ring;
    return at == 0 ? 1 : at < pairs ? 2 * at : 2 * (ring - at) + 1;
}
INLINE bool meet(double* rows, double* basis, i64 pair, i64 round, i64 n, int lane) {
    i64 pairs = (n + 1) / 2, first = seated(2 * pair, round, pairs), second = seated(2 * pair + 1, round, pairs);
    if (first >= n || second >= n) return false;             // where the number is odd, one rests
    return turn(rows, basis, first, second, n, lane);
}

KERNEL(turn_f64, double* rows, double* basis, i64 n, i64 round, int* turned) {
    i64 pair = i64(blockIdx.y) * (BLOCK / WARP) + threadIdx.x / WARP, matrix = blockIdx.x;
    if (pair >= (n + 1) / 2) return;
    if (meet(rows + matrix * n * n, basis + matrix * n * n, pair, round, n, threadIdx.x % WARP) && threadIdx.x % WARP == 0) atomicMax(turned, 1);
}
KERNEL(turn_all_f64, double* rows, double* basis, i64 n, u64* fault, u64 operation) {
    SHARED(int, turned, [1]);
    i64 begin = blockIdx.x * n * n, pairs = (n + 1) / 2;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    for (int sweep = 0; n > 1; sweep++) {
        if (sweep == SWEEPS) {
            if (threadIdx.x == 0) atomicMin(fault, operation << 40 | u64(begin));
            return;
        }
        if (threadIdx.x == 0) turned[0] = 0;
        __syncthreads();
        bool any = false;
        for (i64 round = 0; round < 2 * pairs - 1; round++) {
            for (i64 pair = warp; pair < pairs; pair += warps) any |= meet(rows + begin, basis + begin, pair, round, n, lane);
            __syncthreads();
        }
        if (any && lane == 0) atomicMax(turned, 1);
        __syncthreads();
        bool again = turned[0] != 0;
        __syncthreads();
        if (!again) return;
    }
}

KERNEL(singular_f64, const double* rows, const double* basis, const double* scales, double* lengths, double* values, double* right, double* sorted, i64 n) {
    SHARED(i64, lost, [1]);
    i64 begin = blockIdx.x * n * n, matrix = blockIdx.x;
    rows += begin; basis += begin; right += begin; sorted += begin; lengths += matrix * n; values += matrix * n;
    int t = threadIdx.x, lane = t % WARP, warp = t / WARP, warps = blockDim.x / WARP;
    for (i64 i = warp; i < n; i += warps) {
        double squares = 0;
        for (i64 k = lane; k < n; k += WARP) squares = fma(rows[i * n + k], rows[i * n + k], squares);
        squares = sum_of_warp(squares);
        if (lane == 0) lengths[i] = sqrt(squares);
    }
    if (t == 0) lost[0] = 0;
    __syncthreads();
    for (i64 i = warp; i < n; i += warps) {
        double length = lengths[i];
        i64 rank = rank_of(lengths, i, n, true);
        bool zero = length < 1e-140;                         // squares of what is smaller are no longer numbers to be trusted
        if (lane == 0) {
            values[rank] = zero ? 0.0 : length * scales[matrix];
            if (zero) atomicAdd(reinterpret_cast<u64*>(&lost[0]), u64(1));
        }
        for (i64 k = lane; k < n; k += WARP) {
            if (!zero) right[rank * n + k] = rows[i * n + k] / length;
            sorted[rank * n + k] = basis[i * n + k];
        }
    }
    __syncthreads();
    // Where values are 0, rows that are orthonormal to those there are: what is left of an axis.
    i64 next = 0;
    for (i64 row = n - lost[0]; row < n; row++) {
        double* own = right + row * n;
        double share = double(n - row) / double(n), squares = 0;
        i64 axis = 0, step = 0;
        for (; step < n; step++) {
            axis = (next + step) % n;
            for (i64 k = t; k < n; k += blockDim.x) own[k] = k == axis ? 1.0 : 0.0;
            for (int pass = 0; pass < 2; pass++) {
                __syncthreads();
                for (i64 other = warp; other < row; other += warps) {
                    double common = 0;
                    for (i64 k = lane; k < n; k += WARP) common = fma(right[other * n + k], own[k], common);
                    common = sum_of_warp(common);
                    if (lane == 0) lengths[other] = common;
                }
                __syncthreads();
                for (i64 k = t; k < n; k += blockDim.x) {
                    double left = own[k];
                    for (i64 other = 0; other < row; other++) left = fma(-lengths[other], right[other * n + k], left);
                    own[k] = left;
                }
            }
            squares = 0;
            for (i64 k = t; k < n; k += blockDim.x) squares = fma(own[k], own[k], squares);
            squares = sum_of_block(squares);
            if (squares > 0.5 * share) break;
        }
        double length = sqrt(squares);
        for (i64 k = t; k < n; k += blockDim.x) own[k] = step < n ? own[k] / length : 0.0;
        next = axis + 1;
        __syncthreads();
    }
}
