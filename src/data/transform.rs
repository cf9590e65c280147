//! Images changed by chance, and brought into the form that a model wants.

use super::picture::{Picture, Placement, between};
use super::{Chance, Collate, Dataset, Input};
use crate::device::cpu::parallel;
use crate::device::{Random, Value};
use crate::error::{Error, Fault, Result};
use crate::layout::{DType, Shape};
use crate::ops::{Interpolation, Resize};
use crate::tensor::Tensor;
use std::ops::Range;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// What is done to images `[channels, height, width]`, step after step. What it leaves to chance it draws from the stream
/// of the item, so an epoch that is run again has the same images.
///
/// ```
/// use chainrule::{Random, Tensor};
/// use chainrule::data::{Dataset, Examples, Loader, Transform};
/// let examples = Examples::new(&Tensor::ones([100, 3, 32, 32]), &Tensor::zeros([100]))?;
/// let augment = Transform::new().crop(32, 32, 4).flip().rotate(10.0).normalize(&[0.5], &[0.25]);
///
/// let loader = Loader::new(examples.transformed(augment.clone()), 25).shuffled(7);
/// assert_eq!(loader.epoch(0).next().unwrap()?.input.dims()?, [25, 3, 32, 32]);
/// let one = augment.image(&Tensor::ones([3, 32, 32]), &mut Random::new(1))?;
/// assert_eq!(one.dims()?, [3, 32, 32]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// Numbers of any type come in, f32 go out; no step assumes a range such as 0 to 1, and none clips to one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transform {
    steps: Vec<Step>,
    fill: f32,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Crop { height: usize, width: usize, border: usize },
    CentreCrop { height: usize, width: usize },
    Resize { height: usize, width: usize },
    Flip { upright: bool },
    Affine(Affine),
    Erase { rate: f64, most: f64 },
    Brightness(f64),
    Contrast(f64),
    Noise(f64),
    Scale { shift: Vec<f32>, divisor: Vec<f32> },
    Fill(f32),
}

/// How an image is turned, moved, enlarged and sheared about its centre, each by chance within bounds.
///
/// ```
/// use chainrule::data::{Affine, Transform};
/// let transform = Transform::new().affine(Affine::new().rotate(15.0).shift(0.1).scale(0.9..1.1).shear(5.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    degrees: f64,
    shift: f64,
    scale: Range<f64>,
    shear: f64,
}

impl Default for Affine {
    fn default() -> Affine {
        Affine { degrees: 0.0, shift: 0.0, scale: 1.0..1.0, shear: 0.0 }
    }
}

impl Affine {
    /// As it is.
    pub fn new() -> Affine {
        Affine::default()
    }
    /// By up to so many degrees either way.
    pub fn rotate(self, degrees: f64) -> Affine {
        Affine { degrees, ..self }
    }
    /// By up to this share of its size up or down, left or right.
    pub fn shift(self, share: f64) -> Affine {
        Affine { shift: share, ..self }
    }
    /// To a size between these, 1 being its own.
    pub fn scale(self, scale: Range<f64>) -> Affine {
        Affine { scale, ..self }
    }
    /// Slanted by up to so many degrees either way.
    pub fn shear(self, degrees: f64) -> Affine {
        Affine { shear: degrees, ..self }
    }
    fn draw(&self, height: usize, width: usize, chance: &mut Random) -> Placement {
        let mut within = |bound: f64| between(chance, -bound, bound);
        let (angle, shear) = (within(self.degrees).to_radians(), within(self.shear).to_radians());
        let moved = (within(self.shift) * height as f64, within(self.shift) * width as f64);
        Placement { angle, shear, scale: between(chance, self.scale.start, self.scale.end), moved }
    }
}

