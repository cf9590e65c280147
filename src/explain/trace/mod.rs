//! One pass forward and backward, moment by moment: what each operation computed, what arrived at it, what it passed on.
//!
//! ```
//! use chainrule::explain::trace;
//! use chainrule::nn::{Init, Layer, Linear, Module, Sequential, Tanh};
//! use chainrule::optim::Sgd;
//! use chainrule::{Tensor, mse_loss};
//!
//! let mut init = Init::new().seed(1);
//! let mut model = Sequential::new()
//!     .then(Linear::new(2, 3, &mut init))
//!     .then(Tanh)
//!     .then(Linear::new(3, 1, &mut init))
//!     .named();
//! let (x, target) = (Tensor::from([[0.5, -1.0]]).named("x"), Tensor::from([[1.0]]).named("target"));
//!
//! let mut trace = trace(|| mse_loss(&model.forward(&x), &target))?;
//! trace.update(&mut model, &mut Sgd::new(0.1))?;
//! println!("{trace}");
//! trace.save(std::env::temp_dir().join("chainrule-first-trace.html"))?;
//! # std::fs::remove_file(std::env::temp_dir().join("chainrule-first-trace.html")).ok();
//! # Ok::<(), chainrule::Error>(())
//! ```

mod build;
mod equation;
mod findings;
mod graphs;
mod json;
mod numbers;
mod page;
mod places;
mod text;

use crate::device::Value;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::tensor::{Gradients, Step, Tensor, record};
use std::path::Path;

/// Runs `work`, which computes a loss, then goes backward from it; keeps every moment of both.
///
/// A trace holds all numbers of the pass until it is dropped: it is for small networks, or for single passes of larger ones.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::explain::trace;
/// let x = Tensor::from([3.0]).variable().named("x");
/// let trace = trace(|| (x.square() * 2.0).sum())?;
/// assert_eq!(trace.loss(), 18.0);
/// let names: Vec<&str> = trace.operations().iter().map(|operation| operation.name()).collect();
/// assert_eq!(names, ["square", "mul", "sum"]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn trace(work: impl FnOnce() -> Tensor) -> Result<Trace> {
    let (loss, recording) = record(work);
    let (gradients, visits) = recording.backward(&loss)?;
    build::trace(&loss, &recording, gradients, visits)
}

/// A pass forward and backward; see [`trace()`].
///
/// Printed, it is a table; [`save`](Trace::save) writes it as a page that a browser walks through, as a graph, or as JSON.
pub struct Trace {
    loss: f64,
    operations: Vec<Operation>,
    leaves: Vec<Leaf>,
    moments: Vec<Moment>,
    groups: Vec<Group>,
    updates: Vec<Update>,
    gradients: Gradients,
}

/// An operation of a [`Trace`].
pub struct Operation {
    step: Step,
    label: Option<String>,
    /// The innermost group it stands in.
    group: usize,
    operands: Vec<Origin>,
}

/// Where an operand of an [`Operation`] came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Result `result` of operation number `operation`.
    Operation {
        /// Which operation.
        operation: usize,
        /// Which of its results.
        result: usize,
    },
    /// Leaf number so and so.
    Leaf(usize),
}

/// What a [`Leaf`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// It gets a gradient: a parameter or a variable.
    Learnt,
    /// Numbers that are given.
    Data,
}

/// What was there before the first operation: a parameter, a variable, data.
pub struct Leaf {
    name: String,
    kind: LeafKind,
    id: Option<u64>,
    value: Value,
}

/// A moment of the way back: gradients have arrived at an operation or a leaf, and an operation passes them on.
pub struct Moment {
    at: At,
    arrived: Vec<Option<Value>>,
    /// Who passed the parts of what arrived: operations, each with the position of the operand.
    parts: Vec<(usize, usize)>,
    passed: Vec<(usize, Value)>,
}

/// Where a [`Moment`] happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At operation number so and so.
    Operation(usize),
    /// At leaf number so and so.
    Leaf(usize),
}

/// A module of the model, or one stretch of its work where it is used several times. The first of all is the whole.
struct Group {
    name: String,
    parent: Option<usize>,
}

/// What an optimizer did to a leaf.
struct Update {
    leaf: usize,
    after: Value,
}

