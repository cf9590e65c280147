// tensor_tile.cuh - a tile of 128 x 128 results of a matrix product on tensor cores by mma.sync: sums in f32, rounded once.
//
// Numbers are stored as S and multiplied as N: bf16 and f16 as themselves, f32 as tf32 or rounded to bf16 on the way. Any sizes and strides.
//
// m, n, k: rows of a, columns of b, what they share. The idea: four warps, each 64 x 64 of the results: 4 x 8 instructions of 16 x 8 for every 32 bytes
// of the shared axis, 128 sums in a thread's registers.
//   1. A panel is 128 lines of 64 bytes (32 numbers of 16 bits, 16 of 32), as an operand lies in memory: [line][k], or [k][line] where it
//      is turned. ldmatrix reads either way (for turned ones of 32 bits, plain words). Chunks of 16 bytes change places by the line they are on, so
//      that the eight that an instruction reads at once meet all 32 banks, without padding.
//   2. Panels go to shared memory by themselves (cp.async, 16 bytes a thread), two ahead of the one that is computed on: three stages of two panels
//      are 48 KiB; one barrier for each panel.
//   3. For 32 products of 16 x 8 a warp reads 4 + 4 times 512 bytes: with 64 x 64 a warp shared memory needs 32 x 4 + 64 (what arrives) = 192 cycles for
//      half a panel of a block; tensor cores need 256 on sm_80, and on sm_90, where mma.sync reaches some 60 % of what wgmma does, 210. (Warps of 64 x 32
//      would need 256.)
//   4. What is to be rounded goes by way of registers, a quarter of a panel at a time: asked for before the products of that quarter, put down
//      after them. So do numbers that do not lie in aligned chunks, one chunk at a time, and nothing hides their latency but the other warps.
// Registers: kernels/README.md; two blocks (8 warps) on a multiprocessor.
#pragma once
#include "product.cuh"

constexpr int TILE = 128, TENSOR_BLOCK = 128, STAGES = 3, PANEL = TILE * 64;
struct tf32 { u32 bits; };

// What is multiplied, 32 bits of it, from numbers as they are stored: two neighbours, or one.
INLINE u32 word_of(bf16, bf16 low, bf16 high) { return low.bits | u32(high.bits) << 16; }
INLINE u32 word_of(f16, f16 low, f16 high) { return low.bits | u32(high.bits) << 16; }
INLINE u32 word_of(bf16, float low, float high) { return pack_bf16(low, high); }
INLINE u32 word_of(tf32, float number, float) { return __float_as_uint(number); }

// Does an operand lie the other way: neighbours are those of different lines?
INLINE bool lies_turned(i64 line_step, i64 k_step) {
    if (k_step == 1) return false;
    if (line_step == 1) return true;
    return (line_step < 0 ? -line_step : line_step) < (k_step < 0 ? -k_step : k_step);
}

// One operand's share of a tile on its way to shared memory.
template <class S, class N, bool TURNED> struct Panel {
    static constexpr int EACH = 16 / sizeof(N), DEPTH = 64 / sizeof(N), WIDE = TURNED ? TILE / EACH : 4, ROWS = TENSOR_BLOCK / WIDE;
    static constexpr bool SAME_BITS = sizeof(S) == sizeof(N);
    const S* from;                                           // this thread's first number of the panel
    i64 next, jump, dense;                                   // to its next chunk; to the next panel; to the next number of a chunk
    int place, line, k, lines, left;                         // where the chunk is kept, and what it is; how many lines and shared positions are left
    bool whole;                                              // chunks lie in memory as they are wanted
    float4 held[SAME_BITS ? 1 : 2];

    INLINE Panel(const S* matrix, i64 first, i64 all_lines, int depth, i64 line_step, i64 k_step) {
        int row = threadIdx.x / WIDE, column = threadIdx.x % WIDE;
        line = TURNED ? column * EACH : row; k = TURNED ? row : column * EACH;
        int swapped = !TURNED ? row / 2 % 4 : sizeof(N) == 4 ? row % 4 * 2 : row % 8;
        place = row * WIDE * 16 + (column ^ swapped) * 16;
        from = matrix + (first + line) * line_step + k * k_step;
        next = ROWS * (TURNED ? k_step : line_step); jump = DEPTH * k_step; dense = TURNED ? line_step : k_step;
        lines = int(all_lines - first < TILE ? all_lines - first : TILE); left = depth;
        constexpr int WORD = 16 / sizeof(S);
        i64 other = TURNED ? k_step : line_step, along = TURNED ? all_lines : i64(depth);
        whole = dense == 1 && along % EACH == 0 && other % WORD == 0 && is_aligned(matrix, 16);
    }
    INLINE bool is_there(int quarter, int i) const {
        int at_line = line + (TURNED ? i : quarter * ROWS), at_k = k + (TURNED ? quarter * ROWS : i);
        return at_line < lines && at_k < left;
    }
    // Sets out to read this thread's chunk of a quarter of the next panel; what lies outside is zero.
    INLINE void ask(int quarter, u8* panel) {
        const S* at = from + quarter * next;
        u8* to = panel + place + quarter * TENSOR_BLOCK * 16;
        if (!whole) {
#pragma unroll 1
            for (int i = 0; i < EACH; i += EACH / 4) {
                S number[2] = {};
#pragma unroll
                for (int e = 0; e < EACH / 4; e++, at += dense) if (is_there(quarter, i + e)) number[e] = *at;
                *reinterpret_cast<u32*>(to + i * sizeof(N)) = word_of(N(), number[0], number[1]);
            }
            return;
        }
        bool there = is_there(quarter, 0);
        if constexpr (SAME_BITS) copy_async_16(to, at, there);
        else {
#pragma unroll
            for (int i = 0; i < 2; i++) held[i] = there ? *reinterpret_cast<const float4*>(at + 4 * i) : make_float4(0, 0, 0, 0);
        }
    }
    // Puts down what is to be rounded.
    INLINE void put(int quarter, u8* panel) const {
        if constexpr (!SAME_BITS) {
            uint4 rounded = make_uint4(pack_bf16(held[0].x, held[0].y), pack_bf16(held[0].z, held[0].w), pack_bf16(held[1].x, held[1].y), pack_bf16(held[1].z, held[1].w));
            if (whole) *reinterpret_cast<uint4*>(panel + place + quarter * TENSOR_BLOCK * 16) = rounded;
        }
    }
    INLINE void advance() { from += jump; left -= DEPTH; }
};

