//! A text as numbers: characters by their place in an alphabet.

use super::{data, sentences, steps};
use chainrule::{Error, Fault, Random, Result, Tensor};

/// A text and its alphabet.
pub struct Text {
    alphabet: Vec<char>,
    characters: Vec<i64>,
}

impl Text {
    /// The file after `--data`, or sentences made here.
    pub fn read_or_made() -> Result<Text> {
        let Some(path) = data() else { return Ok(Text::new(&sentences(4000, 1))) };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            Error::new("read", Fault::value(what, "name a text file in UTF-8 after --data"))
        })?;
        Ok(Text::new(&text))
    }
    fn new(text: &str) -> Text {
        let mut alphabet: Vec<char> = text.chars().chain(['\n']).collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let characters = text.chars().map(|c| alphabet.binary_search(&c).unwrap_or(0) as i64).collect();
        Text { alphabet, characters }
    }
    /// How many characters it has.
    pub fn len(&self) -> usize {
        self.characters.len()
    }
    /// How many different ones.
    pub fn alphabet(&self) -> usize {
        self.alphabet.len()
    }
    /// The number of a character of the alphabet.
    pub fn position(&self, character: char) -> i64 {
        self.alphabet.binary_search(&character).unwrap_or(0) as i64
    }
    /// Numbers as text again.
    pub fn decode(&self, characters: &[i64]) -> String {
        characters.iter().filter_map(|&c| self.alphabet.get(usize::try_from(c).ok()?)).collect()
    }
    /// Pieces from anywhere, `[batch, time]`, and the same one character later.
    pub fn batch(&self, batch: usize, time: usize, random: &mut Random) -> Result<(Tensor, Tensor)> {
        let (mut input, mut target): (Vec<i64>, Vec<i64>) =
            (Vec::with_capacity(batch * time), Vec::with_capacity(batch * time));
        for _ in 0..batch {
            let room = self.characters.len().saturating_sub(time);
            let at = random.below(room.max(1) as u64) as usize;
            let piece = self.characters.get(at..=at + time).unwrap_or(&[]);
            input.extend(&piece[..piece.len().saturating_sub(1)]);
            target.extend(&piece[piece.len().min(1)..]);
        }
        Ok((Tensor::from_vec(input, [batch, time])?, Tensor::from_vec(target, [batch, time])?))
    }
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
