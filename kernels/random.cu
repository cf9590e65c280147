// random.cu - random numbers from a counter: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011), the same words, uniforms, coins and
// masks as on the CPU (src/device/random.rs says how they are numbered), normals by the same arithmetic in f64.
//
//   struct Draw { u64 seed, number; u32 stream, at_address; } (24 bytes): the draw's number, or where it stands
//   uniform_{f32,f64,bf16,f16}(y, i64 count, Draw, double low, double high)
//   normal_{f32,f64,bf16,f16}(y, i64 count, Draw, double mean, double deviation)
//   integers_i64(y, i64 count, Draw, i64 low, u64 bound)            low + a whole number below bound, by Lemire's multiplication
//   keys_i64(y, i64 count, Draw)                                    the 64-bit words as they are: sorted, they make a permutation
//   bernoulli_u8(y, i64 count, Draw, u64 threshold)                 1 where a 32-bit word is below
//   bernoulli_of_f64(chances, y, i64 count, Draw, u64* fault, u64 operation)      y u8: 1 where a word is below chance · 2^32; where a
//        chance does not lie between 0 and 1, the least of (operation << 40 | its place) goes to fault
//   poisson_f64(rates, y, i64 count, Draw, u64* fault, u64 operation)             y: counts of Poisson's distribution; where a rate does not lie
//        between 0 and 1e12, the least of (operation << 40 | its place) goes to fault
//   waiting_f64(weights, y, i64 count, Draw)                        -ln(a uniform number) / weight, infinite where there is no weight
//   weigh_f64(weights, found, i64 choices, i64 wanted, u64* fault, u64 operation)       rows of weights, a block each: grid (rows, 1, 1). found i64 [rows]:
//        how many are positive, or the bits of the first that is no weight (no such bits are those of a count). The least of
//        (operation << 40 | a row with one, or with fewer than `wanted` positive) goes to fault
//   stretches_f64(weights, sums, i64 rows, i64 choices, i64 stretches)            sums [rows, stretches + 1]: of each 128 weights; for rows · stretches
//   stretches_before_f64(sums, i64 rows, i64 stretches)                           become sums of all before, the last one of all; for rows
//   choose_f64(weights, sums, y, i64 count, i64 each, i64 choices, i64 stretches, Draw)       y i64 [rows, each]: where a uniform number falls among the sums
//   thin_{f32,f64,bf16,f16}(x, y, i64 count, Draw, u64 threshold, i64 group, double scale, double shift, double dropped)
//        dropout; each run of `group` neighbours shares a word: x · scale + shift where it is at least the threshold, else x · 0 + dropped
//
// How words are numbered: random.cuh.
//
// Launch: 256 threads, grid (min(ceil(count / 1024), 65536), 1, 1) (u8 and thin with group > 1: the same), striding. A thread computes one
// block of words and writes what comes of it: four numbers, 16 apart, so that 16 neighbours write one stretch. Philox takes 10
// rounds of two wide products: some 100 instructions for four words, 25 for a number of 4 bytes written; H100 does 33 T/s of them
// and writes 0.8 T/s of numbers: bound by memory.
#include "numbers.cuh"
#include "random.cuh"
#include "view.cuh"

// 2^-53.
constexpr double UNIT = 1.0 / 9007199254740992.0;
INLINE double fraction(u32 high, u32 low) { return __dadd_rn(double(high) * (1.0 / 4294967296.0), double(low >> 11) * UNIT); }

// For each block of words: the function is given them, and the place of the number of its first word (numbers of one word).
template <class F> INLINE void each_block(const Draw& draw, i64 count, F f) {
    i64 blocks = (count + 63) / 64 * 16;
    for (i64 block = first_of_grid(); block < blocks; block += step_of_grid()) f(philox(draw, u64(block), 0), block / 16 * 64 + block % 16);
}
// The same for numbers of two words: the second of a block stands 16 behind the first.
template <class F> INLINE void each_pair(const Draw& draw, i64 count, F f) {
    i64 blocks = (count + 31) / 32 * 16;
    for (i64 block = first_of_grid(); block < blocks; block += step_of_grid()) f(philox(draw, u64(block), 0), block / 16 * 32 + block % 16);
}

