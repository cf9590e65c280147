//! Inline sizes and what two of them make together.

use crate::error::Fault;
use std::fmt;
use std::ops::Deref;

/// The most axes a tensor can have.
pub const MAX_RANK: usize = 8;

/// Up to eight sizes, held inline.
///
/// ```
/// use chainrule::Shape;
/// let shape = Shape::new(&[2, 3])?;
/// assert_eq!(&shape[..], &[2, 3]);
/// assert_eq!(shape.count(), 6);
/// # Ok::<(), chainrule::Fault>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    sizes: [usize; MAX_RANK],
    count: usize,
}

impl Shape {
    /// The sizes; more than [`MAX_RANK`] of them, or more elements than an address can count, are a fault.
    pub fn new(sizes: &[usize]) -> Result<Shape, Fault> {
        if sizes.len() > MAX_RANK {
            return Err(Fault::shape(
                format!("{} axes", sizes.len()),
                format!("a tensor has at most {MAX_RANK} axes: join some with reshape or flatten"),
            ));
        }
        // Elements are counted in isize, since strides may be negative; zero sizes do not hide an absurd one.
        let mut reach = 1usize;
        for &size in sizes {
            reach = reach.checked_mul(size.max(1)).filter(|&c| c <= isize::MAX as usize / 8).ok_or_else(|| {
                Fault::memory(format!("the sizes {sizes:?} hold more elements than memory can"), "check the sizes")
            })?;
        }
        let count = if sizes.contains(&0) { 0 } else { reach };
        let mut shape = Shape { rank: sizes.len() as u8, sizes: [1; MAX_RANK], count };
        shape.sizes[..sizes.len()].copy_from_slice(sizes);
        Ok(shape)
    }
    /// The number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }
    /// The shape that both broadcast to, by NumPy's rule: sizes align at the end and are equal or 1.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape, Fault> {
        let rank = self.len().max(other.len());
        let mut sizes = [1; MAX_RANK];
        for back in 1..=rank {
            let of = |s: &Shape| if back <= s.len() { s[s.len() - back] } else { 1 };
            let (a, b) = (of(self), of(other));
            sizes[rank - back] = match (a, b) {
                (a, b) if a == b || b == 1 => a,
                (1, b) => b,
                _ => {
                    return Err(Fault::shape(
                        format!("the shapes {self:?} and {other:?} do not broadcast"),
                        format!(
                            "counted from the end, sizes must be equal or 1; the {} differ: {a} and {b}",
                            if back == 1 { "last sizes".to_string() } else { format!("sizes {back} from the end") }
                        ),
                    ));
                }
            };
        }
        Shape::new(&sizes[..rank])
    }
}

/// The shape of a single number.
impl Default for Shape {
    fn default() -> Shape {
        Shape { rank: 0, sizes: [1; MAX_RANK], count: 1 }
    }
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.sizes[..self.rank as usize]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
