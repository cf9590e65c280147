//! One function walks the graph: newest first, from the roots down to leaves or to chosen tensors.
//!
//! Ids grow, so *newest first* is a topological order: when a node is taken, every gradient that can arrive for it has
//! arrived. Nothing recurses, so a graph may be as long as memory allows.

use super::Tensor;
use super::gradients::{Cut, Entry, Gradients};
use super::graph::{History, Leaf, Node, Place, Saved};
use super::op::{Call, InputGradients, Op, Tensors, Wanted};
use super::own::{add_up, identity, undo_broadcast};
use super::scopes::{modes, with_modes};
use crate::device::{Value, profile};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::put_in_order;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

/// A node that waits for its turn, with the gradients that have arrived for its results.
struct Waiting {
    node: Arc<Node>,
    arrived: SmallVec<[Option<Tensor>; 1]>,
}

/// Nodes by id. A few stand in a sorted vector, which is fastest; many in a tree.
#[derive(Default)]
struct Queue {
    few: Vec<Waiting>,
    many: BTreeMap<u64, Waiting>,
}

const FEW: usize = 32;

impl Queue {
    fn newest(&mut self) -> Option<Waiting> {
        if self.many.is_empty() { self.few.pop() } else { self.many.pop_last().map(|(_, waiting)| waiting) }
    }
    /// Adds a gradient to what has arrived for result `output` of `node`.
    fn arrive(&mut self, node: &Arc<Node>, output: usize, gradient: Tensor) {
        let waiting = self.find(node);
        if let Some(slot) = waiting.arrived.get_mut(output) {
            *slot = Some(match slot.take() {
                None => gradient,
                Some(sum) => add_up(sum, &gradient),
            });
        }
    }
    fn find(&mut self, node: &Arc<Node>) -> &mut Waiting {
        let fresh = || {
            let mut arrived = SmallVec::new();
            for _ in 0..node.results().len() {
                arrived.push(None);
            }
            Waiting { node: node.clone(), arrived }
        };
        if self.few.len() >= FEW {
            self.many.extend(self.few.drain(..).map(|waiting| (waiting.node.id, waiting)));
        }
        if !self.many.is_empty() {
            return self.many.entry(node.id).or_insert_with(fresh);
        }
        // Most gradients go to a node that is among the newest.
        let mut at = self.few.len();
        while at > 0 && self.few[at - 1].node.id > node.id {
            at -= 1;
        }
        if at > 0 && self.few[at - 1].node.id == node.id {
            return &mut self.few[at - 1];
        }
        self.few.insert(at, fresh());
        &mut self.few[at]
    }
}

/// Where a walk goes and what it leaves behind.
pub(crate) struct Walk<'a> {
    /// Tensors whose gradients are sought, as (node id, result); `None`: all leaves.
    pub(crate) targets: Option<&'a [(u64, usize)]>,
    /// Are the gradients themselves recorded?
    pub(crate) recorded: bool,
    /// Does the graph stay for another walk?
    pub(crate) keep: bool,
    /// Who looks on.
    pub(crate) watch: Option<&'a dyn Watch>,
}

/// Sees every node that a walk takes: what arrived for its results, and what goes on to its inputs.
pub(crate) trait Watch {
    fn see(&self, node: &Arc<Node>, arrived: &[Option<Tensor>], passed: &[(usize, Tensor)]);
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) leaves: Vec<Entry>,
    /// One for each target.
    pub(crate) targets: Vec<Option<Tensor>>,
    pub(crate) cuts: Vec<Cut>,
}

