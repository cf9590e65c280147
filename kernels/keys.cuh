// keys.cuh - an element as an unsigned number that orders as it does: NaN above all, both zeros the same.
#pragma once
#include "numbers.cuh"

template <class U> INLINE U float_key(U bits, bool nan) {
    constexpr U SIGN = U(1) << (8 * sizeof(U) - 1);
    return nan ? U(~U(0)) : !(bits & SIGN) || bits == SIGN ? U(bits | SIGN) : U(~bits);
}
INLINE u64 key_of(double x) { return float_key<u64>(u64(__double_as_longlong(x)), x != x); }
INLINE u32 key_of(float x) { return float_key<u32>(__float_as_uint(x), x != x); }
INLINE u32 key_of(bf16 x) { return float_key<u16>(x.bits, (x.bits & 0x7fff) > 0x7f80); }
INLINE u32 key_of(f16 x) { return float_key<u16>(x.bits, (x.bits & 0x7fff) > 0x7c00); }
INLINE u64 key_of(i64 x) { return u64(x) ^ 0x8000000000000000ull; }
INLINE u32 key_of(i32 x) { return u32(x) ^ 0x80000000u; }
INLINE u32 key_of(u8 x) { return x; }
