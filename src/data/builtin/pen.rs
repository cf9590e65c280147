//! A pen on a small sheet: smooth lines through points, drawn with soft edges.

use super::strokes::Point;

/// Straight pieces between two points of a curve.
const PIECES: usize = 6;

/// Pixels from 0 (paper) to 1 (ink), row by row.
pub(super) struct Sheet<const SIDE: usize> {
    pub(super) ink: Vec<f32>,
}

impl<const SIDE: usize> Sheet<SIDE> {
    pub(super) fn new() -> Self {
        Sheet { ink: vec![0.0; SIDE * SIDE] }
    }
    /// Draws a line through points in pixels; a pixel's middle is at whole numbers. The pen's radius goes from the first
    /// number to the second.
    pub(super) fn draw(&mut self, points: &[Point], radius: [f32; 2], darkness: f32) {
        let line = smooth(points);
        let steps = line.len().saturating_sub(1).max(1) as f32;
        for (step, ends) in line.windows(2).enumerate() {
            if let [from, to] = ends {
                let along = step as f32 / steps;
                self.piece(*from, *to, radius[0] + (radius[1] - radius[0]) * along, darkness);
            }
        }
    }
    /// A straight piece with round ends: ink by the distance of each pixel near it.
    fn piece(&mut self, from: Point, to: Point, radius: f32, darkness: f32) {
        let reach = radius + 1.0;
        let span = |a: f32, b: f32| {
            let (low, high) = ((a.min(b) - reach).ceil(), (a.max(b) + reach).floor());
            // A conversion of a float saturates.
            (low.max(0.0) as usize)..(high.min(SIDE as f32 - 1.0) + 1.0).max(0.0) as usize
        };
        let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        let scale = 1.0 / (dx * dx + dy * dy).max(1e-12);
        let columns = span(from[0], to[0]);
        for y in span(from[1], to[1]) {
            let start = y * SIDE;
            let Some(row) = self.ink.get_mut(start..start + SIDE) else { continue };
            let vertical = y as f32 - from[1];
            for (x, pixel) in row.iter_mut().enumerate().take(columns.end).skip(columns.start) {
                let across = x as f32 - from[0];
                let along = ((across * dx + vertical * dy) * scale).clamp(0.0, 1.0);
                let (ex, ey) = (across - along * dx, vertical - along * dy);
                let distance = (ex * ex + ey * ey).sqrt();
                let ink = (radius + 0.5 - distance).clamp(0.0, 1.0) * darkness;
                *pixel = pixel.max(ink);
            }
        }
    }
    /// Mixes each pixel with its neighbours: `amount` 0 leaves all as it is, 1 is the mean by weights 1, 2, 1.
    pub(super) fn blur(&mut self, amount: f32) {
        let mut line = [0.0; SIDE];
        let side = amount * 0.25;
        for vertical in [false, true] {
            let (stride, step) = if vertical { (1, SIDE) } else { (SIDE, 1) };
            for first in (0..SIDE).map(|i| i * stride) {
                for (to, from) in line.iter_mut().zip(self.ink.iter().skip(first).step_by(step)) {
                    *to = *from;
                }
                let pixels = self.ink.iter_mut().skip(first).step_by(step);
                let mut before = 0.0;
                let after = line.iter().skip(1).copied().chain([0.0]);
                for ((pixel, here), after) in pixels.zip(line).zip(after) {
                    *pixel = here * (1.0 - 2.0 * side) + side * (before + after);
                    before = here;
                }
            }
        }
    }
}

/// Points of a smooth line through the given ones: Catmull and Rom's spline ("A class of local interpolating splines",
/// 1974), which goes through its points. It begins anew at a corner, a point given twice.
fn smooth(points: &[Point]) -> Vec<Point> {
    let mut line = Vec::with_capacity(points.len() * PIECES + 1);
    line.extend(points.first());
    for part in points.chunk_by(|a, b| a != b) {
        for (place, ends) in part.windows(2).enumerate() {
            let &[b, c] = ends else { continue };
            let a = place.checked_sub(1).and_then(|before| part.get(before)).copied().unwrap_or(b);
            let d = part.get(place + 2).copied().unwrap_or(c);
            for piece in 1..=PIECES {
                let t = piece as f32 / PIECES as f32;
                let at = |axis: usize| {
                    let [a, b, c, d] = [a[axis], b[axis], c[axis], d[axis]];
                    let curve = (3.0 * (b - c) + d - a) * t + (2.0 * a - 5.0 * b + 4.0 * c - d);
                    b + 0.5 * t * ((c - a) + t * curve)
                };
                line.push([at(0), at(1)]);
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_through_its_points_and_keeps_corners() {
        let points = [[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [3.0, 1.0], [3.0, 5.0]];
        let line = smooth(&points);
        for point in points {
            assert!(line.iter().any(|at| (at[0] - point[0]).abs() + (at[1] - point[1]).abs() < 1e-5), "{point:?}");
        }
        // After the corner the line is straight.
        assert!(line.iter().rev().take(PIECES).all(|at| (at[0] - 3.0).abs() < 1e-6));
        assert_eq!(line.len(), 3 * PIECES + 1);
        assert!(smooth(&[]).is_empty() && smooth(&[[1.0, 1.0]]).len() == 1);
    }

    #[test]
    fn ink_lies_where_the_line_is_and_never_outside() {
        // The first five pixels of a row, in hundredths.
        let bytes = |sheet: &Sheet<8>, row: usize| -> Vec<u8> {
            sheet.ink[8 * row..][..5].iter().map(|x| (x * 100.0).round() as u8).collect()
        };
        let mut sheet = Sheet::<8>::new();
        sheet.draw(&[[2.0, -20.0], [2.0, 30.0]], [0.5, 0.5], 1.0);
        for y in 0..8 {
            assert_eq!(bytes(&sheet, y), [0, 0, 100, 0, 0], "row {y}");
        }
        sheet.blur(1.0);
        assert_eq!(bytes(&sheet, 4), [0, 25, 50, 25, 0]);
        sheet.draw(&[[f32::NAN, 0.0], [f32::INFINITY, 3.0], [-1e30, 1e30]], [1.0, 1.0], 1.0);
        assert_eq!(sheet.ink.len(), 64);
    }
}
