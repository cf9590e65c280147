//! Formulas on the processor: their inner loops, compiled for each instruction set.
//!
//! A formula costs three small loops for f32 and one for f64; a rare one is interpreted and costs none.
//! What walks strides, converts and cuts (`blocks.rs`) exists once for all formulas. bf16, f16 and booleans are converted
//! in blocks that stay in the nearest cache.

use super::blocks::{self, Loop};
use super::cast::Half;
use super::interpret::Interpreted;
use super::parallel::Pieces;
use super::real::widest;
use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::elementwise::{Elementwise, check_fit, meeting};
use crate::error::Fault;
use crate::formula::{Dual, F, Float, Formula, Integral, Program, Slope, Update, Whole};
use crate::layout::{DType, Element};
use half::{bf16, f16};
use smallvec::SmallVec;

/// The slices of `N` operands, all as long as the result.
#[inline(always)]
fn operands<'a, T, const N: usize>(inputs: &[&'a [T]], count: usize) -> [&'a [T]; N] {
    std::array::from_fn(|k| &inputs[k][..count])
}

// Small functions that know no formula: written inside of the loops, these closures would be compiled for each formula.

/// Element `i` of every operand.
#[inline(always)]
fn numbers<T: Float, const FUSED: bool, const N: usize>(inputs: &[&[T]; N], i: usize) -> [F<T, FUSED>; N] {
    std::array::from_fn(|k| F(inputs[k][i]))
}

#[inline(always)]
fn whole_numbers<T: Integral, const N: usize>(inputs: &[&[T]; N], i: usize) -> [Whole<T>; N] {
    std::array::from_fn(|k| Whole(inputs[k][i]))
}

/// Number `which` changes, the others do not.
#[inline(always)]
fn seeded<T: Float, const FUSED: bool, const N: usize>(
    numbers: [F<T, FUSED>; N],
    which: usize,
    change: F<T, FUSED>,
) -> [Dual<F<T, FUSED>>; N] {
    std::array::from_fn(|k| Dual { value: numbers[k], tangent: if k == which { Some(change) } else { None } })
}

struct Forward<'a, T, P, const N: usize> {
    formula: &'a P,
    inputs: &'a [&'a [T]],
    out: &'a mut [T],
}
impl<T: Float, P: Formula<N>, const N: usize> Kernel for Forward<'_, T, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let count = self.out.len();
        let inputs: [_; N] = operands(self.inputs, count);
        for i in 0..count {
            self.out[i] = self.formula.value(numbers::<T, FUSED, N>(&inputs, i)).0;
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
struct Backward<'a, T, P, const N: usize> {
    formula: &'a P,
    which: usize,
    inputs: &'a [&'a [T]],
    out: &'a mut [T],
}
impl<T: Float, P: Formula<N>, const N: usize> Backward<'_, T, P, N> {
    #[inline(always)]
    fn run_for<const WHICH: usize, const FUSED: bool>(self) {
        let count = self.out.len();
        let inputs: [_; N] = operands(self.inputs, count);
        let arriving = &self.inputs[N][..count];
        for (i, &change) in arriving.iter().enumerate() {
            let (numbers, change) = (numbers::<T, FUSED, N>(&inputs, i), F(change));
            self.out[i] = if const { matches!(P::SLOPE, Slope::Inputs) } {
                (self.formula.slopes(numbers)[WHICH] * change).0
            } else {
                // what arrives is how the input changes, so the result's change is the gradient
                let seeded = seeded(numbers, WHICH, change);
                self.formula.value(seeded).tangent.unwrap_or(F(T::from_f64(0.0))).0
            };
        }
    }
}
impl<T: Float, P: Formula<N>, const N: usize> Kernel for Backward<'_, T, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
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
struct FromResult<'a, T, P, const N: usize> {
    formula: &'a P,
    inputs: &'a [&'a [T]],
    out: &'a mut [T],
}
impl<T: Float, P: Formula<N>, const N: usize> Kernel for FromResult<'_, T, P, N> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let count = self.out.len();
        let [result, arriving]: [_; 2] = operands(self.inputs, count);
        for i in 0..count {
            self.out[i] = (self.formula.slope(F::<T, FUSED>(result[i])) * F(arriving[i])).0;
        }
    }
}

// What the blocks call: each starts a loop.

struct Forwards<'a, P, const N: usize>(&'a P);
impl<T: Float, P: Formula<N>, const N: usize> Loop<T> for Forwards<'_, P, N> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        simd::run(Forward::<T, P, N> { formula: self.0, inputs, out });
    }
}

struct WholeForwards<'a, P, const N: usize>(&'a P);
impl<T: Integral + Sync, P: Formula<N>, const N: usize> Loop<T> for WholeForwards<'_, P, N> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        simd::run(WholeForward::<T, P, N> { formula: self.0, inputs, out });
    }
}

struct Backwards<'a, P, const N: usize>(&'a P, usize);
impl<T: Float, P: Formula<N>, const N: usize> Loop<T> for Backwards<'_, P, N> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        simd::run(Backward::<T, P, N> { formula: self.0, which: self.1, inputs, out });
    }
}

