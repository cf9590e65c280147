// attention_tensor.cuh - attention.cu on tensor cores by mma.sync: the same operands, sums in f32, weights and slopes rounded to what is multiplied
// before they meet values, keys and queries (Dao: "FlashAttention-2", 2023). bf16 and f16 are multiplied as themselves, f32 as tf32. Entry points and
// launches stand in attention_tensor.cu and attention_tf32.cu.
//
// The idea: a warp has 16 or 32 lines for itself, from the first product to the result, in registers: what mma.sync gives as a sum is,
// packed, what it wants as a left operand, so weights never go through shared memory. attend_key turns its products round
// (keys · queriesᵀ), and so weights and slopes are left operands there too.
//   1. Tiles lie in chunks of 16 bytes with their places exchanged (tensor.cuh): ldmatrix reads without conflicts, and turned where the
//      product is shared along lines. With 32 lines a warp uses what it has read four times (16 lines: twice).
//   2. Forward, values are on their way (cp.async) while keys are multiplied, the next keys while values are: one buffer of each is enough.
//      Backward both are needed to the end of a tile, so there are two buffers.
//   3. Exponentials are powers of two, their factor is multiplied into the scale. A result is scaled only where a maximum of the warp has grown. Sums
//      of a row are joined at the end.
//   4. What is masked, and what dropout keeps, is asked in a short loop and kept as bits; tiles in which all is seen ask nothing.
//      Blocks with the most keys to see come first.
#pragma once
#include "attention.cuh"
#include "tensor.cuh"

constexpr int THREADS = 128, WARPS = THREADS / WARP;

// One bit for each number of this thread's part of a warp's product, in their order: what `ask` says of line and column.
template <int TALL, int COLUMNS, class Ask> INLINE u64 bits_of(const Ask& ask) {
    int g = threadIdx.x % WARP / 4, q = threadIdx.x % 4;
    u64 bits = 0;
#pragma unroll 1
    for (int n = 0; n < TALL * COLUMNS / 2; n++) {
        int line = n / 4 / (COLUMNS / 8) * 16 + n / 2 % 2 * 8 + g, column = n / 4 % (COLUMNS / 8) * 8 + 2 * q + n % 2;
        if (ask(line, column)) bits |= 1ull << n;
    }
    return bits;
}
INLINE bool is_seen(const Attention& how, const void* mask, int i, int j) {
    if (i >= how.queries || j >= how.keys || (how.causal && j > i)) return false;
    return how.mask_kind != 1 || static_cast<const u8*>(mask)[i * how.mask_row + j * how.mask_column];
}
INLINE bool survives(const Attention& how, int z, int i, int j) {
    return i < how.queries && j < how.keys && u64(word_of(how.draw, (z * how.queries + i) * how.keys + j)) >= how.threshold;
}

