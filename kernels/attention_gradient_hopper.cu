// attention_gradient_hopper.cu - the gradient of attention on compute capability 9.0, for bf16 and f16: wgmma fed by copies of whole boxes. Sums are
// in f32, weights and slopes are rounded to T before they are multiplied, as in attention_tensor.cu, which has what is missing here: dropout,
// masks of numbers, other widths.
//
//   attend_query_hopper_W_T(maxima, shares, products, dq, Attention, int q_heads, int k_heads, int v_heads, int g_heads, TensorMap q, k, v, g)
//   attend_key_hopper_W_T(maxima, shares, products, dk, dv, Attention, int q_heads, int k_heads, int v_heads, int g_heads, TensorMap q, k, v, g)
//   attend_query_masked_hopper_W_T, attend_key_masked_hopper_W_T: the same with `const u8* mask` behind dq, dv and `View mask_batch` behind g_heads
//        T of bf16 f16; W of 64 128: width and value_width are at most W and multiples of 8. maxima, shares, products, dq, dk, dv as in attention.cu.
//        No dropout, at least one key, a scale above zero. The maps describe [batches, heads, lines, columns] with columns dense, in boxes of 64 columns by LINES
//        that are stored with the 128-byte swizzle; LINES are 128, for q and g of attend_key 64. Matrix z is head z mod heads of batch z / heads.
//
// Launch: 384 threads, shared memory QUERY_BYTES<W>, KEY_BYTES<W>. attend_query: grid ceil(queries / 128) · matrices · groups; attend_key:
// ceil(keys / 128) · matrices.
//
// The idea: of three groups of four warps the first brings, the others multiply, 64 lines each: queries, whose slopes times keys stay in registers, or
// keys, whose weights times what arrived and slopes times queries do.
//   1. A block's own lines come once. The others pass by in a ring: 128 keys and values at a time, 64 queries and what arrived for them. What has arrived ends
//      the phase of its barrier `full`, all eight warps that are done with it that of `free`.
//   2. Scores are products from shared memory. What wgmma gives as sums is, packed, what it takes as a left operand from registers, so weights and
//      slopes never leave them. attend_key turns its products round (keys · queriesᵀ), and so they are left operands there too.
//   3. Products are asked for before the last ones are waited for: the next scores while the last slopes are multiplied, exponentials while the products of
//      what arrived and values are formed. What one group does between products the other's products hide.
//   4. The first group keeps 24 registers a thread, so that the others have 240: sums of 128 columns for keys and for values, scores, slopes, and both rounded.
//   5. Two passes do 7 products where one pass would do 5, but everything is added up by one thread in one order, in registers.
#include "attention.cuh"
#include "hopper.cuh"
#include "mask_hopper.cuh"
#include "tensor.cuh"

constexpr int OWN = 128, GROUP = 128, THREADS = 3 * GROUP, MULTIPLYING_WARPS = 8;

// An operand in memory, and how many of its matrices are one batch.
struct Operand { const TensorMap& map; int heads; };

// Lines of a matrix in shared memory, as boxes of 64 columns bring them.
template <int LINES, int WIDE> struct Boxes {
    static constexpr int BOX = LINES * 128, BYTES = WIDE / 64 * BOX;
    unsigned char* at;

    INLINE void bring(const Operand& x, int line, int z, u64* full) const {
#pragma unroll
        for (int box = 0; box < WIDE / 64; box++) copy_box(at + box * BOX, x.map, 64 * box, line, z % x.heads, z / x.heads, full);
    }
    // An operand that is shared along its columns, from a line (a multiple of 8) and a column (of 16) on.
    INLINE u64 along(int line, int column) const { return operand_at(at, 16, 1024) + ((column / 64 * BOX + line * 128 + column % 64 * 2) >> 4); }
    // All its columns, shared along 16 lines.
    INLINE u64 across(int line) const { return operand_at(at, BOX, 1024) + (line * 128 >> 4); }
};

