// reduce.cu - many numbers become one: sums, products, extremes, spreads, norms, over any set of axes.
//
//   sum_T(x, y, parts, Shares, View kept, View folded, double divisor, int known)          T of f32 f64 bf16 f16 i64 i32 u8
//        y[r] = Σ x / divisor; `known`: NaN counts as 0. y is T for floats, else i64. parts: 8 bytes each
//   product_T(x, y, parts, Shares, View kept, View folded)                                 as sum
//   extreme_T(x, y, parts, Shares, View kept, View folded, places, int greatest)           y is T; places i64 or null. parts: 16 bytes
//        the first of the greatest (or least), NaN where there is one; its position among the folded axes in row-major order
//   variance_T(x, y, parts, Shares, View kept, View folded, means, double correction, int rooted)      floats. parts: 16 bytes
//   norm_T(x, y, parts, Shares, View kept, View folded, double order, int mode)            floats. parts: 8 bytes
//        mode 0 counts what is not zero, 1 Σ|x|, 2 √Σx², 3 (Σ|x|^order)^(1/order), 4 the greatest |x|, 5 the least
//   logsumexp_T(x, y, parts, Shares, View kept, View folded)                               floats. parts: 16 bytes
//   ..._join_T(x, y, parts, Shares, View kept, View folded, ...)                           the same parameters: joins the parts
//   put_{2,4,8}(x, y, places, i64 count, View kept, View folded)                         y[kept(r) + folded(places[r])] = x[r]
//   pick_{2,4,8}(x, y, places, i64 count, View kept, View folded)                        y[r] = x[kept(r) + folded(places[r])]
//
// struct Shares { i64 results, length; int pieces, lanes, adjacent; } (32 bytes with padding) by value. Launch: 256 threads, grid
// (ceil(results · lanes / 256), pieces, 1). With one piece y is written at once and parts may be null; with more, state
// [result · pieces + piece] goes to parts, and the join follows with grid (ceil(results · lanes / 256), 1, 1), its own lanes,
// adjacent = 1 and the same pieces. For count_nonzero, any, all: cast to bool, then sum_u8, extreme_u8 (greatest), extreme_u8 (least).
//
// Choice of lanes: folded axis dense: lanes = length rounded up to a power of two over 4, within 1 ... 256; kept axis dense:
// lanes = 8 (groups of 32 results read whole lines), more where results are few. Pieces: enough that blocks fill the device
// (about 8 on each multiprocessor), none shorter than 4096.
//
// Speed: bound by the bytes of x. A thread has four independent reads under way; the tree at the end costs log2(lanes) barriers,
// within a warp only warp barriers. Chains of f32 are added in f64: one addition of f64 for each number, at half rate on data
// centre GPUs far below the memory's time (0.8 T numbers/s against 16 T additions/s on H100).
#include "fold.cuh"

template <class T> struct Sum {
    using Element = T;
    using State = Total<T>;
    int known;
    INLINE State nothing() const { return State(0); }
    INLINE void add(State& state, Real<T> x, i64) const { if (!(known && x != x)) state = plus(state, State(x)); }
    INLINE State join(State a, State b) const { return plus(a, b); }
};
template <class T> struct Product {
    using Element = T;
    using State = Total<T>;
    INLINE State nothing() const { return State(1); }
    INLINE void add(State& state, Real<T> x, i64) const { state = times(state, State(x)); }
    INLINE State join(State a, State b) const { return times(a, b); }
};
template <class T> struct Extreme {
    using Element = T;
    struct State { Real<T> value; i64 place; };
    int greatest;
    INLINE bool better(Real<T> a, Real<T> b) const { return (greatest ? a > b : a < b) || (a != a && b == b); }
    INLINE State nothing() const { return {Real<T>(0), -1}; }
    INLINE void add(State& state, Real<T> x, i64 place) const { if (state.place < 0 || better(x, state.value)) state = {x, place}; }
    INLINE State join(const State& a, const State& b) const {
        if (b.place < 0) return a;
        if (a.place < 0 || better(b.value, a.value)) return b;
        return better(a.value, b.value) || a.place < b.place ? a : b;
    }
};
// Sums of the differences from the row's first number, and of their squares: what cancels is at most `length` times the result.
template <class T> struct Spread {
    using Element = T;
    struct State { double sum, squares; };
    double shift;
    INLINE State nothing() const { return {0.0, 0.0}; }
    INLINE void add(State& state, Real<T> x, i64) const { double d = double(x) - shift; state.sum += d; state.squares += d * d; }
    INLINE State join(const State& a, const State& b) const { return {a.sum + b.sum, a.squares + b.squares}; }
};
template <class T> struct Norm {
    using Element = T;
    using State = double;
    double order; int mode;
    INLINE State nothing() const { return mode == 5 ? double(INFINITY) : 0.0; }
    INLINE void add(State& state, Real<T> number, i64) const {
        double x = fabs(double(number));
        state = join(state, mode == 0 ? double(x != 0) : mode == 1 || mode >= 4 ? x : mode == 2 ? x * x : pow(x, order));
    }
    INLINE State join(double a, double b) const {
        if (mode < 4) return a + b;
        if (a != a) return a;
        return b != b || (mode == 4 ? b > a : b < a) ? b : a;
    }
};
// The state of a result, wherever it comes from, is written by lane 0: whole, or as a part.
#define FOLD(FOLDER, WRITE)                                                                        \
    Seat seat = seat_of(shares);                                                                   \
    const auto* row = x + (seat.result < shares.results ? place_of(kept, seat.result) : 0);        \
    auto fold = FOLDER;                                                                            \
    auto state = fold_numbers(fold, row, seat, shares, folded);                                    \
    if (seat.lane || seat.result >= shares.results) return;                                        \
    i64 r = seat.result;                                                                           \
    if (shares.pieces > 1) parts[r * shares.pieces + blockIdx.y] = state; else { WRITE; }
