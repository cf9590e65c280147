//! What stands around a formula's steps: arguments, positions, loads, conversions and stores.

use super::body::{Bank, Operand, either, fixed, register, step, written};
use super::{BLOCK, Kind, Paths, Reading, Signature};
use crate::error::Fault;
use crate::layout::DType;
use std::fmt::Write;

/// The text of a kernel.
pub(super) fn kernel<K: Kind>(name: &str, reading: &Reading<'_>, signature: &Signature) -> Result<String, Fault> {
    let mut arguments = Arguments::default();
    let lines = written(|| match signature.paths {
        Paths::Dense => dense::<K>(reading, signature, &mut arguments),
        Paths::Strided { axes, long } => strided::<K>(reading, signature, &mut arguments, axes, long),
        Paths::InPlace { tensors, remote, guarded } => {
            in_place::<K>(reading, signature, &mut arguments, (tensors, remote, guarded))
        }
    })?;
    let mut text = format!("// The formula {name}, {signature}\n");
    text.push_str(".version 8.0\n.target sm_80\n.address_size 64\n\n");
    let _ =
        writeln!(text, ".visible .entry formula(\n    {}\n) .maxntid {BLOCK}, 1, 1\n{{", arguments.0.join(",\n    "));
    text.push_str(&lines);
    text.push_str("    ret;\n}\n");
    Ok(text)
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |types: &[DType]| types.iter().map(DType::to_string).collect::<Vec<_>>().join(" ");
        write!(f, "from {} to {}, computed in {}", list(&self.inputs), list(&self.results), self.compute)?;
        match self.paths {
            Paths::Dense => write!(f, ", dense"),
            Paths::Strided { axes, .. } => write!(f, ", by strides along {axes} axes"),
            Paths::InPlace { tensors, remote, .. } => {
                write!(f, ", in place of up to {tensors} tensors{}", if remote { ", scalars in memory" } else { "" })
            }
        }
    }
}

/// The arguments as they are declared.
#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn declare(&mut self, kind: &str, name: &str) {
        self.0.push(format!(".param .{kind} {name}"));
    }
    /// One more number of 64 bits, read.
    fn long(&mut self, name: &str) -> Operand {
        self.declare("u64", name);
        fixed_load(Bank::Long, "u64", name)
    }
    /// The scalar parameters.
    fn scalars<K: Kind>(&mut self, reading: &Reading<'_>) -> Vec<K> {
        let kind = kind::<K>();
        (0..reading.scalars.len())
            .map(|at| {
                let name = format!("scalar_{at}");
                self.declare(kind, &name);
                K::new(fixed_load(K::BANK, kind, &name))
            })
            .collect()
    }
    /// The scalar parameters where they stand in memory, in words of eight bytes.
    fn remote_scalars<K: Kind>(&mut self, reading: &Reading<'_>) -> Vec<K> {
        let base = self.long("scalars");
        let load = |at: usize| {
            let to = register(K::BANK);
            fixed(format!("ld.global.{} {to}, [{base}+{}];", kind::<K>(), 8 * at), &[base]);
            K::new(to)
        };
        (0..reading.scalars.len()).map(load).collect()
    }
}

/// What a load of a number names.
fn kind<K: Kind>() -> &'static str {
    match K::BANK {
        Bank::Single => "f32",
        Bank::Double => "f64",
        Bank::Long => "s64",
        _ => "s32",
    }
}

fn fixed_load(bank: Bank, kind: &str, name: &str) -> Operand {
    let to = register(bank);
    fixed(format!("ld.param.{kind} {to}, [{name}];"), &[]);
    to
}

fn long(operation: &str, from: &[Operand]) -> Operand {
    step(Bank::Long, operation, from)
}

/// The position of a thread among all of them, in 32 bits or in 64.
fn thread(wide: bool) -> Operand {
    let special = |name: &str| {
        let to = register(Bank::Word);
        fixed(format!("mov.u32 {to}, {name};"), &[]);
        to
    };
    let (block, own) = (special("%ctaid.x"), special("%tid.x"));
    if wide {
        let own = long("cvt.u64.u32", &[own]);
        return long("mad.wide.u32", &[block, (BLOCK as i64).into(), own]);
    }
    step(Bank::Word, "mad.lo.u32", &[block, (BLOCK as i64).into(), own])
}

