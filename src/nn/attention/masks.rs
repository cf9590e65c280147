//! Masks of attention layers: who sees whom.

use crate::device::Device;
use crate::error::{Error, Fault, Result};
use crate::layout::DType;
use crate::tensor::Tensor;

/// A square mask in which no position sees a later one: true above the diagonal, for [`Masks::scores`].
///
/// ```
/// use chainrule::{Tensor, nn::causal_mask};
/// assert_eq!(causal_mask(2), Tensor::from([[false, true], [false, false]]));
/// ```
#[doc(alias = "generate_square_subsequent_mask")]
#[track_caller]
pub fn causal_mask(size: usize) -> Tensor {
    hidden_after(size, size, 0)
}

/// True where a key comes after its query; the first query stands at position `past` of the keys.
#[track_caller]
fn hidden_after(queries: usize, keys: usize, past: usize) -> Tensor {
    let diagonal = isize::try_from(past).unwrap_or(isize::MAX).saturating_add(1);
    Tensor::full([queries, keys], 1.0, DType::Bool).triu(diagonal)
}

/// Who must not see whom, in an attention layer: **true hides**, as in PyTorch's layers (not as in the operation
/// [`scaled_dot_product_attention`](Tensor::scaled_dot_product_attention), where true keeps). Masks of numbers are added to
/// the scores. What is hidden by one mask is hidden; a query that sees nothing gives zeros.
///
/// ```
/// use chainrule::nn::{Init, Masks, MultiheadAttention};
/// use chainrule::Tensor;
/// let attention = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
/// let x = Tensor::ones([1, 3, 8]);
/// let padding = Tensor::from([[false, false, true]]); // the third word is no word
/// let y = attention.attend(&x, &x, &x, &Masks::new().padding(&padding).causal());
/// assert_eq!(y.dims()?, [1, 3, 8]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Masks {
    scores: Option<Tensor>,
    padding: Option<Tensor>,
    causal: bool,
}

/// The sizes that masks broadcast to, and what stands around the keys they speak of.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) examples: usize,
    pub(super) heads: usize,
    pub(super) queries: usize,
    /// All keys, also those that the layer adds itself.
    pub(super) keys: usize,
    /// Keys before the first query.
    pub(super) past: usize,
    /// Keys that the layer adds at the end; every query sees them.
    pub(super) added: usize,
}

impl Masks {
    /// Everyone sees everyone.
    ///
    /// ```
    /// let masks = chainrule::nn::Masks::new();
    /// # let _ = masks;
    /// ```
    pub fn new() -> Masks {
        Masks::default()
    }
    /// A mask of the scores: `[queries, keys]` for all, `[examples · heads, queries, keys]`, or
    /// `[examples, heads, queries, keys]`.
    ///
    /// ```
    /// use chainrule::nn::{Masks, causal_mask};
    /// let masks = Masks::new().scores(&causal_mask(5));
    /// # let _ = masks;
    /// ```
    #[doc(alias("attn_mask", "src_mask", "tgt_mask"))]
    pub fn scores(self, mask: &Tensor) -> Masks {
        Masks { scores: Some(mask.clone()), ..self }
    }
    /// A mask of keys that nobody sees: `[examples, keys]`.
    ///
    /// ```
    /// use chainrule::{Tensor, nn::Masks};
    /// let masks = Masks::new().padding(&Tensor::from([[false, true]]));
    /// # let _ = masks;
    /// ```
    #[doc(alias("key_padding_mask", "src_key_padding_mask"))]
    pub fn padding(self, mask: &Tensor) -> Masks {
        Masks { padding: Some(mask.clone()), ..self }
    }
    /// Query `i` sees the keys `0 ..= i` only, without a mask in memory.
    ///
    /// ```
    /// let masks = chainrule::nn::Masks::new().causal();
    /// # let _ = masks;
    /// ```
    #[doc(alias = "is_causal")]
    pub fn causal(self) -> Masks {
        Masks { causal: true, ..self }
    }
    pub(super) fn is_causal(&self) -> bool {
        self.causal
    }
    /// One mask that broadcasts to `[examples, heads, queries, keys]`: numbers to add and what is hidden, apart. `causal`:
    /// no query sees a later key.
    #[track_caller]
    pub(super) fn resolve(&self, seen: Seen, (dtype, device): (DType, Device), causal: bool) -> Result<Resolved> {
        let mut resolved = Resolved::default();
        if let Some(mask) = &self.scores {
            resolved.meet(self.fitted(mask, seen)?, dtype)?;
        }
        if let Some(mask) = &self.padding {
            resolved.meet(padding(mask, seen)?, dtype)?;
        }
        if causal {
            let hidden = hidden_after(seen.queries, seen.keys - seen.added, seen.past);
            resolved.meet(hidden.to(device), dtype)?;
        }
        if seen.added > 0 {
            resolved.widen(seen)?;
        }
        Ok(resolved)
    }
    /// The mask of the scores, its axes in front apart.
    #[track_caller]
    fn fitted(&self, mask: &Tensor, seen: Seen) -> Result<Tensor> {
        let shape = mask.shape()?;
        let Seen { examples, heads, queries, keys, .. } = seen;
        match shape[..] {
            [both, ..] if shape.len() == 3 && both != 1 => {
                if both != examples.saturating_mul(heads) {
                    let what = format!("a mask of {shape:?} for {examples} examples of {heads} heads");
                    let help = "its first size is examples · heads; a mask for all of them has two axes";
                    return Err(Error::new("attention", Fault::shape(what, help)));
                }
                Ok(mask.unflatten(0, [examples, heads]))
            }
            [.., rows, columns] if fits(rows, queries) && fits(columns, keys - seen.added) => Ok(mask.clone()),
            _ => {
                let what = format!("a mask of {shape:?} for {queries} queries and {} keys", keys - seen.added);
                let help = "the last two sizes of a mask are the numbers of queries and keys";
                Err(Error::new("attention", Fault::shape(what, help)))
            }
        }
    }
}

