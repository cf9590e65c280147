//! Recurrent layers: whole sequences by one block and step by step, against a plain run and its differences.

use super::support::{Number, Random, blocks, given, in_every_order, run};
use crate::emulator::call::{Argument, Buffer, Emulator, bytes};

const KINDS: [&str; 4] = ["lstm", "gru", "tanh", "relu"];
const STEPS: usize = 4;
const BATCH: usize = 3;
const LENGTHS: [i64; BATCH] = [4, 0, 2];

fn gates_of(kind: &str) -> usize {
    match kind {
        "lstm" => 4,
        "gru" => 3,
        _ => 1,
    }
}

/// A layer's numbers, in f64.
#[derive(Clone)]
struct Layer {
    kind: &'static str,
    size: usize,
    reversed: bool,
    lengths: Option<[i64; BATCH]>,
    /// What the input gives, and what is added to what the hidden state gives: of all steps.
    sums: Vec<f64>,
    inner: Vec<f64>,
    weight: Vec<f64>,
    hidden: Vec<f64>,
    cell: Vec<f64>,
}

impl Layer {
    fn new(kind: &'static str, size: usize, reversed: bool, lengths: bool) -> Layer {
        let mut random = Random(111);
        let gates = gates_of(kind) * size;
        let mut list = |count: usize, scale: f64| -> Vec<f64> {
            // As f32 holds them, so that both types begin with the same.
            random.list::<f32>(count).into_iter().map(|x| (x * scale as f32) as f64).collect()
        };
        let bias = list(gates, 0.5);
        Layer {
            kind,
            size,
            reversed,
            lengths: lengths.then_some(LENGTHS),
            sums: list(STEPS * BATCH * gates, 1.0),
            inner: if kind == "gru" { bias.repeat(STEPS * BATCH) } else { vec![0.0; STEPS * BATCH * gates] },
            weight: list(gates * size, 1.0 / (size as f64).sqrt()),
            hidden: list(BATCH * size, 1.0),
            cell: list(BATCH * size, 1.0),
        }
    }
    fn gates(&self) -> usize {
        gates_of(self.kind) * self.size
    }
    fn awake(&self, sequence: usize, time: usize) -> bool {
        self.lengths.is_none_or(|lengths| (time as i64) < lengths[sequence])
    }
    fn order(&self) -> Vec<usize> {
        if self.reversed { (0..STEPS).rev().collect() } else { (0..STEPS).collect() }
    }
    /// Results of all steps, then the hidden state and the cell at the end.
    fn run(&self) -> [Vec<f64>; 3] {
        let (size, gates) = (self.size, self.gates());
        let (mut hidden, mut cell) = (self.hidden.clone(), self.cell.clone());
        let mut output = vec![0.0; STEPS * BATCH * size];
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        for time in self.order() {
            for sequence in (0..BATCH).filter(|&sequence| self.awake(sequence, time)) {
                let row = time * BATCH + sequence;
                let before = hidden[sequence * size..][..size].to_vec();
                let given = |gate: usize, j: usize| {
                    let place = gate * size + j;
                    let weights = &self.weight[place * size..][..size];
                    self.inner[row * gates + place] + weights.iter().zip(&before).map(|(w, h)| w * h).sum::<f64>()
                };
                let sum = |gate: usize, j: usize| self.sums[row * gates + gate * size + j];
                for j in 0..size {
                    let all = |gate: usize| sum(gate, j) + given(gate, j);
                    let at = sequence * size + j;
                    hidden[at] = match self.kind {
                        "lstm" => {
                            cell[at] = logistic(all(1)) * cell[at] + logistic(all(0)) * all(2).tanh();
                            logistic(all(3)) * cell[at].tanh()
                        }
                        "gru" => {
                            let (reset, update) = (logistic(all(0)), logistic(all(1)));
                            (1.0 - update) * (sum(2, j) + reset * given(2, j)).tanh() + update * before[j]
                        }
                        "tanh" => all(0).tanh(),
                        _ => all(0).max(0.0),
                    };
                    output[row * size + j] = hidden[at];
                }
            }
        }
        [output, hidden, cell]
    }
}

/// What is made of the results is a sum of them with these weights; so the weights are what arrives.
fn weights(size: usize) -> [Vec<f64>; 3] {
    let mut random = Random(112);
    [STEPS * BATCH * size, BATCH * size, BATCH * size]
        .map(|count| random.list::<f32>(count).into_iter().map(|x| x as f64).collect())
}