/// Leaves where the position is not below the count.
fn leave_beyond(position: Operand, count: Operand, kind: &str) {
    let beyond = step(Bank::Truth, &format!("setp.ge.{kind}"), &[position, count]);
    fixed(format!("@{beyond} ret;"), &[beyond]);
}

/// The turn of a thread: so many neighbours, in words of 16 bytes where the launch has whole ones for it, else one by one as far as the
/// elements go.
struct Turn {
    /// Which turn it is, among all.
    index: Operand,
    /// Is it one of whole words?
    is_whole: Operand,
    count: Operand,
    each: u32,
}

impl Turn {
    /// The first turns, `words` of them, are whole.
    fn new(count: Operand, words: Operand, each: u32) -> Turn {
        let index = thread(true);
        Turn { index, is_whole: step(Bank::Truth, "setp.lt.u64", &[index, words]), count, each }
    }
    /// Of elements at these addresses: where one is no multiple of 16, none is whole.
    fn at(count: Operand, addresses: &[Operand], each: u32) -> Turn {
        let joined = addresses.iter().copied().reduce(|a, b| long("or.b64", &[a, b]));
        let odd = long("and.b64", &[joined.unwrap_or(0.into()), 15.into()]);
        let is_aligned = step(Bank::Truth, "setp.eq.u64", &[odd, 0.into()]);
        let words = long("shr.u64", &[count, (each.ilog2() as i64).into()]);
        Turn::new(count, long("selp.b64", &[words, 0.into(), is_aligned]), each)
    }
    /// The address of its first element.
    fn address(&self, base: Operand, dtype: DType) -> Operand {
        long("mad.lo.s64", &[self.index, (self.each as i64 * dtype.size() as i64).into(), base])
    }
    /// Which of its elements are there; a thread that has none leaves.
    fn there(&self) -> Vec<Operand> {
        let start = long("shl.b64", &[self.index, (self.each.ilog2() as i64).into()]);
        leave_beyond(start, self.count, "u64");
        let left = long("sub.s64", &[self.count, start]);
        (0..self.each as i64).map(|k| step(Bank::Truth, "setp.gt.u64", &[left, k.into()])).collect()
    }
    /// Loads its elements of these addresses and types, each into cells.
    fn load(&self, from: &[(Operand, DType)]) -> Vec<Vec<Operand>> {
        let all: Vec<Vec<Operand>> = from.iter().map(|(_, dtype)| cells(*dtype, self.each)).collect();
        let whole = || {
            for ((base, dtype), cells) in from.iter().zip(&all) {
                let address = self.address(*base, *dtype);
                for (at, kind, list) in packs(cells, *dtype) {
                    fixed(format!("ld.global.{kind} {list}, [{address}+{at}];"), &[address]);
                }
            }
        };
        let singly = || {
            let there = self.there();
            for ((base, dtype), cells) in from.iter().zip(&all) {
                let address = self.address(*base, *dtype);
                let (bank, bits) = stored(*dtype);
                let load = |(k, there): (usize, &Operand)| {
                    let (to, at) = (register(bank), k * dtype.size());
                    fixed(format!("mov.{} {to}, 0;", moved(bank)), &[]);
                    fixed(format!("@{there} ld.global.{bits} {to}, [{address}+{at}];"), &[*there, address]);
                    to
                };
                let elements: Vec<Operand> = there.iter().enumerate().map(load).collect();
                for (cell, elements) in cells.iter().zip(elements.chunks(self.each as usize / cells.len())) {
                    let value = if let [low, high] = elements { joined(*low, *high) } else { elements[0] };
                    let bank = self::cell(*dtype).0;
                    fixed(format!("mov.{} {cell}, {value};", moved(bank)), &[value]);
                }
            }
        };
        either(self.is_whole, whole, singly);
        all
    }
    /// Stores cells to these addresses.
    fn store(&self, to: &[(Operand, DType, Vec<Operand>)]) {
        let whole = || {
            for (base, dtype, cells) in to {
                let address = self.address(*base, *dtype);
                let from: Vec<Operand> = cells.iter().copied().chain([address]).collect();
                for (at, kind, list) in packs(cells, *dtype) {
                    fixed(format!("st.global.{kind} [{address}+{at}], {list};"), &from);
                }
            }
        };
        let singly = || {
            let there = self.there();
            for (base, dtype, cells) in to {
                let address = self.address(*base, *dtype);
                for (k, there) in there.iter().enumerate() {
                    let (element, at) = (element_of(cells, k, *dtype), k * dtype.size());
                    let bits = stored(*dtype).1;
                    fixed(
                        format!("@{there} st.global.{bits} [{address}+{at}], {element};"),
                        &[*there, element, address],
                    );
                }
            }
        };
        either(self.is_whole, whole, singly);
    }
}

