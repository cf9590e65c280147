//! A trace as a table on the terminal.

use super::numbers::Numbers;
use super::{At, Operation, Origin, Trace, equation};
use crate::device::Value;
use crate::formula::short_number;
use std::fmt;

/// Of tensors of up to so many numbers all stand in the table.
const FEW: usize = 4;

/// Every operation with its result, the way back with what arrives and what is passed on, the gradients, and the update if
/// there was one.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "forward")?;
        let rows = self.operations.iter().enumerate().map(|(number, operation)| {
            let operands: Vec<String> = operation.operands.iter().map(|origin| self.origin(origin)).collect();
            let result = operation.step.outputs().first().map(brief).unwrap_or_default();
            let name = operation.label().unwrap_or(operation.name()).to_string();
            [format!("{}", number + 1), self.place(number), name, operands.join(", "), operation.equation(), result]
        });
        write_table(f, rows.collect())?;
        writeln!(f, "backward")?;
        let mut rows = Vec::new();
        for moment in &self.moments {
            let At::Operation(number) = moment.at else { continue };
            let operation = &self.operations[number];
            let mut arrived = moment.arrived.iter().flatten().map(brief).collect::<Vec<_>>().join(", ");
            if moment.parts.len() > 1 {
                let parts: Vec<String> = moment.parts.iter().map(|(from, _)| format!("{}", from + 1)).collect();
                arrived += &format!(" (sum of {})", parts.join(", "));
            }
            if moment.passed.is_empty() {
                rows.push([
                    format!("{}", number + 1),
                    operation.name().to_string(),
                    arrived.clone(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
            }
            for (at, (which, passed)) in moment.passed.iter().enumerate() {
                let first = |text: String| if at == 0 { text } else { String::new() };
                rows.push([
                    first(format!("{}", number + 1)),
                    first(operation.name().to_string()),
                    first(arrived.clone()),
                    equation::backward(operation, *which),
                    format!(
                        "to {}",
                        operation.operands.get(*which).map(|origin| self.origin(origin)).unwrap_or_default()
                    ),
                    brief(passed),
                ]);
            }
        }
        write_table(f, rows)?;
        writeln!(f, "gradients")?;
        let mut rows = Vec::new();
        for moment in self.moments.iter().rev() {
            let (At::Leaf(leaf), Some(Some(gradient))) = (moment.at, moment.arrived.first()) else { continue };
            let paths = match moment.parts.len() {
                0 | 1 => String::new(),
                count => format!("sum over {count} paths"),
            };
            let [name, value] = [self.leaves[leaf].name.clone(), brief(&self.leaves[leaf].value)];
            rows.push([name, value, brief(gradient), paths]);
        }
        write_table(f, rows)?;
        if !self.updates.is_empty() {
            writeln!(f, "update")?;
            let rows = self.updates.iter().map(|update| {
                let leaf = &self.leaves[update.leaf];
                [leaf.name.clone(), brief(&leaf.value), format!("-> {}", brief(&update.after))]
            });
            write_table(f, rows.collect())?;
        }
        for finding in self.findings() {
            writeln!(f, "look at {finding}")?;
        }
        writeln!(f, "loss {}", short_number(self.loss))
    }
}

/// The same as Display: the numbers are the interesting part.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Trace {
    /// How an operand is called.
    pub(super) fn origin(&self, origin: &Origin) -> String {
        match origin {
            Origin::Leaf(leaf) => self.leaves[*leaf].name.clone(),
            Origin::Operation { operation, result } => {
                let name = match self.operations[*operation].label() {
                    Some(label) => label.to_string(),
                    None => format!("#{}", operation + 1),
                };
                if *result == 0 { name } else { format!("{name}.{result}") }
            }
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.equation())
    }
}

/// Sizes, and the numbers or their range.
pub(super) fn brief(value: &Value) -> String {
    let numbers = Numbers::of(value);
    let sizes = if numbers.dims.is_empty() { String::new() } else { format!("{:?} ", numbers.dims) };
    match &numbers.all {
        Some(all) if all.len() <= FEW => sizes + &all.iter().map(|x| short_number(*x)).collect::<Vec<_>>().join(", "),
        _ => format!("{sizes}{} … {}", short_number(numbers.least), short_number(numbers.greatest)),
    }
}

/// Columns as wide as their widest cell.
fn write_table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: Vec<[String; N]>) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            if width > 0 {
                line += &format!("  {cell:width$}");
            }
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
