// accumulate.cu - all gradients of a model at once: their common norm, and what brings it down. Many tensors to a launch.
//
//   squares_T(parts, Stretches)              parts[tensor · pieces + piece] = Σ x² over a piece of a tensor, in f64
//   magnitudes_T(parts, Stretches)           the same of the greatest |x|; NaN is above all
//   shrink_T(norm, Stretches, double limit)  to[i] = from[i] · limit / (norm + 10⁻⁶) where that factor is less than 1, or NaN; norm: one f64
//
// T of f32 f64 bf16 f16. Stretches: 128 lines of two addresses and a count, by value; `to` counts for shrink alone. Launch: 256 threads, grid
// (pieces, tensors, 1). A model has hundreds of small tensors: a launch for each would take longer than its numbers do. Bound by bytes:
// four reads under way in each thread. The factor is rounded to what T is computed in, as a factor that the host gives would be.
#include "numbers.cuh"
#include "view.cuh"

struct Stretch { u64 from, to; i64 count; };
struct Stretches { Stretch lines[128]; };

INLINE double more(bool greatest, double held, double x) {
    if (!greatest) return held + x;
    return x > held || x != x ? x : held;                    // a NaN that is held stays: nothing is greater
}

template <class T, bool GREATEST> INLINE void fold(double* parts, const Stretches& list) {
    SHARED(double, states, [BLOCK]);
    const T* from = reinterpret_cast<const T*>(list.lines[blockIdx.y].from);
    i64 count = list.lines[blockIdx.y].count, step = step_of_grid();
    double state = 0;
    auto add = [&](T held) { double x = double(widen(held)); state = more(GREATEST, state, GREATEST ? fabs(x) : x * x); };
    i64 i = first_of_grid();
    for (; i + 3 * step < count; i += 4 * step) {
        T x[4];
#pragma unroll
        for (int e = 0; e < 4; e++) x[e] = from[i + e * step];
#pragma unroll
        for (int e = 0; e < 4; e++) add(x[e]);
    }
    for (; i < count; i += step) add(from[i]);
    states[threadIdx.x] = state;
    for (int apart = BLOCK / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if (int(threadIdx.x) < apart) states[threadIdx.x] = state = more(GREATEST, state, states[threadIdx.x + apart]);
    }
    if (threadIdx.x == 0) parts[i64(blockIdx.y) * gridDim.x + blockIdx.x] = state;
}

template <class T> INLINE void shrink(const double* norm, const Stretches& list, double limit) {
    const T* from = reinterpret_cast<const T*>(list.lines[blockIdx.y].from);
    T* to = reinterpret_cast<T*>(list.lines[blockIdx.y].to);
    i64 count = list.lines[blockIdx.y].count;
    double wide = limit / (*norm + 1e-6);
    Real<T> factor = Real<T>(wide >= 1 ? 1.0 : wide);
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) to[i] = narrow<T>(widen(from[i]) * factor);
}

#define GRADIENTS(t, T)                                                                                              \
    KERNEL(squares_##t, double* parts, Stretches list) { fold<T, false>(parts, list); }                              \
    KERNEL(magnitudes_##t, double* parts, Stretches list) { fold<T, true>(parts, list); }                            \
    KERNEL(shrink_##t, const double* norm, Stretches list, double limit) { shrink<T>(norm, list, limit); }
FLOATS(GRADIENTS)
