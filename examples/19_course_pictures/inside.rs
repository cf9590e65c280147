//! Pictures of chapters 13 to 15: an operation of one's own, fast products, kernels.

use super::Shown;
use super::curve::{Curve, dots, pairs, sampled};
use super::drawing::{Anchor, BLUE, Drawing, GREEN, ORANGE, Place};
use chainrule::explain::chart::LineChart;
use chainrule::{DType, Result, Tensor, formula};

pub(crate) fn pictures() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut add = |chapter, name, svg| shown.push(Shown { chapter, name, svg });
    add("13_own_operation", "own_formula", own_formula()?);
    add("14_fast_product", "cache_lines", cache_lines());
    add("14_fast_product", "register_tile", register_tile());
    add("15_gpu_kernel", "coalescing", coalescing());
    add("15_gpu_kernel", "shared_tiles", shared_tiles());
    Ok(shown)
}

formula! {
    /// A rectifier with a wave, as in chapter 13.
    fn snake(x; a) { let wave = sin(a * x); x + wave * wave / a }
}

/// A formula of our own and the derivative that was made of it.
fn own_formula() -> Result<String> {
    let x = Tensor::linspace(-4.0, 4.0, 161).to_dtype(DType::F64).variable();
    let y = snake(&x, 2.0);
    let slope = y.sum().backward()?.of(&x)?.clone();
    Ok(LineChart::new("snake(x) = x + sin²(2x) / 2, and its derivative")
        .with_axes("x", "")
        .with_line("snake", pairs(&x, &y)?)
        .with_line("its derivative, computed", pairs(&x, &slope)?)
        .with_line("1 + sin(4x), by hand", dots(sampled(-4.0, 4.0, 65, |x| 1.0 + (4.0 * x).sin())))
        .picture()
        .svg())
}

/// A cache of some lines of 64 bytes that forgets what was not used for longest.
struct Cache {
    lines: Vec<usize>,
    room: usize,
    fetched: usize,
}

impl Cache {
    fn touch(&mut self, number: usize) {
        let line = number / 16;
        match self.lines.iter().position(|held| *held == line) {
            Some(at) => self.lines[..=at].rotate_right(1),
            None => {
                self.fetched += 1;
                self.lines.insert(0, line);
                self.lines.truncate(self.room);
            }
        }
    }
}

const SIDE: usize = 64;

/// The three numbers that each multiply-add of a product reads or writes, in some order of the loops.
fn visits(order: &str, mut visit: impl FnMut(usize, usize, usize)) {
    let block = if order == "blocks" { 16 } else { SIDE };
    for (i0, k0, j0) in triples(SIDE / block, SIDE / block, SIDE / block) {
        for (a, b, c) in triples(block, block, block) {
            let (i, j, k) = if order == "ijk" { (a, b, c) } else { (a, c, b) };
            visit(i0 * block + i, j0 * block + j, k0 * block + k);
        }
    }
}

fn triples(first: usize, second: usize, third: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..first).flat_map(move |a| (0..second).flat_map(move |b| (0..third).map(move |c| (a, b, c))))
}

/// Lines fetched from memory for a product of 64 × 64, by the size of the cache.
fn cache_lines() -> String {
    let mut chart = LineChart::new("A product of 64 × 64: lines of 64 bytes fetched from memory")
        .with_axes("lines that the cache holds: 2 to this power", "lines fetched")
        .with_logarithmic();
    for (order, name) in [("ijk", "row by column"), ("ikj", "along rows"), ("blocks", "in blocks of 16 × 16")] {
        let mut curve = Curve::new();
        for power in 3..=10 {
            let mut cache = Cache { lines: Vec::new(), room: 1 << power, fetched: 0 };
            visits(order, |i, j, k| {
                cache.touch(i * SIDE + k);
                cache.touch(SIDE * SIDE + k * SIDE + j);
                cache.touch(2 * SIDE * SIDE + i * SIDE + j);
            });
            curve.push((f64::from(power), cache.fetched as f64));
        }
        chart = chart.with_line(name, curve);
    }
    chart.picture().svg()
}

