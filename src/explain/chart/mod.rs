//! Charts as SVG: lines with axes, heat maps with numbers, distributions, small pictures; readable on light and on dark pages.
//!
//! ```
//! use chainrule::explain::chart::LineChart;
//! let points = |f: fn(f64) -> f64| (0..50).map(move |x| (x as f64, f(x as f64)));
//! let chart = LineChart::new("Training")
//!     .with_axes("epoch", "loss")
//!     .with_line("training", points(|x| (-x / 10.0).exp()))
//!     .with_line("validation", points(|x| (-x / 12.0).exp() + 0.1));
//! assert!(chart.picture().svg().starts_with("<svg"));
//! ```

mod distributions;
mod heat;
mod lines;
mod scale;
mod tiles;

pub use distributions::{Distributions, Histogram};
pub use heat::HeatMap;
pub use lines::LineChart;
pub use tiles::Tiles;

use crate::error::Result;
use std::fmt::Write;
use std::path::Path;

/// A drawing of a certain size: what charts become, alone or one below the other.
///
/// ```
/// use chainrule::explain::chart::{HeatMap, LineChart};
/// let lines = LineChart::new("Loss").with_line("training", [(0.0, 2.0), (1.0, 0.5)]).picture();
/// let heat = HeatMap::new("Mistakes", &[vec![9.0, 1.0], vec![0.0, 10.0]]).picture();
/// let height = lines.height() + heat.height();
/// assert_eq!(lines.above(heat).height(), height);
/// ```
#[derive(Clone, Debug)]
pub struct Picture {
    width: f64,
    height: f64,
    body: String,
}

/// What is drawn in the colour of the page's text, of its quieter text, and of its lines, where the page is dark.
const DARK: &str = "@media (prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#e6edf3}.quiet{fill:#9aa4af}\
                    .rule{stroke:#30363d}.axis{stroke:#6e7681}}";
/// Lines of different things, told apart on white and on black, and by eyes that see few colours.
const COLOURS: [&str; 8] = ["#3b82c4", "#e07b39", "#2a9d74", "#c65b97", "#b8912b", "#7a6fd0", "#57a0b8", "#a0593a"];
const INK: &str = "#1f2328";
const QUIET: &str = "#59636e";
/// How wide a letter is, in shares of its height, about.
const LETTER: f64 = 0.58;

impl Picture {
    /// How wide it is, in pixels.
    pub fn width(&self) -> f64 {
        self.width
    }
    /// How high it is, in pixels.
    pub fn height(&self) -> f64 {
        self.height
    }
    /// This one, and another below it.
    pub fn above(mut self, other: Picture) -> Picture {
        let _ = write!(self.body, "<g transform=\"translate(0 {})\">{}</g>", short(self.height), other.body);
        Picture { width: self.width.max(other.width), height: self.height + other.height, body: self.body }
    }
    /// The text of an SVG file.
    pub fn svg(&self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif\"><style>{DARK}</style>\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>{}</svg>\n",
            self.body
        )
    }
    /// Writes the SVG file; it is there whole or not at all.
    ///
    /// ```
    /// use chainrule::explain::chart::LineChart;
    /// let path = std::env::temp_dir().join("chainrule-chart.svg");
    /// LineChart::new("Loss").with_line("training", [(0.0, 2.0), (1.0, 0.5)]).picture().save(&path)?;
    /// # std::fs::remove_file(&path).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::io::write_file("chart", path.as_ref(), self.svg().as_bytes())
    }
}

/// A text as XML takes it.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            // XML has no way to write these
            c if (c as u32) < 0x20 || matches!(c as u32, 0xfffe | 0xffff) => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// A coordinate: a tenth of a pixel is seen by nobody.
fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_string).unwrap_or(text)
}

/// How a text stands to its place.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// A text of a class (ink or quiet), `size` pixels high.
fn text(body: &mut String, class: &str, (x, y): (f64, f64), size: f64, anchor: Anchor, extra: &str, text: &str) {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let fill = if class == "quiet" { QUIET } else { INK };
    let _ = write!(
        body,
        "<text class=\"{class}\" fill=\"{fill}\" x=\"{}\" y=\"{}\" font-size=\"{size}\" text-anchor=\"{anchor}\"{extra}>{}</text>",
        short(x),
        short(y),
        escaped(text)
    );
}

/// How wide a text is, about.
fn width_of(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * LETTER
}

/// A text cut to so many letters.
fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_string();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}
