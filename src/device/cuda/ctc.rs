//! Connectionist temporal classification: `kernels/ctc.cu`.

use super::Cuda;
use super::lacking::lacks;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::ctc::{Alignment, Alignments, Ctc, bad_length, bad_symbol};
use crate::device::reduce::floats;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const CTC: Source = source!("ctc");

/// Positions whose sums a block has in shared memory.
const SHARED: usize = 1024;

impl Cuda {
    fn ctc_kernel(self, name: &str, x: &Value) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&CTC, &format!("{name}_{}", x.dtype()))?))
    }
    /// Lengths of inputs, lengths of targets and symbols one after another, i64: so one check is for all of them.
    fn numbers(self, targets: &Value, (inputs, counts): (&Value, &Value)) -> Result<Value, Fault> {
        let line = |numbers: &Value| {
            let dense = self.contiguous(&self.cast(numbers, DType::I64)?)?;
            let layout = Layout::from_parts(Shape::new(&[dense.count()])?, &[1], dense.layout().offset());
            dense.with_layout(layout)
        };
        self.join(&[&line(inputs)?, &line(counts)?, &line(targets)?], 0)
    }
}

impl Ctc for Cuda {
    fn ctc(
        &self,
        x: &Value,
        targets: &Value,
        lengths: (&Value, &Value),
        how: Alignment,
        slopes: bool,
    ) -> Result<Alignments, Fault> {
        floats(x, "ctc_loss")?;
        let [steps, batch, classes] = [x.dims()[0], x.dims()[1], x.dims()[2]];
        let width = targets.dims()[1];
        if [steps * batch, width].iter().any(|&count| count > i32::MAX as usize) {
            return Err(lacks("a CTC loss of more than 2^31 steps or symbols"));
        }
        let (x, numbers) = (self.contiguous(x)?, self.numbers(targets, lengths)?);
        let check = self.next_check(&numbers, move |number, place| match place {
            input if input < batch => bad_length("input", input, number, steps),
            target if target < 2 * batch => bad_length("target", target - batch, number, width),
            symbol => {
                let place = symbol - 2 * batch;
                bad_symbol([place / width.max(1), place % width.max(1)], number, classes, how.blank)
            }
        })?;
        let positions = 2 * width + 1;
        let losses = self.blank(Shape::new(&[batch])?, x.dtype())?;
        let list = |wanted: bool, sizes: &[usize], dtype: DType| match wanted {
            true => Ok::<_, Fault>(Some(self.blank(Shape::new(sizes)?, dtype)?)),
            false => Ok(None),
        };
        let chances = list(slopes, &[batch, steps, positions], DType::F64)?;
        let next = list(slopes, &[batch, width], DType::I32)?;
        let spare = list(positions > SHARED, &[batch, 3, positions], DType::F64)?;
        let sizes = |call: Launch| {
            let call = call.long(steps as i64).long(batch as i64).long(classes as i64).long(width as i64);
            call.long(how.blank as i64)
        };
        let call = self.ctc_kernel("ctc", &x)?.read(&x).read(&numbers).write(&losses).option(chances.as_ref());
        let call = call.option(next.as_ref()).option(spare.as_ref()).write(&check.word).long(check.number);
        let threads = positions.next_multiple_of(32).min(THREADS);
        sizes(call).int(how.zero_infinity as i32).grid([batch, 1, 1], threads, 0)?;

        let slopes = match (chances, next) {
            (Some(chances), Some(next)) => {
                let slopes = self.full(*x.shape(), x.dtype(), 0.0)?;
                let call = self.ctc_kernel("ctc_slopes", &x)?.read(&chances).read(&numbers).read(&next);
                let call = sizes(call.write(&slopes));
                call.grid([(steps * batch).div_ceil(THREADS / 32).min(65_536), 1, 1], THREADS, 0)?;
                Some(slopes)
            }
            _ => None,
        };
        Ok(Alignments { losses, slopes })
    }
}
