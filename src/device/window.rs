//! Windows over volumes: what pooling, resizing and convolution have in common.
//!
//! Everything is said for one axis and holds for one, two and three of them: a value here has the five axes
//! `[batch, channels, depth, height, width]`, of which unused ones have size 1.

use super::Value;
use crate::error::Fault;
use std::ops::Range;

/// Windows that slide along one axis: output `i` reads the elements `i · stride + tap · dilation - before` that exist,
/// for `tap` in `0..kernel`. What lies before the start or after the end is padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    /// Elements along the axis.
    pub size: usize,
    /// Windows, that is outputs.
    pub count: usize,
    /// Taps of a window.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
    /// Padding in front.
    pub before: usize,
    /// From one tap to the next.
    pub dilation: usize,
}

impl Sliding {
    /// An axis that is not there: one element, one window, one tap.
    pub const POINT: Sliding = Sliding { size: 1, count: 1, kernel: 1, stride: 1, before: 0, dilation: 1 };

    /// The outputs for which this tap reads an element, not padding.
    pub fn outputs(&self, tap: usize) -> Range<usize> {
        let reach = tap * self.dilation;
        let first = self.before.saturating_sub(reach).div_ceil(self.stride);
        let last = (self.size + self.before).saturating_sub(reach).div_ceil(self.stride).min(self.count);
        first.min(last)..last
    }
    /// The taps of this output that read an element.
    pub fn taps(&self, output: usize) -> Range<usize> {
        let start = output * self.stride;
        let first = self.before.saturating_sub(start).div_ceil(self.dilation);
        let last = (self.size + self.before).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        first.min(last)..last
    }
    /// The element that a tap of an output reads; neither may be padding.
    #[inline]
    pub fn element(&self, output: usize, tap: usize) -> usize {
        output * self.stride + tap * self.dilation - self.before
    }
}

/// The windows of a pooling along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Equal windows.
    Sliding(Sliding),
    /// So many windows that cover all elements as evenly as whole numbers allow; neighbours may share elements.
    Adaptive {
        /// Elements along the axis.
        size: usize,
        /// Windows.
        count: usize,
    },
}

impl Span {
    /// Windows along the axis.
    pub fn count(&self) -> usize {
        match *self {
            Span::Sliding(sliding) => sliding.count,
            Span::Adaptive { count, .. } => count,
        }
    }
    /// The elements of a window: the first, how many, and the step between them.
    #[inline]
    pub fn window(&self, output: usize) -> (usize, usize, usize) {
        match *self {
            Span::Sliding(sliding) => {
                let taps = sliding.taps(output);
                let first = if taps.is_empty() { 0 } else { sliding.element(output, taps.start) };
                (first, taps.len(), sliding.dilation)
            }
            Span::Adaptive { size, count } => {
                // Products of two sizes may exceed an address, not 128 bits.
                let scaled = |i: usize| i as u128 * size as u128;
                let first = (scaled(output) / count as u128) as usize;
                let end = scaled(output + 1).div_ceil(count as u128) as usize;
                (first, end - first, 1)
            }
        }
    }
}

/// A linear map along one axis: each output is a weighted sum of a few inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    size: usize,
    starts: Vec<usize>,
    terms: Vec<(usize, f64)>,
}

/// The most terms of a map: more would fill memory before anything is computed.
const MOST_TERMS: usize = 1 << 27;

impl Blend {
    /// From `size` inputs; `outputs` lists the terms (position, weight) of each output. Absurdly many terms are a fault.
    pub fn new<L: IntoIterator<Item = (usize, f64)>>(
        size: usize,
        outputs: impl IntoIterator<Item = L>,
    ) -> Result<Blend, Fault> {
        let mut blend = Blend { size, starts: vec![0], terms: Vec::new() };
        for terms in outputs {
            blend.terms.extend(terms.into_iter().filter(|&(position, _)| position < size).take(MOST_TERMS));
            blend.starts.push(blend.terms.len());
            if blend.terms.len() + blend.starts.len() > MOST_TERMS {
                return Err(Fault::memory(
                    format!("more than {MOST_TERMS} weights along one axis"),
                    "use a smaller window, or fewer results",
                ));
            }
        }
        Ok(blend)
    }
    /// The map that changes nothing.
    pub fn identity(size: usize) -> Result<Blend, Fault> {
        Blend::new(size, (0..size).map(|i| [(i, 1.0)]))
    }
    /// Inputs along the axis.
    pub fn size(&self) -> usize {
        self.size
    }
    /// Outputs along the axis.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }
    /// The terms of an output.
    #[inline]
    pub fn terms(&self, output: usize) -> &[(usize, f64)] {
        &self.terms[self.starts[output]..self.starts[output + 1]]
    }
    /// The map whose matrix is the transpose: what takes the gradient of the outputs to that of the inputs.
    pub fn transposed(&self) -> Blend {
        // Terms are counted, then dealt out: each input's come in the order of the outputs.
        let mut starts = vec![0; self.size + 1];
        for &(position, _) in &self.terms {
            starts[position + 1] += 1;
        }
        for input in 0..self.size {
            starts[input + 1] += starts[input];
        }
        let mut next = starts.clone();
        let mut terms = vec![(0, 0.0); self.terms.len()];
        for output in 0..self.count() {
            for &(position, weight) in self.terms(output) {
                terms[next[position]] = (output, weight);
                next[position] += 1;
            }
        }
        Blend { size: self.count(), starts, terms }
    }
    /// Does it take every input to itself?
    pub fn is_identity(&self) -> bool {
        self.size == self.count() && (0..self.size).all(|i| matches!(self.terms(i), &[(at, 1.0)] if at == i))
    }
}

