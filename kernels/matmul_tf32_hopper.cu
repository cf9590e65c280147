// matmul_tf32_hopper.cu - products of f32 matrices that are rounded to tf32 on compute capability 9.0, for those who asked for less than f32 has:
// sums, results and what is joined to them are f32. Copies of boxes round operands to 11 bits (to the nearest, ties to even) where products
// alone would cut them off. Parameters, launch and the idea stand in hopper_tile.cuh.
//
//   matmul_hopper_tf32(...)          tiles of 128 x 256 results
//   matmul_hopper_small_tf32(...)    of 128 x 128, for results that are few
#include "hopper_tile.cuh"

HOPPER_PRODUCT(matmul_hopper_tf32, tf32, float, 256)
HOPPER_PRODUCT(matmul_hopper_small_tf32, tf32, float, 128)
