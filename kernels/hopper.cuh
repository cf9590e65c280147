// hopper.cuh - instructions that only compute capability 9.0 has (compiled for sm_90a), each wrapped once beside what it means in plain C++
// for the emulator: barriers in shared memory, copies of whole boxes by a unit of their own, products by four warps at once.
#pragma once
#include "device.cuh"

// A tensor and the box of it that a copy brings, as the host's driver writes it down (cuTensorMapEncodeTiled).
#ifdef EMULATED
struct TensorMap { u64 words[16]; };
#define TENSOR_MAP const TensorMap
#else
struct alignas(64) TensorMap { u64 words[16]; };
#define TENSOR_MAP const __grid_constant__ TensorMap
INLINE u32 place_in_shared(const void* at) { return u32(__cvta_generic_to_shared(at)); }
#endif

// The block's own shared memory, from a place on where the pattern of exchanged chunks begins.
#ifdef EMULATED
#define PATTERNED_SHARED(name) unsigned char* name = static_cast<unsigned char*>(emulator::dynamic_shared())
#else
#define PATTERNED_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#endif

// ------------------------------------------------------------------------------------------ barriers that count arrivals and bytes
// A phase ends when `arrivals` have come and all bytes that were announced are there. A barrier is at phase 0 first.
INLINE void barrier_begin(u64* barrier, u32 arrivals) {
#ifdef EMULATED
    emulator::mbarrier_begin(barrier, arrivals, HERE);
#else
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(place_in_shared(barrier)), "r"(arrivals) : "memory");
#endif
}
// Barriers that this thread has begun are known to the unit that copies; to other threads after a barrier of the block.
INLINE void barriers_begun() {
#ifdef EMULATED
    emulator::mbarriers_begun();
#else
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
INLINE void barrier_arrive(u64* barrier) {
#ifdef EMULATED
    emulator::mbarrier_arrive(barrier, 0, HERE);
#else
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(place_in_shared(barrier)) : "memory");
#endif
}
// Arrives, and announces bytes that copies will bring.
INLINE void barrier_expect(u64* barrier, u32 bytes) {
#ifdef EMULATED
    emulator::mbarrier_arrive(barrier, bytes, HERE);
#else
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(place_in_shared(barrier)), "r"(bytes) : "memory");
#endif
}
// Waits until the phase of this parity (0 for the first, 1 for the second, 0 ...) has ended.
INLINE void barrier_wait(u64* barrier, u32 parity) {
#ifdef EMULATED
    emulator::mbarrier_wait(barrier, parity, HERE);
#else
    asm volatile(
        "{ .reg .pred done;\n"
        "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra AGAIN; }" :: "r"(place_in_shared(barrier)), "r"(parity) : "memory");
#endif
}

// ------------------------------------------------------------------------------------------ copies of boxes
// Brings the box that begins at (inner, outer, batch) to shared memory; what lies outside of the tensor is zero. The barrier gets its bytes. Numbers
// of f32 whose tensor is described as one of tf32 are rounded to 11 bits on the way: to the nearest, ties to even.
INLINE void copy_box(void* to, const TensorMap& map, i32 inner, i32 outer, i32 batch, u64* barrier) {
#ifdef EMULATED
    emulator::copy_box(to, &map, {inner, outer, batch}, barrier, HERE, __builtin_return_address(0));
#else
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 :: "r"(place_in_shared(to)), "l"(&map), "r"(place_in_shared(barrier)), "r"(inner), "r"(outer), "r"(batch) : "memory");
#endif
}
// The same of a tensor with four axes.
INLINE void copy_box(void* to, const TensorMap& map, i32 inner, i32 outer, i32 head, i32 batch, u64* barrier) {
#ifdef EMULATED
    emulator::copy_box(to, &map, {inner, outer, head, batch}, barrier, HERE, __builtin_return_address(0));
#else
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
                 :: "r"(place_in_shared(to)), "l"(&map), "r"(place_in_shared(barrier)), "r"(inner), "r"(outer), "r"(head), "r"(batch) : "memory");
#endif
}
// The other way, from shared memory to the box that begins at (inner, outer, batch): what lies outside of the tensor is left out. Copies of one thread
// make groups.
INLINE void put_box(const TensorMap& map, i32 inner, i32 outer, i32 batch, const void* from) {
#ifdef EMULATED
    emulator::put_box(&map, inner, outer, batch, from, HERE, __builtin_return_address(0));
#else
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];"
                 :: "l"(&map), "r"(place_in_shared(from)), "r"(inner), "r"(outer), "r"(batch) : "memory");
