// scan.cu - running sums and their relatives: each place along an axis gets what was folded up to it.
//
//   running_sum_T(x, y, parts, Lines)               T of f32 f64 bf16 f16 i64. parts: 8 bytes each
//   running_product_T(x, y, parts, Lines)           T of f32 f64 i64. parts: 16 bytes (i64: 8)
//   running_logsumexp_T(x, y, parts, Lines)         T of f32 f64, as all that follow. parts: 16 bytes
//   running_extreme_T(x, y, parts, Lines, places, int greatest)      also i64: of equals the last, NaN above all; places i64. parts: 16 bytes
//   product_before_T(x, y, parts, Lines)            y f64: the product of all before it. parts: 16 bytes
//   product_others_T(x, y, parts, Lines, before)    y = before · the product of all behind it: reversed lines. parts: 16 bytes
//   product_gradient_T(x, y, parts, Lines, g, before)           the gradient of a running product: reversed. parts: 24 bytes
//   logsumexp_gradient_T(x, y, parts, Lines, result, g)         reversed. parts: 16 bytes
//   add_at_places_T(x, y, parts, Lines, places)     y is zeros before; places never fall along a line. parts: 24 bytes
//   sum_runs_T(x, y, parts, Lines, goals, order, i64 skip, int include)       y[goals[i]] = Σ x[i] (and what stood there, where `include`) over one line whose
//        elements `order` (u32) takes by their goals, ascending; not for the goal `skip`. parts: 24 bytes
//   list_marks_u8(x, y, parts, Lines, order, inverse)         one line of marks; y i64: the places of those that are not 0. inverse (not null) i64: which of
//        the groups that begin with marks each place belongs to, at order[place] (u32; null: the place itself). parts: 8 bytes each
//   ..._parts_T(the same parameters)                what each piece holds goes to parts[line · pieces + piece]
//   join_{sum,wholes,whole_product,product,exponentials,extreme_f32,extreme_f64,extreme_i64,recurrence,decay,meeting}(parts, int pieces)
//        parts become what stands before each of them: sum of floats, wholes of integers; recurrence of product_gradient, decay of
//        logsumexp_gradient, meeting of add_at_places and sum_runs; product of all other products
//   take_places_{2,4,8}(x, y, places, i64 count, i64 size, i64 inner)        y[o][k][i] = x[o][places[o][k][i]][i]
//
// struct Lines { i64 count, size, inner; int pieces, lanes, adjacent, reversed; } (40 bytes) by value; x, y, g, places are dense. Launch: 256 threads, grid
// (ceil(count · lanes / 256), pieces, 1). With one piece only the kernel itself, and parts may be null. With more: ..._parts_T with the
// same grid, join with grid (count, 1, 1), then the kernel. Nobody waits for another block. take_places: grid (min(ceil(count / 1024), 65536), 1, 1).
//
// Choice of lanes: dense lines: size rounded up to a power of two over 4, within 1 ... 256; else 1 where lines are many, and so many that a block's
// lines read stretches of 32 neighbours. A line with one lane is walked in order, with the bits of the processor.
//
// Sums run in f64 as on the processor. Products are kept as a mantissa and an exponent, so that no part of them overflows that the whole does not.
// Speed: bound by bytes: x is read once and y written, x twice where lines are cut. A tile of 1024 costs nine barriers.
#include "numbers.cuh"
#include "scan.cuh"

// A number as mantissa · 2^exponent, the mantissa's size from 1 on and below 2 but for zeros, infinities and NaN.
struct Scaled { double mantissa; i64 exponent; };
INLINE Scaled scaled(double x) {
    if (x == 0 || x - x != 0) return {x, 0};
    i64 lift = 0, bits = __double_as_longlong(x);
    if ((bits >> 52 & 2047) == 0) { bits = __double_as_longlong(x * 18014398509481984.0); lift = 54; }     // 2^54: from denormal ones
    return {__longlong_as_double((bits & i64(0x800fffffffffffffull)) | i64(0x3ff0000000000000ull)), (bits >> 52 & 2047) - 1023 - lift};
}
INLINE Scaled times(const Scaled& a, const Scaled& b) {
    double mantissa = a.mantissa * b.mantissa;
    bool large = fabs(mantissa) >= 2;
    return {large ? mantissa * 0.5 : mantissa, a.exponent + b.exponent + large};
}
INLINE double number_of(const Scaled& a) { return scalbn(a.mantissa, int(a.exponent > 4000 ? 4000 : a.exponent < -4000 ? -4000 : a.exponent)); }

