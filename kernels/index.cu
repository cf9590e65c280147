// index.cu - elements chosen and put by their position. Results are the same bits on every run, also where positions repeat.
//
//   positions_i64(index, y, i64 count, i64 size, u64* fault, u64 operation)
//        counts negative positions from the end; one out of range becomes 0, and the least of (operation << 40 | its place) goes to fault
//   select_{1,2,4,8,16}(x, index, y, i64 count, i64 size, i64 positions, i64 inner, i64 blank)
//        x dense [outer, size, inner], y dense [outer, positions, inner] of `count` words: y[o][p][i] = x[o][index[p]][i];
//        zeros where index[p] is `blank` (-1: nowhere). Take the widest word that divides a slice's bytes and both addresses
//   gather_{1,2,4,8}(x, index, y, i64 count, View x, i64 step)
//        y[r] = x[view(r) + index[r] · step]: the view has the sizes of the index and the strides of x, 0 along the axis
//   chains_i64(index, next, i64 count)
//        next[p] is the next position that goes where p goes, or count; its sign bit is set where an earlier one goes there
//   assemble_{f32,f64,i64}(source, index, next, y, i64 size, i64 positions, i64 outer, i64 inner, i64 skip, int combine, int include)
//        source dense [outer, positions, inner] is put into y dense [outer, size, inner], which holds what stood there before; slices at
//        position `skip` (-1: none) are left out. combine: 0 the last, 1 sum, 2 product, 3 mean, 4 largest, 5 smallest
//   scatter_{f32,f64,i64}(source, index, y, i64 lines, i64 along, View y, View source, View index, i64 y_step, i64 source_step,
//        i64 index_step, int combine, int include)
//        y[view(l) + index · y_step] ⊕= source for each line l, along it in order. combine as above but for the mean
//   mean_i64(sums, counts, y, i64 count)                              y = sum / number, rounded down
//   goals_i64(index, y, i64 lines, i64 along, View y, i64 y_step)      y[l · along + s] = view(l) + index[l · along + s] · step: where each goes
//   names_i64(index, i64 count, i64 size, u64* fault, u64 operation)  only looks: ids of `size` things do not count from the end
//   one_hot_i64(labels, y, i64 count, i64 classes, u64* fault, u64 operation)     y is zeros before; bad labels as bad positions
//   count_i64(x, y, i64 count)                                        y[x[i]] += 1; whole numbers may be added in any order
//
// index is dense i64 that positions_i64 has seen. 16-bit floats go by way of f32, i32 and u8 by way of i64, as on the CPU.
// Launch: 256 threads, grid (min(ceil(n / 256), 65536), 1, 1), striding; n: count of y for select and gather, outer · positions · inner for
// assemble, lines for scatter, count for all others. chains_i64: grid (ceil(count / 256), 1, 1).
//
// The idea of assemble (the gradient of an embedding): chains say for each position which one comes next with the same goal, so the first
// of each chain adds it up in order, a thread for each number of a slice; no atomics, no sort. Finding chains compares positions with
// all others, 256 at a time from shared memory: 8192 tokens take 67 M comparisons, a few microseconds of H100; from some
// 100 000 positions on it is no longer the way. Bound by the bytes of the source.
#include "numbers.cuh"
#include "view.cuh"

// Which operation failed, and where: the first of both stays.
INLINE void blame(u64* fault, u64 operation, i64 place) { atomicMin(fault, operation << 40 | u64(place)); }

KERNEL(positions_i64, const i64* index, i64* y, i64 count, i64 size, u64* fault, u64 operation) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        i64 position = index[i];
        if (position < 0) position += size;
        bool there = position >= 0 && position < size;
        y[i] = there ? position : 0;
        if (!there) blame(fault, operation, i);
    }
}

KERNEL(names_i64, const i64* index, i64 count, i64 size, u64* fault, u64 operation) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) if (index[i] < 0 || index[i] >= size) blame(fault, operation, i);
}

template <class W> INLINE void select(const W* x, const i64* index, W* y, i64 count, i64 size, i64 positions, i64 inner, i64 blank) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 slice = quotient(at, inner), i = at - slice * inner, outer = quotient(slice, positions), position = index[slice - outer * positions];
        y[at] = position == blank ? W{} : x[(outer * size + position) * inner + i];
    }
}
template <class W> INLINE void gather(const W* x, const i64* index, W* y, i64 count, const View& view, i64 step) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) y[at] = x[place_of(view, at) + index[at] * step];
}
using Wide = Pack<u64, 2>;
#define SELECT(bytes, W)                                                                                                                        \
    KERNEL(select_##bytes, const W* x, const i64* index, W* y, i64 count, i64 size, i64 positions, i64 inner, i64 blank) {                      \
        select(x, index, y, count, size, positions, inner, blank);                                                                              \
    }
