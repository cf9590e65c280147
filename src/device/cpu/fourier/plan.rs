//! What transforms of one length have in common: how the length falls into factors, the turns between them, and where each
//! frequency ends up. Made once and kept for a while.

use super::Number;
use crate::device::fourier::wave;
use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// The greatest prime factor that a length may have; others go by a convolution (`chirp`).
const GREATEST: usize = 31;
/// Vectors of a block that stays in the first-level cache while all that is left is done to it.
const BLOCK: usize = 128;

/// A complex number: `[real part, imaginary part]`.
pub(super) type Complex<T> = [T; 2];

/// How many vectors of pairs are transformed in place: by its first factor `r`, then each of the `r` parts by the rest.
/// So frequencies end up in another order, which those who read the result follow.
pub(super) struct Plan<T> {
    /// How many pairs a transform has.
    pub(super) length: usize,
    pub(super) levels: Vec<Level>,
    /// Of each level `e^(-2πi pk / (r m))` for its positions p from 1 and k from 1.
    pub(super) turns: Vec<Complex<T>>,
    /// Of levels with odd factors cosine and sine of `2π k / r`.
    pub(super) roots: Vec<Complex<T>>,
    /// Where each frequency stands.
    pub(super) order: Vec<u32>,
    pub(super) steps: Vec<Step>,
}

/// One factor.
pub(super) struct Level {
    pub(super) radix: usize,
    /// What is left of the length behind it.
    pub(super) rest: usize,
    /// Where its turns and roots begin.
    pub(super) turns: usize,
    pub(super) roots: usize,
}

/// Some blocks of a level, one behind the other.
pub(super) struct Step {
    pub(super) level: usize,
    pub(super) first: usize,
    pub(super) blocks: usize,
}

/// The factors of a length, if none is too great.
pub(super) fn factors(mut length: usize) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for radix in [4, 2, 3, 5].into_iter().chain((7..=GREATEST).step_by(2)) {
        while length.is_multiple_of(radix) {
            found.push(radix);
            length /= radix;
        }
    }
    // Great ones first: after one or two of them what is left stays in the first-level cache. The last one needs no turns, so it is not 2.
    found.reverse();
    if let [2, rest @ ..] = &mut found[..]
        && rest.len() > 1
    {
        let last = rest.len() - 1;
        found[..=last].rotate_left(1);
    }
    (length == 1).then_some(found)
}

impl<T: Number> Plan<T> {
    /// For a length whose factors are known.
    fn new(length: usize, factors: &[usize]) -> Plan<T> {
        let (mut levels, mut turns, mut roots, mut size) = (Vec::new(), Vec::new(), Vec::new(), length);
        for &radix in factors {
            let rest = size / radix;
            levels.push(Level { radix, rest, turns: turns.len(), roots: roots.len() });
            for p in 1..rest {
                turns.extend((1..radix).map(|k| turn::<T>(p * k, size)));
            }
            if radix % 2 == 1 {
                roots.extend((0..radix).map(|k| wave(k, radix).map(T::narrow)));
            }
            size = rest;
        }
        let place = |mut frequency: usize| {
            let mut place = 0;
            for level in &levels {
                place += frequency % level.radix * level.rest;
                frequency /= level.radix;
            }
            place as u32
        };
        let order = (0..length).map(place).collect();
        let mut steps = Vec::new();
        walk(&levels, 0, 0, length, &mut steps);
        Plan { length, levels, turns, roots, order, steps }
    }
    /// The plan for a length; none where a factor is too great.
    pub(super) fn of(length: usize) -> Option<Arc<Plan<T>>> {
        let factors = factors(length)?;
        Some(kept(length, |length| Plan::new(length, &factors)))
    }
}

/// `e^(-2πi k / n)`.
pub(super) fn turn<T: Number>(k: usize, n: usize) -> Complex<T> {
    let [cosine, sine] = wave(k, n);
    [T::narrow(cosine), T::narrow(-sine)]
}

/// The steps for a block of so many vectors: level by level where it is small, else its parts one after the other.
fn walk(levels: &[Level], level: usize, first: usize, size: usize, steps: &mut Vec<Step>) {
    if size <= BLOCK {
        let mut blocks = 1;
        for (level, next) in levels.iter().enumerate().skip(level) {
            steps.push(Step { level, first, blocks });
            blocks *= next.radix;
        }
    } else if let Some(Level { radix, rest, .. }) = levels.get(level) {
        steps.push(Step { level, first, blocks: 1 });
        for part in 0..*radix {
            walk(levels, level + 1, first + part * rest, *rest, steps);
        }
    }
}

/// `e^(-2πi k / n)` for the first quarter of an even length: what lies between the spectrum of its pairs of numbers and its own.
pub(super) struct Quarter<T>(pub(super) Vec<Complex<T>>);

impl<T: Number> Quarter<T> {
    pub(super) fn of(length: usize) -> Arc<Quarter<T>> {
        kept(length, |length| Quarter((0..=length / 4).map(|k| turn(k, length)).collect()))
    }
}

/// Something made for a length, and which type it is of.
type Kept = (TypeId, usize, Arc<dyn Any + Send + Sync>);

/// What was made for lengths, the last used one last.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());
/// How many are kept, and of what lengths together.
const MOST: usize = 64;
const TOGETHER: usize = 1 << 21;

/// What `make` makes of a length, if it was not made before.
pub(super) fn kept<P: Send + Sync + 'static>(length: usize, make: impl FnOnce(usize) -> P) -> Arc<P> {
    let key = TypeId::of::<P>();
    // Nobody panics between the halves of a change.
    let lock = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = lock();
    if let Some(place) = all.iter().position(|(of, of_length, _)| (*of, *of_length) == (key, length)) {
        let found = all.remove(place);
        all.push(found);
        if let Ok(found) = all[all.len() - 1].2.clone().downcast() {
            return found;
        }
    }
    drop(all);
    let made = Arc::new(make(length));
    if length <= TOGETHER {
        let mut all = lock();
        all.push((key, length, made.clone()));
        while all.len() > MOST || all.iter().map(|(_, length, _)| length).sum::<usize>() > TOGETHER {
            all.remove(0);
        }
    }
    made
}
