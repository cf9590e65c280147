//! Programs of formulas, each traced once, with the kernels that were written of them.

use super::module::Kernel;
use super::{Cuda, lock};
use crate::error::Fault;
use crate::formula::ptx::{self, Paths, Signature};
use crate::formula::{Program, Register};
use crate::layout::DType;
use smallvec::SmallVec;
use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;

/// The programs that were asked for so far on one GPU.
#[derive(Default)]
pub(super) struct Programs(Mutex<HashMap<(TypeId, u64, Part), &'static Traced>>);

/// What of a formula's type is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The formula, or its gradient for an input.
    Formula(Option<usize>),
    /// An optimizer's step.
    Step,
}

/// A program as launches need it.
pub(super) struct Traced {
    pub(super) program: Cow<'static, Program>,
    /// The steps whose results are stored.
    pub(super) results: SmallVec<[Register; 4]>,
    /// The scalar expressions that are the last arguments of its kernels.
    scalars: Vec<u32>,
    kernels: Mutex<HashMap<Looks, &'static Kernel>>,
}

/// What a kernel of a program is written for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Looks {
    pub(super) inputs: SmallVec<[DType; 6]>,
    pub(super) compute: DType,
    pub(super) results: SmallVec<[DType; 6]>,
    pub(super) through: Option<DType>,
    pub(super) paths: Paths,
}

impl Looks {
    pub(super) fn signature(&self) -> Signature {
        Signature {
            inputs: self.inputs.to_vec(),
            compute: self.compute,
            results: self.results.to_vec(),
            through: self.through,
            paths: self.paths,
        }
    }
    /// Elements that a thread takes.
    pub(super) fn each(&self) -> usize {
        ptx::each([&self.inputs, &self.results], self.compute, self.paths) as usize
    }
}

pub(super) type Scalars = SmallVec<[f64; 8]>;

impl Traced {
    pub(super) fn new(program: Cow<'static, Program>, results: &[Register]) -> Traced {
        let scalars = ptx::Kernel::scalars(&program);
        Traced { program, results: results.into(), scalars, kernels: Mutex::default() }
    }
    /// The values of its scalars, for parameters that are asked for where there are any.
    pub(super) fn scalars(&self, parameters: &dyn Fn() -> Vec<f64>) -> Scalars {
        if self.scalars.is_empty() {
            return Scalars::new();
        }
        let parameters = parameters();
        self.scalars.iter().map(|&scalar| self.program.scalar(scalar, &parameters)).collect()
    }
    /// Its kernel that looks so; it is written where it is not there yet.
    pub(super) fn kernel(&self, cuda: Cuda, name: &str, looks: Looks) -> Result<&'static Kernel, Fault> {
        if let Some(kernel) = lock(&self.kernels).get(&looks) {
            return Ok(kernel);
        }
        let signature = looks.signature();
        // Others may have the same steps: those of a formula that is traced for each call have.
        let key = format!("{name} {:016x}", ptx::Kernel::key(&self.program, &self.results, &signature));
        let write = || Ok(ptx::Kernel::write(name, &self.program, &self.results, &signature)?.text().to_string());
        let kernel = cuda.written(&key, "formula", write)?;
        lock(&self.kernels).insert(looks, kernel);
        Ok(kernel)
    }
}

impl Cuda {
    /// Does `work` with a program: of a formula whose form is known it is traced once, else for each call.
    pub(super) fn with_program<R>(
        self,
        (formula, form, part): (TypeId, Option<u64>, Part),
        trace: &dyn Fn() -> Traced,
        work: impl FnOnce(&Traced) -> R,
    ) -> R {
        let Some(form) = form else { return work(&trace()) };
        let (key, programs) = ((formula, form, part), &self.0.programs.0);
        let found = lock(programs).get(&key).copied();
        work(found.unwrap_or_else(|| {
            // There are as many as there are formulas, and they are wanted until the program ends.
            let made: &'static Traced = Box::leak(Box::new(trace()));
            lock(programs).entry(key).or_insert(made)
        }))
    }
}
