// matmul_tensor.cu - products of bf16 and f16 matrices on tensor cores by mma.sync.
//
//   matmul_tensor_T(a, b, out, start, bias, Product, View a_batch, View b_batch, View start_batch)      as matmul_T in matmul.cu; T of bf16 f16
//
// Launch: 128 threads, grid (ceil(m / 128) · ceil(n / 128), 1, batches · pieces). The idea stands in tensor_tile.cuh.
#include "tensor_tile.cuh"

TENSOR_PRODUCT(matmul_tensor_bf16, bf16, bf16)
TENSOR_PRODUCT(matmul_tensor_f16, f16, f16)
