// recurrent.cu - one step of a recurrent layer, forward and back, with its product with the hidden state's weights or beside it.
//
//   whole_step_K_T(weight, bias, gates, cell, cell_after, inner, before, after, output, lengths, i64 batch, i64 hidden, i64 time, int keep)
//        weight [G·hidden, hidden] of the hidden state, bias [G·hidden] (GRU; may be null). gates [batch, G·hidden]: what the input gives, and with `keep` where the
//        values of the gates go (not RNN). before, after, output [batch, hidden]: the hidden state and the result. cell, cell_after (LSTM); inner: where what the
//        hidden state gives to the third gate is kept (GRU; may be null)
//   whole_back_K_T(weight, following, gates, before, cell, cell_after, inner, arriving, for_cell, slopes, inner_slopes, direct, lengths, i64 batch, i64 hidden, i64 time)
//        following [batch, G·hidden]: the slopes (GRU: inner ones) of the step that was before this one on the way back; null at the first. What reaches the hidden state
//        after the step is its product with the weight, and `direct` and `arriving` [batch, hidden]. Gives the slopes of the sums; inner_slopes of what the
//        hidden state gives (GRU); in `direct` what goes to the hidden state before past the gates; for_cell in place
//   step_K_T(sums, gates, cell, cell_after, inner, before, after, output, lengths, i64 count, i64 hidden, i64 time, int keep)
//        as whole_step after the product: sums is that plus what the input gives (GRU: plus the bias). before and output may be null
//   back_K_T(gates, before, cell, cell_after, inner, arriving, state, for_cell, slopes, inner_slopes, direct, raw, lengths, i64 count, i64 hidden, i64 time)
//        as whole_back before the product: state and arriving (may be null) reach the hidden state. direct may be null but for GRU; raw: the hidden state before
//        its projection (may be null)
//   settle_T(projected, before, after, output, lengths, i64 count, i64 width, i64 time)
//        after a projection: where a sequence is awake both are what was projected, else the state stays and the result is 0
//   meet_T(arriving, state, total, direct, lengths, i64 count, i64 width, i64 time)
//        before it on the way back: total = arriving + state; a sequence that sleeps has 0 there and its state in `direct` (may be null)
//
// K of lstm gru tanh relu, T of f32 f64 (whole steps: f32); all dense; lengths i64 or null: a sequence sleeps from its length on. Launch: 256 threads; whole_step and whole_back: grid
// (ceil(hidden / 4), ceil(batch / 32), 1) with 3 · (32 + N) rows of 512 bytes and four numbers in dynamic shared memory, N: 4 · G for whole_step, 4 for whole_back; others: grid (min(ceil(count / 1024), 65536), 1, 1), striding, a thread for each number of
// the hidden state; count: batch · hidden, or batch · width. Hidden states of up to 64 numbers go through `sequence.cu` instead.
//
// The idea of the whole steps: at the batches of training a step is too small a product for tiles that do not share a sum. A block has four numbers of the hidden state for 32
// sequences, a lane for each; chunks of both operands come in the background, three stages, and each warp takes an eighth of every chunk, sums in its registers.
// The parts are added up in the order of warps. With a hidden state of 512 there are 128 blocks, which read 32 KiB of weights each from the second-level cache. From some
// 128 sequences on reading weights that often costs more than the tiles of `matmul.cu`.
#include "gates.cuh"
#include "view.cuh"

INLINE bool is_awake(const i64* lengths, i64 sequence, i64 time) { return !lengths || time < lengths[sequence]; }

// What a step writes, beside what it reads.
template <class R> struct Forward {
    R* gates; const R* cell; R* cell_after; R* inner; const R* before; R* after; R* output; const i64* lengths;
    i64 hidden, time; int keep;
};
// One number of the hidden state: from the sums of its gates (GRU: what the input gives, and `given` by the hidden state).
template <int KIND, class R> INLINE void settle_number(const Forward<R>& f, i64 sequence, i64 number, R (&values)[4], const R (&given)[4]) {
    constexpr int G = gates_of(KIND);
    i64 at = sequence * f.hidden + number, first = sequence * G * f.hidden + number;
    R held = f.before ? f.before[at] : R(0), state = KIND == LSTM ? f.cell[at] : R(0);
    bool awake = is_awake(f.lengths, sequence, f.time);
    if (awake) {
        held = stepped<KIND>(values, given, held, state);
#pragma unroll
        for (int g = 0; g < G; g++) if (G > 1 && f.keep) f.gates[first + g * f.hidden] = values[g];
        if (KIND == GRU && f.inner) f.inner[at] = given[2];
    }
    if (KIND == LSTM) f.cell_after[at] = state;
    f.after[at] = held;
    if (f.output) f.output[at] = awake ? held : R(0);
}