// The number just below, for finite ones.
INLINE float below(float x) { i32 bits = __float_as_int(x); return x == 0 ? __int_as_float(i32(0x80000001u)) : __int_as_float(x > 0 ? bits - 1 : bits + 1); }
INLINE double below(double x) { i64 bits = __double_as_longlong(x); return x == 0 ? __longlong_as_double(i64(0x8000000000000001ull)) : __longlong_as_double(x > 0 ? bits - 1 : bits + 1); }

template <class T> INLINE void uniform(T* y, i64 count, const Draw& draw, double low, double high) {
    if constexpr (sizeof(T) == 8) {
        double width = high - low, last = below(high);
        last = last > low ? last : low;
        each_pair(draw, count, [&](const Words& w, i64 at) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                double x = __dadd_rn(low, __dmul_rn(fraction(w.items[2 * h], w.items[2 * h + 1]), width));
                if (at + 16 * h < count) y[at + 16 * h] = x > last ? last : x;
            }
        });
    } else {
        float from = float(low), width = float(high - low), last = below(float(high));
        last = last > from ? last : from;
        each_block(draw, count, [&](const Words& w, i64 at) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float x = __fadd_rn(from, __fmul_rn(float(w.items[e] >> 8) * (1.0f / 16777216.0f), width));
                if (at + 16 * e < count) y[at + 16 * e] = narrow<T>(x > last ? last : x);
            }
        });
    }
}

// The logarithm of a positive normal number, by ln((1 + s) / (1 - s)) = 2 (s + s³/3 + s⁵/5 + ...), without fused operations.
INLINE double plain_ln(double x) {
    u64 half_root = 0x3fe6a09e667f3bcdull, bits = u64(__double_as_longlong(x));
    int exponent = int(i64(bits - half_root) >> 52);
    double m = __longlong_as_double(i64(bits - (u64(i64(exponent)) << 52))), s = __dadd_rn(m, -1.0) / __dadd_rn(m, 1.0), z = __dmul_rn(s, s), series = 1.0 / 21.0;
#pragma unroll
    for (int odd = 19; odd >= 3; odd -= 2) series = __dadd_rn(__dmul_rn(series, z), 1.0 / odd);
    double twice = __dmul_rn(2.0, s);
    return __dadd_rn(__dmul_rn(double(exponent), 0.69314718055994530942), __dadd_rn(twice, __dmul_rn(__dmul_rn(twice, z), series)));
}
// Sine and cosine of a part of a full turn, in [0, 1).
INLINE void sine_and_cosine(double turn, double& sine, double& cosine) {
    int quarter = int(__dadd_rn(__dmul_rn(4.0, turn), 0.5));
    double x = __dmul_rn(__dadd_rn(__dmul_rn(4.0, turn), -double(quarter)), 1.57079632679489661923), z = __dmul_rn(x, x), s = 1, c = 1;
#pragma unroll
    for (int k = 16; k >= 2; k -= 2) {
        s = __dadd_rn(1.0, -__dmul_rn(__dmul_rn(s, z), 1.0 / (double(k) * (k + 1.0))));
        c = __dadd_rn(1.0, -__dmul_rn(__dmul_rn(c, z), 1.0 / (double(k) * (k - 1.0))));
    }
    s = __dmul_rn(s, x);
    double a = quarter & 1 ? c : s, b = quarter & 1 ? s : c;
    sine = quarter & 2 ? -a : a; cosine = (quarter + 1) & 2 ? -b : b;
}
// Box and Muller: a radius and an angle make two normal numbers.
INLINE void box_muller(double radius, double turn, double& first, double& second) {
    double sine, cosine;
    radius = sqrt(__dmul_rn(-2.0, plain_ln(radius)));
    sine_and_cosine(turn, sine, cosine);
    first = __dmul_rn(radius, cosine); second = __dmul_rn(radius, sine);
}

