//! Every fused operation equals its definition in plain operations: values and gradients, in f64 and f32, in every view.

mod common;
mod table;

use chainrule::{DType, Tensor, backward_all};
use common::{Operand, Random, VIEWS, guarded, one_line, operands, report};
use table::{Call, Row};

table::each_family!(check);

fn check(family: &str) {
    let mut lines = Vec::new();
    for row in table::family(family) {
        let Some(definition) = &row.definition else { continue };
        for (number, case) in row.cases.iter().enumerate() {
            for view in VIEWS {
                let Some(operands) = operands(case, view, 31 * number as u64 + view as u64) else { continue };
                for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-5)] {
                    let outcome = guarded(|| compare(&row, definition, &operands, dtype, tolerance));
                    if let Ok(Err(said)) | Err(said) = outcome {
                        let shapes: Vec<_> = case.iter().map(|input| &input.shape).collect();
                        lines.push(format!("{} [{dtype}] on {shapes:?} {view:?}: {said}", row.name));
                    }
                }
            }
        }
    }
    report(lines);
}

/// The same within rounding. Sums of f32 that cancel (the gradient of a number that stands in many places) may be further apart: there
/// the operation is no further from the definition's value in f64 than the definition itself.
fn compare(row: &Row, definition: &Call, operands: &[Operand], dtype: DType, tolerance: f64) -> Result<(), String> {
    let fused = values_and_gradients(&row.call, operands, dtype)?;
    let plain = values_and_gradients(definition, operands, dtype)?;
    if fused.len() != plain.len() {
        return Err(format!("{} results and gradients, the definition {}", fused.len(), plain.len()));
    }
    for (which, ((what, fused), (_, plain))) in fused.iter().zip(&plain).enumerate() {
        let (shape, wanted) = (fused.shape().map_err(say)?, plain.shape().map_err(say)?);
        if shape != wanted {
            return Err(format!("{what} has shape {shape:?}, the definition's {wanted:?}"));
        }
        let (fused, plain) = (fused.to_vec::<f64>().map_err(say)?, plain.to_vec::<f64>().map_err(say)?);
        let size = plain.iter().filter(|x| x.is_finite()).fold(0.0f64, |most, x| most.max(x.abs()));
        for (at, (x, y)) in fused.iter().zip(&plain).enumerate() {
            let same = x == y || x.is_nan() && y.is_nan();
            if !same && ((x - y).abs() > tolerance * (size + y.abs() + 1e-3) || x.is_nan() != y.is_nan()) {
                if dtype == DType::F32 {
                    let exact = values_and_gradients(definition, operands, DType::F64)?[which]
                        .1
                        .to_vec::<f64>()
                        .map_err(say)?;
                    if (x - exact[at]).abs() <= (y - exact[at]).abs() {
                        continue;
                    }
                }
                return Err(format!("{what} at {at}: {x:e}, the definition {y:e}"));
            }
        }
    }
    Ok(())
}

/// All results, then the gradients of all operands for random weights of the results.
fn values_and_gradients(call: &Call, operands: &[Operand], dtype: DType) -> Result<Vec<(String, Tensor)>, String> {
    let mut stored = Vec::new();
    for operand in operands {
        let tensor = operand.stored(dtype);
        stored.push(if operand.wants_gradient() { tensor.variable() } else { tensor });
    }
    let seen: Vec<Tensor> = operands.iter().zip(&stored).map(|(operand, stored)| operand.seen(stored)).collect();
    let results = call(&seen);
    let mut all = Vec::new();
    let mut roots = Vec::new();
    let mut random = Random::new(5);
    for (which, result) in results.iter().enumerate() {
        all.push((format!("result {which}"), result.detach()));
        if result.dtype().map_err(say)?.is_float() && result.is_tracked() {
            let weights = random.direction(result.count().map_err(say)?);
            let weights = Tensor::from_slice(&weights, result.shape().map_err(say)?).map_err(say)?;
            roots.push((result, weights.to_dtype(result.dtype().map_err(say)?)));
        }
    }
    if roots.is_empty() {
        return Ok(all);
    }
    let roots: Vec<(&Tensor, &Tensor)> = roots.iter().map(|(result, weights)| (*result, weights)).collect();
    let gradients = backward_all(&roots).map_err(say)?;
    for (which, leaf) in stored.iter().enumerate().filter(|(which, _)| operands[*which].wants_gradient()) {
        let gradient = gradients.get(leaf).cloned().unwrap_or_else(|| leaf.zeros_like());
        all.push((format!("the gradient of operand {which}"), gradient));
    }
    Ok(all)
}

fn say(error: chainrule::Error) -> String {
    one_line(&error)
}