impl Walk<'_> {
    /// Walks from roots, each with the gradient that arrives there.
    pub(crate) fn from(&self, roots: &[(&Tensor, Tensor)], at: Place) -> Result<Found> {
        with_modes(
            |modes| {
                modes.recording = self.recorded;
                modes.everything = false;
                modes.autocast = None;
            },
            || self.run(roots, at),
        )
    }

    fn run(&self, roots: &[(&Tensor, Tensor)], at: Place) -> Result<Found> {
        let leads = self.targets.map(|targets| leads_to(roots, targets));
        let goes = |node: &Node| leads.as_ref().is_none_or(|leads| leads.contains(&node.id));
        let mut found = Found { targets: vec![None; self.targets.map_or(0, <[_]>::len)], ..Found::default() };
        let mut queue = Queue::default();
        for (root, seed) in roots {
            if let Some((node, output)) = root.history().tracked()
                && goes(node)
            {
                queue.arrive(node, output, seed.clone());
            }
        }
        while let Some(Waiting { node, arrived }) = queue.newest() {
            if let Some(targets) = self.targets {
                for (slot, (id, output)) in found.targets.iter_mut().zip(targets) {
                    if *id == node.id {
                        *slot = arrived.get(*output).cloned().flatten();
                    }
                }
            }
            if node.is_leaf() {
                if let Some(watch) = self.watch {
                    watch.see(&node, &arrived, &[]);
                }
                if self.targets.is_none()
                    && node.op().name() != SEED
                    && let Some(gradient) = arrived.into_iter().next().flatten()
                {
                    found.leaves.push(Entry { id: node.id, name: node.op().label(), gradient });
                }
                continue;
            }
            let wanted = |which: usize| node.edges()[which].history.tracked().is_some_and(|(to, _)| goes(to));
            if self.targets.is_some() && !(0..node.edges().len()).any(wanted) {
                continue;
            }
            let seen = self.watch.map(|watch| (watch, arrived.clone()));
            let gradients = self.gradients(&node, arrived, &wanted, at)?;
            if let Some((watch, arrived)) = seen {
                watch.see(&node, &arrived, &gradients);
            }
            for (which, gradient) in gradients {
                if let Some((to, output)) = node.edges()[which].history.tracked() {
                    queue.arrive(to, output, gradient);
                }
            }
            for edge in node.edges() {
                if found.cuts.len() < 4
                    && edge.dtype.is_float()
                    && let Some((reason, at)) = edge.history.cut()
                {
                    found.cuts.push(Cut { reason, at });
                }
            }
        }
        Ok(found)
    }

    /// The gradients of one node's wanted inputs, checked and in the inputs' own shapes.
    fn gradients(
        &self,
        node: &Arc<Node>,
        arrived: SmallVec<[Option<Tensor>; 1]>,
        wanted: &dyn Fn(usize) -> bool,
        at: Place,
    ) -> Result<SmallVec<[(usize, Tensor); 3]>> {
        let saved: Option<Saved> = if self.keep { node.saved().clone() } else { node.saved().take() };
        let saved = saved.ok_or_else(|| freed(node, at))?;
        let mut arriving = Tensors::new();
        for (gradient, (shape, dtype)) in arrived.into_iter().zip(node.results()) {
            arriving.push(match gradient {
                Some(gradient) => gradient,
                None => Tensor::from_value(
                    Value::full_on(node.device(), *shape, *dtype, 0.0).map_err(|f| at_node(node, f))?,
                ),
            });
        }
        let call = Call { node, saved: &saved, recorded: self.recorded };
        let timer = profile::start_backward(node.op().name());
        let gradients = if self.recorded {
            match through_definition(node, wanted, &arriving, &call)? {
                Some(gradients) => gradients,
                None => node.op().gradients(Wanted(wanted), &arriving, &call),
            }
        } else {
            node.op().gradients(Wanted(wanted), &arriving, &call)
        };
        if let Some(timer) = timer {
            timer.stop(0);
        }
        let mut checked = SmallVec::new();
        for (which, gradient) in gradients.into_iter().enumerate().filter(|(which, _)| wanted(*which)) {
            let edge = &node.edges()[which];
            if let Some(given) = &gradient {
                self.differentiable_again(node, which, given)?;
            }
            let gradient = match gradient {
                Some(gradient) => undo_broadcast(gradient, &edge.shape).to_dtype(edge.dtype),
                None => Tensor::from_value(
                    Value::full_on(node.device(), edge.shape, edge.dtype, 0.0).map_err(|f| at_node(node, f))?,
                ),
            };
            self.check(node, which, &gradient)?;
            checked.push((which, gradient));
        }
        Ok(checked)
    }

    /// A recorded gradient depends on what arrived, which is tracked; one without history came from a kernel alone.
    fn differentiable_again(&self, node: &Node, which: usize, gradient: &Tensor) -> Result<()> {
        if self.recorded && gradient.error().is_none() && gradient.history().tracked().is_none() {
            let what = format!("the gradient of input {which} cannot be differentiated again");
            return Err(at_node(
                node,
                Fault::new(ErrorKind::Gradient, what, "use backward() here, or plain operations"),
            ));
        }
        Ok(())
    }

    fn check(&self, node: &Node, which: usize, gradient: &Tensor) -> Result<()> {
        let edge = &node.edges()[which];
        let value = gradient.value().map_err(|error| {
            // The error arose inside a rule of ours; what the user wrote is the operation.
            let what = format!("its gradient failed: {}: {}", error.operation(), error.what());
            Error::with(node.op().name(), Fault::new(error.kind(), what, error.help()), Vec::new(), node.location())
        })?;
        if value.shape() != &edge.shape {
            let what = format!("the gradient of input {which} has shape {:?}, not {:?}", value.shape(), edge.shape);
            return Err(at_node(node, Fault::defect(what)));
        }
        if modes().anomalies
            && let Some(what) = super::apply::not_finite(value)
        {
            let what = format!("the gradient of input {which} has {what}");
            return Err(at_node(
                node,
                Fault::new(ErrorKind::NonFinite, what, "its results were finite: look at its inputs"),
            ));
        }
        Ok(())
    }
}

