//! Other products of vectors, matrices and tensors, all made of the matrix product.

use crate::error::Fault;
use crate::layout::{Axes, DType, Shape};
use crate::tensor::{Tensor, refused};

/// The shapes of two tensors, or the first failure.
macro_rules! shapes {
    ($($tensor:expr),*) => { [$( match $tensor.shape() { Ok(shape) => shape, Err(error) => return Tensor::failed(error) } ),*] };
}

/// Both must be vectors.
fn vectors(left: &Shape, right: &Shape, instead: &str) -> Result<(), Fault> {
    match (left.len(), right.len()) {
        (1, 1) => Ok(()),
        (left, right) => Err(Fault::shape(
            format!("vectors are needed, these have {left} and {right} axes"),
            format!("make them vectors with flatten, or use {instead}"),
        )),
    }
}

/// A stack of square matrices: the size of one.
fn square(shape: &Shape) -> Result<usize, Fault> {
    match **shape {
        [.., rows, columns] if rows == columns => Ok(rows),
        [.., rows, columns] => Err(Fault::shape(
            format!("the matrix is not square: {rows} × {columns}"),
            "the last two axes must have the same size",
        )),
        _ => Err(Fault::shape(format!("the tensor has {} axes", shape.len()), "a matrix needs two axes or more")),
    }
}

