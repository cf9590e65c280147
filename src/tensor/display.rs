//! How a tensor prints: as rows of aligned numbers, like NumPy's.

use super::Tensor;
use crate::device::{Device, Value};
use crate::layout::{DType, Element, dispatch};
use std::fmt;

/// More elements than this are summarised.
const WHOLE: usize = 1000;
/// How many positions are shown at each end of a long axis.
const EDGE: usize = 3;
/// Lines are wrapped at this width.
const WIDTH: usize = 88;

/// Rows of aligned numbers. Four digits after the point unless the format says otherwise (`{:.2}`); large tensors show
/// the ends of each axis, all of them with `{:#}`. What the numbers do not tell (the shape where parts are left out, an
/// element type that literals do not have) stands below. A failed tensor prints its error.
///
/// ```
/// use chainrule::Tensor;
/// let x = Tensor::from([[1.0, -2.5], [10.0, 0.125]]);
/// assert_eq!(x.to_string(), "[[ 1.000, -2.500],\n [10.000,  0.125]]");
/// assert_eq!(format!("{x:.1}"), "[[ 1.0, -2.5],\n [10.0,  0.1]]");
/// assert!(Tensor::zeros([2000]).to_string().contains("..."));
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self.value() {
            Ok(value) => value,
            Err(error) => return error.fmt(f),
        };
        let summary = value.count() > WHOLE && !f.alternate();
        f.write_str(&numbers(value, summary, f.precision()))?;
        let told = matches!(value.dtype(), DType::F32 | DType::I64 | DType::Bool);
        if summary || value.count() == 0 || !told { write!(f, "\n{}", self.describe()) } else { Ok(()) }
    }
}

/// Shape and element type above the numbers, or the error of a failed tensor.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Ok(value) => {
                let summary = value.count() > WHOLE;
                write!(f, "Tensor {}\n{}", self.describe(), numbers(value, summary, f.precision()))
            }
            Err(error) => write!(f, "failed tensor\n{error}"),
        }
    }
}

/// The rows.
fn numbers(value: &Value, summary: bool, precision: Option<usize>) -> String {
    let value = &match value.to(Device::Cpu) {
        Ok(here) => here,
        Err(fault) => return fault.what().to_string(),
    };
    let mut cells = Vec::new();
    gather(value, summary, 0, value.layout().offset() as isize, &mut cells);
    let texts = write_all(&cells, value, precision);
    let width = texts.iter().map(String::len).max().unwrap_or(0);
    let mut rest = texts.iter().map(|text| format!("{text:>width$}"));
    nest(value.dims(), summary, 1, &mut rest)
}

/// One element, in the widest type of its kind.
#[derive(Clone, Copy)]
enum Cell {
    Float(f64),
    Integer(i64),
    Truth(bool),
}

/// The positions of an axis that are shown: all, or both ends.
fn shown(size: usize, summary: bool) -> impl Iterator<Item = usize> {
    let (end, start) = if summary && size > 2 * EDGE { (EDGE, size - EDGE) } else { (size, size) };
    (0..end).chain(start..size)
}

/// Reads the elements that are shown, row by row.
fn gather(value: &Value, summary: bool, axis: usize, place: isize, cells: &mut Vec<Cell>) {
    let Some(&size) = value.dims().get(axis) else {
        cells.extend(read(value, place as usize));
        return;
    };
    let stride = value.layout().strides()[axis];
    for position in shown(size, summary) {
        gather(value, summary, axis + 1, place + position as isize * stride, cells);
    }
}

fn read(value: &Value, place: usize) -> Option<Cell> {
    dispatch!(value.dtype(), T => {
        let x = *value.strided::<T>().ok()?.data.get(place)?;
        Some(match value.dtype() {
            DType::Bool => Cell::Truth(x.to_i64() != 0),
            dtype if dtype.is_float() => Cell::Float(x.to_f64()),
            _ => Cell::Integer(x.to_i64()),
        })
    })
}

/// The elements as texts, all numbers with as many digits.
fn write_all(cells: &[Cell], value: &Value, precision: Option<usize>) -> Vec<String> {
    let mut floats = cells.iter().filter_map(|cell| match cell {
        Cell::Float(x) if x.is_finite() && *x != 0.0 => Some(x.abs()),
        _ => None,
    });
    let (low, high) = floats.by_ref().fold((f64::MAX, 0.0), |(low, high), x| (x.min(low), x.max(high)));
    let scientific = high >= 1e8 || (high > 0.0 && low < 1e-4);
    let digits = precision.unwrap_or(4);
    let float = |x: f64, digits: usize| match scientific {
        _ if !x.is_finite() => format!("{x}"),
        true => format!("{x:.digits$e}"),
        false => format!("{x:.digits$}"),
    };
    let single = value.rank() == 0 && precision.is_none();
    // No more digits than some number needs, but one at least: 1.5 rather than 1.5000.
    let needed = |x: f64| {
        let text = float(x, digits);
        let mantissa = text.split('e').next().unwrap_or_default();
        mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len())
    };
    let digits = match precision {
        Some(digits) => digits,
        None => {
            cells.iter().map(|cell| if let Cell::Float(x) = cell { needed(*x) } else { 0 }).max().unwrap_or(0).max(1)
        }
    };
    let text = |cell: &Cell| match cell {
        Cell::Truth(x) => x.to_string(),
        Cell::Integer(x) => x.to_string(),
        // A single number shows all it has.
        Cell::Float(x) if single && value.dtype() == DType::F64 => format!("{x:?}"),
        Cell::Float(x) if single => format!("{:?}", *x as f32),
        Cell::Float(x) => float(*x, digits),
    };
    cells.iter().map(text).collect()
}

