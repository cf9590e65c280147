// matmul_bf16_hopper.cu - products of bf16 matrices on compute capability 9.0. Parameters, launch and the idea stand in hopper_tile.cuh.
//
//   matmul_hopper_bf16(...)          tiles of 128 x 256 results
//   matmul_hopper_small_bf16(...)    of 128 x 128, for results that are few
#include "hopper_tile.cuh"

HOPPER_PRODUCT(matmul_hopper_bf16, bf16, bf16, 256)
HOPPER_PRODUCT(matmul_hopper_small_bf16, bf16, bf16, 128)
