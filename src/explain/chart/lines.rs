//! Lines over two axes.

use super::scale::Scale;
use super::{Anchor, COLOURS, Picture, cut, short, text, width_of};
use std::fmt::Write;

/// Lines over two axes, with a legend.
///
/// ```
/// use chainrule::explain::chart::LineChart;
/// let chart = LineChart::new("Loss & more").with_axes("step", "loss").with_line("training", [(0.0, 2.0), (10.0, 0.5)]);
/// assert!(chart.picture().svg().contains("Loss &amp; more"));
/// ```
#[derive(Clone, Debug)]
pub struct LineChart {
    title: String,
    across: String,
    up: String,
    lines: Vec<Line>,
    logarithmic: bool,
    size: (f64, f64),
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// Which of the colours it has.
    colour: usize,
    faint: bool,
}

/// More points than this are thinned to what can be seen.
const MOST: usize = 1500;

impl LineChart {
    /// A chart without lines yet.
    pub fn new(title: impl Into<String>) -> LineChart {
        LineChart {
            title: title.into(),
            across: String::new(),
            up: String::new(),
            lines: Vec::new(),
            logarithmic: false,
            size: (720.0, 320.0),
        }
    }
    /// What the axes show: the one across, the one up.
    pub fn with_axes(self, across: impl Into<String>, up: impl Into<String>) -> LineChart {
        LineChart { across: across.into(), up: up.into(), ..self }
    }
    /// One more line; it is broken where a number is not finite.
    pub fn with_line(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> LineChart {
        let colour = self.next_colour();
        self.lines.push(Line { name: name.into(), points: points.into_iter().collect(), colour, faint: false });
        self
    }
    /// One more line, faint, in the colour of the next one: the raw numbers behind their mean. It has no place in the
    /// legend.
    pub fn with_faint_line(mut self, points: impl IntoIterator<Item = (f64, f64)>) -> LineChart {
        let colour = self.next_colour();
        self.lines.push(Line { name: String::new(), points: points.into_iter().collect(), colour, faint: true });
        self
    }
    /// A colour for each line that is not faint.
    fn next_colour(&self) -> usize {
        self.lines.iter().filter(|line| !line.faint).count()
    }
    /// The axis up goes by logarithms; what is not positive is not drawn.
    pub fn with_logarithmic(self) -> LineChart {
        LineChart { logarithmic: true, ..self }
    }
    /// How large it is, in pixels (default 720 by 320).
    pub fn with_size(self, width: f64, height: f64) -> LineChart {
        let sound = |size: f64, least: f64| if size.is_finite() { size.clamp(least, 10_000.0) } else { least };
        LineChart { size: (sound(width, 240.0), sound(height, 160.0)), ..self }
    }
    /// The chart as it is drawn.
    pub fn picture(&self) -> Picture {
        let (width, height) = self.size;
        let mut body = String::new();
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let finite = || points().filter(|(x, y)| x.is_finite() && y.is_finite());
        let up = Scale::new(finite().map(|(_, y)| *y), self.logarithmic, 5);
        let across = Scale::new(finite().map(|(x, _)| *x), false, (width / 110.0) as usize);

        let widest = up.marks().iter().map(|(_, label)| width_of(label, 12.0)).fold(0.0, f64::max);
        let left = 20.0 + widest + if self.up.is_empty() { 0.0 } else { 20.0 };
        let bottom = height - if self.across.is_empty() { 34.0 } else { 54.0 };
        let mut top = 16.0;
        if !self.title.is_empty() {
            text(&mut body, "ink", (left, 26.0), 15.0, Anchor::Start, " font-weight=\"600\"", &self.title);
            top = 40.0;
        }
        top = self.legend(&mut body, left, top, width - 20.0) + 8.0;
        let right = width - 24.0;
        let x_of = |x: f64| across.place(x).map(|place| left + place * (right - left));
        let y_of = |y: f64| up.place(y).map(|place| bottom - place * (bottom - top));

        for (number, label) in up.marks() {
            let Some(y) = y_of(*number) else { continue };
            rule(&mut body, "rule", "#d8dee4", (left, y), (right, y));
            text(&mut body, "quiet", (left - 8.0, y + 4.0), 12.0, Anchor::End, "", label);
        }
        for (number, label) in across.marks() {
            let Some(x) = x_of(*number) else { continue };
            rule(&mut body, "axis", "#8c959f", (x, bottom), (x, bottom + 5.0));
            text(&mut body, "quiet", (x, bottom + 19.0), 12.0, Anchor::Middle, "", label);
        }
        rule(&mut body, "axis", "#8c959f", (left, bottom), (right, bottom));
        if !self.across.is_empty() {
            let middle = ((left + right) / 2.0, bottom + 40.0);
            text(&mut body, "ink", middle, 12.5, Anchor::Middle, "", &self.across);
        }
        if !self.up.is_empty() {
            let y = (top + bottom) / 2.0;
            let turned = format!(" transform=\"rotate(-90 16 {})\"", short(y));
            text(&mut body, "ink", (16.0, y), 12.5, Anchor::Middle, &turned, &self.up);
        }
        for line in &self.lines {
            let placed = line.points.iter().map(|&(x, y)| Some((x_of(x)?, y_of(y)?)));
            draw(&mut body, line, &seen(placed.collect()));
        }
        Picture { width, height, body }
    }
    /// The names of the lines, in as many rows as they take; gives where they end.
    fn legend(&self, body: &mut String, left: f64, top: f64, right: f64) -> f64 {
        let (mut x, mut y) = (left, top + 6.0);
        let named: Vec<&Line> = self.lines.iter().filter(|line| !line.faint && !line.name.is_empty()).collect();
        if named.is_empty() {
            return top;
        }
        for line in named {
            let name = cut(&line.name, 40);
            let wide = 30.0 + width_of(&name, 12.5) + 14.0;
            if x > left && x + wide > right {
                (x, y) = (left, y + 19.0);
            }
            let colour = colour(line);
            let _ = write!(
                body,
                "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"3\" stroke-linecap=\"round\"/>",
                short(x + 2.0),
                short(y - 4.0),
                short(x + 20.0),
                short(y - 4.0)
            );
            text(body, "ink", (x + 28.0, y), 12.5, Anchor::Start, "", &name);
            x += wide;
        }
        y + 6.0
    }
}

fn colour(line: &Line) -> &'static str {
    COLOURS.get(line.colour % COLOURS.len()).copied().unwrap_or("#3b82c4")
}

