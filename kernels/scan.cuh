// scan.cuh - what runs along an axis: each place gets what was joined up to it, in an order that the shape alone decides.
//
// A scan is a struct with State, nothing(), join(earlier, later), at(Spot): the state of one element, write(Spot, before,
// through): what is put there, from the state of all before it and that with itself; and EACH, how many elements a thread takes at a time.
#pragma once
#include "view.cuh"

// Lines of `size` elements, `inner` apart: a dense tensor [outer, size, inner]. `lanes` (a power of two, at most 256) threads go along
// one together, four elements each at a time; 256 / lanes lines are a block's. Where a line is dense (`adjacent`) its threads are neighbours; else
// threads of neighbouring lines are, so that they read one stretch. Long lines are cut into `pieces` (grid y).
struct Lines { i64 count, size, inner; int pieces, lanes, adjacent, reversed; };

// An element: where it stands in memory and along its line.
struct Spot { i64 at, along; };

struct Chair { int lane; i64 line; int slot, apart; };       // slot: in shared memory; apart: slots between lanes
INLINE Chair chair_of(const Lines& lines) {
    int t = threadIdx.x, groups = BLOCK / lines.lanes, lane, group;
    if (lines.adjacent) { group = t / lines.lanes; lane = t - group * lines.lanes; }
    else { lane = t / groups; group = t - lane * groups; }
    return {lane, i64(blockIdx.x) * groups + group, t, lines.adjacent ? 1 : groups};
}

// What stands before a lane among its group, and what the whole group holds. `turn` goes from call to call: two copies of the states in
// turn, so that one barrier a step is enough.
template <class F> struct Joined { typename F::State before, all; };
template <class F> INLINE Joined<F> scan_lanes(const F& scan, typename F::State state, const Chair& chair, int lanes, int& turn) {
    using State = typename F::State;
    SHARED(State, states, [2][BLOCK]);
    if (lanes == 1) return {scan.nothing(), state};
#pragma unroll 1
    for (int step = 1; step <= lanes; step *= 2) {           // the last time only to be seen
        turn ^= 1;
        states[turn][chair.slot] = state;
        __syncthreads();
        if (step < lanes && chair.lane >= step) state = scan.join(states[turn][chair.slot - step * chair.apart], state);
    }
    int first = chair.slot - chair.lane * chair.apart;
    State all = states[turn][first + (lanes - 1) * chair.apart];
    return {chair.lane ? states[turn][chair.slot - chair.apart] : scan.nothing(), all};
}

// Goes along this block's pieces of its lines: to write, from what `parts` say stands before them, or to put there what they hold.
template <bool WRITES, class F> INLINE void walk(const F& scan, typename F::State* parts, const Lines& lines) {
    using State = typename F::State;
    constexpr int EACH = F::EACH;
    Chair chair = chair_of(lines);
    bool there = chair.line < lines.count;
    i64 piece = (lines.size + lines.pieces - 1) / lines.pieces, from = i64(blockIdx.y) * piece, end = min(lines.size, from + piece);
    i64 outer = there ? quotient(chair.line, lines.inner) : 0, start = outer * (lines.size - 1) * lines.inner + chair.line;
    State* part = parts + (chair.line * lines.pieces + blockIdx.y);
    State held = WRITES && there && lines.pieces > 1 ? *part : scan.nothing();
    int turn = 0;
#pragma unroll 1
    for (i64 tile = from; tile < end; tile += EACH * lines.lanes) {
        i64 k = tile + EACH * chair.lane;
        State own[EACH], mine = scan.nothing();
        auto spot = [&](int e) {
            i64 along = lines.reversed ? lines.size - 1 - (k + e) : k + e;
            return Spot{start + along * lines.inner, along};
        };
#pragma unroll
        for (int e = 0; e < EACH; e++) own[e] = there && k + e < end ? scan.at(spot(e)) : scan.nothing();
#pragma unroll
        for (int e = 0; e < EACH; e++) mine = e ? scan.join(mine, own[e]) : own[e];
        Joined<F> joined = scan_lanes(scan, mine, chair, lines.lanes, turn);
        if (WRITES) {
            State before = scan.join(held, joined.before);
            if (lines.lanes == 1) before = held;
#pragma unroll
            for (int e = 0; e < EACH; e++) if (there && k + e < end) {
                State through = scan.join(before, own[e]);
                scan.write(spot(e), before, through);
                before = through;
            }
            if (lines.lanes == 1) { held = before; continue; }    // one after the other, as the processor does it
        }
        held = scan.join(held, joined.all);
    }
    if (!WRITES && there && chair.lane == 0) *part = held;
}

// The parts of each line become what stands before them: a block for each line, whose threads take neighbouring parts.
template <class F> INLINE void join_parts(const F& scan, typename F::State* parts, int pieces) {
    using State = typename F::State;
    Chair chair = {int(threadIdx.x), i64(blockIdx.x), int(threadIdx.x), 1};
    int each = (pieces + BLOCK - 1) / BLOCK, from = chair.lane * each, end = min(pieces, from + each), turn = 0;
    State* row = parts + chair.line * pieces;
    State mine = scan.nothing();
    for (int p = from; p < end; p++) mine = scan.join(mine, row[p]);
    State before = scan_lanes(scan, mine, chair, BLOCK, turn).before;
    for (int p = from; p < end; p++) {
        State through = scan.join(before, row[p]);
        row[p] = before;
        before = through;
    }
}
