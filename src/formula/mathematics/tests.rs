//! The functions of mathematics, counted in units of the last place.

use super::NEAR;
use crate::formula::{F, Function, Number};
use std::f64::consts::PI;

type Single = F<f32, false>;
type Fused = F<f32, true>;
type Double = F<f64, false>;

/// How many floats lie between two numbers.
fn ulps(a: f32, b: f32) -> u32 {
    if a.is_nan() && b.is_nan() {
        return 0;
    }
    let place = |x: f32| {
        let bits = x.to_bits() as i32;
        (if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }) as i64
    };
    (place(a) - place(b)).unsigned_abs().min(u32::MAX as u64) as u32
}
fn ulps_f64(a: f64, b: f64) -> u64 {
    if a.is_nan() && b.is_nan() {
        return 0;
    }
    let place = |x: f64| {
        let bits = x.to_bits() as i64;
        (if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }) as i128
    };
    (place(a) - place(b)).unsigned_abs().min(u64::MAX as u128) as u64
}

/// What std computes in f64, where it can.
fn standard(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Exp => f64::exp,
        Function::Exp2 => f64::exp2,
        Function::Expm1 => f64::exp_m1,
        Function::Ln => f64::ln,
        Function::Log1p => f64::ln_1p,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Sqrt => f64::sqrt,
        Function::Rsqrt => |x| 1.0 / x.sqrt(),
        Function::Cbrt => f64::cbrt,
        Function::Sin => f64::sin,
        Function::Cos => f64::cos,
        Function::Tan => f64::tan,
        Function::Asin => f64::asin,
        Function::Acos => f64::acos,
        Function::Atan => f64::atan,
        Function::Sinh => f64::sinh,
        Function::Cosh => f64::cosh,
        Function::Tanh => f64::tanh,
        Function::Sigmoid => |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) },
        Function::Asinh => {
            |x| if x.abs() > 1e8 { (x.abs().ln() + std::f64::consts::LN_2).copysign(x) } else { x.asinh() }
        }
        Function::Acosh => |x| if x > 1e8 { x.ln() + std::f64::consts::LN_2 } else { x.acosh() },
        Function::Floor => f64::floor,
        Function::Ceil => f64::ceil,
        Function::Round => f64::round_ties_even,
        Function::Trunc => f64::trunc,
        _ => return None,
    })
}

/// Edges, and numbers of every size.
fn points() -> impl Iterator<Item = f32> {
    let edges = [
        0.0,
        1.0,
        0.5,
        2.0,
        1e-45,
        1e-40,
        f32::MIN_POSITIVE,
        88.72284,
        88.7229,
        87.33655,
        103.97,
        104.1,
        89.5,
        127.9,
        128.0,
        149.5,
        20.5,
        16_777_216.0,
        1e10,
        3e38,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        0.9999999,
        1.0000001,
        std::f32::consts::PI,
        1.5707964,
    ];
    let spread = (0..40_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761) >> 1));
    let near = (0..20_000).map(|i| i as f32 * 6.1e-4);
    edges.into_iter().chain(spread).chain(near).flat_map(|x| [x, -x])
}

fn most_ulps(function: Function) -> u32 {
    match function {
        Function::Expm1 | Function::Log1p | Function::Sinh | Function::Tanh | Function::Sigmoid => 2,
        Function::Erf | Function::Erfc | Function::Erfinv | Function::Lgamma | Function::Atanh => 2,
        _ => 1,
    }
}