// sums = lines of `left` · lines of `right`: a warp's 16 · TALL from `line` on, and all COLUMNS.
template <class T, int WIDE, int TALL, int COLUMNS>
INLINE void products_of(float (&sums)[TALL][COLUMNS / 8][4], const Tile<T, WIDE>& left, int line, const Tile<T, WIDE>& right) {
#pragma unroll
    for (int t = 0; t < TALL; t++)
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[t][j][e] = 0;
    const T *left_at = left.as_left(line), *right_at = right.as_right(0);
    using Wide = Tile<T, WIDE>;
#pragma unroll
    for (int k = 0; k < WIDE; k += Wide::DEEP) {
        u32 a[TALL][4];
#pragma unroll
        for (int t = 0; t < TALL; t++) Wide::left(a[t], Wide::on(left_at, 16 * t, k));
#pragma unroll
        for (int n = 0; n < COLUMNS; n += 16) {
            u32 b[2][2];
            Wide::template right<false>(b, Wide::on(right_at, n, k));
#pragma unroll
            for (int t = 0; t < TALL; t++) { multiply(T{}, sums[t][n / 8], a[t], b[0]); multiply(T{}, sums[t][n / 8 + 1], a[t], b[1]); }
        }
    }
}
// sums += weights · lines of `right`; the weights are sums of another product.
template <class T, int WIDE, int TALL, int COLUMNS>
INLINE void add_lines(float (&sums)[TALL][WIDE / 8][4], const float (&weights)[TALL][COLUMNS / 8][4], const Tile<T, WIDE>& right) {
    Turned<T, WIDE> turned(right);
#pragma unroll
    for (int k = 0; k < COLUMNS; k += Tile<T, WIDE>::DEEP) {
        u32 a[TALL][4];
#pragma unroll
        for (int t = 0; t < TALL; t++) turned.left(a[t], weights[t], k);
#pragma unroll
        for (int n = 0; n < WIDE; n += 16) {
            u32 b[2][2];
            turned.right(b, k, n);
#pragma unroll
            for (int t = 0; t < TALL; t++) { multiply(T{}, sums[t][n / 8], a[t], b[0]); multiply(T{}, sums[t][n / 8 + 1], a[t], b[1]); }
        }
    }
}
// A warp's 16 · TALL lines of a result, times `factor(t, half)`, to a dense matrix by way of shared memory that nobody else uses.
template <class T, int WIDE, int TALL, class Factor>
INLINE void write_lines(const float (&sums)[TALL][WIDE / 8][4], const Factor& factor, const Tile<T, WIDE>& tile, int line, T* to, int first, int count, int width) {
    int lane = threadIdx.x % WARP, g = lane / 4, q = lane % 4;
    __syncwarp();
#pragma unroll
    for (int t = 0; t < TALL; t++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float by = factor(t, half);
#pragma unroll
            for (int j = 0; j < WIDE / 8; j++)
                put_pair(&tile.at(line + 16 * t + 8 * half + g, 8 * j + 2 * q), sums[t][j][2 * half] * by, sums[t][j][2 * half + 1] * by);
        }
    __syncwarp();
    constexpr int EACH = Tile<T, WIDE>::EACH, CHUNKS = WIDE / EACH;
    bool chunks = width % EACH == 0 && is_aligned(to, 16);
#pragma unroll 1
    for (int e = lane; e < 16 * TALL * CHUNKS; e += WARP) {
        int at = line + e / CHUNKS, c = e % CHUNKS;
        if (first + at >= count || c * EACH >= width) continue;
        T* place = to + i64(first + at) * width + c * EACH;
        const T* from = tile.chunk(at, c);
        if (chunks) *reinterpret_cast<Pack<T, EACH>*>(place) = *reinterpret_cast<const Pack<T, EACH>*>(from);
        else for (int i = 0; i < min(EACH, width - c * EACH); i++) place[i] = from[i];
    }
}

// What is on its way has arrived; a warp's own lines are rounded, if they are to be.
template <int LINES, class T, int WIDE> INLINE void round_own(const Tile<T, WIDE>& tile, int line) {
    if constexpr (sizeof(T) == 4) {
        copy_async_wait<0>();
        __syncthreads();
        tile.template round_lines<LINES>(line);
    }
}

