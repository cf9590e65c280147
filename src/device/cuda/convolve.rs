//! Convolution in its three directions: `kernels/convolve.cu`, on tensor cores `kernels/convolve_tensor.cuh` (floats of 16 bits, and f32 where
//! the program allows rounding), and `kernels/depthwise.cu` where a group has one input channel.

use super::Cuda;
use super::lacking::lacks;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use super::rows::beside;
use crate::device::convolve::{Convolve, Finish, Manner};
use crate::device::copy::Arrange;
use crate::device::reduce::{Reduce, floats};
use crate::device::window::Sliding;
use crate::device::{MatmulPrecision, Value, matmul_precision};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const CONVOLVE: Source = source!("convolve");

const TENSOR: Source = source!("convolve_tensor");
/// From f32 that is rounded.
const TF32: Source = source!("convolve_tf32");
const DEPTHWISE: Source = source!("depthwise");

/// Rows and columns of the results that a block of `convolve.cu` computes.
const TILE: usize = 64;
/// With at most so many output channels for each input channel there is nothing that a product of matrices shares.
const FEW: usize = 8;
/// Taps of a weight whose gradient a block sums.
const TAPS: usize = 9;
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

/// Which kernels do it.
#[derive(Clone, Copy)]
enum Way {
    /// Products of matrices on ordinary arithmetic units.
    Plain,
    /// On tensor cores, by tiles of so many rows.
    Tensor(usize),
    /// Each result by itself.
    Depthwise,
}

impl Way {
    /// How a product of so many rows is done.
    fn of(problem: &Problem<'_>, rows: usize, dtype: DType) -> Way {
        match dtype {
            _ if problem.inputs == 1 && problem.outputs <= FEW && problem.groups > 1 => Way::Depthwise,
            DType::F32 if matmul_precision() == MatmulPrecision::Exact => Way::Plain,
            DType::F32 | DType::BF16 | DType::F16 => Way::Tensor(if rows > 64 { 128 } else { 64 }),
            _ => Way::Plain,
        }
    }
    /// Rows and columns of the results that a block computes.
    fn tile(self) -> [usize; 2] {
        match self {
            Way::Tensor(rows) => [rows, 128],
            Way::Plain | Way::Depthwise => [TILE; 2],
        }
    }
}

impl Cuda {
    /// The kernel of a direction: `""`, `"_transposed"`, `"_weight"`.
    fn convolve_kernel(self, direction: &str, x: &Value, way: Way) -> Result<Launch, Fault> {
        floats(x, "a convolution")?;
        let dtype = x.dtype();
        let kernel = match way {
            Way::Plain => self.kernel(&CONVOLVE, &format!("convolve{direction}_{dtype}"))?,
            Way::Tensor(rows) => {
                let source = if dtype == DType::F32 { &TF32 } else { &TENSOR };
                self.kernel(source, &format!("convolve{direction}_tensor_{rows}_{dtype}"))?
            }
            Way::Depthwise => self.kernel(&DEPTHWISE, &format!("depthwise{direction}_{dtype}"))?,
        };
        Ok(self.call(kernel))
    }
    /// Launches it for `rows` and `columns` of each group, or for each number of the result.
    fn convolve_over(
        self,
        call: Launch,
        way: Way,
        [rows, columns]: [usize; 2],
        groups: usize,
        count: usize,
    ) -> Result<(), Fault> {
        let [down, across] = way.tile();
        let blocks = match way {
            Way::Depthwise => [count.div_ceil(THREADS), 1, 1],
            Way::Plain | Way::Tensor(_) => [columns.div_ceil(across), rows.div_ceil(down), groups],
        };
        call.grid(blocks, THREADS, 0)
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
        let way = Way::of(&problem, outputs, x.dtype());
        let call = self.convolve_kernel("", x, way)?.read(x).read(weight).option(bias.as_ref()).write(&out);
        self.convolve_over(call.block(&problem.words()?), way, [outputs, columns], groups, out.count())?;
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
        let way = Way::of(&problem, inputs, y.dtype());
        let call = self.convolve_kernel("_transposed", y, way)?.read(y).read(weight);
        let call = call.option(bias.as_ref()).write(&out).block(&problem.words()?);
        self.convolve_over(call, way, [inputs, columns], groups, out.count())?;
        Ok(out)
    }
    fn convolve_weight(&self, x: &Value, y: &Value, windows: &[Sliding; 3], manner: Manner) -> Result<Value, Fault> {
        let dtype = x.dtype();
        let Manner { groups, .. } = manner;
        let (batch, outputs, inputs) = (x.dims()[0], y.dims()[1] / groups, x.dims()[1] / groups);
        let problem = Problem { windows, batch, groups, inputs, outputs, x: Some(x), weight: None, y: Some(y) };
        let shape = problem.shape([y.dims()[1], inputs], |axis| axis.kernel)?;
        let taps = problem.volume(|axis| axis.kernel);
        let (depth, columns) = (batch * problem.volume(|axis| axis.count), inputs * taps);
        let way = Way::of(&problem, outputs, dtype);
        let [down, across] = way.tile();
        let blocks = match way {
            Way::Depthwise => [groups * outputs, taps.div_ceil(TAPS), 1],
            Way::Plain | Way::Tensor(_) => [columns.div_ceil(across), outputs.div_ceil(down), groups],
        };
        let wanted = (2 * self.0.multiprocessors).checked_div(blocks.iter().product()).unwrap_or(1);
        let pieces = wanted.min(depth / PIECE).max(1);
        // Pieces are added up before they are rounded.
        let parts = self.blank(Shape::new(&[pieces, shape.count()])?, beside(dtype))?;
        let call = self.convolve_kernel("_weight", x, way)?.read(x).read(y).write(&parts);
        let call = call.block(&problem.words()?).int(pieces as i32);
        let grid = match way {
            Way::Depthwise => [blocks[0], pieces, blocks[1]],
            Way::Plain | Way::Tensor(_) => [blocks[0], blocks[1], groups * pieces],
        };
        call.grid(grid, THREADS, 0)?;
        let sum = if pieces == 1 { parts } else { self.sum(&parts, &[0], false)? };
        self.cast(&sum, dtype)?.with_layout(crate::layout::Layout::contiguous(shape))
    }
}
