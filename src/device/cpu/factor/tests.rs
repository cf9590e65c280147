//! Factors multiplied together again, at sizes around the blocks, for one thread and several.

use super::*;
use crate::device::matmul::{Joined, Matmul};
use crate::layout::{Element, Shape, dispatch_float};

/// Repeatable numbers between -1 and 1.
pub(super) fn numbers<T: Element>(sizes: &[usize], seed: u64) -> Value {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Value::build::<T>(Shape::new(sizes).unwrap(), |out| {
        for to in out {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *to = T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0);
        }
    })
    .unwrap()
}

pub(super) fn product(a: &Value, b: &Value) -> Value {
    Cpu.matmul(a, b, Joined::default()).unwrap()
}

pub(super) fn transposed(x: &Value) -> Value {
    qr::turned(x).unwrap()
}

/// A stack of identities times a number.
pub(super) fn identities(like: &Value, size: usize, number: f64) -> Value {
    let mut sizes = like.dims().to_vec();
    let rank = sizes.len();
    (sizes[rank - 2], sizes[rank - 1]) = (size, size);
    dispatch_float!(like.dtype(), T => Value::build::<T>(Shape::new(&sizes).unwrap(), |out| {
        for (at, to) in out.iter_mut().enumerate() {
            *to = T::from_f64(if at / size % size == at % size { number } else { 0.0 });
        }
    }).unwrap(), else unreachable!())
}

#[track_caller]
pub(super) fn near(a: &Value, b: &Value, tolerance: f64) {
    let (a, b) = (Cpu.cast(a, DType::F64).unwrap(), Cpu.cast(b, DType::F64).unwrap());
    let (a, b) = (Cpu.contiguous(&a).unwrap(), Cpu.contiguous(&b).unwrap());
    assert_eq!(a.dims(), b.dims());
    for (at, (x, y)) in a.dense::<f64>().unwrap().iter().zip(b.dense::<f64>().unwrap()).enumerate() {
        assert!((x - y).abs() <= tolerance, "{:?} at {at}: {x} and {y}", a.dims());
    }
}

pub(super) const SIZES: &[usize] = &[1, 2, 3, 7, 31, 32, 33, 64, 65, 100];

#[test]
fn orthonormal_columns_times_a_triangle() {
    for &m in SIZES {
        for &n in SIZES {
            for a in [numbers::<f64>(&[2, m, n], 3), numbers::<f32>(&[m, n], 5)] {
                let tolerance = if a.dtype() == DType::F64 { 1e-13 } else { 1e-5 } * m.max(n) as f64;
                let (q, r) = Cpu.qr(&a).unwrap();
                near(&product(&q, &r), &a, tolerance);
                near(&product(&transposed(&q), &q), &identities(&a, m.min(n), 1.0), tolerance);
                near(&Cpu.triangle(&r, false, 0).unwrap(), &r, 0.0);
            }
        }
    }
}

#[test]
fn triangular_equations_hold() {
    for &size in SIZES {
        for width in [1, 3, 40] {
            for side in [Side::Lower, Side::Upper] {
                let ones = identities(&numbers::<f64>(&[3, 1, 1], 1), size, 4.0 + size as f64);
                let a = Cpu.add_at(&ones, &[(*ones.layout(), &numbers::<f64>(&[3, size, size], 9))]).unwrap();
                let b = numbers::<f64>(&[3, size, width], 4);
                let x = Cpu.solve_triangular(&a, &b, side).unwrap();
                let triangle = Cpu.triangle(&a, side == Side::Lower, 0).unwrap();
                near(&product(&triangle, &x), &b, 1e-12);
            }
        }
    }
    let zero = Value::full(Shape::new(&[2, 3, 2, 2]).unwrap(), DType::F32, 0.0).unwrap();
    let fault = Cpu.solve_triangular(&zero, &zero, Side::Lower).unwrap_err();
    assert!(fault.what().contains("matrix [0, 0] of the batch") && fault.what().contains("[0, 0] of its diagonal"));
}

