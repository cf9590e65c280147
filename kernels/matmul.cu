// matmul.cu - products of matrices on the ordinary arithmetic units, exact in the type they compute in.
//
//   matmul_T(a, b, out, start, bias, Product, View a_batch, View b_batch, View start_batch)      T of f32 f64 i64 i32 u8
//   matmul_small_f32(... the same)
//        out[z][i][j] = alpha · Σ_k a[z][i][k] · b[z][k][j] + beta · start[z][i][j] + bias[j]
//        out dense [batches, m, n]; start (T) and bias (T) may be null; the views give where batch z of each operand begins
//
//   struct Product { i64 first, m, n, k, a_row, a_step, b_step, b_column, start_row, start_column, pieces, share; double alpha, beta; } (112 bytes)
//        strides in elements, any: a transposed operand is one whose strides are exchanged, a broadcast one has strides of 0
//        pieces, share: the shared axis may be cut (product.cuh, matmul_pieces.cu)
//
// Launch: 256 threads, grid (ceil(m / TILE) · ceil(n / TILE), 1, batches · pieces), at most 65535 along the third axis, batches from `first` on.
// TILE: matmul_f32 128, all others 64. With fewer than about two blocks of 128 for each multiprocessor matmul_small_f32 fills the device better.
//
// m, n, k: rows of a, columns of b, what they share. The idea, for f32 (TILE 128, DEPTH 8, 8 x 8 results for each thread):
//   1. A block computes 128 x 128 results, so each number of a and b is read m n k / 128 times in all from the caches and
//      memory: 32 multiply-adds for each byte, above the 20 of H100's f32 units over its memory (67 TFLOP/s, 3.35 TB/s).
//   2. A thread holds 8 x 8 results in registers: for each k it reads 16 numbers from shared memory, as four words of 16 bytes, and
//      does 64 multiply-adds. A warp is 4 threads high and 8 wide, so that of its 4 x 32 words 24 differ: 384 bytes for 2048 multiply-adds, of
//      shared memory's time (128 bytes a cycle) three quarters of a cycle for each of the 16 that the units of the multiprocessor take.
//   3. The next panel is on its way from memory into the other half of shared memory while this one is computed on (cp.async: no
//      registers): one barrier for each panel, and its latency (some 600 cycles) hides behind 8 x 64 multiply-adds of 8 warps.
//   4. Operands may lie either way. Where 16 bytes hold four numbers of one panel for both, a thread brings them at once: four lines of one k to their place,
//      four k of one line aside, from where it turns them when they have come. Otherwise threads go along whichever axis is dense (or has the smaller
//      stride), number by number. Rows of a panel are 4 longer than the tile: storing eight k of four lines, or a k of 16 lines and its fourth
//      next, meets every bank once.
// Registers: kernels/README.md; two blocks (16 warps) on a multiprocessor hide each other's barriers.
#include "product.cuh"

template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;

// One operand's share of a tile: TILE lines of DEPTH numbers, kept as [k][line] in one of two panels, which follow each other.
template <class T, int TILE, int DEPTH> struct Panel {
    using R = Real<T>;
    static constexpr int LINE = TILE + 4, SIZE = DEPTH * LINE, COUNT = TILE * DEPTH / BLOCK;
    static constexpr bool BY_ITSELF = same<T, float>;
    const T* from;                                           // this thread's first number of the panel
    i64 next, step;                                          // to its next number; along the shared axis
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
        next = line_next * line_step + k_next * k_step; step = k_step;
        slot = k * LINE + i; slot_next = k_next * LINE + line_next;
        left = int(depth) - k; inside = 0;
#pragma unroll
        for (int e = 0; e < COUNT; e++) inside |= u32(first + i + e * line_next < lines) << e;
    }
    // Sets out to read the next panel; what lies outside is zero. f32 goes to shared memory by itself, other types by way of registers.
    INLINE void read(R* panels, int which) {
        R* panel = panels + which * SIZE;
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            bool there = (inside >> e & 1) && e * k_next < left;
            if constexpr (BY_ITSELF) copy_async_4(&panel[slot + e * slot_next], from + e * next, there);
            else held[e] = there ? R(widen(from[e * next])) : R(0);
        }
        from += DEPTH * step; left -= DEPTH;
    }
    // The panel that was set out for stands in shared memory, as far as this thread is concerned.
    INLINE void arrive(R* panels, int which) const {
        if constexpr (!BY_ITSELF) {
#pragma unroll
            for (int e = 0; e < COUNT; e++) panels[which * SIZE + slot + e * slot_next] = held[e];
        }
    }
};

