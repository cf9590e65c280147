//! Recurrent layers: `kernels/recurrent.cu`, a step at a time, and `kernels/sequence.cu`, a whole sequence by one block.
//!
//! As on the processor the products with all inputs are one, and so are those for the gradients of weights and input. A step
//! is one launch, the product with the hidden state's weights in it; with many sequences or a projection that is a product as
//! all others are, and a kernel for all gates. Where the hidden state is small, one launch takes all steps.
//!
//! Kept for the way back: `0` the hidden states before the steps and after the last, in the order of time, so that a reversed run
//! finds the one before a step behind it; `1` the values of the gates, or the results where there is one gate; `2` for LSTM the cells, as
//! `0`, for GRU what the hidden state gives to the third gate.

mod backward;
mod forward;

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::copy::Arrange;
use crate::device::recurrent::{
    Gates, Owned, Recur, Recurred, RecurrentGradients, RecurrentWanted, Recurring, Sizes, no_recurrence,
};
use crate::device::{Device, Value};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const STEP: Source = source!("recurrent");
const SEQUENCE: Source = source!("sequence");

/// The largest hidden state whose weights the threads of a block hold in registers.
const SMALL: usize = 64;
/// Up to so many sequences a step is one launch with a sum of few columns for each block; with more, tiles read weights less often.
const WHOLE: usize = 128;
/// So many sequences for each multiprocessor, and it is better to share the weights of a product among them.
const FEW: usize = 16;

/// One run through the steps: the operands, dense and wide, and what follows from them.
struct Run<'a> {
    cuda: Cuda,
    operands: Recurring<'a>,
    sizes: Sizes,
    dtype: DType,
    /// How many steps each sequence has, i64 on the GPU.
    lengths: Option<Value>,
}

impl Run<'_> {
    fn new<'a>(cuda: Cuda, operands: Recurring<'a>) -> Result<Run<'a>, Fault> {
        let lengths = match operands.lengths {
            Some(lengths) => {
                let here = Value::build::<i64>(Shape::new(&[lengths.len()])?, |out| {
                    out.iter_mut().zip(lengths).for_each(|(to, &length)| *to = length as i64);
                })?;
                Some(here.to(Device::Cuda(cuda))?)
            }
            None => None,
        };
        Ok(Run { cuda, sizes: Sizes::new(&operands)?, dtype: operands.input.dtype(), operands, lengths })
    }
    /// A new value of the type that is computed in.
    fn blank(&self, sizes: &[usize]) -> Result<Value, Fault> {
        self.cuda.blank(Shape::new(sizes)?, self.dtype)
    }
    fn kernel(&self, source: &Source, name: &str, kind: bool) -> Result<Launch, Fault> {
        let kind = match self.operands.gates {
            _ if !kind => String::new(),
            Gates::Lstm => "_lstm".to_string(),
            Gates::Gru => "_gru".to_string(),
            Gates::Tanh => "_tanh".to_string(),
            Gates::Relu => "_relu".to_string(),
        };
        Ok(self.cuda.call(self.cuda.kernel(source, &format!("{name}{kind}_{}", self.dtype))?))
    }
    fn is(&self, kind: Gates) -> bool {
        self.operands.gates == kind
    }
    /// The steps in the order of the way forward.
    fn order(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let (steps, reversed) = (self.sizes.steps, self.operands.reversed);
        (0..steps).map(move |step| if reversed { steps - 1 - step } else { step })
    }
    /// Where the states before and after a step stand among those of all steps.
    fn around(&self, time: usize) -> [usize; 2] {
        if self.operands.reversed { [time + 1, time] } else { [time, time + 1] }
    }
    /// Does one block take a whole sequence?
    fn is_small(&self) -> bool {
        let few = self.sizes.batch <= FEW * self.cuda.0.multiprocessors;
        few && (1..=SMALL).contains(&self.sizes.hidden) && self.operands.projection.is_none()
    }
    /// Is a step one launch?
    fn is_whole(&self) -> bool {
        self.dtype == DType::F32
            && self.sizes.batch <= WHOLE
            && self.sizes.hidden > 0
            && self.operands.projection.is_none()
    }
    /// Launches a whole step, whose last arguments these are; on the way forward it is told what to keep.
    fn launch_whole(&self, call: Launch, time: usize, keep: Option<bool>) -> Result<(), Fault> {
        let Sizes { batch, hidden, gates, .. } = self.sizes;
        // Rows of 132 numbers: of 32 sequences, and of the weights of four numbers of the hidden state.
        let columns = if keep.is_some() { 4 * (gates / hidden) } else { 4 };
        let shared = 3 * (32 + columns) * 132 * self.dtype.size();
        let call = call.option(self.lengths.as_ref()).long(batch as i64).long(hidden as i64).long(time as i64);
        let call = match keep {
            Some(keep) => call.int(keep as i32),
            None => call,
        };
        call.grid([hidden.div_ceil(4), batch.div_ceil(32), 1], THREADS, shared)
    }
    /// Threads of a block that takes a whole sequence: one for each number of each gate.
    fn threads(&self) -> usize {
        self.sizes.gates.next_multiple_of(32)
    }
    /// Steps, sequences, the size of the hidden state, and the direction: what every kernel of sequences takes last.
    fn launch_sequences(&self, call: Launch) -> Result<(), Fault> {
        let Sizes { steps, batch, hidden, .. } = self.sizes;
        let call = call.long(steps as i64).long(batch as i64).int(hidden as i32).int(self.operands.reversed as i32);
        call.grid([batch, 1, 1], self.threads(), 0)
    }
}

/// Part `index` along the first axis.
fn at(value: &Value, index: usize) -> Result<Value, Fault> {
    let layout = value.layout();
    let start = layout.offset() + index * layout.strides()[0] as usize;
    value.with_layout(Layout::from_parts(Shape::new(&value.dims()[1..])?, &layout.strides()[1..], start))
}

/// A matrix, transposed.
fn turned(value: &Value) -> Result<Value, Fault> {
    value.with_layout(value.layout().permuted(&[1, 0]))
}

impl Cuda {
    /// Row-major, and f32 or f64.
    fn recurrent(self, x: &Value) -> Result<Value, Fault> {
        match x.dtype() {
            DType::F32 | DType::F64 => self.contiguous(x),
            half if half.is_half() => self.contiguous(&self.cast(x, DType::F32)?),
            other => Err(no_recurrence(other)),
        }
    }
}

impl Recur for Cuda {
    fn recur(&self, operands: &Recurring<'_>, keep: bool) -> Result<Recurred, Fault> {
        let dtype = operands.input.dtype();
        let owned = Owned::new(operands, |x| self.recurrent(x))?;
        let run = Run::new(*self, owned.operands(operands))?;
        // What is kept stays wide, so that the way back starts from unrounded numbers.
        run.forward(keep)?.map(|value| self.cast(value, dtype))
    }
    fn recur_gradient(
        &self,
        operands: &Recurring<'_>,
        kept: &[&Value],
        arriving: [&Value; 3],
        wanted: RecurrentWanted,
    ) -> Result<RecurrentGradients, Fault> {
        let dtype = operands.input.dtype();
        let owned = Owned::new(operands, |x| self.recurrent(x))?;
        let run = Run::new(*self, owned.operands(operands))?;
        let [output, hidden, cell] = arriving;
        let arriving = [self.recurrent(output)?, self.recurrent(hidden)?, self.recurrent(cell)?];
        run.backward(kept, arriving.each_ref(), wanted)?.map(|value| self.cast(value, dtype))
    }
}