template <class T, int WIDE, int TALL, int KEYS>
INLINE void attend(const T* q, const T* k, const T* v, const void* mask, T* out, float* maxima, float* shares, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    constexpr int ROWS = 16 * TALL * WARPS;
    DYNAMIC_SHARED(T, memory);
    Tile<T, WIDE> queries{memory}, keys{memory + ROWS * WIDE}, values{keys.numbers + KEYS * WIDE};
    int tiles = (int(how.queries) + ROWS - 1) / ROWS, z = blockIdx.x / tiles, first = (tiles - 1 - (blockIdx.x - z * tiles)) * ROWS, matrix = z / int(how.groups);
    Lines<T, WIDE, THREADS> of_queries(q + place_of(q_batch, z), int(how.queries), int(how.width), how.q_row, how.q_column);
    Lines<T, WIDE, THREADS> of_keys(k + place_of(k_batch, matrix), int(how.keys), int(how.width), how.k_row, how.k_column);
    Lines<T, WIDE, THREADS> of_values(v + place_of(v_batch, matrix), int(how.keys), int(how.value_width), how.v_row, how.v_column);
    mask = mask_of<T>(how, mask, mask_batch, z);
    int lane = threadIdx.x % WARP, line = threadIdx.x / WARP * 16 * TALL;
    float scale = float(how.scale) * LOG2_E, result[TALL][WIDE / 8][4] = {}, most[TALL][2], total[TALL][2] = {};
#pragma unroll
    for (int t = 0; t < TALL; t++) most[t][0] = most[t][1] = -INFINITY;
    int end = how.causal ? min(int(how.keys), first + ROWS) : int(how.keys);
    of_queries.template fetch<ROWS>(queries, first);
    of_keys.template fetch<KEYS>(keys, 0);
    round_own<16 * TALL>(queries, line);
    for (int begin = 0; begin < end; begin += KEYS) {
        copy_async_wait<0>();
        __syncthreads();
        of_values.template fetch<KEYS>(values, begin);
        float weights[TALL][KEYS / 8][4];
        products_of<T, WIDE, TALL, KEYS>(weights, queries, line, keys);
        bool plain = !how.mask_kind && begin + KEYS <= how.keys && (!how.causal || begin + KEYS <= first + line + 1);
        u64 seen = plain ? 0 : bits_of<TALL, KEYS>([&](int i, int j) { return is_seen(how, mask, first + line + i, begin + j); });
        bool grown = false;
        float before[TALL][2];
#pragma unroll
        for (int t = 0; t < TALL; t++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float greatest = most[t][half];
#pragma unroll
                for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        float& x = weights[t][j][2 * half + e];
                        x *= scale;
                        if (!plain) {
                            bool there = seen >> ((t * (KEYS / 8) + j) * 4 + 2 * half + e) & 1;
                            if (there && how.mask_kind == 2)
                                x += LOG2_E * widen(static_cast<const T*>(mask)[i64(first + line + 16 * t + 8 * half + lane / 4) * how.mask_row + i64(begin + 8 * j + lane % 4 * 2 + e) * how.mask_column]);
                            if (!there) x = -INFINITY;
                        }
                        greatest = fmaxf(greatest, x);
                    }
                greatest = fmaxf(greatest, __shfl_xor_sync(EVERYONE, greatest, 1));
                greatest = fmaxf(greatest, __shfl_xor_sync(EVERYONE, greatest, 2));
                float base = greatest == -INFINITY ? 0.0f : greatest, sum = 0;
                before[t][half] = power_of_two(most[t][half] - base);
                grown |= greatest > most[t][half];
                most[t][half] = greatest;
#pragma unroll
                for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                    for (int e = 0; e < 2; e++) { float& x = weights[t][j][2 * half + e]; x = power_of_two(x - base); sum += x; }
                total[t][half] = total[t][half] * before[t][half] + sum;
            }
        if (how.dropout) {
            u64 kept = bits_of<TALL, KEYS>([&](int i, int j) { return survives(how, z, first + line + i, begin + j); });
#pragma unroll
            for (int n = 0; n < TALL * KEYS / 2; n++) if (!(kept >> n & 1)) weights[n / 4 / (KEYS / 8)][n / 4 % (KEYS / 8)][n % 4] = 0;
        }
        if (__any_sync(EVERYONE, grown)) {
#pragma unroll
            for (int t = 0; t < TALL; t++)
#pragma unroll
                for (int j = 0; j < WIDE / 8; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) result[t][j][e] *= before[t][e / 2];
        }
        copy_async_wait<0>();
        __syncthreads();
        if (begin + KEYS < end) of_keys.template fetch<KEYS>(keys, begin + KEYS);
        add_lines<T, WIDE, TALL, KEYS>(result, weights, values);
    }
    copy_async_wait<0>();                                    // where there was no key at all
    __syncthreads();
    float kept = how.dropout ? float(how.kept) : 1.0f;
#pragma unroll
    for (int t = 0; t < TALL; t++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float& sum = total[t][half];
            sum += __shfl_xor_sync(EVERYONE, sum, 1);
            sum += __shfl_xor_sync(EVERYONE, sum, 2);
            bool seen = sum != 0;
            sum = seen ? 1.0f / sum : 0.0f;
            int i = first + line + 16 * t + 8 * half + lane / 4;
            if (lane % 4 == 0 && i < how.queries) { maxima[z * how.queries + i] = seen ? most[t][half] / LOG2_E : 0.0f; shares[z * how.queries + i] = sum; }
        }
    write_lines(result, [&](int t, int half) { return total[t][half] * kept; }, queries, line, out + z * how.queries * how.value_width, first, int(how.queries), int(how.value_width));
}

