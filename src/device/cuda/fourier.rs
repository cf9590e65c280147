//! Fourier transforms as products with matrices of cosines and sines, by kernels that are there.
//!
//! A short length is one product. A longer one, `n = a · b`, is `b` transforms of length `a`, a turn of each number, and `a` of length
//! `b`, each of these done the same way. A long prime goes by a convolution, for which transforms of a power of two are there.

use super::Cuda;
use super::lacking::lacks;
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::fourier::{Form, Fourier, Transform, no_spectrum};
use crate::device::matmul::{Joined, Matmul};
use crate::device::scan::Scan;
use crate::device::{Device, MatmulPrecision, Value, with_matmul_precision};
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Layout, Shape};
use std::f64::consts::{FRAC_PI_2, TAU};

/// Up to this length a transform is one product.
const SHORT: usize = 64;
/// Up to this length it is one where the length is a prime.
const PRIME: usize = 128;
/// No longer ones: places are counted in f32, and exactly.
const LONGEST: usize = 1 << 24;

// Counts are from 1. Parts are 1 for real, 2 for imaginary: multiplying by i is a quarter of a turn.
formula_struct!([] WaveFormula wave(j, k, from, to)(turn, n) {
    cos(fmod((j - 1.0) * (k - 1.0), n) / n * turn - (to - from) * FRAC_PI_2)
});
formula_struct!([] ProductFormula product(real, imaginary, of_real, of_imaginary)() {
    real * of_real + imaginary * of_imaginary
});
formula_struct!([] WeighFormula weigh(x, k)(scale, last, twice) {
    select(gt(k, 1.5) & lt((k - 1.0) * 2.0, last), x * scale * twice, x * scale)
});

impl Fourier for Cuda {
    fn transform(&self, x: &Value, how: &Transform) -> Result<Value, Fault> {
        let dtype = x.dtype();
        if !dtype.is_float() {
            return Err(no_spectrum(dtype));
        }
        if dtype.is_half() {
            return self.cast(&self.transform(&self.cast(x, DType::F32)?, how)?, dtype);
        }
        let walk = how.plan(x)?;
        if how.length > LONGEST {
            return Err(lacks("a Fourier transform of more than 2^24 numbers"));
        }
        if walk.shape.count() == 0 {
            return self.blank(walk.shape, dtype);
        }
        // The axis goes to the end, and back.
        let pairs = |is_there: bool| if is_there { &[2][..] } else { &[] };
        let [given, made] = match how.form {
            Form::Forward | Form::Back => [how.length; 2],
            Form::Half => [how.length, how.half()],
            Form::Real => [how.half(), how.length],
        };
        let rows = walk.outer * walk.inner;
        let (from, to) = (pairs(how.form != Form::Half), pairs(how.form != Form::Real));
        let x = self.turned(x, &[&[walk.outer, given, walk.inner], from].concat())?;
        let x = shaped(&x, &[&[rows, given], from].concat())?;
        let result = with_matmul_precision(MatmulPrecision::Exact, || self.rows_transformed(&x, how))?;
        let result = self.turned(&result, &[&[walk.outer, walk.inner, made], to].concat())?;
        result.with_layout(Layout::contiguous(walk.shape))
    }
}

/// A dense value in other sizes.
fn shaped(x: &Value, sizes: &[usize]) -> Result<Value, Fault> {
    x.with_layout(Layout::from_parts(Shape::new(sizes)?, Layout::contiguous(Shape::new(sizes)?).strides(), offset(x)))
}

fn offset(x: &Value) -> usize {
    x.layout().offset()
}

/// A part of a value's elements, by sizes and steps from its first one on.
fn part(x: &Value, sizes: &[usize], steps: &[isize], from: usize) -> Result<Value, Fault> {
    x.with_layout(Layout::from_parts(Shape::new(sizes)?, steps, offset(x) + from))
}

