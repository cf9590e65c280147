//! Formulas over whole values: each is a kernel that its own text writes, for the element types and the way through memory that
//! a call asks for; its program is traced once (`traced`). Scalar parameters are arguments.

use super::Cuda;
use super::launch::Launch;
use super::traced::{Looks, Part, Traced};
use super::transfer::address;
use super::update::{self, Step};
use crate::device::copy::Arrange;
use crate::device::elementwise::{Axes, Elementwise, MOST, check_fit, meeting};
use crate::device::{Value, capture};
use crate::error::Fault;
use crate::formula::ptx::{BLOCK, Paths};
use crate::formula::{Formula, Program, Update};
use crate::layout::{DType, Element};
use smallvec::{SmallVec, smallvec};
use std::any::TypeId;
use std::borrow::Cow;

/// A program to be run over values.
struct Work<'a> {
    name: &'a str,
    /// Whose program it is: the type, its form where that is known, and which part.
    formula: (TypeId, Option<u64>, Part),
    program: &'a dyn Fn() -> Cow<'static, Program>,
    parameters: &'a dyn Fn() -> Vec<f64>,
    operands: &'a [&'a Value],
    /// The type that it computes in.
    compute: DType,
    /// The type that the result is rounded to, and the one that it has then.
    results: [DType; 2],
}

/// What floats are computed in: rare formulas in f64, as the processor's interpreter does it.
pub(super) fn computing(dtype: DType, rare: bool) -> DType {
    if rare || dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Elementwise for Cuda {
    fn formula<P: Formula<N>, const N: usize>(&self, formula: &P, inputs: [&Value; N]) -> Result<Value, Fault> {
        let meeting = meeting(&inputs[P::CONDITIONS..], P::WHOLE);
        let compute = match meeting {
            DType::I64 | DType::I32 if P::WHOLE => meeting,
            DType::U8 | DType::Bool if P::WHOLE => DType::U8,
            _ => computing(meeting, P::RARE),
        };
        self.run(&Work {
            name: P::NAME,
            formula: part_of(formula, None),
            program: &|| Program::of(formula, None),
            parameters: &|| formula.parameters(),
            operands: &inputs,
            compute,
            results: [if P::TRUTH { DType::Bool } else { meeting }; 2],
        })
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
        let mut operands = SmallVec::<[&Value; MOST]>::from_slice(&inputs);
        operands.push(arriving);
        self.run(&Work {
            name: P::NAME,
            formula: part_of(formula, Some(which)),
            program: &|| Program::of(formula, Some(which)),
            parameters: &|| formula.parameters(),
            operands: &operands,
            compute: computing(meeting, P::RARE),
            results: [meeting, dtype],
        })
    }

    fn formula_gradient_of_result<P: Formula<N>, const N: usize>(
        &self,
        formula: &P,
        result: &Value,
        arriving: &Value,
        dtype: DType,
    ) -> Result<Value, Fault> {
        self.run(&Work {
            name: P::NAME,
            formula: part_of(formula, Some(0)),
            program: &|| Program::of(formula, Some(0)),
            parameters: &|| formula.parameters(),
            operands: &[result, arriving],
            compute: computing(result.dtype(), P::RARE),
            results: [result.dtype(), dtype],
        })
    }

    fn update<U: Update<STATES>, const STATES: usize>(
        &self,
        step: &U,
        parameter: &mut Value,
        gradient: &Value,
        mut states: [&mut Value; STATES],
    ) -> Result<(), Fault> {
        check_fit(parameter, gradient, &states)?;
        if !parameter.dtype().is_float() {
            return Err(Fault::defect(format!("{} numbers cannot be learnt", parameter.dtype())));
        }
        let gradient = match capture::is_repeating() {
            // Only scalars are computed, and what is given stands for others.
            true => gradient.clone(),
            false => {
                update::own(parameter, &mut states)?;
                self.contiguous(gradient)?
            }
        };
        let mut operands = SmallVec::<[&Value; 6]>::from_slice(&[parameter, &gradient]);
        operands.extend(states.iter().map(|state| &**state));
        let trace = || {
            let (program, results) = Program::of_update(step);
            Traced::new(Cow::Owned(program), &results)
        };
        let formula = (TypeId::of::<(U, [(); STATES])>(), step.form(), Part::Step);
        self.step(&Step { formula, trace: &trace, parameters: &|| step.parameters() }, &operands)
    }

    fn updates(&self, steps: impl FnOnce()) -> Result<(), Fault> {
        update::together(*self, steps)
    }
}

/// A formula, or its gradient for an input, as its program is kept.
fn part_of<P: Formula<N>, const N: usize>(formula: &P, gradient_of: Option<usize>) -> (TypeId, Option<u64>, Part) {
    (TypeId::of::<(P, [(); N])>(), formula.form(), Part::Formula(gradient_of))
}

impl Cuda {
    /// Runs a program over operands that broadcast.
    fn run(self, work: &Work<'_>) -> Result<Value, Fault> {
        let mut shape = *work.operands[0].shape();
        for operand in &work.operands[1..] {
            shape = shape.broadcast(operand.shape())?;
        }
        let [through, dtype] = work.results;
        let result = self.blank(shape, dtype)?;
        let count = shape.count();
        if count == 0 {
            return Ok(result);
        }
        let dense = work.operands.iter().all(|operand| *operand.shape() == shape && operand.is_contiguous());
        let axes = if dense { None } else { Some(Axes::new(&shape, work.operands)?) };
        let looks = Looks {
            inputs: work.operands.iter().map(|operand| operand.dtype()).collect(),
            compute: work.compute,
            results: smallvec![dtype],
            through: Some(through),
            paths: match &axes {
                None => Paths::Dense,
                Some(axes) => Paths::Strided { axes: axes.sizes.len(), long: count > i32::MAX as usize },
            },
        };
        let trace = || {
            let program = (work.program)();
            let result = program.result();
            Traced::new(program, &[result])
        };
        let each = looks.each();
        let (kernel, scalars) = self.with_program(work.formula, &trace, |traced| {
            Ok::<_, Fault>((traced.kernel(self, work.name, looks)?, traced.scalars(work.parameters)))
        })?;
        let mut launch = self.call(kernel).read(&result);
        for operand in work.operands {
            launch = launch.read(operand);
        }
        launch = launch.wide(count as i64);
        if dense {
            let mut addresses = work.operands.iter().copied().chain([&result]).map(address);
            let words = if addresses.all(|address| address % 16 == 0) { count / each } else { 0 };
            launch = launch.wide(words as i64);
        }
        if let Some(axes) = &axes {
            for &size in &axes.sizes[1..] {
                launch = launch.wide(size as i64);
            }
            for strides in &axes.strides {
                for &stride in &strides[..axes.sizes.len()] {
                    launch = launch.wide(stride as i64);
                }
            }
        }
        let blocks = [count.div_ceil(each * BLOCK as usize), 1, 1];
        with_scalars(launch, &scalars, work.compute).grid(blocks, BLOCK as usize, 0)?;
        Ok(result)
    }
}

/// The last arguments of a kernel that computes in this type.
pub(super) fn with_scalars(mut launch: Launch, scalars: &[f64], dtype: DType) -> Launch {
    for &number in scalars {
        launch = match dtype {
            DType::F32 => launch.float(number as f32),
            DType::F64 => launch.double(number),
            DType::I64 => launch.wide(i64::from_f64(number)),
            DType::I32 => launch.int(i32::from_f64(number)),
            _ => launch.int(u8::from_f64(number) as i32),
        };
    }
    launch
}
