//! The greatest element of each window, and its position; what positions are good for afterwards.

use super::{five, volumes};
use crate::device::cpu::parallel;
use crate::device::cpu::real::{Real, alone};
use crate::device::cpu::simd::{self, Kernel, SimdLevel};
use crate::device::window::{Sliding, Span, no_place, same_shape};
use crate::device::{Value, by_size};
use crate::error::Fault;
use crate::layout::Shape;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

pub(super) fn max_windows<T: Real>(
    x: &Value,
    spans: &[Span; 3],
    wanted: bool,
) -> Result<(Value, Option<Value>), Fault> {
    let [_, _, depth, height, width] = five(x)?;
    let volume = depth * height * width;
    if volume > i32::MAX as usize {
        return Err(Fault::memory(
            format!("a volume of {volume} elements: positions in it do not fit 32 bits"),
            "split the input along its width or height first",
        ));
    }
    let shape = volumes(x, spans.each_ref().map(Span::count))?;
    let outputs: usize = shape[2..].iter().product();
    // What a window in the middle reads, where there is one.
    let reads = |span: &Span| if span.count() > 0 { span.window(span.count() / 2).1.max(1) } else { 1 };
    let cost = spans.iter().map(reads).product();
    let data = x.dense::<T>()?;
    let source = |part: usize| &data[part * volume..(part + 1) * volume];
    let work = |part: usize, best: &mut [T], places: &mut [i32]| {
        simd::run(Extremes { x: source(part), sizes: [height, width], spans, best, places });
    };
    let mut positions = None;
    let greatest = Value::try_build::<T>(shape, |best| {
        if wanted {
            positions = Some(Value::build::<i32>(shape, |places| {
                parallel::chunks_pair((best, outputs), (places, outputs), cost, work);
            })?);
        } else {
            parallel::chunks(best, outputs, cost, |part, best| work(part, best, &mut []));
        }
        Ok(())
    })?;
    Ok((greatest, positions))
}

/// The windows of one volume; `places` is empty where nobody wants positions.
struct Extremes<'a, T> {
    x: &'a [T],
    sizes: [usize; 2],
    spans: &'a [Span; 3],
    best: &'a mut [T],
    places: &'a mut [i32],
}

impl<T: Real> Kernel for Extremes<'_, T> {
    type Output = ();
    const WIDEST: SimdLevel = T::WIDEST;
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Extremes { x, sizes: [height, width], spans: [deep, high, wide], best, places } = self;
        // The usual windows: two elements each, across and down; what they read needs no division to be found.
        // (f64 goes the way that all windows can go: code has a budget.)
        let brief = const { T::DOUBLE || simd::is_spare::<FUSED>() };
        let flat = !brief && deep.count() == 1 && deep.window(0).1 == 1 && x.len() == height * width;
        let usual = flat && high.is_pairs(height) && wide.is_pairs(width);
        let rows = best.chunks_exact_mut(wide.count().max(1)).enumerate();
        for (row, best) in rows {
            let places = match places {
                [] => &mut places[..],
                _ => &mut places[row * best.len()..(row + 1) * best.len()],
            };
            if const { !T::DOUBLE && !simd::is_spare::<FUSED>() } && usual {
                in_pairs(x, [2 * row * width, (2 * row + 1) * width], best, places);
                continue;
            }
            best.fill(-T::INFINITY);
            places.fill(-1);
            let (d, ds, d_step) = deep.window(row / high.count());
            let (h, hs, h_step) = high.window(row % high.count());
            for line in (0..ds).flat_map(|i| (0..hs).map(move |j| (d + i * d_step) * height + h + j * h_step)) {
                let line_start = line * width;
                let line = &x[line_start..line_start + width];
                match wide {
                    Span::Sliding(sliding) => slide(line, line_start, sliding, best, places),
                    Span::Adaptive { .. } => scan(line, line_start, wide, best, places),
                }
            }
        }
    }
}

