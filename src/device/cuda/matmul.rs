//! Products of matrices: `kernels/matmul*.cu`. Which kernel it is: the element type says, for f32 what the program allows
//! ([`with_matmul_precision`](crate::with_matmul_precision)), then how many results there are.

use super::Cuda;
use super::launch::THREADS;
use super::matmul_hopper::Lying;
use super::module::{Source, source};
use crate::device::copy::Arrange;
use crate::device::matmul::{Joined, Matmul, Plan, differ};
use crate::device::{MatmulPrecision, Value, matmul_precision};
use crate::error::Fault;
use crate::layout::{DType, Layout, MAX_RANK, Shape};

const MATMUL: Source = source!("matmul");
/// On tensor cores, which add up in f32 as the others do.
const TENSOR: Source = source!("matmul_tensor");
/// On tensor cores, from f32 that is rounded.
const ROUNDED: Source = source!("matmul_rounded");
/// For one row.
const VECTOR: Source = source!("matmul_vector");
/// Joins sums over pieces of the shared axis.
const PIECES: Source = source!("matmul_pieces");

/// Blocks along the third axis of a grid, which counts batches.
const MOST: usize = 65_535;
/// Blocks of a kernel that run on a multiprocessor at the same time, where it is not the only one there.
const AT_ONCE: usize = 2;
/// Pieces of the shared axis are multiples of this, and so long at least.
const SHARE: usize = 256;

/// A kernel, and the rows and columns of results that each of its blocks computes.
pub(super) struct Way {
    pub(super) source: &'static Source,
    pub(super) name: &'static str,
    pub(super) tile: [usize; 2],
    pub(super) threads: usize,
    /// Blocks of it on a multiprocessor.
    pub(super) at_once: usize,
    /// How the operands lie, for a kernel that is brought them in boxes.
    pub(super) lying: Option<[Lying; 2]>,
}

impl Way {
    const fn new(source: &'static Source, name: &'static str, tile: usize, threads: usize) -> Way {
        Way { source, name, tile: [tile; 2], threads, at_once: AT_ONCE, lying: None }
    }
    pub(super) fn tiles(&self, plan: &Plan) -> usize {
        plan.m.div_ceil(self.tile[0]) * plan.n.div_ceil(self.tile[1])
    }
    /// The kernel for one row times a matrix: does the matrix lie along the shared axis?
    fn row(dtype: DType, plan: &Plan) -> Option<Way> {
        let along = plan.right[1].unsigned_abs() <= plan.right[0].unsigned_abs();
        let [along_name, across_name] = match dtype {
            DType::F32 => ["matmul_along_f32", "matmul_across_f32"],
            DType::F64 => ["matmul_along_f64", "matmul_across_f64"],
            DType::BF16 => ["matmul_along_bf16", "matmul_across_bf16"],
            DType::F16 => ["matmul_along_f16", "matmul_across_f16"],
            _ => return None,
        };
        let (name, columns) = if along { (along_name, 8) } else { (across_name, 128) };
        let way = Way { source: &VECTOR, name, tile: [1, columns], threads: THREADS, at_once: 5, lying: None };
        (plan.m == 1).then_some(way)
    }
    /// The kernel for a product on a device of so many multiprocessors.
    fn of(dtype: DType, plan: &Plan, multiprocessors: usize) -> Way {
        if let Some(way) = Way::row(dtype, plan) {
            return way;
        }
        let large = Way::new(&MATMUL, "matmul_f32", 128, THREADS);
        match dtype {
            DType::F32 => match matmul_precision() {
                MatmulPrecision::Tf32 => Way::new(&ROUNDED, "matmul_tf32", 128, 128),
                MatmulPrecision::Bf16 => Way::new(&ROUNDED, "matmul_by_bf16", 128, 128),
                // The large tile has more work for each number read.
                MatmulPrecision::Exact if large.tiles(plan) * plan.batch >= AT_ONCE * multiprocessors => large,
                MatmulPrecision::Exact => Way::new(&MATMUL, "matmul_small_f32", 64, THREADS),
            },
            DType::F64 => Way::new(&MATMUL, "matmul_f64", 64, THREADS),
            DType::BF16 => Way::new(&TENSOR, "matmul_tensor_bf16", 128, 128),
            DType::F16 => Way::new(&TENSOR, "matmul_tensor_f16", 128, 128),
            DType::I64 => Way::new(&MATMUL, "matmul_i64", 64, THREADS),
            DType::I32 => Way::new(&MATMUL, "matmul_i32", 64, THREADS),
            DType::U8 | DType::Bool => Way::new(&MATMUL, "matmul_u8", 64, THREADS),
        }
    }
    /// Where results are few and the shared axis is long it is cut, so that every multiprocessor has its blocks: how many
    /// pieces, and how long each is.
    fn pieces(&self, plan: &Plan, multiprocessors: usize) -> [usize; 2] {
        let blocks = self.tiles(plan) * plan.batch;
        let wanted = (self.at_once * multiprocessors / blocks.max(1)).min(plan.k / SHARE).max(1);
        let share = plan.k.div_ceil(wanted).next_multiple_of(SHARE).max(SHARE);
        [plan.k.div_ceil(share).max(1), share]
    }
}

