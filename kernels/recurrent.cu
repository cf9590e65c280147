// recurrent.cu - one step of a recurrent layer, forward and back, after and before its product with the hidden state's weights.
//
//   step_K_T(sums, gates, cell, cell_after, inner, before, after, output, lengths, i64 count, i64 hidden, i64 time, int keep)
//        sums [batch, G·hidden]: of the gates (GRU: what the hidden state and its bias give). gates, of the same shape: what the input gives (GRU), and
//        with `keep` where the values of the gates go (not RNN). before, after, output [batch, hidden]: the hidden state and the result; before
//        and output may be null. cell, cell_after (LSTM); inner: where what the hidden state gives to the third gate is kept (GRU; may be null)
//   settle_T(projected, before, after, output, lengths, i64 count, i64 width, i64 time)
//        after a projection: where a sequence is awake both are what was projected, else the state stays and the result is 0
//   meet_T(arriving, state, total, direct, lengths, i64 count, i64 width, i64 time)
//        before it on the way back: total = arriving + state; a sequence that sleeps has 0 there and its state in `direct` (may be null)
//   back_K_T(gates, before, cell, cell_after, inner, arriving, state, for_cell, slopes, inner_slopes, direct, raw, lengths, i64 count, i64 hidden, i64 time)
//        state + arriving (may be null) is the slope of the hidden state after the step. Gives the slopes of the sums [batch, G·hidden]; inner_slopes
//        of what the hidden state gives (GRU); direct: what goes to the hidden state before past the gates (may be null but for GRU); for_cell in
//        place; raw: the hidden state before its projection (may be null)
//
// K of lstm gru tanh relu, T of f32 f64; all dense; lengths i64 or null: a sequence sleeps from its length on. Launch: 256 threads, grid
// (min(ceil(count / 1024), 65536), 1, 1), striding; count: batch · hidden, or batch · width. A thread for each number of the hidden state, neighbours beside each other
// in every gate. What a step takes is the latency of two launches; short sequences of small states go through `sequence.cu` instead.
#include "gates.cuh"
#include "view.cuh"

INLINE bool is_awake(const i64* lengths, i64 sequence, i64 time) { return !lengths || time < lengths[sequence]; }

template <int KIND, class R>
INLINE void step(const R* sums, R* gates, const R* cell, R* cell_after, R* inner, const R* before, R* after, R* output, const i64* lengths, i64 count, i64 hidden, i64 time, int keep) {
    constexpr int G = gates_of(KIND);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 sequence = quotient(at, hidden), first = sequence * G * hidden + (at - sequence * hidden);
        R held = before ? before[at] : R(0), state = KIND == LSTM ? cell[at] : R(0);
        bool awake = is_awake(lengths, sequence, time);
        if (awake) {
            R values[4], given[4];
#pragma unroll
            for (int g = 0; g < G; g++) {
                values[g] = (KIND == GRU ? gates : sums)[first + g * hidden];
                if (KIND == GRU) given[g] = sums[first + g * hidden];
            }
            held = stepped<KIND>(values, given, held, state);
#pragma unroll
            for (int g = 0; g < G; g++) if (G > 1 && keep) gates[first + g * hidden] = values[g];
            if (KIND == GRU && inner) inner[at] = given[2];
        }
        if (KIND == LSTM) cell_after[at] = state;
        after[at] = held;
        if (output) output[at] = awake ? held : R(0);
    }
}

template <class R> INLINE void settle(const R* projected, const R* before, R* after, R* output, const i64* lengths, i64 count, i64 width, i64 time) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        bool awake = is_awake(lengths, quotient(at, width), time);
        after[at] = awake ? projected[at] : before[at];
        output[at] = awake ? projected[at] : R(0);
    }
}
template <class R> INLINE void meet(const R* arriving, const R* state, R* total, R* direct, const i64* lengths, i64 count, i64 width, i64 time) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        bool awake = is_awake(lengths, quotient(at, width), time);
        total[at] = awake ? arriving[at] + state[at] : R(0);
        if (direct) direct[at] = awake ? R(0) : state[at];
    }
}

template <int KIND, class R>
INLINE void back(const R* gates, const R* before, const R* cell, const R* cell_after, const R* inner, const R* arriving, const R* state, R* for_cell, R* slopes, R* inner_slopes, R* direct, R* raw, const i64* lengths, i64 count, i64 hidden, i64 time) {
    constexpr int G = gates_of(KIND);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 sequence = quotient(at, hidden), first = sequence * G * hidden + (at - sequence * hidden);
        R past = state[at], unprojected = R(0), found[4] = {}, given[4] = {};
        if (is_awake(lengths, sequence, time)) {
            Step<R> kept = {};
#pragma unroll
            for (int g = 0; g < G; g++) kept.gates[g] = gates[first + g * hidden];
            if (KIND == GRU) { kept.before = before[at]; kept.inner = inner[at]; }
            R through = R(0);
            if (KIND == LSTM) { kept.cell = cell[at]; kept.cell_after = cell_after[at]; through = for_cell[at]; }
            past = returned<KIND>(kept, arriving ? past + arriving[at] : past, through, found, given, unprojected);
            if (KIND == LSTM) for_cell[at] = through;
        }
#pragma unroll
        for (int g = 0; g < G; g++) {
            slopes[first + g * hidden] = found[g];
            if (KIND == GRU) inner_slopes[first + g * hidden] = given[g];
        }
        if (direct) direct[at] = past;
        if (KIND == LSTM && raw) raw[at] = unprojected;
    }
}

#define STEPS(k, KIND, t, R)                                                                                                                                 \
    KERNEL(step_##k##_##t, const R* sums, R* gates, const R* cell, R* cell_after, R* inner, const R* before, R* after, R* output, const i64* lengths, i64 count, i64 hidden, i64 time, int keep) { \
        step<KIND>(sums, gates, cell, cell_after, inner, before, after, output, lengths, count, hidden, time, keep);                                         \
    }                                                                                                                                                        \
    KERNEL(back_##k##_##t, const R* gates, const R* before, const R* cell, const R* cell_after, const R* inner, const R* arriving, const R* state, R* for_cell, R* slopes, R* inner_slopes, R* direct, R* raw, const i64* lengths, i64 count, i64 hidden, i64 time) { \
        back<KIND>(gates, before, cell, cell_after, inner, arriving, state, for_cell, slopes, inner_slopes, direct, raw, lengths, count, hidden, time);       \
    }
#define RECURRENT(t, R)                                                                                                                                      \
    STEPS(lstm, LSTM, t, R) STEPS(gru, GRU, t, R) STEPS(tanh, TANH, t, R) STEPS(relu, RELU, t, R)                                                            \
    KERNEL(settle_##t, const R* projected, const R* before, R* after, R* output, const i64* lengths, i64 count, i64 width, i64 time) {                       \
        settle(projected, before, after, output, lengths, count, width, time);                                                                               \
    }                                                                                                                                                        \
    KERNEL(meet_##t, const R* arriving, const R* state, R* total, R* direct, const i64* lengths, i64 count, i64 width, i64 time) {                           \
        meet(arriving, state, total, direct, lengths, count, width, time);                                                                                   \
    }
RECURRENT(f32, float) RECURRENT(f64, double)
