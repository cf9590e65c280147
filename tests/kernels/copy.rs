//! Elements put elsewhere: every word size, views of every kind, all conversions at their edges.

use super::support::{Number, Random, blocks, count, given, launch, places};
use crate::emulator::call::{Emulator, Plain, View, bytes};
use half::{bf16, f16};

/// Views into 4000 elements: dense, turned, repeated, backwards, with gaps, of many axes, of one element, of none.
fn views() -> Vec<(View, usize)> {
    vec![
        (View::new(&[3999], &[1]), 0),
        (View::new(&[40, 50], &[1, 40]), 0),
        (View::new(&[7, 3, 5], &[30, 0, 2]), 3),
        (View::new(&[11, 13], &[-13, -1]), 142),
        (View::new(&[2, 3, 2, 2, 3, 2, 5, 2], &[720, 240, 120, 60, 20, 10, 2, 1]), 1),
        (View::new(&[], &[]), 17),
        (View::new(&[3, 0], &[1, 1]), 0),
    ]
}

fn moved<T: Number>(size: usize) {
    let list: Vec<T> = Random(1).list(4000);
    for (view, start) in views() {
        let (Some(from), n) = (given(&list), count(&view)) else { return };
        let from = from.from(start * size);
        let expected: Vec<T> = places(&view).iter().map(|&place| list[(start as i64 + place) as usize]).collect();
        let name = format!("copy_strided_{size}");
        let Some(found) =
            launch::<T>(&name, blocks(n), std::slice::from_ref(&from), n, &[bytes(n as i64), bytes(view)])
        else {
            return;
        };
        assert_eq!(found, expected, "{name} {view:?}");
        // Into every second place of a dense buffer, backwards.
        let goal = View { strides: view_backwards(&view), ..view };
        let Some(emulator) = Emulator::new() else { return };
        let whole = emulator.buffer(&vec![T::from_f64(9.0); 2 * n + 1]);
        let last = if n == 0 { 0 } else { 2 * n - 1 };
        emulator
            .launch(
                &format!("copy_into_{size}"),
                blocks(n),
                256,
                0,
                &[from, whole.from(last * size), bytes(n as i64), bytes(view), bytes(goal)],
            )
            .unwrap();
        let found: Vec<T> = whole.read();
        for i in 0..n {
            assert_eq!(found[last - 2 * i], expected[i], "copy_into_{size} {view:?}");
        }
        assert!((0..=n).all(|i| found[2 * i] == T::from_f64(9.0)));
    }
}

fn view_backwards(view: &View) -> [i64; 8] {
    let mut strides = [0; 8];
    let mut step = -2;
    for axis in (0..view.rank as usize).rev() {
        strides[axis] = step;
        step *= view.sizes[axis];
    }
    strides
}

#[test]
fn elements_of_every_size_are_moved() {
    moved::<u8>(1);
    moved::<f16>(2);
    moved::<f32>(4);
    moved::<f64>(8);
}

#[test]
fn matrices_are_turned() {
    for (batches, rows, columns) in [(1, 1, 1), (2, 33, 65), (3, 64, 31), (1, 100, 7)] {
        let list: Vec<f32> = Random(2).list(batches * rows * columns);
        let Some(from) = given(&list) else { return };
        let grid = [columns.div_ceil(32), rows.div_ceil(32), batches];
        let sizes = [rows, columns, rows * columns, rows].map(|n| bytes(n as i64));
        let found: Vec<f32> = launch("copy_turned_4", grid, &[from.argument()], list.len(), &sizes).unwrap();
        for (at, &x) in found.iter().enumerate() {
            let (b, r, c) = (at / (rows * columns), at / columns % rows, at % columns);
            assert_eq!(x, list[b * rows * columns + c * rows + r]);
        }
    }
}

#[test]
fn memory_is_filled_from_any_place_on() {
    let Some(emulator) = Emulator::new() else { return };
    for (start, n) in [(0, 1000), (1, 1001), (4, 3), (0, 0)] {
        let buffer = emulator.buffer(&[0f32; 1024]);
        emulator
            .launch("fill_4", blocks(n), 256, 0, &[buffer.from(4 * start), bytes(n as i64), bytes(2.5f32.to_bits())])
            .unwrap();
        let found: Vec<f32> = buffer.read();
        assert!(found.iter().enumerate().all(|(i, &x)| x == if (start..start + n).contains(&i) { 2.5 } else { 0.0 }));
        let buffer = emulator.buffer(&[0u8; 1024]);
        emulator.launch("fill_1", blocks(n), 256, 0, &[buffer.from(start), bytes(n as i64), bytes(7u8)]).unwrap();
        assert_eq!(buffer.read::<u8>().iter().filter(|&&x| x == 7).count(), n);
    }
}

#[test]
fn one_side_of_a_diagonal_is_kept() {
    let list: Vec<f32> = Random(3).list(2 * 5 * 7);
    for (diagonal, lower) in [(0, 1), (-2, 1), (3, 0), (9, 1)] {
        let Some(from) = given(&list) else { return };
        let numbers =
            [bytes(70i64), bytes(View::new(&[70], &[1])), bytes(5i64), bytes(7i64), bytes(diagonal), bytes(lower)];
        let found: Vec<f32> = launch("triangle_4", blocks(70), &[from.argument()], 70, &numbers).unwrap();
        for (at, &x) in found.iter().enumerate() {
            let over = (at % 7) as i64 - (at / 7 % 5) as i64;
            assert_eq!(
                x,
                if (lower == 1 && over <= diagonal) || (lower == 0 && over >= diagonal) { list[at] } else { 0.0 }
            );
        }
    }
}

