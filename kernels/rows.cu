// rows.cu - whole rows become rows: softmax and the normalisations, forward and backward.
//
//   softmax_T(x, y, Shares, i64 inner, int logarithm)                                      T of f32 f64 bf16 f16
//   softmax_gradient_T(y, g, dx, Shares, i64 inner, int logarithm)
//        x is dense [outer, length, inner]; rows run along `length`, results = outer · inner
//   standardize_T(x, weight, bias, y, means, scales, Shares, i64 run, i64 groups, int center, double epsilon)
//   standardize_gradient_T(x, weight, means, scales, g, dx, Shares, i64 run, i64 groups, int center)
//        x is dense [results, length]; row r has the weights from (r mod groups) · length / run on, each for `run` neighbours
//   weight_sums_T(x, means, scales, g, dweight, dbias, sums, parts, Shares, i64 run, i64 width, i64 runs, int by_channel)
//   weight_sums_join_T(... the same)
//        for each weight c: dbias = Σ g, dweight = Σ g x̂ over x[(o · width + c) · run + i], o = k / run, i = k mod run, with the
//        statistics of row o · (width / runs) + c / runs, or of channel c. results = width, length = all k. sums: (Σ g, Σ g x̂) as two
//        doubles for each weight. dweight, dbias, sums may be null. parts: 16 bytes each
//        layer and group norm: width = groups · runs, runs = length of a row / run. channels: width = channels, run = inner
//   normalize_channels_T(x, means, scales, weight, bias, y, i64 count, i64 channels, i64 inner)
//   channels_gradient_T(x, means, scales, weight, g, sums, dx, i64 count, i64 channels, i64 inner, int batch)
//        sums as weight_sums wrote them, read only where `batch`
//
// weight, bias, means, scales are f32 (f64 for T = f64), whatever T; weight and bias may be null. `Shares` and the choice of lanes: see
// reduce.cu (pieces = 1 but for weight_sums). Launch: 256 threads, grid (ceil(results · lanes / 256), pieces, 1), or the grid of
// copy.cu where a count is given. Rows with inner = 1 are read by neighbours (adjacent = 1, lanes about length / 4); with
// inner > 1 the threads of different rows are neighbours (adjacent = 0, lanes = 8).
//
// Speed: every number is read from memory once, for the statistics; when it is read again a few microseconds later it comes from the
// nearest cache (rows up to 4096 numbers of f32, eight blocks on a multiprocessor, take half of it) or the one behind, so the
// roof is that of a copy: bytes of x and y. Softmax finds maximum and sum in one pass (an exponential for each number and a
// second one for the result: two of 3.6 T/s on H100 against 0.4 T/s of numbers).
#include "fold.cuh"

// The element `lane` of a row [outer, length, inner], and how far apart elements are.
INLINE i64 row_start(i64 row, i64 length, i64 inner) {
    if (inner == 1) return row * length;
    i64 outer = quotient(row, inner);
    return outer * length * inner + (row - outer * inner);
}

template <class T> INLINE void softmax(const T* x, T* y, const Shares& shares, i64 inner, int logarithm_of) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 length = there ? shares.length : 0, start = row_start(there ? seat.result : 0, shares.length, inner);
    Exponentials<T> fold;
    auto state = fold.nothing();
    for (i64 j = seat.lane; j < length; j += shares.lanes) fold.add(state, widen(x[start + j * inner]), j);
    state = agree(fold, state, seat, shares);
    R total = state.greatest + logarithm(state.sum), share = R(1) / state.sum;
    for (i64 j = seat.lane; j < length; j += shares.lanes) {
        R number = widen(x[start + j * inner]);
        y[start + j * inner] = narrow<T>(logarithm_of ? number - total : exponential(number - state.greatest) * share);
    }
}

// Two sums at a time.
template <class R> struct Two {
    struct State { R a, b; };
    INLINE State nothing() const { return {R(0), R(0)}; }
    INLINE State join(const State& one, const State& other) const { return {one.a + other.a, one.b + other.b}; }
};

template <class T> INLINE void softmax_gradient(const T* y, const T* g, T* dx, const Shares& shares, i64 inner, int logarithm_of) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 length = there ? shares.length : 0, start = row_start(there ? seat.result : 0, shares.length, inner);
    Two<R> fold;
    auto state = fold.nothing();
    for (i64 j = seat.lane; j < length; j += shares.lanes) {
        i64 at = start + j * inner;
        state.a += logarithm_of ? widen(g[at]) : widen(g[at]) * widen(y[at]);
    }
    R sum = agree(fold, state, seat, shares).a;
    for (i64 j = seat.lane; j < length; j += shares.lanes) {
        i64 at = start + j * inner;
        R a = widen(g[at]), b = widen(y[at]);
        dx[at] = narrow<T>(logarithm_of ? a - exponential(b) * sum : (a - sum) * b);
    }
}

