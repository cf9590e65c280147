//! Elements chosen and put by position: repeated ones, negative ones, ones out of range, every way to combine.

use super::support::{Number, Random, blocks, given, in_every_order, launch, near, run};
use crate::emulator::call::{View, bytes};

fn positions(count: usize, size: usize, seed: u64) -> Vec<i64> {
    let mut random = Random(seed);
    (0..count).map(|_| (random.word() % size as u64) as i64).collect()
}

#[test]
fn positions_count_from_either_end_and_faults_are_noted() {
    let list = [0i64, -1, 4, -5, 5, 2, -6];
    for (count, fault) in [(4, u64::MAX), (7, 9 << 40 | 4)] {
        let Some(index) = given(&list) else { return };
        let found = in_every_order(|emulator| {
            let (y, word) = (emulator.unwritten::<i64>(count), emulator.buffer(&[u64::MAX]));
            let numbers = [bytes(count as i64), bytes(5i64), word.argument(), bytes(9u64)];
            let mut arguments = vec![index.argument(), y.argument()];
            arguments.extend(numbers);
            run(emulator, "positions_i64", blocks(count), &arguments);
            vec![y, word]
        })
        .unwrap();
        assert_eq!(found[0].read::<i64>(), [0, 4, 4, 0, 0, 2, 0][..count]);
        assert_eq!(found[1].read::<u64>(), [fault]);
    }
}

#[test]
fn names_do_not_count_from_the_end() {
    for (list, fault) in [([0i64, 4, 2], u64::MAX), ([0, -1, 5], 9 << 40 | 1), ([1, 2, 5], 9 << 40 | 2)] {
        let Some(names) = given(&list) else { return };
        let found = in_every_order(|emulator| {
            let (marks, words) = (emulator.buffer(&[0i64; 15]), emulator.buffer(&[u64::MAX; 2]));
            let word = |at: usize| bytes(u64::from_ne_bytes(words.argument().try_into().unwrap()) + 8 * at as u64);
            let count = [bytes(3i64), bytes(5i64)];
            let looked = [&[names.argument()], &count[..], &[word(0), bytes(9u64)]].concat();
            run(emulator, "names_i64", blocks(3), &looked);
            let marked = [&[names.argument(), marks.argument()], &count[..], &[word(1), bytes(9u64)]].concat();
            run(emulator, "one_hot_i64", blocks(3), &marked);
            vec![words, marks]
        })
        .unwrap();
        assert_eq!(found[0].read::<u64>(), [fault; 2]);
        let marks: Vec<i64> = found[1].read();
        assert!((0..15).all(|at| marks[at] == (list[at / 5] == at as i64 % 5) as i64));
    }
}

#[test]
fn slices_are_chosen_in_words_of_every_size() {
    for (outer, size, count, inner) in [(1, 50, 33, 16), (3, 7, 5, 4), (2, 4, 9, 1)] {
        let index = positions(count, size, 41);
        let x: Vec<f32> = Random(42).list(outer * size * inner);
        let blank = index[0];
        let expected: Vec<f32> = (0..outer * count * inner)
            .map(|at| {
                let (o, p, i) = (at / (count * inner), at / inner % count, at % inner);
                if index[p] == blank { 0.0 } else { x[(o * size + index[p] as usize) * inner + i] }
            })
            .collect();
        for word in [1, 2, 4, 8, 16] {
            if inner * 4 % word != 0 {
                continue;
            }
            let (Some(x), Some(index)) = (given(&x), given(&index)) else { return };
            let inner = inner * 4 / word;
            let numbers = [outer * count * inner, size, count, inner].map(|n| bytes(n as i64));
            let numbers: Vec<_> = numbers.into_iter().chain([bytes(blank)]).collect();
            let inputs = [x.argument(), index.argument()];
            let found: Vec<f32> =
                launch(&format!("select_{word}"), blocks(expected.len()), &inputs, expected.len(), &numbers).unwrap();
            assert_eq!(found, expected, "select_{word}");
        }
    }
}

