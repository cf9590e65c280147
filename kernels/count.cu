// count.cu - where something stands, and how often.
//
//   coordinates_i64(positions, y, i64 count, int rank, Sizes)          y [count, rank]: the coordinates of flat positions
//   histogram_f64(x, y, i64 count, i64 bins, double low, double high, double width)      y i64, zeros before: how many fall in each bin
//   search_{f32,f64,i64}(rows, x, y, i64 count, i64 size, i64 each, int right)
//        y[i]: where x[i] would stand in row i / each of ascending rows of `size`: the first possible place, or the last
//
// struct Sizes { i64 items[8]; } by value. Launch: 256 threads, grid (min(ceil(count / 1024), 65536), 1, 1), striding.
//
// Counts are whole, so they may be added in any order: those of a block in shared memory where bins are few. Searches halve; neighbours mostly
// read the same lines.
#include "keys.cuh"
#include "view.cuh"

struct Sizes { i64 items[8]; };
KERNEL(coordinates_i64, const i64* positions, i64* y, i64 count, int rank, Sizes sizes) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        i64 rest = positions[i];
        for (int axis = rank - 1; axis >= 0; axis--) {
            i64 above = quotient(rest, sizes.items[axis]);
            y[i * rank + axis] = rest - above * sizes.items[axis];
            rest = above;
        }
    }
}

constexpr int FEW = 2048;
KERNEL(histogram_f64, const double* x, u64* y, i64 count, i64 bins, double low, double high, double width) {
    SHARED(u32, counts, [FEW]);
    bool few = bins <= FEW;
    if (few) for (int b = threadIdx.x; b < bins; b += BLOCK) counts[b] = 0;
    __syncthreads();
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        double number = x[i];
        if (!(number >= low && number <= high)) continue;
        i64 bin = min(i64((number - low) / width), bins - 1);
        if (few) atomicAdd(&counts[bin], 1u); else atomicAdd(&y[bin], u64(1));
    }
    __syncthreads();
    if (few) for (int b = threadIdx.x; b < bins; b += BLOCK) if (counts[b]) atomicAdd(&y[b], u64(counts[b]));
}

template <class T> INLINE void search(const T* rows, const T* x, i64* y, i64 count, i64 size, i64 each, int right) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        const T* row = rows + quotient(i, each) * size;
        auto wanted = key_of(x[i]);
        i64 low = 0, high = size;
        while (low < high) {
            i64 middle = (low + high) / 2;
            auto key = key_of(row[middle]);
            if (right ? key <= wanted : key < wanted) low = middle + 1; else high = middle;
        }
        y[i] = low;
    }
}
#define SEARCH(t, T) \
    KERNEL(search_##t, const T* rows, const T* x, i64* y, i64 count, i64 size, i64 each, int right) { search(rows, x, y, count, size, each, right); }
SEARCH(f32, float) SEARCH(f64, double) SEARCH(i64, i64)
