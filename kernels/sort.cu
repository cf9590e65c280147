// sort.cu - elements in order: sorted rows with their positions, the first of them, the different ones, the most frequent.
//
// Every element becomes a key (keys.cuh); to descend, all its bits are turned over. Keys and positions together are all different, so there is one
// right order, whatever finds it. Rows are dense; positions are u32, counted in their row.
//
//   keys_of_T(x, keys, i64 count, u64 flip)      T of f64 i64: keys of 8 bytes; of f32 bf16 f16 i32 u8: of 4. keys = key ^ flip
//   order_block_K(keys, positions, sorted, places, i64 segments, i64 size, i64 parts, i64 padded, i64 together, i64 length)
//        K: 4, 8. Rows of `size` are cut into `parts` segments of `padded` (a power of two, at most 2048) elements; the first `length` of each, in order, go to
//        sorted and places [segments, length]. positions: of each element, or null for its own. Segments with fewer are filled up with last ones.
//        A block takes `together` segments (together · padded at most 2048): grid (ceil(segments / together), 1, 1)
//   digits_K(keys, counts, i64 size, i64 tiles, int shift)                     counts i64 [rows, 256, tiles]: how often each digit stands in each tile of 2048
//   place_K(keys, positions, sums, sorted, places, i64 size, i64 tiles, int shift)      elements go where the running sums of the counts say
//        Both: grid (rows · tiles, 1, 1). One pass of a radix sort by 8 bits from `shift` on, each after the other from the lowest digit up
//   pick_sorted_{1,2,4,8}(x, positions, y, places, i64 count, i64 length, i64 held, i64 from, i64 size)
//        of rows with `held` positions those from `from` on: places i64 [rows, length], and (y not null) the elements there
//   middle_K(sorted, positions, y, i64 rows, i64 size, i64 k, u64 nan, int nans)         y[r]: the position of the first NaN, or that of place k
//   runs_K(sorted, y, i64 count, i64 size, u64 nan, int nans)       y i64: at the end of a run of equals how many they are, else 0
//   begins_K(sorted, y, i64 count, u64 nan, int nans)               y u8: does another element begin here?
//   slices_K(keys, order, i64 padded, i64 count, i64 length, i64 around, i64 step)      one step of a bitonic sort of slices, over u32 [padded]
//   slice_begins_K(keys, order, y, i64 count, i64 length, u64 nan, int nans)             as begins_K, for slices in order
//   links_K(sorted, order, next, i64 count)               i64, as chains_i64 of index.cu: which position comes next with the same key, or count; the sign
//        bit where an earlier one has it
//   count_up_u32(y, i64 count)                            y[i] = i
//   gaps_i64(begins, y, i64 count, i64 end)               y[i] = begins[i + 1] - begins[i]
//
// nan: the key that NaN has, which equals nothing, where there may be any (nans). Launch, where no grid is named: 256 threads, grid
// (min(ceil(n / 1024), 65536), 1, 1), striding; n is the number of elements of the result, for slices_K padded / 2.
//
// Short rows: a bitonic network in shared memory, many rows to a block; 66 steps for 2048 elements. The first few of long rows: segments of 2048
// give their first ones, and so on with those, until one segment is left. Whole long rows: radix, two reads and one write of key and position for each digit.
// In a tile each warp ranks its own 256 elements, 32 at a time by ballots; elements are put in order in shared memory first, so that equal digits are
// written as stretches. No atomics but on counts in shared memory, which are whole.
#include "keys.cuh"
#include "scan.cuh"

