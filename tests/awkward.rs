//! Values and slopes at awkward points: corners, ends of a domain, zeros, infinities, NaN.

use chainrule::nn::{Gru, Init, Lstm};
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
fn derivatives_of_an_absurd_order_are_refused() {
    let x = Tensor::from([0.5]);
    assert!(x.polygamma(170).error().is_none());
    for order in [171, i32::MAX as u32, u32::MAX] {
        let error = x.polygamma(order).checked().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value);
        assert!(error.to_string().contains(&order.to_string()), "{error}");
    }
}
