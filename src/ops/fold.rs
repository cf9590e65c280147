//! Windows as columns and back; channels as pixels and back.

use super::pool::Pool;
use super::spatial::{PerAxis, axis_name, five, spatial};
use crate::device::window::Windows;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Layout, Shape, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::{Tensor, refused};

/// What lies under each window, as a column.
#[derive(Debug)]
struct Unfold {
    pool: Pool,
    /// How many axes are spatial, where that is known.
    axes: Option<usize>,
}

impl Op for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let rank = inputs[0].rank();
        let Some(axes) = self.axes(rank) else {
            return Err(Fault::shape(
                format!("the input has {rank} axes"),
                "it needs 2 to 5: [batch, channels, width], [.., height, width] or [.., depth, height, width], or one less \
                 without the batch",
            ));
        };
        let windows = windows(&self.pool, axes, spatial(inputs[0].dims(), axes))?;
        let columns = on!(inputs[0].device(), unfold_volumes(&five(inputs[0], axes)?, &windows))?;
        let batch = if rank == axes + 2 { 0 } else { 1 };
        one(columns.with_layout(Layout::contiguous(Shape::new(&columns.dims()[batch..])?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let axes = self.axes(call.dims(0).len()).unwrap_or(1);
        let sizes = PerAxis::new(&call.dims(0)[call.dims(0).len() - axes..]);
        apply(Fold { pool: self.pool, sizes, axes }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = Σ of ∂L/∂y over the places that x was copied to"
    }
}

impl Unfold {
    /// How many axes are spatial, of so many: all but batch and channels; or there is no batch.
    fn axes(&self, rank: usize) -> Option<usize> {
        match (self.axes, self.pool.sizes(), rank) {
            (Some(axes), ..) => Some(axes),
            (None, sizes @ 2..=3, _) if rank == sizes + 1 => Some(sizes),
            (None, _, 2) => Some(1),
            (None, _, 3..=5) => Some(rank - 2),
            _ => None,
        }
    }
}

fn windows(pool: &Pool, axes: usize, sizes: [usize; 3]) -> Result<[crate::device::window::Sliding; 3], Fault> {
    // Windows that slide without a stride of their own move by one element, not by their size.
    pool.stride_or(1).windows(axes, sizes)
}

fn no_columns(x: &Value) -> Fault {
    Fault::shape(
        format!("the columns have {} axes", x.rank()),
        "they need 3: [batch, channels · window, windows], or 2 without the batch",
    )
}

/// Columns added up where they came from.
#[derive(Debug)]
struct Fold {
    pool: Pool,
    sizes: PerAxis,
    axes: usize,
}

impl Op for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let &[ref batch @ .., rows, columns] = inputs[0].dims() else { return Err(no_columns(inputs[0])) };
        if batch.len() > 1 {
            return Err(no_columns(inputs[0]));
        }
        let sizes = self.sizes.resolve("size", self.axes, 0, 1)?;
        let windows = windows(&self.pool, self.axes, sizes)?;
        let taps: usize = windows.iter().map(|axis| axis.kernel).product();
        let count: usize = windows.iter().map(|axis| axis.count).product();
        if rows % taps != 0 || columns != count {
            let counts: Vec<String> =
                (3 - self.axes..3).map(|axis| format!("{} {}", windows[axis].count, axis_name(axis))).collect();
            return Err(Fault::shape(
                format!("columns of {:?}", inputs[0].dims()),
                format!(
                    "their second size must be a multiple of {taps} (elements of a window) and their last {count} \
                     (windows: {})",
                    counts.join(" x ")
                ),
            ));
        }
        let several = Shape::new(&[batch.first().copied().unwrap_or(1), rows, columns])?;
        let (strides, offset) = (inputs[0].layout().strides(), inputs[0].layout().offset());
        let strides = [if batch.is_empty() { 0 } else { strides[0] }, strides[batch.len()], strides[batch.len() + 1]];
        let several = inputs[0].with_layout(Layout::from_parts(several, &strides, offset))?;
        let volume = on!(several.device(), fold_volumes(&several, &windows))?;
        let mut shape = batch.to_vec();
        shape.push(rows / taps);
        shape.extend(&sizes[3 - self.axes..]);
        one(volume.with_layout(Layout::contiguous(Shape::new(&shape)?))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        apply(Unfold { pool: self.pool, axes: Some(self.axes) }, [&arriving[0]])
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y where x was added"
    }
}

impl Tensor {
    /// What lies under each sliding window as a column: `[batch, channels, spatial ...]` (one to three spatial axes)
    /// becomes `[batch, channels · window, windows]`, zeros for padding. Windows move by one unless a stride is given.
    ///
    /// One picture `[channels, height, width]` without a batch has as many axes as a batch of rows. So windows say what it is:
    /// with a size for each axis (`[3, 3]`, not `3`) they go over so many axes, and there may be no batch.
    ///
    /// A convolution is a product of its weight with these columns.
    ///
    /// ```
    /// use chainrule::{Pool, Tensor};
    /// let x = Tensor::from([[[1.0, 2.0, 3.0]]]);
    /// assert_eq!(x.unfold(2).to_vec::<f32>()?, [1.0, 2.0, 2.0, 3.0]);
    /// assert_eq!(Tensor::ones([2, 3, 8, 8]).unfold(Pool::new(3).padding(1)).dims()?, [2, 27, 64]);
    /// assert_eq!(Tensor::ones([3, 8, 8]).unfold(Pool::new([3, 3]).padding(1)).dims()?, [27, 64]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "im2col")]
    #[track_caller]
    pub fn unfold(&self, windows: impl Into<Pool>) -> Tensor {
        apply(Unfold { pool: windows.into(), axes: None }, [self])
    }
    /// Columns added up where [`unfold`](Tensor::unfold) takes them from, in a result of these spatial sizes. Columns without a
    /// batch, `[channels · window, windows]`, give one picture without it.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let columns = Tensor::ones([1, 1, 3]).unfold(2);
    /// assert_eq!(columns.fold(3, 2).to_vec::<f32>()?, [1.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "col2im")]
    #[track_caller]
    pub fn fold(&self, sizes: impl Sizes, windows: impl Into<Pool>) -> Tensor {
        let sizes = PerAxis::new(sizes);
        let axes = sizes.len();
        if !(1..=3).contains(&axes) {
            let fault = Fault::value(format!("{axes} spatial sizes"), "give one for each spatial axis: 1, 2 or 3");
            return refused("fold", fault, &[self]);
        }
        apply(Fold { pool: windows.into(), sizes, axes }, [self])
    }
    /// Groups of `factor²` channels become squares of pixels: `[.., c · r², h, w]` to `[.., c, h · r, w · r]`.
    ///
    /// Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution".
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]);
    /// let y = x.pixel_shuffle(2);
    /// assert_eq!((y.dims()?, y.to_vec::<f32>()?), ([1, 1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn pixel_shuffle(&self, factor: usize) -> Tensor {
        let (front, [c, h, w]) = match pixels("pixel_shuffle", self, factor) {
            Ok(sizes) => sizes,
            Err(failed) => return failed,
        };
        let square = factor.saturating_mul(factor);
        if c % square != 0 {
            let fault = Fault::shape(
                format!("{c} channels do not make squares of {factor} x {factor} pixels"),
                format!("the number of channels must be a multiple of {square}"),
            );
            return refused("pixel_shuffle", fault, &[self]);
        }
        let n: usize = front.iter().product();
        let turned = self.reshape([n, c / square, factor, factor, h, w]).permute([0, 1, 4, 2, 5, 3]);
        turned.reshape([front.as_slice(), &[c / square, h * factor, w * factor]].concat())
    }
    /// The opposite of [`pixel_shuffle`](Tensor::pixel_shuffle): `[.., c, h · r, w · r]` to `[.., c · r², h, w]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::ones([1, 8, 3, 3]);
    /// assert_eq!(x.pixel_shuffle(2).pixel_unshuffle(2).dims()?, [1, 8, 3, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn pixel_unshuffle(&self, factor: usize) -> Tensor {
        let (front, [c, h, w]) = match pixels("pixel_unshuffle", self, factor) {
            Ok(sizes) => sizes,
            Err(failed) => return failed,
        };
        if h % factor != 0 || w % factor != 0 {
            let fault = Fault::shape(
                format!("{h} x {w} pixels are not squares of {factor} x {factor}"),
                format!("height and width must be multiples of {factor}"),
            );
            return refused("pixel_unshuffle", fault, &[self]);
        }
        let n: usize = front.iter().product();
        let turned = self.reshape([n, c, h / factor, factor, w / factor, factor]).permute([0, 1, 3, 5, 2, 4]);
        turned.reshape([front.as_slice(), &[c * factor * factor, h / factor, w / factor]].concat())
    }
    /// Channels dealt out anew: those of `groups` groups become neighbours, so that grouped convolutions exchange.
    ///
    /// Zhang et al. 2018, "ShuffleNet".
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[[1.0], [2.0], [3.0], [4.0]]]);
    /// assert_eq!(x.channel_shuffle(2).to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn channel_shuffle(&self, groups: usize) -> Tensor {
        let dims = match self.value() {
            Ok(value) => value.dims().to_vec(),
            Err(error) => return Tensor::failed(error),
        };
        let [n, c, rest @ ..] = dims.as_slice() else {
            let fault = Fault::shape(format!("the input has {} axes", dims.len()), "it needs [batch, channels, ...]");
            return refused("channel_shuffle", fault, &[self]);
        };
        if groups == 0 || c % groups != 0 {
            let fault = Fault::shape(
                format!("{groups} groups do not divide {c} channels"),
                "the number of groups must divide the channels",
            );
            return refused("channel_shuffle", fault, &[self]);
        }
        let rest = rest.iter().product::<usize>();
        self.reshape([*n, groups, c / groups, rest]).transpose(1, 2).reshape(&dims)
    }
}

/// The axes in front, and channels, height and width.
#[track_caller]
fn pixels(name: &'static str, x: &Tensor, factor: usize) -> Result<(Vec<usize>, [usize; 3]), Tensor> {
    let dims = x.value().map_err(Tensor::failed)?.dims();
    let &[ref front @ .., c, h, w] = dims else {
        let fault =
            Fault::shape(format!("the input has {} axes", dims.len()), "it needs [.., channels, height, width]");
        return Err(refused(name, fault, &[x]));
    };
    if factor == 0 || factor > 1 << 15 {
        let fault = Fault::value(format!("a factor of {factor}"), "a factor is a whole number from 1 to 32768");
        return Err(refused(name, fault, &[x]));
    }
    Ok((front.to_vec(), [c, h, w]))
}
