//! Order: keys of every type, segments in shared memory, radix passes, what is found among ordered keys, slices.

use super::support::{Number, Random, blocks, given, in_every_order, launch, run};
use crate::emulator::call::{Buffer, Emulator, Plain, bytes};
use half::{bf16, f16};

/// Numbers with equals, both zeros, infinities and two kinds of NaN among them.
fn mixed<T: Number>(count: usize) -> Vec<T> {
    let mut random = Random(71);
    let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY];
    (0..count)
        .map(|_| match random.word() % 16 {
            which @ 0..=5 if !T::WHOLE => T::from_f64(special[which as usize]),
            _ => T::from_f64((random.number() * 40.0).round()),
        })
        .collect()
}

/// NaN above all, both zeros the same.
fn before(a: f64, b: f64) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn keys<T: Number, K: Plain + Ord>(bits: u32) {
    let x: Vec<T> = mixed(300);
    let Some(from) = given(&x) else { return };
    for flip in [0, u64::MAX >> (64 - bits)] {
        let found = in_every_order(|emulator| {
            let y = emulator.unwritten::<K>(x.len());
            let numbers = [bytes(x.len() as i64), bytes(flip)];
            let mut arguments = vec![from.argument(), y.argument()];
            arguments.extend(numbers);
            run(emulator, &format!("keys_of_{}", T::NAME), blocks(x.len()), &arguments);
            vec![y]
        })
        .unwrap();
        let keys: Vec<K> = found[0].read();
        for (i, j) in (0..x.len()).flat_map(|i| [(i, (i * 7 + 3) % x.len()), (i, (i * 31) % x.len())]) {
            let (mut wanted, found) = (before(x[i].to_f64(), x[j].to_f64()), keys[i].cmp(&keys[j]));
            if flip > 0 {
                wanted = wanted.reverse();
            }
            assert_eq!(found, wanted, "keys of {:?} and {:?}", x[i], x[j]);
        }
    }
}

#[test]
fn keys_order_as_their_elements_do() {
    keys::<f64, u64>(64);
    keys::<i64, u64>(64);
    keys::<f32, u32>(32);
    keys::<bf16, u32>(16);
    keys::<f16, u32>(16);
    keys::<i32, u32>(32);
    keys::<u8, u32>(8);
}

