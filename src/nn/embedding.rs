//! Tables of vectors by number: words, categories, positions.

use super::{Init, Initial, Layer, Module};
use crate::device::Combine;
use crate::error::{Fault, Result};
use crate::layout::{DType, Integer};
use crate::module;
use crate::tensor::{Parameter, Tensor, refused};

/// A table of vectors: whole numbers in, their rows out, along a new last axis.
///
/// Weight `[count, size]` starts normal with deviation 1.
///
/// ```
/// use chainrule::nn::{Embedding, Init, Layer};
/// use chainrule::Tensor;
/// let layer = Embedding::new(1000, 64, &mut Init::new());
/// assert_eq!(layer.forward(&Tensor::from([[5, 7, 5]])).dims()?, [1, 3, 64]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[count, size]`.
    pub weight: Parameter,
    padding: Option<isize>,
}
module!(Embedding { weight; padding });

/// The options of an [`Embedding`] that is about to be built.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingOptions {
    count: usize,
    size: usize,
    padding: Option<isize>,
}

impl Embedding {
    /// So many vectors of this size.
    #[track_caller]
    pub fn new(count: usize, size: usize, init: &mut Init) -> Embedding {
        Embedding::options(count, size).build(init)
    }
    /// With options: a row for padding.
    ///
    /// ```
    /// use chainrule::nn::{Embedding, Init};
    /// let layer = Embedding::options(10, 4).with_padding(0).build(&mut Init::new());
    /// assert_eq!(layer.weight.select(0, 0).to_vec::<f32>()?, [0.0; 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn options(count: usize, size: usize) -> EmbeddingOptions {
        EmbeddingOptions { count, size, padding: None }
    }
    /// From a table that is there already. It goes on learning unless it is frozen.
    ///
    /// ```
    /// use chainrule::nn::{Embedding, Layer};
    /// use chainrule::Tensor;
    /// let layer = Embedding::from_table(Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
    /// assert_eq!(layer.forward(&Tensor::from([1])).to_vec::<f32>()?, [3.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn from_table(table: Tensor) -> Embedding {
        Embedding { weight: Parameter::new(table.detach()), padding: None }.named()
    }
    /// Scales rows that are longer than a limit back to it, by their Euclidean norm: call it after a step of training.
    ///
    /// ```
    /// use chainrule::nn::Embedding;
    /// use chainrule::Tensor;
    /// let mut layer = Embedding::from_table(Tensor::from([[3.0, 4.0], [0.0, 0.5]]));
    /// layer.limit_norms(1.0)?;
    /// assert!((layer.weight.vector_norm_over(2.0, -1).max().item()? - 1.0).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "max_norm")]
    #[track_caller]
    pub fn limit_norms(&mut self, limit: f64) -> Result<()> {
        let table = self.weight.detach();
        let norms = table.vector_norm_keep(2.0, -1);
        let scale = (limit / (&norms + 1e-7)).clamp_max(1.0);
        let scale = norms.greater(limit).choose(&scale, norms.ones_like());
        self.weight.set(&(table * scale))
    }
}

impl EmbeddingOptions {
    /// The row at this number (from the end when negative) stands for padding: it starts at zero and does not learn.
    #[doc(alias = "padding_idx")]
    pub fn with_padding(self, padding: impl Integer) -> EmbeddingOptions {
        EmbeddingOptions { padding: Some(padding.number()), ..self }
    }
    /// The layer, with new numbers.
    #[track_caller]
    pub fn build(self, init: &mut Init) -> Embedding {
        let mut table = init.tensor([self.count, self.size], Initial::Normal { mean: 0.0, deviation: 1.0 });
        if let Some(padding) = self.padding {
            table = table.slice_assign(padding, &Tensor::scalar(0.0).to(init.device()));
        }
        Embedding { weight: Parameter::new(table), padding: self.padding }.named()
    }
}

impl Layer for Embedding {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        match self.padding {
            None => input.embedding(&self.weight),
            Some(padding) => input.embedding_with_padding(&self.weight, padding),
        }
    }
}

/// What an [`EmbeddingBag`] makes of the vectors of a bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bag {
    /// Their sum.
    Sum,
    /// Their average.
    #[default]
    Mean,
    /// The greatest number of each column.
    Max,
}

/// Bags of rows of a table: `[bags, items]` whole numbers in, one vector for each bag out. Bags of different sizes:
/// [`forward_from`](EmbeddingBag::forward_from).
///
/// Weight `[count, size]` starts normal with deviation 1.
///
/// ```
/// use chainrule::nn::{Bag, EmbeddingBag, Init, Layer};
/// use chainrule::Tensor;
/// let layer = EmbeddingBag::new(10, 4, Bag::Mean, &mut Init::new());
/// assert_eq!(layer.forward(&Tensor::from([[5, 7, 5], [1, 2, 3]])).dims()?, [2, 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EmbeddingBag {
    /// `[count, size]`.
    pub weight: Parameter,
    bag: Bag,
}
module!(EmbeddingBag { weight; bag });

