//! Einstein's notation: an equation of letters, lowered to diagonals, sums, permutations and matrix products.

use crate::error::{Fault, Result};
use crate::layout::Shape;
use crate::tensor::{Tensor, refused};

/// An axis: a letter, or one of those that an ellipsis stands for (counted from the end, above all letters).
type Label = u32;

const ELLIPSIS: Label = 1 << 24;

/// The size of each label, by labels; there are few.
#[derive(Default)]
struct Sizes(Vec<(Label, usize)>);

impl Sizes {
    fn get(&self, label: Label) -> Option<usize> {
        self.0.iter().find(|(known, _)| *known == label).map(|(_, size)| *size)
    }
    /// The size that is known of a label, or else this one from now on.
    fn known(&mut self, label: Label, size: usize) -> &mut usize {
        let at = self.0.partition_point(|(known, _)| *known < label);
        if self.0.get(at).is_none_or(|(known, _)| *known != label) {
            self.0.insert(at, (label, size));
        }
        &mut self.0[at].1
    }
}

/// What an equation says about operands of known shapes.
struct Equation {
    operands: Vec<Vec<Label>>,
    result: Vec<Label>,
    sizes: Sizes,
}

/// The labels of one side's term, without its ellipsis, and where the ellipsis stood.
fn term(text: &str) -> Result<(Vec<Label>, Option<usize>), Fault> {
    let (mut labels, mut ellipsis) = (Vec::new(), None);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if ellipsis.replace(labels.len()).is_some() {
                return Err(Fault::value(
                    format!("{text:?} has two ellipses"),
                    "one `...` stands for all axes without a letter",
                ));
            }
            rest = after;
            continue;
        }
        if !next.is_ascii_alphabetic() {
            return Err(Fault::value(
                format!("{next:?} in {text:?} is no letter"),
                "an axis is a letter from a to z or A to Z, `...` stands for any others, `,` separates operands, `->` comes before the result",
            ));
        }
        labels.push(next as Label);
        rest = &rest[next.len_utf8()..];
    }
    Ok((labels, ellipsis))
}

/// Puts the axes of an ellipsis, `count` of them, among the letters.
fn spread((letters, at): (Vec<Label>, Option<usize>), count: usize) -> Vec<Label> {
    let Some(at) = at else { return letters };
    let (before, after) = letters.split_at(at.min(letters.len()));
    let dots = (0..count).rev().map(|from_end| ELLIPSIS + from_end as Label);
    before.iter().copied().chain(dots).chain(after.iter().copied()).collect()
}

/// A label as an error names it.
fn show(label: Label) -> String {
    match char::from_u32(label) {
        Some(letter) if label < ELLIPSIS => letter.to_string(),
        _ => format!("{} from the end of `...`", label - ELLIPSIS + 1),
    }
}

impl Equation {
    fn read(text: &str, shapes: &[Shape]) -> Result<Equation, Fault> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != shapes.len() {
            return Err(Fault::value(
                format!("the equation has {} operands, {} were given", terms.len(), shapes.len()),
                "write one group of letters for each operand, separated by commas",
            ));
        }
        let (mut operands, mut sizes, mut most) = (Vec::new(), Sizes::default(), 0);
        for (i, (text, shape)) in terms.iter().zip(shapes).enumerate() {
            let parsed = term(text)?;
            let letters = parsed.0.len();
            let fits = if parsed.1.is_some() { letters <= shape.len() } else { letters == shape.len() };
            if !fits {
                return Err(Fault::shape(
                    format!("{text:?} names {letters} axes, operand {i} has {}", shape.len()),
                    format!("write one letter for each axis of {shape:?}, or `...` for some of them"),
                ));
            }
            most = most.max(shape.len() - letters);
            let labels = spread(parsed, shape.len() - letters);
            for (axis, (&label, &size)) in labels.iter().zip(shape.iter()).enumerate() {
                if labels[..axis].iter().zip(shape.iter()).any(|(&other, &before)| other == label && before != size) {
                    return Err(Fault::shape(
                        format!("operand {i} repeats {} for axes of different sizes", show(label)),
                        "a repeated letter takes the diagonal, whose axes have the same size",
                    ));
                }
                let known = sizes.known(label, size);
                if *known == 1 {
                    *known = size;
                }
                if size != *known && size != 1 {
                    return Err(Fault::shape(
                        format!(
                            "the axis {} has {known} elements in one operand and {size} in operand {i}",
                            show(label)
                        ),
                        "a letter stands for the same size everywhere (or for 1, which is repeated)",
                    ));
                }
            }
            operands.push(labels);
        }
        let result = match right {
            Some(right) => spread(term(right)?, most),
            // Implicit: what an ellipsis stands for, then the letters that appear once, in alphabetical order.
            None => {
                let once = |label: &Label| operands.iter().flatten().filter(|&other| other == label).count() == 1;
                let dots = (0..most).rev().map(|from_end| ELLIPSIS + from_end as Label);
                let letters = sizes.0.iter().map(|(label, _)| *label);
                dots.chain(letters.filter(|label| *label < ELLIPSIS && once(label))).collect()
            }
        };
        for (i, &label) in result.iter().enumerate() {
            if sizes.get(label).is_none() {
                return Err(Fault::value(
                    format!("the result names {}, which no operand has", show(label)),
                    "every letter behind `->` must stand before it too",
                ));
            }
            if result[..i].contains(&label) {
                return Err(Fault::value(
                    format!("the result names {} twice", show(label)),
                    "name each axis of the result once; diagonal_matrix puts a vector on a diagonal",
                ));
            }
        }
        Ok(Equation { operands, result, sizes })
    }
}

