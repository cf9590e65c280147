//! Into the 16 places and out of them: additions of vectors of 16 channels.
//!
//! Elements of 16 channels are turned into vectors, a block's at a time, which stay in the first-level cache.

use super::LANES;
use super::tiles::{Block, Planes};
use crate::device::cpu::conv::finish::{Finish, rectified};
use crate::device::cpu::gemm::Real;
use crate::device::cpu::simd::Kernel;

/// What a vector holds.
type Lanes<T> = [T; LANES];

#[inline(always)]
unsafe fn get<T: Real>(from: *const T) -> Lanes<T> {
    // SAFETY: the caller vouches for a vector.
    unsafe { from.cast::<Lanes<T>>().read_unaligned() }
}

#[inline(always)]
unsafe fn put<T: Real>(to: *mut T, lanes: Lanes<T>) {
    // SAFETY: the caller vouches for a vector.
    unsafe { to.cast::<Lanes<T>>().write_unaligned(lanes) }
}

#[inline(always)]
fn plus<T: Real>(mut a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    for lane in 0..LANES {
        a[lane] = a[lane] + b[lane];
    }
    a
}

#[inline(always)]
fn less<T: Real>(mut a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    for lane in 0..LANES {
        a[lane] = a[lane] - b[lane];
    }
    a
}

#[inline(always)]
fn times<T: Real>(mut a: Lanes<T>, number: T) -> Lanes<T> {
    for lane in &mut a {
        *lane = *lane * number;
    }
    a
}

#[inline(always)]
fn zeros<T: Real>() -> Lanes<T> {
    [T::default(); LANES]
}

/// Some channels of an image that a block reads, 16 at most.
pub(super) struct Source<'a, T> {
    pub(super) planes: &'a Planes<'a, T>,
    pub(super) image: usize,
    /// The first channel, and how many.
    pub(super) channel: usize,
    pub(super) count: usize,
    pub(super) block: &'a Block,
    /// Room for them as vectors.
    pub(super) frame: &'a mut [T],
}

/// Elements as vectors of 16 channels, rows of `width`.
struct Vectors<T> {
    /// What stands for rows that do not exist.
    nothing: *const T,
    start: *const T,
    /// The first row and column that are there, how many rows, and how many columns.
    first: [isize; 2],
    height: usize,
    width: usize,
}

impl<T: Real> Source<'_, T> {
    /// Turns what `reach` elements of each tile, in both directions, read.
    #[inline(always)]
    fn vectors(self, reach: usize) -> Vectors<T> {
        let Source { planes, image, channel, count, block, frame } = self;
        let range = |tiles: &std::ops::Range<usize>, axis: usize| {
            let size = planes.sizes[axis] as isize;
            let first = (2 * tiles.start as isize + planes.start[axis]).clamp(0, size);
            let end = ((2 * tiles.end + reach - 2) as isize + planes.start[axis]).clamp(first, size);
            (first, (end - first) as usize)
        };
        let ((top, height), (left, width)) = (range(&block.rows, 0), range(&block.columns, 1));
        let (nothing, vectors) = frame.split_at_mut(width * LANES);
        nothing.fill(T::default());
        let [_, wide] = planes.sizes;
        // Whole rows lie behind one another.
        let (runs, run) = if width == wide { (1, height * width) } else { (height, width) };
        if width > 0 && height > 0 {
            let first = image * planes.image + channel * planes.channel + top as usize * wide + left as usize;
            let last = first + (count - 1) * planes.channel + (runs - 1) * wide + run;
            assert!(last <= planes.data.len() && runs * run * LANES <= vectors.len() && count <= LANES);
            for row in 0..runs {
                // SAFETY: `count` channels of `run` elements are there, and so many vectors, as was checked just now.
                unsafe {
                    let from = planes.data.as_ptr().add(first + row * wide);
                    let to = vectors.as_mut_ptr().add(row * run * LANES);
                    T::turn(from, planes.channel as isize, count, run, to, LANES);
                }
            }
        }
        Vectors { nothing: nothing.as_ptr(), start: vectors.as_ptr(), first: [top, left], height, width }
    }
}

