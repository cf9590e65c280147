//! What is wrong with the data before a model is blamed for it.
//!
//! Most bad results come from data: the same examples in training and test, a class that is hardly there, columns that say
//! nothing, values that are missing or of another scale. [`check`] looks for them and prints as a report;
//! [`suspicious`] ranks examples by how much a model is surprised at their labels.

use super::Examples;
use crate::error::{Error, Fault, Result};
use crate::layout::{DType, put_in_order};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt;
use std::hash::{Hash, Hasher};

/// An example: the split it is in, and its place there.
pub type Spot = (usize, usize);
type Pair = (Spot, Spot);
/// How many of each kind of finding a printed report shows.
const SHOWN: usize = 5;
/// A class with less than this share of an even one is rare.
const RARE: f64 = 0.2;
/// Means of two splits that differ by more than this many deviations are shifted.
const SHIFT: f64 = 0.5;
/// Splits with fewer examples are not compared: their means differ by chance.
const FEW: usize = 30;
/// Near-duplicates compare every pair, for sets of at most this many examples in all.
const MOST_PAIRED: usize = 4000;

/// What [`check`] found; printed, it is a report.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The splits' names and how many examples each has.
    pub splits: Vec<(String, usize)>,
    /// Pairs of equal inputs in one split.
    pub duplicates: Vec<(Spot, Spot)>,
    /// Pairs of equal inputs in different splits: the test is known already.
    pub leaks: Vec<(Spot, Spot)>,
    /// Pairs of equal inputs with different targets.
    pub contradictions: Vec<(Spot, Spot)>,
    /// Pairs of inputs in different splits that are nearly equal; only small sets are searched.
    pub near: Vec<(Spot, Spot)>,
    /// Examples with a value that is NaN or infinite.
    pub not_finite: Vec<Spot>,
    /// Positions of an input that have one value in all examples of the first split.
    pub constant: Vec<usize>,
    /// For whole-numbered targets, how many examples of each class each split has.
    pub classes: Option<Vec<Vec<usize>>>,
    /// Smallest and largest value, mean and deviation of the inputs of each split.
    pub ranges: Vec<Range>,
    /// Positions whose mean in a later split is far from that in the first, in deviations: (split, position, how far).
    pub shifted: Vec<(usize, usize, f64)>,
    /// How many positions an input has.
    pub width: usize,
}

/// The finite values of a split's inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// Looks over the splits of a data set, by name: the one for training first.
///
/// ```
/// use chainrule::data::{Examples, check};
/// use chainrule::Tensor;
/// let train = Examples::new(&Tensor::from([[1.0, 5.0], [2.0, 5.0], [f32::NAN, 5.0]]), &Tensor::from([0, 1, 1]))?;
/// let test = Examples::new(&Tensor::from([[2.0, 5.0]]), &Tensor::from([1]))?;
/// let report = check(&[("train", &train), ("test", &test)])?;
/// assert_eq!(report.leaks, [((0, 1), (1, 0))]);
/// assert_eq!((report.not_finite.as_slice(), report.constant.as_slice()), (&[(0, 2)][..], &[1][..]));
/// assert!(report.to_string().contains("test 0 is train 1"), "{report}");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn check(splits: &[(&str, &Examples)]) -> Result<Report> {
    let mut parts = Vec::new();
    for (name, examples) in splits {
        parts.push(Part::of(name, examples)?);
    }
    let mut report = Report {
        splits: parts.iter().map(|part| (part.name.clone(), part.count)).collect(),
        width: parts.first().map_or(0, |part| part.width),
        ..Report::default()
    };
    if let Some(other) = parts.iter().find(|part| part.width != report.width) {
        let what = format!("{:?} has {} numbers in an input, others have {}", other.name, other.width, report.width);
        return Err(Error::new("check", Fault::shape(what, "all splits must hold inputs of one shape")));
    }
    report.find_duplicates(&parts);
    report.find_near(&parts);
    report.look_at_values(&parts);
    report.classes = classes(&parts);
    Ok(report)
}

