//! Scaled dot-product attention: one fused operation, and its definition in plain ones.

use crate::device::attention::{Attend, Attended, Attending};
use crate::device::random::Draw;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted, apply_slice, one};
use crate::tensor::Tensor;

/// How [`scaled_dot_product_attention`](Tensor::scaled_dot_product_attention) works; all of it is optional.
///
/// ```
/// use chainrule::{Attention, Tensor};
/// let x = Tensor::ones([1, 2, 5, 4]); // batch, heads, positions, width
/// let y = x.scaled_dot_product_attention(&x, &x, &Attention::new().causal(true));
/// assert_eq!(y.dims()?, [1, 2, 5, 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attention {
    mask: Option<Tensor>,
    causal: bool,
    scale: Option<f64>,
    grouped: bool,
    dropout: Option<(f64, Draw)>,
}

impl Attention {
    /// No mask, scale `1 / √E`, as many heads of keys as of queries.
    ///
    /// ```
    /// use chainrule::{Attention, Tensor};
    /// let x = Tensor::ones([3, 4]);
    /// assert_eq!(x.scaled_dot_product_attention(&x, &x, &Attention::new()).dims()?, [3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn new() -> Attention {
        Attention::default()
    }
    /// A mask that broadcasts to the scores `[.., L, S]`: boolean (true: this query sees this key) or a float that is
    /// added to the scores and may want a gradient. A query that sees nothing gives zeros.
    ///
    /// ```
    /// use chainrule::{Attention, Tensor};
    /// let (x, v) = (Tensor::ones([2, 1]), Tensor::from([[1.0], [5.0]]));
    /// let mask = Tensor::from([[true, false], [false, false]]);
    /// let y = x.scaled_dot_product_attention(&x, &v, &Attention::new().mask(&mask));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn mask(self, mask: &Tensor) -> Attention {
        Attention { mask: Some(mask.clone()), ..self }
    }
    /// Query `i` sees the keys `0 ..= i` only, counted from the first of both also where the lengths differ. A mask holds
    /// besides.
    ///
    /// ```
    /// use chainrule::{Attention, Tensor};
    /// let (x, v) = (Tensor::zeros([2, 1]), Tensor::from([[1.0], [5.0]]));
    /// let y = x.scaled_dot_product_attention(&x, &v, &Attention::new().causal(true));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "is_causal")]
    pub fn causal(self, causal: bool) -> Attention {
        Attention { causal, ..self }
    }
    /// What scores are multiplied by, instead of one over the square root of a key's size.
    ///
    /// ```
    /// use chainrule::{Attention, Tensor};
    /// let x = Tensor::ones([3, 4]);
    /// assert!(x.scaled_dot_product_attention(&x, &x, &Attention::new().scale(1.0)).checked().is_ok());
    /// ```
    pub fn scale(self, scale: f64) -> Attention {
        Attention { scale: Some(scale), ..self }
    }
    /// Several heads of queries may share one of keys and values (axis -3): head `h` of `H` queries uses head
    /// `h · G / H` of `G`.
    ///
    /// Ainslie and others: "GQA: training generalized multi-query transformer models", 2023.
    ///
    /// ```
    /// use chainrule::{Attention, Tensor};
    /// let (queries, keys) = (Tensor::ones([6, 3, 4]), Tensor::ones([2, 3, 4]));
    /// let y = queries.scaled_dot_product_attention(&keys, &keys, &Attention::new().grouped(true));
    /// assert_eq!(y.dims()?, [6, 3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "enable_gqa")]
    pub fn grouped(self, grouped: bool) -> Attention {
        Attention { grouped, ..self }
    }
    /// Drops each weight with chance `rate`; what is kept grows by `1 / (1 - rate)`. The same draw drops the same.
    ///
    /// ```
    /// use chainrule::{Attention, Random, Tensor};
    /// let (x, draw) = (Tensor::ones([3, 4]), Random::new(1).draw());
    /// assert!(x.scaled_dot_product_attention(&x, &x, &Attention::new().dropout(0.1, draw)).checked().is_ok());
    /// ```
    pub fn dropout(self, rate: f64, draw: Draw) -> Attention {
        Attention { dropout: Some((rate, draw)), ..self }
    }
}

