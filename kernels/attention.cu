// attention.cu - softmax(scale · q kᵀ + mask) · v in tiles, never the whole matrix of weights, forward and backward (Dao, Fu, Ermon,
// Rudra, Ré: "FlashAttention", 2022). This is the ladder's first rung: ordinary arithmetic units, every type, any strides.
//
//   attend_T(q, k, v, mask, out, maxima, shares, Attention, View q_batch, View k_batch, View v_batch, View mask_batch)
//   attend_products_T(g, out, products, i64 rows, i64 value_width)                                products[i] = Σ g[i] · out[i]
//   attend_query_T(q, k, v, mask, g, maxima, shares, products, dq, dmask, Attention, the four views)
//   attend_key_T(q, k, v, mask, g, maxima, shares, products, dk, dv, Attention, the four views)          T of f32 f64 bf16 f16
//
//   q_batch and mask_batch say where matrix z of matrices · groups begins, k_batch and v_batch where matrix z / groups does. out, g [z, queries,
//   value_width], dq [z, queries, width], dmask [z, queries, keys], dk [matrix, keys, width], dv [matrix, keys, value_width] are dense, T.
//   maxima, shares, products: f32 (f64 for T = f64), one for each query. mask, dmask may be null. A row in which all is masked gives zeros.
//
//   struct Attention { i64 groups, queries, keys, width, value_width, q_row, q_column, k_row, k_column, v_row, v_column, mask_row, mask_column;
//       double scale, kept; u64 threshold; Draw draw; int causal, mask_kind, dropout, pad; }
//   mask_kind: 0 none, 1 bytes (not 0: seen), 2 numbers of type T that are added. dropout: a weight whose word (numbered as dropout of the whole
//   matrix would) is below the threshold is dropped, others are multiplied by `kept`. causal: query i sees keys 0 ... i.
//
// Launch: 256 threads; width, value_width at most 128. attend, attend_query: grid (ceil(queries / 32), matrices · groups, 1); attend_key: grid
// (ceil(keys / 32), matrices, 1). Dynamic shared memory, in numbers of f32 (f64): attend 32 · (2 (width + 1) + (value_width + 1) + 33);
// attend_query, attend_key 32 · (2 (width + 1) + 2 (value_width + 1) + 2 · 33). attend_products: grid (ceil(rows / 8), 1, 1).
//
// The idea: 32 queries stay in shared memory, keys and values pass by 32 at a time. Eight threads share a query: each has four keys of a
// tile, and every eighth number of the result in registers. Maximum and sum of a row are carried along, and what was added up before is
// scaled when the maximum grows. Backward recomputes the weights from maximum and sum; keys and queries have passes of their own, so
// that everything is added up by one thread in one order (5 products forward and 7 backward instead of 5, and no atomics).
// Rows of shared tiles are one number longer than they are wide, so that eight threads at eight keys meet eight banks.
#include "numbers.cuh"
#include "view.cuh"
#include "random.cuh"

struct Attention {
    i64 groups, queries, keys, width, value_width, q_row, q_column, k_row, k_column, v_row, v_column, mask_row, mask_column;
    double scale, kept;
    u64 threshold;
    Draw draw;
    int causal, mask_kind, dropout, pad;
};

constexpr int ROWS = 32, LANES = 8, MINE = ROWS / LANES, WIDEST = 128, COLUMNS = WIDEST / LANES, SCORES = ROWS + 1;