template <class T>
INLINE void standardize(const T* x, const Real<T>* weight, const Real<T>* bias, T* y, Real<T>* means, Real<T>* scales, const Shares& shares, i64 run, i64 groups, int center, double epsilon) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 length = there ? shares.length : 0, row = there ? seat.result : 0;
    x += row * shares.length; y += row * shares.length;
    // Sums of differences from the first number and of their squares: see Spread in reduce.cu.
    double shift = center && length > 0 ? double(widen(x[0])) : 0.0;
    Two<double> fold;
    auto state = fold.nothing();
    for (i64 j = seat.lane; j < length; j += shares.lanes) { double d = double(widen(x[j])) - shift; state.a += d; state.b += d * d; }
    state = agree(fold, state, seat, shares);
    double n = double(shares.length), off = center ? state.a / n : 0.0, variance = state.b / n - off * off;
    R mean = center ? R(shift + off) : R(0), scale = R(1.0 / sqrt((variance < 0 ? 0.0 : variance) + epsilon));
    if (there && seat.lane == 0) { means[row] = mean; scales[row] = scale; }
    i64 from = groups == 1 ? 0 : (row - quotient(row, groups) * groups) * quotient(shares.length, run);
    for (i64 j = seat.lane; j < length; j += shares.lanes) {
        i64 c = from + (run == 1 ? j : quotient(j, run));
        R number = (widen(x[j]) - mean) * scale;
        if (weight) number *= weight[c];
        if (bias) number += bias[c];
        y[j] = narrow<T>(number);
    }
}

// dx = scale · (a - mean(a) - x̂ mean(a x̂)) with a = g · weight; without centring mean(a) falls away.
template <class T>
INLINE void standardize_gradient(const T* x, const Real<T>* weight, const Real<T>* means, const Real<T>* scales, const T* g, T* dx, const Shares& shares, i64 run, i64 groups, int center) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 length = there ? shares.length : 0, row = there ? seat.result : 0;
    x += row * shares.length; g += row * shares.length; dx += row * shares.length;
    R mean = there ? means[row] : R(0), scale = there ? scales[row] : R(0);
    i64 from = groups == 1 ? 0 : (row - quotient(row, groups) * groups) * quotient(shares.length, run);
    auto arriving = [&](i64 j) { R a = widen(g[j]); return weight ? a * weight[from + (run == 1 ? j : quotient(j, run))] : a; };
    Two<R> fold;
    auto state = fold.nothing();
    for (i64 j = seat.lane; j < length; j += shares.lanes) { R a = arriving(j); state.a += a; state.b += a * ((widen(x[j]) - mean) * scale); }
    state = agree(fold, state, seat, shares);
    R plain = center ? state.a / R(shares.length) : R(0), with = state.b / R(shares.length);
    for (i64 j = seat.lane; j < length; j += shares.lanes) dx[j] = narrow<T>(scale * (arriving(j) - plain - (widen(x[j]) - mean) * scale * with));
}

template <class T> struct Affine {
    const T *x, *g; const Real<T> *means, *scales; T *dweight, *dbias; double* sums; Two<double>::State* parts;
    i64 run, width, runs; int by_channel;

    INLINE void write(const Two<double>::State& state, i64 c) const {
        if (dbias) dbias[c] = narrow<T>(Real<T>(state.a));
        if (dweight) dweight[c] = narrow<T>(Real<T>(state.b));
        if (sums) { sums[2 * c] = state.a; sums[2 * c + 1] = state.b; }
    }
    INLINE void fold(const Shares& shares) const {
        Seat seat = seat_of(shares);
        Two<double> two;
        auto state = two.nothing();
        i64 piece = (shares.length + shares.pieces - 1) / shares.pieces, c = seat.result;
        i64 end = c < shares.results ? min(shares.length, (i64(blockIdx.y) + 1) * piece) : 0;
        for (i64 k = i64(blockIdx.y) * piece + seat.lane; k < end; k += shares.lanes) {
            i64 outer = run == 1 ? k : quotient(k, run), at = (outer * width + c) * run + (k - outer * run);
            i64 row = by_channel ? c : runs == width ? outer : outer * quotient(width, runs) + quotient(c, runs);
            Real<T> arriving = widen(g[at]);
            state.a += double(arriving);
            state.b += double(arriving * ((widen(x[at]) - means[row]) * scales[row]));
        }
        state = join_lanes(two, state, seat, shares);
        if (seat.lane || c >= shares.results) return;
        if (shares.pieces > 1) parts[c * shares.pieces + blockIdx.y] = state; else write(state, c);
    }
    INLINE void join(const Shares& shares) const {
        Seat seat = seat_of(shares);
        auto state = fold_states(Two<double>{}, parts, seat, shares);
        if (seat.lane == 0 && seat.result < shares.results) write(state, seat.result);
    }
};

