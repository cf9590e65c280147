//! What backward itself needs: gradients summed down to a shape, looked at, and made smaller together: `kernels/accumulate.cu`.

use super::Cuda;
use super::launch::THREADS;
use super::module::{Source, source};
use super::transfer::address;
use crate::device::Value;
use crate::device::accumulate::{Accumulate, repeated_axes};
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Layout, Shape};

const ACCUMULATE: Source = source!("accumulate");

/// Tensors of a launch: the lines of the table that its kernel takes.
const LINES: usize = 128;
/// Numbers of a piece, which a block folds.
const PIECE: usize = 8192;
/// Pieces of one tensor at most.
const PIECES: usize = 512;

formula_struct!([] SumFormula add_up(sum, term)() { sum + term });
formula_struct!([] NotFiniteFormula not_finite(x)() { select(is_finite(x), 0.0, 1.0) });

/// Tensors of one element type that share a launch.
struct Together {
    dtype: DType,
    values: Vec<Value>,
    /// Where each stood in the list.
    places: Vec<usize>,
}

impl Together {
    fn pieces(&self) -> usize {
        let most = self.values.iter().map(Value::count).max().unwrap_or(0);
        most.div_ceil(PIECE).clamp(1, PIECES)
    }
    /// `struct Stretches` of the kernels, and what holds them to be right.
    fn table(&self, to: impl Fn(usize) -> u64) -> Vec<u64> {
        let line = |(at, value): (usize, &Value)| [address(value), to(at), value.count() as u64];
        let mut table: Vec<u64> = self.values.iter().enumerate().flat_map(line).collect();
        table.resize(3 * LINES, 0);
        table
    }
}

impl Cuda {
    /// The sum of two values.
    pub(super) fn added(self, a: &Value, b: &Value) -> Result<Value, Fault> {
        self.formula(&SumFormula {}, [a, b])
    }
    /// Dense float values in groups for a launch.
    fn together(self, values: &[&Value]) -> Result<Vec<Together>, Fault> {
        let mut groups: Vec<Together> = Vec::new();
        for (place, value) in values.iter().enumerate() {
            self.holds(value)?;
            let (value, dtype) = (self.contiguous(value)?, value.dtype());
            if !dtype.is_float() {
                return Err(Fault::defect(format!("a gradient of {dtype} numbers")));
            }
            match groups.iter_mut().find(|group| group.dtype == dtype && group.values.len() < LINES) {
                Some(group) => {
                    group.values.push(value);
                    group.places.push(place);
                }
                None => groups.push(Together { dtype, values: vec![value], places: vec![place] }),
            }
        }
        Ok(groups)
    }
    /// One number for each piece of each value, in f64.
    fn folded_pieces(self, name: &str, values: &[&Value]) -> Result<Value, Fault> {
        let groups = self.together(values)?;
        let count = groups.iter().map(|group| group.values.len() * group.pieces()).sum();
        let parts = self.blank(Shape::new(&[count])?, DType::F64)?;
        let mut first = 0;
        for group in &groups {
            let (tensors, pieces) = (group.values.len(), group.pieces());
            let own = Layout::from_parts(Shape::new(&[tensors * pieces])?, &[1], first);
            let kernel = self.kernel(&ACCUMULATE, &format!("{name}_{}", group.dtype))?;
            let call = self.call(kernel).write(&parts.with_layout(own)?).block(&group.table(|_| 0));
            call.grid([pieces, tensors, 1], THREADS, 0)?;
            first += tensors * pieces;
        }
        Ok(parts)
    }
}

impl Accumulate for Cuda {
    fn add_up(&self, sum: Value, term: &Value) -> Result<Value, Fault> {
        if sum.shape() != term.shape() {
            return Err(Fault::defect(format!("gradients of {:?} and {:?} meet", sum.dims(), term.dims())));
        }
        self.added(&sum, &self.cast(term, sum.dtype())?)
    }
    fn sum_to(&self, x: &Value, shape: &Shape) -> Result<Value, Fault> {
        self.sum(x, &repeated_axes(x, shape), false)?.with_layout(Layout::contiguous(*shape))
    }
    fn sum_of_squares(&self, values: &[&Value]) -> Result<Value, Fault> {
        self.sum(&self.folded_pieces("squares", values)?, &[0], false)
    }
    fn shrunk(&self, values: &[&Value], norm: &Value, limit: f64) -> Result<Vec<Value>, Fault> {
        let outputs = values.iter().map(|value| self.blank(*value.shape(), value.dtype()));
        let outputs = outputs.collect::<Result<Vec<_>, Fault>>()?;
        for group in self.together(values)? {
            let kernel = self.kernel(&ACCUMULATE, &format!("shrink_{}", group.dtype))?;
            let table = group.table(|at| address(&outputs[group.places[at]]));
            let call = self.call(kernel).read(norm).block(&table).double(limit);
            call.grid([group.pieces(), group.values.len(), 1], THREADS, 0)?;
        }
        Ok(outputs)
    }
    fn all_finite(&self, values: &[&Value]) -> Result<bool, Fault> {
        Ok(self.bring_back(&self.greatest(values)?)?.dense::<f64>()?.iter().all(|most| most.is_finite()))
    }
    fn greatest(&self, values: &[&Value]) -> Result<Value, Fault> {
        let floats: Vec<&Value> = values.iter().copied().filter(|value| value.dtype().is_float()).collect();
        if floats.is_empty() {
            return self.full(Shape::new(&[])?, DType::F64, 0.0);
        }
        self.extreme(&self.folded_pieces("magnitudes", &floats)?, &[0], false, true)
    }
    fn first_not_finite(&self, x: &Value) -> Result<Option<(usize, f64)>, Fault> {
        if !x.dtype().is_float() || x.count() == 0 {
            return Ok(None);
        }
        let axes: Vec<usize> = (0..x.rank()).collect();
        let marks = self.formula(&NotFiniteFormula {}, [x])?;
        let (_, place) = self.extreme_place(&marks, &axes, false, true)?;
        let place = self.bring_back(&place)?.dense::<i64>()?.first().map_or(0, |&place| place as usize);
        let x = self.contiguous(x)?;
        let number = Layout::from_parts(Shape::new(&[])?, &[], x.layout().offset() + place);
        let number = self.cast(&x.with_layout(number)?, DType::F64)?;
        let number = self.bring_back(&number)?.dense::<f64>()?.first().copied().unwrap_or(0.0);
        // Where all are finite, the first of the equal marks is that of a finite number.
        Ok((!number.is_finite()).then_some((place, number)))
    }
}
