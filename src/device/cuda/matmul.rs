//! Products of matrices: `kernels/matmul.cu`, and for bf16 `kernels/matmul_tensor.cu`.

use super::Cuda;
use super::launch::THREADS;
use super::module::Source;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::matmul::{Joined, Matmul, Plan, differ};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const MATMUL: Source = Source { name: "matmul", text: include_str!("../../../kernels/ptx/matmul.ptx") };

/// On tensor cores, which add up in f32 as the others do.
const TENSOR: Source = Source { name: "matmul_tensor", text: include_str!("../../../kernels/ptx/matmul_tensor.ptx") };

/// Rows and columns of the results that a block computes: the large tile has more work for each number read.
const LARGE: usize = 128;
const SMALL: usize = 64;
/// Blocks along the second and third axis of a grid.
const MOST: usize = 65_535;

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
        let plan = Plan::new(a.layout(), b.layout())?;
        let Plan { m, n, k, batch, axes, .. } = plan;
        let out = self.blank(plan.shape, dtype)?;
        let across = Shape::new(&plan.sizes[..axes])?;
        let (start, beta) = match joined.start {
            Some((start, beta)) => (Some(self.spread(&self.cast(start, dtype)?, &plan)?), beta),
            None => (None, 0.0),
        };
        let (start_batch, [start_row, start_column]) = match &start {
            Some(start) => {
                let strides = start.layout().strides();
                (Layout::from_parts(across, &strides[..axes], 0), [strides[axes], strides[axes + 1]])
            }
            None => (Layout::from_parts(across, &[0; crate::layout::MAX_RANK][..axes], 0), [0, 0]),
        };
        let bias = joined.bias.map(|bias| self.contiguous(&self.cast(bias, dtype)?)).transpose()?;
        let large = m.div_ceil(LARGE) * n.div_ceil(LARGE) * batch >= 2 * self.0.multiprocessors;
        let (source, name, tile) = match dtype {
            DType::F32 if large => (&MATMUL, "matmul_f32".to_string(), LARGE),
            DType::F32 => (&MATMUL, "matmul_small_f32".to_string(), SMALL),
            DType::BF16 => (&TENSOR, "matmul_tensor_bf16".to_string(), LARGE),
            _ => (&MATMUL, format!("matmul_{dtype}"), SMALL),
        };
        let kernel = self.kernel(source, &name)?;
        let rows = m.div_ceil(tile);
        if rows > MOST {
            return Err(Fault::device(
                format!("a product of {m} rows has no CUDA kernel yet: they take {} at once", MOST * tile),
                "cut the left operand along its rows, or exchange both and transpose the result",
            ));
        }
        for first in (0..batch).step_by(MOST) {
            let numbers = [first, m, n, k].map(|number| number as u64);
            let [a_row, a_step] = plan.left;
            let [b_column, b_step] = plan.right;
            let steps = [a_row, a_step, b_step, b_column, start_row, start_column].map(|step| step as u64);
            let factors = [joined.alpha, beta].map(f64::to_bits);
            let product = [&numbers[..], &steps, &factors].concat();
            let call = self.call(kernel).read(a).read(b).write(&out).option(start.as_ref()).option(bias.as_ref());
            let call = call.block(&product);
            let call = call.view(&Layout::from_parts(across, &plan.left_steps[..axes], 0));
            let call = call.view(&Layout::from_parts(across, &plan.right_steps[..axes], 0)).view(&start_batch);
            call.grid([n.div_ceil(tile), rows, (batch - first).min(MOST)], THREADS, 0)?;
        }
        Ok(out)
    }
}

impl Cuda {
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
