//! A tree of names, numbers, texts and tensors: what optimizers, loaders and models give to a checkpoint and take back.

use super::Tensor;
use crate::error::{Error, Fault, Result};
use std::collections::BTreeMap;

/// A tree of named things that can be saved.
///
/// ```
/// use chainrule::{State, Tensor};
/// let mut state = State::tree();
/// state.insert("step", State::Integer(3))?;
/// state.insert("momentum", State::Tensor(Tensor::zeros([2])))?;
/// assert_eq!(state.get("step")?.integer()?, 3);
/// assert!(state.get("rate").unwrap_err().to_string().contains("momentum, step"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum State {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A tensor, without its history.
    Tensor(Tensor),
    /// Things in order.
    List(Vec<State>),
    /// Things by name.
    Tree(BTreeMap<String, State>),
}

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident: $Variant:ident($x:ident) -> $t:ty = $read:expr;)*) => { $(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(&self) -> Result<$t> {
            match self {
                State::$Variant($x) => Ok($read),
                other => Err(other.is_not(stringify!($name))),
            }
        }
    )* };
}

impl State {
    /// An empty tree.
    pub fn tree() -> State {
        State::Tree(BTreeMap::new())
    }
    /// Puts something into a tree under a name; a failed tensor is refused with its error.
    #[track_caller]
    pub fn insert(&mut self, name: impl Into<String>, what: State) -> Result<()> {
        if let State::Tensor(tensor) = &what {
            tensor.value()?;
        }
        match self {
            State::Tree(tree) => {
                tree.insert(name.into(), what);
                Ok(())
            }
            other => Err(other.is_not("tree")),
        }
    }
    /// What a tree holds under a name; the error lists the names there are.
    #[track_caller]
    pub fn get(&self, name: &str) -> Result<&State> {
        let State::Tree(tree) = self else { return Err(self.is_not("tree")) };
        match tree.get(name) {
            Some(state) => Ok(state),
            None => {
                let names: Vec<&str> = tree.keys().map(String::as_str).collect();
                let help = format!("the names here are: {}", names.join(", "));
                Err(Error::new("state", Fault::value(format!("there is nothing named {name:?}"), help)))
            }
        }
    }
    readers! {
        /// The flag; an error where this is something else.
        flag: Flag(x) -> bool = *x;
        /// The whole number; an error where this is something else.
        integer: Integer(x) -> i64 = *x;
        /// The number; an error where this is something else.
        number: Number(x) -> f64 = *x;
        /// The text; an error where this is something else.
        text: Text(x) -> &str = x;
        /// The tensor; an error where this is something else.
        tensor: Tensor(x) -> &Tensor = x;
        /// The list; an error where this is something else.
        list: List(x) -> &[State] = x;
    }
    #[cold]
    #[track_caller]
    fn is_not(&self, wanted: &str) -> Error {
        let is = match self {
            State::Flag(_) => "a flag",
            State::Integer(_) => "an integer",
            State::Number(_) => "a number",
            State::Text(_) => "a text",
            State::Tensor(_) => "a tensor",
            State::List(_) => "a list",
            State::Tree(_) => "a tree",
        };
        let help = "the state was written by something else, or by another version";
        Error::new("state", Fault::value(format!("a {wanted} was expected, this is {is}"), help))
    }
}