#endif
}
// Ends a group of this thread's.
INLINE void put_commit() {
#ifdef EMULATED
    emulator::put_commit();
#else
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
// Waits until at most `PENDING` groups of this thread are still read from shared memory.
template <int PENDING> INLINE void put_wait() {
#ifdef EMULATED
    emulator::put_wait(PENDING);
#else
    asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(PENDING) : "memory");
#endif
}
// What this thread wrote to shared memory is there for copies of boxes and for products of four warps that come after it.
INLINE void writes_for_units() {
#ifdef EMULATED
    emulator::fence_async();
#else
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// ------------------------------------------------------------------------------------------ registers
// Four warps give registers of theirs back, or take more.
template <int EACH> INLINE void registers_less() {
#ifndef EMULATED
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(EACH));
#endif
}
template <int EACH> INLINE void registers_more() {
#ifndef EMULATED
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(EACH));
#endif
}

// ------------------------------------------------------------------------------------------ products by four warps
// Where an operand stands: lines of 128 bytes whose chunks of 16 are exchanged by the line's number (128-byte swizzle), eight lines together.
// Operands that lie along k are 64 k wide (32 of tf32), a line for each row; eight rows further on is `groups` bytes, and `blocks` is 16, which means nothing. Turned ones are 64 rows wide, a
// line for each k; eight k further on is `groups` bytes, 64 rows further on `blocks` bytes.
INLINE u64 operand_at(const void* at, u32 blocks, u32 groups) {
#ifdef EMULATED
    u32 place = emulator::place_in_shared(at);
#else
    u32 place = place_in_shared(at);
#endif
    return u64((place & 0x3ffff) >> 4) | u64(blocks >> 4) << 16 | u64(groups >> 4) << 32 | u64(1) << 62;
}
// Before products read or change registers that this thread has touched.
INLINE void products_begin() {
#ifdef EMULATED
    emulator::wgmma_fence(HERE);
#else
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// Ends a group of products.
INLINE void products_commit() {
#ifdef EMULATED
    emulator::wgmma_commit(HERE);
#else
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Waits until at most `PENDING` groups of this warp are on their way.
template <int PENDING> INLINE void products_wait() {
#ifdef EMULATED
    emulator::wgmma_wait(PENDING, HERE);
#else
    asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(PENDING) : "memory");
#endif
}

// Behind the wait: what is computed from these sums is not moved in front of it.
template <int COUNT> INLINE void sums_there(float (&sums)[COUNT]) {
#ifndef EMULATED
#pragma unroll
    for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(sums[i]) :: "memory");
#endif
}

// Numbers in 32 bits, of which products take the first 19 as they are: who brings them rounds them. They lie along k, and cannot lie turned.
struct tf32 { u32 bits; };
INLINE float to_f32(tf32 x) { return __uint_as_float(x.bits & 0xffffe000u); }

// sums (+)= a · b by the four warps of a group, 64 rows and as many columns as there are sums in two threads, 16 deep (8 of tf32); `add` is 0 where
// sums are to begin anew. Warp w holds rows 16 w and on; with g = lane / 4, q = lane % 4 sums[4 j + 2 h + e] is row g + 8 h, column 8 j + 2 q + e.
//
// products_of_registers has a in registers, two numbers in each, the lower first: a[h] holds row g + 8 h at 2 q and 2 q + 1 of the 16, a[2 + h] at
// 2 q + 8 and 2 q + 9. So sums that are rounded are such a register for each two of them, in their order. They are read until the wait: a thread must
// not write them before.
#ifdef EMULATED
template <class N, bool A_TURNED, bool B_TURNED, int COUNT> INLINE void products(float (&sums)[COUNT], u64 a, u64 b, int add) {
    auto number = [](const void* at) { N x; memcpy(&x, at, sizeof x); return to_f32(x); };
    emulator::wgmma(sums, COUNT, a, b, A_TURNED, B_TURNED, sizeof(N), number, add != 0, HERE, __builtin_return_address(0));
}
template <class N, bool B_TURNED, int COUNT> INLINE void products_of_registers(float (&sums)[COUNT], const u32 (&a)[4], u64 b, int add) {
    auto number = [](const void* at) { N x; memcpy(&x, at, sizeof x); return to_f32(x); };
    emulator::wgmma_of_registers(sums, COUNT, a, b, B_TURNED, number, add != 0, HERE, __builtin_return_address(0));
}
#else
#define FOUR(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#define SIXTEEN(i) FOUR(i), FOUR(i + 4), FOUR(i + 8), FOUR(i + 12)
#define THIRTY_TWO(i) SIXTEEN(i), SIXTEEN(i + 16)
#define SIXTY_FOUR(i) THIRTY_TWO(i), THIRTY_TWO(i + 32)
#define NAMES_32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_64                                                                                                                       \
    NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define NAMES_128                                                                                                                      \
    NAMES_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,"      \
    "%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,"         \
    "%119,%120,%121,%122,%123,%124,%125,%126,%127"
