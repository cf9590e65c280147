//! Formulas on the processor: their inner loops, compiled for each instruction set.
//!
//! A formula costs three small loops for f32. In f64 it is interpreted, and a rare one always: that costs none. What is done most
//! of all, plain arithmetic, has a loop for f64 too. On old processors (`simd::is_spare`) all others are interpreted in f32.
//! What walks strides, converts and cuts (`blocks.rs`) exists once for all formulas. bf16, f16 and booleans are converted
//! in blocks that stay in the nearest cache.

use super::blocks::{self, Loop};
use super::interpret::Interpreted;
use super::real::widest;
use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, update};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::elementwise::{Elementwise, meeting};
use crate::error::Fault;
use crate::formula::{Dual, F, Float, Formula, Integral, NEAR, Number, Program, Slope, Update, Whole};
use crate::layout::DType;
use std::borrow::Cow;
use std::ops::Range;

/// The slices of `N` operands, all as long as the result.
#[inline(always)]
fn operands<'a, T, const N: usize>(inputs: &[&'a [T]], count: usize) -> [&'a [T]; N] {
    let mut operands: [&[T]; N] = [&[]; N];
    for k in 0..N {
        operands[k] = &inputs[k][..count];
    }
    operands
}

// Plain loops: what `array::from_fn` goes through would be compiled for each formula and instruction set.

/// Element `i` of every operand.
#[inline(always)]
fn numbers<T: Float, const FUSED: bool, const NEAR: bool, const N: usize>(
    inputs: &[&[T]; N],
    i: usize,
) -> [F<T, FUSED, NEAR>; N] {
    let mut numbers = [F(T::default()); N];
    for k in 0..N {
        numbers[k] = F(inputs[k][i]);
    }
    numbers
}

#[inline(always)]
fn whole_numbers<T: Integral, const N: usize>(inputs: &[&[T]; N], i: usize) -> [Whole<T>; N] {
    let mut numbers = [Whole(T::default()); N];
    for k in 0..N {
        numbers[k] = Whole(inputs[k][i]);
    }
    numbers
}

/// Number `which` changes, the others do not.
#[inline(always)]
fn seeded<R: Number, const N: usize>(numbers: [R; N], which: usize, change: R) -> [Dual<R>; N] {
    let mut seeded = [Dual { value: change, tangent: None }; N];
    for k in 0..N {
        seeded[k] = Dual { value: numbers[k], tangent: if k == which { Some(change) } else { None } };
    }
    seeded
}

/// The widest level for a loop. Arithmetic without functions (all that whole numbers have, and the steps of optimizers) is as
/// fast at AVX2 as memory is, the second-level cache too.
pub(super) const fn widest_for<T>(arithmetic: bool) -> SimdLevel {
    if arithmetic && matches!(widest::<T>(), SimdLevel::Avx512) { SimdLevel::Avx2 } else { widest::<T>() }
}

/// Numbers whose magnitudes are looked at together.
const LOOK: usize = 1024;

/// Have all numbers of the stretch that begins at `from` so small a magnitude that few digits of π are enough?
#[inline(always)]
fn all_near<T: Float>(x: &[T], from: usize) -> bool {
    let near = T::from_f64(NEAR);
    x[from..x.len().min(from + LOOK)].iter().fold(true, |all, x| all & (x.magnitude() < near))
}

struct Forward<'a, T, P, const N: usize> {
    formula: &'a P,
    inputs: &'a [&'a [T]],
    out: &'a mut [T],
}
impl<T: Float, P: Formula<N>, const N: usize> Forward<'_, T, P, N> {
    #[inline(always)]
    fn stretch<const FUSED: bool, const NEAR: bool>(&mut self, inputs: &[&[T]; N], range: Range<usize>) {
        for i in range {
            self.out[i] = self.formula.value(numbers::<T, FUSED, NEAR, N>(inputs, i)).0;
        }
    }
}
impl<T: Float, P: Formula<N>, const N: usize> Kernel for Forward<'_, T, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = widest_for::<T>(P::WHOLE);
    #[inline(always)]
    fn run<const FUSED: bool>(mut self) {
        if const { simd::is_spare::<FUSED>() && !P::QUICK } {
            return interpret(&Writing(self.formula), None, self.inputs, self.out);
        }
        let count = self.out.len();
        let inputs: [_; N] = operands(self.inputs, count);
        if const { P::ANGLE } {
            for from in (0..count).step_by(LOOK) {
                let range = from..count.min(from + LOOK);
                if all_near(inputs[0], from) {
                    self.stretch::<FUSED, true>(&inputs, range);
                } else {
                    self.stretch::<FUSED, false>(&inputs, range);
                }
            }
        } else {
            self.stretch::<FUSED, false>(&inputs, 0..count);
        }
    }
}

struct WholeForward<'a, T, P, const N: usize> {
    formula: &'a P,
    inputs: &'a [&'a [T]],
    out: &'a mut [T],
}
impl<T: Integral, P: Formula<N>, const N: usize> Kernel for WholeForward<'_, T, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = SimdLevel::Portable;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let count = self.out.len();
        let inputs: [_; N] = operands(self.inputs, count);
        for i in 0..count {
            self.out[i] = self.formula.whole(whole_numbers(&inputs, i)).0;
        }
    }
}

