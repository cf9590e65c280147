// hopper_tile.cuh - products of matrices of 16-bit floats and tf32 on compute capability 9.0: wgmma fed by copies of whole boxes, blocks that stay.
//
// Numbers N (bf16, f16, tf32) are multiplied, sums are in f32, results T. Every multiplying kernel of this kind is
//   name(out, start, bias, Product, View start_batch, int a_batches, int b_batches, i64 parts, TensorMap a, TensorMap b, int by_boxes, TensorMap results)
//        a and b describe [batches, outer, inner] with inner dense, in boxes of 128 bytes x LINES that are stored with the 128-byte swizzle: of an
//        operand that lies along k inner is k, and LINES are the tile's rows (128 of a, WIDE of b); of a turned one inner is its lines, and
//        LINES are 64 k. If a is turned, so is b; of tf32 neither is. With by_boxes, results describes out as [batches, m, n] in boxes of 128 bytes x 16,
//        swizzled too, and there is no start and one piece. a_batches, b_batches: 0 where all batches share it, else 1. parts: tiles · batches · pieces. share
//        is a multiple of 64.
// Launch: 384 threads, grid (blocks, 1, 1) with as many blocks as multiprocessors, or parts; shared memory BYTES<WIDE>.
//
// m, n, k: rows of a, columns of b, what they share. The idea: a block computes tiles of 128 x WIDE results, 128 bytes (64 numbers, 32 of tf32) deep at a time.
//   1. Of three groups of four warps the first brings: one thread asks a unit of its own (TMA) for boxes, into a ring of four stages. The others multiply:
//      64 rows each. A stage that has arrived ends the phase of its barrier `full`; one that all eight warps are done with ends that of `free`.
//      Nobody else waits for anybody, and there is no barrier of the block behind the first.
//   2. Products of 64 x WIDE x 32 bytes read both operands from shared memory. For 256 columns that is 10 KiB in 128 cycles, 80 of the 128 bytes that
//      shared memory gives in one; for 128 columns 96.
//   3. Groups of products overlap: one is under way while the next is asked for, and its stage is given back when it is known to be done.
//   4. A block stays and goes from tile to tile, so the ring is filled for the next one while results are written. They go through
//      shared memory of each warp's own: as boxes of 16 rows x 128 bytes, one of which is copied out while the next is filled; or, with a start,
//      as pieces and for rows that are no multiple of 16 bytes, as sums of 64 columns that are read back by lines.
//   5. The first group gives registers back (40 a thread), the others take them (232): 128 sums and what a tile's end needs.
// Bytes for each result of a tile: k (1/128 + 1/WIDE) 2 to read from the second-level cache, whose 5.5 TB/s feed 128 x 256 tiles at 470 multiply-adds a byte.
// tf32 has half as many numbers in a byte and takes twice as long for each: the same cycles for the same bytes, everywhere.
#pragma once
#include "hopper.cuh"
#include "product.cuh"

constexpr int HIGH = 128, ACROSS = 128, STAGES = 4, BOX = 64 * ACROSS, GROUP = 128, HOPPER_BLOCK = 3 * GROUP, LONG = 64 + 4;
template <class N> constexpr int DEEP = ACROSS / sizeof(N);
template <int WIDE> constexpr int STAGE_BYTES = (HIGH + WIDE) * ACROSS;
constexpr int LINES_BYTES = 8 * 16 * LONG * 4;               // sixteen rows of 64 sums for each warp that multiplies
template <int WIDE> constexpr int BYTES = STAGES * STAGE_BYTES<WIDE> + LINES_BYTES + 2 * STAGES * 8;
static_assert(BYTES<256> <= 227 << 10, "it fits");

// The ring of stages, seen by one thread: which is next, and how often it has gone round.
template <int WIDE> struct Ring {
    unsigned char* memory; u64 *full, *free; int stage; u32 round;
    INLINE Ring(unsigned char* memory) : memory(memory), stage(0), round(0) {
        full = reinterpret_cast<u64*>(memory + STAGES * STAGE_BYTES<WIDE> + LINES_BYTES); free = full + STAGES;
    }
    INLINE unsigned char* a() const { return memory + stage * STAGE_BYTES<WIDE>; }
    INLINE unsigned char* b() const { return a() + HIGH * ACROSS; }
    INLINE void advance() { if (++stage == STAGES) { stage = 0; round++; } }
};

