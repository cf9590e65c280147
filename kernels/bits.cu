// bits.cu - the bits of whole numbers, of two operands that broadcast.
//
//   bitwise_{i64,i32,u8}(a, b, y, i64 count, View a, View b, int operation)      y[i] = a[view(i)] ∘ b[view(i)]; y dense
//        operation: 0 and, 1 or, 2 exclusive or, 3 shifted left, 4 shifted right. Places below 0 or beyond a number's width move
//        all bits out; to the right the sign stays. Booleans go as u8, and are not shifted
//
// Launch: 256 threads, grid (min(ceil(count / 1024), 65536), 1, 1), striding. Bound by bytes: where each operand is dense or one number
// for all, a thread has words of 16 bytes (u8: of 4), else one element after another.
#include "view.cuh"

// The unsigned type of a number's width, in which what is moved out is no error.
template <class T> struct Unsigned { using Type = T; };
template <> struct Unsigned<i64> { using Type = u64; };
template <> struct Unsigned<i32> { using Type = u32; };

template <class T> INLINE T combined(T a, T b, int operation) {
    if (operation == 0) return a & b;
    if (operation == 1) return a | b;
    if (operation == 2) return a ^ b;
    constexpr T WIDTH = 8 * sizeof(T);
    bool all = b < T(0) || b >= WIDTH;
    if (operation == 3) return all ? T(0) : T(typename Unsigned<T>::Type(a) << b);
    return all ? (a < T(0) ? T(~T(0)) : T(0)) : T(a >> b);
}

// Is it dense, or one number for all?
INLINE bool is_line(const View& view) { return view.rank == 0 || (view.rank == 1 && (view.strides[0] == 1 || view.strides[0] == 0)); }
INLINE bool is_dense(const View& view) { return view.rank == 1 && view.strides[0] == 1; }

template <class T> INLINE void bitwise(const T* a, const T* b, T* y, i64 count, const View& a_view, const View& b_view, int operation) {
    constexpr int N = sizeof(T) == 1 ? 4 : 16 / sizeof(T);
    using Word = Pack<T, N>;
    bool a_dense = is_dense(a_view), b_dense = is_dense(b_view), words = is_line(a_view) && is_line(b_view) && is_aligned(y, sizeof(Word));
    words = words && (!a_dense || is_aligned(a, sizeof(Word))) && (!b_dense || is_aligned(b, sizeof(Word)));
    i64 packs = words ? count / N : 0;
    for (i64 i = first_of_grid(); i < packs; i += step_of_grid()) {
        Word left = {}, right = {}, out;
        if (a_dense) left = reinterpret_cast<const Word*>(a)[i];
        if (b_dense) right = reinterpret_cast<const Word*>(b)[i];
#pragma unroll
        for (int e = 0; e < N; e++) out.items[e] = combined(a_dense ? left.items[e] : *a, b_dense ? right.items[e] : *b, operation);
        reinterpret_cast<Word*>(y)[i] = out;
    }
    for (i64 i = packs * N + first_of_grid(); i < count; i += step_of_grid()) y[i] = combined(a[place_of(a_view, i)], b[place_of(b_view, i)], operation);
}

#define BITWISE(t, T) \
    KERNEL(bitwise_##t, const T* a, const T* b, T* y, i64 count, View a_view, View b_view, int operation) { bitwise(a, b, y, count, a_view, b_view, operation); }
BITWISE(i64, i64) BITWISE(i32, i32) BITWISE(u8, u8)
