//! Turning lines into panels: blocks of 8 × 8 (f32) or 4 × 4 (f64) inside registers.

#[cfg(target_arch = "x86_64")]
use crate::device::cpu::simd::{self, SimdLevel};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::Range;

/// The plain loop: what every target has, and the ragged ends.
fn plain<T: Copy>(
    data: &[T],
    [first, count, width]: [usize; 3],
    line: isize,
    positions: Range<usize>,
    panel: &mut [T],
) {
    for l in 0..count {
        let start = (first as isize + l as isize * line) as usize;
        let from = &data[start + positions.start..start + positions.end];
        let Some(to) = panel.get_mut(positions.start * width + l..) else { return };
        for (to, &value) in to.iter_mut().step_by(width).zip(from) {
            *to = value;
        }
    }
}

/// The same for pointers, of some lines.
unsafe fn plain_at<T: Copy>(
    from: *const T,
    line: isize,
    lines: Range<usize>,
    positions: Range<usize>,
    to: *mut T,
    width: usize,
) {
    for l in lines {
        for position in positions.clone() {
            // SAFETY: the caller vouches for all positions of all lines, on both sides.
            unsafe { *to.add(position * width + l) = *from.offset(l as isize * line).add(position) };
        }
    }
}

macro_rules! turn {
    ($name:ident, $at:ident, $blocks:ident, $T:ident, $side:literal, $load:ident, $store:ident, $transpose:ident $(, $wide:ident)?) => {
        /// `panel[p * width + l]` becomes line `l` at `p`, for `count` lines that begin `line` apart, the first at `first`.
        pub(super) fn $name(data: &[$T], first: usize, line: isize, count: usize, panel: &mut [$T], width: usize) {
            let depth = panel.len() / width;
            #[cfg(target_arch = "x86_64")]
            let last = (first as isize + (count as isize - 1) * line) as usize;
            $(
                #[cfg(target_arch = "x86_64")]
                if simd::level() >= SimdLevel::Avx512 && count > 8 {
                    assert!(first.max(last) + depth <= data.len() && count <= width);
                    // SAFETY: the level says that AVX-512 is there; the lines and the panel were checked just now.
                    return unsafe { $wide(data.as_ptr().add(first), line, count, depth, panel.as_mut_ptr(), width) };
                }
            )?
            #[cfg(target_arch = "x86_64")]
            if simd::level() >= SimdLevel::Avx2 && count > 1 && depth >= $side {
                // A block writes all its lanes, beyond the last line too: into later positions, which are written
                // after it. So the positions that the last block reaches into stay out of the blocks.
                let beyond = count.next_multiple_of($side).saturating_sub(width);
                let whole = (depth - beyond.div_ceil(width).min(depth)) / $side * $side;
                assert!(first.max(last) + depth <= data.len() && count <= width);
                // SAFETY: the level says that AVX2 is there; the lines and the panel were checked just now.
                unsafe { $blocks(data.as_ptr().add(first), line, count, panel.as_mut_ptr(), width, whole) };
                return plain(data, [first, count, width], line, whole..depth, panel);
            }
            plain(data, [first, count, width], line, 0..depth, panel)
        }

        /// `to[p * width + l]` becomes line `l` at `p`, for `count` lines of `depth` positions; nothing else is written.
        pub(super) unsafe fn $at(from: *const $T, line: isize, count: usize, depth: usize, to: *mut $T, width: usize) {
            #[cfg(target_arch = "x86_64")]
            {
                $(
                    if simd::level() >= SimdLevel::Avx512 {
                        // SAFETY: the level says that AVX-512 is there; the caller vouches for the pointers.
                        return unsafe { $wide(from, line, count, depth, to, width) };
                    }
                )?
                if simd::level() >= SimdLevel::Avx2 {
                    let (lines, whole) = (count / $side * $side, depth / $side * $side);
                    // SAFETY: the level says that AVX2 is there; the caller vouches for the pointers, and whole blocks write
                    // nothing that is not theirs.
                    unsafe {
                        $blocks(from, line, lines, to, width, whole);
                        plain_at(from, line, 0..lines, whole..depth, to, width);
                        return plain_at(from, line, lines..count, 0..depth, to, width);
                    }
                }
            }
            // SAFETY: the caller vouches for the pointers.
            unsafe { plain_at(from, line, 0..count, 0..depth, to, width) }
        }

        /// The positions `0..whole`. The ragged lines of a block go first, since they write too far.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        unsafe fn $blocks(from: *const $T, line: isize, count: usize, panel: *mut $T, width: usize, whole: usize) {
            for position in (0..whole).step_by($side) {
                for l in (0..count).step_by($side).rev() {
                    // SAFETY: lines that exist (beyond the last, the last one again), `side` positions of each.
                    let rows: [_; $side] = std::array::from_fn(|i| unsafe {
                        $load(from.offset((l + i).min(count - 1) as isize * line).add(position))
                    });
                    for (i, column) in $transpose(rows).into_iter().enumerate() {
                        // SAFETY: behind the blocks the panel has room for what the last of them writes too far.
                        unsafe { $store(panel.add((position + i) * width + l), column) };
                    }
                }
            }
        }
    };
}

