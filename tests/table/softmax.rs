//! Rows of the family `softmax`.

use super::*;

pub fn rows() -> Vec<Row> {
    vec![
        row("softmax", |x| x[0].softmax(-1))
            .on([real([2, 3])])
            .on([real([0, 3])])
            .on([real([2, 700])])
            .on([real([2, 3, 4])])
            .definition(|x| {
                let exponentials = x[0].exp();
                &exponentials / exponentials.sum_keep(-1)
            })
            .axis(|x, axis| x[0].softmax(axis))
            .wrong(ErrorKind::Shape, &["axis 2", "rank 1"], || Tensor::zeros([3]).softmax(2))
            .wrong(ErrorKind::DType, &["softmax", "i64"], || Tensor::zeros([3]).to_dtype(DType::I64).softmax(0)),
        row("softmax down", |x| x[0].softmax(1))
            .on([real([2, 5, 3])])
            .on([real([2, 3, 40])])
            .definition(|x| {
                let exponentials = x[0].exp();
                &exponentials / exponentials.sum_keep(1)
            }),
        row("log_softmax", |x| x[0].log_softmax(-1))
            .on([real([2, 3])])
            .on([real([2, 600])])
            .on([real([3, 0])])
            .definition(|x| &x[0] - x[0].exp().sum_keep(-1).ln())
            .axis(|x, axis| x[0].log_softmax(axis)),
        row("log_softmax down", |x| x[0].log_softmax(1))
            .on([real([2, 5, 3])])
            .definition(|x| &x[0] - x[0].exp().sum_keep(1).ln()),
        row("softmin", |x| x[0].softmin(-1)).on([real([2, 3])]).definition(|x| {
            let exponentials = (-&x[0]).exp();
            &exponentials / exponentials.sum_keep(-1)
        }),
        row("logsumexp", |x| x[0].logsumexp())
            .on([real([])])
            .on([real([700])])
            .large(FLOATS, [real([8200])])
            .on([real([2, 3])])
            .definition(|x| x[0].exp().sum().ln()),
        row("logsumexp_over", |x| x[0].logsumexp_over([0, 2]))
            .on([real([2, 3, 4])])
            .on([real([40, 2, 3])])
            .definition(|x| x[0].exp().sum_over([0, 2]).ln()),
        row("logsumexp_keep", |x| x[0].logsumexp_keep(0))
            .on([real([4, 3])])
            .definition(|x| x[0].exp().sum_keep(0).ln())
            .axis(|x, axis| x[0].logsumexp_keep(axis)),
        row("glu", |x| x[0].glu(1))
            .on([real([2, 4])])
            .on([real([3, 2, 2])])
            .axis(|x, axis| x[0].glu(axis))
            .composed()
            .wrong(ErrorKind::Shape, &["glu", "3 numbers", "halves"], || Tensor::zeros([2, 3]).glu(1)),
    ]
}
