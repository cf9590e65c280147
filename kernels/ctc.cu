// ctc.cu - all paths that spell a target, summed forward and backward, in f64 whatever the type of x.
//
//   ctc_T(x, numbers, losses, forward, next, spare, u64* fault, i64 check, i64 steps, i64 batch, i64 classes, i64 width, i64 blank, int zero_infinity)
//        x dense [steps, batch, classes], logarithms; numbers i64: [batch] lengths of inputs, [batch] of targets, [batch, width] symbols. losses [batch]:
//        -ln P(target); 0 with zero_infinity where no path spells it. Where slopes are wanted forward, f64 [batch, steps, 2 width + 1], is given the chance that
//        a path is at a position after a step, and next, i32 [batch, width], for each symbol the next equal one of its target, or width (the complement where an
//        equal one came before); both may be null. spare: f64 [batch, 3, 2 width + 1], wanted from 1024 positions on. Of what is out of range
//        the least of (check << 40 | its place among the numbers) goes to fault. T of f32 f64: losses of 16 bits are computed in f32
//   ctc_slopes_T(chances, numbers, next, y, i64 steps, i64 batch, i64 classes, i64 width, i64 blank)
//        y [steps, batch, classes], zeros before: minus the chance that a path uses the class at the step
//
// A target `a b` is read as `_ a _ b _` with blanks between: a path stays, goes on by one position, or by two where that jumps a blank between two unlike symbols.
//
// Launch: ctc: grid (batch, 1, 1), min(ceil((2 width + 1) / 32) · 32, 256) threads: a block for each example, positions along threads, steps one after
// the other with one barrier each; the row before is in shared memory, the next step's score on its way meanwhile. It is the latency of exponentials of f64, once
// for each step. ctc_slopes: 256 threads, grid (min(ceil(steps · batch / 8), 65536), 1, 1): a warp for each row, a lane for each symbol that is the first of its kind, which
// adds up the others by `next`; blanks by all lanes. Every sum in an order that the target alone decides.
#include "numbers.cuh"
#include "view.cuh"

// Positions whose rows are in shared memory.
constexpr i64 HERE_AT_MOST = 1024;
#define NEVER (-double(INFINITY))

// ln(e^a + e^b + e^c).
INLINE double together(double a, double b, double c) {
    double greatest = fmax(fmax(a, b), c);
    if (greatest == NEVER) return NEVER;
    return greatest + log(exp(a - greatest) + exp(b - greatest) + exp(c - greatest));
}

// A length, 0 where it is none.
INLINE i64 cleared(i64 length, i64 most) { return length >= 0 && length <= most ? length : 0; }

struct Target {
    const i64* symbols;
    i64 length, classes, blank;
    INLINE i64 positions() const { return 2 * length + 1; }
    INLINE bool is_right(i64 symbol) const { return symbol >= 0 && symbol < classes && symbol != blank; }
    // A symbol; the blank where it is none.
    INLINE i64 symbol(i64 at) const { i64 symbol = symbols[at]; return is_right(symbol) ? symbol : blank; }
    INLINE i64 class_at(i64 position) const { return position % 2 ? symbol(position / 2) : blank; }
    // May a path jump from two positions before to this one?
    INLINE bool jumps(i64 position) const { return position % 2 && position >= 3 && symbol(position / 2) != symbol(position / 2 - 1); }
};

INLINE Target target_of(const i64* numbers, i64 example, i64 batch, i64 classes, i64 width, i64 blank) {
    return {numbers + 2 * batch + example * width, cleared(numbers[batch + example], width), classes, blank};
}