// From scores and the products of what arrived and values: weights that survive, and slopes = weight · (survival · product - row's product).
INLINE void slope_of(float& weight, float& slope, const Row& row, bool seen, bool alive, float kept) {
    float before = seen ? power_of_two(weight - row.level) : 0.0f, survival = alive ? kept : 0.0f;
    slope = before * (survival * slope - row.product);
    weight = before * survival;
}

template <class T, int WIDE, int TALL, int KEYS>
INLINE void attend_query(const T* q, const T* k, const T* v, const void* mask, const T* g, const float* maxima, const float* shares, const float* products, T* dq, T* dmask, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    constexpr int ROWS = 16 * TALL * WARPS;
    DYNAMIC_SHARED(T, memory);
    Tile<T, WIDE> queries{memory}, arriving{memory + ROWS * WIDE};
    T* passing = arriving.numbers + ROWS * WIDE;
    int tiles = (int(how.queries) + ROWS - 1) / ROWS, z = blockIdx.x / tiles, first = (tiles - 1 - (blockIdx.x - z * tiles)) * ROWS, matrix = z / int(how.groups);
    Lines<T, WIDE, THREADS> of_queries(q + place_of(q_batch, z), int(how.queries), int(how.width), how.q_row, how.q_column);
    Lines<T, WIDE, THREADS> of_arriving(g + z * how.queries * how.value_width, int(how.queries), int(how.value_width), how.value_width, 1);
    Lines<T, WIDE, THREADS> of_keys(k + place_of(k_batch, matrix), int(how.keys), int(how.width), how.k_row, how.k_column);
    Lines<T, WIDE, THREADS> of_values(v + place_of(v_batch, matrix), int(how.keys), int(how.value_width), how.v_row, how.v_column);
    mask = mask_of<T>(how, mask, mask_batch, z);
    int lane = threadIdx.x % WARP, line = threadIdx.x / WARP * 16 * TALL;
    float scale = float(how.scale) * LOG2_E, kept = how.dropout ? float(how.kept) : 1.0f, result[TALL][WIDE / 8][4] = {};
    // What rows have is read anew for each tile: registers are for sums.
    Row* rows = reinterpret_cast<Row*>(passing + 4 * KEYS * WIDE);
    if (threadIdx.x < ROWS) rows[threadIdx.x] = row_of(how, maxima, shares, products, z, first + int(threadIdx.x));
    int end = how.causal && !dmask ? min(int(how.keys), first + ROWS) : int(how.keys);
    of_queries.template fetch<ROWS>(queries, first);
    of_arriving.template fetch<ROWS>(arriving, first);
    of_keys.template fetch<KEYS>({passing}, 0);
    of_values.template fetch<KEYS>({passing + KEYS * WIDE}, 0);
    round_own<16 * TALL>(queries, line);
    round_own<16 * TALL>(arriving, line);
    int now = 0;
    for (int begin = 0; begin < end; begin += KEYS) {
        copy_async_wait<0>();
        __syncthreads();
        Tile<T, WIDE> keys{passing + now * 2 * KEYS * WIDE}, values{keys.numbers + KEYS * WIDE};
        now ^= 1;
        if (begin + KEYS < end) {
            of_keys.template fetch<KEYS>({passing + now * 2 * KEYS * WIDE}, begin + KEYS);
            of_values.template fetch<KEYS>({passing + now * 2 * KEYS * WIDE + KEYS * WIDE}, begin + KEYS);
        }
        float weights[TALL][KEYS / 8][4], slopes[TALL][KEYS / 8][4];
        products_of<T, WIDE, TALL, KEYS>(weights, queries, line, keys);
        products_of<T, WIDE, TALL, KEYS>(slopes, arriving, line, values);
        bool plain = !how.mask_kind && begin + KEYS <= how.keys && (!how.causal || begin + KEYS <= first + line + 1);
        u64 seen = plain ? ~0ull : bits_of<TALL, KEYS>([&](int i, int j) { return is_seen(how, mask, first + line + i, begin + j); });
        u64 alive = !how.dropout ? ~0ull : bits_of<TALL, KEYS>([&](int i, int j) { return survives(how, z, first + line + i, begin + j); });
#pragma unroll
        for (int t = 0; t < TALL; t++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int own = line + 16 * t + 8 * half + lane / 4, i = first + own;
                Row row = rows[own];
#pragma unroll
                for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        int n = (t * (KEYS / 8) + j) * 4 + 2 * half + e, at = begin + 8 * j + lane % 4 * 2 + e;
                        float &weight = weights[t][j][n % 4], &slope = slopes[t][j][n % 4];
                        weight *= scale;
                        if (how.mask_kind == 2 && seen >> n & 1) weight += LOG2_E * widen(static_cast<const T*>(mask)[i * how.mask_row + at * how.mask_column]);
                        slope_of(weight, slope, row, seen >> n & 1, alive >> n & 1, kept);
                        if (dmask && i < how.queries && at < how.keys) dmask[(z * how.queries + i) * how.keys + at] = narrow<T>(slope);
                    }
            }
        add_lines<T, WIDE, TALL, KEYS>(result, slopes, keys);
    }
    copy_async_wait<0>();
    __syncthreads();
    float factor = float(how.scale);
    write_lines(result, [&](int, int) { return factor; }, queries, line, dq + z * how.queries * how.width, first, int(how.queries), int(how.width));
}

