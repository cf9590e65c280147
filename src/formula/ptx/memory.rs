//! What stands around a formula's steps: arguments, positions, loads, conversions and stores.

use super::body::{Bank, Operand, fixed, register, step, written};
use super::{BLOCK, EACH, Kind, Paths, Reading, Signature};
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

/// Which of a thread's elements are there, from its first one on: all, or single ones where the row ends.
struct Row {
    start: Operand,
    all: Operand,
    single: Vec<Operand>,
}

impl Row {
    /// Where one of the addresses is no multiple of 16, elements are taken singly everywhere.
    fn new(count: Operand, addresses: &[Operand]) -> Row {
        let start = long("shl.b64", &[thread(true), (EACH.ilog2() as i64).into()]);
        leave_beyond(start, count, "u64");
        let left = long("sub.s64", &[count, start]);
        let truth = |operation: &str, from: &[Operand]| step(Bank::Truth, operation, from);
        let joined = addresses.iter().copied().reduce(|a, b| long("or.b64", &[a, b]));
        let odd = long("and.b64", &[joined.unwrap_or(0.into()), 15.into()]);
        let aligned = truth("setp.eq.u64", &[odd, 0.into()]);
        let all = truth("and.pred", &[aligned, truth("setp.ge.u64", &[left, (EACH as i64).into()])]);
        let part = truth("not.pred", &[all]);
        let is_there = |at: u32| truth("and.pred", &[part, truth("setp.gt.u64", &[left, (at as i64).into()])]);
        Row { start, all, single: (0..EACH).map(is_there).collect() }
    }
    /// The address of its first element.
    fn address(&self, base: Operand, dtype: DType) -> Operand {
        long("mad.lo.s64", &[self.start, (dtype.size() as i64).into(), base])
    }
    /// Loads its elements, as they are stored.
    fn load(&self, base: Operand, dtype: DType) -> Vec<Operand> {
        let address = self.address(base, dtype);
        let (bank, bits) = stored(dtype);
        let to: Vec<Operand> = (0..EACH).map(|_| register(bank)).collect();
        for to in &to {
            fixed(format!("mov.{} {to}, 0;", moved(bank)), &[]);
        }
        for (at, list) in packs(&to, dtype) {
            fixed(
                format!("@{} ld.global.v{}.{bits} {}, [{address}+{at}];", self.all, list.0, list.1),
                &[self.all, address],
            );
        }
        for (k, (to, there)) in to.iter().zip(&self.single).enumerate() {
            let at = k * dtype.size();
            fixed(format!("@{there} ld.global.{bits} {to}, [{address}+{at}];"), &[*there, address]);
        }
        to
    }
    /// Stores elements that are ready to be stored.
    fn store(&self, base: Operand, dtype: DType, from: &[Operand]) {
        let address = self.address(base, dtype);
        let bits = stored(dtype).1;
        let read = |guard: Operand| from.iter().copied().chain([guard, address]).collect::<Vec<_>>();
        for (at, list) in packs(from, dtype) {
            fixed(format!("@{} st.global.v{}.{bits} [{address}+{at}], {};", self.all, list.0, list.1), &read(self.all));
        }
        for (k, (from, there)) in from.iter().zip(&self.single).enumerate() {
            let at = k * dtype.size();
            fixed(format!("@{there} st.global.{bits} [{address}+{at}], {from};"), &read(*there));
        }
    }
}

/// The registers of a row in as large pieces as one access can have, of 16 bytes: their offset, number and list.
fn packs(registers: &[Operand], dtype: DType) -> Vec<(usize, (usize, String))> {
    let most = (16 / dtype.size()).min(EACH as usize);
    let list = |part: &[Operand]| part.iter().map(Operand::to_string).collect::<Vec<_>>().join(", ");
    let pack =
        |(at, part): (usize, &[Operand])| (at * most * dtype.size(), (part.len(), format!("{{{}}}", list(part))));
    registers.chunks(most).enumerate().map(pack).collect()
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
        (DType::BF16 | DType::F16, Bank::Single | Bank::Double) => {
            let single = match dtype {
                DType::F16 => step(Bank::Single, "cvt.f32.f16", &[x]),
                // the upper half of an f32
                _ => {
                    let digits = step(Bank::Word, "cvt.u32.u16", &[x]);
                    let digits = step(Bank::Word, "shl.b32", &[digits, 16.into()]);
                    step(Bank::Single, "mov.b32", &[digits])
                }
            };
            if to == Bank::Single { Ok(K::new(single)) } else { convert("cvt.f64.f32", single) }
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

/// The same by way of a type that the result is rounded to before.
fn result<K: Kind>(x: K, through: Option<DType>, dtype: DType) -> Result<Operand, Fault> {
    match through.filter(|through| *through != dtype) {
        None => narrowed(x, dtype),
        Some(through) => narrowed(widened::<K>(narrowed(x, through)?, through)?, dtype),
    }
}

/// Dense inputs, a dense result: `result, input_0, ..., count, scalar_0, ...`.
fn dense<K: Kind>(reading: &Reading<'_>, signature: &Signature, arguments: &mut Arguments) -> Result<(), Fault> {
    let to = arguments.long("result");
    let inputs: Vec<Operand> = (0..signature.inputs.len()).map(|k| arguments.long(&format!("input_{k}"))).collect();
    let count = arguments.long("count");
    let scalars = arguments.scalars::<K>(reading);
    let row = Row::new(count, &[&[to], &inputs[..]].concat());
    let loaded = load_rows(&row, &inputs, reading, signature);
    let mut results = Vec::new();
    for at in 0..EACH as usize {
        let element = element::<K>(reading, signature, &loaded, at, &scalars)?;
        results.push(result(element[0], signature.through, signature.results[0])?);
    }
    row.store(to, signature.results[0], &results);
    Ok(())
}

/// The elements of a row of each input that is read.
fn load_rows(row: &Row, bases: &[Operand], reading: &Reading<'_>, signature: &Signature) -> Vec<Option<Vec<Operand>>> {
    let load = |k: usize| reading.reads(k).then(|| row.load(bases[k], signature.inputs[k]));
    (0..bases.len()).map(load).collect()
}

/// The steps for the element at this place of a row.
fn element<K: Kind>(
    reading: &Reading<'_>,
    signature: &Signature,
    loaded: &[Option<Vec<Operand>>],
    at: usize,
    scalars: &[K],
) -> Result<Vec<K>, Fault> {
    let mut inputs = Vec::new();
    for (loaded, dtype) in loaded.iter().zip(&signature.inputs) {
        inputs.push(loaded.as_ref().map(|row| widened::<K>(row[at], *dtype)).transpose()?);
    }
    reading.element(&inputs, scalars)
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
    let stored_result = result(element[0], signature.through, dtype)?;
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
    let row = Row::new(column(operands), &bases);
    let loaded = load_rows(&row, &bases, reading, signature);
    let mut results: Vec<Vec<Operand>> = vec![Vec::new(); signature.results.len()];
    for at in 0..EACH as usize {
        let element = element::<K>(reading, signature, &loaded, at, &scalars)?;
        for (k, (list, dtype)) in results.iter_mut().zip(&signature.results).enumerate() {
            list.push(result(element[k], signature.through, *dtype)?);
        }
    }
    // in place of the parameter and the states
    let places = std::iter::once(0).chain(2..operands);
    for ((place, list), dtype) in places.zip(&results).zip(&signature.results) {
        row.store(bases[place], *dtype, list);
    }
    Ok(())
}
