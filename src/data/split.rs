//! A dataset in parts: for training, validation and test, or in folds.

use super::order::all;
use super::sampling::{classes, shuffled};
use super::{Dataset, Subset};
use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::layout::{order_of, put_in_order};
use crate::tensor::Tensor;
use std::panic::Location;
use std::sync::Arc;

/// Divides a dataset. Each item is in one part at most, and the seed alone decides in which.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Dataset, Examples, Split};
/// let labels = Tensor::from([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
/// let examples = Examples::new(&Tensor::zeros([10, 4]), &labels)?;
///
/// let [train, validation, test] = Split::shares([0.6, 0.2, 0.2]).with_seed(7).of(examples.clone())?;
/// assert_eq!((train.len(), validation.len(), test.len()), (6, 2, 2));
///
/// let [train, test] = Split::shares([0.5, 0.5]).stratified(&labels).of(examples)?;
/// assert!(train.indices().contains(&8) != train.indices().contains(&9));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Split<const N: usize> {
    amounts: Amounts<N>,
    how: How,
}

#[derive(Clone, Debug)]
enum Amounts<const N: usize> {
    Shares([f64; N]),
    Counts([usize; N]),
}

/// What decides in which part an item is.
#[derive(Clone, Debug)]
struct How {
    seed: u64,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Chance,
    Classes(Tensor),
    Groups(Tensor),
    Order,
    Times(Tensor),
}

impl<const N: usize> Split<N> {
    /// Parts of these shares, which together are 1. Sizes are rounded so that every item is in a part.
    pub fn shares(shares: [f64; N]) -> Split<N> {
        Split { amounts: Amounts::Shares(shares), how: How { seed: 0, by: By::Chance } }
    }
    /// Parts of so many items each; what is over is in none.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::data::{Dataset, Rows, Split};
    /// let [train, validation] = Split::counts([90, 5]).of(Rows::new(&Tensor::arange(100))?)?;
    /// assert_eq!((train.len(), validation.len()), (90, 5));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn counts(counts: [usize; N]) -> Split<N> {
        Split { amounts: Amounts::Counts(counts), how: How { seed: 0, by: By::Chance } }
    }
    /// The parts of a dataset.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Dataset, Rows, Split}};
    /// let [train, test] = Split::shares([0.8, 0.2]).of(Rows::new(&Tensor::arange(10))?)?;
    /// assert_eq!((train.len(), test.len()), (8, 2));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of<D: Dataset>(&self, dataset: D) -> Result<[Subset<D>; N]> {
        let dataset = Arc::new(dataset);
        Ok(self.indices(dataset.len())?.map(|indices| Subset::within(&dataset, indices)))
    }
    /// Which items of `len` are in each part.
    ///
    /// ```
    /// use chainrule::data::Split;
    /// let [a, b] = Split::counts([2, 3]).indices(5)?;
    /// assert_eq!((a.len(), b.len()), (2, 3));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn indices(&self, len: usize) -> Result<[Vec<usize>; N]> {
        let sizes = match &self.amounts {
            Amounts::Shares(shares) => sizes(shares, len)?,
            Amounts::Counts(counts) => {
                let total = counts.iter().fold(0usize, |sum, &count| sum.saturating_add(count));
                if total > len {
                    let fault = Fault::value(format!("parts of {counts:?} items, there are {len}"), "ask for fewer");
                    return Err(Error::new("split", fault));
                }
                // What is over is one part more, which nobody gets.
                [&counts[..], &[len - total]].concat()
            }
        };
        let mut parts = self.how.parts(len, &sizes)?.into_iter();
        Ok(std::array::from_fn(|_| parts.next().unwrap_or_default()))
    }
}

/// Divides a dataset into parts of which each is the test once, and the others are trained on.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Dataset, Folds, Rows};
/// let mut tested = 0;
/// for fold in Folds::new(5).with_seed(7).of(Rows::new(&Tensor::arange(103))?)? {
///     assert_eq!(fold.train.len() + fold.test.len(), 103);
///     tested += fold.test.len();
/// }
/// assert_eq!(tested, 103);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// In order of time there is no training on what comes later: the dataset becomes one part more, each fold is tested on a
/// part, and trained on all before it.
#[derive(Clone, Debug)]
pub struct Folds {
    count: usize,
    how: How,
}

/// One of several folds.
#[derive(Clone, Debug)]
pub struct Fold<D> {
    /// What is trained on.
    pub train: Subset<D>,
    /// What is tested on.
    pub test: Subset<D>,
}

