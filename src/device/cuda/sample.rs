//! Volumes read between their elements: `kernels/sample.cu`.

use super::Cuda;
use super::lacking::lacks;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::reduce::floats;
use crate::device::sample::{Between, Outside, Sample, Sampling};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const SAMPLE: Source = source!("sample");

/// So many threads keep a GPU busy: with fewer places the channels are shared out.
const BUSY: usize = 1 << 18;

/// A problem's sizes, and how it is sampled.
struct Plan {
    cuda: Cuda,
    sampling: Sampling,
    dtype: DType,
    batch: usize,
    channels: usize,
    sizes: [usize; 3],
    places: usize,
    axes: usize,
}

impl Plan {
    fn new(cuda: Cuda, shape: &[usize], grid: &Value, sampling: Sampling) -> Result<Plan, Fault> {
        let (&[batch, channels, depth, height, width], &[_, places, axes]) = (shape, grid.dims()) else {
            return Err(Fault::defect(format!("volumes {shape:?} and a grid {:?}", grid.dims())));
        };
        let plan =
            Plan { cuda, sampling, dtype: grid.dtype(), batch, channels, sizes: [depth, height, width], places, axes };
        if plan.batch.saturating_mul(plan.elements().max(plan.places * plan.terms())) > i32::MAX as usize {
            return Err(lacks("sampling more than 2^31 elements or terms"));
        }
        Ok(plan)
    }
    /// Elements of a volume.
    fn elements(&self) -> usize {
        self.sizes.iter().product()
    }
    /// Elements that a place reads.
    fn terms(&self) -> usize {
        let along = match self.sampling.between {
            Between::Nearest => 1usize,
            Between::Linear => 2,
            Between::Cubic => 4,
        };
        along.pow(self.axes as u32)
    }
    /// `struct Volumes` of the kernels.
    fn words(&self) -> [u64; 6] {
        let outside = match self.sampling.outside {
            Outside::Zeros => 0,
            Outside::Border => 1,
            Outside::Reflection => 2,
        };
        let pair = |low: usize, high: usize| low as u64 | (high as u64) << 32;
        let [depth, height, width] = self.sizes;
        let [batch, channels, places] = [self.batch, self.channels, self.places].map(|count| count as u64);
        let corners = self.sampling.align_corners as usize;
        [batch, channels, places, pair(depth, height), pair(width, self.axes), pair(outside, corners)]
    }
    /// A kernel for this way of sampling.
    fn kernel(&self, name: &str) -> Result<Launch, Fault> {
        let between = match self.sampling.between {
            Between::Nearest => "nearest",
            Between::Linear => "linear",
            Between::Cubic => "cubic",
        };
        self.plain(&format!("sample{name}_{between}_{}", self.dtype))
    }
    fn plain(&self, name: &str) -> Result<Launch, Fault> {
        Ok(self.cuda.call(self.cuda.kernel(&SAMPLE, name)?))
    }
    /// Launches a kernel over places or elements, the channels cut where these are few.
    fn over_channels(&self, call: Launch, count: usize) -> Result<(), Fault> {
        let chunks = (BUSY / count.max(1)).clamp(1, self.channels.clamp(1, 65_535));
        let chunk = self.channels.div_ceil(chunks);
        let chunks = self.channels.div_ceil(chunk.max(1));
        call.long(chunk as i64).grid([count.div_ceil(4 * THREADS).min(65_536), chunks, 1], THREADS, 0)
    }

    fn sample(&self, x: &Value, grid: &Value) -> Result<Value, Fault> {
        let out = self.cuda.blank(Shape::new(&[self.batch, self.channels, self.places])?, self.dtype)?;
        let call = self.kernel("")?.read(x).read(grid).write(&out).block(&self.words());
        self.over_channels(call, self.batch * self.places)?;
        Ok(out)
    }
    fn grid_gradient(&self, g: &Value, x: &Value, grid: &Value) -> Result<Value, Fault> {
        let out = self.cuda.blank(*grid.shape(), self.dtype)?;
        let call = self.kernel("_grid_gradient")?.read(g).read(x).read(grid).write(&out).block(&self.words());
        call.over(self.batch * self.places)?;
        Ok(out)
    }
    /// The terms of all places are listed by element, in order, and each element adds up its own.
    fn gradient(&self, g: &Value, grid: &Value, shape: &Shape) -> Result<Value, Fault> {
        let cuda = self.cuda;
        let (count, all) = (self.batch * self.places * self.terms(), self.batch * self.elements());
        let list = |count: usize| cuda.blank(Shape::new(&[count])?, DType::I32);
        let zeros = |count: usize| cuda.full(Shape::new(&[count])?, DType::I32, 0.0);
        let (elements, weights) = (list(count)?, cuda.blank(Shape::new(&[count])?, self.dtype)?);
        let call = self.kernel("_terms")?.read(grid).write(&elements).write(&weights).block(&self.words());
        call.over(self.batch * self.places)?;

        let (counts, starts, cursor) = (zeros(all)?, list(all)?, zeros(1)?);
        let call = self.plain("sample_count_i32")?.read(&elements).write(&counts);
        call.long(count as i64).over(count)?;
        let call = self.plain("sample_begin_i32")?.read(&counts).write(&starts).write(&cursor).long(all as i64);
        call.grid([all.div_ceil(THREADS), 1, 1], THREADS, 0)?;

        let (filled, unordered, ordered) = (zeros(all)?, list(count)?, list(count)?);
        let call = self.plain("sample_list_i32")?.read(&elements).read(&starts).write(&filled).write(&unordered);
        call.long(count as i64).over(count)?;
        let call = self.plain("sample_order_i32")?.read(&elements).read(&starts).read(&counts).read(&unordered);
        call.write(&ordered).long(count as i64).over(count)?;

        let out = cuda.blank(*shape, self.dtype)?;
        let call = self.plain(&format!("sample_gather_{}", self.dtype))?.read(g).read(&starts).read(&counts);
        let call = call.read(&ordered).read(&weights).write(&out).block(&self.words()).long(self.terms() as i64);
        self.over_channels(call, all)?;
        Ok(out)
    }
}

impl Cuda {
    /// Dense, halves in f32; what is computed of them is rounded once.
    fn sampled<const N: usize>(
        self,
        values: [&Value; N],
        kernel: impl FnOnce([&Value; N]) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        let dtype = values[0].dtype();
        floats(values[0], "sampling")?;
        let wide = if dtype.is_half() { DType::F32 } else { dtype };
        let mut dense = values.map(Value::clone);
        for value in &mut dense {
            *value = self.contiguous(&self.cast(value, wide)?)?;
        }
        self.cast(&kernel(dense.each_ref())?, dtype)
    }
}

impl Sample for Cuda {
    fn sample(&self, x: &Value, grid: &Value, sampling: Sampling) -> Result<Value, Fault> {
        self.sampled([x, grid], |[x, grid]| Plan::new(*self, x.dims(), grid, sampling)?.sample(x, grid))
    }
    fn sample_gradient(&self, g: &Value, grid: &Value, shape: &Shape, sampling: Sampling) -> Result<Value, Fault> {
        self.sampled([g, grid], |[g, grid]| Plan::new(*self, shape, grid, sampling)?.gradient(g, grid, shape))
    }
    fn sample_grid_gradient(&self, g: &Value, x: &Value, grid: &Value, sampling: Sampling) -> Result<Value, Fault> {
        self.sampled([g, x, grid], |[g, x, grid]| Plan::new(*self, x.dims(), grid, sampling)?.grid_gradient(g, x, grid))
    }
}
