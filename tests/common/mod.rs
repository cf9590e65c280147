//! What the checks over the table share: operands in several layouts, a guard against panics, one report of everything.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

use super::table::{Input, Row, Values};
use chainrule::op::{self, Call, Keep, Op, Outputs, Saves};
use chainrule::{DType, Fault, Index, IndexList, Tensor, Value};

mod guard;
pub use guard::*;

/// Repeatable random numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }
    /// Below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count.max(1) as u64) as usize
    }
    /// `count` numbers between -1 and 1.
    pub fn direction(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.between(-1.0, 1.0)).collect()
    }
    /// `count` numbers of this kind.
    pub fn numbers(&mut self, values: &Values, count: usize) -> Vec<f64> {
        match values {
            Values::Real { low, high, away } => (0..count)
                .map(|_| {
                    loop {
                        let x = self.between(*low, *high);
                        if away.iter().all(|kink| (x - kink).abs() > 0.05) {
                            return x;
                        }
                    }
                })
                .collect(),
            Values::Short => (0..count).map(|_| (self.between(-2.0, 2.0) * 16.0).round() / 16.0).collect(),
            Values::Distinct => {
                let mut order: Vec<usize> = (0..count).collect();
                for i in (1..count).rev() {
                    order.swap(i, self.below(i + 1));
                }
                order.iter().map(|&i| (i as f64 - count as f64 / 2.0) * 0.05 + self.between(0.0, 0.02)).collect()
            }
            Values::Index(below) => (0..count).map(|_| self.below(*below) as f64).collect(),
            Values::Mask => (0..count).map(|_| self.below(2) as f64).collect(),
            Values::Given(numbers) => numbers.iter().cycle().take(count).copied().collect(),
        }
    }
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    Plain,
    /// The axes in reversed order.
    Transposed,
    /// A part of something larger, every other element of the last axis.
    Sliced,
    /// Every axis backward: negative strides.
    Reversed,
    /// The first axis repeated: a stride of 0.
    Expanded,
}

pub const VIEWS: [View; 5] = [View::Plain, View::Transposed, View::Sliced, View::Reversed, View::Expanded];

impl View {
    /// The shape that is stored, to be seen in `shape`; None where the view would change nothing.
    fn stored(self, input: &Input) -> Option<Vec<usize>> {
        let mut shape = input.shape.clone();
        let rank = shape.len();
        match self {
            View::Plain => {}
            View::Transposed if rank >= 2 => shape.reverse(),
            View::Sliced if rank >= 1 => {
                shape[rank - 1] = 2 * shape[rank - 1] + 1;
                if rank >= 2 {
                    shape[0] += 2;
                }
            }
            View::Reversed if rank >= 1 => {}
            View::Expanded
                if rank >= 1 && shape[0] > 1 && !matches!(input.values, Values::Distinct | Values::Given(_)) =>
            {
                shape[0] = 1
            }
            _ => return None,
        }
        Some(shape)
    }
    /// The view of the stored tensor.
    fn see(self, stored: &Tensor, shape: &[usize]) -> Tensor {
        let rank = shape.len();
        let range =
            |start: Option<isize>, end: Option<isize>, step: isize| Index::Range { start, end, inclusive: false, step };
        match self {
            View::Plain => stored.clone(),
            View::Transposed => stored.permute(&(0..rank).rev().collect::<Vec<_>>()[..]),
            View::Sliced => {
                let mut parts = vec![Index::ALL; rank];
                if rank >= 2 {
                    parts[0] = range(Some(1), Some(1 + shape[0] as isize), 1);
                }
                parts[rank - 1] = range(Some(1), None, 2);
                stored.slice(IndexList::from_iter(parts))
            }
            View::Reversed => stored.slice(IndexList::from_iter(vec![range(None, None, -1); rank])),
            View::Expanded => stored.expand(shape),
        }
    }
}

/// An operand: what is stored and how it is seen.
#[derive(Clone)]
pub struct Operand {
    pub input: Input,
    pub view: View,
    pub shape: Vec<usize>,
    pub numbers: Vec<f64>,
}

impl Operand {
    /// As a tensor of this type; `index` and `mask` operands keep theirs.
    pub fn stored(&self, dtype: DType) -> Tensor {
        let dtype = match self.input.values {
            Values::Index(_) => DType::I64,
            Values::Mask => DType::Bool,
            _ => dtype,
        };
        Tensor::from_slice(&self.numbers, &self.shape[..]).map_or_else(Tensor::failed, |x| x.to_dtype(dtype))
    }
    /// As the operation sees it.
    pub fn seen(&self, stored: &Tensor) -> Tensor {
        self.view.see(stored, &self.input.shape)
    }
    pub fn moved(&self, direction: &[f64], step: f64) -> Operand {
        let numbers = self.numbers.iter().zip(direction).map(|(x, d)| x + step * d).collect();
        Operand { numbers, ..self.clone() }
    }
    pub fn wants_gradient(&self) -> bool {
        self.input.gradient && self.input.is_real()
    }
}

/// The operands of a case, all in one kind of view; None where the view changes none of them.
pub fn operands(case: &[Input], view: View, seed: u64) -> Option<Vec<Operand>> {
    let mut random = Random::new(seed);
    let mut changed = view == View::Plain;
    let made = case
        .iter()
        .map(|input| {
            let (view, shape) = match view.stored(input) {
                Some(shape) => {
                    changed = true;
                    (view, shape)
                }
                None => (View::Plain, input.shape.clone()),
            };
            let count = shape.iter().product();
            let mut numbers = random.numbers(&input.values, count);
            if let Values::Given(given) = &input.values {
                // Given numbers are those that are seen.
                let order = Tensor::arange(count).reshape(&shape[..]);
                let places = view.see(&order, &input.shape).to_vec::<i64>().expect("the harness can view");
                for (place, number) in places.into_iter().zip(given.iter().cycle()) {
                    numbers[place as usize] = *number;
                }
            }
            Operand { input: input.clone(), view, shape, numbers }
        })
        .collect();
    changed.then_some(made)
}

/// A row's results on operands, without gradients.
pub fn results(row: &Row, operands: &[Operand], dtype: DType) -> Vec<Tensor> {
    let seen: Vec<Tensor> = operands.iter().map(|operand| operand.seen(&operand.stored(dtype))).collect();
    chainrule::no_grad(|| (row.call)(&seen))
}

/// The sum of fixed weights times all numbers of its operands: what makes a number of any results, so that it can be
/// differentiated. An operation of the test's own, so that nothing of the library is checked by itself.
#[derive(Debug)]
pub struct Weighted(pub Vec<Vec<f64>>);

impl Op for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let mut total = 0.0;
        for (input, weights) in inputs.iter().zip(&self.0) {
            let numbers =
                Tensor::from_value((*input).clone()).to_vec::<f64>().map_err(|error| Fault::value(error.what(), ""))?;
            total += numbers.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>();
        }
        op::one(Value::full(chainrule::Shape::new(&[])?, DType::F64, total)?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let weights = Tensor::from_slice(&self.0[which], call.dims(which)).unwrap_or_else(Tensor::failed);
        weights.to_dtype(call.dtype(which)) * &arriving[0].to_dtype(call.dtype(which))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = w · ∂L/∂y"
    }
}

/// `Σ weights · tensors`, differentiable.
pub fn weighted(tensors: &[Tensor], weights: &[Vec<f64>]) -> Tensor {
    let inputs: Vec<&Tensor> = tensors.iter().collect();
    op::apply_slice(Weighted(weights.to_vec()), &inputs)
}

/// `Σ a · b`.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