impl Folds {
    /// So many folds, 2 or more.
    pub fn new(count: usize) -> Folds {
        Folds { count, how: How { seed: 0, by: By::Chance } }
    }
    /// The folds of a dataset.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Folds, Rows}};
    /// let folds = Folds::new(2).in_order().of(Rows::new(&Tensor::arange(6))?)?;
    /// assert_eq!((folds[1].train.indices(), folds[1].test.indices()), (&[0, 1, 2, 3][..], &[4, 5][..]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of<D: Dataset>(&self, dataset: D) -> Result<Vec<Fold<D>>> {
        let dataset = Arc::new(dataset);
        let (len, forward) = (dataset.len(), matches!(self.how.by, By::Order | By::Times(_)));
        let count = self.count.saturating_add(forward as usize);
        if self.count < 2 || count > len {
            let what = format!("{} folds of {len} items", self.count);
            return Err(Error::new(
                "folds",
                Fault::value(what, "fold at least twice, into parts of at least one item"),
            ));
        }
        let sizes: Vec<usize> = (0..count).map(|part| len / count + (part < len % count) as usize).collect();
        let parts = self.how.parts(len, &sizes)?;
        let mut folds = Vec::with_capacity(self.count);
        for test in forward as usize..count {
            let train = match forward {
                true => parts[..test].concat(),
                false => {
                    let mut train = [&parts[..test], &parts[test + 1..]].concat().concat();
                    train.sort_unstable();
                    train
                }
            };
            let test = Subset::within(&dataset, parts[test].clone());
            folds.push(Fold { train: Subset::within(&dataset, train), test });
        }
        Ok(folds)
    }
}

macro_rules! ways {
    ($($Name:ident $(<const $N:ident: usize>)?)*) => { $(
        impl $(<const $N: usize>)? $Name $(<$N>)? {
            /// Another seed than 0.
            ///
            /// ```
            /// use chainrule::data::Split;
            /// let split = Split::shares([0.5, 0.5]);
            /// assert_ne!(split.indices(100)?, split.clone().with_seed(1).indices(100)?);
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            pub fn with_seed(self, seed: u64) -> Self {
                Self { how: How { seed, ..self.how }, ..self }
            }
            /// By chance, with the classes of the whole in each part: labels are whole numbers, one for each item.
            ///
            /// ```
            /// use chainrule::{Tensor, data::Split};
            /// let [a, b] = Split::shares([0.5, 0.5]).stratified(&Tensor::from([0, 1, 1, 0])).indices(4)?;
            /// assert!(a.contains(&0) != a.contains(&3) && b.contains(&1) != b.contains(&2));
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            pub fn stratified(self, labels: &Tensor) -> Self {
                self.by(By::Classes(labels.clone()))
            }
            /// By chance, and whole groups (a patient, an author) in one part: whole numbers, one for each item. Sizes are as
            /// near as the groups allow.
            ///
            /// ```
            /// use chainrule::{Tensor, data::Split};
            /// let [a, _] = Split::shares([0.5, 0.5]).grouped(&Tensor::from([8, 9, 8, 9])).indices(4)?;
            /// assert!(a == [0, 2] || a == [1, 3]);
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            pub fn grouped(self, groups: &Tensor) -> Self {
                self.by(By::Groups(groups.clone()))
            }
            /// As they stand: the first items are the first part.
            ///
            /// ```
            /// use chainrule::data::Split;
            /// assert_eq!(Split::shares([0.75, 0.25]).in_order().indices(4)?, [vec![0, 1, 2], vec![3]]);
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            pub fn in_order(self) -> Self {
                self.by(By::Order)
            }
            /// By time, the earliest first: a number for each item.
            ///
            /// ```
            /// use chainrule::{Tensor, data::Split};
            /// let times = Tensor::from([2026, 2024, 2025]);
            /// assert_eq!(Split::counts([2, 1]).by_time(&times).indices(3)?, [vec![1, 2], vec![0]]);
            /// # Ok::<(), chainrule::Error>(())
            /// ```
            pub fn by_time(self, times: &Tensor) -> Self {
                self.by(By::Times(times.clone()))
            }
            fn by(self, by: By) -> Self {
                Self { how: How { by, ..self.how }, ..self }
            }
        }
    )* };
}
ways! { Split<const N: usize> Folds }

impl How {
    /// Parts of these sizes, which together are `len`.
    #[track_caller]
    fn parts(&self, len: usize, sizes: &[usize]) -> Result<Vec<Vec<usize>>> {
        let mut random = Random::new(self.seed).stream(2);
        let fits = |count: usize, noun: &str| match count == len {
            true => Ok(()),
            false => Err(Fault::shape(format!("{count} {noun} for {len} items"), "give one for each item")),
        };
        let place = Location::caller();
        let refuse = |fault| Error::with("split", fault, Vec::new(), place);
        let mut parts = match &self.by {
            By::Order => return Ok(cut(&all(len)?, sizes)),
            By::Times(times) => {
                let [count] = times.dims()?;
                fits(count, "times").map_err(refuse)?;
                let times = times.to_vec::<f64>()?;
                if let Some(item) = times.iter().position(|time| time.is_nan()) {
                    let fault = Fault::value(format!("the time of item {item} is NaN"), "give each item a time");
                    return Err(Error::new("split", fault));
                }
                return Ok(cut(&order_of(len, &|a, b| times[a].total_cmp(&times[b])), sizes));
            }
            By::Chance => cut(&shuffled(all(len)?, &mut random), sizes),
            By::Classes(labels) => {
                let classes = classes("split", labels)?;
                fits(classes.iter().map(Vec::len).sum(), "labels").map_err(refuse)?;
                stratified(classes, len, sizes, &mut random)
            }
            By::Groups(groups) => {
                let groups = classes("split", groups)?;
                fits(groups.iter().map(Vec::len).sum(), "groups").map_err(refuse)?;
                grouped(shuffled(groups, &mut random), sizes).map_err(refuse)?
            }
        };
        parts.iter_mut().for_each(|part| part.sort_unstable());
        Ok(parts)
    }
}