template <class T, int WIDE, int TALL, int QUERIES>
INLINE void attend_key(const T* q, const T* k, const T* v, const void* mask, const T* g, const float* maxima, const float* shares, const float* products, T* dk, T* dv, const Attention& how, const View& q_batch, const View& k_batch, const View& v_batch, const View& mask_batch) {
    constexpr int ROWS = 16 * TALL * WARPS;
    constexpr bool BOTH = WIDE <= 128;                       // else registers have room for one of the gradients
    DYNAMIC_SHARED(T, memory);
    Tile<T, WIDE> keys{memory}, values{memory + ROWS * WIDE};
    T* passing = values.numbers + ROWS * WIDE;
    Row* statistics = reinterpret_cast<Row*>(passing + 4 * QUERIES * WIDE);
    bool for_value = BOTH || blockIdx.y == 1, for_key = BOTH || blockIdx.y == 0;
    int tiles = (int(how.keys) + ROWS - 1) / ROWS, matrix = blockIdx.x / tiles, first = (blockIdx.x - matrix * tiles) * ROWS;
    Lines<T, WIDE, THREADS> of_keys(k + place_of(k_batch, matrix), int(how.keys), int(how.width), how.k_row, how.k_column);
    Lines<T, WIDE, THREADS> of_values(v + place_of(v_batch, matrix), int(how.keys), int(how.value_width), how.v_row, how.v_column);
    int lane = threadIdx.x % WARP, line = threadIdx.x / WARP * 16 * TALL;
    float scale = float(how.scale) * LOG2_E, kept = how.dropout ? float(how.kept) : 1.0f;
    float key_sum[TALL][WIDE / 8][4] = {}, value_sum[TALL][BOTH ? WIDE / 8 : 1][4] = {};
    int start = how.causal ? first / QUERIES * QUERIES : 0, each = start < how.queries ? (int(how.queries) - start + QUERIES - 1) / QUERIES : 0;
    // Tile n of all: those of the first group of queries, then of the next.
    auto fetch = [&](int n, int to) {
        int group = n / each, z = matrix * int(how.groups) + group, begin = start + (n - group * each) * QUERIES;
        T* at = passing + to * 2 * QUERIES * WIDE;
        Lines<T, WIDE, THREADS>(q + place_of(q_batch, z), int(how.queries), int(how.width), how.q_row, how.q_column).template fetch<QUERIES>({at}, begin);
        Lines<T, WIDE, THREADS>(g + z * how.queries * how.value_width, int(how.queries), int(how.value_width), how.value_width, 1).template fetch<QUERIES>({at + QUERIES * WIDE}, begin);
        if (threadIdx.x < QUERIES) statistics[to * QUERIES + threadIdx.x] = row_of(how, maxima, shares, products, z, begin + int(threadIdx.x));
    };
    of_keys.template fetch<ROWS>(keys, first);
    of_values.template fetch<ROWS>(values, first);
    int count = each * int(how.groups);
    if (count > 0) fetch(0, 0);
    round_own<16 * TALL>(keys, line);
    round_own<16 * TALL>(values, line);
    int now = 0;
    for (int n = 0; n < count; n++) {
        copy_async_wait<0>();
        __syncthreads();
        Tile<T, WIDE> queries{passing + now * 2 * QUERIES * WIDE}, arriving{queries.numbers + QUERIES * WIDE};
        const Row* row_at = statistics + now * QUERIES;
        now ^= 1;
        if (n + 1 < count) fetch(n + 1, now);
        int group = n / each, z = matrix * int(how.groups) + group, begin = start + (n - group * each) * QUERIES;
        const void* seen_by = mask_of<T>(how, mask, mask_batch, z);
        float weights[TALL][QUERIES / 8][4], slopes[TALL][QUERIES / 8][4] = {};
        products_of<T, WIDE, TALL, QUERIES>(weights, keys, line, queries);
        if (for_key) products_of<T, WIDE, TALL, QUERIES>(slopes, values, line, arriving);
        bool plain = !how.mask_kind && (!how.causal || first + line + 16 * TALL <= begin + 1);
        u64 seen = plain ? ~0ull : bits_of<TALL, QUERIES>([&](int j, int i) { return is_seen(how, seen_by, begin + i, first + line + j); });
        u64 alive = !how.dropout ? ~0ull : bits_of<TALL, QUERIES>([&](int j, int i) { return survives(how, z, begin + i, first + line + j); });
#pragma unroll
        for (int m = 0; m < TALL * QUERIES / 2; m++) {
            int t = m / 4 / (QUERIES / 8), c = m / 4 % (QUERIES / 8), half = m / 2 % 2, column = 8 * c + lane % 4 * 2 + m % 2;
            float &weight = weights[t][c][m % 4], &slope = slopes[t][c][m % 4];
            weight *= scale;
            if (how.mask_kind == 2 && seen >> m & 1)
                weight += LOG2_E * widen(static_cast<const T*>(seen_by)[i64(begin + column) * how.mask_row + i64(first + line + 16 * t + 8 * half + lane / 4) * how.mask_column]);
            slope_of(weight, slope, row_at[column], seen >> m & 1, alive >> m & 1, kept);
        }
        if constexpr (BOTH) {
            add_lines<T, WIDE, TALL, QUERIES>(value_sum, weights, arriving);
            add_lines<T, WIDE, TALL, QUERIES>(key_sum, slopes, queries);
        } else {
            if (for_key) add_lines<T, WIDE, TALL, QUERIES>(key_sum, slopes, queries);
            else add_lines<T, WIDE, TALL, QUERIES>(key_sum, weights, arriving);
        }
    }
    copy_async_wait<0>();
    __syncthreads();
    float factor = float(how.scale);
    T *keys_to = dk + matrix * how.keys * how.width, *values_to = dv + matrix * how.keys * how.value_width;
    if (for_key) write_lines(key_sum, [&](int, int) { return factor; }, keys, line, keys_to, first, int(how.keys), int(how.width));
    if constexpr (BOTH) write_lines(value_sum, [](int, int) { return 1.0f; }, values, line, values_to, first, int(how.keys), int(how.value_width));
    else if (for_value) write_lines(key_sum, [](int, int) { return 1.0f; }, values, line, values_to, first, int(how.keys), int(how.value_width));
}

