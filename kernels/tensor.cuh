// tensor.cuh - what kernels on tensor cores share: tiles of floats in shared memory, read as operands of mma.sync (their layout is in device.cuh):
// bf16 and f16 as themselves, f32 rounded to tf32: once where one warp reads it again and again, else when it is read.
#pragma once
#include "numbers.cuh"
#include "view.cuh"

// Two numbers in one register, the lower first.
INLINE u32 pack(bf16, float low, float high) { return pack_bf16(low, high); }
INLINE u32 pack(f16, float low, float high) { return pack_f16(low, high); }
INLINE void multiply(bf16, float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_16_8_16_bf16(sum, a, b); }
INLINE void multiply(f16, float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_16_8_16_f16(sum, a, b); }
INLINE void multiply(float, float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_16_8_8_tf32(sum, a, b); }
// Words from shared memory as products take them.
template <class T> INLINE void round_words(u32 (&words)[4]) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int e = 0; e < 4; e++) words[e] = to_tf32(__uint_as_float(words[e]));
    }
}
// Two neighbours of a line.
template <class T> INLINE void put_pair(T* to, float low, float high) {
    if constexpr (sizeof(T) == 4) *reinterpret_cast<Pack<T, 2>*>(to) = {{low, high}};
    else *reinterpret_cast<u32*>(to) = pack(T{}, low, high);
}

// Lines of WIDE numbers (128 bytes or a multiple), in chunks of 16 bytes. Chunk c of line r stands at place c ^ (r mod 8): the same chunk of
// eight lines then meets all 32 banks, and so does one line's when it is written.
template <class T, int WIDE> struct Tile {
    // Numbers of a chunk; of 128 bytes; those that a product is shared along.
    static constexpr int EACH = 16 / sizeof(T), GROUP = 8 * EACH, DEEP = 2 * EACH;
    T* numbers;

    INLINE T* chunk(int line, int c) const { return numbers + line * WIDE + (c ^ (line & 7)) * EACH; }
    INLINE T& at(int line, int column) const { return chunk(line, column / EACH)[column % EACH]; }
    // What this lane reads of the matrices of an operand whose lines begin at `line`: of one that is shared along its columns and lies as
    // a right operand, and of any other.
    INLINE const T* as_right(int line) const { int lane = threadIdx.x % WARP; return chunk(line + lane % 8 + lane / 16 * 8, lane / 8 % 2); }
    INLINE const T* as_left(int line) const { int lane = threadIdx.x % WARP; return chunk(line + lane % 16, lane / 16); }
    // The same so many lines (a multiple of 8) and columns (of two chunks) farther on. A line's chunks stand in groups of eight, 128 bytes, which tiles
    // are aligned to: one exclusive or, and a constant for the rest.
    static INLINE const T* on(const T* place, int lines, int columns) {
        return reinterpret_cast<const T*>(reinterpret_cast<u64>(place) ^ u64(columns % GROUP * sizeof(T))) + lines * WIDE + columns / GROUP * GROUP;
    }
    // A left operand, 16 lines and DEEP columns, of lines that are rounded.
    static INLINE void left(u32 (&a)[4], const T* place) { read_matrices<false>(a, place); }
    // Rounds a warp's lines where they stand.
    template <int LINES> INLINE void round_lines(int line) const {
        if constexpr (sizeof(T) == 4) {
            T* from = numbers + line * WIDE;
#pragma unroll 2
            for (int e = threadIdx.x % WARP; e < LINES * WIDE / EACH; e += WARP) {
                auto four = *reinterpret_cast<Pack<T, EACH>*>(from + e * EACH);
#pragma unroll
                for (int i = 0; i < EACH; i++) four.items[i] = __uint_as_float(to_tf32(four.items[i]));
                *reinterpret_cast<Pack<T, EACH>*>(from + e * EACH) = four;
            }
            __syncwarp();
        }
    }
    // Two right operands: 16 lines that are columns of the product, shared along DEEP columns; or, TURNED, shared along 16 lines.
    template <bool TURNED> static INLINE void right(u32 (&b)[2][2], const T* place) {
        u32 words[4];
        read_matrices<TURNED>(words, place);
        round_words<T>(words);
        b[0][0] = words[0]; b[0][1] = words[1]; b[1][0] = words[2]; b[1][1] = words[3];
    }
};