// A ring of stages, seen by one thread: how many it has gone through.
template <int STAGES> struct Ring {
    u64* barriers;                                           // `full` of each stage, then `free`
    u32 passed = 0;

    INLINE void begin(u32 arrivals) const {
        for (int i = 0; i < STAGES; i++) { barrier_begin(&barriers[i], arrivals); barrier_begin(&barriers[STAGES + i], MULTIPLYING_WARPS); }
    }
    INLINE int stage() const { return int(passed % STAGES); }
    INLINE u64* full() const { return &barriers[stage()]; }
    INLINE void wait_full() const { barrier_wait(full(), passed / STAGES & 1); }
    INLINE void wait_free() const { barrier_wait(&barriers[STAGES + stage()], (passed / STAGES & 1) ^ 1); }          // the first time round it is free
    INLINE void give_back(u32 passed) const { if (threadIdx.x % WARP == 0) barrier_arrive(&barriers[STAGES + passed % STAGES]); }
    INLINE void advance() { passed++; }
};

// Shared memory of a block: its own lines of two operands; stages for lines of the two others, which pass by; what stands beside and behind them.
template <int WIDE, int LINES, int STAGES> struct Room {
    using Own = Boxes<OWN, WIDE>;
    using Passing = Boxes<LINES, WIDE>;
    unsigned char* memory;

    INLINE Own own(int which) const { return {memory + which * Own::BYTES}; }
    INLINE Passing passing(int stage, int which) const { return {memory + 2 * Own::BYTES + (2 * stage + which) * Passing::BYTES}; }
    INLINE unsigned char* behind() const { return passing(STAGES, 0).at; }
};
// Of a thread that multiplies: where the lines of its group begin among the block's, the first of its own two in the matrix, its first column.
struct Mine {
    int part, line, column;

    INLINE Mine(int first) : part((threadIdx.x / GROUP - 1) * 64), line(first + part + threadIdx.x / WARP % 4 * 16 + threadIdx.x % WARP / 4), column(threadIdx.x % 4 * 2) {}
};

constexpr int KEYS = 128, QUERIES = 64, KEY_STAGES = 2, QUERY_STAGES = 4;
template <int STAGES> constexpr int BARRIER_BYTES = (1 + 4 * STAGES) * 8;           // one, and those of two rings
template <int WIDE> constexpr int QUERY_BYTES = 2 * Boxes<OWN, WIDE>::BYTES + KEY_STAGES * 2 * Boxes<KEYS, WIDE>::BYTES + BARRIER_BYTES<KEY_STAGES>;
template <int WIDE> constexpr int KEY_BYTES = 2 * Boxes<OWN, WIDE>::BYTES + QUERY_STAGES * (2 * Boxes<QUERIES, WIDE>::BYTES + QUERIES * int(sizeof(Row))) + BARRIER_BYTES<QUERY_STAGES>;
static_assert(QUERY_BYTES<128> <= 227 << 10 && KEY_BYTES<128> <= 227 << 10, "they fit");

// sums = 64 lines of `left`, from `line` on, times lines of `right`.
template <class T, int WIDE, int LEFT, int RIGHT> INLINE void multiply_lines(float (&sums)[RIGHT / 2], const Boxes<LEFT, WIDE>& left, int line, const Boxes<RIGHT, WIDE>& right) {
    products_begin();
#pragma unroll
    for (int k = 0; k < WIDE; k += 16) products<T, false, false>(sums, left.along(line, k), right.along(0, k), k);
    products_commit();
}
// Sums of a product as left operands of the next: four words for each 16 columns.
template <class T, int COUNT> INLINE void pack_sums(u32 (&packed)[COUNT / 8][4], const float (&sums)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT / 2; i++) packed[i / 4][i % 4] = pack(T{}, sums[2 * i], sums[2 * i + 1]);
}
// sums (+)= packed · lines of `right`.
template <class T, int WIDE, int LINES> INLINE void add_lines(float (&sums)[WIDE / 2], const u32 (&packed)[LINES / 16][4], const Boxes<LINES, WIDE>& right, int add) {
    products_begin();
#pragma unroll
    for (int k = 0; k < LINES / 16; k++) products_of_registers<T, true>(sums, packed[k], right.across(16 * k), add + k);
    products_commit();
}
// This thread's two lines of a result, times a factor.
template <class T, int COUNT> INLINE void write_lines(const float (&sums)[COUNT], float factor, T* to, int line, i64 count, int width) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (line + 8 * h >= count) continue;
        T* at = to + i64(line + 8 * h) * width + threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < COUNT / 4; j++)
            if (8 * j < width) *reinterpret_cast<u32*>(at + 8 * j) = pack(T{}, sums[4 * j + 2 * h] * factor, sums[4 * j + 2 * h + 1] * factor);
    }
}

