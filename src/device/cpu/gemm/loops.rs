//! The loops around a register tile.
//!
//! ```text
//! LOOP 5  columns of C by `block`          a block of B is packed once, for every row of A
//! LOOP 4    the shared size by `depth`       and stays in the cache behind the nearest one
//! LOOP 3      rows of C by groups of tiles   threads share these parts
//! LOOP 2        panels of the block of B     what meets most of the other side stays in the first-level cache:
//! LOOP 1          tiles of the group         a panel of A, if a group is one tile, else a panel of B
//! LOOP 0            (in the tile) shared positions
//! ```

use super::Product;
use super::kernel::{Cut, Kernel, Real, Tile};
use super::operand::InPlace;
use super::scratch;
use crate::device::Buffer;
use crate::device::cpu::{caches, parallel};
use crate::error::Fault;
use std::ops::Range;

/// C, which several threads write, each its own tiles.
struct Out<T> {
    start: *mut T,
    row_stride: usize,
}

// SAFETY: parts touch disjoint tiles; who makes an `Out` borrows C for as long as they run.
unsafe impl<T: Send> Sync for Out<T> {}

/// Pieces of `total` as even as can be, none larger than `most`.
pub(super) fn even(total: usize, most: usize) -> usize {
    total.div_ceil(total.div_ceil(most).max(1)).max(1)
}

/// A packed panel of A is worth it when at least this many panels of B read it.
const WORTH_PACKING: usize = 4;

/// So few tiles read each element of B that it is not packed, however far apart its rows are.
const FEW: usize = 8;

/// Parts that several threads share at least, and tiles of a group that is made smaller for it.
const PARTS: usize = 16;
const FEWEST: usize = 4;

/// Panels of B that are packed side by side, so many shared positions at a time: what lies in a row is read together.
const BESIDE: usize = 8;
const STRIP: usize = 8;

/// Multiply-adds that a part should have at least, so that handing it out does not cost more than it brings.
const PART: usize = 1 << 18;

/// Elements of a packed block of B that a thread keeps room for.
const SMALL: usize = 1 << 14;

/// With more rows of A than this, packing B takes less than a twentieth of the time.
const KEPT_ROWS: usize = 512;

/// All of B packed, if it is kept beside its numbers.
pub(super) fn kept<'a, T: Real>(product: &Product<'a, T>) -> Option<&'a Buffer> {
    let (beside, key) = product.beside?;
    let side_by_side = product.right.in_place().is_some_and(|right| right.line == 1);
    if side_by_side || product.k == 0 || product.m > KEPT_ROWS {
        return None;
    }
    let blocks = Blocks::new(product);
    let count = blocks.room * product.n.div_ceil(blocks.width) * product.k.div_ceil(blocks.depth);
    beside.kept(key, size_of::<T>() * count, |buffer| {
        let packed = buffer.fresh::<T>(count)?;
        blocks.each(|block, index| {
            block.pack(&mut packed[index * blocks.room..][..blocks.room]);
        });
        Ok(())
    })
}

pub(super) fn run<T: Real>(
    product: &Product<T>,
    kept: Option<&Buffer>,
    out: &mut [T],
    row_stride: usize,
) -> Result<(), Fault> {
    if product.k == 0 {
        return without_depth(product, out, row_stride);
    }
    let out = Out { start: out.as_mut_ptr(), row_stride };
    let blocks = Blocks::new(product);
    let room = blocks.room;
    if let Some(kept) = kept {
        let packed = kept.elements::<T>();
        blocks.each(|block, index| block.multiply(block.all_packed(&packed[index * room..][..room]), &out));
        return Ok(());
    }
    let each = |packed: &mut [T]| blocks.each(|block, _| block.multiply(block.pack_where_worth(packed), &out));
    if room <= SMALL {
        scratch::right(|scratch| each(scratch.elements(room)));
        return Ok(());
    }
    each(Buffer::new(size_of::<T>() * room)?.fresh(room)?);
    Ok(())
}

/// How B is cut into blocks: so many shared positions and columns each, which take `room` elements packed.
struct Blocks<'a, T> {
    product: &'a Product<'a, T>,
    kernel: Kernel<T>,
    depth: usize,
    width: usize,
    room: usize,
}

