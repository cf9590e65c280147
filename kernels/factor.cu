// factor.cu - square matrices taken apart by elimination and by Cholesky's method, and equations solved with the parts, in f64.
//
//   multiply_f64(a, b, c, Part)              c ← alpha · a · b + beta · c, parts of matrices with any strides, in place
//   pivots_f64(a, exchanges, i64 size, i64 first, i64 end)
//        eliminates the columns first..end of every row from `first` on, the largest element of each as pivot; rows change places within
//        these columns alone, and `exchanges` (i64) says which: nothing is done where a pivot is 0
//   exchange_f64(exchanges, x, i64 batch, Rows, i64 first, i64 end, int backwards)       batch: of exchanges
//        row i of x changes places with row exchanges[i], for i from `first` on or from `end` back
//   substitute_f64(a, x, Triangle, Rows)     the rows of a block of unknowns, divided by a triangle of at most 32 x 32
//   root_f64(a, i64 size, i64 first, i64 end, u64* fault, u64 operation)
//        the block on the diagonal as L of Cholesky; a minor that is not positive goes to fault by its place on the diagonal
//   zeros_f64(a, Diagonal, u64* fault, u64 operation)        a zero on a diagonal goes to fault by its place
//   determinants_f64(a, exchanges, signs, logarithms, products, i64 size)
//
//   struct Part { i64 rows, columns, depth, a_row, a_step, b_step, b_column, c_row, c_column, a_batch, b_batch, c_batch; double alpha, beta; int lower, pad; }
//   struct Rows { i64 width, row, column, batch; }           of x: its columns, and its strides
//   struct Triangle { i64 row, column, batch; int size, lower, unit, pad; }
//   struct Diagonal { i64 size, step, batch, first; }        of one matrix: elements, distances, where the first begins among all
//   A fault: the least of (operation << 40 | the place in a).
//
// Launch: 256 threads (pivots, root: 32 for small matrices). multiply: grid (ceil(rows / 64), ceil(columns / 64), matrices), and `lower` leaves out tiles
// above the diagonal; exchange: (ceil(width / 256), 1, matrices); substitute: (ceil(width / 64), 1, matrices); others: (matrices, 1, 1).
//
// The idea is LAPACK's: 32 columns are eliminated by one block of threads (latency), what is left of the matrix changes by one product
// (nearly all of the arithmetic, 2/3 n³), which fills the GPU. Many small matrices are a block each. The product is that of matmul.cu: 64 x 64
// results of a block, 4 x 4 of a thread; half the rate of f32 on H100, 1/64 on cards for games.
#include "view.cuh"

struct Part { i64 rows, columns, depth, a_row, a_step, b_step, b_column, c_row, c_column, a_batch, b_batch, c_batch; double alpha, beta; int lower, pad; };
struct Rows { i64 width, row, column, batch; };
struct Triangle { i64 row, column, batch; int size, lower, unit, pad; };
struct Diagonal { i64 size, step, batch, first; };

constexpr int TILE = 64, DEPTH = 16, LINE = TILE + 1, MOST = 32;

