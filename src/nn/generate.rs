//! Choosing the next token.

use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::layout::{Shape, order_of};
use crate::tensor::Tensor;

/// Draws tokens by a model's scores: softened by a temperature, among the likeliest only.
///
/// The draws are those of one stream: the same seed and the same scores give the same text.
///
/// Holtzman and others: "The curious case of neural text degeneration", 2020.
///
/// ```
/// use chainrule::nn::Sampler;
/// use chainrule::Tensor;
/// let scores = Tensor::from([[0.0, 9.0, 1.0], [5.0, 0.0, 4.9]]);
/// assert_eq!(Sampler::greedy().choose(&scores)?, Tensor::from([1, 0]));
/// let mut sampler = Sampler::new(7).with_temperature(0.8).with_top_k(2).with_top_p(0.95);
/// let tokens = sampler.choose(&scores)?.to_vec::<i64>()?;
/// assert!(tokens[1] != 1);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f64,
    top_k: Option<usize>,
    top_p: f64,
    random: Random,
}

impl Sampler {
    /// Draws by `softmax(scores)`, all tokens.
    ///
    /// ```
    /// use chainrule::{Tensor, nn::Sampler};
    /// let tokens = |seed| Sampler::new(seed).choose(&Tensor::zeros([20, 50]));
    /// assert_eq!(tokens(1)?, tokens(1)?);
    /// assert_ne!(tokens(1)?, tokens(2)?);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn new(seed: u64) -> Sampler {
        Sampler { temperature: 1.0, top_k: None, top_p: 1.0, random: Random::new(seed) }
    }
    /// Always the token of the greatest score, the first of equal ones.
    pub fn greedy() -> Sampler {
        Sampler::new(0).with_temperature(0.0)
    }
    /// Scores are divided by this: below 1 the likely become likelier, at 0 there is no chance left.
    #[must_use]
    pub fn with_temperature(self, temperature: f64) -> Sampler {
        Sampler { temperature, ..self }
    }
    /// Only the `count` tokens of the greatest scores.
    #[must_use]
    pub fn with_top_k(self, count: usize) -> Sampler {
        Sampler { top_k: Some(count), ..self }
    }
    /// Only the likeliest tokens, as few as have this chance together.
    #[must_use]
    pub fn with_top_p(self, chance: f64) -> Sampler {
        Sampler { top_p: chance, ..self }
    }
    /// A token for each row of scores `[.., tokens]`, as i64.
    #[track_caller]
    pub fn choose(&mut self, scores: &Tensor) -> Result<Tensor> {
        let shape = scores.shape()?;
        let (rows, tokens) = match shape.split_last() {
            Some((&tokens, rows)) if tokens > 0 => (rows, tokens),
            _ => {
                let what = format!("scores of shape {shape:?} have no tokens to choose from");
                return Err(Error::new("sampler", Fault::shape(what, "the last axis has a score for each token")));
            }
        };
        self.check()?;
        let numbers = scores.to_vec::<f64>()?;
        let mut chosen = Vec::with_capacity(numbers.len() / tokens);
        let before = self.random.clone();
        for row in numbers.chunks_exact(tokens) {
            match self.one(row) {
                Ok(token) => chosen.push(token as i64),
                Err(fault) => {
                    self.random = before;
                    return Err(Error::new("sampler", fault));
                }
            }
        }
        let rows = Shape::new(rows).map_err(|fault| Error::new("sampler", fault))?;
        Ok(Tensor::from_vec(chosen, rows)?.near(scores))
    }
    #[track_caller]
    fn check(&self) -> Result<()> {
        let fault = if !(0.0..f64::INFINITY).contains(&self.temperature) {
            Fault::value(format!("a temperature of {}", self.temperature), "it is 0 (greedy) or greater")
        } else if self.top_k == Some(0) {
            Fault::value("the likeliest 0 tokens", "keep one at least")
        } else if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            Fault::value(format!("the likeliest tokens with a chance of {}", self.top_p), "it is above 0 and at most 1")
        } else {
            return Ok(());
        };
        Err(Error::new("sampler", fault))
    }
    fn one(&mut self, scores: &[f64]) -> std::result::Result<usize, Fault> {
        let mut best = 0;
        for (token, &score) in scores.iter().enumerate() {
            if score.is_nan() || score == f64::INFINITY {
                return Err(Fault::value(
                    format!("token {token} has the score {score}"),
                    "the model's numbers have run away: look for NaN with detect_anomalies",
                ));
            }
            if score > scores[best] {
                best = token;
            }
        }
        let greatest = scores[best];
        if greatest == f64::NEG_INFINITY {
            return Err(Fault::value("every token has the score -inf", "leave one token that may be chosen"));
        }
        if self.temperature == 0.0 || self.top_k == Some(1) {
            return Ok(best);
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let chosen_few = self.top_k.is_some_and(|count| count < scores.len()) || self.top_p < 1.0;
        if chosen_few {
            // Greatest first, equal ones in the order of their numbers.
            order = order_of(scores.len(), &|a, b| scores[b].total_cmp(&scores[a]));
            order.truncate(self.top_k.unwrap_or(usize::MAX));
        }
        let weight = |token: &usize| ((scores[*token] - greatest) / self.temperature).exp();
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let mut total: f64 = weights.iter().sum();
        let mut count = weights.len();
        if self.top_p < 1.0 {
            let (wanted, mut sum) = (self.top_p * total, 0.0);
            count = weights
                .iter()
                .take_while(|&&weight| {
                    let more = sum < wanted;
                    sum += weight;
                    more
                })
                .count();
            total = weights.iter().take(count).sum();
        }
        let mut rest = self.random.uniform() * total;
        let mut last = best;
        for (&token, &weight) in order.iter().zip(&weights).take(count) {
            if weight > 0.0 {
                last = token;
                rest -= weight;
                if rest < 0.0 {
                    break;
                }
            }
        }
        Ok(last)
    }
}