/// The sizes of parts of these shares: rounded down, and what is left to those that lost most.
#[track_caller]
fn sizes(shares: &[f64], len: usize) -> Result<Vec<usize>> {
    let sum: f64 = shares.iter().sum();
    if !shares.iter().all(|&share| share >= 0.0) || (sum - 1.0).abs().is_nan() || (sum - 1.0).abs() > 1e-6 {
        let help = "shares are 0 or more and together 1; for numbers of items there is Split::counts";
        return Err(Error::new("split", Fault::value(format!("shares {shares:?}, together {sum}"), help)));
    }
    // A share of a hundredth that is not quite a hundredth is meant as one.
    let exact = |share: f64| share * len as f64 + 1e-9;
    let mut sizes: Vec<usize> = shares.iter().map(|&share| exact(share) as usize).collect();
    let by_loss = order_of(shares.len(), &|a, b| exact(shares[b]).fract().total_cmp(&exact(shares[a]).fract()));
    let left = len.saturating_sub(sizes.iter().sum());
    by_loss.iter().cycle().take(left).for_each(|&part| sizes[part] += 1);
    // Rounding can also give too much.
    let mut over = sizes.iter().sum::<usize>().saturating_sub(len);
    for size in sizes.iter_mut().rev() {
        let less = over.min(*size);
        (*size, over) = (*size - less, over - less);
    }
    match shares.iter().zip(&sizes).find(|&(&share, &size)| share > 0.0 && size == 0) {
        Some((share, _)) if len > 0 => {
            let what = format!("a share of {share} of {len} items is none");
            Err(Error::new("split", Fault::value(what, "give that part a larger share")))
        }
        _ => Ok(sizes),
    }
}

fn cut(items: &[usize], sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut rest = items;
    let mut parts = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let (part, after) = rest.split_at(size.min(rest.len()));
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

/// Of each class its share to each part, rounded down; what is left of it to the parts that are furthest behind.
fn stratified(classes: Vec<Vec<usize>>, len: usize, sizes: &[usize], random: &mut Random) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = sizes.iter().map(|&size| Vec::with_capacity(size)).collect();
    let mut seen = 0;
    for class in classes {
        seen += class.len();
        let class = shuffled(class, random);
        let mut rest = class.as_slice();
        let share = |part: usize| (sizes[part] as u128 * class.len() as u128 / len.max(1) as u128) as usize;
        for (number, part) in parts.iter_mut().enumerate() {
            let (own, after) = rest.split_at(share(number).min(rest.len()));
            part.extend(own);
            rest = after;
        }
        for &item in rest {
            let behind = |part: usize| sizes[part] as i128 * seen as i128 - parts[part].len() as i128 * len as i128;
            if let Some(furthest) = (0..sizes.len()).rev().max_by_key(|&part| behind(part)) {
                parts[furthest].push(item);
            }
        }
    }
    parts
}

/// Whole groups, the largest first, each to the part that lacks most; no part that wants items stays empty.
fn grouped(mut groups: Vec<Vec<usize>>, sizes: &[usize]) -> Result<Vec<Vec<usize>>, Fault> {
    put_in_order(&mut groups, &|a, b| b.len().cmp(&a.len()));
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); sizes.len()];
    let wanted = sizes.iter().filter(|&&size| size > 0).count();
    if groups.len() < wanted {
        let what = format!("{} groups for {wanted} parts", groups.len());
        return Err(Fault::value(what, "there must be a group for each part; are these the right group numbers?"));
    }
    let mut left = groups.len();
    for group in groups {
        let empty = |part: usize| sizes[part] > 0 && parts[part].is_empty();
        let only_empty = (0..sizes.len()).filter(|&part| empty(part)).count() >= left;
        let able = (0..sizes.len()).rev().filter(|&part| !only_empty || empty(part));
        if let Some(part) = able.max_by_key(|&part| sizes[part] as isize - parts[part].len() as isize) {
            parts[part].extend(group);
        }
        left -= 1;
    }
    Ok(parts)
}
