//! Each way to do a transform against the others, where the public ones do not choose it.

use super::long::One;
use super::*;

/// Some numbers of either sign.
fn numbers<T: Number>(count: usize) -> Vec<T> {
    (0..count).map(|i| T::narrow((i * 7919 % 1013) as f64 / 506.0 - 1.0)).collect()
}

fn near<T: Number>(what: &str, got: &[T], wanted: &[T], tolerance: f64) {
    let size = wanted.iter().fold(0.0f64, |most, x| most.max(x.wide().abs()));
    for (at, (x, y)) in got.iter().zip(wanted).enumerate() {
        assert!((x.wide() - y.wide()).abs() <= tolerance * size, "{what} at {at}: {x:?}, should be {y:?}");
    }
}

fn all_ways<T: Number, const L: usize>(tolerance: f64) {
    for length in [64, 96, 128, 200, 256, 462, 1000, 1024, 2310, 3528] {
        for form in [Form::Forward, Form::Back, Form::Half, Form::Real] {
            let how = Transform { form, axis: 0, length, scale: 0.5, twice: form == Form::Real };
            let [width, width_out] = Many::<T>::sizes(&how);
            let from = numbers::<T>(width);
            let what = format!("{form:?} of {length}");
            let by = |work: &dyn Fn(&mut [T])| {
                let mut out = vec![T::ZERO; width_out];
                work(&mut out);
                out
            };
            let by_chirp = by(&|out| chirp::rows::<T, L>(&from, out, &how));
            let as_pairs = by(&|out| pairs::rows::<T, L>(&from, out, &how));
            near(&format!("{what} as pairs"), &as_pairs, &by_chirp, tolerance);
            // So many that they go side by side, each the same.
            let many = by(&|out| {
                let (from, mut all) = (from.repeat(2 * L), vec![T::ZERO; 2 * L * width_out]);
                rows::<T, L>(&from, &mut all, &how);
                for one in all.chunks(width_out) {
                    assert!(one == &all[..width_out], "{what}: lanes differ");
                }
                out.copy_from_slice(&all[..width_out]);
            });
            near(&format!("{what} side by side"), &many, &by_chirp, tolerance);
            if let Some(one) = One::of::<L>(&how) {
                let alone = by(&|out| one.run::<L>(&from, out, &mut vec![T::ZERO; one.room::<L>()]));
                near(&format!("{what} alone"), &alone, &by_chirp, tolerance);
            }
        }
    }
}

#[test]
fn every_way_leads_to_the_same_numbers() {
    all_ways::<f32, SINGLE>(1e-5);
    all_ways::<f64, DOUBLE>(1e-13);
}

#[test]
fn waves_are_exact_where_they_can_be() {
    use crate::device::fourier::wave;
    for n in [1, 3, 4, 8, 12, 360, 1000] {
        for k in 0..n {
            let [cosine, sine] = wave(k, n);
            let angle = std::f64::consts::TAU * k as f64 / n as f64;
            assert!((cosine - angle.cos()).abs() < 1e-15 && (sine - angle.sin()).abs() < 1e-15, "{k} of {n}");
            let [mirrored, opposite] = wave(n - k, n);
            assert_eq!((cosine, sine), (mirrored, -opposite), "{k} of {n}");
        }
    }
    assert_eq!(
        [wave(1, 4), wave(2, 4), wave(7, 8)[..1].repeat(2).try_into().unwrap()],
        [[0.0, 1.0], [-1.0, 0.0], [std::f64::consts::FRAC_1_SQRT_2; 2]]
    );
}
