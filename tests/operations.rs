//! Writes `docs/operations.md`: every operation with the element types it works on, and what can be differentiated.
//!
//! The committed file must be what this writes; `CHAINRULE_WRITE=1 cargo test --test operations` rewrites it.

mod common;
mod table;

use chainrule::{DType, Tensor};
use common::{Operand, Random, View, operands, weighted};
use std::collections::BTreeMap;
use std::fmt::Write;
use table::{ALL, FAMILIES, Row};

const HEAD: &str = "\
# Operations

What works on what, as the tests found it (`CHAINRULE_WRITE=1 cargo test --test operations` writes this page).
The device is the CPU. *gradient* and *second derivative* are for f64; every float has the same. bf16 and f16 give the
f32 result on the widened numbers, rounded once. Where an operation does not work, the sentence of its error stands below
its table.
";

#[test]
fn the_page_of_operations_is_what_the_operations_do() {
    let mut page = HEAD.to_string();
    for family in FAMILIES {
        let rows = table::family(family);
        if !rows.is_empty() {
            describe(family, &rows, &mut page);
        }
    }
    if std::env::var_os("CHAINRULE_ROWS").is_some() {
        return; // a part is not the page
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    if std::env::var_os("CHAINRULE_WRITE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("it stands in a folder")).expect("docs can be made");
        std::fs::write(&path, &page).expect("docs can be written");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(committed.lines()).position(|(now, before)| now != before);
    if page != committed {
        let at = differs.unwrap_or(page.lines().count().min(committed.lines().count()));
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_string();
        panic!(
            "docs/operations.md is stale at line {}:\n  committed: {}\n  now:       {}\nrun CHAINRULE_WRITE=1 cargo test --test operations",
            at + 1,
            line(&committed),
            line(&page)
        );
    }
}

/// A table of one family, and beneath it why something does not work.
fn describe(family: &str, rows: &[Row], page: &mut String) {
    let mut title = family.to_string();
    title[..1].make_ascii_uppercase();
    let _ = write!(page, "\n## {title}\n\n| operation |");
    for dtype in ALL {
        let _ = write!(page, " {dtype} |");
    }
    let _ = writeln!(page, " gradient | second derivative |");
    let _ = writeln!(page, "|---|{}---|---|", "---|".repeat(ALL.len()));
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let Some(case) = row.cases.iter().find(|case| case.iter().all(|input| !input.shape.contains(&0))) else {
            continue;
        };
        let Some(operands) = operands(case, View::Plain, 3) else { continue };
        let _ = write!(page, "| {} |", row.name);
        let mut cell = |what: String, outcome: Result<(), String>| match outcome {
            Ok(()) => page.push_str(" yes |"),
            Err(why) => {
                page.push_str(" – |");
                let why = format!("{}: {why}", row.name);
                reasons.entry(why).or_default().push(what);
            }
        };
        let varies = case.iter().any(table::Input::is_real);
        for &dtype in ALL {
            let outcome = if varies || dtype == DType::F32 { value(row, &operands, dtype) } else { Ok(()) };
            cell(dtype.to_string(), outcome);
        }
        cell("gradient".into(), gradient(row, &operands, false));
        cell("second derivative".into(), gradient(row, &operands, true));
        page.push('\n');
    }
    if !reasons.is_empty() {
        page.push('\n');
        for (why, what) in reasons {
            let _ = writeln!(page, "- {why} ({})", what.join(", "));
        }
    }
}

fn value(row: &Row, operands: &[Operand], dtype: DType) -> Result<(), String> {
    let failed = common::results(row, operands, dtype).iter().find_map(Tensor::error).cloned();
    failed.map_or(Ok(()), |error| Err(error.what().to_string()))
}

fn gradient(row: &Row, operands: &[Operand], second: bool) -> Result<(), String> {
    let why = |error: chainrule::Error| error.what().to_string();
    let tracked: Vec<usize> = (0..operands.len()).filter(|&i| operands[i].wants_gradient()).collect();
    if tracked.is_empty() {
        return Err("none of its operands can have one".into());
    }
    let stored: Vec<Tensor> = operands
        .iter()
        .map(|operand| {
            let stored = operand.stored(DType::F64);
            if operand.wants_gradient() { stored.variable() } else { stored }
        })
        .collect();
    let results = (row.call)(&stored);
    let floats: Vec<Tensor> = results.iter().filter(|r| r.dtype().is_ok_and(DType::is_float)).cloned().collect();
    if floats.is_empty() {
        let result = results.first().ok_or("it has no result")?;
        return result.backward_from(&result.ones_like()).map(drop).map_err(why);
    }
    let mut random = Random::new(1);
    let mut weigh = |tensors: &[Tensor]| -> Tensor {
        let weights: Vec<_> = tensors.iter().map(|x| random.direction(x.count().unwrap_or(0))).collect();
        weighted(tensors, &weights)
    };
    let leaves: Vec<&Tensor> = tracked.iter().map(|&i| &stored[i]).collect();
    let score = weigh(&floats);
    if !floats.iter().any(Tensor::is_tracked) {
        return floats[0].backward_from(&floats[0].ones_like()).map(drop).map_err(why);
    }
    if !second {
        return score.gradients_of(&leaves).map(drop).map_err(why);
    }
    let recorded = score.gradients_of_recorded(&leaves).map_err(why)?;
    let slope = weigh(&recorded);
    if slope.is_tracked() { slope.backward().map(drop).map_err(why) } else { slope.value().map(drop).map_err(why) }
}
