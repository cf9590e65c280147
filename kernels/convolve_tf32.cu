// convolve_tf32.cu - convolutions of f32 for those who asked for less than f32 has: factors are rounded to 11 bits (to the nearest, ties away from
// zero) while they are brought, sums, bias and results are f32. Parameters, launch and the idea stand in convolve_tensor.cuh.
#include "convolve_tensor.cuh"

CONVOLUTION(64, f32, float) CONVOLUTION(128, f32, float)