/// The nodes on the way from the roots to the targets.
fn leads_to(roots: &[(&Tensor, Tensor)], targets: &[(u64, usize)]) -> HashSet<u64> {
    let oldest = targets.iter().map(|(id, _)| *id).min().unwrap_or(u64::MAX);
    let mut reached: HashMap<u64, Arc<Node>> = HashMap::new();
    let mut open: Vec<Arc<Node>> =
        roots.iter().filter_map(|(root, _)| root.history().tracked()).map(|(node, _)| node.clone()).collect();
    while let Some(node) = open.pop() {
        if node.id < oldest || reached.contains_key(&node.id) {
            continue;
        }
        open.extend(node.edges().iter().filter_map(|edge| edge.history.tracked()).map(|(to, _)| to.clone()));
        reached.insert(node.id, node);
    }
    let mut order: Vec<&Arc<Node>> = reached.values().collect();
    put_in_order(&mut order, &|a, b| a.id.cmp(&b.id));
    let mut leads = HashSet::new();
    for node in order {
        let direct = targets.iter().any(|(id, _)| *id == node.id);
        let below = |edge: &super::graph::Edge| edge.history.tracked().is_some_and(|(to, _)| leads.contains(&to.id));
        if direct || node.edges().iter().any(below) {
            leads.insert(node.id);
        }
    }
    leads
}

/// The gradients of an operation's definition, which can themselves be differentiated. It runs on identity nodes of the
/// inputs, where the walk stops.
pub(super) fn through_definition(
    node: &Arc<Node>,
    wanted: &dyn Fn(usize) -> bool,
    arriving: &[Tensor],
    call: &Call<'_>,
) -> Result<Option<InputGradients>> {
    let mut inputs: Tensors = Tensors::new();
    let mut targets = Vec::with_capacity(node.edges().len());
    for which in 0..node.edges().len() {
        let input = call.input(which);
        // An input that no gradient reads was not saved; a definition that needs it fails with that sentence.
        let input = if wanted(which) && input.error().is_none() { identity(&input) } else { input };
        targets.push(if wanted(which) {
            input.history().tracked().map_or((0, 0), |(to, o)| (to.id, o))
        } else {
            (0, 0)
        });
        inputs.push(input);
    }
    let Some(outputs) = node.op().definition(&inputs, call) else { return Ok(None) };
    let roots: Vec<(&Tensor, Tensor)> = outputs.iter().zip(arriving.iter().cloned()).collect();
    for output in &outputs {
        output.value()?;
    }
    let sought: Vec<(u64, usize)> = targets.iter().copied().filter(|target| target.0 != 0).collect();
    let walk = Walk { targets: Some(&sought), recorded: true, keep: true, watch: None };
    let mut found = walk.from(&roots, node.location())?.targets.into_iter();
    Ok(Some(targets.iter().map(|target| if target.0 != 0 { found.next().flatten() } else { None }).collect()))
}

