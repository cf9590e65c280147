// attention.cu - softmax(scale · q kᵀ + mask) · v in tiles, never the whole matrix of weights, forward and backward (Dao, Fu, Ermon,
// Rudra, Ré: "FlashAttention", 2022). This is the ladder's first rung: ordinary arithmetic units, every type, any strides.
//
//   attend_T(q, k, v, mask, out, maxima, shares, Attention, View q_batch, View k_batch, View v_batch, View mask_batch)
//   attend_products_T(g, out, products, i64 rows, i64 value_width)                                products[i] = Σ g[i] · out[i]
//        T of f32 f64 bf16 f16
//   attend_query_T(q, k, v, mask, g, maxima, shares, products, dq, dmask, Attention, the four views)
//   attend_key_T(q, k, v, mask, g, maxima, shares, products, dk, dv, Attention, the four views)
//        T of f32 f64: 16 bits that do not go by tensor cores are widened first, so that their gradient reads a result that is not rounded
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
// Launch: 256 threads. attend, attend_query: grid (ceil(queries / 32) · matrices · groups, slabs of 128 columns of what is written, 1);
// attend_key: grid (ceil(keys / 32) · matrices, slabs of the wider of dk and dv, 1). attend_products: grid (ceil(rows / 8), 1, 1). Dynamic
// shared memory, in numbers of f32 (f64), with w, v the smaller of 128 and width, value_width: attend 32 · (2 (w + 1) + (v + 1) + 33);
// attend_query, attend_key 32 · (2 (w + 1) + 2 (v + 1) + 2 · 33).
//
// The idea: 32 queries stay in shared memory, keys and values pass by 32 at a time. Eight threads share a query: each has four keys of a
// tile, and every eighth number of the result in registers. Maximum and sum of a row are carried along, and what was added up before is
// scaled when the maximum grows. Backward recomputes the weights from maximum and sum; keys and queries have passes of their own, so
// that everything is added up by one thread in one order (5 products forward and 7 backward instead of 5, and no atomics).
// Rows of shared tiles are one number longer than they are wide, so that eight threads at eight keys meet eight banks.
// Rows of more than 128 numbers pass by in slabs of 128: scores are added up slab by slab, and a block writes one slab of the result, so each
// slab of the result costs all scores again.
#include "attention.cuh"

constexpr int ROWS = 32, LANES = 8, MINE = ROWS / LANES, WIDEST = 128, COLUMNS = WIDEST / LANES, SCORES = ROWS + 1;
// Blocks that are to fit on a multiprocessor.
template <class T> constexpr int FORWARD = sizeof(Real<T>) == 8 ? 1 : 3;
template <class T> constexpr int BACKWARD = sizeof(Real<T>) == 8 ? 1 : 2;