template <class T, int WIDE, class Mask>
INLINE void attend_query(const float* maxima, const float* shares, const float* products, T* dq, const Attention& how, const Mask& mask, const Operand& q, const Operand& k, const Operand& v, const Operand& g) {
    PATTERNED_SHARED(memory);
    using Shared = Room<WIDE, KEYS, KEY_STAGES>;
    Shared room{memory};
    auto queries = room.own(0), arriving = room.own(1);
    u64* own = reinterpret_cast<u64*>(room.behind());
    Ring<KEY_STAGES> ring{own + 1}, value_ring{own + 1 + 2 * KEY_STAGES};
    if (threadIdx.x == 0) { barrier_begin(own, 1); ring.begin(1); value_ring.begin(1); barriers_begun(); }
    __syncthreads();
    // Blocks with the most keys to see come first.
    int tiles = (int(how.queries) + OWN - 1) / OWN, z = blockIdx.x / tiles, first = (tiles - 1 - (blockIdx.x - z * tiles)) * OWN;
    int end = how.causal ? min(int(how.keys), first + OWN) : int(how.keys);
    if (threadIdx.x < GROUP) {
        registers_less<24>();
        auto bring = [&](Ring<KEY_STAGES> ring, int which, const Operand& x) {
            int matrix = z / int(how.groups);
#pragma unroll 1
            for (int begin = 0; begin < end; begin += KEYS) {
                ring.wait_free();
                barrier_expect(ring.full(), Shared::Passing::BYTES);
                room.passing(ring.stage(), which).bring(x, begin, matrix, ring.full());
                ring.advance();
            }
        };
        // A warp for each of the two, since values are given back before keys.
        if (threadIdx.x == 0) {
            barrier_expect(own, 2 * Shared::Own::BYTES);
            queries.bring(q, first, z, own);
            arriving.bring(g, first, z, own);
            bring(ring, 0, k);
        } else if (threadIdx.x == WARP) bring(value_ring, 1, v);
        return;
    }
    registers_more<240>();
    auto [part, line, column] = Mine(first);
    Row rows[2];
    int limits[2];                                           // keys that a query sees
#pragma unroll
    for (int h = 0; h < 2; h++) {
        rows[h] = row_of(how, maxima, shares, products, z, line + 8 * h);
        limits[h] = how.causal ? min(int(how.keys), line + 8 * h + 1) : int(how.keys);
    }
    float scale = float(how.scale) * LOG2_E, result[WIDE / 2], weights[KEYS / 2], slopes[KEYS / 2];
    u32 packed[KEYS / 16][4];
    barrier_wait(own, 0);
    for (int begin = 0; begin < end; begin += KEYS) {
        ring.wait_full();
        auto keys = room.passing(ring.stage(), 0), values = room.passing(ring.stage(), 1);
        multiply_lines<T>(weights, queries, part, keys);
        products_wait<1>();                                  // the last slopes are multiplied
        if (begin) ring.give_back(ring.passed - 1);
        value_ring.wait_full();
        multiply_lines<T>(slopes, arriving, part, values);
        u64 seen = mask.template look<true, KEYS / 2>(z, line, begin + column);
        products_wait<1>();
        sums_there(weights);
        mask.hide(weights, seen);
        if (begin + KEYS > (how.causal ? min(int(how.keys), first + part + 1) : int(how.keys))) {
#pragma unroll
            for (int n = 0; n < KEYS / 2; n++) if (begin + column + n / 4 * 8 + n % 2 >= limits[n / 2 % 2]) weights[n] = -INFINITY;
        }
#pragma unroll
        for (int n = 0; n < KEYS / 2; n++) weights[n] = power_of_two(weights[n] * scale - rows[n / 2 % 2].level);
        products_wait<0>();
        sums_there(slopes);
        value_ring.give_back(value_ring.passed);
        value_ring.advance();
#pragma unroll
        for (int n = 0; n < KEYS / 2; n++) weights[n] *= slopes[n] - rows[n / 2 % 2].product;
        pack_sums<T>(packed, weights);
        add_lines<T>(result, packed, keys, begin);
        ring.advance();
    }
    products_wait<0>();
    sums_there(result);
    write_lines(result, float(how.scale), dq + z * how.queries * how.width, line, how.queries, int(how.width));
}

