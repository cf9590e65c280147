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

// A row that is kept keeps its exponentials too. Where the greatest is infinite all is NaN, as on the CPU.
template <class T, int N> INLINE void softmax_of(Kept<T, N> row, T* y, const Seat& seat, const Shares& shares, int logarithm_of) {
    using R = Real<T>;
    R greatest = -R(INFINITY), sum = 0;
    row.each_word([&](int, R (&word)[N]) { for (R x : word) if (x > greatest) greatest = x; });
    greatest = agree(Greatest<R>{}, greatest, seat, shares);
    if (logarithm_of) {
        row.each_word([&](int, R (&word)[N]) { for (R x : word) sum += weight_of<T>(x - greatest); });
        R total = greatest + logarithm(sum_of(sum, seat, shares));
        return row.write(y, [&](int, R (&word)[N]) { for (R& x : word) x -= total; });
    }
    row.each_word([&](int, R (&word)[N]) { for (R& x : word) { x = weight_of<T>(x - greatest); sum += x; } });
    R share = R(1) / sum_of(sum, seat, shares);
    row.write(y, [&](int, R (&word)[N]) { for (R& x : word) x *= share; });
}
// One that is not is read twice.
template <class T, class Row> INLINE void softmax_of(const Row& row, T* y, const Seat& seat, const Shares& shares, int logarithm_of) {
    using R = Real<T>;
    Powers<T> powers;
    row.each_word([&](i64, auto& word) { powers.add(word); });
    powers.agree_on(seat, shares);
    R total = powers.greatest + logarithm(powers.sum), share = R(1) / powers.sum;
    row.write(y, [&](i64, auto& word) { for (R& x : word) x = logarithm_of ? x - total : weight_of<T>(x - powers.greatest) * share; });
}
template <class T> INLINE void softmax(const T* x, T* y, const Shares& shares, i64 inner, int logarithm_of) {
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 start = row_start(there ? seat.result : 0, shares.length, inner);
    by_words(shares, seat, there, inner, y + start, [&](auto row) { softmax_of(row, y + start, seat, shares, logarithm_of); }, x + start);
}

template <class T> INLINE void softmax_gradient(const T* y, const T* g, T* dx, const Shares& shares, i64 inner, int logarithm_of) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 start = row_start(there ? seat.result : 0, shares.length, inner);
    auto work = [&](auto results, auto arriving) {
        R sum = 0;
        results.each_word(arriving, [&](i64, auto& b, auto& a) {
#pragma unroll
            for (int i = 0; i < int(sizeof(b) / sizeof(R)); i++) sum += logarithm_of ? a[i] : a[i] * b[i];
        });
        sum = sum_of(sum, seat, shares);
        results.write(arriving, dx + start, [&](i64, auto& b, auto& a) {
#pragma unroll
            for (int i = 0; i < int(sizeof(b) / sizeof(R)); i++) b[i] = logarithm_of ? a[i] - weight_of<T>(b[i]) * sum : (a[i] - sum) * b[i];
        });
    };
    by_words(shares, seat, there, inner, dx + start, work, y + start, g + start);
}

template <class Row> constexpr bool IS_KEPT = false;
template <class T, int N> constexpr bool IS_KEPT<Kept<T, N>> = true;

// The weights of the numbers of a row.
template <class R> struct Weights {
    const R* of_row; i64 run; bool by_words;

    INLINE Weights(const R* weights, i64 row, i64 length, i64 run, i64 groups) : of_row(weights), run(run) {
        if (weights && groups > 1) of_row += (row - quotient(row, groups) * groups) * quotient(length, run);
        by_words = weights && run == 1 && beyond_16(of_row) == 0;
    }
    INLINE operator bool() const { return of_row != nullptr; }
    // Those of the neighbours from j on, which is a multiple of their number, where they lie by words.
    template <int N> INLINE void read_words(u32 j, R (&word)[N]) const {
        constexpr int EACH = N < NEIGHBOURS<R> ? N : NEIGHBOURS<R>;
#pragma unroll
        for (int i = 0; i < N; i += EACH) {
            R some[EACH];
            read_word(of_row + j + i, some);
#pragma unroll
            for (int e = 0; e < EACH; e++) word[i + e] = some[e];
        }
    }
    // The same wherever they lie.
    template <int N> INLINE void read(i64 j, R (&word)[N]) const {
        if (N > 1 && by_words && j % NEIGHBOURS<R> == 0) return read_words(u32(j), word);
#pragma unroll
        for (int i = 0; i < N; i++) word[i] = of_row[run == 1 ? j + i : quotient(j + i, run)];
    }
};

// Sums of differences from the first number, whose rounding is small where numbers lie near each other: see Spread in reduce.cu. Of kept numbers
// the squares are those of differences from the mean, else they are added up as f64.
template <class T, int N> INLINE void spread_of(Kept<T, N>& row, Real<T> shift, Real<T>& off, Real<T>& variance, const Seat& seat, const Shares& shares, int center) {
    using R = Real<T>;
    R share = R(1) / R(shares.length), sum = 0, squares = 0;
    off = 0;
    if (center) {
        row.each_word([&](int, R (&word)[N]) { for (R& x : word) { x -= shift; sum += x; } });
        off = sum_of(sum, seat, shares) * share;
    }
    row.each_word([&](int, R (&word)[N]) { for (R& x : word) { x -= off; squares += x * x; } });
    variance = sum_of(squares, seat, shares) * share;
}
template <class T, class Row> INLINE void spread_of(const Row& row, Real<T> shift, Real<T>& off, Real<T>& variance, const Seat& seat, const Shares& shares, int center) {
    using R = Real<T>;
    Two<double>::State state = {0.0, 0.0};
    row.each_word([&](i64, auto& word) { for (R x : word) { double d = double(x) - double(shift); state.a += d; state.b += d * d; } });
    state = agree(Two<double>{}, state, seat, shares);
    double n = double(shares.length), mean = center ? state.a / n : 0.0;
    off = R(mean); variance = R(state.b / n - mean * mean);
}

