//! A formula held against itself: f32 against f64, its gradient against differences, at the places where formulas break.

use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::DType;
use crate::tensor::{Tensor, no_grad};

/// Where formulas break: zeros, subnormals, kinks at small whole numbers, where e^x overflows, large magnitudes.
const POINTS: &[f32] = &[
    0.0, 1e-40, 1e-20, 1e-3, 0.1, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 3.7, 6.0, 10.0, 20.0, 20.5, 44.0, 60.0, 87.0,
    88.5, 90.0, 104.5, 1e3, 1e4,
];

/// Checks a pointwise function of `operands` tensors at zeros, subnormals, kinks, large numbers, where exponentials overflow
/// and at infinity: f32 agrees with f64, the gradient agrees with finite differences (at a kink it lies between the two
/// slopes), and nothing is NaN where its surroundings are finite. [`check_formula!`](crate::check_formula!) calls it.
#[track_caller]
pub fn check_formula(name: &'static str, operands: usize, function: impl Fn(&[Tensor]) -> Tensor) -> Result<()> {
    let at = std::panic::Location::caller();
    let mut list: Vec<f32> = POINTS.iter().flat_map(|&x| [x, -x]).collect();
    list.extend([f32::INFINITY, f32::NEG_INFINITY]);
    let mut complaints = Vec::new();
    // the other operands stand at few places, each in turn moves over all
    let rest = [0.7f32, -1.6, 2.0];
    for moving in 0..operands {
        let columns: Vec<Vec<f32>> = (0..operands)
            .map(|k| {
                let steady = |i: usize| rest[(i / list.len() + k) % rest.len()];
                (0..list.len() * rest.len())
                    .map(|i| if k == moving { list[i % list.len()] } else { steady(i) })
                    .collect()
            })
            .collect();
        compare(&columns, moving, &function, &mut complaints)?;
    }
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.truncate(12);
    let help = "rewrite it so that no intermediate overflows where the result does not, or give its gradient";
    let fault = Fault::new(ErrorKind::Gradient, complaints.join("\n    "), help);
    Err(Error::with(name, fault, Vec::new(), at))
}

fn compare(
    columns: &[Vec<f32>],
    moving: usize,
    function: &impl Fn(&[Tensor]) -> Tensor,
    complaints: &mut Vec<String>,
) -> Result<()> {
    let tensors = |dtype: DType| -> Result<Vec<Tensor>> {
        columns.iter().map(|column| Tensor::from_slice(column, [column.len()])?.to_dtype(dtype).checked()).collect()
    };
    let graded = |dtype: DType| -> Result<(Vec<f64>, Vec<f64>)> {
        let inputs: Vec<Tensor> = tensors(dtype)?.iter().map(Tensor::variable).collect();
        let result = function(&inputs);
        let values = result.detach().to_dtype(DType::F64).to_vec::<f64>()?;
        let gradients = result.sum().backward()?;
        let gradient = match gradients.get(&inputs[moving]) {
            Some(gradient) => gradient.to_dtype(DType::F64).to_vec::<f64>()?,
            None => vec![0.0; values.len()],
        };
        Ok((values, gradient))
    };
    let (single, double) = (graded(DType::F32)?, graded(DType::F64)?);
    // differences on both sides, and the step of each
    let centre = tensors(DType::F64)?;
    let steps: Vec<f64> = columns[moving].iter().map(|x| (x.abs() as f64).max(1e-2) * 1e-6).collect();
    let moved = |sign: f64| -> Result<Vec<f64>> {
        let mut inputs = centre.clone();
        let places: Vec<f64> = columns[moving].iter().zip(&steps).map(|(&x, h)| x as f64 + sign * h).collect();
        inputs[moving] = Tensor::from_slice(&places, [places.len()])?;
        no_grad(|| function(&inputs)).to_vec::<f64>()
    };
    let (above, below) = (moved(1.0)?, moved(-1.0)?);
    for i in 0..columns[0].len() {
        let place: Vec<f32> = columns.iter().map(|column| column[i]).collect();
        let (x, h) = (columns[moving][i] as f64, steps[i]);
        let (value, slope) = (double.0[i], double.1[i]);
        let mut complain = |what: String| complaints.push(format!("at {place:?}: {what}"));
        // a rounded input moves the result by its slope; a sum near 1 times x leaves the last place of x
        let room = 2e-6 * (value.abs() + (x * slope).abs().min(1e30)) + 2e-7 * x.abs().min(10.0) + 1e-37;
        let beyond = value.abs() > f32::MAX as f64 || value.abs() < 1e-36;
        let close = single.0[i] == value || (single.0[i] - value).abs() <= room;
        if !(beyond || close || single.0[i].is_nan() && value.is_nan()) {
            complain(format!("f32 gives {:e}, f64 {value:e}", single.0[i]));
        }
        if !x.is_finite() || !above[i].is_finite() || !below[i].is_finite() {
            continue;
        }
        if value.is_nan() {
            complain(format!("the value is NaN, around it {:e} and {:e}", below[i], above[i]));
            continue;
        }
        if slope.is_nan() || (single.1[i].is_nan() && single.0[i].is_finite()) {
            complain(format!("the gradient is NaN (f32: {}, f64: {slope})", single.1[i]));
            continue;
        }
        let (right, left) = ((above[i] - value) / h, (value - below[i]) / h);
        let room = 1e-4 * right.abs().max(left.abs()) + 1e-14 * value.abs() / h + 1e-6;
        let (low, high) = (right.min(left) - room, right.max(left) + room);
        if slope.is_finite() && !(low..=high).contains(&slope) {
            complain(format!("the gradient is {slope:e}, differences give {left:e} and {right:e}"));
        }
    }
    Ok(())
}