#define KEYS(t, T, K) \
    KERNEL(keys_of_##t, const T* x, K* keys, i64 count, u64 flip) { for (i64 i = first_of_grid(); i < count; i += step_of_grid()) keys[i] = key_of(x[i]) ^ K(flip); }
KEYS(f64, double, u64) KEYS(i64, i64, u64) KEYS(f32, float, u32) KEYS(bf16, bf16, u32) KEYS(f16, f16, u32) KEYS(i32, i32, u32) KEYS(u8, u8, u32)

// A key with its position.
template <class K> struct Item;
template <> struct Item<u32> {
    u64 both;
    static INLINE Item of(u32 key, u32 position) { return {u64(key) << 32 | position}; }
    INLINE u32 key() const { return u32(both >> 32); }
    INLINE u32 position() const { return u32(both); }
    INLINE bool behind(const Item& other) const { return both > other.both; }
};
template <> struct Item<u64> {
    u64 first, second;
    static INLINE Item of(u64 key, u32 position) { return {key, position}; }
    INLINE u64 key() const { return first; }
    INLINE u32 position() const { return u32(second); }
    INLINE bool behind(const Item& other) const { return first != other.first ? first > other.first : second > other.second; }
};

// The pair of places that thread t compares in a step of a bitonic network whose pairs all ascend: mirrored in the first step of each merge
// (step = around / 2), side by side in others.
struct Twins { i64 low, high; };
INLINE Twins twins(i64 t, i64 around, i64 step) {
    i64 offset = t & (step - 1), block = 2 * (t - offset), low = block + offset;
    return {low, 2 * step == around ? block + around - 1 - offset : low + step};
}

constexpr int TILE = 2048;
template <class K> INLINE void order_block(const K* keys, const u32* positions, K* sorted, u32* places, i64 segments, i64 size, i64 parts, i64 padded, i64 together, i64 length) {
    SHARED(Item<K>, items, [TILE]);
    int all = int(together * padded);
    i64 first = i64(blockIdx.x) * together;
    for (int i = threadIdx.x; i < all; i += BLOCK) {
        i64 inside = quotient(i, padded), segment = first + inside, row = quotient(segment, parts);
        i64 along = (segment - row * parts) * padded + (i - inside * padded), at = row * size + along;
        bool there = segment < segments && along < size;
        items[i] = there ? Item<K>::of(keys[at], positions ? positions[at] : u32(along)) : Item<K>::of(~K(0), ~0u);
    }
    for (int around = 2; around <= padded; around *= 2) {
        for (int step = around / 2; step > 0; step /= 2) {
            __syncthreads();
            for (int t = threadIdx.x; t < all / 2; t += BLOCK) {
                Twins pair = twins(t, around, step);
                Item<K> low = items[pair.low], high = items[pair.high];
                if (low.behind(high)) { items[pair.low] = high; items[pair.high] = low; }
            }
        }
    }
    __syncthreads();
    i64 count = min(together, segments - first) * length;
    for (i64 i = threadIdx.x; i < count; i += BLOCK) {
        i64 inside = quotient(i, length);
        Item<K> item = items[inside * padded + (i - inside * length)];
        sorted[first * length + i] = item.key();
        places[first * length + i] = item.position();
    }
}

constexpr int DIGITS = 256, WARPS = BLOCK / WARP, ROUNDS = TILE / BLOCK;
template <class K> INLINE u32 digit_of(K key, int shift) { return u32(key >> shift) & (DIGITS - 1); }
template <class K> INLINE void digits(const K* keys, i64* counts, i64 size, i64 tiles, int shift) {
    SHARED(u32, found, [DIGITS]);
    found[threadIdx.x] = 0;
    __syncthreads();
    i64 row = quotient(blockIdx.x, tiles), tile = blockIdx.x - row * tiles, end = min(size, (tile + 1) * TILE);
    for (i64 i = tile * TILE + threadIdx.x; i < end; i += BLOCK) atomicAdd(&found[digit_of(keys[row * size + i], shift)], 1u);
    __syncthreads();
    counts[(row * DIGITS + threadIdx.x) * tiles + tile] = found[threadIdx.x];
}

struct CountUp {
    using State = u32;
    INLINE State nothing() const { return 0; }
    INLINE State join(State a, State b) const { return a + b; }
};
template <class K> INLINE void place(const K* keys, const u32* positions, const i64* sums, K* sorted, u32* places, i64 size, i64 tiles, int shift) {
    SHARED(u32, met, [WARPS][DIGITS]);                        // how many of a digit each warp has met; then those of earlier warps
    SHARED(u32, start, [DIGITS]);
    SHARED(i64, goal, [DIGITS]);
    SHARED(K, lined, [TILE]);
    SHARED(u32, lined_places, [TILE]);
    int t = threadIdx.x, lane = t % WARP, warp = t / WARP;
    i64 row = quotient(blockIdx.x, tiles), tile = blockIdx.x - row * tiles, from = row * size + tile * TILE;
    int count = int(min(i64(TILE), size - tile * TILE));
    for (int w = 0; w < WARPS; w++) met[w][t] = 0;
    __syncthreads();
    K own[ROUNDS];
    u32 rank[ROUNDS];
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        int i = warp * (TILE / WARPS) + round * WARP + lane;
        bool there = i < count;
        own[round] = there ? keys[from + i] : K(0);
        u32 digit = digit_of(own[round], shift), equals = __ballot_sync(EVERYONE, there);
#pragma unroll
        for (int bit = 0; bit < 8; bit++) {
            bool set = digit >> bit & 1;
            u32 others = __ballot_sync(EVERYONE, set);
            equals &= set ? others : ~others;
        }
        u32 earlier = __popc(equals & ((1u << lane) - 1)), before = there ? met[warp][digit] : 0;
        rank[round] = before + earlier;
        __syncwarp();
        if (there && earlier == 0) met[warp][digit] = before + __popc(equals);
        __syncwarp();
    }
    __syncthreads();
    u32 all = 0;
    for (int w = 0; w < WARPS; w++) { u32 here = met[w][t]; met[w][t] = all; all += here; }
    int turn = 0;
    u32 before = scan_lanes(CountUp{}, all, Chair{t, 0, t, 1}, BLOCK, turn).before;
    start[t] = before;
    goal[t] = sums[(row * DIGITS + t) * tiles + tile] - i64(all) - i64(before);
    __syncthreads();
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        int i = warp * (TILE / WARPS) + round * WARP + lane;
        if (i >= count) continue;
        u32 digit = digit_of(own[round], shift), to = start[digit] + met[warp][digit] + rank[round];
        lined[to] = own[round];
        lined_places[to] = positions ? positions[from + i] : u32(tile * TILE + i);
    }
    __syncthreads();
    for (int i = t; i < count; i += BLOCK) {
        i64 to = row * size + goal[digit_of(lined[i], shift)] + i;
        sorted[to] = lined[i];
        places[to] = lined_places[i];
    }
}

