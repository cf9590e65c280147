//! How numbers are spread, and how that changed: small panels side by side.

use super::{Anchor, COLOURS, Picture, cut, short, text, width_of};
use std::fmt::Write;

/// How many numbers lie in each of some equal parts of a range.
///
/// ```
/// use chainrule::explain::chart::Histogram;
/// let histogram = Histogram::of([0.0, 0.1, 0.9, f64::NAN], 2);
/// assert_eq!((histogram.low, histogram.high), (0.0, 0.9));
/// assert_eq!(histogram.counts, [2.0, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Where the range begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// How many numbers lie in each part.
    pub counts: Vec<f64>,
}

/// More parts than any picture can show.
const MOST_PARTS: usize = 1 << 16;

impl Histogram {
    /// Of these numbers, in so many parts (at most 65 536) from the least to the greatest; what is not finite is left out.
    pub fn of(numbers: impl IntoIterator<Item = f64>, parts: usize) -> Histogram {
        let numbers: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut counts = vec![0.0; parts.clamp(1, MOST_PARTS)];
        if numbers.is_empty() {
            return Histogram { low: 0.0, high: 0.0, counts };
        }
        for number in numbers {
            // halves, so that the widest of ranges does not overflow
            let share = (number / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
            let part = (share * counts.len() as f64) as usize;
            let last = counts.len() - 1;
            counts[part.min(last)] += 1.0;
        }
        Histogram { low, high, counts }
    }
    /// The share of all numbers in a part, for the width of the range that the part takes.
    fn densities(&self) -> Vec<f64> {
        let total: f64 = self.counts.iter().sum();
        let width = (self.high - self.low) / self.counts.len().max(1) as f64;
        let scale = if total > 0.0 && width > 0.0 { 1.0 / (total * width) } else { 0.0 };
        self.counts.iter().map(|count| count * scale).collect()
    }
}

/// Panels of histograms: in each the earlier ones faint, the last one filled.
///
/// ```
/// use chainrule::explain::chart::{Distributions, Histogram};
/// let epochs = [Histogram::of([-1.0, 0.0, 1.0], 3), Histogram::of([-2.0, 0.1, 0.2, 2.0], 3)];
/// let chart = Distributions::new("Weights").with_panel("0.weight", &epochs);
/// assert!(chart.picture().svg().contains("0.weight"));
/// ```
#[derive(Clone, Debug)]
pub struct Distributions {
    title: String,
    panels: Vec<(String, Vec<Histogram>)>,
}

/// A panel with the space around it.
const PANEL: (f64, f64) = (236.0, 132.0);
/// Panels in a row.
const ACROSS: usize = 3;
/// Of many histograms so many are drawn.
const MOST: usize = 8;

impl Distributions {
    /// Without panels yet.
    pub fn new(title: impl Into<String>) -> Distributions {
        Distributions { title: title.into(), panels: Vec::new() }
    }
    /// One more panel; its histograms stand in the order of time.
    pub fn with_panel(mut self, name: impl Into<String>, histograms: &[Histogram]) -> Distributions {
        self.panels.push((name.into(), histograms.to_vec()));
        self
    }
    /// The panels as they are drawn.
    pub fn picture(&self) -> Picture {
        let mut body = String::new();
        let top = if self.title.is_empty() { 8.0 } else { 40.0 };
        if !self.title.is_empty() {
            text(&mut body, "ink", (20.0, 26.0), 15.0, Anchor::Start, " font-weight=\"600\"", &self.title);
        }
        for (at, (name, histograms)) in self.panels.iter().enumerate() {
            let (column, row) = (at % ACROSS, at / ACROSS);
            panel(&mut body, (20.0 + column as f64 * PANEL.0, top + row as f64 * PANEL.1), name, histograms);
        }
        let rows = self.panels.len().div_ceil(ACROSS);
        let across = self.panels.len().clamp(1, ACROSS) as f64 * PANEL.0;
        let width = (across + 20.0).max(width_of(&self.title, 16.0) + 40.0);
        Picture { width, height: top + rows as f64 * PANEL.1 + 8.0, body }
    }
}

fn panel(body: &mut String, (left, top): (f64, f64), name: &str, histograms: &[Histogram]) {
    let (width, bottom) = (PANEL.0 - 24.0, top + PANEL.1 - 28.0);
    text(body, "ink", (left, top + 12.0), 12.0, Anchor::Start, "", &cut(name, 30));
    let every = histograms.len().div_ceil(MOST).max(1);
    // The last one is always among them.
    let drawn: Vec<&Histogram> = histograms.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev().collect();
    let low = drawn.iter().map(|histogram| histogram.low).fold(f64::INFINITY, f64::min);
    let high = drawn.iter().map(|histogram| histogram.high).fold(f64::NEG_INFINITY, f64::max);
    let highest = drawn.iter().flat_map(|histogram| histogram.densities()).fold(0.0, f64::max);
    let _ = write!(
        body,
        "<line class=\"axis\" stroke=\"#8c959f\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke-width=\"1\"/>",
        short(left),
        short(bottom),
        short(left + width),
        short(bottom)
    );
    if !(low.is_finite() && high.is_finite() && high - low > 0.0 && highest.is_finite() && highest > 0.0) {
        let what = match low {
            low if !low.is_finite() => "no numbers".to_string(),
            low if low == high => format!("all are {}", number(low)),
            low => format!("{} to {}", number(low), number(high)),
        };
        text(body, "quiet", (left, bottom - 20.0), 11.0, Anchor::Start, "", &what);
        return;
    }
    let x_of = |x: f64| left + (x - low) / (high - low) * width;
    let y_of = |density: f64| bottom - density / highest * (bottom - top - 22.0);
    let last = drawn.len().saturating_sub(1);
    for (at, histogram) in drawn.into_iter().enumerate() {
        let densities = histogram.densities();
        let part = (histogram.high - histogram.low) / densities.len().max(1) as f64;
        let mut path = format!("M{} {}", short(x_of(histogram.low)), short(bottom));
        for (bin, density) in densities.iter().enumerate() {
            let x = histogram.low + (bin as f64 + 0.5) * part;
            let _ = write!(path, "L{} {}", short(x_of(x)), short(y_of(*density)));
        }
        let _ = write!(path, "L{} {}", short(x_of(histogram.high)), short(bottom));
        let colour = COLOURS[0];
        let _ = match at == last {
            true => write!(
                body,
                "<path d=\"{path}\" fill=\"{colour}\" fill-opacity=\"0.35\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
            ),
            false => write!(
                body,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"{:.2}\" stroke-width=\"1\"/>",
                0.15 + 0.45 * at as f64 / last.max(1) as f64
            ),
        };
    }
    text(body, "quiet", (left, bottom + 14.0), 10.5, Anchor::Start, "", &number(low));
    text(body, "quiet", (left + width, bottom + 14.0), 10.5, Anchor::End, "", &number(high));
}

fn number(x: f64) -> String {
    crate::formula::short_number(x)
}