template <class T> INLINE void normal(T* y, i64 count, const Draw& draw, double mean, double deviation) {
    constexpr double STEP = 1.0 / 4294967296.0;
    auto write = [&](i64 at, double x) {
        x = __dadd_rn(mean, __dmul_rn(deviation, x));
        if (at < count) { if constexpr (sizeof(T) == 8) y[at] = x; else y[at] = narrow<T>(float(x)); }
    };
    double a, b;
    if constexpr (sizeof(T) == 8) each_pair(draw, count, [&](const Words& w, i64 at) {
        box_muller(__dadd_rn(fraction(w.items[0], w.items[1]), UNIT), fraction(w.items[2], w.items[3]), a, b);
        write(at, a); write(at + 16, b);
    });
    else each_block(draw, count, [&](const Words& w, i64 at) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            box_muller((double(w.items[2 * h]) + 1.0) * STEP, double(w.items[2 * h + 1]) * STEP, a, b);
            write(at + 32 * h, a); write(at + 32 * h + 16, b);
        }
    });
}

INLINE u64 whole_word(const Words& w, int h) { return u64(w.items[2 * h]) << 32 | w.items[2 * h + 1]; }
// word · bound / 2^64; false for the 2^64 mod bound words that are too many.
INLINE bool scaled(u64 word, u64 bound, u64& number) {
    u64 low = word * bound;
    number = __umul64hi(word, bound);
    return low >= bound || low >= (0 - bound) % bound;
}

KERNEL(integers_i64, i64* y, i64 count, Draw draw, i64 low, u64 bound) {
    each_pair(draw, count, [&](const Words& w, i64 at) {
        for (int h = 0; h < 2; h++) {
            u64 number, block = u64(at / 32 * 16 + at % 16);
            bool right = scaled(whole_word(w, h), bound, number);
            for (u32 attempt = 1; !right && attempt < 256; attempt++) right = scaled(whole_word(philox(draw, block, attempt), h), bound, number);
            if (at + 16 * h < count) y[at + 16 * h] = i64(u64(low) + (right ? number : 0));
        }
    });
}
KERNEL(keys_i64, i64* y, i64 count, Draw draw) {
    each_pair(draw, count, [&](const Words& w, i64 at) {
        for (int h = 0; h < 2; h++) if (at + 16 * h < count) y[at + 16 * h] = i64(whole_word(w, h));
    });
}
KERNEL(bernoulli_u8, u8* y, i64 count, Draw draw, u64 threshold) {
    each_block(draw, count, [&](const Words& w, i64 at) {
        for (int e = 0; e < 4; e++) if (at + 16 * e < count) y[at + 16 * e] = u64(w.items[e]) < threshold;
    });
}
KERNEL(bernoulli_of_f64, const double* chances, u8* y, i64 count, Draw draw, u64* fault, u64 operation) {
    each_block(draw, count, [&](const Words& w, i64 at) {
        for (int e = 0; e < 4; e++) if (at + 16 * e < count) {
            double chance = chances[at + 16 * e];
            y[at + 16 * e] = double(w.items[e]) < chance * 4294967296.0;
            if (!(chance >= 0 && chance <= 1)) atomicMin(fault, operation << 40 | u64(at + 16 * e));
        }
    });
}

