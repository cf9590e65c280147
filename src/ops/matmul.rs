//! Matrix products. Their gradients are matrix products again, of the same operation with its operands turned.

use crate::device::matmul::{Joined, Matmul as _};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Shape;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

/// `alpha · A · B`, each operand turned first where its flag says so: turning is a matter of strides, nothing is copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matmul {
    pub(super) turn_left: bool,
    pub(super) turn_right: bool,
    pub(super) alpha: f64,
}

impl Matmul {
    pub(super) const PLAIN: Matmul = Matmul { turn_left: false, turn_right: false, alpha: 1.0 };

    /// The gradient of an operand with two axes or more, from the gradient `g` of the product.
    pub(super) fn gradient_of(self, which: usize, g: &Tensor, other: &Tensor) -> Tensor {
        let Matmul { turn_left, turn_right, alpha } = self;
        match (which, turn_left, turn_right) {
            // C = A·B: ∂A = ∂C · Bᵀ, and its transpose where A was turned.
            (0, false, turn) => apply(Matmul { turn_left: false, turn_right: !turn, alpha }, [g, other]),
            (0, true, turn) => apply(Matmul { turn_left: turn, turn_right: true, alpha }, [other, g]),
            // ∂B = Aᵀ · ∂C, and its transpose where B was turned.
            (_, turn, false) => apply(Matmul { turn_left: !turn, turn_right: false, alpha }, [other, g]),
            (_, turn, true) => apply(Matmul { turn_left: true, turn_right: turn, alpha }, [g, other]),
        }
    }
}

/// The last two axes exchanged.
fn turned(x: &Value, turn: bool) -> Result<Value, Fault> {
    let rank = x.rank();
    if !turn || rank < 2 {
        return Ok(x.clone());
    }
    let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
    order.swap(rank - 1, rank - 2);
    x.with_layout(x.layout().permuted(&order[..rank]))
}

/// A vector as a matrix of one row, or of one column.
fn raised(x: &Value, column: bool) -> Result<Value, Fault> {
    match *x.dims() {
        [] => Err(Fault::shape(
            "an operand is a single number",
            "both need at least one axis; to scale a tensor by a number, write `a * b`",
        )),
        [size] => {
            let step = x.layout().strides()[0];
            let (sizes, steps) = if column { ([size, 1], [step, 1]) } else { ([1, size], [size as isize, step]) };
            x.with_layout(crate::layout::Layout::from_parts(Shape::new(&sizes)?, &steps, x.layout().offset()))
        }
        _ => Ok(x.clone()),
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let left = turned(&raised(inputs[0], false)?, self.turn_left)?;
        let right = turned(&raised(inputs[1], true)?, self.turn_right)?;
        let joined = Joined { alpha: self.alpha, ..Joined::default() };
        let product = on!(left.device(), matmul(&left, &right, joined))?;
        // What was added to make a matrix of a vector goes again.
        let dims = product.dims();
        let (batch, [m, n]) = dims.split_at(dims.len() - 2) else {
            return Err(Fault::defect("a product of fewer than two axes"));
        };
        let mut sizes: smallvec::SmallVec<[usize; 8]> = batch.into();
        if inputs[0].rank() > 1 {
            sizes.push(*m);
        }
        if inputs[1].rank() > 1 {
            sizes.push(*n);
        }
        if sizes.len() == dims.len() {
            return one(product);
        }
        one(product.with_layout(crate::layout::Layout::contiguous(Shape::new(&sizes)?))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (left, right) = (call.dims(0), call.dims(1));
        let mut g = arriving[0].clone();
        if right.len() == 1 {
            g = g.unsqueeze(-1);
        }
        if left.len() == 1 {
            g = g.unsqueeze(-2);
        }
        let mut other = call.input(1 - which);
        if call.dims(1 - which).len() == 1 {
            other = other.unsqueeze(if which == 0 { 1 } else { 0 });
        }
        // One right side for a whole batch of left ones: its gradient is one product over all their rows.
        if which == 1 && right.len() == 2 && left.len() > 2 && !self.turn_left {
            let (rows, columns) = (left[..left.len() - 1].iter().product::<usize>(), call.output_dims(0));
            other = other.reshape([rows, left[left.len() - 1]]);
            g = g.reshape([rows, columns[columns.len() - 1]]);
        }
        let gradient = self.gradient_of(which, &g, &other);
        if which == 1 && right.len() == 1 { gradient.squeeze_axes(-1) } else { gradient }
    }
    fn saves(&self, which: usize) -> Saves {
        Saves::input(1 - which)
    }
    fn rule(&self, which: usize) -> &'static str {
        if which == 0 { "∂L/∂A = ∂L/∂C · Bᵀ" } else { "∂L/∂B = Aᵀ · ∂L/∂C" }
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

/// `beta · start + alpha · A · B` in one pass.
#[derive(Clone, Copy, Debug)]
struct AddMatmul {
    alpha: f64,
    beta: f64,
}

impl Op for AddMatmul {
    fn name(&self) -> &'static str {
        "add_matmul"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let [start, left, right] = inputs else { return Err(Fault::defect("three operands were expected")) };
        for operand in [left, right] {
            if operand.rank() < 2 {
                return Err(Fault::shape(
                    format!("a factor has {} axes", operand.rank()),
                    "both factors need two axes or more: add one with unsqueeze",
                ));
            }
        }
        if start.dtype() != left.dtype() {
            return Err(Fault::dtype(
                format!("the element types differ: {} and {}", start.dtype(), left.dtype()),
                format!("convert one of them, for example with to_dtype(DType::{:?})", left.dtype()),
            ));
        }
        // Times zero it is not read: what is not a number in it does not matter.
        let started = if self.beta == 0.0 { None } else { Some((*start, self.beta)) };
        let joined = Joined { alpha: self.alpha, start: started, ..Joined::default() };
        let product = on!(left.device(), matmul(left, right, joined))?;
        start.layout().expanded(product.shape())?;
        one(product)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        match which {
            0 => &arriving[0] * self.beta,
            _ => {
                let product = Matmul { alpha: self.alpha, ..Matmul::PLAIN };
                product.gradient_of(which - 1, &arriving[0], &call.input(3 - which))
            }
        }
    }
    fn saves(&self, which: usize) -> Saves {
        match which {
            0 => Saves::NONE,
            _ => Saves::input(3 - which),
        }
    }
    fn rule(&self, which: usize) -> &'static str {
        ["∂L/∂S = β · ∂L/∂C", "∂L/∂A = α · ∂L/∂C · Bᵀ", "∂L/∂B = α · Aᵀ · ∂L/∂C"][which.min(2)]
    }
    fn roles(&self) -> &'static [&'static str] {
        &["start", "left", "right"]
    }
}

