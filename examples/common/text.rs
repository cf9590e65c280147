//! A text to learn, and what a model has written about it.

use super::{data, sentences, steps};
use chainrule::Result;
use chainrule::data::read_text;

/// The file after `--data`, or sentences made here.
pub fn text() -> Result<String> {
    data().map_or_else(|| Ok(sentences(4000, 1)), read_text)
}

/// Prints the first lines of what a model has written and, for the language made here, counts its sentences.
pub fn show(written: &str, wanted: f64) -> Result<()> {
    for line in written.lines().take(5) {
        println!("  {line}");
    }
    if data().is_some() {
        return Ok(());
    }
    // The last line is cut off wherever the writing stopped.
    let whole = written.lines().count().saturating_sub(1);
    let right = written.lines().take(whole).filter(|line| super::is_sentence(line)).count();
    let percent = 100.0 * right as f64 / whole.max(1) as f64;
    println!("{right} of {whole} lines are sentences of the language ({percent:.0} %)");
    assert!(steps(1, 0) == 0 || percent >= wanted, "the language was not learnt");
    Ok(())
}