// Counts of a rate, step by step as on the CPU (src/device/cpu/poisson.rs), which says by what method.
INLINE double by_sums(double rate, double uniform) {
    double part = -rate / 64.0, chance = 1, count = 0;
    for (int k = 13; k >= 1; k--) chance = __dadd_rn(1.0, __dmul_rn(chance, part / double(k)));
    for (int k = 0; k < 6; k++) chance = __dmul_rn(chance, chance);
    double sum = chance;
    while (uniform >= sum) {
        count += 1;
        chance = __dmul_rn(chance, rate) / count;
        if (__dadd_rn(sum, chance) == sum && count > rate) break;
        sum = __dadd_rn(sum, chance);
    }
    return count;
}
INLINE double ln_factorial(double count) {
    double x = count + 1, factors = 1;
    for (; x < 8; x += 1) factors = __dmul_rn(factors, x);
    double z = 1.0 / __dmul_rn(x, x), series = 1.0 / 1680.0;
    series = __dadd_rn(1.0 / 1260.0, -__dmul_rn(z, series));
    series = __dadd_rn(1.0 / 360.0, -__dmul_rn(z, series));
    series = __dadd_rn(1.0 / 12.0, -__dmul_rn(z, series)) / x;
    double sum = __dadd_rn(__dmul_rn(x - 0.5, plain_ln(x)), -x);
    return __dadd_rn(__dadd_rn(__dadd_rn(sum, 0.9189385332046728), series), -plain_ln(factors));
}
template <class F> INLINE double by_refusal(double rate, F uniform) {
    double b = __dadd_rn(0.931, __dmul_rn(2.53, sqrt(rate))), a = __dadd_rn(-0.059, __dmul_rn(0.02483, b));
    double surely = __dadd_rn(0.9277, -3.6224 / (b - 2.0)), scale = plain_ln(__dadd_rn(1.1239, 1.1328 / (b - 3.4))), logarithm = plain_ln(rate);
    for (u32 attempt = 0; attempt < 100; attempt++) {
        double u = uniform(2 * attempt) - 0.5, v = __dadd_rn(uniform(2 * attempt + 1), UNIT), edge = 0.5 - fabs(u);
        double count = floor(__dadd_rn(__dadd_rn(__dmul_rn(__dadd_rn(__dmul_rn(2.0, a) / edge, b), u), rate), 0.43));
        if (edge >= 0.07 && v <= surely) return count;
        if (count < 0 || (edge < 0.013 && v > edge)) continue;
        double proposed = __dadd_rn(__dadd_rn(plain_ln(v), scale), -plain_ln(__dadd_rn(a / __dmul_rn(edge, edge), b)));
        if (proposed <= __dadd_rn(__dadd_rn(__dmul_rn(count, logarithm), -rate), -ln_factorial(count))) return count;
    }
    return floor(rate);
}
KERNEL(poisson_f64, const double* rates, double* y, i64 count, Draw draw, u64* fault, u64 operation) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        double rate = rates[at];
        u64 block = u64(at / 32 * 16 + at % 16);
        int half = int(at / 16 % 2);
        auto uniform = [&](u32 attempt) { return double(whole_word(philox(draw, block, attempt), half) >> 11) * UNIT; };
        bool is_rate = rate >= 0 && rate <= 1e12;
        y[at] = !is_rate ? 0 : rate < 10 ? by_sums(rate, uniform(0)) : by_refusal(rate, uniform);
        if (!is_rate) atomicMin(fault, operation << 40 | u64(at));
    }
}
KERNEL(waiting_f64, const double* weights, double* y, i64 count, Draw draw) {
    each_pair(draw, count, [&](const Words& w, i64 at) {
        for (int h = 0; h < 2; h++) if (at + 16 * h < count) {
            double weight = weights[at + 16 * h], fraction = double((whole_word(w, h) >> 11) + 1) * UNIT;
            y[at + 16 * h] = weight > 0 ? -plain_ln(fraction) / weight : double(INFINITY);
        }
    });
}
KERNEL(weigh_f64, const double* weights, i64* found, i64 choices, i64 wanted, u64* fault, u64 operation) {
    SHARED(u32, first, [1]);
    SHARED(u32, many, [1]);
    const double* row = weights + blockIdx.x * choices;
    if (threadIdx.x == 0) { first[0] = ~0u; many[0] = 0; }
    __syncthreads();
    for (i64 i = threadIdx.x; i < choices; i += BLOCK) {
        double weight = row[i];
        if (!(weight >= 0 && weight < double(INFINITY))) atomicMin(&first[0], u32(i));
        else if (weight > 0) atomicAdd(&many[0], 1u);
    }
    __syncthreads();
    if (threadIdx.x) return;
    bool is_bad = first[0] != ~0u;
    found[blockIdx.x] = is_bad ? __double_as_longlong(row[first[0]]) : i64(many[0]);
    if (is_bad || many[0] < wanted) atomicMin(fault, operation << 40 | blockIdx.x);
}

