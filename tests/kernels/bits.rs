//! Bits of whole numbers: every operation, dense, broadcast and strided, with places to shift by at every edge.

use super::support::{Number, Random, blocks, count, given, launch, places};
use crate::emulator::call::{View, bytes};

/// By arithmetic on numbers wide enough for all: what is left of a number whose bits moved out is its sign.
fn expected(a: i64, b: i64, width: u32, operation: i32) -> i64 {
    let all = !(0..width as i64).contains(&b);
    match operation {
        0 => a & b,
        1 => a | b,
        2 => a ^ b,
        3 => {
            if all {
                0
            } else {
                (a as i128 * (1i128 << b)) as i64
            }
        }
        _ => {
            if all {
                -((a < 0) as i64)
            } else {
                (a as i128).div_euclid(1 << b) as i64
            }
        }
    }
}

fn operations<T: Number>(from: impl Fn(i64) -> T, to: impl Fn(T) -> i64) {
    let width = 8 * size_of::<T>() as u32;
    let mut random = Random(101);
    let a: Vec<T> = (0..3000).map(|_| from(random.word() as i64)).collect();
    let edges = [0, 1, width as i64 - 1, width as i64, width as i64 + 1, 63, 64, -1, i64::MIN];
    let b: Vec<T> = (0..3000).map(|i| from(edges.get(i).copied().unwrap_or((random.word() % 40) as i64))).collect();
    let dense = View::new(&[2999], &[1]);
    for (left, right) in [
        (dense, dense),
        (dense, View::new(&[2999], &[0])),
        (View::new(&[], &[]), View::new(&[], &[])),
        (View::new(&[7, 11, 13], &[1, 200, 8]), View::new(&[7, 11, 13], &[13, 0, 1])),
        (View::new(&[0], &[1]), View::new(&[0], &[1])),
    ] {
        for operation in 0..5 {
            let (Some(x), Some(y), n) = (given(&a), given(&b), count(&left)) else { return };
            let numbers = [bytes(n as i64), bytes(left), bytes(right), bytes(operation)];
            let name = format!("bitwise_{}", T::NAME);
            let found: Vec<T> = launch(&name, blocks(n), &[x.argument(), y.argument()], n, &numbers).unwrap();
            for (at, (i, j)) in places(&left).into_iter().zip(places(&right)).enumerate() {
                let (i, j) = (a[i as usize], b[j as usize]);
                let expected = from(expected(to(i), to(j), width, operation));
                assert_eq!(found[at], expected, "{name} {operation} of {i:?} and {j:?}");
            }
        }
    }
}

#[test]
fn bits_are_combined_and_shifted() {
    operations::<i64>(|x| x, |x| x);
    operations::<i32>(|x| x as i32, |x| x as i64);
    operations::<u8>(|x| x as u8, |x| x as i64);
}