template <class T>
INLINE void normalize_channels(const T* x, const Real<T>* means, const Real<T>* scales, const Real<T>* weight, const Real<T>* bias, T* y, i64 count, i64 channels, i64 inner) {
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        i64 run = inner == 1 ? i : quotient(i, inner), c = run - quotient(run, channels) * channels;
        Real<T> number = (widen(x[i]) - means[c]) * scales[c];
        if (weight) number *= weight[c];
        if (bias) number += bias[c];
        y[i] = narrow<T>(number);
    }
}

// dx = scale · weight · (g - Σ g / n - x̂ Σ g x̂ / n) where mean and scale are the batch's own, else scale · weight · g.
template <class T>
INLINE void channels_gradient(const T* x, const Real<T>* means, const Real<T>* scales, const Real<T>* weight, const T* g, const double* sums, T* dx, i64 count, i64 channels, i64 inner, int batch) {
    double n = double(count / channels);
    for (i64 i = first_of_grid(); i < count; i += step_of_grid()) {
        i64 run = inner == 1 ? i : quotient(i, inner), c = run - quotient(run, channels) * channels;
        Real<T> factor = weight ? scales[c] * weight[c] : scales[c], number = widen(g[i]);
        if (batch) number -= Real<T>(sums[2 * c] / n) + (widen(x[i]) - means[c]) * scales[c] * Real<T>(sums[2 * c + 1] / n);
        dx[i] = narrow<T>(factor * number);
    }
}

#define ROWS(t, T)                                                                                                                                                      \
    KERNEL(softmax_##t, const T* x, T* y, Shares shares, i64 inner, int logarithm) { softmax(x, y, shares, inner, logarithm); }                                         \
    KERNEL(softmax_gradient_##t, const T* y, const T* g, T* dx, Shares shares, i64 inner, int logarithm) { softmax_gradient(y, g, dx, shares, inner, logarithm); }      \
    KERNEL(standardize_##t, const T* x, const Real<T>* weight, const Real<T>* bias, T* y, Real<T>* means, Real<T>* scales, Shares shares, i64 run, i64 groups, int center, double epsilon) { \
        standardize(x, weight, bias, y, means, scales, shares, run, groups, center, epsilon);                                                                           \
    }                                                                                                                                                                   \
    KERNEL(standardize_gradient_##t, const T* x, const Real<T>* weight, const Real<T>* means, const Real<T>* scales, const T* g, T* dx, Shares shares, i64 run, i64 groups, int center) { \
        standardize_gradient(x, weight, means, scales, g, dx, shares, run, groups, center);                                                                             \
    }                                                                                                                                                                   \
    KERNEL(weight_sums_##t, const T* x, const Real<T>* means, const Real<T>* scales, const T* g, T* dweight, T* dbias, double* sums, Two<double>::State* parts, Shares shares, i64 run, i64 width, i64 runs, int by_channel) { \
        Affine<T>{x, g, means, scales, dweight, dbias, sums, parts, run, width, runs, by_channel}.fold(shares);                                                         \
    }                                                                                                                                                                   \
    KERNEL(weight_sums_join_##t, const T* x, const Real<T>* means, const Real<T>* scales, const T* g, T* dweight, T* dbias, double* sums, Two<double>::State* parts, Shares shares, i64 run, i64 width, i64 runs, int by_channel) { \
        Affine<T>{x, g, means, scales, dweight, dbias, sums, parts, run, width, runs, by_channel}.join(shares);                                                         \
    }                                                                                                                                                                   \
    KERNEL(normalize_channels_##t, const T* x, const Real<T>* means, const Real<T>* scales, const Real<T>* weight, const Real<T>* bias, T* y, i64 count, i64 channels, i64 inner) { \
        normalize_channels(x, means, scales, weight, bias, y, count, channels, inner);                                                                                  \
    }                                                                                                                                                                   \
    KERNEL(channels_gradient_##t, const T* x, const Real<T>* means, const Real<T>* scales, const Real<T>* weight, const T* g, const double* sums, T* dx, i64 count, i64 channels, i64 inner, int batch) { \
        channels_gradient(x, means, scales, weight, g, sums, dx, count, channels, inner, batch);                                                                        \
    }
FLOATS(ROWS)
