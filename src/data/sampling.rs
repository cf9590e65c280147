//! Orders that know something of the items: how much each weighs, which class it has, how long it is.

use super::order::{all, room, shuffle};
use super::{Chance, Order};
use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::layout::{order_of, put_in_order};
use crate::tensor::Tensor;
use std::collections::BinaryHeap;

/// Items drawn by weight: one that weighs twice as much comes twice as often. Without replacement, each at most once.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Chance, Order, Weighted};
/// let order = Weighted::new(&Tensor::from([0.0, 3.0, 1.0]))?.with_count(1000);
/// let drawn = order.indices(3, &Chance::new(7, 0))?;
/// let times = |item| drawn.iter().filter(|&&index| index == item).count();
/// assert!(times(0) == 0 && (700..800).contains(&times(1)));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Weighted {
    weights: Vec<f64>,
    count: Option<usize>,
    replacement: bool,
}

impl Weighted {
    /// As many draws, with replacement, as there are weights: one for each item, 0 or more.
    #[track_caller]
    pub fn new(weights: &Tensor) -> Result<Weighted> {
        let [_] = weights.dims()?;
        let weights = weights.to_vec::<f64>()?;
        let largest = weights.iter().cloned().fold(0.0, f64::max);
        let what = match weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
            Some(item) => format!("item {item} weighs {}", weights[item]),
            None if largest == 0.0 => "no item weighs anything".to_string(),
            // Scaled, so that no sum overflows.
            None => {
                let weights = weights.iter().map(|weight| weight / largest).collect();
                return Ok(Weighted { weights, count: None, replacement: true });
            }
        };
        Err(Error::new("weighted", Fault::value(what, "weights are finite, not negative, and not all 0")))
    }
    /// So many draws to an epoch.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Chance, Order, Weighted}};
    /// let order = Weighted::new(&Tensor::from([1.0, 0.0]))?.with_count(3);
    /// assert_eq!(order.indices(2, &Chance::new(7, 0))?, [0, 0, 0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_count(self, count: usize) -> Weighted {
        Weighted { count: Some(count), ..self }
    }
    /// Each item at most once: those that weigh more come earlier, and where fewer are drawn than there are, more surely.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Chance, Order, Weighted}};
    /// let order = Weighted::new(&Tensor::from([1.0, 1.0, 0.0]))?.without_replacement().with_count(2);
    /// let drawn = order.indices(3, &Chance::new(7, 0))?;
    /// assert!(drawn == [0, 1] || drawn == [1, 0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn without_replacement(self) -> Weighted {
        Weighted { replacement: false, ..self }
    }
}

impl Order for Weighted {
    #[track_caller]
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>> {
        fits("weighted", "weights", self.weights.len(), len)?;
        let (count, mut random) = (self.count(len), chance.of_all());
        let able: Vec<usize> = (0..len).filter(|&item| self.weights[item] > 0.0).collect();
        if self.replacement {
            let mut sum = 0.0;
            let sums: Vec<f64> = able.iter().map(|&item| (sum += self.weights[item], sum).1).collect();
            let mut indices = room(count)?;
            for _ in 0..count {
                let drawn = random.uniform() * sum;
                let place = sums.partition_point(|&sum| sum <= drawn);
                // What is rounded up to the sum is the last.
                indices.push(able[place.min(able.len() - 1)]);
            }
            return Ok(indices);
        }
        if count > able.len() {
            let what = format!("{count} items without replacement, {} weigh more than 0", able.len());
            return Err(Error::new("weighted", Fault::value(what, "ask for fewer: with_count(..)")));
        }
        // The largest of u^(1/w), as logarithms (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).
        let mut keys: Vec<(f64, usize)> =
            able.iter().map(|&item| ((1.0 - random.uniform()).ln() / self.weights[item], item)).collect();
        put_in_order(&mut keys, &|a, b| b.0.total_cmp(&a.0));
        Ok(keys.into_iter().take(count).map(|(_, item)| item).collect())
    }
    fn count(&self, _: usize) -> usize {
        self.count.unwrap_or(self.weights.len())
    }
}

