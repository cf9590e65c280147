//! Dot products of a vector with many lines, where the processor is known: the last step of each, a sum across a register,
//! takes as long as all before it unless it is spelt out.

use crate::device::cpu::simd::prefetch;
use std::arch::x86_64::*;

/// Bytes ahead that are asked for. Short lines end before the processor has foreseen how they go on: lines of 1 KiB from the
/// third-level cache come a quarter faster. Of lines of a page and more it foresees most by itself, and what is asked for so far
/// ahead is in its way.
fn ahead(x: &[f32]) -> usize {
    if size_of_val(x) < 4096 { 2048 } else { 512 }
}

/// Writes the dot product of `x` with each line into `sums`; lines begin `line` apart.
///
/// # Safety
/// Each line has as many numbers as `x`; the processor has the instructions.
pub(super) type Dots<T> = unsafe fn(first: *const T, line: isize, x: &[T], sums: &mut [T]);

/// # Safety
/// As for [`Dots`].
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
pub(super) unsafe fn dots_512(first: *const f32, line: isize, x: &[f32], sums: &mut [f32]) {
    let (whole, ahead) = (x.len() / 16 * 16, ahead(x));
    let rest = (1u32 << (x.len() - whole)) as u16 - 1;
    let mut done = 0;
    for sums in sums.chunks_mut(4) {
        // Four lines at a time, so that `x` is read once for them; the last ones again where fewer are left.
        let lines: [*const f32; 4] =
            std::array::from_fn(|l| first.wrapping_offset((done + l.min(sums.len() - 1)) as isize * line));
        let mut lanes = [_mm512_setzero_ps(); 4];
        // SAFETY: `at` and the lanes that the mask lets through lie inside `x` and the lines.
        unsafe {
            for at in (0..whole).step_by(16) {
                let x = _mm512_loadu_ps(x.as_ptr().add(at));
                for l in 0..4 {
                    prefetch(lines[l].add(at).wrapping_byte_add(ahead));
                    lanes[l] = _mm512_fmadd_ps(_mm512_loadu_ps(lines[l].add(at)), x, lanes[l]);
                }
            }
            if rest != 0 {
                let x = _mm512_maskz_loadu_ps(rest, x.as_ptr().add(whole));
                for l in 0..4 {
                    lanes[l] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(rest, lines[l].add(whole)), x, lanes[l]);
                }
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            *sum = _mm512_reduce_add_ps(lanes);
        }
        done += sums.len();
    }
}

/// # Safety
/// As for [`Dots`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn dots_256(first: *const f32, line: isize, x: &[f32], sums: &mut [f32]) {
    let (whole, ahead) = (x.len() / 8 * 8, ahead(x));
    let mut done = 0;
    for sums in sums.chunks_mut(4) {
        let lines: [*const f32; 4] =
            std::array::from_fn(|l| first.wrapping_offset((done + l.min(sums.len() - 1)) as isize * line));
        let mut lanes = [_mm256_setzero_ps(); 4];
        // SAFETY: `at` lies inside `x` and the lines.
        unsafe {
            for at in (0..whole).step_by(8) {
                let x = _mm256_loadu_ps(x.as_ptr().add(at));
                for l in 0..4 {
                    prefetch(lines[l].add(at).wrapping_byte_add(ahead));
                    lanes[l] = _mm256_fmadd_ps(_mm256_loadu_ps(lines[l].add(at)), x, lanes[l]);
                }
            }
        }
        // Neighbours are added twice, then halves: sums of all four lines in one register.
        let pairs = [_mm256_hadd_ps(lanes[0], lanes[1]), _mm256_hadd_ps(lanes[2], lanes[3])];
        let fours = _mm256_hadd_ps(pairs[0], pairs[1]);
        let all = _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps::<1>(fours));
        let mut all_sums = [0.0f32; 4];
        // SAFETY: four numbers.
        unsafe { _mm_storeu_ps(all_sums.as_mut_ptr(), all) };
        for ((sum, held), line) in sums.iter_mut().zip(all_sums).zip(lines) {
            *sum = held;
            for (at, &x) in x.iter().enumerate().skip(whole) {
                // SAFETY: inside the line.
                *sum = unsafe { *line.add(at) }.mul_add(x, *sum);
            }
        }
        done += sums.len();
    }
}