/// What holds an element between memory and the steps, and the bits that an access to it names: two elements of 16 bits share a word, the
/// first in its lower half.
fn cell(dtype: DType) -> (Bank, &'static str) {
    if is_half(dtype) { (Bank::Word, "b32") } else { stored(dtype) }
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}

/// Empty cells for so many elements.
fn cells(dtype: DType, each: u32) -> Vec<Operand> {
    let count = if is_half(dtype) { each / 2 } else { each };
    (0..count).map(|_| register(cell(dtype).0)).collect()
}

/// Two elements of 16 bits as a word.
fn joined(low: Operand, high: Operand) -> Operand {
    let [low, high] = [low, high].map(|half| step(Bank::Word, "cvt.u32.u16", &[half]));
    step(Bank::Word, "or.b32", &[low, step(Bank::Word, "shl.b32", &[high, 16.into()])])
}

/// One element of cells, as it is stored.
fn element_of(cells: &[Operand], at: usize, dtype: DType) -> Operand {
    if !is_half(dtype) {
        return cells[at];
    }
    let word = cells[at / 2];
    let lowest = if at % 2 == 1 { step(Bank::Word, "shr.u32", &[word, 16.into()]) } else { word };
    step(Bank::Half, "cvt.u16.u32", &[lowest])
}

/// The cells of a turn in as large pieces as one access can have, of 16 bytes: their offset, and how an access says its type and lists them.
fn packs(cells: &[Operand], dtype: DType) -> Vec<(usize, String, String)> {
    let size = if is_half(dtype) { 4 } else { dtype.size() };
    let most = (16 / size).min(4);
    let list = |part: &[Operand]| part.iter().map(Operand::to_string).collect::<Vec<_>>().join(", ");
    let bits = cell(dtype).1;
    let pack = |(at, part): (usize, &[Operand])| match part {
        [one] => (at * most * size, bits.to_string(), one.to_string()),
        _ => (at * most * size, format!("v{}.{bits}", part.len()), format!("{{{}}}", list(part))),
    };
    cells.chunks(most).enumerate().map(pack).collect()
}

/// The register for an element as it is stored, and the bits that an access to it names.
fn stored(dtype: DType) -> (Bank, &'static str) {
    match dtype {
        DType::F64 => (Bank::Double, "f64"),
        DType::F32 => (Bank::Single, "f32"),
        DType::I64 => (Bank::Long, "b64"),
        DType::I32 => (Bank::Word, "b32"),
        DType::BF16 | DType::F16 => (Bank::Half, "b16"),
        DType::U8 | DType::Bool => (Bank::Half, "b8"),
    }
}

/// What a move between registers names.
fn moved(bank: Bank) -> &'static str {
    match bank {
        Bank::Half => "b16",
        Bank::Word | Bank::Single => "b32",
        Bank::Long | Bank::Double => "b64",
        Bank::Truth => "pred",
    }
}