// What the instruction takes of one half of a panel: of a, 16 lines from `line` on.
template <class N, bool TURNED> INLINE void rows_of(u32 (&x)[4], const u8* panel, int half, int line) {
    int lane = threadIdx.x % WARP, m = lane / 8, r = lane % 8;
    if constexpr (!TURNED) read_matrices<false>(x, panel + (line + m % 2 * 8 + r) * 64 + ((2 * half + m / 2) ^ (r / 2)) * 16);
    else if constexpr (sizeof(N) == 2) read_matrices<true>(x, panel + (half * 16 + m / 2 * 8 + r) * 256 + ((line / 8 + m % 2) ^ r) * 16);
    else {
        int g = lane / 4, q = lane % 4;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int at = line + e % 2 * 8 + g;
            x[e] = *reinterpret_cast<const u32*>(panel + (half * 8 + e / 2 * 4 + q) * 512 + ((at / 4) ^ (q * 2)) * 16 + at % 4 * 4);
        }
    }
    if constexpr (sizeof(N) == 4) {
#pragma unroll
        for (int e = 0; e < 4; e++) x[e] = to_tf32(__uint_as_float(x[e]));
    }
}
// The same of b: 8 lines from `line` on, then 8 more.
template <class N, bool TURNED> INLINE void columns_of(u32 (&y)[4], const u8* panel, int half, int line) {
    int lane = threadIdx.x % WARP, m = lane / 8, r = lane % 8;
    if constexpr (!TURNED) read_matrices<false>(y, panel + (line + m / 2 * 8 + r) * 64 + ((2 * half + m % 2) ^ (r / 2)) * 16);
    else if constexpr (sizeof(N) == 2) read_matrices<true>(y, panel + (half * 16 + m % 2 * 8 + r) * 256 + ((line / 8 + m / 2) ^ r) * 16);
    else {
        int g = lane / 4, q = lane % 4;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int at = line + e / 2 * 8 + g;
            y[e] = *reinterpret_cast<const u32*>(panel + (half * 8 + e % 2 * 4 + q) * 512 + ((at / 4) ^ (q * 2)) * 16 + at % 4 * 4);
        }
    }
    if constexpr (sizeof(N) == 4) {
#pragma unroll
        for (int e = 0; e < 4; e++) y[e] = to_tf32(__uint_as_float(y[e]));
    }
}
INLINE void multiply_add(bf16, float (&sum)[4], const u32 (&x)[4], const u32 (&y)[2]) { mma_16_8_16_bf16(sum, x, y); }
INLINE void multiply_add(f16, float (&sum)[4], const u32 (&x)[4], const u32 (&y)[2]) { mma_16_8_16_f16(sum, x, y); }
INLINE void multiply_add(tf32, float (&sum)[4], const u32 (&x)[4], const u32 (&y)[2]) { mma_16_8_8_tf32(sum, x, y); }