/// A piece of C in registers: what a step of it reads, and what it computes.
fn register_tile() -> String {
    let mut drawing = Drawing::new(720.0, 300.0);
    drawing.title("One step of a tile of 6 × 16: 22 numbers read, 96 multiply-adds");
    let (cell, left, top) = (22.0, 190.0, 130.0);
    let grid = |drawing: &mut Drawing, at: Place, (rows, columns): (usize, usize), colour: &str, opacity: f64| {
        for row in 0..rows {
            for column in 0..columns {
                let place = (at.0 + column as f64 * cell, at.1 + row as f64 * cell);
                drawing.fill(place, (cell - 2.0, cell - 2.0), colour, opacity);
            }
        }
    };
    grid(&mut drawing, (left, top), (6, 16), BLUE, 0.55);
    grid(&mut drawing, (left, top - 62.0), (1, 8), GREEN, 0.9);
    grid(&mut drawing, (left + 8.0 * cell, top - 62.0), (1, 8), GREEN, 0.6);
    grid(&mut drawing, (left - 62.0, top), (6, 1), ORANGE, 0.9);
    drawing.text((left, top - 68.0), 12.5, Anchor::Start, "a row of B: 16 numbers, two loads of 8");
    drawing.text((left - 74.0, top + 60.0), 12.5, Anchor::End, "a column of A:");
    drawing.text((left - 74.0, top + 76.0), 12.5, Anchor::End, "6 numbers");
    drawing.text((left, top + 6.0 * cell + 18.0), 12.5, Anchor::Start, "96 sums of C, in 12 registers of 8; they stay");
    drawing.arrow((left + 8.0 * cell, top - 36.0), (left + 8.0 * cell, top - 6.0), "#8c959f");
    drawing.arrow((left - 36.0, top + 3.0 * cell), (left - 6.0, top + 3.0 * cell), "#8c959f");
    drawing.svg()
}

/// What 32 threads ask for at once, one number each: side by side, and eight apart.
fn coalescing() -> String {
    let mut drawing = Drawing::new(720.0, 330.0);
    drawing.title("A warp reads 32 numbers: how many sectors of 32 bytes must come?");
    for (row, (stride, name)) in
        [(1, "neighbours: 4 sectors, every byte is used"), (2, "every second one: 8 sectors, half is used")]
            .into_iter()
            .chain([(4, "every fourth one: 16 sectors, a quarter is used")])
            .enumerate()
    {
        let top = 62.0 + row as f64 * 92.0;
        drawing.text((20.0, top), 12.5, Anchor::Start, name);
        let wide = 680.0 / 128.0;
        for sector in 0..16 {
            let used = sector < 4 * stride;
            let place = (20.0 + f64::from(sector) * 8.0 * wide, top + 44.0);
            let (colour, opacity) = if used { (ORANGE, 0.45) } else { ("#8c959f", 0.18) };
            drawing.fill(place, (8.0 * wide - 1.5, 20.0), colour, opacity);
        }
        for thread in 0..32 {
            let from = (20.0 + (f64::from(thread) + 0.5) * 680.0 / 32.0, top + 14.0);
            let to = (20.0 + (f64::from(thread * stride) + 0.5) * wide, top + 44.0);
            drawing.dot(from, 2.4, BLUE);
            drawing.line(&[from, to, (to.0, top + 64.0)], BLUE, 1.0);
        }
    }
    drawing.svg()
}

/// A block of threads makes a tile of C from tiles of A and B that all of its threads share.
fn shared_tiles() -> String {
    let mut drawing = Drawing::new(720.0, 360.0);
    drawing.title("A block of threads makes one tile of C");
    let (tile, count) = (32.0, 4);
    let mut matrix = |name: &str, (left, top): Place, strong: &dyn Fn(usize, usize) -> f64, colour: &str| {
        drawing.text((left, top - 8.0), 13.0, Anchor::Start, name);
        for row in 0..count {
            for column in 0..count {
                let place = (left + column as f64 * tile, top + row as f64 * tile);
                let opacity = strong(row, column);
                let colour = if opacity > 0.2 { colour } else { "#8c959f" };
                drawing.fill(place, (tile - 2.0, tile - 2.0), colour, opacity);
            }
        }
    };
    let along = |at: usize| if at == 1 { 0.95 } else { 0.45 };
    matrix("A: a row of tiles", (60.0, 212.0), &|row, column| if row == 1 { along(column) } else { 0.15 }, ORANGE);
    matrix("B: a column of tiles", (250.0, 62.0), &|row, column| if column == 2 { along(row) } else { 0.15 }, GREEN);
    matrix("C: one tile", (250.0, 212.0), &|row, column| if row == 1 && column == 2 { 0.95 } else { 0.15 }, BLUE);
    for (at, line) in [
        "for each pair of tiles:",
        "  every thread brings one number of A",
        "  and one of B into shared memory",
        "  — barrier: all are there —",
        "  every thread adds 16 products,",
        "  read from shared memory",
        "  — barrier: all are done —",
    ]
    .into_iter()
    .enumerate()
    {
        let indent = if line.starts_with(' ') { 14.0 } else { 0.0 };
        drawing.text((430.0 + indent, 212.0 + at as f64 * 19.0), 12.5, Anchor::Start, line.trim());
    }
    drawing.svg()
}
