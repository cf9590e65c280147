//! A sequence of symbols out of a longer one of scores.

use super::{Reduction, options, reduced};
use crate::device::ctc::Alignment;
use crate::error::{Fault, Result};
use crate::layout::DType;
use crate::ops::ctc::Alignments;
use crate::tensor::{Tensor, refused_as};

options! {
    /// [`ctc_loss`] with options.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::CtcLoss};
    /// let (logits, target) = (Tensor::zeros([1, 1, 3]), Tensor::from([[0, 1]])); // one step cannot spell two symbols
    /// let loss = CtcLoss::new().with_blank(2).with_zero_infinity(true);
    /// assert_eq!(loss.of(&logits, &target, &Tensor::from([1]), &Tensor::from([2])).item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub struct CtcLoss {
        /// The class that stands for "no symbol here": 0 unless another is given.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::CtcLoss};
        /// let loss = CtcLoss::new().with_blank(1);
        /// let loss = loss.of(&Tensor::zeros([1, 1, 2]), &Tensor::from([[0]]), &Tensor::from([1]), &Tensor::from([1]));
        /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_blank(class: usize) sets blank: usize = 0, to class;
        /// Examples that are too short to spell their target have the loss 0 and no gradient, instead of an infinite loss.
        ///
        /// ```
        /// use chainrule::{Tensor, loss::CtcLoss};
        /// let loss = CtcLoss::new().with_zero_infinity(true);
        /// let loss = loss.of(&Tensor::zeros([1, 2]), &Tensor::from([1, 1]), &Tensor::from(1), &Tensor::from(2));
        /// assert_eq!(loss.item()?, 0.0);
        /// # Ok::<(), chainrule::Error>(())
        /// ```
        fn with_zero_infinity(zero: bool) sets zero_infinity: bool = false, to zero;
    }
}

impl CtcLoss {
    /// The loss of these logits, as [`ctc_loss`] says it.
    ///
    /// ```
    /// use chainrule::{Tensor, loss::{CtcLoss, Reduction}};
    /// let (logits, targets) = (Tensor::zeros([4, 2, 3]), Tensor::from([[1, 2], [2, 0]]));
    /// let each = CtcLoss::new().with_reduction(Reduction::None);
    /// let each = each.of(&logits, &targets, &Tensor::from([4, 3]), &Tensor::from([2, 1]));
    /// assert_eq!(each.dims()?, [2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of(&self, logits: &Tensor, targets: &Tensor, input_lengths: &Tensor, target_lengths: &Tensor) -> Tensor {
        let (dtype, rank) = match (logits.dtype(), logits.rank()) {
            (Ok(dtype), Ok(rank)) => (dtype, rank),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let all = [logits, targets, input_lengths, target_lengths];
        let roles = ["logits", "targets", "input lengths", "target lengths"];
        if !dtype.is_float() {
            let fault =
                Fault::dtype(format!("the logits are {dtype} numbers"), "scores are floats: to_dtype(DType::F32)");
            return refused_as("ctc_loss", fault, &roles, &all);
        }
        let [logits, targets, input_lengths, target_lengths] = match (rank, targets.rank(), target_lengths.rank()) {
            (2, Ok(1), Ok(0)) => {
                [logits.unsqueeze(1), targets.unsqueeze(0), input_lengths.unsqueeze(0), target_lengths.unsqueeze(0)]
            }
            (3, Ok(1), Ok(1)) => match padded(targets, target_lengths) {
                Ok(Ok(targets)) => [logits.clone(), targets, input_lengths.clone(), target_lengths.clone()],
                Ok(Err(fault)) => return refused_as("ctc_loss", fault, &roles, &all),
                Err(error) => return Tensor::failed(error),
            },
            _ => all.map(Tensor::clone),
        };
        // Sums over paths need more than half precision.
        let wide = if dtype.is_half() { logits.to_dtype(DType::F32) } else { logits };
        let alignment = Alignment { blank: self.blank, zero_infinity: self.zero_infinity };
        let mut each = Alignments(alignment).of(&wide.log_softmax(-1), &targets, &input_lengths, &target_lengths);
        if self.reduction == Reduction::Mean {
            each = each / target_lengths.clamp_min(1.0).to_dtype(DType::F32);
        }
        let each = if rank == 2 { each.reshape(()) } else { each };
        reduced(each, self.reduction).to_dtype(dtype)
    }
}

/// Targets of all examples in one row, as a row for each.
fn padded(targets: &Tensor, lengths: &Tensor) -> Result<Result<Tensor, Fault>> {
    let (symbols, counts) = (targets.to_vec::<i64>()?, lengths.to_vec::<i64>()?);
    let total = counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(usize::try_from(count).ok()?));
    if total != Some(symbols.len()) {
        return Ok(Err(Fault::shape(
            format!("{} targets in one row, the target lengths are {counts:?}", symbols.len()),
            "give the targets as [batch, symbols], or all in one row whose length is the sum of the target lengths",
        )));
    }
    let width = counts.iter().copied().max().unwrap_or(0) as usize;
    let mut table = vec![0; counts.len() * width];
    let mut rest = &symbols[..];
    for (row, &count) in counts.iter().enumerate() {
        let (own, others) = rest.split_at(count as usize);
        table[row * width..][..own.len()].copy_from_slice(own);
        rest = others;
    }
    Ok(Ok(Tensor::from_vec(table, [counts.len(), width])?.to_dtype(targets.dtype()?).near(targets)))
}

/// Connectionist temporal classification: `-ln P(target)`, where `P` sums over all ways to spell the target along the steps, each
/// symbol lasting one step or several, with blanks (class 0) between where it likes; the mean over the batch, each divided by the
/// length of its target. Nobody has to say which step belongs to which symbol.
///
/// Logits are `[steps, batch, classes]` (`[steps, classes]` of one example), before softmax. Targets are class numbers
/// `[batch, symbols]`, or those of all examples in one row; lengths `[batch]` say how much of each counts. A target that its steps
/// are too few for has an infinite loss and no gradient: [`CtcLoss::with_zero_infinity`]. Value and gradient are computed together,
/// forward and backward along the steps, in double precision. Graves, Fernández, Gomez, Schmidhuber, "Connectionist temporal
/// classification", 2006.
///
/// ```
/// use chainrule::{Tensor, loss::ctc_loss};
/// // Three of the four paths of two steps spell "1": 11, _1 and 1_.
/// let logits = Tensor::zeros([2, 1, 2]).variable();
/// let loss = ctc_loss(&logits, &Tensor::from([[1]]), &Tensor::from([2]), &Tensor::from([1]));
/// assert!((loss.item()? - (4f64 / 3.0).ln()).abs() < 1e-6);
/// assert!(loss.backward()?.of(&logits)?.to_vec::<f32>()?[1] < 0.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn ctc_loss(logits: &Tensor, targets: &Tensor, input_lengths: &Tensor, target_lengths: &Tensor) -> Tensor {
    CtcLoss::new().of(logits, targets, input_lengths, target_lengths)
}