#[cold]
fn at_node(node: &Node, fault: Fault) -> Error {
    Error::with(node.op().name(), fault, Vec::new(), node.location())
}

#[cold]
fn freed(node: &Node, at: Place) -> Error {
    let what = format!(
        "the values that `{}` at {}:{} saved are gone: an earlier walk freed them",
        node.op().name(),
        node.location().file(),
        node.location().line()
    );
    let help = "write keep_graph() before the first walk, or compute the loss again \
                (a graph that two threads walk at once is freed by the first)";
    Error::with("backward", Fault::new(ErrorKind::Gradient, what, help), Vec::new(), at)
}

/// The start of a recorded walk: it wants a gradient, so that everything computed from it is recorded.
#[derive(Debug)]
struct Seed(Leaf);

const SEED: &str = "seed";

impl Op for Seed {
    fn name(&self) -> &'static str {
        SEED
    }
    fn forward(&self, inputs: &[&Value], keep: &mut super::op::Keep) -> Result<super::op::Outputs, Fault> {
        self.0.forward(inputs, keep)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        self.0.gradient(which, arriving, call)
    }
    fn saves(&self, which: usize) -> super::op::Saves {
        self.0.saves(which)
    }
    fn rule(&self, which: usize) -> &'static str {
        self.0.rule(which)
    }
}

impl Tensor {
    /// The gradients of this single number with respect to every variable and parameter that it was computed from.
    ///
    /// The graph is freed on the way; see [`keep_graph`](Tensor::keep_graph) to walk it again.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0, 2.0]).variable();
    /// let gradients = (&x * &x).sum().backward()?;
    /// assert_eq!(gradients.of(&x)?.to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn backward(&self) -> Result<Gradients> {
        let at = Location::caller();
        leaves(&[(self, seed(self, None, at)?)], false, false, at)
    }
    /// As [`backward`](Tensor::backward) for a tensor of any shape, from the gradient that arrives at it.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0, 2.0]).variable();
    /// let y = &x * 3.0;
    /// let gradients = y.backward_from(&Tensor::from([1.0, 10.0]))?;
    /// assert_eq!(gradients.of(&x)?.to_vec::<f32>()?, [3.0, 30.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn backward_from(&self, gradient: &Tensor) -> Result<Gradients> {
        let at = Location::caller();
        leaves(&[(self, seed(self, Some(gradient), at)?)], false, false, at)
    }
    /// As [`backward`](Tensor::backward), with gradients that can be differentiated again. The graph is kept.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([2.0]).variable();
    /// let first = (&x * &x * &x).sum().backward_recorded()?;
    /// let second = first.of(&x)?.sum().backward()?;
    /// assert_eq!(second.of(&x)?.item()?, 12.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn backward_recorded(&self) -> Result<Gradients> {
        let at = Location::caller();
        leaves(&[(self, seed(self, None, at)?)], true, true, at)
    }
    /// The gradients of this single number with respect to chosen tensors, inputs or intermediate ones, in their order.
    /// Only what leads there is walked.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0, 2.0]).variable();
    /// let hidden = &x * 3.0;
    /// let loss = (&hidden * &hidden).sum();
    /// let gradients = loss.gradients_of(&[&hidden, &x])?;
    /// assert_eq!(gradients[0].to_vec::<f32>()?, [6.0, 12.0]);
    /// assert_eq!(gradients[1].to_vec::<f32>()?, [18.0, 36.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn gradients_of(&self, targets: &[&Tensor]) -> Result<Vec<Tensor>> {
        let at = Location::caller();
        chosen(self, targets, false, false, at)
    }
    /// As [`gradients_of`](Tensor::gradients_of), with gradients that can be differentiated again. The graph is kept.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([2.0]).variable();
    /// let slope = (&x * &x).sum().gradients_of_recorded(&[&x])?.remove(0);
    /// assert_eq!(slope.sum().backward()?.of(&x)?.item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn gradients_of_recorded(&self, targets: &[&Tensor]) -> Result<Vec<Tensor>> {
        let at = Location::caller();
        chosen(self, targets, true, true, at)
    }
    /// The same walks, leaving the graph for another one.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([3.0]).variable();
    /// let loss = (&x * &x).sum();
    /// loss.keep_graph().backward()?;
    /// assert!(loss.backward().is_ok());
    /// assert!(loss.backward().is_err(), "freed by the walk before");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn keep_graph(&self) -> KeepGraph<'_> {
        KeepGraph(self)
    }
}

