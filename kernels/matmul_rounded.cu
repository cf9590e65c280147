// matmul_rounded.cu - products of f32 matrices on tensor cores by mma.sync, for those who asked for less than f32 has: sums are in f32.
//
//   matmul_tf32(a, b, out, start, bias, Product, View a_batch, View b_batch, View start_batch)      as matmul_f32 in matmul.cu; operands are rounded to
//                                                                                             11 bits (to the nearest, ties away from zero)
//   matmul_by_bf16(... the same)                                                              to 8 bits (ties to even), while they are brought
//
// Launch: 128 threads, grid (ceil(m / 128) · ceil(n / 128), 1, batches · pieces). The idea stands in tensor_tile.cuh.
#include "tensor_tile.cuh"

TENSOR_PRODUCT(matmul_tf32, float, tf32)
TENSOR_PRODUCT(matmul_by_bf16, float, bf16)
