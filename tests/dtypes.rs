//! What a row claims of element types holds: bf16 and f16 give the f32 result on the widened numbers, rounded once;
//! integers give the exact result, wrapped. What it does not claim works too, or is an error that says so.

mod common;
mod table;

use chainrule::{DType, ErrorKind, Tensor};
use common::{Operand, VIEWS, guarded, one_line, operands, report};
use std::collections::BTreeMap;
use table::{ALL, Row, Values};

table::each_family!(check);

fn check(family: &str) {
    let mut lines = BTreeMap::new(); // the first failure of each row and type
    for row in table::family(family) {
        for (number, case) in row.cases.iter().enumerate() {
            if !case.iter().any(table::Input::is_real) {
                continue;
            }
            let shapes: Vec<_> = case.iter().map(|input| &input.shape).collect();
            for view in VIEWS {
                let Some(operands) = operands(case, view, 17 * number as u64 + view as u64) else { continue };
                for &dtype in ALL {
                    let outcome = guarded(|| {
                        if !row.dtypes.contains(&dtype) {
                            refuses(&row, &operands, dtype)
                        } else if dtype.is_half() {
                            half(&row, &operands, dtype)
                        } else if !dtype.is_float() {
                            whole(&row, &operands, dtype)
                        } else {
                            works(&row, &operands, dtype).map(drop)
                        }
                    });
                    if let Ok(Err(said)) | Err(said) = outcome {
                        let line = format!("{} [{dtype}] on {shapes:?} {view:?}: {said}", row.name);
                        lines.entry((row.name, dtype)).or_insert(line);
                    }
                }
            }
        }
    }
    report(lines.into_values().collect());
}

/// The results with operands of this type, widened from numbers of the type `through` after they were viewed: a sum over
/// another layout adds in another order.
fn run(row: &Row, operands: &[Operand], through: DType, dtype: DType) -> Vec<Tensor> {
    let seen: Vec<Tensor> = operands
        .iter()
        .map(|operand| {
            let seen = operand.seen(&operand.stored(through));
            if operand.input.is_real() { seen.to_dtype(dtype) } else { seen }
        })
        .collect();
    (row.call)(&seen)
}

fn works(row: &Row, operands: &[Operand], dtype: DType) -> Result<Vec<Tensor>, String> {
    let results = run(row, operands, dtype, dtype);
    results.into_iter().map(|result| result.checked().map_err(|error| one_line(&error))).collect()
}

/// An element type that is not claimed: it works, or there is an error of that family which names the type.
fn refuses(row: &Row, operands: &[Operand], dtype: DType) -> Result<(), String> {
    let operands = if dtype.is_float() { operands.to_vec() } else { small(operands, dtype) };
    match run(row, &operands, dtype, dtype).iter().find_map(Tensor::error) {
        Some(error) if error.kind() != ErrorKind::DType || !error.to_string().contains(dtype.name()) => {
            Err(format!("should be an error about the element type that names it: {}", one_line(error)))
        }
        _ => Ok(()),
    }
}

/// The f32 result on the widened numbers, rounded once.
fn half(row: &Row, operands: &[Operand], dtype: DType) -> Result<(), String> {
    let got = works(row, operands, dtype)?;
    let wide = run(row, operands, dtype, DType::F32);
    for (which, (got, wide)) in got.iter().zip(&wide).enumerate() {
        let kind = got.dtype().map_err(|error| one_line(&error))?;
        let wanted = wide.to_dtype(kind).to_vec::<f32>().map_err(|error| one_line(&error))?;
        let got = got.to_vec::<f32>().map_err(|error| one_line(&error))?;
        let exact = wide.to_vec::<f32>().map_err(|error| one_line(&error))?;
        let largest = exact.iter().filter(|x| x.is_finite()).fold(0.0f32, |most, x| most.max(x.abs()));
        let unit = if dtype == DType::BF16 { 1.0 / 256.0 } else { 1.0 / 2048.0 };
        for (at, (x, y)) in got.iter().zip(&wanted).enumerate() {
            let close = row.composed && kind.is_float() && (x - y).abs() <= 8.0 * unit * (largest + y.abs());
            if !(x == y || x.is_nan() && y.is_nan() || close) {
                return Err(format!("result {which} at {at}: {x:e}, should be {y:e} (f32 {:e})", exact[at]));
            }
        }
    }
    Ok(())
}

/// The same operands with small whole numbers; none is 0 where the row wants positive ones. Given numbers are rounded
/// away from zero, and lose their sign where there is none.
fn small(operands: &[Operand], dtype: DType) -> Vec<Operand> {
    let mut small = operands.to_vec();
    for (operand, seed) in small.iter_mut().zip(3u64..) {
        let positive = matches!(operand.input.values, Values::Real { low, .. } if low >= 0.0);
        if matches!(operand.input.values, Values::Given(_)) {
            for number in operand.numbers.iter_mut().filter(|number| number.is_finite()) {
                let whole = number.abs().ceil();
                *number = if dtype == DType::U8 { whole } else { whole.copysign(*number) };
            }
        }
        if operand.input.is_real() && !matches!(operand.input.values, Values::Given(_)) {
            let mut random = common::Random::new(seed);
            let low = if positive || dtype == DType::U8 { 1.0 } else { -3.0 };
            for number in &mut operand.numbers {
                *number = (low + random.below(if low < 0.0 { 7 } else { 4 }) as f64).trunc();
            }
        }
    }
    small
}

/// On small whole numbers: the f64 result, wrapped to the type.
fn whole(row: &Row, operands: &[Operand], dtype: DType) -> Result<(), String> {
    let small = small(operands, dtype);
    if dtype == DType::Bool {
        return works(row, &small, dtype).map(drop);
    }
    let got = works(row, &small, dtype)?;
    if !row.exact_integers {
        return Ok(());
    }
    let exact = run(row, &small, dtype, DType::F64);
    for (which, (got, exact)) in got.iter().zip(&exact).enumerate() {
        let kind = got.dtype().map_err(|error| one_line(&error))?;
        let exact = exact.to_vec::<f64>().map_err(|error| one_line(&error))?;
        let got = got.to_vec::<f64>().map_err(|error| one_line(&error))?;
        for (at, (&x, &y)) in got.iter().zip(&exact).enumerate() {
            let same = match kind {
                DType::U8 => x == (y as i64 as u8) as f64,
                DType::I32 => x == (y as i64 as i32) as f64,
                DType::I64 | DType::Bool => x == y.trunc(),
                _ => (x - y).abs() <= 1e-5 * y.abs() + 1e-6 || x.is_nan() && y.is_nan() || x == y,
            };
            if !same {
                return Err(format!("result {which} at {at}: {x}, should be {y}"));
            }
        }
    }
    Ok(())
}
