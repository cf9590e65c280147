//! Where in a model something stands: a list on the stack, written out only where its text is wanted.

use std::fmt;

/// A place in a model, as in the names of PyTorch's `state_dict`: `encoder.layers.2.fc1.weight`.
///
/// ```
/// use chainrule::nn::Path;
/// let layers = Path::ROOT.child("layers");
/// assert_eq!(layers.item(2).child("weight").to_string(), "layers.2.weight");
/// let weights = Path::ROOT.child("weight_ih_l{}");
/// assert_eq!(weights.item(1).to_string(), "weight_ih_l1");
/// ```
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    /// A name; one with `{}` is a pattern for the items below it. An empty one is not written.
    Name(&'a str),
    Item(usize),
}

impl<'a> Path<'a> {
    /// The model itself: an empty path.
    pub const ROOT: Path<'static> = Path { parent: None, part: Part::Name("") };

    /// A field of what stands here. A name with `{}` says how the items of a list are called; an empty one adds nothing.
    pub fn child<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path { parent: Some(self), part: Part::Name(name) }
    }
    /// An item of the list that stands here.
    pub fn item(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), part: Part::Item(index) }
    }
    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut here = Some(self);
        while let Some(path) = here {
            parts.push(path.part);
            here = path.parent;
        }
        parts.reverse();
        parts
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut parts = self.parts().into_iter().peekable();
        while let Some(part) = parts.next() {
            let piece = match (part, parts.peek()) {
                (Part::Name(pattern), Some(&Part::Item(index))) if pattern.contains("{}") => {
                    parts.next();
                    pattern.replace("{}", &index.to_string())
                }
                (Part::Name(name), _) => name.to_string(),
                (Part::Item(index), _) => index.to_string(),
            };
            if !piece.is_empty() && !text.is_empty() {
                text.push('.');
            }
            text.push_str(&piece);
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

/// Does a pattern name this place? `*` stands for any text; a pattern without it names a place and all below it.
///
/// ```
/// use chainrule::nn::matches;
/// assert!(matches("encoder", "encoder.layers.0.weight") && !matches("encoder", "encoders.weight"));
/// assert!(matches("*.bias", "layers.0.bias") && !matches("*.bias", "layers.0.weight"));
/// ```
pub fn matches(pattern: &str, path: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() || rest.starts_with('.') || pattern.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Path, matches};

    #[test]
    fn empty_names_add_nothing() {
        let root = Path::ROOT;
        let flat = root.child("");
        assert_eq!(flat.item(0).child("weight").to_string(), "0.weight");
        let (list, pattern) = (root.child("layers"), "cell_{}_x");
        let item = list.item(3);
        assert_eq!(item.child(pattern).item(4).to_string(), "layers.3.cell_4_x");
        assert_eq!(item.child(pattern).to_string(), "layers.3.cell_{}_x");
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("", "weight", true),
            ("*", "a.b", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "ace", true),
            ("a*ce*e", "ace", false),
            ("*.norm.*", "layers.0.norm.weight", true),
            ("layers.1", "layers.10.weight", false),
            ("layers.1", "layers.1.weight", true),
            ("weight", "weight", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
    }
}