/// Checks a formula where formulas break; an error says at which numbers and what differs.
///
/// ```
/// use chainrule::{check_formula, formula};
/// formula! { fn steady(x) { select(ge(x, 0.0), x, -x) / (1.0 + abs(x)) } gradient { sign(x) / ((1.0 + abs(x)) * (1.0 + abs(x))) } }
/// check_formula!(|x| steady(x))?;
///
/// // e^-x overflows below -709, where the result does not
/// formula! { fn unsteady(x) { x / (1.0 + exp(-x)) } }
/// assert!(check_formula!(|x| unsteady(x)).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[macro_export]
macro_rules! check_formula {
    (|$x:ident| $call:expr) => {
        $crate::op::check_formula(stringify!($call), 1, |inputs| {
            let $x = &inputs[0];
            $call
        })
    };
    (|$x:ident, $y:ident| $call:expr) => {
        $crate::op::check_formula(stringify!($call), 2, |inputs| {
            let ($x, $y) = (&inputs[0], &inputs[1]);
            $call
        })
    };
    (|$x:ident, $y:ident, $z:ident| $call:expr) => {
        $crate::op::check_formula(stringify!($call), 3, |inputs| {
            let ($x, $y, $z) = (&inputs[0], &inputs[1], &inputs[2]);
            $call
        })
    };
}

#[cfg(test)]
mod tests {

    /// Those that are 0/0 at both infinities or at a pole by their nature are not here.
    #[test]
    fn our_own_formulas_hold() {
        let checks = [
            check_formula!(|x| x.exp()),
            check_formula!(|x| x.expm1()),
            check_formula!(|x| x.sqrt()),
            check_formula!(|x| x.ln()),
            check_formula!(|x| x.log1p()),
            check_formula!(|x| x.tanh()),
            check_formula!(|x| x.sinh()),
            check_formula!(|x| x.cosh()),
            check_formula!(|x| x.asinh()),
            check_formula!(|x| x.atan()),
            check_formula!(|x| x.erf()),
            check_formula!(|x| x.erfc()),
            check_formula!(|x| x.abs()),
            check_formula!(|x| x.relu()),
            check_formula!(|x| x.relu6()),
            check_formula!(|x| x.leaky_relu(0.01)),
            check_formula!(|x| x.elu(1.0)),
            check_formula!(|x| x.selu()),
            check_formula!(|x| x.celu(0.9)),
            check_formula!(|x| x.sigmoid()),
            check_formula!(|x| x.log_sigmoid()),
            check_formula!(|x| x.silu()),
            check_formula!(|x| x.gelu()),
            check_formula!(|x| x.gelu_tanh()),
            check_formula!(|x| x.softplus(1.0, 20.0)),
            check_formula!(|x| x.mish()),
            check_formula!(|x| x.softsign()),
            check_formula!(|x| x.hardswish()),
            check_formula!(|x| x.hardsigmoid()),
            check_formula!(|x| x.clamp(-1.0, 2.0)),
            check_formula!(|x, y| x.hypot(y)),
            check_formula!(|x, y| x.logaddexp(y)),
            check_formula!(|x, y| x.atan2(y)),
            check_formula!(|x, y, z| x.lerp(y, z)),
        ];
        let wrong: Vec<String> = checks.into_iter().filter_map(|check| check.err()).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}
