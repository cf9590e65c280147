//! Multi-head attention.

use super::masks::Seen;
use super::position::distances;
use super::{KvCache, Masks, MultiheadAttentionOptions};
use crate::error::{Error, Fault, Result};
use crate::module;
use crate::nn::{Dropout, Init, Layer, Linear, Module, Path, Visit, VisitMut};
use crate::ops::{Attention, Pad};
use crate::tensor::{Parameter, Tensor};

/// Several heads, each of which looks for what it wants: `softmax(Q Kᵀ / √(width of a head)) V` in each of them, the
/// results side by side and projected.
///
/// Tensors are `[positions, examples, width]`, or `[examples, positions, width]` with
/// [`with_batch_first`](MultiheadAttentionOptions::with_batch_first); a single example may leave its axis out. As a
/// [`Layer`] it attends to its input; [`attend`](MultiheadAttention::attend) takes queries, keys, values and masks.
///
/// Vaswani and others: "Attention is all you need", 2017.
///
/// ```
/// use chainrule::nn::{Init, Layer, MultiheadAttention};
/// use chainrule::Tensor;
/// let attention = MultiheadAttention::new(64, 8, &mut Init::new());
/// let words = Tensor::zeros([10, 2, 64]);
/// assert_eq!(attention.forward(&words).dims()?, [10, 2, 64]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MultiheadAttention {
    /// What makes queries, keys and values.
    pub in_proj: Projection,
    /// Their biases, one after another.
    pub in_proj_bias: Option<Parameter>,
    /// A key that is learnt, `[1, 1, width]`, behind those given.
    pub bias_k: Option<Parameter>,
    /// Its value.
    pub bias_v: Option<Parameter>,
    /// What brings the heads together.
    pub out_proj: Linear,
    /// What drops weights while training.
    pub dropout: Dropout,
    pub(super) options: MultiheadAttentionOptions,
}
module!(MultiheadAttention { in_proj as "", in_proj_bias, bias_k, bias_v, out_proj, dropout; options });

/// The weights that make queries, keys and values.
#[derive(Clone, Debug)]
pub enum Projection {
    /// One matrix, the rows of queries, keys and values one after another: `in_proj_weight`.
    Joint(Parameter),
    /// Three, where keys or values have a width of their own: `q_proj_weight`, `k_proj_weight`, `v_proj_weight`.
    Separate {
        /// `[width, width]`.
        query: Parameter,
        /// `[width, width of keys]`.
        key: Parameter,
        /// `[width, width of values]`.
        value: Parameter,
    },
}

impl Module for Projection {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        match self {
            Projection::Joint(weight) => visitor.parameter(&path.child("in_proj_weight"), weight),
            Projection::Separate { query, key, value } => {
                visitor.parameter(&path.child("q_proj_weight"), query);
                visitor.parameter(&path.child("k_proj_weight"), key);
                visitor.parameter(&path.child("v_proj_weight"), value);
            }
        }
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        match self {
            Projection::Joint(weight) => visitor.parameter(&path.child("in_proj_weight"), weight),
            Projection::Separate { query, key, value } => {
                visitor.parameter(&path.child("q_proj_weight"), query);
                visitor.parameter(&path.child("k_proj_weight"), key);
                visitor.parameter(&path.child("v_proj_weight"), value);
            }
        }
    }
}

/// What is to come out besides the result.
#[derive(Clone, Copy, PartialEq)]
enum Weights {
    None,
    OfHeads,
    Mean,
}

