// row.cuh - a row and the lanes that share it: kept in their registers where it is short enough, read again from a cache where it is not. Words
// are N neighbours of one lane, which come and go as 16 bytes (N = 1: where they do not lie so).
#pragma once
#include "fold.cuh"

// Numbers that a lane keeps, and neighbours among them that are one word of 16 bytes.
constexpr int KEPT = 16;
template <class T> constexpr int NEIGHBOURS = 16 / int(sizeof(T));

// How far an address lies behind one of 16 bytes.
INLINE int beyond_16(const void* at) { return int(reinterpret_cast<u64>(at) & 15); }

template <int N, class T> INLINE void read_word(const T* from, Real<T> (&word)[N]) {
    Pack<T, N> some = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; i++) word[i] = widen(some.items[i]);
}
// A number of 16 bits in the upper half of a word is an f32 but for what the lower half adds.
template <int N> INLINE void read_word(const bf16* from, float (&word)[N]) {
    if constexpr (N == 1) { word[0] = widen(*from); return; }
    Pack<u32, N / 2> pairs = *reinterpret_cast<const Pack<u32, N / 2>*>(from);
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        word[2 * i] = __uint_as_float(pairs.items[i] << 16);
        word[2 * i + 1] = __uint_as_float(pairs.items[i] & 0xffff0000u);
    }
}
template <int N, class T> INLINE void write_word(T* to, const Real<T> (&word)[N]) {
    Pack<T, N> some;
#pragma unroll
    for (int i = 0; i < N; i++) some.items[i] = narrow<T>(word[i]);
    *reinterpret_cast<Pack<T, N>*>(to) = some;
}
// As the compiler makes one write of it everywhere.
template <u32 PACK(float, float), int N> INLINE void write_pairs(void* to, const float (&word)[N]) {
    Pack<u32, N / 2> pairs;
#pragma unroll
    for (int i = 0; i < N / 2; i++) pairs.items[i] = PACK(word[2 * i], word[2 * i + 1]);
    *reinterpret_cast<Pack<u32, N / 2>*>(to) = pairs;
}
INLINE void write_word(float* to, const float (&word)[4]) { *reinterpret_cast<float4*>(to) = make_float4(word[0], word[1], word[2], word[3]); }
INLINE void write_word(bf16* to, const float (&word)[8]) { write_pairs<pack_bf16>(to, word); }
INLINE void write_word(f16* to, const float (&word)[8]) { write_pairs<pack_f16>(to, word); }

// A row of at most KEPT numbers a lane. N divides its length, and its address is that of a word.
template <class T, int N> struct Kept {
    static constexpr int WORDS = KEPT / N;
    u32 first, apart, length;                                // of this lane: its first number, and how far its words are from each other
    Real<T> words[WORDS][N];

    INLINE Kept(const T* row, const Seat& seat, const Shares& shares, bool there)
        : first(seat.lane * N), apart(shares.lanes * N), length(there ? u32(shares.length) : 0) {
#pragma unroll
        for (int w = 0; w < WORDS; w++) if (has(w)) read_word(row + place(w), words[w]);
    }
    INLINE static bool fits(const Shares& shares) { return shares.adjacent && shares.length <= i64(shares.lanes) * KEPT; }
    INLINE u32 place(int w) const { return first + w * apart; }
    INLINE bool has(int w) const { return place(w) < length; }
    // f(place, word) for each word, which it may change.
    template <class F> INLINE void each_word(const F& f) {
#pragma unroll
        for (int w = 0; w < WORDS; w++) if (has(w)) f(place(w), words[w]);
    }
    template <class F> INLINE void each_word(Kept& other, const F& f) {
#pragma unroll
        for (int w = 0; w < WORDS; w++) if (has(w)) f(place(w), words[w], other.words[w]);
    }
    // The same, after which the word is written to its place of `to`.
    template <class F> INLINE void write(T* to, const F& f) {
        each_word([&](u32 at, Real<T> (&word)[N]) { f(at, word); write_word(to + at, word); });
    }
    template <class F> INLINE void write(Kept& other, T* to, const F& f) {
        each_word(other, [&](u32 at, Real<T> (&word)[N], Real<T> (&second)[N]) { f(at, word, second); write_word(to + at, word); });
    }
};

