// matmul_tensor.cu - products of bf16 matrices on tensor cores by mma.sync: sums in f32, rounded once.
//
//   matmul_tensor_bf16(a, b, out, start, bias, Product, View a_batch, View b_batch, View start_batch)      as matmul_bf16 in matmul.cu
//
// Launch: 256 threads, grid (ceil(n / 128), ceil(m / 128), batches). Any sizes and strides; an operand whose shared axis is dense, with the
// other strides a multiple of 8 and its address of 16 bytes, goes to shared memory by itself.
//
// m, n, k: rows of a, columns of b, what they share. The idea: a block computes 128 x 128 results, 32 deep at a time; each of its eight
// warps 64 x 32 of them, as 4 x 4 products of 16 x 8 x 16 for each half of the depth, 64 sums in a thread's registers.
//   1. Panels lie in shared memory by lines, two neighbours along k in a word, as the instruction wants them for both operands. A
//      line is 40 numbers long instead of 32: eight lines at four words then meet all 32 banks.
//   2. The next panel is on its way (cp.async, 16 bytes a thread) while this one is computed on: one barrier for each panel.
//   3. For each half of the depth a warp reads 16 + 8 words and does 16 products: of shared memory's time 96 cycles, of the tensor
//      cores' 256 on sm_90 (mma.sync reaches some 60 % of what wgmma does there, so this is the rung below it).
// Registers (ptxas 13.0, sm_90): 124, so two blocks (16 warps) on a multiprocessor; shared memory 40 KiB each.
// Where the shared axis is not dense, pairs of numbers are put together on the way, neighbours along the axis that is; nothing hides their
// latency but the other warps.
#include "product.cuh"

constexpr int TILE = 128, DEPTH = 32, LINE = DEPTH + 8, PAIRS = TILE * DEPTH / 2 / BLOCK, CHUNKS = TILE * DEPTH / 8 / BLOCK;

// One operand's share of a tile: TILE lines of DEPTH numbers, kept as [line][k].
struct Panel {
    const bf16* from;
    i64 line_step, k_step, first, lines;
    int left, k, line, k_next, line_next;                    // pairs: this thread's first, and how far to its next
    bool by_itself;

    INLINE Panel(const bf16* matrix, i64 first, i64 lines, i64 depth, i64 line_step, i64 k_step)
        : from(matrix), line_step(line_step), k_step(k_step), first(first), lines(lines), left(int(depth)) {
        int t = threadIdx.x;
        by_itself = k_step == 1 && line_step % 8 == 0 && depth % 8 == 0 && is_aligned(matrix, 16);
        bool along_k = k_step < 0 ? false : line_step < 0 ? true : k_step < line_step;
        if (along_k) { k = t % (DEPTH / 2) * 2; line = t / (DEPTH / 2); k_next = 0; line_next = BLOCK / (DEPTH / 2); }
        else { line = t % TILE; k = t / TILE * 2; line_next = 0; k_next = BLOCK / TILE * 2; }
    }
    INLINE u32 number(i64 at_line, int at_k) const { return at_line < lines && at_k < left ? from[at_line * line_step + at_k * k_step].bits : 0; }
    // Sets out to read the next panel; what lies outside is zero.
    INLINE void read(bf16* panel) {
        if (by_itself) {
#pragma unroll
            for (int e = 0; e < CHUNKS; e++) {
                int chunk = threadIdx.x + e * BLOCK, at = chunk / (DEPTH / 8), k_at = chunk % (DEPTH / 8) * 8;
                bool there = first + at < lines && k_at < left;
                copy_async_16(&panel[at * LINE + k_at], there ? from + (first + at) * line_step + k_at : from, there);
            }
        } else {
#pragma unroll 4
            for (int e = 0; e < PAIRS; e++) {
                int at = line + e * line_next, k_at = k + e * k_next;
                *reinterpret_cast<u32*>(&panel[at * LINE + k_at]) = number(first + at, k_at) | number(first + at, k_at + 1) << 16;
            }
        }
        copy_async_commit();
        from += DEPTH * k_step; left -= DEPTH;
    }
};

INLINE u32 pair(const bf16* at) { return *reinterpret_cast<const u32*>(at); }

KERNEL(matmul_tensor_bf16, const bf16* a, const bf16* b, bf16* out, const bf16* start, const bf16* bias, Product p, View a_batch, View b_batch, View start_batch) {
    SHARED(bf16, panels, [2][2][TILE * LINE]);
    i64 i0 = i64(blockIdx.y) * TILE, j0 = i64(blockIdx.x) * TILE, z = p.first + blockIdx.z;
    Panel left(a + place_of(a_batch, z), i0, p.m, p.k, p.a_row, p.a_step), right(b + place_of(b_batch, z), j0, p.n, p.k, p.b_column, p.b_step);
    int warp = threadIdx.x / WARP, g = threadIdx.x % WARP / 4, q = threadIdx.x % 4, row = warp / 4 * 64, column = warp % 4 * 32;
    float sum[4][4][4] = {};
    left.read(panels[0][0]); right.read(panels[0][1]);
    copy_async_wait<0>();
    __syncthreads();
    int now = 0;
    for (int k0 = 0; k0 < int(p.k); k0 += DEPTH) {
        bool more = int(p.k) - k0 > DEPTH;
        if (more) { left.read(panels[now ^ 1][0]); right.read(panels[now ^ 1][1]); }
        const bf16 *rows = panels[now][0], *columns = panels[now][1];
#pragma unroll
        for (int half = 0; half < DEPTH; half += 16) {
            int k = half + 2 * q;
            u32 x[4][4], y[4][2];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const bf16* at = &rows[(row + 16 * i + g) * LINE + k];
                x[i][0] = pair(at); x[i][1] = pair(at + 8 * LINE); x[i][2] = pair(at + 8); x[i][3] = pair(at + 8 * LINE + 8);
            }
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const bf16* at = &columns[(column + 8 * j + g) * LINE + k];
                y[j][0] = pair(at); y[j][1] = pair(at + 8);
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma_16_8_16_bf16(sum[i][j], x[i], y[j]);
        }
        copy_async_wait<0>();
        now ^= 1;
        __syncthreads();
    }
    // Thirty-two rows at a time go through shared memory, so that whole lines are written.
    constexpr int WIDE = TILE + 4;
    float* lines = reinterpret_cast<float*>(panels[0][0]);
    static_assert(32 * WIDE * sizeof(float) <= sizeof(panels), "thirty-two rows fit");
    const bf16* begin = start ? start + place_of(start_batch, z) : nullptr;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) lines[(row / 4 + g + e / 2 * 8) * WIDE + column + 8 * j + 2 * q + e % 2] = sum[i][j][e];
        __syncthreads();
#pragma unroll 1
        for (int c = threadIdx.x; c < 32 * TILE; c += BLOCK) {
            int line = c / TILE;
            i64 at = i0 + line / 16 * 64 + 16 * i + line % 16, to = j0 + c % TILE;
            if (at >= p.m || to >= p.n) continue;
            float result = float(p.alpha) * lines[line * WIDE + c % TILE];
            if (begin) result += float(p.beta) * to_f32(begin[at * p.start_row + to * p.start_column]);
            if (bias) result += to_f32(bias[to]);
            out[(z * p.m + at) * p.n + to] = to_bf16(result);
        }
        __syncthreads();
    }
}
