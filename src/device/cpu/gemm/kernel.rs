//! A register tile: the innermost step of a product, and which one the processor gets.

use super::transpose;
use crate::device::cpu::simd::{self, SimdLevel};
use crate::layout::Element;
use std::ops::{Add, Mul, Range, Sub};

/// A piece of C that registers hold while all of `depth` is summed: `C = alpha · A · B`, or added to it.
pub(super) struct Tile<T> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    /// The first element of A's rows, the steps to the next row and to the next shared position.
    pub(super) a: *const T,
    pub(super) a_row: isize,
    pub(super) a_step: isize,
    /// The first element of B's panel, whose columns lie side by side, and the step to the next shared position.
    /// Each position can be read as far as the panel is wide, whatever `columns` says.
    pub(super) b: *const T,
    pub(super) b_step: isize,
    /// Is B asked for twice, since it comes from beyond the second-level cache?
    pub(super) b_far: bool,
    /// A line of `depth` elements side by side that is wanted later, and asked for meanwhile where A is packed; or null.
    pub(super) ahead: *const T,
    /// The first element of C, whose columns lie side by side, and the step to the next row.
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    pub(super) alpha: T,
    pub(super) add: bool,
    /// One number for each column, which is added at last; or null.
    pub(super) bias: *const T,
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl<T: Real> Tile<T> {
    /// Adds the bias, for a way to compute that does not.
    ///
    /// # Safety
    /// The pointers are good for what the tile says.
    unsafe fn add_bias(&self) {
        if self.bias.is_null() {
            return;
        }
        for row in 0..self.rows {
            // SAFETY: as the caller vouches.
            let (values, bias) = unsafe {
                let values = std::slice::from_raw_parts_mut(self.c.add(row * self.c_row), self.columns);
                (values, std::slice::from_raw_parts(self.bias, self.columns))
            };
            values.iter_mut().zip(bias).for_each(|(value, &bias)| *value = *value + bias);
        }
    }
}

/// Computes a tile. The pointers must be good for what [`Tile`] says, and the processor must have the instructions.
pub(super) type Compute<T> = unsafe fn(&Tile<T>);

/// A way to compute tiles, and the sizes it likes.
#[derive(Clone, Copy)]
pub(super) struct Kernel<T> {
    /// The most rows of a tile.
    pub(super) rows: usize,
    /// The columns of a panel of B.
    pub(super) columns: usize,
    /// The columns of a narrow panel, where at most this many are left.
    pub(super) narrow: usize,
    /// The most shared positions of a packed block: a panel stays in the first-level cache.
    pub(super) depth: usize,
    /// The most columns of a packed block of B: it stays in the cache behind the nearest one.
    pub(super) block: usize,
    /// The most tiles, one below the other, that one panel of B meets before the next one does.
    pub(super) group: usize,
    /// Rows of B, and of Aᵀ, that are no longer than so many bytes are read where they lie: a panel's places stay in the caches,
    /// and the next ones are asked for in time.
    pub(super) short_right: usize,
    pub(super) short_left: usize,
    /// Has every number of rows its own code? Others are put together of some.
    pub(super) every: bool,
    pub(super) compute: Compute<T>,
}

impl<T> Kernel<T> {
    /// How so many rows are cut into tiles.
    pub(super) fn cut(&self, rows: usize) -> Cut {
        let tiles = rows.div_ceil(self.rows).max(1);
        let (tall, taller) = if self.every { (rows / tiles, rows % tiles) } else { (self.rows, 0) };
        Cut { rows, tiles, tall, taller }
    }
}

/// Rows as tiles, one below the other: as even as can be, since a low tile takes hardly less time than a high one; or as high as
/// the code is best for, but the last.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    rows: usize,
    pub(super) tiles: usize,
    /// Rows of a tile, and how many of the first tiles have one more.
    tall: usize,
    taller: usize,
}

impl Cut {
    /// The rows of some tiles.
    pub(super) fn rows_of(&self, tiles: Range<usize>) -> Range<usize> {
        let edge = |tile: usize| (tile * self.tall + tile.min(self.taller)).min(self.rows);
        edge(tiles.start)..edge(tiles.end)
    }
    /// The rows of one tile.
    pub(super) fn rows(&self, tile: usize) -> Range<usize> {
        self.rows_of(tile..tile + 1)
    }
}