impl Transform {
    /// Nothing yet.
    pub fn new() -> Transform {
        Transform::default()
    }
    fn then(mut self, step: Step) -> Transform {
        self.steps.push(step);
        self
    }
    /// A part of this size from anywhere in the image, which gets a border first.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Tensor::ones([1, 4, 4]);
    /// let cropped = Transform::new().crop(4, 4, 1).image(&x, &mut Random::new(1))?;
    /// assert!((9.0..=16.0).contains(&cropped.sum().item()?));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn crop(self, height: usize, width: usize, border: usize) -> Transform {
        self.then(Step::Crop { height, width, border })
    }
    /// The middle part of this size.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Tensor::from([[[1.0, 2.0, 3.0]]]);
    /// assert_eq!(Transform::new().centre_crop(1, 1).image(&x, &mut Random::new(1))?.item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn centre_crop(self, height: usize, width: usize) -> Transform {
        self.then(Step::CentreCrop { height, width })
    }
    /// The whole image in another size, linearly; smaller ones are averages of what they cover.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let half = Transform::new().resize(16, 16).image(&Tensor::ones([3, 32, 32]), &mut Random::new(1))?;
    /// assert_eq!(half, Tensor::ones([3, 16, 16]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn resize(self, height: usize, width: usize) -> Transform {
        self.then(Step::Resize { height, width })
    }
    /// Mirrored from left to right, every other time.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Tensor::from([[[1.0, 2.0]]]);
    /// let flipped = Transform::new().flip().image(&x, &mut Random::new(1))?;
    /// assert!(flipped == x || flipped == x.flip(-1));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn flip(self) -> Transform {
        self.then(Step::Flip { upright: false })
    }
    /// Mirrored from top to bottom, every other time.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Tensor::from([[[1.0], [2.0]]]);
    /// let flipped = Transform::new().flip_upright().image(&x, &mut Random::new(1))?;
    /// assert!(flipped == x || flipped == x.flip(-2));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn flip_upright(self) -> Transform {
        self.then(Step::Flip { upright: true })
    }
    /// Turned by up to so many degrees either way.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let turned = Transform::new().rotate(10.0).image(&Tensor::ones([1, 28, 28]), &mut Random::new(1))?;
    /// assert!(turned.mean().item()? > 0.8); // its corners are outside
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn rotate(self, degrees: f64) -> Transform {
        self.affine(Affine::new().rotate(degrees))
    }
    /// Turned, moved, enlarged and sheared.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::{Affine, Transform};
    /// let larger = Transform::new().affine(Affine::new().scale(2.0..2.0));
    /// let x = Tensor::from([[[0.0, 1.0, 0.0]]]);
    /// assert_eq!(larger.image(&x, &mut Random::new(1))?, Tensor::from([[[0.5, 1.0, 0.5]]]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn affine(self, affine: Affine) -> Transform {
        self.then(Step::Affine(affine))
    }
    /// With this chance, a rectangle of up to this share of the image is erased.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let erased = Transform::new().erase(1.0, 0.3).image(&Tensor::ones([1, 28, 28]), &mut Random::new(1))?;
    /// assert!((0.6..1.0).contains(&erased.mean().item()?));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn erase(self, rate: f64, most: f64) -> Transform {
        self.then(Step::Erase { rate, most })
    }
    /// Each number times one between `1 - by` and `1 + by`, the same for the whole image.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Transform::new().brightness(0.2).image(&Tensor::ones([1, 2, 2]), &mut Random::new(1))?;
    /// assert!((0.8..1.2).contains(&x.mean().item()?) && x.std().item()? == 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn brightness(self, by: f64) -> Transform {
        self.then(Step::Brightness(by))
    }
    /// Each number's distance from the image's mean times one between `1 - by` and `1 + by`.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Tensor::from([[[1.0, 3.0]]]);
    /// let changed = Transform::new().contrast(0.5).image(&x, &mut Random::new(1))?;
    /// assert_eq!(changed.mean().item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn contrast(self, by: f64) -> Transform {
        self.then(Step::Contrast(by))
    }
    /// Each number plus a normal one of this deviation.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let noise = Transform::new().noise(0.1).image(&Tensor::zeros([1, 28, 28]), &mut Random::new(1))?;
    /// assert!((0.09..0.11).contains(&noise.std().item()?));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn noise(self, deviation: f64) -> Transform {
        self.then(Step::Noise(deviation))
    }
    /// `(x - mean) / deviation`, with one of each for each channel, or one for all.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let x = Tensor::from([[[1.0, 3.0]]]);
    /// let scaled = Transform::new().normalize(&[2.0], &[0.5]).image(&x, &mut Random::new(1))?;
    /// assert_eq!(scaled, Tensor::from([[[-2.0, 2.0]]]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn normalize(self, mean: &[f32], deviation: &[f32]) -> Transform {
        self.then(Step::Scale { shift: mean.to_vec(), divisor: deviation.to_vec() })
    }
    /// What the following steps put where there is no image, 0 without it.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// use chainrule::data::Transform;
    /// let erased = Transform::new().fill(0.5).erase(1.0, 1.0).image(&Tensor::ones([1, 9, 9]), &mut Random::new(1))?;
    /// assert!(erased.min().item()? == 0.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn fill(self, number: f32) -> Transform {
        self.then(Step::Fill(number))
    }

    /// One image `[channels, height, width]`.
    #[track_caller]
    pub fn image(&self, image: &Tensor, chance: &mut Random) -> Result<Tensor> {
        if image.rank()? != 3 {
            return Err(Error::new("transform", wrong_rank(&image.shape()?, "[channels, height, width]")));
        }
        // The stream goes on, for whatever the item draws after this.
        let own = chance.split();
        self.images(&image.unsqueeze(0), &[own])?.select(0, 0).checked()
    }
    /// Images `[batch, channels, height, width]`, each with a stream of its own.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// use chainrule::data::{Chance, Transform};
    /// let chance = Chance::new(7, 0).of_each(&[0, 1]);
    /// let flipped = Transform::new().flip().images(&Tensor::ones([2, 1, 4, 4]), &chance)?;
    /// assert_eq!(flipped.dims()?, [2, 1, 4, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn images(&self, images: &Tensor, chances: &[Random]) -> Result<Tensor> {
        let at = Location::caller();
        let fail = |fault| Error::with("transform", fault, Vec::new(), at);
        let shape = images.shape()?;
        let [count, ..] = shape[..] else { return Err(fail(wrong_rank(&shape, "[batch, channels, height, width]"))) };
        if shape.len() != 4 {
            return Err(fail(wrong_rank(&shape, "[batch, channels, height, width]")));
        }
        if chances.len() != count {
            let what = format!("{} streams of chance for {count} images", chances.len());
            return Err(fail(Fault::shape(what, "give each image one: Chance::of_each(indices)")));
        }
        let mut chances = chances.to_vec();
        let mut images = images.detach();
        let mut steps = &self.steps[..];
        let mut fill = self.fill;
        while let Some(first) = steps.first() {
            if let Step::Resize { height, width } = *first {
                let resize = Resize::to([height, width]).mode(Interpolation::Linear).antialias();
                images = images.to_dtype(DType::F32).interpolate(resize).checked()?;
                steps = &steps[1..];
                continue;
            }
            let run = steps.iter().position(|step| matches!(step, Step::Resize { .. })).unwrap_or(steps.len());
            images = together(&steps[..run], &images, &mut chances, &mut fill)?.map_err(fail)?;
            steps = &steps[run..];
        }
        images.to_dtype(DType::F32).checked()
    }
}

