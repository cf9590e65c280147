//! Tensors by name, in the order of their file.

use crate::error::{Error, Fault, Result};
use crate::layout::put_in_order;
use crate::tensor::{State, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Tensors by name, in the order they came, with the texts that the file carries beside them.
///
/// ```
/// use chainrule::{Tensor, io::Tensors};
/// let mut tensors = Tensors::new();
/// tensors.insert("fc1.weight", Tensor::zeros([8, 2]))?;
/// tensors.insert("fc1.bias", Tensor::zeros([8]))?;
/// assert_eq!(tensors.get("fc1.bias")?.dims()?, [8]);
/// assert!(tensors.get("fc1.wieght").unwrap_err().help().contains("fc1.weight"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Tensors {
    entries: Vec<(String, Tensor)>,
    places: HashMap<String, usize>,
    metadata: BTreeMap<String, String>,
}

impl Tensors {
    /// None yet.
    ///
    /// ```
    /// assert!(chainrule::io::Tensors::new().is_empty());
    /// ```
    pub fn new() -> Tensors {
        Tensors::default()
    }
    /// Adds a tensor, without its history. A failed tensor and a name that is taken are errors.
    ///
    /// ```
    /// use chainrule::{Tensor, io::Tensors};
    /// let mut tensors = Tensors::new();
    /// tensors.insert("x", Tensor::zeros([2]))?;
    /// assert!(tensors.insert("x", Tensor::zeros([2])).is_err());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Result<()> {
        let value = tensor.value()?.clone();
        self.add(name.into(), Tensor::from_value(value)).map_err(|fault| Error::new("tensors", fault))
    }
    pub(super) fn add(&mut self, name: String, tensor: Tensor) -> Result<(), Fault> {
        if self.places.insert(name.clone(), self.entries.len()).is_some() {
            let what = format!("there are two tensors named {name:?}");
            // The first one keeps its place.
            let first = self.entries.iter().position(|(other, _)| *other == name).unwrap_or_default();
            self.places.insert(name, first);
            return Err(Fault::value(what, "every tensor needs a name of its own"));
        }
        self.entries.push((name, tensor));
        Ok(())
    }
    /// The tensor of a name; the error lists names that come near.
    ///
    /// ```
    /// # use chainrule::{Tensor, io::Tensors};
    /// # let mut tensors = Tensors::new();
    /// tensors.insert("x", Tensor::ones([2]))?;
    /// assert_eq!(tensors.get("x")?.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.places.get(name).and_then(|&place| self.entries.get(place));
        match found {
            Some((_, tensor)) => Ok(tensor),
            None => Err(Error::new("tensors", missing(name, self.names()))),
        }
    }
    /// Is there a tensor of this name?
    ///
    /// ```
    /// assert!(!chainrule::io::Tensors::new().contains("x"));
    /// ```
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }
    /// The names, in order.
    ///
    /// ```
    /// # use chainrule::{Tensor, io::Tensors};
    /// # let mut tensors = Tensors::new();
    /// tensors.insert("b", Tensor::zeros([2]))?;
    /// tensors.insert("a", Tensor::zeros([2]))?;
    /// assert!(tensors.names().eq(["b", "a"]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }
    /// Names and tensors, in order.
    ///
    /// ```
    /// let tensors = chainrule::io::Tensors::new();
    /// let count: usize = tensors.iter().map(|(_, tensor)| tensor.count().unwrap_or(0)).sum();
    /// assert_eq!(count, 0);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The texts that the file carries beside its tensors.
    ///
    /// ```
    /// let mut tensors = chainrule::io::Tensors::new();
    /// tensors.metadata_mut().insert("format".into(), "pt".into());
    /// assert_eq!(tensors.metadata()["format"], "pt");
    /// ```
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
    /// The texts beside the tensors, to add to.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }
    /// The same tensors under other names; those renamed to `None` are left out. Two equal names are an error.
    ///
    /// ```
    /// use chainrule::{Tensor, io::Tensors};
    /// let mut tensors = Tensors::new();
    /// tensors.insert("module.fc.weight", Tensor::zeros([2]))?;
    /// tensors.insert("step", Tensor::zeros([1]))?;
    /// let model = tensors.renamed(|name| Some(name.strip_prefix("module.")?.to_string()))?;
    /// assert!(model.names().eq(["fc.weight"]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn renamed(&self, name: impl Fn(&str) -> Option<String>) -> Result<Tensors> {
        let mut renamed = Tensors { metadata: self.metadata.clone(), ..Tensors::default() };
        for (old, tensor) in self.iter() {
            if let Some(new) = name(old) {
                renamed.add(new, tensor.clone()).map_err(|fault| Error::new("tensors", fault))?;
            }
        }
        Ok(renamed)
    }
    /// The tensors whose names begin with a prefix, without it: what belongs to one part of a model.
    ///
    /// ```
    /// use chainrule::{Tensor, io::Tensors};
    /// let mut tensors = Tensors::new();
    /// tensors.insert("encoder.weight", Tensor::zeros([2]))?;
    /// tensors.insert("decoder.weight", Tensor::zeros([2]))?;
    /// assert!(tensors.under("encoder.").names().eq(["weight"]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn under(&self, prefix: &str) -> Tensors {
        let mut under = Tensors { metadata: self.metadata.clone(), ..Tensors::default() };
        for (name, tensor) in self.iter() {
            if let Some(name) = name.strip_prefix(prefix) {
                // Different names with the same beginning differ after it.
                let _ = under.add(name.to_string(), tensor.clone());
            }
        }
        under
    }
    /// All tensors of a tree, named by their path: `model.fc1.weight`. A tree that is one tensor names it `tensor`.
    ///
    /// ```
    /// use chainrule::{State, Tensor, io::Tensors};
    /// let mut model = State::tree();
    /// model.insert("weight", State::Tensor(Tensor::zeros([2])))?;
    /// let mut state = State::tree();
    /// state.insert("epoch", State::Integer(3))?;
    /// state.insert("model", model)?;
    /// assert!(Tensors::from_state(&state)?.names().eq(["model.weight"]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn from_state(state: &State) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        gather(state, &mut String::new(), 0, &mut tensors).map_err(|fault| Error::new("tensors", fault))?;
        Ok(tensors)
    }
}

