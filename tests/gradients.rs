//! Gradients held against differences, over the table of operations: f64, random directions, every view of every case;
//! second derivatives by differentiating the recorded gradients; forward mode against reverse.

mod common;
mod table;

use chainrule::{DType, Result, Tensor, backward_all, jvp};
use common::{Operand, Random, VIEWS, dot, guarded, one_line, operands, report, results, weighted};
use table::Row;

table::each_family!(check);

fn check(family: &str) {
    let mut lines = Vec::new();
    for row in table::family(family) {
        if row.cases.is_empty() && row.large.is_empty() {
            lines.push(format!("{}: has no case", row.name));
        }
        for (number, case) in row.cases.iter().enumerate() {
            for view in VIEWS {
                let seed = number as u64 * 7919 + view as u64;
                let Some(operands) = operands(case, view, seed) else { continue };
                let shapes: Vec<_> = case.iter().map(|input| &input.shape).collect();
                let outcome = guarded(|| Check { row: &row, operands, random: Random::new(seed + 1) }.run());
                let said = match outcome {
                    Ok(Ok(())) => continue,
                    Ok(Err(said)) | Err(said) => said,
                };
                lines.push(format!("{} on {shapes:?} {view:?}: {said}", row.name));
            }
        }
    }
    report(lines);
}

