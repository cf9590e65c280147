// sample.cu - volumes read at any place between their elements, and the gradients of both.
//
//   struct Volumes { i64 batch, channels, places; int sizes[3], axes, outside, corners; } (48 bytes): depth, height and width; axes of the grid (2 or 3);
//        outside: 0 zeros, 1 the border, 2 mirrored; corners: -1 and 1 are the centres of the first and the last element, not their outer edges
//   sample_K_T(x, grid, y, Volumes, i64 chunk)                           y [batch, channels, places]
//   sample_grid_gradient_K_T(g, x, grid, y, Volumes)                     g as y above, y as grid
//   and for the gradient of x: what a place reads are up to TAPS^axes elements, its terms, in order
//   sample_terms_K_T(grid, elements, weights, Volumes)                   i32 and T [batch, places, terms]: the element, counted through the whole batch (-1: none), and its weight
//   sample_count_i32(elements, counts, i64 count)                        counts i32 [batch, elements], zeros before: terms of each element
//   sample_begin_i32(counts, starts, cursor, i64 count)                  where the list of each element starts in one array, in any order; cursor i32, zero before
//   sample_list_i32(elements, starts, filled, list, i64 count)           the numbers of its terms, in any order; filled zeros before
//   sample_order_i32(elements, starts, counts, list, ordered, i64 count) the same lists in order
//   sample_gather_T(g, starts, counts, ordered, weights, y, Volumes, i64 terms, i64 chunk)    y [batch, channels, elements], each element's list added up
//
// K of nearest linear cubic, T of f32 f64; all dense; x [batch, channels, elements], grid [batch, places, axes]. Launch: 256 threads, grid
// (min(ceil(n / 1024), 65536), chunks, 1), striding along the first axis; n: batch · places, for gather batch · elements, else the count. With `chunk` a block has so many
// channels and there are ceil(channels / chunk) chunks, else 1. begin: grid (ceil(count / 256), 1, 1).
//
// A thread for each place, or each element: what a place reads is found once for all channels of a chunk, and neighbours write beside each other.
// The gradient of x is the same bits on every run, and adds up in the order of places: elements count their terms (whole numbers may be added in any order), get room for
// a list, terms enter it as they come, and each finds its rank among the others of its list. That is the square of a list's length, some 4 to 16 terms
// where a grid is about as fine as the volume; all places at one element are the worst case.
#include "numbers.cuh"
#include "view.cuh"

struct Volumes {
    i64 batch, channels, places;
    int sizes[3], axes, outside, corners;
    INLINE i64 elements() const { return i64(sizes[0]) * sizes[1] * sizes[2]; }
};

INLINE float rounded_down(float x) { return floorf(x); }
INLINE double rounded_down(double x) { return floor(x); }
INLINE float to_even(float x) { return rintf(x); }
INLINE double to_even(double x) { return rint(x); }
// A product that is not fused with a sum, so that places that are meant to be between two elements are.
INLINE float product(float a, float b) { return __fmul_rn(a, b); }
INLINE double product(double a, double b) { return __dmul_rn(a, b); }

// A position moved inside as is said for those outside; `slope`: what a step of it becomes.
template <class R> INLINE R clipped(R at, R last, R& slope) {
    if (at <= R(0)) { slope = R(0); return R(0); }
    if (at < last) return at;
    slope = R(0);
    return last;
}
template <class R> INLINE R inside(R at, int size, const Volumes& v, R& slope) {
    slope = R(1);
    if (v.outside == 0) return at;
    R last = R(size) - R(1);
    if (v.outside == 1) return clipped(at, last, slope);
    R low = v.corners ? R(0) : R(-0.5), high = v.corners ? last : last + R(0.5);
    if (high <= low) { slope = R(0); return R(0); }
    // In f64, where a quotient that is not whole does not become so by rounding.
    double span = double(high - low), from = fabs(double(at) - double(low)), times = floor(from / span), rest = from - times * span;
    bool even = times == 2 * floor(times / 2);
    slope = (at < low) == even ? R(-1) : R(1);
    return clipped(R(even ? rest : span - rest) + low, last, slope);
}
template <class R> INLINE int whole(R at, int size) { return at >= R(0) && at < R(size) ? int(at) : -1; }