template <class T>
INLINE void standardize(const T* x, const Real<T>* weight, const Real<T>* bias, T* y, Real<T>* means, Real<T>* scales, const Shares& shares, i64 run, i64 groups, int center, double epsilon) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 row = there ? seat.result : 0;
    x += row * shares.length; y += row * shares.length;
    Weights<R> weights(weight, row, shares.length, run, groups), biases(bias, row, shares.length, run, groups);
    R shift = center && there && shares.length > 0 ? widen(x[0]) : R(0);
    auto work = [&](auto numbers) {
        constexpr bool KEPT_ROW = IS_KEPT<decltype(numbers)>;
        R off, variance;
        spread_of<T>(numbers, shift, off, variance, seat, shares, center);
        R scale = R(1) / root((variance < 0 ? R(0) : variance) + R(epsilon));
        if (there && seat.lane == 0) { means[row] = shift + off; scales[row] = scale; }
        // What a layer has, kept short: two words of weights for one of numbers of 16 bits.
        if constexpr (KEPT_ROW)
            if (weights.by_words && biases.by_words) return numbers.write(y, [&](u32 j, auto& word) {
                constexpr int N = sizeof(word) / sizeof(R);
                R factors[N], terms[N];
                weights.read_words(j, factors); biases.read_words(j, terms);
#pragma unroll
                for (int i = 0; i < N; i++) word[i] = word[i] * scale * factors[i] + terms[i];
            });
        numbers.write(y, [&](i64 j, auto& word) {
            constexpr int N = sizeof(word) / sizeof(R);
            R factors[N], terms[N];
            if (weights) weights.read(j, factors);
            if (biases) biases.read(j, terms);
#pragma unroll
            for (int i = 0; i < N; i++) {
                R number = (KEPT_ROW ? word[i] : word[i] - shift - off) * scale;
                if (weights) number *= factors[i];
                word[i] = biases ? number + terms[i] : number;
            }
        });
    };
    by_words(shares, seat, there, 1, y, work, x);
}

// dx = scale · (a - mean(a) - x̂ mean(a x̂)) with a = g · weight; without centring mean(a) falls away.
template <class T>
INLINE void standardize_gradient(const T* x, const Real<T>* weight, const Real<T>* means, const Real<T>* scales, const T* g, T* dx, const Shares& shares, i64 run, i64 groups, int center) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 row = there ? seat.result : 0;
    x += row * shares.length; g += row * shares.length; dx += row * shares.length;
    R mean = there ? means[row] : R(0), scale = there ? scales[row] : R(0);
    Weights<R> weights(weight, row, shares.length, run, groups);
    auto work = [&](auto numbers, auto arriving) {
        // Rows that are kept stay as they become here.
        constexpr bool STAYS = IS_KEPT<decltype(numbers)>;
        auto weighed = [&](i64 j, auto& number, auto& a) {
            constexpr int N = sizeof(a) / sizeof(R);
            R factors[N];
            if (STAYS && weights.by_words) weights.read_words(u32(j), factors);
            else if (weights) weights.read(j, factors);
#pragma unroll
            for (int i = 0; i < N; i++) { number[i] = (number[i] - mean) * scale; if (weights) a[i] *= factors[i]; }
        };
        Two<R> fold;
        auto state = fold.nothing();
        numbers.each_word(arriving, [&](i64 j, auto& number, auto& a) {
            weighed(j, number, a);
#pragma unroll
            for (int i = 0; i < int(sizeof(a) / sizeof(R)); i++) { state.a += a[i]; state.b += a[i] * number[i]; }
        });
        state = agree(fold, state, seat, shares);
        R plain = center ? state.a / R(shares.length) : R(0), with = state.b / R(shares.length);
        numbers.write(arriving, dx, [&](i64 j, auto& number, auto& a) {
            if (!STAYS) weighed(j, number, a);
#pragma unroll
            for (int i = 0; i < int(sizeof(a) / sizeof(R)); i++) number[i] = scale * (a[i] - plain - number[i] * with);
        });
    };
    by_words(shares, seat, there, 1, dx, work, x, g);
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

// Blocks that are to fit on a multiprocessor.
template <class T> constexpr int AT_ONCE = sizeof(Real<T>) == 8 ? 1 : 2;

#define ROWS(t, T)                                                                                                                                                      \
    KERNEL_IN_PAIRS(softmax_##t, const T* x, T* y, Shares shares, i64 inner, int logarithm) { softmax(x, y, shares, inner, logarithm); }                                         \
    KERNEL_IN_PAIRS(softmax_gradient_##t, const T* y, const T* g, T* dx, Shares shares, i64 inner, int logarithm) { softmax_gradient(y, g, dx, shares, inner, logarithm); }      \
    KERNEL_IN_PAIRS(standardize_##t, const T* x, const Real<T>* weight, const Real<T>* bias, T* y, Real<T>* means, Real<T>* scales, Shares shares, i64 run, i64 groups, int center, double epsilon) { \
        standardize(x, weight, bias, y, means, scales, shares, run, groups, center, epsilon);                                                                           \
    }                                                                                                                                                                   \
    KERNEL_OF((BLOCK, AT_ONCE<T>), standardize_gradient_##t, const T* x, const Real<T>* weight, const Real<T>* means, const Real<T>* scales, const T* g, T* dx, Shares shares, i64 run, i64 groups, int center) { \
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