impl Matmul for Cuda {
    fn matmul(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault> {
        let dtype = a.dtype();
        if b.dtype() != dtype {
            return Err(differ(dtype, b.dtype()));
        }
        if dtype == DType::Bool {
            return Err(Fault::dtype(
                "a product of booleans is not defined",
                "convert first: to_dtype(DType::I64) counts, to_dtype(DType::F32) is the float product",
            ));
        }
        let mut plan = Plan::new(a.layout(), b.layout())?;
        let straight = self.straightened([a, b], &plan)?;
        let [a, b] = match &straight {
            Some([a, b]) => {
                plan = Plan::new(a.layout(), b.layout())?;
                [a, b]
            }
            None => [a, b],
        };
        let out = self.blank(plan.shape, dtype)?;
        let start = match joined.start {
            Some((start, beta)) => Some((self.spread(&self.cast(start, dtype)?, &plan)?, beta)),
            None => None,
        };
        let bias = joined.bias.map(|bias| self.contiguous(&self.cast(bias, dtype)?)).transpose()?;
        // A matrix times one column is one row times a matrix.
        let (a, b, start) = match plan.n == 1 && plan.m > 1 && bias.is_none() && dtype.is_float() {
            true => {
                let axes = plan.axes;
                let turned = |(start, beta): (Value, f64)| {
                    let mut order: Vec<usize> = (0..axes + 2).collect();
                    order.swap(axes, axes + 1);
                    Ok((start.with_layout(start.layout().permuted(&order))?, beta))
                };
                exchange(&mut plan);
                (b, a, start.map(turned).transpose()?)
            }
            false => (a, b, start),
        };
        let short = match dtype == DType::F32 && matmul_precision() == MatmulPrecision::Bf16 {
            true => self.shortened([a, b], &plan)?,
            false => None,
        };
        let multiprocessors = self.0.multiprocessors;
        let brought =
            short.as_ref().and_then(|[a, b]| Way::hopper(*self, [a, b], dtype, &plan).map(|way| (way, [a, b])));
        let brought = brought.or_else(|| Way::hopper(*self, [a, b], dtype, &plan).map(|way| (way, [a, b])));
        let (way, [a, b]) = brought.unwrap_or_else(|| (Way::of(dtype, &plan, multiprocessors), [a, b]));
        let cut = if dtype.is_float() { way.pieces(&plan, multiprocessors) } else { [1, plan.k.max(1)] };
        let ends = Ends { alpha: joined.alpha, start: start.as_ref(), bias: bias.as_ref() };
        if cut[0] == 1 {
            self.multiply(&way, [a, b], &out, &plan, cut, &ends)?;
            return Ok(out);
        }
        // Sums over pieces, in the type that is computed in.
        let sums = Shape::new(&[plan.batch * cut[0], plan.m * plan.n])?;
        let sums = self.blank(sums, if dtype == DType::F64 { dtype } else { DType::F32 })?;
        self.multiply(&way, [a, b], &sums, &plan, cut, &Ends::NONE)?;
        let kernel = self.kernel(&PIECES, &format!("matmul_pieces_{dtype}"))?;
        let call = self.call(kernel).read(&sums).write(&out).option(ends.start()).option(ends.bias);
        let (product, across) = ends.product(0, &plan, cut)?;
        call.block(&product).view(&across).long(plan.batch as i64).over(out.count())?;
        Ok(out)
    }
}

/// Exchanges the operands of a product whose result is one column.
fn exchange(plan: &mut Plan) {
    std::mem::swap(&mut plan.m, &mut plan.n);
    std::mem::swap(&mut plan.left, &mut plan.right);
    std::mem::swap(&mut plan.left_steps, &mut plan.right_steps);
    plan.starts.swap(0, 1);
}

/// What is done with sums before they are results.
pub(super) struct Ends<'a> {
    alpha: f64,
    start: Option<&'a (Value, f64)>,
    pub(super) bias: Option<&'a Value>,
}