#[test]
fn numbers_are_gathered_along_an_axis() {
    let (x, index): (Vec<f32>, _) = (Random(43).list(4 * 6 * 5), positions(4 * 9 * 5, 6, 44));
    let (Some(from), Some(at)) = (given(&x), given(&index)) else { return };
    let numbers = [bytes(180i64), bytes(View::new(&[4, 9, 5], &[30, 0, 1])), bytes(5i64)];
    let found: Vec<f32> = launch("gather_4", blocks(180), &[from.argument(), at.argument()], 180, &numbers).unwrap();
    for (r, &y) in found.iter().enumerate() {
        assert_eq!(y, x[r / 45 * 30 + index[r] as usize * 5 + r % 5]);
    }
}

/// What combining gives, in the order of the list.
fn combined(combine: i32, before: Option<f64>, list: &[f64], whole: bool) -> f64 {
    let all: Vec<f64> = before.into_iter().filter(|_| combine != 0).chain(list.iter().copied()).collect();
    let fold = |f: fn(f64, f64) -> f64| all.iter().copied().reduce(f).unwrap();
    match combine {
        0 => *all.last().unwrap(),
        1 => all.iter().sum(),
        2 => all.iter().product(),
        3 if whole => (all.iter().sum::<f64>() / all.len() as f64).floor(),
        3 => all.iter().sum::<f64>() / all.len() as f64,
        4 => fold(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }),
        _ => fold(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }),
    }
}

fn assembled<T: Number>() {
    for (outer, size, count, inner, skip) in [(1, 20, 300, 8, 3), (2, 9, 30, 5, -1), (1, 500, 700, 1, -1)] {
        let index = positions(count, size, 45);
        let mut source: Vec<T> = Random(46).list(outer * count * inner);
        let base: Vec<T> = Random(47).list(outer * size * inner);
        if !T::WHOLE {
            source[11] = T::from_f64(f64::NAN);
        }
        let (Some(from), Some(at)) = (given(&source), given(&index)) else { return };
        for (combine, include) in (0..6).flat_map(|combine| [(combine, 0), (combine, 1)]) {
            let found = in_every_order(|emulator| {
                let (next, y) = (emulator.unwritten::<i64>(count), emulator.buffer(&base));
                let links = [at.argument(), next.argument(), bytes(count as i64)];
                run(emulator, "chains_i64", [count.div_ceil(256), 1, 1], &links);
                let mut arguments = vec![from.argument(), at.argument(), next.argument(), y.argument()];
                arguments.extend([size, count, outer, inner].map(|n| bytes(n as i64)));
                arguments.extend([bytes(skip), bytes(combine), bytes(include)]);
                run(emulator, &format!("assemble_{}", T::NAME), blocks(source.len()), &arguments);
                vec![y]
            })
            .unwrap();
            let expected: Vec<f64> = (0..base.len())
                .map(|at| {
                    let (o, d, i) = (at / (size * inner), at / inner % size, at % inner);
                    let goes = |p: &usize| index[*p] == d as i64 && d as i64 != skip;
                    let list: Vec<f64> =
                        (0..count).filter(goes).map(|p| source[(o * count + p) * inner + i].to_f64()).collect();
                    let before = base[at].to_f64();
                    if list.is_empty() {
                        return before;
                    }
                    let all = combined(combine, (include == 1).then_some(before), &list, T::WHOLE);
                    if T::WHOLE && combine == 2 {
                        let product = |held: i64, x: f64| held.wrapping_mul(x as i64);
                        return list.iter().fold(if include == 1 { before as i64 } else { 1 }, |a, &b| product(a, b))
                            as f64;
                    }
                    all
                })
                .collect();
            near(&format!("assemble_{} {combine} {include}", T::NAME), &found[0].read::<T>(), &expected);
        }
    }
}

#[test]
fn slices_are_put_together_in_order() {
    assembled::<f32>();
    assembled::<f64>();
    assembled::<i64>();
}

