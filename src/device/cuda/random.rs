//! Random numbers, with the bits of the CPU: `kernels/random.cu`.

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::copy::Arrange;
use crate::device::random::{
    Draw, Generate, STRETCH, Thinning, check_chance, check_choices, check_integers, check_normal, check_rate,
    check_uniform, no_float, no_weight, threshold, too_few,
};
use crate::device::sort::Sort;
use crate::device::{Value, capture};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const RANDOM: Source = source!("random");

/// `struct Draw` of the kernels: in a captured step, with the address of the number where that changes from replay to replay.
pub(super) fn words(draw: Draw) -> Result<[u64; 3], Fault> {
    Ok(match capture::address_of_draw(draw)? {
        Some(address) => [draw.seed, address, draw.stream as u64 | 1 << 32],
        None => [draw.seed, draw.number, draw.stream as u64],
    })
}

impl Cuda {
    /// Numbers made from a draw, beside which the kernel takes two more.
    fn drawn(self, name: &str, shape: Shape, dtype: DType, draw: Draw, more: [f64; 2]) -> Result<Value, Fault> {
        if !dtype.is_float() {
            return no_float(dtype);
        }
        let out = self.blank(shape, dtype)?;
        let call = self.call(self.kernel(&RANDOM, &format!("{name}_{dtype}"))?).write(&out);
        let call = call.wide(out.count() as i64).block(&words(draw)?);
        call.double(more[0]).double(more[1]).over(out.count())?;
        Ok(out)
    }
}

impl Cuda {
    fn random_kernel(self, name: &str) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&RANDOM, name)?))
    }
    /// Weights that cannot be chosen by are found out at the next read.
    fn weigh(self, weights: &Value, [rows, choices]: [usize; 2], count: usize, replacement: bool) -> Result<(), Fault> {
        let found = self.blank(Shape::new(&[rows])?, DType::I64)?;
        let wanted = if replacement { count.min(1) } else { count };
        let check = self.next_check(&found, move |found, _| match f64::from_bits(found as u64) {
            // The bits of a count are those of a tiny number.
            weight if weight.is_finite() && weight >= 0.0 => too_few(wanted, found as usize),
            weight => no_weight(weight),
        })?;
        let call = self.random_kernel("weigh_f64")?.read(weights).write(&found).long(choices as i64);
        let call = call.long(wanted as i64).write(&check.word).long(check.number);
        call.grid([rows, 1, 1], THREADS, 0)
    }
}