template <class T> struct RunningSum {
    using State = Total<T>;
    static constexpr int EACH = 4;
    const T* x; T* y;
    INLINE State nothing() const { return State(0); }
    INLINE State join(State a, State b) const { return plus(a, b); }
    INLINE State at(const Spot& spot) const { return State(widen(x[spot.at])); }
    INLINE void write(const Spot& spot, State, State through) const { y[spot.at] = narrow<T>(Real<T>(through)); }
};
struct ListMarks {
    using State = i64;
    static constexpr int EACH = 4;
    const u8* x; i64* y; const u32* order; i64* inverse;
    INLINE State nothing() const { return 0; }
    INLINE State join(State a, State b) const { return a + b; }
    INLINE State at(const Spot& spot) const { return x[spot.at] != 0; }
    INLINE void write(const Spot& spot, State before, State through) const {
        if (through > before) y[before] = spot.along;
        if (inverse) inverse[order ? i64(order[spot.along]) : spot.along] = through - 1;
    }
};
struct WholeProduct {
    using State = i64;
    static constexpr int EACH = 4;
    const i64* x; i64* y;
    INLINE State nothing() const { return 1; }
    INLINE State join(State a, State b) const { return times(a, b); }
    INLINE State at(const Spot& spot) const { return x[spot.at]; }
    INLINE void write(const Spot& spot, State, State through) const { y[spot.at] = through; }
};
template <class T> struct RunningProduct {
    using State = Scaled;
    static constexpr int EACH = 4;
    const T* x; T* y;
    INLINE State nothing() const { return {1.0, 0}; }
    INLINE State join(const State& a, const State& b) const { return times(a, b); }
    INLINE State at(const Spot& spot) const { return scaled(double(x[spot.at])); }
    INLINE void write(const Spot& spot, const State&, const State& through) const { y[spot.at] = T(number_of(through)); }
};
template <class T> struct ProductBefore : RunningProduct<T> {
    double* earlier;
    INLINE void write(const Spot& spot, const Scaled& before, const Scaled&) const { earlier[spot.at] = number_of(before); }
};
template <class T> struct ProductOthers : RunningProduct<T> {
    const double* earlier;
    INLINE void write(const Spot& spot, const Scaled& before, const Scaled&) const { this->y[spot.at] = T(earlier[spot.at] * number_of(before)); }
};
// Between equal infinities nothing is lost or gained.
INLINE double ratio(double low, double high) { return low == high ? 1.0 : exp(low - high); }
// Σ e^(x - greatest), and the greatest so far.
struct Exponentials { double greatest, sum; };
template <class T> struct RunningExponentials {
    using State = Exponentials;
    static constexpr int EACH = 1;
    const T* x; T* y;
    INLINE State nothing() const { return {-double(INFINITY), 0.0}; }
    INLINE State join(const State& a, const State& b) const {
        bool later = b.greatest > a.greatest;
        double greatest = later ? b.greatest : a.greatest, least = later ? a.greatest : b.greatest, share = ratio(least, greatest);
        return {greatest, later ? a.sum * share + b.sum : a.sum + b.sum * share};
    }
    INLINE State at(const Spot& spot) const { return {double(x[spot.at]), 1.0}; }
    INLINE void write(const Spot& spot, const State&, const State& through) const { y[spot.at] = T(through.greatest + log(through.sum)); }
};
template <class T> struct RunningExtreme {
    struct State { T value; i64 place; };
    static constexpr int EACH = 4;
    const T* x; T* y; i64* places; int greatest;
    INLINE State nothing() const { return {T(0), -1}; }
    INLINE State join(const State& a, const State& b) const {
        if (a.place < 0) return b;
        bool better = b.value != b.value || (a.value == a.value && (greatest ? b.value >= a.value : b.value <= a.value));
        return b.place >= 0 && better ? b : a;
    }
    INLINE State at(const Spot& spot) const { return {x[spot.at], spot.along}; }
    INLINE void write(const Spot& spot, const State&, const State& through) const { y[spot.at] = through.value; places[spot.at] = through.place; }
};

