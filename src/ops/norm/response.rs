//! Local response norm: a channel is damped by its neighbours.

use crate::error::{Error, Fault};
use crate::tensor::Tensor;

impl Tensor {
    /// Local response norm of `[batch, channels, ...]`: `x / (k + alpha · mean of x² over size neighbouring channels)^beta`.
    ///
    /// Channels beyond the ends count as zeros. Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep
    /// convolutional neural networks", 2012 (there alpha is not divided by the size).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[[3.0], [0.0]]]).local_response_norm(1, 1.0, 0.5, 7.0);
    /// assert_eq!(y.to_vec::<f32>()?, [0.75, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn local_response_norm(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Tensor {
        let dims = match self.shape() {
            Ok(shape) => shape.to_vec(),
            Err(error) => return Tensor::failed(error),
        };
        if dims.len() < 3 {
            return Tensor::failed(Error::new(
                "local_response_norm",
                Fault::shape(
                    format!("a tensor of rank {} has no pixels", dims.len()),
                    "the sizes are [batch, channels, ...] with at least one axis behind the channels: use unsqueeze",
                ),
            ));
        }
        if size == 0 {
            return Tensor::failed(Error::new(
                "local_response_norm",
                Fault::value("a window of 0 channels", "give how many channels damp each other: at least 1"),
            ));
        }
        let channels = dims[1];
        let squares = self.square();
        // Channel i sees i - size / 2 ..= i + (size - 1) / 2: the squares, shifted by each distance, add up.
        let mut sum = squares.clone();
        let reach = channels.saturating_sub(1);
        for distance in 1..=(size / 2).min(reach) {
            sum = sum + shifted(&squares, &dims, distance as isize);
        }
        for distance in 1..=((size - 1) / 2).min(reach) {
            sum = sum + shifted(&squares, &dims, -(distance as isize));
        }
        self / (sum * (alpha / size as f64) + k).pow(beta)
    }
}

/// Channels moved up by `distance` (down where it is negative), zeros where nothing comes from.
fn shifted(x: &Tensor, dims: &[usize], distance: isize) -> Tensor {
    let mut borders = vec![(0, 0); dims.len() - 1];
    borders[0] = (distance, -distance);
    x.pad(&borders, crate::ops::Pad::Zeros)
}
