//! Text for models of language: characters or bytes as numbers, and windows of them as examples.

use super::{Batch, Chance, Dataset, Example};
use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::io::place::{Place, foreign};
use crate::io::source::{OpenFile, Source};
use crate::tensor::Tensor;
use std::path::Path;
use std::sync::Arc;

/// Reads a text file of UTF-8.
///
/// ```
/// use chainrule::data::{Alphabet, read_text};
/// let path = std::env::temp_dir().join("chainrule-read.txt");
/// std::fs::write(&path, "abba").unwrap();
/// assert_eq!(Alphabet::of(&read_text(&path)?).len(), 2);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let place = Place::of("read_text", path.as_ref());
    let bytes = OpenFile::open(path.as_ref()).and_then(|file| file.bytes(0, file.length()));
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            foreign(format!("byte {at} is not UTF-8"), "save the file in UTF-8, or read it as bytes: Windows::of_bytes")
        })
    });
    text.map_err(|fault| place.error(fault))
}

/// The different characters of a text, in order; a character's number is its place.
///
/// ```
/// use chainrule::data::Alphabet;
/// let alphabet = Alphabet::of("hello world");
/// assert_eq!(alphabet.len(), 8);
/// let numbers = alphabet.encode("hello")?;
/// assert_eq!(alphabet.decode(&numbers)?, "hello");
/// assert!(alphabet.encode("hexe").unwrap_err().what().contains("'x'"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alphabet {
    characters: Vec<char>,
    unknown: Option<char>,
}

impl Alphabet {
    /// The characters that stand in a text.
    pub fn of(text: &str) -> Alphabet {
        let mut characters: Vec<char> = Vec::new();
        // Few characters are many times there: what is known already is not gathered again.
        for character in text.chars() {
            if let Err(place) = characters.binary_search(&character) {
                characters.insert(place, character);
            }
        }
        Alphabet { characters, unknown: None }
    }
    /// The same with a character that stands for all that are not in it, so that any text can be encoded.
    ///
    /// ```
    /// use chainrule::data::Alphabet;
    /// let alphabet = Alphabet::of("abc").with_unknown('?');
    /// assert_eq!(alphabet.decode(&alphabet.encode("a€c")?)?, "a?c");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_unknown(mut self, character: char) -> Alphabet {
        if let Err(place) = self.characters.binary_search(&character) {
            self.characters.insert(place, character);
        }
        Alphabet { unknown: Some(character), ..self }
    }
    /// How many characters there are.
    pub fn len(&self) -> usize {
        self.characters.len()
    }
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }
    /// The characters, in order.
    pub fn characters(&self) -> &[char] {
        &self.characters
    }
    /// The number of a character; of one that is not there, the number of the one that stands for it, if there is one.
    ///
    /// ```
    /// use chainrule::data::Alphabet;
    /// assert_eq!((Alphabet::of("abc").number('b'), Alphabet::of("abc").number('x')), (Some(1), None));
    /// ```
    pub fn number(&self, character: char) -> Option<i64> {
        let place = |character: char| self.characters.binary_search(&character).ok();
        place(character).or_else(|| place(self.unknown?)).map(|place| place as i64)
    }
    /// A text as numbers. A character that is not there is an error, unless [`with_unknown`](Alphabet::with_unknown) has
    /// named one that stands for it.
    #[track_caller]
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(text.len());
        for (place, character) in text.chars().enumerate() {
            let Some(number) = self.number(character) else {
                let what = format!("character {place} of the text, {character:?}, is not in the alphabet");
                let help = "make the alphabet of a text that has all characters, or give it with_unknown('?')";
                return Err(Error::new("alphabet", Fault::value(what, help)));
            };
            numbers.push(number);
        }
        Ok(numbers)
    }
    /// Numbers as text again.
    #[track_caller]
    pub fn decode(&self, numbers: &[i64]) -> Result<String> {
        let character =
            |&number: &i64| usize::try_from(number).ok().and_then(|place| self.characters.get(place)).ok_or(number);
        match numbers.iter().map(character).collect::<Result<String, i64>>() {
            Ok(text) => Ok(text),
            Err(number) => {
                let what = format!("{number} is no character, the alphabet has {}", self.len());
                let help = "numbers are from 0 to one below the alphabet's length";
                Err(Error::new("alphabet", Fault::index(what, help)))
            }
        }
    }
}