impl Span {
    /// Are these windows of two elements each without padding, all inside of so many elements?
    fn is_pairs(&self, size: usize) -> bool {
        let Span::Sliding(axis) = self else { return false };
        (axis.kernel, axis.stride, axis.before, axis.dilation) == (2, 2, 0, 1) && 2 * axis.count <= size
    }
}

/// One line of elements under equal windows: tap by tap, all windows at once.
#[inline(always)]
fn slide<T: Real>(line: &[T], line_start: usize, axis: &Sliding, best: &mut [T], places: &mut [i32]) {
    for tap in 0..axis.kernel {
        let outputs = axis.outputs(tap);
        if outputs.is_empty() {
            continue;
        }
        let first = axis.element(outputs.start, tap);
        let best = &mut best[outputs.clone()];
        // A loop for each of the usual strides, but not for f64.
        let stride = axis.stride;
        if places.is_empty() {
            match if const { T::DOUBLE } { 0 } else { stride } {
                1 => greatest::<T, 1>(&line[first..], 1, best),
                2 => greatest::<T, 2>(&line[first..], 2, best),
                _ => greatest::<T, 0>(&line[first..], stride, best),
            }
        } else {
            let places = &mut places[outputs];
            let start = (line_start + first) as i32;
            match if const { T::DOUBLE } { 0 } else { stride } {
                1 => greatest_at::<T, 1>(&line[first..], 1, start, best, places),
                2 => greatest_at::<T, 2>(&line[first..], 2, start, best, places),
                _ => greatest_at::<T, 0>(&line[first..], stride, start, best, places),
            }
        }
    }
}

/// A row of windows of two by two elements, on two lines that begin at `starts`. Rows are often short: so eight windows at a time,
/// of which the last may cover some of those before, or four, or one.
#[inline(always)]
fn in_pairs<T: Real>(x: &[T], starts: [usize; 2], best: &mut [T], places: &mut [i32]) {
    let (mut done, count) = (0, best.len());
    while done < count {
        let size = match count {
            8.. => 8,
            4.. => 4,
            _ => 1,
        };
        let first = done.min(count - size);
        let (best, places) = (&mut best[first..], places.get_mut(first..).unwrap_or_default());
        let starts = starts.map(|start| start + 2 * first);
        match size {
            8 => some_pairs::<T, 8>(x, starts, best, places),
            4 => some_pairs::<T, 4>(x, starts, best, places),
            _ => some_pairs::<T, 1>(x, starts, best, places),
        }
        done = first + size;
    }
}

/// `N` windows: what is the greatest so far stays in registers.
#[inline(always)]
fn some_pairs<T: Real, const N: usize>(x: &[T], starts: [usize; 2], best: &mut [T], places: &mut [i32]) {
    let mut taps = [[T::ZERO; N]; 4];
    for (line, start) in starts.into_iter().enumerate() {
        let (pairs, _) = x[start..start + 2 * N].as_chunks::<2>();
        for lane in 0..N {
            (taps[2 * line][lane], taps[2 * line + 1][lane]) = (pairs[lane][0], pairs[lane][1]);
        }
    }
    // The first element is the greatest so far, whatever it is.
    let mut now = taps[0];
    if places.is_empty() {
        for tap in &taps[1..] {
            for lane in 0..N {
                now[lane] = if beats(tap[lane], now[lane]) { tap[lane] } else { now[lane] };
            }
        }
        return best[..N].copy_from_slice(&now);
    }
    let mut at = [0; N];
    for (lane, at) in at.iter_mut().enumerate() {
        *at = (starts[0] + 2 * lane) as i32;
    }
    let firsts = [starts[0], starts[0] + 1, starts[1], starts[1] + 1];
    for (tap, first) in taps.into_iter().zip(firsts).skip(1) {
        for lane in 0..N {
            let better = beats(tap[lane], now[lane]);
            now[lane] = if better { tap[lane] } else { now[lane] };
            at[lane] = if better { first as i32 + 2 * lane as i32 } else { at[lane] };
        }
    }
    best[..N].copy_from_slice(&now);
    places[..N].copy_from_slice(&at);
}

