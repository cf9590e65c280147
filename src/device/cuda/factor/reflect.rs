//! Householder's reflections, a block of columns at a time: the rest of the matrix, and later `Q`, changes by three products.

use super::{BLOCK, Piece, threads_for};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cuda::Cuda;
use crate::device::cuda::module::{Source, source};
use crate::device::factor::Stack;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const QR: Source = source!("qr");

/// The reflections of a batch: vectors `[m, k]`, and for each block of columns a triangle `T`.
struct Reflections<'a> {
    vectors: Piece<'a>,
    triangles: Piece<'a>,
    count: usize,
    rows: usize,
}

impl Cuda {
    /// `Q` and `R` of dense f64 matrices that nobody else holds.
    pub(super) fn orthonormal(self, a: &Value, stack: &Stack) -> Result<[Value; 2], Fault> {
        let (m, n, count) = (stack.rows, stack.columns, stack.count());
        let k = m.min(n);
        let blocks = k.div_ceil(BLOCK);
        let q = self.identities(stack.with(&[m, k])?)?;
        if a.count() > 0 {
            let zeros = |sizes: [usize; 3]| self.full(Shape::new(&sizes)?, DType::F64, 0.0);
            let (vectors, triangles) = (zeros([count, m, k])?, zeros([count, blocks * BLOCK, BLOCK])?);
            let reflections = Reflections {
                vectors: Piece::of(&vectors, m, k),
                triangles: Piece::of(&triangles, blocks * BLOCK, BLOCK),
                count,
                rows: m,
            };
            for first in (0..k).step_by(BLOCK) {
                let end = (first + BLOCK).min(k);
                let about = [m, n, k, first, end - first, blocks * BLOCK * BLOCK].map(|number| number as u64);
                let call = self.factor_kernel(&QR, "reflect_f64")?.write(a).write(&vectors);
                let call = call.write(&reflections.triangles.from(first, 0).start()?).block(&about);
                call.grid([count, 1, 1], threads_for(m - first), 0)?;
                let rest = Piece::of(a, m, n).from(first, end);
                self.apply(&reflections, first..end, (rest, n - end), true)?;
            }
            for first in (0..k).step_by(BLOCK).rev() {
                // Columns before the block are still those of the identity, which these reflections do not reach.
                let rest = Piece::of(&q, m, k).from(first, first);
                self.apply(&reflections, first..(first + BLOCK).min(k), (rest, k - first), false)?;
            }
        }
        let shape = stack.with(&[k, n])?;
        let strides = Layout::contiguous(*a.shape());
        let top = a.with_layout(Layout::from_parts(shape, strides.strides(), a.layout().offset()))?;
        Ok([q, self.triangle(&top, false, 0)?])
    }
    /// `B ← (1 - V · T · Vᵀ) · B` (or with `Tᵀ`) for rows from the block's first on, `width` wide.
    fn apply(
        self,
        all: &Reflections<'_>,
        block: std::ops::Range<usize>,
        (b, width): (Piece<'_>, usize),
        turn: bool,
    ) -> Result<(), Fault> {
        if width == 0 {
            return Ok(());
        }
        let (depth, reach) = (block.len(), all.rows - block.start);
        let vectors = all.vectors.from(block.start, block.start);
        let triangle = all.triangles.from(block.start, 0);
        let triangle = if turn { triangle.turned() } else { triangle };
        let scratch = || self.blank(Shape::new(&[all.count, depth, width])?, DType::F64);
        let (product, weighted) = (scratch()?, scratch()?);
        let [product, weighted] = [&product, &weighted].map(|value| Piece::of(value, depth, width));
        self.change(all.count, [depth, width, reach], [vectors.turned(), b, product], [1.0, 0.0], false)?;
        self.change(all.count, [depth, width, depth], [triangle, product, weighted], [1.0, 0.0], false)?;
        self.change(all.count, [reach, width, depth], [vectors, weighted, b], [-1.0, 1.0], false)
    }
}