// bring(matrix, first query, stage, its barrier) for each stage of matrices that share their keys.
template <class Bring> INLINE void bring_each(Ring<QUERY_STAGES> ring, int z, int groups, int start, int end, const Bring& bring) {
    for (; groups > 0; groups--, z++)
#pragma unroll 1
        for (int begin = start; begin < end; begin += QUERIES) {
            ring.wait_free();
            bring(z, begin, ring.stage(), ring.full());
            ring.advance();
        }
}

template <class T, int WIDE, class Mask>
INLINE void attend_key(const float* maxima, const float* shares, const float* products, T* dk, T* dv, const Attention& how, const Mask& mask, const Operand& q, const Operand& k, const Operand& v, const Operand& g) {
    PATTERNED_SHARED(memory);
    using Shared = Room<WIDE, QUERIES, QUERY_STAGES>;
    Shared room{memory};
    auto keys = room.own(0), values = room.own(1);
    Row* rows = reinterpret_cast<Row*>(room.behind());
    u64* own = reinterpret_cast<u64*>(rows + QUERY_STAGES * QUERIES);
    Ring<QUERY_STAGES> ring{own + 1};
    if (threadIdx.x == 0) { barrier_begin(own, 1); ring.begin(2); barriers_begun(); }
    __syncthreads();
    int tiles = (int(how.keys) + OWN - 1) / OWN, matrix = blockIdx.x / tiles, first = (blockIdx.x - matrix * tiles) * OWN;
    // Queries before the first key of the block see none of them. Those of one matrix follow those of another that shares its keys.
    int start = how.causal ? first : 0, groups = start < how.queries ? int(how.groups) : 0;
    if (threadIdx.x < GROUP) {
        registers_less<24>();
        int z = matrix * int(how.groups);
        // A thread brings boxes, another warp what rows have.
        if (threadIdx.x == 0) {
            barrier_expect(own, 2 * Shared::Own::BYTES);
            keys.bring(k, first, matrix, own);
            values.bring(v, first, matrix, own);
            bring_each(ring, z, groups, start, int(how.queries), [&](int z, int begin, int stage, u64* full) {
                barrier_expect(full, 2 * Shared::Passing::BYTES);
                room.passing(stage, 0).bring(q, begin, z, full);
                room.passing(stage, 1).bring(g, begin, z, full);
            });
        } else if (threadIdx.x / WARP == 1) bring_each(ring, z, groups, start, int(how.queries), [&](int z, int begin, int stage, u64* full) {
            for (int i = threadIdx.x % WARP; i < QUERIES; i += WARP) rows[stage * QUERIES + i] = row_of(how, maxima, shares, products, z, begin + i);
            __syncwarp();
            if (threadIdx.x == WARP) barrier_arrive(full);
        });
        return;
    }
    registers_more<240>();
    auto [part, line, column] = Mine(first);
    float scale = float(how.scale) * LOG2_E, key_sums[WIDE / 2], value_sums[WIDE / 2], weights[QUERIES / 2], slopes[QUERIES / 2];
    u32 packed[QUERIES / 16][4], packed_slopes[QUERIES / 16][4];
    barrier_wait(own, 0);
    int before = -1;
    for (int group = 0; group < groups; group++)
        for (int begin = start; begin < how.queries; begin += QUERIES) {
            ring.wait_full();
            if (how.causal && begin + QUERIES <= first + part) {               // none of them sees a key of this group
                ring.give_back(ring.passed);
                ring.advance();
                continue;
            }
            auto queries = room.passing(ring.stage(), 0), arriving = room.passing(ring.stage(), 1);
            multiply_lines<T>(weights, keys, part, queries);
            products_wait<1>();                              // the last weights and slopes are multiplied
            if (before >= 0) ring.give_back(before);
            multiply_lines<T>(slopes, values, part, arriving);
            u64 seen = mask.template look<false, QUERIES / 2>(matrix * int(how.groups) + group, line, begin + column);
            products_wait<1>();
            sums_there(weights);
            mask.hide(weights, seen);
            const float4* two = reinterpret_cast<const float4*>(rows + ring.stage() * QUERIES + column);
#pragma unroll
            for (int j = 0; j < QUERIES / 8; j++) {
                float4 pair = two[4 * j];                    // level and product of two queries
#pragma unroll
                for (int i = 4 * j; i < 4 * j + 4; i++) weights[i] = power_of_two(weights[i] * scale - (i % 2 ? pair.z : pair.x));
            }
            if (how.causal && begin < first + part + 63) {
#pragma unroll
                for (int n = 0; n < QUERIES / 2; n++) if (begin + column + n / 4 * 8 + n % 2 < line + n / 2 % 2 * 8) weights[n] = 0;
            }
            pack_sums<T>(packed, weights);
            add_lines<T>(value_sums, packed, arriving, before + 1);
            products_wait<1>();
            sums_there(slopes);
#pragma unroll
            for (int j = 0; j < QUERIES / 8; j++) {
                float4 pair = two[4 * j];
#pragma unroll
                for (int i = 4 * j; i < 4 * j + 4; i++) weights[i] *= slopes[i] - (i % 2 ? pair.w : pair.y);
            }
            pack_sums<T>(packed_slopes, weights);
            add_lines<T>(key_sums, packed_slopes, queries, before + 1);
            before = ring.passed;
            ring.advance();
        }
    products_wait<0>();
    sums_there(key_sums);
    sums_there(value_sums);
    if (before < 0) {
#pragma unroll
        for (int i = 0; i < WIDE / 2; i++) key_sums[i] = value_sums[i] = 0;
    }
    write_lines(key_sums, float(how.scale), dk + matrix * how.keys * how.width, line, how.keys, int(how.width));
    write_lines(value_sums, 1.0f, dv + matrix * how.keys * how.value_width, line, how.keys, int(how.value_width));
}

