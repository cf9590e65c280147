//! What several examples share: their arguments, and data made on the spot.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)] // each example uses a part

mod pictures;
mod sentences;
mod text;

pub use pictures::{CLASSES, pictures};
pub use sentences::{is_sentence, sentences};
pub use text::{show, text};

use chainrule::{Result, Tensor};

/// Is this a quick run, to see that it works?
pub fn quick() -> bool {
    std::env::var_os("CHAINRULE_QUICK").is_some()
}

/// `long`, or `short` in a quick run.
pub fn steps(long: usize, short: usize) -> usize {
    if quick() { short } else { long }
}

/// The file after `--data`, where one was named.
pub fn data() -> Option<std::path::PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--data" {
            return arguments.next().map(Into::into);
        }
    }
    None
}

/// The share of rows whose largest score stands at the target, in percent.
pub fn accuracy(scores: &Tensor, target: &Tensor) -> Result<f64> {
    Ok(100.0 * scores.argmax_over(-1).equal(target).to_dtype(chainrule::DType::F64).mean().item()?)
}