/// Windows of a text as examples: the input is `context` numbers in a row `[context]`, the target the same one place later.
/// Windows begin one after another at each place; [`with_stride`](Windows::with_stride) leaves places out.
///
/// ```
/// use chainrule::data::{Alphabet, Dataset, Loader, Windows};
/// let alphabet = Alphabet::of("abcdefgh");
/// let windows = Windows::of_numbers(alphabet.encode("abcdefgh")?, 3)?;
/// assert_eq!(windows.len(), 5);
/// let batch = Loader::new(windows, 2).epoch(0).next().unwrap()?;
/// assert_eq!(batch.input.to_vec::<i64>()?, [0, 1, 2, 1, 2, 3]);
/// assert_eq!(batch.target.to_vec::<i64>()?, [1, 2, 3, 2, 3, 4]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Windows {
    numbers: Arc<Numbers>,
    context: usize,
    stride: usize,
    /// Which of the numbers: a part of them can be a set of its own.
    from: usize,
    count: usize,
}

#[derive(Debug)]
enum Numbers {
    Wide(Vec<i64>),
    /// A byte is kept as one: eight times less.
    Bytes(Vec<u8>),
}

impl Windows {
    /// Windows of any numbers: characters, words, pieces of words.
    #[track_caller]
    pub fn of_numbers(numbers: Vec<i64>, context: usize) -> Result<Windows> {
        let count = numbers.len();
        Windows::of(Numbers::Wide(numbers), count, context)
    }
    /// Windows of a text's bytes, numbers from 0 to 255.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Windows};
    /// let windows = Windows::of_bytes("naïve", 2)?;
    /// assert_eq!(windows.len(), 4);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of_bytes(bytes: impl Into<Vec<u8>>, context: usize) -> Result<Windows> {
        let bytes = bytes.into();
        let count = bytes.len();
        Windows::of(Numbers::Bytes(bytes), count, context)
    }
    #[track_caller]
    fn of(numbers: Numbers, count: usize, context: usize) -> Result<Windows> {
        if context == 0 || count <= context {
            let what = format!("a window of {context} of a text of {count}");
            let help = "a window has at least one place, and the text one more than the window";
            return Err(Error::new("windows", Fault::value(what, help)));
        }
        Ok(Windows { numbers: Arc::new(numbers), context, stride: 1, from: 0, count })
    }
    /// A window begins at every `stride`-th place only; `with_stride(context)` makes windows that do not overlap.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Windows};
    /// assert_eq!(Windows::of_bytes("0123456789", 3)?.with_stride(3).len(), 3);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_stride(self, stride: usize) -> Windows {
        Windows { stride: stride.max(1), ..self }
    }
    /// The windows of the text's first share and those of the rest, which share nothing: to train and to validate.
    ///
    /// ```
    /// use chainrule::data::{Dataset, Windows};
    /// let (train, rest) = Windows::of_bytes("0123456789", 2)?.split(0.6)?;
    /// assert_eq!((train.len(), rest.len()), (4, 2));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, share: f64) -> Result<(Windows, Windows)> {
        let first = (self.count as f64 * share) as usize;
        let rest = self.count.saturating_sub(first);
        if first <= self.context || rest <= self.context {
            let what = format!("a share of {share} cuts a text of {} into {first} and {rest}", self.count);
            let help = format!("both parts must be longer than a window, {}", self.context);
            return Err(Error::new("windows", Fault::value(what, help)));
        }
        let part = |from: usize, count: usize| Windows { from: self.from + from, count, ..self.clone() };
        Ok((part(0, first), part(first, rest)))
    }
    /// Places in a window.
    pub fn context(&self) -> usize {
        self.context
    }
    /// Appends window `index`, without its last number or without its first.
    fn append(&self, index: usize, later: usize, into: &mut Vec<i64>) -> Option<()> {
        let at = self.from + index.checked_mul(self.stride)? + later;
        let range = at..at + self.context;
        match &*self.numbers {
            Numbers::Wide(numbers) => into.extend(numbers.get(range)?),
            Numbers::Bytes(bytes) => into.extend(bytes.get(range)?.iter().map(|&byte| i64::from(byte))),
        }
        Some(())
    }
    #[track_caller]
    fn rows(&self, indices: &[usize], later: usize) -> Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(indices.len() * self.context);
        for &index in indices {
            if index >= self.len() || self.append(index, later, &mut numbers).is_none() {
                let what = format!("there is no window {index}, there are {}", self.len());
                return Err(Error::new("windows", Fault::index(what, "they are counted from 0 on")));
            }
        }
        Ok(numbers)
    }
}