KERNEL(multiply_f64, const double* a, const double* b, double* c, Part p) {
    SHARED(double, left, [DEPTH * LINE]);
    SHARED(double, right, [DEPTH * LINE]);
    i64 i0 = i64(blockIdx.x) * TILE, j0 = i64(blockIdx.y) * TILE;
    if (p.lower && j0 > i0 + TILE - 1) return;
    a += blockIdx.z * p.a_batch; b += blockIdx.z * p.b_batch; c += blockIdx.z * p.c_batch;
    int t = threadIdx.x, tx = t % 16, ty = t / 16;
    bool a_along = p.a_step <= p.a_row, b_along = p.b_step <= p.b_column;       // do neighbours stand along what is shared?
    double sum[4][4] = {};
    for (i64 k0 = 0; k0 < p.depth; k0 += DEPTH) {
#pragma unroll
        for (int e = 0; e < TILE * DEPTH / BLOCK; e++) {
            int at = t + e * BLOCK, i = a_along ? at / DEPTH : at % TILE, k = a_along ? at % DEPTH : at / TILE;
            left[k * LINE + i] = i0 + i < p.rows && k0 + k < p.depth ? a[(i0 + i) * p.a_row + (k0 + k) * p.a_step] : 0.0;
            i = b_along ? at / DEPTH : at % TILE; k = b_along ? at % DEPTH : at / TILE;
            right[k * LINE + i] = j0 + i < p.columns && k0 + k < p.depth ? b[(j0 + i) * p.b_column + (k0 + k) * p.b_step] : 0.0;
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < DEPTH; k++) {
            double x[4], y[4];
#pragma unroll
            for (int e = 0; e < 4; e++) { x[e] = left[k * LINE + ty + 16 * e]; y[e] = right[k * LINE + tx + 16 * e]; }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] = fma(x[i], y[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
#pragma unroll
        for (int f = 0; f < 4; f++) {
            i64 i = i0 + ty + 16 * e, j = j0 + tx + 16 * f;
            if (i >= p.rows || j >= p.columns) continue;
            double* to = &c[i * p.c_row + j * p.c_column];
            *to = p.beta == 0 ? p.alpha * sum[e][f] : fma(p.alpha, sum[e][f], p.beta * *to);
        }
}

// The place of the largest of all threads' magnitudes, the first of equal ones; -1 (of those that saw none) is below all.
INLINE i64 place_of_largest(double most, i64 place) {
    SHARED(double, sizes, [BLOCK]);
    SHARED(i64, places, [BLOCK]);
    int t = threadIdx.x;
    sizes[t] = most; places[t] = place;
    for (int apart = blockDim.x / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if (t < apart && (sizes[t + apart] > sizes[t] || (sizes[t + apart] == sizes[t] && places[t + apart] < places[t]))) { sizes[t] = sizes[t + apart]; places[t] = places[t + apart]; }
    }
    __syncthreads();
    i64 found = places[0];
    __syncthreads();
    return found;
}

KERNEL(pivots_f64, double* a, i64* exchanges, i64 size, i64 first, i64 end) {
    SHARED(double, own, [MOST]);
    a += blockIdx.x * size * size; exchanges += blockIdx.x * size;
    int t = threadIdx.x, threads = blockDim.x, width = int(end - first);
    for (i64 column = first; column < end; column++) {
        double most = -1; i64 place = size;
        for (i64 row = column + t; row < size; row += threads) {
            double x = fabs(a[row * size + column]);
            if (x > most) { most = x; place = row; }
        }
        i64 pivot = place_of_largest(most, place);
        double top = a[column * size + column];
        if (top != top) pivot = column;                      // nothing is larger than a NaN that stands there already
        if (t == 0) exchanges[column] = pivot;
        double held = 0, other = 0;
        if (t < width) { held = a[column * size + first + t]; other = a[pivot * size + first + t]; }
        __syncthreads();
        if (t < width) {
            if (pivot != column) { a[column * size + first + t] = other; a[pivot * size + first + t] = held; }
            own[t] = other;
        }
        __syncthreads();
        int at = int(column - first);
        double divisor = own[at];
        if (divisor != 0) {
            for (i64 row = column + 1 + t; row < size; row += threads) {
                double* line = &a[row * size + first];
                double factor = line[at] / divisor;
                line[at] = factor;
                for (int j = at + 1; j < width; j++) line[j] = fma(-factor, own[j], line[j]);
            }
        }
        __syncthreads();
    }
}

KERNEL(exchange_f64, const i64* exchanges, double* x, i64 batch, Rows rows, i64 first, i64 end, int backwards) {
    i64 column = first_of_grid();
    if (column >= rows.width) return;
    exchanges += blockIdx.z * batch;
    x += blockIdx.z * rows.batch + column * rows.column;
    for (i64 step = first; step < end; step++) {
        i64 i = backwards ? end - 1 - (step - first) : step, other = exchanges[i];
        if (other == i) continue;
        double held = x[i * rows.row];
        x[i * rows.row] = x[other * rows.row];
        x[other * rows.row] = held;
    }
}

KERNEL(substitute_f64, const double* a, double* x, Triangle triangle, Rows rows) {
    SHARED(double, factors, [MOST][MOST + 1]);
    SHARED(double, tile, [MOST][TILE + 1]);
    int t = threadIdx.x, size = triangle.size;
    i64 j0 = i64(blockIdx.x) * TILE;
    a += blockIdx.z * triangle.batch; x += blockIdx.z * rows.batch;
    for (int at = t; at < size * size; at += BLOCK) factors[at / size][at % size] = a[at / size * triangle.row + at % size * triangle.column];
    bool along = rows.column <= rows.row;                    // do neighbours stand along a row?
    for (int at = t; at < size * TILE; at += BLOCK) {
        int i = along ? at / TILE : at % size, j = along ? at % TILE : at / size;
        tile[i][j] = j0 + j < rows.width ? x[i * rows.row + (j0 + j) * rows.column] : 0.0;
    }
    __syncthreads();
    // Four threads share a column: each has a quarter of the rows that an unknown leaves.
    int j = t % TILE, part = t / TILE;
    for (int step = 0; step < size; step++) {
        int i = triangle.lower ? step : size - 1 - step;
        double found = triangle.unit ? tile[i][j] : tile[i][j] / factors[i][i];
        __syncthreads();
        if (part == 0) tile[i][j] = found;
        for (int k = step + 1 + part; k < size; k += BLOCK / TILE) {
            int row = triangle.lower ? k : size - 1 - k;
            tile[row][j] = fma(-factors[row][i], found, tile[row][j]);
        }
        __syncthreads();
    }
    for (int at = t; at < size * TILE; at += BLOCK) {
        int i = along ? at / TILE : at % size, k = along ? at % TILE : at / size;
        if (j0 + k < rows.width) x[i * rows.row + (j0 + k) * rows.column] = tile[i][k];
    }
}

KERNEL(root_f64, double* a, i64 size, i64 first, i64 end, u64* fault, u64 operation) {
    SHARED(double, block, [MOST][MOST + 1]);
    int t = threadIdx.x, threads = blockDim.x, width = int(end - first);
    i64 start = blockIdx.x * size * size + first * size + first;
    for (int at = t; at < width * width; at += threads) block[at / width][at % width] = a[start + at / width * size + at % width];
    __syncthreads();
    for (int k = 0; k < width; k++) {
        double square = block[k][k];
        __syncthreads();
        if (t == 0) {
            if (!(square > 0)) atomicMin(fault, operation << 40 | u64(start + k * (size + 1)));
            block[k][k] = sqrt(square);
        }
        __syncthreads();
        double root = block[k][k];
        for (int i = k + 1 + t; i < width; i += threads) block[i][k] /= root;
        __syncthreads();
        int rest = width - k - 1;
        for (int at = t; at < rest * rest; at += threads) {
            int i = k + 1 + at / rest, j = k + 1 + at % rest;
            if (j <= i) block[i][j] = fma(-block[i][k], block[j][k], block[i][j]);
        }
        __syncthreads();
    }
    for (int at = t; at < width * width; at += threads) if (at % width <= at / width) a[start + at / width * size + at % width] = block[at / width][at % width];
}

KERNEL(zeros_f64, const double* a, Diagonal diagonal, u64* fault, u64 operation) {
    for (i64 i = threadIdx.x; i < diagonal.size; i += BLOCK) {
        i64 place = diagonal.first + blockIdx.x * diagonal.batch + i * diagonal.step;
        if (a[place] == 0) atomicMin(fault, operation << 40 | u64(place));
    }
}

// One factor after the other, so that what is large and what is small meet as they do on the processor; logarithms are taken by all.
KERNEL(determinants_f64, const double* a, const i64* exchanges, double* signs, double* logarithms, double* products, i64 size) {
    SHARED(double, pivots, [BLOCK]);
    SHARED(double, logs, [BLOCK]);
    a += blockIdx.x * size * size; exchanges += blockIdx.x * size;
    double sign = 1, log_sum = 0, product = 1;
    for (i64 first = 0; first < size; first += blockDim.x) {
        i64 i = first + threadIdx.x;
        if (i < size) {
            double pivot = a[i * (size + 1)];
            pivots[threadIdx.x] = exchanges[i] == i ? pivot : -pivot;
            logs[threadIdx.x] = log(fabs(pivot));
        }
        __syncthreads();
        if (threadIdx.x == 0)
            for (int k = 0; k < int(blockDim.x) && first + k < size; k++) {
                double pivot = pivots[k];
                sign *= pivot == 0 ? 0.0 : pivot != pivot ? pivot : copysign(1.0, pivot);
                product *= pivot;
                log_sum += logs[k];
            }
        __syncthreads();
    }
    if (threadIdx.x == 0) { signs[blockIdx.x] = sign; logarithms[blockIdx.x] = log_sum; products[blockIdx.x] = product; }
}