impl<T: Real> Vectors<T> {
    /// A row.
    #[inline(always)]
    fn row(&self, row: isize) -> *const T {
        let row = (row - self.first[0]) as usize;
        if row < self.height { self.start.wrapping_add(row * self.width * LANES) } else { self.nothing }
    }
    /// A column of some rows.
    #[inline(always)]
    fn column<const N: usize>(&self, rows: [*const T; N], column: isize) -> [Lanes<T>; N] {
        let column = (column - self.first[1]) as usize;
        let mut lanes = [zeros(); N];
        if column < self.width {
            for (lanes, row) in lanes.iter_mut().zip(rows) {
                // SAFETY: each row holds a vector for each column that is there.
                *lanes = unsafe { get(row.add(column * LANES)) };
            }
        }
        lanes
    }
}

/// The 16 places of tiles, as vectors of 16 channels: from one tile to the next, and from one place to the next.
pub(super) struct Places<'a, T> {
    /// From the first tile's channels on.
    pub(super) to: &'a mut [T],
    pub(super) tile: usize,
    pub(super) place: usize,
}

impl<T: Real> Places<'_, T> {
    /// Where the first tile's are, if there is room for so many.
    #[inline(always)]
    fn start(self, tiles: usize) -> *mut T {
        assert!(15 * self.place + (tiles - 1) * self.tile + LANES <= self.to.len());
        self.to.as_mut_ptr()
    }
}

/// `Bᵀ d B`.
pub(super) struct Inputs<'a, T> {
    pub(super) source: Source<'a, T>,
    pub(super) places: Places<'a, T>,
}

impl<T: Real> Kernel for Inputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Inputs { source, places } = self;
        let ([up, left], block) = (source.planes.start, source.block);
        let (tile, place) = (places.tile, places.place);
        let mut to = places.start(block.of_image());
        let vectors = source.vectors(4);
        for row in block.rows.clone() {
            let rows: [*const T; 4] = std::array::from_fn(|line| vectors.row((2 * row + line) as isize + up));
            let first = 2 * block.columns.start as isize + left;
            let mut a = differences(vectors.column(rows, first));
            let mut b = differences(vectors.column(rows, first + 1));
            for column in 0..block.columns.len() as isize {
                let c = differences(vectors.column(rows, first + 2 * column + 2));
                let d = differences(vectors.column(rows, first + 2 * column + 3));
                for line in 0..4 {
                    let to = to.wrapping_add(4 * line * place);
                    // SAFETY: `start` checked that there is room for the places of all tiles.
                    unsafe {
                        put(to, less(a[line], c[line]));
                        put(to.add(place), plus(b[line], c[line]));
                        put(to.add(2 * place), less(c[line], b[line]));
                        put(to.add(3 * place), less(b[line], d[line]));
                    }
                }
                (a, b) = (c, d);
                to = to.wrapping_add(tile);
            }
        }
    }
}

/// `Bᵀ d` of four elements.
#[inline(always)]
fn differences<T: Real>([a, b, c, d]: [Lanes<T>; 4]) -> [Lanes<T>; 4] {
    [less(a, c), plus(b, c), less(c, b), less(b, d)]
}

/// `A ∂y Aᵀ`.
pub(super) struct Arriving<'a, T> {
    pub(super) source: Source<'a, T>,
    pub(super) places: Places<'a, T>,
}

impl<T: Real> Kernel for Arriving<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Arriving { source, places } = self;
        let block = source.block;
        let (tile, place) = (places.tile, places.place);
        let mut to = places.start(block.of_image());
        let vectors = source.vectors(2);
        for row in block.rows.clone() {
            let rows = [vectors.row(2 * row as isize), vectors.row(2 * row as isize + 1)];
            for column in block.columns.clone() {
                let a = spread(vectors.column(rows, 2 * column as isize));
                let b = spread(vectors.column(rows, 2 * column as isize + 1));
                for line in 0..4 {
                    let to = to.wrapping_add(4 * line * place);
                    // SAFETY: `start` checked that there is room for the places of all tiles.
                    unsafe {
                        put(to, a[line]);
                        put(to.add(place), plus(a[line], b[line]));
                        put(to.add(2 * place), less(a[line], b[line]));
                        put(to.add(3 * place), less(zeros(), b[line]));
                    }
                }
                to = to.wrapping_add(tile);
            }
        }
    }
}