// v becomes sum + factor · v: the gradients are recurrences from behind.
struct Recurrence { Scaled factor; double sum; };
template <class T> struct ProductGradient {
    using State = Recurrence;
    static constexpr int EACH = 1;
    const T *x, *g; const double* earlier; T* y;
    INLINE State nothing() const { return {{1.0, 0}, 0.0}; }
    INLINE State join(const State& a, const State& b) const { return {times(a.factor, b.factor), b.sum + number_of(times(b.factor, scaled(a.sum)))}; }
    // What it hands on: its own number times all that arrives here.
    INLINE State at(const Spot& spot) const { double number = double(x[spot.at]); return {scaled(number), number * double(g[spot.at])}; }
    INLINE void write(const Spot& spot, const State& before, const State&) const { y[spot.at] = T(earlier[spot.at] * (double(g[spot.at]) + before.sum)); }
};
struct Decay { double factor, sum; };
template <class T> struct LogsumexpGradient {
    using State = Decay;
    static constexpr int EACH = 1;
    const T *x, *result, *g; T* y; i64 size, inner;
    INLINE State nothing() const { return {1.0, 0.0}; }
    INLINE State join(const State& a, const State& b) const { return {a.factor * b.factor, b.sum + b.factor * a.sum}; }
    INLINE State at(const Spot& spot) const {
        double next = spot.along + 1 < size ? double(result[spot.at + inner]) : double(INFINITY);
        return {ratio(double(result[spot.at]), next), double(g[spot.at])};
    }
    INLINE void write(const Spot& spot, const State&, const State& through) const {
        double number = double(x[spot.at]), share = number == -double(INFINITY) ? 0.0 : ratio(number, double(result[spot.at]));
        y[spot.at] = T(share * through.sum);
    }
};
// The sum of those at the end that go to one place, and the places at both ends.
struct Meeting { double sum; i64 first, last; };
template <class T> struct AddAtPlaces {
    using State = Meeting;
    static constexpr int EACH = 1;
    const T* x; const i64* places; T* y; i64 size, inner;
    INLINE State nothing() const { return {0.0, -1, -1}; }
    INLINE State join(const State& a, const State& b) const {
        if (a.last < 0) return b;
        if (b.last < 0) return a;
        return {b.first == b.last && a.last == b.first ? a.sum + b.sum : b.sum, a.first, b.last};
    }
    INLINE State at(const Spot& spot) const { i64 place = places[spot.at]; return {double(x[spot.at]), place, place}; }
    INLINE void write(const Spot& spot, const State&, const State& through) const {
        bool last = spot.along + 1 == size || places[spot.at + inner] != through.last;
        if (last) y[spot.at + (through.last - spot.along) * inner] = T(through.sum);
    }
};
// Numbers put in an order in which those with one goal stand together.
template <class T> struct SumRuns : AddAtPlaces<T> {
    using State = Meeting;
    const u32* order; i64 skip; int include;
    INLINE State at(const Spot& spot) const { i64 from = order[spot.at], goal = this->places[from]; return {double(this->x[from]), goal, goal}; }
    INLINE void write(const Spot& spot, const State&, const State& through) const {
        bool last = spot.at + 1 == this->size || this->places[order[spot.at + 1]] != through.last;
        if (last && through.last != skip) this->y[through.last] = T(through.sum + (include ? double(this->y[through.last]) : 0.0));
    }
};

