//! What observations have in common, and averages of what is known.

use crate::error::Fault;
use crate::layout::Axes;
use crate::tensor::{Tensor, refused};

impl Tensor {
    /// The covariances of variables, which are rows with one column for each observation: `[variables, variables]`. A vector
    /// is one variable. Sums are divided by the number of observations less `correction`: 1 for an unbiased estimate, 0 for
    /// the covariance of just these.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]]);
    /// assert_eq!(x.covariance(1.0).to_vec::<f32>()?, [1.0, -2.0, -2.0, 4.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "cov")]
    pub fn covariance(&self, correction: f64) -> Tensor {
        let count = match self.shape() {
            Ok(shape) if matches!(shape.len(), 1 | 2) => shape[shape.len() - 1],
            Ok(shape) => {
                let what = format!("the input has {} axes", shape.len());
                let help = "rows are variables, columns observations; a vector is one variable";
                return refused("covariance", Fault::shape(what, help), &[self]);
            }
            Err(error) => return Tensor::failed(error),
        };
        let apart = self - self.mean_keep(-1);
        let rows = apart.at_least_rank(2);
        // Fewer observations than it takes give no number, as 0 / 0.
        let sums = rows.matmul(&rows.transpose(0, 1)) / (count as f64 - correction).max(0.0);
        match self.rank() {
            Ok(1) => sums.reshape(()),
            _ => sums,
        }
    }

    /// The correlations (Pearson's) of variables, which are rows with one column for each observation: covariances of
    /// variables brought to variance 1, from -1 to 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]]);
    /// let correlations = x.correlation().to_vec::<f32>()?;
    /// assert!((correlations[1] + 1.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "corrcoef")]
    pub fn correlation(&self) -> Tensor {
        let covariance = self.covariance(1.0);
        if matches!(covariance.rank(), Ok(0) | Err(_)) {
            // 1, or NaN where nothing varies.
            let variance = covariance.clone();
            return covariance / variance;
        }
        let deviations = covariance.diagonal(0, 0, 1).sqrt();
        (&covariance / deviations.unsqueeze(1) / deviations.unsqueeze(0)).clamp(-1.0, 1.0)
    }

    /// The mean of all elements that are no NaN.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1.0, f32::NAN, 5.0]).nan_mean().item()?, 3.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "nanmean")]
    pub fn nan_mean(&self) -> Tensor {
        self.reshape([-1]).nan_mean_over(0)
    }

    /// The mean over some axes of the elements that are no NaN; NaN where there are none.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, f32::NAN], [3.0, 5.0]]);
    /// assert_eq!(x.nan_mean_over(0).to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "nanmean")]
    pub fn nan_mean_over(&self, axes: impl Axes) -> Tensor {
        let axes = axes.axes();
        let known = self.is_nan().logical_not();
        let sums = self.nan_sum_over(axes.as_slice());
        let counts = known.count_nonzero_over(axes.as_slice());
        match sums.dtype() {
            Ok(dtype) => &sums / counts.to_dtype(dtype),
            Err(_) => sums,
        }
    }
}
