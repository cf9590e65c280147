// matmul_rounded_hopper.cu - products of f32 matrices that were rounded to bf16, on compute capability 9.0: results, and what is joined to them, are
// f32. Parameters, launch and the idea stand in hopper_tile.cuh.
//
//   matmul_hopper_rounded(...)          tiles of 128 x 256 results
//   matmul_hopper_small_rounded(...)    of 128 x 128, for results that are few
#include "hopper_tile.cuh"

HOPPER_PRODUCT(matmul_hopper_rounded, bf16, float, 256)
HOPPER_PRODUCT(matmul_hopper_small_rounded, bf16, float, 128)
