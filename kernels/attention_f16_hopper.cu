// attention_f16_hopper.cu - attention of f16 on compute capability 9.0, forward. Parameters, launch and the idea stand in attention_hopper.cuh.
//
//   attend_hopper_64_f16(...)     rows of at most 64 numbers
//   attend_hopper_128_f16(...)    of at most 128
//   attend_masked_hopper_64_f16(...), attend_masked_hopper_128_f16(...)    with a mask of bytes
#include "attention_hopper.cuh"

HOPPER_ATTENTION(attend_hopper_64_f16, f16, 64)
HOPPER_ATTENTION(attend_hopper_128_f16, f16, 128)
HOPPER_MASKED_ATTENTION(attend_masked_hopper_64_f16, f16, 64)
HOPPER_MASKED_ATTENTION(attend_masked_hopper_128_f16, f16, 128)
