//! Everything a caller can do wrong is an error that names what and how to mend it, and never a panic.

mod common;
mod table;

use chainrule::{Error, ErrorKind, Fault, Tensor};
use common::{View, guarded, one_line, operands, report};
use std::sync::mpsc;
use std::time::Duration;
use table::{Row, Values};

table::each_family!(check);

fn check(family: &str) {
    let mut lines = Vec::new();
    for row in table::family(family) {
        let mut say = |what: String| lines.push(format!("{}: {what}", row.name));
        for wrong in &row.wrong {
            match guarded(|| (wrong.call)()) {
                Err(panic) => say(panic),
                Ok(None) => say(format!("a wrong call works; its error should say {:?}", wrong.words)),
                Ok(Some(error)) => {
                    let text = error.to_string();
                    let missing: Vec<_> = wrong.words.iter().filter(|word| !text.contains(**word)).collect();
                    if error.kind() != wrong.kind || !missing.is_empty() {
                        say(format!("should be {:?} and say {missing:?}: {}", wrong.kind, one_line(&error)));
                    }
                    if let Some(complaint) = place(&error) {
                        say(complaint);
                    }
                }
            }
        }
        failed_operands_flow(&row).into_iter().for_each(&mut say);
        axes_out_of_range(&row).into_iter().for_each(&mut say);
        any_shape(&row).into_iter().for_each(&mut say);
        absurd_sizes(&row).into_iter().for_each(&mut say);
    }
    lines.dedup();
    report(lines);
}

/// No error points into the library.
fn place(error: &Error) -> Option<String> {
    let text = error.to_string();
    if text.contains("src/") || error.location().file().contains("src/") {
        return Some(format!("an error names a file of ours: {}", one_line(error)));
    }
    (error.kind() == ErrorKind::Defect).then(|| format!("calls a caller's mistake a defect: {}", one_line(error)))
}

/// A failed operand flows through unchanged.
fn failed_operands_flow(row: &Row) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(operands) = row.cases.first().and_then(|case| operands(case, View::Plain, 1)) else { return lines };
    // A constant may stand in for an operand where the operation takes none.
    for which in (0..operands.len()).filter(|&which| operands[which].input.gradient || !operands[which].input.is_real())
    {
        let mut seen: Vec<Tensor> = operands.iter().map(|operand| operand.stored(chainrule::DType::F32)).collect();
        seen[which] = Tensor::failed(Error::new("planted", Fault::value("this failed before", "")));
        match guarded(|| (row.call)(&seen)) {
            Err(panic) => lines.push(format!("operand {which} failed: {panic}")),
            Ok(results) => {
                for result in results {
                    match result.error() {
                        None => lines.push(format!("operand {which} failed, and the result did not")),
                        Some(error) if error.operation() == "planted" => {}
                        Some(error) => {
                            lines.push(format!("operand {which} failed; its error was replaced: {}", one_line(error)))
                        }
                    }
                }
            }
        }
    }
    lines
}

/// An axis that is out of range is an error of shape that names it.
fn axes_out_of_range(row: &Row) -> Vec<String> {
    let mut lines = Vec::new();
    let (Some(call), Some(case)) = (&row.axis, row.cases.first()) else { return lines };
    let Some(operands) = operands(case, View::Plain, 1) else { return lines };
    let seen: Vec<Tensor> = operands.iter().map(|operand| operand.stored(chainrule::DType::F32)).collect();
    for axis in [9, -9, 99, isize::MAX, isize::MIN] {
        match guarded(|| call(&seen, axis)) {
            Err(panic) => lines.push(format!("axis {axis}: {panic}")),
            Ok(results) => match results.iter().find_map(Tensor::error) {
                None => lines.push(format!("axis {axis} works")),
                Some(error) => {
                    if error.kind() != ErrorKind::Shape || !error.to_string().contains(&axis.to_string()) {
                        lines.push(format!("axis {axis} should be a shape error that names it: {}", one_line(error)));
                    }
                    lines.extend(place(error));
                }
            },
        }
    }
    lines
}