#define STATISTICS const float *maxima, const float *shares, const float *products
#define HEADS int q_heads, int k_heads, int v_heads, int g_heads
#define MAPS TENSOR_MAP q, TENSOR_MAP k, TENSOR_MAP v, TENSOR_MAP g
#define OPERANDS {q, q_heads}, {k, k_heads}, {v, v_heads}, {g, g_heads}
#define GRADIENT(w, t, T)                                                                                                                        \
    KERNEL_OF((THREADS, 1), attend_query_hopper_##w##_##t, STATISTICS, T* dq, Attention how, HEADS, MAPS) {                                      \
        attend_query<T, w>(maxima, shares, products, dq, how, Unmasked{}, OPERANDS);                                                             \
    }                                                                                                                                            \
    KERNEL_OF((THREADS, 1), attend_key_hopper_##w##_##t, STATISTICS, T* dk, T* dv, Attention how, HEADS, MAPS) {                                 \
        attend_key<T, w>(maxima, shares, products, dk, dv, how, Unmasked{}, OPERANDS);                                                           \
    }                                                                                                                                            \
    KERNEL_OF((THREADS, 1), attend_query_masked_hopper_##w##_##t, STATISTICS, T* dq, const void* mask, Attention how, HEADS, View batch, MAPS) { \
        attend_query<T, w>(maxima, shares, products, dq, how, Masked{how, mask, batch}, OPERANDS);                                               \
    }                                                                                                                                            \
    KERNEL_OF((THREADS, 1), attend_key_masked_hopper_##w##_##t, STATISTICS, T* dk, T* dv, const void* mask, Attention how, HEADS, View batch,    \
              MAPS) {                                                                                                                            \
        attend_key<T, w>(maxima, shares, products, dk, dv, how, Masked{how, mask, batch}, OPERANDS);                                             \
    }
GRADIENT(64, bf16, bf16)
GRADIENT(128, bf16, bf16)
GRADIENT(64, f16, f16)
GRADIENT(128, f16, f16)
