//! Which elements of a buffer a value shows, and in which order.

use super::shape::{MAX_RANK, Shape};
use crate::error::Fault;
use smallvec::SmallVec;

/// Sizes, strides (in elements, may be zero or negative) and the position of the first element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    strides: [isize; MAX_RANK],
    offset: usize,
}

impl Layout {
    /// Row-major order from the start of the buffer.
    #[inline(never)]
    pub fn contiguous(shape: Shape) -> Layout {
        let mut strides = [0; MAX_RANK];
        let mut step = 1isize;
        for axis in (0..shape.len()).rev() {
            strides[axis] = step;
            step *= shape[axis].max(1) as isize;
        }
        Layout { shape, strides, offset: 0 }
    }
    /// A layout from its parts; whoever attaches it to a buffer checks that it stays inside.
    pub fn from_parts(shape: Shape, strides: &[isize], offset: usize) -> Layout {
        let mut all = [0; MAX_RANK];
        all[..strides.len()].copy_from_slice(strides);
        Layout { shape, strides: all, offset }
    }
    /// The shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
    /// The sizes.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.shape
    }
    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    /// Steps, in elements, along each axis.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.strides[..self.rank()]
    }
    /// Position of the first element in the buffer.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }
    /// The number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.shape.count()
    }
    /// Are the elements dense and in row-major order?
    #[inline(never)]
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1isize;
        for axis in (0..self.rank()).rev() {
            let size = self.shape[axis];
            if size == 0 {
                return true;
            }
            if size != 1 && self.strides[axis] != step {
                return false;
            }
            step *= size as isize;
        }
        true
    }
    /// Axes in another order: axis `i` of the result is axis `order[i]` of this.
    pub fn permuted(&self, order: &[usize]) -> Layout {
        let mut result = *self;
        let mut sizes = [1; MAX_RANK];
        for (to, &from) in order.iter().enumerate() {
            sizes[to] = self.shape[from];
            result.strides[to] = self.strides[from];
        }
        result.shape = Shape::new(&sizes[..order.len()]).unwrap_or(self.shape);
        result
    }
    /// Broadcast to `shape`: new axes in front, sizes of 1 repeated with stride 0.
    pub fn expanded(&self, shape: &Shape) -> Result<Layout, Fault> {
        let refuse = || {
            Fault::shape(
                format!("the shape {:?} does not expand to {shape:?}", self.shape),
                "counted from the end, each size must be equal to the wanted one or 1",
            )
        };
        let front = shape.len().checked_sub(self.rank()).ok_or_else(refuse)?;
        let mut strides = [0; MAX_RANK];
        for axis in 0..self.rank() {
            if self.shape[axis] == shape[front + axis] {
                strides[front + axis] = self.strides[axis];
            } else if self.shape[axis] != 1 {
                return Err(refuse());
            }
        }
        Ok(Layout { shape: *shape, strides, offset: self.offset })
    }
    /// The same elements in another shape, where strides allow; `None` where they must be copied.
    ///
    /// Axes that lie in memory like one are joined; then each new axis must fit inside one of the joined ones.
    pub fn reshaped(&self, shape: &Shape) -> Option<Layout> {
        if self.count() == 0 {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(*shape) });
        }
        let mut strides = [0; MAX_RANK];
        let mut groups = self.joined().into_iter().rev();
        let (mut rest, mut step) = groups.next().unwrap_or((1, 1));
        for axis in (0..shape.len()).rev() {
            if rest == 1 && shape[axis] > 1 {
                (rest, step) = groups.next()?;
            }
            if rest % shape[axis] != 0 {
                return None;
            }
            strides[axis] = step;
            rest /= shape[axis];
            step = step.checked_mul(shape[axis] as isize)?;
        }
        Some(Layout { shape: *shape, strides, offset: self.offset })
    }
    /// The axes as (size, stride), without those of size 1, neighbours joined where they lie in memory like one.
    fn joined(&self) -> SmallVec<[(usize, isize); MAX_RANK]> {
        let mut groups: SmallVec<[(usize, isize); MAX_RANK]> = SmallVec::new();
        for (&size, &stride) in self.dims().iter().zip(self.strides()).filter(|(size, _)| **size != 1) {
            match groups.last_mut() {
                Some((outer, step)) if *step == stride * size as isize => (*outer, *step) = (*outer * size, stride),
                _ => groups.push((size, stride)),
            }
        }
        groups
    }
    /// The elements whose positions along `first` and `second` differ by `offset` (counted to the right), as a last axis
    /// in place of both.
    pub fn diagonal(&self, offset: isize, first: usize, second: usize) -> Layout {
        let (rows, columns) = (self.shape[first] as isize, self.shape[second] as isize);
        let (down, right) = if offset < 0 { (offset.saturating_neg(), 0) } else { (0, offset) };
        let length = (rows.saturating_sub(down)).min(columns.saturating_sub(right)).max(0);
        let kept: SmallVec<[usize; MAX_RANK]> =
            (0..self.rank()).filter(|&axis| axis != first && axis != second).collect();
        let mut result = self.permuted(&kept);
        let mut sizes: SmallVec<[usize; MAX_RANK]> = result.dims().into();
        sizes.push(length as usize);
        result.strides[kept.len()] = self.strides[first] + self.strides[second];
        result.shape = Shape::new(&sizes).unwrap_or(result.shape);
        if length > 0 {
            let start = self.offset as isize + down * self.strides[first] + right * self.strides[second];
            result.offset = start as usize;
        }
        result
    }
    /// The given axes backward.
    pub fn flipped(&self, axes: &[usize]) -> Layout {
        let mut result = *self;
        let mut start = self.offset as isize;
        for &axis in axes {
            start += self.strides[axis] * (self.shape[axis].max(1) as isize - 1);
            result.strides[axis] = -self.strides[axis];
        }
        result.offset = start as usize;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reshaped(layout: &Layout, sizes: &[usize]) -> Option<Vec<isize>> {
        layout.reshaped(&Shape::new(sizes).unwrap()).map(|layout| layout.strides().to_vec())
    }

    #[test]
    fn a_reshape_stays_a_view_whenever_strides_allow() {
        let dense = Layout::contiguous(Shape::new(&[2, 3, 4]).unwrap());
        assert_eq!(reshaped(&dense, &[6, 4]), Some(vec![4, 1]));
        assert_eq!(reshaped(&dense, &[24]), Some(vec![1]));
        assert_eq!(reshaped(&dense, &[4, 1, 6]), Some(vec![6, 6, 1]));
        let turned = dense.permuted(&[2, 0, 1]);
        assert_eq!(reshaped(&turned, &[4, 6]), Some(vec![1, 4]));
        assert_eq!(reshaped(&turned, &[2, 2, 6]), Some(vec![2, 1, 4]));
        assert_eq!(reshaped(&turned, &[24]), None);
        assert_eq!(reshaped(&turned, &[8, 3]), None);
        let repeated = Layout::from_parts(Shape::new(&[3, 4]).unwrap(), &[0, 0], 5);
        assert_eq!(reshaped(&repeated, &[2, 6]), Some(vec![0, 0]));
        let single = Layout::contiguous(Shape::new(&[]).unwrap());
        assert_eq!(reshaped(&single, &[1, 1]).map(|strides| strides.len()), Some(2));
        assert_eq!(reshaped(&Layout::contiguous(Shape::new(&[0, 3]).unwrap()), &[3, 0]), Some(vec![1, 1]));
        assert_eq!(reshaped(&dense.flipped(&[0, 1, 2]), &[24]), Some(vec![-1]));
    }

    #[test]
    fn diagonals_stop_at_the_edges() {
        let x = Layout::contiguous(Shape::new(&[3, 4]).unwrap());
        let of = |offset| {
            let layout = x.diagonal(offset, 0, 1);
            (layout.offset(), layout.count())
        };
        assert_eq!([of(0), of(1), of(3), of(-2)], [(0, 3), (1, 3), (3, 1), (8, 1)]);
        assert_eq!(of(4).1 + of(-3).1 + of(isize::MIN).1 + of(isize::MAX).1, 0);
    }
}
