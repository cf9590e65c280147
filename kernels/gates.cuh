// gates.cuh - what recurrent layers make of their gates, for one number of the hidden state, forward and back.
#pragma once
#include "numbers.cuh"

// LSTM: input, forget, candidate, output. GRU: reset, update, new; the reset gate acts after the recurrent product.
enum Kinds { LSTM, GRU, TANH, RELU };
INLINE constexpr int gates_of(int kind) { return kind == LSTM ? 4 : kind == GRU ? 3 : 1; }

INLINE double tangent(double x) { return tanh(x); }
INLINE float tangent(float x) { return tanhf(x); }
template <class R> INLINE R logistic(R x) { return R(1) / (R(1) + exponential(-x)); }
// The slopes of both, from their values.
template <class R> INLINE R bend(R y) { return y * (R(1) - y); }
template <class R> INLINE R bend_of_tangent(R y) { return R(1) - y * y; }

// The hidden state after a step. gates: what they sum up to on the way in (GRU: what the input gives; inner: what the hidden state gives),
// their values on the way out. cell: before, then after.
template <int KIND, class R> INLINE R stepped(R (&gates)[4], const R (&inner)[4], R before, R& cell) {
    if (KIND == LSTM) {
        gates[0] = logistic(gates[0]); gates[1] = logistic(gates[1]);
        gates[2] = tangent(gates[2]); gates[3] = logistic(gates[3]);
        cell = gates[1] * cell + gates[0] * gates[2];
        return gates[3] * tangent(cell);
    }
    if (KIND == GRU) {
        gates[0] = logistic(gates[0] + inner[0]); gates[1] = logistic(gates[1] + inner[1]);
        gates[2] = tangent(gates[2] + gates[0] * inner[2]);
        return gates[2] + gates[1] * (before - gates[2]);
    }
    if (KIND == TANH) return tangent(gates[0]);
    return gates[0] < R(0) ? R(0) : gates[0];                // a NaN fails the comparison and stays
}

// What a step kept of itself: the values of its gates (RNN: its result), the hidden state before (GRU), the cell before and after (LSTM),
// what the hidden state gave to the third gate (GRU).
template <class R> struct Step { R gates[4], before, cell, cell_after, inner; };

// The slopes of a step's sums from that of the hidden state after it, `total`. inner: those for what the hidden state gives (GRU; else the same).
// for_cell: of the cell after, then before. raw: the hidden state before a projection. Gives what goes to the hidden state before past all gates.
template <int KIND, class R> INLINE R returned(const Step<R>& step, R total, R& for_cell, R (&slopes)[4], R (&inner)[4], R& raw) {
    const R (&gates)[4] = step.gates;
    R direct = R(0);
    if (KIND == LSTM) {
        R bound = tangent(step.cell_after), arrived = for_cell + total * gates[3] * bend_of_tangent(bound);
        slopes[0] = arrived * gates[2] * bend(gates[0]);
        slopes[1] = arrived * step.cell * bend(gates[1]);
        slopes[2] = arrived * gates[0] * bend_of_tangent(gates[2]);
        slopes[3] = total * bound * bend(gates[3]);
        for_cell = arrived * gates[1];
        raw = gates[3] * bound;
    } else if (KIND == GRU) {
        slopes[2] = total * (R(1) - gates[1]) * bend_of_tangent(gates[2]);
        slopes[1] = total * (step.before - gates[2]) * bend(gates[1]);
        slopes[0] = slopes[2] * step.inner * bend(gates[0]);
        inner[2] = slopes[2] * gates[0];
        direct = total * gates[1];
    } else if (KIND == TANH) slopes[0] = total * bend_of_tangent(gates[0]);
    else slopes[0] = gates[0] > R(0) ? total : R(0);
#pragma unroll
    for (int g = 0; g < gates_of(KIND); g++) if (KIND != GRU || g < 2) inner[g] = slopes[g];
    return direct;
}