/// One case of one row in one view.
struct Check<'a> {
    row: &'a Row,
    operands: Vec<Operand>,
    random: Random,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), String> {
        let tracked: Vec<usize> = (0..self.operands.len()).filter(|&i| self.operands[i].wants_gradient()).collect();
        if let Some(words) = self.row.no_gradient {
            return if tracked.is_empty() { Ok(()) } else { self.refuses(&tracked, words) };
        }
        if tracked.is_empty() {
            return Ok(());
        }
        let results = results(self.row, &self.operands, DType::F64);
        let mut weights = Vec::new();
        for result in &results {
            let count = result.count().map_err(|error| one_line(&error))?;
            weights.push(self.random.direction(if is_float(result) { count } else { 0 }));
        }
        self.first(&tracked, &weights)?;
        self.forward(&tracked, &weights)?;
        self.second(&tracked, &weights)
    }

    /// `backward` says why there is no gradient.
    fn refuses(&self, tracked: &[usize], words: &str) -> Result<(), String> {
        let (seen, _) = self.place(&self.operands, tracked);
        for result in (self.row.call)(&seen) {
            let ones = result.ones_like();
            match result.backward_from(&ones) {
                Ok(_) => return Err("claims to have no gradient, and has one".to_string()),
                Err(error) if error.to_string().contains(words) => {}
                Err(error) => return Err(format!("the error does not say {words:?}: {}", one_line(&error))),
            }
        }
        Ok(())
    }

    /// The operands as tensors, those that are `tracked` as variables: as seen, and as stored.
    fn place(&self, operands: &[Operand], tracked: &[usize]) -> (Vec<Tensor>, Vec<Tensor>) {
        let stored: Vec<Tensor> = operands
            .iter()
            .enumerate()
            .map(|(i, operand)| {
                let stored = operand.stored(DType::F64);
                if tracked.contains(&i) { stored.variable() } else { stored }
            })
            .collect();
        (operands.iter().zip(&stored).map(|(operand, stored)| operand.seen(stored)).collect(), stored)
    }

    /// The gradients at these operands of the weighted results.
    fn gradients(
        &self,
        operands: &[Operand],
        tracked: &[usize],
        weights: &[Vec<f64>],
    ) -> Result<Vec<Vec<f64>>, String> {
        let say = |error| one_line(&error);
        let (seen, stored) = self.place(operands, tracked);
        let results = (self.row.call)(&seen);
        let mut roots = Vec::new();
        for (result, weights) in results.iter().zip(weights).filter(|(result, _)| is_float(result)) {
            let weights = Tensor::from_slice(weights, result.shape().map_err(say)?).map_err(say)?;
            roots.push((result, weights.to_dtype(result.dtype().map_err(say)?)));
        }
        let roots: Vec<(&Tensor, &Tensor)> = roots.iter().map(|(result, weight)| (*result, weight)).collect();
        let gradients = backward_all(&roots).map_err(say)?;
        let mut numbers = Vec::new();
        for &i in tracked {
            let leaf = &stored[i];
            let Some(gradient) = gradients.get(leaf) else {
                numbers.push(vec![0.0; operands[i].numbers.len()]);
                continue;
            };
            let (got, wanted) = (gradient.shape().map_err(say)?, leaf.shape().map_err(say)?);
            if got != wanted {
                return Err(format!("the gradient of operand {i} has shape {got:?}, the operand {wanted:?}"));
            }
            numbers.push(gradient.to_vec().map_err(say)?);
        }
        Ok(numbers)
    }

    /// Gradients against central differences, one operand at a time.
    fn first(&mut self, tracked: &[usize], weights: &[Vec<f64>]) -> Result<(), String> {
        let gradients = self.gradients(&self.operands, tracked, weights)?;
        for (&i, gradient) in tracked.iter().zip(&gradients) {
            let direction = self.random.direction(gradient.len());
            let along = |step: f64| -> Result<(f64, f64), String> {
                let mut moved = self.operands.clone();
                moved[i] = self.operands[i].moved(&direction, step);
                let (mut total, mut size) = (0.0, 0.0);
                for (result, weights) in results(self.row, &moved, DType::F64).iter().zip(weights) {
                    let numbers = result.to_vec::<f64>().map_err(|error| one_line(&error))?;
                    total += dot(&numbers, weights);
                    size += numbers.iter().zip(weights).map(|(x, w)| (x * w).abs()).sum::<f64>();
                }
                Ok((total, size))
            };
            let size: f64 = gradient.iter().zip(&direction).map(|(g, d)| (g * d).abs()).sum();
            agree(&format!("the gradient of operand {i}"), dot(gradient, &direction), size, 1e-6, along)?;
        }
        Ok(())
    }

    /// The derivative along a direction, carried forward, against the gradients.
    fn forward(&mut self, tracked: &[usize], weights: &[Vec<f64>]) -> Result<(), String> {
        let gradients = self.gradients(&self.operands, tracked, weights)?;
        let directions: Vec<Vec<f64>> = gradients.iter().map(|g| self.random.direction(g.len())).collect();
        let reverse: f64 = gradients.iter().zip(&directions).map(|(g, d)| dot(g, d)).sum();
        let size: f64 =
            gradients.iter().zip(&directions).flat_map(|(g, d)| g.iter().zip(d)).map(|(g, d)| (g * d).abs()).sum();
        let (_, stored) = self.place(&self.operands, &[]);
        let leaves: Vec<&Tensor> = tracked.iter().map(|&i| &stored[i]).collect();
        let mut along = Vec::new();
        for (&i, direction) in tracked.iter().zip(&directions) {
            let direction = Tensor::from_slice(direction, &self.operands[i].shape[..]);
            along.push(direction.map_err(|error| one_line(&error))?);
        }
        let along: Vec<&Tensor> = along.iter().collect();
        let mut carried = 0.0;
        for (which, weights) in weights.iter().enumerate().filter(|(_, weights)| !weights.is_empty()) {
            let function = |leaves: &[Tensor]| {
                let mut all = stored.clone();
                for (&i, leaf) in tracked.iter().zip(leaves) {
                    all[i] = leaf.clone();
                }
                let seen: Vec<Tensor> =
                    self.operands.iter().zip(&all).map(|(operand, stored)| operand.seen(stored)).collect();
                (self.row.call)(&seen).swap_remove(which)
            };
            match (jvp(function, &leaves, &along), self.row.no_forward) {
                (Err(error), Some(words)) if error.to_string().contains(words) => return Ok(()),
                (Err(error), _) => return Err(format!("forward mode: {}", one_line(&error))),
                (Ok(_), Some(_)) => return Err("claims to have no forward mode, and has one".to_string()),
                (Ok((_, slope)), None) => {
                    carried += dot(&slope.to_vec::<f64>().map_err(|error| one_line(&error))?, weights);
                }
            }
        }
        let off = (carried - reverse).abs();
        if off <= 1e-10 * (1.0 + size) {
            Ok(())
        } else {
            Err(format!("forward mode gives {carried:e}, reverse {reverse:e}"))
        }
    }

    /// The gradient of `⟨v, gradient⟩` against differences of gradients.
    fn second(&mut self, tracked: &[usize], weights: &[Vec<f64>]) -> Result<(), String> {
        let say = |error| one_line(&error);
        let (seen, stored) = self.place(&self.operands, tracked);
        let results = (self.row.call)(&seen);
        let floats: Vec<Tensor> = results.iter().filter(|result| is_float(result)).cloned().collect();
        let of_floats: Vec<Vec<f64>> =
            results.iter().zip(weights).filter(|(r, _)| is_float(r)).map(|(_, w)| w.clone()).collect();
        let leaves: Vec<&Tensor> = tracked.iter().map(|&i| &stored[i]).collect();
        let recorded = match (weighted(&floats, &of_floats).gradients_of_recorded(&leaves), self.row.no_second) {
            (Err(error), Some(words)) if error.to_string().contains(words) => return Ok(()),
            (outcome, _) => outcome.map_err(|error| format!("second derivative: {}", one_line(&error)))?,
        };
        let directions: Vec<Vec<f64>> =
            tracked.iter().map(|&i| self.random.direction(stored_len(&stored[i]))).collect();
        let probe: Vec<Vec<f64>> = tracked.iter().map(|&i| self.random.direction(stored_len(&stored[i]))).collect();
        let slope = weighted(&recorded, &probe);
        let (mut analytic, mut size) = (0.0, 0.0);
        if slope.is_tracked() {
            let second = match (slope.backward(), self.row.no_second) {
                (Err(error), Some(words)) if error.to_string().contains(words) => return Ok(()),
                (outcome, _) => outcome.map_err(|error| format!("second derivative: {}", one_line(&error)))?,
            };
            for (leaf, direction) in leaves.iter().zip(&directions) {
                let Some(gradient) = second.get(leaf) else { continue };
                let gradient = gradient.to_vec::<f64>().map_err(say)?;
                analytic += dot(&gradient, direction);
                size += gradient.iter().zip(direction).map(|(g, d)| (g * d).abs()).sum::<f64>();
            }
        } else {
            slope.value().map_err(|error| format!("second derivative: {}", one_line(&error)))?;
        }
        if self.row.no_second.is_some() {
            return Err("claims to have no second derivative, and has one".to_string());
        }
        let along = |step: f64| -> Result<(f64, f64), String> {
            let mut moved = self.operands.clone();
            for (&i, direction) in tracked.iter().zip(&directions) {
                moved[i] = self.operands[i].moved(direction, step);
            }
            let gradients = self.gradients(&moved, tracked, weights)?;
            let total = gradients.iter().zip(&probe).map(|(g, v)| dot(g, v)).sum();
            let size =
                gradients.iter().zip(&probe).flat_map(|(g, v)| g.iter().zip(v)).map(|(g, v)| (g * v).abs()).sum();
            Ok((total, size))
        };
        agree("the second derivative", analytic, size, 1e-5, along)
    }
}

/// Holds a derivative along a direction against two central differences, extrapolated: their error is of fourth order.
/// `along` gives the value at a step and the size of the numbers it is the sum of, which sets the noise.
fn agree(
    what: &str,
    analytic: f64,
    size: f64,
    tolerance: f64,
    along: impl Fn(f64) -> Result<(f64, f64), String>,
) -> Result<(), String> {
    let mut noise = 0.0f64;
    let mut difference = |step: f64| -> Result<f64, String> {
        let ((above, size), (below, _)) = (along(step)?, along(-step)?);
        noise = noise.max(size);
        Ok((above - below) / (2.0 * step))
    };
    let numeric = (4.0 * difference(5e-4)? - difference(1e-3)?) / 3.0;
    let allowed = tolerance * (size.abs() + numeric.abs()) + 1e-11 * noise + 1e-9;
    if (analytic - numeric).abs() <= allowed {
        Ok(())
    } else {
        Err(format!("{what} gives {analytic:e} along a direction, differences {numeric:e}"))
    }
}

fn is_float(tensor: &Tensor) -> bool {
    tensor.dtype().is_ok_and(DType::is_float)
}

fn stored_len(tensor: &Tensor) -> usize {
    tensor.count().unwrap_or(0)
}
