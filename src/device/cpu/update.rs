//! Steps of optimizers on the processor: a parameter and its states are read once and written once, in any element type.

use super::cast::Half;
use super::elementwise::widest_for;
use super::parallel::Pieces;
use super::real::alone;
use super::simd::{self, Kernel, SimdLevel};
use super::{Cpu, parallel};
use crate::device::copy::Arrange;
use crate::device::elementwise::check_fit;
use crate::device::{Value, guard};
use crate::error::Fault;
use crate::formula::{F, Float, Update};
use crate::layout::{DType, Element};
use half::{bf16, f16};
use smallvec::SmallVec;

/// One step, unless what the optimizer asked for says that there is to be none.
pub(super) fn update<U: Update<STATES>, const STATES: usize>(
    step: &U,
    parameter: &mut Value,
    gradient: &Value,
    states: &mut [&mut Value],
) -> Result<(), Fault> {
    if let Some(flag) = guard::flag()
        && guard::is_set(&flag)?
    {
        return Ok(());
    }
    let step = Of::<&U, STATES>(step);
    match parameter.dtype() {
        DType::F64 => update_plain::<f64>(&step, parameter, gradient, states),
        DType::F32 => update_plain::<f32>(&step, parameter, gradient, states),
        DType::BF16 => update_half::<bf16>(&step, parameter, gradient, states),
        DType::F16 => update_half::<f16>(&step, parameter, gradient, states),
        dtype => Err(Fault::defect(format!("{dtype} numbers cannot be learnt"))),
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
fn cut<'a, T, const N: usize>(states: &mut [&'a mut [T]], count: usize) -> [&'a mut [T]; N] {
    std::array::from_fn(|k| &mut std::mem::take(&mut states[k])[..count])
}

/// Element `i` of every state.
#[inline(always)]
fn held<T: Float, const FUSED: bool, const N: usize>(states: &[&mut [T]; N], i: usize) -> [F<T, FUSED>; N] {
    let mut held = [F(T::default()); N];
    for k in 0..N {
        held[k] = F(states[k][i]);
    }
    held
}

impl<T: Float, U: Update<STATES>, const STATES: usize> Kernel for Step<'_, '_, T, Of<&U, STATES>> {
    type Output = ();
    const WIDEST: SimdLevel = widest_for::<T>(true);
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let count = self.parameter.len();
        let gradient = &self.gradient[..count];
        let states = cut::<T, STATES>(self.states, count);
        // Found once: in the loop the compiler would have to fear that a write changes where it lies.
        let step = self.step.0;
        for i in 0..count {
            let before = held::<T, FUSED, STATES>(&states, i);
            let (parameter, after) = step.step(F(self.parameter[i]), F(alone(gradient[i])), before);
            self.parameter[i] = parameter.0;
            for k in 0..STATES {
                states[k][i] = after[k].0;
            }
        }
    }
}

/// A step's loop, known by pointer: what goes through values, halves and threads is compiled once for all of them.
trait Steps<T>: Sync {
    /// As many states as the step has, each as long as the parameter; they are taken.
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