impl Tensor {
    /// Attention of these queries `[.., L, E]` over keys `[.., S, E]` with values `[.., S, F]`:
    /// `softmax(scale · Q · Kᵀ + mask) · V`, shape `[.., L, F]`. The axes in front broadcast.
    ///
    /// It works in tiles and never holds the `L × S` weights; the gradients recompute them.
    ///
    /// Vaswani and others: "Attention is all you need", 2017. Dao and others: "FlashAttention", 2022.
    ///
    /// ```
    /// use chainrule::{Attention, Tensor};
    /// let queries = Tensor::from([[0.0, 0.0]]);
    /// let (keys, values) = (Tensor::ones([3, 2]), Tensor::from([[1.0], [2.0], [6.0]]));
    /// let mean = queries.scaled_dot_product_attention(&keys, &values, &Attention::new());
    /// assert!((mean.item()? - 3.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "attention")]
    pub fn scaled_dot_product_attention(&self, keys: &Tensor, values: &Tensor, options: &Attention) -> Tensor {
        let Attention { mask, causal, scale, grouped, dropout } = options;
        let op = Attends { causal: *causal, scale: *scale, grouped: *grouped, dropout: *dropout };
        match mask {
            Some(mask) => apply_slice(op, &[self, keys, values, mask]),
            None => apply_slice(op, &[self, keys, values]),
        }
    }
}

/// The operation. It keeps the result, and maximum and sum of each row.
#[derive(Debug)]
struct Attends {
    causal: bool,
    scale: Option<f64>,
    grouped: bool,
    dropout: Option<(f64, Draw)>,
}

/// The operands as kernels take them: `[batch.., heads of keys, heads of queries for each, rows, columns]`.
struct Operands {
    query: Value,
    key: Value,
    value: Value,
    mask: Option<Value>,
    /// The axes in front of the matrices, of the result.
    batch: Shape,
    how: Attending,
}

impl Attends {
    fn operands(&self, inputs: &[&Value]) -> Result<Operands, Fault> {
        let [query, key, value, mask @ ..] = inputs else { return Err(Fault::defect("three operands were expected")) };
        self.check(query, key, value)?;
        let split = |x: &Value| {
            let (batch, matrix) = x.dims().split_at(x.rank() - 2);
            (batch.to_vec(), [matrix[0], matrix[1]])
        };
        let ((queries, [length, width]), (keys, [seen, _]), (values, _)) = (split(query), split(key), split(value));
        let keys = Shape::new(&keys)?.broadcast(&Shape::new(&values)?)?;
        let groups = self.groups(&queries, &keys)?;
        // With grouped heads, the heads of keys count as a batch, and those of queries are split.
        let shared = |batch: &[usize]| match batch.split_last() {
            Some((&heads, rest)) if groups > 1 => [rest, &[heads / groups]].concat(),
            _ => batch.to_vec(),
        };
        let common = Shape::new(&shared(&queries))?.broadcast(&keys)?;
        let as_matrices = |x: &Value, groups: usize| -> Result<Value, Fault> {
            let (batch, [rows, columns]) = split(x);
            let strides = x.layout().strides();
            let (outer, matrix) = strides.split_at(batch.len());
            let mut outer = outer.to_vec();
            let mut inner = 0;
            let sizes = if groups > 1 {
                inner = outer.last().copied().unwrap_or(0);
                if let Some(last) = outer.last_mut() {
                    *last *= groups as isize;
                }
                shared(&batch)
            } else {
                batch
            };
            let split = Layout::from_parts(
                Shape::new(&[&sizes[..], &[groups, rows, columns]].concat())?,
                &[&outer[..], &[inner], matrix].concat(),
                x.layout().offset(),
            );
            x.with_layout(split.expanded(&Shape::new(&[&common[..], &[groups, rows, columns]].concat())?)?)
        };
        let mut batch = common.to_vec();
        if let (true, Some(heads)) = (groups > 1, batch.last_mut()) {
            *heads *= groups;
        }
        let batch = Shape::new(&batch)?;
        let mask = match mask.first() {
            None => None,
            Some(mask) => {
                let wanted = Shape::new(&[&batch[..], &[length, seen]].concat())?;
                let spread = mask.layout().expanded(&wanted).map_err(|_| {
                    Fault::shape(
                        format!("the mask {:?} does not fit the scores {wanted:?}", mask.dims()),
                        "its last two sizes are the numbers of queries and keys (or 1), the others those of the batch",
                    )
                })?;
                if mask.dtype() != DType::Bool && mask.dtype() != query.dtype() {
                    return Err(Fault::dtype(
                        format!("the mask is {}, the queries {}", mask.dtype(), query.dtype()),
                        "a mask is boolean (true: keep), or has the type of the queries and is added to the scores",
                    ));
                }
                Some(as_matrices(&mask.with_layout(spread)?, groups)?)
            }
        };
        let scale = self.scale.unwrap_or(1.0 / (width as f64).sqrt());
        let how = Attending { scale, causal: self.causal, dropout: self.dropout };
        Ok(Operands {
            query: as_matrices(query, groups)?,
            key: as_matrices(key, 1)?,
            value: as_matrices(value, 1)?,
            mask,
            batch,
            how,
        })
    }