// What a coordinate reads along one axis: elements (-1: none), their weights, and how these change with the coordinate.
template <class R, int TAPS> struct Along { int at[TAPS]; R weights[TAPS], slopes[TAPS]; };

template <class R, int TAPS> INLINE Along<R, TAPS> along(R coordinate, int size, const Volumes& v) {
    Along<R, TAPS> along;
    R extent = R(size), slope;
    R at = v.corners ? product((coordinate + R(1)) / R(2), extent - R(1)) : (product(coordinate + R(1), extent) - R(1)) / R(2);
    R step = (v.corners ? extent - R(1) : extent) / R(2);
    if constexpr (TAPS == 1) {
        along.at[0] = whole(to_even(inside(at, size, v, slope)), size);
        along.weights[0] = R(1); along.slopes[0] = R(0);
    } else if constexpr (TAPS == 2) {
        at = inside(at, size, v, slope);
        R first = rounded_down(at), part = at - first;
        along.at[0] = whole(first, size); along.at[1] = whole(first + R(1), size);
        along.weights[0] = R(1) - part; along.weights[1] = part;
        along.slopes[0] = -slope * step; along.slopes[1] = slope * step;
    } else {
        // Keys' cubic, a = -3/4: of the neighbours less and more than one element away.
        constexpr R A = R(-0.75);
        R first = rounded_down(at), t = at - first;
        auto near = [&](R x) { return ((A + R(2)) * x - (A + R(3))) * x * x + R(1); };
        auto far = [&](R x) { return ((A * x - R(5) * A) * x + R(8) * A) * x - R(4) * A; };
        auto near_slope = [&](R x) { return (R(3) * (A + R(2)) * x - R(2) * (A + R(3))) * x; };
        auto far_slope = [&](R x) { return (R(3) * A * x - R(10) * A) * x + R(8) * A; };
#pragma unroll
        for (int tap = 0; tap < 4; tap++) {
            R away = tap < 2 ? t + R(1 - tap) : R(tap - 1) - t;
            bool close = tap == 1 || tap == 2;
            along.at[tap] = whole(inside(first + R(tap - 1), size, v, slope), size);
            along.weights[tap] = close ? near(away) : far(away);
            along.slopes[tap] = (close ? near_slope(away) : far_slope(away)) * (tap < 2 ? step : -step);
        }
    }
    return along;
}

// What a place reads along depth (one tap where the grid has two axes), height and width.
template <class R, int TAPS, bool DEEP> struct Place {
    static constexpr int DEPTH = DEEP ? TAPS : 1, TERMS = DEPTH * TAPS * TAPS;
    Along<R, DEPTH> depth;
    Along<R, TAPS> height, width;
    INLINE Place(const R* at, const Volumes& v) {
        width = along<R, TAPS>(at[0], v.sizes[2], v);
        height = along<R, TAPS>(at[1], v.sizes[1], v);
        if constexpr (DEEP) depth = along<R, TAPS>(at[2], v.sizes[0], v);
        else { depth.at[0] = 0; depth.weights[0] = R(1); depth.slopes[0] = R(0); }
    }
    // Calls f(term, element, d, h, w) for each term that is inside, in order.
    template <class F> INLINE void each(const Volumes& v, F f) const {
#pragma unroll
        for (int d = 0; d < DEPTH; d++)
#pragma unroll
            for (int h = 0; h < TAPS; h++)
#pragma unroll
                for (int w = 0; w < TAPS; w++)
                    if (depth.at[d] >= 0 && height.at[h] >= 0 && width.at[w] >= 0)
                        f((d * TAPS + h) * TAPS + w, (depth.at[d] * v.sizes[1] + height.at[h]) * v.sizes[2] + width.at[w], d, h, w);
    }
    INLINE R weight(int d, int h, int w) const { return depth.weights[d] * height.weights[h] * width.weights[w]; }
};