/// A split's numbers.
struct Part {
    name: String,
    count: usize,
    width: usize,
    inputs: Vec<f32>,
    /// The numbers of the targets, one row after another.
    targets: Vec<f64>,
    target_width: usize,
    whole: bool,
}

impl Part {
    #[track_caller]
    fn of(name: &str, examples: &Examples) -> Result<Part> {
        let (input, target) = (examples.input(), examples.target());
        let (sizes, target_sizes) = (input.shape()?, target.shape()?);
        let count = sizes.first().copied().unwrap_or(0);
        let rest = |sizes: &[usize]| sizes.get(1..).unwrap_or_default().iter().product();
        let whole = !target.dtype()?.is_float() && target_sizes.len() == 1;
        Ok(Part {
            name: name.to_string(),
            count,
            width: rest(&sizes),
            inputs: input.to_dtype(DType::F32).to_vec()?,
            targets: target.to_dtype(DType::F64).to_vec()?,
            target_width: rest(&target_sizes),
            whole,
        })
    }
    fn row(&self, index: usize) -> &[f32] {
        self.inputs.get(index * self.width..(index + 1) * self.width).unwrap_or_default()
    }
    fn target(&self, index: usize) -> &[f64] {
        self.targets.get(index * self.target_width..(index + 1) * self.target_width).unwrap_or_default()
    }
    /// Mean and deviation of the finite numbers at each position.
    fn moments(&self) -> Vec<(f64, f64)> {
        let mut sums = vec![(0.0, 0.0, 0usize); self.width];
        for row in 0..self.count {
            for ((sum, squares, count), &x) in sums.iter_mut().zip(self.row(row)) {
                if x.is_finite() {
                    (*sum, *squares, *count) = (*sum + f64::from(x), *squares + f64::from(x).powi(2), *count + 1);
                }
            }
        }
        let moments = |(sum, squares, count): (f64, f64, usize)| {
            let mean = sum / count.max(1) as f64;
            (mean, (squares / count.max(1) as f64 - mean * mean).max(0.0).sqrt())
        };
        sums.into_iter().map(moments).collect()
    }
}

