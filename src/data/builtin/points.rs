//! Points in the plane, in classes that a line does not part.

use super::dice::Dice;
use crate::data::Examples;
use crate::error::{Error, Fault, Result};
use crate::tensor::Tensor;
use std::f64::consts::{PI, TAU};

const STREAM: u32 = 0x0901_7500;

/// `count` points, class `i % classes` for point `i`, each put where `place` says by (class, how far along from 0 to 1,
/// dice) and then shaken by `noise`.
#[track_caller]
fn points(
    count: usize,
    classes: usize,
    noise: f64,
    seed: u64,
    place: impl Fn(usize, f64, &mut Dice) -> [f64; 2],
) -> Result<Examples> {
    if classes == 0 || !noise.is_finite() || noise < 0.0 {
        let what = format!("{classes} classes and a noise of {noise}");
        return Err(Error::new("points", Fault::value(what, "take at least one class, and a noise of 0 or more")));
    }
    // Numbers that no memory holds are an error before they are made.
    let _ = Tensor::zeros([count, 2]).checked()?;
    let (mut numbers, mut labels) = (Vec::with_capacity(2 * count), Vec::with_capacity(count));
    for index in 0..count {
        let mut dice = Dice::of(seed, STREAM, index as u64);
        let class = index % classes;
        let along = f64::from(dice.unit());
        let at = place(class, along, &mut dice);
        numbers.extend(at.map(|at| (at + noise * f64::from(dice.bell())) as f32));
        labels.push(class as i64);
    }
    Examples::new(&Tensor::from_vec(numbers, [count, 2])?, &Tensor::from_vec(labels, [count])?)
}

/// Points on spirals that wind around each other once, one for each class: inputs `[count, 2]`, targets `[count]`.
///
/// ```
/// use chainrule::data::builtin::spirals;
/// let examples = spirals(300, 3, 0.02, 1)?;
/// assert_eq!(examples.target().bincount(3).to_vec::<i64>()?, [100; 3]);
/// assert!(examples.input().abs().max().item()? < 1.2);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn spirals(count: usize, classes: usize, noise: f64, seed: u64) -> Result<Examples> {
    points(count, classes, noise, seed, |class, along, _| {
        // Even along the arc, which grows with the square of the radius.
        let radius = 0.05 + 0.95 * along.sqrt();
        let angle = TAU * (class as f64 / classes as f64 + radius);
        [radius * angle.cos(), radius * angle.sin()]
    })
}

/// Points on two half circles that reach into each other: inputs `[count, 2]`, targets `[count]`, 0 or 1.
///
/// ```
/// use chainrule::data::builtin::moons;
/// assert_eq!(moons(100, 0.1, 1)?.input().dims()?, [100, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn moons(count: usize, noise: f64, seed: u64) -> Result<Examples> {
    points(count, 2, noise, seed, |class, along, _| {
        let (sine, cosine) = (PI * along).sin_cos();
        if class == 0 { [cosine, sine] } else { [1.0 - cosine, 0.5 - sine] }
    })
}

/// Points on two circles, class 0 outside at radius 1 and class 1 inside at radius `inner`.
///
/// ```
/// use chainrule::data::builtin::circles;
/// let examples = circles(100, 0.5, 0.0, 1)?;
/// let radii = examples.input().square().sum_over(1).sqrt();
/// assert!((radii.min().item()? - 0.5).abs() < 1e-6 && (radii.max().item()? - 1.0).abs() < 1e-6);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn circles(count: usize, inner: f64, noise: f64, seed: u64) -> Result<Examples> {
    points(count, 2, noise, seed, |class, along, _| {
        let radius = if class == 0 { 1.0 } else { inner };
        let (sine, cosine) = (TAU * along).sin_cos();
        [radius * cosine, radius * sine]
    })
}

/// Points around the middles of `classes` heaps, which stand evenly on a circle of radius 1; `spread` is how wide a heap is.
///
/// ```
/// use chainrule::data::builtin::blobs;
/// assert_eq!(blobs(100, 4, 0.2, 1)?.target().bincount(4).to_vec::<i64>()?, [25; 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn blobs(count: usize, classes: usize, spread: f64, seed: u64) -> Result<Examples> {
    points(count, classes, spread, seed, |class, _, _| {
        let (sine, cosine) = (TAU * class as f64 / classes as f64).sin_cos();
        [cosine, sine]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_repeat_begin_alike_and_differ_by_seed() {
        let (short, long) = (spirals(20, 3, 0.1, 1).expect("points"), spirals(50, 3, 0.1, 1).expect("points"));
        assert_eq!(*short.input(), long.input().narrow(0, 0, 20));
        assert_ne!(*short.input(), *spirals(20, 3, 0.1, 2).expect("points").input());
        assert!(spirals(10, 0, 0.1, 1).is_err() && moons(10, f64::NAN, 1).is_err());
        assert!(blobs(usize::MAX, 2, 0.1, 1).is_err());
        assert_eq!(circles(0, 0.5, 0.1, 1).expect("none").input().dims().ok(), Some([0, 2]));
    }
}
