// view.cuh - how a kernel walks a tensor that is not dense, and how it cuts dense ones.
#pragma once
#include "device.cuh"

// Sizes and strides (in elements; 0 repeats, negative runs backwards) of up to eight axes, the last the fastest.
// The host passes it by value and merges axes that follow each other in memory, so that most views have one or two.
struct View {
    int rank, pad;
    i64 sizes[8], strides[8];
};

// Quotients of 64 bits are subroutines of a hundred instructions. What is divided here are numbers of elements below 2^32; the host
// refuses views of more (but for those of one axis, which need no division).
INLINE u32 quotient(i64 a, i64 b) { return u32(a) / u32(b); }

// Where element `index` (in row-major order) stands.
INLINE i64 place_of(const View& view, i64 index) {
    if (view.rank == 1) return index * view.strides[0];
    i64 place = 0;
    u32 rest = u32(index);
#pragma unroll 1
    for (int axis = view.rank - 1; axis > 0; axis--) {
        u32 size = u32(view.sizes[axis]), above = rest / size;
        place += i64(rest - above * size) * view.strides[axis];
        rest = above;
    }
    return place + (view.rank ? i64(rest) * view.strides[0] : 0);
}

// Loops over all threads of a grid: this thread's first element, and the distance to its next.
INLINE i64 first_of_grid() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }
INLINE i64 step_of_grid() { return i64(gridDim.x) * blockDim.x; }

// N neighbours that are read or written as one word, or as words of 16 bytes.
template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack { T items[N]; };
INLINE bool is_aligned(const void* at, int bytes) { return reinterpret_cast<u64>(at) % u64(bytes) == 0; }