// For so many columns: the names of sums, and those of the operands behind them.
#define PRODUCTS_OF(N, name, columns, NAMES, COUNT, SUMS, o0, o1, o2, o3, o4, o5, o6)                                                  \
    template <bool A_TURNED, bool B_TURNED> INLINE void products_of(N, float (&sums)[COUNT], u64 a, u64 b, int add) {                   \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, " o2 ", 0; wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." name "." name     \
                     " {" NAMES "}, " o0 ", " o1 ", p, 1, 1, " o3 ", " o4 "; }"                                                        \
                     : SUMS : "l"(a), "l"(b), "r"(add), "n"(int(A_TURNED)), "n"(int(B_TURNED)));                                       \
    }                                                                                                                                  \
    template <bool B_TURNED> INLINE void products_of_registers_of(N, float (&sums)[COUNT], const u32 (&a)[4], u64 b, int add) {         \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, " o5 ", 0; wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." name "." name     \
                     " {" NAMES "}, {" o0 "," o1 "," o2 "," o3 "}, " o4 ", p, 1, 1, " o6 "; }"                                         \
                     : SUMS : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(int(B_TURNED)));                       \
    }
#define PRODUCTS(N, name)                                                                                                              \
    PRODUCTS_OF(N, name, "64", NAMES_32, 32, THIRTY_TWO(0), "%32", "%33", "%34", "%35", "%36", "%37", "%38")                            \
    PRODUCTS_OF(N, name, "128", NAMES_64, 64, SIXTY_FOUR(0), "%64", "%65", "%66", "%67", "%68", "%69", "%70")                           \
    PRODUCTS_OF(N, name, "256", NAMES_128, 128, SIXTY_FOUR(0) COMMA SIXTY_FOUR(64), "%128", "%129", "%130", "%131", "%132", "%133", "%134")
#define COMMA ,
PRODUCTS(bf16, "bf16")
PRODUCTS(f16, "f16")
#define PRODUCTS_ALONG(COUNT, SUMS, NAMES, columns, a_name, b_name, add_name)                                                           \
    template <bool A_TURNED, bool B_TURNED> INLINE void products_of(tf32, float (&sums)[COUNT], u64 a, u64 b, int add) {                \
        static_assert(!A_TURNED && !B_TURNED, "numbers of 32 bits lie along the shared axis");                                          \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, " add_name ", 0; wgmma.mma_async.sync.aligned.m64n" columns "k8.f32.tf32.tf32 {" NAMES "}, " a_name ", " b_name ", p, 1, 1; }"  \
                     : SUMS : "l"(a), "l"(b), "r"(add));                                                                               \
    }
#define SUMS_64 SIXTY_FOUR(0)
#define SUMS_128 SIXTY_FOUR(0), SIXTY_FOUR(64)
PRODUCTS_ALONG(64, SUMS_64, NAMES_64, "128", "%64", "%65", "%66")
PRODUCTS_ALONG(128, SUMS_128, NAMES_128, "256", "%128", "%129", "%130")
template <class N, bool A_TURNED, bool B_TURNED, int COUNT> INLINE void products(float (&sums)[COUNT], u64 a, u64 b, int add) {
    products_of<A_TURNED, B_TURNED>(N(), sums, a, b, add);
}
template <class N, bool B_TURNED, int COUNT> INLINE void products_of_registers(float (&sums)[COUNT], const u32 (&a)[4], u64 b, int add) {
    products_of_registers_of<B_TURNED>(N(), sums, a, b, add);
}
#endif
