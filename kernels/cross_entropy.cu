// cross_entropy.cu - scores against class numbers: the target is a number, never a row of zeros and a one.
//
//   cross_entropy_T(x, classes, weights, even, losses, counts, each, greatest, scale, u64* fault, Shares, i64 inner, int logarithms,
//        double smoothing, int ignores, i64 ignored, u64 operation)                        T of f32 f64 bf16 f16
//   cross_entropy_total_T(losses, counts, total, output, i64 rows, int mean)
//   cross_entropy_gradient_T(x, classes, weights, even, g, greatest, scale, total, dx, Shares, i64 inner, double smoothing, int ignores,
//        i64 ignored, int reduction)                                                       reduction: 0 mean, 1 sum, 2 none
//
// x dense [outer, classes, inner]; classes i64 for each of the outer · inner rows; weights (may be null) one for each class, greatest and
// scale one for each row, all f32 (f64 for T = f64); even (null: 1) is the mean of the weights, one f64. losses and counts: f64 for each row;
// each: T for each row, or null. A class out of range: the least of (operation << 40 | row) goes to fault, its row counts as ignored.
// `total` sums counts (f64), output (T) is Σ losses, over the total where `mean`.
//
// Launch: 256 threads, grid and Shares as softmax in rows.cu; cross_entropy_total: one block. Bound by the bytes of x, which is read once
// (the score that is meant is read again, from the cache); the gradient reads x once more and writes dx.
#include "row.cuh"

template <class T> struct Loss {
    using R = Real<T>;
    const i64* classes; const R* weights; const double* even;
    i64 count; double smoothing; int ignores; i64 ignored;

    INLINE double mean_weight() const { return even ? *even : 1.0; }
    INLINE R weight(i64 c) const { return weights ? weights[c] : R(1); }
    INLINE bool counts(i64 c) const { return !(ignores && c == ignored) && c >= 0 && c < count; }
};

template <class T>
INLINE void cross_entropy(const T* x, const Loss<T>& loss, double* losses, double* counts, T* each, Real<T>* greatest, Real<T>* scale, u64* fault, const Shares& shares, i64 inner, int logarithms, u64 operation) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    bool there = seat.result < shares.results;
    i64 row = there ? seat.result : 0, start = row_start(row, shares.length, inner);
    Powers<T> powers;
    double spread = 0;
    auto work = [&](auto numbers) {
        numbers.each_word([&](i64 j, auto& word) {
            if (!logarithms) powers.add(word);
            if (loss.smoothing != 0) for (R x : word) spread += double(loss.weight(j++)) * double(x);
        });
    };
    by_words<false>(shares, seat, there, inner, x + start, work, x + start);
    if (!logarithms) powers.agree_on(seat, shares);
    if (loss.smoothing != 0) spread = sum_of(spread, seat, shares);
    if (!there || seat.lane) return;
    i64 c = loss.classes[row];
    bool counted = loss.counts(c);
    if (!counted && !(loss.ignores && c == loss.ignored)) atomicMin(fault, operation << 40 | u64(row));
    double most = logarithms ? 0.0 : double(powers.greatest), logarithm_of_sum = logarithms ? 0.0 : log(double(powers.sum)), result = 0;
    if (counted) {
        result = (1 - loss.smoothing) * double(loss.weight(c)) * (logarithm_of_sum - (double(widen(x[start + c * inner])) - most));
        if (loss.smoothing != 0) {
            double even = loss.mean_weight(), n = double(shares.length);
            result += loss.smoothing * (even * logarithm_of_sum - (spread / n - even * most));
        }
    }
    losses[row] = result; counts[row] = counted ? double(loss.weight(c)) : 0.0;
    if (each) each[row] = narrow<T>(R(result));
    greatest[row] = R(most); scale[row] = logarithms ? R(0) : R(1) / powers.sum;
}