#define OPERANDS(T) const T *q, const T *k, const T *v, const void *mask
#define VIEWS Attention how, View q_batch, View k_batch, View v_batch, View mask_batch
#define GIVEN how, q_batch, k_batch, v_batch, mask_batch
#define BACKWARD(T) OPERANDS(T), const T *g, const float *maxima, const float *shares, const float *products
#define ATTENTION(w, t, T, tall, keys, query_tall, query_keys, key_tall, key_queries)                                                 \
    KERNEL_OF((THREADS), attend_tensor_##w##_##t, OPERANDS(T), T* out, float* maxima, float* shares, VIEWS) {                         \
        attend<T, w, tall, keys>(q, k, v, mask, out, maxima, shares, GIVEN);                                                          \
    }                                                                                                                                 \
    KERNEL_OF((THREADS), attend_query_tensor_##w##_##t, BACKWARD(T), T* dq, T* dmask, VIEWS) {                                        \
        attend_query<T, w, query_tall, query_keys>(q, k, v, mask, g, maxima, shares, products, dq, dmask, GIVEN);                     \
    }                                                                                                                                 \
    KERNEL_OF((THREADS), attend_key_tensor_##w##_##t, BACKWARD(T), T* dk, T* dv, VIEWS) {                                             \
        attend_key<T, w, key_tall, key_queries>(q, k, v, mask, g, maxima, shares, products, dk, dv, GIVEN);                           \
    }