impl<'a, T: Real> Blocks<'a, T> {
    fn new(product: &'a Product<'a, T>) -> Blocks<'a, T> {
        let kernel = if product.pairs { T::kernel_of_pairs() } else { T::kernel() };
        let depth = even(product.k, kernel.depth);
        let width = even(product.n, kernel.block).next_multiple_of(kernel.columns);
        let room = depth * width.min(product.n.next_multiple_of(kernel.narrow));
        Blocks { product, kernel, depth, width, room }
    }
    /// One block after another, with its number.
    fn each(&self, mut work: impl FnMut(Block<'a, T>, usize)) {
        let &Blocks { product, kernel, depth, width, .. } = self;
        let mut index = 0;
        // LOOP 5: the columns of C.
        for column in (0..product.n).step_by(width) {
            let columns = width.min(product.n - column);
            // LOOP 4: the shared size.
            for position in (0..product.k).step_by(depth) {
                let depth = depth.min(product.k - position);
                work(Block { product, kernel, column, columns, position, depth }, index);
                index += 1;
            }
        }
    }
}

/// An empty sum is zero.
fn without_depth<T: Real>(product: &Product<T>, out: &mut [T], row_stride: usize) -> Result<(), Fault> {
    for (row, values) in out.chunks_mut(row_stride.max(1)).take(product.m).enumerate() {
        let values = &mut values[..product.n];
        if !product.accumulate {
            values.fill(T::default());
        }
        product.epilogue.finish(row, 0, values);
    }
    Ok(())
}

/// Some columns of C times some of the shared size: what is packed at once.
struct Block<'a, T> {
    product: &'a Product<'a, T>,
    kernel: Kernel<T>,
    column: usize,
    columns: usize,
    position: usize,
    depth: usize,
}

/// A panel of A as a tile reads it: its first element, and the steps to the next line and the next shared position.
#[derive(Clone, Copy)]
struct Panel<T> {
    start: *const T,
    line: isize,
    step: isize,
}

/// What is packed of a block of B: all its panels, or at most the last one, which is ragged.
#[derive(Clone, Copy)]
struct Right<'a, T> {
    packed: &'a [T],
    all: bool,
    far: bool,
}