#define GATHER(bytes, W) \
    KERNEL(gather_##bytes, const W* x, const i64* index, W* y, i64 count, View view, i64 step) { gather(x, index, y, count, view, step); }
SELECT(1, u8) SELECT(2, u16) SELECT(4, u32) SELECT(8, u64) SELECT(16, Wide)
GATHER(1, u8) GATHER(2, u16) GATHER(4, u32) GATHER(8, u64)

// The sign bit says that the position is not the first of its chain.
constexpr i64 LATER = i64(0x8000000000000000ull);

KERNEL(chains_i64, const i64* index, i64* next, i64 count) {
    SHARED(i64, others, [BLOCK]);
    i64 p = first_of_grid(), mine = p < count ? index[p] : -1, following = count;
    bool later = false;
    for (i64 begin = 0; begin < count; begin += BLOCK) {
        i64 q = begin + threadIdx.x;
        others[threadIdx.x] = q < count ? index[q] : -2;
        __syncthreads();
        for (int e = 0; e < BLOCK; e++) if (others[e] == mine) {
            if (begin + e < p) later = true;
            else if (begin + e > p && begin + e < following) following = begin + e;
        }
        __syncthreads();
    }
    if (p < count) next[p] = later ? following | LATER : following;
}

template <class R> INLINE bool is_nan(R x) { return x != x; }
// What is combined already, with one more; `times` how many there are with it.
template <class R> INLINE R combined(int combine, R held, R x) {
    if (combine == 0) return x;
    if (combine == 1 || combine == 3) return plus(held, x);
    if (combine == 2) return times(held, x);
    if (is_nan(held)) return held;
    return is_nan(x) || (combine == 4 ? x > held : x < held) ? x : held;
}
INLINE double mean_of(double sum, i64 count) { return sum / double(count); }
INLINE i64 mean_of(i64 sum, i64 count) { i64 whole = sum / count; return whole * count > sum ? whole - 1 : whole; }      // rounds down

template <class T>
INLINE void assemble(const T* source, const i64* index, const i64* next, T* y, i64 size, i64 positions, i64 outer, i64 inner, i64 skip, int combine, int include) {
    i64 count = outer * positions * inner;
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 slice = quotient(at, inner), i = at - slice * inner, o = quotient(slice, positions), p = slice - o * positions, goal = index[p], link = next[p];
        if (link < 0 || goal == skip) continue;
        T* to = y + (o * size + goal) * inner + i;
        using R = Total<T>;
        R held = R(source[at]);
        i64 number = 1;
        if (include && combine != 0) { held = combined(combine, R(*to), held); number = 2; }
        while (link < positions) {
            held = combined(combine, held, R(source[(o * positions + link) * inner + i]));
            number++;
            link = next[link] & ~LATER;
        }
        *to = T(combine == 3 ? mean_of(held, number) : held);
    }
}

template <class T> INLINE T neutral(int combine) {
    if (combine == 1) return T(0);
    if (combine == 2) return T(1);
    if constexpr (Kind<T>::is_float) return combine == 4 ? -T(INFINITY) : T(INFINITY);
    else return combine == 4 ? T(LATER) : ~T(LATER);
}

template <class T>
INLINE void scatter(const T* source, const i64* index, T* y, i64 lines, i64 along, const View& y_view, const View& source_view, const View& index_view, i64 y_step, i64 source_step, i64 index_step, int combine, int include) {
    for (i64 line = first_of_grid(); line < lines; line += step_of_grid()) {
        T* to = y + place_of(y_view, line);
        const T* from = source + place_of(source_view, line);
        const i64* position = index + place_of(index_view, line);
        // What stood at a place that is met does not take part: it starts anew.
        if (!include && combine != 0) for (i64 s = 0; s < along; s++) to[position[s * index_step] * y_step] = neutral<T>(combine);
        for (i64 s = 0; s < along; s++) {
            T* goal = to + position[s * index_step] * y_step;
            *goal = combine == 0 ? from[s * source_step] : combined(combine, *goal, from[s * source_step]);
        }
    }
}

#define COMBINED(t, T)                                                                                                                                  \
    KERNEL(assemble_##t, const T* source, const i64* index, const i64* next, T* y, i64 size, i64 positions, i64 outer, i64 inner, i64 skip, int combine, int include) { \
        assemble(source, index, next, y, size, positions, outer, inner, skip, combine, include);                                                        \
    }                                                                                                                                                   \
    KERNEL(scatter_##t, const T* source, const i64* index, T* y, i64 lines, i64 along, View y_view, View source_view, View index_view, i64 y_step, i64 source_step, i64 index_step, int combine, int include) { \
        scatter(source, index, y, lines, along, y_view, source_view, index_view, y_step, source_step, index_step, combine, include);                    \
    }
COMBINED(f32, float) COMBINED(f64, double) COMBINED(i64, i64)

KERNEL(mean_i64, const i64* sums, const i64* counts, i64* y, i64 count) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) y[i] = mean_of(sums[i], counts[i]);
}

KERNEL(goals_i64, const i64* index, i64* y, i64 lines, i64 along, View y_view, i64 y_step) {
    for (i64 at = first_of_grid(); at < lines * along; at += step_of_grid()) y[at] = place_of(y_view, quotient(at, along)) + index[at] * y_step;
}
KERNEL(one_hot_i64, const i64* labels, i64* y, i64 count, i64 classes, u64* fault, u64 operation) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        i64 label = labels[i];
        if (label < 0 || label >= classes) blame(fault, operation, i);
        else y[i * classes + label] = 1;
    }
}
KERNEL(count_i64, const i64* x, u64* y, i64 count) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) atomicAdd(&y[x[i]], u64(1));
}
