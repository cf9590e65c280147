//! Rows of the family `pointwise`.

use super::*;

/// A method of one operand, on values where it is smooth.
macro_rules! methods {
    ($($name:ident $(($($p:expr),*))? : $like:expr;)*) => {
        vec![$(row(stringify!($name), |x| x[0].$name($($($p),*)?)).unary($like)),*]
    };
}

pub fn rows() -> Vec<Row> {
    let any = || real([]);
    let kinks = || real([]).away_from(&[0.0]);
    let mut rows = methods! {
        exp: any(); exp2: any(); expm1: any(); sin: any(); cos: any(); atan: any(); sinh: any(); cosh: any(); tanh: any();
        asinh: any(); erf: any(); erfc: any(); normal_cdf: any(); sigmoid: any(); log_sigmoid: any(); silu: any(); gelu: any(); gelu_tanh: any();
        mish: any(); tanhshrink: any(); to_degrees: any(); to_radians: any();
        softplus(1.3, 20.0): any();
        ln: any().positive(); log1p: any().positive(); log2: any().positive(); log10: any().positive(); sqrt: any().positive();
        rsqrt: any().positive(); lgamma: any().positive(); digamma: any().positive(); cbrt: any().positive();
        reciprocal: any().positive();
        tan: any().between(-1.2, 1.2); asin: any().between(-0.9, 0.9); acos: any().between(-0.9, 0.9);
        atanh: any().between(-0.9, 0.9); erfinv: any().between(-0.9, 0.9); logit: any().between(0.1, 0.9);
        acosh: any().between(1.2, 3.0);
        elu(1.1): kinks(); selu: kinks(); celu(0.9): kinks(); softsign: kinks(); leaky_relu(0.1): kinks();
        relu6: kinks();
        hardtanh(-1.0, 1.0): any().away_from(&[-1.0, 1.0]);
        softshrink(0.5): any().away_from(&[-0.5, 0.5]);
        hardshrink(0.5): any().away_from(&[-0.5, 0.5]);
        threshold(0.5, 3.0): any().away_from(&[0.5]);
        hardswish: any(); hardsigmoid: any();
        fract: any().away_from(&[-2.0, -1.0, 0.0, 1.0, 2.0]);
        nan_to_num(0.0, 1.0, -1.0): any();
    };
    rows.extend([
        row("square", |x| x[0].square()).unary(any()).dtypes(NUMBERS),
        row("abs", |x| x[0].abs()).unary(kinks()).dtypes(NUMBERS),
        row("relu", |x| x[0].relu()).unary(kinks()).dtypes(NUMBERS),
        row("floor", |x| x[0].floor()).unary(any().away_from(&[-2.0, -1.0, 0.0, 1.0, 2.0])),
        row("ceil", |x| x[0].ceil()).unary(any().away_from(&[-2.0, -1.0, 0.0, 1.0, 2.0])),
        row("round", |x| x[0].round()).unary(any().away_from(&[-1.5, -0.5, 0.5, 1.5])),
        row("trunc", |x| x[0].trunc()).unary(any().away_from(&[-2.0, -1.0, 0.0, 1.0, 2.0])),
        row("sign", |x| x[0].sign()).unary(kinks()),
        row("polygamma", |x| x[0].polygamma(2)).unary(any().positive()),
        row("clamp", |x| x[0].clamp(-1.0, 1.0)).unary(any().away_from(&[-1.0, 1.0])),
        row("clamp_min", |x| x[0].clamp_min(-0.5)).unary(any().away_from(&[-0.5])),
        row("clamp_max", |x| x[0].clamp_max(0.5)).unary(any().away_from(&[0.5])),
        row("add number", |x| &x[0] + 2.5).unary(any()),
        row("sub number", |x| &x[0] - 2.5).unary(any()),
        row("sub from number", |x| 2.5 - &x[0]).unary(any()),
        row("mul number", |x| &x[0] * 2.5).unary(any()),
        row("div number", |x| &x[0] / 2.5).unary(any()),
        row("div into number", |x| 2.5 / &x[0]).unary(any().positive()),
        row("neg", |x| -&x[0]).unary(any()),
        row("pow 2", |x| x[0].pow(2.0)).unary(any()),
        row("pow 3", |x| x[0].pow(3.0)).unary(any()),
        row("pow of integers", |x| x[0].pow(5)).unary(any()).dtypes(NUMBERS).wrong(
            ErrorKind::Value,
            &["pow", "integers to the power of -2", "fractions", "to_dtype"],
            || Tensor::from([1, 2]).pow(-2),
        ),
        row("pow 1.7", |x| x[0].pow(1.7)).unary(any().positive()),
        row("pow -2", |x| x[0].pow(-2.0)).unary(any().positive()),
        row("add", |x| &x[0] + &x[1])
            .binary(any(), any())
            .dtypes(NUMBERS)
            .wrong(ErrorKind::Shape, &["add", "[2, 3]", "[2]", "broadcast"], || Tensor::zeros([2, 3]) + Tensor::zeros([2])),
        row("sub", |x| &x[0] - &x[1]).binary(any(), any()),
        row("mul", |x| &x[0] * &x[1]).binary(any(), any()).dtypes(NUMBERS),
        row("div", |x| &x[0] / &x[1])
            .binary(any(), any().positive())
            .wrong(ErrorKind::Value, &["div", "division by zero"], || Tensor::from([1, 2]) / Tensor::from([1, 0]))
            .wrong(ErrorKind::Value, &["division by zero"], || Tensor::from([1, 2]) % 0),
        row("maximum", |x| x[0].maximum(&x[1]))
            .binary(any(), any().between(2.1, 3.0))
            .on([real([4]).values(&[1.0, -1.0, 0.5, 2.0]), real([4]).values(&[0.0, 0.3, -0.7, 3.0])]),
        row("minimum", |x| x[0].minimum(&x[1]))
            .binary(any(), any().between(2.1, 3.0))
            .on([real([4]).values(&[1.0, -1.0, 0.5, 2.0]), real([4]).values(&[0.0, 0.3, -0.7, 3.0])]),
        row("pow", |x| x[0].pow(&x[1])).binary(any().positive(), any()),
        row("pow of tensors of integers", |x| x[0].pow(&x[1]))
            .on([real([2, 3]).positive(), real([2, 3]).positive()])
            .on([real([4]).positive().constant(), real([]).between(4.0, 5.0).constant()])
            .on([real([0]).positive(), real([1]).positive()])
            .dtypes(NUMBERS),
        row("atan2", |x| x[0].atan2(&x[1])).binary(any().positive(), any().positive()),
        row("hypot", |x| x[0].hypot(&x[1])).binary(any().positive(), any().positive()),
        row("logaddexp", |x| x[0].logaddexp(&x[1])).binary(any().positive(), any().between(-2.0, -0.1)),
        row("xlogy", |x| x[0].xlogy(&x[1])).binary(any().positive(), any().positive()),
        row("copysign", |x| x[0].copysign(&x[1])).binary(kinks(), kinks()),
        row("squared_difference", |x| x[0].squared_difference(&x[1])).binary(any(), any()),
        row("add_scaled", |x| x[0].add_scaled(&x[1], 0.3)).binary(any(), any()),
        row("remainder", |x| x[0].remainder(&x[1])).on([real([3]).values(&[2.3, -1.7, 0.4]), real([3]).values(&[1.1, 0.7, -0.9])]),
        row("fmod", |x| x[0].fmod(&x[1])).on([real([3]).values(&[2.3, -1.7, 0.4]), real([3]).values(&[1.1, 0.7, -0.9])]),
        row("lerp", |x| x[0].lerp(&x[1], &x[2])).on([real([2, 3]), real([3]), real([2, 1]).between(0.1, 0.4)]),
        row("choose", |x| x[0].choose(&x[1], &x[2]))
            .on([mask([2, 3]), real([2, 3]), real([3])])
            .on([mask([3]), real([]), real([2, 3])])
            .on([mask([0]), real([0]), real([1])]),
        row("prelu", |x| x[0].prelu(&x[1]))
            .on([real([2, 3, 2]).away_from(&[0.0]), real([3])])
            .on([real([2, 3]).away_from(&[0.0]), real([1])])
            .on([real([4]).away_from(&[0.0]), real([])])
            .composed()
            .wrong(ErrorKind::Shape, &["2 slopes for 3 channels"], || Tensor::zeros([1, 3]).prelu(&Tensor::zeros([2]))),
        row("masked_fill", |x| x[1].masked_fill(&x[0], 3.5))
            .on([mask([2, 3]), real([2, 3])])
            .on([mask([3]), real([2, 3])])
            .wrong(ErrorKind::DType, &["mask", "true or false"], || Tensor::zeros([2]).masked_fill(&Tensor::zeros([2]), 1.0)),
    ]);
    type Compare = fn(&Tensor, &Tensor) -> Tensor;
    let compared: [(&'static str, Compare); 9] = [
        ("less", |a, b| a.less(b)),
        ("less_equal", |a, b| a.less_equal(b)),
        ("greater", |a, b| a.greater(b)),
        ("greater_equal", |a, b| a.greater_equal(b)),
        ("equal", |a, b| a.equal(b)),
        ("not_equal", |a, b| a.not_equal(b)),
        ("logical_and", |a, b| a.logical_and(b)),
        ("logical_or", |a, b| a.logical_or(b)),
        ("logical_xor", |a, b| a.logical_xor(b)),
    ];
    for (name, call) in compared {
        rows.push(
            row(name, move |x| call(&x[0], &x[1])).binary(any(), any()).no_gradient("comparison").dtypes(NUMBERS),
        );
    }
    // What becomes of two bits, 0 or 1 each.
    type Bits = fn(&Tensor, &Tensor) -> Tensor;
    let bits: [(&'static str, &'static str, Compare, Bits); 3] = [
        ("bitwise_and", "bitwise_and of i64", |a, b| a & b, |a, b| a * b),
        ("bitwise_or", "bitwise_or of i64", |a, b| a | b, |a, b| a + b - a * b),
        ("bitwise_xor", "bitwise_xor of i64", |a, b| a ^ b, |a, b| a + b - a * b * 2i64),
    ];
    for (name, of_integers, call, combine) in bits {
        rows.push(
            row(name, move |x| call(&x[0], &x[1]))
                .binary(any(), any())
                .no_gradient("have no bits to combine")
                .dtypes(&[DType::I64, DType::I32, DType::U8, DType::Bool])
                .integers_differ()
                .wrong(ErrorKind::DType, &["f32 numbers have no bits", "to_dtype(DType::I64)"], move || {
                    call(&Tensor::zeros([2]), &Tensor::zeros([2]))
                }),
        );
        rows.push(
            row(of_integers, move |x| call(&x[0], &x[1]))
                .on([index([2, 3], 32), index([3], 32)])
                .on([index([70], 32), index([70], 32)])
                .on([index([0], 32), index([1], 32)])
                .definition(move |x| {
                    let bit = |x: &Tensor, place: i64| x.floor_divide(1i64 << place).remainder(2i64);
                    (0..5).fold((&x[0] + &x[1]).zeros_like(), |sum, place| {
                        sum + combine(&bit(&x[0], place), &bit(&x[1], place)) * (1i64 << place)
                    })
                }),
        );
    }
    for (name, of_integers, right) in [("shift_left", "shift_left of i64", false), ("shift_right", "shift_right of i64", true)] {
        let call = move |a: &Tensor, b: &Tensor| if right { a >> b } else { a << b };
        rows.push(
            row(name, move |x| call(&x[0], &x[1]))
                .binary(any(), any())
                .no_gradient("have no bits to shift")
                .dtypes(INTEGERS)
                .integers_differ()
                .wrong(ErrorKind::DType, &["bool elements have no bits to shift"], move || {
                    call(&Tensor::from([true]), &Tensor::from([true]))
                }),
        );
        rows.push(
            row(of_integers, move |x| call(&(&x[0] - 20i64), &x[1]))
                .on([index([2, 3], 40), index([3], 6)])
                .on([index([70], 40), index([], 6)])
                .definition(move |x| {
                    let power = (0..6).fold(x[1].zeros_like(), |sum, place: i64| {
                        sum + x[1].equal(place).to_dtype(DType::I64) * (1i64 << place)
                    });
                    let number = &x[0] - 20i64;
                    if right { number.floor_divide(&power) } else { number * power }
                }),
        );
    }
    rows.push(
        row("bitwise_not", |x| x[0].bitwise_not())
            .unary(any())
            .no_gradient("have no bits to combine")
            .dtypes(&[DType::I64, DType::I32, DType::U8, DType::Bool])
            .integers_differ(),
    );
    rows
}
