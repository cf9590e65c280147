// sequence.cu - a recurrent layer over a whole sequence by one block, for hidden states of up to 64 numbers.
//
//   through_K_T(sums, weight, bias, hidden, cell, states, cells, inner, output, hidden_after, cell_after, lengths, i64 steps, i64 batch, int size,
//        int reversed)
//        sums [steps, batch, G·size]: what input and biases give; with `states` the values of the gates take its place (LSTM, GRU). weight [G·size, size]
//        of the hidden state; bias [G·size] (GRU, may be null). hidden, cell [batch, size] at the beginning, hidden_after, cell_after at the end.
//        output [steps, batch, size]. Kept where `states` is not null: states and cells [steps + 1, batch, size], before step t at t (reversed: at
//        t + 1) and after it at t + 1 (t); inner [steps, batch, size] (GRU): what the hidden state gives to the third gate
//   through_back_K_T(weight, gates, states, cells, inner, arriving, hidden, cell, slopes, inner_slopes, for_hidden, for_cell, lengths, i64 steps,
//        i64 batch, int size, int reversed)
//        gates: their values (RNN: the results). arriving [steps, batch, size]; hidden, cell: what arrives for those at the end. Gives the slopes of
//        all sums [steps, batch, G·size], inner_slopes of what the hidden state gives (GRU), and those of hidden state and cell at the beginning
//
// K of lstm gru tanh relu, T of f32 f64; all dense; cells only with LSTM; lengths i64 or null: a sequence sleeps from its length on. Launch: grid (batch, 1, 1),
// ceil(G · size / 32) · 32 threads. Blocks do not wait for each other.
//
// The idea: what a step takes is latency, not arithmetic, and a launch costs more of it than a barrier. A thread holds the weights of one gate's number (back: of
// one number of the hidden state in one gate) in its registers for all steps; the hidden state is in shared memory, which all threads of a warp read
// at the same address. A step is 64 products in four sums and two barriers; what the next step reads from memory is on its way meanwhile.
#include "gates.cuh"
#include "view.cuh"

constexpr int MOST = 64;

