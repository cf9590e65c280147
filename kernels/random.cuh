// random.cuh - the words of Philox 4x32-10, and how they are numbered.
//
// Words come in groups of 16 blocks of four; in a group the first words of all 16 stand first, then the second ones, and so on. Numbers of
// one word: 64 for each group, number i is word i / 16 mod 4 of block i / 64 · 16 + i mod 16. Numbers of two words: 32 for each
// group, number i has words 2h, 2h + 1 (h = i / 16 mod 2) of block i / 32 · 16 + i mod 16.
#pragma once
#include "device.cuh"

// Which draw: its number, or in a captured step, where numbers change from replay to replay, the address of its number.
struct Draw { u64 seed, number; u32 stream, at_address; };
INLINE u64 number_of(const Draw& draw) { return draw.at_address ? *reinterpret_cast<const u64*>(draw.number) : draw.number; }
struct Words { u32 items[4]; };

INLINE Words philox(const Draw& draw, u64 block, u32 attempt) {
    u64 number = number_of(draw);
    u32 a = u32(block), b = (u32(block >> 32) & 0xffff) | (attempt & 0xff) << 16 | u32(number >> 32) << 24, c = u32(number), d = draw.stream;
    u32 key = u32(draw.seed), other = u32(draw.seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        u64 first = u64(a) * 0xd2511f53u, second = u64(c) * 0xcd9e8d57u;
        a = u32(second >> 32) ^ b ^ key; b = u32(second); c = u32(first >> 32) ^ d ^ other; d = u32(first);
        key += 0x9e3779b9u; other += 0xbb67ae85u;
    }
    return {{a, b, c, d}};
}

// The word of one number.
INLINE u32 word_of(const Draw& draw, i64 number) {
    Words w = philox(draw, u64(number) / 64 * 16 + u64(number) % 16, 0);
    u32 which = u32(number) / 16 % 4;
    return which == 0 ? w.items[0] : which == 1 ? w.items[1] : which == 2 ? w.items[2] : w.items[3];
}