/// Steps that go through the images one after another, without a tensor between them.
fn together(steps: &[Step], images: &Tensor, chances: &mut [Random], fill: &mut f32) -> Result<Result<Tensor, Fault>> {
    let [count, channels, height, width] = images.dims()?;
    let mut size = (height, width);
    for step in steps {
        size = match step.size(channels, size) {
            Ok(size) => size,
            Err(fault) => return Ok(Err(fault)),
        };
    }
    // Without images the other sizes may be anything.
    let count_of = |(height, width): (usize, usize)| channels.saturating_mul(height).saturating_mul(width);
    let (from, to) = (count_of((height, width)), count_of(size));
    let first_fill = *fill;
    let failed = Mutex::new(None);
    let made = images.with_slice(|pixels: &[f32]| {
        let shape = Shape::new(&[count, channels, size.0, size.1])?;
        let cost = steps.len().saturating_mul(from).div_ceil(to.max(1)).max(1);
        let own = &*chances;
        Value::build::<f32>(shape, |out| {
            parallel::chunks_with(out, to, cost, Picture::default, |picture, number, out| {
                let Some(mut chance) = own.get(number).cloned() else { return };
                picture.set(&pixels[number * from..][..from], [channels, height, width]);
                let mut fill = first_fill;
                for step in steps {
                    if let Err(error) = step.change(picture, &mut fill, &mut chance) {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                }
                out.copy_from_slice(&picture.pixels);
            })
        })
    })?;
    for step in steps {
        if let Step::Fill(number) = step {
            *fill = *number;
        }
    }
    // What comes after these steps draws from streams of its own.
    chances.iter_mut().for_each(|chance| *chance = chance.split());
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(made.map(Tensor::from_value)),
    }
}

