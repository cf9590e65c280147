//! What each operation of the reference cases is called here.
//!
//! How to map an operation: in the file of its family add an arm to `call`, in the manifest's name:
//!
//! ```text
//! "softmax" => one(case.x().softmax(case.int("dim"))),
//! "max" => list(case.x().max_with_index(case.int("dim"))),
//! ```
//!
//! A layer is built from `case.constructor`; `case.load(&mut layer)` gives it the operands that are its parameters, and hands
//! their gradients back by name:
//!
//! ```text
//! "linear" => {
//!     let mut layer = Linear::new(case.built_with_int("in_features"), .., &mut case.init());
//!     case.load(&mut layer);
//!     one(layer.forward(case.x()))
//! }
//! ```
//!
//! The operands come as tensors, views applied, in f64 or f32 (integers and bools as they are). The harness compares every result
//! and every gradient. Then take the name out of `tests/pending.txt`. Names that begin with `edge_` run the same arm.
//! `CHAINRULE_CASES=softmax cargo test --test reference` runs the cases whose name contains it.
#![allow(dead_code, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

mod attention;
mod conv;
mod index;
mod loss;
mod matmul;
mod norm;
mod optim;
mod pointwise;
mod pool;
mod reduce;
mod rnn;
mod sched;
mod shape;
mod softmax;

use chainrule::nn::{Init, Module};
use chainrule::{DType, Tensor};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The results of a case, in the order of the manifest's outputs.
pub type Results = Vec<Tensor>;

/// One operand.
pub struct Operand {
    /// PyTorch's name of it.
    pub name: String,
    /// Positional, or by keyword?
    pub positional: bool,
    /// A parameter of the layer?
    pub parameter: bool,
    /// What the operation receives.
    pub tensor: Tensor,
}

/// A case as a mapping sees it.
pub struct Case<'a> {
    /// The manifest's name of the operation, without `edge_`.
    pub op: &'a str,
    /// The attributes, in PyTorch's names.
    pub attributes: &'a Value,
    /// The arguments of a module's constructor; null for a function.
    pub constructor: &'a Value,
    /// The operands, in PyTorch's order.
    pub operands: Vec<Operand>,
    /// The float type of this run.
    pub dtype: DType,
    /// The parameters of the layer that took its operands, as they were in forward.
    pub learnt: RefCell<BTreeMap<String, Tensor>>,
}