/// Paths are joined from names, so a small tree could have vast ones.
const LONGEST_PATH: usize = 500;

fn gather(state: &State, path: &mut String, depth: usize, into: &mut Tensors) -> Result<(), Fault> {
    if depth > super::json::DEEPEST {
        return Err(too_deep());
    }
    let before = path.len();
    let mut inside = |name: &str, state: &State, path: &mut String| {
        if before > 0 {
            path.push('.');
        }
        path.push_str(name);
        if path.len() > LONGEST_PATH {
            let what = format!("a path in the tree is longer than {LONGEST_PATH} bytes: {:?}", shown(path));
            return Err(Fault::value(what, "names of tensors need no such length"));
        }
        let done = gather(state, path, depth + 1, into);
        path.truncate(before);
        done
    };
    match state {
        State::Tree(tree) => tree.iter().try_for_each(|(name, state)| inside(name, state, path)),
        State::List(list) => {
            list.iter().enumerate().try_for_each(|(place, state)| inside(&place.to_string(), state, path))
        }
        State::Tensor(tensor) => {
            let value = tensor.value().map_err(|error| Fault::value(error.what(), error.help()))?;
            let name = if path.is_empty() { "tensor" } else { path };
            into.add(name.to_string(), Tensor::from_value(value.clone()))
        }
        State::Flag(_) | State::Integer(_) | State::Number(_) | State::Text(_) => Ok(()),
    }
}

#[cold]
pub(super) fn too_deep() -> Fault {
    Fault::value(format!("the tree is more than {} deep", super::json::DEEPEST), "a tree of names needs no such depth")
}

impl<'a> IntoIterator for &'a Tensors {
    type Item = (&'a str, &'a Tensor);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'a>;
    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

/// Names and tensors, in order: what `model.load_tensors` takes.
impl IntoIterator for Tensors {
    type Item = (String, Tensor);
    type IntoIter = std::vec::IntoIter<(String, Tensor)>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// One line for each tensor: its name, its shape, its element type.
impl fmt::Debug for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.names().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, tensor) in self.iter() {
            match tensor.value() {
                Ok(value) => writeln!(f, "{name:width$}  {:?} {}", value.shape(), value.dtype())?,
                Err(error) => writeln!(f, "{name:width$}  failed: {}", error.what())?,
            }
        }
        Ok(())
    }
}

/// A name that is not there, and those that come near.
#[cold]
pub(super) fn missing<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Fault {
    let names: Vec<&str> = names.take(10_000).collect();
    let near = near(name, &names);
    let help = match (names.is_empty(), near.is_empty()) {
        (true, _) => "there are no tensors at all".to_string(),
        (_, false) => format!("names that come near: {}", near.join(", ")),
        _ => {
            let first: Vec<String> = names.iter().take(8).map(|name| shown(name)).collect();
            format!("the names are: {}{}", first.join(", "), if names.len() > 8 { ", ..." } else { "" })
        }
    };
    Fault::value(format!("there is no tensor named {:?}", shown(name)), help)
}

/// The start of a name that may be of any length.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 100;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_string(),
    }
}

/// Up to four names that differ by little, or that end alike or hold the one asked for.
fn near(wanted: &str, names: &[&str]) -> Vec<String> {
    let wanted = shown(wanted);
    let last = wanted.rsplit('.').next().unwrap_or_default();
    let mut found: Vec<(usize, &str)> = Vec::new();
    for &name in names.iter().filter(|name| name.len() <= 200) {
        let close = distance(&wanted, name);
        let limit = wanted.chars().count().max(4) / 4;
        let holds = !wanted.is_empty() && (name.contains(wanted.as_str()) || wanted.contains(name));
        let ends_alike = !last.is_empty() && wanted.contains('.') && name.rsplit('.').next() == Some(last);
        if close <= limit || holds {
            found.push((close.min(limit), name));
        } else if ends_alike {
            found.push((limit + close, name));
        }
    }
    put_in_order(&mut found, &|a, b| a.0.cmp(&b.0));
    found.into_iter().take(4).map(|(_, name)| name.to_string()).collect()
}

/// How many letters must be put in, left out or exchanged.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (&y, above) in b.iter().zip(&mut row[1..]) {
            let here = (diagonal + (x != y) as usize).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("weight", "wieght"), 2);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_missing_name_shows_the_near_ones() {
        let names = ["encoder.0.weight", "encoder.0.bias", "head.weight"];
        let fault = missing("encoder.0.wight", names.into_iter());
        assert!(fault.help().starts_with("names that come near: encoder.0.weight"), "{}", fault.help());
        let fault = missing("model.head.weight", names.into_iter());
        assert!(fault.help().contains("head.weight"), "{}", fault.help());
        assert!(missing("x", std::iter::empty()).help().contains("no tensors"));
    }
}