trait Key: Plain + Ord + Default + std::fmt::Debug {
    const BYTES: usize;
    fn from_word(word: u64) -> Self;
}
impl Key for u32 {
    const BYTES: usize = 4;
    fn from_word(word: u64) -> u32 {
        (word as u32).wrapping_mul(0x9e37_79b9)
    }
}
impl Key for u64 {
    const BYTES: usize = 8;
    fn from_word(word: u64) -> u64 {
        word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Keys of which many are equal, and some are the greatest.
fn some_keys<K: Key>(count: usize) -> Vec<K> {
    let mut random = Random(72);
    (0..count)
        .map(|_| match random.word() % 50 {
            0 => K::from_word(u64::MAX),
            _ => K::from_word(random.word() % 60),
        })
        .collect()
}

/// The first of each row, by key and position.
fn sorted_rows<K: Key>(keys: &[K], size: usize, length: usize) -> (Vec<K>, Vec<u32>) {
    let mut all = (Vec::new(), Vec::new());
    for row in keys.chunks(size) {
        let mut list: Vec<(K, u32)> = row.iter().enumerate().map(|(i, &key)| (key, i as u32)).collect();
        list.sort();
        all.0.extend(list[..length].iter().map(|pair| pair.0));
        all.1.extend(list[..length].iter().map(|pair| pair.1));
    }
    all
}

/// One launch over segments; gives keys and positions.
fn segments<K: Key>(
    emulator: &Emulator,
    from: (&Buffer, Option<&Buffer>),
    [rows, size, length, together]: [usize; 4],
) -> (Buffer, Buffer) {
    let padded = size.next_power_of_two().min(2048);
    let parts = size.div_ceil(padded);
    let count = rows * parts;
    let (to, places) = (emulator.unwritten::<K>(count * length), emulator.unwritten::<u32>(count * length));
    let mut arguments = vec![from.0.argument(), from.1.map_or(bytes(0u64), Buffer::argument)];
    arguments.extend([to.argument(), places.argument()]);
    arguments.extend([count, size, parts, padded, together, length].map(|n| bytes(n as i64)));
    run(emulator, &format!("order_block_{}", K::BYTES), [count.div_ceil(together), 1, 1], &arguments);
    (to, places)
}

fn segments_are_ordered<K: Key>() {
    for (rows, size, length, together) in [(5, 1, 1, 4), (70, 3, 3, 32), (3, 100, 100, 2), (2, 2048, 7, 1)] {
        let keys: Vec<K> = some_keys(rows * size);
        let Some(from) = given(&keys) else { return };
        let found = in_every_order(|emulator| {
            let (to, places) = segments::<K>(emulator, (&from, None), [rows, size, length, together]);
            vec![to, places]
        })
        .unwrap();
        assert_eq!((found[0].read(), found[1].read()), sorted_rows(&keys, size, length), "{rows} rows of {size}");
    }
    // The first 9 of long rows, from segment to segment.
    let (rows, size, length) = (2, 5000, 9);
    let keys: Vec<K> = some_keys(rows * size);
    let Some(from) = given(&keys) else { return };
    let found = in_every_order(|emulator| {
        let (to, places) = segments::<K>(emulator, (&from, None), [rows, size, length, 1]);
        let (to, places) = segments::<K>(emulator, (&to, Some(&places)), [rows, 3 * length, length, 2]);
        vec![to, places]
    })
    .unwrap();
    assert_eq!((found[0].read(), found[1].read()), sorted_rows(&keys, size, length));
}

#[test]
fn segments_give_their_first() {
    segments_are_ordered::<u32>();
    segments_are_ordered::<u64>();
}

fn digits_order<K: Key>(digits: usize) {
    for (rows, size) in [(2, 2500), (1, 5000)] {
        let keys: Vec<K> = some_keys(rows * size);
        let (tiles, Some(from)) = (size.div_ceil(2048), given(&keys)) else { return };
        let found = in_every_order(|emulator| {
            let mut held: Option<(Buffer, Buffer)> = None;
            for digit in 0..digits {
                let counts = emulator.unwritten::<i64>(rows * 256 * tiles);
                let keys = held.as_ref().map_or(&from, |held| &held.0).argument();
                let numbers = [bytes(size as i64), bytes(tiles as i64), bytes(8 * digit as i32)];
                let grid = [rows * tiles, 1, 1];
                let mut arguments = vec![keys.clone(), counts.argument()];
                arguments.extend(numbers.clone());
                run(emulator, &format!("digits_{}", K::BYTES), grid, &arguments);
                let mut sums: Vec<i64> = counts.read();
                for row in sums.chunks_mut(256 * tiles) {
                    row.iter_mut().fold(0, |sum, count| {
                        *count += sum;
                        *count
                    });
                }
                let sums = emulator.buffer(&sums);
                let (to, places) = (emulator.unwritten::<K>(rows * size), emulator.unwritten::<u32>(rows * size));
                let positions = held.as_ref().map_or(bytes(0u64), |held| held.1.argument());
                let mut arguments = vec![keys, positions, sums.argument(), to.argument(), places.argument()];
                arguments.extend(numbers);
                run(emulator, &format!("place_{}", K::BYTES), grid, &arguments);
                held = Some((to, places));
            }
            let (to, places) = held.unwrap();
            vec![to, places]
        })
        .unwrap();
        assert_eq!((found[0].read(), found[1].read()), sorted_rows(&keys, size, size), "{rows} rows of {size}");
    }
}

#[test]
fn digits_are_ordered_from_the_lowest_up() {
    digits_order::<u32>(4);
    digits_order::<u64>(8);
}

#[test]
fn elements_are_picked_by_position() {
    let (rows, size, held, from, length) = (3, 50, 20, 4, 9);
    let x: Vec<f32> = mixed(rows * size);
    let positions: Vec<u32> = (0..rows * held).map(|i| (i * 17 % size) as u32).collect();
    let (Some(source), Some(at)) = (given(&x), given(&positions)) else { return };
    for wanted in [true, false] {
        let found = in_every_order(|emulator| {
            let (y, places) = (emulator.buffer(&vec![7.0f32; rows * length]), emulator.unwritten::<i64>(rows * length));
            let to = if wanted { y.argument() } else { bytes(0u64) };
            let mut arguments = vec![source.argument(), at.argument(), to, places.argument()];
            arguments.extend([rows * length, length, held, from, size].map(|n| bytes(n as i64)));
            run(emulator, "pick_sorted_4", blocks(rows * length), &arguments);
            vec![y, places]
        })
        .unwrap();
        let (y, places): (Vec<f32>, Vec<i64>) = (found[0].read(), found[1].read());
        for i in 0..rows * length {
            let (row, column) = (i / length, i % length);
            let position = positions[row * held + from + column];
            assert_eq!(places[i], position as i64);
            let expected = if wanted { x[row * size + position as usize] } else { 7.0 };
            assert!(y[i] == expected || y[i].is_nan() && expected.is_nan());
        }
    }
}

/// Ascending keys of rows, with NaN (`u32::MAX`) at the end of some.
fn ascending(rows: usize, size: usize) -> Vec<u32> {
    let mut random = Random(73);
    (0..rows)
        .flat_map(|row| {
            let nans = if row % 2 == 0 { 3.min(size) } else { 0 };
            let mut list: Vec<u32> = (nans..size).map(|_| random.word() as u32 % 9).collect();
            list.extend(vec![u32::MAX; nans]);
            list.sort();
            list
        })
        .collect()
}

#[test]
fn middles_runs_and_beginnings() {
    for (rows, size) in [(4, 31), (3, 1), (2, 700)] {
        let (keys, k) = (ascending(rows, size), (size - 1) / 2);
        let positions: Vec<u32> = (0..rows * size).map(|i| (i * 5 % size) as u32).collect();
        let (Some(sorted), Some(at)) = (given(&keys), given(&positions)) else { return };
        for nans in [0, 1] {
            let nan = [bytes(u32::MAX as u64), bytes(nans)];
            let found = in_every_order(|emulator| {
                let (middle, runs) = (emulator.unwritten::<u32>(rows), emulator.unwritten::<i64>(rows * size));
                let begins = emulator.unwritten::<u8>(rows * size);
                let mut arguments = vec![sorted.argument(), at.argument(), middle.argument()];
                arguments.extend([rows, size, k].map(|n| bytes(n as i64)).into_iter().chain(nan.clone()));
                run(emulator, "middle_4", blocks(rows), &arguments);
                let mut arguments = vec![sorted.argument(), runs.argument()];
                arguments.extend([rows * size, size].map(|n| bytes(n as i64)).into_iter().chain(nan.clone()));
                run(emulator, "runs_4", blocks(rows * size), &arguments);
                let mut arguments = vec![sorted.argument(), begins.argument(), bytes((rows * size) as i64)];
                arguments.extend(nan.clone());
                run(emulator, "begins_4", blocks(rows * size), &arguments);
                vec![middle, runs, begins]
            })
            .unwrap();
            let (middle, runs, begins): (Vec<u32>, Vec<i64>, Vec<u8>) =
                (found[0].read(), found[1].read(), found[2].read());
            let apart = |key: u32| nans == 1 && key == u32::MAX;
            for row in 0..rows {
                let own = &keys[row * size..][..size];
                let first = own.iter().position(|&key| apart(key)).unwrap_or(k);
                assert_eq!(middle[row], positions[row * size + first]);
                for i in 0..size {
                    let last = i + 1 == size || own[i + 1] != own[i] || apart(own[i]);
                    let length = if apart(own[i]) { 1 } else { own[..=i].iter().filter(|&&key| key == own[i]).count() };
                    assert_eq!(runs[row * size + i], if last { length as i64 } else { 0 });
                }
            }
            for i in 0..rows * size {
                assert_eq!(
                    begins[i] == 1,
                    i == 0 || keys[i] != keys[i - 1] || apart(keys[i]),
                    "{i} of {rows} x {size}"
                );
            }
        }
    }
}

#[test]
fn slices_are_ordered_and_grouped() {
    for (count, length) in [(1, 3), (13, 2), (300, 4)] {
        let mut random = Random(74);
        let keys: Vec<u64> = (0..count * length).map(|_| random.word() % 3).collect();
        let padded = usize::next_power_of_two(count);
        let Some(from) = given(&keys) else { return };
        let found = in_every_order(|emulator| {
            let (order, begins) = (emulator.unwritten::<u32>(padded), emulator.unwritten::<u8>(count));
            run(emulator, "count_up_u32", blocks(padded), &[order.argument(), bytes(padded as i64)]);
            let mut around = 2;
            while around <= padded {
                let mut step = around / 2;
                while step > 0 {
                    let mut arguments = vec![from.argument(), order.argument()];
                    arguments.extend([padded, count, length, around, step].map(|n| bytes(n as i64)));
                    run(emulator, "slices_8", blocks(padded / 2), &arguments);
                    step /= 2;
                }
                around *= 2;
            }
            let mut arguments = vec![from.argument(), order.argument(), begins.argument()];
            arguments.extend([bytes(count as i64), bytes(length as i64), bytes(2u64), bytes(1i32)]);
            run(emulator, "slice_begins_8", blocks(count), &arguments);
            vec![order, begins]
        })
        .unwrap();
        let (order, begins): (Vec<u32>, Vec<u8>) = (found[0].read(), found[1].read());
        let slice = |i: u32| &keys[i as usize * length..][..length];
        let mut expected: Vec<u32> = (0..count as u32).collect();
        expected.sort_by_key(|&i| slice(i));
        assert_eq!(order[..count], expected);
        for i in 0..count {
            let own = slice(order[i]);
            // A slice that holds a 2, which stands for NaN here, is different from all.
            let other = i == 0 || own.contains(&2) || own != slice(order[i - 1]);
            assert_eq!(begins[i] == 1, other);
        }
    }
}

#[test]
fn gaps_lie_between_beginnings() {
    let Some(begins) = given(&[0i64, 2, 3]) else { return };
    let gaps: Vec<i64> = launch("gaps_i64", [1, 1, 1], &[begins.argument()], 3, &[bytes(3i64), bytes(5i64)]).unwrap();
    assert_eq!(gaps, [2, 1, 2]);
}

#[test]
fn links_go_from_equal_to_equal() {
    let keys: Vec<u32> = some_keys::<u32>(700).iter().map(|key| key % 90).collect();
    let (sorted, order) = sorted_rows(&keys, 700, 700);
    let (Some(sorted), Some(order)) = (given(&sorted), given(&order)) else { return };
    let found = in_every_order(|emulator| {
        let next = emulator.unwritten::<i64>(700);
        run(emulator, "links_4", blocks(700), &[sorted.argument(), order.argument(), next.argument(), bytes(700i64)]);
        vec![next]
    })
    .unwrap();
    for (i, &next) in found[0].read::<i64>().iter().enumerate() {
        let following = (i + 1..700).find(|&j| keys[j] == keys[i]).unwrap_or(700);
        assert_eq!(next & i64::MAX, following as i64);
        assert_eq!(next < 0, keys[..i].contains(&keys[i]));
    }
}
