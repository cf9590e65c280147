// copy.cu - elements put elsewhere and computed nothing on. What only moves sees words of 1, 2, 4 or 8 bytes.
//
//   copy_strided_{1,2,4,8}(from, to, count, View from)               to[i] = from[view(i)]; `to` dense
//   copy_into_{1,2,4,8}(from, to, count, View from, View to)         to[view(i)] = from[view(i)]; what else stands in `to` stays
//   copy_turned_{1,2,4,8}(from, to, rows, columns, from_batch, from_column)
//                                    to[b][r][c] = from[b · from_batch + c · from_column + r]: a batch of matrices transposed
//   fill_{1,2,4,8}(to, count, word)                                  to[i] = word
//   triangle_{1,2,4,8}(from, to, count, View from, rows, columns, diagonal, lower)     zeros on one side of a diagonal
//   cast_S_D(from, to, count)                                        dense, S and D of f64 f32 bf16 f16 i64 i32 u8 bool
//
// Launch: 256 threads, grid (min(ceil(count / 1024), 65536), 1, 1); all but copy_turned stride through the grid. Each thread
// has four elements, a block apart, so that neighbours read neighbours and four reads are under way at once: with 2048 threads on
// a multiprocessor that is 32 KiB of 4-byte words in flight, twice what the latency of memory needs at full rate. fill and cast
// take words of up to 16 bytes where both ends are aligned.
// copy_turned: grid (ceil(columns / 32), ceil(rows / 32), batches), a tile of 32 x 32 through shared memory, whose rows are
// one word longer so that a column meets every bank: both sides read and write whole lines.
#include "numbers.cuh"
#include "view.cuh"

constexpr int EACH = 4;

template <class W> INLINE void copy_strided(const W* from, W* to, i64 count, const View& view) {
    for (i64 base = i64(blockIdx.x) * BLOCK * EACH + threadIdx.x; base < count; base += i64(gridDim.x) * BLOCK * EACH) {
        W held[EACH];
#pragma unroll
        for (int e = 0; e < EACH; e++) if (base + e * BLOCK < count) held[e] = from[place_of(view, base + e * BLOCK)];
#pragma unroll
        for (int e = 0; e < EACH; e++) if (base + e * BLOCK < count) to[base + e * BLOCK] = held[e];
    }
}

template <class W> INLINE void copy_into(const W* from, W* to, i64 count, const View& source, const View& goal) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) to[place_of(goal, i)] = from[place_of(source, i)];
}

template <class W> INLINE void copy_turned(const W* from, W* to, i64 rows, i64 columns, i64 from_batch, i64 from_column) {
    constexpr int TILE = 32;
    SHARED(W, tile, [TILE][TILE + 1]);
    from += i64(blockIdx.z) * from_batch; to += i64(blockIdx.z) * rows * columns;
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    i64 r = i64(blockIdx.y) * TILE + x;
#pragma unroll
    for (int i = y; i < TILE; i += BLOCK / TILE) {
        i64 c = i64(blockIdx.x) * TILE + i;
        if (r < rows && c < columns) tile[i][x] = from[c * from_column + r];
    }
    __syncthreads();
    i64 c = i64(blockIdx.x) * TILE + x;
#pragma unroll
    for (int i = y; i < TILE; i += BLOCK / TILE) {
        r = i64(blockIdx.y) * TILE + i;
        if (r < rows && c < columns) to[r * columns + c] = tile[x][i];
    }
}

template <class W> INLINE void fill(W* to, i64 count, W word) {
    constexpr int N = 16 / sizeof(W);
    if (!is_aligned(to, 16)) {
        for (i64 i = first_of_grid(); i < count; i += step_of_grid()) to[i] = word;
        return;
    }
    Pack<W, N> pack;
#pragma unroll
    for (int e = 0; e < N; e++) pack.items[e] = word;
    for (i64 i = first_of_grid(); i < count / N; i += step_of_grid()) reinterpret_cast<Pack<W, N>*>(to)[i] = pack;
    for (i64 i = count / N * N + first_of_grid(); i < count; i += step_of_grid()) to[i] = word;
}

template <class W> INLINE void triangle(const W* from, W* to, i64 count, const View& view, i64 rows, i64 columns, i64 diagonal, int lower) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        i64 line = quotient(i, columns), row = line - quotient(line, rows) * rows, over = i - line * columns - row;
        to[i] = (lower ? over <= diagonal : over >= diagonal) ? from[place_of(view, i)] : W(0);
    }
}

