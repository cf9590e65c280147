// attention_tf32.cu - attention of f32 on tensor cores by mma.sync, where numbers may be rounded to tf32: attention_tensor.cuh.
//
//   attend_tensor_W_f32, attend_query_tensor_W_f32, attend_key_tensor_W_f32 of W = 64, 128: parameters as in attention_tensor.cu
//
// Queries, keys, values, what arrives, weights and slopes are rounded to 11 bits, to the nearest (ties away from zero); sums, maxima, exponentials are f32.
//
// Launch: 128 threads; lines of a block's own, and how many of the others pass by at a time:
//                      W = 64                   W = 128                  grid
//   attend             128 lines,  64 pass      128 lines,  16 pass      ceil(queries / LINES) · matrices · groups
//   attend_query       128 lines,  32 pass       64 lines,  16 pass      the same
//   attend_key         128 lines,  16 pass       64 lines,  16 pass      ceil(keys / LINES) · matrices
// Dynamic shared memory in bytes: attend 4 W (LINES + 2 PASSING); attend_query 4 W (2 LINES + 4 PASSING) + 8 LINES; attend_key
// 4 W (2 LINES + 4 PASSING) + 16 PASSING: at most 97 KiB, which all of sm_80 and later have for a block.
#include "attention_tensor.cuh"

ATTENTION(64, f32, float, 2, 64, 2, 32, 2, 16)
ATTENTION(128, f32, float, 2, 16, 1, 16, 1, 16)
