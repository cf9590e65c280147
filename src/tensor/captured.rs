//! A whole step as one launch: captured once, replayed many times.

use super::Tensor;
use crate::device::{Device, Value, capture};
use crate::error::{Error, Fault, Result};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a captured step gives: tensors that each replay computes anew.
///
/// ```
/// use chainrule::{Results, Tensor};
/// let (loss, parts) = (Tensor::from(1.0), vec![Tensor::from(2.0), Tensor::from(3.0)]);
/// let doubled = (loss, parts).map_each(&mut |tensor| tensor * 2.0);
/// assert_eq!((doubled.0.item()?, doubled.1[1].item()?), (2.0, 6.0));
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Results: Sized {
    /// The same with each of its tensors changed.
    fn map_each(&self, change: &mut dyn FnMut(&Tensor) -> Tensor) -> Self;
}

impl Results for () {
    fn map_each(&self, _: &mut dyn FnMut(&Tensor) -> Tensor) {}
}
impl Results for Tensor {
    fn map_each(&self, change: &mut dyn FnMut(&Tensor) -> Tensor) -> Tensor {
        change(self)
    }
}
impl<R: Results> Results for Vec<R> {
    fn map_each(&self, change: &mut dyn FnMut(&Tensor) -> Tensor) -> Vec<R> {
        self.iter().map(|one| one.map_each(change)).collect()
    }
}
impl<A: Results, B: Results> Results for (A, B) {
    fn map_each(&self, change: &mut dyn FnMut(&Tensor) -> Tensor) -> (A, B) {
        (self.0.map_each(change), self.1.map_each(change))
    }
}
impl<A: Results, B: Results, C: Results> Results for (A, B, C) {
    fn map_each(&self, change: &mut dyn FnMut(&Tensor) -> Tensor) -> (A, B, C) {
        (self.0.map_each(change), self.1.map_each(change), self.2.map_each(change))
    }
}

/// A step that [`Device::capture`] has captured.
///
/// It borrows what the step uses as long as it lives: drop it to validate or to save, and capture anew.
#[must_use = "nothing is done before replay()"]
pub struct Captured<F, R> {
    device: Device,
    step: F,
    #[cfg(feature = "cuda-unversioned")]
    state: State<R>,
    #[cfg(not(feature = "cuda-unversioned"))]
    state: std::marker::PhantomData<fn() -> R>,
}

/// How far a captured step on a GPU is.
#[cfg(feature = "cuda-unversioned")]
enum State<R> {
    New,
    /// It was run once as always.
    Rehearsed,
    /// Its launches are a graph, and these are its results.
    Recorded(Box<crate::device::Graph>, R),
}

impl Device {
    /// Captures a step, to be done again and again by [`replay`](Captured::replay): on a GPU as one launch, without the work of
    /// the processor that a step of many small operations waits for.
    ///
    /// The first replay runs the step as always, the second records its launches, and from then on they are launched together.
    /// Each replay does what the step would do: dropout draws anew, optimizers count, schedules go on, running statistics
    /// move; its results are tensors of their own. The rest of what the step does on the processor is done once. So a
    /// captured step reads nothing (`item`, `to_vec` and whatever decides by a number are errors), copies nothing from the CPU,
    /// and has the same shapes each time; numbers that it computes by itself stay as they were. What changes comes from
    /// [`Input`]s, what is to be seen is returned.
    ///
    /// On the CPU each replay runs the step.
    ///
    /// ```
    /// use chainrule::nn::{Dropout, Init, Layer, Linear};
    /// use chainrule::optim::schedule::{Cosine, Schedule};
    /// use chainrule::optim::{Adam, Optimizer};
    /// use chainrule::{Device, Input, Tensor, module};
    ///
    /// struct Model { linear: Linear, dropout: Dropout }
    /// module!(Model { linear, dropout });
    ///
    /// let device = Device::best();
    /// let mut init = Init::on(&device);
    /// let mut model = Model { linear: Linear::new(2, 1, &mut init), dropout: Dropout::new(0.1, &mut init) };
    /// let mut optimizer = Adam::new(0.01);
    /// let mut schedule = Cosine::new(100).start(&mut optimizer);
    /// let (x, y) = (Input::new(device, &Tensor::zeros([8, 2])), Input::new(device, &Tensor::zeros([8, 1])));
    /// let mut step = device.capture(|| {
    ///     let loss = (model.linear.forward(&model.dropout.forward(&x.tensor())) - y.tensor()).square().mean();
    ///     optimizer.step(&mut model, &loss.backward()?)?;
    ///     schedule.step(&mut optimizer);
    ///     Ok(loss)
    /// });
    /// for batch in 0..4 {
    ///     x.set(&(Tensor::ones([8, 2]) * batch as f64))?;
    ///     y.set(&(Tensor::ones([8, 1]) * batch as f64))?;
    ///     let loss = step.replay()?;
    ///     println!("{}", loss.item()?);
    /// }
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn capture<F: FnMut() -> Result<R>, R: Results>(self, step: F) -> Captured<F, R> {
        #[cfg(feature = "cuda-unversioned")]
        let state = State::New;
        #[cfg(not(feature = "cuda-unversioned"))]
        let state = std::marker::PhantomData;
        Captured { device: self, step, state }
    }
}