impl Ends<'_> {
    const NONE: Ends<'static> = Ends { alpha: 1.0, start: None, bias: None };

    pub(super) fn start(&self) -> Option<&Value> {
        self.start.map(|(start, _)| start)
    }
    /// `struct Product` of `kernels/product.cuh`, and the batch axes of what is added to.
    pub(super) fn product(
        &self,
        first: usize,
        plan: &Plan,
        [pieces, share]: [usize; 2],
    ) -> Result<([u64; 14], Layout), Fault> {
        let across = Shape::new(&plan.sizes[..plan.axes])?;
        let axes = plan.axes;
        let (beta, [row, column], batch) = match self.start {
            Some((start, beta)) => {
                let strides = start.layout().strides();
                (*beta, [strides[axes], strides[axes + 1]], Layout::from_parts(across, &strides[..axes], 0))
            }
            None => (0.0, [0, 0], Layout::from_parts(across, &[0; MAX_RANK][..axes], 0)),
        };
        let [a_row, a_step] = plan.left;
        let [b_column, b_step] = plan.right;
        let [first, m, n, k, pieces, share] =
            [first, plan.m, plan.n, plan.k, pieces, share].map(|number| number as u64);
        let [a_row, a_step, b_step, b_column, row, column] =
            [a_row, a_step, b_step, b_column, row, column].map(|step| step as u64);
        let (alpha, beta) = (self.alpha.to_bits(), beta.to_bits());
        Ok(([first, m, n, k, a_row, a_step, b_step, b_column, row, column, pieces, share, alpha, beta], batch))
    }
}

impl Cuda {
    /// Launches a kernel over all batches.
    fn multiply(
        self,
        way: &Way,
        [a, b]: [&Value; 2],
        out: &Value,
        plan: &Plan,
        cut: [usize; 2],
        ends: &Ends,
    ) -> Result<(), Fault> {
        if way.lying.is_some() {
            return self.multiply_boxes(way, [a, b], out, plan, cut, ends);
        }
        let kernel = self.kernel(way.source, way.name)?;
        let across = Shape::new(&plan.sizes[..plan.axes])?;
        let batches_at_once = (MOST / cut[0]).max(1);
        for first in (0..plan.batch).step_by(batches_at_once) {
            let (product, start_batch) = ends.product(first, plan, cut)?;
            let call = self.call(kernel).read(a).read(b).write(out).option(ends.start()).option(ends.bias);
            let call = call.block(&product);
            let call = call.view(&Layout::from_parts(across, &plan.left_steps[..plan.axes], 0));
            let call = call.view(&Layout::from_parts(across, &plan.right_steps[..plan.axes], 0)).view(&start_batch);
            let batches = (plan.batch - first).min(batches_at_once);
            call.grid([way.tiles(plan), 1, batches * cut[0]], way.threads, 0)?;
        }
        Ok(())
    }
    /// What a product is added to, broadcast to it and with its axes as the plan has them.
    fn spread(self, start: &Value, plan: &Plan) -> Result<Value, Fault> {
        let wide = start.with_layout(start.layout().expanded(&plan.shape)?)?;
        let shape = Shape::new(&[&plan.sizes[..plan.axes], &[plan.m, plan.n]].concat())?;
        if let Some(layout) = wide.layout().reshaped(&shape) {
            return wide.with_layout(layout);
        }
        self.duplicate(&wide)?.with_layout(Layout::contiguous(shape))
    }
}
