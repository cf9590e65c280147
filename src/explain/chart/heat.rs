//! Numbers in rows and columns, as shades.

use super::{Anchor, Picture, cut, short, text, width_of};
use std::fmt::Write;

/// A table of numbers as shades of blue, each with its number where there is room: a confusion matrix.
///
/// ```
/// use chainrule::explain::chart::HeatMap;
/// let map = HeatMap::new("Mistakes", &[vec![9.0, 1.0], vec![0.0, 10.0]])
///     .with_names(["cat", "dog"], ["cat", "dog"])
///     .with_axes("said", "meant");
/// assert!(map.picture().svg().contains("cat"));
/// ```
#[derive(Clone, Debug)]
pub struct HeatMap {
    title: String,
    rows: Vec<Vec<f64>>,
    row_names: Vec<String>,
    column_names: Vec<String>,
    across: String,
    down: String,
    shades: Option<Vec<Vec<f64>>>,
}

impl HeatMap {
    /// These rows of numbers, the largest of all the darkest.
    pub fn new(title: impl Into<String>, rows: &[Vec<f64>]) -> HeatMap {
        HeatMap {
            title: title.into(),
            rows: rows.to_vec(),
            row_names: Vec::new(),
            column_names: Vec::new(),
            across: String::new(),
            down: String::new(),
            shades: None,
        }
    }
    /// What the rows and the columns are called.
    pub fn with_names<R: Into<String>, C: Into<String>>(
        self,
        rows: impl IntoIterator<Item = R>,
        columns: impl IntoIterator<Item = C>,
    ) -> HeatMap {
        let row_names = rows.into_iter().map(Into::into).collect();
        HeatMap { row_names, column_names: columns.into_iter().map(Into::into).collect(), ..self }
    }
    /// What the axes show: the one across, the one down.
    pub fn with_axes(self, across: impl Into<String>, down: impl Into<String>) -> HeatMap {
        HeatMap { across: across.into(), down: down.into(), ..self }
    }
    /// How dark each cell is, between 0 and 1, instead of by its number.
    pub fn with_shades(self, shades: &[Vec<f64>]) -> HeatMap {
        HeatMap { shades: Some(shades.to_vec()), ..self }
    }
    fn shade(&self, row: usize, column: usize, largest: f64) -> f64 {
        let number = match &self.shades {
            Some(shades) => shades.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0.0),
            None => self.rows.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0.0) / largest,
        };
        if number.is_nan() { 0.0 } else { number.clamp(0.0, 1.0) }
    }
    /// The map as it is drawn.
    pub fn picture(&self) -> Picture {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let count = columns.max(self.rows.len()).max(1) as f64;
        let numbers = || self.rows.iter().flatten().filter(|number| number.is_finite());
        let largest = numbers().fold(0.0, |a: f64, b| a.max(*b));
        let longest = numbers().map(|number| number_text(*number).len()).max().unwrap_or(1) as f64;
        let cell = (460.0 / count).clamp(5.0, 56.0);
        // A number that fits its cell is written, in letters that can be read.
        let letters = (cell * 0.82 / (longest * super::LETTER)).min(cell * 0.4).min(14.0);
        let names = (cell * 0.85).min(12.5);
        let every = if names < 7.0 { (9.0 / cell).ceil() as usize } else { 1 };
        let name_size = names.max(8.0);
        let name = |list: &[String], at: usize| list.get(at).map(|name| cut(name, 18));

        let wide = |list: &[String]| list.iter().map(|name| width_of(&cut(name, 18), name_size)).fold(0.0, f64::max);
        let left = 18.0 + wide(&self.row_names) + if self.down.is_empty() { 6.0 } else { 28.0 };
        // Names wider than their columns stand upright.
        let turned = wide(&self.column_names) > cell - 4.0;
        let above = if turned { wide(&self.column_names) + 8.0 } else { name_size + 8.0 };
        let mut top = if self.title.is_empty() { 12.0 } else { 40.0 };
        let mut body = String::new();
        if !self.title.is_empty() {
            text(&mut body, "ink", (left, 26.0), 15.0, Anchor::Start, " font-weight=\"600\"", &self.title);
        }
        let (middle, right) = (left + columns as f64 * cell / 2.0, left + columns as f64 * cell);
        if !self.across.is_empty() {
            text(&mut body, "ink", (middle, top + 14.0), 12.5, Anchor::Middle, "", &self.across);
            top += 22.0;
        }
        for column in (0..columns).step_by(every) {
            let Some(name) = name(&self.column_names, column) else { continue };
            let x = left + (column as f64 + 0.5) * cell;
            let y = top + above - 6.0;
            if turned {
                let x = x + name_size * 0.35;
                let turn = format!(" transform=\"rotate(-90 {} {})\"", short(x), short(y));
                text(&mut body, "quiet", (x, y), name_size, Anchor::Start, &turn, &name);
            } else {
                text(&mut body, "quiet", (x, y), name_size, Anchor::Middle, "", &name);
            }
        }
        top += above;
        for (at, row) in self.rows.iter().enumerate() {
            let y = top + at as f64 * cell;
            if let Some(name) = name(&self.row_names, at).filter(|_| at % every == 0) {
                text(
                    &mut body,
                    "quiet",
                    (left - 8.0, y + cell / 2.0 + name_size * 0.35),
                    name_size,
                    Anchor::End,
                    "",
                    &name,
                );
            }
            for (column, number) in row.iter().enumerate() {
                let x = left + column as f64 * cell;
                let shade = self.shade(at, column, largest.max(f64::MIN_POSITIVE));
                let [x_text, y_text, size] = [x + 0.5, y + 0.5, cell - 1.0].map(short);
                let _ = write!(
                    body,
                    "<rect x=\"{x_text}\" y=\"{y_text}\" width=\"{size}\" height=\"{size}\" rx=\"{}\" fill=\"#2f6fb5\" \
                     fill-opacity=\"{:.3}\"/>",
                    short((cell * 0.06).min(3.0)),
                    0.05 + 0.95 * shade
                );
                if letters < 6.5 || *number == 0.0 {
                    continue;
                }
                let place = (x + cell / 2.0, y + cell / 2.0 + letters * 0.35);
                // On a dark shade white is read on any page.
                let (class, extra) = if shade > 0.5 { ("on", " style=\"fill:#ffffff\"") } else { ("ink", "") };
                text(
                    &mut body,
                    class,
                    place,
                    (letters * 10.0).round() / 10.0,
                    Anchor::Middle,
                    extra,
                    &number_text(*number),
                );
            }
        }
        let bottom = top + self.rows.len() as f64 * cell;
        if !self.down.is_empty() {
            let y = (top + bottom) / 2.0;
            let turn = format!(" transform=\"rotate(-90 16 {})\"", short(y));
            text(&mut body, "ink", (16.0, y), 12.5, Anchor::Middle, &turn, &self.down);
        }
        let title = left + width_of(&self.title, 16.0);
        Picture { width: right.max(title) + 20.0, height: bottom + 20.0, body }
    }
}

/// A count as it is, another number with two places.
fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e9 { format!("{number:.0}") } else { format!("{number:.2}") }
}
