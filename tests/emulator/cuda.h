// cuda.h - the CUDA language for a plain C++17 compiler. `kernels/device.cuh` includes this where EMULATED is
// defined, so the very same .cu files compile for the CPU. Each CUDA thread is a fiber (block.cpp); the compiler
// reports every access to memory, which memory.cpp judges.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <tuple>
#include <utility>

// ------------------------------------------------------------------------------------------ what the runtime offers
namespace emulator {
struct Place { const char* file; int line; };
#define HERE (emulator::Place{__FILE__, __LINE__})

struct Index { unsigned x, y, z; };
struct Lane { Index index; unsigned linear, lane, warp; };   // what device code may ask of its thread
extern Lane* current;
extern Index block_index, block_size, grid_size;

enum Kind { READ, WRITE, ATOMIC, COPY };                     // COPY: written in the background, not there before the wait
enum Code { ILLEGAL_ADDRESS = 700, MISALIGNED = 716, ILLEGAL_STATE = 719 };
[[noreturn]] void fail(Code code, const char* format, ...) __attribute__((format(printf, 2, 3)));
void access(const void* at, unsigned bytes, Kind kind, const void* caller);

void block_barrier(Place place);
bool block_vote(bool mine, int kind, Place place, int* count);             // kind: 0 and, 1 or, 2 count
void warp_barrier(unsigned mask, Place place);
constexpr unsigned SLOT = 64;
// All lanes of the mask meet; gives 32 slots of SLOT bytes with what each brought, valid until the next meeting.
const unsigned char* exchange(unsigned mask, const void* mine, unsigned bytes, Place place);

void copy_async(void* to, const void* from, unsigned bytes, unsigned filled, const void* caller);
void copy_async_commit();
void copy_async_wait(unsigned pending);

// What compute capability 9.0 has (hopper.cpp).
unsigned place_in_shared(const void* at);
void mbarrier_begin(void* at, unsigned arrivals, Place place);
void mbarriers_begun();
void mbarrier_arrive(void* at, unsigned bytes, Place place);
void mbarrier_wait(void* at, unsigned parity, Place place);
void copy_box(void* to, const void* map, std::initializer_list<int> at, void* barrier, Place place, const void* caller);
void put_box(const void* map, int inner, int outer, int batch, const void* from, Place place, const void* caller);
void put_commit();
void put_wait(unsigned pending);
void fence_async();
void wgmma_fence(Place place);
void wgmma(float* sums, unsigned count, unsigned long long a, unsigned long long b, bool a_turned, bool b_turned, unsigned size,
           float (*number)(const void*), bool add, Place place, const void* caller);
void wgmma_of_registers(float* sums, unsigned count, const unsigned* a, unsigned long long b, bool b_turned, float (*number)(const void*), bool add, Place place,
                        const void* caller);
void wgmma_commit(Place place);
void wgmma_wait(unsigned pending, Place place);

// Shared memory: an array has one place in each block, which the first thread that reaches its line claims.
struct Site {
    unsigned block; void* memory;
    void* place(size_t bytes, size_t alignment, Place where);
};
void* dynamic_shared();

// A launch with its arguments; a kernel that can be launched.
struct Launch { virtual ~Launch() = default; virtual void run() = 0; };
struct Kernel {
    virtual ~Kernel() = default;
    virtual std::unique_ptr<Launch> bind(void** arguments) const = 0;
};
// Kernels compiled from .cu files name themselves when the library is loaded.
void enter(const char* name, const Kernel* kernel, const unsigned* sizes, unsigned count);

template <class... A> struct Compiled : Kernel {
    void (*function)(A...);
    explicit Compiled(void (*f)(A...)) : function(f) {}
    struct Call : Launch {
        void (*function)(A...); std::tuple<A...> arguments;
        Call(void (*f)(A...), A... a) : function(f), arguments(a...) {}
        void run() override { std::apply(function, arguments); }
    };
    template <size_t... I> std::unique_ptr<Launch> bind(void** p, std::index_sequence<I...>) const {
        return std::make_unique<Call>(function, *static_cast<A*>(p[I])...);
    }
    std::unique_ptr<Launch> bind(void** p) const override { return bind(p, std::index_sequence_for<A...>{}); }
};
struct Entry {
    template <class... A> Entry(const char* name, void (*f)(A...)) {
        static const unsigned sizes[] = {unsigned(sizeof(A))..., 0};
        enter(name, new Compiled<A...>(f), sizes, sizeof...(A));
    }
};
} // namespace emulator

// ------------------------------------------------------------------------------------------ words of the language
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))
#define KERNEL_OF(bounds, name, ...)                        \
    extern "C" void name(__VA_ARGS__);                      \
    static const emulator::Entry entry_##name(#name, name); \
    extern "C" void name(__VA_ARGS__)
#define SHARED(T, name, dims)                 \
    typedef T shared_##name dims;             \
    static emulator::Site site_##name = {};   \
    shared_##name& name = *static_cast<shared_##name*>(site_##name.place(sizeof(shared_##name), 16, HERE))
#define DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(emulator::dynamic_shared())

#define threadIdx (emulator::current->index)
#define blockIdx (emulator::block_index)
#define blockDim (emulator::block_size)
#define gridDim (emulator::grid_size)
#define warpSize 32

#define VECTORS(T, N)                                                   \
    struct alignas(2 * sizeof(T)) N##2 { T x, y; };                     \
    static inline N##2 make_##N##2(T x, T y) { return {x, y}; }
