//! What is watched inside of a model while it trains, and the page on which it is shown.

mod page;

use super::history::Thinned;
use crate::error::{Error, Fault, Result};
use crate::explain::chart::{Histogram, Picture};
use crate::layout::DType;
use crate::nn::Module;
use crate::tensor::{Gradients, Parameter, State, Tensor};

pub(super) use page::html;

/// Draws something of a model.
pub(super) type Draw<'a, M> = Box<dyn Fn(&M) -> Result<Picture> + 'a>;

/// What a report is to show besides what is watched: pictures of one's own, by name.
pub(super) struct Report<'a, M> {
    pub(super) pictures: Vec<(String, Draw<'a, M>)>,
}

/// What has been seen of the parameters so far.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) layers: Vec<Layer>,
}

/// What has been seen of one parameter.
pub(super) struct Layer {
    pub(super) name: String,
    /// The root of the mean square of its numbers, step by step.
    pub(super) weights: Thinned,
    /// The same of its gradient.
    pub(super) gradients: Thinned,
    /// How its numbers were spread at the end of each epoch.
    pub(super) spread: Vec<Histogram>,
}

/// Into so many parts the numbers of a parameter are sorted.
const PARTS: usize = 40;

impl Observed {
    /// Looks at the gradients of a step, and at the numbers that they changed.
    pub(super) fn step<M: Module>(&mut self, step: u64, model: &M, gradients: &Gradients) -> Result<()> {
        for (name, parameter) in model.parameters() {
            let Some(gradient) = gradients.get(parameter) else { continue };
            let [weight, gradient] = [size(parameter)?, size(gradient)?];
            let layer = self.layer(&name);
            layer.weights.add(step, weight);
            layer.gradients.add(step, gradient);
        }
        Ok(())
    }
    /// Looks at how the numbers are spread.
    pub(super) fn epoch<M: Module>(&mut self, model: &M) -> Result<()> {
        for (name, parameter) in model.parameters() {
            let numbers = numbers(parameter)?;
            let histogram = Histogram::of(numbers, PARTS);
            self.layer(&name).spread.push(histogram);
        }
        Ok(())
    }
    fn layer(&mut self, name: &str) -> &mut Layer {
        let at = self.layers.iter().position(|layer| layer.name == name).unwrap_or_else(|| {
            let [weights, gradients] = [Thinned::default(), Thinned::default()];
            self.layers.push(Layer { name: name.to_string(), weights, gradients, spread: Vec::new() });
            self.layers.len() - 1
        });
        &mut self.layers[at]
    }
    pub(super) fn state(&self) -> Result<State> {
        let mut layers = Vec::new();
        for layer in &self.layers {
            let mut tree = State::tree();
            tree.insert("name", State::Text(layer.name.clone()))?;
            tree.insert("weights", layer.weights.state()?)?;
            tree.insert("gradients", layer.gradients.state()?)?;
            let rows: Vec<f64> = layer
                .spread
                .iter()
                .flat_map(|spread| [spread.low, spread.high].into_iter().chain(spread.counts.iter().copied()))
                .collect();
            tree.insert("spread", State::Tensor(Tensor::from_vec(rows, [layer.spread.len(), PARTS + 2])?))?;
            layers.push(tree);
        }
        Ok(State::List(layers))
    }
    pub(super) fn from_state(state: &State) -> Result<Observed> {
        let mut layers = Vec::new();
        for tree in state.list()? {
            let spread = tree.get("spread")?.tensor()?;
            if spread.shape()?.get(1) != Some(&(PARTS + 2)) {
                let help = "it was written by something else, or by another version";
                return Err(Error::new("report", Fault::value("the report of the checkpoint cannot be read", help)));
            }
            let rows = spread.to_vec::<f64>()?;
            let spread = rows.chunks(PARTS + 2).map(|row| match row {
                [low, high, counts @ ..] => Histogram { low: *low, high: *high, counts: counts.to_vec() },
                _ => Histogram::of([], PARTS),
            });
            layers.push(Layer {
                name: tree.get("name")?.text()?.to_string(),
                weights: Thinned::from_state(tree.get("weights")?)?,
                gradients: Thinned::from_state(tree.get("gradients")?)?,
                spread: spread.collect(),
            });
        }
        Ok(Observed { layers })
    }
}

/// The root of the mean square.
fn size(tensor: &Tensor) -> Result<f64> {
    tensor.to_dtype(DType::F32).square().mean().sqrt().item()
}

fn numbers(parameter: &Parameter) -> Result<Vec<f64>> {
    parameter.to_dtype(DType::F64).to_vec::<f64>()
}
