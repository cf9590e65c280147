//! The tensors of a model by name: taken out, given back, converted.

use super::{Module, Path, Running, Visit, VisitMut};
use crate::device::{Draw, Random};
use crate::error::{Error, Fault, Result};
use crate::layout::DType;
use crate::tensor::{Parameter, State, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;

/// What came of giving a model tensors by name.
///
/// ```
/// use chainrule::nn::{Init, Linear, Module};
/// use chainrule::Tensor;
/// let mut layer = Linear::new(4, 2, &mut Init::new());
/// let load = layer.load_tensors([("weight".to_string(), Tensor::zeros([2, 5])), ("scale".to_string(), Tensor::ones([2]))]);
/// assert_eq!((load.missing(), load.left_over()), (&["bias".to_string()][..], &["scale".to_string()][..]));
/// assert!(load.to_string().contains("weight: the model has [2, 4], the file [2, 5]"));
/// assert!(load.strict().is_err());
/// ```
#[must_use = "it says what did not match: call strict() or look"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    matched: Vec<String>,
    missing: Vec<String>,
    left_over: Vec<String>,
    refused: Vec<(String, String)>,
}

impl Load {
    /// The names whose numbers the model has taken.
    pub fn matched(&self) -> &[String] {
        &self.matched
    }
    /// The model's names for which nothing was given.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
    /// The given names that the model does not have.
    pub fn left_over(&self) -> &[String] {
        &self.left_over
    }
    /// The names whose numbers do not fit, each with the reason: another shape, a failed tensor.
    pub fn refused(&self) -> &[(String, String)] {
        &self.refused
    }
    /// An error where anything was missing, left over or refused.
    #[track_caller]
    pub fn strict(self) -> Result<Load> {
        if self.missing.is_empty() && self.left_over.is_empty() && self.refused.is_empty() {
            return Ok(self);
        }
        let help = "load the file this model was saved to, or look at the report instead of calling strict()";
        Err(Error::new("load", Fault::value(format!("the names do not match: {self}"), help)))
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} matched", self.matched.len())?;
        let list = |f: &mut fmt::Formatter<'_>, what: &str, names: &[String]| match names {
            [] => Ok(()),
            names => {
                let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
                let more = if names.len() > shown.len() { ", ..." } else { "" };
                write!(f, "; {} {what}: {}{more}", names.len(), shown.join(", "))
            }
        };
        list(f, "missing", &self.missing)?;
        list(f, "left over", &self.left_over)?;
        let refused: Vec<String> = self.refused.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        list(f, "refused", &refused)
    }
}

/// Everything that a walk over a model shows.
#[derive(Default)]
struct Contents<'a> {
    tensors: Vec<(String, Tensor)>,
    /// Which of the tensors are running states, not parameters.
    states: Vec<bool>,
    streams: Vec<(String, &'a Running<Random>)>,
    aliases: Vec<(String, String)>,
}

impl<'a> Visit<'a> for Contents<'a> {
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a Parameter) {
        self.tensors.push((path.to_string(), parameter.detach()));
        self.states.push(false);
    }
    fn running(&mut self, path: &Path<'_>, running: &'a Running<Tensor>) {
        self.tensors.push((path.to_string(), running.get()));
        self.states.push(true);
    }
    fn stream(&mut self, path: &Path<'_>, stream: &'a Running<Random>) {
        self.streams.push((path.to_string(), stream));
    }
    fn alias(&mut self, path: &Path<'_>, of: &Path<'_>) {
        self.aliases.push((path.to_string(), of.to_string()));
    }
}

fn contents<M: Module + ?Sized>(module: &M) -> Contents<'_> {
    let mut contents = Contents::default();
    module.visit(&Path::ROOT, &mut contents);
    contents
}

/// Writes new tensors over old ones, in the order of a walk: what was checked before and cannot fail any more.
struct Write(std::vec::IntoIter<Option<Tensor>>);

impl<'a> VisitMut<'a> for Write {
    fn parameter(&mut self, _: &Path<'_>, parameter: &'a mut Parameter) {
        if let Some(tensor) = self.0.next().flatten() {
            parameter.replace(&tensor);
        }
    }
    fn running(&mut self, _: &Path<'_>, running: &'a mut Running<Tensor>) {
        if let Some(tensor) = self.0.next().flatten() {
            running.set(tensor.detach());
        }
    }
}

fn write<M: Module + ?Sized>(module: &mut M, tensors: Vec<Option<Tensor>>) {
    module.visit_mut(&Path::ROOT, &mut Write(tensors.into_iter()));
}

#[track_caller]
pub(super) fn check_float(dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    let fault = Fault::dtype(format!("{dtype} numbers cannot be learnt"), "cast to a float type: F32, F64, BF16, F16");
    Err(Error::new("cast", fault))
}

/// Replaces every tensor by what `change` makes of it, which is told of running states. On an error nothing has changed.
pub(super) fn convert<M: Module + ?Sized>(module: &mut M, change: &dyn Fn(&Tensor, bool) -> Tensor) -> Result<()> {
    let mut changed = Vec::new();
    let contents = contents(module);
    for ((_, tensor), is_state) in contents.tensors.iter().zip(contents.states) {
        changed.push(Some(change(tensor, is_state).checked()?));
    }
    write(module, changed);
    Ok(())
}

