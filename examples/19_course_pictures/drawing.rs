//! Drawings by hand, for what no chart shows: boxes, arrows, paths over a plane. They look as the crate's charts do, on light
//! pages and on dark ones.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A place, in pixels from the left and from above.
pub(crate) type Place = (f64, f64);

/// The colours of lines, as in the crate's charts.
pub(crate) const BLUE: &str = "#3b82c4";
pub(crate) const ORANGE: &str = "#e07b39";
pub(crate) const GREEN: &str = "#2a9d74";

/// How a text stands to its place.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing that grows part by part; what comes later lies above.
pub(crate) struct Drawing {
    width: f64,
    height: f64,
    body: String,
}

const DARK: &str = "@media (prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#e6edf3}.quiet{fill:#9aa4af}\
                    .rule{stroke:#30363d}.axis{stroke:#6e7681}.box{fill:#161b22}}";

impl Drawing {
    pub(crate) fn new(width: f64, height: f64) -> Drawing {
        Drawing { width, height, body: String::new() }
    }
    /// Another size, where it is known at the end only.
    pub(crate) fn resize(&mut self, width: f64, height: f64) {
        (self.width, self.height) = (width, height);
    }
    /// The heading, where charts have theirs.
    pub(crate) fn title(&mut self, text: &str) {
        self.write("ink", (20.0, 26.0), 15.0, Anchor::Start, " font-weight=\"600\"", text);
    }
    /// A text in the colour of the page's text.
    pub(crate) fn text(&mut self, at: Place, size: f64, anchor: Anchor, text: &str) {
        self.write("ink", at, size, anchor, "", text);
    }
    /// A text that stands back.
    pub(crate) fn quiet(&mut self, at: Place, size: f64, anchor: Anchor, text: &str) {
        self.write("quiet", at, size, anchor, "", text);
    }
    /// A text in a colour.
    pub(crate) fn coloured(&mut self, at: Place, size: f64, anchor: Anchor, colour: &str, text: &str) {
        let style = format!(" style=\"fill:{colour}\"");
        self.write("", at, size, anchor, &style, text);
    }
    fn write(&mut self, class: &str, (x, y): Place, size: f64, anchor: Anchor, extra: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let fill = if class == "quiet" { "#59636e" } else { "#1f2328" };
        let _ = write!(
            self.body,
            "<text class=\"{class}\" fill=\"{fill}\" x=\"{}\" y=\"{}\" font-size=\"{size}\" text-anchor=\"{anchor}\"{extra}>{}</text>",
            short(x),
            short(y),
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
        );
    }
    /// A box with an outline, filled a shade apart from the page.
    pub(crate) fn frame(&mut self, (x, y): Place, (width, height): (f64, f64), colour: &str) {
        let [x, y, width, height] = [x, y, width, height].map(short);
        let _ = write!(
            self.body,
            "<rect class=\"box\" fill=\"#f6f8fa\" stroke=\"{colour}\" stroke-width=\"1.5\" rx=\"6\" x=\"{x}\" y=\"{y}\" \
             width=\"{width}\" height=\"{height}\"/>"
        );
    }
    /// An empty rectangle around something.
    pub(crate) fn outline(&mut self, (x, y): Place, (width, height): (f64, f64), colour: &str) {
        let [x, y, width, height] = [x, y, width, height].map(short);
        let _ = write!(
            self.body,
            "<rect fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        );
    }
    /// A filled rectangle, from 0 (not seen) to 1 (full).
    pub(crate) fn fill(&mut self, (x, y): Place, (width, height): (f64, f64), colour: &str, opacity: f64) {
        let [x, y, width, height] = [x, y, width, height].map(short);
        let _ = write!(
            self.body,
            "<rect fill=\"{colour}\" fill-opacity=\"{opacity:.2}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        );
    }
    /// A fine line in the colour of a chart's axis.
    pub(crate) fn axis(&mut self, from: Place, to: Place) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(short);
        let _ = write!(
            self.body,
            "<line class=\"axis\" stroke=\"#8c959f\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
        );
    }
    /// A line through these places.
    pub(crate) fn line(&mut self, places: &[Place], colour: &str, width: f64) {
        let points: Vec<String> = places.iter().map(|(x, y)| format!("{},{}", short(*x), short(*y))).collect();
        let _ = write!(
            self.body,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    /// A line with a head at its end.
    pub(crate) fn arrow(&mut self, from: Place, to: Place, colour: &str) {
        self.line(&[from, to], colour, 1.5);
        let (x, y) = (to.0 - from.0, to.1 - from.1);
        let length = x.hypot(y).max(1e-9);
        let (x, y) = (x / length * 7.0, y / length * 7.0);
        self.line(
            &[(to.0 - x - y * 0.5, to.1 - y + x * 0.5), to, (to.0 - x + y * 0.5, to.1 - y - x * 0.5)],
            colour,
            1.5,
        );
    }
    pub(crate) fn dot(&mut self, (x, y): Place, radius: f64, colour: &str) {
        let [x, y, radius] = [x, y, radius].map(short);
        let _ = write!(self.body, "<circle fill=\"{colour}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");
    }
    /// Many dots, so wide each; one that lies on the last one is left out.
    pub(crate) fn dots(&mut self, places: &[Place], width: f64, colour: &str) {
        let mut last = (f64::INFINITY, f64::INFINITY);
        let mut path = String::new();
        for &(x, y) in places {
            if (x - last.0).hypot(y - last.1) >= 0.5 {
                let _ = write!(path, "M{} {}h0", short(x), short(y));
                last = (x, y);
            }
        }
        let _ = write!(
            self.body,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linecap=\"round\" d=\"{path}\"/>"
        );
    }
    /// The text of an SVG file.
    pub(crate) fn svg(&self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif\"><style>{DARK}</style>\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>{}</svg>\n",
            self.body
        )
    }
}

/// A number as people write it: three digits that count.
pub(crate) fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".to_string();
    }
    let places = (2 - x.abs().log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{x:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// A tenth of a pixel is seen by nobody.
fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_string).unwrap_or(text)
}

/// Shades are told apart by so many levels.
const LEVELS: f64 = 12.0;

/// A part of a drawing that shows a part of a plane: numbers across and up become pixels.
pub(crate) struct Plane {
    pub(crate) across: (f64, f64),
    pub(crate) up: (f64, f64),
    /// Its upper left corner, and how large it is.
    pub(crate) at: Place,
    pub(crate) size: (f64, f64),
}

impl Plane {
    pub(crate) fn place(&self, (x, y): (f64, f64)) -> Place {
        let share = |x: f64, (low, high): (f64, f64)| (x - low) / (high - low);
        (self.at.0 + share(x, self.across) * self.size.0, self.at.1 + (1.0 - share(y, self.up)) * self.size.1)
    }
    /// Does it show this place?
    pub(crate) fn holds(&self, (x, y): (f64, f64)) -> bool {
        (self.across.0..=self.across.1).contains(&x) && (self.up.0..=self.up.1).contains(&y)
    }
    /// Shades of a function over the plane, in squares of some pixels: 0 is not seen, 1 is full, below zero in orange.
    pub(crate) fn shade(&self, drawing: &mut Drawing, cell: f64, f: impl Fn((f64, f64)) -> f64) {
        let shades: Vec<f64> = self.middles(cell).into_iter().map(f).collect();
        self.shades(drawing, cell, &shades);
    }
    /// The middle of each square, row by row from above.
    pub(crate) fn middles(&self, cell: f64) -> Vec<(f64, f64)> {
        let (columns, rows) = ((self.size.0 / cell) as usize, (self.size.1 / cell) as usize);
        let along = |at: usize, count: usize| (at as f64 + 0.5) / count as f64;
        let x = |column: usize| self.across.0 + along(column, columns) * (self.across.1 - self.across.0);
        let y = |row: usize| self.up.1 - along(row, rows) * (self.up.1 - self.up.0);
        (0..rows * columns).map(|at| (x(at % columns), y(at / columns))).collect()
    }
    /// A shade for each square.
    pub(crate) fn shades(&self, drawing: &mut Drawing, cell: f64, shades: &[f64]) {
        let columns = (self.size.0 / cell) as usize;
        // One path for each level: runs of cells that have it.
        let mut paths: BTreeMap<i32, String> = BTreeMap::new();
        for (row, shades) in shades.chunks(columns).enumerate() {
            let levels: Vec<i32> =
                shades.iter().map(|shade| (shade.clamp(-1.0, 1.0) * LEVELS).round() as i32).collect();
            let mut column = 0;
            for run in levels.chunk_by(|a, b| a == b) {
                let (x, y) = (self.at.0 + column as f64 * cell, self.at.1 + row as f64 * cell);
                let wide = short(run.len() as f64 * cell);
                let path = paths.entry(run[0]).or_default();
                let _ = write!(path, "M{} {}h{wide}v{}h-{wide}z", short(x), short(y), short(cell));
                column += run.len();
            }
        }
        for (level, path) in paths.iter().filter(|(level, _)| **level != 0) {
            let colour = if *level < 0 { ORANGE } else { BLUE };
            let opacity = f64::from(level.abs()) / LEVELS;
            let _ = write!(drawing.body, "<path fill=\"{colour}\" fill-opacity=\"{opacity:.2}\" d=\"{path}\"/>");
        }
    }
    /// A path in steps; it ends where it leaves the plane.
    pub(crate) fn path(&self, drawing: &mut Drawing, steps: &[(f64, f64)], colour: &str) {
        let inside: Vec<Place> =
            steps.iter().take_while(|step| self.holds(**step)).map(|step| self.place(*step)).collect();
        drawing.line(&inside, colour, 1.5);
        drawing.dots(&inside, 4.4, colour);
    }
}
