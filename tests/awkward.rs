//! Values and slopes at awkward points: corners, ends of a domain, zeros, infinities, NaN.

use chainrule::loss::GaussianNllLoss;
use chainrule::nn::{
    Gru, Init, Layer, Lstm, Masks, Rnn, Transformer, TransformerDecoder, TransformerDecoderLayer, TransformerEncoder,
    TransformerEncoderLayer,
};
use chainrule::{Attention, DType, ErrorKind, Random, Result, Tensor};

const INFINITY: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// A function of one number, where it is asked, and its slope there.
type Point = (&'static str, fn(&Tensor) -> Tensor, f64, f64);
/// A function of two numbers, where it is asked, and both slopes.
type Pair = (&'static str, fn(&Tensor, &Tensor) -> Tensor, [f64; 2], [f64; 2]);

fn same(got: f64, wanted: f64) -> bool {
    got == wanted || got.is_nan() && wanted.is_nan() || (got - wanted).abs() <= 1e-6 * wanted.abs()
}

/// Slopes that a recorded pass gives too, in both types.
fn slopes(work: impl Fn(&[Tensor]) -> Tensor, at: &[f64], dtype: DType) -> Result<[Vec<f64>; 2]> {
    let leaves: Vec<Tensor> = at.iter().map(|&x| Tensor::new([x; 3]).to_dtype(dtype).variable()).collect();
    let loss = || work(&leaves).sum();
    let (plain, recorded) = (loss().backward()?, loss().backward_recorded()?);
    let first = |leaf: &Tensor| Ok(leaf.to_vec::<f64>()?[0]);
    let [plain, recorded] =
        [plain, recorded].map(|all| leaves.iter().map(|x| first(all.of(x)?)).collect::<Result<Vec<f64>>>());
    Ok([plain?, recorded?])
}

#[test]
fn slopes_of_one_number() -> Result<()> {
    let points: &[Point] = &[
        ("hardswish", |x| x.hardswish(), 3.0, 1.0),
        ("hardswish", |x| x.hardswish(), -3.0, 0.0),
        ("relu6", |x| x.relu6(), NAN, 1.0),
        ("relu6", |x| x.relu6(), 6.0, 0.0),
        ("relu6", |x| x.relu6(), 0.0, 0.0),
        ("hardtanh", |x| x.hardtanh(-1.0, 2.0), NAN, 1.0),
        ("hardtanh", |x| x.hardtanh(-1.0, 2.0), 2.0, 0.0),
        ("hardshrink", |x| x.hardshrink(0.5), NAN, 1.0),
        ("hardshrink", |x| x.hardshrink(0.5), 0.5, 0.0),
        ("hardshrink", |x| x.hardshrink(0.5), -0.75, 1.0),
        ("logit", |x| x.logit(), 1.5, NAN),
        ("logit", |x| x.logit(), -0.5, NAN),
        ("logit", |x| x.logit(), 0.0, INFINITY),
    ];
    for &(name, work, at, wanted) in points {
        for dtype in [DType::F64, DType::F32] {
            for got in slopes(|x| work(&x[0]), &[at], dtype)? {
                assert!(same(got[0], wanted), "{name} at {at} [{dtype}] has the slope {}, should be {wanted}", got[0]);
            }
        }
    }
    Ok(())
}

#[test]
fn slopes_of_two_numbers() -> Result<()> {
    let pairs: &[Pair] = &[
        ("atan2", |y, x| y.atan2(x), [0.0, 0.0], [0.0, 0.0]),
        ("atan2", |y, x| y.atan2(x), [-0.0, -0.0], [0.0, 0.0]),
        ("atan2", |y, x| y.atan2(x), [0.0, 2.0], [0.5, 0.0]),
        ("hypot", |x, y| x.hypot(y), [0.0, 0.0], [0.0, 0.0]),
        ("hypot", |x, y| x.hypot(y), [3e30, -4e30], [0.6, -0.8]),
        ("hypot", |x, y| x.hypot(y), [INFINITY, 1.0], [NAN, 0.0]),
        ("hypot", |x, y| x.hypot(y), [2.0, -INFINITY], [0.0, NAN]),
        ("hypot", |x, y| x.hypot(y), [0.0, NAN], [NAN, NAN]),
        ("hypot", |x, y| x.hypot(y), [NAN, 0.0], [NAN, NAN]),
    ];
    for &(name, work, at, wanted) in pairs {
        for dtype in [DType::F64, DType::F32] {
            for got in slopes(|x| work(&x[0], &x[1]), &at, dtype)? {
                let right = got.iter().zip(wanted).all(|(&got, wanted)| same(got, wanted));
                assert!(right, "{name} at {at:?} [{dtype}] has the slopes {got:?}, should be {wanted:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn quotients_rounded_down_are_whole_and_follow_python() -> Result<()> {
    let triples = [
        (-7.0, 2.0, -4.0),
        (7.0, -2.0, -4.0),
        (-0.5, INFINITY, -1.0),
        (0.5, INFINITY, 0.0),
        (1e38, -INFINITY, -1.0),
        (-3.0, -INFINITY, 0.0),
        (3.0, 0.0, INFINITY),
        (-3.0, 0.0, -INFINITY),
        (0.0, 0.0, NAN),
        (INFINITY, 2.0, NAN),
        (NAN, 2.0, NAN),
        (12.5, 0.1, 124.0),
        (-12.5, 0.1, -125.0),
    ];
    for (a, b, wanted) in triples {
        let got = Tensor::new([a]).floor_divide(Tensor::new([b])).item()?;
        assert!(same(got, wanted), "{a} // {b} is {got}, should be {wanted}");
    }
    let many = Tensor::arange(1000).to_dtype(DType::F32) * 0.37 - 100.0;
    let quotients = many.floor_divide(0.3);
    assert_eq!(quotients, quotients.round());
    assert_eq!(Tensor::from([-7, 7]).floor_divide(2).to_vec::<i64>()?, [-4, 3]);
    Ok(())
}

/// The weight of an only key is 1 whatever its score: its slopes are zeros, without rounding.
#[test]
fn an_only_key_gives_no_slopes_of_its_score() -> Result<()> {
    let mut random = Random::new(5);
    let mut tensor = |rows, width| Tensor::normal([3, 2, rows, width], 0.0, 1.0, &mut random).variable();
    let (query, key, value) = (tensor(4, 8), tensor(6, 8), tensor(6, 5));
    let arriving = Tensor::normal([3, 2, 4, 5], 0.0, 1.0, &mut Random::new(6));
    let one_each = Tensor::from([1, 3, 0, 5]).one_hot(6).to_dtype(DType::Bool);
    let slopes = |options: &Attention| {
        let out = query.scaled_dot_product_attention(&key, &value, options);
        (out * &arriving).sum().gradients_of(&[&query, &key])
    };
    let masked = slopes(&Attention::new().mask(&one_each))?;
    assert!(masked[0].equal(0.0).all().item()? == 1.0 && masked[1].equal(0.0).all().item()? == 1.0);
    let causal = slopes(&Attention::new().causal(true))?;
    assert!(causal[0].select(2, 0).equal(0.0).all().item()? == 1.0);
    assert!(causal[0].narrow(2, 1, 3).not_equal(0.0).all().item()? == 1.0);
    Ok(())
}

#[test]
fn a_batch_without_channels_has_a_gradient_without_numbers() -> Result<()> {
    for sizes in [&[0, 0][..], &[2, 0], &[2, 0, 3, 1, 4], &[0, 3]] {
        let x = Tensor::zeros(sizes).variable();
        let (y, _, _) = x.batch_norm(None, None, 1e-5);
        let slope = y.backward_from(&y.ones_like())?.of(&x)?.clone();
        assert_eq!((slope.count()?, slope.shape()?), (0, x.shape()?));
    }
    Ok(())
}

#[test]
fn recurrent_layers_of_an_absurd_size_fail_where_they_are_used() {
    let x = Tensor::zeros([2, 1, 3]);
    for size in [usize::MAX, usize::MAX / 3, 1 << 62] {
        let lstm = Lstm::options(3, size).with_bidirectional().with_layers(2).build(&mut Init::new());
        let gru = Gru::options(3, size).with_bidirectional().with_layers(2).build(&mut Init::new());
        assert!(lstm.forward(&x).output.error().is_some() && gru.forward(&x).output.error().is_some());
    }
}

#[test]
fn an_absurd_number_of_layers_is_refused_where_they_are_used() {
    let said = |error: Option<&chainrule::Error>, count: usize| {
        let error = error.expect("an error");
        assert_eq!(error.kind(), ErrorKind::Value);
        let text = error.to_string();
        assert!(text.contains(&format!("{count} layers")) && text.contains("at most 65536"), "{text}");
        assert!(text.contains("awkward.rs"), "where it was built: {text}");
    };
    for count in [65_537, 1_000_000_000_000, usize::MAX] {
        let x = Tensor::zeros([2, 1, 4]);
        let init = &mut Init::new();
        let rnn = Rnn::options(4, 4).with_layers(count).with_bidirectional().build(init);
        said(rnn.forward(&x).output.error(), count);
        let lstm = Lstm::options(4, 4).with_layers(count).with_projection(2).build(init);
        said(lstm.forward(&x).cell.error(), count);
        let layer = TransformerEncoderLayer::options(4, 2).with_feedforward(4);
        let encoder = TransformerEncoder::new(layer, count, init);
        said(encoder.forward(&x).error(), count);
        let layer = TransformerDecoderLayer::options(4, 2).with_feedforward(4);
        let decoder = TransformerDecoder::new(layer, count, init);
        let none = &Masks::new();
        said(decoder.forward(&x, &x, none, none).error(), count);
        let whole = Transformer::options(4, 2).with_feedforward(4).with_layers(1, count).build(init);
        said(whole.forward(&x, &x, none, none, none).error(), count);
    }
    let many = Rnn::options(1, 1).with_layers(1000).build(&mut Init::new());
    assert!(many.forward(&Tensor::zeros([2, 1, 1])).output.error().is_none());
}

#[test]
fn integers_have_powers() -> Result<()> {
    let x = Tensor::from([0i64, 1, -1, 2, -3, 10, i64::MAX]);
    for exponent in [0u32, 1, 2, 3, 4, 5, 31, 62, 63, 64, 1000] {
        let power = x.pow(exponent as i64);
        let expected: Vec<i64> = x.to_vec::<i64>()?.iter().map(|x| x.wrapping_pow(exponent)).collect();
        assert_eq!((power.dtype()?, power.to_vec::<i64>()?), (DType::I64, expected.clone()));
        let tensors = x.pow(Tensor::from([exponent as i64]));
        assert_eq!(tensors.to_vec::<i64>()?, expected);
        for (narrow, wrapped) in [(DType::I32, 32), (DType::U8, 8)] {
            let own = x.to_dtype(narrow);
            let expected: Vec<i64> = own.to_vec::<i64>()?.iter().map(|x| x.wrapping_pow(exponent)).collect();
            let expected: Vec<i64> =
                expected.iter().map(|&x| if wrapped == 8 { (x as u8).into() } else { (x as i32).into() }).collect();
            let power = own.pow(exponent as i64);
            assert_eq!((power.dtype()?, power.to_vec::<i64>()?), (narrow, expected), "{narrow} to the {exponent}");
        }
    }
    // An exponent that bytes do not hold.
    let odd: Vec<u8> = Tensor::from_slice(&[3u8, 2], [2])?.pow(300).to_vec()?;
    assert_eq!(odd, [3u8.wrapping_pow(300), 0]);
    // 2^62 is the order of odd numbers, so the last exponent is as good as -1: the number whose product with 3 is 1.
    assert_eq!(Tensor::from([3i64]).pow(i64::MAX).to_vec::<i64>()?[0].wrapping_mul(3), 1);
    // Fractions are truncated among exponents that are a tensor, and refused where all of them would be.
    let below = Tensor::from([1i64, -1, -1, 2, 0, i64::MIN]).pow(Tensor::from([-3i64, -3, -4, -1, -1, -1]));
    assert_eq!(below.to_vec::<i64>()?, [1, -1, 1, 0, 0, 0]);
    for exponent in [-1, i64::MIN] {
        let error = x.pow(exponent).checked().unwrap_err();
        assert!(error.kind() == ErrorKind::Value && error.to_string().contains("fractions"), "{error}");
    }
    // Types meet as the table says; a float beside integers gives f32.
    for (left, right) in
        [(DType::U8, DType::I32), (DType::I64, DType::U8), (DType::Bool, DType::U8), (DType::I32, DType::F16)]
    {
        let power = Tensor::ones([2]).to_dtype(left).pow(Tensor::ones([2]).to_dtype(right));
        assert_eq!(power.dtype()?, left.promote(right), "{left} and {right}");
    }
    for exponent in [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -2.0] {
        let power = Tensor::from([2i64, 4]).pow(exponent);
        assert_eq!(
            (power.dtype()?, power.to_vec::<f32>()?),
            (DType::F32, vec![2f32.powf(exponent as f32), 4f32.powf(exponent as f32)])
        );
    }
    assert_eq!(Tensor::from([true, false]).pow(3).to_vec::<i64>()?, [1, 0]);
    assert_eq!(Tensor::from([true, false]).pow(false).dtype()?, DType::Bool);
    assert_eq!(Tensor::zeros([0, 3]).to_dtype(DType::I32).pow(7).dims()?, [0, 3]);
    assert_eq!(Tensor::new(3i64).pow(4).item()?, 81.0);
    Ok(())
}

#[test]
fn a_variance_below_the_least_has_the_derivatives_of_the_least() -> Result<()> {
    let values = |dtype: DType, v: f64| -> Result<Vec<f64>> {
        let of = |number: f64| Tensor::new([number]).to_dtype(dtype).variable();
        let (x, t, v) = (of(1.5), of(1.0), of(v));
        let loss = || GaussianNllLoss::new().with_epsilon(0.5).of(&x, &t, &v);
        let mut all = vec![loss().item()?];
        for variable in [&x, &t, &v] {
            let slope = loss().backward_recorded()?.of(variable)?.clone();
            all.push(slope.item()?);
            let second = slope.sum().backward()?;
            all.extend([&x, &t, &v].map(|of| second.get(of).map_or(0.0, |slope| slope.item().unwrap_or(f64::NAN))));
        }
        Ok(all)
    };
    // With c = 0.5: ½ (ln c + d² / c), d = 0.5; slopes d/c, -d/c, ½ (1/c - d²/c²); and so on by hand.
    let (c, d) = (0.5f64, 0.5f64);
    let of_v = 0.5 * (1.0 / c - d * d / (c * c));
    let of_v_twice = 0.5 * (-1.0 / (c * c) + 2.0 * d * d / (c * c * c));
    let mixed = d / (c * c);
    let expected = [
        0.5 * (c.ln() + d * d / c),
        d / c,
        1.0 / c,
        -1.0 / c,
        -mixed,
        -d / c,
        -1.0 / c,
        1.0 / c,
        mixed,
        of_v,
        -mixed,
        mixed,
        of_v_twice,
    ];
    for v in [0.0, 0.25, 0.5] {
        for dtype in [DType::F64, DType::F32] {
            for (at, (got, expected)) in values(dtype, v)?.iter().zip(expected).enumerate() {
                assert!((got - expected).abs() < 1e-6, "number {at} of {dtype} at {v}: {got} instead of {expected}");
            }
        }
    }
    Ok(())
}

#[test]
fn derivatives_of_an_absurd_order_are_refused() {
    let x = Tensor::from([0.5]);
    assert!(x.polygamma(170).error().is_none());
    for order in [171, i32::MAX as u32, u32::MAX] {
        let error = x.polygamma(order).checked().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value);
        assert!(error.to_string().contains(&order.to_string()), "{error}");
    }
}
