// row.cuh - a lane's numbers of a row: kept in registers where the row is short enough, read again from a cache where it is not.
#pragma once
#include "fold.cuh"

// Numbers that a lane keeps, and neighbours among them that are one word of 16 bytes.
constexpr int KEPT = 16;
template <class T> constexpr int NEIGHBOURS = 16 / int(sizeof(T));

// Which numbers a lane has, which the length alone decides: NEIGHBOURS at a time where they divide it, else every lanes-th.
template <class T> struct Places {
    int lane, lanes, length; bool grouped;

    INLINE static bool fit(const Shares& shares, i64 inner) { return inner == 1 && shares.adjacent && shares.length <= i64(shares.lanes) * KEPT; }
    INLINE Places(const Seat& seat, const Shares& shares, bool there)
        : lane(seat.lane), lanes(shares.lanes), length(there ? int(shares.length) : 0), grouped(shares.length % NEIGHBOURS<T> == 0) {}
    INLINE int of(int e) const {
        constexpr int N = NEIGHBOURS<T>;
        return grouped ? (e / N * lanes + lane) * N + e % N : e * lanes + lane;
    }
};

template <class T> struct Kept {
    const Places<T>& places;
    Real<T> numbers[KEPT];

    INLINE Kept(const T* row, const Places<T>& places) : places(places) {
        constexpr int N = NEIGHBOURS<T>;
        if (places.grouped && is_aligned(row, 16)) {
#pragma unroll
            for (int e = 0; e < KEPT; e += N) {
                if (places.of(e) >= places.length) continue;
                Pack<T, N> some = *reinterpret_cast<const Pack<T, N>*>(row + places.of(e));
#pragma unroll
                for (int i = 0; i < N; i++) numbers[e + i] = widen(some.items[i]);
            }
        } else {
#pragma unroll
            for (int e = 0; e < KEPT; e++) if (places.of(e) < places.length) numbers[e] = widen(row[places.of(e)]);
        }
    }
    // f(place, number) for each of them.
    template <class F> INLINE void each(const F& f) const {
#pragma unroll
        for (int e = 0; e < KEPT; e++) if (places.of(e) < places.length) f(places.of(e), numbers[e]);
    }
    template <class F> INLINE void each(const Kept& other, const F& f) const {
#pragma unroll
        for (int e = 0; e < KEPT; e++) if (places.of(e) < places.length) f(places.of(e), numbers[e], other.numbers[e]);
    }
    // Writes f(place, number) in their places.
    template <class F> INLINE void write(T* row, const F& f) const { write_by(row, [&](int e) { return f(places.of(e), numbers[e]); }); }
    template <class F> INLINE void write(const Kept& other, T* row, const F& f) const { write_by(row, [&](int e) { return f(places.of(e), numbers[e], other.numbers[e]); }); }

private:
    template <class F> INLINE void write_by(T* row, const F& f) const {
        constexpr int N = NEIGHBOURS<T>;
        if (places.grouped && is_aligned(row, 16)) {
#pragma unroll
            for (int e = 0; e < KEPT; e += N) {
                if (places.of(e) >= places.length) continue;
                Pack<T, N> some;
#pragma unroll
                for (int i = 0; i < N; i++) some.items[i] = narrow<T>(f(e + i));
                *reinterpret_cast<Pack<T, N>*>(row + places.of(e)) = some;
            }
        } else {
#pragma unroll
            for (int e = 0; e < KEPT; e++) if (places.of(e) < places.length) row[places.of(e)] = narrow<T>(f(e));
        }
    }
};

// The same of a row of any length, whose numbers lie `inner` apart.
template <class T> struct Again {
    const T* row; i64 lane, lanes, length, inner;

    INLINE Again(const T* row, const Seat& seat, const Shares& shares, bool there, i64 inner)
        : row(row), lane(seat.lane), lanes(shares.lanes), length(there ? shares.length : 0), inner(inner) {}
    template <class F> INLINE void each(const F& f) const { for (i64 j = lane; j < length; j += lanes) f(j, widen(row[j * inner])); }
    template <class F> INLINE void each(const Again& other, const F& f) const { for (i64 j = lane; j < length; j += lanes) f(j, widen(row[j * inner]), widen(other.row[j * inner])); }
    template <class F> INLINE void write(T* to, const F& f) const { for (i64 j = lane; j < length; j += lanes) to[j * inner] = narrow<T>(f(j, widen(row[j * inner]))); }
    template <class F> INLINE void write(const Again& other, T* to, const F& f) const {
        for (i64 j = lane; j < length; j += lanes) to[j * inner] = narrow<T>(f(j, widen(row[j * inner]), widen(other.row[j * inner])));
    }
};
