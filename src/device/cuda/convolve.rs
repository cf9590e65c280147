//! Convolution in its three directions: `kernels/convolve.cu`.

use super::Cuda;
use super::lacking::lacks;
use super::launch::{Launch, THREADS};
use super::module::Source;
use crate::device::Value;
use crate::device::convolve::{Convolve, Finish, Manner};
use crate::device::copy::Arrange;
use crate::device::reduce::{Reduce, floats};
use crate::device::window::Sliding;
use crate::error::Fault;
use crate::layout::{DType, Shape};

const CONVOLVE: Source = Source { name: "convolve", text: include_str!("../../../kernels/ptx/convolve.ptx") };

/// Rows and columns of the results that a block computes.
const TILE: usize = 64;
/// A piece of the gradient of a weight sums over no fewer windows.
const PIECE: usize = 512;

/// `struct Convolution` of the kernels. Channels are those of one group; of what is written the steps are not read.
struct Problem<'a> {
    windows: &'a [Sliding; 3],
    batch: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
    x: Option<&'a Value>,
    weight: Option<&'a Value>,
    y: Option<&'a Value>,
}

impl Problem<'_> {
    /// The product of one size of all three axes.
    fn volume(&self, of: impl Fn(&Sliding) -> usize) -> usize {
        self.windows.iter().map(of).product()
    }
    fn shape(&self, first: [usize; 2], of: impl Fn(&Sliding) -> usize) -> Result<Shape, Fault> {
        let [depth, height, width] = self.windows.each_ref().map(of);
        Shape::new(&[first[0], first[1], depth, height, width])
    }
    fn words(&self) -> Result<Vec<u64>, Fault> {
        let mut ints = Vec::new();
        for window in self.windows {
            let Sliding { size, count, kernel, stride, before, dilation } = *window;
            ints.extend([size, count, kernel, stride, before, dilation]);
        }
        let places = self.batch.saturating_mul(self.volume(|axis| axis.size).max(self.volume(|axis| axis.count)));
        let shared = self.inputs.max(self.outputs).saturating_mul(self.volume(|axis| axis.kernel));
        if ints.iter().chain([&places, &shared]).any(|&number| number > i32::MAX as usize) {
            return Err(lacks("a convolution of more than 2^31 places"));
        }
        let mut words: Vec<u64> = ints.chunks(2).map(|pair| pair[0] as u64 | (pair[1] as u64) << 32).collect();
        words.extend([self.batch, self.groups, self.inputs, self.outputs].map(|size| size as u64));
        for operand in [self.x, self.weight, self.y] {
            match operand {
                Some(operand) => words.extend(operand.layout().strides().iter().map(|&step| step as u64)),
                None => words.extend([0; 5]),
            }
        }
        Ok(words)
    }
}

impl Cuda {
    fn convolve_kernel(self, name: &str, x: &Value) -> Result<Launch, Fault> {
        floats(x, "a convolution")?;
        Ok(self.call(self.kernel(&CONVOLVE, &format!("{name}_{}", x.dtype()))?))
    }
    fn bias_as(self, bias: Option<&Value>, dtype: DType) -> Result<Option<Value>, Fault> {
        bias.map(|bias| self.contiguous(&self.cast(bias, dtype)?)).transpose()
    }
}

impl Convolve for Cuda {
    fn convolve(
        &self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        windows: &[Sliding; 3],
        Manner { groups, .. }: Manner,
    ) -> Result<Value, Fault> {
        let bias = self.bias_as(bias, x.dtype())?;
        let (batch, outputs, inputs) = (x.dims()[0], weight.dims()[0] / groups, weight.dims()[1]);
        let problem = Problem { windows, batch, groups, inputs, outputs, x: Some(x), weight: Some(weight), y: None };
        let out = self.blank(problem.shape([batch, weight.dims()[0]], |axis| axis.count)?, x.dtype())?;
        let columns = batch * problem.volume(|axis| axis.count);
        let call = self.convolve_kernel("convolve", x)?.read(x).read(weight).option(bias.as_ref()).write(&out);
        let blocks = [columns.div_ceil(TILE), outputs.div_ceil(TILE), groups];
        call.block(&problem.words()?).grid(blocks, THREADS, 0)?;
        Ok(out)
    }
    fn convolve_finished(
        &self,
        x: &Value,
        weight: &Value,
        Finish { scale, shift, rectified }: Finish<'_>,
        windows: &[Sliding; 3],
        manner: Manner,
    ) -> Result<Value, Fault> {
        if scale.is_some() || rectified {
            return Err(lacks("a convolution finished in the same pass"));
        }
        self.convolve(x, weight, shift, windows, manner)
    }
    fn convolve_transposed(
        &self,
        y: &Value,
        weight: &Value,
        bias: Option<&Value>,
        windows: &[Sliding; 3],
        Manner { groups, .. }: Manner,
    ) -> Result<Value, Fault> {
        let bias = self.bias_as(bias, y.dtype())?;
        let (batch, outputs, inputs) = (y.dims()[0], weight.dims()[0] / groups, weight.dims()[1]);
        let problem = Problem { windows, batch, groups, inputs, outputs, x: None, weight: Some(weight), y: Some(y) };
        let out = self.blank(problem.shape([batch, groups * inputs], |axis| axis.size)?, y.dtype())?;
        let columns = batch * problem.volume(|axis| axis.size);
        let call = self.convolve_kernel("convolve_transposed", y)?.read(y).read(weight);
        let call = call.option(bias.as_ref()).write(&out).block(&problem.words()?);
        call.grid([columns.div_ceil(TILE), inputs.div_ceil(TILE), groups], THREADS, 0)?;
        Ok(out)
    }
    fn convolve_weight(&self, x: &Value, y: &Value, windows: &[Sliding; 3], manner: Manner) -> Result<Value, Fault> {
        let dtype = x.dtype();
        if dtype.is_half() {
            // Pieces are added up before they are rounded.
            let (x, y) = (self.cast(x, DType::F32)?, self.cast(y, DType::F32)?);
            return self.cast(&self.convolve_weight(&x, &y, windows, manner)?, dtype);
        }
        let Manner { groups, .. } = manner;
        let (batch, outputs, inputs) = (x.dims()[0], y.dims()[1] / groups, x.dims()[1] / groups);
        let problem = Problem { windows, batch, groups, inputs, outputs, x: Some(x), weight: None, y: Some(y) };
        let shape = problem.shape([y.dims()[1], inputs], |axis| axis.kernel)?;
        let (depth, columns) = (batch * problem.volume(|axis| axis.count), inputs * problem.volume(|axis| axis.kernel));
        let [across, down] = [columns, outputs].map(|size| size.div_ceil(TILE));
        let wanted = (2 * self.0.multiprocessors).checked_div(across * down * groups).unwrap_or(1);
        let pieces = wanted.min(depth / PIECE).max(1);
        let parts = self.blank(Shape::new(&[pieces, shape.count()])?, dtype)?;
        let call = self.convolve_kernel("convolve_weight", x)?.read(x).read(y).write(&parts);
        let call = call.block(&problem.words()?).int(pieces as i32);
        call.grid([across, down, groups * pieces], THREADS, 0)?;
        let sum = if pieces == 1 { parts } else { self.sum(&parts, &[0], false)? };
        sum.with_layout(crate::layout::Layout::contiguous(shape))
    }
}