// Brings the stages of all parts of this block.
template <class N, int WIDE> INLINE void bring(Ring<WIDE> ring, const Product& p, i64 parts, u32 tiles, int a_batches, int b_batches, bool a_turned, bool b_turned, const TensorMap& a, const TensorMap& b) {
    for (i64 one = blockIdx.x; one < parts; one += gridDim.x) {
        Part<HIGH, WIDE> part(p, u32(one) % tiles, u32(one) / tiles);
        int row = int(part.row), column = int(part.column), batch = int(part.batch);
        for (int k = 0; k < part.depth; k += DEEP<N>) {
            int at = int(part.from) + k;
            barrier_wait(&ring.free[ring.stage], (ring.round & 1) ^ 1);          // the first time round it is free
            u64* full = &ring.full[ring.stage];
            barrier_expect(full, STAGE_BYTES<WIDE>);
            if (a_turned) for (int i = 0; i < HIGH / 64; i++) copy_box(ring.a() + i * BOX, a, row + 64 * i, at, batch * a_batches, full);
            else copy_box(ring.a(), a, at, row, batch * a_batches, full);
            if (b_turned) for (int j = 0; j < WIDE / 64; j++) copy_box(ring.b() + j * BOX, b, column + 64 * j, at, batch * b_batches, full);
            else copy_box(ring.b(), b, at, column, batch * b_batches, full);
            ring.advance();
        }
    }
}

// Thirty-two bytes of the shared axis of a stage's operand.
template <bool TURNED> INLINE u64 operand_of(const unsigned char* at, int step) { return TURNED ? operand_at(at + step * 2048, BOX, 1024) : operand_at(at + step * 32, 16, 1024); }

// Multiplies what is brought and writes the results.
// Two neighbours of a box, in the type of the results.
INLINE void put_two(bf16* at, float low, float high) { *reinterpret_cast<u32*>(at) = pack_bf16(low, high); }
INLINE void put_two(f16* at, float low, float high) { *reinterpret_cast<u32*>(at) = pack_f16(low, high); }
INLINE void put_two(float* at, float low, float high) { *reinterpret_cast<float2*>(at) = make_float2(low, high); }

// Results of a warp, 16 rows, by copies of boxes.
template <class T, int WIDE>
INLINE void put_by_boxes(float (&sums)[WIDE / 2], unsigned char* boxes, const T* bias, const Product& p, const Part<HIGH, WIDE>& part, i64 row, const TensorMap& results) {
    constexpr int COLUMNS = ACROSS / sizeof(T), HELD = COLUMNS / 2;
    int lane = threadIdx.x % WARP, g = lane / 4, q = lane % 4;
    float alpha = float(p.alpha);
#pragma unroll 1
    for (int pass = 0; pass < WIDE / COLUMNS; pass++) {
        unsigned char* box = boxes + pass % 2 * 16 * ACROSS;
        i64 first = part.column + pass * COLUMNS;
        if (lane == 0) put_wait<1>();                        // what was copied from here is gone
        __syncwarp();
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++) {
            float more[2] = {0, 0};
            if (bias) {
#pragma unroll
                for (int e = 0; e < 2; e++) if (first + 8 * j + 2 * q + e < p.n) more[e] = widen(bias[first + 8 * j + 2 * q + e]);
            }
            int inner = (8 * j + 2 * q) * int(sizeof(T));
#pragma unroll
            for (int h = 0; h < 2; h++)
                put_two(reinterpret_cast<T*>(box + (g + 8 * h) * ACROSS + (inner ^ (g << 4))), alpha * sums[j * 4 + h * 2] + more[0], alpha * sums[j * 4 + h * 2 + 1] + more[1]);
        }
        writes_for_units();
        __syncwarp();
        if (lane == 0) { put_box(results, int(first), int(row), int(part.batch), box); put_commit(); }
#pragma unroll
        for (int i = 0; i + HELD < WIDE / 2; i++) sums[i] = sums[i + HELD];          // the next columns take their registers: one text for all passes
    }
}