/// The gradient for one input. The last operand is what arrives.
struct Backward<'a, P, const N: usize> {
    formula: &'a P,
    which: usize,
    inputs: &'a [&'a [f32]],
    out: &'a mut [f32],
}
impl<P: Formula<N>, const N: usize> Backward<'_, P, N> {
    #[inline(always)]
    fn run_for<const WHICH: usize, const FUSED: bool>(mut self) {
        let count = self.out.len();
        let inputs: [_; N] = operands(self.inputs, count);
        if const { P::ANGLE } {
            for from in (0..count).step_by(LOOK) {
                let range = from..count.min(from + LOOK);
                if all_near(inputs[0], from) {
                    self.stretch::<WHICH, FUSED, true>(&inputs, range);
                } else {
                    self.stretch::<WHICH, FUSED, false>(&inputs, range);
                }
            }
        } else {
            self.stretch::<WHICH, FUSED, false>(&inputs, 0..count);
        }
    }
    #[inline(always)]
    fn stretch<const WHICH: usize, const FUSED: bool, const NEAR: bool>(
        &mut self,
        inputs: &[&[f32]; N],
        range: Range<usize>,
    ) {
        let arriving = &self.inputs[N][..self.out.len()];
        for i in range {
            let (numbers, change) = (numbers::<f32, FUSED, NEAR, N>(inputs, i), F::<f32, FUSED, NEAR>(arriving[i]));
            self.out[i] = if const { matches!(P::SLOPE, Slope::Inputs) } {
                (self.formula.slopes(numbers)[WHICH] * change).0
            } else {
                // what arrives is how the input changes, so the result's change is the gradient
                let seeded = seeded(numbers, WHICH, change);
                self.formula.value(seeded).tangent.unwrap_or(F(0.0)).0
            };
        }
    }
}
impl<P: Formula<N>, const N: usize> Kernel for Backward<'_, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = widest_for::<f32>(P::WHOLE);
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        if const { simd::is_spare::<FUSED>() } {
            return interpret(&Writing(self.formula), Some(self.which), self.inputs, self.out);
        }
        if const { N > 2 } && self.which == 2 {
            return self.run_for::<2, FUSED>();
        }
        if const { N > 1 } && self.which == 1 {
            return self.run_for::<1, FUSED>();
        }
        self.run_for::<0, FUSED>()
    }
}

/// The gradient from the result; the second operand is what arrives.
struct FromResult<'a, P, const N: usize> {
    formula: &'a P,
    inputs: &'a [&'a [f32]],
    out: &'a mut [f32],
}
impl<P: Formula<N>, const N: usize> Kernel for FromResult<'_, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<f32>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        if const { simd::is_spare::<FUSED>() } {
            return interpret(&Writing(self.formula), Some(0), self.inputs, self.out);
        }
        let count = self.out.len();
        let [result, arriving]: [_; 2] = operands(self.inputs, count);
        for i in 0..count {
            self.out[i] = (self.formula.slope(F::<f32, FUSED>(result[i])) * F(arriving[i])).0;
        }
    }
}

/// A formula known by pointer, of which no loop is wanted.
trait Written {
    /// Its program, or that of its gradient for an input, and the scalar parameters.
    fn program(&self, which: Option<usize>) -> (Cow<'static, Program>, Vec<f64>);
}

struct Writing<'a, P, const N: usize>(&'a P);
impl<P: Formula<N>, const N: usize> Written for Writing<'_, P, N> {
    fn program(&self, which: Option<usize>) -> (Cow<'static, Program>, Vec<f64>) {
        (Program::of(self.0, which), self.0.parameters())
    }
}

/// A formula, or its gradient for an input, step by step.
#[inline(never)]
fn interpret<T: Float>(formula: &dyn Written, which: Option<usize>, inputs: &[&[T]], out: &mut [T]) {
    let (program, parameters) = formula.program(which);
    Interpreted { program: &program, parameters: &parameters }.run(inputs, out);
}

// What the blocks call: each starts a loop.

struct Forwards<'a, P, const N: usize>(&'a P);
impl<T: Float, P: Formula<N>, const N: usize> Loop<T> for Forwards<'_, P, N> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        simd::run(Forward::<T, P, N> { formula: self.0, inputs, out });
    }
    fn is_light(&self) -> bool {
        P::WHOLE
    }
}

struct WholeForwards<'a, P, const N: usize>(&'a P);
impl<T: Integral + Sync, P: Formula<N>, const N: usize> Loop<T> for WholeForwards<'_, P, N> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        simd::run(WholeForward::<T, P, N> { formula: self.0, inputs, out });
    }
}

struct Backwards<'a, P, const N: usize>(&'a P, usize);
impl<P: Formula<N>, const N: usize> Loop<f32> for Backwards<'_, P, N> {
    fn run(&self, inputs: &[&[f32]], out: &mut [f32]) {
        simd::run(Backward::<P, N> { formula: self.0, which: self.1, inputs, out });
    }
}

