//! L-BFGS, which computes the loss several times in a step.

mod saved;
mod search;

use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::DType;
use crate::nn::Module;
use crate::tensor::{Parameter, State, Tensor};
use search::{Trial, strong_wolfe};
use std::collections::VecDeque;
use std::panic::Location;

/// A quasi-Newton method: it learns the curvature from its last steps. For small problems without noise.
///
/// Each step does up to `iterations` rounds: the direction is `-H ∇`, with `H` from the last `history` differences of
/// gradients and parameters; its length is the rate, or what [`with_line_search`](Lbfgs::with_line_search) finds. Liu,
/// Nocedal: On the limited memory BFGS method for large scale optimization (Mathematical Programming 45, 1989).
///
/// ```
/// use chainrule::optim::Lbfgs;
/// use chainrule::{Parameter, Tensor};
/// let mut x = Parameter::new(Tensor::from([-1.2, 1.0]));
/// let mut optimizer = Lbfgs::new(1.0).with_line_search();
/// for _ in 0..5 {
///     // Rosenbrock's valley; its lowest point is (1, 1)
///     optimizer.step_with(&mut x, |x| {
///         let (a, b) = (x.select(0, 0), x.select(0, 1));
///         Ok((b - a.square()).square() * 100.0 + (1.0 - a).square())
///     })?;
/// }
/// assert!((x.to_vec::<f64>()?[1] - 1.0).abs() < 1e-2);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lbfgs {
    rate: f64,
    iterations: usize,
    evaluations: Option<usize>,
    least_gradient: f64,
    least_change: f64,
    history: usize,
    line_search: bool,
    memory: Memory,
}

/// What goes on from step to step.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// The parameters that the vectors are of, in their order.
    ids: Vec<u64>,
    rounds: u64,
    length: f64,
    scale: f64,
    direction: Option<Tensor>,
    gradient: Option<Tensor>,
    pairs: VecDeque<Pair>,
}

/// How the gradient changed over a step.
#[derive(Clone, Debug)]
struct Pair {
    change: Tensor,
    step: Tensor,
    /// One over their product.
    weight: f64,
}

impl Lbfgs {
    /// The usual one: 20 rounds a step, a history of 100, no line search. The usual rate is 1.
    pub fn new(rate: f64) -> Lbfgs {
        Lbfgs {
            rate,
            iterations: 20,
            evaluations: None,
            least_gradient: 1e-7,
            least_change: 1e-9,
            history: 100,
            line_search: false,
            memory: Memory::default(),
        }
    }
    /// Rounds in a step (default 20).
    pub fn with_iterations(self, iterations: usize) -> Lbfgs {
        Lbfgs { iterations, ..self }
    }
    /// How often a step may compute the loss (default 5/4 of the rounds); a line search has what is left of them.
    pub fn with_evaluations(self, evaluations: usize) -> Lbfgs {
        Lbfgs { evaluations: Some(evaluations), ..self }
    }
    /// It stops where no number of the gradient is larger (default 1e-7), or where neither loss nor parameters change by
    /// more (default 1e-9).
    pub fn with_tolerances(self, gradient: f64, change: f64) -> Lbfgs {
        Lbfgs { least_gradient: gradient, least_change: change, ..self }
    }
    /// How many steps are remembered (default 100).
    pub fn with_history(self, history: usize) -> Lbfgs {
        Lbfgs { history, ..self }
    }
    /// Looks for step lengths that satisfy the strong Wolfe conditions: more computing, and it hardly ever fails.
    pub fn with_line_search(self) -> Lbfgs {
        Lbfgs { line_search: true, ..self }
    }
    /// The rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }
    /// Sets the rate.
    pub fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    /// One step; `loss` computes the loss of the model as it is then. Gives the loss before the step. On an error model
    /// and optimizer are as they were.
    #[track_caller]
    pub fn step_with<M: Module + ?Sized>(
        &mut self,
        model: &mut M,
        loss: impl FnMut(&M) -> Result<Tensor>,
    ) -> Result<f64> {
        let at = Location::caller();
        let fail = |fault| Error::with("lbfgs", fault, Vec::new(), at);
        for (name, number) in
            [("rate", self.rate), ("gradient tolerance", self.least_gradient), ("change tolerance", self.least_change)]
        {
            if !(0.0..f64::INFINITY).contains(&number) {
                return Err(fail(Fault::value(
                    format!("the {name} is {number}"),
                    "it is a finite number of at least 0",
                )));
            }
        }
        let mut flat = Flat::new(model, loss).map_err(fail)?;
        if self.memory.ids != flat.ids {
            self.memory = Memory { ids: flat.ids.clone(), ..Memory::default() };
        }
        let (before, memory) = (flat.originals()?, self.memory.clone());
        let outcome = self.rounds(&mut flat);
        if outcome.is_err() {
            flat.restore(&before)?;
            self.memory = memory;
        }
        outcome
    }