template <class N, class T, int WIDE, bool A_TURNED, bool B_TURNED>
INLINE void multiply_brought(Ring<WIDE> ring, T* out, const T* start, const T* bias, const Product& p, const View& start_batch, i64 parts, u32 tiles, bool by_boxes, const TensorMap& results) {
    int group = threadIdx.x / GROUP - 1, warp = threadIdx.x / WARP % 4, lane = threadIdx.x % WARP, g = lane / 4, q = lane % 4;
    unsigned char* own = ring.memory + STAGES * STAGE_BYTES<WIDE>;
    unsigned char* boxes = own + (group * 4 + warp) * 2 * 16 * ACROSS;
    static_assert(8 * 2 * 16 * ACROSS <= LINES_BYTES, "two boxes for each warp fit");
    float* lines = reinterpret_cast<float*>(own) + (group * 4 + warp) * 16 * LONG;
    for (i64 one = blockIdx.x; one < parts; one += gridDim.x) {
        Part<HIGH, WIDE> part(p, u32(one) % tiles, u32(one) / tiles);
        float sums[WIDE / 2];
        u64* before = nullptr;
        for (int k = 0; k < part.depth; k += DEEP<N>) {
            barrier_wait(&ring.full[ring.stage], ring.round & 1);
            const unsigned char *a = ring.a() + group * 64 * ACROSS, *b = ring.b();
            products_begin();
#pragma unroll
            for (int step = 0; step < ACROSS / 32; step++)
                products<N, A_TURNED, B_TURNED>(sums, operand_of<A_TURNED>(a, step), operand_of<B_TURNED>(b, step), k + step);
            products_commit();
            products_wait<1>();                              // the stage before this one is done with
            if (before && lane == 0) barrier_arrive(before);
            before = &ring.free[ring.stage];
            ring.advance();
        }
        products_wait<0>();
        if (before && lane == 0) barrier_arrive(before);
        if (!part.depth) {
#pragma unroll
            for (int i = 0; i < WIDE / 2; i++) sums[i] = 0;
        }
        const T* from = start ? start + place_of(start_batch, part.batch) : nullptr;
        i64 row = part.row + group * 64 + warp * 16;
        if (by_boxes) { put_by_boxes<T, WIDE>(sums, boxes, bias, p, part, row, results); continue; }
#pragma unroll 1
        for (int pass = 0; pass < WIDE / 64; pass++) {
#pragma unroll
            for (int j = 0; j < 8; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    *reinterpret_cast<float2*>(&lines[(g + 8 * h) * LONG + 8 * j + 2 * q]) = make_float2(sums[j * 4 + h * 2], sums[j * 4 + h * 2 + 1]);
            __syncwarp();
#pragma unroll 1
            for (int c = lane; c < 16 * 16; c += WARP) {
                int line = c / 16, at = c % 16 * 4;
                put_four(out, from, bias, p, part, row + line, part.column + pass * 64 + at, *reinterpret_cast<const Pack<float, 4>*>(&lines[line * LONG + at]));
            }
            __syncwarp();
#pragma unroll
            for (int i = 0; i + 32 < WIDE / 2; i++) sums[i] = sums[i + 32];          // as above
        }
    }
    if (lane == 0) put_wait<0>();                            // shared memory is there until it has been read
}

template <class N, class T, int WIDE>
INLINE void multiply(T* out, const T* start, const T* bias, const Product& p, const View& start_batch, int a_batches, int b_batches, i64 parts, const TensorMap& a, const TensorMap& b, bool by_boxes, const TensorMap& results) {
    PATTERNED_SHARED(memory);
    Ring<WIDE> ring(memory);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; stage++) { barrier_begin(&ring.full[stage], 1); barrier_begin(&ring.free[stage], 8); }
        barriers_begun();
    }
    __syncthreads();
    u32 tiles = u32((p.m + HIGH - 1) / HIGH) * u32((p.n + WIDE - 1) / WIDE);
    bool a_turned = p.a_step != 1, b_turned = p.b_step != 1;
    if (threadIdx.x < GROUP) {
        registers_less<40>();
        if (threadIdx.x == 0) bring<N, WIDE>(ring, p, parts, tiles, a_batches, b_batches, a_turned, b_turned, a, b);
        return;
    }
    registers_more<232>();
    if constexpr (sizeof(N) == 4) multiply_brought<N, T, WIDE, false, false>(ring, out, start, bias, p, start_batch, parts, tiles, by_boxes, results);
    else if (!a_turned && !b_turned) multiply_brought<N, T, WIDE, false, false>(ring, out, start, bias, p, start_batch, parts, tiles, by_boxes, results);
    else if (!a_turned) multiply_brought<N, T, WIDE, false, true>(ring, out, start, bias, p, start_batch, parts, tiles, by_boxes, results);
    else multiply_brought<N, T, WIDE, true, true>(ring, out, start, bias, p, start_batch, parts, tiles, by_boxes, results);
}
#define HOPPER_PRODUCT(name, N, T, WIDE)                                                                                                       \
    KERNEL_OF((HOPPER_BLOCK, 1), name, T* out, const T* start, const T* bias, Product product, View start_batch, int a_batches, int b_batches,  \
              i64 parts, TENSOR_MAP a, TENSOR_MAP b, int by_boxes, TENSOR_MAP results) {                                                                                         \
        multiply<N, T, WIDE>(out, start, bias, product, start_batch, a_batches, b_batches, parts, a, b, by_boxes != 0, results);                                        \
    }
