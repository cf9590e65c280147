//! Random numbers, with the bits of the CPU: `kernels/random.cu`.

use super::Cuda;
use super::lacking::lacking;
use super::module::Source;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::random::{
    Draw, Generate, Thinning, check_chance, check_integers, check_normal, check_uniform, no_float, threshold,
};
use crate::error::Fault;
use crate::layout::{DType, Shape};

const RANDOM: Source = Source { name: "random", text: include_str!("../../../kernels/ptx/random.ptx") };

/// `struct Draw` of the kernels.
pub(super) fn words(draw: Draw) -> [u64; 3] {
    [draw.seed, draw.number, draw.stream as u64]
}

impl Cuda {
    /// Numbers made from a draw, beside which the kernel takes two more.
    fn drawn(self, name: &str, shape: Shape, dtype: DType, draw: Draw, more: [f64; 2]) -> Result<Value, Fault> {
        if !dtype.is_float() {
            return no_float(dtype);
        }
        let out = self.blank(shape, dtype)?;
        let call = self.call(self.kernel(&RANDOM, &format!("{name}_{dtype}"))?).write(&out);
        let call = call.long(out.count() as i64).block(&words(draw));
        call.double(more[0]).double(more[1]).over(out.count())?;
        Ok(out)
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
        let call = self.call(self.kernel(&RANDOM, "integers_i64")?).write(&out).long(out.count() as i64);
        call.block(&words(draw)).long(low).long(high.wrapping_sub(low)).over(out.count())?;
        Ok(out)
    }
    fn bernoulli(&self, shape: Shape, dtype: DType, chance: f64, draw: Draw) -> Result<Value, Fault> {
        check_chance(chance)?;
        let out = self.blank(shape, DType::U8)?;
        let call = self.call(self.kernel(&RANDOM, "bernoulli_u8")?).write(&out).long(out.count() as i64);
        call.block(&words(draw)).long(threshold(chance) as i64).over(out.count())?;
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
        let (word, check) = self.next_check(&chances, explain)?;
        let out = self.blank(*chances.shape(), DType::U8)?;
        let call = self.call(self.kernel(&RANDOM, "bernoulli_of_f64")?).read(&chances).write(&out);
        let call = call.long(out.count() as i64).block(&words(draw)).write(&word).long(check as i64);
        call.over(out.count())?;
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
        let call = call.long(x.count() as i64).block(&words(draw)).long(threshold(rate) as i64).long(group as i64);
        call.double(scale).double(shift).double(dropped).over(x.count())?;
        Ok(out)
    }
    lacking! {
        permutation(usize, Draw) -> Value;
        multinomial(&Value, usize, bool, Draw) -> Value;
    }
}