    fn rounds<M: Module + ?Sized, L: FnMut(&M) -> Result<Tensor>>(&mut self, flat: &mut Flat<'_, M, L>) -> Result<f64> {
        let (first_loss, mut gradient) = flat.evaluate()?;
        let (mut loss, mut count) = (first_loss, 1);
        let most = self.evaluations.unwrap_or(self.iterations * 5 / 4);
        let mut done = greatest(&gradient)? <= self.least_gradient;
        for round in 1..=self.iterations {
            if done {
                break;
            }
            self.memory.rounds += 1;
            let direction = self.direction(&gradient)?;
            let previous = loss;
            let mut length = self.rate;
            if self.memory.rounds == 1 {
                length *= f64::min(1.0, 1.0 / gradient.abs().sum().item()?);
            }
            (self.memory.gradient, self.memory.direction) = (Some(gradient.clone()), Some(direction.clone()));
            self.memory.length = length;
            let slope = gradient.dot(&direction).item()?;
            // no way down
            if slope > -self.least_change {
                break;
            }
            let start = flat.numbers()?;
            let go = |length: f64| (&start + &direction * length).checked();
            if self.line_search {
                let here = Trial { step: 0.0, loss, gradient: gradient.clone(), slope };
                let (reach, left) = (greatest(&direction)?, most.saturating_sub(count));
                let (best, tries) = strong_wolfe(&here, length, reach, self.least_change, left, |length| {
                    flat.place(&go(length)?)?;
                    let (loss, gradient) = flat.evaluate()?;
                    let slope = gradient.dot(&direction).item()?;
                    Ok(Trial { step: length, loss, gradient, slope })
                })?;
                flat.place(&go(best.step)?)?;
                (length, loss, gradient) = (best.step, best.loss, best.gradient);
                count += tries;
            } else {
                flat.place(&go(length)?)?;
                if round < self.iterations {
                    (loss, gradient) = flat.evaluate()?;
                    count += 1;
                }
            }
            self.memory.length = length;
            done = count >= most
                || greatest(&gradient)? <= self.least_gradient
                || greatest(&(&direction * length))? <= self.least_change
                || (loss - previous).abs() < self.least_change;
        }
        Ok(first_loss)
    }

    /// `-H ∇` by the two loops over the remembered steps, the newest first and then the oldest.
    fn direction(&mut self, gradient: &Tensor) -> Result<Tensor> {
        let memory = &mut self.memory;
        let (Some(last), Some(direction)) = (&memory.gradient, &memory.direction) else {
            memory.scale = 1.0;
            return (-gradient).checked();
        };
        let (change, step) = (gradient - last, direction * memory.length);
        let product = change.dot(&step).item()?;
        if product > 1e-10 {
            if memory.pairs.len() >= self.history.max(1) {
                memory.pairs.pop_front();
            }
            memory.scale = product / change.dot(&change).item()?;
            memory.pairs.push_back(Pair { change, step, weight: 1.0 / product });
        }
        let mut result = -gradient;
        let mut shares = Vec::with_capacity(memory.pairs.len());
        for pair in memory.pairs.iter().rev() {
            let share = pair.step.dot(&result).item()? * pair.weight;
            result = result - &pair.change * share;
            shares.push(share);
        }
        result = result * memory.scale;
        for (pair, share) in memory.pairs.iter().zip(shares.into_iter().rev()) {
            let back = pair.change.dot(&result).item()? * pair.weight;
            result = result + &pair.step * (share - back);
        }
        result.checked()
    }