/// The kernels over windows. Values have the axes `[batch, channels, depth, height, width]`, any strides, and are floats.
pub trait Windows {
    /// The greatest element of each window (NaN where there is one), and, where wanted, its position in the volume as an
    /// i32: of equal ones the first; -1 where a window holds no element, whose value is -infinity.
    fn max_windows(&self, x: &Value, spans: &[Span; 3], wanted: bool) -> Result<(Value, Option<Value>), Fault>;
    /// A volume of zeros to which each element of `x` is added at its position (as [`max_windows`](Windows::max_windows)
    /// gives them, or an i64); -1 is nowhere. A position outside the volume is a fault.
    fn scatter_volumes(&self, x: &Value, positions: &Value, volume: [usize; 3]) -> Result<Value, Fault>;
    /// The elements of `x` at the positions; 0 for -1. A position outside the volume is a fault.
    fn pick_volumes(&self, x: &Value, positions: &Value) -> Result<Value, Fault>;
    /// Each axis of the volume through its linear map. Sums are carried in f64 and rounded once.
    fn blend_volumes(&self, x: &Value, blends: [&Blend; 3]) -> Result<Value, Fault>;
    /// The elements under each window as columns, zero for padding: `[batch, channels · taps, windows]`.
    fn unfold_volumes(&self, x: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault>;
    /// The transpose of [`unfold_volumes`](Windows::unfold_volumes): columns `[batch, channels · taps, windows]` added up
    /// where they came from.
    fn fold_volumes(&self, columns: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault>;
}

/// A fault: this is no position in a volume.
#[cold]
pub(in crate::device) fn no_place(position: i64, volume: usize) -> Fault {
    Fault::index(
        format!("position {position} in a volume of {volume} elements"),
        "positions are those that max pooling gave for a volume of this size, counted in row-major order",
    )
}

/// A fault where values and positions are not of one shape.
pub(in crate::device) fn same_shape(x: &Value, positions: &Value) -> Result<(), Fault> {
    if x.shape() == positions.shape() {
        return Ok(());
    }
    Err(Fault::shape(
        format!("values of {:?} and positions of {:?}", x.dims(), positions.dims()),
        "each value needs one position",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_and_outputs_agree_with_the_definition() {
        let mut tried = 0;
        for (size, kernel, stride, before, dilation) in
            [(5, 3, 1, 1, 1), (7, 2, 3, 1, 2), (1, 4, 2, 3, 1), (6, 3, 2, 0, 2), (3, 1, 4, 0, 1), (4, 4, 1, 5, 3)]
        {
            let axis = Sliding { size, count: 6, kernel, stride, before, dilation };
            for output in 0..axis.count {
                for tap in 0..kernel {
                    let at = (output * stride + tap * dilation) as isize - before as isize;
                    let inside = at >= 0 && (at as usize) < size;
                    assert_eq!(axis.taps(output).contains(&tap), inside, "{axis:?} {output} {tap}");
                    assert_eq!(axis.outputs(tap).contains(&output), inside, "{axis:?} {output} {tap}");
                    tried += inside as usize;
                }
            }
        }
        assert!(tried > 30);
    }

    #[test]
    fn adaptive_windows_cover_everything() {
        for (size, count) in [(7, 5), (3, 8), (10, 1), (6, 6)] {
            let span = Span::Adaptive { size, count };
            let mut covered = vec![false; size];
            for output in 0..count {
                let (first, length, _) = span.window(output);
                assert!(length > 0);
                covered[first..first + length].fill(true);
            }
            assert!(covered.iter().all(|&c| c));
        }
    }

    #[test]
    fn the_transpose_of_a_transpose_is_the_map() {
        let blend = Blend::new(3, [vec![(0, 1.0), (1, 2.0)], vec![], vec![(2, 0.5)], vec![(1, 1.0)]]).unwrap();
        assert_eq!(blend.transposed().transposed(), blend);
        assert_eq!(blend.transposed().terms(1), [(0, 2.0), (3, 1.0)]);
        assert!(Blend::identity(2).unwrap().is_identity() && !blend.is_identity());
        assert!(Blend::new(1, (0..).map(|_| [(0, 1.0)])).is_err());
    }
}
