//! Pictures of digits as if written by hand.

use super::dice::Dice;
use super::pen::Sheet;
use super::strokes::{DIGITS, Point, Stroke, Way};
use crate::data::{Dataset, Example, Examples};
use crate::device::cpu::parallel;
use crate::device::{Random, Value};
use crate::error::{Error, Fault, Result};
use crate::layout::Shape;
use crate::tensor::Tensor;

/// The side of a picture, in pixels.
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// This set's stream of random numbers, and that of its labels.
const STREAM: u32 = 0x0d16_1700;
const LABELS: u32 = 0x0d16_1701;

/// Pictures of the ten digits as if written by hand: strokes through a few points, each digit in several ways, with a
/// shaking hand, slant, rotation, size, place, thickness, stray marks, blur and noise. `[1, 28, 28]`, from 0 (paper) to 1
/// (ink), in steps of 1/255.
///
/// Picture `i` depends on the seed and on `i` alone: longer sets begin with the shorter ones, and other seeds are other
/// sets. Of any ten pictures from a multiple of ten on, each digit is one.
///
/// They are meant to be learnt: a linear model stays below 90 % of new pictures right, a small convolution network gets 99 %.
///
/// ```
/// use chainrule::data::builtin::Digits;
/// let digits = Digits::new(100).with_seed(1).examples()?;
/// assert_eq!((digits.input().dims()?, digits.target().dims()?), ([100, 1, 28, 28], [100]));
/// assert_eq!(digits.target().bincount(10).to_vec::<i64>()?, [10; 10]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    count: usize,
    seed: u64,
}

impl Digits {
    /// So many pictures, of seed 0.
    ///
    /// ```
    /// use chainrule::data::builtin::Digits;
    /// assert_eq!(Digits::new(60_000).label(3), Digits::new(10).label(3));
    /// ```
    pub fn new(count: usize) -> Digits {
        Digits { count, seed: 0 }
    }
    /// Pictures of another seed: take one for training and another for testing.
    ///
    /// ```
    /// use chainrule::data::builtin::Digits;
    /// assert_ne!(Digits::new(10).with_seed(1).pixels(0), Digits::new(10).with_seed(2).pixels(0));
    /// ```
    pub fn with_seed(self, seed: u64) -> Digits {
        Digits { seed, ..self }
    }
    /// Which digit picture `index` shows.
    ///
    /// ```
    /// assert!(chainrule::data::builtin::Digits::new(1).label(0) < 10);
    /// ```
    pub fn label(&self, index: usize) -> usize {
        let (block, place) = (index as u64 / 10, index % 10);
        let mut order: [usize; 10] = std::array::from_fn(|digit| digit);
        let mut dice = Dice::of(self.seed, LABELS, block);
        for last in (1..10).rev() {
            order.swap(last, dice.below(last + 1));
        }
        order.get(place).copied().unwrap_or_default()
    }
    /// The bytes of picture `index`, row by row: 0 is paper, 255 is ink.
    ///
    /// ```
    /// assert_eq!(chainrule::data::builtin::Digits::new(1).pixels(0).len(), 28 * 28);
    /// ```
    pub fn pixels(&self, index: usize) -> Vec<u8> {
        let mut pixels = vec![0; PIXELS];
        self.write(index, &mut pixels);
        pixels
    }
    fn write(&self, index: usize, pixels: &mut [u8]) {
        let mut dice = Dice::of(self.seed, STREAM, index as u64);
        let ink = picture(self.label(index), &mut dice);
        for (pixel, ink) in pixels.iter_mut().zip(ink) {
            *pixel = (ink * 255.0 + 0.5) as u8;
        }
    }
    /// All of them in memory: pictures `[count, 1, 28, 28]`, f32 from 0 to 1, and labels `[count]`, i64.
    ///
    /// ```
    /// use chainrule::data::builtin::Digits;
    /// let images = Digits::new(10).examples()?.input().clone();
    /// assert!(images.max().item()? <= 1.0 && images.min().item()? == 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn examples(&self) -> Result<Examples> {
        let failed = |fault: Fault| Error::new("digits", fault);
        let images = self.images(0, self.count).map_err(failed)?;
        let labels = Shape::new(&[self.count]).and_then(|shape| {
            Value::build::<i64>(shape, |out| {
                out.iter_mut().enumerate().for_each(|(index, out)| *out = self.label(index) as i64);
            })
        });
        Examples::new(&Tensor::from_value(images), &Tensor::from_value(labels.map_err(failed)?))
    }
    fn images(&self, first: usize, count: usize) -> Result<Value, Fault> {
        Value::build::<f32>(Shape::new(&[count, 1, SIDE, SIDE])?, |out| {
            // A picture costs some thirty times its pixels.
            parallel::chunks(out, PIXELS, 30, |index, out| {
                let mut bytes = [0; PIXELS];
                self.write(first + index, &mut bytes);
                out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = f32::from(byte) / 255.0);
            });
        })
    }
}