impl MultiheadAttention {
    /// Queries, keys and values of one width, with biases, without dropout.
    #[track_caller]
    pub fn new(width: usize, heads: usize, init: &mut Init) -> MultiheadAttention {
        MultiheadAttention::options(width, heads).build(init)
    }
    /// With options: [`build`](MultiheadAttentionOptions::build) ends them.
    ///
    /// ```
    /// use chainrule::nn::{Init, MultiheadAttention};
    /// let attention = MultiheadAttention::options(64, 8).with_dropout(0.1).with_batch_first().build(&mut Init::new());
    /// # let _ = attention;
    /// ```
    pub fn options(width: usize, heads: usize) -> MultiheadAttentionOptions {
        MultiheadAttentionOptions::new(width, heads)
    }
    /// What these queries find among these keys: a mean of the values, in the shape of the queries.
    ///
    /// Queries, keys and values that are the same tensor (by reference) are projected in one product.
    ///
    /// ```
    /// use chainrule::nn::{Init, Masks, MultiheadAttention};
    /// use chainrule::Tensor;
    /// let attention = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
    /// let (words, picture) = (Tensor::zeros([1, 5, 8]), Tensor::zeros([1, 30, 8]));
    /// let y = attention.attend(&words, &picture, &picture, &Masks::new());
    /// assert_eq!(y.dims()?, [1, 5, 8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor, masks: &Masks) -> Tensor {
        match self.run([query, key, value], masks, Weights::None, None) {
            Ok((out, _)) => out,
            Err(error) => Tensor::failed(error),
        }
    }
    /// As [`attend`](MultiheadAttention::attend), with the weights: `[examples, heads, queries, keys]`, or with `mean`
    /// their mean over the heads, `[examples, queries, keys]`. It holds all of them in memory.
    ///
    /// ```
    /// use chainrule::nn::{Init, Masks, MultiheadAttention};
    /// use chainrule::Tensor;
    /// let attention = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
    /// let x = Tensor::zeros([1, 5, 8]);
    /// let (_, weights) = attention.attend_with_weights(&x, &x, &x, &Masks::new(), true);
    /// assert_eq!(weights.dims()?, [1, 5, 5]);
    /// assert!((weights.to_vec::<f32>()?[0] - 0.2).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias("need_weights", "average_attn_weights"))]
    #[track_caller]
    pub fn attend_with_weights(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        masks: &Masks,
        mean: bool,
    ) -> (Tensor, Tensor) {
        let weights = if mean { Weights::Mean } else { Weights::OfHeads };
        match self.run([query, key, value], masks, weights, None) {
            Ok(both) => both,
            Err(error) => (Tensor::failed(error.clone()), Tensor::failed(error)),
        }
    }
    /// The next positions of a text whose earlier ones the cache holds: each sees those, and the new ones up to itself.
    /// The cache takes the new keys and values in; on an error it stays as it was.
    ///
    /// The numbers are those of the whole text at once, up to rounding. What the cache holds has no history. Masks speak of
    /// all keys, also the earlier ones.
    ///
    /// ```
    /// use chainrule::nn::{Init, KvCache, Masks, MultiheadAttention};
    /// use chainrule::{Random, Tensor, no_grad};
    /// let attention = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
    /// let x = Tensor::normal([1, 3, 8], 0.0, 1.0, &mut Random::new(1));
    /// let whole = attention.attend(&x, &x, &x, &Masks::new().causal());
    /// let mut cache = KvCache::new();
    /// no_grad(|| attention.attend_cached(&x.narrow(1, 0, 2), &mut cache, &Masks::new())).checked()?;
    /// let last = no_grad(|| attention.attend_cached(&x.narrow(1, 2, 1), &mut cache, &Masks::new()));
    /// assert!((whole.narrow(1, 2, 1) - last).abs().max().item()? < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn attend_cached(&self, input: &Tensor, cache: &mut KvCache, masks: &Masks) -> Tensor {
        let before = cache.len();
        let out = match self.run([input; 3], masks, Weights::None, Some(cache)) {
            Ok((out, _)) => out,
            Err(error) => Tensor::failed(error),
        };
        if out.error().is_some() {
            cache.truncate(before);
        }
        out
    }

    /// What these queries find in a memory that is read once: its keys and values are made at the first call, while the
    /// cache is empty, and stay in it (on an error it stays as it was). Later calls do not look at the memory any more.
    ///
    /// ```
    /// use chainrule::nn::{Init, KvCache, Masks, MultiheadAttention};
    /// use chainrule::{Tensor, no_grad};
    /// let attention = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
    /// let (word, picture, mut cache) = (Tensor::ones([1, 1, 8]), Tensor::ones([1, 30, 8]), KvCache::new());
    /// for _ in 0..2 {
    ///     no_grad(|| attention.attend_memory(&word, &picture, &mut cache, &Masks::new())).checked()?;
    /// }
    /// assert_eq!(cache.len(), 30);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn attend_memory(&self, query: &Tensor, memory: &Tensor, cache: &mut KvCache, masks: &Masks) -> Tensor {
        let before = cache.len();
        let out = match self.run_memory(query, memory, cache, masks) {
            Ok(out) => out,
            Err(error) => Tensor::failed(error),
        };
        if out.error().is_some() {
            cache.truncate(before);
        }
        out
    }

    #[track_caller]
    fn run(
        &self,
        operands: [&Tensor; 3],
        masks: &Masks,
        wanted: Weights,
        cache: Option<&mut KvCache>,
    ) -> Result<(Tensor, Tensor)> {
        let options = &self.options;
        let single = self.check(&operands)?;
        let [query, key, value] = self.project(operands, single)?;
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let (mut query, mut key) = (self.heads(query, options.heads), self.heads(key, options.key_heads));
        let mut value = self.heads(value, options.key_heads);
        if let Some(rotary) = &options.rotary {
            query = query.rotary(past, *rotary);
            key = key.rotary(past, *rotary);
        }
        // A single new position sees all that is cached.
        let causal = if cache.is_some() { query.size(2)? > 1 } else { masks.is_causal() };
        if let Some(cache) = cache {
            (key, value) = cache.append(&key, &value)?;
        }
        let (out, weights) = self.weigh([query, key, value], masks, wanted, past, causal)?;
        let out = if single { out.squeeze_axes(self.example_axis()) } else { out };
        let weights = match weights {
            Some(weights) if single => weights.squeeze_axes(0),
            Some(weights) => weights,
            None => out.clone(),
        };
        Ok((out, weights))
    }

    #[track_caller]
    fn run_memory(&self, query: &Tensor, memory: &Tensor, cache: &mut KvCache, masks: &Masks) -> Result<Tensor> {
        let options = &self.options;
        if options.rotary.is_some() || options.alibi {
            let fault = Fault::value(
                "positions of a text and of its memory are not those of one text",
                "build attention to a memory without rotary and without alibi",
            );
            return Err(Error::new("attention", fault));
        }
        let single = self.check(&[query, memory, memory])?;
        if cache.is_empty() {
            let memory = self.full(memory, single);
            let [key, value] = self.project_keys(&memory, &memory, true);
            let _ = cache.append(&self.heads(key, options.key_heads), &self.heads(value, options.key_heads))?;
        }
        let (Some(key), Some(value)) = (cache.keys(), cache.values()) else {
            return Err(Error::new("attention", Fault::defect("the memory's cache is empty")));
        };
        let query = self.heads(self.project_query(&self.full(query, single)), options.heads);
        let (out, _) = self.weigh([query, key, value], masks, Weights::None, 0, masks.is_causal())?;
        Ok(if single { out.squeeze_axes(self.example_axis()) } else { out })
    }

    /// From queries, keys and values of all heads to the result; the first query stands at `past` among the keys.
    #[track_caller]
    fn weigh(
        &self,
        [query, mut key, mut value]: [Tensor; 3],
        masks: &Masks,
        wanted: Weights,
        past: usize,
        causal: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let options = &self.options;
        let mut added = 0;
        if let (Some(extra_key), Some(extra_value)) = (&self.bias_k, &self.bias_v) {
            key = self.behind(&key, extra_key)?;
            value = self.behind(&value, extra_value)?;
            added += 1;
        }
        if options.zero_key {
            key = key.pad(&[(0, 1), (0, 0)], Pad::Zeros);
            value = value.pad(&[(0, 1), (0, 0)], Pad::Zeros);
            added += 1;
        }
        let [examples, heads, queries, _] = query.dims()?;
        let keys = key.size(2)?;
        let seen = Seen { examples, heads, queries, keys, past, added };
        // The kernel counts from the first key, so it can leave a mask out where nothing stands before or behind.
        let by_kernel = causal && past == 0 && added == 0 && wanted == Weights::None;
        let dtype = query.dtype()?;
        let mut resolved = masks.resolve(seen, (dtype, query.device()?), causal && !by_kernel)?;
        if options.alibi {
            resolved.add(distances(heads, queries, keys - added, past, added, dtype).near(&query));
        }
        let rate = self.dropout.rate;
        let dropout = if rate == 0.0 { None } else { self.dropout.stream.draw() };
        let (out, weights) = if wanted == Weights::None {
            let mut how = Attention::new().causal(by_kernel).grouped(true);
            if let Some(mask) = resolved.for_operation() {
                how = how.mask(&mask);
            }
            if let Some(draw) = dropout {
                how = how.dropout(rate, draw);
            }
            (query.scaled_dot_product_attention(&key, &value, &how), None)
        } else {
            let groups = heads / options.key_heads.max(1);
            if groups > 1 {
                key = key.repeat_interleave(groups, 1);
                value = value.repeat_interleave(groups, 1);
            }
            let width = query.size(-1)?.max(1) as f64;
            let scores = (query * (1.0 / width.sqrt())).matmul(&key.transpose(-1, -2));
            let mut weights = resolved.shares(scores);
            if let Some(draw) = dropout {
                weights = weights.dropout(rate, draw);
            }
            let out = weights.matmul(&value);
            (out, Some(if wanted == Weights::Mean { weights.mean_over(1) } else { weights }))
        };
        let order = if options.batch_first { [0, 2, 1, 3] } else { [2, 0, 1, 3] };
        Ok((self.out_proj.forward(&out.permute(order).flatten_axes(2, 3)), weights))
    }

    fn example_axis(&self) -> isize {
        if self.options.batch_first { 0 } else { 1 }
    }

    /// Do options and ranks fit? Says whether it is a single example, without its axis.
    #[track_caller]
    fn check(&self, operands: &[&Tensor; 3]) -> Result<bool> {
        if let Err(fault) = self.options.head_width() {
            return Err(Error::new("attention", fault));
        }
        let single = operands[0].rank()? == 2;
        for (operand, what) in operands.iter().zip(["queries", "keys", "values"]) {
            let rank = operand.rank()?;
            if rank != if single { 2 } else { 3 } {
                let order = if self.options.batch_first { "examples, positions" } else { "positions, examples" };
                let help = format!("attention takes [{order}, width], or [positions, width] of a single example");
                return Err(Error::new("attention", Fault::shape(format!("the {what} have {rank} axes"), help)));
            }
        }
        Ok(single)
    }

    /// With an axis for examples.
    #[track_caller]
    fn full(&self, x: &Tensor, single: bool) -> Tensor {
        if single { x.unsqueeze(self.example_axis()) } else { x.clone() }
    }

    /// Queries, keys and values, in one product where they come from one tensor.
    #[track_caller]
    fn project(&self, [query, key, value]: [&Tensor; 3], single: bool) -> Result<[Tensor; 3]> {
        let (one, shared) = (std::ptr::eq(query, key) && std::ptr::eq(key, value), std::ptr::eq(key, value));
        let (query, key, value) = (self.full(query, single), self.full(key, single), self.full(value, single));
        if let (Projection::Joint(weight), true) = (&self.in_proj, one) {
            let (width, keys) = (self.options.width, self.options.keys_width());
            let parts = query.linear(weight, self.in_proj_bias.as_deref()).split_sizes(&[width, keys, keys], -1)?;
            return <[Tensor; 3]>::try_from(parts)
                .map_err(|_| Error::new("attention", Fault::defect("three parts were expected")));
        }
        let [for_key, for_value] = self.project_keys(&key, &value, shared);
        Ok([self.project_query(&query), for_key, for_value])
    }

    #[track_caller]
    fn project_query(&self, query: &Tensor) -> Tensor {
        let width = self.options.width;
        match &self.in_proj {
            Projection::Joint(weight) => query.linear(&weight.narrow(0, 0, width), self.bias(0, width).as_ref()),
            Projection::Separate { query: weight, .. } => query.linear(weight, self.bias(0, width).as_ref()),
        }
    }

    /// Keys and values, in one product where they come from one tensor.
    #[track_caller]
    fn project_keys(&self, key: &Tensor, value: &Tensor, shared: bool) -> [Tensor; 2] {
        let (width, keys) = (self.options.width, self.options.keys_width());
        match &self.in_proj {
            Projection::Joint(weight) if shared => {
                let both = key.linear(&weight.narrow(0, width, 2 * keys), self.bias(width, 2 * keys).as_ref());
                both.parts(-1)
            }
            Projection::Joint(weight) => [
                key.linear(&weight.narrow(0, width, keys), self.bias(width, keys).as_ref()),
                value.linear(&weight.narrow(0, width + keys, keys), self.bias(width + keys, keys).as_ref()),
            ],
            Projection::Separate { key: for_key, value: for_value, .. } => [
                key.linear(for_key, self.bias(width, keys).as_ref()),
                value.linear(for_value, self.bias(width + keys, keys).as_ref()),
            ],
        }
    }

    #[expect(clippy::manual_map, reason = "inside a closure the caller's place is lost")]
    #[track_caller]
    fn bias(&self, start: usize, length: usize) -> Option<Tensor> {
        match &self.in_proj_bias {
            Some(bias) => Some(bias.narrow(0, start, length)),
            None => None,
        }
    }

    /// `[examples, heads, positions, width of a head]`, without a copy.
    #[track_caller]
    fn heads(&self, x: Tensor, heads: usize) -> Tensor {
        let order = if self.options.batch_first { [0, 2, 1, 3] } else { [1, 2, 0, 3] };
        let head = self.options.width.checked_div(self.options.heads).unwrap_or(0);
        x.unflatten(-1, [heads, head]).permute(order)
    }

    /// Keys or values with a learnt one behind them.
    #[track_caller]
    fn behind(&self, x: &Tensor, extra: &Tensor) -> Result<Tensor> {
        let [examples, heads, _, width] = x.dims()?;
        let extra = extra.reshape([1, heads, 1, width]).expand([examples, heads, 1, width]);
        Ok(Tensor::cat(&[x, &extra], 2))
    }
}

impl Layer for MultiheadAttention {
    /// Every position looks at all.
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        self.attend(input, input, input, &Masks::new())
    }
}
