//! Text with separators: how CSV files are read and written.
//!
//! Fields may be quoted (`"`, doubled inside), lines end in `\n` or `\r\n`, a byte-order mark at the beginning is passed
//! over, and so are empty lines. The separator is guessed from the first lines unless it is given.

use super::Table;
use crate::error::{Fault, Result};
use crate::io::place::{Place, damaged, foreign};
use crate::io::source::{OpenFile, Source};
use std::path::Path;

/// What separators are guessed among.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How many lines a guess looks at.
const GUESSED_FROM: usize = 20;
/// Fields that stand for no value, unless others are given.
const MISSING: [&str; 7] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"];

/// How a text with separators is to be read.
///
/// ```
/// use chainrule::data::Csv;
/// let table = Csv::new().without_header().with_missing(["-"]).parse("1;-\n2;5\n")?;
/// assert_eq!(table.names(), ["column 1", "column 2"]);
/// assert_eq!(table.missing("column 2")?, 1);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    separator: Option<u8>,
    header: bool,
    missing: Vec<String>,
}

impl Default for Csv {
    fn default() -> Csv {
        Csv { separator: None, header: true, missing: MISSING.map(String::from).to_vec() }
    }
}

impl Csv {
    /// The first line names the columns, the separator is guessed, empty fields and the usual words (`NA`, `NaN`, `null`)
    /// stand for missing values.
    pub fn new() -> Csv {
        Csv::default()
    }
    /// Fields are separated by this character of ASCII.
    ///
    /// ```
    /// use chainrule::data::Csv;
    /// assert_eq!(Csv::new().with_separator(':').parse("a:b\n1:2\n")?.names(), ["a", "b"]);
    /// assert!(Csv::new().with_separator('"').parse("a").is_err());
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn with_separator(self, separator: char) -> Csv {
        // What is no separator is refused when something is read.
        Csv { separator: Some(u8::try_from(separator).unwrap_or(b'"')), ..self }
    }
    /// The first line is a row as the others are; columns are named `column 1`, `column 2`, ...
    pub fn without_header(self) -> Csv {
        Csv { header: false, ..self }
    }
    /// These fields, and no others, stand for missing values.
    pub fn with_missing<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Csv {
        Csv { missing: words.into_iter().map(Into::into).collect(), ..self }
    }
    /// Reads a file of UTF-8.
    ///
    /// ```
    /// use chainrule::data::Csv;
    /// let path = std::env::temp_dir().join("chainrule-csv-read.csv");
    /// std::fs::write(&path, "name,age\nAda,36\n").unwrap();
    /// assert_eq!(Csv::new().read(&path)?.numbers(["age"])?.item()?, 36.0);
    /// # std::fs::remove_file(&path).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table> {
        let place = Place::of("csv", path.as_ref());
        let bytes = OpenFile::open(path.as_ref()).and_then(|file| file.bytes(0, file.length()));
        bytes.and_then(|bytes| self.table(&bytes)).map_err(|fault| place.error(fault))
    }
    /// Reads a text, or bytes of UTF-8.
    ///
    /// ```
    /// use chainrule::data::Csv;
    /// let table = Csv::new().parse("name,note\nAda,\"one, \"\"two\"\"\"\n")?;
    /// assert_eq!(table.text(0, "note")?, "one, \"two\"");
    /// let error = Csv::new().parse("a,b\n1,2\n3\n").unwrap_err();
    /// assert!(error.what().starts_with("line 3 has 1 field"), "{error}");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn parse(&self, text: impl AsRef<[u8]>) -> Result<Table> {
        let place = Place::bytes("csv");
        self.table(text.as_ref()).map_err(|fault| place.error(fault))
    }
    fn table(&self, bytes: &[u8]) -> Result<Table, Fault> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if u32::try_from(bytes.len()).is_err() {
            return Err(foreign("a text of more than 4 GiB", "split it into several files"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes.get(..error.valid_up_to()).unwrap_or_default().iter().filter(|&&b| b == b'\n').count() + 1;
            let help = "save the file in UTF-8 (with iconv, or the editor's \"save as\")";
            foreign(format!("line {line} has bytes that are not UTF-8"), help)
        })?;
        if self.separator.is_some_and(|byte| !byte.is_ascii() || b"\"\n\r".contains(&byte)) {
            let what = "a quote, an end of line or a character beyond ASCII cannot separate fields";
            return Err(Fault::value(what, "give another separator, or none to have it guessed"));
        }
        let separator = self.separator.unwrap_or_else(|| guess(text));
        let mut fields = Fields { text, separator, at: 0, line: 1 };
        let mut table = Table::empty(self.missing.clone());
        let mut header = self.header;
        let mut field = String::new();
        let mut names = Vec::new();
        while fields.skip_empty_lines() {
            let line = fields.line;
            let mut count = 0;
            loop {
                field.clear();
                let more = fields.next(&mut field)?;
                count += 1;
                match header {
                    true => names.push(field.clone()),
                    false => table.push(&field)?,
                }
                if !more {
                    break;
                }
            }
            if header {
                header = false;
                table.name(std::mem::take(&mut names))?;
                continue;
            }
            if table.names().is_empty() {
                table.name((1..=count).map(|number| format!("column {number}")).collect())?;
            }
            let columns = table.names().len();
            if count != columns {
                let what = format!("line {line} has {count} field{}, there are {columns} columns", s(count));
                let separator = char::from(separator);
                let help = format!("the separator is {separator:?}; fields that hold it must stand in quotes");
                return Err(damaged(what).helped(help));
            }
            table.end_row(line);
        }
        Ok(table)
    }
}

