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
// copy.cu where a count is given. Rows with inner = 1 are read by neighbours (adjacent = 1, lanes about length / 8); with
// inner > 1 the threads of different rows are neighbours (adjacent = 0, lanes = 8).
//
// Speed: bound by bytes, with a copy as roof. Rows of at most 16 numbers a lane (4096 with 256 lanes) stay in registers, read and written as
// words of 16 bytes where their length allows it: every number is read once. Longer rows are read again a few microseconds later, from a
// cache. Softmax does an exponential for each number and a second one for the result: two of 3.6 T/s on H100 against 0.4 T/s of numbers.
#include "row.cuh"

// The element `lane` of a row [outer, length, inner], and how far apart elements are.
INLINE i64 row_start(i64 row, i64 length, i64 inner) {
    if (inner == 1) return row * length;
    i64 outer = quotient(row, inner);
    return outer * length * inner + (row - outer * inner);
}

// Maximum and sum of exponentials of kept numbers: the maximum first, so that no sum is scaled.
template <class T> INLINE typename Exponentials<T>::State exponentials(const Kept<T>& row) {
    auto state = Exponentials<T>{}.nothing();
    row.each([&](int, Real<T> x) { if (x > state.greatest) state.greatest = x; });
    row.each([&](int, Real<T> x) { state.sum += x == state.greatest ? Real<T>(1) : exponential(x - state.greatest); });
    return state;
}
template <class T> INLINE typename Exponentials<T>::State exponentials(const Again<T>& row) {
    Exponentials<T> fold;
    auto state = fold.nothing();
    row.each([&](i64 j, Real<T> x) { fold.add(state, x, j); });
    return state;
}

template <class T, class Row> INLINE void softmax_of(const Row& row, T* y, const Seat& seat, const Shares& shares, int logarithm_of) {
    using R = Real<T>;
    auto state = agree(Exponentials<T>{}, exponentials(row), seat, shares);
    R total = state.greatest + logarithm(state.sum), share = R(1) / state.sum;
    row.write(y, [&](i64, R x) { return logarithm_of ? x - total : exponential(x - state.greatest) * share; });
}
template <class T> INLINE void softmax(const T* x, T* y, const Shares& shares, i64 inner, int logarithm_of) {
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 start = row_start(there ? seat.result : 0, shares.length, inner);
    if (Places<T>::fit(shares, inner)) softmax_of(Kept<T>(x + start, Places<T>(seat, shares, there)), y + start, seat, shares, logarithm_of);
    else softmax_of(Again<T>(x + start, seat, shares, there, inner), y + start, seat, shares, logarithm_of);
}

// Two sums at a time.
template <class R> struct Two {
    struct State { R a, b; };
    INLINE State nothing() const { return {R(0), R(0)}; }
    INLINE State join(const State& one, const State& other) const { return {one.a + other.a, one.b + other.b}; }
};

template <class T, class Row> INLINE void softmax_gradient_of(const Row& y, const Row& g, T* dx, const Seat& seat, const Shares& shares, int logarithm_of) {
    using R = Real<T>;
    Two<R> fold;
    auto state = fold.nothing();
    y.each(g, [&](i64, R b, R a) { state.a += logarithm_of ? a : a * b; });
    R sum = agree(fold, state, seat, shares).a;
    y.write(g, dx, [&](i64, R b, R a) { return logarithm_of ? a - exponential(b) * sum : (a - sum) * b; });
}
template <class T> INLINE void softmax_gradient(const T* y, const T* g, T* dx, const Shares& shares, i64 inner, int logarithm_of) {
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 start = row_start(there ? seat.result : 0, shares.length, inner);
    if (Places<T>::fit(shares, inner)) {
        Places<T> places(seat, shares, there);
        softmax_gradient_of(Kept<T>(y + start, places), Kept<T>(g + start, places), dx + start, seat, shares, logarithm_of);
    } else
        softmax_gradient_of(Again<T>(y + start, seat, shares, there, inner), Again<T>(g + start, seat, shares, there, inner), dx + start, seat, shares, logarithm_of);
}

