//! What several examples share: their arguments, and data made on the spot.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)] // each example uses a part

mod pictures;
mod sentences;
mod text;

pub use pictures::{CLASSES, pictures};
pub use sentences::{is_sentence, sentences};
pub use text::{show, text};

use chainrule::{Device, Result, Tensor};

/// Is this a quick run, to see that it works?
pub fn quick() -> bool {
    std::env::var_os("CHAINRULE_QUICK").is_some()
}

/// `long`, or `short` in a quick run.
pub fn steps(long: usize, short: usize) -> usize {
    if quick() { short } else { long }
}

/// What stands after a name on the command line, where it stands there.
pub fn after(name: &str) -> Option<std::ffi::OsString> {
    std::env::args_os().skip(1).skip_while(|argument| argument != name).nth(1)
}

/// The file after `--data`, where one was named.
pub fn data() -> Option<std::path::PathBuf> {
    after("--data").map(Into::into)
}

/// The device after `--device` (`cuda`, `cuda:1`, `best`; built with `--features cuda`), the CPU where none is named.
pub fn device() -> Result<Device> {
    after("--device").map_or(Ok(Device::Cpu), |name| name.to_string_lossy().parse())
}

/// What stands on the command line beside options and what belongs to them.
pub fn rest() -> Vec<String> {
    let mut words = std::env::args().skip(1);
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        match word.starts_with("--") {
            true => drop(words.next()),
            false => rest.push(word),
        }
    }
    rest
}

/// The share of rows whose largest score stands at the target, in percent.
pub fn accuracy(scores: &Tensor, target: &Tensor) -> Result<f64> {
    Ok(100.0 * scores.argmax_over(-1).equal(target).to_dtype(chainrule::DType::F64).mean().item()?)
}