/// Puts brackets around rows, rows under each other, and dots where positions are left out.
fn nest(sizes: &[usize], summary: bool, indent: usize, cells: &mut impl Iterator<Item = String>) -> String {
    let Some((&size, inner)) = sizes.split_first() else {
        return cells.next().unwrap_or_default();
    };
    let mut parts = Vec::new();
    let mut next = 0;
    for position in shown(size, summary) {
        if position > next {
            parts.push("...".to_string());
        }
        next = position + 1;
        parts.push(nest(inner, summary, indent + 1, cells));
    }
    if inner.is_empty() {
        return format!("[{}]", wrapped(&parts, indent));
    }
    // One line feed between rows, one more for each axis between blocks.
    let feed = format!(",{}{:indent$}", "\n".repeat(inner.len()), "");
    format!("[{}]", parts.join(&feed))
}

/// The numbers of a row, on further lines where one is too short.
fn wrapped(parts: &[String], indent: usize) -> String {
    let mut row = String::new();
    let mut column = indent;
    for (which, part) in parts.iter().enumerate() {
        if which > 0 && column + part.len() + 2 > WIDTH {
            row.push_str(&format!(",\n{:indent$}", ""));
            column = indent;
        } else if which > 0 {
            row.push_str(", ");
            column += 2;
        }
        row.push_str(part);
        column += part.len();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned() {
        let shown = |x: Tensor| x.to_string();
        assert_eq!(shown(Tensor::from([1.0, -2.0, 30.0])), "[ 1.0, -2.0, 30.0]");
        assert_eq!(shown(Tensor::from([1.0, f32::NAN, f32::INFINITY])), "[1.0, NaN, inf]");
        assert_eq!(shown(Tensor::from([1e-6, 2.5])), "[1.0e-6,  2.5e0]");
        assert_eq!(shown(Tensor::from([1.0 / 3.0, 0.5])), "[0.3333, 0.5000]");
        assert_eq!(shown(Tensor::from([[true, false]])), "[[ true, false]]");
        assert_eq!(shown(Tensor::from([-7, 10])), "[-7, 10]");
        assert_eq!(shown(Tensor::scalar(0.1)), "0.1");
        assert_eq!(shown(Tensor::new([0.25f64])), "[0.25]\n[1] f64");
        assert_eq!(shown(Tensor::zeros([2, 0])), "[[],\n []]\n[2, 0] f32");
        assert_eq!(shown(Tensor::arange(8).reshape([2, 2, 2])), "[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]");
        assert_eq!(shown(Tensor::from([[1, 2], [3, 4]]).t()), "[[1, 3],\n [2, 4]]");
        assert!(shown(Tensor::arange(100)).lines().all(|line| line.len() <= WIDTH + 1));
    }

    #[test]
    fn large_tensors_show_their_ends() {
        let x = Tensor::arange(2000).reshape([50, 40]);
        let text = x.to_string();
        assert_eq!(text.lines().count(), 8);
        assert_eq!(text.lines().next(), Some("[[   0,    1,    2, ...,   37,   38,   39],"));
        assert_eq!(text.lines().nth(3), Some(" ...,"));
        assert!(text.ends_with("\n[50, 40] i64"));
        assert!(format!("{x:#}").contains(" 100,"));
        assert!(Tensor::arange(1001).to_string().starts_with("[   0,    1,    2, ...,  998,  999, 1000]\n"));
        // What is not shown is not read.
        assert!(Tensor::zeros([1]).expand([1usize << 40]).to_string().ends_with("[1099511627776] f32"));
    }

    #[test]
    fn a_failed_tensor_prints_its_error() {
        let failed = Tensor::zeros([2]).reshape([3]);
        assert!(failed.to_string().starts_with("reshape: "));
        assert!(format!("{failed:?}").contains("failed tensor"));
        assert!(format!("{:?}", Tensor::zeros([2])).starts_with("Tensor [2] f32\n[0.0, 0.0]"));
    }
}
