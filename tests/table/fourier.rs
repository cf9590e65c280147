//! Rows of the family `fourier`.

use super::*;
use chainrule::{Fourier, Stft};
use std::f64::consts::TAU;

/// `Σ xⱼ e^(±2πi jk / n)` over the axis before the pairs, as products with cosines and sines.
fn plain(pairs: &Tensor, back: bool, scale: f64) -> Tensor {
    let n = pairs.size(-2).unwrap_or(0);
    let turn = if back { TAU } else { -TAU } / n as f64;
    let counts: Vec<f64> = (0..n * n).map(|at| (at / n * (at % n) % n) as f64 * turn).collect();
    let angles = Tensor::from_vec(counts, [n, n]).unwrap_or_else(Tensor::failed);
    let of = |wave: Tensor| beside(pairs, (wave * scale).to_dtype(pairs.dtype().unwrap_or(DType::F32)));
    let [cosines, sines] = [of(angles.cos()), of(angles.sin())];
    let [real, imaginary] = [pairs.select(-1, 0), pairs.select(-1, 1)];
    let real_part = real.matmul(&cosines) - imaginary.matmul(&sines);
    Tensor::stack(&[&real_part, &(real.matmul(&sines) + imaginary.matmul(&cosines))], -1)
}

/// Pairs without imaginary parts.
fn complex(x: &Tensor) -> Tensor {
    Tensor::stack(&[x, &(x * 0.0)], -1)
}

/// A half spectrum with its mirrored half, of `n`.
fn whole(half: &Tensor, n: usize) -> Tensor {
    let pairs = half.size(-2).unwrap_or(0);
    let sign = |signs: [f64; 2]| {
        let signs = Tensor::from_vec(signs.to_vec(), [2]).unwrap_or_else(Tensor::failed);
        beside(half, signs.to_dtype(half.dtype().unwrap_or(DType::F32)))
    };
    let mut parts = vec![half.narrow(-2, 0, 1) * sign([1.0, 0.0]), half.narrow(-2, 1, (n - 1) / 2)];
    if n.is_multiple_of(2) {
        parts.push(half.narrow(-2, pairs - 1, 1) * sign([1.0, 0.0]));
    }
    parts.push(half.narrow(-2, 1, (n - 1) / 2).flip(-2) * sign([1.0, -1.0]));
    Tensor::cat(&parts, -2)
}

