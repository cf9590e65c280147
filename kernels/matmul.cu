// matmul.cu - products of matrices on the ordinary arithmetic units, exact in the type they compute in.
//
//   matmul_T(a, b, out, start, bias, Product, View a_batch, View b_batch, View start_batch)      T of f32 f64 bf16 f16 i64 i32 u8
//   matmul_small_f32(... the same)
//        out[z][i][j] = alpha · Σ_k a[z][i][k] · b[z][k][j] + beta · start[z][i][j] + bias[j]
//        out dense [batches, m, n]; start (T) and bias (T) may be null; the views give where batch z of each operand begins
//
//   struct Product { i64 first, m, n, k, a_row, a_step, b_step, b_column, start_row, start_column; double alpha, beta; } (96 bytes)
//        strides in elements, any: a transposed operand is one whose strides are exchanged, a broadcast one has strides of 0
//
// Launch: 256 threads, grid (ceil(n / TILE), ceil(m / TILE), batches), at most 65535 of them
// in a launch, from `first` on. TILE: matmul_f32 128, all others 64. With
// fewer than about two blocks of 128 for each multiprocessor matmul_small_f32 fills the device better. bf16 and f16 compute in f32.
//
// m, n, k: rows of a, columns of b, what they share. The idea, for f32 (TILE 128, DEPTH 8, 8 x 8 results for each thread):
//   1. A block computes 128 x 128 results, so each number of a and b is read m n k / 128 times in all from the caches and
//      memory: 32 multiply-adds for each byte, above the 20 of H100's f32 units over its memory (67 TFLOP/s, 3.35 TB/s).
//   2. A thread holds 8 x 8 results in registers: for each k it reads 16 numbers from shared memory, as four words of 16 bytes, and
//      does 64 multiply-adds; shared memory gives 128 bytes a cycle, the units take 128 multiply-adds: 4 words x 256 threads
//      at 16 bytes need 128 cycles of the 128 that the arithmetic takes, half of them reads that a warp shares (broadcast).
//   3. The next panel is on its way from memory into the other half of shared memory while this one is computed on (cp.async: no
//      registers): one barrier for each panel, and its latency (some 600 cycles) hides behind 8 x 64 multiply-adds of 8 warps.
//   4. Operands may lie either way: threads go along whichever axis is dense (or has the smaller stride), and rows of a panel are 4 longer than
//      the tile, so that storing eight k of four rows meets every bank once.
// Registers (ptxas 13.0, sm_90): about 180, so one block (8 warps) on a multiprocessor; the 64 independent sums have to hide what is waited for.
#include "product.cuh"

template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;

// One operand's share of a tile: TILE lines of DEPTH numbers, kept as [k][line].
template <class T, int TILE, int DEPTH> struct Panel {
    using R = Real<T>;
    static constexpr int LINE = TILE + 4, COUNT = TILE * DEPTH / BLOCK;
    static constexpr bool BY_ITSELF = same<T, float>;
    const T* from;                                           // this thread's first number of the panel
    i64 next, jump;                                          // to its next number; to the next panel
    int left, k_next;                                        // shared positions from its first on, and to its next
    u32 inside;                                              // a bit for each of its numbers: is it on a line that there is?
    int slot, slot_next;
    R held[BY_ITSELF ? 1 : COUNT];

    INLINE Panel(const T* matrix, i64 first, i64 lines, i64 depth, i64 line_step, i64 k_step) {
        int t = threadIdx.x, i, k, line_next;
        bool along_k = k_step < 0 ? false : line_step < 0 ? true : k_step < line_step;
        if (along_k) { k = t % DEPTH; i = t / DEPTH; k_next = 0; line_next = BLOCK / DEPTH; }
        else { i = t % TILE; k = t / TILE; k_next = BLOCK / TILE; line_next = 0; }
        from = matrix + (first + i) * line_step + k * k_step;
        next = line_next * line_step + k_next * k_step; jump = DEPTH * k_step;
        slot = k * LINE + i; slot_next = k_next * LINE + line_next;
        left = int(depth) - k; inside = 0;
#pragma unroll
        for (int e = 0; e < COUNT; e++) inside |= u32(first + i + e * line_next < lines) << e;
    }
    // Sets out to read the next panel; what lies outside is zero. f32 goes to shared memory by itself, other types by way of registers.
    INLINE void read(R* panel) {
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            bool there = (inside >> e & 1) && e * k_next < left;
            if constexpr (BY_ITSELF) copy_async_4(&panel[slot + e * slot_next], there ? from + e * next : from, there);
            else held[e] = there ? R(widen(from[e * next])) : R(0);
        }
        from += jump; left -= DEPTH;
        if constexpr (BY_ITSELF) copy_async_commit();
    }
    // The panel that was set out for stands in shared memory, as far as this thread is concerned.
    INLINE void arrive(R* panel) const {
        if constexpr (BY_ITSELF) copy_async_wait<0>();
        else {
#pragma unroll
            for (int e = 0; e < COUNT; e++) panel[slot + e * slot_next] = held[e];
        }
    }
};

