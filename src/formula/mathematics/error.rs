//! The error function, its complement and its inverse.

use super::exponential::{addend, decay, exp};
use super::logarithm::ln;
use super::{Real, exact_product, if_less, polynomial};
use std::f64::consts::FRAC_1_SQRT_2;

/// erf on [-1, 1] as x P(x²).
#[inline(always)]
fn erf_near_zero<R: Real>(x: R) -> R {
    x * polynomial(
        x * x,
        [
            std::f64::consts::FRAC_2_SQRT_PI,
            -0.3761263890318375,
            0.11283791670954858,
            -0.02686617064507296,
            0.00522397762478137,
            -0.0008548326978765149,
            0.00012055331037551108,
            -1.4925593518728226e-05,
            1.6460972954153765e-06,
            -1.6350026192077267e-07,
            1.465788353091965e-08,
            -1.1365670671827141e-09,
            5.94525558422346e-11,
        ],
    )
}

/// erfc for x >= 1: e^(-x²) P(t) / (1 + 2 x) with t = (x - 2) / (x + 2).
#[inline(always)]
fn erfc_far<R: Real>(x: R) -> R {
    // beyond 28 it is 0
    let x = if_less(R::from(28.0), x, 28.0, x);
    let t = (x - 2.0) / (x + 2.0);
    let p = polynomial(
        t,
        [
            1.2769783815525286,
            -0.09276382658574651,
            -0.16603039761529487,
            0.1640512800335716,
            -0.0542200009915067,
            -0.00803401509243886,
            0.008722653863367198,
            0.0012713393143268068,
            -0.001456814132405986,
            -0.0004543468850758697,
            0.00020637856406663282,
            0.00015108801635457014,
            -1.678890257522063e-06,
            -3.649777569661559e-05,
            -1.2488304480479356e-05,
            2.5079689898247983e-06,
            3.823947582318067e-06,
            6.464929029538996e-06,
            -5.564749543542949e-06,
            6.372297385841129e-07,
            2.42705711431419e-07,
        ],
    );
    // the exponent must not lose digits: e^-(a + b) = e^-a - b e^-a
    let (square, rest) = exact_product(x, x);
    let e = exp(-square);
    (e - e * rest) * (p / (x + x + 1.0))
}

#[inline(always)]
pub(crate) fn erf<R: Real>(x: R) -> R {
    let size = x.abs();
    if R::DOUBLE {
        let near = erf_near_zero(x);
        let far = (-erfc_far(size) + 1.0).with_sign_of(x);
        return if_less(size, 1.0, near, far);
    }
    // Both fits, below 1 ulp, are N. Juffa's.
    let square = x * x;
    let near = polynomial(
        square,
        [1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4],
    );
    let near = near.multiply_add(x, x);
    let size = if_less(R::from(4.0), size, 4.0, size);
    let exponent = polynomial(
        size,
        [-1.28717512e-1, -6.34846687e-1, -1.06777877e-1, 2.42546219e-2, -3.88396438e-3, 3.83197126e-4, -1.72853470e-5],
    );
    let far = (-decay(exponent.multiply_add(size, -size)) + 1.0).with_sign_of(x);
    if_less(x.abs(), 0.927734375, near, far)
}

#[inline(always)]
pub(crate) fn erfc<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(erfc(x.widen()));
    }
    let size = x.abs();
    let far = erfc_far(size);
    let far = if_less(x, 0.0, -far + 2.0, far);
    // to 1/2 from the sum, which is exact there; between 1/2 and 1 the difference still has all but a digit
    if_less(size, 1.0, -erf_near_zero(x) + 1.0, far)
}

/// A polynomial of even and odd powers apart: half as many steps wait for each other. (Without fused products it would be
/// off by a hundredth more than a share may be.)
#[inline(always)]
fn exponent_of_tail<R: Real>(x: R, c: [f64; 11]) -> R {
    if !R::FUSED {
        return polynomial(x, c);
    }
    let z = x * x;
    let even = polynomial(z, [c[0], c[2], c[4], c[6], c[8], c[10]]);
    let odd = polynomial(z, [c[1], c[3], c[5], c[7], c[9]]);
    odd.multiply_add(x, even)
}

