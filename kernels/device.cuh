// device.cuh - what every kernel includes. Each instruction that needs inline PTX is wrapped here once, beside what it
// means in plain C++ for the emulator, so that kernels hold no assembly of their own. No CUDA header is needed, so the
// PTX holds our code only.
#pragma once
#ifdef EMULATED
#include "cuda.h"
#else
// Shared arrays and kernels are declared by macros, because the emulator has to know of each.
#define SHARED(T, name, dims) __shared__ __align__(16) T name dims
#define DYNAMIC_SHARED(T, name)                                       \
    extern __shared__ __align__(128) unsigned char dynamic_memory[];  \
    T* name = reinterpret_cast<T*>(dynamic_memory)
#define KERNEL_OF(bounds, name, ...) extern "C" __global__ void __launch_bounds__ bounds name(__VA_ARGS__)
#endif
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fc00000)
#endif
#define INLINE __device__ __forceinline__

// Blocks have 256 threads unless a kernel says otherwise.
#define KERNEL(name, ...) KERNEL_OF((256), name, __VA_ARGS__)
// Two of its blocks fit on a multiprocessor: at most 128 registers a thread.
#define KERNEL_IN_PAIRS(name, ...) KERNEL_OF((256, 2), name, __VA_ARGS__)
constexpr int BLOCK = 256, WARP = 32;
constexpr unsigned EVERYONE = 0xffffffffu;

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

// ------------------------------------------------------------------------------------------ floats of 16 bits
struct bf16 { u16 bits; };
struct f16 { u16 bits; };

INLINE float to_f32(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
INLINE float to_f32(f16 x) {
#ifdef EMULATED
    u32 sign = u32(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, mantissa = x.bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | mantissa << 13);
    if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
    float tiny = ldexpf(float(mantissa), -24);
    return sign ? -tiny : tiny;
#else
    float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y;
#endif
}
// Two numbers in one register, `low` in its lower half; to the nearest, ties to even.
INLINE u32 pack_bf16(float low, float high) {
#ifdef EMULATED
    auto one = [](float x) -> u32 {
        u32 bits = __float_as_uint(x);
        return x != x ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    };
    return one(low) | one(high) << 16;
#else
    u32 y; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y;
#endif
}
INLINE bf16 to_bf16(float x) { return {u16(pack_bf16(x, 0.0f))}; }
INLINE f16 to_f16(float x) {
#ifdef EMULATED
    u32 bits = __float_as_uint(x); u16 sign = u16(bits >> 16 & 0x8000); float size = fabsf(x);
    if (x != x) return {u16(sign | 0x7fff)};
    if (size >= 65520.0f) return {u16(sign | 0x7c00)};
    if (size < 6.103515625e-5f) return {u16(sign | u32(nearbyintf(ldexpf(size, 24))))};
    bits = (bits & 0x7fffffffu) + 0xfffu + (bits >> 13 & 1);
    return {u16(sign | ((bits >> 13) - (112u << 10)))};
#else
    u16 y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x)); return {y};
#endif
}
INLINE u32 pack_f16(float low, float high) {
#ifdef EMULATED
    return to_f16(low).bits | u32(to_f16(high).bits) << 16;
#else
    u32 y; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y;
#endif
}

// ------------------------------------------------------------------------------------------ mathematics
// 2^x within two units of f32; what is smaller than the smallest normal number is 0.
INLINE float power_of_two(float x) {
#ifdef EMULATED
    float y = exp2f(x); return y < 1.17549435e-38f ? 0.0f : y;
#else
    float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y;
#endif
}

// ------------------------------------------------------------------------------------------ floats to whole numbers
// By truncation, saturating at the ends; NaN becomes 0. The instruction saturates by itself, and knows NaN only from f32 to i32.
INLINE i32 saturate_i32(float x) {
#ifdef EMULATED
    return x != x ? 0 : x >= 2147483648.0f ? 0x7fffffff : x < -2147483648.0f ? -0x7fffffff - 1 : i32(x);
#else
    i32 y; asm("cvt.rzi.s32.f32 %0, %1;" : "=r"(y) : "f"(x)); return y;
#endif
}
INLINE i32 saturate_i32(double x) {
#ifdef EMULATED
    return x != x ? 0 : x >= 2147483647.0 ? 0x7fffffff : x <= -2147483648.0 ? -0x7fffffff - 1 : i32(x);
#else
    i32 y; asm("cvt.rzi.s32.f64 %0, %1;" : "=r"(y) : "d"(x)); return x != x ? 0 : y;
#endif
}
INLINE i64 saturate_i64(double x) {
#ifdef EMULATED
    return x != x ? 0 : x >= 9223372036854775808.0 ? 0x7fffffffffffffffll : x <= -9223372036854775808.0 ? -0x7fffffffffffffffll - 1 : i64(x);
#else
    i64 y; asm("cvt.rzi.s64.f64 %0, %1;" : "=l"(y) : "d"(x)); return x != x ? 0 : y;
#endif
}
INLINE i64 saturate_i64(float x) {
#ifdef EMULATED
    return saturate_i64(double(x));
#else
    i64 y; asm("cvt.rzi.s64.f32 %0, %1;" : "=l"(y) : "f"(x)); return x != x ? 0 : y;
#endif
}