// Right operands of a tile that is shared along its lines, and the left ones that go with them: sums of another product.
template <class T, int WIDE> struct Turned {
    const T* at;

    INLINE Turned(const Tile<T, WIDE>& tile) : at(tile.as_left(0)) {}
    // Two of them: 16 columns, and DEEP lines.
    INLINE void right(u32 (&b)[2][2], int line, int column) const { Tile<T, WIDE>::template right<true>(b, Tile<T, WIDE>::on(at, line, column)); }
    template <int COUNT> static INLINE void left(u32 (&a)[4], const float (&sums)[COUNT][4], int column) {
#pragma unroll
        for (int e = 0; e < 4; e++) a[e] = pack(T{}, sums[column / 8 + e / 2][e % 2 * 2], sums[column / 8 + e / 2][e % 2 * 2 + 1]);
    }
};
// No instruction turns numbers of 32 bits, so they are read one by one; which lines a product's positions q and q + 4 are is free then. They are 2q and
// 2q + 1, as a thread's sums have them. Lines 0 2 4 6 and two chunks of each meet all banks, and so do the others.
template <int WIDE> struct Turned<float, WIDE> {
    static constexpr int GROUP = Tile<float, WIDE>::GROUP;
    const float* numbers;
    int at[2];                                               // counted from the tile's first number, so that the compiler sees shared memory

    INLINE Turned(const Tile<float, WIDE>& tile) : numbers(tile.numbers) {
        int lane = threadIdx.x % WARP;
        for (int h = 0; h < 2; h++) at[h] = int(&tile.at(lane % 4 * 2 + h, lane / 4) - numbers);
    }
    INLINE void right(u32 (&b)[2][2], int line, int column) const {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int on = column + i / 2 * 8;
            b[i / 2][i % 2] = to_tf32(numbers[(at[i % 2] ^ on % GROUP) + line * WIDE + on / GROUP * GROUP]);
        }
    }
    template <int COUNT> static INLINE void left(u32 (&a)[4], const float (&sums)[COUNT][4], int column) {
#pragma unroll
        for (int e = 0; e < 4; e++) a[e] = to_tf32(sums[column / 8][e % 2 * 2 + e / 2]);
    }
};

// A matrix in memory whose lines are brought to tiles, by THREADS threads.
template <class T, int WIDE, int THREADS> struct Lines {
    static constexpr int EACH = Tile<T, WIDE>::EACH;
    const T* from; i64 row, column; int count, width;
    bool by_itself;                                          // in chunks of 16 bytes, in the background

    INLINE Lines(const T* from, int count, int width, i64 row, i64 column)
        : from(from), row(row), column(column), count(count), width(width), by_itself(column == 1 && width % EACH == 0 && row % EACH == 0 && is_aligned(from, 16)) {}
    // LINES of them, from `first` on, set out to a tile; zeros where there are none, and behind the width. They are there when the thread has
    // waited for its copies and met the others.
    template <int LINES> INLINE void fetch(const Tile<T, WIDE>& tile, int first) const {
        constexpr int CHUNKS = WIDE / EACH, APART = THREADS / CHUNKS;
        static_assert(LINES % APART == 0, "all threads bring as many chunks");
        if (by_itself) {
            int c = threadIdx.x % CHUNKS, line = threadIdx.x / CHUNKS;
            const T* at = from + i64(first + line) * row + EACH * c;
            int left = c * EACH < width ? min(count - first, LINES) : 0;
#pragma unroll
            for (int e = 0; e < LINES; e += APART) {
                copy_async_16(tile.chunk(line + e, c), line + e < left ? at : from, line + e < left);
                at += APART * row;
            }
        } else {
            bool turned = row == 1;                          // neighbours are those of a column
#pragma unroll 2
            for (int e = threadIdx.x; e < LINES * WIDE; e += THREADS) {
                int line = turned ? e % LINES : e / WIDE, c = turned ? e / LINES : e % WIDE;
                tile.at(line, c) = first + line < count && c < width ? from[i64(first + line) * row + c * column] : T{0};
            }
        }
        copy_async_commit();
    }
};
