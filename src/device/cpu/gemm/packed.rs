//! A right operand that is packed once and multiplied many times: the recurrent weights of a sequence, or of many while they rest.

use super::Operand;
use super::kernel::{Kernel, Real, Tile};
use super::loops::even;
use super::operand::Lines;
use super::scratch;
use crate::device::Buffer;
use crate::device::cpu::beside::{Beside, Key};
use crate::error::Fault;

/// The panels of a `k × n` operand, as tiles read them: block after block of the shared size, panel after panel in each.
pub(crate) struct Packed<'a, T> {
    panels: Panels<'a>,
    order: Order<T>,
}

/// Packed for this use, or kept beside the numbers that were packed.
enum Panels<'a> {
    Own(Buffer),
    Kept(&'a Buffer),
}

/// How panels lie.
struct Order<T> {
    n: usize,
    k: usize,
    /// Shared positions of a block.
    depth: usize,
    /// Columns of all panels together; the last panel may be wider than what is left for it.
    width: usize,
    kernel: Kernel<T>,
}

impl<T: Real> Order<T> {
    fn new([n, k]: [usize; 2]) -> Order<T> {
        let kernel = T::kernel();
        Order { n, k, depth: even(k, kernel.depth), width: n.next_multiple_of(kernel.narrow), kernel }
    }

    fn bytes(&self) -> usize {
        size_of::<T>() * self.width * self.k
    }

    fn pack(&self, right: &dyn Operand<T>, panels: &mut Buffer) -> Result<(), Fault> {
        let &Order { n, k, depth, width, kernel } = self;
        let to = panels.fresh::<T>(width * k)?;
        for position in (0..k).step_by(depth) {
            let shared = position..k.min(position + depth);
            for first in (0..n).step_by(kernel.columns) {
                let panel = self.panel_width(first);
                let start = position * width + first * shared.len();
                let lines = first..n.min(first + kernel.columns);
                right.pack(lines, shared.clone(), panel, &mut to[start..start + panel * shared.len()]);
            }
        }
        Ok(())
    }

    /// How wide the panel that begins at this column is: the last one may be narrow.
    fn panel_width(&self, first: usize) -> usize {
        self.kernel.columns.min(self.width - first)
    }
}

impl<'a, T: Real> Packed<'a, T> {
    /// Packs an operand of `n` lines along the shared size `k`.
    pub(crate) fn new(sizes: [usize; 2], right: &dyn Operand<T>) -> Result<Packed<'a, T>, Fault> {
        let order = Order::new(sizes);
        let mut panels = Buffer::new(order.bytes())?;
        order.pack(right, &mut panels)?;
        Ok(Packed { panels: Panels::Own(panels), order })
    }

    /// The same for weights at rest: what is packed may be kept beside them, under this key.
    pub(in crate::device) fn at_rest(
        sizes: [usize; 2],
        right: &dyn Operand<T>,
        beside: &'a Beside,
        key: Key,
    ) -> Result<Packed<'a, T>, Fault> {
        let order = Order::new(sizes);
        match beside.kept(key, order.bytes(), |panels| order.pack(right, panels)) {
            Some(kept) => Ok(Packed { panels: Panels::Kept(kept), order }),
            None => Packed::new(sizes, right),
        }
    }

    /// `out (rows × n) = left (rows × k) · operand`, or added to what `out` holds, on this thread. Both are dense.
    ///
    /// Each number of a row is the same whatever rows come with it, so rows may be shared out among threads.
    pub(crate) fn multiply(&self, rows: usize, left: &[T], out: &mut [T], add: bool) -> Result<(), Fault> {
        let &Order { n, k, depth: most, width, kernel } = &self.order;
        if rows == 0 || n == 0 {
            return Ok(());
        }
        if rows.saturating_mul(k) > left.len() || rows.saturating_mul(n) > out.len() {
            return Err(Fault::defect(format!("{rows} rows do not fit a packed {k} × {n}")));
        }
        if k == 0 {
            if !add {
                out[..rows * n].fill(T::default());
            }
            return Ok(());
        }
        let all = Lines::new(left, 0, [k as isize, 1], [rows, k])?;
        let panels = match &self.panels {
            Panels::Own(panels) => panels,
            Panels::Kept(panels) => *panels,
        };
        let panels = panels.elements::<T>();
        let cut = kernel.cut(rows);
        scratch::left(|scratch| {
            let packed_rows = scratch.elements::<T>(rows * most);
            for position in (0..k).step_by(most) {
                let depth = most.min(k - position);
                for rows in (0..cut.tiles).map(|tile| cut.rows(tile)) {
                    let to = &mut packed_rows[rows.start * depth..rows.end * depth];
                    all.pack(rows.clone(), position..position + depth, rows.len(), to);
                }
                // A panel of B serves all rows while it is near.
                for column in (0..n).step_by(kernel.columns) {
                    let b = &panels[position * width + column * depth..];
                    for rows in (0..cut.tiles).map(|tile| cut.rows(tile)) {
                        let (first, rows) = (rows.start, rows.len());
                        let tile = Tile {
                            rows,
                            columns: kernel.columns.min(n - column),
                            depth,
                            a: packed_rows[first * depth..].as_ptr(),
                            a_row: 1,
                            a_step: rows as isize,
                            b: b.as_ptr(),
                            b_step: self.order.panel_width(column) as isize,
                            b_far: true,
                            ahead: std::ptr::null(),
                            c: out[first * n + column..].as_mut_ptr(),
                            c_row: n,
                            alpha: T::from_f64(1.0),
                            add: add || position > 0,
                            bias: std::ptr::null(),
                        };
                        // SAFETY: `out` was checked above to hold rows × n; the panels were sized for k × width,
                        // the packed rows for rows × depth; `kernel` is one that the processor has.
                        unsafe { (kernel.compute)(&tile) };
                    }
                }
            }
        });
        Ok(())
    }
}
