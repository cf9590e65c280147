//! Categories: names and, for each row, the number of its name.

use crate::tensor::Tensor;

/// The categories of a column and the one each row has; [`Table::categories`](super::Table::categories) makes them.
///
/// ```
/// use chainrule::data::Table;
/// let kinds = Table::parse("kind\nrose\ntulip\nrose\n")?.categories("kind")?;
/// assert_eq!(kinds.name(1), Some("tulip"));
/// assert_eq!(kinds.one_hot().dims()?, [3, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Categories {
    names: Vec<String>,
    codes: Tensor,
}

impl Categories {
    pub(super) fn new(names: Vec<String>, codes: Tensor) -> Categories {
        Categories { names, codes }
    }
    /// The names, by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// The name of a category.
    pub fn name(&self, code: usize) -> Option<&str> {
        self.names.get(code).map(String::as_str)
    }
    /// The number of each row's category `[rows]`, i64.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }
    /// For each row a one at its category's place `[rows, categories]`, f32.
    #[track_caller]
    pub fn one_hot(&self) -> Tensor {
        self.codes.one_hot(self.names.len()).to_dtype(crate::layout::DType::F32)
    }
}
