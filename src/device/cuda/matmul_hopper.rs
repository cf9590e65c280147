//! Products of 16-bit floats, and of f32 that may be rounded, on compute capability 9.0: `kernels/hopper_tile.cuh`. Their operands are brought by copies
//! of whole boxes, which want one dense axis, the others in steps of 16 bytes.

use super::Cuda;
use super::driver::Boxes;
use super::matmul::{Ends, Way};
use super::module::{Source, source};
use super::transfer::address;
use crate::device::copy::Arrange;
use crate::device::matmul::Plan;
use crate::device::{MatmulPrecision, Value, matmul_precision};
use crate::error::Fault;
use crate::layout::DType;

const BF16: Source = source!("matmul_bf16_hopper");
const F16: Source = source!("matmul_f16_hopper");
/// From f32 that was rounded to bf16.
const ROUNDED: Source = source!("matmul_rounded_hopper");

/// From f32 that copies of boxes round to tf32.
const TF32: Source = source!("matmul_tf32_hopper");

/// The compute capability that has these instructions; later ones do not.
pub(super) const GENERATION: (i32, i32) = (9, 0);
/// Threads of a block.
const THREADS: usize = 384;
/// Rows of a tile, bytes of the shared axis in a stage, lines of a turned operand's box.
const HIGH: usize = 128;
const ACROSS: usize = 128;
const TURNED_LINES: usize = 64;
/// Rows of results that a warp writes at once.
const WARP_ROWS: u32 = 16;
/// Sizes from which on such tiles pay.
const LEAST: usize = 64;
/// Rows, columns and depth from which on rounding both operands first pays.
const LEAST_ROUNDED: usize = 256;
/// Multiply-adds for each number from which on it pays to copy an operand so that it lies along the shared axis: 8 bytes at two thirds of
/// what memory gives, against the third that products of tf32 gain over those by `mma.sync`.
const USES: usize = 2048;

/// How an operand lies for copies of boxes.
pub(super) struct Lying {
    inner: usize,
    outer: usize,
    batches: usize,
    outer_step: usize,
    batch_step: usize,
    turned: bool,
}

impl Lying {
    /// None where it does not lie so.
    fn of(value: &Value, plan: &Plan, lines: usize, [line_step, k_step]: [isize; 2], steps: &[isize]) -> Option<Lying> {
        let turned = k_step != 1;
        if turned && line_step != 1 {
            return None;
        }
        let (inner, outer, step) = if turned { (lines, plan.k, k_step) } else { (plan.k, lines, line_step) };
        // Batches are one axis, or none.
        let mut all: Option<(usize, isize)> = None;
        for (&size, &step) in plan.sizes[..plan.axes].iter().zip(steps).filter(|(size, _)| **size != 1) {
            all = match all {
                None => Some((size, step)),
                Some((outer, outer_step)) if outer_step == step * size as isize => Some((outer * size, step)),
                Some(_) => return None,
            };
        }
        let (batches, batch_step) = match all {
            Some((batches, step)) if step != 0 => (batches, step),
            _ => (1, step * outer as isize),
        };
        let word = 16 / value.dtype().size() as isize;
        let whole = |step: isize| step > 0 && step % word == 0 && step < 1 << 37;
        let fits = whole(step) && whole(batch_step) && address(value).is_multiple_of(16);
        let (outer_step, batch_step) = (step as usize, batch_step as usize);
        fits.then_some(Lying { inner, outer, batches, outer_step, batch_step, turned })
    }
    fn boxes(&self, value: &Value, lines: usize) -> Boxes {
        let lines = if self.turned { TURNED_LINES } else { lines };
        let dtype = value.dtype();
        Boxes {
            dtype,
            rounded: true,
            sizes: [self.inner, self.outer, self.batches].map(|size| size as u64).into_iter().collect(),
            steps: [self.outer_step, self.batch_step].map(|step| (step * dtype.size()) as u64).into_iter().collect(),
            lines: lines as u32,
        }
    }
    /// By how much this operand's batch goes on from one batch of results to the next.
    fn batch_number(&self) -> i32 {
        i32::from(self.batches > 1)
    }
}

/// The same numbers with the last two axes exchanged.
fn turned(x: &Value) -> Result<Value, Fault> {
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(x.rank() - 2, x.rank() - 1);
    x.with_layout(x.layout().permuted(&order))
}

impl Way {
    /// A kernel of this kind for results of this type, if operands and sizes are for it.
    pub(super) fn hopper(cuda: Cuda, [a, b]: [&Value; 2], dtype: DType, plan: &Plan) -> Option<Way> {
        if cuda.0.generation != GENERATION || plan.m < LEAST || plan.n < LEAST || plan.k < LEAST {
            return None;
        }
        // The kernels count in 32 bits.
        let parts = (plan.m.div_ceil(HIGH) * plan.n.div_ceil(HIGH)).saturating_mul(plan.batch);
        if plan.m.max(plan.n).max(plan.k).max(parts) > i32::MAX as usize / 2 {
            return None;
        }
        let left = Lying::of(a, plan, plan.m, plan.left, &plan.left_steps)?;
        let right = Lying::of(b, plan, plan.n, plan.right, &plan.right_steps)?;
        if left.turned && !right.turned {
            return None;
        }
        let (source, [large, small]) = match (a.dtype(), dtype) {
            (DType::BF16, DType::BF16) => (&BF16, ["matmul_hopper_bf16", "matmul_hopper_small_bf16"]),
            (DType::F16, DType::F16) => (&F16, ["matmul_hopper_f16", "matmul_hopper_small_f16"]),
            (DType::BF16, DType::F32) => (&ROUNDED, ["matmul_hopper_rounded", "matmul_hopper_small_rounded"]),
            // Numbers of 32 bits are not taken turned.
            (DType::F32, DType::F32) if matmul_precision() == MatmulPrecision::Tf32 && !right.turned => {
                (&TF32, ["matmul_hopper_tf32", "matmul_hopper_small_tf32"])
            }
            _ => return None,
        };
        let way = |name, wide| Way { source, name, tile: [HIGH, wide], threads: THREADS, at_once: 1, lying: None };
        let wide = way(large, 256);
        let mut way = if wide.tiles(plan) * plan.batch >= cuda.0.multiprocessors { wide } else { way(small, 128) };
        way.lying = Some([left, right]);
        Some(way)
    }
}