fn rule(body: &mut String, class: &str, colour: &str, from: (f64, f64), to: (f64, f64)) {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(short);
    let _ = write!(
        body,
        "<line class=\"{class}\" stroke=\"{colour}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke-width=\"1\"/>"
    );
}

/// Of many points those that can be seen: of each pixel's the first, the lowest, the highest and the last.
fn seen(points: Vec<Option<(f64, f64)>>) -> Vec<Option<(f64, f64)>> {
    if points.len() <= MOST {
        return points;
    }
    let pixel = |point: &Option<(f64, f64)>| point.map(|(x, _)| x.floor() as i64);
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| pixel(a) == pixel(b)) {
        if group.len() <= 4 || group.first().is_none_or(Option::is_none) {
            kept.extend(group.iter().take(4));
            continue;
        }
        let height = |at: usize| group.get(at).copied().flatten().map_or(0.0, |(_, y)| y);
        let lowest = (0..group.len()).max_by(|&a, &b| height(a).total_cmp(&height(b))).unwrap_or(0);
        let highest = (0..group.len()).min_by(|&a, &b| height(a).total_cmp(&height(b))).unwrap_or(0);
        let mut places = [0, lowest, highest, group.len() - 1];
        places.sort_unstable();
        kept.extend(places.iter().filter_map(|&at| group.get(at)));
    }
    kept
}

/// A line in pieces: a point that has no place ends one; a piece of one point is a dot.
fn draw(body: &mut String, line: &Line, points: &[Option<(f64, f64)>]) {
    let colour = colour(line);
    let (opacity, wide) = if line.faint { (0.3, 1.2) } else { (1.0, 2.2) };
    for piece in points.split(Option::is_none) {
        let piece: Vec<(f64, f64)> = piece.iter().flatten().copied().collect();
        if piece.len() > 1 {
            let path: Vec<String> = piece.iter().map(|(x, y)| format!("{},{}", short(*x), short(*y))).collect();
            let _ = write!(
                body,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{wide}\" stroke-opacity=\"{opacity}\" \
                 stroke-linejoin=\"round\" stroke-linecap=\"round\" points=\"{}\"/>",
                path.join(" ")
            );
        }
        // Few points are measured ones, to be seen as such.
        if piece.len() == 1 || !line.faint && points.len() <= 40 {
            for (x, y) in piece {
                let _ = write!(body, "<circle fill=\"{colour}\" cx=\"{}\" cy=\"{}\" r=\"2.8\"/>", short(x), short(y));
            }
        }
    }
}
