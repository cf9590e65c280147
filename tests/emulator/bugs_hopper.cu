// bugs_hopper.cu - one mistake in each kernel about barriers in shared memory, copies of boxes, products of four warps; tests/kernels/mistakes.rs says
// what must be said. Four warps multiply 64 x 64 by 64 x 128 twice, a thread of a fifth brings the operands.
#include "hopper.cuh"

enum Mistake { NOTHING, NOT_WAITED, NOT_RELEASED, RELEASED_EARLY, TOUCHED, NOT_BEGUN, WRITTEN_WITHOUT_FENCE, WRITTEN_WITH_FENCE, NOT_KNOWN, TOO_FEW_BYTES, REGISTERS, REGISTERS_CHANGED, REGISTERS_NOT_BEGUN };

template <int MISTAKE, class N = bf16> INLINE void multiply_boxes(float* y, const TensorMap& a, const TensorMap& b) {
    PATTERNED_SHARED(memory);
    constexpr int A = 64 * 128, B = 128 * 128;
    u64 *full = reinterpret_cast<u64*>(memory + A + B), *free = full + 1;
    int t = threadIdx.x;
    if (t == 0) { barrier_begin(full, 1); barrier_begin(free, 4); if (MISTAKE != NOT_KNOWN) barriers_begun(); }
    __syncthreads();
    if (t == 128) {
        for (int round = 0; round < 2; round++) {
            if (round) barrier_wait(MISTAKE == NOT_RELEASED ? full : free, 0);
            barrier_expect(full, A + B + (MISTAKE == TOO_FEW_BYTES ? 16 : 0));
            copy_box(memory, a, 0, 0, 0, full);
            copy_box(memory + A, b, 0, 0, 0, full);
        }
    }
    if (t >= 128) return;
    float sums[64];
    constexpr bool BY_REGISTERS = MISTAKE >= REGISTERS;
    u32 ones[4];
    for (int round = 0; round < 2; round++) {
        if (MISTAKE != NOT_WAITED) barrier_wait(full, round);
        if (MISTAKE == WRITTEN_WITHOUT_FENCE || MISTAKE == WRITTEN_WITH_FENCE) {
            if (t % WARP == 0) { *reinterpret_cast<bf16*>(memory + t / WARP * 2048) = bf16{0x3f80}; if (MISTAKE == WRITTEN_WITH_FENCE) writes_for_units(); }
            __syncwarp();
        }
        if (BY_REGISTERS) for (u32& two : ones) two = 0x3f803f80;
        if (MISTAKE != NOT_BEGUN) products_begin();
        if (MISTAKE == REGISTERS_NOT_BEGUN) ones[3] = 0x3f803f80;
        for (int step = 0; step < 4; step++) {
            u64 b = operand_at(memory + A + 32 * step, 0, 1024);
            if (BY_REGISTERS) products_of_registers<bf16, false>(sums, ones, b, round + step);
            else products<N, false, false>(sums, operand_at(memory + 32 * step, 0, 1024), b, round + step);
        }
        products_commit();
        if (MISTAKE == REGISTERS_CHANGED) ones[1] = 0;
        if (MISTAKE == RELEASED_EARLY && t % WARP == 0) barrier_arrive(free);
        if (MISTAKE == TOUCHED) y[t] = sums[0];
        products_wait<0>();
        if (MISTAKE != RELEASED_EARLY && t % WARP == 0) barrier_arrive(free);
    }
    for (int i = 0; i < 64; i++) y[i * 128 + t] = sums[i];
}
// A warp writes a box twice.
enum PutMistake { PUT_RIGHT, PUT_WITHOUT_FENCE, PUT_OVERWRITTEN, PUT_NOT_AWAITED };
template <int MISTAKE> INLINE void put_boxes(const TensorMap& out) {
    PATTERNED_SHARED(memory);
    for (int round = 0; round < 2; round++) {
        if (MISTAKE != PUT_OVERWRITTEN && threadIdx.x == 0) put_wait<0>();
        __syncwarp();
        for (int i = threadIdx.x; i < 16 * 32; i += WARP) reinterpret_cast<u32*>(memory)[i] = 0x3f803f80;
        if (MISTAKE != PUT_WITHOUT_FENCE) writes_for_units();
        __syncwarp();
        if (threadIdx.x == 0) { put_box(out, 0, 16 * round, 0, memory); put_commit(); }
    }
    if (MISTAKE != PUT_NOT_AWAITED && threadIdx.x == 0) put_wait<0>();
}
#define PUTS(name, MISTAKE) KERNEL_OF((32), name, TENSOR_MAP out) { put_boxes<MISTAKE>(out); }
PUTS(bug_put_without_fence, PUT_WITHOUT_FENCE)
PUTS(bug_put_overwritten, PUT_OVERWRITTEN)
PUTS(bug_put_not_awaited, PUT_NOT_AWAITED)
PUTS(fine_put, PUT_RIGHT)

#define BOXES(name, ...) KERNEL_OF((160), name, float* y, TENSOR_MAP a, TENSOR_MAP b) { multiply_boxes<__VA_ARGS__>(y, a, b); }
BOXES(bug_box_not_waited, NOT_WAITED)
BOXES(bug_box_not_released, NOT_RELEASED)
BOXES(bug_box_released_early, RELEASED_EARLY)
BOXES(bug_sums_touched, TOUCHED)
BOXES(bug_sums_not_begun, NOT_BEGUN)
BOXES(bug_written_without_fence, WRITTEN_WITHOUT_FENCE)
BOXES(bug_barrier_not_known, NOT_KNOWN)
BOXES(bug_too_few_bytes, TOO_FEW_BYTES)
BOXES(bug_registers_changed, REGISTERS_CHANGED)
BOXES(bug_registers_not_begun, REGISTERS_NOT_BEGUN)
BOXES(fine_boxes, NOTHING)
BOXES(fine_registers, REGISTERS)
BOXES(fine_written_with_fence, WRITTEN_WITH_FENCE)
BOXES(products_of_tf32, NOTHING, tf32)