turn!(turn_f32, turn_f32_at, blocks_f32, f32, 8, _mm256_loadu_ps, _mm256_storeu_ps, transpose_8, wide_blocks_f32);
turn!(turn_f64, turn_f64_at, blocks_f64, f64, 4, _mm256_loadu_pd, _mm256_storeu_pd, transpose_4);

/// As `turn_f32_at`, in blocks of 16 × 16, of which the last ones are masked.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn wide_blocks_f32(from: *const f32, line: isize, count: usize, depth: usize, to: *mut f32, width: usize) {
    for l in (0..count).step_by(16) {
        let lines = (count - l).min(16);
        for position in (0..depth).step_by(16) {
            let positions = (depth - position).min(16);
            // SAFETY: the caller vouches for these lines and positions, and no more are read or written.
            unsafe {
                let from = from.offset(l as isize * line).add(position);
                let to = to.add(position * width + l);
                if lines == 16 && positions == 16 {
                    let rows = std::array::from_fn(|i| _mm512_loadu_ps(from.offset(i as isize * line)));
                    for (i, column) in transpose_16(rows).into_iter().enumerate() {
                        _mm512_storeu_ps(to.add(i * width), column);
                    }
                    continue;
                }
                let (there, left) = ((1u32 << positions) - 1, (1u32 << lines) - 1);
                let rows = std::array::from_fn(|i| {
                    // Beyond the last line, the last one again.
                    _mm512_maskz_loadu_ps(there as u16, from.offset(i.min(lines - 1) as isize * line))
                });
                for (i, column) in transpose_16(rows).into_iter().enumerate().take(positions) {
                    _mm512_mask_storeu_ps(to.add(i * width), left as u16, column);
                }
            }
        }
    }
}

/// Rows of a 16 × 16 block become its columns: pairs and fours are exchanged inside of quarters, then quarters.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
pub(in crate::device::cpu) fn transpose_16(r: [__m512; 16]) -> [__m512; 16] {
    let pairs: [__m512; 16] = std::array::from_fn(|i| {
        let (a, b) = (r[i & !1], r[i | 1]);
        if i & 1 == 0 { _mm512_unpacklo_ps(a, b) } else { _mm512_unpackhi_ps(a, b) }
    });
    // Number 4 g + c has in quarter q what rows 4 g to 4 g + 3 have in column 4 q + c.
    let fours: [__m512; 16] = std::array::from_fn(|i| {
        let at = (i & 12) + (i >> 1 & 1);
        let (a, b) = (pairs[at], pairs[at + 2]);
        if i & 1 == 0 { _mm512_shuffle_ps::<0x44>(a, b) } else { _mm512_shuffle_ps::<0xee>(a, b) }
    });
    // Even quarters of two fours, and odd ones.
    let halves: [__m512; 16] = std::array::from_fn(|i| {
        let (a, b) = (fours[(i & 8) + (i & 3)], fours[(i & 8) + 4 + (i & 3)]);
        if i & 4 == 0 { _mm512_shuffle_f32x4::<0x88>(a, b) } else { _mm512_shuffle_f32x4::<0xdd>(a, b) }
    });
    std::array::from_fn(|i| {
        let at = (i & 4) + (i & 3);
        let (a, b) = (halves[at], halves[at + 8]);
        if i < 8 { _mm512_shuffle_f32x4::<0x88>(a, b) } else { _mm512_shuffle_f32x4::<0xdd>(a, b) }
    })
}

/// Rows of an 8 × 8 block become its columns: pairs, then fours, then halves are exchanged.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::device::cpu) fn transpose_8(r: [__m256; 8]) -> [__m256; 8] {
    let pairs: [__m256; 8] = std::array::from_fn(|i| {
        let (a, b) = (r[i & !1], r[i | 1]);
        if i & 1 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
    });
    let fours: [__m256; 8] = std::array::from_fn(|i| {
        let (a, b) = (pairs[(i & 4) + (i >> 1 & 1)], pairs[(i & 4) + (i >> 1 & 1) + 2]);
        if i & 1 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
    });
    std::array::from_fn(|i| {
        let (a, b) = (fours[i & 3], fours[(i & 3) + 4]);
        if i < 4 { _mm256_permute2f128_ps::<0x20>(a, b) } else { _mm256_permute2f128_ps::<0x31>(a, b) }
    })
}

/// Rows of a 4 × 4 block become its columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::device::cpu) fn transpose_4(r: [__m256d; 4]) -> [__m256d; 4] {
    let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
    let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
    [
        _mm256_permute2f128_pd::<0x20>(a, c),
        _mm256_permute2f128_pd::<0x20>(b, d),
        _mm256_permute2f128_pd::<0x31>(a, c),
        _mm256_permute2f128_pd::<0x31>(b, d),
    ]
}
