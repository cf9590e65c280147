// mask_hopper.cuh - what a mask hides of the sums of a product by four warps. A thread asks what its own scores meet while they are computed, and keeps a
// bit of each.
#pragma once
#include "attention.cuh"

// Nothing is hidden.
struct Unmasked {
    template <bool, int> INLINE u64 look(int, int, int) const { return 0; }
    template <int COUNT> INLINE void hide(float (&)[COUNT], u64) const {}
};

// By bytes: what is 0 hides.
struct Masked {
    const Attention& how;
    const void* mask;
    const View& batch;

    // Of lines g, g + 8 and columns 2q, 2q + 1, 2q + 8 ... of a tile of matrix z, in the order of sums: `line` and `column` are this thread's first. Lines are
    // queries or keys. Those that are not there meet what others do, and are left to who knows of them.
    template <bool LINES_ARE_QUERIES, int COUNT> INLINE u64 look(int z, int line, int column) const {
        const u8* from = static_cast<const u8*>(mask) + place_of(batch, z);
        int lines = int(LINES_ARE_QUERIES ? how.queries : how.keys), columns = int(LINES_ARE_QUERIES ? how.keys : how.queries);
        i64 down = LINES_ARE_QUERIES ? how.mask_row : how.mask_column, across = LINES_ARE_QUERIES ? how.mask_column : how.mask_row;
        const u8 *upper = from + min(line, lines - 1) * down, *lower = from + min(line + 8, lines - 1) * down;
        bool pairs = across == 1 && columns % 2 == 0 && down % 2 == 0 && is_aligned(from, 2);
        u64 seen = 0;
#pragma unroll 4
        for (int j = 0; j < COUNT / 4; j++) {
            u32 four;
            if (pairs) {
                int at = min(column + 8 * j, columns - 2);
                u32 a = *reinterpret_cast<const u16*>(upper + at), b = *reinterpret_cast<const u16*>(lower + at);
                four = u32((a & 0xff) != 0) | u32(a > 0xff) << 1 | u32((b & 0xff) != 0) << 2 | u32(b > 0xff) << 3;
            } else {
                i64 at = min(column + 8 * j, columns - 1) * across, next = min(column + 8 * j + 1, columns - 1) * across;
                four = u32(upper[at] != 0) | u32(upper[next] != 0) << 1 | u32(lower[at] != 0) << 2 | u32(lower[next] != 0) << 3;
            }
            seen |= u64(four) << 4 * j;
        }
        return seen;
    }
    template <int COUNT> INLINE void hide(float (&scores)[COUNT], u64 seen) const {
#pragma unroll
        for (int i = 0; i < COUNT; i++) if (!(seen >> i & 1)) scores[i] = -INFINITY;
    }
};