impl Cuda {
    /// Both operands of f32 rounded to bf16, where that makes a product faster than rounding on the way.
    pub(super) fn shortened(self, [a, b]: [&Value; 2], plan: &Plan) -> Result<Option<[Value; 2]>, Fault> {
        if self.0.generation != GENERATION
            || plan.m.min(plan.n).min(plan.k) < LEAST_ROUNDED
            || !plan.k.is_multiple_of(8)
        {
            return Ok(None);
        }
        match (self.shorter(a)?, self.shorter(b)?) {
            (Some(a), Some(b)) => Ok(Some([a, b])),
            _ => Ok(None),
        }
    }
    /// Both operands lying along the shared axis, for products of tf32, where copying those that lie otherwise costs less than it gains.
    pub(super) fn straightened(self, [a, b]: [&Value; 2], plan: &Plan) -> Result<Option<[Value; 2]>, Fault> {
        let is_asked = a.dtype() == DType::F32 && matmul_precision() == MatmulPrecision::Tf32;
        if !is_asked || self.0.generation != GENERATION || plan.m.min(plan.n).min(plan.k) < LEAST {
            return Ok(None);
        }
        let [a_lies, b_lies] = [plan.left, plan.right].map(|[_, k_step]| k_step == 1);
        let copied = if a_lies { 0 } else { a.count() } + if b_lies { 0 } else { b.count() };
        let pays = copied.saturating_mul(USES) / plan.k <= plan.m.saturating_mul(plan.n).saturating_mul(plan.batch);
        if copied == 0 || !pays || !plan.k.is_multiple_of(4) {
            return Ok(None);
        }
        // What is left as it is must be one for boxes.
        if a_lies && Lying::of(a, plan, plan.m, plan.left, &plan.left_steps).is_none()
            || b_lies && Lying::of(b, plan, plan.n, plan.right, &plan.right_steps).is_none()
        {
            return Ok(None);
        }
        let a = if a_lies { a.clone() } else { self.contiguous(a)? };
        let b = if b_lies { b.clone() } else { turned(&self.contiguous(&turned(b)?)?)? };
        Ok(Some([a, b]))
    }
    /// A matrix or its transpose that lies densely, in bf16 and as it lies.
    fn shorter(self, x: &Value) -> Result<Option<Value>, Fault> {
        let rank = x.rank();
        let mut order: Vec<usize> = (0..rank).collect();
        if !x.layout().is_contiguous() {
            order.swap(rank - 2, rank - 1);
        }
        let lying = x.layout().permuted(&order);
        if !lying.is_contiguous() {
            return Ok(None);
        }
        let short = self.cast(&x.with_layout(lying)?, DType::BF16)?;
        let layout = short.layout().permuted(&order);
        short.with_layout(layout).map(Some)
    }
    /// Launches a kernel of this kind: blocks stay, and go from tile to tile.
    pub(super) fn multiply_boxes(
        self,
        way: &Way,
        [a, b]: [&Value; 2],
        out: &Value,
        plan: &Plan,
        cut: [usize; 2],
        ends: &Ends,
    ) -> Result<(), Fault> {
        let Some([left, right]) = &way.lying else {
            return Err(Fault::defect("a kernel of copies of boxes without a word of how its operands lie"));
        };
        let kernel = self.kernel(way.source, way.name)?;
        let [rows, columns] = way.tile;
        let parts = way.tiles(plan) * plan.batch * cut[0];
        let stages = 4 * (rows + columns) * ACROSS;
        let shared = stages + 8 * 16 * (64 + 4) * 4 + 2 * 4 * 8;
        let (product, start_batch) = ends.product(0, plan, cut)?;
        let call = self.call(kernel).write(out).option(ends.start()).option(ends.bias);
        let call = call.block(&product).view(&start_batch);
        let call = call.int(left.batch_number()).int(right.batch_number()).long(parts as i64);
        let call = call.boxes(a, &left.boxes(a, rows)).boxes(b, &right.boxes(b, columns));
        // Results whose rows begin at 16 bytes are copied out by boxes, too.
        let dtype = out.dtype();
        let by_boxes = ends.start().is_none() && cut[0] == 1 && (plan.n * dtype.size()).is_multiple_of(16);
        let steps = [plan.n, plan.m * plan.n].map(|step| (step * dtype.size()) as u64).into_iter().collect();
        let sizes = [plan.n, plan.m, plan.batch].map(|size| size as u64).into_iter().collect();
        let call = match by_boxes {
            true => call.int(1).boxes(out, &Boxes { dtype, rounded: false, sizes, steps, lines: WARP_ROWS }),
            false => call.int(0).block(&[0; 16]),
        };
        call.grid([parts.min(self.0.multiprocessors), 1, 1], THREADS, shared)
    }
}