impl Dataset for Windows {
    type Item = Example;
    fn len(&self) -> usize {
        (self.count - self.context).div_ceil(self.stride)
    }
    #[track_caller]
    fn item(&self, index: usize, _: &mut Random) -> Result<Example> {
        let (input, target) = (self.rows(&[index], 0)?, self.rows(&[index], 1)?);
        Ok(Example {
            input: Tensor::from_vec(input, [self.context])?,
            target: Tensor::from_vec(target, [self.context])?,
        })
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], _: &Chance) -> Result<Batch> {
        let (input, target, sizes) = (self.rows(indices, 0)?, self.rows(indices, 1)?, [indices.len(), self.context]);
        Ok(Batch { input: Tensor::from_vec(input, sizes)?, target: Tensor::from_vec(target, sizes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_text_and_batches_equal_items() {
        let windows = Windows::of_bytes((0..100).collect::<Vec<u8>>(), 7).expect("windows");
        for windows in [windows.clone(), windows.clone().with_stride(7), windows.split(0.5).expect("halves").1] {
            let (last, mut none) = (windows.len() - 1, Random::new(0));
            let batch = windows.batch(&[last, 0], &Chance::new(0, 0)).expect("a batch");
            for (row, index) in [(0, last), (1, 0)] {
                let item = windows.item(index, &mut none).expect("an item");
                assert_eq!(batch.input.select(0, row), item.input);
                assert_eq!(batch.target.select(0, row), item.target);
                assert_eq!(&item.input + 1, item.target);
            }
            assert!(windows.item(last + 1, &mut none).is_err());
        }
        let (first, second) = windows.split(0.5).expect("halves");
        let last = first.item(first.len() - 1, &mut Random::new(0)).expect("an item");
        assert_eq!(last.target.max().item().expect("a number"), 49.0);
        assert_eq!(second.item(0, &mut Random::new(0)).expect("an item").input.min().item().expect("a number"), 50.0);
        for share in [0.0, 1.0, f64::NAN, -1.0, 1e300] {
            assert!(windows.split(share).is_err(), "{share}");
        }
        assert!(Windows::of_bytes("ab", 2).is_err() && Windows::of_numbers(vec![1, 2], 0).is_err());
        let far = windows.clone().with_stride(usize::MAX);
        assert_eq!(far.len(), 1);
        assert!(far.item(1, &mut Random::new(0)).is_err());
    }

    #[test]
    fn alphabets_encode_what_they_have() {
        let alphabet = Alphabet::of("cabbage");
        assert_eq!(alphabet.characters(), ['a', 'b', 'c', 'e', 'g']);
        assert_eq!(alphabet.encode("bag").expect("numbers"), [1, 0, 4]);
        assert!(alphabet.decode(&[5]).is_err() && alphabet.decode(&[-1]).is_err());
        assert!(Alphabet::of("").is_empty());
        assert_eq!(alphabet.clone().with_unknown('a').encode("xyz").expect("numbers"), [0, 0, 0]);
    }
}