struct FromResults<'a, P, const N: usize>(&'a P);
impl<T: Float, P: Formula<N>, const N: usize> Loop<T> for FromResults<'_, P, N> {
    fn run(&self, inputs: &[&[T]], out: &mut [T]) {
        simd::run(FromResult::<T, P, N> { formula: self.0, inputs, out });
    }
}

/// A rare formula, or a gradient of one, as a program.
fn interpreted(program: &Program, parameters: &[f64], operands: &[&Value], result: DType) -> Result<Value, Fault> {
    blocks::run::<f64>(operands, result, &Interpreted { program, parameters })
}

/// A gradient in the element type that it is wanted in.
fn cast_to(gradient: Result<Value, Fault>, dtype: DType) -> Result<Value, Fault> {
    Cpu.cast(&gradient?, dtype)
}

impl Elementwise for Cpu {
    #[inline]
    fn formula<P: Formula<N>, const N: usize>(&self, formula: &P, inputs: [&Value; N]) -> Result<Value, Fault> {
        let meeting = meeting(&inputs[P::CONDITIONS..], P::WHOLE);
        let result = if P::TRUTH { DType::Bool } else { meeting };
        if P::WHOLE {
            match meeting {
                DType::I64 => return blocks::run::<i64>(&inputs, result, &WholeForwards(formula)),
                DType::I32 => return blocks::run::<i32>(&inputs, result, &WholeForwards(formula)),
                DType::U8 | DType::Bool => return blocks::run::<u8>(&inputs, result, &WholeForwards(formula)),
                _ => {}
            }
        }
        // constants decide first, so that loops that nobody runs are not compiled
        if const { P::RARE } {
            interpreted(&Program::of(formula), &formula.parameters(), &inputs, result)
        } else if meeting == DType::F64 {
            blocks::run::<f64>(&inputs, result, &Forwards(formula))
        } else {
            blocks::run::<f32>(&inputs, result, &Forwards(formula))
        }
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
        let gradient = if const { P::RARE } {
            interpreted(&Program::of_gradient(formula, which), &formula.parameters(), operands, meeting)
        } else if meeting == DType::F64 {
            blocks::run::<f64>(operands, meeting, &Backwards(formula, which))
        } else {
            blocks::run::<f32>(operands, meeting, &Backwards(formula, which))
        };
        cast_to(gradient, dtype)
    }

    fn formula_gradient_of_result<P: Formula<N>, const N: usize>(
        &self,
        formula: &P,
        result: &Value,
        arriving: &Value,
        dtype: DType,
    ) -> Result<Value, Fault> {
        let operands = [result, arriving];
        let own = result.dtype();
        let gradient = if const { P::RARE } {
            interpreted(&Program::of_gradient(formula, 0), &formula.parameters(), &operands, own)
        } else if own == DType::F64 {
            blocks::run::<f64>(&operands, own, &FromResults(formula))
        } else {
            blocks::run::<f32>(&operands, own, &FromResults(formula))
        };
        cast_to(gradient, dtype)
    }

    fn update<U: Update<STATES>, const STATES: usize>(
        &self,
        step: &U,
        parameter: &mut Value,
        gradient: &Value,
        mut states: [&mut Value; STATES],
    ) -> Result<(), Fault> {
        let (step, states) = (Of::<&U, STATES>(step), &mut states[..]);
        match parameter.dtype() {
            DType::F64 => update_plain::<f64>(&step, parameter, gradient, states),
            DType::F32 => update_plain::<f32>(&step, parameter, gradient, states),
            DType::BF16 => update_half::<bf16>(&step, parameter, gradient, states),
            DType::F16 => update_half::<f16>(&step, parameter, gradient, states),
            dtype => Err(Fault::defect(format!("{dtype} numbers cannot be learnt"))),
        }
    }
}

/// The gradient, dense; a fault where it or the states do not fit their parameter.
fn fitting(parameter: &Value, gradient: &Value, states: &[&mut Value]) -> Result<Value, Fault> {
    check_fit(parameter, gradient, states)?;
    Cpu.contiguous(gradient)
}

/// The numbers of a value that nobody else holds, for writing.
fn unshared<T: Element>(value: &mut Value) -> Result<&mut [T], Fault> {
    value.unshared().ok_or_else(|| Fault::defect("an optimizer's parameter or state is shared"))
}

struct Step<'a, 'b, T, U> {
    step: &'a U,
    parameter: &'a mut [T],
    gradient: &'a [T],
    states: &'a mut [&'b mut [T]],
}

/// As many numbers of each state, for loops without checks: only where the compiler sees their count does it see their lengths.
#[inline(always)]
fn cut<'a, T, const N: usize>(states: &'a mut [&mut [T]], count: usize) -> [&'a mut [T]; N] {
    match <&mut [&mut [T]; N]>::try_from(states) {
        Ok(states) => states.each_mut().map(|state| &mut state[..count]),
        Err(_) => unreachable!("a step of {N} states is given as many"),
    }
}