// ------------------------------------------------------------------------------------------ copies in the background
// 16 bytes from global to shared memory, both aligned to 16; zeros where `there` is false. They are there after the
// thread's own wait, for others after a barrier behind it.
INLINE void copy_async_16(void* to, const void* from, bool there) {
#ifdef EMULATED
    emulator::copy_async(to, from, 16, there ? 16 : 0, __builtin_return_address(0));
#else
    u32 place = u32(__cvta_generic_to_shared(to)); int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(place), "l"(from), "r"(bytes) : "memory");
#endif
}
// The same for 4 bytes.
INLINE void copy_async_4(void* to, const void* from, bool there) {
#ifdef EMULATED
    emulator::copy_async(to, from, 4, there ? 4 : 0, __builtin_return_address(0));
#else
    u32 place = u32(__cvta_generic_to_shared(to)); int bytes = there ? 4 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" :: "r"(place), "l"(from), "r"(bytes) : "memory");
#endif
}
// Ends a group of copies.
INLINE void copy_async_commit() {
#ifdef EMULATED
    emulator::copy_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most `PENDING` groups are on their way.
template <int PENDING> INLINE void copy_async_wait() {
#ifdef EMULATED
    emulator::copy_async_wait(PENDING);
#else
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
#endif
}

// ------------------------------------------------------------------------------------------ products of small matrices
// sum += a · b by a warp: 16 x 8 x 16, numbers of bf16 (two in a register, the lower first), sums in f32.
// With g = lane / 4, q = lane % 4: a holds rows g and g + 8 at columns 2q, 2q + 1 and 2q + 8, 2q + 9;
// b holds the same rows of column g; sum holds rows g, g + 8 at columns 2q, 2q + 1.
#ifdef EMULATED
template <class T> void emulated_mma_16(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    u32 mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const unsigned char* slots = emulator::exchange(EVERYONE, mine, sizeof mine, HERE);
    auto number = [&](int lane, int word, int half) {
        u32 bits; memcpy(&bits, slots + lane * emulator::SLOT + 4 * word, 4);
        return to_f32(T{u16(bits >> 16 * half)});
    };
    int g = int(emulator::current->lane) / 4, q = int(emulator::current->lane) % 4;
    for (int i = 0; i < 4; i++) {
        int lower = i / 2, column = 2 * q + i % 2; float s = 0;
        for (int k = 0; k < 16; k++) s += number(g * 4 + k % 8 / 2, lower + k / 8 * 2, k % 2) * number(column * 4 + k % 8 / 2, 4 + k / 8, k % 2);
        sum[i] += s;
    }
}
#endif
INLINE void mma_16_8_16_bf16(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef EMULATED
    emulated_mma_16<bf16>(sum, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
// The same for f16.
INLINE void mma_16_8_16_f16(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef EMULATED
    emulated_mma_16<f16>(sum, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
// Four matrices of 8 lines of 16 bytes from shared memory, by a warp: `line` of lane l is line l mod 8 of matrix l / 8, aligned to 16. With
// g = lane / 4, q = lane % 4, word m is of matrix m: numbers 2q, 2q + 1 (of 16 bits) of line g; or, `TURNED`, number g of lines 2q, 2q + 1.
template <bool TURNED> INLINE void read_matrices(u32 (&words)[4], const void* line) {
#ifdef EMULATED
    if (u64(line) % 16) emulator::fail(emulator::MISALIGNED, "a line of a matrix that is not aligned to 16 bytes");
    const unsigned char* slots = emulator::exchange(EVERYONE, &line, sizeof line, HERE);
    const u16* lines[32];
    for (int l = 0; l < 32; l++) memcpy(&lines[l], slots + l * emulator::SLOT, sizeof line);
    int g = int(emulator::current->lane) / 4, q = int(emulator::current->lane) % 4;
    for (int m = 0; m < 4; m++) {
        const u16* const* eight = lines + 8 * m;
        words[m] = TURNED ? eight[2 * q][g] | u32(eight[2 * q + 1][g]) << 16 : eight[g][2 * q] | u32(eight[g][2 * q + 1]) << 16;
    }
#else
    u32 at = u32(__cvta_generic_to_shared(line));
    if (TURNED) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(at) : "memory");
    else asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(at) : "memory");
#endif
}
// sum += a · b by a warp: 16 x 8 x 8, numbers of tf32 (f32 whose last 13 bits do not count), sums in f32.
// a holds rows g, g + 8 at column q, then at q + 4; b holds rows q, q + 4 of column g.
INLINE void mma_16_8_8_tf32(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef EMULATED
    u32 mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const unsigned char* slots = emulator::exchange(EVERYONE, mine, sizeof mine, HERE);
    auto number = [&](int lane, int word) {
        u32 bits; memcpy(&bits, slots + lane * emulator::SLOT + 4 * word, 4);
        return __uint_as_float(bits & 0xffffe000u);
    };
    int g = int(emulator::current->lane) / 4, q = int(emulator::current->lane) % 4;
    for (int i = 0; i < 4; i++) {
        int lower = i / 2, column = 2 * q + i % 2; float s = 0;
        for (int k = 0; k < 8; k++) s += number(g * 4 + k % 4, lower + k / 4 * 2) * number(column * 4 + k % 4, 4 + k / 4);
        sum[i] += s;
    }
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
// The nearest tf32, ties away from zero.
INLINE u32 to_tf32(float x) {
#ifdef EMULATED
    u32 bits = __float_as_uint(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#else
    u32 y; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x)); return y;
#endif
}