// The same of f32 where 16 aligned bytes hold four numbers of a panel: four lines of one k, which go where they belong by themselves, or four k
// of one line. Those go behind the panels, and this thread turns them when they have come.
template <int TILE, int DEPTH> struct Words {
    static constexpr int LINE = TILE + 4, SIZE = DEPTH * LINE;
    static_assert(TILE * DEPTH == 4 * BLOCK, "a word for each thread");
    const float* from;                                       // this thread's word of the panel
    i64 jump;                                                // to the next panel
    int left;                                                // shared positions from it on; none on a line that there is not
    int slot, to, to_next;                                   // where it is kept; where it goes to, for the first panel, and how much farther for the second

    static INLINE bool fit(const float* matrix, i64 lines, i64 depth, i64 line_step, i64 k_step) {
        return is_aligned(matrix, 16) && ((k_step == 1 && line_step % 4 == 0 && depth % 4 == 0) || (line_step == 1 && k_step % 4 == 0 && lines % 4 == 0));
    }
    INLINE Words(const float* matrix, i64 first, i64 lines, i64 depth, i64 line_step, i64 k_step) {
        bool turns = k_step == 1;
        int t = threadIdx.x, k = turns ? t % (DEPTH / 4) * 4 : t / (TILE / 4), i = turns ? t / (DEPTH / 4) : t % (TILE / 4) * 4;
        from = matrix + (first + i) * line_step + k * k_step; jump = DEPTH * k_step;
        left = first + i < lines ? int(depth) - k : 0;
        slot = k * LINE + i; to = turns ? 2 * SIZE + 4 * t : slot; to_next = turns ? 0 : SIZE;
    }
    INLINE void read(float* panels, int which) {
        copy_async_16(&panels[to + which * to_next], from, left > 0);
        from += jump; left -= DEPTH;
    }
    INLINE void arrive(float* panels, int which) const {
        if (to_next) return;
        float* at = &panels[which * SIZE + slot]; float4 word = *reinterpret_cast<const float4*>(&panels[to]);
        at[0] = word.x; at[LINE] = word.y; at[2 * LINE] = word.z; at[3 * LINE] = word.w;
    }
};

INLINE float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
INLINE double multiply_add(double a, double b, double c) { return fma(a, b, c); }
INLINE i64 multiply_add(i64 a, i64 b, i64 c) { return plus(times(a, b), c); }

// Adds up a thread's results, which stand in squares of 4 x 4 from a row and a column of the tile on: neighbours in a square are read as one word.
template <class P, class R, int EACH, int DEPTH> INLINE void add_up(R (&sum)[EACH][EACH], P left, P right, R* a_panels, R* b_panels, int row, int column, int depth) {
    constexpr bool BY_ITSELF = same<R, float>;
    auto read = [&](int which) {
        left.read(a_panels, which); right.read(b_panels, which);
        if constexpr (BY_ITSELF) copy_async_commit();
    };
    auto arrive = [&](int which) {
        if constexpr (BY_ITSELF) copy_async_wait<0>();
        left.arrive(a_panels, which); right.arrive(b_panels, which);
    };
    read(0); arrive(0);
    __syncthreads();
    int now = 0;
    for (int k0 = 0; k0 < depth; k0 += DEPTH) {
        bool more = depth - k0 > DEPTH;
        if (more) read(now ^ 1);
        const R *a = &a_panels[now * P::SIZE + row], *b = &b_panels[now * P::SIZE + column];
#pragma unroll 2
        for (int k = 0; k < DEPTH; k++) {
            R x[EACH], y[EACH];
#pragma unroll
            for (int e = 0; e < EACH; e += 4) {
                Pack<R, 4> four = *reinterpret_cast<const Pack<R, 4>*>(&a[k * P::LINE + e * 4]);
                Pack<R, 4> other = *reinterpret_cast<const Pack<R, 4>*>(&b[k * P::LINE + e * 8]);
#pragma unroll
                for (int f = 0; f < 4; f++) { x[e + f] = four.items[f]; y[e + f] = other.items[f]; }
            }
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++) sum[i][j] = multiply_add(x[i], y[j], sum[i][j]);
        }
        if (more) arrive(now ^ 1);
        now ^= 1;
        __syncthreads();
    }
}