// The weight of a number of a row.
struct Run {
    i64 run, from;
    INLINE Run(i64 row, i64 length, i64 run, i64 groups) : run(run), from(groups == 1 ? 0 : (row - quotient(row, groups) * groups) * quotient(length, run)) {}
    INLINE i64 of(i64 j) const { return from + (run == 1 ? j : quotient(j, run)); }
};

template <class T, class Row>
INLINE void standardize_of(const Row& numbers, const T* x, const Real<T>* weight, const Real<T>* bias, T* y, Real<T>* means, Real<T>* scales, const Seat& seat, const Shares& shares, i64 row, bool there, const Run& run, int center, double epsilon) {
    using R = Real<T>;
    // Sums of differences from the first number and of their squares: see Spread in reduce.cu.
    double shift = center && there && shares.length > 0 ? double(widen(x[0])) : 0.0;
    Two<double> fold;
    auto state = fold.nothing();
    numbers.each([&](i64, R number) { double d = double(number) - shift; state.a += d; state.b += d * d; });
    state = agree(fold, state, seat, shares);
    double n = double(shares.length), off = center ? state.a / n : 0.0, variance = state.b / n - off * off;
    R mean = center ? R(shift + off) : R(0), scale = R(1.0 / sqrt((variance < 0 ? 0.0 : variance) + epsilon));
    if (there && seat.lane == 0) { means[row] = mean; scales[row] = scale; }
    numbers.write(y, [&](i64 j, R number) {
        number = (number - mean) * scale;
        if (weight) number *= weight[run.of(j)];
        return bias ? number + bias[run.of(j)] : number;
    });
}
template <class T>
INLINE void standardize(const T* x, const Real<T>* weight, const Real<T>* bias, T* y, Real<T>* means, Real<T>* scales, const Shares& shares, i64 run, i64 groups, int center, double epsilon) {
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 row = there ? seat.result : 0;
    x += row * shares.length; y += row * shares.length;
    Run runs(row, shares.length, run, groups);
    if (Places<T>::fit(shares, 1)) standardize_of(Kept<T>(x, Places<T>(seat, shares, there)), x, weight, bias, y, means, scales, seat, shares, row, there, runs, center, epsilon);
    else standardize_of(Again<T>(x, seat, shares, there, 1), x, weight, bias, y, means, scales, seat, shares, row, there, runs, center, epsilon);
}

// dx = scale · (a - mean(a) - x̂ mean(a x̂)) with a = g · weight; without centring mean(a) falls away.
template <class T, class Row>
INLINE void standardize_gradient_of(const Row& x, const Row& g, const Real<T>* weight, Real<T> mean, Real<T> scale, T* dx, const Seat& seat, const Shares& shares, const Run& run, int center) {
    using R = Real<T>;
    Two<R> fold;
    auto state = fold.nothing();
    x.each(g, [&](i64 j, R number, R a) {
        if (weight) a *= weight[run.of(j)];
        state.a += a; state.b += a * ((number - mean) * scale);
    });
    state = agree(fold, state, seat, shares);
    R plain = center ? state.a / R(shares.length) : R(0), with = state.b / R(shares.length);
    x.write(g, dx, [&](i64 j, R number, R a) {
        if (weight) a *= weight[run.of(j)];
        return scale * (a - plain - (number - mean) * scale * with);
    });
}
template <class T>
INLINE void standardize_gradient(const T* x, const Real<T>* weight, const Real<T>* means, const Real<T>* scales, const T* g, T* dx, const Shares& shares, i64 run, i64 groups, int center) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 row = there ? seat.result : 0;
    x += row * shares.length; g += row * shares.length; dx += row * shares.length;
    R mean = there ? means[row] : R(0), scale = there ? scales[row] : R(0);
    Run runs(row, shares.length, run, groups);
    if (Places<T>::fit(shares, 1)) {
        Places<T> places(seat, shares, there);
        standardize_gradient_of(Kept<T>(x, places), Kept<T>(g, places), weight, mean, scale, dx, seat, shares, runs, center);
    } else
        standardize_gradient_of(Again<T>(x, seat, shares, there, 1), Again<T>(g, seat, shares, there, 1), weight, mean, scale, dx, seat, shares, runs, center);
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
    KERNEL_IN_PAIRS(softmax_##t, const T* x, T* y, Shares shares, i64 inner, int logarithm) { softmax(x, y, shares, inner, logarithm); }                                         \
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