fn fits(size: usize, wanted: usize) -> bool {
    size == wanted || size == 1
}

/// The padding mask, with axes for heads and queries.
#[track_caller]
fn padding(mask: &Tensor, seen: Seen) -> Result<Tensor> {
    let (shape, keys) = (mask.shape()?, seen.keys - seen.added);
    match shape[..] {
        [examples, columns] if fits(examples, seen.examples) && columns == keys => Ok(mask.unsqueeze([1, 2])),
        [columns] if columns == keys && seen.examples == 1 => Ok(mask.clone()),
        _ => {
            let what = format!("a padding mask of {shape:?} for {} examples of {keys} keys", seen.examples);
            Err(Error::new(
                "attention",
                Fault::shape(what, "its shape is [examples, keys]: true where a key is padding"),
            ))
        }
    }
}

/// Masks met: what is hidden (true), and what is added to the scores.
#[derive(Default)]
pub(super) struct Resolved {
    hidden: Option<Tensor>,
    added: Option<Tensor>,
}

impl Resolved {
    #[track_caller]
    fn meet(&mut self, mask: Tensor, dtype: DType) -> Result<()> {
        match mask.dtype()? {
            DType::Bool => {
                self.hidden = Some(match &self.hidden {
                    Some(hidden) => hidden.logical_or(&mask),
                    None => mask,
                });
                Ok(())
            }
            float if float.is_float() => {
                self.add(mask.to_dtype(dtype));
                Ok(())
            }
            other => {
                let help = "a mask is boolean (true hides), or a float that is added to the scores";
                Err(Error::new("attention", Fault::dtype(format!("a mask of {other} numbers"), help)))
            }
        }
    }
    /// One more thing to add to the scores.
    #[track_caller]
    pub(super) fn add(&mut self, numbers: Tensor) {
        self.added = Some(match &self.added {
            Some(added) => added + numbers,
            None => numbers,
        });
    }
    /// Columns for keys that everyone sees.
    #[track_caller]
    fn widen(&mut self, seen: Seen) -> Result<()> {
        for mask in [&mut self.hidden, &mut self.added].into_iter().flatten() {
            let mut sizes = mask.shape()?.to_vec();
            let Some(columns) = sizes.last_mut() else { continue };
            *columns = seen.keys - seen.added;
            let old = mask.expand(&sizes);
            if let Some(columns) = sizes.last_mut() {
                *columns = seen.added;
            }
            *mask = Tensor::cat(&[old, Tensor::full(&sizes, 0.0, mask.dtype()?).near(mask)], -1);
        }
        Ok(())
    }
    /// As the operation takes it: boolean (true: seen), or added.
    #[track_caller]
    pub(super) fn for_operation(&self) -> Option<Tensor> {
        match (&self.hidden, &self.added) {
            (None, None) => None,
            (Some(hidden), None) => Some(hidden.logical_not()),
            (None, Some(added)) => Some(added.clone()),
            (Some(hidden), Some(added)) => Some(added.masked_fill(hidden, f64::NEG_INFINITY)),
        }
    }
    /// The shares that scores `[examples, heads, queries, keys]` make: a softmax, with zeros where a query sees nothing.
    #[track_caller]
    pub(super) fn shares(&self, scores: Tensor) -> Tensor {
        let mut scores = scores;
        let mut hidden = self.hidden.clone();
        if let Some(added) = &self.added {
            let removed = added.detach().is_negative_infinity();
            hidden = Some(match hidden {
                Some(hidden) => hidden.logical_or(&removed),
                None => removed,
            });
            scores = scores + added;
        }
        let Some(hidden) = hidden else { return scores.softmax(-1) };
        // A row of nothing but minus infinity would give NaN, and so would its gradient: it counts as zeros until the end.
        let blind = hidden.all_keep(-1);
        let scores = scores.masked_fill(&hidden, f64::NEG_INFINITY).masked_fill(&blind, 0.0);
        scores.softmax(-1).masked_fill(&blind, 0.0)
    }
}