/// Pictures drawn when they are asked for.
///
/// ```
/// use chainrule::data::{Loader, builtin::Digits};
/// let batch = Loader::new(Digits::new(1_000_000), 32).shuffled(1).epoch(0).next().unwrap()?;
/// assert_eq!(batch.input.dims()?, [32, 1, 28, 28]);
/// # Ok::<(), chainrule::Error>(())
/// ```
impl Dataset for Digits {
    type Item = Example;
    fn len(&self) -> usize {
        self.count
    }
    #[track_caller]
    fn item(&self, index: usize, _: &mut Random) -> Result<Example> {
        if index >= self.count {
            let what = format!("there is no picture {index}, there are {}", self.count);
            return Err(Error::new("digits", Fault::index(what, "they are counted from 0 on")));
        }
        let image = self.images(index, 1).map_err(|fault| Error::new("digits", fault))?;
        let input = Tensor::from_value(image).reshape([1, SIDE, SIDE]).checked()?;
        Ok(Example { input, target: Tensor::from(self.label(index) as i64) })
    }
}

/// How a hand writes this once.
struct Hand {
    /// From the unit of the strokes to pixels.
    matrix: [[f32; 2]; 2],
    middle: Point,
    /// Waves that bend the sheet: their height in pixels, and where they begin.
    bend: [Point; 2],
    shake: f32,
    radius: [f32; 2],
    darkness: f32,
}

impl Hand {
    fn new(dice: &mut Dice) -> Hand {
        let size = dice.within(7.2, 10.4);
        let (wide, high) = (size * dice.within(0.85, 1.3), size * dice.within(0.9, 1.1));
        let slant = 0.16 * dice.bell();
        let turn = 0.11 * dice.bell();
        let (sine, cosine) = turn.sin_cos();
        // First the sizes, then the slant (upper parts to the right), then the rotation.
        let matrix = [
            [cosine * wide, -cosine * slant * high - sine * high],
            [sine * wide, -sine * slant * high + cosine * high],
        ];
        let middle = (SIDE as f32 - 1.0) / 2.0;
        let thick = dice.within(0.55, 1.7);
        Hand {
            matrix,
            middle: [0, 1].map(|_| middle + 1.4 * dice.bell()),
            bend: [0, 1].map(|_| [0.8 * dice.bell(), dice.within(0.0, std::f32::consts::TAU)]),
            shake: dice.within(0.02, 0.085),
            radius: [0, 1].map(|_| thick * dice.within(0.8, 1.2)),
            darkness: dice.within(0.7, 1.0),
        }
    }
    /// Where a stroke's points come to lie: a point given twice stays one point.
    fn place(&self, stroke: Stroke, dice: &mut Dice) -> Vec<Point> {
        let mut placed: Vec<Point> = Vec::with_capacity(stroke.len());
        let mut before = None;
        for point in stroke {
            let twice = placed.last().copied().filter(|_| before == Some(point));
            before = Some(point);
            placed.push(twice.unwrap_or_else(|| self.put(*point, dice)));
        }
        placed
    }
    fn put(&self, [x, y]: Point, dice: &mut Dice) -> Point {
        let (x, y) = (x + self.shake * dice.bell(), y + self.shake * dice.bell());
        let [right, down] = self.matrix.map(|row| row[0] * x + row[1] * y);
        let [sideways, upward] = self.bend;
        [
            self.middle[0] + right + sideways[0] * (sideways[1] + down * 0.25).sin(),
            self.middle[1] + down + upward[0] * (upward[1] + right * 0.3).sin(),
        ]
    }
}