// ROWS lines of a matrix into shared memory, zeros behind its end.
template <class T> INLINE void load(const T* matrix, i64 first, i64 lines, int width, i64 row, i64 column, Real<T>* tile) {
    for (int r = threadIdx.x / WARP; r < ROWS; r += BLOCK / WARP)
        for (int c = threadIdx.x % WARP; c < width; c += WARP) tile[r * (width + 1) + c] = first + r < lines ? widen(matrix[(first + r) * row + c * column]) : Real<T>(0);
}
// A row of one tile times those rows of another that are this thread's.
template <class R> INLINE void dot(const R* row, const R* others, int lane, int width, R (&sum)[MINE]) {
#pragma unroll
    for (int c = 0; c < MINE; c++) sum[c] = 0;
    for (int e = 0; e < width; e++) {
        R x = row[e];
#pragma unroll
        for (int c = 0; c < MINE; c++) sum[c] += x * others[(lane + LANES * c) * (width + 1) + e];
    }
}
// Adds ROWS rows of a tile, each times its weight, to the columns that are this thread's.
template <class R> INLINE void add_rows(const R* weights, int apart, const R* rows, int lane, int width, R (&sum)[COLUMNS]) {
#pragma unroll 2
    for (int s = 0; s < ROWS; s++) {
        R weight = weights[s * apart];
#pragma unroll
        for (int f = 0; f < COLUMNS; f++) if (lane + LANES * f < width) sum[f] += weight * rows[s * (width + 1) + lane + LANES * f];
    }
}
template <class R> INLINE R most_of_lanes(R x) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) { R other = __shfl_xor_sync(EVERYONE, x, step, LANES); x = other > x ? other : x; }
    return x;
}
template <class R> INLINE R sum_of_lanes(R x) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) x += __shfl_xor_sync(EVERYONE, x, step, LANES);
    return x;
}
// The score of a query and a key, from their product; -infinity where the key is not seen.
template <class T> INLINE Real<T> score(const Attention& how, const void* mask, i64 i, i64 j, Real<T> product) {
    using R = Real<T>;
    if (i >= how.queries || j >= how.keys || (how.causal && j > i)) return -R(INFINITY);
    product *= R(how.scale);
    i64 at = i * how.mask_row + j * how.mask_column;
    if (how.mask_kind == 1) return static_cast<const u8*>(mask)[at] ? product : -R(INFINITY);
    return how.mask_kind == 2 ? product + widen(static_cast<const T*>(mask)[at]) : product;
}
// What each of this thread's weights is multiplied by, into its places of a row.
template <class R> INLINE void survivals(const Attention& how, i64 z, i64 i, i64 begin, int lane, R* row) {
#pragma unroll 1
    for (int s = lane; s < ROWS; s += LANES) {
        i64 j = begin + s;
        bool drawn = how.dropout && i < how.queries && j < how.keys;
        row[s] = !drawn ? R(1) : u64(word_of(how.draw, (z * how.queries + i) * how.keys + j)) < how.threshold ? R(0) : R(how.kept);
    }
}
template <class T> INLINE const void* mask_of(const Attention& how, const void* mask, const View& batch, i64 z) {
    if (!how.mask_kind) return nullptr;
    i64 at = place_of(batch, z);
    return how.mask_kind == 1 ? static_cast<const void*>(static_cast<const u8*>(mask) + at) : static_cast<const void*>(static_cast<const T*>(mask) + at);
}

template <class T>
INLINE void attend(const T* q, const T* k, const T* v, const void* mask, T* out, Real<T>* maxima, Real<T>* shares, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    using R = Real<T>;
    DYNAMIC_SHARED(R, memory);
    int width = int(how.width), value_width = int(how.value_width), lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    R *queries = memory, *keys = queries + ROWS * (width + 1), *values = keys + ROWS * (width + 1), *weights = values + ROWS * (value_width + 1);
    i64 z = blockIdx.y, first = i64(blockIdx.x) * ROWS, i = first + row, matrix = quotient(z, how.groups);
    q += place_of(q_batch, z); k += place_of(k_batch, matrix); v += place_of(v_batch, matrix);
    mask = mask_of<T>(how, mask, mask_batch, z);
    load(q, first, how.queries, width, how.q_row, how.q_column, queries);
    R most = -R(INFINITY), total = 0, result[COLUMNS] = {};
    i64 end = how.causal ? min(how.keys, first + ROWS) : how.keys;
    for (i64 begin = 0; begin < end; begin += ROWS) {
        load(k, begin, how.keys, width, how.k_row, how.k_column, keys);
        load(v, begin, how.keys, value_width, how.v_row, how.v_column, values);
        __syncthreads();
        R scores[MINE];
        dot(queries + row * (width + 1), keys, lane, width, scores);
        R greatest = most;
#pragma unroll
        for (int c = 0; c < MINE; c++) { scores[c] = score<T>(how, mask, i, begin + lane + LANES * c, scores[c]); greatest = scores[c] > greatest ? scores[c] : greatest; }
        greatest = most_of_lanes(greatest);
        survivals(how, z, i, begin, lane, &weights[row * SCORES]);
        R before = greatest == most ? R(1) : exponential(most - greatest), sum = 0;
#pragma unroll
        for (int c = 0; c < MINE; c++) {
            R weight = scores[c] == -R(INFINITY) ? R(0) : exponential(scores[c] - greatest);
            sum += weight;
            weights[row * SCORES + lane + LANES * c] *= weight;
        }
        most = greatest; total = total * before + sum_of_lanes(sum);
        __syncwarp();
#pragma unroll
        for (int f = 0; f < COLUMNS; f++) result[f] *= before;
        add_rows(&weights[row * SCORES], 1, values, lane, value_width, result);
        __syncthreads();
    }
    if (i >= how.queries) return;
    bool seen = total != 0;
    R share = seen ? R(1) / total : R(0);
    i64 at = z * how.queries + i;
#pragma unroll
    for (int f = 0; f < COLUMNS; f++) if (lane + LANES * f < value_width) out[at * value_width + lane + LANES * f] = narrow<T>(result[f] * share);
    if (lane == 0) { maxima[at] = seen ? most : R(0); shares[at] = share; }
}

