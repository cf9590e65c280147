// tensor.cuh - what kernels on tensor cores share: tiles of 16-bit floats in shared memory, read as operands of mma.sync (their layout is in
// device.cuh).
#pragma once
#include "numbers.cuh"
#include "view.cuh"

// Two numbers in one register, the lower first.
INLINE u32 pack(bf16, float low, float high) { return pack_bf16(low, high); }
INLINE u32 pack(f16, float low, float high) { return pack_f16(low, high); }
INLINE void multiply(bf16, float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_16_8_16_bf16(sum, a, b); }
INLINE void multiply(f16, float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_16_8_16_f16(sum, a, b); }

// Lines of WIDE numbers (64 or a multiple), in chunks of 16 bytes. Chunk c of line r stands at place c ^ (r mod 8): the same chunk of
// eight lines then meets all 32 banks, and so does one line's when it is written.
template <class T, int WIDE> struct Tile {
    T* numbers;

    INLINE T* chunk(int line, int c) const { return numbers + line * WIDE + ((c ^ (line & 7)) << 3); }
    INLINE T& at(int line, int column) const { return chunk(line, column >> 3)[column & 7]; }
    // What this lane reads of the matrices of an operand whose lines begin at `line`: of one that is shared along its columns and lies as
    // a right operand, and of any other.
    INLINE const T* as_right(int line) const { int lane = threadIdx.x % WARP; return chunk(line + lane % 8 + lane / 16 * 8, lane / 8 % 2); }
    INLINE const T* as_left(int line) const { int lane = threadIdx.x % WARP; return chunk(line + lane % 16, lane / 16); }
    // The same so many lines (a multiple of 8) and columns (of 16) farther on. A line's chunks stand in groups of eight, 128 bytes, which tiles
    // are aligned to: one exclusive or, and a constant for the rest.
    static INLINE const T* on(const T* place, int lines, int columns) {
        return reinterpret_cast<const T*>(reinterpret_cast<u64>(place) ^ u64(columns % 64 * sizeof(T))) + lines * WIDE + columns / 64 * 64;
    }
    // A left operand, 16 lines and 16 columns.
    static INLINE void left(u32 (&a)[4], const T* place) { read_matrices<false>(a, place); }
    // Two right operands: 16 lines that are columns of the product, shared along 16 columns; or, TURNED, shared along 16 lines.
    template <bool TURNED> static INLINE void right(u32 (&b)[2][2], const T* place) {
        u32 words[4];
        read_matrices<TURNED>(words, place);
        b[0][0] = words[0]; b[0][1] = words[1]; b[1][0] = words[2]; b[1][1] = words[3];
    }
};

// A matrix in memory whose lines are brought to tiles, by THREADS threads.
template <class T, int WIDE, int THREADS> struct Lines {
    const T* from; i64 row, column; int count, width;
    bool by_itself;                                          // in chunks of 16 bytes, in the background

    INLINE Lines(const T* from, int count, int width, i64 row, i64 column)
        : from(from), row(row), column(column), count(count), width(width), by_itself(column == 1 && width % 8 == 0 && row % 8 == 0 && is_aligned(from, 16)) {}
    // LINES of them, from `first` on, set out to a tile; zeros where there are none, and behind the width. They are there when the thread has
    // waited for its copies and met the others.
    template <int LINES> INLINE void fetch(const Tile<T, WIDE>& tile, int first) const {
        constexpr int CHUNKS = WIDE / 8, APART = THREADS / CHUNKS;
        static_assert(LINES % APART == 0, "all threads bring as many chunks");
        if (by_itself) {
            int c = threadIdx.x % CHUNKS, line = threadIdx.x / CHUNKS;
            const T* at = from + i64(first + line) * row + 8 * c;
            int left = c * 8 < width ? min(count - first, LINES) : 0;
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