/// By central differences: how that sum changes with some numbers of a layer. Of many every so manieth is tried, for others it is NaN.
fn slopes(layer: &Layer, of: impl Fn(&mut Layer) -> &mut Vec<f64>) -> Vec<f64> {
    let weights = weights(layer.size);
    let total = |layer: &Layer| -> f64 {
        let all = layer.run();
        let used = if layer.kind == "lstm" { 3 } else { 2 };
        (0..used).map(|i| all[i].iter().zip(&weights[i]).map(|(x, w)| x * w).sum::<f64>()).sum()
    };
    let mut changed = layer.clone();
    let count = of(&mut changed).len();
    (0..count)
        .map(|i| {
            if i % (count / 60 + 1) != 0 {
                return f64::NAN;
            }
            let number = of(&mut changed)[i];
            let mut moved = |by: f64| {
                of(&mut changed)[i] = number + by;
                total(&changed)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            of(&mut changed)[i] = number;
            slope
        })
        .collect()
}

fn list<T: Number>(numbers: &[f64]) -> Vec<T> {
    numbers.iter().map(|&x| T::from_f64(x)).collect()
}
/// Within what rounding and differences leave.
fn close<T: Number>(what: &str, found: &Buffer, expected: &[f64]) {
    let tolerance = if size_of::<T>() == 8 { 1e-8 } else { 2e-5 };
    let found: Vec<T> = found.read();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (found, near) = (found.to_f64(), tolerance * expected.abs().max(1.0));
        assert!(
            (found - expected).abs() <= near || expected.is_nan(),
            "{what}, number {at}: {found} instead of {expected}"
        );
    }
}

/// A layer in the memory of the emulated device.
struct There<'a, T> {
    layer: &'a Layer,
    emulator: &'a Emulator,
    lengths: Option<Buffer>,
    element: std::marker::PhantomData<T>,
}

/// Results, end, and what was kept.
struct Forward {
    output: Buffer,
    hidden: Buffer,
    cell: Option<Buffer>,
    states: Buffer,
    cells: Option<Buffer>,
    gates: Buffer,
    inner: Option<Buffer>,
}

/// Slopes of the sums, of what the hidden state gives, of the states at the beginning.
struct Backward {
    slopes: Buffer,
    inner: Option<Buffer>,
    hidden: Buffer,
    cell: Option<Buffer>,
}

fn option(buffer: Option<&Buffer>) -> Argument {
    buffer.map_or(bytes(0u64), Buffer::argument)
}