template <class T> INLINE void attend_products(const T* g, const T* out, Real<T>* products, i64 rows, i64 value_width) {
    i64 row = i64(blockIdx.x) * (BLOCK / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;                                 // a whole warp
    Real<T> sum = 0;
    for (i64 c = threadIdx.x % WARP; c < value_width; c += WARP) sum += widen(g[row * value_width + c]) * widen(out[row * value_width + c]);
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) sum += __shfl_xor_sync(EVERYONE, sum, step);
    if (threadIdx.x % WARP == 0) products[row] = sum;
}

// The gradients of the scores of one query and this thread's keys: weight · (survival · g vᵀ - product). Also the weights that
// survive; `survived` is a row of shared memory for its own use.
template <class T>
INLINE void slopes_of(const Attention& how, const void* mask, i64 z, i64 i, i64 begin, int lane, const Real<T>* query, const Real<T>* keys, const Real<T>* arriving, const Real<T>* values, Real<T> most, Real<T> share, Real<T> product,
                      Real<T>* survived, Real<T> (&slopes)[MINE], Real<T> (&weights)[MINE]) {
    using R = Real<T>;
    dot(query, keys, lane, int(how.width), weights);
    dot(arriving, values, lane, int(how.value_width), slopes);
    survivals(how, z, i, begin, lane, survived);
#pragma unroll
    for (int c = 0; c < MINE; c++) {
        i64 j = begin + lane + LANES * c;
        R x = score<T>(how, mask, i, j, weights[c]), weight = x == -R(INFINITY) ? R(0) : exponential(x - most) * share, kept = survived[lane + LANES * c];
        slopes[c] = weight * (kept * slopes[c] - product);
        weights[c] = weight * kept;
    }
}

template <class T>
INLINE void attend_query(const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dq, T* dmask, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    using R = Real<T>;
    DYNAMIC_SHARED(R, memory);
    int width = int(how.width), value_width = int(how.value_width), lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    R *queries = memory, *keys = queries + ROWS * (width + 1), *values = keys + ROWS * (width + 1), *arriving = values + ROWS * (value_width + 1), *held = arriving + ROWS * (value_width + 1);
    i64 z = blockIdx.y, first = i64(blockIdx.x) * ROWS, i = first + row, at = z * how.queries + i, matrix = quotient(z, how.groups);
    q += place_of(q_batch, z); k += place_of(k_batch, matrix); v += place_of(v_batch, matrix);
    mask = mask_of<T>(how, mask, mask_batch, z);
    load(q, first, how.queries, width, how.q_row, how.q_column, queries);
    load(g + z * how.queries * value_width, first, how.queries, value_width, value_width, 1, arriving);
    bool there = i < how.queries;
    R most = there ? maxima[at] : R(0), share = there ? shares[at] : R(0), product = there ? products[at] : R(0), result[COLUMNS] = {};
    i64 seen = how.causal ? min(how.keys, first + ROWS) : how.keys, end = dmask ? how.keys : seen;
    for (i64 begin = 0; begin < end; begin += ROWS) {
        load(k, begin, how.keys, width, how.k_row, how.k_column, keys);
        load(v, begin, how.keys, value_width, how.v_row, how.v_column, values);
        __syncthreads();
        R slopes[MINE], weights[MINE];
        slopes_of<T>(how, mask, z, i, begin, lane, queries + row * (width + 1), keys, arriving + row * (value_width + 1), values, most, share, product, &held[row * SCORES], slopes, weights);
#pragma unroll
        for (int c = 0; c < MINE; c++) {
            i64 j = begin + lane + LANES * c;
            held[row * SCORES + lane + LANES * c] = slopes[c];
            if (dmask && there && j < how.keys) dmask[at * how.keys + j] = narrow<T>(slopes[c]);
        }
        __syncwarp();
        add_rows(&held[row * SCORES], 1, keys, lane, width, result);
        __syncthreads();
    }
    if (!there) return;
#pragma unroll
    for (int f = 0; f < COLUMNS; f++) if (lane + LANES * f < width) dq[at * width + lane + LANES * f] = narrow<T>(result[f] * R(how.scale));
}

