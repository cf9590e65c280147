//! Register tiles for AVX-512, AVX2 and what every x86-64 has: R rows by V vectors of sums, which never leave their registers.
//!
//! For each shared position: V loads of B, R broadcasts of A, R·V fused multiply-adds. AVX-512 has 32 registers
//! (14 · 2 sums, 2 of B, 1 of A), AVX2 has 16 (6 · 2, 2, 1), as has SSE2 (4 · 2, 2, 1, and one for a product). A tile of few rows is still faster than a padded one,
//! so every number of rows has its own code in f32. In f64 and of pairs some have, of which others are put together: each is
//! compiled by everybody, for two widths, packed or not, and each instruction set.

use super::kernel::{Kernel, Tile};
use std::arch::asm;
use std::arch::x86_64::*;

/// One instantiation of `$tile<R, V>` per number of rows that has code, and of vectors.
macro_rules! by_size {
    ($tile:ident; $($R:literal)*) => { [[$($tile::<$R, 1>),*], [$($tile::<$R, 2>),*]] };
}

/// For each number of rows, the place of the largest one not above it in a list that grows and begins with 1.
const fn largest_within<const SIZES: usize, const LENGTH: usize>(sizes: [usize; SIZES]) -> [usize; LENGTH] {
    let mut places = [0; LENGTH];
    let mut rows = 1;
    while rows < LENGTH {
        let last = places[rows - 1];
        places[rows] = if last + 1 < SIZES && sizes[last + 1] <= rows { last + 1 } else { last };
        rows += 1;
    }
    places
}

/// Positions of B that are asked for before they are needed: into the first-level cache, and into the one behind it, where rows
/// that lie far apart come from a third one and nothing foresees them.
const AHEAD: isize = 8;
const FAR_AHEAD: isize = 32;

/// C is asked for when so many multiplications of a vector are left: earlier, what panels ask for would have to wait, and push it out
/// again before it is wanted.
const LAST: usize = 448;

/// A loop over the early positions, in pairs with something after each or one by one, something in between, and a loop over the late ones.
macro_rules! early_and_late {
    ($early:expr, $late:expr, $in_pairs:expr, $position:block, $after_pair:block, $between:block) => {
        if $in_pairs {
            for _ in 0..$early / 2 {
                $position
                $position
                $after_pair
            }
        } else {
            for _ in 0..$early {
                $position
            }
        }
        $between
        for _ in 0..$late {
            $position
        }
    };
}