    fn check(&self, query: &Value, key: &Value, value: &Value) -> Result<(), Fault> {
        for (x, what) in [(query, "queries"), (key, "keys"), (value, "values")] {
            if x.rank() < 2 || x.rank() > 7 {
                return Err(Fault::shape(
                    format!("the {what} have {} axes", x.rank()),
                    "attention needs [positions, width], and up to five axes in front of them",
                ));
            }
            if x.dtype() != query.dtype() {
                return Err(Fault::dtype(
                    format!("the {what} are {}, the queries {}", x.dtype(), query.dtype()),
                    "convert them to one element type, with to_dtype",
                ));
            }
        }
        let last = |x: &Value, back: usize| x.dims()[x.rank() - back];
        if last(query, 1) != last(key, 1) {
            return Err(Fault::shape(
                format!("the queries have width {}, the keys {}", last(query, 1), last(key, 1)),
                "the last sizes of queries and keys must be equal: their products are the scores",
            ));
        }
        if last(key, 2) != last(value, 2) {
            return Err(Fault::shape(
                format!("there are {} keys and {} values", last(key, 2), last(value, 2)),
                "every key needs a value: the second-to-last sizes must be equal",
            ));
        }
        if let Some((rate, _)) = self.dropout
            && !(0.0..=1.0).contains(&rate)
        {
            return Err(Fault::value(format!("a dropout rate of {rate}"), "it is a chance: from 0 to 1"));
        }
        Ok(())
    }

    /// How many heads of queries share one of keys.
    fn groups(&self, queries: &[usize], keys: &[usize]) -> Result<usize, Fault> {
        let (Some(&heads), Some(&shared), true) = (queries.last(), keys.last(), self.grouped) else { return Ok(1) };
        if shared == 0 || heads % shared != 0 {
            return Err(Fault::shape(
                format!("{heads} heads of queries do not share {shared} of keys evenly"),
                "the number of heads (axis -3) of the queries must be a multiple of that of the keys",
            ));
        }
        Ok(heads / shared)
    }
}

/// The same numbers in another shape.
fn reshaped(x: &Value, sizes: &[usize]) -> Result<Value, Fault> {
    x.with_layout(Layout::contiguous(Shape::new(sizes)?))
}

