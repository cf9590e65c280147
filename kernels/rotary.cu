// rotary.cu - pairs of numbers turned by an angle that grows with the position.
//
//   angles_{f32,f64}(table, i64 positions, i64 pairs, i64 first, double base, double width, int back, double slow, double start, double rise,
//                    int by_pair, double amplitude)
//        table [positions, 2, pairs]: the cosines, then the sines of (first + position) · speed, times amplitude, sines negative with `back`.
//        The speed s = base^(-2 pair / width) is slowed to s · (k + (1 - k) · slow), k = start + rise · (by_pair ? pair : s) from 0 to 1
//   rotate_T(x, table, y, i64 rows, i64 positions, i64 pairs, i64 width, View rows, i64 step, int interleaved)      T of f32 f64 bf16 f16
//        y dense [rows, width], table of f32 (f64 with f64). Row r of x begins at view(r), its numbers are `step` apart; its position is
//        r % positions. (a, b) becomes (a cos - b sin, b cos + a sin) for the pairs (i, i + pairs), or (2i, 2i + 1) interleaved;
//        numbers from 2 · pairs on pass
//
// Launch: 256 threads, grid (min(ceil(n / 1024), 65536), 1, 1), striding; n: pairs · positions for angles, rows · (width - pairs) for rotate.
// angles: a thread has a pair's speed once for eight positions; it is the arithmetic of f64, so the table is made once for all rows that share it. rotate: a thread
// for each pair or number that passes, neighbours beside each other: bound by the bytes of x and y, the table comes from the cache.
#include "numbers.cuh"
#include "view.cuh"

template <class R>
INLINE void angles(R* table, i64 positions, i64 pairs, i64 first, double base, double width, int back, double slow, double start, double rise, int by_pair, double amplitude) {
    constexpr int EACH = 8;
    i64 count = pairs * ((positions + EACH - 1) / EACH);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 group = quotient(at, pairs), pair = at - group * pairs;
        double speed = pow(base, -2.0 * double(pair) / width);
        double kept = fmin(fmax(start + rise * (by_pair ? double(pair) : speed), 0.0), 1.0);
        speed *= kept + (1.0 - kept) * slow;
#pragma unroll 1
        for (i64 position = group * EACH; position < (group + 1) * EACH && position < positions; position++) {
            double angle = double(first + position) * speed, sine = amplitude * sin(angle);
            R* to = table + 2 * position * pairs + pair;
            to[0] = R(amplitude * cos(angle));
            to[pairs] = R(back ? -sine : sine);
        }
    }
}
#define ANGLES(t, R)                                                                                                                            \
    KERNEL(angles_##t, R* table, i64 positions, i64 pairs, i64 first, double base, double width, int back, double slow, double start, double rise, \
           int by_pair, double amplitude) {                                                                                                     \
        angles(table, positions, pairs, first, base, width, back, slow, start, rise, by_pair, amplitude);                                       \
    }
ANGLES(f32, float)
ANGLES(f64, double)

template <class T>
INLINE void rotate(const T* x, const Real<T>* table, T* y, i64 rows, i64 positions, i64 pairs, i64 width, const View& view, i64 step, int interleaved) {
    using R = Real<T>;
    i64 units = width - pairs, count = rows * units;
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 row = quotient(at, units), unit = at - row * units;
        const T* from = x + place_of(view, row);
        T* to = y + row * width;
        if (unit >= pairs) { to[unit + pairs] = from[(unit + pairs) * step]; continue; }
        i64 position = row - quotient(row, positions) * positions;
        i64 left = interleaved ? 2 * unit : unit, right = interleaved ? left + 1 : unit + pairs;
        const R* turn = table + 2 * position * pairs + unit;
        R a = widen(from[left * step]), b = widen(from[right * step]), cosine = turn[0], sine = turn[pairs];
        to[left] = narrow<T>(a * cosine - b * sine);
        to[right] = narrow<T>(b * cosine + a * sine);
    }
}

#define ROTATE(t, T)                                                                                                                            \
    KERNEL(rotate_##t, const T* x, const Real<T>* table, T* y, i64 rows, i64 positions, i64 pairs, i64 width, View view, i64 step, int interleaved) { \
        rotate(x, table, y, rows, positions, pairs, width, view, step, interleaved);                                                            \
    }
FLOATS(ROTATE)
