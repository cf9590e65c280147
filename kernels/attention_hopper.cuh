// attention_hopper.cuh - attention of 16-bit floats on compute capability 9.0, forward: wgmma fed by copies of whole boxes (Shah, Bikshandi, Zhang,
// Thakkar, Ramani, Dao: "FlashAttention-3", 2024). Results, maxima and shares mean what they do in attention.cu, whose gradients follow.
//
// Kernels of numbers T (bf16, f16) are
//   attend_hopper_W_T(out, maxima, shares, Attention, int q_heads, int k_heads, int v_heads, int each, i64 parts, TensorMap q, TensorMap k, TensorMap v)
//   attend_masked_hopper_W_T(out, maxima, shares, mask, Attention, int q_heads, int k_heads, int v_heads, int each, i64 parts, View mask_batch, the three maps)
//        W of 64 128: width and value_width are at most W, value_width is a multiple of 8, scale is above zero. No dropout; no mask but the causal one, or
//        one of bytes beside it (mask_hopper.cuh). q, k, v describe [batches, heads, lines, numbers] with numbers dense, in boxes of 64 x 128 lines that are stored with the 128-byte swizzle: matrix
//        z of the queries is batch z / q_heads, head z % q_heads.
//        each: how many tiles of queries are a part, 1 or 2; parts: matrices · groups · ceil(ceil(queries / 128) / each).
// Launch: 384 threads, grid (blocks, 1, 1) with as many blocks as multiprocessors, or parts; shared memory ATTENTION_BYTES<W>.
//
// The idea: a block has 128 queries, and keys and values pass by 128 at a time.
//   1. Of three groups of four warps the first brings boxes: queries once, keys into two stages and values, which are needed for longer, into three. The others have 64 queries each. A
//      box that has arrived ends the phase of its barrier `full`, one that all eight warps are done with that of `free`.
//   2. Scores are sums in registers (64 a thread); rounded, in pairs, they are a left operand as they stand. Weights never leave registers.
//   3. The scores of the next keys are asked for before the products of these weights and values, so that tensor cores work while exponentials are
//      taken; and the two groups ask by turns, so that one's products lie under the other's exponentials.
//   4. The last keys come first: only they may be hidden from a query (by the causal mask or because there are none), and the loop asks nothing.
//   5. A block stays. Where queries see different numbers of keys, it takes a long tile and a short one in turn, so that all parts are alike. The next
//      tile's boxes are brought while results are written.
//   6. What a mask hides is asked while scores are computed, and kept as 64 bits.
//   7. A result is scaled only where a maximum of the warp has grown; rows are written by way of shared memory of the warp's own, in lines of 16 bytes a thread.
#pragma once
#include "attention.cuh"
#include "hopper.cuh"
#include "mask_hopper.cuh"
#include "tensor.cuh"

constexpr int QUERIES = 128, KEYS = 128, GROUP = 128, HOPPER_BLOCK = 3 * GROUP, BOX = 128 * 128;
constexpr int KEY_STAGES = 2, VALUE_STAGES = 3, HELD = 1 + KEY_STAGES + VALUE_STAGES, BARRIERS = 2 * HELD + 2;
template <int WIDE> constexpr int OPERAND = WIDE / 64 * BOX;
template <int WIDE> constexpr int ATTENTION_BYTES = HELD * OPERAND<WIDE> + 8 * 16 * WIDE * 2 + 8 * BARRIERS;
static_assert(ATTENTION_BYTES<128> <= 227 << 10, "it fits");