/// A stored element as the number that is computed with.
fn widened<K: Kind>(x: Operand, dtype: DType) -> Result<K, Fault> {
    let to = K::BANK;
    let convert = |operation: &str, x: Operand| Ok(K::new(step(to, operation, &[x])));
    match (dtype, to) {
        (DType::F64, Bank::Double) | (DType::F32, Bank::Single) => Ok(K::new(x)),
        (DType::I64, Bank::Long) | (DType::I32, Bank::Word) => Ok(K::new(x)),
        (DType::F32, Bank::Double) => convert("cvt.f64.f32", x),
        (DType::F64, Bank::Single) => convert("cvt.rn.f32.f64", x),
        (DType::F16, Bank::Single | Bank::Double) => widened(step(Bank::Single, "cvt.f32.f16", &[x]), DType::F32),
        // the upper half of an f32
        (DType::BF16, Bank::Single | Bank::Double) => {
            let digits = step(Bank::Word, "cvt.u32.u16", &[x]);
            upper_half(step(Bank::Word, "shl.b32", &[digits, 16.into()]))
        }
        (DType::I64 | DType::I32 | DType::U8 | DType::Bool, Bank::Single | Bank::Double | Bank::Long | Bank::Word) => {
            let from = match dtype {
                DType::I64 => "s64",
                DType::I32 => "s32",
                _ => "u16",
            };
            match to {
                Bank::Single => convert(&format!("cvt.rn.f32.{from}"), x),
                Bank::Double => convert(&format!("cvt.rn.f64.{from}"), x),
                Bank::Long => convert(&format!("cvt.s64.{from}"), x),
                _ => convert(&format!("cvt.s32.{from}"), x),
            }
        }
        _ => Err(Fault::defect(format!("a formula on a GPU does not compute with {dtype} as whole numbers"))),
    }
}

/// An f32 of these digits.
fn upper_half<K: Kind>(digits: Operand) -> Result<K, Fault> {
    widened(step(Bank::Single, "mov.b32", &[digits]), DType::F32)
}

/// One element of cells as the number that is computed with.
fn number_of<K: Kind>(cells: &[Operand], at: usize, dtype: DType) -> Result<K, Fault> {
    match dtype {
        DType::BF16 if at % 2 == 1 => upper_half(step(Bank::Word, "and.b32", &[cells[at / 2], (!0xffff_i64).into()])),
        DType::BF16 => upper_half(step(Bank::Word, "shl.b32", &[cells[at / 2], 16.into()])),
        _ => widened(element_of(cells, at, dtype), dtype),
    }
}

/// A number as it is stored.
fn narrowed<K: Kind>(x: K, dtype: DType) -> Result<Operand, Fault> {
    let (from, to) = (K::BANK, stored(dtype).0);
    let x = match (from, dtype) {
        (Bank::Double, DType::F32 | DType::BF16 | DType::F16) => step(Bank::Single, "cvt.rn.f32.f64", &[x.register()]),
        _ => x.register(),
    };
    Ok(match (from, dtype) {
        (_, DType::Bool) => {
            let (operation, zero): (_, Operand) = match from {
                Bank::Single => ("setp.neu.f32", 0f32.into()),
                Bank::Double => ("setp.neu.f64", 0f64.into()),
                Bank::Long => ("setp.ne.s64", 0.into()),
                _ => ("setp.ne.s32", 0.into()),
            };
            let holds = step(Bank::Truth, operation, &[x, zero]);
            step(to, "selp.b16", &[1.into(), 0.into(), holds])
        }
        (Bank::Single | Bank::Double, DType::BF16) => step(to, "cvt.rn.bf16.f32", &[x]),
        (Bank::Single | Bank::Double, DType::F16) => step(to, "cvt.rn.f16.f32", &[x]),
        (Bank::Single, DType::F64) => step(to, "cvt.f64.f32", &[x]),
        (Bank::Single | Bank::Double, DType::F32) | (Bank::Double, DType::F64) => x,
        (Bank::Long, DType::I64) | (Bank::Word, DType::I32) => x,
        (Bank::Word, DType::U8) => step(to, "cvt.u16.u32", &[x]),
        _ => return Err(Fault::defect(format!("a formula's result on a GPU does not become {dtype}"))),
    })
}

/// A result by way of a type that it is rounded to before it takes its own.
fn rounded<K: Kind>(x: K, through: Option<DType>, dtype: DType) -> Result<K, Fault> {
    match through.filter(|through| *through != dtype) {
        None => Ok(x),
        Some(through) => widened(narrowed(x, through)?, through),
    }
}