/// A signal's length that has the given half spectrum.
fn odd(x: &Tensor) -> usize {
    (2 * x.size(-2).unwrap_or(1)).saturating_sub(1)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("rfft", |x| x[0].rfft(-1))
            .on([real([8])])
            .on([real([7])])
            .on([real([1])])
            .on([real([3, 2])])
            .on([real([0, 3])])
            .on([real([2, 3, 22])])
            .on([real([2, 67])])
            .on([real([18, 15])])
            .large(WIDE, [real([2, 100])])
            .large(&[DType::F32], [real([1, 131])])
            .definition(|x| {
                let n = x[0].size(-1).unwrap_or(0);
                plain(&complex(&x[0]), false, 1.0).narrow(-2, 0, n / 2 + 1)
            })
            .axis(|x, axis| x[0].rfft(axis))
            .wrong(ErrorKind::Shape, &["single number has no axis", "unsqueeze(0)"], || Tensor::scalar(1.0).rfft(0))
            .wrong(ErrorKind::Shape, &["axis 1 has no elements"], || Tensor::zeros([2, 0]).rfft(1))
            .wrong(ErrorKind::DType, &["i64 numbers", "to_dtype(DType::F32)"], || Tensor::from([1, 2]).rfft(0)),
        row("irfft", |x| x[0].irfft(-1, odd(&x[0])))
            .on([real([4, 2])])
            .on([real([1, 2])])
            .on([real([2, 3, 2])])
            .on([real([0, 3, 2])])
            .on([real([18, 8, 2])])
            .on([real([2, 34, 2])])
            .large(WIDE, [real([2, 51, 2])])
            .definition(|x| {
                let n = odd(&x[0]);
                plain(&whole(&x[0], n), true, 1.0 / n as f64).select(-1, 0)
            })
            .axis(|x, axis| x[0].irfft(axis, 7))
            .wrong(ErrorKind::Shape, &["5 pairs is not half of one of 10", "of 8 or of 9 numbers"], || {
                Tensor::zeros([5, 2]).irfft(0, 10)
            })
            .wrong(ErrorKind::Shape, &["1 pairs is not half of one of 0", "spectrum of 1 number"], || {
                Tensor::zeros([1, 2]).irfft(0, 0)
            })
            .wrong(ErrorKind::Shape, &["[4, 3] does not hold pairs", "last axis of size 2"], || {
                Tensor::zeros([4, 3]).irfft(0, 6)
            }),
        row("irfft of an even length", |x| x[0].irfft(-1, odd(&x[0]).saturating_sub(1)))
            .on([real([4, 2])])
            .on([real([2, 2])])
            .on([real([2, 12, 2])])
            .large(WIDE, [real([2, 51, 2])])
            .definition(|x| {
                let n = odd(&x[0]) - 1;
                plain(&whole(&x[0], n), true, 1.0 / n as f64).select(-1, 0)
            }),
        row("fft", |x| x[0].fft(-1))
            .on([real([8, 2])])
            .on([real([1, 2])])
            .on([real([2, 9, 2])])
            .on([real([0, 3, 2])])
            .on([real([18, 14, 2])])
            .on([real([2, 37, 2])])
            .large(WIDE, [real([2, 96, 2])])
            .definition(|x| plain(&x[0], false, 1.0))
            .axis(|x, axis| x[0].fft(axis))
            .wrong(ErrorKind::Shape, &["[3] does not hold pairs", "rfft takes numbers"], || Tensor::zeros([3]).fft(0))
            .wrong(ErrorKind::Shape, &["single number has no axis"], || Tensor::zeros([2]).fft(0))
            .wrong(ErrorKind::DType, &["bool numbers"], || Tensor::zeros([2, 2]).to_dtype(DType::Bool).fft(0)),
        row("ifft", |x| x[0].ifft(-1))
            .on([real([6, 2])])
            .on([real([3, 11, 2])])
            .on([real([1, 37, 2])])
            .large(WIDE, [real([1, 70, 2])])
            .definition(|x| plain(&x[0], true, 1.0 / x[0].size(-2).unwrap_or(1) as f64))
            .axis(|x, axis| x[0].ifft(axis)),
        row("fft unitary", |x| x[0].fft(Fourier::along(0).unitary()).ifft(Fourier::along(-1).averaged()))
            .on([real([5, 6, 2])])
            .composed()
            .definition(|x| {
                let first = plain(&x[0].transpose(0, 1), false, 1.0 / (x[0].size(0).unwrap_or(1) as f64).sqrt());
                plain(&first.transpose(0, 1), true, 1.0)
            }),
        row("rfft along an axis between", |x| x[0].rfft(1))
            .on([real([2, 12, 3])])
            .on([real([2, 10, 20])])
            .on([real([1, 9, 17])])
            .on([real([2, 4, 0])])
            .definition(|x| {
                let turned = complex(&x[0].transpose(1, 2));
                let n = x[0].size(1).unwrap_or(0);
                plain(&turned, false, 1.0).narrow(-2, 0, n / 2 + 1).transpose(1, 2)
            }),
        row("irfft along an axis between", |x| x[0].irfft(1, 10))
            .on([real([2, 6, 18, 2])])
            .on([real([1, 6, 3, 2])])
            .definition(|x| plain(&whole(&x[0].transpose(1, 2), 10), true, 0.1).select(-1, 0).transpose(1, 2)),
        row("fft2", |x| x[0].fft2())
            .on([real([3, 4, 2])])
            .on([real([2, 5, 1, 2])])
            .composed()
            .definition(|x| plain(&plain(&x[0], false, 1.0).transpose(-3, -2), false, 1.0).transpose(-3, -2))
            .wrong(ErrorKind::Shape, &["axis -2 is out of range"], || Tensor::zeros([4, 2]).fft2()),
        row("ifft2", |x| x[0].ifft2()).on([real([3, 4, 2])]).composed(),
        row("rfft2", |x| x[0].rfft2()).on([real([4, 5])]).on([real([2, 3, 6])]).composed(),
        row("irfft2", |x| x[0].irfft2(5)).on([real([4, 3, 2])]).composed(),
        row("stft", |x| x[0].stft(&Stft::new(8).hop(3).window(&x[1])))
            .on([real([2, 21]), real([8])])
            .on([real([17]), real([5])])
            .on([real([0, 9]), real([8])])
            .composed()
            .definition(|x| {
                let rest = 8 - x[1].size(0).unwrap_or(0) as isize;
                let window = x[1].pad(&[(rest / 2, rest - rest / 2)], chainrule::Pad::Zeros);
                let signal = x[0].reshape([-1, x[0].size(-1).unwrap_or(0) as i64]);
                let frames = signal.pad(&[(4, 4)], chainrule::Pad::Reflect).sliding_windows(1, 8, 3) * window;
                let spectra = plain(&complex(&frames), false, 1.0).narrow(-2, 0, 5).transpose(1, 2);
                if x[0].rank().unwrap_or(0) == 1 { spectra.squeeze_axes(0) } else { spectra }
            })
            .wrong(ErrorKind::Shape, &["0 axes", "[.., samples]"], || Tensor::scalar(1.0).stft(&Stft::new(4)))
            .wrong(ErrorKind::Shape, &["signal of 4 numbers", "mirror image needs 5"], || {
                Tensor::zeros([4]).stft(&Stft::new(8))
            })
            .wrong(ErrorKind::Shape, &["signal of 4 numbers", "at least 8"], || {
                Tensor::zeros([4]).stft(&Stft::new(8).uncentred())
            })
            .wrong(ErrorKind::Shape, &["window of shape [9]", "hann_window(8)"], || {
                Tensor::zeros([40]).stft(&Stft::new(8).window(&Tensor::ones([9])))
            })
            .wrong(ErrorKind::Value, &["frames of 3 numbers, 0 apart"], || Tensor::zeros([40]).stft(&Stft::new(3)))
            .wrong(ErrorKind::DType, &["i64"], || Tensor::arange(40).stft(&Stft::new(8))),
        row("stft uncentred", |x| x[0].stft(&Stft::new(9).uncentred().unitary())).on([real([2, 20])]).composed(),
        row("istft", |x| x[0].istft(&Stft::new(8).hop(3).window(&x[1]), 14))
            .on([real([2, 5, 6, 2]), real([8]).positive()])
            .on([real([5, 6, 2]), real([7]).positive()])
            .on([real([0, 5, 6, 2]), real([8]).positive()])
            .composed()
            .wrong(ErrorKind::Shape, &["[4, 6, 2]", "[.., 5, frames, 2]"], || {
                Tensor::zeros([4, 6, 2]).istft(&Stft::new(8), None)
            })
            .wrong(ErrorKind::Value, &["no window reaches number 4", "smaller hop"], || {
                Tensor::zeros([5, 6, 2]).istft(&Stft::new(8).hop(10), None)
            })
            .wrong(ErrorKind::Value, &["reach no number"], || Tensor::zeros([5, 1, 2]).istft(&Stft::new(8), None))
            .wrong(ErrorKind::Shape, &["2 axes", "frames, 2]"], || Tensor::zeros([5, 2]).istft(&Stft::new(8), 8)),
        row("istft whole", |x| x[0].istft(&Stft::new(6).hop(2).uncentred().unitary(), None))
            .on([real([4, 5, 2])])
            .composed(),
    ]
}