impl EmbeddingBag {
    /// So many vectors of this size.
    #[track_caller]
    pub fn new(count: usize, size: usize, bag: Bag, init: &mut Init) -> EmbeddingBag {
        let weight = init.parameter([count, size], Initial::Normal { mean: 0.0, deviation: 1.0 });
        EmbeddingBag { weight, bag }.named()
    }
    /// Bags of different sizes: the numbers of all in one vector, and where each bag begins. An empty bag is zeros.
    ///
    /// ```
    /// use chainrule::nn::{Bag, EmbeddingBag, Init};
    /// use chainrule::Tensor;
    /// let layer = EmbeddingBag::new(10, 4, Bag::Mean, &mut Init::new());
    /// let (words, starts) = (Tensor::from([5, 7, 5, 1, 2]), Tensor::from([0, 3]));
    /// assert_eq!(layer.forward_from(&words, &starts).dims()?, [2, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "offsets")]
    #[track_caller]
    pub fn forward_from(&self, numbers: &Tensor, starts: &Tensor) -> Tensor {
        let combine = match self.bag {
            Bag::Sum => Combine::Sum,
            Bag::Mean => Combine::Mean,
            Bag::Max => Combine::Largest,
        };
        numbers.embedding_bag(&self.weight, Some(starts), combine)
    }
}

impl Layer for EmbeddingBag {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        if let Ok(value) = input.value()
            && value.rank() != 2
        {
            let fault =
                Fault::shape(format!("the input has {} axes", value.rank()), "bags are the rows of [bags, items]");
            return refused("embedding_bag", fault, &[input]);
        }
        let rows = input.embedding(&self.weight);
        match self.bag {
            Bag::Sum => rows.sum_over(1),
            Bag::Mean => rows.mean_over(1),
            Bag::Max => rows.max_along(1).0,
        }
    }
}

/// Adds what tells the places of a sequence apart: the input is `[..., length, size]`.
///
/// Either fixed waves, `sin(p / 10000^(2i / size))` in column `2i` and the cosine in `2i + 1` (Vaswani et al., "Attention is
/// all you need", 2017), or vectors that are learnt, weight `[longest, size]`, normal with deviation 0.02 at the start.
///
/// ```
/// use chainrule::nn::{Init, Layer, PositionalEncoding};
/// use chainrule::Tensor;
/// let waves = PositionalEncoding::sinusoidal(100, 8);
/// let y = waves.forward(&Tensor::zeros([2, 3, 8]));
/// assert_eq!((y.slice((0, 0, 0)).item()?, y.slice((0, 0, 1)).item()?), (0.0, 1.0));
/// let learnt = PositionalEncoding::learned(100, 8, &mut Init::new());
/// assert_eq!(learnt.forward(&Tensor::zeros([2, 3, 8])).dims()?, [2, 3, 8]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PositionalEncoding {
    /// `[longest, size]`, where it is learnt.
    pub weight: Option<Parameter>,
    waves: Option<Tensor>,
}
module!(PositionalEncoding { weight; waves });

impl PositionalEncoding {
    /// Fixed waves, for sequences up to `longest`.
    #[track_caller]
    pub fn sinusoidal(longest: usize, size: usize) -> PositionalEncoding {
        let places = Tensor::arange(longest).to_dtype(DType::F64).unsqueeze(1);
        let columns = Tensor::arange(size).to_dtype(DType::F64);
        let pairs = (&columns * 0.5).floor();
        let angles = places * (&pairs * (-2.0 * 10_000f64.ln() / size.max(1) as f64)).exp();
        let odd = (columns - pairs * 2.0).greater(0.5);
        PositionalEncoding { weight: None, waves: Some(odd.choose(angles.cos(), angles.sin())) }
    }
    /// Vectors that are learnt, for sequences up to `longest`.
    ///
    /// ```
    /// use chainrule::nn::{Init, PositionalEncoding};
    /// let layer = PositionalEncoding::learned(100, 8, &mut Init::new());
    /// assert_eq!(layer.weight.map(|weight| weight.count()).transpose()?, Some(800));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn learned(longest: usize, size: usize, init: &mut Init) -> PositionalEncoding {
        let weight = init.parameter([longest, size], Initial::Normal { mean: 0.0, deviation: 0.02 });
        PositionalEncoding { weight: Some(weight), waves: None }.named()
    }
}

impl Layer for PositionalEncoding {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        let Some(table) = self.weight.as_deref().or(self.waves.as_ref()) else { return input.clone() };
        let (dims, places) = match (input.value(), table.value()) {
            (Ok(input), Ok(table)) => (input.dims(), table.dims()),
            (Err(error), _) | (_, Err(error)) => return Tensor::failed(error),
        };
        let fits = |length: usize, size: usize| places.first() >= Some(&length) && places.get(1) == Some(&size);
        let length = match dims {
            [.., length, size] if fits(*length, *size) => *length,
            _ => {
                let what = format!("an input of sizes {dims:?} for {} places of size {}", places[0], places[1]);
                let help = "the input is [..., length, size]: as wide as the table, and not longer";
                return refused("positional_encoding", Fault::shape(what, help), &[input, table]);
            }
        };
        let rows = table.narrow(0, 0, length);
        match (&self.waves, input.dtype(), input.device()) {
            (Some(_), Ok(dtype), Ok(device)) => input + rows.to_dtype(dtype).to(device),
            _ => input + rows,
        }
    }
}