/// A tensor whose graph stays for another walk: see [`Tensor::keep_graph`].
pub struct KeepGraph<'a>(&'a Tensor);

impl KeepGraph<'_> {
    /// See [`Tensor::backward`].
    #[track_caller]
    pub fn backward(&self) -> Result<Gradients> {
        let at = Location::caller();
        leaves(&[(self.0, seed(self.0, None, at)?)], false, true, at)
    }
    /// See [`Tensor::backward_from`].
    #[track_caller]
    pub fn backward_from(&self, gradient: &Tensor) -> Result<Gradients> {
        let at = Location::caller();
        leaves(&[(self.0, seed(self.0, Some(gradient), at)?)], false, true, at)
    }
    /// See [`Tensor::gradients_of`].
    #[track_caller]
    pub fn gradients_of(&self, targets: &[&Tensor]) -> Result<Vec<Tensor>> {
        let at = Location::caller();
        chosen(self.0, targets, false, true, at)
    }
}

/// One backward pass from several tensors at once, each with the gradient that arrives at it.
///
/// ```
/// use chainrule::{Tensor, backward_all};
/// let x = Tensor::from([2.0]).variable();
/// let (double, square) = (&x * 2.0, &x * &x);
/// let one = Tensor::ones([1]);
/// let gradients = backward_all(&[(&double, &one), (&square, &one)])?;
/// assert_eq!(gradients.of(&x)?.item()?, 6.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn backward_all(roots: &[(&Tensor, &Tensor)]) -> Result<Gradients> {
    let at = Location::caller();
    let mut seeded = Vec::with_capacity(roots.len());
    for (root, gradient) in roots {
        seeded.push((*root, seed(root, Some(gradient), at)?));
    }
    leaves(&seeded, false, false, at)
}

/// The gradient that a walk starts with.
fn seed(root: &Tensor, given: Option<&Tensor>, at: Place) -> Result<Tensor> {
    let value = root.value()?;
    let refuse = |fault| Error::with("backward", fault, super::apply::operands_of(&[root]), at);
    match root.history() {
        history if history.tracked().is_some() => {}
        history => {
            let (what, help) = match history.cut() {
                Some((reason, cut)) => (
                    "nothing that leads to this tensor was recorded".to_string(),
                    format!("its history was cut by {reason} at {}:{}", cut.file(), cut.line()),
                ),
                None => (
                    "no variable or parameter took part in this tensor".to_string(),
                    "mark inputs with variable(), or use parameters that are not frozen".to_string(),
                ),
            };
            return Err(refuse(Fault::new(ErrorKind::Gradient, what, help)));
        }
    }
    let Some(given) = given else {
        if value.count() != 1 {
            return Err(refuse(Fault::shape(
                format!("backward starts at one number, this tensor has {}", value.count()),
                "reduce it with sum() or mean(), or give the gradient that arrives: backward_from(&gradient)",
            )));
        }
        return Ok(Tensor::from_value(
            Value::full_on(value.device(), *value.shape(), value.dtype(), 1.0).map_err(refuse)?,
        ));
    };
    if given.value()?.shape() != value.shape() {
        return Err(refuse(Fault::shape(
            format!("the gradient has shape {:?}, the tensor {:?}", given.value()?.dims(), value.dims()),
            "a gradient has the shape of the tensor it arrives at",
        )));
    }
    given.to_dtype(value.dtype()).checked()
}

/// The seed as something whose consequences are recorded.
fn recorded_seed(seed: Tensor, at: Place) -> Result<Tensor> {
    if seed.history().tracked().is_some() {
        return Ok(seed);
    }
    let value = seed.value()?.clone();
    let op = Seed(Leaf { name: std::sync::Mutex::new(None) });
    let node: Arc<Node> = Arc::new(Node::source(op, &value, at));
    Ok(Tensor::with_history(value, History::Node { node, output: 0 }))
}