/// The two floats that products are computed in.
pub(crate) trait Real: Element + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// The tile for the instruction set in use.
    #[allow(private_interfaces)]
    fn kernel() -> Kernel<Self>;
    /// The tile for elements that are pairs of bf16, where there is one.
    #[allow(private_interfaces)]
    fn kernel_of_pairs() -> Kernel<Self> {
        Self::kernel()
    }
    /// Dot products with many lines for the instruction set in use, where they are spelt out.
    #[cfg(target_arch = "x86_64")]
    #[allow(private_interfaces)]
    fn dots() -> Option<super::dots::Dots<Self>> {
        None
    }
    /// `self · a + b`, as one instruction where `FUSED` says there is one.
    fn times_plus<const FUSED: bool>(self, a: Self, b: Self) -> Self;
    /// Writes `count` lines that are dense along the shared size as a panel: `panel[p * width + l] = line l at p`.
    fn transpose(data: &[Self], first: usize, line: isize, count: usize, panel: &mut [Self], width: usize);
    /// The same by pointers: `to[p * width + l]` becomes line `l` at `p` for `depth` positions, and nothing else is written.
    ///
    /// # Safety
    /// `count` lines of `depth` positions can be read, and so many positions of `count` elements written.
    unsafe fn turn(from: *const Self, line: isize, count: usize, depth: usize, to: *mut Self, width: usize);
}

macro_rules! real {
    ($T:ident, $avx512:ident, $avx2:ident, $sse2:ident, $portable:ident, $multiply:path, $turn:path, $turn_at:path $(, $pairs:ident $dots_512:ident $dots_256:ident)?) => {
        impl Real for $T {
            $(
                #[cfg(target_arch = "x86_64")]
                #[allow(private_interfaces)]
                fn kernel_of_pairs() -> Kernel<$T> {
                    super::x86::$pairs
                }
                #[cfg(target_arch = "x86_64")]
                #[allow(private_interfaces)]
                fn dots() -> Option<super::dots::Dots<$T>> {
                    match simd::level() {
                        SimdLevel::Avx512 => Some(super::dots::$dots_512),
                        SimdLevel::Avx2 => Some(super::dots::$dots_256),
                        SimdLevel::Portable => None,
                    }
                }
            )?
            #[allow(private_interfaces)]
            fn kernel() -> Kernel<$T> {
                match simd::level() {
                    #[cfg(target_arch = "x86_64")]
                    SimdLevel::Avx512 => super::x86::$avx512,
                    #[cfg(target_arch = "x86_64")]
                    SimdLevel::Avx2 => super::x86::$avx2,
                    #[cfg(target_arch = "x86_64")]
                    SimdLevel::Portable => super::x86::$sse2,
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => $portable,
                }
            }
            #[inline(always)]
            fn times_plus<const FUSED: bool>(self, a: $T, b: $T) -> $T {
                if FUSED { self.mul_add(a, b) } else { self * a + b }
            }
            fn transpose(data: &[$T], first: usize, line: isize, count: usize, panel: &mut [$T], width: usize) {
                $turn(data, first, line, count, panel, width)
            }
            unsafe fn turn(from: *const $T, line: isize, count: usize, depth: usize, to: *mut $T, width: usize) {
                // SAFETY: as the caller vouches.
                unsafe { $turn_at(from, line, count, depth, to, width) }
            }
        }

        /// Targets without a tile of ours: a block at a time through `matrixmultiply`, which packs once more.
        #[cfg(any(test, not(target_arch = "x86_64")))]
        pub(super) const $portable: Kernel<$T> = Kernel {
            rows: 96,
            columns: 256,
            narrow: 256,
            depth: 256,
            block: 1024,
            group: 1,
            short_right: 4095,
            short_left: 0,
            every: true,
            compute: {
                unsafe fn compute(t: &Tile<$T>) {
                    let beta = if t.add { 1.0 } else { 0.0 };
                    // SAFETY: the caller vouches for the pointers; C's rows do not overlap.
                    unsafe {
                        $multiply(
                            t.rows,
                            t.depth,
                            t.columns,
                            t.alpha,
                            t.a,
                            t.a_row,
                            t.a_step,
                            t.b,
                            t.b_step,
                            1,
                            beta,
                            t.c,
                            t.c_row as isize,
                            1,
                        );
                        t.add_bias();
                    }
                }
                compute
            },
        };
    };
}

real!(
    f32, AVX512_F32, AVX2_F32, SSE2_F32, PORTABLE_F32, matrixmultiply::sgemm, transpose::turn_f32, transpose::turn_f32_at,
    PAIRS_512 dots_512 dots_256
);
real!(
    f64,
    AVX512_F64,
    AVX2_F64,
    SSE2_F64,
    PORTABLE_F64,
    matrixmultiply::dgemm,
    transpose::turn_f64,
    transpose::turn_f64_at
);
