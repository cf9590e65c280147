// eigen.cu - eigenvalues of symmetric matrices by reflections and the QL method, in f64.
//
//   three_diagonals_f64(a, scratch, i64 n)
//        A = Qᵀ · T · Q: the diagonals of T go to the first two rows of scratch [.., 6, n]; a then holds the vectors of the reflections
//   reflections_f64(a, scratch, turned, i64 n)                   their product: Q goes to turned [.., n, n]
//   diagonalise_f64(scratch, turned, i64 n, u64* fault, u64 operation)
//        rotations leave the eigenvalues on the diagonal and the eigenvectors as rows of turned; where they come to no end, the least of
//        (operation << 40 | the matrix's first place) goes to fault
//   eigen_f64(scratch, scales, turned, values, vectors, i64 n)   values ascending, times the matrix's scale; vectors as columns
//
// Launch: 32, 64, 128 or 256 threads, grid (matrices, 1, 1).
//
// Rotations are found by one thread, since each needs the one before; all threads then turn the vectors, a column each, which stays in a
// register from row to row. One block for a matrix: right for batches and up to some hundred rows, latency-bound beyond.
#include "block.cuh"

constexpr double PRECISION = 2.220446049250313e-16;
constexpr int STEPS = 60;

KERNEL(three_diagonals_f64, double* a, double* scratch, i64 n) {
    i64 begin = blockIdx.x * n * n;
    a += begin; scratch += blockIdx.x * 6 * n;
    double *diagonal = scratch, *beside = scratch + n, *shares = scratch + 2 * n, *image = scratch + 3 * n;
    int t = threadIdx.x, threads = blockDim.x, lane = t % WARP, warp = t / WARP, warps = threads / WARP;
    // Each row beside the diagonal becomes a multiple of the first axis; the vector stays in its place.
    for (i64 first = 1; first < n; first++) {
        double* v = a + (first - 1) * n + first;
        i64 rest = n - first;
        double beta, share = mirror(v, v, rest, 1, 1, beta);
        if (t == 0) { shares[first] = share; beside[first - 1] = beta; }
        __syncthreads();
        if (share == 0) continue;
        // A ← (1 - share v vᵀ) A (1 - share v vᵀ) = A - v wᵀ - w vᵀ
        for (i64 i = warp; i < rest; i += warps) {
            double sum = 0;
            for (i64 k = lane; k < rest; k += WARP) sum = fma(a[(first + i) * n + first + k], v[k], sum);
            sum = sum_of_warp(sum);
            if (lane == 0) image[i] = share * sum;
        }
        __syncthreads();
        double common = 0;
        for (i64 i = t; i < rest; i += threads) common = fma(image[i], v[i], common);
        double half = 0.5 * share * sum_of_block(common);
        for (i64 i = t; i < rest; i += threads) image[i] -= half * v[i];
        __syncthreads();
        for (i64 i = warp; i < rest; i += warps)
            for (i64 k = lane; k < rest; k += WARP) a[(first + i) * n + first + k] -= v[i] * image[k] + image[i] * v[k];
        __syncthreads();
    }
    for (i64 i = t; i < n; i += threads) diagonal[i] = a[i * (n + 1)];
    if (t == 0) beside[n - 1] = 0;
}

KERNEL(reflections_f64, const double* a, const double* scratch, double* turned, i64 n) {
    a += blockIdx.x * n * n; turned += blockIdx.x * n * n;
    const double* shares = scratch + (blockIdx.x * 6 + 2) * n;
    int t = threadIdx.x, threads = blockDim.x, lane = t % WARP, warp = t / WARP, warps = threads / WARP;
    for (i64 i = t; i < n * n; i += threads) turned[i] = i % (n + 1) == 0 ? 1.0 : 0.0;
    __syncthreads();
    for (i64 first = n - 1; first > 0; first--) {
        const double* v = a + (first - 1) * n + first;
        double share = shares[first];
        for (i64 i = first + warp; i < n && share != 0; i += warps) {
            double* row = turned + i * n + first;
            double sum = 0;
            for (i64 k = lane; k < n - first; k += WARP) sum = fma(row[k], v[k], sum);
            sum = -share * sum_of_warp(sum);
            for (i64 k = lane; k < n - first; k += WARP) row[k] = fma(sum, v[k], row[k]);
        }
        __syncthreads();
    }
}

