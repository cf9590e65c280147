// fold.cuh - many numbers become one, for any axes: a group of threads folds a result together, in an order that the shape
// alone decides.
//
// A fold is a struct with Element, State, nothing(), add(state, number, position), join(earlier, later). Numbers come widened.
#pragma once
#include "numbers.cuh"
#include "view.cuh"

// How results are shared out: `lanes` (a power of two, at most 256) threads fold one together, 256 / lanes results are folded
// by a block. Where the folded axis lies dense in memory they are neighbours (`adjacent`), so that a group reads one
// stretch; where the kept one does, threads of different results are, so that all groups read one row at a time. Long folds are
// cut into `pieces` (grid y), whose states are joined by a second kernel.
struct Shares { i64 results, length; int pieces, lanes, adjacent; };

struct Seat { int lane; i64 result; int slot, apart; };      // slot: in shared memory; apart: slots between lanes
INLINE Seat seat_of(const Shares& shares) {
    int t = threadIdx.x, bits = __ffs(shares.lanes) - 1, groups = BLOCK >> bits, lane, group;
    if (shares.adjacent) { group = t >> bits; lane = t & (shares.lanes - 1); }
    else { lane = t / groups; group = t & (groups - 1); }
    return {lane, i64(blockIdx.x) * groups + group, t, shares.adjacent ? 1 : groups};
}

// The states of a group become one, in lane 0. All threads of the block take part.
template <class F> INLINE typename F::State join_lanes(const F& fold, typename F::State state, const Seat& seat, const Shares& shares) {
    using State = typename F::State;
    SHARED(State, states, [BLOCK]);
    states[seat.slot] = state;
#pragma unroll 1
    for (int step = shares.lanes / 2; step > 0; step /= 2) {
        if (shares.adjacent && step < WARP) __syncwarp(); else __syncthreads();
        if (seat.lane < step) { state = fold.join(state, states[seat.slot + step * seat.apart]); states[seat.slot] = state; }
    }
    return state;
}

INLINE float of_lane_beside(float x, int step) { return __shfl_xor_sync(EVERYONE, x, step); }
INLINE double of_lane_beside(double x, int step) { return __shfl_xor_sync(EVERYONE, x, step); }

// The same, given to every lane of the group, of folds whose states join either way round. Neighbours join within their warp, and what warps have
// through shared memory.
template <class F> INLINE typename F::State agree(const F& fold, typename F::State state, const Seat& seat, const Shares& shares) {
    using State = typename F::State;
    SHARED(State, agreed, [BLOCK]);
    if (shares.adjacent) {
#pragma unroll
        for (int step = WARP / 2; step > 0; step /= 2) {
            State other = of_lane_beside(state, step);
            if (step < shares.lanes) state = fold.join(state, other);
        }
        if (shares.lanes <= WARP) return state;
        int warps = shares.lanes / WARP, warp = threadIdx.x / WARP;
        if (threadIdx.x % WARP == 0) agreed[warp] = state;
        __syncthreads();
        state = agreed[(warp & ~(warps - 1)) + (threadIdx.x & (warps - 1))];
#pragma unroll
        for (int step = BLOCK / WARP / 2; step > 0; step /= 2) {
            State other = of_lane_beside(state, step);
            if (step < warps) state = fold.join(state, other);
        }
        __syncthreads();                                     // before anybody writes again
        return state;
    }
    state = join_lanes(fold, state, seat, shares);
    int first = seat.slot - seat.lane * seat.apart;
    if (seat.lane == 0) agreed[first] = state;
    __syncthreads();
    state = agreed[first];
    __syncthreads();                                         // before anybody writes again
    return state;
}

// Folds this block's part of x; gives the state to lane 0 of each group.
template <class F> INLINE typename F::State fold_numbers(const F& fold, const typename F::Element* row, const Seat& seat, const Shares& shares, const View& folded) {
    typename F::State state = fold.nothing();
    i64 piece = (shares.length + shares.pieces - 1) / shares.pieces;
    i64 end = min(shares.length, (i64(blockIdx.y) + 1) * piece), lanes = shares.lanes;
    if (seat.result < shares.results) {
        i64 k = i64(blockIdx.y) * piece + seat.lane;
        if (folded.rank == 1) {
            i64 stride = folded.strides[0];
            for (; k + 3 * lanes < end; k += 4 * lanes) {    // four reads under way at once
                typename F::Element x[4];
#pragma unroll
                for (int e = 0; e < 4; e++) x[e] = row[(k + e * lanes) * stride];
#pragma unroll
                for (int e = 0; e < 4; e++) fold.add(state, widen(x[e]), k + e * lanes);
            }
        }
#pragma unroll 1
        for (; k < end; k += lanes) fold.add(state, widen(row[place_of(folded, k)]), k);
    }
    return join_lanes(fold, state, seat, shares);
}

// The states of the pieces of one result, joined in their order; to lane 0 of each group.
template <class F> INLINE typename F::State fold_states(const F& fold, const typename F::State* parts, const Seat& seat, const Shares& shares) {
    typename F::State state = fold.nothing();
    // Each lane has a stretch of neighbours, so that earlier stays before later.
    i64 each = (shares.pieces + shares.lanes - 1) / shares.lanes, from = seat.lane * each, end = min(i64(shares.pieces), from + each);
    if (seat.result < shares.results)
        for (i64 p = from; p < end; p++) state = fold.join(state, parts[seat.result * shares.pieces + p]);
    return join_lanes(fold, state, seat, shares);
}

// Σ e^(x - greatest), and the greatest so far.
template <class T> struct Exponentials {
    using Element = T;
    struct State { Real<T> greatest, sum; };
    INLINE State nothing() const { return {-Real<T>(INFINITY), Real<T>(0)}; }
    INLINE void add(State& state, Real<T> x, i64) const {
        if (x == state.greatest) state.sum += 1;
        else if (x > state.greatest) state = {x, state.sum * exponential(state.greatest - x) + 1};
        else state.sum += exponential(x - state.greatest);
    }
    INLINE State join(const State& a, const State& b) const {
        if (a.greatest == b.greatest) return {a.greatest, a.sum + b.sum};
        if (a.greatest > b.greatest) return {a.greatest, a.sum + b.sum * exponential(b.greatest - a.greatest)};
        if (a.greatest < b.greatest) return {b.greatest, b.sum + a.sum * exponential(a.greatest - b.greatest)};
        return {a.greatest, a.sum + b.sum};
    }
};
