//! Eigenvalues of symmetric matrices: reflections leave three diagonals, rotations (the QL method with implicit shifts) one.
//!
//! The rotations do not need the vectors; they are noted down and then turn all of them, a strip of columns at a time, so
//! that a strip stays in the cache and strips are shared among threads. All is computed in f64.

use super::qr::{dot, mirror};
use super::singular::{Why, magnitude, points_back, rotate};
use super::{WIDEST, work};
use crate::device::cpu::Cpu;
use crate::device::cpu::parallel;
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::factor::Stack;
use crate::device::{Value, copy::Arrange};
use crate::error::Fault;
use crate::layout::order_of;

/// Columns of a strip.
const STRIP: usize = 32;
/// Rotations that are noted down before vectors are turned: enough that reading a strip pays.
const NOTES: usize = 1 << 15;
/// Steps for one eigenvalue; two are usual.
const STEPS: usize = 60;

/// Eigenvalues in ascending order, and eigenvectors as columns, of f64 matrices.
pub(super) fn eigen(a: &Value) -> Result<[Value; 2], Fault> {
    let stack = Stack::square(a)?;
    let size = stack.rows;
    let a = Cpu.contiguous(a)?;
    let shape = stack.with(&[size])?;
    if a.count() == 0 {
        return Ok([Value::build::<f64>(shape, |_| ())?, a]);
    }
    let data = a.dense::<f64>()?;
    let parts = parallel::collect(stack.count(), work([size, size, 8 * size]), |item| {
        one(data[item * size * size..][..size * size].to_vec(), size).map_err(|why| why.named(&stack, item))
    });
    let parts = parts.into_iter().collect::<Result<Vec<_>, Fault>>()?;
    let values = Value::build::<f64>(shape, |out| {
        for (to, (values, _)) in out.chunks_exact_mut(size).zip(&parts) {
            to.copy_from_slice(values);
        }
    })?;
    let vectors = Value::build::<f64>(*a.shape(), |out| {
        for (to, (_, vectors)) in out.chunks_exact_mut(size * size).zip(&parts) {
            for (i, row) in to.chunks_exact_mut(size).enumerate() {
                for (j, to) in row.iter_mut().enumerate() {
                    *to = vectors[j * size + i];
                }
            }
        }
    })?;
    Ok([values, vectors])
}

/// The values of one matrix and its vectors as rows, ascending.
fn one(mut a: Vec<f64>, size: usize) -> Result<(Vec<f64>, Vec<f64>), Why> {
    // Only the lower triangle counts.
    for i in 0..size {
        for j in i + 1..size {
            a[i * size + j] = a[j * size + i];
        }
    }
    let scale = magnitude(&a)?;
    a.iter_mut().for_each(|x| *x /= scale);
    let (mut diagonal, mut beside, vectors) = three_diagonals(&mut a, size);
    let mut strips = Strips::new(&vectors, size);
    diagonalise(&mut diagonal, &mut beside, &mut strips)?;
    strips.turn();
    let vectors = strips.rows();
    let order = order_of(size, &|i, j| diagonal[i].total_cmp(&diagonal[j]));
    let values = order.iter().map(|&i| diagonal[i] * scale).collect();
    let mut sorted = Vec::with_capacity(size * size);
    for &i in &order {
        let row = &vectors[i * size..][..size];
        let sign = if points_back(row) { -1.0 } else { 1.0 };
        sorted.extend(row.iter().map(|x| sign * x));
    }
    Ok((values, sorted))
}

/// `Q` (as rows of its transpose) and the diagonals of `T` with `A = Q · T · Qᵀ`; element `i` of the second stands between
/// the elements `i` and `i + 1` of the first.
fn three_diagonals(a: &mut [f64], size: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut beside = vec![0.0; size];
    let mut reflections: Vec<(Vec<f64>, f64)> = Vec::new();
    for first in 1..size {
        // The row beside the diagonal becomes a multiple of the first axis.
        let (row, rest) = a[(first - 1) * size..].split_at_mut(size);
        let mut vector = vec![0.0; size - first];
        let share = mirror(&mut row[first..], &mut vector);
        beside[first - 1] = row[first];
        if share != 0.0 {
            // A ← (1 - share v vᵀ) A (1 - share v vᵀ) = A - v wᵀ - w vᵀ
            let mut image = vec![0.0; size - first];
            parallel::chunks(&mut image, 16, size - first, |part, image| {
                for (to, row) in image.iter_mut().zip(rest[part * 16 * size..].chunks_exact(size)) {
                    *to = share * dot(&row[first..], &vector);
                }
            });
            let half = 0.5 * share * dot(&image, &vector);
            image.iter_mut().zip(&vector).for_each(|(w, v)| *w -= half * v);
            parallel::chunks(rest, 16 * size, 1, |part, rows| {
                simd::run(Update { rows, size, first, row: part * 16, vector: &vector, image: &image });
            });
        }
        reflections.push((vector, share));
    }
    let diagonal = (0..size).map(|i| a[i * size + i]).collect();
    let mut vectors = vec![0.0; size * size];
    vectors.iter_mut().step_by(size + 1).for_each(|x| *x = 1.0);
    for (first, (vector, share)) in reflections.iter().enumerate().rev().map(|(i, all)| (i + 1, all)) {
        if *share != 0.0 {
            parallel::chunks(&mut vectors[first * size..], 16 * size, 1, |_, rows| {
                simd::run(Reflect { rows, size, first, vector, share: *share });
            });
        }
    }
    (diagonal, beside, vectors)
}