// The same of a dense row of any length: words from its first address of 16 bytes on, single numbers before and behind them. What is read or
// written beside it lies as far from one. With AHEAD a lane's next word is under way while it works on one.
template <class T, int N, bool AHEAD = false> struct Long {
    const T* row;
    i64 lane, lanes, length, lead, end;                      // words stand between `lead` and `end`

    INLINE Long(const T* row, const Seat& seat, const Shares& shares, bool there)
        : row(row), lane(seat.lane), lanes(shares.lanes), length(there ? shares.length : 0) {
        lead = min(length, i64((16 - beyond_16(row)) % 16 / int(sizeof(T))));
        end = length - (length - lead) % N;
    }
    template <class F> INLINE void each_word(const F& f) const {
#pragma unroll 1
        for (i64 j = lane; j < lead; j += lanes) { Real<T> one[1] = {widen(row[j])}; f(j, one); }
        i64 j = lead + lane * N, apart = lanes * N;
        if constexpr (AHEAD)
#pragma unroll 1
            for (; j + apart < end; j += 2 * apart) {
                Real<T> word[N], next[N];
                read_word(row + j, word); read_word(row + j + apart, next);
                f(j, word); f(j + apart, next);
            }
        for (; j < end; j += apart) { Real<T> word[N]; read_word(row + j, word); f(j, word); }
#pragma unroll 1
        for (i64 k = end + lane; k < length; k += lanes) { Real<T> one[1] = {widen(row[k])}; f(k, one); }
    }
    template <class F> INLINE void each_word(const Long& other, const F& f) const {
        const T* second = other.row;
#pragma unroll 1
        for (i64 j = lane; j < lead; j += lanes) { Real<T> one[1] = {widen(row[j])}, two[1] = {widen(second[j])}; f(j, one, two); }
        for (i64 j = lead + lane * N; j < end; j += lanes * N) {
            Real<T> word[N], beside[N];
            read_word(row + j, word); read_word(second + j, beside);
            f(j, word, beside);
        }
#pragma unroll 1
        for (i64 j = end + lane; j < length; j += lanes) { Real<T> one[1] = {widen(row[j])}, two[1] = {widen(second[j])}; f(j, one, two); }
    }
    template <class F> INLINE void write(T* to, const F& f) const {
        each_word([&](i64 at, auto& word) { f(at, word); write_word(to + at, word); });
    }
    template <class F> INLINE void write(const Long& other, T* to, const F& f) const {
        each_word(other, [&](i64 at, auto& word, auto& second) { f(at, word, second); write_word(to + at, word); });
    }
};

// Numbers `inner` apart, or that lie otherwise, one by one.
template <class T> struct Apart {
    const T* row; i64 lane, lanes, length, inner;

    INLINE Apart(const T* row, const Seat& seat, const Shares& shares, bool there, i64 inner)
        : row(row), lane(seat.lane), lanes(shares.lanes), length(there ? shares.length : 0), inner(inner) {}
    template <class F> INLINE void each_word(const F& f) const {
#pragma unroll 2
        for (i64 j = lane; j < length; j += lanes) { Real<T> one[1] = {widen(row[j * inner])}; f(j, one); }
    }
    template <class F> INLINE void each_word(const Apart& other, const F& f) const {
#pragma unroll 2
        for (i64 j = lane; j < length; j += lanes) { Real<T> one[1] = {widen(row[j * inner])}, two[1] = {widen(other.row[j * inner])}; f(j, one, two); }
    }
    template <class F> INLINE void write(T* to, const F& f) const {
        each_word([&](i64 j, Real<T> (&one)[1]) { f(j, one); to[j * inner] = narrow<T>(one[0]); });
    }
    template <class F> INLINE void write(const Apart& other, T* to, const F& f) const {
        each_word(other, [&](i64 j, Real<T> (&one)[1], Real<T> (&two)[1]) { f(j, one, two); to[j * inner] = narrow<T>(one[0]); });
    }
};