fn picture(digit: usize, dice: &mut Dice) -> Vec<f32> {
    let mut sheet = Sheet::<SIDE>::new();
    let ways = DIGITS.get(digit).copied().unwrap_or_default();
    let hand = Hand::new(dice);
    if let Some(way) = pick(ways, dice) {
        for stroke in way.strokes {
            sheet.draw(&hand.place(stroke, dice), hand.radius, hand.darkness);
        }
    }
    if dice.is(0.25) {
        stray(&mut sheet, dice);
    }
    if dice.is(0.4) {
        sheet.blur(dice.unit());
    }
    let noise = if dice.is(0.7) { dice.within(0.0, 0.12) } else { 0.0 };
    let paper = dice.within(0.0, 0.15) * dice.unit();
    for pixel in &mut sheet.ink {
        let clean = paper + (1.0 - paper) * *pixel;
        *pixel = (clean + noise * dice.bell()).clamp(0.0, 1.0);
    }
    sheet.ink
}

fn pick<'a>(ways: &'a [Way], dice: &mut Dice) -> Option<&'a Way> {
    let mut left = dice.unit() * ways.iter().map(|way| way.weight).sum::<f32>();
    ways.iter().find(|way| {
        left -= way.weight;
        left < 0.0
    })
}

/// A short mark that belongs to no digit, near an edge.
fn stray(sheet: &mut Sheet<SIDE>, dice: &mut Dice) {
    let last = SIDE as f32 - 1.0;
    let edge = dice.within(0.0, 3.5);
    let (near, along) = (if dice.is(0.5) { edge } else { last - edge }, dice.within(0.0, last));
    let from = if dice.is(0.5) { [near, along] } else { [along, near] };
    let to = from.map(|at| at + 2.5 * dice.bell());
    let radius = dice.within(0.3, 1.0);
    sheet.draw(&[from, to], [radius; 2], dice.within(0.4, 1.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::threads;

    #[test]
    fn the_same_bytes_for_any_number_of_threads_and_in_any_set() {
        let digits = Digits::new(64).with_seed(3);
        let alone = threads(1, || digits.examples()).expect("digits");
        let shared = threads(4, || parallel::surely_split(|| digits.examples())).expect("digits");
        assert_eq!(alone.input(), shared.input());
        let (longer, mut none) = (Digits::new(1000).with_seed(3), Random::new(0));
        for index in [0, 7, 63] {
            let item = longer.item(index, &mut none).expect("an item");
            assert_eq!(item.input, alone.input().select(0, index as isize));
            assert_eq!(item.target, alone.target().select(0, index as isize));
        }
        assert!(longer.item(1000, &mut none).is_err());
    }

    #[test]
    fn every_picture_shows_something_and_no_two_are_alike() {
        let digits = Digits::new(2000).with_seed(5);
        let mut seen = std::collections::HashSet::new();
        for index in 0..2000 {
            let pixels = digits.pixels(index);
            let ink = pixels.iter().filter(|&&pixel| pixel > 110).count();
            assert!((12..450).contains(&ink), "picture {index}: {ink} dark pixels");
            assert!(seen.insert(pixels), "picture {index} was there before");
        }
        assert!(Digits::new(usize::MAX).examples().is_err());
        assert_eq!(Digits::new(0).examples().expect("none").len(), 0);
    }
}