// A kernel that goes along lines, and the one that finds what each piece holds.
#define RUNNING(name, t, X, Y, STATE, SCAN, ...)                                                             \
    KERNEL(name##_##t, const X* x, Y* y, STATE* parts, Lines lines, ##__VA_ARGS__) { walk<true>(SCAN, parts, lines); } \
    KERNEL(name##_parts_##t, const X* x, Y* y, STATE* parts, Lines lines, ##__VA_ARGS__) { walk<false>(SCAN, parts, lines); }
#define JOINED(name, STATE, SCAN) KERNEL(join_##name, STATE* parts, int pieces) { join_parts(SCAN, parts, pieces); }

#define SUMS(t, T) RUNNING(running_sum, t, T, T, Total<T>, (RunningSum<T>{x, y}))
FLOATS(SUMS) SUMS(i64, i64)
RUNNING(list_marks, u8, u8, i64, i64, (ListMarks{x, y, order, inverse}), const u32* order, i64* inverse)
RUNNING(running_product, i64, i64, i64, i64, (WholeProduct{x, y}))

#define EXTREMES(t, T) RUNNING(running_extreme, t, T, T, RunningExtreme<T>::State, (RunningExtreme<T>{x, y, places, greatest}), i64* places, int greatest)
EXTREMES(f32, float) EXTREMES(f64, double) EXTREMES(i64, i64)

#define OTHERS(t, T)                                                                                                                                        \
    RUNNING(running_product, t, T, T, Scaled, (RunningProduct<T>{x, y}))                                                                                    \
    RUNNING(running_logsumexp, t, T, T, Exponentials, (RunningExponentials<T>{x, y}))                                                      \
    RUNNING(product_before, t, T, double, Scaled, (ProductBefore<T>{{x, nullptr}, y}))                                                                      \
    RUNNING(product_others, t, T, T, Scaled, (ProductOthers<T>{{x, y}, before}), const double* before)                                                      \
    RUNNING(product_gradient, t, T, T, Recurrence, (ProductGradient<T>{x, g, before, y}), const T* g, const double* before)                                 \
    RUNNING(logsumexp_gradient, t, T, T, Decay, (LogsumexpGradient<T>{x, result, g, y, lines.size, lines.inner}), const T* result, const T* g)              \
    RUNNING(add_at_places, t, T, T, Meeting, (AddAtPlaces<T>{x, places, y, lines.size, lines.inner}), const i64* places)                              \
    RUNNING(sum_runs, t, T, T, Meeting, (SumRuns<T>{{x, goals, y, lines.size, 1}, order, skip, include}), const i64* goals, const u32* order, i64 skip, int include)
OTHERS(f32, float) OTHERS(f64, double)

JOINED(sum, double, (RunningSum<double>{}))
JOINED(wholes, i64, (RunningSum<i64>{}))
JOINED(whole_product, i64, (WholeProduct{}))
JOINED(product, Scaled, (RunningProduct<double>{}))
JOINED(exponentials, Exponentials, (RunningExponentials<double>{}))
JOINED(recurrence, Recurrence, (ProductGradient<double>{}))
JOINED(decay, Decay, (LogsumexpGradient<double>{}))
JOINED(meeting, Meeting, (AddAtPlaces<double>{}))
#define EXTREMES_JOINED(t, T) \
    KERNEL(join_extreme_##t, RunningExtreme<T>::State* parts, int pieces, int greatest) { join_parts(RunningExtreme<T>{nullptr, nullptr, nullptr, greatest}, parts, pieces); }
EXTREMES_JOINED(f32, float) EXTREMES_JOINED(f64, double) EXTREMES_JOINED(i64, i64)

template <class W> INLINE void take_places(const W* x, W* y, const i64* places, i64 count, i64 size, i64 inner) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 slice = quotient(at, inner), along = slice - quotient(slice, size) * size;
        y[at] = x[at + (places[at] - along) * inner];
    }
}
#define TAKEN(bytes, W) \
    KERNEL(take_places_##bytes, const W* x, W* y, const i64* places, i64 count, i64 size, i64 inner) { take_places(x, y, places, count, size, inner); }
TAKEN(2, u16) TAKEN(4, u32) TAKEN(8, u64)
