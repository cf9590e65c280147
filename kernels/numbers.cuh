// numbers.cuh - the element types: what each computes in, and conversion by the rules of the CPU. Floats become whole
// numbers by truncation, saturating at the ends, and NaN becomes 0; whole numbers wrap when they narrow; a boolean is
// x != 0. 16-bit floats go by way of f32.
#pragma once
#include "device.cuh"

struct boolean { u8 bits; };                                 // 0 or 1

// The type that numbers of T are computed in, and the one that long sums of them are kept in.
template <class T> struct Kind { using Real = float; using Total = double; static constexpr bool is_float = true; };
template <> struct Kind<double> { using Real = double; using Total = double; static constexpr bool is_float = true; };
template <> struct Kind<i64> { using Real = i64; using Total = i64; static constexpr bool is_float = false; };
template <> struct Kind<i32> { using Real = i64; using Total = i64; static constexpr bool is_float = false; };
template <> struct Kind<u8> { using Real = i64; using Total = i64; static constexpr bool is_float = false; };
template <> struct Kind<boolean> { using Real = i64; using Total = i64; static constexpr bool is_float = false; };
template <class T> using Real = typename Kind<T>::Real;
template <class T> using Total = typename Kind<T>::Total;

// Widened to what it is computed in.
INLINE double widen(double x) { return x; }
INLINE float widen(float x) { return x; }
INLINE float widen(bf16 x) { return to_f32(x); }
INLINE float widen(f16 x) { return to_f32(x); }
INLINE i64 widen(i64 x) { return x; }
INLINE i64 widen(i32 x) { return x; }
INLINE i64 widen(u8 x) { return x; }
INLINE i64 widen(boolean x) { return x.bits; }

// Whole numbers wrap; signed ones do not by the language, so sums and products go through unsigned ones.
INLINE i64 plus(i64 a, i64 b) { return i64(u64(a) + u64(b)); }
INLINE float plus(float a, float b) { return a + b; }
INLINE double plus(double a, double b) { return a + b; }
INLINE i64 times(i64 a, i64 b) { return i64(u64(a) * u64(b)); }
INLINE float times(float a, float b) { return a * b; }
INLINE double times(double a, double b) { return a * b; }

// The absolute values of each type.
INLINE double absolute(double x) { return fabs(x); }
INLINE float absolute(float x) { return fabsf(x); }
INLINE double exponential(double x) { return exp(x); }
INLINE float exponential(float x) { return expf(x); }
INLINE double logarithm(double x) { return log(x); }
INLINE float logarithm(float x) { return logf(x); }
INLINE double root(double x) { return sqrt(x); }
INLINE float root(float x) { return sqrtf(x); }

template <class D> struct To;
template <> struct To<double> { template <class S> static INLINE double of(S x) { return double(x); } };
template <> struct To<float> { template <class S> static INLINE float of(S x) { return float(x); } };
template <> struct To<bf16> { template <class S> static INLINE bf16 of(S x) { return to_bf16(float(x)); } };
template <> struct To<f16> { template <class S> static INLINE f16 of(S x) { return to_f16(float(x)); } };
template <> struct To<boolean> { template <class S> static INLINE boolean of(S x) { return {u8(x != S(0))}; } };
template <> struct To<i64> {
    static INLINE i64 of(i64 x) { return x; }
    template <class F> static INLINE i64 of(F x) { return saturate_i64(x); }
};
template <> struct To<i32> {
    static INLINE i32 of(i64 x) { return i32(u32(u64(x))); }
    template <class F> static INLINE i32 of(F x) { return saturate_i32(x); }
};
template <> struct To<u8> {
    static INLINE u8 of(i64 x) { return u8(u64(x)); }
    template <class F> static INLINE u8 of(F x) { i32 whole = saturate_i32(x); return u8(whole < 0 ? 0 : whole > 255 ? 255 : whole); }
};
// What was computed in a wider type, as the element that is stored.
template <class D, class R> INLINE D narrow(R x) { return To<D>::of(x); }
// An element in another type.
template <class D, class S> INLINE D convert(S x) { return To<D>::of(widen(x)); }

// The four floats, and the types that hold whole numbers, for lists of kernels.
#define FLOATS(K) K(f32, float) K(f64, double) K(bf16, bf16) K(f16, f16)
#define WHOLES(K) K(i64, i64) K(i32, i32) K(u8, u8)