// A place in a ring of stages, and the parity of how often it has gone round.
template <int STAGES> struct Place {
    u32 stage = 0, parity = 0;
    INLINE void advance() { if (++stage == STAGES) { stage = 0; parity ^= 1; } }
};
// What a block has in shared memory: queries, stages of keys and of values, lines of results, barriers.
template <int WIDE> struct Room {
    unsigned char *queries, *lines;
    u64 *queries_full, *queries_free, *keys_full, *keys_free, *values_full, *values_free, *turns;

    INLINE Room(unsigned char* memory) : queries(memory), lines(memory + HELD * OPERAND<WIDE>) {
        queries_full = reinterpret_cast<u64*>(lines + 8 * 16 * WIDE * 2); queries_free = queries_full + 1;
        keys_full = queries_full + 2; keys_free = keys_full + KEY_STAGES;
        values_full = keys_free + KEY_STAGES; values_free = values_full + VALUE_STAGES; turns = values_free + VALUE_STAGES;
    }
    INLINE unsigned char* keys(u32 stage) const { return queries + (1 + stage) * OPERAND<WIDE>; }
    INLINE unsigned char* values(u32 stage) const { return queries + (1 + KEY_STAGES + stage) * OPERAND<WIDE>; }
    INLINE void begin() const {
        barrier_begin(queries_full, 1); barrier_begin(queries_free, 8);
        for (int stage = 0; stage < KEY_STAGES; stage++) { barrier_begin(&keys_full[stage], 1); barrier_begin(&keys_free[stage], 8); }
        for (int stage = 0; stage < VALUE_STAGES; stage++) { barrier_begin(&values_full[stage], 1); barrier_begin(&values_free[stage], 8); }
        for (int group = 0; group < 2; group++) barrier_begin(&turns[group], 4);
        barriers_begun();
    }
};

// The tiles of queries of this block: act(matrix, first query, last tile of keys).
template <class Act> INLINE void for_each_tile(const Attention& how, int each, i64 parts, const Act& act) {
    int queries = int(how.queries), keys = int(how.keys), tiles = (queries + QUERIES - 1) / QUERIES, shared = (tiles + each - 1) / each;
    for (i64 part = blockIdx.x; part < parts; part += gridDim.x) {
        int z = int(part / shared), before = int(part - i64(z) * shared), after = tiles - 1 - before;
        for (int half = 0; half < each; half++) {
            if (half && before == after) break;              // the one in the middle
            int first = (half ? before : after) * QUERIES;
            act(z, first, ((how.causal ? min(keys, first + QUERIES) : keys) - 1) / KEYS);
        }
    }
}

template <int WIDE> INLINE void bring_lines(unsigned char* to, const TensorMap& map, int line, int heads, int matrix, u64* full) {
    barrier_expect(full, OPERAND<WIDE>);
    int batch = matrix / heads;
    for (int box = 0; box < WIDE / 64; box++) copy_box(to + box * BOX, map, 64 * box, line, matrix - batch * heads, batch, full);
}
// Brings what the block's tiles read.
template <int WIDE>
INLINE void bring(const Room<WIDE>& room, const Attention& how, int q_heads, int k_heads, int v_heads, int each, i64 parts, const TensorMap& q, const TensorMap& k, const TensorMap& v) {
    u32 tile = 0;
    Place<KEY_STAGES> key;
    Place<VALUE_STAGES> value;
    for_each_tile(how, each, parts, [&](int z, int first, int last) {
        int matrix = z / int(how.groups);
        barrier_wait(room.queries_free, (tile++ & 1) ^ 1);                       // the first time it is free
        bring_lines<WIDE>(room.queries, q, first, q_heads, z, room.queries_full);
        for (int at = last; at >= 0; at--) {
            barrier_wait(&room.keys_free[key.stage], key.parity ^ 1);
            bring_lines<WIDE>(room.keys(key.stage), k, at * KEYS, k_heads, matrix, &room.keys_full[key.stage]);
            key.advance();
            barrier_wait(&room.values_free[value.stage], value.parity ^ 1);
            bring_lines<WIDE>(room.values(value.stage), v, at * KEYS, v_heads, matrix, &room.values_full[value.stage]);
            value.advance();
        }
    });
}

// scores = 64 queries · keysᵀ
template <class T, int WIDE> INLINE void ask_scores(float (&scores)[KEYS / 2], const unsigned char* queries, const unsigned char* keys) {
#pragma unroll
    for (int step = 0; step < WIDE / 16; step++) {
        int at = step / 4 * BOX + step % 4 * 32;
        products<T, false, false>(scores, operand_at(queries + at, 16, 1024), operand_at(keys + at, 16, 1024), step);
    }
    products_commit();
}
// result += weights · values
template <class T, int WIDE> INLINE void ask_result(float (&result)[WIDE / 2], const u32 (&weights)[KEYS / 16][4], const unsigned char* values) {
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++) products_of_registers<T, true>(result, weights[step], operand_at(values + step * 2048, BOX, 1024), 1);
    products_commit();
}
// Of the two rows of this thread, what is known so far: the greatest score, in powers of two, and this thread's part of the sum of weights.
struct Rows { float most[2], total[2]; };

