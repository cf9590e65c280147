//! Vectors put together: cross products, combinations, powers.

use crate::error::Fault;
use crate::layout::Axis;
use crate::tensor::{Tensor, refused};

/// More combinations than this are refused before anything is made for them.
const MOST: usize = 1 << 27;

impl Tensor {
    /// The cross product of vectors of three elements, which lie along an axis; the others broadcast.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (x, y) = (Tensor::from([1.0, 0.0, 0.0]), Tensor::from([0.0, 1.0, 0.0]));
    /// assert_eq!(x.cross(&y, -1).to_vec::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn cross(&self, other: &Tensor, axis: impl Axis) -> Tensor {
        let axis = axis.number();
        for side in [self, other] {
            match side.size(axis) {
                Ok(3) => {}
                Ok(size) => {
                    let what = format!("the vectors have {size} elements along axis {axis}");
                    let fault = Fault::shape(what, "a cross product is of vectors of 3 elements");
                    return refused("cross", fault, &[self, other]);
                }
                Err(error) => return Tensor::failed(error),
            }
        }
        self.roll(-1, axis) * other.roll(-2, axis) - self.roll(-2, axis) * other.roll(-1, axis)
    }

    /// All choices of one element from each vector, as rows; the last vector changes fastest.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let pairs = Tensor::cartesian_product(&[&Tensor::from([1, 2]), &Tensor::from([3, 4])]);
    /// assert_eq!(pairs, Tensor::from([[1, 3], [1, 4], [2, 3], [2, 4]]));
    /// ```
    #[track_caller]
    #[doc(alias("cartesian_prod", "product"))]
    pub fn cartesian_product(vectors: &[&Tensor]) -> Tensor {
        let mut sizes = Vec::new();
        for vector in vectors {
            match vector.shape() {
                Ok(shape) if shape.len() == 1 => sizes.push(shape[0]),
                Ok(shape) => {
                    let what = format!("an operand has {} axes", shape.len());
                    let fault = Fault::shape(what, "all are vectors: make them so with flatten");
                    return refused("cartesian_product", fault, vectors);
                }
                Err(error) => return Tensor::failed(error),
            }
        }
        if sizes.is_empty() || sizes.len() > 7 {
            let fault = Fault::value(format!("{} vectors are given", sizes.len()), "give 1 to 7");
            return refused("cartesian_product", fault, vectors);
        }
        let mut columns = Vec::new();
        for (axis, vector) in vectors.iter().enumerate() {
            let mut beside = vec![1; sizes.len()];
            beside[axis] = sizes[axis];
            columns.push(vector.reshape(&beside[..]).expand(&sizes[..]).reshape([-1]));
        }
        Tensor::stack(&columns, -1)
    }

    /// All combinations of `count` elements of a vector, in the order in which they stand, as rows. With `repeat` an element
    /// may be chosen again.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([1, 2, 3]);
    /// assert_eq!(x.combinations(2, false), Tensor::from([[1, 2], [1, 3], [2, 3]]));
    /// assert_eq!(x.combinations(2, true).dims()?, [6, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "combinations_with_replacement")]
    pub fn combinations(&self, count: usize, repeat: bool) -> Tensor {
        let size = match self.shape() {
            Ok(shape) if shape.len() == 1 => shape[0],
            Ok(shape) => {
                let what = format!("the input has {} axes", shape.len());
                return refused("combinations", Fault::shape(what, "it is a vector: use flatten"), &[self]);
            }
            Err(error) => return Tensor::failed(error),
        };
        let rows = choices(size, count, repeat);
        if rows * count as f64 > MOST as f64 {
            let what = format!("{rows:.0} combinations of {count} of {size} elements");
            return refused("combinations", Fault::memory(what, "choose fewer, or from fewer"), &[self]);
        }
        let rows = rows as usize;
        let mut places: Vec<i64> = Vec::with_capacity(rows * count);
        let mut chosen: Vec<usize> =
            (0..if rows == 0 { 0 } else { count }).map(|i| if repeat { 0 } else { i }).collect();
        for _ in 0..rows {
            places.extend(chosen.iter().map(|&place| place as i64));
            // The last place that can go up does; those behind it follow as low as they can.
            let highest = |i: usize| if repeat { size - 1 } else { size + i - count };
            if let Some(at) = (0..count).rev().find(|&i| chosen[i] < highest(i)) {
                chosen[at] += 1;
                for i in at + 1..count {
                    chosen[i] = chosen[i - 1] + usize::from(!repeat);
                }
            }
        }
        match Tensor::from_vec(places, [rows, count]) {
            Ok(places) => self.take_slices(0, &places.near(self)),
            Err(error) => Tensor::failed(error),
        }
    }

    /// Powers of a vector's elements as rows of `columns` elements: descending from `columns - 1` to 0, or ascending.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([2.0, 3.0]);
    /// assert_eq!(x.vandermonde(3, true).to_vec::<f32>()?, [1.0, 2.0, 4.0, 1.0, 3.0, 9.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "vander")]
    pub fn vandermonde(&self, columns: usize, ascending: bool) -> Tensor {
        let size = match self.shape() {
            Ok(shape) if shape.len() == 1 => shape[0],
            Ok(shape) => {
                let what = format!("the input has {} axes", shape.len());
                return refused("vandermonde", Fault::shape(what, "it is a vector: use flatten"), &[self]);
            }
            Err(error) => return Tensor::failed(error),
        };
        let ones = self.ones_like().unsqueeze(1);
        let factors = match columns {
            0 => ones.narrow(1, 0, 0),
            1 => ones,
            _ => Tensor::cat(&[&ones, &self.unsqueeze(1).expand([size, columns - 1])], 1),
        };
        let powers = factors.cumulative_prod(1);
        if ascending { powers } else { powers.flip(1) }
    }

    /// Each slice along an axis whose norm of this order is above `most`, scaled down to it.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let rows = Tensor::from([[3.0, 4.0], [0.3, 0.4]]).renormalize(2.0, 0, 1.0).to_vec::<f32>()?;
    /// assert!((rows[0] - 0.6).abs() < 1e-5 && rows[2] == 0.3);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias("renorm", "max_norm"))]
    pub fn renormalize(&self, order: f64, axis: impl Axis, most: f64) -> Tensor {
        let axis = axis.number();
        let rank = match self.size(axis) {
            Ok(_) => self.rank().unwrap_or(0),
            Err(error) => return Tensor::failed(error),
        };
        if !(order > 0.0 && most >= 0.0) {
            let what = format!("a norm of order {order} and at most {most}");
            return refused("renormalize", Fault::value(what, "the order is above 0, the most 0 or more"), &[self]);
        }
        let own = if axis < 0 { axis + rank as isize } else { axis };
        let others: Vec<isize> = (0..rank as isize).filter(|&other| other != own).collect();
        let norms = if others.is_empty() { self.abs() } else { self.vector_norm_keep(order, &others[..]) };
        let factors = norms.greater(most).choose(most / (&norms + 1e-7), 1.0);
        self * factors
    }
}

/// How many combinations there are.
fn choices(size: usize, count: usize, repeat: bool) -> f64 {
    if count > size && (!repeat || size == 0) {
        return 0.0;
    }
    if count > MOST {
        return f64::INFINITY;
    }
    let from = if repeat { (size + count).saturating_sub(1) } else { size };
    let mut choices = 1.0;
    for i in 0..count.min(from - count) {
        choices = choices * (from - i) as f64 / (i + 1) as f64;
        if choices > MOST as f64 {
            break;
        }
    }
    choices.round()
}