impl Cuda {
    /// The elements in these sizes with the second and the third of them exchanged, dense.
    fn turned(self, x: &Value, sizes: &[usize]) -> Result<Value, Fault> {
        let dense = shaped(&self.contiguous(x)?, sizes)?;
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.swap(1, 2);
        self.contiguous(&dense.with_layout(dense.layout().permuted(&order))?)
    }
    /// A transform of each row of `[rows, n]` or `[rows, n, 2]`.
    fn rows_transformed(self, x: &Value, how: &Transform) -> Result<Value, Fault> {
        let (rows, n, half) = (x.dims()[0], how.length, how.half());
        let is_direct = n <= SHORT || n <= PRIME && split(n).is_none();
        match how.form {
            Form::Forward | Form::Back => {
                let result = self.complex(x, how.form == Form::Back)?;
                if how.scale == 1.0 { Ok(result) } else { self.weighed(&result, how, false) }
            }
            Form::Half if is_direct => {
                let result = self.product(x, [n, 1], [half, 2], n, false)?;
                self.weighed(&result, how, how.twice)
            }
            Form::Half => {
                let pairs = self.among_zeros(&shaped(x, &[rows, n, 1])?, n)?;
                let result = self.complex(&pairs, false)?;
                let [line, pair] = [2 * n as isize, 2];
                self.weighed(&part(&result, &[rows, half, 2], &[line, pair, 1], 0)?, how, how.twice)
            }
            Form::Real => {
                let spectrum = self.weighed(x, how, how.twice)?;
                if is_direct {
                    return self.product(&spectrum, [half, 2], [n, 1], n, true);
                }
                let result = self.complex(&self.among_zeros(&spectrum, n)?, true)?;
                self.contiguous(&part(&result, &[rows, n], &[2 * n as isize, 2], 0)?)
            }
        }
    }
    /// Transforms of pairs `[rows, n, 2]`, dense, not scaled.
    fn complex(self, x: &Value, back: bool) -> Result<Value, Fault> {
        let (rows, n) = (x.dims()[0], x.dims()[1]);
        let Some([a, b]) = split(n).filter(|_| n > SHORT) else {
            return match n <= PRIME {
                true => self.product(x, [n, 2], [n, 2], n, back),
                false => self.convolved(x, back),
            };
        };
        // Number a' b + b' of a row is number a' of transform b'.
        let first = shaped(&self.turned(x, &[rows, a, b, 2])?, &[rows * b, a, 2])?;
        let first = shaped(&self.complex(&first, back)?, &[rows, b, a, 2])?;
        let turns = self.waves([b, a], n, back, x.dtype())?;
        let second = self.turned(&self.times(&first, &turns)?, &[rows, b, a, 2])?;
        let second = self.complex(&shaped(&second, &[rows * a, b, 2])?, back)?;
        shaped(&self.turned(&second, &[rows, a, b, 2])?, &[rows, n, 2])
    }
    /// Rows times the matrix from `[numbers, parts]` to `[numbers, parts]`, where one part is the real one alone.
    fn product(self, x: &Value, from: [usize; 2], to: [usize; 2], n: usize, back: bool) -> Result<Value, Fault> {
        let rows = x.dims()[0];
        let matrix = self.wave([from[0], from[1], to[0], to[1]], [[0, 2], [1, 3]], n, back)?;
        let matrix = shaped(&self.cast(&matrix, x.dtype())?, &[from[0] * from[1], to[0] * to[1]])?;
        let x = shaped(&self.contiguous(x)?, &[rows, from[0] * from[1]])?;
        let result = self.matmul(&x, &matrix, Joined::default())?;
        if to[1] == 2 { shaped(&result, &[rows, to[0], 2]) } else { Ok(result) }
    }
    /// Waves `e^(±2πi jk / n)` over axes of these sizes: which of them count j and k, and which say of what part it is what part.
    fn wave(self, sizes: [usize; 4], axes: [[usize; 2]; 2], n: usize, back: bool) -> Result<Value, Fault> {
        let count = |axis: usize| {
            let mut shape = [1; 4];
            shape[axis] = sizes[axis];
            shaped(&self.count(sizes[axis], DType::F64)?, &shape)
        };
        let [[j, k], [from, to]] = axes;
        let turn = if back { TAU } else { -TAU };
        self.formula(&WaveFormula { turn, n: n as f64 }, [&count(j)?, &count(k)?, &count(from)?, &count(to)?])
    }
    /// What real parts and what imaginary parts are multiplied with to turn number `[j, k]` by `jk / n`: `[j, k, 2]` each.
    fn waves(self, [j, k]: [usize; 2], n: usize, back: bool, dtype: DType) -> Result<[Value; 2], Fault> {
        let both = self.cast(&self.wave([2, j, k, 2], [[1, 2], [0, 3]], n, back)?, dtype)?;
        halves(&both, &[j, k, 2])
    }
    /// From 1 to `size`.
    fn count(self, size: usize, dtype: DType) -> Result<Value, Fault> {
        let ones = Value::full_on(Device::Cuda(self), Shape::new(&[size])?, DType::F64, 1.0)?;
        self.cast(&self.cumulative_sum(&ones, 0, false)?, dtype)
    }
    /// Pairs times pairs, whose parts are given as [`waves`](Cuda::waves) gives them.
    fn times(self, x: &Value, [of_real, of_imaginary]: &[Value; 2]) -> Result<Value, Fault> {
        let (rank, sizes) = (x.rank(), &x.dims()[..x.rank() - 1]);
        let parts = |which: usize| part(x, &[sizes, &[1]].concat(), &x.layout().strides()[..rank], which);
        self.formula(&ProductFormula {}, [&parts(0)?, &parts(1)?, of_real, of_imaginary])
    }
    /// Pairs `[rows, k, 2]` times the scale, those that stand for two twice where that is wanted.
    fn weighed(self, x: &Value, how: &Transform, twice: bool) -> Result<Value, Fault> {
        let k = shaped(&self.count(x.dims()[1], x.dtype())?, &[x.dims()[1], 1])?;
        let (last, twice) = (how.length as f64, if twice { 2.0 } else { 1.0 });
        self.formula(&WeighFormula { scale: how.scale, last, twice }, [x, &k])
    }
    /// `[rows, k, parts]` at the beginning of `[rows, n, 2]`, zeros elsewhere.
    fn among_zeros(self, x: &Value, n: usize) -> Result<Value, Fault> {
        let place = Layout::from_parts(*x.shape(), &[2 * n as isize, 2, 1], 0);
        self.place(x, Shape::new(&[x.dims()[0], n, 2])?, &place, 0.0)
    }
    /// Transforms by way of a convolution with a chirp, `2jk = j² + k² - (k - j)²`.
    fn convolved(self, x: &Value, back: bool) -> Result<Value, Fault> {
        let (rows, n, dtype) = (x.dims()[0], x.dims()[1], x.dtype());
        let longer = (2 * n - 1).next_power_of_two();
        // j² / 2n turns, of a real and of an imaginary number.
        let chirp = |back: bool| {
            let squares = self.count(n, DType::F64)?;
            let [squares, parts] = [shaped(&squares, &[1, n, 1])?, self.count(2, DType::F64)?];
            let turn = if back { TAU } else { -TAU };
            let [from, to] = [shaped(&parts, &[2, 1, 1])?, shaped(&parts, &[1, 1, 2])?];
            self.formula(&WaveFormula { turn, n: 2.0 * n as f64 }, [&squares, &squares, &from, &to])
        };
        let turns = halves(&self.cast(&chirp(back)?, dtype)?, &[n, 2])?;
        // The other chirp, from zero on to both sides.
        let (other, whole) = (chirp(!back)?, 2 * longer);
        let impulse = self.among_zeros(&other, longer)?;
        let mirrored = Shape::new(&[2, n - 1, 2])?;
        let places = Layout::from_parts(mirrored, &[whole as isize, -2, 1], whole - 2);
        let others = part(&other, &mirrored, &[2 * n as isize, 2, 1], 2)?;
        let impulse = self.replace(&impulse, &[(places, &others)])?;
        let filter = halves(&self.cast(&self.complex(&impulse, false)?, dtype)?, &[longer, 2])?;
        let spectrum = self.complex(&self.among_zeros(&self.times(x, &turns)?, longer)?, false)?;
        let result = self.complex(&self.times(&spectrum, &filter)?, true)?;
        let result = part(&result, &[rows, n, 2], &[whole as isize, 2, 1], 0)?;
        let result = self.times(&result, &turns)?;
        let how = Transform { form: Form::Back, axis: 0, length: n, scale: 1.0 / longer as f64, twice: false };
        self.weighed(&result, &how, false)
    }
}

/// The halves of a dense value, each of these sizes.
fn halves(both: &Value, sizes: &[usize]) -> Result<[Value; 2], Fault> {
    let half = both.count() / 2;
    let strides = Layout::contiguous(Shape::new(sizes)?);
    Ok([part(both, sizes, strides.strides(), 0)?, part(both, sizes, strides.strides(), half)?])
}

/// A length as a product of two whole numbers that are as near to each other as can be; none of a prime.
fn split(n: usize) -> Option<[usize; 2]> {
    let a = (2..=n.isqrt()).rev().find(|&a| n.is_multiple_of(a))?;
    Some([a, n / a])
}