fn equal(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

impl Report {
    fn find_duplicates(&mut self, parts: &[Part]) {
        if self.width == 0 {
            return;
        }
        // The first of each content, and those of other contents that have the same hash.
        let mut seen: HashMap<u64, Vec<Spot>> = HashMap::new();
        for (split, part) in parts.iter().enumerate() {
            for index in 0..part.count {
                let row = part.row(index);
                let mut hasher = DefaultHasher::new();
                row.iter().for_each(|x| x.to_bits().hash(&mut hasher));
                let here = (split, index);
                let spots = match seen.entry(hasher.finish()) {
                    Entry::Vacant(entry) => {
                        entry.insert(vec![here]);
                        continue;
                    }
                    Entry::Occupied(entry) => entry.into_mut(),
                };
                let first = spots.iter().find(|(s, i)| parts.get(*s).is_some_and(|other| equal(other.row(*i), row)));
                let Some(&first) = first else {
                    spots.push(here);
                    continue;
                };
                let pairs = if first.0 == split { &mut self.duplicates } else { &mut self.leaks };
                pairs.push((first, here));
                let same = parts.get(first.0).is_some_and(|other| {
                    let (a, b) = (other.target(first.1), part.target(index));
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
                });
                if !same {
                    self.contradictions.push((first, here));
                }
            }
        }
    }
    /// Pairs across splits that differ by little: every value by less than a hundredth of its position's deviation.
    fn find_near(&mut self, parts: &[Part]) {
        let Some((first, later)) = parts.split_first() else { return };
        if parts.iter().map(|part| part.count).sum::<usize>() > MOST_PAIRED || self.width == 0 {
            return;
        }
        let limits: Vec<f32> = first.moments().iter().map(|(_, deviation)| (deviation * 0.01) as f32).collect();
        for (split, part) in later.iter().enumerate() {
            for index in 0..part.count {
                let row = part.row(index);
                let near =
                    |other: &[f32]| row.iter().zip(other).zip(&limits).all(|((a, b), limit)| (a - b).abs() <= *limit);
                let found = (0..first.count).find(|&other| near(first.row(other)) && !equal(first.row(other), row));
                self.near.extend(found.map(|other| ((0, other), (split + 1, index))));
            }
        }
    }
    fn look_at_values(&mut self, parts: &[Part]) {
        for (split, part) in parts.iter().enumerate() {
            let strange = |index: &usize| {
                part.row(*index).iter().any(|x| !x.is_finite()) || part.target(*index).iter().any(|x| !x.is_finite())
            };
            self.not_finite.extend((0..part.count).filter(strange).map(|index| (split, index)));
            let finite = || part.inputs.iter().copied().filter(|x| x.is_finite()).map(f64::from);
            let count = finite().count().max(1) as f64;
            let mean = finite().sum::<f64>() / count;
            let deviation = (finite().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
            let (least, most) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
            self.ranges.push(Range { least, most, mean, deviation });
        }
        let Some((first, later)) = parts.split_first() else { return };
        let same = |position: &usize| {
            let value = |row: usize| first.row(row).get(*position).map(|x| x.to_bits());
            (1..first.count).all(|row| value(row) == value(0))
        };
        if first.count > 1 {
            self.constant = (0..self.width).filter(same).collect();
        }
        let moments = first.moments();
        for (split, part) in later.iter().enumerate().filter(|(_, part)| part.count >= FEW && first.count >= FEW) {
            for (position, ((mean, _), (usual, deviation))) in part.moments().iter().zip(&moments).enumerate() {
                let far = (mean - usual).abs() / deviation.max(1e-12);
                // Where the first split hardly varies, any number is many deviations away.
                if far > SHIFT && *deviation > 1e-6 * (1.0 + usual.abs()) {
                    self.shifted.push((split + 1, position, far));
                }
            }
        }
        put_in_order(&mut self.shifted, &|a, b| b.2.total_cmp(&a.2));
    }
    /// Is there nothing to report?
    ///
    /// ```
    /// use chainrule::data::{builtin::moons, check};
    /// let (train, test) = (moons(200, 0.1, 1)?, moons(100, 0.1, 2)?);
    /// assert!(check(&[("train", &train), ("test", &test)])?.is_clean());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn is_clean(&self) -> bool {
        let pairs = [&self.duplicates, &self.leaks, &self.contradictions, &self.near];
        pairs.iter().all(|pairs| pairs.is_empty())
            && (self.not_finite.is_empty() && self.constant.is_empty() && self.shifted.is_empty())
            && self.rare().is_empty()
    }
    /// Classes that are hardly there: (split, class, how many examples).
    pub fn rare(&self) -> Vec<(usize, usize, usize)> {
        let splits = self.classes.as_deref().unwrap_or_default().iter().enumerate();
        let rare = splits.flat_map(|(split, counts)| {
            let even = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
            let few = counts.iter().enumerate().filter(move |(_, count)| (**count as f64) < RARE * even);
            few.map(move |(class, count)| (split, class, *count))
        });
        rare.collect()
    }
    fn spot(&self, (split, index): Spot) -> String {
        format!("{} {index}", self.splits.get(split).map_or("?", |(name, _)| name))
    }
}

/// Counts of each class, where targets are whole numbers from 0 on.
fn classes(parts: &[Part]) -> Option<Vec<Vec<usize>>> {
    /// More classes than this are no classes.
    const MOST: f64 = 10_000.0;
    let mut targets = parts.iter().flat_map(|part| &part.targets);
    if parts.is_empty() || !parts.iter().all(|part| part.whole) || targets.any(|x| !(0.0..MOST).contains(x)) {
        return None;
    }
    let targets = parts.iter().flat_map(|part| &part.targets);
    let count = targets.fold(0.0, |most: f64, x| most.max(x + 1.0)) as usize;
    let counts = parts.iter().map(|part| {
        let mut counts = vec![0; count];
        for &target in &part.targets {
            if let Some(count) = counts.get_mut(target as usize) {
                *count += 1;
            }
        }
        counts
    });
    Some(counts.collect())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, count), range) in self.splits.iter().zip(&self.ranges) {
            let Range { least, most, mean, deviation } = range;
            writeln!(f, "{name}: {count} examples of {} numbers", self.width)?;
            writeln!(f, "  values from {least:.4} to {most:.4}, mean {mean:.4}, deviation {deviation:.4}")?;
        }
        for ((name, _), counts) in self.splits.iter().zip(self.classes.as_deref().unwrap_or_default()) {
            let counts: Vec<String> = counts.iter().take(20).map(usize::to_string).collect();
            writeln!(f, "  classes of {name}: {}", counts.join(" "))?;
        }
        let pair = |(first, second): &Pair| (self.spot(*first), self.spot(*second));
        let pairs: [(&str, &[Pair], &str); 4] = [
            ("leaks: equal inputs in different splits", &self.leaks, "is"),
            ("duplicates in a split", &self.duplicates, "is"),
            ("contradictions: equal inputs, different targets", &self.contradictions, "against"),
            ("nearly equal inputs in different splits", &self.near, "is nearly"),
        ];
        for (what, found, word) in pairs {
            let said = found.iter().map(|found| {
                let (first, second) = pair(found);
                format!("{second} {word} {first}")
            });
            finding(f, what, found.len(), said)?;
        }
        let strange = self.not_finite.iter().map(|spot| self.spot(*spot));
        finding(f, "examples with NaN or infinity", self.not_finite.len(), strange)?;
        let constant = self.constant.iter().map(usize::to_string);
        finding(f, "positions with one value only", self.constant.len(), constant)?;
        let rare = self.rare();
        let said = rare.iter().map(|&(split, class, count)| {
            let name = self.splits.get(split).map_or("?", |(name, _)| name);
            format!("class {class} of {name} ({count})")
        });
        finding(f, "classes that are hardly there", rare.len(), said)?;
        let shifted = self.shifted.iter().map(|&(split, position, far)| {
            let name = self.splits.get(split).map_or("?", |(name, _)| name);
            format!("position {position} of {name} by {far:.1} deviations")
        });
        finding(f, "positions with another mean than in the first split", self.shifted.len(), shifted)?;
        if self.is_clean() {
            writeln!(f, "nothing strange was found")?;
        }
        Ok(())
    }
}

