//! What a batch comes to: a loss, and what is to be judged.

use crate::data::Batch;
use crate::tensor::Tensor;

/// What the trainer's function gives for a batch: the loss, and where metrics are wanted, what the model said and should
/// have said. A plain loss becomes one by itself.
///
/// ```
/// use chainrule::data::Batch;
/// use chainrule::nn::{Layer, Linear};
/// use chainrule::train::{Outcome, Trainer};
/// use chainrule::{cross_entropy, mse_loss};
/// let plain = Trainer::new(|model: &Linear, batch: &Batch| mse_loss(&model.forward(&batch.input), &batch.target));
/// let judged = Trainer::new(|model: &Linear, batch: &Batch| {
///     let scores = model.forward(&batch.input);
///     Outcome::new(cross_entropy(&scores, &batch.target)).with_output(&scores, &batch.target)
/// });
/// # let _: (Trainer<Linear, Batch>, Trainer<Linear, Batch>) = (plain, judged);
/// ```
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(super) loss: Tensor,
    pub(super) judged: Option<(Tensor, Tensor)>,
}

impl Outcome {
    /// A loss: one number, a mean over the batch.
    pub fn new(loss: Tensor) -> Outcome {
        Outcome { loss, judged: None }
    }
    /// What metrics are to judge: the output, and its target.
    pub fn with_output(self, output: &Tensor, target: &Tensor) -> Outcome {
        Outcome { judged: Some((output.detach(), target.clone())), ..self }
    }
}

impl From<Tensor> for Outcome {
    fn from(loss: Tensor) -> Outcome {
        Outcome::new(loss)
    }
}

/// How many items a batch holds: what its loss weighs in a mean over batches. Batches of your own say it in one line.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::train::BatchSize;
/// struct Pairs { left: Tensor, right: Tensor }
/// impl BatchSize for Pairs {
///     fn batch_size(&self) -> usize {
///         self.left.batch_size()
///     }
/// }
/// assert_eq!(Pairs { left: Tensor::zeros([5, 2]), right: Tensor::zeros([5, 3]) }.batch_size(), 5);
/// ```
pub trait BatchSize {
    /// How many items there are.
    fn batch_size(&self) -> usize;
}

/// The first axis; a single number is one item, and a failed tensor none.
impl BatchSize for Tensor {
    fn batch_size(&self) -> usize {
        self.shape().map_or(0, |shape| shape.first().copied().unwrap_or(1))
    }
}

impl BatchSize for Batch {
    fn batch_size(&self) -> usize {
        self.input.batch_size()
    }
}

impl<T> BatchSize for Vec<T> {
    fn batch_size(&self) -> usize {
        self.len()
    }
}

impl<A: BatchSize, B> BatchSize for (A, B) {
    fn batch_size(&self) -> usize {
        self.0.batch_size()
    }
}

impl<A: BatchSize, B, C> BatchSize for (A, B, C) {
    fn batch_size(&self) -> usize {
        self.0.batch_size()
    }
}
