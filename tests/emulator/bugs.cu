// bugs.cu - one mistake in each kernel, all of which the judge must find; tests/kernels.rs says what it must say.
#include "device.cuh"

KERNEL(bug_read_behind, const float* x, float* y, int n) { int t = threadIdx.x; if (t <= n && x[t] == 2.0f) y[0] = x[t]; }
KERNEL(bug_write_behind, float* y, int n) { int t = threadIdx.x; y[t < n ? t : n] = 1.0f; }
KERNEL(bug_shared_behind, float* y) { SHARED(float, a, [32]); float* p = a; int t = threadIdx.x; p[t] = float(t); y[t] = p[t]; }
KERNEL(bug_array_index, float* y) { SHARED(float, a, [4][8]); int t = threadIdx.x; a[0][t] = float(t); y[t] = a[0][t]; }
KERNEL(bug_dynamic_behind, float* y) { DYNAMIC_SHARED(float, a); int t = threadIdx.x; a[t] = float(t); y[t] = a[t]; }
KERNEL(bug_missing_barrier, const float* x, float* y) { SHARED(float, a, [64]); int t = threadIdx.x; a[t] = x[t]; y[t] = a[63 - t]; }
KERNEL(bug_second_barrier, const float* x, float* y) {
    SHARED(float, a, [64]);
    int t = threadIdx.x; float sum = 0;
    for (int round = 0; round < 2; round++) { a[t] = x[t] + float(round); __syncthreads(); sum += a[63 - t]; }   // written again before all have read
    y[t] = sum;
}
KERNEL(bug_missing_warp_barrier, const float* x, float* y) { SHARED(float, a, [32]); int t = threadIdx.x; a[t] = x[t]; y[t] = a[31 - t]; }
KERNEL(bug_blocks_race, float* y) { y[threadIdx.x] += 1.0f; }
KERNEL(bug_uninitialised_shared, float* y) { SHARED(float, a, [64]); int t = threadIdx.x; if (t < 32) a[t] = float(t); __syncthreads(); y[t] = a[t]; }
KERNEL(bug_uninitialised_global, const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
KERNEL(bug_divergent_barrier, float* y) { if (threadIdx.x >= 40) return; __syncthreads(); y[threadIdx.x] = 1.0f; }
KERNEL(bug_two_barriers, float* y) { if (threadIdx.x < 40) __syncthreads();
    else __syncthreads();
    y[threadIdx.x] = 1.0f; }
KERNEL(bug_divergent_shuffle, float* y) { int t = threadIdx.x; float v = float(t); if (t < 16) v = __shfl_xor_sync(~0u, v, 1); y[t] = v; }
KERNEL(bug_missing_wait, const float* x, float* y) {
    SHARED(float, a, [128]);
    int t = threadIdx.x;
    copy_async_16(&a[t * 4], x + t * 4, true); copy_async_commit();
    __syncthreads();                                         // of the threads, not of the copies
    y[t] = a[t];
}
KERNEL(bug_wait_without_barrier, const float* x, float* y) {
    SHARED(float, a, [128]);
    int t = threadIdx.x;
    copy_async_16(&a[t * 4], x + t * 4, true); copy_async_commit(); copy_async_wait<0>();    // one's own copies only
    y[t] = a[t];
}
KERNEL(bug_misaligned, const float* x, float* y) { float4 v = *reinterpret_cast<const float4*>(x + 1); y[0] = v.x + v.w; }
KERNEL(bug_overflow, float* y, int n) { y[0] = n * n > 0 ? 1.0f : 2.0f; }
KERNEL(fine_warp_barrier, const float* x, float* y) { SHARED(float, a, [32]); int t = threadIdx.x; a[t] = x[t]; __syncwarp(); y[t] = a[31 - t]; }
KERNEL(fine_atomics, int* y) { atomicAdd(y, 1); }
KERNEL(fine_copies, const float* x, float* y) {
    SHARED(float, a, [128]);
    int t = threadIdx.x;
    copy_async_16(&a[t * 4], x + t * 4, t < 31); copy_async_commit(); copy_async_wait<0>();
    __syncthreads();
    for (int i = t; i < 128; i += 32) y[i] = a[i];
}