INLINE float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
INLINE double multiply_add(double a, double b, double c) { return fma(a, b, c); }
INLINE i64 multiply_add(i64 a, i64 b, i64 c) { return plus(times(a, b), c); }

// A thread's results stand in squares of 4 x 4, 64 apart: neighbours in a square are read as one word.
template <class T, int EACH, int DEPTH>
INLINE void multiply(const T* a, const T* b, T* out, const T* start, const T* bias, const Product& p, const View& a_batch, const View& b_batch, const View& start_batch) {
    using R = Real<T>;
    constexpr int TILE = 16 * EACH, LINE = TILE + 4;
    SHARED(R, a_panels, [2][DEPTH * LINE]);
    SHARED(R, b_panels, [2][DEPTH * LINE]);
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    i64 i0 = i64(blockIdx.y) * TILE, j0 = i64(blockIdx.x) * TILE;
    i64 z = p.first + blockIdx.z;
    Panel<T, TILE, DEPTH> left(a + place_of(a_batch, z), i0, p.m, p.k, p.a_row, p.a_step), right(b + place_of(b_batch, z), j0, p.n, p.k, p.b_column, p.b_step);
    R sum[EACH][EACH] = {};
    left.read(a_panels[0]); right.read(b_panels[0]);
    left.arrive(a_panels[0]); right.arrive(b_panels[0]);
    __syncthreads();
    int now = 0;
    for (int k0 = 0; k0 < int(p.k); k0 += DEPTH) {
        bool more = int(p.k) - k0 > DEPTH;
        if (more) { left.read(a_panels[now ^ 1]); right.read(b_panels[now ^ 1]); }
#pragma unroll 4
        for (int k = 0; k < DEPTH; k++) {
            R x[EACH], y[EACH];
#pragma unroll
            for (int e = 0; e < EACH; e += 4) {
                Pack<R, 4> four = *reinterpret_cast<const Pack<R, 4>*>(&a_panels[now][k * LINE + e * 16 + ty * 4]);
                Pack<R, 4> other = *reinterpret_cast<const Pack<R, 4>*>(&b_panels[now][k * LINE + e * 16 + tx * 4]);
#pragma unroll
                for (int f = 0; f < 4; f++) { x[e + f] = four.items[f]; y[e + f] = other.items[f]; }
            }
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++) sum[i][j] = multiply_add(x[i], y[j], sum[i][j]);
        }
        if (more) { left.arrive(a_panels[now ^ 1]); right.arrive(b_panels[now ^ 1]); }
        now ^= 1;
        __syncthreads();
    }
    // Sixteen rows at a time go through shared memory, so that whole lines are written and start is read by whole lines.
    const T* begin = start ? start + place_of(start_batch, z) : nullptr;
    R* rows = a_panels[0];
    static_assert(2 * DEPTH >= 16, "sixteen rows fit");
#pragma unroll
    for (int e = 0; e < EACH; e++) {
#pragma unroll
        for (int f = 0; f < EACH; f++) rows[ty * LINE + f / 4 * 64 + tx * 4 + f % 4] = sum[e][f];
        __syncthreads();
#pragma unroll 1
        for (int c = threadIdx.x; c < 16 * TILE; c += BLOCK) {
            i64 i = i0 + e / 4 * 64 + c / TILE * 4 + e % 4, j = j0 + c % TILE;
            if (i >= p.m || j >= p.n) continue;
            R result = times(R(p.alpha), rows[c / TILE * LINE + c % TILE]);
            if (begin) result = plus(result, times(R(p.beta), R(widen(begin[i * p.start_row + j * p.start_column]))));
            if (bias) result = plus(result, R(widen(bias[j])));
            out[(z * p.m + i) * p.n + j] = narrow<T>(result);
        }
        __syncthreads();
    }
}

#define MATMUL(KIND, name, T, EACH, DEPTH)                                                                                                                     \
    KIND(name, const T* a, const T* b, T* out, const T* start, const T* bias, Product product, View a_batch, View b_batch, View start_batch) {            \
        multiply<T, EACH, DEPTH>(a, b, out, start, bias, product, a_batch, b_batch, start_batch);                                                           \
    }
MATMUL(KERNEL, matmul_f32, float, 8, 8)
MATMUL(KERNEL_IN_PAIRS, matmul_small_f32, float, 4, 16)
MATMUL(KERNEL_IN_PAIRS, matmul_bf16, bf16, 4, 16)
MATMUL(KERNEL_IN_PAIRS, matmul_f16, f16, 4, 16)
MATMUL(KERNEL, matmul_f64, double, 4, 16)
MATMUL(KERNEL_IN_PAIRS, matmul_i64, i64, 4, 8)
MATMUL(KERNEL_IN_PAIRS, matmul_i32, i32, 4, 8)
MATMUL(KERNEL_IN_PAIRS, matmul_u8, u8, 4, 8)