struct Pair {
    struct State { double a, b; };
    INLINE State nothing() const { return {0.0, 0.0}; }
    INLINE State join(const State& one, const State& other) const { return {one.a + other.a, one.b + other.b}; }
};

template <class T> INLINE void cross_entropy_total(const double* losses, const double* counts, double* total, T* output, i64 rows, int mean) {
    Shares shares = {1, rows, 1, BLOCK, 1};
    Seat seat = seat_of(shares);
    Pair::State state = {0.0, 0.0};
    for (i64 r = threadIdx.x; r < rows; r += BLOCK) { state.a += losses[r]; state.b += counts[r]; }
    state = join_lanes(Pair{}, state, seat, shares);
    if (seat.lane) return;
    *total = state.b;
    *output = narrow<T>(Real<T>(mean ? state.a / state.b : state.a));
}

template <class T>
INLINE void cross_entropy_gradient(const T* x, const Loss<T>& loss, const T* g, const Real<T>* greatest, const Real<T>* scale, const double* total, T* dx, const Shares& shares, i64 inner, int reduction) {
    using R = Real<T>;
    Seat seat = seat_of(shares);
    if (seat.result >= shares.results) return;
    i64 row = seat.result, start = row_start(row, shares.length, inner), c = loss.classes[row];
    bool counted = loss.counts(c);
    double arriving = double(widen(g[reduction == 2 ? row : 0])) / (reduction == 0 ? *total : 1.0);
    double own = counted ? arriving * (1 - loss.smoothing) * double(loss.weight(c)) : 0.0, all = own + arriving * loss.smoothing * loss.mean_weight();
    R share = R(all * double(scale[row])), even = loss.smoothing == 0 ? R(0) : R(arriving * loss.smoothing / double(shares.length)), most = greatest[row];
    auto work = [&](auto numbers) {
        numbers.write(dx + start, [&](i64 j, auto& word) {
            constexpr int N = sizeof(word) / sizeof(R);
#pragma unroll
            for (int i = 0; i < N; i++) {
                word[i] = share * weight_of<T>(word[i] - most);
                if (loss.smoothing != 0) word[i] -= even * loss.weight(j + i);
                if (!counted) word[i] = 0;
            }
            if (counted && c >= j && c < j + N)
#pragma unroll
                for (int i = 0; i < N; i++) if (j + i == c) word[i] -= R(own);
        });
    };
    by_words<false>(shares, seat, true, inner, dx + start, work, x + start);
}

#define ENTROPY(t, T)                                                                                                                                       \
    KERNEL_IN_PAIRS(cross_entropy_##t, const T* x, const i64* classes, const Real<T>* weights, const double* even, double* losses, double* counts, T* each, Real<T>* greatest, Real<T>* scale, u64* fault, Shares shares, i64 inner, int logarithms, double smoothing, int ignores, i64 ignored, u64 operation) { \
        cross_entropy(x, Loss<T>{classes, weights, even, shares.length, smoothing, ignores, ignored}, losses, counts, each, greatest, scale, fault, shares, inner, logarithms, operation); \
    }                                                                                                                                                       \
    KERNEL(cross_entropy_total_##t, const double* losses, const double* counts, double* total, T* output, i64 rows, int mean) {                             \
        cross_entropy_total(losses, counts, total, output, rows, mean);                                                                                     \
    }                                                                                                                                                       \
    KERNEL_IN_PAIRS(cross_entropy_gradient_##t, const T* x, const i64* classes, const Real<T>* weights, const double* even, const T* g, const Real<T>* greatest, const Real<T>* scale, const double* total, T* dx, Shares shares, i64 inner, double smoothing, int ignores, i64 ignored, int reduction) { \
        cross_entropy_gradient(x, Loss<T>{classes, weights, even, shares.length, smoothing, ignores, ignored}, g, greatest, scale, total, dx, shares, inner, reduction); \
    }
FLOATS(ENTROPY)