template <class W> INLINE void pick(const W* x, const u32* positions, W* y, i64* places, i64 count, i64 length, i64 held, i64 from, i64 size) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 row = quotient(at, length), position = positions[row * held + from + (at - row * length)];
        places[at] = position;
        if (y) y[at] = x[row * size + position];
    }
}
#define PICK(bytes, W) \
    KERNEL(pick_sorted_##bytes, const W* x, const u32* positions, W* y, i64* places, i64 count, i64 length, i64 held, i64 from, i64 size) { pick(x, positions, y, places, count, length, held, from, size); }
PICK(1, u8) PICK(2, u16) PICK(4, u32) PICK(8, u64)

// The first place in an ascending row that holds at least this key.
template <class K> INLINE i64 lower_bound(const K* row, i64 size, K key) {
    i64 low = 0, high = size;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (row[middle] < key) low = middle + 1; else high = middle;
    }
    return low;
}
template <class K> INLINE void middle(const K* sorted, const u32* positions, u32* y, i64 rows, i64 size, i64 k, u64 nan, int nans) {
    for (i64 r = first_of_grid(); r < rows; r += step_of_grid()) {
        const K* row = sorted + r * size;
        y[r] = positions[r * size + (nans && row[size - 1] == nan ? lower_bound(row, size, K(nan)) : k)];
    }
}
template <class K> INLINE void runs(const K* sorted, i64* y, i64 count, i64 size, u64 nan, int nans) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 row = quotient(at, size), along = at - row * size;
        K own = sorted[at];
        bool last = along + 1 == size || sorted[at + 1] != own || (nans && own == nan);
        y[at] = !last ? 0 : nans && own == nan ? 1 : along + 1 - lower_bound(sorted + row * size, along, own);
    }
}
template <class K> INLINE void begins(const K* sorted, u8* y, i64 count, u64 nan, int nans) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) y[at] = at == 0 || sorted[at] != sorted[at - 1] || (nans && sorted[at] == nan);
}