/// One walk from a single number, seen by `watch`; the graph is kept.
pub(super) fn watched(root: &Tensor, watch: &dyn Watch, at: Place) -> Result<Gradients> {
    let walk = Walk { targets: None, recorded: false, keep: true, watch: Some(watch) };
    let found = walk.from(&[(root, seed(root, None, at)?)], at)?;
    Ok(Gradients { entries: found.leaves, cuts: found.cuts })
}

fn leaves(roots: &[(&Tensor, Tensor)], recorded: bool, keep: bool, at: Place) -> Result<Gradients> {
    let mut seeded = Vec::new();
    if recorded {
        for (root, seed) in roots {
            seeded.push((*root, recorded_seed(seed.clone(), at)?));
        }
    }
    let roots = if recorded { &seeded } else { roots };
    let found = Walk { targets: None, recorded, keep, watch: None }.from(roots, at)?;
    Ok(Gradients { entries: found.leaves, cuts: found.cuts })
}

fn chosen(root: &Tensor, targets: &[&Tensor], recorded: bool, keep: bool, at: Place) -> Result<Vec<Tensor>> {
    let start = seed(root, None, at)?;
    let start = if recorded { recorded_seed(start, at)? } else { start };
    let mut sought = Vec::with_capacity(targets.len());
    for (which, target) in targets.iter().enumerate() {
        target.value()?;
        let (node, output) = target.history().tracked().ok_or_else(|| not_reached(which, target, &[], at))?;
        sought.push((node.id, output));
    }
    let found = Walk { targets: Some(&sought), recorded, keep, watch: None }.from(&[(root, start)], at)?;
    let cuts = found.cuts;
    let each = found.targets.into_iter().zip(targets).enumerate();
    each.map(|(which, (gradient, target))| gradient.ok_or_else(|| not_reached(which, target, &cuts, at))).collect()
}

#[cold]
fn not_reached(which: usize, target: &Tensor, cuts: &[Cut], at: Place) -> Error {
    let name = target.name().unwrap_or(format!("target {which}"));
    let mut help = "mark it with variable() before it is used, and compute the loss from it".to_string();
    for cut in cuts {
        help.push_str(&format!("; history was cut by {} at {}:{}", cut.reason, cut.at.file(), cut.at.line()));
    }
    let fault = Fault::new(ErrorKind::Gradient, format!("{name} took no part in this tensor"), help);
    Error::with("gradients_of", fault, super::apply::operands_of(&[target]), at)
}

impl Tensor {
    /// The same numbers without their history: gradients stop here.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([3.0]).variable();
    /// let y = (&x * x.detach()).sum();
    /// assert_eq!(y.backward()?.of(&x)?.item()?, 3.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        let history = match self.history() {
            history if history.tracked().is_some() => History::Detached(Location::caller()),
            History::Node { .. } => History::None,
            history => history.clone(),
        };
        Tensor { value: self.value.clone(), history }
    }
    /// The same numbers as a leaf of their own: backward gives a gradient for it.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1.0, 2.0]).variable();
    /// assert_eq!(x.sum().backward()?.of(&x)?.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn variable(&self) -> Tensor {
        let at = Location::caller();
        let Ok(value) = self.value() else { return self.clone() };
        if !value.dtype().is_float() {
            let fault = Fault::dtype(
                format!("{} numbers have no gradient", value.dtype()),
                "convert them first: to_dtype(DType::F32)",
            );
            return Tensor::failed(Error::with("variable", fault, super::apply::operands_of(&[self]), at));
        }
        let name = self.name().map(Arc::from);
        let node = Node::leaf(value, name, at);
        Tensor::with_history(value.clone(), History::Node { node, output: 0 })
    }
    /// Does this tensor lead to a variable or parameter, so that gradients pass through it?
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::ones([2]).variable();
    /// assert!((&x + 1.0).is_tracked() && !x.detach().is_tracked());
    /// ```
    pub fn is_tracked(&self) -> bool {
        self.history().tracked().is_some()
    }
}
