//! A model at work on a whole set: judged, or asked.

use super::Measures;
use super::metrics::Metric;
use crate::data::{Collate, Dataset, Loader};
use crate::error::Result;
use crate::tensor::{Tensor, evaluating, no_grad};
use std::panic::Location;

/// What a metric says of a model on all batches of a loader. Layers evaluate, and nothing is recorded.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Batch, Examples, Loader};
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::train::evaluate;
/// use chainrule::train::metrics::{Accuracy, Confusion};
/// let model = Linear::new(4, 3, &mut Init::new().seed(1));
/// let target = Tensor::from([0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
/// let loader = Loader::new(Examples::new(&Tensor::ones([10, 4]), &target)?, 4);
///
/// let mut confusion = Confusion::new(3);
/// let forward = |model: &Linear, batch: &Batch| (model.forward(&batch.input), batch.target.clone());
/// let measures = evaluate(&model, &loader, &mut confusion, forward)?;
/// assert!(measures.get("accuracy")? <= 0.4);
/// println!("{confusion}");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn evaluate<M, D: Dataset + 'static>(
    model: &M,
    loader: &Loader<D>,
    metric: &mut (impl Metric + ?Sized),
    forward: impl Fn(&M, &<D::Item as Collate>::Batch) -> (Tensor, Tensor),
) -> Result<Measures> {
    let at = Location::caller();
    let mut all = || {
        metric.reset();
        for batch in loader.epoch(0) {
            let batch = batch?;
            let (output, target) = no_grad(|| evaluating(|| forward(model, &batch)));
            metric.update(&output, &target)?;
        }
        Ok(Measures::from(metric.measures()?))
    };
    all().map_err(super::placed(at))
}

/// What a model says to all batches of a loader, in one tensor, along the first axis. Layers evaluate, and nothing is
/// recorded.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Loader, Rows};
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::train::predict;
/// let model = Linear::new(4, 3, &mut Init::new());
/// let loader = Loader::new(Rows::new(&Tensor::ones([10, 4]))?, 4);
/// let scores = predict(&model, &loader, |model: &Linear, input: &Tensor| model.forward(input))?;
/// assert_eq!(scores.dims()?, [10, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn predict<M, D: Dataset + 'static>(
    model: &M,
    loader: &Loader<D>,
    forward: impl Fn(&M, &<D::Item as Collate>::Batch) -> Tensor,
) -> Result<Tensor> {
    let at = Location::caller();
    let all = || {
        let mut outputs = Vec::with_capacity(loader.len());
        for batch in loader.epoch(0) {
            let batch = batch?;
            outputs.push(no_grad(|| evaluating(|| forward(model, &batch))).checked()?);
        }
        no_grad(|| Tensor::cat(&outputs, 0)).checked()
    };
    all().map_err(super::placed(at))
}
