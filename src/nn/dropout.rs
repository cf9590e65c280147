//! Dropout layers: each with a stream of random numbers of its own, silent where it is frozen or evaluated.

use super::{Init, Layer, Running};
use crate::device::Random;
use crate::module;
use crate::tensor::Tensor;

macro_rules! dropouts {
    ($($(#[$doc:meta])* $Dropout:ident $method:ident $unbatched:expr;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\n```\nuse chainrule::nn::{", stringify!($Dropout), ", Init, Layer};\nuse chainrule::{Tensor, evaluating};\n\
            let layer = ", stringify!($Dropout), "::new(0.5, &mut Init::new());\nlet x = Tensor::ones([4, 8, 2, 2, 2]);\n\
            assert_ne!(layer.forward(&x).to_vec::<f32>()?, x.to_vec::<f32>()?);\n\
            assert_eq!(evaluating(|| layer.forward(&x)).to_vec::<f32>()?, x.to_vec::<f32>()?);\n\
            # Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug)]
        pub struct $Dropout {
            /// The chance of being left out.
            pub rate: f64,
            /// Where its random numbers come from.
            pub stream: Running<Random>,
        }
        module!($Dropout { stream; rate });

        impl $Dropout {
            /// Leaves out with this chance; PyTorch's usual one is 0.5.
            pub fn new(rate: f64, init: &mut Init) -> $Dropout {
                $Dropout { rate, stream: Running::new(init.stream()) }
            }
        }

        impl Layer for $Dropout {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                if input.error().is_some() {
                    return input.clone();
                }
                let unbatched: Option<usize> = $unbatched;
                match self.stream.draw() {
                    None => input.clone(),
                    Some(draw) if input.rank().ok() == unbatched => {
                        input.unsqueeze(0).$method(self.rate, draw).squeeze_axes(0)
                    }
                    Some(draw) => input.$method(self.rate, draw),
                }
            }
        }
    )* };
}

dropouts! {
    /// Dropout: in training each element becomes zero with chance `rate`, the others are multiplied by `1 / (1 - rate)`, so
    /// that the mean stays; frozen or [`evaluating`](crate::evaluating) it does nothing.
    ///
    /// Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: "Dropout: a simple way to prevent neural networks from
    /// overfitting", JMLR 2014.
    Dropout dropout None;
    /// [`Dropout`] of whole channels of `[batch, channels, length]`, or `[channels, length]`.
    Dropout1d dropout_channels Some(2);
    /// [`Dropout`] of whole channels of `[batch, channels, height, width]`: neighbours in a picture tell the same.
    ///
    /// Tompson, Goroshin, Jain, LeCun, Bregler: "Efficient object localization using convolutional networks", CVPR 2015.
    Dropout2d dropout_channels None;
    /// [`Dropout`] of whole channels of `[batch, channels, depth, height, width]`, or without the batch.
    Dropout3d dropout_channels Some(4);
    /// Dropout for networks of [`selu`](Tensor::selu): mean 0 and variance 1 stay.
    ///
    /// Klambauer, Unterthiner, Mayr, Hochreiter: "Self-normalizing neural networks", NeurIPS 2017.
    AlphaDropout alpha_dropout None;
}