// Eight warps stand four high and two wide, the lanes of one four high and eight wide.
template <class T, int EACH, int DEPTH>
INLINE void multiply(const T* a, const T* b, T* out, const T* start, const T* bias, const Product& p, const View& a_batch, const View& b_batch, const View& start_batch) {
    using R = Real<T>;
    using P = Panel<T, 16 * EACH, DEPTH>;
    constexpr int TILE = 16 * EACH, LINE = P::LINE, PANELS = 2 * P::SIZE + (same<T, float> ? 4 * BLOCK : 0);
    SHARED(R, a_panels, [PANELS]);
    SHARED(R, b_panels, [PANELS]);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, high = lane / 8, wide = lane % 8;
    int row = warp / 2 * 4 * EACH + high * 4, column = warp % 2 * 8 * EACH + wide * 4;
    Part<TILE, TILE> part(p, blockIdx.x, blockIdx.z);
    a += place_of(a_batch, part.batch) + part.from * p.a_step; b += place_of(b_batch, part.batch) + part.from * p.b_step;
    R sum[EACH][EACH] = {};
    bool by_words = false;
    if constexpr (same<T, float>) {
        using W = Words<TILE, DEPTH>;
        by_words = W::fit(a, p.m, part.depth, p.a_row, p.a_step) && W::fit(b, p.n, part.depth, p.b_column, p.b_step);
        if (by_words)
            add_up<W, R, EACH, DEPTH>(sum, W(a, part.row, p.m, part.depth, p.a_row, p.a_step), W(b, part.column, p.n, part.depth, p.b_column, p.b_step), a_panels, b_panels, row, column, part.depth);
    }
    if (!by_words)
        add_up<P, R, EACH, DEPTH>(sum, P(a, part.row, p.m, part.depth, p.a_row, p.a_step), P(b, part.column, p.n, part.depth, p.b_column, p.b_step), a_panels, b_panels, row, column, part.depth);
    // Sixteen rows at a time go through shared memory, so that whole lines are written and start is read by whole lines.
    if (start) start += place_of(start_batch, part.batch);
    R* rows = a_panels;
    static_assert(2 * DEPTH >= 16, "sixteen rows fit");
#pragma unroll
    for (int e = 0; e < EACH; e++) {
#pragma unroll
        for (int f = 0; f < EACH; f++) rows[(warp / 2 * 4 + high) * LINE + f / 4 * 32 + column + f % 4] = sum[e][f];
        __syncthreads();
#pragma unroll 1
        for (int c = threadIdx.x; c < 16 * TILE / 4; c += BLOCK) {
            int line = c / (TILE / 4), at = c % (TILE / 4) * 4, to = line / 4 * 4 * EACH + e / 4 * 16 + line % 4 * 4 + e % 4;
            put_four(out, start, bias, p, part, part.row + to, part.column + at, *reinterpret_cast<const Pack<R, 4>*>(&rows[line * LINE + at]));
        }
        __syncthreads();
    }
}

#define MATMUL(KIND, name, T, EACH, DEPTH)                                                                                                                     \
    KIND(name, const T* a, const T* b, T* out, const T* start, const T* bias, Product product, View a_batch, View b_batch, View start_batch) {            \
        multiply<T, EACH, DEPTH>(a, b, out, start, bias, product, a_batch, b_batch, start_batch);                                                           \
    }
MATMUL(KERNEL_IN_PAIRS, matmul_f32, float, 8, 8)
MATMUL(KERNEL_IN_PAIRS, matmul_small_f32, float, 4, 16)
MATMUL(KERNEL, matmul_f64, double, 4, 16)
MATMUL(KERNEL_IN_PAIRS, matmul_i64, i64, 4, 8)
MATMUL(KERNEL_IN_PAIRS, matmul_i32, i32, 4, 8)
MATMUL(KERNEL_IN_PAIRS, matmul_u8, u8, 4, 8)