fn s(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The separator that cuts the first lines into the same number of fields, and into the most.
fn guess(text: &str) -> u8 {
    let fields = |separator: u8| {
        let mut fields = Fields { text, separator, at: 0, line: 1 };
        let (mut counts, mut field) = (Vec::new(), String::new());
        while counts.len() < GUESSED_FROM && fields.skip_empty_lines() {
            let mut count = 1;
            loop {
                field.clear();
                match fields.next(&mut field) {
                    Ok(true) => count += 1,
                    Ok(false) => break,
                    Err(_) => return 0,
                }
            }
            counts.push(count);
        }
        let first = counts.first().copied().unwrap_or(0);
        // Without agreement the line of names alone decides, and weakly.
        if counts.iter().all(|count| *count == first) { 2 * first } else { first }
    };
    let mut best = (0, b',');
    for separator in SEPARATORS {
        let count = fields(separator);
        // One field in each line is what any separator gives that is not there.
        if count > best.0.max(2) {
            best = (count, separator);
        }
    }
    best.1
}

/// Reads field after field.
struct Fields<'a> {
    text: &'a str,
    separator: u8,
    at: usize,
    line: u32,
}

impl Fields<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    /// Is there another line with something in it? It is begun.
    fn skip_empty_lines(&mut self) -> bool {
        while self.end_of_line() {}
        self.byte().is_some()
    }
    /// Passes the end of a line, if one stands here.
    fn end_of_line(&mut self) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        self.at += length;
        self.line = self.line.saturating_add(u32::from(length > 0));
        length > 0
    }
    /// Appends the next field's text; gives whether another follows in the same line.
    fn next(&mut self, field: &mut String) -> Result<bool, Fault> {
        if self.byte() == Some(b'"') {
            self.quoted(field)?;
        } else {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let mut length = rest.iter().position(|&b| b == self.separator || b == b'\n').unwrap_or(rest.len());
            if rest.get(length) == Some(&b'\n') && length > 0 && rest.get(length - 1) == Some(&b'\r') {
                length -= 1;
            }
            // Separators and ends of lines are ASCII: the cut is between characters.
            field.push_str(self.text.get(self.at..self.at + length).unwrap_or_default());
            self.at += length;
        }
        match self.byte() {
            Some(byte) if byte == self.separator => {
                self.at += 1;
                Ok(true)
            }
            None => Ok(false),
            Some(_) if self.end_of_line() => Ok(false),
            Some(_) => {
                let what =
                    format!("line {}, column {}: something follows a closing quote", self.line, self.column(self.at));
                Err(damaged(what).helped("write a quote inside of a field twice"))
            }
        }
    }
    fn quoted(&mut self, field: &mut String) -> Result<(), Fault> {
        let (line, start) = (self.line, self.at);
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(end) = rest.find('"') else {
                let column = self.column(start);
                let what = format!("line {line}, column {column}: a quote is opened and never closed");
                return Err(damaged(what).helped("close it, or leave it out"));
            };
            let part = rest.get(..end).unwrap_or_default();
            field.push_str(part);
            self.line = self.line.saturating_add(part.bytes().filter(|&byte| byte == b'\n').count() as u32);
            self.at += end + 1;
            if self.byte() != Some(b'"') {
                return Ok(());
            }
            field.push('"');
            self.at += 1;
        }
    }
    /// The place in its line, in characters from 1 on. It looks back through all of the line: for errors only.
    fn column(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.rsplit('\n').next().unwrap_or_default().chars().count() + 1
    }
}