struct FromResults<'a, P, const N: usize>(&'a P);
impl<P: Formula<N>, const N: usize> Loop<f32> for FromResults<'_, P, N> {
    fn run(&self, inputs: &[&[f32]], out: &mut [f32]) {
        simd::run(FromResult::<P, N> { formula: self.0, inputs, out });
    }
}

// What chooses a loop knows all of them by pointer: it is compiled once, and not for each formula.

/// Loops for a formula on whole numbers. Those of i32 go through i64, as half precision goes through f32: they wrap alike.
struct WholeLoops<'a>(&'a dyn Loop<i64>, &'a dyn Loop<u8>);

#[inline(never)]
fn run_whole(loops: WholeLoops<'_>, operands: &[&Value], meeting: DType, result: DType) -> Result<Value, Fault> {
    match meeting {
        DType::U8 | DType::Bool => blocks::run(operands, result, loops.1),
        DType::I32 if result == DType::I32 => Cpu.cast(&blocks::run(operands, DType::I64, loops.0)?, result),
        _ => blocks::run(operands, result, loops.0),
    }
}

/// What computes a formula or a gradient on floats.
enum FloatLoops<'a> {
    Single(&'a dyn Loop<f32>),
    Double(&'a dyn Loop<f64>),
    /// The program of a formula, or of its gradient for an input.
    Interpreted(&'a dyn Written, Option<usize>),
}

#[inline(never)]
fn run_floats(loops: FloatLoops<'_>, operands: &[&Value], result: DType) -> Result<Value, Fault> {
    match loops {
        FloatLoops::Single(loops) => blocks::run(operands, result, loops),
        FloatLoops::Double(loops) => blocks::run(operands, result, loops),
        FloatLoops::Interpreted(formula, which) => {
            let (program, parameters) = formula.program(which);
            let interpreted: &dyn Loop<f64> = &Interpreted { program: &program, parameters: &parameters };
            blocks::run(operands, result, interpreted)
        }
    }
}

/// A gradient, computed in `own` and given in the element type that it is wanted in.
#[inline(never)]
fn run_gradient(loops: FloatLoops<'_>, operands: &[&Value], own: DType, wanted: DType) -> Result<Value, Fault> {
    Cpu.cast(&run_floats(loops, operands, own)?, wanted)
}

impl Elementwise for Cpu {
    // Constants decide first, so that loops that nobody runs are not compiled.
    fn formula<P: Formula<N>, const N: usize>(&self, formula: &P, inputs: [&Value; N]) -> Result<Value, Fault> {
        let meeting = meeting(&inputs[P::CONDITIONS..], P::WHOLE);
        let result = if P::TRUTH { DType::Bool } else { meeting };
        if const { P::WHOLE } && !meeting.is_float() {
            return run_whole(WholeLoops(&WholeForwards(formula), &WholeForwards(formula)), &inputs, meeting, result);
        }
        if const { P::QUICK } && meeting == DType::F64 {
            return run_floats(FloatLoops::Double(&Forwards(formula)), &inputs, result);
        }
        if const { P::RARE } || meeting == DType::F64 {
            return run_floats(FloatLoops::Interpreted(&Writing(formula), None), &inputs, result);
        }
        run_floats(FloatLoops::Single(&Forwards(formula)), &inputs, result)
    }

    fn formula_gradient<P: Formula<N>, const N: usize>(
        &self,
        formula: &P,
        which: usize,
        inputs: [&Value; N],
        arriving: &Value,
        dtype: DType,
    ) -> Result<Value, Fault> {
        let meeting = meeting(&inputs[P::CONDITIONS..], P::WHOLE);
        // one operand more than N, which const generics cannot say
        let mut operands = [arriving; 4];
        operands[..N].copy_from_slice(&inputs);
        let operands = &operands[..=N];
        if const { P::RARE } || meeting == DType::F64 {
            let gradient = FloatLoops::Interpreted(&Writing(formula), Some(which));
            return run_gradient(gradient, operands, meeting, dtype);
        }
        run_gradient(FloatLoops::Single(&Backwards(formula, which)), operands, meeting, dtype)
    }

    fn formula_gradient_of_result<P: Formula<N>, const N: usize>(
        &self,
        formula: &P,
        result: &Value,
        arriving: &Value,
        dtype: DType,
    ) -> Result<Value, Fault> {
        let (operands, own) = ([result, arriving], result.dtype());
        if const { P::RARE } || own == DType::F64 {
            return run_gradient(FloatLoops::Interpreted(&Writing(formula), Some(0)), &operands, own, dtype);
        }
        run_gradient(FloatLoops::Single(&FromResults(formula)), &operands, own, dtype)
    }

    fn update<U: Update<STATES>, const STATES: usize>(
        &self,
        step: &U,
        parameter: &mut Value,
        gradient: &Value,
        mut states: [&mut Value; STATES],
    ) -> Result<(), Fault> {
        update::update(step, parameter, gradient, &mut states)
    }
}