/// The cells of the results of a turn.
fn cells_of<K: Kind>(results: &[K], through: Option<DType>, dtype: DType) -> Result<Vec<Operand>, Fault> {
    let results: Vec<K> = results.iter().map(|x| rounded(*x, through, dtype)).collect::<Result<_, _>>()?;
    let pair = match dtype {
        DType::BF16 => "cvt.rn.bf16x2.f32",
        DType::F16 => "cvt.rn.f16x2.f32",
        _ => return results.into_iter().map(|x| narrowed(x, dtype)).collect(),
    };
    let singles: Vec<Operand> = results.into_iter().map(|x| narrowed(x, DType::F32)).collect::<Result<_, _>>()?;
    Ok(singles.chunks(2).map(|two| step(Bank::Word, pair, &[two[1], two[0]])).collect())
}

/// Dense inputs, a dense result: `result, input_0, ..., count, words, scalar_0, ...`; `words` says how many turns are whole.
fn dense<K: Kind>(reading: &Reading<'_>, signature: &Signature, arguments: &mut Arguments) -> Result<(), Fault> {
    let to = arguments.long("result");
    let inputs: Vec<Operand> = (0..signature.inputs.len()).map(|k| arguments.long(&format!("input_{k}"))).collect();
    let (count, words) = (arguments.long("count"), arguments.long("words"));
    let scalars = arguments.scalars::<K>(reading);
    let turn = Turn::new(count, words, signature.each());
    take(&turn, reading, signature, (&inputs, &[to]), &scalars)
}

/// A turn from loads to stores.
fn take<K: Kind>(
    turn: &Turn,
    reading: &Reading<'_>,
    signature: &Signature,
    (inputs, outputs): (&[Operand], &[Operand]),
    scalars: &[K],
) -> Result<(), Fault> {
    let is_read: Vec<bool> = (0..inputs.len()).map(|k| reading.reads(k)).collect();
    let all = inputs.iter().copied().zip(signature.inputs.iter().copied());
    let read: Vec<(Operand, DType)> = all.zip(&is_read).filter(|(_, is_read)| **is_read).map(|(one, _)| one).collect();
    let loaded = turn.load(&read);
    let mut results: Vec<Vec<K>> = vec![Vec::new(); outputs.len()];
    for at in 0..turn.each as usize {
        let mut rows = loaded.iter().zip(&read);
        let mut next = |is_read: &bool| {
            let row = if *is_read { rows.next() } else { None };
            row.map(|(cells, (_, dtype))| number_of(cells, at, *dtype)).transpose()
        };
        let numbers: Vec<Option<K>> = is_read.iter().map(&mut next).collect::<Result<_, _>>()?;
        for (list, result) in results.iter_mut().zip(reading.element(&numbers, scalars)?) {
            list.push(result);
        }
    }
    let mut stores = Vec::new();
    for ((to, dtype), list) in outputs.iter().zip(&signature.results).zip(&results) {
        stores.push((*to, *dtype, cells_of(list, signature.through, *dtype)?));
    }
    turn.store(&stores);
    Ok(())
}