impl<F: FnMut() -> Result<R>, R: Results> Captured<F, R> {
    /// Does the step once more and gives its results, without history.
    ///
    /// ```
    /// use chainrule::{Device, Tensor};
    /// let mut count = Tensor::from(0.0);
    /// let mut step = Device::Cpu.capture(|| {
    ///     count = &count + 1.0;
    ///     Ok(count.clone())
    /// });
    /// assert_eq!((step.replay()?.item()?, step.replay()?.item()?), (1.0, 2.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn replay(&mut self) -> Result<R> {
        match self.device {
            Device::Cpu => Ok((self.step)()?.map_each(&mut Tensor::detach)),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => self.replay_on(cuda, Location::caller()),
        }
    }
    #[cfg(feature = "cuda-unversioned")]
    fn replay_on(&mut self, cuda: crate::device::Cuda, at: &'static Location<'static>) -> Result<R> {
        if let State::New = self.state {
            let results = cuda.rehearse(&mut self.step)?.map_each(&mut Tensor::detach);
            self.state = State::Rehearsed;
            return Ok(results);
        }
        if let State::Rehearsed = self.state {
            let (step, mut kept) = (&mut self.step, None);
            let graph = cuda.record(
                &mut || {
                    let results = step()?.map_each(&mut Tensor::detach);
                    let mut values = Vec::new();
                    let mut failed = None;
                    let results = results.map_each(&mut |result| match result.value() {
                        Ok(value) => {
                            values.push(value.clone());
                            result.clone()
                        }
                        Err(error) => {
                            failed.get_or_insert(error.clone());
                            result.clone()
                        }
                    });
                    kept = Some(results);
                    failed.map_or(Ok(values), Err)
                },
                at,
            )?;
            let Some(results) = kept else { return Err(fail(Fault::defect("a step without results"), at)) };
            self.state = State::Recorded(Box::new(graph), results);
        }
        let State::Recorded(graph, results) = &mut self.state else {
            return Err(fail(Fault::defect("a step that was not recorded"), at));
        };
        graph.replay().map_err(|fault| fail(fault, at))?;
        // The next replay writes over the graph's own.
        Ok(results.map_each(&mut |result| result.duplicated(at)))
    }
}

#[cfg(feature = "cuda-unversioned")]
fn fail(fault: Fault, at: &'static Location<'static>) -> Error {
    Error::with("replay", fault, Vec::new(), at)
}

#[cfg(feature = "cuda-unversioned")]
impl Tensor {
    /// The same numbers in memory of their own.
    fn duplicated(&self, at: &'static Location<'static>) -> Tensor {
        use crate::device::copy::Arrange;
        Tensor::compute(|| {
            let value = self.value()?;
            let own = crate::device::on!(value.device(), duplicate(value)).map_err(|fault| fail(fault, at))?;
            Ok(Tensor::from_value(own))
        })
    }
}

impl<F, R> std::fmt::Debug for Captured<F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a step captured on {}", self.device)
    }
}

