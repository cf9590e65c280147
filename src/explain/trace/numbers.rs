//! The numbers of a value as a person looks at them: all of a few, a summary and a map of many.

use crate::device::Value;
use crate::layout::DType;
use crate::tensor::Tensor;

/// Up to so many are shown one by one.
pub(super) const FEW: usize = 64;
/// A map has at most so many rows and columns.
const CELLS: usize = 24;

/// What is shown of a value.
pub(super) struct Numbers {
    pub(super) dims: Vec<usize>,
    pub(super) dtype: DType,
    /// All of them, where they are few.
    pub(super) all: Option<Vec<f64>>,
    pub(super) least: f64,
    pub(super) greatest: f64,
    pub(super) mean: f64,
    pub(super) deviation: f64,
    /// The root of the sum of squares.
    pub(super) norm: f64,
    /// How many are 0.
    pub(super) zeros: usize,
    /// How many are NaN or infinite; they take no part in the figures above.
    pub(super) not_finite: usize,
    pub(super) map: Option<Map>,
}

/// Means over blocks: the last axis goes across, the others down.
pub(super) struct Map {
    pub(super) columns: usize,
    pub(super) cells: Vec<f64>,
}

impl Numbers {
    pub(super) fn of(value: &Value) -> Numbers {
        let numbers = read(value);
        let finite = || numbers.iter().copied().filter(|x| x.is_finite());
        let count = finite().count();
        let mean = if count == 0 { 0.0 } else { finite().sum::<f64>() / count as f64 };
        let spread = finite().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        Numbers {
            dims: value.dims().to_vec(),
            dtype: value.dtype(),
            least: finite().fold(f64::INFINITY, f64::min),
            greatest: finite().fold(f64::NEG_INFINITY, f64::max),
            mean,
            deviation: if count == 0 { 0.0 } else { (spread / count as f64).sqrt() },
            norm: finite().map(|x| x * x).sum::<f64>().sqrt(),
            zeros: numbers.iter().filter(|x| **x == 0.0).count(),
            not_finite: numbers.len() - count,
            map: (numbers.len() > FEW).then(|| Map::of(&numbers, value.dims())),
            all: (numbers.len() <= FEW).then_some(numbers),
        }
    }
    pub(super) fn count(&self) -> usize {
        self.dims.iter().product()
    }
}

/// The numbers in row-major order.
pub(super) fn read(value: &Value) -> Vec<f64> {
    Tensor::from_value(value.clone()).to_dtype(DType::F64).to_vec::<f64>().unwrap_or_default()
}

impl Map {
    fn of(numbers: &[f64], dims: &[usize]) -> Map {
        let across = dims.last().copied().unwrap_or(1).max(1);
        let down = numbers.len() / across;
        let (columns, rows) = (across.min(CELLS), down.clamp(1, CELLS));
        let mut sums = vec![(0.0, 0usize); rows * columns];
        for (at, number) in numbers.iter().enumerate().filter(|(_, number)| number.is_finite()) {
            let cell = (at / across * rows / down.max(1)) * columns + at % across * columns / across;
            if let Some((sum, count)) = sums.get_mut(cell) {
                *sum += number;
                *count += 1;
            }
        }
        let cells = sums.into_iter().map(|(sum, count)| if count == 0 { 0.0 } else { sum / count as f64 }).collect();
        Map { columns, cells }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_numbers_stand_in_full_and_many_in_blocks() {
        let value = |count: usize| {
            let numbers: Vec<f32> = (0..count).map(|i| i as f32).collect();
            Tensor::from_vec(numbers, [count / 8, 8]).unwrap().value().unwrap().clone()
        };
        let few = Numbers::of(&value(16));
        assert_eq!((few.all.unwrap()[15], few.least, few.greatest, few.zeros), (15.0, 0.0, 15.0, 1));
        let many = Numbers::of(&value(480));
        let map = many.map.unwrap();
        assert_eq!((map.columns, map.cells.len()), (8, 24 * 8));
        // 60 rows in 24: the first holds rows 0, 1 and 2
        assert_eq!((map.cells[0], map.cells[8]), (8.0, 28.0));
        assert!((many.mean - 239.5).abs() < 1e-9 && many.all.is_none());
    }

    #[test]
    fn what_is_not_finite_is_counted_apart() {
        let value = Tensor::from([1.0, f32::NAN, 3.0, f32::INFINITY]).value().unwrap().clone();
        let numbers = Numbers::of(&value);
        assert_eq!((numbers.not_finite, numbers.mean, numbers.greatest), (2, 2.0, 3.0));
    }
}