// Adds up a tile, for operands that lie one way each.
template <class S, class N, bool A_TURNED, bool B_TURNED>
INLINE void multiply_lying(float (&sum)[4][8][4], u8* memory, const S* a, const S* b, const Product& p, const Part<TILE, TILE>& part) {
    using Left = Panel<S, N, A_TURNED>; using Right = Panel<S, N, B_TURNED>;
    constexpr int DEPTH = Left::DEPTH;
    Left left(a, part.row, p.m, part.depth, p.a_row, p.a_step);
    Right right(b, part.column, p.n, part.depth, p.b_column, p.b_step);
    int warp = threadIdx.x / WARP, row = warp / 2 * 64, column = warp % 2 * 64;
#pragma unroll 1
    for (int stage = 0; stage < STAGES - 1; stage++) {
        u8* to = memory + stage * 2 * PANEL;
        if (stage * DEPTH < part.depth) {
#pragma unroll
            for (int quarter = 0; quarter < 4; quarter++) {
                left.ask(quarter, to); right.ask(quarter, to + PANEL);
                left.put(quarter, to); right.put(quarter, to + PANEL);
            }
        }
        copy_async_commit(); left.advance(); right.advance();
    }
    copy_async_wait<STAGES - 2>();
    __syncthreads();
    int now = 0, ahead = STAGES - 1;
#pragma unroll 1
    for (int k0 = 0; k0 < part.depth; k0 += DEPTH) {
        const u8* panel = memory + now * 2 * PANEL;
        u8* to = memory + ahead * 2 * PANEL;
        bool more = part.depth - k0 > (STAGES - 1) * DEPTH;
        u32 y[4][4];
#pragma unroll
        for (int quarter = 0; quarter < 4; quarter++) {
            if (more) { left.ask(quarter, to); right.ask(quarter, to + PANEL); }
            if (quarter % 2 == 0) {
#pragma unroll
                for (int j = 0; j < 4; j++) columns_of<N, B_TURNED>(y[j], panel + PANEL, quarter / 2, column + 16 * j);
            }
#pragma unroll
            for (int i = quarter % 2 * 2; i < quarter % 2 * 2 + 2; i++) {
                u32 x[4];
                rows_of<N, A_TURNED>(x, panel, quarter / 2, row + 16 * i);
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    const u32 pair[2] = {y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]};
                    multiply_add(N(), sum[i][j], x, pair);
                }
            }
            if (more) { left.put(quarter, to); right.put(quarter, to + PANEL); }
        }
        copy_async_commit(); left.advance(); right.advance();
        copy_async_wait<STAGES - 2>();
        now = now == STAGES - 1 ? 0 : now + 1; ahead = ahead == STAGES - 1 ? 0 : ahead + 1;
        __syncthreads();
    }
}

template <class S, class N>
INLINE void multiply_by_tensor_cores(const S* a, const S* b, S* out, const S* start, const S* bias, const Product& p, const View& a_batch, const View& b_batch, const View& start_batch) {
    SHARED(u8, memory, [STAGES * 2 * PANEL]);
    Part<TILE, TILE> part(p, blockIdx.x, blockIdx.z);
    a += place_of(a_batch, part.batch) + part.from * p.a_step; b += place_of(b_batch, part.batch) + part.from * p.b_step;
    bool a_turned = lies_turned(p.a_row, p.a_step), b_turned = lies_turned(p.b_column, p.b_step);
    float sum[4][8][4] = {};
    if (!a_turned && !b_turned) multiply_lying<S, N, false, false>(sum, memory, a, b, p, part);
    else if (!a_turned) multiply_lying<S, N, false, true>(sum, memory, a, b, p, part);
    else if (!b_turned) multiply_lying<S, N, true, false>(sum, memory, a, b, p, part);
    else multiply_lying<S, N, true, true>(sum, memory, a, b, p, part);
    // Sixty-four rows at a time go through shared memory, so that whole lines are written.
    constexpr int LONG = TILE + 4;
    static_assert(64 * LONG * sizeof(float) <= STAGES * 2 * PANEL, "sixty-four rows fit");
    if (start) start += place_of(start_batch, part.batch);
    float* lines = reinterpret_cast<float*>(memory);
    int warp = threadIdx.x / WARP, line = warp / 2 * 32 + threadIdx.x % WARP / 4, column = warp % 2 * 64 + threadIdx.x % 4 * 2;
#pragma unroll
    for (int pass = 0; pass < 2; pass++) {
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 8; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) lines[(line + 16 * i + e / 2 * 8) * LONG + column + 8 * j + e % 2] = sum[pass * 2 + i][j][e];
        __syncthreads();
#pragma unroll 1
        for (int c = threadIdx.x; c < 64 * TILE / 4; c += TENSOR_BLOCK) {
            int from = c / (TILE / 4), at = c % (TILE / 4) * 4;
            i64 to = part.row + from / 32 * 64 + pass * 32 + from % 32;
            put_four(out, start, bias, p, part, to, part.column + at, *reinterpret_cast<const Pack<float, 4>*>(&lines[from * LONG + at]));
        }
        __syncthreads();
    }
}
#define TENSOR_PRODUCT(name, S, N)                                                                                                                             \
    KERNEL_OF((TENSOR_BLOCK, 2), name, const S* a, const S* b, S* out, const S* start, const S* bias, Product product, View a_batch, View b_batch, View start_batch) { \
        multiply_by_tensor_cores<S, N>(a, b, out, start, bias, product, a_batch, b_batch, start_batch);                                                       \
    }