impl Step {
    /// The size after it, or what is wrong with it.
    fn size(&self, channels: usize, (height, width): (usize, usize)) -> Result<(usize, usize), Fault> {
        let within = |number: f64, high: f64, noun: &str| match (0.0..=high).contains(&number) {
            true => Ok(()),
            false => Err(Fault::value(format!("{noun} of {number}"), format!("give a number from 0 to {high}"))),
        };
        match self {
            Step::Crop { height: h, width: w, border } => {
                let most = |size: usize| size.saturating_add(border.saturating_mul(2));
                if *h > most(height) || *w > most(width) || *border > 1 << 24 {
                    let what = format!("a crop of {h} x {w} from {height} x {width} with a border of {border}");
                    return Err(Fault::shape(what, "a crop is at most as large as the image with its border"));
                }
                Ok((*h, *w))
            }
            Step::CentreCrop { height: h, width: w } if *h > height || *w > width => {
                let what = format!("a crop of {h} x {w} from {height} x {width}");
                Err(Fault::shape(what, "a crop is at most as large as the image; resize() first"))
            }
            Step::CentreCrop { height: h, width: w } => Ok((*h, *w)),
            Step::Affine(Affine { degrees, shift, scale, shear }) => {
                within(*degrees, 360.0, "a rotation")?;
                within(*shift, 1.0, "a shift by a share")?;
                within(*shear, 80.0, "a shear")?;
                match scale.start > 0.0 && scale.end >= scale.start && scale.end.is_finite() {
                    true => Ok((height, width)),
                    false => Err(Fault::value(format!("a scale of {scale:?}"), "scales are above 0: 0.9..1.1")),
                }
            }
            Step::Erase { rate, most } => {
                within(*rate, 1.0, "a chance")?;
                within(*most, 1.0, "a share")?;
                Ok((height, width))
            }
            Step::Brightness(by) | Step::Contrast(by) => within(*by, 1.0, "a change").map(|()| (height, width)),
            Step::Noise(deviation) => within(*deviation, f64::MAX, "noise").map(|()| (height, width)),
            Step::Scale { shift, divisor } => {
                if [shift, divisor].iter().any(|list| list.len() != 1 && list.len() != channels) {
                    let what =
                        format!("{} means and {} deviations for {channels} channels", shift.len(), divisor.len());
                    return Err(Fault::shape(what, "give one of each for each channel, or one for all"));
                }
                match divisor.iter().find(|divisor| **divisor <= 0.0 || !divisor.is_finite()) {
                    Some(divisor) => Err(Fault::value(format!("a deviation of {divisor}"), "deviations are above 0")),
                    None => Ok((height, width)),
                }
            }
            Step::Resize { height, width } => Ok((*height, *width)),
            Step::Flip { .. } | Step::Fill(_) => Ok((height, width)),
        }
    }
    /// Changes an image for which `size` found nothing wrong.
    fn change(&self, picture: &mut Picture, fill: &mut f32, chance: &mut Random) -> Result<()> {
        let (height, width) = (picture.height, picture.width);
        match self {
            Step::Crop { height: h, width: w, border } => {
                let mut start = |most: usize| chance.below(most as u64 + 1) as isize - *border as isize;
                let corner = (start(height + 2 * border - h), start(width + 2 * border - w));
                picture.window(corner, (*h, *w), *fill);
            }
            Step::CentreCrop { height: h, width: w } => {
                let corner = ((height - h) / 2, (width - w) / 2);
                picture.window((corner.0 as isize, corner.1 as isize), (*h, *w), *fill);
            }
            Step::Flip { upright } => {
                if chance.below(2) == 1 {
                    if *upright { picture.turn_over() } else { picture.mirror() }
                }
            }
            Step::Affine(affine) => picture.place(&affine.draw(height, width, chance), *fill),
            Step::Erase { rate, most } => {
                let (erased, share) = (chance.uniform() < *rate, between(chance, 0.0, *most));
                // As much higher than wide as wider than high.
                let form = between(chance, -1.0, 1.0).exp();
                let side = |size: usize, form: f64| ((size as f64 * (share * form).sqrt()).round() as usize).min(size);
                let (h, w) = (side(height, form), side(width, form.recip()));
                let corner = (chance.below((height - h) as u64 + 1), chance.below((width - w) as u64 + 1));
                if erased {
                    picture.erase((corner.0 as usize, corner.1 as usize), (h, w), *fill);
                }
            }
            Step::Brightness(by) => {
                let factor = between(chance, 1.0 - by, 1.0 + by) as f32;
                picture.each(|pixel| pixel * factor);
            }
            Step::Contrast(by) => {
                let (mean, factor) = (picture.mean(), between(chance, 1.0 - by, 1.0 + by) as f32);
                picture.each(|pixel| mean + (pixel - mean) * factor);
            }
            Step::Noise(deviation) => {
                let noise = Tensor::normal([picture.pixels.len()], 0.0, *deviation, chance);
                noise.with_slice(|noise: &[f32]| {
                    picture.pixels.iter_mut().zip(noise).for_each(|(pixel, noise)| *pixel += noise);
                })?;
            }
            Step::Scale { shift, divisor } => {
                let each = shift.len().max(divisor.len());
                let both = shift.iter().cycle().zip(divisor.iter().cycle()).take(each);
                picture.scale_channels(&both.map(|(&shift, &divisor)| (shift, divisor.recip())).collect::<Vec<_>>());
            }
            Step::Fill(number) => *fill = *number,
            Step::Resize { .. } => {} // done for all images at once
        }
        Ok(())
    }
}