/// Operands of any rank and size: a result or an error, never a panic.
fn any_shape(row: &Row) -> Vec<String> {
    let shapes: [&[usize]; 8] = [&[], &[0], &[1], &[5], &[2, 0], &[3, 2], &[1, 2, 3, 4, 5], &[1, 1, 2, 1, 1, 1, 2, 1]];
    let mut lines = Vec::new();
    let Some(case) = row.cases.first() else { return lines };
    for which in 0..case.len() {
        for shape in shapes {
            let mut case = case.clone();
            case[which].shape = shape.to_vec();
            let outcome = guarded(|| {
                let operands = operands(&case, View::Plain, 1).unwrap_or_default();
                let stored = operands.iter().map(|operand| {
                    let stored = operand.stored(chainrule::DType::F32);
                    if operand.wants_gradient() { stored.variable() } else { stored }
                });
                let seen: Vec<Tensor> = stored.collect();
                let results = (row.call)(&seen);
                // Where there is a result, its gradient must not panic either.
                let backward = results.iter().find(|result| result.is_tracked());
                let error = backward.and_then(|result| result.backward_from(&result.ones_like()).err());
                results.iter().find_map(Tensor::error).cloned().or(error.filter(|e| e.kind() != ErrorKind::Gradient))
            });
            match outcome {
                Err(panic) => lines.push(format!("operand {which} of shape {shape:?}: {panic}")),
                Ok(Some(error)) => {
                    lines.extend(place(&error).map(|line| format!("operand {which} of shape {shape:?}: {line}")))
                }
                Ok(None) => {}
            }
        }
    }
    lines
}

/// A result that no machine can hold is an error, quickly. Tried where the result is as large as the operands.
fn absurd_sizes(row: &Row) -> Vec<String> {
    let mut lines = Vec::new();
    for case in row.cases.iter().filter(|case| case.iter().any(|input| !input.shape.is_empty())).take(1) {
        let Some(operands) = operands(case, View::Plain, 1) else { continue };
        let seen: Vec<Tensor> = operands.iter().map(|operand| operand.stored(chainrule::DType::F32)).collect();
        let Ok(results) = guarded(|| (row.call)(&seen)) else { continue };
        let counts: Vec<usize> = results.iter().filter_map(|result| result.count().ok()).collect();
        let shares = results.iter().any(|result| seen.iter().any(|operand| result.shares_memory(operand)));
        let most = operands.iter().map(|operand| operand.numbers.len()).max().unwrap_or(0);
        let indexed = case.iter().any(|input| matches!(input.values, Values::Index(_)));
        if shares || indexed || counts.iter().any(|&count| count < most) || counts.is_empty() || most == 0 {
            continue;
        }
        // The first axis of every operand that has as many elements as the result, expanded beyond all memory.
        let grown: Vec<Tensor> = case
            .iter()
            .map(|input| {
                let mut shape = input.shape.clone();
                if let Some(first) = shape.first_mut() {
                    *first = 1 << 45;
                }
                Tensor::ones([1]).expand(&shape[..])
            })
            .collect();
        let (send, receive) = mpsc::channel();
        let name = row.name;
        // The call cannot be sent to another thread: the watch is.
        let watch = std::thread::spawn(move || {
            if receive.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{name}: a result of 2^45 elements is computed instead of refused");
                std::process::exit(1);
            }
        });
        let outcome = guarded(|| {
            let results = (row.call)(&grown);
            let view = results.iter().any(|result| grown.iter().any(|operand| result.shares_memory(operand)));
            (results.iter().find_map(Tensor::error).cloned(), view)
        });
        let _ = send.send(());
        let _ = watch.join();
        match outcome {
            Err(panic) => lines.push(format!("2^45 elements: {panic}")),
            Ok((None, false)) => lines.push("2^45 elements: there is no error".to_string()),
            Ok((None, true)) => {} // a view needs no memory
            Ok((Some(error), _)) => lines.extend(place(&error)),
        }
    }
    lines
}