/// Is `x` to stand in place of `best`? A NaN always is.
#[inline(always)]
#[allow(clippy::eq_op)]
fn beats<T: Real>(x: T, best: T) -> bool {
    x > best || x != x
}

/// `STRIDE` is known to the compiler where it is not 0, so that it can read whole vectors.
#[inline(always)]
fn greatest<T: Real, const STRIDE: usize>(line: &[T], stride: usize, best: &mut [T]) {
    let stride = if STRIDE > 0 { STRIDE } else { stride };
    let line = &line[..(best.len() - 1) * stride + 1];
    for (i, best) in best.iter_mut().enumerate() {
        let x = alone(line[i * stride]);
        *best = if beats(x, *best) { x } else { *best };
    }
}

#[inline(always)]
fn greatest_at<T: Real, const STRIDE: usize>(
    line: &[T],
    stride: usize,
    start: i32,
    best: &mut [T],
    places: &mut [i32],
) {
    let stride = if STRIDE > 0 { STRIDE } else { stride };
    let line = &line[..(best.len() - 1) * stride + 1];
    let mut at = start;
    for (i, (best, place)) in best.iter_mut().zip(places).enumerate() {
        let x = alone(line[i * stride]);
        let better = beats(x, *best) | (*place < 0);
        *best = if better { x } else { *best };
        *place = if better { at } else { *place };
        at = at.wrapping_add(stride as i32);
    }
}

/// One line of elements under windows of different sizes.
#[inline(always)]
fn scan<T: Real>(line: &[T], line_start: usize, span: &Span, best: &mut [T], places: &mut [i32]) {
    for (output, best) in best.iter_mut().enumerate() {
        let (first, length, step) = span.window(output);
        for i in 0..length {
            let at = first + i * step;
            let x = line[at];
            let unset = places.get(output).is_some_and(|&place| place < 0);
            if beats(x, *best) || unset {
                *best = x;
                if let Some(place) = places.get_mut(output) {
                    *place = (line_start + at) as i32;
                }
            }
        }
    }
}

pub(super) fn scatter<T: Real>(x: &Value, positions: &Value, volume: [usize; 3]) -> Result<Value, Fault> {
    same_shape(x, positions)?;
    let each: usize = x.dims()[2..].iter().product();
    let (values, places) = (x.dense::<T>()?, positions.dense::<i64>()?);
    let wrong = AtomicI64::new(-1);
    let size = volume.iter().product();
    let sums = Value::build::<T>(volumes(x, volume)?, |out| {
        parallel::chunks(out, size, 1 + each / size.max(1), |part, sums| {
            sums.fill(T::ZERO);
            let range = part * each..(part + 1) * each;
            for (&x, &place) in values[range.clone()].iter().zip(&places[range]) {
                match sums.get_mut(place as usize) {
                    Some(sum) => *sum += x,
                    None if place == -1 => {}
                    None => wrong.store(place, Relaxed),
                }
            }
        });
    })?;
    match wrong.into_inner() {
        -1 => Ok(sums),
        position => Err(no_place(position, size)),
    }
}

pub(super) fn pick(x: &Value, positions: &Value) -> Result<Value, Fault> {
    let size: usize = x.dims()[2..].iter().product();
    let each: usize = positions.dims()[2..].iter().product();
    let places = positions.dense::<i64>()?;
    let wrong = AtomicI64::new(-1);
    let mut picked = Value::blank(Shape::new(positions.dims())?, x.dtype())?;
    by_size!(x.dtype(), W => {
        let (out, values) = Value::dense_words::<W>(&mut picked, x)?;
        parallel::chunks(out, each, 1, |part, out| {
            let values = &values[part * size..(part + 1) * size];
            for (out, &place) in out.iter_mut().zip(&places[part * each..]) {
                *out = match values.get(place as usize) {
                    Some(&x) => x,
                    None if place == -1 => W::default(),
                    None => {
                        wrong.store(place, Relaxed);
                        W::default()
                    }
                };
            }
        });
    });
    match wrong.into_inner() {
        -1 => Ok(picked),
        position => Err(no_place(position, size)),
    }
}