#define MOVES(bytes, W)                                                                                                           \
    KERNEL(copy_strided_##bytes, const W* from, W* to, i64 count, View view) { copy_strided(from, to, count, view); }             \
    KERNEL(copy_into_##bytes, const W* from, W* to, i64 count, View source, View goal) { copy_into(from, to, count, source, goal); } \
    KERNEL(copy_turned_##bytes, const W* from, W* to, i64 rows, i64 columns, i64 from_batch, i64 from_column) {                   \
        copy_turned(from, to, rows, columns, from_batch, from_column);                                                            \
    }                                                                                                                             \
    KERNEL(fill_##bytes, W* to, i64 count, W word) { fill(to, count, word); }                                                     \
    KERNEL(triangle_##bytes, const W* from, W* to, i64 count, View view, i64 rows, i64 columns, i64 diagonal, int lower) {        \
        triangle(from, to, count, view, rows, columns, diagonal, lower);                                                          \
    }
MOVES(1, u8) MOVES(2, u16) MOVES(4, u32) MOVES(8, u64)

template <class S, class D> INLINE void cast(const S* from, D* to, i64 count) {
    constexpr int WIDER = sizeof(S) > sizeof(D) ? sizeof(S) : sizeof(D), PACK = WIDER == 8 ? 2 : 4;
    i64 packs = is_aligned(from, sizeof(S) * PACK) && is_aligned(to, sizeof(D) * PACK) ? count / PACK : 0;
    for (i64 i = first_of_grid(); i < packs; i += step_of_grid()) {
        Pack<S, PACK> source = reinterpret_cast<const Pack<S, PACK>*>(from)[i];
        Pack<D, PACK> goal;
#pragma unroll
        for (int e = 0; e < PACK; e++) goal.items[e] = convert<D>(source.items[e]);
        reinterpret_cast<Pack<D, PACK>*>(to)[i] = goal;
    }
    for (i64 i = packs * PACK + first_of_grid(); i < count; i += step_of_grid()) to[i] = convert<D>(from[i]);
}

#define CAST(s, S, d, D) KERNEL(cast_##s##_##d, const S* from, D* to, i64 count) { cast(from, to, count); }
CAST(f32, float, f64, double) CAST(bf16, bf16, f64, double) CAST(f16, f16, f64, double) CAST(i64, i64, f64, double) CAST(i32, i32, f64, double) CAST(u8, u8, f64, double) CAST(bool, boolean, f64, double)
CAST(f64, double, f32, float) CAST(bf16, bf16, f32, float) CAST(f16, f16, f32, float) CAST(i64, i64, f32, float) CAST(i32, i32, f32, float) CAST(u8, u8, f32, float) CAST(bool, boolean, f32, float)
CAST(f64, double, bf16, bf16) CAST(f32, float, bf16, bf16) CAST(f16, f16, bf16, bf16) CAST(i64, i64, bf16, bf16) CAST(i32, i32, bf16, bf16) CAST(u8, u8, bf16, bf16) CAST(bool, boolean, bf16, bf16)
CAST(f64, double, f16, f16) CAST(f32, float, f16, f16) CAST(bf16, bf16, f16, f16) CAST(i64, i64, f16, f16) CAST(i32, i32, f16, f16) CAST(u8, u8, f16, f16) CAST(bool, boolean, f16, f16)
CAST(f64, double, i64, i64) CAST(f32, float, i64, i64) CAST(bf16, bf16, i64, i64) CAST(f16, f16, i64, i64) CAST(i32, i32, i64, i64) CAST(u8, u8, i64, i64) CAST(bool, boolean, i64, i64)
CAST(f64, double, i32, i32) CAST(f32, float, i32, i32) CAST(bf16, bf16, i32, i32) CAST(f16, f16, i32, i32) CAST(i64, i64, i32, i32) CAST(u8, u8, i32, i32) CAST(bool, boolean, i32, i32)
CAST(f64, double, u8, u8) CAST(f32, float, u8, u8) CAST(bf16, bf16, u8, u8) CAST(f16, f16, u8, u8) CAST(i64, i64, u8, u8) CAST(i32, i32, u8, u8) CAST(bool, boolean, u8, u8)
CAST(f64, double, bool, boolean) CAST(f32, float, bool, boolean) CAST(bf16, bf16, bool, boolean) CAST(f16, f16, bool, boolean) CAST(i64, i64, bool, boolean) CAST(i32, i32, bool, boolean) CAST(u8, u8, bool, boolean)