/// The same pointer, of which the compiler no longer knows where it came from.
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written through it")]
fn opaque<T>(mut pointer: *const T) -> *const T {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

macro_rules! tile {
    (
        $(#[$about:meta])* $name:ident, $sum:ident, $kernel:ident: $T:ident in $vector:ident of $lanes:literal, $features:literal, rows $rows:literal,
        depth $depth:literal, block $block:literal, group $group:literal, short $short_right:literal $short_left:literal, $zero:ident $load:ident $set:ident $fma:ident $multiply:ident $add:ident,
        store($pointer:ident, $value:ident, $left:ident, $t:ident) $store:block,
        load_c($from:ident, $there:ident) $load_c:block, sizes $($R:literal)*
    ) => {
        $(#[$about])*
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const V: usize>($t: &Tile<$T>) {
            // SAFETY: as the caller vouches; a packed panel of A is what `packed` asks for.
            let sums = unsafe {
                match $t.a_row == 1 && $t.a_step == R as isize {
                    true => $sum::<R, V, true>($t),
                    false => $sum::<R, V, false>($t),
                }
            };
            // Nothing but the sums: most tiles.
            if $t.alpha == 1.0 && !$t.add && $t.bias.is_null() && $t.columns == V * $lanes {
                for r in 0..R {
                    for v in 0..V {
                        let ($pointer, $value, $left) = ($t.c.wrapping_add(r * $t.c_row + v * $lanes), sums[r][v], $lanes);
                        // SAFETY: row `r` of C is one of the tile's.
                        unsafe { $store }
                    }
                }
                return;
            }
            let alpha = $set($t.alpha);
            // To add -0 leaves every number as it is.
            let mut bias = [$set(-0.0); V];
            if !$t.bias.is_null() {
                for v in 0..V {
                    let ($from, $there) = ($t.bias.wrapping_add(v * $lanes), $t.columns - (v * $lanes).min($t.columns));
                    // SAFETY: there is one number for each of the tile's columns.
                    bias[v] = unsafe { $load_c };
                }
            }
            for r in 0..R {
                for v in 0..V {
                    let $left = $t.columns - (v * $lanes).min($t.columns);
                    // SAFETY: row `r` of C is one of the tile's; only `left` columns are touched.
                    unsafe {
                        let $pointer = $t.c.add(r * $t.c_row).wrapping_add(v * $lanes);
                        let mut $value = $multiply(alpha, sums[r][v]);
                        if $t.add {
                            let ($from, $there) = ($pointer as *const $T, $left);
                            let before: $vector = $load_c;
                            $value = $add(before, $value);
                        }
                        $value = $add($value, bias[v]);
                        $store
                    }
                }
            }
        }

        /// The sums of a tile. Where A is packed the compiler knows its steps.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn $sum<const R: usize, const V: usize, const PACKED: bool>(t: &Tile<$T>) -> [[$vector; V]; R] {
            let (row, step) = if PACKED { (1, R as isize) } else { (t.a_row, t.a_step) };
            let mut sums = [[$zero(); V]; R];
            // Four rows to a pointer, none known to follow from another or from the last position: else each row's address
            // is computed from that of the row before, or kept in memory, and the multiplications wait for it.
            let mut a = [t.a; 4];
            for four in 1..4 {
                a[four] = t.a.wrapping_offset(4 * four as isize * row);
            }
            // What is near is not asked for twice: the second time it is the same again and again. (Where A is not packed there are not
            // enough registers for more addresses.)
            let far_step = if PACKED && !t.b_far { 0 } else { t.b_step };
            let (mut b, mut soon) = (t.b, t.b.wrapping_offset(AHEAD * t.b_step));
            let mut later = t.b.wrapping_offset(FAR_AHEAD * far_step);
            let (mut ahead, ahead_step) = if !PACKED || t.ahead.is_null() { (t.b, 0) } else { (t.ahead, 2) };
            // A short sum is one loop; and where B comes from afar, so does C, and takes its time.
            let early = if t.b_far || t.depth < 4 * LAST / R { 0 } else { (t.depth - LAST / R) & !1 };
            early_and_late!(early, t.depth - early, PACKED, {
                let mut row_of_b = [$zero(); V];
                for v in 0..V {
                    // SAFETY: each position of the panel can be read as far as it is wide.
                    row_of_b[v] = unsafe { $load(b.add(v * $lanes)) };
                    if v * $lanes * size_of::<$T>() % 64 == 0 {
                        _mm_prefetch::<_MM_HINT_T0>(soon.wrapping_add(v * $lanes).cast());
                        _mm_prefetch::<_MM_HINT_T1>(later.wrapping_add(v * $lanes).cast());
                    }
                }
                for r in 0..R {
                    // SAFETY: row `r` is one of the tile's.
                    let number = $set(unsafe { *a[r / 4].offset((r % 4) as isize * row) });
                    for v in 0..V {
                        sums[r][v] = $fma(number, row_of_b[v], sums[r][v]);
                    }
                }
                for a in &mut a {
                    *a = a.wrapping_offset(step);
                    *a = if PACKED { *a } else { opaque(*a) };
                }
                b = b.wrapping_offset(t.b_step);
                soon = soon.wrapping_offset(t.b_step);
                later = later.wrapping_offset(far_step);
            }, {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(ahead_step);
            }, {
                for r in 0..R {
                    for v in 0..V {
                        // C is wanted when all is summed; only a hint, so an address beyond C does no harm.
                        _mm_prefetch::<_MM_HINT_T0>(t.c.wrapping_add(r * t.c_row + v * $lanes).cast());
                    }
                }
            });
            sums
        }

        pub(super) const $kernel: Kernel<$T> = Kernel {
            rows: $rows,
            columns: 2 * $lanes,
            narrow: $lanes,
            depth: $depth,
            block: $block,
            group: $group,
            short_right: $short_right,
            short_left: $short_left,
            every: [$($R as usize),*].len() == $rows,
            compute: {
                unsafe fn compute(t: &Tile<$T>) {
                    const ROWS: [usize; [$($R),*].len()] = [$($R),*];
                    const TILES: [[unsafe fn(&Tile<$T>); ROWS.len()]; 2] = by_size!($name; $($R)*);
                    const WITHIN: [usize; $rows + 1] = largest_within(ROWS);
                    let tiles = &TILES[(t.columns > $lanes) as usize];
                    if const { ROWS.len() == $rows } {
                        // SAFETY: the caller vouches for the tile and the instruction set.
                        return unsafe { tiles[t.rows - 1](t) };
                    }
                    let mut done = 0;
                    while done < t.rows {
                        let size = WITHIN[t.rows - done];
                        let (rows, a) = (ROWS[size], t.a.wrapping_offset(done as isize * t.a_row));
                        // SAFETY: as above; these rows are some of the tile's.
                        unsafe { tiles[size](&Tile { rows, a, c: t.c.wrapping_add(done * t.c_row), ..*t }) };
                        done += rows;
                    }
                }
                compute
            },
        };
    };
}

/// The first `count` lanes, all of them from `lanes` on.
#[inline(always)]
fn mask(count: usize, lanes: usize) -> u32 {
    if count >= lanes { (1u32 << lanes) - 1 } else { (1u32 << count) - 1 }
}

tile! {
    /// 14 × 32 sums of f32.
    tile_512_f32, sum_512_f32, AVX512_F32: f32 in __m512 of 16, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma", rows 14,
    depth 384, block 1024, group 1, short 4095 0, _mm512_setzero_ps _mm512_loadu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_mul_ps _mm512_add_ps,
    store(pointer, value, left, t) { _mm512_mask_storeu_ps(pointer, mask(left, 16) as u16, value) },
    load_c(from, there) { _mm512_maskz_loadu_ps(mask(there, 16) as u16, from) },
    sizes 1 2 3 4 5 6 7 8 9 10 11 12 13 14
}

tile! {
    /// 14 × 16 sums of f64.
    tile_512_f64, sum_512_f64, AVX512_F64: f64 in __m512d of 8, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma", rows 14,
    depth 256, block 512, group 1, short 4095 0, _mm512_setzero_pd _mm512_loadu_pd _mm512_set1_pd _mm512_fmadd_pd _mm512_mul_pd _mm512_add_pd,
    store(pointer, value, left, t) { _mm512_mask_storeu_pd(pointer, mask(left, 8) as u8, value) },
    load_c(from, there) { _mm512_maskz_loadu_pd(mask(there, 8) as u8, from) },
    sizes 1 2 4 14
}

tile! {
    /// 6 × 16 sums of f32.
    tile_256_f32, sum_256_f32, AVX2_F32: f32 in __m256 of 8, "avx2,fma", rows 6,
    depth 256, block 1024, group 12, short 1024 512, _mm256_setzero_ps _mm256_loadu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_mul_ps _mm256_add_ps,
    store(pointer, value, left, t) {
        if left >= 8 { _mm256_storeu_ps(pointer, value) } else { _mm256_maskstore_ps(pointer, lanes_f32(left), value) }
    },
    load_c(from, there) {
        if there >= 8 { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, lanes_f32(there)) }
    },
    sizes 1 2 3 4 5 6
}

tile! {
    /// 6 × 8 sums of f64.
    tile_256_f64, sum_256_f64, AVX2_F64: f64 in __m256d of 4, "avx2,fma", rows 6,
    depth 256, block 512, group 12, short 1024 512, _mm256_setzero_pd _mm256_loadu_pd _mm256_set1_pd _mm256_fmadd_pd _mm256_mul_pd _mm256_add_pd,
    store(pointer, value, left, t) {
        if left >= 4 { _mm256_storeu_pd(pointer, value) } else { _mm256_maskstore_pd(pointer, lanes_f64(left), value) }
    },
    load_c(from, there) {
        if there >= 4 { _mm256_loadu_pd(from) } else { _mm256_maskload_pd(from, lanes_f64(there)) }
    },
    sizes 1 2 4 6
}

#[target_feature(enable = "sse2")]
#[inline]
fn add_products_f32(a: __m128, b: __m128, sum: __m128) -> __m128 {
    _mm_add_ps(sum, _mm_mul_ps(a, b))
}

#[target_feature(enable = "sse2")]
#[inline]
fn add_products_f64(a: __m128d, b: __m128d, sum: __m128d) -> __m128d {
    _mm_add_pd(sum, _mm_mul_pd(a, b))
}

tile! {
    /// 4 × 8 sums of f32.
    tile_128_f32, sum_128_f32, SSE2_F32: f32 in __m128 of 4, "sse2", rows 4,
    depth 256, block 1024, group 12, short 1024 512, _mm_setzero_ps _mm_loadu_ps _mm_set1_ps add_products_f32 _mm_mul_ps _mm_add_ps,
    store(pointer, value, left, t) { std::ptr::copy_nonoverlapping((&raw const value).cast(), pointer, left.min(4)) },
    load_c(from, there) {
        let mut some = _mm_setzero_ps();
        std::ptr::copy_nonoverlapping(from, (&raw mut some).cast(), there.min(4));
        some
    },
    sizes 1 4
}

tile! {
    /// 4 × 4 sums of f64.
    tile_128_f64, sum_128_f64, SSE2_F64: f64 in __m128d of 2, "sse2", rows 4,
    depth 256, block 512, group 12, short 1024 512, _mm_setzero_pd _mm_loadu_pd _mm_set1_pd add_products_f64 _mm_mul_pd _mm_add_pd,
    store(pointer, value, left, t) { std::ptr::copy_nonoverlapping((&raw const value).cast(), pointer, left.min(2)) },
    load_c(from, there) {
        let mut some = _mm_setzero_pd();
        std::ptr::copy_nonoverlapping(from, (&raw mut some).cast(), there.min(2));
        some
    },
    sizes 1 4
}

/// Pairs of bf16: both products of each are added to the sum of its lane.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn add_products_of_pairs(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: 32 numbers of 16 bits, whichever they are.
    let [a, b] = [a, b].map(|pairs| unsafe { std::mem::transmute::<__m512, __m512bh>(pairs) });
    _mm512_dpbf16_ps(sum, a, b)
}

tile! {
    /// 14 × 32 sums of f32, from pairs of bf16.
    tile_512_pairs, sum_512_pairs, PAIRS_512: f32 in __m512 of 16, "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma", rows 14,
    depth 384, block 1024, group 1, short 4095 0, _mm512_setzero_ps _mm512_loadu_ps _mm512_set1_ps add_products_of_pairs _mm512_mul_ps _mm512_add_ps,
    store(pointer, value, left, t) { _mm512_mask_storeu_ps(pointer, mask(left, 16) as u16, value) },
    load_c(from, there) { _mm512_maskz_loadu_ps(mask(there, 16) as u16, from) },
    sizes 1 2 4 8 14
}

/// The first `count` of 8 lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn lanes_f32(count: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// The first `count` of 4 lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn lanes_f64(count: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}