// Scores become weights. What was added up before is to be multiplied by `factor`; is that not one?
INLINE bool weigh(float (&scores)[KEYS / 2], float scale, Rows& rows, float (&factor)[2]) {
    bool grown = false;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float greatest = -INFINITY, sum = 0;
#pragma unroll
        for (int i = 2 * h; i < KEYS / 2; i += 4) greatest = fmaxf(greatest, fmaxf(scores[i], scores[i + 1]));
        greatest = fmaxf(greatest, __shfl_xor_sync(EVERYONE, greatest, 1));
        greatest = fmaxf(greatest, __shfl_xor_sync(EVERYONE, greatest, 2));
        greatest = fmaxf(rows.most[h], greatest * scale);
        float base = greatest == -INFINITY ? 0.0f : greatest;
        factor[h] = power_of_two(rows.most[h] - base);
        grown |= greatest > rows.most[h];
        rows.most[h] = greatest;
#pragma unroll
        for (int i = 2 * h; i < KEYS / 2; i += 4)
#pragma unroll
            for (int e = 0; e < 2; e++) { float& x = scores[i + e]; x = power_of_two(x * scale - base); sum += x; }
        rows.total[h] = rows.total[h] * factor[h] + sum;
    }
    return grown;
}
template <class T> INLINE void round_weights(u32 (&weights)[KEYS / 16][4], const float (&scores)[KEYS / 2]) {
#pragma unroll
    for (int i = 0; i < KEYS / 4; i++) weights[i / 4][i % 4] = pack(T{}, scores[2 * i], scores[2 * i + 1]);
}

// Computes what is brought and writes the results.
template <class T, int WIDE, class Mask>
INLINE void attend_brought(const Room<WIDE>& room, T* out, float* maxima, float* shares, const Attention& how, const Mask& mask, int each, i64 parts) {
    int group = threadIdx.x / GROUP - 1, warp = threadIdx.x / WARP % 4, lane = threadIdx.x % WARP, g = lane / 4, q = lane % 4;
    int queries = int(how.queries), keys = int(how.keys), width = int(how.value_width);
    float scale = float(how.scale) * LOG2_E;
    const unsigned char* own = room.queries + group * 64 * 128;
    Tile<T, WIDE> lines{reinterpret_cast<T*>(room.lines) + (group * 4 + warp) * 16 * WIDE};
    auto give_back = [&](u64* free) { if (lane == 0) barrier_arrive(free); };
    u32 tile = 0, turn = 0;
    Place<KEY_STAGES> key;
    Place<VALUE_STAGES> value;
    for_each_tile(how, each, parts, [&](int z, int first, int last) {
        int line = first + group * 64 + warp * 16;
        float scores[KEYS / 2], result[WIDE / 2] = {}, factor[2];
        u32 weights[KEYS / 16][4];
        Rows rows = {{-INFINITY, -INFINITY}, {0, 0}};
        barrier_wait(room.queries_full, tile++ & 1);
        barrier_wait(&room.keys_full[key.stage], key.parity);
        products_begin();
        ask_scores<T, WIDE>(scores, own, room.keys(key.stage));
        u64 seen = mask.template look<true, KEYS / 2>(z, line + g, last * KEYS + 2 * q);
        products_wait<0>();
        sums_there(scores);
        mask.hide(scores, seen);
        give_back(&room.keys_free[key.stage]);
        key.advance();
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++) {
            int row = line + g + i / 2 % 2 * 8, end = (how.causal ? min(keys, row + 1) : keys) - last * KEYS - 2 * q;
            if (i / 4 * 8 + i % 2 >= end) scores[i] = -INFINITY;
        }
        bool grown = weigh(scores, scale, rows, factor);
        // Each round ends with weights, and the next begins by waiting for the products before them: an assembler moves a wait ahead of what does
        // not need it, but not into another round.
        u64* before = nullptr;
#pragma unroll 1
        for (int at = last;; at--, turn++) {
            products_wait<0>();
            sums_there(result);
            sums_there(scores);                              // weights take the registers that were read until now
            if (before) give_back(before);
            if (__any_sync(EVERYONE, grown)) {
#pragma unroll
                for (int i = 0; i < WIDE / 2; i++) result[i] *= factor[i / 2 % 2];
            }
            round_weights<T>(weights, scores);
            const unsigned char* values = room.values(value.stage);
            barrier_wait(&room.values_full[value.stage], value.parity);
            before = &room.values_free[value.stage];
            value.advance();
            if (at == 0) {
                products_begin();
                ask_result<T, WIDE>(result, weights, values);
                break;
            }
            barrier_wait(&room.keys_full[key.stage], key.parity);
            barrier_wait(&room.turns[group], (turn & 1) ^ (group ^ 1));          // the first turn is the first group's
            products_begin();
            ask_scores<T, WIDE>(scores, own, room.keys(key.stage));
            ask_result<T, WIDE>(result, weights, values);
            give_back(&room.turns[group ^ 1]);
            seen = mask.template look<true, KEYS / 2>(z, line + g, (at - 1) * KEYS + 2 * q);
            products_wait<1>();
            sums_there(scores);
            mask.hide(scores, seen);
            give_back(&room.keys_free[key.stage]);
            key.advance();
            grown = weigh(scores, scale, rows, factor);
        }
        give_back(room.queries_free);
        products_wait<0>();
        sums_there(result);
        give_back(before);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = rows.total[h];
            sum += __shfl_xor_sync(EVERYONE, sum, 1);
            sum += __shfl_xor_sync(EVERYONE, sum, 2);
            bool seen = sum != 0;
            float share = seen ? 1.0f / sum : 0.0f;
            int i = line + g + 8 * h;
            if (q == 0 && i < queries) { maxima[i64(z) * queries + i] = seen ? rows.most[h] / LOG2_E : 0.0f; shares[i64(z) * queries + i] = share; }
#pragma unroll
            for (int j = 0; j < WIDE / 8; j++)
                *reinterpret_cast<u32*>(&lines.at(g + 8 * h, 8 * j + 2 * q)) = pack(T{}, result[4 * j + 2 * h] * share, result[4 * j + 2 * h + 1] * share);
        }
        __syncwarp();
        T* to = out + (i64(z) * queries + line) * width;
#pragma unroll 1
        for (int e = lane; e < 16 * WIDE / 8; e += WARP) {
            int own_line = e / (WIDE / 8), c = e % (WIDE / 8);
            if (line + own_line < queries && c * 8 < width)
                *reinterpret_cast<Pack<T, 8>*>(to + own_line * width + c * 8) = *reinterpret_cast<const Pack<T, 8>*>(lines.chunk(own_line, c));
        }
        __syncwarp();
    });
}

