//! Layers in turn, and several of them in one pass where that is the same.

use super::Layer;
use crate::ops::finish::Finish;
use crate::tensor::{Tensor, modes};

/// The layers behind one: by their place, from 0 on.
pub(crate) type Behind<'a> = &'a dyn Fn(usize) -> Option<&'a dyn Layer>;

/// Layers one after another: what a [`Sequential`](super::Sequential) does, for layers that a model holds in fields.
///
/// At inference, where no gradient is wanted, a convolution takes a batch norm (of given statistics) and a [`Relu`](super::Relu)
/// behind it along: each number is scaled, moved and cut off on its way out, not in passes of their own. Results agree but for
/// rounding.
///
/// ```
/// use chainrule::nn::{BatchNorm2d, Conv2d, Init, Layer, Module, Relu, in_turn};
/// use chainrule::{Tensor, module};
///
/// struct Block { conv: Conv2d, norm: BatchNorm2d }
/// module!(Block { conv, norm });
///
/// impl Layer for Block {
///     fn forward(&self, input: &Tensor) -> Tensor {
///         in_turn(input, &[&self.conv, &self.norm, &Relu])
///     }
/// }
///
/// let mut init = Init::new();
/// let mut block = Block { conv: Conv2d::new(3, 8, 3, &mut init), norm: BatchNorm2d::new(8, &mut init) };
/// block.freeze();
/// assert_eq!(block.forward(&Tensor::ones([1, 3, 5, 5])).dims()?, [1, 8, 3, 3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn in_turn(input: &Tensor, layers: &[&dyn Layer]) -> Tensor {
    each_in_turn(input, layers.len(), &|index| layers.get(index).copied())
}

/// As [`in_turn`], for layers that are found by their places.
#[track_caller]
pub(super) fn each_in_turn<'a>(input: &Tensor, count: usize, layer: &dyn Fn(usize) -> Option<&'a dyn Layer>) -> Tensor {
    // Whoever looks on sees every layer.
    let together = { !modes().everything && !modes().anomalies };
    let (mut output, mut index) = (input.clone(), 0);
    while let Some(here) = layer(index) {
        let taken = if together && index + 1 < count {
            let (next, taken) = here.forward_along(&output, &|behind| layer(index + 1 + behind));
            output = next;
            taken
        } else {
            output = here.forward(&output);
            0
        };
        index += 1 + taken;
    }
    output
}

/// What the layers behind one do on its results' way out, and how many they are; `None` if the next one is no such layer.
pub(super) fn gathered(behind: Behind<'_>) -> Option<(Finish, usize)> {
    let (mut finish, mut count) = (behind(0)?.as_finish()?, 1);
    while let Some(both) = behind(count).and_then(|next| finish.then(&next.as_finish()?)) {
        (finish, count) = (both, count + 1);
    }
    Some((finish, count))
}