template <class T>
INLINE void ctc(const T* x, const i64* numbers, T* losses, double* forward, i32* next, double* spare, u64* fault, i64 check, i64 steps, i64 batch, i64 classes, i64 width, i64 blank, int zero_infinity) {
    SHARED(double, here, [3 * HERE_AT_MOST]);
    i64 example = blockIdx.x, thread = threadIdx.x, threads = blockDim.x, most = 2 * width + 1;
    i64 length = cleared(numbers[example], steps);
    Target target = target_of(numbers, example, batch, classes, width, blank);
    i64 count = target.positions();
    auto wrong = [&](i64 place) { atomicMin(fault, u64(check) << 40 | u64(place)); };
    if (thread == 0) {
        if (length != numbers[example]) wrong(example);
        if (target.length != numbers[batch + example]) wrong(batch + example);
    }
    for (i64 at = thread; at < target.length; at += threads) {
        i64 mine = target.symbols[at], following = at + 1, before = 0;
        if (!target.is_right(mine)) wrong(2 * batch + example * width + at);
        if (!next) continue;
        while (following < target.length && target.symbols[following] != mine) following++;
        while (target.symbols[before] != mine) before++;
        i32 link = i32(following < target.length ? following : width);
        next[example * width + at] = before < at ? ~link : link;
    }
    double* rows = count <= HERE_AT_MOST ? here : spare + example * 3 * most;
    double* chances = forward ? forward + example * steps * most : nullptr;
    // Of the position that a thread has first, all is known before; its scores are on their way one step ahead.
    const T* scores = x + example * classes;
    i64 first_class = thread < count ? target.class_at(thread) : blank;
    bool comes = thread < count && target.jumps(thread), goes = thread + 2 < count && target.jumps(thread + 2);
    auto score = [&](i64 step, i64 position) { return double(widen(scores[step * batch * classes + target.class_at(position)])); };
    auto early = [&](i64 step) { return thread < count && step >= 0 && step < length ? double(widen(scores[step * batch * classes + first_class])) : 0.0; };

    double coming = early(0);
    for (i64 step = 0; step < length; step++) {
        const double* before = rows + (step + 1) % 2 * count;
        double* now = rows + step % 2 * count;
        double mine = coming;
        coming = early(step + 1);
        for (i64 p = thread; p < count; p += threads) {
            double come = p < 2 ? 0.0 : NEVER;
            if (step > 0) come = together(before[p], p >= 1 ? before[p - 1] : NEVER, (p == thread ? comes : target.jumps(p)) ? before[p - 2] : NEVER);
            double sum = come + (p == thread ? mine : score(step, p));
            now[p] = sum;
            if (chances) chances[step * most + p] = sum;
        }
        __syncthreads();
    }
    double total = target.length == 0 ? 0.0 : NEVER;         // nothing in no time
    if (length > 0) {
        const double* last = rows + (length - 1) % 2 * count;
        total = together(last[count - 1], count > 1 ? last[count - 2] : NEVER, NEVER);
    }
    bool unreached = total == NEVER && zero_infinity;
    if (thread == 0) losses[example] = narrow<T>(Real<T>(unreached ? 0.0 : -total));
    if (!chances) return;
    __syncthreads();

    // ln of the sum over all ways to go on from a position after a step, which its thread alone looks at; the same with this step's score.
    double* ways = rows + 2 * count;
    for (i64 p = thread; p < count; p += threads) ways[p] = p + 2 >= count ? 0.0 : NEVER;
    coming = early(length - 1);
    for (i64 step = length - 1; step >= 0; step--) {
        double* scored = rows + step % 2 * count;
        double mine = coming;
        coming = early(step - 1);
        for (i64 p = thread; p < count; p += threads) {
            double* chance = chances + step * most + p;
            *chance = unreached ? 0.0 : exp(*chance + ways[p] - total);
            scored[p] = ways[p] + (p == thread ? mine : score(step, p));
        }
        __syncthreads();
        for (i64 p = thread; p < count; p += threads)
            ways[p] = together(scored[p], p + 1 < count ? scored[p + 1] : NEVER, (p == thread ? goes : p + 2 < count && target.jumps(p + 2)) ? scored[p + 2] : NEVER);
    }
}

template <class T>
INLINE void ctc_slopes(const double* chances, const i64* numbers, const i32* next, T* y, i64 steps, i64 batch, i64 classes, i64 width, i64 blank) {
    i64 lane = threadIdx.x % WARP, rows = steps * batch, most = 2 * width + 1;
    for (i64 row = first_of_grid() / WARP; row < rows; row += step_of_grid() / WARP) {
        i64 step = quotient(row, batch), example = row - step * batch;
        if (step >= cleared(numbers[example], steps)) continue;
        Target target = target_of(numbers, example, batch, classes, width, blank);
        const double* from = chances + (example * steps + step) * most;
        const i32* link = next + example * width;
        T* to = y + row * classes;
        for (i64 at = lane; at < target.length; at += WARP) if (link[at] >= 0) {
            double sum = 0;
            for (i64 same = at; same < width; same = link[same] < 0 ? ~link[same] : link[same]) sum += from[2 * same + 1];
            if (target.is_right(target.symbols[at])) to[target.symbols[at]] = narrow<T>(Real<T>(0.0 - sum));
        }
        double blanks = 0;
        for (i64 at = lane; at <= target.length; at += WARP) blanks += from[2 * at];
#pragma unroll
        for (int far = WARP / 2; far; far /= 2) blanks += __shfl_xor_sync(EVERYONE, blanks, far);
        if (lane == 0) to[blank] = narrow<T>(Real<T>(0.0 - blanks));
    }
}

#define CTC(t, T)                                                                                                                                            \
    KERNEL_OF((256, 1), ctc_##t, const T* x, const i64* numbers, T* losses, double* forward, i32* next, double* spare, u64* fault, i64 check, i64 steps, i64 batch, i64 classes, i64 width, i64 blank, int zero_infinity) { \
        ctc(x, numbers, losses, forward, next, spare, fault, check, steps, batch, classes, width, blank, zero_infinity); \
    }                                                                                                                                                        \
    KERNEL(ctc_slopes_##t, const double* chances, const i64* numbers, const i32* next, T* y, i64 steps, i64 batch, i64 classes, i64 width, i64 blank) { \
        ctc_slopes(chances, numbers, next, y, steps, batch, classes, width, blank);                                           \
    }
CTC(f32, float) CTC(f64, double)