template <class T>
INLINE void attend_key(const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dk, T* dv, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    using R = Real<T>;
    DYNAMIC_SHARED(R, memory);
    int width = int(how.width), value_width = int(how.value_width), lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    R *queries = memory, *keys = queries + ROWS * (width + 1), *values = keys + ROWS * (width + 1), *arriving = values + ROWS * (value_width + 1);
    R *slopes_at = arriving + ROWS * (value_width + 1), *weights_at = slopes_at + ROWS * SCORES;
    i64 matrix = blockIdx.y, first = i64(blockIdx.x) * ROWS;
    load(k + place_of(k_batch, matrix), first, how.keys, width, how.k_row, how.k_column, keys);
    load(v + place_of(v_batch, matrix), first, how.keys, value_width, how.v_row, how.v_column, values);
    R key_result[COLUMNS] = {}, value_result[COLUMNS] = {};
    for (i64 group = 0; group < how.groups; group++) {
        i64 z = matrix * how.groups + group;
        const void* seen = mask_of<T>(how, mask, mask_batch, z);
        for (i64 begin = how.causal ? first : 0; begin < how.queries; begin += ROWS) {
            load(q + place_of(q_batch, z), begin, how.queries, width, how.q_row, how.q_column, queries);
            load(g + z * how.queries * value_width, begin, how.queries, value_width, value_width, 1, arriving);
            __syncthreads();
            i64 i = begin + row, at = z * how.queries + i;
            bool there = i < how.queries;
            R slopes[MINE], weights[MINE];
            slopes_of<T>(how, seen, z, i, first, lane, queries + row * (width + 1), keys, arriving + row * (value_width + 1), values, there ? maxima[at] : R(0), there ? shares[at] : R(0), there ? products[at] : R(0), &weights_at[row * SCORES], slopes, weights);
#pragma unroll
            for (int c = 0; c < MINE; c++) { slopes_at[row * SCORES + lane + LANES * c] = slopes[c]; weights_at[row * SCORES + lane + LANES * c] = weights[c]; }
            __syncthreads();
            // From here on the row is a key.
            add_rows(&slopes_at[row], SCORES, queries, lane, width, key_result);
            add_rows(&weights_at[row], SCORES, arriving, lane, value_width, value_result);
            __syncthreads();
        }
    }
    i64 j = first + row, at = matrix * how.keys + j;
    if (j >= how.keys) return;
#pragma unroll
    for (int f = 0; f < COLUMNS; f++) {
        int column = lane + LANES * f;
        if (column < width) dk[at * width + column] = narrow<T>(key_result[f] * R(how.scale));
        if (column < value_width) dv[at * value_width + column] = narrow<T>(value_result[f]);
    }
}

#define ATTENTION(t, T)                                                                                                                                   \
    KERNEL(attend_##t, const T* q, const T* k, const T* v, const void* mask, T* out, Real<T>* maxima, Real<T>* shares, Attention how, View q_batch, View k_batch, View v_batch, View mask_batch) { \
        attend(q, k, v, mask, out, maxima, shares, how, q_batch, k_batch, v_batch, mask_batch);                                                           \
    }                                                                                                                                                     \
    KERNEL(attend_products_##t, const T* g, const T* out, Real<T>* products, i64 rows, i64 value_width) { attend_products(g, out, products, rows, value_width); } \
    KERNEL(attend_query_##t, const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dq, T* dmask, Attention how, View q_batch, View k_batch, View v_batch, View mask_batch) { \
        attend_query(q, k, v, mask, g, maxima, shares, products, dq, dmask, how, q_batch, k_batch, v_batch, mask_batch);                                  \
    }                                                                                                                                                     \
    KERNEL(attend_key_##t, const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dk, T* dv, Attention how, View q_batch, View k_batch, View v_batch, View mask_batch) { \
        attend_key(q, k, v, mask, g, maxima, shares, products, dk, dv, how, q_batch, k_batch, v_batch, mask_batch);                                       \
    }
FLOATS(ATTENTION)