#[cold]
fn wrong_rank(shape: &Shape, wanted: &str) -> Fault {
    let help = "a grey image has one channel: images.unsqueeze(1) for [batch, height, width]";
    Fault::shape(format!("the image is {shape:?}, not {wanted}"), help)
}

/// A dataset whose images pass through a [`Transform`]; [`Dataset::transformed`] makes it.
#[derive(Clone, Debug)]
pub struct Transformed<D> {
    dataset: D,
    transform: Transform,
}

impl<D> Transformed<D> {
    pub(super) fn new(dataset: D, transform: Transform) -> Transformed<D> {
        Transformed { dataset, transform }
    }
    /// As it is before.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
}

impl<D: Dataset<Item: Input>> Dataset for Transformed<D> {
    type Item = D::Item;
    fn len(&self) -> usize {
        self.dataset.len()
    }
    #[track_caller]
    fn item(&self, index: usize, chance: &mut Random) -> Result<D::Item> {
        let mut item = self.dataset.item(index, chance)?;
        *item.input_mut() = self.transform.image(item.input_mut(), chance)?;
        Ok(item)
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], chance: &Chance) -> Result<<D::Item as Collate>::Batch> {
        let mut batch = self.dataset.batch(indices, chance)?;
        // The streams that `image` would take.
        let chances: Vec<Random> = chance.of_each(indices).iter_mut().map(Random::split).collect();
        let images = D::Item::inputs_mut(&mut batch);
        *images = self.transform.images(images, &chances)?;
        Ok(batch)
    }
}