/// A place for batches: what a captured step reads from it is what was put there last.
///
/// ```
/// use chainrule::{Device, Input, Tensor};
/// let x = Input::new(Device::best(), &Tensor::zeros([2]));
/// let mut step = Device::best().capture(|| Ok(x.tensor() * 2.0));
/// for number in [1.0, 2.0, 3.0] {
///     x.set(&Tensor::from([number, -number]))?;
///     assert_eq!(step.replay()?.to_vec::<f32>()?, [2.0 * number as f32, -2.0 * number as f32]);
/// }
/// assert!(x.set(&Tensor::zeros([3])).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Debug)]
pub struct Input {
    device: Device,
    current: Arc<Mutex<Result<Value>>>,
    /// Where captured steps on a GPU read it: made by the first run of one, written before each replay.
    #[cfg(feature = "cuda-unversioned")]
    fixed: std::sync::OnceLock<Value>,
}

fn lock(current: &Mutex<Result<Value>>) -> MutexGuard<'_, Result<Value>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Input {
    /// A place on a device for tensors of the shape and element type of this one, which is put there.
    pub fn new(device: Device, first: &Tensor) -> Input {
        Input {
            device,
            current: Arc::new(Mutex::new(first.value().cloned())),
            #[cfg(feature = "cuda-unversioned")]
            fixed: std::sync::OnceLock::new(),
        }
    }
    /// Puts a tensor there, from wherever it is. On an error the one before stays.
    ///
    /// ```
    /// use chainrule::{DType, Device, Input, Tensor};
    /// let x = Input::new(Device::Cpu, &Tensor::zeros([2]));
    /// x.set(&Tensor::ones([2]))?;
    /// assert!(x.set(&Tensor::ones([2]).to_dtype(DType::F64)).is_err());
    /// assert_eq!(x.tensor().to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&self, tensor: &Tensor) -> Result<()> {
        let at = Location::caller();
        let new = tensor.value()?;
        let mut current = lock(&self.current);
        if let Ok(old) = &*current
            && (old.shape() != new.shape() || old.dtype() != new.dtype())
        {
            let what = format!("the input takes {:?} {}, this is {}", old.dims(), old.dtype(), tensor.describe());
            let help = "give every batch the same shape and element type: leave out or pad the last one";
            return Err(tensor.refuse("set", Fault::shape(what, help), at));
        }
        *current = Ok(new.clone());
        Ok(())
    }
    /// The tensor that was put there last, on the input's device. In a captured step it stands for what each replay finds.
    #[track_caller]
    pub fn tensor(&self) -> Tensor {
        let at = Location::caller();
        let found = if capture::is_plain() { self.current() } else { self.captured() };
        match found {
            Ok(value) => Tensor::from_value(value),
            Err(fault) => Tensor::failed(Error::with("input", fault, Vec::new(), at)),
        }
    }
    fn current(&self) -> std::result::Result<Value, Fault> {
        let mut current = lock(&self.current);
        let value =
            current.as_ref().map_err(|error| Fault::value(format!("the input's tensor has failed: {error}"), ""))?;
        let there = value.to(self.device)?;
        *current = Ok(there.clone());
        Ok(there)
    }
    /// The value in a step that is captured.
    #[cfg(feature = "cuda-unversioned")]
    fn captured(&self) -> std::result::Result<Value, Fault> {
        if !capture::is_recording() {
            let value = self.current()?;
            if self.fixed.get().is_none() {
                let _ = self.fixed.set(Value::room(self.device, *value.shape(), value.dtype())?);
            }
            return Ok(value);
        }
        let (Some(fixed), Device::Cuda(cuda)) = (self.fixed.get(), self.device) else {
            return Err(Fault::value(
                "an input is read that the first run of the captured step did not read",
                "let the step read the same inputs each time, from its own device",
            ));
        };
        let (own, current) = (fixed.clone(), self.current.clone());
        capture::before(move || match &*lock(&current) {
            Ok(value) => cuda.refill(&own, value),
            Err(error) => Err(Fault::value(format!("the input's tensor has failed: {error}"), "")),
        });
        Ok(fixed.clone())
    }
    #[cfg(not(feature = "cuda-unversioned"))]
    fn captured(&self) -> std::result::Result<Value, Fault> {
        self.current()
    }
}
