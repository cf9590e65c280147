//! Whole rows become rows: `kernels/rows.cu`.

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use super::reduce::{STATE, Shares};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::reduce::floats;
use crate::device::rows::{Rows, Softmax, Standard, Standardized, ThreeGradients};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const ROWS: Source = source!("rows");

/// What weights and statistics stand in beside numbers of a type.
pub(super) fn beside(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Rows along one axis: numbers of a row, and what lies between two of them.
fn along(x: &Value, axis: usize) -> (usize, usize) {
    let sizes = x.dims();
    (sizes.get(axis).copied().unwrap_or(1), sizes.iter().skip(axis + 1).product())
}

/// How weights lie along rows: each for `run` neighbours, `width` of them in all, `runs` of them in a row.
struct Weights {
    run: usize,
    width: usize,
    runs: usize,
    by_channel: bool,
}

impl Cuda {
    /// Rows, each folded and written by the same threads.
    pub(super) fn rows(self, results: usize, length: usize, adjacent: bool) -> Shares {
        let lanes = if adjacent { (length.next_power_of_two() / 8).clamp(1, THREADS) } else { 8 };
        Shares { results, length, pieces: 1, lanes, adjacent }
    }
    /// The same of rows of `x`: a lane has two words of 16 bytes of dense ones.
    fn rows_of(self, x: &Value, length: usize, adjacent: bool) -> Shares {
        let shares = self.rows(x.count().checked_div(length).unwrap_or(0), length, adjacent);
        match adjacent && x.dtype().is_half() {
            true => Shares { lanes: (length.next_power_of_two() / 16).clamp(1, THREADS), ..shares },
            false => shares,
        }
    }
    fn row_kernel(self, name: &str, x: &Value) -> Result<Launch, Fault> {
        floats(x, name.split('_').next().unwrap_or(name))?;
        Ok(self.call(self.kernel(&ROWS, &format!("{name}_{}", x.dtype()))?))
    }
    /// Dense, in the type that weights have beside `x`.
    fn weights(self, given: Option<&Value>, x: &Value) -> Result<Option<Value>, Fault> {
        given.map(|given| self.contiguous(&self.cast(given, beside(x.dtype()))?)).transpose()
    }
    /// Σ g and Σ g x̂ for each weight: as gradients of weight and bias where they are wanted, and, where `sums` are, in f64.
    fn weight_sums(
        self,
        x: &Value,
        (means, scales): (&Value, &Value),
        g: &Value,
        how: Weights,
        (wanted, sums): ([bool; 2], bool),
    ) -> Result<([Option<Value>; 2], Option<Value>), Fault> {
        let Weights { run, width, runs, by_channel } = how;
        let length = x.count().checked_div(width).unwrap_or(0);
        let shares = self.pieces(Shares { adjacent: run > 1, ..self.rows(width, length, run > 1) });
        let room = |wanted: bool, count: usize, dtype: DType| match wanted {
            true => self.blank(Shape::new(&[count])?, dtype).map(Some),
            false => Ok(None),
        };
        let weight = room(wanted[0], width, x.dtype())?;
        let bias = room(wanted[1], width, x.dtype())?;
        let sums = room(sums, 2 * width, DType::F64)?;
        let parts = room(shares.pieces > 1, width * shares.pieces * STATE, DType::U8)?;
        let launch = |name: &str, shares: Shares, pieces: usize| {
            let call = self.row_kernel(name, x)?.read(x).read(means).read(scales).read(g);
            let call = call.option(weight.as_ref()).option(bias.as_ref()).option(sums.as_ref()).option(parts.as_ref());
            let call = call.rows(&shares).long(run as i64).long(width as i64).long(runs as i64);
            call.int(by_channel as i32).grid([shares.blocks(), pieces, 1], THREADS, 0)
        };
        launch("weight_sums", shares, shares.pieces)?;
        if parts.is_some() {
            launch("weight_sums_join", shares.joined(), 1)?;
        }
        Ok(([weight, bias], sums))
    }
}

impl Rows for Cuda {
    fn softmax(&self, x: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
        let (x, out) = (self.contiguous(x)?, self.blank(*x.shape(), x.dtype())?);
        let (length, inner) = along(&x, axis);
        let shares = self.rows_of(&x, length, inner == 1);
        let call = self.row_kernel("softmax", &x)?.read(&x).write(&out).rows(&shares).long(inner as i64);
        call.int((form == Softmax::Logarithm) as i32).grid([shares.blocks(), 1, 1], THREADS, 0)?;
        Ok(out)
    }
    fn softmax_gradient(&self, y: &Value, g: &Value, axis: usize, form: Softmax) -> Result<Value, Fault> {
        let (y, g) = (self.contiguous(y)?, self.contiguous(&self.cast(g, y.dtype())?)?);
        let out = self.blank(*y.shape(), y.dtype())?;
        let (length, inner) = along(&y, axis);
        let shares = self.rows_of(&y, length, inner == 1);
        let call = self.row_kernel("softmax_gradient", &y)?.read(&y).read(&g).write(&out);
        let call = call.rows(&shares).long(inner as i64).int((form == Softmax::Logarithm) as i32);
        call.grid([shares.blocks(), 1, 1], THREADS, 0)?;
        Ok(out)
    }
    fn standardize(
        &self,
        x: &Value,
        weight: Option<&Value>,
        bias: Option<&Value>,
        standard: Standard,
    ) -> Result<Standardized, Fault> {
        let Standard { center, length, run, groups, epsilon } = standard;
        let x = self.contiguous(x)?;
        let (weight, bias) = (self.weights(weight, &x)?, self.weights(bias, &x)?);
        let count = x.count().checked_div(length).unwrap_or(0);
        let output = self.blank(*x.shape(), x.dtype())?;
        let statistics = || self.blank(Shape::new(&[count])?, beside(x.dtype()));
        let (mean, scale) = (statistics()?, statistics()?);
        let shares = self.rows_of(&x, length, true);
        let call = self.row_kernel("standardize", &x)?.read(&x).option(weight.as_ref()).option(bias.as_ref());
        let call = call.write(&output).write(&mean).write(&scale).rows(&shares).long(run as i64);
        let call = call.long(groups as i64).int(center as i32).double(epsilon);
        call.grid([shares.blocks(), 1, 1], THREADS, 0)?;
        Ok(Standardized { output, mean, scale })
    }
    fn standardize_gradient(
        &self,
        x: &Value,
        weight: Option<&Value>,
        (mean, scale): (&Value, &Value),
        g: &Value,
        standard: Standard,
        [input, for_weight, for_bias]: [bool; 3],
    ) -> Result<ThreeGradients, Fault> {
        let Standard { center, length, run, groups, .. } = standard;
        let (x, weight) = (self.contiguous(x)?, self.weights(weight, x)?);
        let g = self.contiguous(&self.cast(g, x.dtype())?)?;
        let runs = length.checked_div(run).unwrap_or(0);
        let input = match input {
            false => None,
            true => {
                let out = self.blank(*x.shape(), x.dtype())?;
                let shares = self.rows_of(&x, length, true);
                let call = self.row_kernel("standardize_gradient", &x)?.read(&x).option(weight.as_ref());
                let call = call.read(mean).read(scale).read(&g).write(&out).rows(&shares);
                let call = call.long(run as i64).long(groups as i64).int(center as i32);
                call.grid([shares.blocks(), 1, 1], THREADS, 0)?;
                Some(out)
            }
        };
        let how = Weights { run, width: groups * runs, runs, by_channel: false };
        let [weight, bias] = match for_weight || for_bias {
            true => self.weight_sums(&x, (mean, scale), &g, how, ([for_weight, for_bias], false))?.0,
            false => [None, None],
        };
        Ok([input, weight, bias])
    }
    fn normalize_channels(
        &self,
        x: &Value,
        statistics: (&Value, &Value),
        weight: Option<&Value>,
        bias: Option<&Value>,
    ) -> Result<Value, Fault> {
        let (x, [mean, scale]) = (self.contiguous(x)?, self.statistics(statistics, x)?);
        let (weight, bias) = (self.weights(weight, &x)?, self.weights(bias, &x)?);
        let (channels, inner) = along(&x, 1);
        let out = self.blank(*x.shape(), x.dtype())?;
        let call = self.row_kernel("normalize_channels", &x)?.read(&x).read(&mean).read(&scale);
        let call = call.option(weight.as_ref()).option(bias.as_ref()).write(&out);
        call.long(x.count() as i64).long(channels as i64).long(inner as i64).over(x.count())?;
        Ok(out)
    }
    fn normalize_channels_gradient(
        &self,
        x: &Value,
        statistics: (&Value, &Value),
        weight: Option<&Value>,
        g: &Value,
        batch: bool,
        [input, for_weight, for_bias]: [bool; 3],
    ) -> Result<ThreeGradients, Fault> {
        let (x, [mean, scale]) = (self.contiguous(x)?, self.statistics(statistics, x)?);
        let (weight, g) = (self.weights(weight, &x)?, self.contiguous(&self.cast(g, x.dtype())?)?);
        let (channels, inner) = along(&x, 1);
        let how = Weights { run: inner, width: channels, runs: channels, by_channel: true };
        let sums = input && batch;
        let ([for_weight, for_bias], sums) = match for_weight || for_bias || sums {
            true => self.weight_sums(&x, (&mean, &scale), &g, how, ([for_weight, for_bias], sums))?,
            false => ([None, None], None),
        };
        let input = match input {
            false => None,
            true => {
                let out = self.blank(*x.shape(), x.dtype())?;
                let call = self.row_kernel("channels_gradient", &x)?.read(&x).read(&mean).read(&scale);
                let call = call.option(weight.as_ref()).read(&g).option(sums.as_ref()).write(&out);
                let call = call.long(x.count() as i64).long(channels as i64).long(inner as i64);
                call.int(batch as i32).over(x.count())?;
                Some(out)
            }
        };
        Ok([input, for_weight, for_bias])
    }
}

impl Cuda {
    /// Mean and scale, dense, in the type that they have beside `x`.
    fn statistics(self, (mean, scale): (&Value, &Value), x: &Value) -> Result<[Value; 2], Fault> {
        let ready = |given: &Value| self.contiguous(&self.cast(given, beside(x.dtype()))?);
        Ok([ready(mean)?, ready(scale)?])
    }
}