// Σ a[k] · b[k]; b in shared memory, aligned to 16 bytes.
template <class R> INLINE R product(const R (&a)[MOST], const R* b) {
    R sum[4] = {};
#pragma unroll
    for (int k = 0; k < MOST; k += 4) {
        Pack<R, 4> four = *reinterpret_cast<const Pack<R, 4>*>(b + k);
#pragma unroll
        for (int e = 0; e < 4; e++) sum[e] += a[k + e] * four.items[e];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <int KIND, class R>
INLINE void through(R* sums, const R* weight, const R* bias, const R* hidden, const R* cell, R* states, R* cells, R* inner, R* output, R* hidden_after, R* cell_after, const i64* lengths, i64 steps, i64 batch, int size, int reversed) {
    constexpr int G = gates_of(KIND);
    SHARED(R, state, [MOST]);
    SHARED(R, from_input, [G * MOST]);
    SHARED(R, from_state, [KIND == GRU ? G * MOST : 1]);
    int thread = threadIdx.x, rows = G * size;
    i64 sequence = blockIdx.x, length = lengths ? lengths[sequence] : steps;
    bool gate = thread < rows, number = thread < size;
    R weights[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) weights[k] = gate && k < size ? weight[i64(thread) * size + k] : R(0);
    for (int k = thread; k < MOST; k += blockDim.x) state[k] = k < size ? hidden[sequence * size + k] : R(0);
    R added = KIND == GRU && bias && gate ? bias[thread] : R(0), held = R(0), held_cell = R(0);
    i64 first = reversed ? steps : 0;
    if (number) {
        held = hidden[sequence * size + thread];
        if (KIND == LSTM) held_cell = cell[sequence * size + thread];
        if (states) {
            states[(first * batch + sequence) * size + thread] = held;
            if (KIND == LSTM) cells[(first * batch + sequence) * size + thread] = held_cell;
        }
    }
    auto row_of = [&](i64 step) { return (reversed ? steps - 1 - step : step) * batch + sequence; };
    R next = gate && steps > 0 ? sums[row_of(0) * rows + thread] : R(0);
    __syncthreads();
    for (i64 step = 0; step < steps; step++) {
        i64 row = row_of(step);
        R mine = next;
        if (gate && step + 1 < steps) next = sums[row_of(step + 1) * rows + thread];
        bool awake = (reversed ? steps - 1 - step : step) < length;
        if (awake) {
            R sum = product(weights, state);
            if (gate && KIND == GRU) { from_input[thread] = mine; from_state[thread] = sum + added; }
            else if (gate) from_input[thread] = mine + sum;
            __syncthreads();
            if (number) {
                R gates[4], given[4];
#pragma unroll
                for (int g = 0; g < G; g++) { gates[g] = from_input[g * size + thread]; if (KIND == GRU) given[g] = from_state[g * size + thread]; }
                held = stepped<KIND>(gates, given, held, held_cell);
                state[thread] = held;
#pragma unroll
                for (int g = 0; g < G; g++) if (G > 1 && states) sums[row * rows + g * size + thread] = gates[g];
                if (KIND == GRU && states) inner[row * size + thread] = given[2];
            }
            __syncthreads();
        }
        if (number) {
            output[row * size + thread] = awake ? held : R(0);
            i64 after = (row + (reversed ? 0 : batch)) * size + thread;
            if (states) { states[after] = held; if (KIND == LSTM) cells[after] = held_cell; }
        }
    }
    if (number) {
        hidden_after[sequence * size + thread] = held;
        if (KIND == LSTM) cell_after[sequence * size + thread] = held_cell;
    }
}

template <int KIND, class R>
INLINE void through_back(const R* weight, const R* gates, const R* states, const R* cells, const R* inner, const R* arriving, const R* hidden, const R* cell, R* slopes, R* inner_slopes, R* for_hidden, R* for_cell, const i64* lengths, i64 steps, i64 batch, int size, int reversed) {
    constexpr int G = gates_of(KIND);
    // The slopes of each gate, with zeros up to MOST; what each gate gives to the hidden state before.
    SHARED(R, sloped, [G * MOST]);
    SHARED(R, parts, [G * MOST]);
    int thread = threadIdx.x, rows = G * size, mine = thread / size, column = thread - mine * size;
    i64 sequence = blockIdx.x, length = lengths ? lengths[sequence] : steps;
    bool part = thread < rows, number = thread < size;
    R weights[MOST];
#pragma unroll
    for (int k = 0; k < MOST; k++) weights[k] = part && k < size ? weight[i64(mine * size + k) * size + column] : R(0);
    for (int k = thread; k < G * MOST; k += blockDim.x) sloped[k] = R(0);
    R state = R(0), through = R(0), arrives = R(0);
    if (number) {
        state = hidden[sequence * size + thread];
        if (KIND == LSTM) through = cell[sequence * size + thread];
    }
    auto row_of = [&](i64 step) { return (reversed ? steps - 1 - step : step) * batch + sequence; };
    Step<R> next = {};
    auto load = [&](i64 step) {
        i64 row = row_of(step), before = (row + (reversed ? batch : 0)) * size + thread, after = (row + (reversed ? 0 : batch)) * size + thread;
#pragma unroll
        for (int g = 0; g < G; g++) next.gates[g] = gates[row * rows + g * size + thread];
        if (KIND == GRU) { next.before = states[before]; next.inner = inner[row * size + thread]; }
        if (KIND == LSTM) { next.cell = cells[before]; next.cell_after = cells[after]; }
        arrives = arriving[row * size + thread];
    };
    auto is_awake = [&](i64 step) { return (reversed ? steps - 1 - step : step) < length; };
    if (number && steps > 0 && is_awake(steps - 1)) load(steps - 1);
    __syncthreads();
    for (i64 step = steps - 1; step >= 0; step--) {
        i64 row = row_of(step);
        bool awake = is_awake(step);
        Step<R> kept = next;
        R total = state + arrives;
        if (number && step > 0 && is_awake(step - 1)) load(step - 1);
        if (!awake) {
            if (part) {
                slopes[row * rows + thread] = R(0);
                if (KIND == GRU) inner_slopes[row * rows + thread] = R(0);
            }
            continue;
        }
        R direct = R(0);
        if (number) {
            R found[4], given[4], raw;
            direct = returned<KIND>(kept, total, through, found, given, raw);
#pragma unroll
            for (int g = 0; g < G; g++) {
                slopes[row * rows + g * size + thread] = found[g];
                if (KIND == GRU) inner_slopes[row * rows + g * size + thread] = given[g];
                sloped[g * MOST + thread] = given[g];
            }
        }
        __syncthreads();
        R sum = product(weights, sloped + (part ? mine : 0) * MOST);
        if (part) parts[thread] = sum;
        __syncthreads();
        if (number) {
            state = direct;
#pragma unroll
            for (int g = 0; g < G; g++) state += parts[g * size + thread];
        }
    }
    if (number) {
        for_hidden[sequence * size + thread] = state;
        if (KIND == LSTM) for_cell[sequence * size + thread] = through;
    }
}

#define SEQUENCE(k, KIND, t, R)                                                                                                                              \
    KERNEL(through_##k##_##t, R* sums, const R* weight, const R* bias, const R* hidden, const R* cell, R* states, R* cells, R* inner, R* output, R* hidden_after, R* cell_after, const i64* lengths, i64 steps, i64 batch, int size, int reversed) { \
        through<KIND>(sums, weight, bias, hidden, cell, states, cells, inner, output, hidden_after, cell_after, lengths, steps, batch, size, reversed);      \
    }                                                                                                                                                        \
    KERNEL(through_back_##k##_##t, const R* weight, const R* gates, const R* states, const R* cells, const R* inner, const R* arriving, const R* hidden, const R* cell, R* slopes, R* inner_slopes, R* for_hidden, R* for_cell, const i64* lengths, i64 steps, i64 batch, int size, int reversed) { \
        through_back<KIND>(weight, gates, states, cells, inner, arriving, hidden, cell, slopes, inner_slopes, for_hidden, for_cell, lengths, steps, batch, size, reversed); \
    }
#define SEQUENCES(t, R) SEQUENCE(lstm, LSTM, t, R) SEQUENCE(gru, GRU, t, R) SEQUENCE(tanh, TANH, t, R) SEQUENCE(relu, RELU, t, R)
SEQUENCES(f32, float) SEQUENCES(f64, double)