/// Each class equally often, however rare it is; of a class, each item equally often. Any run of items, such as a batch,
/// has the classes evenly, up to one or two.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Balanced, Chance, Order};
/// let labels = Tensor::from([0, 0, 0, 0, 0, 0, 0, 1]);
/// let order = Balanced::new(&labels)?.indices(8, &Chance::new(7, 0))?;
/// assert_eq!(order.iter().filter(|&&item| item == 7).count(), 4);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Balanced {
    classes: Vec<Vec<usize>>,
    items: usize,
    count: Option<usize>,
}

impl Balanced {
    /// By the class of each item, whole numbers; an epoch takes as many items as there are.
    #[track_caller]
    pub fn new(labels: &Tensor) -> Result<Balanced> {
        let classes = classes("balanced", labels)?;
        Ok(Balanced { items: classes.iter().map(Vec::len).sum(), classes, count: None })
    }
    /// So many items to an epoch.
    ///
    /// ```
    /// use chainrule::{Tensor, data::{Balanced, Chance, Order}};
    /// let order = Balanced::new(&Tensor::from([0, 1, 1, 1]))?.with_count(10);
    /// let drawn = order.indices(4, &Chance::new(7, 0))?;
    /// assert_eq!(drawn.iter().filter(|&&item| item == 0).count(), 5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_count(self, count: usize) -> Balanced {
        Balanced { count: Some(count), ..self }
    }
}

impl Order for Balanced {
    #[track_caller]
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>> {
        fits("balanced", "labels", self.items, len)?;
        let (count, mut random) = (self.count(len), chance.of_all());
        let mut indices = room(count)?;
        // Round after round each class gives one; one that has given all of its items shuffles them again.
        let mut classes: Vec<(Vec<usize>, usize)> = self.classes.iter().map(|class| (class.clone(), 0)).collect();
        while indices.len() < count && !classes.is_empty() {
            shuffle(&mut classes, &mut random);
            for (class, given) in classes.iter_mut().take(count - indices.len()) {
                if *given % class.len() == 0 {
                    shuffle(class, &mut random);
                }
                indices.push(class[*given % class.len()]);
                *given += 1;
            }
        }
        Ok(indices)
    }
    fn count(&self, _: usize) -> usize {
        // Of no classes, nothing.
        if self.classes.is_empty() { 0 } else { self.count.unwrap_or(self.items) }
    }
}

/// All items, each once, shuffled so that each batch has the classes in the proportions of the whole.
///
/// ```
/// use chainrule::Tensor;
/// use chainrule::data::{Examples, Loader, Stratified};
/// let labels = Tensor::from([0, 0, 0, 0, 0, 0, 1, 1, 1]);
/// let loader = Loader::new(Examples::new(&labels, &labels)?, 3).with_order(Stratified::new(&labels)?);
/// for batch in loader.epoch(0) {
///     assert_eq!(batch?.target.sum().item()?, 1.0);
/// }
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stratified {
    classes: Vec<Vec<usize>>,
    items: usize,
}

impl Stratified {
    /// By the class of each item, whole numbers.
    #[track_caller]
    pub fn new(labels: &Tensor) -> Result<Stratified> {
        let classes = classes("stratified", labels)?;
        Ok(Stratified { items: classes.iter().map(Vec::len).sum(), classes })
    }
}

impl Order for Stratified {
    #[track_caller]
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>> {
        self.indices_in_batches(len, 1, chance)
    }
    #[track_caller]
    fn indices_in_batches(&self, len: usize, size: usize, chance: &Chance) -> Result<Vec<usize>> {
        fits("stratified", "labels", self.items, len)?;
        let (size, mut random) = (size.max(1), chance.of_all());
        let mut classes = self.classes.clone();
        classes.iter_mut().for_each(|class| shuffle(class, &mut random));
        let mut indices = room(len)?;
        let mut given = vec![0; classes.len()];
        while indices.len() < len {
            let start = indices.len();
            let end = len.min(start.saturating_add(size));
            // How many items a class is behind its share of all up to `end`, times `len`; those furthest behind give first,
            // and chance decides among equals.
            let behind = |class: usize, given: usize| {
                self.classes[class].len() as i128 * end as i128 - given as i128 * len as i128
            };
            let mut queue: BinaryHeap<(i128, u64, usize)> = (0..classes.len())
                .filter(|&class| given[class] < classes[class].len())
                .map(|class| (behind(class, given[class]), random.below(u64::MAX), class))
                .collect();
            while indices.len() < end {
                let Some((_, _, class)) = queue.pop() else { break };
                indices.push(classes[class][given[class]]);
                given[class] += 1;
                if given[class] < classes[class].len() {
                    queue.push((behind(class, given[class]), random.below(u64::MAX), class));
                }
            }
            shuffle(&mut indices[start..], &mut random);
        }
        Ok(indices)
    }
}