/// Element `i` of every state.
#[inline(always)]
fn held<T: Float, const FUSED: bool, const N: usize>(states: &[&mut [T]; N], i: usize) -> [F<T, FUSED>; N] {
    std::array::from_fn(|k| F(states[k][i]))
}

impl<T: Float, U: Update<STATES>, const STATES: usize> Kernel for Step<'_, '_, T, Of<&U, STATES>> {
    type Output = ();
    const WIDEST: SimdLevel = widest::<T>();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let count = self.parameter.len();
        let gradient = &self.gradient[..count];
        let states = cut::<T, STATES>(self.states, count);
        // Found once: in the loop the compiler would have to fear that a write changes where it lies.
        let step = self.step.0;
        for i in 0..count {
            let before = held::<T, FUSED, STATES>(&states, i);
            let (parameter, after) = step.step(F(self.parameter[i]), F(gradient[i]), before);
            self.parameter[i] = parameter.0;
            for k in 0..STATES {
                states[k][i] = after[k].0;
            }
        }
    }
}

/// A step's loop, known by pointer: what goes through values, halves and threads is compiled once for all of them.
trait Steps<T>: Sync {
    /// As many states as the step has, each as long as the parameter.
    fn run(&self, parameter: &mut [T], gradient: &[T], states: &mut [&mut [T]]);
}

struct Of<U, const STATES: usize>(U);
impl<T: Float, U: Update<STATES>, const STATES: usize> Steps<T> for Of<&U, STATES> {
    fn run(&self, parameter: &mut [T], gradient: &[T], states: &mut [&mut [T]]) {
        simd::run(Step { step: self, parameter, gradient, states });
    }
}

/// Elements that one part of an update handles, and a block of half precision on its way to f32 and back.
const PART: usize = 16 * 1024;
const HALF_BLOCK: usize = 512;

/// The states of a step: nearly always one or two.
type States<T> = SmallVec<[T; 4]>;

/// States cut as their parameter is.
fn pieces<'a, T: Element>(states: &'a mut [&mut Value]) -> Result<States<Pieces<'a, T>>, Fault> {
    let mut pieces = States::new();
    for state in states {
        pieces.push(Pieces::new(unshared(state)?, PART));
    }
    Ok(pieces)
}

/// Part `index` of each.
///
/// # Safety
/// As [`Pieces::get`].
unsafe fn part<'a, T>(pieces: &[Pieces<'a, T>], index: usize) -> States<&'a mut [T]> {
    let mut parts = States::new();
    for piece in pieces {
        // SAFETY: passed on to the caller.
        parts.push(unsafe { piece.get(index) });
    }
    parts
}

/// Steps on all cores: parameter and states are cut alike.
fn update_plain<T: Float>(
    step: &dyn Steps<T>,
    parameter: &mut Value,
    gradient: &Value,
    states: &mut [&mut Value],
) -> Result<(), Fault> {
    let gradient = fitting(parameter, gradient, states)?;
    let (parameter, gradient) = (unshared::<T>(parameter)?, gradient.dense::<T>()?);
    let states = pieces::<T>(states)?;
    parallel::chunks(parameter, PART, states.len() + 2, |index, parameter| {
        let gradient = &gradient[index * PART..][..parameter.len()];
        // SAFETY: each index is given out once, and no piece of a state is taken elsewhere.
        step.run(parameter, gradient, &mut unsafe { part(&states, index) });
    });
    Ok(())
}

/// The same for a parameter in half precision: the step is taken in f32, in blocks that stay in the nearest cache, and the
/// parameter is rounded once.
fn update_half<H: Half>(
    step: &dyn Steps<f32>,
    parameter: &mut Value,
    gradient: &Value,
    states: &mut [&mut Value],
) -> Result<(), Fault> {
    let gradient = fitting(parameter, gradient, states)?;
    let (parameter, gradient) = (unshared::<H>(parameter)?, gradient.dense::<H>()?);
    let states = pieces::<f32>(states)?;
    parallel::chunks(parameter, PART, states.len() + 2, |index, parameter| {
        let gradient = &gradient[index * PART..][..parameter.len()];
        // SAFETY: each index is given out once, and no piece of a state is taken elsewhere.
        let mut states = unsafe { part(&states, index) };
        let (mut wide, mut slope) = ([0.0f32; HALF_BLOCK], [0.0f32; HALF_BLOCK]);
        let blocks = parameter.chunks_mut(HALF_BLOCK).zip(gradient.chunks(HALF_BLOCK));
        for (block, (parameter, gradient)) in blocks.enumerate() {
            let count = parameter.len();
            let (wide, slope) = (&mut wide[..count], &mut slope[..count]);
            H::widen(parameter, wide);
            H::widen(gradient, slope);
            let mut blocks = States::new();
            for state in &mut states {
                blocks.push(&mut state[block * HALF_BLOCK..][..count]);
            }
            step.run(wide, slope, &mut blocks);
            H::narrow(wide, parameter);
        }
    });
    Ok(())
}