// Runs `work` with the rows that start at some addresses, as they lie: `work(rows...)`, each a row of the same kind. `inner`: between two numbers.
// Without KEEP what is read once stays nowhere, so that there is room for a second word.
template <bool KEEP = true, class T, class Work, class... Rows>
INLINE void by_words(const Shares& shares, const Seat& seat, bool there, i64 inner, const T* to, const Work& work, const Rows*... rows) {
    constexpr int N = NEIGHBOURS<T>;
    int beyond = beyond_16(to);
    bool alike = inner == 1 && shares.adjacent && ((beyond_16(rows) == beyond) && ...);
    if (!alike) return work(Apart<T>(rows, seat, shares, there, inner)...);
    if constexpr (KEEP)
        if (Kept<T, N>::fits(shares) && shares.length % N == 0 && beyond == 0) return work(Kept<T, N>(rows, seat, shares, there)...);
    work(Long<T, N, !KEEP>(rows, seat, shares, there)...);
}

// Where a row of [outer, length, inner] begins.
INLINE i64 row_start(i64 row, i64 length, i64 inner) {
    if (inner == 1) return row * length;
    i64 outer = quotient(row, inner);
    return outer * length * inner + (row - outer * inner);
}

// The greatest of a row, a sum, two sums.
template <class R> struct Greatest {
    using State = R;
    INLINE R join(R one, R other) const { return other > one ? other : one; }
};
template <class R> struct Sum {
    using State = R;
    INLINE R join(R one, R other) const { return one + other; }
};
template <class R> struct Two {
    struct State { R a, b; };
    INLINE State nothing() const { return {R(0), R(0)}; }
    INLINE State join(const State& one, const State& other) const { return {one.a + other.a, one.b + other.b}; }
};
template <class State> INLINE auto of_lane_beside(const State& state, int step) -> decltype(State{state.a, state.b}) {
    return {of_lane_beside(state.a, step), of_lane_beside(state.b, step)};
}
template <class R> INLINE R sum_of(R x, const Seat& seat, const Shares& shares) { return agree(Sum<R>{}, x, seat, shares); }

// e^x of a number that is at most 0: as exact as the type it becomes.
template <class T> INLINE Real<T> weight_of(Real<T> x) { return exponential(x); }
template <> INLINE float weight_of<bf16>(float x) { return power_of_two(x * 1.44269504f); }
template <> INLINE float weight_of<f16>(float x) { return power_of_two(x * 1.44269504f); }

// Σ e^(x - greatest) with the greatest so far: what a lane has added up is scaled when it meets a greater number.
template <class T> struct Powers {
    using R = Real<T>;
    R greatest = -R(INFINITY), sum = 0;

    template <int N> INLINE void add(const R (&word)[N]) {
        R most = greatest;
#pragma unroll
        for (int i = 0; i < N; i++) if (word[i] > most) most = word[i];
        if (most > greatest) { sum *= weight_of<T>(greatest - most); greatest = most; }
        R base = greatest == -R(INFINITY) ? R(0) : greatest;
#pragma unroll
        for (int i = 0; i < N; i++) sum += weight_of<T>(word[i] - base);
    }
    // Of all lanes, to each.
    INLINE void agree_on(const Seat& seat, const Shares& shares) {
        R most = agree(Greatest<R>{}, greatest, seat, shares);
        if (greatest < most) sum *= weight_of<T>(greatest - most);
        greatest = most;
        sum = sum_of(sum, seat, shares);
    }
};
