//! Rows of the family `random`.

use super::*;
use chainrule::{Draw, Random};

/// Every call repeats the same numbers.
const DRAW: Draw = Draw { seed: 1, stream: 2, number: 3 };

fn random() -> Random {
    Random::new(1)
}

/// The mask that a draw stands for, read off ones.
fn mask_of(x: &Tensor, thinned: impl Fn(&Tensor) -> Tensor) -> Tensor {
    thinned(&x.detach().ones_like())
}

pub fn rows() -> Vec<Row> {
    vec![
        row("dropout", |x| x[0].dropout(0.4, DRAW))
            .unary(real([]))
            .on([real([9, 130])])
            .definition(|x| &x[0] * &mask_of(&x[0], |ones| ones.dropout(0.4, DRAW)))
            .wrong(ErrorKind::Value, &["a chance of 1.5", "between 0 and 1"], || Tensor::zeros([2]).dropout(1.5, DRAW))
            .wrong(ErrorKind::Value, &["NaN"], || Tensor::zeros([2]).dropout(f64::NAN, DRAW))
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([1i64]).dropout(0.5, DRAW)),
        row("dropout everything", |x| x[0].dropout(1.0, DRAW)).on([real([5])]),
        row("dropout_channels", |x| x[0].dropout_channels(0.4, DRAW))
            .on([real([3, 5])])
            .on([real([2, 4, 3])])
            .on([real([2, 40, 3, 2])])
            .on([real([2, 0, 3])])
            .on([real([2, 3, 0])])
            .definition(|x| &x[0] * &mask_of(&x[0], |ones| ones.dropout_channels(0.4, DRAW)))
            .wrong(ErrorKind::Shape, &["1 axes", "[examples, channels"], || {
                Tensor::zeros([2]).dropout_channels(0.5, DRAW)
            }),
        row("alpha_dropout", |x| x[0].alpha_dropout(0.4, DRAW)).unary(real([])),
        row("flip_coins", |x| x[0].flip_coins(&mut random()))
            .unary(real([]).between(0.0, 1.0))
            .no_gradient("its result is chance")
            .wrong(ErrorKind::Value, &["a chance of 2"], || Tensor::from([2.0]).flip_coins(&mut random())),
        row("poisson", |x| x[0].poisson(&mut random()))
            .unary(real([]).between(0.0, 4.0))
            .on([real([70]).between(0.0, 40.0)])
            .on([real([4]).values(&[0.0, 9.99, 10.0, 6e4])])
            .no_gradient("its result is chance")
            .wrong(ErrorKind::Value, &["a rate of -1", "between 0 and 1e12"], || {
                Tensor::from([-1.0]).poisson(&mut random())
            })
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([1i64]).poisson(&mut random())),
        row("multinomial", |x| x[0].multinomial(2, &mut random()))
            .on([real([5]).positive()])
            .on([real([2, 3, 4]).positive()])
            .no_gradient("its result is a position")
            .wrong(ErrorKind::Value, &["3 different choices", "2 have a weight"], || {
                Tensor::from([1.0, 0.0, 1.0]).multinomial(3, &mut random())
            })
            .wrong(ErrorKind::Value, &["a weight of -1"], || Tensor::from([-1.0]).multinomial(1, &mut random()))
            .wrong(ErrorKind::Shape, &["no choices"], || Tensor::scalar(1.0).multinomial(1, &mut random())),
        row("multinomial_repeated", |x| x[0].multinomial_repeated(7, &mut random()))
            .on([real([5]).positive()])
            .on([real([2, 3, 4]).positive()])
            .no_gradient("its result is a position")
            .wrong(ErrorKind::Value, &["weights are zero"], || {
                Tensor::zeros([3]).multinomial_repeated(1, &mut random())
            }),
        row("uniform", |x| x[0].uniform_like(0.0..1.0, &mut random()))
            .on([real([3]).constant()])
            .wrong(ErrorKind::Value, &["from 2 to 1"], || {
                Tensor::uniform([2], std::ops::Range { start: 2.0, end: 1.0 }, &mut random())
            })
            .wrong(ErrorKind::Memory, &[], || Tensor::uniform([1usize << 40, 1 << 15], 0.0..1.0, &mut random())),
        row("normal", |x| x[0].normal_like(0.0, 1.0, &mut random())).on([real([3]).constant()]).wrong(
            ErrorKind::Value,
            &["deviation of -1"],
            || Tensor::normal([2], 0.0, -1.0, &mut random()),
        ),
        row("exponential", |x| x[0].exponential_like(2.0, &mut random()))
            .on([real([3]).constant()])
            .on([real([2, 70]).constant()])
            .wrong(ErrorKind::Value, &["a rate of 0", "above 0"], || Tensor::exponential([2], 0.0, &mut random())),
        row("integers", |_| Tensor::integers([5], 0..3, &mut random())).on([real([]).constant()]).wrong(
            ErrorKind::Value,
            &["from 3 on, below 3"],
            || Tensor::integers([2], 3..3, &mut random()),
        ),
        row("bernoulli", |_| Tensor::bernoulli([5], 0.5, &mut random())).on([real([]).constant()]).wrong(
            ErrorKind::Value,
            &["a chance of -0.5"],
            || Tensor::bernoulli([2], -0.5, &mut random()),
        ),
        row("integers_like", |x| x[0].integers_like(-3..300, &mut random()))
            .on([real([2, 70]).constant()])
            .on([real([0]).constant()])
            .dtypes(ALL)
            .integers_differ()
            .wrong(ErrorKind::Value, &["from 3 on, below 3"], || Tensor::zeros([2]).integers_like(3..3, &mut random())),
        row("bernoulli_like", |x| x[0].bernoulli_like(0.3, &mut random()))
            .on([real([2, 70]).constant()])
            .on([real([]).constant()])
            .dtypes(ALL)
            .wrong(ErrorKind::Value, &["a chance of 1.5"], || Tensor::zeros([2]).bernoulli_like(1.5, &mut random())),
        row("shuffled", |x| x[0].shuffled(1, &mut random()))
            .on([real([2, 70])])
            .on([real([2, 5, 3])])
            .on([real([3, 1])])
            .on([real([3, 0])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].shuffled(axis, &mut random()))
            .definition(|x| {
                let size = x[0].size(1).unwrap_or(0);
                x[0].index_select(1, &beside(&x[0], Tensor::permutation(size, &mut random())))
            }),
        row("permutation", |_| Tensor::permutation(5, &mut random())).on([real([]).constant()]),
        row("gumbel_softmax", |x| x[0].gumbel_softmax(0.7, false, -1, &mut random()))
            .on([real([2, 4])])
            .composed()
            .wrong(ErrorKind::Value, &["a temperature of 0"], || {
                Tensor::zeros([2]).gumbel_softmax(0.0, false, -1, &mut random())
            }),
        row("rrelu", |x| x[0].rrelu(0.1, 0.3, &mut random())).on([real([2, 5]).away_from(&[0.0])]).composed(),
    ]
}