/// All items, each once; those of similar length share a batch, so that little is padded. The batches come shuffled.
///
/// ```
/// use chainrule::data::{ByLength, Chance, Order};
/// let order = ByLength::new(vec![9, 1, 8, 2, 1, 9]).indices_in_batches(6, 2, &Chance::new(7, 0))?;
/// assert!(order.chunks(2).any(|batch| batch.contains(&1) && batch.contains(&4)));
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// So that batches differ from epoch to epoch, only the items of a pool are sorted: 50 batches, drawn anew each epoch. An
/// incomplete last batch is drawn from all lengths, so that leaving it out favours none.
#[derive(Clone, Debug)]
pub struct ByLength {
    lengths: Vec<usize>,
    pool: usize,
}

impl ByLength {
    /// By the length of each item.
    pub fn new(lengths: Vec<usize>) -> ByLength {
        ByLength { lengths, pool: 50 }
    }
    /// So many batches to a pool: more for less padding, fewer for more chance.
    ///
    /// ```
    /// use chainrule::data::{ByLength, Chance, Order};
    /// let order = ByLength::new((0..100).collect()).with_pool(10).indices_in_batches(100, 10, &Chance::new(7, 0))?;
    /// assert!(order[..10].iter().max() < Some(&(order[..10].iter().min().unwrap() + 10)));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_pool(self, batches: usize) -> ByLength {
        ByLength { pool: batches, ..self }
    }
}

impl Order for ByLength {
    #[track_caller]
    fn indices(&self, len: usize, chance: &Chance) -> Result<Vec<usize>> {
        self.indices_in_batches(len, 1, chance)
    }
    #[track_caller]
    fn indices_in_batches(&self, len: usize, size: usize, chance: &Chance) -> Result<Vec<usize>> {
        fits("by length", "lengths", self.lengths.len(), len)?;
        let (size, mut random) = (size.max(1), chance.of_all());
        let mut drawn = all(len)?;
        shuffle(&mut drawn, &mut random);
        let rest = drawn.split_off(len - len % size);
        for pool in drawn.chunks_mut(size.saturating_mul(self.pool.max(1))) {
            let order = order_of(pool.len(), &|a, b| self.lengths[pool[a]].cmp(&self.lengths[pool[b]]));
            let sorted: Vec<usize> = order.into_iter().map(|place| pool[place]).collect();
            pool.copy_from_slice(&sorted);
        }
        let mut batches: Vec<&[usize]> = drawn.chunks(size).collect();
        shuffle(&mut batches, &mut random);
        let mut indices = room(len)?;
        batches.into_iter().for_each(|batch| indices.extend(batch));
        indices.extend(rest);
        Ok(indices)
    }
}

/// What an order knows of the items must be of the dataset it orders.
#[track_caller]
fn fits(operation: &'static str, noun: &str, count: usize, len: usize) -> Result<()> {
    if count == len {
        return Ok(());
    }
    let what = format!("there are {count} {noun} for {len} items");
    Err(Error::new(operation, Fault::shape(what, format!("give {noun} for the items of this very dataset"))))
}

/// The items of each class, in the order of the classes' numbers.
#[track_caller]
pub(super) fn classes(operation: &'static str, labels: &Tensor) -> Result<Vec<Vec<usize>>> {
    let [_] = labels.dims()?;
    if labels.dtype()?.is_float() {
        let fault = Fault::dtype(
            format!("labels of {} elements", labels.dtype()?),
            "labels are whole numbers, one for each item: labels.to_dtype(DType::I64)",
        );
        return Err(Error::new(operation, fault));
    }
    let labels = labels.to_vec::<i64>()?;
    let order = order_of(labels.len(), &|a, b| labels[a].cmp(&labels[b]));
    Ok(order.chunk_by(|&a, &b| labels[a] == labels[b]).map(<[usize]>::to_vec).collect())
}

/// A random order of these.
pub(super) fn shuffled<T>(mut items: Vec<T>, random: &mut Random) -> Vec<T> {
    shuffle(&mut items, random);
    items
}