impl Trace {
    /// The loss.
    pub fn loss(&self) -> f64 {
        self.loss
    }
    /// The operations, in the order they happened.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
    /// What was there before the first operation.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }
    /// The way back, newest operation first.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }
    /// The gradients it ended with.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }
    /// The module in which an operation stands, as in the names of its parameters: `blocks.0.attention`. Operations without
    /// parameters stand in the module that those before and after them share; of a module that is used again the second
    /// use is `name (2)`.
    ///
    /// ```
    /// use chainrule::explain::trace;
    /// use chainrule::nn::{Init, Layer, Linear, Module, Sequential};
    /// let model = Sequential::new().then(Linear::new(2, 1, &mut Init::new())).named();
    /// let trace = trace(|| model.forward(&chainrule::Tensor::ones([1, 2])).sum())?;
    /// assert_eq!((trace.place(0), trace.place(1)), ("0".to_string(), "".to_string()));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn place(&self, operation: usize) -> String {
        let mut parts = Vec::new();
        let mut group = self.operations.get(operation).map(|operation| operation.group);
        while let Some(here) = group.and_then(|group| self.groups.get(group)) {
            parts.push(here.name.as_str());
            group = here.parent;
        }
        // the last is the whole, which has no name
        parts.pop();
        parts.reverse();
        parts.join(".")
    }
    /// What a student should look at: saturated and dead units, gradients that vanish or explode, what is not finite.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::explain::trace;
    /// let x = Tensor::from([9.0, -8.0, 10.0]).variable();
    /// let trace = trace(|| x.sigmoid().sum())?;
    /// assert!(trace.findings()[0].contains("saturated"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn findings(&self) -> Vec<String> {
        findings::all(self).into_iter().map(|finding| format!("{}: {}", finding.name, finding.text)).collect()
    }
    /// One step of an optimizer with the gradients of this trace, which shows it as its last moments.
    ///
    /// ```
    /// use chainrule::explain::trace;
    /// use chainrule::nn::{Init, Layer, Linear, Module};
    /// use chainrule::{Tensor, optim::Sgd};
    /// let mut model = Linear::new(2, 1, &mut Init::new()).named();
    /// let mut trace = trace(|| model.forward(&Tensor::ones([1, 2])).sum())?;
    /// let before = model.bias.as_ref().unwrap().item()?;
    /// trace.update(&mut model, &mut Sgd::new(0.5))?;
    /// assert_eq!(model.bias.as_ref().unwrap().item()?, before - 0.5);
    /// assert!(trace.to_string().contains("update"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn update<M: Module>(&mut self, model: &mut M, optimizer: &mut impl Optimizer) -> Result<()> {
        optimizer.step(model, &self.gradients)?;
        self.updates.clear();
        for (_, parameter) in model.parameters() {
            let leaf = self.leaves.iter().position(|leaf| leaf.id == Some(parameter.id()));
            if let Some(leaf) = leaf {
                self.updates.push(Update { leaf, after: parameter.value()?.clone() });
            }
        }
        Ok(())
    }
    /// The graph for Graphviz: `dot -Tsvg`.
    ///
    /// ```
    /// use chainrule::{Tensor, explain::trace};
    /// let x = Tensor::from([3.0]).variable();
    /// assert!(trace(|| x.exp().sum())?.graphviz().starts_with("digraph"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn graphviz(&self) -> String {
        graphs::graphviz(self)
    }
    /// The graph for Mermaid, which many pages draw where it stands in a block of code.
    ///
    /// ```
    /// use chainrule::{Tensor, explain::trace};
    /// let x = Tensor::from([3.0]).variable();
    /// assert!(trace(|| x.exp().sum())?.mermaid().starts_with("flowchart"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn mermaid(&self) -> String {
        graphs::mermaid(self)
    }
    /// All of it as JSON: what the page shows. Tensors of up to 64 numbers stand in full, of larger ones there is a summary.
    ///
    /// ```
    /// use chainrule::{Tensor, explain::trace};
    /// let x = Tensor::from([3.0]).variable();
    /// assert!(trace(|| x.exp().sum())?.json().contains("\"name\":\"exp\""));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn json(&self) -> String {
        json::write(self)
    }
    /// All of it as one page, which needs nothing but a browser: a graph of the modules and operations, and a slider that
    /// walks through every moment.
    ///
    /// ```
    /// use chainrule::{Tensor, explain::trace};
    /// let x = Tensor::from([3.0]).variable();
    /// assert!(trace(|| x.exp().sum())?.html("A first trace").contains("<title>A first trace</title>"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn html(&self, title: &str) -> String {
        page::html(self, title)
    }
    /// Writes it in the form that the file's ending names: `.html`, `.json`, `.dot` (Graphviz), `.mmd` (Mermaid), `.txt`.
    ///
    /// ```
    /// use chainrule::{Tensor, explain::trace};
    /// let x = Tensor::from([3.0]).variable();
    /// let error = trace(|| x.exp().sum())?.save("trace.docx").unwrap_err();
    /// assert!(error.to_string().contains(".html"));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let text = match ending {
            "html" => self.html(path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("trace")),
            "json" => self.json(),
            "dot" => self.graphviz(),
            "mmd" => self.mermaid(),
            "txt" => self.to_string(),
            _ => {
                let what = format!("{} has no ending that says how a trace is written", path.display());
                let help = "end it in .html, .json, .dot, .mmd or .txt";
                return Err(Error::new("trace", Fault::new(ErrorKind::Value, what, help)));
            }
        };
        crate::io::write_file("trace", path, text.as_bytes())
    }
}

impl Operation {
    /// The operation's name.
    pub fn name(&self) -> &'static str {
        self.step.name()
    }
    /// The name that the program gave its result, by [`named`](Tensor::named).
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }
    /// The operation itself.
    pub fn step(&self) -> &Step {
        &self.step
    }
    /// Where its operands came from.
    pub fn operands(&self) -> &[Origin] {
        &self.operands
    }
    /// What it computes, as a line of mathematics.
    ///
    /// ```
    /// use chainrule::{Tensor, explain::trace};
    /// let x = Tensor::from([3.0]).variable();
    /// let trace = trace(|| x.tanh().sum())?;
    /// assert_eq!(trace.operations()[0].equation(), "y = tanh(x)");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn equation(&self) -> String {
        equation::forward(self)
    }
}

impl Leaf {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What it is.
    pub fn kind(&self) -> LeafKind {
        self.kind
    }
    /// Its numbers, as they were in the pass.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl Moment {
    /// Where.
    pub fn at(&self) -> At {
        self.at
    }
    /// What has arrived for each result, summed over the paths that meet there.
    pub fn arrived(&self) -> &[Option<Value>] {
        &self.arrived
    }
    /// Who passed on the parts of what arrived: operations, each with the position of its operand.
    pub fn parts(&self) -> &[(usize, usize)] {
        &self.parts
    }
    /// What goes on to which operand.
    pub fn passed(&self) -> &[(usize, Value)] {
        &self.passed
    }
}