template <class R, int TAPS, bool DEEP> INLINE void sample(const R* x, const R* grid, R* y, const Volumes& v, i64 chunk) {
    using P = Place<R, TAPS, DEEP>;
    i64 first = blockIdx.y * chunk, last = first + chunk < v.channels ? first + chunk : v.channels;
    for (i64 at = first_of_grid(); at < v.batch * v.places; at += step_of_grid()) {
        i64 item = quotient(at, v.places);
        P place(grid + at * v.axes, v);
        for (i64 channel = first; channel < last; channel++) {
            i64 volume = item * v.channels + channel;
            const R* from = x + volume * v.elements();
            R sum = R(0);
            place.each(v, [&](int, int element, int d, int h, int w) { sum += place.weight(d, h, w) * from[element]; });
            y[volume * v.places + (at - item * v.places)] = sum;
        }
    }
}

template <class R, int TAPS, bool DEEP> INLINE void grid_gradient(const R* g, const R* x, const R* grid, R* y, const Volumes& v) {
    using P = Place<R, TAPS, DEEP>;
    for (i64 at = first_of_grid(); at < v.batch * v.places; at += step_of_grid()) {
        i64 item = quotient(at, v.places);
        P place(grid + at * v.axes, v);
        // Of each element that is read, the products of its channels with what arrives.
        R common[P::TERMS] = {}, sums[3] = {};
        for (i64 channel = 0; channel < v.channels; channel++) {
            i64 volume = item * v.channels + channel;
            const R* from = x + volume * v.elements();
            R arriving = g[volume * v.places + (at - item * v.places)];
            place.each(v, [&](int term, int element, int, int, int) { common[term] += from[element] * arriving; });
        }
        place.each(v, [&](int term, int, int d, int h, int w) {
            sums[0] += common[term] * place.depth.weights[d] * place.height.weights[h] * place.width.slopes[w];
            sums[1] += common[term] * place.depth.weights[d] * place.height.slopes[h] * place.width.weights[w];
            if (DEEP) sums[2] += common[term] * place.depth.slopes[d] * place.height.weights[h] * place.width.weights[w];
        });
        R* to = y + at * v.axes;
        to[0] = sums[0]; to[1] = sums[1];
        if (DEEP) to[2] = sums[2];
    }
}

template <class R, int TAPS, bool DEEP> INLINE void terms(const R* grid, i32* elements, R* weights, const Volumes& v) {
    using P = Place<R, TAPS, DEEP>;
    for (i64 at = first_of_grid(); at < v.batch * v.places; at += step_of_grid()) {
        i64 item = quotient(at, v.places);
        P place(grid + at * v.axes, v);
        i32* to = elements + at * P::TERMS;
#pragma unroll
        for (int term = 0; term < P::TERMS; term++) to[term] = -1;
        place.each(v, [&](int term, int element, int d, int h, int w) {
            to[term] = i32(item * v.elements()) + element;
            weights[at * P::TERMS + term] = place.weight(d, h, w);
        });
    }
}

KERNEL(sample_count_i32, const i32* elements, i32* counts, i64 count) {
    for (i64 term = first_of_grid(); term < count; term += step_of_grid()) if (elements[term] >= 0) atomicAdd(&counts[elements[term]], 1);
}
KERNEL(sample_list_i32, const i32* elements, const i32* starts, i32* filled, i32* list, i64 count) {
    for (i64 term = first_of_grid(); term < count; term += step_of_grid()) {
        i32 element = elements[term];
        if (element >= 0) list[starts[element] + atomicAdd(&filled[element], 1)] = i32(term);
    }
}
KERNEL(sample_order_i32, const i32* elements, const i32* starts, const i32* counts, const i32* list, i32* ordered, i64 count) {
    for (i64 term = first_of_grid(); term < count; term += step_of_grid()) {
        i32 element = elements[term];
        if (element < 0) continue;
        int start = starts[element], others = counts[element], rank = 0;
        for (int other = start; other < start + others; other++) rank += list[other] < term;
        ordered[start + rank] = i32(term);
    }
}