/// Appends a line of fields, in quotes where they need them.
pub(super) fn write_line<'a>(fields: impl Iterator<Item = &'a str>, text: &mut String) {
    let start = text.len();
    for (place, field) in fields.enumerate() {
        if place > 0 {
            text.push(',');
        }
        // A byte-order mark at the beginning of a file would be passed over.
        let plain =
            !field.contains([',', ';', '\t', '|', '"', '\n', '\r', '\u{feff}']) && field.trim().len() == field.len();
        if plain {
            text.push_str(field);
        } else {
            text.push('"');
            text.push_str(&field.replace('"', "\"\""));
            text.push('"');
        }
    }
    // A line of one empty field would be passed over.
    if text.len() == start {
        text.push_str("\"\"");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_guessed() {
        assert_eq!(guess("a,b\n1,2\n"), b',');
        assert_eq!(guess("a;b\n1,5;2,5\n"), b';');
        assert_eq!(guess("a\tb,c\n1\t2\n"), b'\t');
        assert_eq!(guess("\"a;b;c\",d\n1,2\n"), b',');
        assert_eq!(guess("a|b|c\n1|2|3\n"), b'|');
        assert_eq!(guess("one column\n1\n2\n"), b',');
        assert_eq!(guess(""), b',');
    }

    #[test]
    fn quotes_ends_of_lines_and_marks() {
        let table = Csv::new().parse("\u{feff}a,b\r\n\r\n\"x\r\ny\",2\r\n\"\",\"\"\"\"").expect("a table");
        assert_eq!((table.names(), table.len()), (&["a".to_string(), "b".to_string()][..], 2));
        assert_eq!(table.text(0, "a").expect("a text"), "x\r\ny");
        assert_eq!(table.text(1, "b").expect("a text"), "\"");
        // A quote inside an unquoted field is a letter.
        assert_eq!(Csv::new().parse("a\n5\"\n").expect("a table").text(0, "a").expect("a text"), "5\"");
        assert!(Csv::new().parse("").expect("nothing").is_empty());
    }

    #[test]
    fn errors_say_line_and_column() {
        let said = |text: &[u8], words: &str| {
            let error = Csv::new().parse(text).expect_err("a wrong text").to_string();
            assert!(error.contains(words), "{error}");
        };
        said(b"a,b\n\"1\n2\",3\n4,5,6\n", "line 4 has 3 fields, there are 2 columns");
        said(b"a,b\n1,\"2\n", "line 2, column 3: a quote is opened");
        said(b"a,b\n1,\"2\"x\n", "line 2, column 6: something follows");
        said(b"a,b\n1,\xff\n", "line 2 has bytes that are not UTF-8");
        said(b"a,a\n1,2\n", "two columns");
    }
}