/// `A ∂y` of two results.
#[inline(always)]
fn spread<T: Real>([a, b]: [Lanes<T>; 2]) -> [Lanes<T>; 4] {
    [a, plus(a, b), less(a, b), less(zeros(), b)]
}

/// `Aᵀ m A` of up to 16 outputs of an image, finished.
pub(super) struct Outputs<'a, T> {
    /// From the first tile's outputs on.
    pub(super) from: &'a [T],
    pub(super) tile: usize,
    pub(super) place: usize,
    pub(super) finish: Finish<'a, T>,
    pub(super) block: &'a Block,
    /// Rows and columns of results of an image.
    pub(super) results: [usize; 2],
    /// Room for the results as vectors.
    pub(super) frame: &'a mut [T],
    /// The plane of the first output.
    pub(super) out: *mut T,
    pub(super) count: usize,
}

impl<T: Real> Kernel for Outputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Outputs { from, tile, place, finish, block, results: [high, wide], frame, out, count } = self;
        let finish = Finished::of(&finish, count);
        let (top, left) = (2 * block.rows.start, 2 * block.columns.start);
        let width = (2 * block.columns.end).min(wide) - left;
        assert!(15 * place + (block.of_image() - 1) * tile + LANES <= from.len());
        assert!(2 * block.rows.len() * width * LANES <= frame.len());
        let (mut from, mut line) = (from.as_ptr(), frame.as_mut_ptr());
        for _ in block.rows.clone() {
            for column in 0..block.columns.len() {
                let (mut even, mut odd) = ([zeros(); 4], [zeros(); 4]);
                for across in 0..4 {
                    let mut down = [zeros(); 4];
                    for (line, lanes) in down.iter_mut().enumerate() {
                        // SAFETY: the places of all tiles are there, as was checked above.
                        *lanes = unsafe { get(from.add((4 * line + across) * place)) };
                    }
                    let [a, b, c, d] = down;
                    even[across] = plus(plus(a, b), c);
                    odd[across] = less(less(b, c), d);
                }
                for (below, [a, b, c, d]) in [even, odd].into_iter().enumerate() {
                    // SAFETY: there is room for two rows of each row of tiles, as was checked above.
                    unsafe {
                        let to = line.add((below * width + 2 * column) * LANES);
                        put(to, finish.apply(plus(plus(a, b), c)));
                        if 2 * column + 1 < width {
                            put(to.add(LANES), finish.apply(less(less(b, c), d)));
                        }
                    }
                }
                from = from.wrapping_add(tile);
            }
            line = line.wrapping_add(2 * width * LANES);
        }
        let height = (2 * block.rows.end).min(high) - top;
        // Whole rows lie behind one another.
        let (runs, run) = if width == wide { (1, height * width) } else { (height, width) };
        for row in 0..runs {
            // SAFETY: the vectors are there; these places of `count` planes belong to this block, as its maker vouches.
            unsafe {
                let to = out.add((top + row) * wide + left);
                T::turn(frame.as_ptr().add(row * run * LANES), LANES as isize, run, count, to, high * wide);
            }
        }
    }
}

/// How the results of up to 16 outputs are finished.
struct Finished<T> {
    scale: Option<Lanes<T>>,
    shift: Lanes<T>,
    rectified: bool,
}

impl<T: Real> Finished<T> {
    #[inline(always)]
    fn of(finish: &Finish<'_, T>, count: usize) -> Finished<T> {
        let lanes = |numbers: &[T]| {
            let mut lanes = zeros();
            lanes[..count].copy_from_slice(&numbers[..count]);
            lanes
        };
        let shift = finish.shift.map_or(zeros(), lanes);
        Finished { scale: finish.scale.map(lanes), shift, rectified: finish.rectified }
    }
    #[inline(always)]
    fn apply(&self, mut lanes: Lanes<T>) -> Lanes<T> {
        if let Some(scale) = self.scale {
            for lane in 0..LANES {
                lanes[lane] = lanes[lane] * scale[lane];
            }
        }
        lanes = plus(lanes, self.shift);
        if self.rectified {
            for lane in &mut lanes {
                *lane = rectified(*lane);
            }
        }
        lanes
    }
}