impl<T: Real> Block<'_, T> {
    /// Packs all panels of B.
    fn pack<'p>(&self, packed: &'p mut [T]) -> Right<'p, T> {
        let (each, panels) = (self.kernel.columns * self.depth, self.columns.div_ceil(self.kernel.columns));
        let beside = (panels / (4 * parallel::thread_count())).clamp(1, BESIDE);
        let side_by_side = self.product.right.in_place().is_some_and(|right| right.line == 1);
        let strip = if side_by_side && beside > 1 { STRIP } else { self.depth };
        self.share(packed, beside * each, |chunk, to| {
            for position in (0..self.depth).step_by(strip) {
                let positions = position..(position + strip).min(self.depth);
                for (panel, to) in (chunk * beside..).zip(to.chunks_mut(each)) {
                    self.pack_b(panel, positions.clone(), to);
                }
            }
        });
        self.all_packed(packed)
    }

    /// The same where it is worth it; elsewhere only the last panel, if it is ragged: a tile reads as far as its panel is wide.
    fn pack_where_worth<'p>(&self, packed: &'p mut [T]) -> Right<'p, T> {
        let Block { product, kernel, depth, columns, .. } = *self;
        let tiles = kernel.cut(product.m).tiles;
        if !self.reads_b_in_place(tiles) {
            return self.pack(packed);
        }
        let panels = columns.div_ceil(kernel.columns);
        if self.panel_width(panels - 1) != columns - (panels - 1) * kernel.columns {
            self.pack_b(panels - 1, 0..depth, packed);
        }
        let step = product.right.in_place().map_or(0, |right| right.shared.unsigned_abs());
        Right { packed, all: false, far: self.is_far(step) }
    }

    fn multiply(&self, right: Right<T>, out: &Out<T>) {
        let Block { product, kernel, depth, columns, .. } = *self;
        let cut = kernel.cut(product.m);
        let panels = columns.div_ceil(kernel.columns);
        // Each sum is one thread's, so threads may decide where to cut.
        let parts = if product.alone || parallel::thread_count() == 1 { 1 } else { PARTS };
        // LOOP 3: the rows of C; few rows are cut along the columns too.
        let group = even(cut.tiles, (cut.tiles / parts).clamp(FEWEST.min(kernel.group), kernel.group));
        let groups = cut.tiles.div_ceil(group);
        let rows = cut.rows_of(0..group).len();
        let across = even(
            panels,
            (PART / (rows * depth * kernel.columns).max(1))
                .clamp(1, panels)
                .max(panels.div_ceil(parts.div_ceil(groups))),
        );
        let pieces = panels.div_ceil(across);
        let work = rows * depth * across * kernel.columns;
        let part = |part: usize| {
            let (first, piece) = (part / pieces * group, part % pieces);
            let panels = piece * across..((piece + 1) * across).min(panels);
            self.group(cut, first..(first + group).min(cut.tiles), panels, right, out);
        };
        if product.alone {
            (0..groups * pieces).for_each(part);
        } else {
            parallel::parts(groups * pieces, work / 8, part);
        }
    }

    /// Cuts what is packed into chunks, one for each panel of B, and shares them out.
    fn share(&self, packed: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        let last = self.columns.div_ceil(self.kernel.columns) - 1;
        let packed = &mut packed[..(last * self.kernel.columns + self.panel_width(last)) * self.depth];
        if self.product.alone {
            packed.chunks_mut(chunk).enumerate().for_each(|(panel, to)| work(panel, to));
        } else {
            parallel::chunks(packed, chunk, 1, work);
        }
    }

    /// How wide a panel of B is: the last one may be narrow.
    fn panel_width(&self, panel: usize) -> usize {
        let left = self.columns - panel * self.kernel.columns;
        if left <= self.kernel.narrow { self.kernel.narrow } else { self.kernel.columns }
    }

    /// Some positions of a panel of B.
    fn pack_b(&self, panel: usize, positions: Range<usize>, to: &mut [T]) {
        let first = self.column + panel * self.kernel.columns;
        let lines = first..(first + self.kernel.columns).min(self.column + self.columns);
        let shared = self.position + positions.start..self.position + positions.end;
        let width = self.panel_width(panel);
        self.product.right.pack(lines, shared, width, &mut to[positions.start * width..positions.end * width]);
    }

    /// All panels, which are packed.
    fn all_packed<'p>(&self, packed: &'p [T]) -> Right<'p, T> {
        Right { packed, all: true, far: self.is_far(self.columns) }
    }

    /// Does what tiles read of B come from beyond the second-level cache, where its rows are so many elements apart? So it does
    /// where a block does not fit, and where it is read so seldom that the first time counts.
    fn is_far(&self, step: usize) -> bool {
        let bytes = step.saturating_mul(self.depth * size_of::<T>());
        self.kernel.cut(self.product.m).tiles < FEW || bytes > caches::second() / 4 * 3
    }

    /// Is packing worth less than it costs? So it is where few tiles read each element, or where rows of B are short: the
    /// next ones are asked for in time, and some share a page.
    fn reads_b_in_place(&self, tiles: usize) -> bool {
        let near = |step: isize| step.unsigned_abs() * size_of::<T>() <= self.kernel.short_right;
        let in_place = self.product.right.in_place();
        in_place.is_some_and(|right| right.line == 1 && (tiles < FEW || near(right.shared)))
    }

    /// A where it lies, if it is not worth packing for so many panels of B.
    fn left_in_place(&self, panels: usize) -> Option<InPlace<'_, T>> {
        let short = |step: isize| step.unsigned_abs() * size_of::<T>() <= self.kernel.short_left;
        let left = self.product.left.in_place()?;
        (panels < WORTH_PACKING || left.lines_keep_apart() || left.line == 1 && short(left.shared)).then_some(left)
    }

    /// LOOP 3's step: some tiles, with A read where it lies or packed.
    fn group(&self, cut: Cut, tiles: Range<usize>, panels: Range<usize>, right: Right<T>, out: &Out<T>) {
        let Block { product, depth, position, .. } = *self;
        let rows = tiles.clone().map(|tile| cut.rows(tile));
        match self.left_in_place(panels.len()) {
            Some(left) => {
                let a = |rows: Range<usize>| Panel {
                    start: left
                        .start
                        .wrapping_offset(rows.start as isize * left.line + position as isize * left.shared),
                    line: left.line,
                    step: left.shared,
                };
                self.tiles(a, rows, std::iter::empty(), panels, right, out);
            }
            _ => scratch::left(|scratch| {
                let all = cut.rows_of(tiles.clone());
                let packed = scratch.elements::<T>(all.len() * depth);
                for rows in rows.clone() {
                    let to = &mut packed[(rows.start - all.start) * depth..][..rows.len() * depth];
                    product.left.pack(rows.clone(), position..position + depth, rows.len(), to);
                }
                let a = |rows: Range<usize>| Panel {
                    start: packed[(rows.start - all.start) * depth..].as_ptr(),
                    line: 1,
                    step: rows.len() as isize,
                };
                // What is packed next, if it lies in lines.
                let next = cut.rows_of(tiles.end..(tiles.end + tiles.len()).min(cut.tiles));
                let left = product.left.in_place().filter(|left| left.shared == 1);
                let ahead = next.map_while(|row| Some(left?.after_line(row).start.wrapping_add(position)));
                self.tiles(a, rows, ahead, panels, right, out);
            }),
        }
    }

    /// LOOPS 2 and 1: one panel of B after another with panels of A. Lines that are wanted later are asked for meanwhile, one with each
    /// panel of B.
    fn tiles(
        &self,
        a: impl Fn(Range<usize>) -> Panel<T>,
        rows: impl Iterator<Item = Range<usize>> + Clone,
        mut ahead: impl Iterator<Item = *const T>,
        panels: Range<usize>,
        right: Right<T>,
        out: &Out<T>,
    ) {
        let Block { product, kernel, depth, position, .. } = *self;
        let last = position + depth == product.k;
        let bias = product.epilogue.per_column().filter(|_| last);
        let in_place = product.right.in_place().filter(|_| !right.all);
        for panel in panels {
            let before = panel * kernel.columns;
            let columns = kernel.columns.min(self.columns - before);
            let (b, b_step) = match in_place {
                Some(there) if columns == self.panel_width(panel) => {
                    let from = (self.column + before) as isize + position as isize * there.shared;
                    (there.start.wrapping_offset(from), there.shared)
                }
                _ => {
                    let from = if right.all { before * depth } else { 0 };
                    (right.packed.as_ptr().wrapping_add(from), self.panel_width(panel) as isize)
                }
            };
            let column = self.column + before;
            let ahead = ahead.next().unwrap_or(std::ptr::null());
            for rows in rows.clone() {
                let a = a(rows.clone());
                let tile = Tile {
                    rows: rows.len(),
                    columns,
                    depth,
                    a: a.start,
                    a_row: a.line,
                    a_step: a.step,
                    b,
                    b_step,
                    b_far: right.far,
                    ahead,
                    c: out.start.wrapping_add(rows.start * out.row_stride + column),
                    c_row: out.row_stride,
                    alpha: product.alpha,
                    add: product.accumulate || position > 0,
                    bias: bias.map_or(std::ptr::null(), |bias| bias[column..column + columns].as_ptr()),
                };
                // SAFETY: `Product::run` checked that C holds m rows of n; operands vouch for what they show in place;
                // packed panels were sized for this block; `kernel` is one that the processor has.
                unsafe { (kernel.compute)(&tile) };
                if last && bias.is_none() && !product.epilogue.is_nothing() {
                    self.finish(&tile, rows.start, column);
                }
            }
        }
    }

    /// What happens to a finished tile whose first element is the one at this row and column of C.
    fn finish(&self, tile: &Tile<T>, row: usize, column: usize) {
        for r in 0..tile.rows {
            // SAFETY: a piece of C that this part alone touches.
            let values = unsafe { std::slice::from_raw_parts_mut(tile.c.add(r * tile.c_row), tile.columns) };
            self.product.epilogue.finish(row + r, column, values);
        }
    }
}