/// A tensor whose axes are labelled, each label once.
struct Term {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Term {
    /// An operand: its diagonals are taken, and axes of 1 that stand for more are dropped.
    #[track_caller]
    fn new(tensor: &Tensor, labels: &[Label], shape: &Shape, sizes: &Sizes) -> Term {
        let (mut tensor, mut labels, mut dims) = (tensor.clone(), labels.to_vec(), shape.to_vec());
        let mut axis = 0;
        while axis < labels.len() {
            let label = labels[axis];
            if let Some(first) = labels[..axis].iter().position(|&other| other == label) {
                // The diagonal becomes the last axis.
                tensor = tensor.diagonal(0, first, axis);
                let size = dims[axis];
                for gone in [axis, first] {
                    labels.remove(gone);
                    dims.remove(gone);
                }
                labels.push(label);
                dims.push(size);
                axis -= 1;
            } else {
                axis += 1;
            }
        }
        for axis in (0..labels.len()).rev() {
            if dims[axis] == 1 && sizes.get(labels[axis]).is_some_and(|size| size != 1) {
                tensor = tensor.squeeze_axes(axis);
                labels.remove(axis);
            }
        }
        Term { tensor, labels }
    }
    /// Summed over the axes that nobody else needs.
    #[track_caller]
    fn summed(self, needed: impl Fn(Label) -> bool) -> Term {
        let gone: Vec<usize> = (0..self.labels.len()).filter(|&axis| !needed(self.labels[axis])).collect();
        if gone.is_empty() {
            return self;
        }
        let tensor = self.tensor.sum_over(&gone[..]);
        Term { tensor, labels: self.labels.into_iter().filter(|&label| needed(label)).collect() }
    }
    /// With its axes in this order.
    #[track_caller]
    fn ordered(&self, labels: &[Label]) -> Tensor {
        if self.labels == labels {
            return self.tensor.clone();
        }
        let order: Vec<usize> =
            labels.iter().filter_map(|label| self.labels.iter().position(|other| other == label)).collect();
        self.tensor.permute(&order[..])
    }
    /// The product of two, summed over the shared labels that are not `needed` any more.
    #[track_caller]
    fn contract(&self, other: &Term, needed: impl Fn(Label) -> bool, sizes: &Sizes) -> Term {
        let pick = |term: &Term, wanted: &dyn Fn(Label) -> bool| -> Vec<Label> {
            term.labels.iter().copied().filter(|&label| wanted(label)).collect()
        };
        let both = |label: Label| self.labels.contains(&label) && other.labels.contains(&label);
        let batch = pick(self, &|label| both(label) && needed(label));
        let inner = pick(self, &|label| both(label) && !needed(label));
        let rows = pick(self, &|label| !both(label));
        let columns = pick(other, &|label| !both(label));
        let dims =
            |labels: &[Label]| -> Vec<usize> { labels.iter().map(|&label| sizes.get(label).unwrap_or(1)).collect() };
        let count = |labels: &[Label]| dims(labels).iter().product::<usize>();
        let labels = [&batch[..], &rows, &columns].concat();
        let left = self.ordered(&[&batch[..], &rows, &inner].concat());
        let right = other.ordered(&[&batch[..], &inner, &columns].concat());
        if inner.is_empty() {
            let ones = vec![1; columns.len()];
            let left = left.reshape([dims(&batch), dims(&rows), ones].concat());
            let right = right.reshape([dims(&batch), vec![1; rows.len()], dims(&columns)].concat());
            return Term { tensor: left * right, labels };
        }
        // A batch stays in separate axes, so that nothing is copied, as long as a tensor can have that many.
        let front = if batch.len() + 2 <= crate::layout::MAX_RANK { dims(&batch) } else { vec![count(&batch)] };
        let left = left.reshape([&front[..], &[count(&rows), count(&inner)]].concat());
        let right = right.reshape([&front[..], &[count(&inner), count(&columns)]].concat());
        Term { tensor: left.matmul(&right).reshape(dims(&labels)), labels }
    }
}

/// Which two of the terms are multiplied next: those whose product costs least.
fn cheapest(terms: &[Term], sizes: &Sizes) -> (usize, usize) {
    let mut best = (f64::INFINITY, (0, 1));
    for i in 0..terms.len() {
        for j in i + 1..terms.len() {
            let new = terms[j].labels.iter().filter(|label| !terms[i].labels.contains(label));
            let cost =
                terms[i].labels.iter().chain(new).filter_map(|&label| sizes.get(label)).map(|s| s as f64).product();
            if cost < best.0 {
                best = (cost, (i, j));
            }
        }
    }
    best.1
}

impl Tensor {
    /// Sums of products after Einstein: each axis gets a letter, letters that the result does not name are summed over.
    ///
    /// - `"ij,jk->ik"` is the matrix product, `"bij,bjk->bik"` a batch of them, `"i,j->ij"` the outer product.
    /// - A letter repeated in one operand takes the diagonal: `"ii->i"`, and `"ii->"` is the trace.
    /// - `...` stands for all axes without a letter; they broadcast.
    /// - Without `->` the result has the letters that appear once, in alphabetical order.
    ///
    /// Any number of operands: two at a time, cheapest first, each as one matrix product.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let a = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// let v = Tensor::from([1.0, -1.0]);
    /// assert_eq!(Tensor::einsum("ij,j->i", &[&a, &v]).to_vec::<f32>()?, [-1.0, -1.0]);
    /// assert_eq!(Tensor::einsum("ii->", &[&a]).item()?, 5.0);
    /// assert_eq!(Tensor::einsum("ij,jk,k", &[&a, &a, &v]).to_vec::<f32>()?, [-3.0, -7.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Tensor {
        let mut shapes = Vec::new();
        for operand in operands {
            match operand.shape() {
                Ok(shape) => shapes.push(shape),
                Err(error) => return Tensor::failed(error),
            }
        }
        let Equation { operands: labels, result, sizes } = match Equation::read(equation, &shapes) {
            Ok(equation) => equation,
            Err(fault) => return refused("einsum", fault, operands),
        };
        let mut terms = Vec::new();
        for ((operand, labels), shape) in operands.iter().zip(&labels).zip(&shapes) {
            terms.push(Term::new(operand, labels, shape, &sizes));
        }
        while let Some(last) = terms.pop() {
            if terms.is_empty() {
                return last.summed(|label| result.contains(&label)).ordered(&result);
            }
            terms.push(last);
            let (i, j) = cheapest(&terms, &sizes);
            let (right, left) = (terms.remove(j), terms.remove(i));
            let elsewhere =
                |label: Label| result.contains(&label) || terms.iter().any(|term| term.labels.contains(&label));
            let of_right = right.labels.clone();
            let left = left.summed(|label| elsewhere(label) || of_right.contains(&label));
            let of_left = left.labels.clone();
            let right = right.summed(|label| elsewhere(label) || of_left.contains(&label));
            let product = left.contract(&right, elsewhere, &sizes);
            terms.push(product);
        }
        refused("einsum", Fault::value("there are no operands", "give at least one tensor"), operands)
    }
}
