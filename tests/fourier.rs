//! Fourier transforms against the sums that define them, at lengths of every kind; what they keep, and where they lead back.

use chainrule::{DType, Device, Fourier, Pad, Random, Result, Stft, Tensor};
use std::f64::consts::TAU;

/// Powers of two, small factors, primes small and great, and products of these: each way to do it, at its edges.
const LENGTHS: &[usize] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 21, 25, 27, 29, 31, 32, 37, 49, 60, 62, 64, 74, 97, 100,
    121, 127, 128, 135, 194, 210, 243, 256, 400, 509, 512, 960, 961, 1000, 1009, 1024, 2018, 2047, 4096,
];

fn numbers<const N: usize>(sizes: [usize; N], seed: u64) -> Tensor {
    Tensor::uniform_of(DType::F64, sizes, -1.0..1.0, &mut Random::new(seed))
}

/// `Σ xⱼ e^(±2πi jk / n)` of pairs, in f64.
fn slowly(pairs: &[f64], back: bool) -> Vec<f64> {
    let n = pairs.len() / 2;
    let waves: Vec<(f64, f64)> = (0..n).map(|k| (TAU * k as f64 / n as f64).sin_cos()).collect();
    let mut out = Vec::with_capacity(2 * n);
    for k in 0..n {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (j, pair) in pairs.chunks(2).enumerate() {
            let (sine, cosine) = waves[j * k % n];
            let sine = if back { sine } else { -sine };
            real += pair[0] * cosine - pair[1] * sine;
            imaginary += pair[0] * sine + pair[1] * cosine;
        }
        out.extend([real, imaginary]);
    }
    out
}

/// As far apart as rounding explains: relative to the length of the result.
#[track_caller]
fn close(what: &str, got: &Tensor, wanted: &[f64]) -> Result<()> {
    let tolerance = if got.dtype()? == DType::F64 { 1e-14 } else { 1.5e-6 };
    let got = got.to_vec::<f64>()?;
    assert_eq!(got.len(), wanted.len(), "{what}");
    let size = (wanted.iter().map(|x| x * x).sum::<f64>() / wanted.len() as f64).sqrt();
    for (at, (x, y)) in got.iter().zip(wanted).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * (size * 6.0 + y.abs()),
            "{what} at {at}: {x:e}, should be {y:e} (of {size:e})"
        );
    }
    Ok(())
}

#[test]
fn a_transform_is_the_sum_that_defines_it() -> Result<()> {
    for &n in LENGTHS {
        for dtype in [DType::F64, DType::F32] {
            // One signal, and more than there are lanes.
            for rows in if n <= 256 { [1, 18] } else { [1, 2] } {
                let x = numbers([rows, n, 2], n as u64).to_dtype(dtype);
                let exact = x.to_vec::<f64>()?;
                let all = |back: bool| exact.chunks(2 * n).flat_map(|pairs| slowly(pairs, back)).collect::<Vec<f64>>();
                let what = |name: &str| format!("{name} of {rows} × {n} {dtype}");
                close(&what("fft"), &x.fft(1), &all(false))?;
                close(&what("ifft"), &(x.ifft(-1) * n as f64), &all(true))?;

                let real = x.select(-1, 0);
                let pairs = Tensor::stack(&[&real, &real.zeros_like()], -1).to_vec::<f64>()?;
                let spectra: Vec<Vec<f64>> = pairs.chunks(2 * n).map(|pairs| slowly(pairs, false)).collect();
                let half: Vec<f64> = spectra.iter().flat_map(|all| all[..2 * (n / 2 + 1)].to_vec()).collect();
                close(&what("rfft"), &real.rfft(1), &half)?;

                // Half a spectrum of anything: what a real signal cannot have counts nothing.
                let spectrum = x.narrow(1, 0, n / 2 + 1);
                let rows_of = spectrum.to_vec::<f64>()?;
                let wanted: Vec<f64> = rows_of.chunks(2 * (n / 2 + 1)).flat_map(|half| whole(half, n)).collect();
                close(&what("irfft"), &(spectrum.irfft(1, n) * n as f64), &wanted)?;
            }
        }
    }
    Ok(())
}