/// A conversion as the CPU does it.
trait Convert<D> {
    fn convert(self) -> D;
}
macro_rules! plain {
    ($($s:ty: $($d:ty)*;)*) => { $( $( impl Convert<$d> for $s { fn convert(self) -> $d { self as $d } } )* )* };
}
plain! { f64: f32 i64 i32 u8; f32: f64 i64 i32 u8; i64: f64 f32 i32 u8; i32: f64 f32 i64 u8; u8: f64 f32 i64 i32; }
macro_rules! halves {
    ($h:ty: $($t:ty)*) => { $(
        impl Convert<$h> for $t { fn convert(self) -> $h { <$h>::from_f32(self as f32) } }
        impl Convert<$t> for $h { fn convert(self) -> $t { self.to_f32() as $t } }
    )* };
}
halves! { bf16: f64 f32 i64 i32 u8 }
halves! { f16: f64 f32 i64 i32 u8 }

fn cast<S: Number + Convert<D>, D: Number>(list: &[S]) {
    let name = format!("cast_{}_{}", S::NAME, D::NAME);
    // From the beginning, and from one element on, where nothing is aligned.
    for start in [0, 1] {
        let Some(from) = given(list) else { return };
        let (n, from) = (list.len() - start, from.from(start * size_of::<S>()));
        let found: Vec<D> = launch(&name, blocks(n), &[from], n, &[bytes(n as i64)]).unwrap();
        for (&x, &y) in list[start..].iter().zip(&found) {
            let expected: D = x.convert();
            assert!(
                y == expected || y.to_f64().is_nan() && expected.to_f64().is_nan(),
                "{name}: {x:?} gives {y:?}, not {expected:?}"
            );
        }
    }
}
fn casts<S: Number + Convert<A> + Convert<B> + Convert<C> + Convert<D>, A: Number, B: Number, C: Number, D: Number>(
    list: &[S],
) {
    cast::<S, A>(list);
    cast::<S, B>(list);
    cast::<S, C>(list);
    cast::<S, D>(list);
}

#[test]
fn conversions_are_those_of_the_cpu() {
    let mut random = Random(4);
    let mut floats = vec![
        0.0,
        -0.0,
        0.4,
        -0.6,
        1.5,
        -1.9,
        2.5,
        255.0,
        255.5,
        256.0,
        -1.0,
        1e10,
        -1e10,
        9.3e18,
        -9.3e18,
        1e30,
        -1e30,
        f64::NAN,
    ];
    floats.extend([
        2147483647.0,
        2147483648.0,
        -2147483648.0,
        -2147483649.0,
        65519.0,
        65520.0,
        1e-8,
        6e-8,
        3e-5,
        f64::INFINITY,
        -f64::INFINITY,
    ]);
    floats.extend((0..200).map(|_| f32::from_bits(random.word() as u32) as f64));
    let mut wholes =
        vec![0i64, 1, -1, 255, 256, 257, -256, i64::MAX, i64::MIN, (1 << 32) | 5, (1 << 53) + 1, 1 << 31, -(1 << 31)];
    wholes.extend((0..100).map(|_| random.word() as i64));
    let narrow = |list: &[f64]| list.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    casts::<f64, f32, bf16, f16, i64>(&floats);
    casts::<f64, i32, u8, f32, bf16>(&floats);
    casts::<f32, f64, bf16, f16, i64>(&narrow(&floats));
    casts::<f32, i32, u8, f64, f16>(&narrow(&floats));
    casts::<bf16, f64, f32, i64, i32>(&narrow(&floats).iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>());
    casts::<f16, f64, f32, u8, i32>(&narrow(&floats).iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>());
    casts::<i64, f64, f32, i32, u8>(&wholes);
    casts::<i64, bf16, f16, i32, u8>(&wholes);
    casts::<i32, f64, f32, i64, u8>(&wholes.iter().map(|&x| x as i32).collect::<Vec<_>>());
    casts::<u8, f64, bf16, i64, i32>(&(0..=255).collect::<Vec<u8>>());
}

#[test]
fn truth_is_not_zero() {
    fn truth<S: Plain>(name: &str, list: &[S], expected: &[u8]) {
        let Some(from) = given(list) else { return };
        let found: Vec<u8> =
            launch(name, blocks(list.len()), &[from.argument()], list.len(), &[bytes(list.len() as i64)]).unwrap();
        assert_eq!(found, expected, "{name}");
    }
    truth("cast_f32_bool", &[0.0f32, -0.0, 0.5, f32::NAN, 1e-40], &[0, 0, 1, 1, 1]);
    truth("cast_f16_bool", &[f16::from_f32(0.0), f16::from_f32(-3.0)], &[0, 1]);
    truth("cast_i64_bool", &[0i64, 1 << 32, -1], &[0, 1, 1]);
    truth("cast_u8_bool", &[0u8, 255], &[0, 1]);
    let Some(from) = given(&[0u8, 1]) else { return };
    assert_eq!(launch::<f32>("cast_bool_f32", [1, 1, 1], &[from.argument()], 2, &[bytes(2i64)]).unwrap(), [0.0, 1.0]);
    assert_eq!(launch::<i64>("cast_bool_i64", [1, 1, 1], &[from.argument()], 2, &[bytes(2i64)]).unwrap(), [0, 1]);
}