/// `A - v wᵀ - w vᵀ` for some rows, from row `row` of what is left.
struct Update<'a> {
    rows: &'a mut [f64],
    size: usize,
    first: usize,
    row: usize,
    vector: &'a [f64],
    image: &'a [f64],
}

impl Kernel for Update<'_> {
    type Output = ();
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (i, row) in self.rows.chunks_exact_mut(self.size).enumerate() {
            let (v, w) = (self.vector[self.row + i], self.image[self.row + i]);
            for ((x, &to_v), &to_w) in row[self.first..].iter_mut().zip(self.vector).zip(self.image) {
                *x -= v * to_w + w * to_v;
            }
        }
    }
}

/// Rows times one reflection.
struct Reflect<'a> {
    rows: &'a mut [f64],
    size: usize,
    first: usize,
    vector: &'a [f64],
    share: f64,
}

impl Kernel for Reflect<'_> {
    type Output = ();
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for row in self.rows.chunks_exact_mut(self.size) {
            let row = &mut row[self.first..];
            let factor = -self.share * dot(row, self.vector);
            for (x, &v) in row.iter_mut().zip(self.vector) {
                *x += factor * v;
            }
        }
    }
}

/// A rotation of rows `row` and `row + 1`.
#[derive(Clone, Copy)]
struct Rotation {
    row: usize,
    cosine: f64,
    sine: f64,
}

/// Vectors as rows, cut into strips of columns, and the rotations that they have not seen yet.
struct Strips {
    size: usize,
    strips: Vec<f64>,
    notes: Vec<Rotation>,
}

impl Strips {
    fn new(vectors: &[f64], size: usize) -> Strips {
        let mut strips = vec![0.0; size.next_multiple_of(STRIP) * size];
        for (strip, to) in strips.chunks_exact_mut(STRIP * size).enumerate() {
            let columns = strip * STRIP..((strip + 1) * STRIP).min(size);
            for (to, row) in to.chunks_exact_mut(STRIP).zip(vectors.chunks_exact(size)) {
                to[..columns.len()].copy_from_slice(&row[columns.clone()]);
            }
        }
        Strips { size, strips, notes: Vec::new() }
    }
    fn note(&mut self, rotation: Rotation) {
        self.notes.push(rotation);
        if self.notes.len() >= NOTES {
            self.turn();
        }
    }
    fn turn(&mut self) {
        let notes = &self.notes;
        parallel::chunks(&mut self.strips, STRIP * self.size, notes.len() / self.size.max(1) + 1, |_, strip| {
            simd::run(TurnStrip { strip, notes });
        });
        self.notes.clear();
    }
    fn rows(&self) -> Vec<f64> {
        let mut rows = Vec::with_capacity(self.size * self.size);
        for row in 0..self.size {
            for strip in self.strips.chunks_exact(STRIP * self.size) {
                let columns = STRIP.min(self.size - rows.len() % self.size);
                rows.extend_from_slice(&strip[row * STRIP..][..columns]);
            }
        }
        rows
    }
}

struct TurnStrip<'a> {
    strip: &'a mut [f64],
    notes: &'a [Rotation],
}

impl Kernel for TurnStrip<'_> {
    type Output = ();
    const WIDEST: SimdLevel = WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for &Rotation { row, cosine, sine } in self.notes {
            if let [a, b] = self.strip[row * STRIP..][..2 * STRIP].as_chunks_mut::<STRIP>().0 {
                rotate(a, b, cosine, sine);
            }
        }
    }
}

/// Makes three diagonals one: `diagonal` then holds the eigenvalues.
fn diagonalise(diagonal: &mut [f64], beside: &mut [f64], strips: &mut Strips) -> Result<(), Why> {
    let size = diagonal.len();
    for first in 0..size {
        let mut steps = 0;
        loop {
            // The part from `first` to `last` hangs together.
            let small = |i: usize| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs());
            let last = (first..size - 1).find(|&i| small(i)).unwrap_or(size - 1);
            if last == first {
                break;
            }
            steps += 1;
            if steps > STEPS {
                return Err(Why::NoEnd);
            }
            step(first, last, diagonal, beside, strips);
        }
    }
    Ok(())
}

/// One step on the part from `first` to `last`, with the eigenvalue of its first two by two that is nearer as shift.
fn step(first: usize, last: usize, diagonal: &mut [f64], beside: &mut [f64], strips: &mut Strips) {
    let ratio = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let shift = diagonal[first] - beside[first] / (ratio + ratio.hypot(1.0).copysign(ratio));
    let mut bulge = diagonal[last] - shift;
    let (mut sine, mut cosine, mut moved) = (1.0, 1.0, 0.0);
    for i in (first..last).rev() {
        let (chased, kept) = (sine * beside[i], cosine * beside[i]);
        let length = chased.hypot(bulge);
        beside[i + 1] = length;
        if length == 0.0 {
            // The part falls in two here.
            diagonal[i + 1] -= moved;
            beside[last] = 0.0;
            return;
        }
        (sine, cosine) = (chased / length, bulge / length);
        let rest = diagonal[i + 1] - moved;
        let sum = (diagonal[i] - rest) * sine + 2.0 * cosine * kept;
        moved = sine * sum;
        diagonal[i + 1] = rest + moved;
        bulge = cosine * sum - kept;
        strips.note(Rotation { row: i, cosine, sine });
    }
    diagonal[first] -= moved;
    beside[first] = bulge;
    beside[last] = 0.0;
}