impl<T: Number> There<'_, T> {
    fn given(&self, numbers: &[f64]) -> Buffer {
        self.emulator.buffer(&list::<T>(numbers))
    }
    fn blank(&self, count: usize) -> Buffer {
        self.emulator.unwritten::<T>(count)
    }
    fn states(&self) -> usize {
        BATCH * self.layer.size
    }
    fn lstm<R>(&self, make: impl FnOnce() -> R) -> Option<R> {
        (self.layer.kind == "lstm").then(make)
    }
    fn gru<R>(&self, make: impl FnOnce() -> R) -> Option<R> {
        (self.layer.kind == "gru").then(make)
    }
    /// Bytes of so many numbers.
    fn far(&self, numbers: usize) -> usize {
        numbers * size_of::<T>()
    }
    fn last(&self) -> Vec<Argument> {
        let Layer { size, reversed, .. } = *self.layer;
        vec![
            option(self.lengths.as_ref()),
            bytes(STEPS as i64),
            bytes(BATCH as i64),
            bytes(size as i32),
            bytes(reversed as i32),
        ]
    }
    fn launch(&self, name: &str, arguments: &[Argument]) {
        let name = format!("{name}_{}_{}", self.layer.kind, T::NAME);
        let threads = self.layer.gates().next_multiple_of(32);
        self.emulator.launch(&name, [BATCH, 1, 1], threads, 0, arguments).unwrap_or_else(|said| panic!("{said}"));
    }
    /// Whole sequences by one launch.
    fn through(&self, keep: bool) -> Forward {
        let (layer, n) = (self.layer, self.states());
        let kept = |count: usize| self.blank(if keep { count } else { 0 });
        let forward = Forward {
            output: self.blank(STEPS * n),
            hidden: self.blank(n),
            cell: self.lstm(|| self.blank(n)),
            states: kept((STEPS + 1) * n),
            cells: self.lstm(|| kept((STEPS + 1) * n)),
            gates: self.given(&layer.sums),
            inner: self.gru(|| kept(STEPS * n)),
        };
        let bias = self.gru(|| self.given(&layer.inner[..layer.gates()]));
        let (weight, hidden, cell) = (self.given(&layer.weight), self.given(&layer.hidden), self.given(&layer.cell));
        let held = |buffer: Option<&Buffer>| option(buffer.filter(|_| keep));
        let mut arguments = vec![
            forward.gates.argument(),
            weight.argument(),
            option(bias.as_ref()),
            hidden.argument(),
            option(self.lstm(|| &cell)),
            held(Some(&forward.states)),
            held(forward.cells.as_ref()),
            held(forward.inner.as_ref()),
            forward.output.argument(),
            forward.hidden.argument(),
            option(forward.cell.as_ref()),
        ];
        arguments.extend(self.last());
        self.launch("through", &arguments);
        forward
    }
    fn through_back(&self, forward: &Forward) -> Backward {
        let (layer, n) = (self.layer, self.states());
        let all = STEPS * BATCH * layer.gates();
        let back = Backward {
            slopes: self.blank(all),
            inner: self.gru(|| self.blank(all)),
            hidden: self.blank(n),
            cell: self.lstm(|| self.blank(n)),
        };
        let weight = self.given(&layer.weight);
        let arriving = weights(layer.size).map(|numbers| self.given(&numbers));
        let gates = if matches!(layer.kind, "tanh" | "relu") { &forward.output } else { &forward.gates };
        let mut arguments = vec![
            weight.argument(),
            gates.argument(),
            forward.states.argument(),
            option(forward.cells.as_ref()),
            option(forward.inner.as_ref()),
            arriving[0].argument(),
            arriving[1].argument(),
            option(self.lstm(|| &arriving[2])),
            back.slopes.argument(),
            option(back.inner.as_ref()),
            back.hidden.argument(),
            option(back.cell.as_ref()),
        ];
        arguments.extend(self.last());
        self.launch("through_back", &arguments);
        back
    }
    /// `rows · matrix`, of numbers that are read back from the device; `turn`: by the transposed matrix.
    fn product(&self, rows: &[T], turn: bool, start: impl Fn(usize) -> f64) -> Buffer {
        let (layer, gates) = (self.layer, self.layer.gates());
        let (shared, columns) = if turn { (gates, layer.size) } else { (layer.size, gates) };
        let number = |at: usize| {
            let (row, column) = (at / columns, at % columns);
            let weight = |k: usize| layer.weight[if turn { k * columns + column } else { column * shared + k }];
            start(at) + (0..shared).map(|k| rows[row * shared + k].to_f64() * weight(k)).sum::<f64>()
        };
        self.given(&(0..BATCH * columns).map(number).collect::<Vec<_>>())
    }
    /// The slopes of the hidden state before a step: what goes there through its gates, and past them.
    fn before(&self, slopes: &Buffer, time: usize, direct: &Buffer) -> Buffer {
        let all = BATCH * self.layer.gates();
        let direct = direct.read::<T>();
        self.product(&slopes.read::<T>()[time * all..][..all], true, |at| direct[at].to_f64())
    }
    /// Step by step, with the products done here, or in whole steps. Gives what each step gave: result, hidden state, cell, and the gates.
    fn step_by_step(&self, whole: bool) -> (Forward, Backward) {
        let (layer, n, gates) = (self.layer, self.states(), self.layer.gates());
        let (size, kind) = (layer.size, layer.kind);
        let forward = Forward {
            output: self.blank(STEPS * n),
            hidden: self.blank(0),
            cell: None,
            states: self.given(&[layer.hidden.clone(), vec![0.0; STEPS * n]].concat()),
            cells: self.lstm(|| self.given(&[layer.cell.clone(), vec![0.0; STEPS * n]].concat())),
            gates: self.given(&layer.sums),
            inner: self.gru(|| self.given(&vec![0.0; STEPS * n])),
        };
        // The last arguments: of a whole step how many sequences there are, else how many numbers in all.
        let counts = |time: usize| {
            let count = if whole { BATCH } else { n };
            [option(self.lengths.as_ref()), bytes(count as i64), bytes(size as i64), bytes(time as i64)]
        };
        let far = |buffer: Option<&Buffer>, numbers: usize| {
            buffer.map_or(bytes(0u64), |buffer| buffer.from(self.far(numbers)))
        };
        let (weight, bias) = (self.given(&layer.weight), self.gru(|| self.given(&layer.inner[..gates])));
        // One step: a whole one begins with the weights, by tiles of which `columns` numbers stand beside 32 sequences.
        let launch = |name: &str, columns: usize, arguments: Vec<Argument>| {
            let name = format!("{}{name}_{kind}_{}", if whole { "whole_" } else { "" }, T::NAME);
            if !whole {
                return run(self.emulator, &name, blocks(n), &arguments);
            }
            let (grid, shared) = ([size.div_ceil(4), BATCH.div_ceil(32), 1], 3 * (32 + columns) * 132 * size_of::<T>());
            self.emulator.launch(&name, grid, 256, shared, &arguments).unwrap_or_else(|said| panic!("{said}"));
        };
        for (step, &time) in layer.order().iter().enumerate() {
            let sums;
            let mut arguments = if whole {
                vec![weight.argument(), option(bias.as_ref())]
            } else {
                let state = &forward.states.read::<T>()[step * n..][..n];
                let given = |at: usize| match kind {
                    "gru" => layer.inner[at],
                    _ => layer.sums[time * BATCH * gates + at],
                };
                sums = self.product(state, false, given);
                vec![sums.argument()]
            };
            arguments.extend([
                forward.gates.from(self.far(time * BATCH * gates)),
                far(forward.cells.as_ref(), step * n),
                far(forward.cells.as_ref(), (step + 1) * n),
                far(forward.inner.as_ref(), time * n),
                far(Some(&forward.states), step * n),
                far(Some(&forward.states), (step + 1) * n),
                far(Some(&forward.output), time * n),
            ]);
            arguments.extend(counts(time));
            arguments.push(bytes(1i32));
            launch("step", 4 * gates_of(kind), arguments);
        }
        let arriving = weights(size).map(|numbers| self.given(&numbers));
        let all = STEPS * BATCH * gates;
        let (slopes, inner) = (self.given(&vec![0.0; all]), self.gru(|| self.given(&vec![0.0; all])));
        let (mut state, cell) = (self.given(&weights(size)[1]), self.lstm(|| self.given(&weights(size)[2])));
        let mut following: Option<usize> = None;
        for (step, &time) in layer.order().iter().enumerate().rev() {
            let values =
                if gates == size { (&forward.output, time * n) } else { (&forward.gates, time * BATCH * gates) };
            let direct = self.blank(if whole { 0 } else { n });
            let mut arguments = if whole {
                let given = following.map(|time| far(Some(inner.as_ref().unwrap_or(&slopes)), time * BATCH * gates));
                vec![weight.argument(), given.unwrap_or(bytes(0u64))]
            } else {
                Vec::new()
            };
            arguments.extend([
                values.0.from(self.far(values.1)),
                far(Some(&forward.states), step * n),
                far(forward.cells.as_ref(), step * n),
                far(forward.cells.as_ref(), (step + 1) * n),
                far(forward.inner.as_ref(), time * n),
                far(Some(&arriving[0]), time * n),
            ]);
            if !whole {
                arguments.push(state.argument());
            }
            arguments.extend([
                option(cell.as_ref()),
                far(Some(&slopes), time * BATCH * gates),
                far(inner.as_ref(), time * BATCH * gates),
            ]);
            // What goes to the state before past the gates; of a whole step it stands where it came from.
            match whole {
                true => arguments.push(state.argument()),
                false => arguments.extend([direct.argument(), bytes(0u64)]),
            }
            arguments.extend(counts(time));
            launch("back", 4, arguments);
            match whole {
                true => following = Some(time),
                false => state = self.before(inner.as_ref().unwrap_or(&slopes), time, &direct),
            }
        }
        if let Some(time) = following {
            state = self.before(inner.as_ref().unwrap_or(&slopes), time, &state);
        }
        (forward, Backward { slopes, inner, hidden: state, cell })
    }
}

