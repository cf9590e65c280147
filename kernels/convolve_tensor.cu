// convolve_tensor.cu - convolutions of bf16 and f16: sums in f32, rounded once. Parameters, launch and the idea stand in convolve_tensor.cuh.
#include "convolve_tensor.cuh"

CONVOLUTION(64, bf16, bf16) CONVOLUTION(128, bf16, bf16) CONVOLUTION(64, f16, f16) CONVOLUTION(128, f16, f16)