VECTORS(float, float) VECTORS(int, int) VECTORS(unsigned, uint) VECTORS(double, double) VECTORS(long long, longlong)
#undef VECTORS
#define VECTORS(T, N)                                                                   \
    struct alignas(4 * sizeof(T)) N##4 { T x, y, z, w; };                               \
    static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTORS(float, float) VECTORS(int, int) VECTORS(unsigned, uint)
#undef VECTORS

// ------------------------------------------------------------------------------------------ meeting
#define __syncthreads() emulator::block_barrier(HERE)
#define __syncthreads_and(p) int(emulator::block_vote(p, 0, HERE, nullptr))
#define __syncthreads_or(p) int(emulator::block_vote(p, 1, HERE, nullptr))
#define __syncwarp(...) emulator::warp_barrier(emulated_mask(__VA_ARGS__), HERE)
static inline unsigned emulated_mask(unsigned mask = ~0u) { return mask; }
static inline int emulated_width(int width = 32) { return width; }

// The value of another lane; `inside` says whether that lane is in this one's part of the warp.
template <class T> static inline T emulated_shuffle(unsigned mask, T mine, int source, bool inside, emulator::Place place) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
    const unsigned char* slots = emulator::exchange(mask, &mine, sizeof mine, place);
    if (!inside) return mine;
    if (!(mask >> source & 1))
        emulator::fail(emulator::ILLEGAL_STATE, "a shuffle reads lane %d, which is not in its mask %08x\n  at %s:%d", source, mask, place.file, place.line);
    T other; memcpy(&other, slots + source * emulator::SLOT, sizeof other); return other;
}
#define EMULATED_LANE int(emulator::current->lane)
#define EMULATED_SHUFFLE(mask, v, width, source, inside)                                           \
    [&](int w_) { int l_ = EMULATED_LANE, s_ = source; bool in_ = inside; (void)w_; (void)l_;      \
                  return emulated_shuffle(mask, v, s_, in_, HERE); }(width)
#define __shfl_sync(mask, v, from, ...) EMULATED_SHUFFLE(mask, v, emulated_width(__VA_ARGS__), l_ / w_ * w_ + int(from) % w_, true)
#define __shfl_xor_sync(mask, v, by, ...) EMULATED_SHUFFLE(mask, v, emulated_width(__VA_ARGS__), l_ ^ int(by), s_ / w_ <= l_ / w_)
#define __shfl_down_sync(mask, v, by, ...) EMULATED_SHUFFLE(mask, v, emulated_width(__VA_ARGS__), l_ + int(by), s_ / w_ == l_ / w_)
#define __shfl_up_sync(mask, v, by, ...) EMULATED_SHUFFLE(mask, v, emulated_width(__VA_ARGS__), l_ - int(by), s_ >= l_ / w_ * w_)

static inline unsigned emulated_ballot(unsigned mask, bool mine, emulator::Place place) {
    int word = mine; const unsigned char* slots = emulator::exchange(mask, &word, sizeof word, place); unsigned all = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) { memcpy(&word, slots + lane * emulator::SLOT, sizeof word); all |= unsigned(word != 0) << lane; }
    return all;
}
#define __ballot_sync(mask, p) emulated_ballot(mask, p, HERE)
#define __any_sync(mask, p) int(emulated_ballot(mask, p, HERE) != 0)
#define __all_sync(mask, p) int(emulated_ballot(mask, p, HERE) == (mask))

// ------------------------------------------------------------------------------------------ atomics
// Fibers never run at once, so plain code is atomic; the judge is told what it was.
template <class T, class F> __attribute__((noinline, no_sanitize("thread", "alignment"))) static T emulated_atomic(T* at, F next) {
    if (uintptr_t(at) % sizeof(T)) emulator::fail(emulator::MISALIGNED, "a misaligned atomic");
    emulator::access(at, sizeof(T), emulator::ATOMIC, __builtin_return_address(0));
    T old; memcpy(&old, at, sizeof old); T now = next(old); memcpy(at, &now, sizeof now); return old;
}
template <class T> static inline T atomicAdd(T* at, T v) { return emulated_atomic(at, [=](T old) { return T(old + v); }); }
template <class T> static inline T atomicMin(T* at, T v) { return emulated_atomic(at, [=](T old) { return v < old ? v : old; }); }
template <class T> static inline T atomicMax(T* at, T v) { return emulated_atomic(at, [=](T old) { return old < v ? v : old; }); }
template <class T> static inline T atomicOr(T* at, T v) { return emulated_atomic(at, [=](T old) { return T(old | v); }); }
template <class T> static inline T atomicExch(T* at, T v) { return emulated_atomic(at, [=](T) { return v; }); }
template <class T> static inline T atomicCAS(T* at, T expected, T v) { return emulated_atomic(at, [=](T old) { return old == expected ? v : old; }); }

// ------------------------------------------------------------------------------------------ numbers
template <class To, class From> static inline To emulated_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits of one size"); To to; memcpy(&to, &from, sizeof to); return to;
}
static inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
static inline int __float_as_int(float x) { return emulated_bits<int>(x); }
static inline float __int_as_float(int x) { return emulated_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
// Products and sums that the device may not join into one rounding; the host's compiler is told not to (-ffp-contract=off).
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
template <class T> static inline T __ldg(const T* at) { return *at; }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
