//! Scores against class numbers: `kernels/cross_entropy.cu`.

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use super::rows::beside;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cross_entropy::{Classes, CrossEntropy, Entropies, Reduction, out_of_range};
use crate::device::reduce::{Reduce, floats};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const ENTROPY: Source = source!("cross_entropy");

/// Operands as the kernels take them.
struct Ready {
    x: Value,
    classes: Value,
    weights: Option<Value>,
    /// The mean of the weights, f64.
    even: Option<Value>,
    inner: usize,
}

impl Cuda {
    fn ready(self, x: &Value, target: &Value, weights: Option<&Value>, how: &Classes) -> Result<Ready, Fault> {
        floats(x, "a cross entropy")?;
        let dense = |value: &Value, dtype: DType| self.contiguous(&self.cast(value, dtype)?);
        let weights = weights.map(|weights| dense(weights, beside(x.dtype()))).transpose()?;
        let even = match &weights {
            Some(weights) => Some(self.mean(&self.cast(weights, DType::F64)?, &[0], false)?),
            None => None,
        };
        let inner = x.dims().iter().skip(how.axis + 1).product();
        Ok(Ready { x: self.contiguous(x)?, classes: dense(target, DType::I64)?, weights, even, inner })
    }
    fn entropy_kernel(self, name: &str, x: &Value) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&ENTROPY, &format!("{name}_{}", x.dtype()))?))
    }
}

impl CrossEntropy for Cuda {
    fn cross_entropy(
        &self,
        x: &Value,
        target: &Value,
        weights: Option<&Value>,
        how: Classes,
    ) -> Result<Entropies, Fault> {
        let Ready { x, classes, weights, even, inner } = self.ready(x, target, weights, &how)?;
        let (rows, count) = (classes.count(), x.dims()[how.axis]);
        let list = Shape::new(&[rows])?;
        let (losses, counts) = (self.blank(list, DType::F64)?, self.blank(list, DType::F64)?);
        let (greatest, scale) = (self.blank(list, beside(x.dtype()))?, self.blank(list, beside(x.dtype()))?);
        let (dims, ignored) = (*classes.shape(), how.ignored);
        let explain = move |class, place| out_of_range(&dims, place, class, count, ignored);
        let check = self.next_check(&classes, explain)?;
        // What is made after the check is wrong if it finds something.
        let each = match how.reduction {
            Reduction::None => Some(self.blank(*classes.shape(), x.dtype())?),
            _ => None,
        };
        let shares = self.rows(rows, count, inner == 1);
        let call = self.entropy_kernel("cross_entropy", &x)?.read(&x).read(&classes).option(weights.as_ref());
        let call = call.option(even.as_ref()).write(&losses).write(&counts).option(each.as_ref());
        let call = call.write(&greatest).write(&scale).write(&check.word).rows(&shares).long(inner as i64);
        let call = call.int(how.logarithms as i32).double(how.smoothing).int(ignored.is_some() as i32);
        let call = call.wide(ignored.unwrap_or(0)).long(check.number);
        call.grid([shares.blocks(), 1, 1], THREADS, 0)?;

        let single = Shape::new(&[])?;
        let (total, output) = (self.blank(single, DType::F64)?, self.blank(single, x.dtype())?);
        let call = self.entropy_kernel("cross_entropy_total", &x)?.read(&losses).read(&counts).write(&total);
        let call = call.write(&output).long(rows as i64).int((how.reduction == Reduction::Mean) as i32);
        call.grid([1, 1, 1], THREADS, 0)?;
        Ok(Entropies { output: each.unwrap_or(output), greatest, scale, total })
    }

    fn cross_entropy_gradient(
        &self,
        x: &Value,
        target: &Value,
        weights: Option<&Value>,
        g: &Value,
        [greatest, scale, total]: [&Value; 3],
        how: Classes,
    ) -> Result<Value, Fault> {
        let Ready { x, classes, weights, even, inner } = self.ready(x, target, weights, &how)?;
        let g = self.contiguous(&self.cast(g, x.dtype())?)?;
        let out = self.blank(*x.shape(), x.dtype())?;
        let shares = self.rows(classes.count(), x.dims()[how.axis], inner == 1);
        let reduction = match how.reduction {
            Reduction::Mean => 0,
            Reduction::Sum => 1,
            Reduction::None => 2,
        };
        let call = self.entropy_kernel("cross_entropy_gradient", &x)?.read(&x).read(&classes);
        let call = call.option(weights.as_ref()).option(even.as_ref()).read(&g).read(greatest).read(scale).read(total);
        let call = call.write(&out).rows(&shares).long(inner as i64).double(how.smoothing);
        let call = call.int(how.ignored.is_some() as i32).wide(how.ignored.unwrap_or(0)).int(reduction);
        call.grid([shares.blocks(), 1, 1], THREADS, 0)?;
        Ok(out)
    }
}