/// The signal, n times as large, of half a spectrum.
fn whole(half: &[f64], n: usize) -> Vec<f64> {
    let mut pairs = vec![0.0; 2 * n];
    for k in 0..n {
        let (from, sign) = if k <= n / 2 { (k, 1.0) } else { (n - k, -1.0) };
        let alone = k == 0 || 2 * k == n;
        (pairs[2 * k], pairs[2 * k + 1]) = (half[2 * from], if alone { 0.0 } else { sign * half[2 * from + 1] });
    }
    slowly(&pairs, true).chunks(2).map(|pair| pair[0]).collect()
}

#[test]
fn every_axis_and_every_view_gives_what_the_last_axis_gives() -> Result<()> {
    for (n, inner) in [(12, 1), (12, 3), (15, 40), (16, 35), (37, 20), (97, 2)] {
        for dtype in [DType::F64, DType::F32] {
            let x = numbers([3, n, inner, 2], 7).to_dtype(dtype);
            let last = x.transpose(1, 2);
            for (what, got, wanted) in [
                ("fft", x.fft(1), last.fft(-1)),
                ("ifft", x.ifft(-2), last.ifft(2)),
                ("rfft", x.select(-1, 0).rfft(1), last.select(-1, 0).rfft(-1)),
                ("irfft", x.narrow(1, 0, n / 2 + 1).irfft(1, n), last.narrow(2, 0, n / 2 + 1).irfft(2, n)),
            ] {
                close(&format!("{what} of {n} × {inner} {dtype}"), &got.transpose(1, 2), &wanted.to_vec::<f64>()?)?;
            }
        }
    }
    Ok(())
}

#[test]
fn forth_and_back_is_where_one_was() -> Result<()> {
    for n in [1, 2, 3, 8, 25, 97, 100, 127, 1009, 1024, 65536, 100_000] {
        let x = numbers([2, n], 3);
        let pairs = numbers([2, n, 2], 4);
        let ways: [fn(isize) -> Fourier; 3] =
            [Fourier::along, |axis| Fourier::along(axis).unitary(), |axis| Fourier::along(axis).averaged()];
        for way in ways {
            close(&format!("rfft and back of {n}"), &x.rfft(way(-1)).irfft(way(-1), n), &x.to_vec::<f64>()?)?;
            close(&format!("fft and back of {n}"), &pairs.fft(way(-1)).ifft(way(-1)), &pairs.to_vec::<f64>()?)?;
        }
        let energy = pairs.fft(Fourier::along(1).unitary()).square().sum().item()?;
        assert!((energy / pairs.square().sum().item()? - 1.0).abs() < 1e-12, "the energy of {n}");
        let mean = x.rfft(Fourier::along(1).averaged()).select(-1, 0).select(1, 0);
        close(&format!("the mean of {n}"), &mean, &x.mean_over(1).to_vec::<f64>()?)?;
    }
    Ok(())
}

#[test]
fn a_picture_is_transformed_both_ways() -> Result<()> {
    let (height, width) = (6, 9);
    let x = numbers([2, height, width], 5);
    let spectrum = x.rfft2();
    assert_eq!(spectrum.dims::<4>()?, [2, height, width / 2 + 1, 2]);
    let exact = x.to_vec::<f64>()?;
    let mut wanted = Vec::new();
    for picture in exact.chunks(height * width) {
        for k in 0..height {
            for l in 0..width / 2 + 1 {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (at, x) in picture.iter().enumerate() {
                    let angle =
                        TAU * ((at / width * k) as f64 / height as f64 + (at % width * l) as f64 / width as f64);
                    (real, imaginary) = (real + x * angle.cos(), imaginary - x * angle.sin());
                }
                wanted.extend([real, imaginary]);
            }
        }
    }
    close("rfft2", &spectrum, &wanted)?;
    close("irfft2", &spectrum.irfft2(width), &exact)?;
    let pairs = numbers([2, height, width, 2], 6);
    close("fft2 and back", &pairs.fft2().ifft2(), &pairs.to_vec::<f64>()?)
}

