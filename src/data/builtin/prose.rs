//! A small text of our own making, for models of language.

use super::dice::Dice;
use std::fmt::Write;

const STREAM: u32 = 0x0960_5e00;

const PEOPLE: [(&str, &str); 6] = [
    ("the miller", "he"),
    ("the ferryman", "he"),
    ("the baker", "she"),
    ("the old teacher", "she"),
    ("the clockmaker", "he"),
    ("the girl from the hill", "she"),
];
const PLACES: [&str; 8] =
    ["river", "orchard", "market", "lighthouse", "stone bridge", "north gate", "forest", "empty harbour"];
const THINGS: [(&str, &str); 8] = [
    ("a lantern", "lanterns"),
    ("an apple", "apples"),
    ("a letter", "letters"),
    ("an old key", "old keys"),
    ("a blue feather", "blue feathers"),
    ("a loaf of bread", "loaves of bread"),
    ("an umbrella", "umbrellas"),
    ("a silver coin", "silver coins"),
];
const MOMENTS: [&str; 7] =
    ["in the morning", "at noon", "before the rain", "after the storm", "on market day", "late at night", "in spring"];
const MOODS: [&str; 6] = ["quietly", "slowly", "without a word", "in a hurry", "with a smile", "carefully"];
const DEEDS: [(&str, &str); 6] = [
    ("carried", "to carry"),
    ("found", "to find"),
    ("sold", "to sell"),
    ("hid", "to hide"),
    ("lost", "to lose"),
    ("brought", "to bring"),
];
const COUNTS: [&str; 4] = ["two", "three", "five", "seven"];

fn one<T: Copy>(dice: &mut Dice, of: &[T]) -> Option<T> {
    of.get(dice.below(of.len())).copied()
}

/// A text of so many sentences, a paragraph for every six: people of a small town, what they do, where and when. Words agree
/// (a person with her or his pronoun, a count with a plural), and every sentence is new more often than not, so that there
/// is something to learn and something to get wrong. Sentence `i` depends on the seed and on what stood before it only.
///
/// ```
/// use chainrule::data::builtin::prose;
/// let text = prose(600, 1);
/// assert!(text.split_whitespace().count() > 5000 && text.ends_with(".\n"));
/// assert_eq!(text, prose(600, 1));
/// ```
pub fn prose(sentences: usize, seed: u64) -> String {
    let mut text = String::new();
    let mut dice = Dice::of(seed, STREAM, 0);
    let mut person = PEOPLE[0];
    for number in 0..sentences {
        // Who was spoken of is a pronoun for a while; a paragraph begins with a name.
        let opens = number % 6 == 0;
        let named = opens || dice.is(0.4);
        if named {
            person = one(&mut dice, &PEOPLE).unwrap_or(person);
        }
        let who = if named { person.0 } else { person.1 };
        let sentence = sentence(who, person.1, &mut dice).unwrap_or_default();
        let mut letters = sentence.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        text.extend(first.into_iter().chain(letters));
        text.push_str(if number % 6 == 5 || number + 1 == sentences { ".\n" } else { ". " });
    }
    text
}

fn sentence(who: &str, pronoun: &str, dice: &mut Dice) -> Option<String> {
    let (done, to_do) = one(dice, &DEEDS)?;
    let (single, several) = one(dice, &THINGS)?;
    let (place, when, how) = (one(dice, &PLACES)?, one(dice, &MOMENTS)?, one(dice, &MOODS)?);
    let what = if dice.is(0.5) { single.to_string() } else { format!("{} {several}", one(dice, &COUNTS)?) };
    let mut said = String::new();
    let _ = match dice.below(5) {
        0 => write!(said, "{when} {who} {done} {what} near the {place}"),
        1 => write!(said, "{who} {done} {what} {how}"),
        2 => write!(said, "{who} went to the {place} {when} {to_do} {what}"),
        3 => write!(said, "{who} {done} {what}, and then {pronoun} walked {how} to the {place}"),
        _ => write!(said, "nobody at the {place} knew why {who} {done} {what} {when}"),
    };
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_whole_and_mostly_new() {
        let text = prose(1200, 7);
        let sentences: Vec<&str> = text.split(['.', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect();
        assert_eq!(sentences.len(), 1200);
        let mut different = sentences.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 1000, "{}", different.len());
        assert!(sentences.iter().all(|sentence| sentence.starts_with(|c: char| c.is_ascii_uppercase())));
        assert!(text.is_ascii() && text.lines().count() == 200);
        assert_ne!(prose(10, 1), prose(10, 2));
        assert_eq!(prose(0, 1), "");
    }
}
