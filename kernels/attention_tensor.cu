// attention_tensor.cu - attention of bf16 and f16 on tensor cores by mma.sync: attention_tensor.cuh.
//
//   attend_tensor_W_T(q, k, v, mask, out, maxima, shares, Attention, View q_batch, View k_batch, View v_batch, View mask_batch)
//   attend_query_tensor_W_T(q, k, v, mask, g, maxima, shares, products, dq, dmask, Attention, the four views)
//   attend_key_tensor_W_T(q, k, v, mask, g, maxima, shares, products, dk, dv, Attention, the four views)
//        T of bf16 f16; W of 64 128 256: width and value_width are at most W. Everything else as in attention.cu, whose attend_products
//        gives the products. Any strides; a matrix whose columns are dense, with rows a multiple of 8 apart and addresses of 16 bytes, goes to
//        shared memory by itself.
//
// Launch: 128 threads. A block has LINES queries (keys for attend_key), and the others pass by PASSING at a time:
//                      W = 64                   W = 128                  W = 256           grid
//   attend             128 lines,  64 pass      128 lines,  32 pass       64,  32          ceil(queries / LINES) · matrices · groups
//   attend_query       128 lines,  32 pass      128 lines,  16 pass       64,  16          the same
//   attend_key         128 lines,  16 pass       64 lines,  32 pass       64,  16          ceil(keys / LINES) · matrices; for W = 256 twice as
//        many along y, the second half for dv
// Dynamic shared memory in bytes: attend 2 W (LINES + 2 PASSING); attend_query 2 W (2 LINES + 4 PASSING) + 8 LINES; attend_key
// 2 W (2 LINES + 4 PASSING) + 16 PASSING.
#include "attention_tensor.cuh"

#define WIDTHS(t, T)                            \
    ATTENTION(64, t, T, 2, 64, 2, 32, 2, 16)    \
    ATTENTION(128, t, T, 2, 32, 2, 16, 1, 32)   \
    ATTENTION(256, t, T, 1, 32, 1, 16, 1, 16)
WIDTHS(bf16, bf16)
WIDTHS(f16, f16)
