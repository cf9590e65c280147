//! A right operand that is packed once and multiplied many times: the recurrent weights of a sequence.

use super::Operand;
use super::kernel::{Kernel, Real, Tile};
use super::loops::even;
use super::operand::Lines;
use super::scratch;
use crate::device::Buffer;
use crate::error::Fault;

/// The panels of a `k × n` operand, as tiles read them: block after block of the shared size, panel after panel in each.
pub(crate) struct Packed<T> {
    panels: Buffer,
    n: usize,
    k: usize,
    /// Shared positions of a block.
    depth: usize,
    /// Columns of all panels together; the last panel may be wider than what is left for it.
    width: usize,
    kernel: Kernel<T>,
}

impl<T: Real> Packed<T> {
    /// Packs an operand of `n` lines along the shared size `k`.
    pub(crate) fn new([n, k]: [usize; 2], right: &dyn Operand<T>) -> Result<Packed<T>, Fault> {
        let kernel = T::kernel();
        let depth = even(k, kernel.depth);
        let width = n.next_multiple_of(kernel.narrow);
        let mut panels = Buffer::new(size_of::<T>() * width * k)?;
        let mut packed = Packed { panels: Buffer::new(0)?, n, k, depth, width, kernel };
        let to = panels.fresh::<T>(width * k)?;
        for position in (0..k).step_by(depth) {
            let shared = position..k.min(position + depth);
            for first in (0..n).step_by(kernel.columns) {
                let panel = packed.panel_width(first);
                let start = position * width + first * shared.len();
                let lines = first..n.min(first + kernel.columns);
                right.pack(lines, shared.clone(), panel, &mut to[start..start + panel * shared.len()]);
            }
        }
        packed.panels = panels;
        Ok(packed)
    }

    /// How wide the panel that begins at this column is: the last one may be narrow.
    fn panel_width(&self, first: usize) -> usize {
        self.kernel.columns.min(self.width - first)
    }

    /// `out (rows × n) = left (rows × k) · operand`, or added to what `out` holds, on this thread. Both are dense.
    ///
    /// Each number of a row is the same whatever rows come with it, so rows may be shared out among threads.
    pub(crate) fn multiply(&self, rows: usize, left: &[T], out: &mut [T], add: bool) -> Result<(), Fault> {
        if rows == 0 || self.n == 0 {
            return Ok(());
        }
        if rows.saturating_mul(self.k) > left.len() || rows.saturating_mul(self.n) > out.len() {
            return Err(Fault::defect(format!("{rows} rows do not fit a packed {} × {}", self.k, self.n)));
        }
        if self.k == 0 {
            if !add {
                out[..rows * self.n].fill(T::default());
            }
            return Ok(());
        }
        let all = Lines::new(left, 0, [self.k as isize, 1], [rows, self.k])?;
        let panels = self.panels.elements::<T>();
        let cut = self.kernel.cut(rows);
        scratch::left(|scratch| {
            let packed_rows = scratch.elements::<T>(rows * self.depth);
            for position in (0..self.k).step_by(self.depth) {
                let depth = self.depth.min(self.k - position);
                for rows in (0..cut.tiles).map(|tile| cut.rows(tile)) {
                    let to = &mut packed_rows[rows.start * depth..rows.end * depth];
                    all.pack(rows.clone(), position..position + depth, rows.len(), to);
                }
                // A panel of B serves all rows while it is near.
                for column in (0..self.n).step_by(self.kernel.columns) {
                    let b = &panels[position * self.width + column * depth..];
                    for rows in (0..cut.tiles).map(|tile| cut.rows(tile)) {
                        let (first, rows) = (rows.start, rows.len());
                        let tile = Tile {
                            rows,
                            columns: self.kernel.columns.min(self.n - column),
                            depth,
                            a: packed_rows[first * depth..].as_ptr(),
                            a_row: 1,
                            a_step: rows as isize,
                            b: b.as_ptr(),
                            b_step: self.panel_width(column) as isize,
                            c: out[first * self.n + column..].as_mut_ptr(),
                            c_row: self.n,
                            alpha: T::from_f64(1.0),
                            add: add || position > 0,
                            bias: std::ptr::null(),
                        };
                        // SAFETY: `out` was checked above to hold rows × n; the panels were sized for k × width,
                        // the packed rows for rows × depth; `kernel` is one that the processor has.
                        unsafe { (self.kernel.compute)(&tile) };
                    }
                }
            }
        });
        Ok(())
    }
}