template <int KIND, class R> INLINE void step(const R* sums, const Forward<R>& f, i64 count) {
    constexpr int G = gates_of(KIND);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 sequence = quotient(at, f.hidden), number = at - sequence * f.hidden;
        R values[4], given[4];
#pragma unroll
        for (int g = 0; g < G; g++) {
            i64 place = (sequence * G + g) * f.hidden + number;
            values[g] = (KIND == GRU ? f.gates : sums)[place];
            if (KIND == GRU) given[g] = sums[place];
        }
        settle_number<KIND>(f, sequence, number, values, given);
    }
}

// Sequences and numbers of the hidden state of a block, parts that a sum is cut into (warps), and chunks of it that are in shared memory or on their way.
constexpr int SEQUENCES = WARP, C = 4, PARTS = BLOCK / WARP, STAGES = 3;
// Numbers of a row in a chunk; rows are four longer, so that lanes read different banks. Numbers of a word of 16 bytes.
template <class R> constexpr int CHUNK = 512 / sizeof(R);
template <class R> constexpr int LONG = CHUNK<R> + 4;
template <class R> constexpr int WORD = 16 / sizeof(R);

// A word to shared memory, in the background where it lies for that; zeros from `left` numbers on.
template <class R> INLINE void bring(R* to, const R* from, i64 left, bool aligned) {
    if (aligned) return copy_async_16(to, from, left > 0);
#pragma unroll
    for (int e = 0; e < WORD<R>; e++) to[e] = e < left ? from[e] : R(0);
}

// Of the block's sequences, Σ over k of rows[sequence][k] · weight(k, n) for N columns, in parts that `summed` adds up. `fetch(room, begin)` brings a chunk of the weights;
// `load(room, k, weights)` reads those of four k.
template <int N, class R, class F, class L> INLINE void products(R* room, const R* rows, i64 batch, i64 length, F fetch, L load) {
    constexpr int STAGE = (SEQUENCES + N) * LONG<R>, WORDS = CHUNK<R> / WORD<R>, MINE = CHUNK<R> / PARTS;
    int lane = threadIdx.x % WARP, part = threadIdx.x / WARP;
    i64 first = i64(blockIdx.y) * SEQUENCES, chunks = (length + CHUNK<R> - 1) / CHUNK<R>;
    bool aligned = length % WORD<R> == 0 && is_aligned(rows, 16);
    auto fetch_all = [&](i64 chunk) {
        if (chunk < chunks) {
            R* to = room + chunk % STAGES * STAGE;
            i64 begin = chunk * CHUNK<R>;
#pragma unroll
            for (int at = threadIdx.x; at < SEQUENCES * WORDS; at += BLOCK) {
                int row = at / WORDS, k = at % WORDS * WORD<R>;
                bring(to + row * LONG<R> + k, rows + (first + row) * length + begin + k, first + row < batch ? length - begin - k : 0, aligned);
            }
            fetch(to + SEQUENCES * LONG<R>, begin);
        }
        copy_async_commit();
    };
    R sums[N] = {};
    for (int stage = 0; stage < STAGES - 1; stage++) fetch_all(stage);
    for (i64 chunk = 0; chunk < chunks; chunk++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();
        fetch_all(chunk + STAGES - 1);
        const R* here = room + chunk % STAGES * STAGE;
#pragma unroll
        for (int k = part * MINE; k < (part + 1) * MINE; k += 4) {
            Pack<R, 4> mine = *reinterpret_cast<const Pack<R, 4>*>(here + lane * LONG<R> + k);
            R weights[4][N];
            load(here + SEQUENCES * LONG<R>, k, weights);
#pragma unroll
            for (int e = 0; e < 4; e++)
#pragma unroll
                for (int n = 0; n < N; n++) sums[n] += mine.items[e] * weights[e][n];
        }
    }
    copy_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int n = 0; n < N; n++) room[(part * N + n) * SEQUENCES + lane] = sums[n];
    __syncthreads();
}
template <int N, class R> INLINE R summed(const R* room, int sequence, int n) {
    R sum = R(0);
#pragma unroll
    for (int part = 0; part < PARTS; part++) sum += room[(part * N + n) * SEQUENCES + sequence];
    return sum;
}