template <class T, int WIDE, class Mask>
INLINE void attend(T* out, float* maxima, float* shares, const Attention& how, const Mask& mask, int q_heads, int k_heads, int v_heads, int each, i64 parts, const TensorMap& q, const TensorMap& k, const TensorMap& v) {
    PATTERNED_SHARED(memory);
    Room<WIDE> room(memory);
    if (threadIdx.x == 0) room.begin();
    __syncthreads();
    if (threadIdx.x < GROUP) {
        registers_less<40>();
        if (threadIdx.x == 0) bring<WIDE>(room, how, q_heads, k_heads, v_heads, each, parts, q, k, v);
        return;
    }
    registers_more<232>();
    attend_brought<T, WIDE>(room, out, maxima, shares, how, mask, each, parts);
}
#define HOPPER_ATTENTION(name, T, WIDE)                                                                                                        \
    KERNEL_OF((HOPPER_BLOCK, 1), name, T* out, float* maxima, float* shares, Attention how, int q_heads, int k_heads, int v_heads, int each,   \
              i64 parts, TENSOR_MAP q, TENSOR_MAP k, TENSOR_MAP v) {                                                                           \
        attend<T, WIDE>(out, maxima, shares, how, Unmasked{}, q_heads, k_heads, v_heads, each, parts, q, k, v);                                \
    }
#define HOPPER_MASKED_ATTENTION(name, T, WIDE)                                                                                                 \
    KERNEL_OF((HOPPER_BLOCK, 1), name, T* out, float* maxima, float* shares, const void* mask, Attention how, int q_heads, int k_heads,        \
              int v_heads, int each, i64 parts, View mask_batch, TENSOR_MAP q, TENSOR_MAP k, TENSOR_MAP v) {                                   \
        attend<T, WIDE>(out, maxima, shares, how, Masked{how, mask, mask_batch}, q_heads, k_heads, v_heads, each, parts, q, k, v);             \
    }