pub(super) fn tensors<M: Module + ?Sized>(module: &M) -> Result<Vec<(String, Tensor)>> {
    contents(module).tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.checked()?))).collect()
}

pub(super) fn load<M: Module + ?Sized>(module: &mut M, given: Vec<(String, Tensor)>) -> Load {
    let given: BTreeMap<String, Tensor> = given.into_iter().collect();
    let mut used = BTreeSet::new();
    let mut report = Load::default();
    let mut new = Vec::new();
    let contents = contents(module);
    for (name, old) in contents.tensors {
        let aliases = contents.aliases.iter().filter(|(_, of)| *of == name).map(|(alias, _)| alias);
        let found =
            std::iter::once(&name).chain(aliases).filter_map(|name| given.get_key_value(name)).inspect(|(name, _)| {
                used.insert((*name).clone());
            });
        // Every name of a tied weight counts as used; the first one there is gives the numbers.
        let found: Vec<_> = found.collect();
        new.push(match found.first() {
            None => {
                report.missing.push(name);
                None
            }
            Some((_, tensor)) => match fitting(&old, tensor) {
                Ok(tensor) => {
                    report.matched.push(name);
                    Some(tensor)
                }
                Err(why) => {
                    report.refused.push((name, why));
                    None
                }
            },
        });
    }
    report.left_over = given.into_keys().filter(|name| !used.contains(name)).collect();
    write(module, new);
    report
}

/// The new numbers in the old ones' element type, on their device, or why they do not fit.
fn fitting(old: &Tensor, new: &Tensor) -> std::result::Result<Tensor, String> {
    let dims =
        |tensor: &Tensor| tensor.value().map(|value| value.dims().to_vec()).map_err(|error| error.what().to_string());
    let (was, is) = (dims(old)?, dims(new)?);
    if was != is {
        return Err(format!("the model has {was:?}, the file {is:?}"));
    }
    let taken = || new.detach().to(old.device()?).to_dtype(old.dtype()?).checked();
    taken().map_err(|error| error.what().to_string())
}

pub(super) fn state<M: Module + ?Sized>(module: &M) -> Result<State> {
    let contents = contents(module);
    let (mut tensors, mut streams, mut state) = (State::tree(), State::tree(), State::tree());
    for (name, tensor) in contents.tensors {
        tensors.insert(name, State::Tensor(tensor))?;
    }
    for (name, stream) in contents.streams {
        streams.insert(name, stream_state(stream.get().position()))?;
    }
    state.insert("tensors", tensors)?;
    state.insert("streams", streams)?;
    Ok(state)
}

/// The position of a stream as it is saved; the bits of the unsigned numbers are kept.
fn stream_state(position: Draw) -> State {
    let Draw { seed, stream, number } = position;
    State::List(vec![State::Integer(seed as i64), State::Integer(stream.into()), State::Integer(number as i64)])
}

#[track_caller]
fn stream_of(state: &State) -> Result<Random> {
    let place = Location::caller();
    let wrong = || {
        let fault = Fault::value("this is no position of a stream", "the state is of something else");
        Error::with("load_state", fault, Vec::new(), place)
    };
    match state.list()? {
        [seed, stream, number] => {
            let stream = u32::try_from(stream.integer()?).map_err(|_| wrong())?;
            Ok(Random::resume(Draw { seed: seed.integer()? as u64, stream, number: number.integer()? as u64 }))
        }
        _ => Err(wrong()),
    }
}

struct Streams(std::vec::IntoIter<Random>);

impl<'a> VisitMut<'a> for Streams {
    fn parameter(&mut self, _: &Path<'_>, _: &'a mut Parameter) {}
    fn stream(&mut self, _: &Path<'_>, stream: &'a mut Running<Random>) {
        if let Some(random) = self.0.next() {
            stream.set(random);
        }
    }
}

#[track_caller]
pub(super) fn load_state<M: Module + ?Sized>(module: &mut M, state: &State) -> Result<()> {
    let (given, positions) = (state.get("tensors")?, state.get("streams")?);
    let (mut tensors, mut streams) = (Vec::new(), Vec::new());
    let contents = contents(module);
    for (name, old) in contents.tensors {
        let new = given.get(&name)?.tensor()?;
        let same = new.dtype()? == old.dtype()? && new.shape()? == old.shape()?;
        if !same {
            let what = format!("{name} is {} here and {} in the state", old.describe(), new.describe());
            return Err(Error::new(
                "load_state",
                Fault::shape(what, "the state is of another model; load_tensors takes what fits"),
            ));
        }
        tensors.push(Some(new.to(old.device()?).checked()?));
    }
    for (name, _) in contents.streams {
        streams.push(stream_of(positions.get(&name)?)?);
    }
    write(module, tensors);
    module.visit_mut(&Path::ROOT, &mut Streams(streams.into_iter()));
    Ok(())
}