    /// All it takes to go on exactly here.
    #[track_caller]
    pub fn state(&self, model: &dyn Module) -> Result<State> {
        saved::state(self, model)
    }
    /// Goes on where [`state`](Lbfgs::state) was taken. On an error nothing has changed.
    #[track_caller]
    pub fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()> {
        saved::load_state(self, model, state)
    }
}

fn greatest(vector: &Tensor) -> Result<f64> {
    if vector.shape()?.count() == 0 {
        return Ok(0.0);
    }
    vector.abs().max().item()
}

/// The parameters that learn, with their identities.
fn learning<M: Module + ?Sized>(model: &M) -> Vec<(String, &Parameter)> {
    model.parameters().into_iter().filter(|(_, parameter)| !parameter.is_frozen()).collect()
}

/// A model as one vector.
struct Flat<'m, M: ?Sized, L> {
    model: &'m mut M,
    loss: L,
    ids: Vec<u64>,
    dtype: DType,
}

impl<'m, M: Module + ?Sized, L: FnMut(&M) -> Result<Tensor>> Flat<'m, M, L> {
    fn new(model: &'m mut M, loss: L) -> Result<Flat<'m, M, L>, Fault> {
        let mut dtype = DType::F64;
        let mut ids = Vec::new();
        for (_, parameter) in learning(model) {
            ids.push(parameter.id());
            if !matches!(parameter.dtype(), Ok(DType::F64)) {
                dtype = DType::F32;
            }
        }
        if ids.is_empty() {
            return Err(Fault::new(ErrorKind::Gradient, "the model has no parameter that learns", "unfreeze() some"));
        }
        Ok(Flat { model, loss, ids, dtype })
    }
    fn joined(&self, tensors: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
        let flat: Vec<Tensor> = tensors
            .map(|tensor| tensor.map(|tensor| tensor.to_dtype(self.dtype).reshape([-1])))
            .collect::<Result<_>>()?;
        Tensor::cat(&flat, 0).checked()
    }
    /// The loss and its gradient, where the model is.
    fn evaluate(&mut self) -> Result<(f64, Tensor)> {
        let loss = (self.loss)(self.model)?;
        let number = loss.item()?;
        let gradients = loss.backward()?;
        let parts = learning(self.model).into_iter().map(|(_, parameter)| gradients.of(parameter).cloned());
        Ok((number, self.joined(parts)?))
    }
    fn numbers(&self) -> Result<Tensor> {
        self.joined(learning(self.model).into_iter().map(|(_, parameter)| Ok(parameter.detach())))
    }
    fn originals(&self) -> Result<Vec<Tensor>> {
        learning(self.model).into_iter().map(|(_, parameter)| parameter.detach().checked()).collect()
    }
    fn restore(&mut self, originals: &[Tensor]) -> Result<()> {
        let parameters = self.model.parameters_mut().into_iter().filter(|(_, parameter)| !parameter.is_frozen());
        for ((_, parameter), numbers) in parameters.zip(originals) {
            parameter.set(numbers)?;
        }
        Ok(())
    }
    /// Moves the model to these numbers.
    fn place(&mut self, numbers: &Tensor) -> Result<()> {
        let mut start = 0;
        let mut parts = Vec::with_capacity(self.ids.len());
        for (_, parameter) in learning(self.model) {
            let (shape, dtype) = (parameter.shape()?, parameter.dtype()?);
            let count = shape.count();
            parts.push(numbers.narrow(0, start, count).reshape(&shape[..]).to_dtype(dtype).checked()?);
            start += count;
        }
        self.restore(&parts)
    }
}
