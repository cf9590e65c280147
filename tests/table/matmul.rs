//! Rows of the family `matmul`.

use super::*;

/// `[.., m, k] · [.., k, n]` as products and sums: what the kernels must agree with.
fn plain(left: &Tensor, right: &Tensor) -> Tensor {
    (left.unsqueeze(-1) * right.unsqueeze(-3)).sum_over(-2)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("matmul", |x| x[0].matmul(&x[1]))
            .on([real([2, 3]), real([3, 4])])
            .on([real([1, 1]), real([1, 1])])
            .on([real([0, 3]), real([3, 2])])
            .on([real([2, 0]), real([0, 3])])
            .on([real([17, 9]), real([9, 35])])
            .on([real([1, 40]), real([40, 33])])
            .on([real([33, 40]), real([40, 1])])
            .on([real([2, 3, 4]), real([2, 4, 5])])
            .on([real([3, 1, 2, 4]), real([2, 4, 3])])
            .on([real([0, 2, 3]), real([3, 2])])
            .large(HALVES, [real([70, 72]), real([72, 80])])
            .large(HALVES, [real([4, 64, 64]), real([4, 64, 72])])
            .large(FLOATS, [real([2, 600]), real([600, 3])])
            .large(&[DType::F32], [real([9, 70, 20]), real([9, 20, 68])])
            .rounded([real([70, 67]).short(), real([67, 65]).short()])
            .dtypes(NUMBERS)
            .definition(|x| plain(&x[0], &x[1]))
            .wrong(ErrorKind::Shape, &["the inner sizes differ", "last size (511)", "second-to-last (512)"], || {
                Tensor::zeros([32, 511]).matmul(&Tensor::zeros([512, 2048]))
            })
            .wrong(ErrorKind::Shape, &["do not broadcast"], || {
                Tensor::zeros([2, 3, 4]).matmul(&Tensor::zeros([3, 4, 5]))
            })
            .wrong(ErrorKind::Shape, &["single number", "a * b"], || Tensor::zeros([2]).matmul(&Tensor::scalar(1.0)))
            .wrong(ErrorKind::DType, &["f32 and f64"], || {
                Tensor::zeros([2, 2]).matmul(&Tensor::zeros([2, 2]).to_dtype(DType::F64))
            })
            .wrong(ErrorKind::DType, &["booleans"], || {
                let mask = Tensor::zeros([2, 2]).to_dtype(DType::Bool);
                mask.matmul(&mask)
            }),
        row("matmul shared right", |x| x[0].matmul(&x[1]))
            .on([real([2, 3, 4]), real([4, 5])])
            .on([real([2, 2, 1, 4]), real([4, 1])])
            .on([real([3, 4]), real([2, 4, 5])])
            .dtypes(NUMBERS)
            .definition(|x| plain(&x[0], &x[1])),
        row("matmul vectors", |x| x[0].matmul(&x[1]))
            .on([real([3]), real([3])])
            .on([real([0]), real([0])])
            .on([real([2, 3]), real([3])])
            .on([real([2, 4, 3]), real([3])])
            .on([real([3]), real([3, 2])])
            .on([real([3]), real([4, 3, 2])])
            .dtypes(NUMBERS)
            .wrong(ErrorKind::Shape, &["the inner sizes differ", "(3)", "(4)"], || {
                Tensor::zeros([3]).matmul(&Tensor::zeros([4]))
            }),
        row("linear", |x| x[0].linear(&x[1], Some(&x[2])))
            .on([real([2, 3]), real([4, 3]), real([4])])
            .on([real([3]), real([4, 3]), real([4])])
            .on([real([2, 5, 3]), real([4, 3]), real([4])])
            .on([real([20, 33]), real([35, 33]), real([35])])
            .on([real([0, 3]), real([4, 3]), real([4])])
            .dtypes(NUMBERS)
            .definition(|x| x[0].unsqueeze(-2).matmul(&x[1].t()).squeeze_axes(-2) + &x[2])
            .wrong(ErrorKind::Shape, &["the inner sizes differ", "(5)", "(3)"], || {
                Tensor::zeros([2, 5]).linear(&Tensor::zeros([4, 3]), None)
            })
            .wrong(ErrorKind::Shape, &["bias", "[4]"], || {
                Tensor::zeros([2, 3]).linear(&Tensor::zeros([4, 3]), Some(&Tensor::zeros([3])))
            })
            .wrong(ErrorKind::Shape, &["weight has 1 axes"], || {
                Tensor::zeros([2, 3]).linear(&Tensor::zeros([3]), None)
            }),
        row("linear without bias", |x| x[0].linear(&x[1], None))
            .on([real([2, 3]), real([4, 3])])
            .on([real([1, 30]), real([40, 30])])
            .large(HALVES, [real([66, 64]), real([72, 64])])
            .rounded([real([66, 68]).short(), real([72, 68]).short()])
            .rounded([real([520, 64]).short(), real([64, 64]).short()])
            .rounded([real([2, 256, 256]).short(), real([264, 256]).short()])
            .dtypes(NUMBERS)
            .definition(|x| x[0].matmul(&x[1].t())),
        row("add_matmul", |x| x[0].add_matmul(&x[1], &x[2], -1.25, 0.5))
            .on([real([2, 4]), real([2, 3]), real([3, 4])])
            .on([real([4]), real([2, 3]), real([3, 4])])
            .on([real([]), real([2, 3]), real([3, 4])])
            .on([real([3, 1, 4]), real([3, 2, 3]), real([3, 3, 4])])
            .definition(|x| &x[0] * 0.5 + x[1].matmul(&x[2]) * -1.25)
            .wrong(ErrorKind::Shape, &["does not expand"], || {
                Tensor::zeros([3, 3]).add_matmul(&Tensor::zeros([2, 3]), &Tensor::zeros([3, 3]), 1.0, 1.0)
            }),
        row("outer", |x| x[0].outer(&x[1]))
            .on([real([3]), real([4])])
            .on([real([0]), real([2])])
            .dtypes(NUMBERS)
            .wrong(ErrorKind::Shape, &["vectors", "2 and 1 axes"], || Tensor::zeros([2, 2]).outer(&Tensor::zeros([2]))),
        row("dot", |x| x[0].dot(&x[1]))
            .on([real([5]), real([5])])
            .dtypes(NUMBERS)
            .definition(|x| (&x[0] * &x[1]).sum())
            .wrong(ErrorKind::Shape, &["vectors"], || Tensor::zeros([2, 2]).dot(&Tensor::zeros([2])))
            .wrong(ErrorKind::Shape, &["inner sizes"], || Tensor::zeros([3]).dot(&Tensor::zeros([2]))),
        row("vector_dot", |x| x[0].vector_dot(&x[1], -1))
            .on([real([2, 3]), real([3])])
            .composed()
            .axis(|x, axis| x[0].vector_dot(&x[1], axis)),
        row("inner", |x| x[0].inner(&x[1])).on([real([2, 3]), real([4, 3])]).on([real([2, 3]), real([3])]).composed(),
        row("tensordot", |x| x[0].tensordot(&x[1], [1, 2], [1, 0]))
            .on([real([2, 3, 4]), real([4, 3, 5])])
            .dtypes(NUMBERS)
            .definition(|x| Tensor::einsum("ijk,kjl->il", &[&x[0], &x[1]]))
            .wrong(ErrorKind::Shape, &["in pairs"], || {
                Tensor::zeros([2, 3]).tensordot(&Tensor::zeros([3, 2]), [0, 1], 0)
            })
            .wrong(ErrorKind::Shape, &["axis 0 of the left has 2"], || {
                Tensor::zeros([2, 3]).tensordot(&Tensor::zeros([3, 2]), 0, 0)
            }),
        row("bilinear", |x| x[0].bilinear(&x[1], &x[2], Some(&x[3])))
            .on([real([2, 3]), real([2, 4]), real([5, 3, 4]), real([5])])
            .on([real([3]), real([4]), real([2, 3, 4]), real([2])])
            .composed()
            .wrong(ErrorKind::Shape, &["do not fit", "[outputs, i, j]"], || {
                Tensor::zeros([2, 3]).bilinear(&Tensor::zeros([2, 4]), &Tensor::zeros([5, 4, 3]), None)
            }),
        row("kron", |x| x[0].kron(&x[1]))
            .on([real([2, 3]), real([2, 2])])
            .on([real([3]), real([2, 2])])
            .on([real([]), real([2])])
            .composed(),
        row("trace", |x| x[0].trace()).on([real([3, 3])]).on([real([2, 3, 4])]).dtypes(NUMBERS),
        row("matrix_power", |x| x[0].matrix_power(5))
            .on([real([3, 3]).between(-0.9, 0.9)])
            .on([real([2, 2, 2]).between(-0.9, 0.9)])
            .composed()
            .wrong(ErrorKind::Shape, &["not square", "2 × 3"], || Tensor::zeros([2, 3]).matrix_power(2)),
        row("matrix_power inverse", |x| {
            let ones = beside(&x[0], Tensor::eye(3) * 3.0).to_dtype(x[0].dtype().unwrap_or(DType::F32));
            (&x[0] + ones).matrix_power(-3)
        })
        .on([real([3, 3]).between(-0.9, 0.9)])
        .on([real([2, 3, 3]).between(-0.9, 0.9)])
        .composed()
        .definition(|x| {
            let ones = beside(&x[0], Tensor::eye(3) * 3.0).to_dtype(x[0].dtype().unwrap_or(DType::F32));
            let inverse = (&x[0] + ones).inverse();
            inverse.matmul(&inverse.matmul(&inverse))
        }),
        row("matrix_exp", |x| x[0].matrix_exp())
            .on([real([3, 3])])
            .on([real([2, 2, 2])])
            .on([real([2, 2, 2]).values(&[0.0, 0.0, 0.0, 0.0, 5.0, -3.0, 4.0, -6.0])])
            .on([real([1, 1])])
            .on([real([0, 2, 2])])
            .composed()
            .definition(|x| {
                let wide = x[0].to_dtype(if x[0].dtype().is_ok_and(|dtype| dtype == DType::F64) {
                    DType::F64
                } else {
                    DType::F32
                });
                let mut term = beside(&wide, Tensor::eye(wide.size(-1).unwrap_or(0))).to_dtype(wide.dtype().unwrap());
                let mut sum = term.clone() + &wide * 0.0;
                for k in 1..60 {
                    term = term.matmul(&wide) / k as f64;
                    sum = sum + &term;
                }
                sum.to_dtype(x[0].dtype().unwrap())
            })
            .wrong(ErrorKind::Shape, &["not square", "2 × 3"], || Tensor::zeros([2, 3]).matrix_exp())
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([[1i64]]).matrix_exp()),
        row("chain", |x| Tensor::chain(&[&x[0], &x[1], &x[2]]))
            .on([real([2, 5]), real([5, 3]), real([3, 4])])
            .on([real([5]), real([5, 3]), real([3])])
            .composed()
            .definition(|x| x[0].matmul(&x[1]).matmul(&x[2]))
            .wrong(ErrorKind::Shape, &["factor 1 has 4 rows"], || {
                Tensor::chain(&[&Tensor::zeros([2, 3]), &Tensor::zeros([4, 2])])
            })
            .wrong(ErrorKind::Value, &["no factors"], || Tensor::chain(&[])),
        row("einsum", |x| Tensor::einsum("bij,bjk->bik", &[&x[0], &x[1]]))
            .on([real([2, 3, 4]), real([2, 4, 5])])
            .on([real([1, 3, 4]), real([2, 4, 1])])
            .on([real([2, 0, 4]), real([2, 4, 5])])
            .composed()
            .definition(|x| x[0].matmul(&x[1]))
            .wrong(ErrorKind::Value, &["2 operands", "1 were given"], || {
                Tensor::einsum("ij,jk", &[&Tensor::zeros([2, 2])])
            })
            .wrong(ErrorKind::Value, &["'1'", "no letter"], || Tensor::einsum("i1->i", &[&Tensor::zeros([2, 2])]))
            .wrong(ErrorKind::Shape, &["names 2 axes", "has 3"], || {
                Tensor::einsum("ij->i", &[&Tensor::zeros([2, 2, 2])])
            })
            .wrong(ErrorKind::Shape, &["axis j has 3", "4 in operand 1"], || {
                Tensor::einsum("ij,jk", &[&Tensor::zeros([2, 3]), &Tensor::zeros([4, 2])])
            })
            .wrong(ErrorKind::Value, &["names k", "no operand"], || Tensor::einsum("ij->k", &[&Tensor::zeros([2, 2])]))
            .wrong(ErrorKind::Value, &["names i twice"], || Tensor::einsum("ij->ii", &[&Tensor::zeros([2, 2])]))
            .wrong(ErrorKind::Shape, &["repeats i", "different sizes"], || {
                Tensor::einsum("ii", &[&Tensor::zeros([2, 3])])
            })
            .wrong(ErrorKind::Value, &["two ellipses"], || Tensor::einsum("...i...", &[&Tensor::zeros([2, 3])])),
        row("einsum diagonals", |x| Tensor::einsum("iij,j...->i...", &[&x[0], &x[1]]))
            .on([real([3, 3, 2]), real([2, 4])])
            .on([real([3, 3, 2]), real([2])])
            .composed(),
        row("einsum three", |x| Tensor::einsum("ij,kj,lk->il", &[&x[0], &x[1], &x[2]]))
            .on([real([2, 3]), real([4, 3]), real([5, 4])])
            .composed()
            .definition(|x| x[0].matmul(&x[1].t()).matmul(&x[2].t())),
        row("einsum sums", |x| Tensor::einsum("abc,dc->b", &[&x[0], &x[1]]))
            .on([real([2, 3, 4]), real([5, 4])])
            .composed(),
        row("einsum pointwise", |x| Tensor::einsum("ij,ji->ij", &[&x[0], &x[1]]))
            .on([real([2, 3]), real([3, 2])])
            .definition(|x| &x[0] * x[1].t()),
    ]
}