#[test]
fn lines_are_scattered_along_an_axis() {
    // y [3, 6, 4], source and index [3, 10, 4], axis 1.
    let (source, base): (Vec<f32>, Vec<f32>) = (Random(48).list(120), Random(49).list(72));
    let index = positions(120, 6, 50);
    let (Some(from), Some(at)) = (given(&source), given(&index)) else { return };
    for (combine, include) in [0, 1, 2, 4, 5].into_iter().flat_map(|combine| [(combine, 0), (combine, 1)]) {
        let found = in_every_order(|emulator| {
            let y = emulator.buffer(&base);
            let mut arguments = vec![from.argument(), at.argument(), y.argument(), bytes(12i64), bytes(10i64)];
            arguments.push(bytes(View::new(&[3, 4], &[24, 1])));
            arguments.extend([bytes(View::new(&[3, 4], &[40, 1])), bytes(View::new(&[3, 4], &[40, 1]))]);
            arguments.extend([bytes(4i64), bytes(4i64), bytes(4i64), bytes(combine), bytes(include)]);
            run(emulator, "scatter_f32", [1, 1, 1], &arguments);
            vec![y]
        })
        .unwrap();
        let expected: Vec<f64> = (0..72)
            .map(|out| {
                let (a, d, c) = (out / 24, out / 4 % 6, out % 4);
                let places = (0..10).map(|s| a * 40 + s * 4 + c).filter(|&place| index[place] == d as i64);
                let list: Vec<f64> = places.map(|place| source[place] as f64).collect();
                let before = base[out] as f64;
                if list.is_empty() { before } else { combined(combine, (include == 1).then_some(before), &list, false) }
            })
            .collect();
        near(&format!("scatter_f32 {combine} {include}"), &found[0].read::<f32>(), &expected);
    }
}

#[test]
fn means_of_whole_numbers_round_down() {
    let (sums, counts) = ([7i64, -7, 6, -1, i64::MIN, 0], [2i64, 2, 3, 4, 1, 5]);
    let (Some(from), Some(by)) = (given(&sums), given(&counts)) else { return };
    let found: Vec<i64> = launch("mean_i64", blocks(6), &[from.argument(), by.argument()], 6, &[bytes(6i64)]).unwrap();
    assert_eq!(found, [3, -4, 2, -1, i64::MIN, 0]);
}

#[test]
fn labels_are_marked_and_counted() {
    let labels = positions(700, 11, 51);
    let Some(at) = given(&labels) else { return };
    let found = in_every_order(|emulator| {
        let (marks, counts) = (emulator.buffer(&vec![0i64; 7700]), emulator.buffer(&[0i64; 11]));
        let word = emulator.buffer(&[u64::MAX]);
        let mut arguments = vec![at.argument(), marks.argument(), bytes(700i64), bytes(11i64)];
        arguments.extend([word.argument(), bytes(3u64)]);
        run(emulator, "one_hot_i64", blocks(700), &arguments);
        run(emulator, "count_i64", blocks(700), &[at.argument(), counts.argument(), bytes(700i64)]);
        vec![marks, counts, word]
    })
    .unwrap();
    assert_eq!(found[2].read::<u64>(), [u64::MAX]);
    let marks: Vec<i64> = found[0].read();
    assert!((0..7700).all(|i| marks[i] == (labels[i / 11] == (i % 11) as i64) as i64));
    let counts: Vec<i64> = found[1].read();
    assert!((0..11).all(|c| counts[c as usize] == labels.iter().filter(|&&x| x == c).count() as i64));
}

#[test]
fn goals_are_places_of_lines() {
    // y [3, 6, 4], index [3, 4, 10] with the axis moved last.
    let index = positions(120, 6, 52);
    let Some(at) = given(&index) else { return };
    let numbers = [bytes(12i64), bytes(10i64), bytes(View::new(&[3, 4], &[24, 1])), bytes(4i64)];
    let found: Vec<i64> = launch("goals_i64", blocks(120), &[at.argument()], 120, &numbers).unwrap();
    for (i, &goal) in found.iter().enumerate() {
        assert_eq!(goal, (i / 40 * 24 + i / 10 % 4) as i64 + 4 * index[i]);
    }
}