impl Op for Attends {
    fn name(&self) -> &'static str {
        "scaled_dot_product_attention"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let Operands { query, key, value, mask, batch, how } = self.operands(inputs)?;
        let attended = on!(query.device(), attend(&query, &key, &value, mask.as_ref(), how))?;
        if keep.wanted() {
            keep.push(attended.maxima);
            keep.push(attended.shares);
        }
        let matrix = [inputs[0].dims()[inputs[0].rank() - 2], inputs[2].dims()[inputs[2].rank() - 1]];
        one(reshaped(&attended.out, &[&batch[..], &matrix].concat())?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let wanted = |other: usize| other == which;
        let mut all = self.gradients(Wanted(&wanted), arriving, call);
        match all.get_mut(which).and_then(Option::take) {
            Some(gradient) => gradient,
            None => Tensor::failed(call.error(Fault::defect("a gradient that does not exist was asked for"))),
        }
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let computed = || -> crate::Result<InputGradients> {
            let mut inputs = smallvec::SmallVec::<[&Value; 4]>::new();
            for which in 0..call.inputs() {
                inputs.push(call.value(which)?);
            }
            let at = |fault| call.error(fault);
            let Operands { query, key, value, mask, how, .. } = self.operands(&inputs).map_err(at)?;
            let mask_too = call.inputs() > 3 && wanted.has(3);
            let (out, arriving) = (call.output_value(0)?, arriving[0].value()?);
            let attended = Attended { out: out.clone(), maxima: call.kept(0)?.clone(), shares: call.kept(1)?.clone() };
            let gradients = on!(
                query.device(),
                attend_gradient(&query, &key, &value, mask.as_ref(), &attended, arriving, how, mask_too)
            )
            .map_err(at)?;
            let mut batch = call.output_dims(0).to_vec();
            batch.truncate(batch.len() - 2);
            let back = |x: Value, grouped: bool| -> crate::Result<Option<Tensor>> {
                let matrix = &x.dims()[x.rank() - 2..];
                let heads = if grouped { &batch[..] } else { &x.dims()[..x.rank() - 3] };
                let sizes = [heads, matrix].concat();
                Ok(Some(Tensor::from_value(reshaped(&x, &sizes).map_err(at)?)))
            };
            let mut all = InputGradients::new();
            all.push(back(gradients.query, true)?);
            all.push(back(gradients.key, false)?);
            all.push(back(gradients.value, false)?);
            if call.inputs() > 3 {
                all.push(match gradients.mask {
                    Some(mask) => back(mask, true)?,
                    None => None,
                });
            }
            Ok(all)
        };
        computed().unwrap_or_else(|error| {
            (0..call.inputs()).map(|which| wanted.has(which).then(|| Tensor::failed(error.clone()))).collect()
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::output(0))
    }
    fn rule(&self, which: usize) -> &'static str {
        match which {
            0 => "∂L/∂Q = scale · ∂L/∂S · K, where ∂L/∂S = P ∘ (∂L/∂P - rows of Σ P ∘ ∂L/∂P), ∂L/∂P = ∂L/∂Y · Vᵀ",
            1 => "∂L/∂K = scale · (∂L/∂S)ᵀ · Q",
            2 => "∂L/∂V = Pᵀ · ∂L/∂Y",
            _ => "∂L/∂mask = ∂L/∂S = P ∘ (∂L/∂P - rows of Σ P ∘ ∂L/∂P)",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["queries", "keys", "values", "mask"]
    }
    /// `softmax(scale · Q · Kᵀ + mask) · V`, with zeros where a query sees nothing.
    fn definition(&self, inputs: &[Tensor], _: &Call<'_>) -> Option<Tensors> {
        Some([defined(self, inputs)].into_iter().collect())
    }
}

/// Attention in plain operations.
fn defined(op: &Attends, inputs: &[Tensor]) -> Tensor {
    Tensor::compute(|| {
        let [query, key, value, mask @ ..] = inputs else { return Ok(Tensor::zeros(())) };
        let (length, seen, width) = (query.size(-2)?, key.size(-2)?, query.size(-1)?);
        let heads = |x: &Tensor| if op.grouped && x.rank()? > 2 { x.size(-3) } else { Ok(1) };
        let shared = heads(key)?.max(heads(value)?).max(1);
        let (groups, shape) = (heads(query)? / shared, query.shape()?);
        let (query, key, value) = if groups > 1 {
            let split = [&shape[..shape.len() - 3], &[shape[shape.len() - 3] / groups, groups, length, width]].concat();
            (query.reshape(split), key.unsqueeze(-3), value.unsqueeze(-3))
        } else {
            (query.clone(), key.clone(), value.clone())
        };
        let scale = op.scale.unwrap_or(1.0 / (width as f64).sqrt());
        let mut scores = (query * scale).matmul(&key.transpose(-1, -2));
        if groups > 1 {
            let joined = [&scores.shape()?[..shape.len() - 3], &[shape[shape.len() - 3], length, seen]].concat();
            scores = scores.reshape(joined);
        }
        if let Some(mask) = mask.first() {
            // What a boolean one hides by is f32.
            let hidden = added(mask)?.to_dtype(scores.dtype()?);
            scores = scores + hidden;
        }
        if op.causal {
            let below = Tensor::ones([length, seen]).tril(0).to_dtype(DType::Bool).near(&scores);
            let below = added(&below)?.to_dtype(scores.dtype()?);
            scores = scores + below;
        }
        // The softmax, spelled out so that a row of nothing but minus infinity gives zeros.
        let maxima = finite(&scores.detach().max_keep(-1))?;
        let weights = (scores - maxima).exp();
        let sums = weights.sum_keep(-1);
        let mut weights = weights / (&sums + empty(&sums)?);
        if let Some((rate, draw)) = op.dropout {
            weights = weights.dropout(rate, draw);
        }
        if groups > 1 {
            let shape = weights.shape()?;
            let rank = shape.len();
            let split = [&shape[..rank - 3], &[shape[rank - 3] / groups, groups, length, seen]].concat();
            let out = weights.reshape(split).matmul(&value);
            let joined = [&shape[..rank - 2], &[length, value.size(-1)?]].concat();
            return Ok(out.reshape(joined));
        }
        Ok(weights.matmul(&value))
    })
}

/// Every element by itself, as a constant.
fn each(x: &Tensor, change: impl Fn(f64) -> f64) -> crate::Result<Tensor> {
    let (dtype, shape) = (x.dtype()?, x.shape()?);
    let numbers: Vec<f64> = x.to_vec::<f64>()?.into_iter().map(change).collect();
    Ok(Tensor::from_vec(numbers, shape)?.to_dtype(dtype).near(x))
}

/// A boolean mask as numbers to add; a float mask is that already.
fn added(mask: &Tensor) -> crate::Result<Tensor> {
    if mask.dtype()? != DType::Bool {
        return Ok(mask.clone());
    }
    each(&mask.to_dtype(DType::F32), |keep| if keep == 0.0 { f64::NEG_INFINITY } else { 0.0 })
}

/// Minus infinity becomes zero.
fn finite(x: &Tensor) -> crate::Result<Tensor> {
    each(x, |x| if x == f64::NEG_INFINITY { 0.0 } else { x })
}

/// One where a sum is zero.
fn empty(sums: &Tensor) -> crate::Result<Tensor> {
    each(&sums.detach(), |sum| if sum == 0.0 { 1.0 } else { 0.0 })
}
