//! What happens to a finished piece of C, while it is still in the first-level cache.

use crate::layout::Element;
use std::ops::Add;

/// The last touch on C. `Sync`, since pieces are finished by several threads.
pub(crate) trait Epilogue<T>: Sync {
    /// Changes `values`, which are C's row `row` from column `column` on. Called once for every element.
    fn finish(&self, row: usize, column: usize, values: &mut [T]);
    /// One number for each of C's columns, where to add them is all there is to do: tiles do it on their way out.
    fn per_column(&self) -> Option<&[T]> {
        None
    }
    /// Is there nothing to do?
    fn is_nothing(&self) -> bool {
        false
    }
}

/// Leaves C as it is.
pub(crate) struct Nothing;

impl<T> Epilogue<T> for Nothing {
    fn finish(&self, _: usize, _: usize, _: &mut [T]) {}
    fn is_nothing(&self) -> bool {
        true
    }
}

/// Adds one number per column: the bias of a linear layer.
pub(crate) struct PerColumn<'a, T>(pub(crate) &'a [T]);

impl<T: Element + Add<Output = T>> Epilogue<T> for PerColumn<'_, T> {
    fn finish(&self, _: usize, column: usize, values: &mut [T]) {
        for (value, &bias) in values.iter_mut().zip(&self.0[column..]) {
            *value = *value + bias;
        }
    }
    fn per_column(&self) -> Option<&[T]> {
        Some(self.0)
    }
}