// A matrix whose lines come to shared memory ROWS at a time, and slab by slab where they are longer than WIDEST.
template <class T> struct Lines {
    const T* from; i64 row, column; int count, width;

    INLINE Lines(const T* from, i64 count, i64 width, i64 row, i64 column) : from(from), row(row), column(column), count(int(count)), width(int(width)) {}
    INLINE int slabs() const { return width > WIDEST ? (width + WIDEST - 1) / WIDEST : 1; }
    INLINE int wide() const { return min(width, WIDEST) + 1; }       // numbers of a tile's line
    INLINE int columns(int slab) const { return min(width - slab * WIDEST, WIDEST); }
    // Zeros behind the last line.
    INLINE void load(int first, int slab, Real<T>* tile) const {
        int all = columns(slab), apart = wide();
#pragma unroll 1
        for (int r = threadIdx.x / WARP; r < ROWS; r += BLOCK / WARP)
#pragma unroll 4
            for (int c = threadIdx.x % WARP; c < all; c += WARP)
                tile[r * apart + c] = first + r < count ? widen(from[i64(first + r) * row + (slab * WIDEST + c) * column]) : Real<T>(0);
    }
};
// Products of this thread's line of `left` and its lines of `right`. Slab `last` + 1 (or the only one) is in the tiles; the others follow, and
// slab `last` stays.
template <class T>
INLINE void products_of(const Lines<T>& left, int left_first, Real<T>* left_tile, const Lines<T>& right, int right_first, Real<T>* right_tile, int row, int lane, int last, Real<T> (&sum)[MINE]) {
    int slabs = left.slabs(), slab = (last + 1) % slabs, apart = left.wide();
#pragma unroll
    for (int c = 0; c < MINE; c++) sum[c] = 0;
    while (true) {
        const Real<T>* mine = left_tile + row * apart;
        int all = left.columns(slab);
#pragma unroll 4
        for (int e = 0; e < all; e++) {
            Real<T> x = mine[e];
#pragma unroll
            for (int c = 0; c < MINE; c++) sum[c] += x * right_tile[(lane + LANES * c) * apart + e];
        }
        if (slab == last) return;
        slab = (slab + 1) % slabs;
        __syncthreads();
        left.load(left_first, slab, left_tile);
        right.load(right_first, slab, right_tile);
        __syncthreads();
    }
}
// Adds ROWS rows of a tile, each times its weight, to the columns that are this thread's.
template <class R> INLINE void add_rows(const R* weights, int apart, const R* rows, int lane, int wide, int width, R (&sum)[COLUMNS]) {
#pragma unroll 2
    for (int s = 0; s < ROWS; s++) {
        R weight = weights[s * apart];
#pragma unroll
        for (int f = 0; f < COLUMNS; f++) if (lane + LANES * f < width) sum[f] += weight * rows[s * wide + lane + LANES * f];
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
template <class T> INLINE Real<T> score(const Attention& how, const void* mask, int i, int j, Real<T> product) {
    using R = Real<T>;
    if (i >= how.queries || j >= how.keys || (how.causal && j > i)) return -R(INFINITY);
    product *= R(how.scale);
    i64 at = i * how.mask_row + j * how.mask_column;
    if (how.mask_kind == 1) return static_cast<const u8*>(mask)[at] ? product : -R(INFINITY);
    return how.mask_kind == 2 ? product + widen(static_cast<const T*>(mask)[at]) : product;
}
// What each of this thread's weights is multiplied by, into its places of a row.
template <class R> INLINE void survivals(const Attention& how, int z, int i, int begin, int lane, R* row) {
#pragma unroll 1
    for (int s = lane; s < ROWS; s += LANES) {
        int j = begin + s;
        bool drawn = how.dropout && i < how.queries && j < how.keys;
        row[s] = !drawn ? R(1) : u64(word_of(how.draw, (z * how.queries + i) * how.keys + j)) < how.threshold ? R(0) : R(how.kept);
    }
}

template <class T>
INLINE void attend(const T* q, const T* k, const T* v, const void* mask, T* out, Real<T>* maxima, Real<T>* shares, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    using R = Real<T>;
    DYNAMIC_SHARED(R, memory);
    int lane = threadIdx.x % LANES, row = threadIdx.x / LANES, slab = blockIdx.y;
    int tiles = (int(how.queries) + ROWS - 1) / ROWS, z = blockIdx.x / tiles, first = (blockIdx.x - z * tiles) * ROWS, i = first + row, matrix = z / int(how.groups);
    Lines<T> of_queries(q + place_of(q_batch, z), how.queries, how.width, how.q_row, how.q_column), of_keys(k + place_of(k_batch, matrix), how.keys, how.width, how.k_row, how.k_column);
    Lines<T> of_values(v + place_of(v_batch, matrix), how.keys, how.value_width, how.v_row, how.v_column);
    R *queries = memory, *keys = queries + ROWS * of_keys.wide(), *values = keys + ROWS * of_keys.wide(), *weights = values + ROWS * of_values.wide();
    mask = mask_of<T>(how, mask, mask_batch, z);
    of_queries.load(first, 0, queries);
    R most = -R(INFINITY), total = 0, result[COLUMNS] = {};
    int end = how.causal ? min(int(how.keys), first + ROWS) : int(how.keys);
    for (int begin = 0; begin < end; begin += ROWS) {
        if (of_keys.slabs() > 1) of_queries.load(first, 0, queries);
        of_keys.load(begin, 0, keys);
        of_values.load(begin, slab, values);
        __syncthreads();
        R scores[MINE];
        products_of(of_queries, first, queries, of_keys, begin, keys, row, lane, of_keys.slabs() - 1, scores);
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
        add_rows(&weights[row * SCORES], 1, values, lane, of_values.wide(), of_values.columns(slab), result);
        __syncthreads();
    }
    if (i >= how.queries) return;
    bool seen = total != 0;
    R share = seen ? R(1) / total : R(0);
    i64 at = z * how.queries + i;
#pragma unroll
    for (int f = 0; f < COLUMNS; f++) if (lane + LANES * f < of_values.columns(slab)) out[at * how.value_width + slab * WIDEST + lane + LANES * f] = narrow<T>(result[f] * share);
    if (lane == 0 && slab == 0) { maxima[at] = seen ? most : R(0); shares[at] = share; }
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

// The gradients of the scores of one query and this thread's keys: weight · (survival · g vᵀ - product), from the scores' products and those of
// what arrived. Also the weights that survive; `survived` is a row of shared memory for its own use.
template <class T>
INLINE void slopes_of(const Attention& how, const void* mask, int z, int i, int begin, int lane, Real<T> most, Real<T> share, Real<T> product, Real<T>* survived, Real<T> (&slopes)[MINE], Real<T> (&weights)[MINE]) {
    using R = Real<T>;
    survivals(how, z, i, begin, lane, survived);
#pragma unroll
    for (int c = 0; c < MINE; c++) {
        int j = begin + lane + LANES * c;
        R x = score<T>(how, mask, i, j, weights[c]), weight = x == -R(INFINITY) ? R(0) : exponential(x - most) * share, kept = survived[lane + LANES * c];
        // Where one key has all the weight of its query its slope is what rounding left of nothing.
        slopes[c] = (share == R(1) && weight > R(0.5) ? R(0) : weight) * (kept * slopes[c] - product);
        weights[c] = weight * kept;
    }
}

template <class T>
INLINE void attend_query(const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dq, T* dmask, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    using R = Real<T>;
    DYNAMIC_SHARED(R, memory);
    int lane = threadIdx.x % LANES, row = threadIdx.x / LANES, slab = blockIdx.y;
    int tiles = (int(how.queries) + ROWS - 1) / ROWS, z = blockIdx.x / tiles, first = (blockIdx.x - z * tiles) * ROWS, i = first + row, matrix = z / int(how.groups);
    i64 at = z * how.queries + i;
    Lines<T> of_queries(q + place_of(q_batch, z), how.queries, how.width, how.q_row, how.q_column), of_keys(k + place_of(k_batch, matrix), how.keys, how.width, how.k_row, how.k_column);
    Lines<T> of_arriving(g + z * how.queries * how.value_width, how.queries, how.value_width, how.value_width, 1), of_values(v + place_of(v_batch, matrix), how.keys, how.value_width, how.v_row, how.v_column);
    R *queries = memory, *keys = queries + ROWS * of_keys.wide(), *values = keys + ROWS * of_keys.wide(), *arriving = values + ROWS * of_values.wide(), *held = arriving + ROWS * of_values.wide();
    mask = mask_of<T>(how, mask, mask_batch, z);
    int slabs = of_keys.slabs(), value_slabs = of_values.slabs();
    of_queries.load(first, 0, queries);
    of_arriving.load(first, 0, arriving);
    bool there = i < how.queries;
    R most = there ? maxima[at] : R(0), share = there ? shares[at] : R(0), product = there ? products[at] : R(0), result[COLUMNS] = {};
    int end = how.causal && !dmask ? min(int(how.keys), first + ROWS) : int(how.keys);
    for (int begin = 0; begin < end; begin += ROWS) {
        if (slabs > 1) of_queries.load(first, (slab + 1) % slabs, queries);
        if (value_slabs > 1) of_arriving.load(first, 0, arriving);
        of_keys.load(begin, (slab + 1) % slabs, keys);
        of_values.load(begin, 0, values);
        __syncthreads();
        R slopes[MINE], weights[MINE];
        products_of(of_queries, first, queries, of_keys, begin, keys, row, lane, slab, weights);
        products_of(of_arriving, first, arriving, of_values, begin, values, row, lane, value_slabs - 1, slopes);
        slopes_of<T>(how, mask, z, i, begin, lane, most, share, product, &held[row * SCORES], slopes, weights);
#pragma unroll
        for (int c = 0; c < MINE; c++) {
            int j = begin + lane + LANES * c;
            held[row * SCORES + lane + LANES * c] = slopes[c];
            if (dmask && slab == 0 && there && j < how.keys) dmask[at * how.keys + j] = narrow<T>(slopes[c]);
        }
        __syncwarp();
        add_rows(&held[row * SCORES], 1, keys, lane, of_keys.wide(), of_keys.columns(slab), result);
        __syncthreads();
    }
    if (!there) return;
#pragma unroll
    for (int f = 0; f < COLUMNS; f++) if (lane + LANES * f < of_keys.columns(slab)) dq[at * how.width + slab * WIDEST + lane + LANES * f] = narrow<T>(result[f] * R(how.scale));
}

template <class T>
INLINE void attend_key(const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dk, T* dv, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    using R = Real<T>;
    DYNAMIC_SHARED(R, memory);
    int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    int tiles = (int(how.keys) + ROWS - 1) / ROWS, matrix = blockIdx.x / tiles, first = (blockIdx.x - matrix * tiles) * ROWS;
    Lines<T> of_keys(k + place_of(k_batch, matrix), how.keys, how.width, how.k_row, how.k_column), of_values(v + place_of(v_batch, matrix), how.keys, how.value_width, how.v_row, how.v_column);
    R *queries = memory, *keys = queries + ROWS * of_keys.wide(), *values = keys + ROWS * of_keys.wide(), *arriving = values + ROWS * of_values.wide();
    R *slopes_at = arriving + ROWS * of_values.wide(), *weights_at = slopes_at + ROWS * SCORES;
    // The slab of dk, and that of dv; the narrower of them may have none.
    int slabs = of_keys.slabs(), value_slabs = of_values.slabs(), slab = min(int(blockIdx.y), slabs - 1), value_slab = min(int(blockIdx.y), value_slabs - 1);
    int columns = int(blockIdx.y) == slab ? of_keys.columns(slab) : 0, value_columns = int(blockIdx.y) == value_slab ? of_values.columns(value_slab) : 0;
    of_keys.load(first, 0, keys);
    of_values.load(first, 0, values);
    R key_result[COLUMNS] = {}, value_result[COLUMNS] = {};
    for (int group = 0; group < how.groups; group++) {
        int z = matrix * int(how.groups) + group;
        const void* seen = mask_of<T>(how, mask, mask_batch, z);
        Lines<T> of_queries(q + place_of(q_batch, z), how.queries, how.width, how.q_row, how.q_column), of_arriving(g + z * how.queries * how.value_width, how.queries, how.value_width, how.value_width, 1);
        for (int begin = how.causal ? first : 0; begin < how.queries; begin += ROWS) {
            if (slabs > 1) of_keys.load(first, (slab + 1) % slabs, keys);
            if (value_slabs > 1) of_values.load(first, (value_slab + 1) % value_slabs, values);
            of_queries.load(begin, (slab + 1) % slabs, queries);
            of_arriving.load(begin, (value_slab + 1) % value_slabs, arriving);
            __syncthreads();
            int i = begin + row; i64 at = z * how.queries + i;
            bool there = i < how.queries;
            R slopes[MINE], weights[MINE];
            products_of(of_queries, begin, queries, of_keys, first, keys, row, lane, slab, weights);
            products_of(of_arriving, begin, arriving, of_values, first, values, row, lane, value_slab, slopes);
            slopes_of<T>(how, seen, z, i, first, lane, there ? maxima[at] : R(0), there ? shares[at] : R(0), there ? products[at] : R(0), &weights_at[row * SCORES], slopes, weights);
#pragma unroll
            for (int c = 0; c < MINE; c++) { slopes_at[row * SCORES + lane + LANES * c] = slopes[c]; weights_at[row * SCORES + lane + LANES * c] = weights[c]; }
            __syncthreads();
            // From here on the row is a key.
            add_rows(&slopes_at[row], SCORES, queries, lane, of_keys.wide(), columns, key_result);
            add_rows(&weights_at[row], SCORES, arriving, lane, of_values.wide(), value_columns, value_result);
            __syncthreads();
        }
    }
    int j = first + row; i64 at = matrix * how.keys + j;
    if (j >= how.keys) return;
#pragma unroll
    for (int f = 0; f < COLUMNS; f++) {
        int column = lane + LANES * f;
        if (column < columns) dk[at * how.width + slab * WIDEST + column] = narrow<T>(key_result[f] * R(how.scale));
        if (column < value_columns) dv[at * how.value_width + value_slab * WIDEST + column] = narrow<T>(value_result[f]);
    }
}

#define ATTENTION(t, T)                                                                                                                                   \
    KERNEL_OF((BLOCK, FORWARD<T>), attend_##t, const T* q, const T* k, const T* v, const void* mask, T* out, Real<T>* maxima, Real<T>* shares, Attention how, View q_batch, View k_batch, View v_batch, View mask_batch) { \
        attend(q, k, v, mask, out, maxima, shares, how, q_batch, k_batch, v_batch, mask_batch);                                                           \
    }                                                                                                                                                     \
    KERNEL(attend_products_##t, const T* g, const T* out, Real<T>* products, i64 rows, i64 value_width) { attend_products(g, out, products, rows, value_width); }
#define GRADIENTS(t, T)                                                                                                                                   \
    KERNEL_OF((BLOCK, BACKWARD<T>), attend_query_##t, const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dq, T* dmask, Attention how, View q_batch, View k_batch, View v_batch, View mask_batch) { \
        attend_query(q, k, v, mask, g, maxima, shares, products, dq, dmask, how, q_batch, k_batch, v_batch, mask_batch);                                  \
    }                                                                                                                                                     \
    KERNEL_OF((BLOCK, BACKWARD<T>), attend_key_##t, const T* q, const T* k, const T* v, const void* mask, const T* g, const Real<T>* maxima, const Real<T>* shares, const Real<T>* products, T* dk, T* dv, Attention how, View q_batch, View k_batch, View v_batch, View mask_batch) { \
        attend_key(q, k, v, mask, g, maxima, shares, products, dk, dv, how, q_batch, k_batch, v_batch, mask_batch);                                       \
    }
FLOATS(ATTENTION) GRADIENTS(f32, float) GRADIENTS(f64, double)
