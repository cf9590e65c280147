//! Pooling by a power: between the average and the greatest of each window.

use super::pool::Pool;
use crate::tensor::{Tensor, refused};

impl Tensor {
    /// `(Σ xᵖ)^(1/p)` over each window of sequences `[batch, channels, length]`. For odd powers sums may be negative, which
    /// have no root: NaN. Windows that reach over the end (with [`ceil`](Pool::ceil)) count as if they were full, as in PyTorch.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[[3.0, 4.0, 0.0, 5.0]]]);
    /// assert_eq!(x.lp_pool1d(2.0, 2).to_vec::<f32>()?, [5.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn lp_pool1d(&self, power: f64, pool: impl Into<Pool>) -> Tensor {
        let pool = pool.into();
        match pool.taps(1) {
            Ok(taps) => rooted(&self.pow(power).average_pool1d(pool), taps, power),
            Err(fault) => refused("lp_pool1d", fault, &[self]),
        }
    }

    /// `(Σ xᵖ)^(1/p)` over each window of images `[batch, channels, height, width]`, as [`lp_pool1d`](Tensor::lp_pool1d).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[[[1.0, 1.0], [1.0, 1.0]]]]);
    /// assert_eq!(x.lp_pool2d(2.0, 2).to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn lp_pool2d(&self, power: f64, pool: impl Into<Pool>) -> Tensor {
        let pool = pool.into();
        match pool.taps(2) {
            Ok(taps) => rooted(&self.pow(power).average_pool2d(pool), taps, power),
            Err(fault) => refused("lp_pool2d", fault, &[self]),
        }
    }

    /// `(Σ xᵖ)^(1/p)` over each window of volumes `[batch, channels, depth, height, width]`, as
    /// [`lp_pool1d`](Tensor::lp_pool1d).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::ones([1, 1, 2, 2, 2]).lp_pool3d(3.0, 2).to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn lp_pool3d(&self, power: f64, pool: impl Into<Pool>) -> Tensor {
        let pool = pool.into();
        match pool.taps(3) {
            Ok(taps) => rooted(&self.pow(power).average_pool3d(pool), taps, power),
            Err(fault) => refused("lp_pool3d", fault, &[self]),
        }
    }
}

/// The root of average times taps. A sum of 0 has a root without a slope: its gradient is 0.
#[track_caller]
fn rooted(average: &Tensor, taps: usize, power: f64) -> Tensor {
    let zero = average.equal(0.0);
    let sums = zero.choose(1.0, &(average * taps as f64));
    zero.choose(0.0, sums.pow(1.0 / power))
}