impl Tensor {
    /// The matrix product, `C[i, j] = Σₚ A[i, p] · B[p, j]`.
    ///
    /// - Two matrices: `[m, k] · [k, n] = [m, n]`.
    /// - More axes: a batch of matrices in the last two; the axes before them broadcast.
    /// - A vector on the left is a row, on the right a column, and its axis is gone in the result; two vectors give their
    ///   dot product.
    ///
    /// Views (transposed, sliced, expanded) are read as they are. Integers wrap; bf16 and f16 are summed in f32.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// let b = Tensor::from([[0.0, 1.0], [1.0, 0.0]]);
    /// assert_eq!(a.matmul(&b).to_vec::<f32>()?, [2.0, 1.0, 4.0, 3.0]);
    /// assert_eq!(a.matmul(&Tensor::from([1.0, 1.0])).to_vec::<f32>()?, [3.0, 7.0]);
    /// assert_eq!(Tensor::zeros([5, 1, 2, 3]).matmul(&Tensor::zeros([4, 3, 6])).dims()?, [5, 4, 2, 6]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("mm", "bmm", "mv", "dot"))]
    pub fn matmul(&self, right: &Tensor) -> Tensor {
        apply(Matmul::PLAIN, [self, right])
    }

    /// `beta · self + alpha · left · right`, in one pass; `self` broadcasts to the product. With `beta` 0 it is not read.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let start = Tensor::from([10.0, 20.0]);
    /// let (a, b) = (Tensor::from([[1.0, 2.0]]), Tensor::eye(2));
    /// assert_eq!(start.add_matmul(&a, &b, 3.0, 0.5).to_vec::<f32>()?, [8.0, 16.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("addmm", "baddbmm", "addmv", "addr"))]
    pub fn add_matmul(&self, left: &Tensor, right: &Tensor, alpha: f64, beta: f64) -> Tensor {
        apply(AddMatmul { alpha, beta }, [self, left, right])
    }
}