template <int KIND, class R> INLINE void whole_step(const R* weight, const R* bias, const Forward<R>& f, i64 batch) {
    constexpr int G = gates_of(KIND), N = G * C;
    DYNAMIC_SHARED(R, room);
    i64 hidden = f.hidden, begin = i64(blockIdx.x) * C;
    bool aligned = hidden % WORD<R> == 0 && is_aligned(weight, 16);
    products<N>(
        room, f.before, batch, hidden,
        [&](R* to, i64 chunk) {
            constexpr int WORDS = CHUNK<R> / WORD<R>;
            for (int at = threadIdx.x; at < N * WORDS; at += BLOCK) {
                int n = at / WORDS, k = at % WORDS * WORD<R>;
                i64 number = begin + n % C;
                bring(to + n * LONG<R> + k, weight + (n / C * hidden + number) * hidden + chunk + k, number < hidden ? hidden - chunk - k : 0, aligned);
            }
        },
        [&](const R* from, int k, R (&weights)[4][N]) {
#pragma unroll
            for (int n = 0; n < N; n++) {
                Pack<R, 4> four = *reinterpret_cast<const Pack<R, 4>*>(from + n * LONG<R> + k);
#pragma unroll
                for (int e = 0; e < 4; e++) weights[e][n] = four.items[e];
            }
        });
    for (int at = threadIdx.x; at < SEQUENCES * C; at += BLOCK) {
        int row = at / C, column = at % C;
        i64 sequence = i64(blockIdx.y) * SEQUENCES + row, number = begin + column;
        if (sequence >= batch || number >= hidden) continue;
        R values[4], given[4];
#pragma unroll
        for (int g = 0; g < G; g++) {
            R sum = summed<N>(room, row, g * C + column);
            values[g] = f.gates[(sequence * G + g) * hidden + number];
            if (KIND == GRU) given[g] = bias ? sum + bias[g * hidden + number] : sum;
            else values[g] += sum;
        }
        settle_number<KIND>(f, sequence, number, values, given);
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

// What a step's way back reads and writes.
template <class R> struct Back {
    const R* gates; const R* before; const R* cell; const R* cell_after; const R* inner; const R* arriving; R* for_cell; R* slopes; R* inner_slopes; R* direct; R* raw;
    const i64* lengths;
    i64 hidden, time;
};
// One number of the hidden state; `past`: what reaches it from the steps after.
template <int KIND, class R> INLINE void return_number(const Back<R>& b, i64 sequence, i64 number, R past) {
    constexpr int G = gates_of(KIND);
    i64 at = sequence * b.hidden + number, first = sequence * G * b.hidden + number;
    R unprojected = R(0), found[4] = {}, given[4] = {};
    if (is_awake(b.lengths, sequence, b.time)) {
        Step<R> kept = {};
#pragma unroll
        for (int g = 0; g < G; g++) kept.gates[g] = b.gates[first + g * b.hidden];
        if (KIND == GRU) { kept.before = b.before[at]; kept.inner = b.inner[at]; }
        R through = R(0);
        if (KIND == LSTM) { kept.cell = b.cell[at]; kept.cell_after = b.cell_after[at]; through = b.for_cell[at]; }
        past = returned<KIND>(kept, b.arriving ? past + b.arriving[at] : past, through, found, given, unprojected);
        if (KIND == LSTM) b.for_cell[at] = through;
    }
#pragma unroll
    for (int g = 0; g < G; g++) {
        b.slopes[first + g * b.hidden] = found[g];
        if (KIND == GRU) b.inner_slopes[first + g * b.hidden] = given[g];
    }
    if (b.direct) b.direct[at] = past;
    if (KIND == LSTM && b.raw) b.raw[at] = unprojected;
}

template <int KIND, class R> INLINE void back(const R* state, const Back<R>& b, i64 count) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 sequence = quotient(at, b.hidden);
        return_number<KIND>(b, sequence, at - sequence * b.hidden, state[at]);
    }
}