impl Generate for Cuda {
    fn uniform(&self, shape: Shape, dtype: DType, low: f64, high: f64, draw: Draw) -> Result<Value, Fault> {
        check_uniform(dtype, low, high)?;
        self.drawn("uniform", shape, dtype, draw, [low, high])
    }
    fn normal(&self, shape: Shape, dtype: DType, mean: f64, deviation: f64, draw: Draw) -> Result<Value, Fault> {
        check_normal(mean, deviation)?;
        self.drawn("normal", shape, dtype, draw, [mean, deviation])
    }
    fn integers(&self, shape: Shape, low: i64, high: i64, draw: Draw) -> Result<Value, Fault> {
        check_integers(low, high)?;
        let out = self.blank(shape, DType::I64)?;
        let call = self.call(self.kernel(&RANDOM, "integers_i64")?).write(&out).wide(out.count() as i64);
        call.block(&words(draw)?).wide(low).wide(high.wrapping_sub(low)).over(out.count())?;
        Ok(out)
    }
    fn bernoulli(&self, shape: Shape, dtype: DType, chance: f64, draw: Draw) -> Result<Value, Fault> {
        check_chance(chance)?;
        let out = self.blank(shape, DType::U8)?;
        let call = self.call(self.kernel(&RANDOM, "bernoulli_u8")?).write(&out).wide(out.count() as i64);
        call.block(&words(draw)?).wide(threshold(chance) as i64).over(out.count())?;
        self.cast(&out, dtype)
    }
    fn bernoulli_of(&self, chances: &Value, draw: Draw) -> Result<Value, Fault> {
        let dtype = chances.dtype();
        if !dtype.is_float() {
            return no_float(dtype);
        }
        let chances = self.contiguous(&self.cast(chances, DType::F64)?)?;
        // Whether these are chances is found out at the next read.
        let explain =
            |bits: i64, _| check_chance(f64::from_bits(bits as u64)).err().unwrap_or_else(|| Fault::defect("a chance"));
        let check = self.next_check(&chances, explain)?;
        let out = self.blank(*chances.shape(), DType::U8)?;
        let call = self.call(self.kernel(&RANDOM, "bernoulli_of_f64")?).read(&chances).write(&out);
        let call = call.wide(out.count() as i64).block(&words(draw)?).write(&check.word).long(check.number);
        call.over(out.count())?;
        self.cast(&out, dtype)
    }
    fn poisson(&self, rates: &Value, draw: Draw) -> Result<Value, Fault> {
        let dtype = rates.dtype();
        if !dtype.is_float() {
            return no_float(dtype);
        }
        let rates = self.contiguous(&self.cast(rates, DType::F64)?)?;
        // Whether these are rates is found out at the next read.
        let explain =
            |bits: i64, _| check_rate(f64::from_bits(bits as u64)).err().unwrap_or_else(|| Fault::defect("a rate"));
        let check = self.next_check(&rates, explain)?;
        let out = self.blank(*rates.shape(), DType::F64)?;
        let call = self.random_kernel("poisson_f64")?.read(&rates).write(&out).wide(out.count() as i64);
        call.block(&words(draw)?).write(&check.word).long(check.number).over(out.count())?;
        self.cast(&out, dtype)
    }
    fn thin(&self, x: &Value, thinning: Thinning, draw: Draw) -> Result<Value, Fault> {
        let Thinning { rate, group, scale, shift, dropped } = thinning;
        check_chance(rate)?;
        if !x.dtype().is_float() {
            return no_float(x.dtype());
        }
        let (x, out) = (self.contiguous(x)?, self.blank(*x.shape(), x.dtype())?);
        let call = self.call(self.kernel(&RANDOM, &format!("thin_{}", x.dtype()))?).read(&x).write(&out);
        // Only neighbours that share a draw are found by dividing.
        let call = if group > 1 { call.long(x.count() as i64) } else { call.wide(x.count() as i64) };
        let call = call.block(&words(draw)?).wide(threshold(rate) as i64).long(group as i64);
        call.double(scale).double(shift).double(dropped).over(x.count())?;
        Ok(out)
    }
    fn permutation(&self, count: usize, draw: Draw) -> Result<Value, Fault> {
        let keys = self.blank(Shape::new(&[count])?, DType::I64)?;
        let call = self.random_kernel("keys_i64")?.write(&keys).long(count as i64);
        call.block(&words(draw)?).over(count)?;
        self.argsort(&keys, 0, false)
    }
    fn multinomial(&self, weights: &Value, count: usize, replacement: bool, draw: Draw) -> Result<Value, Fault> {
        let (choices, rows) = check_choices(weights, count)?;
        let shape = Shape::new(&[rows, &[count]].concat())?;
        let rows = rows.iter().product::<usize>();
        let weights = self.contiguous(&self.cast(weights, DType::F64)?)?;
        self.weigh(&weights, [rows, choices], count, replacement)?;
        if !replacement {
            // Each choice waits for a time with rate `weight`; the first to come are taken, in their order.
            let times = self.blank(*weights.shape(), DType::F64)?;
            let call = self.random_kernel("waiting_f64")?.read(&weights).write(&times).long(times.count() as i64);
            call.block(&words(draw)?).over(times.count())?;
            return Ok(self.topk(&times, count.min(choices), weights.rank() - 1, false)?.1);
        }
        // Where a uniform number falls among the sums of the weights.
        let (out, stretches) = (self.blank(shape, DType::I64)?, choices.div_ceil(STRETCH));
        let sums = self.blank(Shape::new(&[rows, stretches + 1])?, DType::F64)?;
        let call = self.random_kernel("stretches_f64")?.read(&weights).write(&sums).long(rows as i64);
        call.long(choices as i64).long(stretches as i64).over(rows * stretches)?;
        let call = self.random_kernel("stretches_before_f64")?.write(&sums).long(rows as i64);
        call.long(stretches as i64).over(rows)?;
        let call = self.random_kernel("choose_f64")?.read(&weights).read(&sums).write(&out).long(out.count() as i64);
        let call = call.long(count as i64).long(choices as i64).long(stretches as i64);
        call.block(&words(draw)?).over(out.count())?;
        Ok(out)
    }
}