impl Case<'_> {
    /// The first operand.
    pub fn x(&self) -> &Tensor {
        &self.operands[0].tensor
    }
    /// The second operand.
    pub fn y(&self) -> &Tensor {
        &self.operands[1].tensor
    }
    /// Operand `i`.
    pub fn at(&self, i: usize) -> &Tensor {
        &self.operands[i].tensor
    }
    /// All operands: for cat, stack, einsum.
    pub fn all(&self) -> Vec<&Tensor> {
        self.operands.iter().map(|operand| &operand.tensor).collect()
    }
    /// The operand of this name, where there is one: `case.named("bias")`.
    pub fn named(&self, name: &str) -> Option<&Tensor> {
        self.operands.iter().find(|operand| operand.name == name).map(|operand| &operand.tensor)
    }
    /// What a layer of this case is made with.
    pub fn init(&self) -> Init {
        Init::empty().dtype(self.dtype)
    }
    /// Gives a layer the operands that are parameters: all of them, and to all of its own.
    pub fn load(&self, layer: &mut impl Module) {
        let given = self.operands.iter().filter(|operand| operand.parameter);
        let given: Vec<(String, Tensor)> = given.map(|o| (o.name.clone(), o.tensor.clone())).collect();
        if let Err(error) = layer.load_tensors(given).strict() {
            panic!("{error}");
        }
        let learnt = layer.parameters().into_iter().map(|(name, parameter)| (name, Tensor::clone(parameter)));
        self.learnt.borrow_mut().extend(learnt);
    }
    /// Is this argument of the constructor there, and not null?
    pub fn built_with(&self, name: &str) -> bool {
        !self.constructor[name].is_null()
    }
    /// A whole number of the constructor.
    pub fn built_with_int(&self, name: &str) -> usize {
        let number = self.constructor[name].as_u64();
        number.unwrap_or_else(|| panic!("no whole number {name} in {}", self.constructor)) as usize
    }
    /// A number of the constructor, or this where it is not given.
    pub fn built_with_float(&self, name: &str, default: f64) -> f64 {
        self.constructor[name].as_f64().unwrap_or(default)
    }
    /// Yes or no of the constructor, or this where it is not given.
    pub fn built_with_flag(&self, name: &str, default: bool) -> bool {
        self.constructor[name].as_bool().unwrap_or(default)
    }
    /// Is this attribute there, and not null?
    pub fn has(&self, name: &str) -> bool {
        !self.attributes[name].is_null()
    }
    /// A whole number.
    pub fn int(&self, name: &str) -> isize {
        self.int_or(name, None)
    }
    /// A whole number, or this where it is not given.
    pub fn int_or(&self, name: &str, default: impl Into<Option<isize>>) -> isize {
        let value = &self.attributes[name];
        let number = value.as_i64().or(value.as_f64().map(|x| x as i64)).map(|x| x as isize);
        number.or(default.into()).unwrap_or_else(|| panic!("no whole number {name} in {}", self.attributes))
    }
    /// A number; "inf" and "-inf" too.
    pub fn float(&self, name: &str) -> f64 {
        self.float_or(name, None)
    }
    /// A number, or this where it is not given.
    pub fn float_or(&self, name: &str, default: impl Into<Option<f64>>) -> f64 {
        let value = &self.attributes[name];
        let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        number.or(default.into()).unwrap_or_else(|| panic!("no number {name} in {}", self.attributes))
    }
    /// True or false; false where it is not given.
    pub fn flag(&self, name: &str) -> bool {
        self.attributes[name].as_bool().unwrap_or(false)
    }
    /// True or false, or this where it is not given.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.attributes[name].as_bool().unwrap_or(default)
    }
    /// A text.
    pub fn text(&self, name: &str) -> &str {
        self.text_or(name, None)
    }
    /// A text, or this where it is not given.
    pub fn text_or<'b>(&'b self, name: &str, default: impl Into<Option<&'b str>>) -> &'b str {
        let text = self.attributes[name].as_str().or(default.into());
        text.unwrap_or_else(|| panic!("no text {name} in {}", self.attributes))
    }
    /// Whole numbers; a single one is a list of one, an absent one is empty.
    pub fn ints(&self, name: &str) -> Vec<isize> {
        match &self.attributes[name] {
            Value::Array(items) => items.iter().filter_map(Value::as_i64).map(|x| x as isize).collect(),
            Value::Null => Vec::new(),
            _ => vec![self.int(name)],
        }
    }
    /// Whole numbers, one for each of `count` axes: a single one stands for all, an absent one is `default`.
    pub fn each(&self, name: &str, count: usize, default: isize) -> Vec<isize> {
        let mut numbers = self.ints(name);
        if numbers.is_empty() {
            numbers.push(default);
        }
        if numbers.len() == 1 {
            numbers.resize(count, numbers[0]);
        }
        numbers
    }
    /// As [`each`](Case::each), in the unsigned form of sizes.
    pub fn sizes(&self, name: &str, count: usize, default: usize) -> Vec<usize> {
        self.each(name, count, default as isize).into_iter().map(|x| x as usize).collect()
    }
}

/// One result.
pub fn one(result: Tensor) -> Results {
    vec![result]
}
/// Several results.
pub fn list(results: impl IntoIterator<Item = Tensor>) -> Results {
    results.into_iter().collect()
}

/// The results of a case, or None where no family knows the operation.
pub fn call(case: &Case) -> Option<Results> {
    let families = [
        optim::call,
        sched::call,
        pointwise::call,
        shape::call,
        matmul::call,
        reduce::call,
        softmax::call,
        norm::call,
        conv::call,
        pool::call,
        index::call,
        attention::call,
        rnn::call,
        loss::call,
    ];
    families.iter().find_map(|family| family(case))
}
