//! Activations as layers: what has no parameters, so that it can stand in a [`Sequential`](super::Sequential).

use super::Layer;
use crate::module;
use crate::tensor::Tensor;

macro_rules! plain {
    ($($(#[$doc:meta])* $Name:ident => $method:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $Name;
        module!($Name {});
        impl Layer for $Name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                input.$method()
            }
        }
    )* };
}

plain! {
    /// [`relu`](Tensor::relu) as a layer.
    ///
    /// ```
    /// use chainrule::{Tensor, nn::{Layer, Relu}};
    /// assert_eq!(Relu.forward(&Tensor::from([-1.0, 2.0])).to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Relu => relu;
    /// [`tanh`](Tensor::tanh) as a layer.
    ///
    /// ```
    /// use chainrule::{Tensor, nn::{Layer, Tanh}};
    /// assert_eq!(Tanh.forward(&Tensor::from([0.0])).to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    Tanh => tanh;
}