/// `G w Gᵀ` of up to 16 rows, for all their channels.
pub(super) struct Weights<'a, T> {
    /// `[row, channel, tap]`.
    pub(super) weights: &'a [T],
    pub(super) channels: usize,
    /// The tap at each of 3 × 3 offsets.
    pub(super) taps: [usize; 9],
    /// Room for them as vectors.
    pub(super) frame: &'a mut [T],
    /// The first channel's places; a channel stands where a tile does elsewhere.
    pub(super) to: *mut T,
    pub(super) line: usize,
    pub(super) place: usize,
}

impl<T: Real> Kernel for Weights<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Weights { weights, channels, taps, frame, to, line, place } = self;
        let (half, each) = (T::from_f64(0.5), 9 * channels);
        assert!(each * LANES <= frame.len() && weights.len() <= LANES * each);
        // SAFETY: the rows are there, and there is room for so many vectors, as was checked just now.
        unsafe { T::turn(weights.as_ptr(), each as isize, weights.len() / each, each, frame.as_mut_ptr(), LANES) };
        for channel in 0..channels {
            // SAFETY: nine vectors for each channel.
            let tap = |offset: usize| unsafe { get(frame.as_ptr().add((9 * channel + taps[offset]) * LANES)) };
            let rows: [_; 3] =
                std::array::from_fn(|row| turn([tap(3 * row), tap(3 * row + 1), tap(3 * row + 2)], half));
            let [top, middle, bottom] = rows;
            for column in 0..4 {
                let all = turn([top[column], middle[column], bottom[column]], half);
                for (row, lanes) in all.into_iter().enumerate() {
                    // SAFETY: the places of all channels belong to these rows, as their maker vouches.
                    unsafe { put(to.add((4 * row + column) * place + channel * line), lanes) };
                }
            }
        }
    }
}

/// `G w` of three taps.
#[inline(always)]
fn turn<T: Real>(w: [Lanes<T>; 3], half: T) -> [Lanes<T>; 4] {
    let (ends, middle) = (times(plus(w[0], w[2]), half), times(w[1], half));
    [w[0], plus(ends, middle), less(ends, middle), w[2]]
}

/// `Gᵀ s G` of a row of weights, from sums of several parts, which are added up in f64.
pub(super) struct Weighed<'a, T> {
    /// From the row's sums in the first place of the first part on.
    pub(super) sums: &'a [T],
    pub(super) parts: usize,
    /// From one part, and from one place, to the next.
    pub(super) part: usize,
    pub(super) place: usize,
    /// `[channel, tap]`.
    pub(super) out: &'a mut [T],
}

impl<T: Real> Kernel for Weighed<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Weighed { sums, parts, part, place, out } = self;
        for (index, out) in out.chunks_mut(9 * LANES).enumerate() {
            let mut all = [[0.0; LANES]; 16];
            for (at, all) in all.iter_mut().enumerate() {
                let mut total = [0.0; LANES];
                for number in 0..parts {
                    let mut lanes = zeros::<T>();
                    lanes.copy_from_slice(&sums[number * part + at * place + index * LANES..][..LANES]);
                    for lane in 0..LANES {
                        total[lane] += lanes[lane].to_f64();
                    }
                }
                *all = total;
            }
            for (lane, out) in out.as_chunks_mut::<9>().0.iter_mut().enumerate() {
                let rows: [[f64; 3]; 4] =
                    std::array::from_fn(|row| back([0, 1, 2, 3].map(|column| all[4 * row + column][lane])));
                for column in 0..3 {
                    let taps = back(rows.map(|row| row[column]));
                    for (row, tap) in taps.into_iter().enumerate() {
                        out[3 * row + column] = T::from_f64(tap);
                    }
                }
            }
        }
    }
}

/// `Gᵀ s` of four sums.
#[inline(always)]
fn back(s: [f64; 4]) -> [f64; 3] {
    let (both, apart) = ((s[1] + s[2]) * 0.5, (s[1] - s[2]) * 0.5);
    [s[0] + both, apart, both + s[3]]
}