#[test]
fn elimination_solves_and_inverts() {
    for &size in SIZES {
        for a in [numbers::<f64>(&[2, size, size], 3), numbers::<f32>(&[size, size], 11)] {
            let lu = Cpu.lu(&a).unwrap();
            let inverse = Cpu.inverse(&lu, a.dtype()).unwrap();
            // An inverse is as exact as the matrix allows: by its largest element.
            let wide = Cpu.contiguous(&Cpu.cast(&inverse, DType::F64).unwrap()).unwrap();
            let largest = wide.dense::<f64>().unwrap().iter().fold(1.0f64, |most, x| most.max(x.abs()));
            let unit = if a.dtype() == DType::F64 { 1e-14 } else { 1e-5 };
            let tolerance = unit * largest * size as f64;
            near(&product(&a, &inverse), &identities(&a, size, 1.0), tolerance);
            let b = Cpu.cast(&numbers::<f64>(&[a.count() / size / size, size, 3], 2), a.dtype()).unwrap();
            for (turned, a) in [(false, a.clone()), (true, transposed(&a))] {
                let x = Cpu.solve_lu(&lu, &b, turned).unwrap();
                let back = product(&a, &x);
                near(
                    &back,
                    &Cpu.contiguous(&b.with_layout(b.layout().expanded(back.shape()).unwrap()).unwrap()).unwrap(),
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn determinants_multiply() {
    for size in [1, 2, 5, 33] {
        let (a, b) = (numbers::<f64>(&[size, size], 3), numbers::<f64>(&[size, size], 4));
        let of = |x: &Value| {
            let parts = Cpu.determinants(&Cpu.lu(x).unwrap(), DType::F64).unwrap();
            let [sign, log, value] = parts.map(|part| part.dense::<f64>().unwrap()[0]);
            assert!((sign * log.exp() - value).abs() <= 1e-12 * value.abs());
            value
        };
        let (of_a, of_b, of_both) = (of(&a), of(&b), of(&product(&a, &b)));
        assert!((of_a * of_b - of_both).abs() <= 1e-11 * of_both.abs(), "{size}: {of_a} {of_b} {of_both}");
    }
}

#[test]
fn a_triangle_times_its_transpose() {
    for &size in [SIZES, &[300]].concat().iter() {
        let x = numbers::<f64>(&[2, size, size], 7);
        let a = product(&x, &transposed(&x));
        let l = Cpu.cholesky(&a).unwrap();
        near(&product(&l, &transposed(&l)), &a, 1e-12 * size as f64);
        near(&Cpu.triangle(&l, true, 0).unwrap(), &l, 0.0);
    }
}

#[test]
fn singular_parts_multiply_to_the_matrix() {
    for &m in SIZES {
        for n in [1, 2, 5, 32, 65] {
            let a = numbers::<f64>(&[2, m, n], 3);
            // A product of thin matrices has many values of zero.
            let thin = product(&numbers::<f64>(&[m, 2], 5), &numbers::<f64>(&[2, n], 6));
            for a in [a, thin, Value::full(Shape::new(&[m, n]).unwrap(), DType::F64, 0.0).unwrap()] {
                let k = m.min(n);
                let [u, s, vt] = Cpu.svd(&a).unwrap();
                let values = s.dense::<f64>().unwrap();
                for values in values.chunks(k) {
                    assert!(values.windows(2).all(|pair| pair[0] >= pair[1] && pair[1] >= 0.0), "{values:?}");
                }
                near(&product(&transposed(&u), &u), &identities(&a, k, 1.0), 1e-13 * m.max(n) as f64);
                near(&product(&vt, &transposed(&vt)), &identities(&a, k, 1.0), 1e-13 * m.max(n) as f64);
                let scaled = Value::build::<f64>(*u.shape(), |out| {
                    let u = u.dense::<f64>().unwrap();
                    for (at, to) in out.iter_mut().enumerate() {
                        *to = u[at] * values[at / (m * k) * k + at % k];
                    }
                });
                near(&product(&scaled.unwrap(), &vt), &a, 1e-13 * m.max(n) as f64);
            }
        }
    }
}

#[test]
fn eigenvectors_are_only_stretched() {
    for &size in SIZES {
        let x = numbers::<f64>(&[2, size, size], 3);
        let a = Cpu.add_at(&x, &[(*x.layout(), &transposed(&x))]).unwrap();
        let thin = product(&numbers::<f64>(&[size, 1], 5), &transposed(&numbers::<f64>(&[size, 1], 5)));
        for a in [a, thin, identities(&x, size, 3.0)] {
            let [values, vectors] = Cpu.symmetric_eigen(&a).unwrap();
            let numbers = values.dense::<f64>().unwrap();
            assert!(numbers.chunks(size).all(|values| values.windows(2).all(|pair| pair[0] <= pair[1])));
            near(&product(&transposed(&vectors), &vectors), &identities(&a, size, 1.0), 1e-13 * size as f64);
            let stretched = Value::build::<f64>(*a.shape(), |out| {
                let vectors = vectors.dense::<f64>().unwrap();
                for (at, to) in out.iter_mut().enumerate() {
                    *to = vectors[at] * numbers[at / (size * size) * size + at % size];
                }
            });
            near(&product(&a, &vectors), &stretched.unwrap(), 1e-13 * (size + 1) as f64);
        }
    }
}

#[test]
fn what_is_not_finite_is_named() {
    let nan = Value::full(Shape::new(&[2, 2]).unwrap(), DType::F32, f64::NAN).unwrap();
    assert!(Cpu.svd(&nan).unwrap_err().what().contains("the matrix holds numbers that are not finite"));
    assert!(Cpu.symmetric_eigen(&nan).unwrap_err().what().contains("not finite"));
    let q = Cpu.qr(&nan).unwrap().0;
    assert!(q.dense::<f32>().unwrap()[0].is_nan());
}

#[test]
fn large_and_small_numbers_survive() {
    for scale in [1e-300, 1e-30, 1e200, 1e300] {
        let a = Value::build::<f64>(Shape::new(&[2, 2]).unwrap(), |out| {
            out.copy_from_slice(&[3.0 * scale, 0.0, 4.0 * scale, 5.0 * scale]);
        });
        let [_, s, _] = Cpu.svd(&a.as_ref().unwrap().clone()).unwrap();
        let s = s.dense::<f64>().unwrap();
        assert!((s[0] / scale - 45f64.sqrt()).abs() < 1e-12 && (s[1] / scale - 5f64.sqrt()).abs() < 1e-12, "{s:?}");
        let (_, r) = Cpu.qr(&a.unwrap()).unwrap();
        assert!((r.dense::<f64>().unwrap()[0] / scale + 5.0).abs() < 1e-12);
    }
}

#[test]
fn threads_change_no_bit() {
    let a = numbers::<f32>(&[5, 70, 40], 8);
    let bits = |count: usize| {
        parallel::threads(count, || {
            parallel::surely_split(|| {
                let (q, r) = Cpu.qr(&a).unwrap();
                let [u, s, vt] = Cpu.svd(&a).unwrap();
                let square = product(&transposed(&a), &a);
                let [values, vectors] = Cpu.symmetric_eigen(&square).unwrap();
                let lu = Cpu.lu(&square).unwrap();
                [q, r, u, s, vt, values, vectors, Cpu.cholesky(&square).unwrap(), Cpu.inverse(&lu, DType::F32).unwrap()]
            })
        })
        .map(|x| x.dense::<f32>().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    assert_eq!(bits(1), bits(4));
}