// A warp asks for the room of its elements at once.
KERNEL(sample_begin_i32, const i32* counts, i32* starts, i32* cursor, i64 count) {
    i64 at = first_of_grid();
    int lane = threadIdx.x % WARP, mine = at < count ? counts[at] : 0, sum = mine, begin = 0;
#pragma unroll
    for (int far = 1; far < WARP; far *= 2) {
        int before = __shfl_up_sync(EVERYONE, sum, far);
        if (lane >= far) sum += before;
    }
    if (lane == WARP - 1 && sum) begin = atomicAdd(cursor, sum);
    begin = __shfl_sync(EVERYONE, begin, WARP - 1);
    if (at < count) starts[at] = begin + sum - mine;
}

template <class R> INLINE void gather(const R* g, const i32* starts, const i32* counts, const i32* ordered, const R* weights, R* y, const Volumes& v, i64 terms, i64 chunk) {
    constexpr int TOGETHER = 4;
    i64 first = blockIdx.y * chunk, last = first + chunk < v.channels ? first + chunk : v.channels, elements = v.elements();
    for (i64 at = first_of_grid(); at < v.batch * elements; at += step_of_grid()) {
        i64 item = quotient(at, elements);
        int start = starts[at], end = start + counts[at];
        for (i64 channel = first; channel < last; channel += TOGETHER) {
            R sums[TOGETHER] = {};
            const R* from = g + (item * v.channels + channel) * v.places;
            for (int entry = start; entry < end; entry++) {
                i64 term = ordered[entry], place = quotient(term, terms) - item * v.places;
                R weight = weights[term];
#pragma unroll
                for (int c = 0; c < TOGETHER; c++) if (channel + c < last) sums[c] += weight * from[c * v.places + place];
            }
#pragma unroll
            for (int c = 0; c < TOGETHER; c++)
                if (channel + c < last) y[(item * v.channels + channel + c) * elements + (at - item * elements)] = sums[c];
        }
    }
}

// Images have a grid of two axes, volumes of three; cubics are for images.
#define SAMPLES(TAPS, R, f, arguments) if (TAPS != 4 && v.axes == 3) f<R, TAPS, TAPS != 4> arguments; else f<R, TAPS, false> arguments
#define SAMPLE(k, TAPS, t, R)                                                                                                                                \
    KERNEL_IN_PAIRS(sample_##k##_##t, const R* x, const R* grid, R* y, Volumes v, i64 chunk) { SAMPLES(TAPS, R, sample, (x, grid, y, v, chunk)); }           \
    KERNEL_IN_PAIRS(sample_grid_gradient_##k##_##t, const R* g, const R* x, const R* grid, R* y, Volumes v) {                                                \
        SAMPLES(TAPS, R, grid_gradient, (g, x, grid, y, v));                                                                                                 \
    }                                                                                                                                                        \
    KERNEL_IN_PAIRS(sample_terms_##k##_##t, const R* grid, i32* elements, R* weights, Volumes v) { SAMPLES(TAPS, R, terms, (grid, elements, weights, v)); }
#define SAMPLES_OF(t, R)                                                                                                                                     \
    SAMPLE(nearest, 1, t, R) SAMPLE(linear, 2, t, R) SAMPLE(cubic, 4, t, R)                                                                                  \
    KERNEL(sample_gather_##t, const R* g, const i32* starts, const i32* counts, const i32* ordered, const R* weights, R* y, Volumes v, i64 terms, i64 chunk) { \
        gather(g, starts, counts, ordered, weights, y, v, terms, chunk);                                                                                     \
    }
SAMPLES_OF(f32, float) SAMPLES_OF(f64, double)