#define JOIN(FOLDER, WRITE)                                                                        \
    Seat seat = seat_of(shares);                                                                   \
    const auto* row = x + (seat.result < shares.results ? place_of(kept, seat.result) : 0);        \
    auto fold = FOLDER;                                                                            \
    auto state = fold_states(fold, parts, seat, shares);                                           \
    if (seat.lane || seat.result >= shares.results) return;                                        \
    i64 r = seat.result;                                                                           \
    (void)row; WRITE;
// A kernel that folds, and the one that joins its parts.
#define KERNELS(noun, t, T, R, FOLDER, WRITE, ...)                                                                                           \
    KERNEL(noun##_##t, const T* x, R* y, FOLDER##_STATE(T)* parts, Shares shares, View kept, View folded, ##__VA_ARGS__) {                   \
        FOLD(FOLDER(T), WRITE)                                                                                                               \
    }                                                                                                                                        \
    KERNEL(noun##_join_##t, const T* x, R* y, FOLDER##_STATE(T)* parts, Shares shares, View kept, View folded, ##__VA_ARGS__) {              \
        JOIN(FOLDER(T), WRITE)                                                                                                               \
    }

#define SUM(T) Sum<T>{known}
#define SUM_STATE(T) Sum<T>::State
#define PRODUCT(T) Product<T>{}
#define PRODUCT_STATE(T) Product<T>::State
#define EXTREME(T) Extreme<T>{greatest}
#define EXTREME_STATE(T) Extreme<T>::State
#define SPREAD(T) Spread<T>{shift_of(row, shares.length, seat.result < shares.results)}
#define SPREAD_STATE(T) Spread<T>::State
#define NORM(T) Norm<T>{order, mode}
#define NORM_STATE(T) Norm<T>::State
#define EXPONENTIALS(T) Exponentials<T>{}
#define EXPONENTIALS_STATE(T) Exponentials<T>::State

// The quotient of a sum; whole numbers have the divisor 1.
INLINE double over(double sum, double divisor) { return sum / divisor; }
INLINE i64 over(i64 sum, double) { return sum; }

// The row's first number, where it is finite.
template <class T> INLINE double shift_of(const T* row, i64 length, bool there) {
    double first = there && length > 0 ? double(widen(row[0])) : 0.0;
    return first - first == 0.0 ? first : 0.0;
}
template <class T> INLINE void write_spread(const Spread<T>& fold, const typename Spread<T>::State& state, T* y, T* means, i64 r, double n, double correction, int rooted) {
    double free = n - correction, square = state.squares - state.sum * state.sum / n;
    double variance = (square < 0 ? 0.0 : square) / (free < 0 ? 0.0 : free);
    y[r] = narrow<T>(Real<T>(rooted ? sqrt(variance) : variance));
    means[r] = narrow<T>(Real<T>(fold.shift + state.sum / n));
}
INLINE double norm_of(double state, double order, int mode) { return mode == 2 ? sqrt(state) : mode == 3 ? pow(state, 1.0 / order) : state; }

#define OF_FLOAT(t, T)                                                                                                                       \
    KERNELS(sum, t, T, T, SUM, y[r] = narrow<T>(Real<T>(over(state, divisor))), double divisor, int known)                                   \
    KERNELS(product, t, T, T, PRODUCT, y[r] = narrow<T>(Real<T>(state)))                                                                     \
    KERNELS(variance, t, T, T, SPREAD, write_spread(fold, state, y, means, r, double(shares.length), correction, rooted), T* means, double correction, int rooted) \
    KERNELS(norm, t, T, T, NORM, y[r] = narrow<T>(Real<T>(norm_of(state, order, mode))), double order, int mode)                             \
    KERNELS(logsumexp, t, T, T, EXPONENTIALS, y[r] = narrow<T>(state.greatest + logarithm(state.sum)))
#define OF_WHOLE(t, T)                                                                                                                       \
    KERNELS(sum, t, T, i64, SUM, y[r] = over(state, divisor), double divisor, int known)                                                     \
    KERNELS(product, t, T, i64, PRODUCT, y[r] = state)
#define OF_ANY(t, T)                                                                                                                         \
    KERNELS(extreme, t, T, T, EXTREME, y[r] = narrow<T>(state.value); if (places) places[r] = state.place, i64* places, int greatest)
FLOATS(OF_FLOAT) WHOLES(OF_WHOLE) FLOATS(OF_ANY) WHOLES(OF_ANY)

#define PLACES(bytes, W)                                                                                                                     \
    KERNEL(put_##bytes, const W* x, W* y, const i64* places, i64 count, View kept, View folded) {                                            \
        for (i64 r = first_of_grid(); r < count; r += step_of_grid()) y[place_of(kept, r) + place_of(folded, places[r])] = x[r];             \
    }                                                                                                                                        \
    KERNEL(pick_##bytes, const W* x, W* y, const i64* places, i64 count, View kept, View folded) {                                           \
        for (i64 r = first_of_grid(); r < count; r += step_of_grid()) y[r] = x[place_of(kept, r) + place_of(folded, places[r])];             \
    }
PLACES(2, u16) PLACES(4, u32) PLACES(8, u64)