/// By which kernels.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Sequence,
    Step,
    Whole,
}

fn compared<T: Number>(size: usize, way: Way, kinds: &[&'static str], ways: &[(bool, bool)]) {
    for &kind in kinds {
        for &(reversed, lengths) in ways {
            let layer = &Layer::new(kind, size, reversed, lengths);
            let what = format!("{kind} of {size}, reversed {reversed}, lengths {lengths}, {}", T::NAME);
            let [output, hidden, cell] = layer.run();
            let check = |emulator: &Emulator| {
                let there = There::<T> {
                    layer,
                    emulator,
                    lengths: layer.lengths.map(|lengths| emulator.buffer(&lengths)),
                    element: std::marker::PhantomData,
                };
                let (forward, back) = if way != Way::Sequence {
                    there.step_by_step(way == Way::Whole)
                } else {
                    let alone = there.through(false);
                    close::<T>(&format!("result alone, {what}"), &alone.output, &output);
                    let forward = there.through(true);
                    close::<T>(&format!("hidden state, {what}"), &forward.hidden, &hidden);
                    if let Some(found) = &forward.cell {
                        close::<T>(&format!("cell, {what}"), found, &cell);
                    }
                    let back = there.through_back(&forward);
                    (forward, back)
                };
                close::<T>(&format!("result, {what}"), &forward.output, &output);
                vec![back.slopes, back.hidden, back.inner.or(back.cell).unwrap_or(forward.output)]
            };
            let Some(found) = in_every_order(check) else { return };
            close::<T>(&format!("slopes, {what}"), &found[0], &slopes(layer, |layer| &mut layer.sums));
            close::<T>(
                &format!("slopes of the hidden state, {what}"),
                &found[1],
                &slopes(layer, |layer| &mut layer.hidden),
            );
            match kind {
                "gru" => close::<T>(&format!("inner, {what}"), &found[2], &slopes(layer, |layer| &mut layer.inner)),
                "lstm" => close::<T>(
                    &format!("slopes of the cell, {what}"),
                    &found[2],
                    &slopes(layer, |layer| &mut layer.cell),
                ),
                _ => {}
            }
        }
    }
}

/// Is it reversed, and do sequences end at different steps?
const WAYS: [(bool, bool); 2] = [(false, false), (true, true)];

#[test]
fn whole_sequences_by_one_block() {
    compared::<f64>(5, Way::Sequence, &KINDS, &WAYS);
    compared::<f32>(23, Way::Sequence, &KINDS, &[(false, true)]);
    compared::<f64>(64, Way::Sequence, &KINDS, &WAYS[..1]);
}

#[test]
fn step_by_step() {
    compared::<f64>(5, Way::Step, &KINDS, &WAYS);
    compared::<f32>(21, Way::Step, &KINDS, &[(false, true)]);
}

#[test]
fn in_whole_steps() {
    compared::<f32>(5, Way::Whole, &KINDS, &WAYS);
    compared::<f32>(20, Way::Whole, &KINDS, &[(false, true)]);
    // More numbers than a chunk has; words of 16 bytes, and not.
    compared::<f32>(132, Way::Whole, &["gru"], &[(true, true)]);
    compared::<f32>(133, Way::Whole, &["tanh"], &[(false, true)]);
}

#[test]
fn around_a_projection_sequences_that_sleep_keep_their_state() {
    let (count, width) = (BATCH * 7, 7);
    let lists: Vec<Vec<f32>> = (0..2).map(|i| Random(113 + i).list(count)).collect();
    let (Some(a), Some(b), Some(lengths)) = (given(&lists[0]), given(&lists[1]), given(&LENGTHS)) else { return };
    let found = in_every_order(|emulator| {
        let out = [(); 4].map(|()| emulator.unwritten::<f32>(count));
        for (name, pair) in [("settle_f32", &out[..2]), ("meet_f32", &out[2..])] {
            let mut arguments = vec![a.argument(), b.argument(), pair[0].argument(), pair[1].argument()];
            arguments.extend([lengths.argument(), bytes(count as i64), bytes(width as i64), bytes(2i64)]);
            run(emulator, name, blocks(count), &arguments);
        }
        out.into()
    });
    let Some(found) = found else { return };
    let found: Vec<Vec<f32>> = found.iter().map(Buffer::read).collect();
    for at in 0..count {
        let (a, b, awake) = (lists[0][at], lists[1][at], LENGTHS[at / width] > 2);
        let expected = if awake { [a, a, a + b, 0.0] } else { [b, 0.0, 0.0, b] };
        assert_eq!([0, 1, 2, 3].map(|i| found[i][at]), expected, "number {at}");
    }
}