template <class K> INLINE void links(const K* sorted, const u32* order, i64* next, i64 count) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        bool later = at > 0 && sorted[at - 1] == sorted[at], followed = at + 1 < count && sorted[at + 1] == sorted[at];
        next[order[at]] = (followed ? i64(order[at + 1]) : count) | (later ? i64(0x8000000000000000ull) : 0);
    }
}

// Is slice a behind slice b? Equal ones keep their order; places beyond all slices are last.
template <class K> INLINE bool is_behind(const K* keys, u32 a, u32 b, i64 count, i64 length) {
    if (a < count && b < count) for (i64 i = 0; i < length; i++) {
        K left = keys[a * length + i], right = keys[b * length + i];
        if (left != right) return left > right;
    }
    return a > b;
}
template <class K> INLINE void slices(const K* keys, u32* order, i64 padded, i64 count, i64 length, i64 around, i64 step) {
    for (i64 t = first_of_grid(); t < padded / 2; t += step_of_grid()) {
        Twins pair = twins(t, around, step);
        u32 low = order[pair.low], high = order[pair.high];
        if (is_behind(keys, low, high, count, length)) { order[pair.low] = high; order[pair.high] = low; }
    }
}
template <class K> INLINE void slice_begins(const K* keys, const u32* order, u8* y, i64 count, i64 length, u64 nan, int nans) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        bool other = at == 0;
        for (i64 i = 0; i < length && !other; i++) {
            K own = keys[order[at] * length + i];
            other = own != keys[order[at - 1] * length + i] || (nans && own == nan);
        }
        y[at] = other;
    }
}

#define BY_KEY(bytes, K)                                                                                                                                     \
    KERNEL(order_block_##bytes, const K* keys, const u32* positions, K* sorted, u32* places, i64 segments, i64 size, i64 parts, i64 padded, i64 together, i64 length) { \
        order_block(keys, positions, sorted, places, segments, size, parts, padded, together, length);                                                       \
    }                                                                                                                                                        \
    KERNEL(digits_##bytes, const K* keys, i64* counts, i64 size, i64 tiles, int shift) { digits(keys, counts, size, tiles, shift); }                         \
    KERNEL(place_##bytes, const K* keys, const u32* positions, const i64* sums, K* sorted, u32* places, i64 size, i64 tiles, int shift) {                    \
        place(keys, positions, sums, sorted, places, size, tiles, shift);                                                                                    \
    }                                                                                                                                                        \
    KERNEL(middle_##bytes, const K* sorted, const u32* positions, u32* y, i64 rows, i64 size, i64 k, u64 nan, int nans) { middle(sorted, positions, y, rows, size, k, nan, nans); } \
    KERNEL(runs_##bytes, const K* sorted, i64* y, i64 count, i64 size, u64 nan, int nans) { runs(sorted, y, count, size, nan, nans); }                                       \
    KERNEL(begins_##bytes, const K* sorted, u8* y, i64 count, u64 nan, int nans) { begins(sorted, y, count, nan, nans); }                                                    \
    KERNEL(links_##bytes, const K* sorted, const u32* order, i64* next, i64 count) { links(sorted, order, next, count); }                                    \
    KERNEL(slices_##bytes, const K* keys, u32* order, i64 padded, i64 count, i64 length, i64 around, i64 step) { slices(keys, order, padded, count, length, around, step); } \
    KERNEL(slice_begins_##bytes, const K* keys, const u32* order, u8* y, i64 count, i64 length, u64 nan, int nans) { slice_begins(keys, order, y, count, length, nan, nans); }
BY_KEY(4, u32) BY_KEY(8, u64)

KERNEL(count_up_u32, u32* y, i64 count) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) y[i] = u32(i);
}
KERNEL(gaps_i64, const i64* begins, i64* y, i64 count, i64 end) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) y[i] = (i + 1 < count ? begins[i + 1] : end) - begins[i];
}
