// product.cuh - what every kernel of matrix products is given; strides in elements, any.
#pragma once
#include "numbers.cuh"
#include "view.cuh"

struct Product {
    i64 first, m, n, k, a_row, a_step, b_step, b_column, start_row, start_column;
    double alpha, beta;
};