/// A line of the report, if there is anything to say.
fn finding(f: &mut fmt::Formatter<'_>, what: &str, count: usize, said: impl Iterator<Item = String>) -> fmt::Result {
    if count == 0 {
        return Ok(());
    }
    let said: Vec<String> = said.take(SHOWN).collect();
    let more = if count > SHOWN { ", ..." } else { "" };
    writeln!(f, "! {count} {what}: {}{more}", said.join(", "))
}

/// The examples whose labels surprise a model most, by their losses `[count]`: (example, loss), the largest first, at most
/// `most` of them. Under a trained model wrong labels are among the first; a NaN comes before all.
///
/// ```
/// use chainrule::data::suspicious;
/// use chainrule::Tensor;
/// let scores = Tensor::from([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]]);
/// let losses = -scores.log_softmax(1).gather(1, &Tensor::from([[0], [1], [1]])).reshape(-1);
/// assert_eq!(suspicious(&losses, 1)?[0].0, 2);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn suspicious(losses: &Tensor, most: usize) -> Result<Vec<(usize, f64)>> {
    let [_] = losses.dims()?;
    let mut ranked: Vec<(usize, f64)> = losses.to_dtype(DType::F64).to_vec::<f64>()?.into_iter().enumerate().collect();
    // NaN first, of either sign; equal losses by their place.
    let key = |loss: f64| if loss.is_nan() { f64::INFINITY } else { loss };
    put_in_order(&mut ranked, &|a, b| b.1.is_nan().cmp(&a.1.is_nan()).then(key(b.1).total_cmp(&key(a.1))));
    ranked.truncate(most);
    Ok(ranked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(rows: &[[f32; 2]], targets: &[i64]) -> Examples {
        let flat: Vec<f32> = rows.iter().flatten().copied().collect();
        let inputs = Tensor::from_vec(flat, [rows.len(), 2]).expect("inputs");
        Examples::new(&inputs, &Tensor::from_slice(targets, [targets.len()]).expect("targets")).expect("examples")
    }

    #[test]
    fn each_planted_fault_is_found_and_no_other() {
        let mut rows: Vec<[f32; 2]> = (0..60).map(|i| [(i * 37 % 61) as f32, (i * 11 % 59) as f32]).collect();
        let mut targets: Vec<i64> = (0..60).map(|i| i % 3).collect();
        let mut other: Vec<[f32; 2]> =
            (0..40).map(|i| [0.5 + (i * 31 % 61) as f32, 0.5 + (i * 17 % 59) as f32]).collect();
        let labels: Vec<i64> = (0..40).map(|i| i % 3).collect();
        let clean =
            check(&[("train", &examples(&rows, &targets)), ("test", &examples(&other, &labels))]).expect("a report");
        assert!(clean.is_clean(), "{clean}");
        assert!(clean.to_string().contains("nothing strange"));

        rows[7] = rows[3];
        targets[7] = targets[3];
        rows[9] = rows[4];
        targets[9] = targets[4] + 1;
        other[5] = rows[20];
        other[6] = [rows[21][0] + 0.001, rows[21][1]];
        other[8][1] = f32::INFINITY;
        let report =
            check(&[("train", &examples(&rows, &targets)), ("test", &examples(&other, &labels))]).expect("a report");
        assert_eq!(report.duplicates, [((0, 3), (0, 7)), ((0, 4), (0, 9))]);
        assert!(report.contradictions.contains(&((0, 4), (0, 9))), "{report}");
        assert!(!report.contradictions.contains(&((0, 3), (0, 7))));
        assert_eq!(report.leaks, [((0, 20), (1, 5))]);
        assert_eq!(report.near, [((0, 21), (1, 6))]);
        assert_eq!(report.not_finite, [(1, 8)]);
        let text = report.to_string();
        for words in ["1 leaks", "test 5 is train 20", "train 9 against train 4", "test 6 is nearly train 21", "test 8"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn classes_columns_and_scales_are_compared() {
        let rows: Vec<[f32; 2]> = (0..100).map(|i| [i as f32, 7.0]).collect();
        let mut targets = vec![0; 100];
        targets[..45].fill(1);
        targets[99] = 2;
        let far: Vec<[f32; 2]> = (0..50).map(|i| [300.25 + i as f32, 7.0]).collect();
        let report =
            check(&[("train", &examples(&rows, &targets)), ("test", &examples(&far, &[1; 50]))]).expect("a report");
        assert_eq!(report.constant, [1]);
        assert_eq!(report.classes.as_deref(), Some(&[vec![54, 45, 1], vec![0, 50, 0]][..]));
        assert_eq!(report.rare(), [(0, 2, 1), (1, 0, 0), (1, 2, 0)]);
        assert!(matches!(report.shifted[..], [(1, 0, far)] if far > 9.0), "{report}");
        assert_eq!((report.ranges[0].least, report.ranges[0].most), (0.0, 99.0));

        let real = Examples::new(&Tensor::zeros([2, 3]), &Tensor::from([0.5, 1.5])).expect("examples");
        assert!(check(&[("train", &real)]).expect("a report").classes.is_none());
        assert!(check(&[("a", &real), ("b", &examples(&rows, &targets))]).is_err());
        assert!(check(&[]).expect("nothing").is_clean());
    }

    #[test]
    fn high_losses_come_first() {
        let losses = Tensor::from([0.5, 3.0, f32::NAN, 0.1, f32::INFINITY]);
        let places: Vec<usize> = suspicious(&losses, 4).expect("a ranking").iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [2, 4, 1, 0]);
        assert!(suspicious(&Tensor::zeros([2, 2]), 4).is_err());
    }
}