/// Φ(x), the share of a standard normal distribution below x. In f32 by the tail, Φ(-|x|) = e^(P(|x|) - x²/2), to a
/// unit in the last place of 1; below 1e-8, where gates are shut, its magnitude is right and not its digits.
#[inline(always)]
pub(crate) fn normal_cdf<R: Real>(x: R) -> R {
    if R::DOUBLE {
        return erfc(x * -FRAC_1_SQRT_2) * 0.5;
    }
    let size = x.abs();
    let near = if_less(size, 5.7, size, 5.7);
    let exponent = exponent_of_tail(
        near,
        [
            -0.6931471746233541,
            -0.7978849730972687,
            0.18169461281443217,
            -0.03635360939417344,
            0.004816150810450887,
            4.360225268620841e-06,
            -0.0001988170108057161,
            5.535486183773687e-05,
            -8.172288465065325e-06,
            6.64246175789287e-07,
            -2.3291510473619062e-08,
        ],
    );
    let exponent = (size * -0.5).multiply_add(size, exponent);
    // as a share of 1 a term will do, but where its exponent would be rounded twice
    let tail = if R::FUSED { addend(exponent) } else { decay(exponent) };
    if_less(x, 0.0, tail, -tail + 1.0)
}

/// Wichura's AS 241 for the normal quantile; `erfinv(x) = quantile((1 + x) / 2) / √2`.
#[inline(always)]
pub(crate) fn erfinv<R: Real>(x: R) -> R {
    if !R::DOUBLE {
        return R::narrow(erfinv(x.widen()));
    }
    let size = x.abs();
    let q = x * 0.5;
    let r = -(q * q) + 0.180625;
    let near = q * polynomial(
        r,
        [
            3.3871328727963666080e0,
            1.3314166789178437745e+2,
            1.9715909503065514427e+3,
            1.3731693765509461125e+4,
            4.5921953931549871457e+4,
            6.7265770927008700853e+4,
            3.3430575583588128105e+4,
            2.5090809287301226727e+3,
        ],
    ) / polynomial(
        r,
        [
            1.0,
            4.2313330701600911252e+1,
            6.8718700749205790830e+2,
            5.3941960214247511077e+3,
            2.1213794301586595867e+4,
            3.9307895800092710610e+4,
            2.8729085735721942674e+4,
            5.2264952788528545610e+3,
        ],
    );
    // the tail (1 - |x|) / 2 is exact here
    let tail = (-ln((-size + 1.0) * 0.5)).square_root();
    let t = tail - 1.6;
    let middle = polynomial(
        t,
        [
            1.42343711074968357734e0,
            4.63033784615654529590e0,
            5.76949722146069140550e0,
            3.64784832476320460504e0,
            1.27045825245236838258e0,
            2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4,
        ],
    ) / polynomial(
        t,
        [
            1.0,
            2.05319162663775882187e0,
            1.67638483018380384940e0,
            6.89767334985100004550e-1,
            1.48103976427480074590e-1,
            1.51986665636164571966e-2,
            5.47593808499534494600e-4,
            1.05075007164441684324e-9,
        ],
    );
    let t = tail - 5.0;
    let far = polynomial(
        t,
        [
            6.65790464350110377720e0,
            5.46378491116411436990e0,
            1.78482653991729133580e0,
            2.96560571828504891230e-1,
            2.65321895265761230930e-2,
            1.24266094738807843860e-3,
            2.71155556874348757815e-5,
            2.01033439929228813265e-7,
        ],
    ) / polynomial(
        t,
        [
            1.0,
            5.99832206555887937690e-1,
            1.36929880922735805310e-1,
            1.48753612908506148525e-2,
            7.86869131145613259100e-4,
            1.84631831751005468180e-5,
            1.42151175831644588870e-7,
            2.04426310338993978564e-15,
        ],
    );
    let outer = if_less(tail, 5.0, middle, far).with_sign_of(x);
    let inside = if_less(size, 0.85, near, outer) * FRAC_1_SQRT_2;
    let edge = R::choose(size.equal(R::from(1.0)), R::from(f64::INFINITY).with_sign_of(x), R::from(f64::NAN));
    if_less(size, 1.0, inside, edge)
}