#[test]
fn singles_are_near_the_truth() {
    let mut wrong = Vec::new();
    for &(function, name) in Function::ALL {
        let Some(truth) = standard(function) else { continue };
        for (class, fused) in [("portable", false), ("fused", true)] {
            let mut worst = (0, 0.0, 0.0, 0.0);
            for x in points() {
                let got = if fused { function.apply::<Fused>(F(x)).0 } else { function.apply::<Single>(F(x)).0 };
                let want = truth(x as f64) as f32;
                let off = ulps(got, want);
                if off > worst.0 {
                    worst = (off, x, got, want);
                }
            }
            if worst.0 > most_ulps(function) {
                wrong.push(format!(
                    "{name}({:?}) = {:?}, not {:?}: {} ulp, {class}",
                    worst.1, worst.2, worst.3, worst.0
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn doubles_are_near_the_truth() {
    let mut wrong = Vec::new();
    for &(function, name) in Function::ALL {
        let Some(truth) = standard(function) else { continue };
        let mut worst = (0, 0.0, 0.0, 0.0);
        // the fourth power of an f32 covers the range of f64
        let wide = points().map(|x| x as f64).chain(points().map(|x| (x as f64).powi(8) * (x as f64).signum()));
        for x in wide.chain([709.78, 709.79, -745.1, -745.2, 710.47, 710.48, 5e-324]) {
            let got = function.apply::<Double>(F(x)).0;
            let want = truth(x);
            let off = ulps_f64(got, want);
            // std's inverse hyperbolic sine and cosine are weaker than ours near 0
            let coarse = matches!(function, Function::Asinh | Function::Acosh);
            if off > worst.0 && !(coarse && (got - want).abs() <= 1e-15 * want.abs().max(1.0)) {
                worst = (off, x, got, want);
            }
        }
        if worst.0 > 4 {
            wrong.push(format!("{name}({:?}) = {:?}, not {:?}: {} ulp", worst.1, worst.2, worst.3, worst.0));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Values to 17 digits, computed with 40.
#[test]
fn special_functions_have_their_values() {
    let rows: &[(&str, f64, f64)] = &[
        ("erf", 1e-10, 1.1283791670955126e-10),
        ("erf", 0.1, 0.1124629160182849),
        ("erf", 0.5, 0.5204998778130465),
        ("erf", 0.9, 0.7969082124228322),
        ("erf", 1.0, 0.8427007929497149),
        ("erf", 1.1, 0.8802050695740817),
        ("erf", 2.0, 0.9953222650189527),
        ("erf", 3.5, 0.9999992569016276),
        ("erf", 5.5, 0.9999999999999927),
        ("erf", -0.7, -0.6778011938374184),
        ("erf", -2.5, -0.999593047982555),
        ("erfc", 1e-10, 0.999999999887162),
        ("erfc", 0.3, 0.6713732405408726),
        ("erfc", 0.6, 0.3961439091520741),
        ("erfc", 0.99, 0.1614919304446302),
        ("erfc", 1.0, 0.15729920705028513),
        ("erfc", 1.5, 0.033894853524689274),
        ("erfc", 2.5, 0.0004069520174449589),
        ("erfc", 5.0, 1.537459794428035e-12),
        ("erfc", 10.0, 2.088487583762545e-45),
        ("erfc", 20.0, 5.395865611607901e-176),
        ("erfc", 26.0, 5.663192408856143e-296),
        ("erfc", -0.5, 1.5204998778130465),
        ("erfc", -3.0, 1.9999779095030015),
        ("normal_cdf", 0.0, 0.5),
        ("normal_cdf", 1.0, 0.8413447460685429),
        ("normal_cdf", -1.0, 0.15865525393145705),
        ("normal_cdf", -3.0, 0.0013498980316300946),
        ("normal_cdf", -2.0, 0.022750131948179195),
        ("normal_cdf", 4.5, 0.9999966023268753),
        ("erfinv", 1e-10, 8.862269254527581e-11),
        ("erfinv", 0.1, 0.08885599049425769),
        ("erfinv", 0.5, 0.4769362762044699),
        ("erfinv", 0.84, 0.9935356283473041),
        ("erfinv", 0.86, 1.0435418436397588),
        ("erfinv", 0.99, 1.8213863677184494),
        ("erfinv", 0.999999, 3.458910737275499),
        ("erfinv", 0.9999999999, 4.572824958544925),
        ("erfinv", -0.3, -0.2724627147267543),
        ("erfinv", -0.95, -1.3859038243496777),
        ("lgamma", 1e-05, 11.512919692895826),
        ("lgamma", 0.1, 2.252712651734206),
        ("lgamma", 0.5, 0.5723649429247001),
        ("lgamma", 1.0, 0.0),
        ("lgamma", 1.3, -0.10817480950786047),
        ("lgamma", 1.5, -0.12078223763524522),
        ("lgamma", 2.0, 0.0),
        ("lgamma", 2.0001, 4.2281658112919945e-05),
        ("lgamma", 2.7, 0.4348205536551047),
        ("lgamma", 3.3, 0.9870985778947344),
        ("lgamma", 6.9, 6.3927444564055955),
        ("lgamma", 7.99, 8.50501160608848),
        ("lgamma", 8.0, 8.525161361065415),
        ("lgamma", 8.5, 9.549267257300997),
        ("lgamma", 20.0, 39.339884187199495),
        ("lgamma", 100.0, 359.1342053695754),
        ("lgamma", 100000.0, 1051287.7089736569),
        ("lgamma", -0.5, 1.2655121234846454),
        ("lgamma", -1.3, 1.2024757863901114),
        ("lgamma", -5.7, -4.667768588522342),
        ("digamma", 0.001, -1000.5755719318103),
        ("digamma", 0.5, -1.9635100260214235),
        ("digamma", 1.0, -0.5772156649015329),
        ("digamma", 1.4616321449683622, -9.241265521729427e-17),
        ("digamma", 2.5, 0.7031566406452432),
        ("digamma", 9.9, 2.2411803166063815),
        ("digamma", 10.0, 2.251752589066721),
        ("digamma", 25.0, 3.198742512851974),
        ("digamma", 10000.0, 9.210290371142849),
        ("digamma", -0.3, 2.113309779635399),
        ("digamma", -4.6, 0.6100665888225428),
        ("trigamma", 0.1, 101.43329915079275),
        ("trigamma", 0.5, 4.934802200544679),
        ("trigamma", 1.0, 1.6449340668482264),
        ("trigamma", 3.3, 0.3535015418410618),
        ("trigamma", 12.0, 0.08690187287176838),
        ("trigamma", 40.0, 0.02531510384129103),
        ("trigamma", -0.4, 9.886209670902357),
        ("trigamma", -3.3, 14.817739525515929),
        ("tetragamma", 0.3, -75.27253658872604),
        ("tetragamma", 1.0, -2.4041138063191885),
        ("tetragamma", 2.5, -0.2362040516417274),
        ("tetragamma", 14.0, -0.005479465690312488),
        ("tetragamma", 50.0, -0.0004080799893375969),
        ("atanh", 1e-09, 1e-09),
        ("atanh", 0.1, 0.10033534773107558),
        ("atanh", 0.5, 0.5493061443340549),
        ("atanh", 0.9, 1.4722194895832204),
        ("atanh", 0.999999, 7.254328619247669),
        ("atanh", -0.3, -0.3095196042031117),
    ];
    let mut wrong = Vec::new();
    for &(name, x, want) in rows {
        let of = |x: Double| match name {
            "erf" => x.erf(),
            "erfc" => x.erfc(),
            "erfinv" => x.erfinv(),
            "normal_cdf" => x.normal_cdf(),
            "lgamma" => x.lgamma(),
            "digamma" => x.polygamma(0),
            "trigamma" => x.polygamma(1),
            "tetragamma" => x.polygamma(2),
            _ => x.atanh(),
        };
        let got = of(F(x)).0;
        let off = (got - want).abs() / want.abs().max(if name.contains("gamma") { 1.0 } else { 1e-300 });
        if off > 2e-15 {
            wrong.push(format!("{name}({x}) = {got}, not {want}: {off:e}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn special_functions_in_f32() {
    for x in points().filter(|x| x.is_finite()) {
        for function in [Function::Erf, Function::Erfc, Function::Erfinv, Function::Lgamma, Function::Atanh] {
            let got = function.apply::<Single>(F(x)).0;
            let want = function.apply::<Double>(F(x as f64)).0 as f32;
            assert!(ulps(got, want) <= 2, "{function:?}({x:?}) = {got:?}, not {want:?}");
        }
    }
}

/// A gate's accuracy is that of its share of 1; small ones keep their digits as long as they count.
#[test]
fn normal_shares_in_f32() {
    let mut worst = 0.0f64;
    for k in -15_000_000..15_000_000 {
        let x = k as f32 * 1e-6;
        let want = super::normal_cdf(F::<f64, false>(x as f64)).0;
        let portable = super::normal_cdf(F::<f32, false>(x)).0 as f64;
        // Where it is no instruction of the target, a fused product is a call.
        let fused = if k % 8 == 0 { super::normal_cdf(F::<f32, true>(x)).0 as f64 } else { portable };
        for got in [portable, fused] {
            worst = worst.max((got - want).abs());
            let off = (got - want).abs() / want;
            let most = match x {
                -3.0.. => 1e-6,
                -5.7.. => 5e-5,
                _ => 1.5,
            };
            assert!(off <= most || want < f32::MIN_POSITIVE as f64, "Φ({x:?}) = {got:?}, not {want:?}: {off:e}");
        }
    }
    assert!(worst <= 1e-7, "off by {worst:e}");
    for (x, want) in [(f32::INFINITY, 1.0), (f32::NEG_INFINITY, 0.0), (-1e30, 0.0), (0.0, 0.5)] {
        assert_eq!(super::normal_cdf(F::<f32, true>(x)).0, want);
    }
    assert!(super::normal_cdf(F::<f32, true>(f32::NAN)).0.is_nan());
}

#[test]
fn powers_are_those_of_the_standard() {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        1e20,
        -1e20,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-45,
    ];
    for x in edges {
        for y in edges {
            let (got, want) = (crate::formula::Arithmetic::pow(F::<f32, false>(x), F(y)).0, x.powf(y));
            let same_zero = want != 0.0 || got.is_sign_negative() == want.is_sign_negative();
            assert!(ulps(got, want) <= 1 && same_zero, "{x:?}^{y:?} = {got:?}, not {want:?}");
        }
    }
    let mut list = points().filter(|x| x.is_finite());
    while let (Some(x), Some(y)) = (list.next(), list.nth(1)) {
        let y = y % 40.0;
        let (got, want) =
            (crate::formula::Arithmetic::pow(F::<f32, false>(x), F(y)).0, (x as f64).powf(y as f64) as f32);
        assert!(ulps(got, want) <= 1, "{x:?}^{y:?} = {got:?}, not {want:?}");
    }
}

/// What is shorter for near numbers gives the same, so a result does not depend on its neighbours. Zeros keep their sign.
#[test]
fn sines_of_near_numbers_need_few_digits() {
    fn check<const FUSED: bool>() {
        let near_quarters = (0..5200).map(|k| (k as f64 * PI / 2.0) as f32);
        for x in points().chain(near_quarters).filter(|x| (x.abs() as f64) < NEAR) {
            let (any, near) = (F::<f32, FUSED>(x), F::<f32, FUSED, true>(x));
            assert_eq!(any.sin().0.to_bits(), near.sin().0.to_bits(), "sin {x:?}");
            assert_eq!(any.cos().0.to_bits(), near.cos().0.to_bits(), "cos {x:?}");
            let (sine, cosine) = ((x as f64).sin() as f32, (x as f64).cos() as f32);
            assert!(ulps(near.sin().0, sine) <= 1 && ulps(near.cos().0, cosine) <= 1, "{x:?}");
        }
        for zero in [0.0, -0.0f32] {
            assert_eq!(F::<f32, FUSED, true>(zero).sin().0.to_bits(), zero.to_bits());
        }
        assert_eq!(F::<f32, FUSED, true>(0.0).cos().0, 1.0);
    }
    check::<false>();
    check::<true>();
}

#[test]
fn decays_are_near_the_truth() {
    let check = |decay: fn(f32) -> f32| {
        let mut worst = (0, 0.0);
        for x in points().map(|x| if x > 0.0 { -x } else { x }).chain((0..100_000).map(|i| i as f32 * -8.8e-4)) {
            let exact = (x as f64).exp() as f32;
            let want = if exact < f32::MIN_POSITIVE { 0.0 } else { exact };
            // on the edge to what is subnormal either will do
            let off = if want == f32::MIN_POSITIVE { 0 } else { ulps(decay(x), want) };
            if off > worst.0 {
                worst = (off, x);
            }
        }
        assert!(worst.0 <= 1, "e^{:?}: {} ulp", worst.1, worst.0);
        // NaN of any payload and sign
        for bits in [0x7fc0_0000, 0x7fc0_0123, 0xffff_ffff_u32] {
            assert!(decay(f32::from_bits(bits)).is_nan());
        }
    };
    check(|x| F::<f32, false>(x).decay().0);
    check(|x| F::<f32, true>(x).decay().0);
    assert_eq!((F::<f64, false>(0.0).decay().0, F::<f64, false>(f64::NEG_INFINITY).decay().0), (1.0, 0.0));
}

/// What is added to a 1 need not be exact in its own last place, but in that of the sum.
#[test]
fn addends_are_near_the_truth() {
    let check = |addend: fn(f32) -> f32| {
        let (mut of_the_sum, mut own) = ((0.0, 0.0), (0.0, 0.0));
        for x in points().map(|x| -x.abs()).chain((0..100_000).map(|i| i as f32 * -8.8e-4)) {
            let want = (x as f64).exp();
            if want < 2.0 * f32::MIN_POSITIVE as f64 {
                assert!(addend(x) as f64 <= 4.0 * f32::MIN_POSITIVE as f64, "{x:?}");
                continue;
            }
            let off = (addend(x) as f64 - want).abs() / (f32::EPSILON as f64 / 2.0);
            of_the_sum = if off > of_the_sum.0 { (off, x) } else { of_the_sum };
            let off = off / want / (1.0 + x.abs() as f64);
            own = if off > own.0 { (off, x) } else { own };
        }
        assert!(of_the_sum.0 <= 1.5, "e^{:?} is off by {} of 2^-24", of_the_sum.1, of_the_sum.0);
        assert!(own.0 <= 1.5, "e^{:?} is off by {} of (1 + |x|) 2^-24 of itself", own.1, own.0);
        assert_eq!([0.0, -0.0, -89.0, -1e30, f32::NEG_INFINITY].map(addend), [1.0, 1.0, 0.0, 0.0, 0.0]);
        for bits in [0x7fc0_0000, 0x7fc0_0123, 0xffff_ffff_u32] {
            assert!(addend(f32::from_bits(bits)).is_nan());
        }
    };
    check(|x| F::<f32, false>(x).addend().0);
    check(|x| F::<f32, true>(x).addend().0);
    assert_eq!((F::<f64, false>(0.0).addend().0, F::<f64, false>(f64::NEG_INFINITY).addend().0), (1.0, 0.0));
}

#[test]
fn angles_of_points() {
    let edges = [0.0, -0.0, 1.0, -1.0, 0.3, -7.5, 1e-40, 1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for y in edges {
        for x in edges {
            let (got, want) = (Number::atan2(F::<f32, false>(y), F(x)).0, (y as f64).atan2(x as f64) as f32);
            let same_zero = want != 0.0 || got.is_sign_negative() == want.is_sign_negative();
            assert!(ulps(got, want) <= 1 && same_zero, "atan2({y:?}, {x:?}) = {got:?}, not {want:?}");
            let (got, want) = (Number::atan2(F::<f64, false>(y as f64), F(x as f64)).0, (y as f64).atan2(x as f64));
            assert!(ulps_f64(got, want) <= 2, "atan2({y:?}, {x:?}) = {got:?}, not {want:?}");
        }
    }
}

/// Doubles of every size, some of them near each other's multiples.
fn doubles() -> impl Iterator<Item = f64> {
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let edges =
        [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, 1e22, 5e-324, f64::MAX, f64::INFINITY, -f64::INFINITY, f64::NAN];
    let whole = (1..40).map(|k| (k as f64 * PI / 4.0).next_up());
    edges.into_iter().chain(whole).chain((0..20_000).map(move |k| {
        let sign = if random() < 0.5 { -1.0 } else { 1.0 };
        sign * match k % 4 {
            0 => random() * 4.0,
            1 => random() * 1000.0,
            2 => (random() * 100.0 - 50.0).exp2(),
            _ => (random() * 2140.0 - 1070.0).exp2(),
        }
    }))
}

#[test]
fn devices_have_the_standards_functions_of_doubles() {
    use super::double::{fmod, pow, standard};
    use super::{Standard, gamma};
    let most = |function: Standard| {
        doubles().map(|x| ulps_f64(standard(function, F::<f64, false>(x)).0, function.of(x))).max().unwrap()
    };
    assert!(most(Standard::Sin) <= 1 && most(Standard::Cos) <= 1, "{} {}", most(Standard::Sin), most(Standard::Cos));
    assert!(most(Standard::Tan) <= 2, "{}", most(Standard::Tan));
    assert!(most(Standard::Cbrt) <= 1, "{}", most(Standard::Cbrt));
    let pairs = || doubles().zip(doubles().skip(4711).chain(doubles()));
    for (x, y) in pairs().chain(doubles().map(|x| (x.abs(), 1.0 / x))) {
        let (power, rest) = (pow(F::<f64, false>(x), F(y)).0, fmod(F::<f64, false>(x), F(y)).0);
        assert!(ulps_f64(power, x.powf(y)) <= 1, "{x:e} to the power of {y:e}: {power:e}, {:e}", x.powf(y));
        assert!(ulps_f64(rest, x % y) == 0, "{x:e} % {y:e}: {rest:e}, {:e}", x % y);
    }
    for order in 0..5 {
        for x in doubles().filter(|x| x.is_nan() || *x > -100.0) {
            let (got, wanted) =
                (standard(Standard::Polygamma(order), F::<f64, false>(x)).0, gamma::polygamma_of(order, x));
            let near = (got - wanted).abs() <= 1e-13 * wanted.abs().max(1e-3);
            assert!(
                got == wanted || near || got.is_nan() && wanted.is_nan(),
                "polygamma {order} {x:e}: {got:e}, {wanted:e}"
            );
        }
    }
}