impl Tensor {
    /// The dot product of two vectors, `Σ aᵢ · bᵢ`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1.0, 2.0]).dot(&Tensor::from([3.0, 4.0])).item()?, 11.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        let [left, right] = shapes!(self, other);
        match vectors(&left, &right, "matmul or vector_dot") {
            Ok(()) => self.matmul(other),
            Err(fault) => refused("dot", fault, &[self, other]),
        }
    }

    /// The outer product of two vectors, `C[i, j] = a[i] · b[j]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let table = Tensor::from([1.0, 2.0]).outer(&Tensor::from([3.0, 4.0, 5.0]));
    /// assert_eq!(table.to_vec::<f32>()?, [3.0, 4.0, 5.0, 6.0, 8.0, 10.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "ger")]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        let [left, right] = shapes!(self, other);
        match vectors(&left, &right, "a.unsqueeze(-1) * b") {
            Ok(()) => self.unsqueeze(1) * other,
            Err(fault) => refused("outer", fault, &[self, other]),
        }
    }

    /// Dot products along an axis of two tensors that broadcast.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(a.vector_dot(&Tensor::from([1.0, 10.0]), -1).to_vec::<f32>()?, [21.0, 43.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "vecdot")]
    pub fn vector_dot(&self, other: &Tensor, axes: impl Axes) -> Tensor {
        (self * other).sum_over(axes)
    }

    /// Sums of products over the last axis of both: `C[.., ..] = Σₚ A[.., p] · B[.., p]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::zeros([2, 3]).inner(&Tensor::zeros([5, 4, 3])).dims()?, [2, 5, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn inner(&self, other: &Tensor) -> Tensor {
        let [left, right] = shapes!(self, other);
        if left.is_empty() || right.is_empty() {
            return self * other;
        }
        self.tensordot(other, -1, -1)
    }

    /// Sums of products over pairs of axes: `left_axes` of this with `right_axes` of the other. What remains of this comes
    /// first in the result.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::zeros([2, 3, 4]), Tensor::zeros([4, 3, 5]));
    /// assert_eq!(a.tensordot(&b, [1, 2], [1, 0]).dims()?, [2, 5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn tensordot(&self, other: &Tensor, left_axes: impl Axes, right_axes: impl Axes) -> Tensor {
        let [left, right] = shapes!(self, other);
        let resolved = (left_axes.axes().resolve(left.len()), right_axes.axes().resolve(right.len()));
        let (from_left, from_right) = match resolved {
            (Ok(a), Ok(b)) => (a.to_vec(), b.to_vec()),
            (Err(fault), _) | (_, Err(fault)) => return refused("tensordot", fault, &[self, other]),
        };
        if from_left.len() != from_right.len() {
            let what = format!("{} axes on the left, {} on the right", from_left.len(), from_right.len());
            return refused(
                "tensordot",
                Fault::shape(what, "axes are summed in pairs: name as many of each"),
                &[self, other],
            );
        }
        for (&l, &r) in from_left.iter().zip(&from_right) {
            if left[l] != right[r] {
                let what = format!("axis {l} of the left has {} elements, axis {r} of the right {}", left[l], right[r]);
                return refused("tensordot", Fault::shape(what, "paired axes must have the same size"), &[self, other]);
            }
        }
        let rest =
            |rank: usize, gone: &[usize]| -> Vec<usize> { (0..rank).filter(|axis| !gone.contains(axis)).collect() };
        let (rows, columns) = (rest(left.len(), &from_left), rest(right.len(), &from_right));
        let sizes = |shape: &Shape, axes: &[usize]| -> Vec<usize> { axes.iter().map(|&axis| shape[axis]).collect() };
        let dims = [sizes(&left, &rows), sizes(&right, &columns)].concat();
        let inner: usize = sizes(&left, &from_left).iter().product();
        let (m, n): (usize, usize) = (sizes(&left, &rows).iter().product(), sizes(&right, &columns).iter().product());
        let left = self.permute(&[rows, from_left].concat()[..]).reshape([m, inner]);
        let right = other.permute(&[from_right, columns].concat()[..]).reshape([inner, n]);
        left.matmul(&right).reshape(dims)
    }

    /// `y[.., o] = Σᵢⱼ x₁[.., i] · W[o, i, j] · x₂[.., j] + b[o]`, for a weight `[outputs, inputs1, inputs2]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (x1, x2) = (Tensor::from([[1.0, 2.0]]), Tensor::from([[3.0]]));
    /// let weight = Tensor::from([[[1.0], [10.0]]]);
    /// assert_eq!(x1.bilinear(&x2, &weight, None).to_vec::<f32>()?, [63.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn bilinear(&self, other: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let [left, right, form] = shapes!(self, other, weight);
        let fits = matches!((&*left, &*right, &*form), ([.., a], [.., b], [_, i, j]) if a == i && b == j);
        if !fits || left[..left.len() - 1] != right[..right.len() - 1] {
            let fault = Fault::shape(
                format!("the shapes {left:?}, {right:?} and the weight {form:?} do not fit"),
                "they must be [.., i], [.., j] and [outputs, i, j], the leading sizes equal",
            );
            return refused("bilinear", fault, &[self, other, weight]);
        }
        let product = Tensor::einsum("...i,oij,...j->...o", &[self, weight, other]);
        match bias {
            Some(bias) => product + bias,
            None => product,
        }
    }

    /// Kronecker's product: every element of this, times all of the other.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let blocks = Tensor::eye(2).kron(&Tensor::from([[1.0, 2.0]]));
    /// assert_eq!(blocks.to_vec::<f32>()?, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn kron(&self, other: &Tensor) -> Tensor {
        let [left, right] = shapes!(self, other);
        let rank = left.len().max(right.len());
        let padded = |shape: &Shape| [&vec![1; rank - shape.len()][..], shape].concat();
        let (left, right) = (padded(&left), padded(&right));
        // Axes of both alternate; then each pair is one.
        let apart = |sizes: &[usize], first: bool| -> Vec<usize> {
            sizes.iter().flat_map(|&size| if first { [size, 1] } else { [1, size] }).collect()
        };
        let joined: Vec<usize> = left.iter().zip(&right).map(|(a, b)| a.saturating_mul(*b)).collect();
        (self.reshape(apart(&left, true)) * other.reshape(apart(&right, false))).reshape(joined)
    }

    /// The sum of the diagonal of the last two axes.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[1.0, 2.0], [3.0, 4.0]]).trace().item()?, 5.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        self.diagonal(0, -2, -1).sum_over(-1)
    }

    /// A square matrix times itself, `power` times; power 0 is the identity, negative powers are those of the inverse.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let fibonacci = Tensor::from([[1.0, 1.0], [1.0, 0.0]]);
    /// assert_eq!(fibonacci.matrix_power(10).to_vec::<f32>()?, [89.0, 55.0, 55.0, 34.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn matrix_power(&self, power: isize) -> Tensor {
        let [shape] = shapes!(self);
        let size = match square(&shape) {
            Ok(size) => size,
            Err(fault) => return refused("matrix_power", fault, &[self]),
        };
        if power == 0 {
            let dtype = match self.dtype() {
                Ok(dtype) => dtype,
                Err(error) => return Tensor::failed(error),
            };
            return Tensor::eye(size).to_dtype(dtype).near(self).expand(&shape[..]);
        }
        let base = if power < 0 { self.inverse() } else { self.clone() };
        let (mut result, mut factor, mut power) = (None, base, power.unsigned_abs());
        loop {
            if power & 1 == 1 {
                result = Some(match result {
                    None => factor.clone(),
                    Some(product) => factor.matmul(&product),
                });
            }
            power >>= 1;
            match result {
                Some(result) if power == 0 => return result,
                _ => factor = factor.matmul(&factor),
            }
        }
    }

    /// `I + A + A²/2! + A³/3! + ...` of square matrices: what `dy/dt = A · y` makes of a start within one unit of time. The greatest
    /// matrix is looked at (on a GPU that waits), since it says how often all are halved before and squared after.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let quarter_turn = Tensor::from([[0.0, -1.0], [1.0, 0.0]]) * std::f64::consts::FRAC_PI_2;
    /// let turned = quarter_turn.matrix_exp().to_vec::<f32>()?;
    /// assert!(turned.iter().zip([0.0, -1.0, 1.0, 0.0]).all(|(x, y)| (x - y).abs() < 1e-6));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "expm")]
    pub fn matrix_exp(&self) -> Tensor {
        let [shape] = shapes!(self);
        let size = match square(&shape) {
            Ok(size) => size,
            Err(fault) => return refused("matrix_exp", fault, &[self]),
        };
        let dtype = match self.dtype() {
            Ok(dtype) if dtype.is_half() => return self.to_dtype(DType::F32).matrix_exp().to_dtype(dtype),
            Ok(dtype) if dtype.is_float() => dtype,
            Ok(dtype) => {
                let fault = Fault::dtype(format!("{dtype} has no fractions"), "cast it to a float with to_dtype");
                return refused("matrix_exp", fault, &[self]);
            }
            Err(error) => return Tensor::failed(error),
        };
        if shape.count() == 0 {
            return self.clone();
        }
        // With this norm, what the series lacks from the power 17 on is below the last digit of f64.
        const NORM: f64 = 0.78;
        let norms = self.detach().abs().sum_over(-2).max_over(-1);
        // Of zeros and of what is not finite the logarithm is no number of halvings.
        let halvings = (norms / NORM).log2().ceil().nan_to_num(0.0, 0.0, 0.0).clamp_min(0.0);
        let most = match halvings.max().item() {
            Ok(most) => most as usize,
            Err(error) => return Tensor::failed(error),
        };
        let of_matrices = |x: &Tensor| x.unsqueeze(-1).unsqueeze(-1);
        let mut power = exponential_series(&(self * of_matrices(&(-&halvings).exp2())), size, dtype);
        for step in 0..most {
            power = if shape.len() == 2 {
                power.matmul(&power)
            } else {
                let goes_on = of_matrices(&halvings.greater(step as f64));
                // What is not squared is not multiplied either: it might overflow, and its gradient be no number.
                let factor = goes_on.choose(&power, 0.0);
                goes_on.choose(factor.matmul(&factor), &power)
            };
        }
        power
    }

    /// The product of several matrices, in the order that multiplies least; the first and the last may be vectors.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (a, b) = (Tensor::from([[1.0, 2.0]]), Tensor::eye(2));
    /// assert_eq!(Tensor::chain(&[&a, &b, &a.t()]).to_vec::<f32>()?, [5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("multi_dot", "chain_matmul"))]
    pub fn chain(matrices: &[&Tensor]) -> Tensor {
        let count = matrices.len();
        let (mut sizes, mut edges) = (Vec::new(), Vec::new());
        for (i, matrix) in matrices.iter().enumerate() {
            let [shape] = shapes!(matrix);
            let (rows, columns) = match *shape {
                [rows, columns] => (rows, columns),
                [size] if i == 0 => (1, size),
                [size] if i + 1 == count => (size, 1),
                _ => {
                    let what = format!("factor {i} has {} axes", shape.len());
                    return refused(
                        "chain",
                        Fault::shape(what, "all factors are matrices; the first and the last may be vectors"),
                        matrices,
                    );
                }
            };
            if edges.last().is_some_and(|&before| before != rows) {
                let what = format!("factor {i} has {rows} rows, the one before it {} columns", edges[i - 1]);
                return refused(
                    "chain",
                    Fault::shape(what, "neighbours must fit: columns of one, rows of the next"),
                    matrices,
                );
            }
            sizes.push(rows as f64);
            edges.push(columns);
        }
        let (Some(&last), Some(first)) = (edges.last(), matrices.first()) else {
            return refused("chain", Fault::value("there are no factors", "give at least one matrix"), matrices);
        };
        if count == 1 {
            return (*first).clone();
        }
        sizes.push(last as f64);
        // cost[i][j], cut[i][j]: the least work for factors i..=j, and after which of them it is cut.
        let (mut cost, mut cut) = (vec![vec![0.0; count]; count], vec![vec![0; count]; count]);
        for length in 1..count {
            for i in 0..count - length {
                let j = i + length;
                cost[i][j] = f64::INFINITY;
                for at in i..j {
                    let work = cost[i][at] + cost[at + 1][j] + sizes[i] * sizes[at + 1] * sizes[j + 1];
                    if work < cost[i][j] {
                        (cost[i][j], cut[i][j]) = (work, at);
                    }
                }
            }
        }
        chained(matrices, &cut, 0, count - 1)
    }
}

/// The exponential series of matrices up to the power 16, by four terms at a time: six products.
#[track_caller]
fn exponential_series(x: &Tensor, size: usize, dtype: DType) -> Tensor {
    let inverse_factorial = |k: usize| 1.0 / (1..=k).map(|factor| factor as f64).product::<f64>();
    let square = x.matmul(x);
    let (cube, fourth) = (square.matmul(x), square.matmul(&square));
    let one = Tensor::eye(size).to_dtype(dtype).near(x);
    let mut sum = &fourth * inverse_factorial(16);
    for k in [12, 8, 4, 0] {
        if k < 12 {
            sum = fourth.matmul(&sum);
        }
        for (power, term) in [&one, x, &square, &cube].into_iter().zip(k..) {
            sum = sum + power * inverse_factorial(term);
        }
    }
    sum
}

/// Factors `first..=last`, cut as the table says.
#[track_caller]
fn chained(matrices: &[&Tensor], cut: &[Vec<usize>], first: usize, last: usize) -> Tensor {
    if first == last {
        return matrices[first].clone();
    }
    let at = cut[first][last];
    chained(matrices, cut, first, at).matmul(&chained(matrices, cut, at + 1, last))
}