template <int KIND, class R> INLINE void whole_back(const R* weight, const R* following, const Back<R>& b, i64 batch) {
    constexpr int G = gates_of(KIND);
    DYNAMIC_SHARED(R, room);
    i64 hidden = b.hidden, begin = i64(blockIdx.x) * C, length = G * hidden;
    bool aligned = hidden % WORD<R> == 0 && is_aligned(weight, 16);
    if (following) products<C>(
        room, following, batch, length,
        [&](R* to, i64 chunk) {
            constexpr int WORDS = C / WORD<R>;
            for (int at = threadIdx.x; at < CHUNK<R> * WORDS; at += BLOCK) {
                i64 k = at / WORDS, column = begin + at % WORDS * WORD<R>;
                bring(to + at * WORD<R>, weight + (chunk + k) * hidden + column, chunk + k < length ? hidden - column : 0, aligned);
            }
        },
        [&](const R* from, int k, R (&weights)[4][C]) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                Pack<R, C> four = *reinterpret_cast<const Pack<R, C>*>(from + (k + e) * C);
#pragma unroll
                for (int c = 0; c < C; c++) weights[e][c] = four.items[c];
            }
        });
    for (int at = threadIdx.x; at < SEQUENCES * C; at += BLOCK) {
        int row = at / C, column = at % C;
        i64 sequence = i64(blockIdx.y) * SEQUENCES + row, number = begin + column;
        if (sequence >= batch || number >= hidden) continue;
        R past = b.direct[sequence * hidden + number];
        if (following) past += summed<C>(room, row, column);
        return_number<KIND>(b, sequence, number, past);
    }
}

#define WHOLE(k, KIND, t, R)                                                                                                                                  \
    KERNEL_OF((256, 1), whole_step_##k##_##t, const R* weight, const R* bias, R* gates, const R* cell, R* cell_after, R* inner, const R* before, R* after, R* output, const i64* lengths, i64 batch, i64 hidden, i64 time, int keep) { \
        whole_step<KIND, R>(weight, bias, {gates, cell, cell_after, inner, before, after, output, lengths, hidden, time, keep}, batch);                      \
    }                                                                                                                                                        \
    KERNEL_OF((256, 1), whole_back_##k##_##t, const R* weight, const R* following, const R* gates, const R* before, const R* cell, const R* cell_after, const R* inner, const R* arriving, R* for_cell, R* slopes, R* inner_slopes, R* direct, const i64* lengths, i64 batch, i64 hidden, i64 time) { \
        whole_back<KIND, R>(weight, following, {gates, before, cell, cell_after, inner, arriving, for_cell, slopes, inner_slopes, direct, nullptr, lengths, hidden, time}, batch); \
    }
#define STEPS(k, KIND, t, R)                                                                                                                                 \
    KERNEL(step_##k##_##t, const R* sums, R* gates, const R* cell, R* cell_after, R* inner, const R* before, R* after, R* output, const i64* lengths, i64 count, i64 hidden, i64 time, int keep) { \
        step<KIND, R>(sums, {gates, cell, cell_after, inner, before, after, output, lengths, hidden, time, keep}, count);                                    \
    }                                                                                                                                                        \
    KERNEL(back_##k##_##t, const R* gates, const R* before, const R* cell, const R* cell_after, const R* inner, const R* arriving, const R* state, R* for_cell, R* slopes, R* inner_slopes, R* direct, R* raw, const i64* lengths, i64 count, i64 hidden, i64 time) { \
        back<KIND, R>(state, {gates, before, cell, cell_after, inner, arriving, for_cell, slopes, inner_slopes, direct, raw, lengths, hidden, time}, count); \
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
WHOLE(lstm, LSTM, f32, float) WHOLE(gru, GRU, f32, float) WHOLE(tanh, TANH, f32, float) WHOLE(relu, RELU, f32, float)