// One step of the QL method on the part from `first` to `last`: how many rotations, which go to cosines and sines by their rows.
INLINE i64 find_rotations(double* diagonal, double* beside, double* cosines, double* sines, i64 first, i64 last) {
    double ratio = (diagonal[first + 1] - diagonal[first]) / (2 * beside[first]);
    double shift = diagonal[first] - beside[first] / (ratio + copysign(hypot(ratio, 1.0), ratio));
    double bulge = diagonal[last] - shift, sine = 1, cosine = 1, moved = 0;
    for (i64 i = last - 1; i >= first; i--) {
        double chased = sine * beside[i], kept = cosine * beside[i], length = hypot(chased, bulge);
        beside[i + 1] = length;
        if (length == 0) {                                   // the part falls in two here
            diagonal[i + 1] -= moved;
            beside[last] = 0;
            return last - 1 - i;
        }
        sine = chased / length; cosine = bulge / length;
        double rest = diagonal[i + 1] - moved, sum = (diagonal[i] - rest) * sine + 2 * cosine * kept;
        moved = sine * sum;
        diagonal[i + 1] = rest + moved;
        bulge = cosine * sum - kept;
        cosines[i] = cosine; sines[i] = sine;
    }
    diagonal[first] -= moved;
    beside[first] = bulge;
    beside[last] = 0;
    return last - first;
}

KERNEL(diagonalise_f64, double* scratch, double* turned, i64 n, u64* fault, u64 operation) {
    SHARED(i64, told, [2]);
    i64 begin = blockIdx.x * n * n;
    turned += begin; scratch += blockIdx.x * 6 * n;
    double *diagonal = scratch, *beside = scratch + n, *cosines = scratch + 4 * n, *sines = scratch + 5 * n;
    int t = threadIdx.x, threads = blockDim.x;
    for (i64 first = 0; first < n; first++) {
        for (int step = 0; ; step++) {
            if (t == 0) {
                i64 last = first;
                while (last < n - 1 && !(fabs(beside[last]) <= PRECISION * (fabs(diagonal[last]) + fabs(diagonal[last + 1])))) last++;
                bool endless = last > first && step == STEPS;
                if (endless) atomicMin(fault, operation << 40 | u64(begin));
                told[0] = last;
                told[1] = last == first || endless ? 0 : find_rotations(diagonal, beside, cosines, sines, first, last);
            }
            __syncthreads();
            i64 last = told[0], count = told[1];
            if (count > 0)
                for (i64 column = t; column < n; column += threads) {
                    double* at = turned + (last - 1) * n + column;
                    double below = at[n];
                    for (i64 i = last - 1; i >= last - count; i--, at -= n) {
                        double above = at[0];
                        at[n] = sines[i] * above + cosines[i] * below;
                        below = cosines[i] * above - sines[i] * below;
                    }
                    at[n] = below;
                }
            __syncthreads();
            if (last == first || step == STEPS) break;
        }
    }
}

KERNEL(eigen_f64, const double* scratch, const double* scales, const double* turned, double* values, double* vectors, i64 n) {
    const double* diagonal = scratch + blockIdx.x * 6 * n;
    turned += blockIdx.x * n * n; vectors += blockIdx.x * n * n; values += blockIdx.x * n;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    for (i64 i = warp; i < n; i += warps) {
        i64 rank = rank_of(diagonal, i, n, false);
        if (lane == 0) values[rank] = diagonal[i] * scales[blockIdx.x];
        for (i64 k = lane; k < n; k += WARP) vectors[k * n + rank] = turned[i * n + k];
    }
}