/// Inputs by strides, a dense result: `result, input_0, ..., count, size_1, ..., stride_0_0, stride_0_1, ..., scalar_0, ...`;
/// the outermost size is not asked for, strides are in elements.
fn strided<K: Kind>(
    reading: &Reading<'_>,
    signature: &Signature,
    arguments: &mut Arguments,
    axes: usize,
    wide: bool,
) -> Result<(), Fault> {
    let to = arguments.long("result");
    let count_inputs = signature.inputs.len();
    let bases: Vec<Operand> = (0..count_inputs).map(|k| arguments.long(&format!("input_{k}"))).collect();
    let count = arguments.long("count");
    let sizes: Vec<Operand> = (1..axes).map(|axis| arguments.long(&format!("size_{axis}"))).collect();
    let strides: Vec<Vec<Operand>> = (0..count_inputs)
        .map(|k| (0..axes).map(|axis| arguments.long(&format!("stride_{k}_{axis}"))).collect())
        .collect();
    let scalars = arguments.scalars::<K>(reading);

    let (bank, kind) = if wide { (Bank::Long, "u64") } else { (Bank::Word, "u32") };
    let lengthened = |x: Operand| if wide { x } else { long("cvt.u64.u32", &[x]) };
    let shortened = |x: Operand| if wide { x } else { step(Bank::Word, "cvt.u32.u64", &[x]) };
    let position = thread(wide);
    leave_beyond(position, shortened(count), kind);
    // from the last axis on: the rest is the place along it, the quotient what the axes before it make of the position
    let mut places = vec![position; axes];
    for axis in (1..axes).rev() {
        let (whole, size) = (places[axis], shortened(sizes[axis - 1]));
        places[axis - 1] = step(bank, &format!("div.{kind}"), &[whole, size]);
        let below = step(bank, &format!("mul.lo.{kind}"), &[places[axis - 1], size]);
        places[axis] = step(bank, &format!("sub.{kind}"), &[whole, below]);
    }
    let places: Vec<Operand> = places.into_iter().map(lengthened).collect();
    let mut inputs = Vec::new();
    for k in 0..count_inputs {
        if !reading.reads(k) {
            inputs.push(None);
            continue;
        }
        let dtype = signature.inputs[k];
        let mut offset = long("mul.lo.s64", &[places[0], strides[k][0]]);
        for axis in 1..axes {
            offset = long("mad.lo.s64", &[places[axis], strides[k][axis], offset]);
        }
        let address = long("mad.lo.s64", &[offset, (dtype.size() as i64).into(), bases[k]]);
        let (bank, bits) = stored(dtype);
        let loaded = register(bank);
        fixed(format!("ld.global.{bits} {loaded}, [{address}];"), &[address]);
        inputs.push(Some(widened::<K>(loaded, dtype)?));
    }
    let element = reading.element(&inputs, &scalars)?;
    let dtype = signature.results[0];
    let stored_result = narrowed(rounded(element[0], signature.through, dtype)?, dtype)?;
    let address = long("mad.lo.s64", &[lengthened(position), (dtype.size() as i64).into(), to]);
    fixed(format!("st.global.{} [{address}], {stored_result};", stored(dtype).1), &[address, stored_result]);
    Ok(())
}

/// A step of an optimizer in place: `table, scalar_0, ...`, or `table, scalars` where those stand in memory; then a flag's address, where there is one. The table has a line for each tensor: where parameter, gradient and
/// states are, and how many elements they have. The second coordinate of a block is the line.
fn in_place<K: Kind>(
    reading: &Reading<'_>,
    signature: &Signature,
    arguments: &mut Arguments,
    (tensors, remote, guarded): (usize, bool, bool),
) -> Result<(), Fault> {
    let operands = signature.inputs.len();
    let line = (operands + 1) * 8;
    arguments.0.push(format!(".param .align 8 .b8 table[{}]", tensors * line));
    let scalars = if remote { arguments.remote_scalars::<K>(reading) } else { arguments.scalars::<K>(reading) };
    if guarded {
        let (flag, address) = (register(Bank::Single), arguments.long("flag"));
        fixed(format!("ld.global.f32 {flag}, [{address}];"), &[address]);
        let is_set = step(Bank::Truth, "setp.neu.f32", &[flag, 0f32.into()]);
        fixed(format!("@{is_set} ret;"), &[is_set]);
    }
    let (which, table) = (register(Bank::Word), register(Bank::Long));
    fixed(format!("mov.u32 {which}, %ctaid.y;"), &[]);
    fixed(format!("mov.b64 {table}, table;"), &[]);
    let entry = long("mad.wide.u32", &[which, (line as i64).into(), table]);
    let column = |at: usize| {
        let to = register(Bank::Long);
        fixed(format!("ld.param.u64 {to}, [{entry}+{}];", at * 8), &[entry]);
        to
    };
    let bases: Vec<Operand> = (0..operands).map(column).collect();
    let turn = Turn::at(column(operands), &bases, signature.each());
    // in place of the parameter and the states
    let places: Vec<Operand> = bases.iter().enumerate().filter(|(k, _)| *k != 1).map(|(_, base)| *base).collect();
    take(&turn, reading, signature, (&bases, &places), &scalars)
}
