//! Formulas of a user: outside of the crate, with helper functions, constants, parameters and gradients of their own.
#![allow(missing_docs)]

use chainrule::formula::{F, Left, Number, Update, exp};
use chainrule::{DType, Tensor, check_formula, formula, gradcheck, update_formula};

/// A helper is a generic function; it may call others.
fn soft<R: Number>(x: R) -> R
where
    f64: Left<R> + Left<f64>,
{
    const STEEP: f64 = 2.0;
    1.0 / (1.0 + exp(-x * (STEEP * 0.85)))
}

formula! {
    /// Swish with a slope.
    pub fn quick_gelu(x) { x * soft(x) }
}
formula! { fn smooth_l1(x, y; beta) {
    let d = x - y;
    let a = select(lt(d, 0.0), -d, d);
    select(lt(a, beta), 0.5 * d * d / beta, a - 0.5 * beta)
} }
formula! { fn scaled(x; rate, beta) { (1.0 - beta) * x * rate + 2.0 * rate } }
formula! { fn logistic(x) { 1.0 / (1.0 + exp(-x)) } gradient(y) { y * (1.0 - y) } }
formula! { fn product(x, y, z) { x * y * z } gradient { y * z, x * z, x * y } }
formula! { fn ramp(x; low) { select(gt(x, low) & !gt(x, 1.0), x, R::from(low)) } }

fn x() -> Tensor {
    Tensor::new([[-1.3f64, 0.5, 2.1], [0.2, -0.4, 1.7]])
}
fn y() -> Tensor {
    Tensor::new([0.3f64, -1.5, 0.8])
}

#[test]
fn values() {
    let got = quick_gelu(&x()).to_vec::<f64>().unwrap();
    for (got, x) in got.iter().zip(x().to_vec::<f64>().unwrap()) {
        assert!((got - x / (1.0 + (-1.7 * x).exp())).abs() < 1e-15);
    }
    assert_eq!(scaled(&Tensor::new([3.0f64]), 0.5, 0.999).item().unwrap(), (1.0 - 0.999) * 3.0 * 0.5 + 1.0);
    assert_eq!(ramp(&Tensor::new([0.0f64, 0.5, 3.0]), 0.25).to_vec::<f64>().unwrap(), [0.25, 0.5, 0.25]);
    assert_eq!(smooth_l1(&x(), &y(), 1.0).dims::<2>().unwrap(), [2, 3]);
}

#[test]
fn gradients() {
    gradcheck(|x| quick_gelu(&x[0]), &[&x()]).unwrap();
    gradcheck(|x| smooth_l1(&x[0], &x[1], 0.7), &[&x(), &y()]).unwrap();
    gradcheck(|x| scaled(&x[0], 0.5, 0.9), &[&x()]).unwrap();
    gradcheck(|x| logistic(&x[0]), &[&x()]).unwrap();
    gradcheck(|x| product(&x[0], &x[1], &x[2]), &[&x(), &y(), &x()]).unwrap();
}

/// The derivative of a pointwise function, which can be differentiated again.
fn slope(f: impl Fn(&Tensor) -> Tensor, x: &Tensor) -> Tensor {
    Tensor::compute(|| Ok(f(x).sum().backward_recorded()?.of(x)?.clone()))
}

/// The derivative number `order + 1` against differences of the one before.
fn agrees(f: impl Fn(&Tensor) -> Tensor) {
    let first = |x: &Tensor| slope(&f, x);
    let second = |x: &Tensor| slope(first, x);
    let step = 1e-5;
    let at = |shift: f64| (x() + shift).variable();
    for (below, here, above) in [
        (first(&at(-step)), second(&at(0.0)), first(&at(step))),
        (second(&at(-step)), slope(second, &at(0.0)), second(&at(step))),
    ] {
        let differences = ((above.detach() - below.detach()) / (2.0 * step)).to_vec::<f64>().unwrap();
        for (got, want) in here.to_vec::<f64>().unwrap().iter().zip(differences) {
            assert!((got - want).abs() < 1e-7 * (1.0 + want.abs()), "{got} and {want}");
        }
    }
}

#[test]
fn second_and_third_derivatives() {
    agrees(quick_gelu);
    agrees(logistic);
    agrees(|x| quick_gelu(&logistic(x)));
    agrees(|x| product(x, x, &logistic(x)));
}

#[test]
fn every_float_type() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let input = x().to_dtype(dtype);
        let narrow = quick_gelu(&input).to_dtype(DType::F32).to_vec::<f32>().unwrap();
        let wide =
            quick_gelu(&input.to_dtype(DType::F32)).to_dtype(dtype).to_dtype(DType::F32).to_vec::<f32>().unwrap();
        assert_eq!(narrow, wide);
    }
}

#[test]
fn errors_name_the_formula_and_the_place() {
    let error = smooth_l1(&Tensor::zeros([2, 3]), &Tensor::zeros([2]), 1.0).checked().unwrap_err();
    assert_eq!(error.operation(), "smooth_l1");
    assert!(error.to_string().contains("user_formula.rs"), "{error}");
}

#[test]
fn checks() {
    check_formula!(|x, y| smooth_l1(x, y, 1.0)).unwrap();
    // e^-x overflows where the result does not
    formula! { fn unsteady(x) { x * exp(x) / (1.0 + exp(x)) } }
    assert!(check_formula!(|x| unsteady(x)).is_err());
    // a wrong gradient
    formula! { fn wrong(x) { x * x } gradient { 3.0 * x } }
    assert!(check_formula!(|x| wrong(x)).is_err());
}

update_formula! {
    /// Adam without bias correction.
    pub fn Adam(parameter, gradient; mean, square; rate, beta1, beta2) {
        mean = beta1 * mean + (1.0 - beta1) * gradient;
        square = beta2 * square + (1.0 - beta2) * (gradient * gradient);
        parameter = parameter - rate * mean / (sqrt(square) + 1e-8);
    }
}

#[test]
fn an_optimizer_step() {
    let adam = Adam { rate: 0.1, beta1: 0.9, beta2: 0.999 };
    let (parameter, [mean, square]) = adam.step(F::<f32, false>(1.0), F(2.0), [F(0.0), F(0.0)]);
    assert_eq!(mean.0, (1.0f64 - 0.9) as f32 * 2.0);
    assert_eq!(square.0, (1.0f64 - 0.999) as f32 * 4.0);
    assert!((parameter.0 - (1.0 - 0.1 * 0.2 / 0.004f32.sqrt())).abs() < 1e-6);
}