#[test]
fn a_signal_is_not_touched_by_its_neighbours() -> Result<()> {
    for n in [16, 15, 400, 37, 1009] {
        let x = numbers([20, n], 8).to_dtype(DType::F32);
        let alone = x.rfft(1).narrow(0, 3, 1).to_vec::<f32>()?;
        let loud = Tensor::full([1, n], f64::NAN, DType::F32);
        let beside = Tensor::cat(&[&x.narrow(0, 0, 3), &x.narrow(0, 3, 1), &loud, &(x.narrow(0, 5, 15) * 1e30)], 0);
        assert_eq!(beside.rfft(1).narrow(0, 3, 1).to_vec::<f32>()?, alone, "{n}");
    }
    Ok(())
}

#[test]
fn empty_batches_are_empty() -> Result<()> {
    assert_eq!(Tensor::zeros([0, 8]).rfft(1).dims::<3>()?, [0, 5, 2]);
    assert_eq!(Tensor::zeros([8, 0]).rfft(0).dims::<3>()?, [5, 0, 2]);
    assert_eq!(Tensor::zeros([0, 5, 2]).irfft(-1, 9).dims::<2>()?, [0, 9]);
    assert_eq!(Tensor::zeros([3, 0, 2]).fft(0).dims::<3>()?, [3, 0, 2]);
    assert_eq!(Tensor::zeros([8]).rfft(0).device()?, Device::Cpu);
    Ok(())
}

#[test]
fn frames_lead_back_to_the_signal() -> Result<()> {
    let x = numbers([2, 1000], 9);
    let hann = Tensor::hann_window(64);
    for how in [
        Stft::new(64),
        Stft::new(64).window(&hann),
        Stft::new(64).hop(20).window(&Tensor::hamming_window(50)).unitary(),
        Stft::new(63).hop(10).padding(Pad::Replicate).window(&Tensor::hann_window(63)),
        Stft::new(50).hop(25).uncentred(),
    ] {
        close(&format!("{how:?}"), &x.stft(&how).istft(&how, 1000), &x.to_vec::<f64>()?)?;
    }
    // A length beyond the frames is filled with zeros; without one the middle of the last frame ends it.
    let how = Stft::new(64).window(&hann);
    let spectra = x.stft(&how);
    assert_eq!(spectra.dims::<4>()?, [2, 33, 63, 2]);
    assert_eq!(spectra.istft(&how, None).dims::<2>()?, [2, 992]);
    let longer = spectra.istft(&how, 1100);
    assert_eq!(longer.narrow(1, 1024, 76).abs().max().item()?, 0.0);
    Ok(())
}

#[test]
fn windows_are_periodic() -> Result<()> {
    assert_eq!(Tensor::hann_window(1).to_vec::<f32>()?, [1.0]);
    assert_eq!(Tensor::hann_window(0).count()?, 0);
    let hann = Tensor::hann_window(400).to_vec::<f64>()?;
    let hamming = Tensor::hamming_window(400).to_vec::<f64>()?;
    for (j, (a, b)) in hann.iter().zip(&hamming).enumerate() {
        let cosine = (TAU * j as f64 / 400.0).cos();
        assert!((a - (0.5 - 0.5 * cosine)).abs() < 1e-7 && (b - (0.54 - 0.46 * cosine)).abs() < 1e-7, "{j}");
    }
    assert!(Tensor::hann_window(usize::MAX).error().is_some());
    Ok(())
}