// Sums of weights run as on the CPU: in order within stretches, from the sum of all stretches before.
constexpr i64 STRETCH = 128;
KERNEL(stretches_f64, const double* weights, double* sums, i64 rows, i64 choices, i64 stretches) {
    for (i64 at = first_of_grid(); at < rows * stretches; at += step_of_grid()) {
        i64 row = quotient(at, stretches), stretch = at - row * stretches, end = min(choices, (stretch + 1) * STRETCH);
        double sum = 0;
        for (i64 i = stretch * STRETCH; i < end; i++) sum += weights[row * choices + i];
        sums[row * (stretches + 1) + stretch] = sum;
    }
}
KERNEL(stretches_before_f64, double* sums, i64 rows, i64 stretches) {
    for (i64 row = first_of_grid(); row < rows; row += step_of_grid()) {
        double before = 0, *sum = sums + row * (stretches + 1);
        for (i64 s = 0; s < stretches; s++) { double here = sum[s]; sum[s] = before; before += here; }
        sum[stretches] = before;
    }
}
KERNEL(choose_f64, const double* weights, const double* sums, i64* y, i64 count, i64 each, i64 choices, i64 stretches, Draw draw) {
    each_pair(draw, count, [&](const Words& w, i64 at) {
        for (int h = 0; h < 2; h++) if (at + 16 * h < count) {
            i64 row = quotient(at + 16 * h, each);
            const double *weight = weights + row * choices, *before = sums + row * (stretches + 1);
            double point = __dmul_rn(double(whole_word(w, h) >> 11) * UNIT, before[stretches]), sum = 0;
            i64 low = 0, high = stretches;                    // the first stretch at whose end the sum is beyond the point
            while (low < high) {
                i64 middle = (low + high) / 2;
                if (before[middle + 1] <= point) low = middle + 1; else high = middle;
            }
            i64 choice = min(low * STRETCH, choices);
            for (; choice < choices; choice++) {
                sum += weight[choice];
                if (!(before[low] + sum <= point)) break;
            }
            if (choice == choices) for (choice--; choice > 0 && !(weight[choice] > 0); choice--) {}
            y[at + 16 * h] = choice;
        }
    });
}

// Two roundings, as on the CPU.
INLINE float product_and_sum(float x, float scale, float shift) { return __fadd_rn(__fmul_rn(x, scale), shift); }
INLINE double product_and_sum(double x, double scale, double shift) { return __dadd_rn(__dmul_rn(x, scale), shift); }

template <class T> INLINE void thin(const T* x, T* y, i64 count, const Draw& draw, u64 threshold, i64 group, double scale, double shift, double dropped) {
    using R = Real<T>;
    // Multiplied also where it is dropped: a NaN stays one.
    auto write = [&](i64 at, u32 word) {
        bool kept = u64(word) >= threshold;
        y[at] = narrow<T>(product_and_sum(R(widen(x[at])), kept ? R(scale) : R(0), kept ? R(shift) : R(dropped)));
    };
    if (group <= 1) {
        each_block(draw, count, [&](const Words& w, i64 at) {
#pragma unroll
            for (int e = 0; e < 4; e++) if (at + 16 * e < count) write(at + 16 * e, w.items[e]);
        });
        return;
    }
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        write(at, word_of(draw, quotient(at, group)));
    }
}

#define RANDOM(t, T)                                                                                                                             \
    KERNEL(uniform_##t, T* y, i64 count, Draw draw, double low, double high) { uniform(y, count, draw, low, high); }                             \
    KERNEL(normal_##t, T* y, i64 count, Draw draw, double mean, double deviation) { normal(y, count, draw, mean, deviation); }                   \
    KERNEL(thin_##t, const T* x, T* y, i64 count, Draw draw, u64 threshold, i64 group, double scale, double shift, double dropped) {             \
        thin(x, y, count, draw, threshold, group, scale, shift, dropped);                                                                        \
    }
FLOATS(RANDOM)
