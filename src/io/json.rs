//! A small strict reader and writer of JSON: the headers of files.
//!
//! The reader hands out what it meets, so that a header is never held twice and a hostile one cannot grow in memory.

use super::place::damaged;
use crate::error::Fault;

/// Lists and objects inside each other.
pub(super) const DEEPEST: usize = 100;

/// A number or a word. Whole numbers stay whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Single {
    Null,
    Flag(bool),
    Integer(i64),
    Number(f64),
}

/// A place in a JSON text.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Reader<'a> {
        Reader { text, at: 0, depth: 0 }
    }
    #[cold]
    fn expected(&self, what: &str) -> Fault {
        match self.text.get(self.at) {
            Some(&byte) => {
                damaged(format!("{what} was expected at byte {} of the JSON, this is {:?}", self.at, byte as char))
            }
            None => damaged(format!("{what} was expected, the JSON ends at byte {}", self.at)),
        }
    }
    /// What comes after white space.
    pub(super) fn next(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.next() == Some(byte);
        self.at += found as usize;
        found
    }
    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }
    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.next().is_some() { Err(self.expected("the end")) } else { Ok(()) }
    }
    fn inside<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, Fault>) -> Result<R, Fault> {
        if self.depth == DEEPEST {
            return Err(damaged(format!("the JSON is nested more than {DEEPEST} deep")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }
    /// Reads an object: `each` gets every name and must read what follows it.
    pub(super) fn fields(&mut self, mut each: impl FnMut(&mut Self, String) -> Result<(), Fault>) -> Result<(), Fault> {
        self.inside(|json| {
            if !json.accept(b'{') {
                return Err(json.expected("an object"));
            }
            if json.accept(b'}') {
                return Ok(());
            }
            loop {
                let name = json.text()?;
                if !json.accept(b':') {
                    return Err(json.expected("a colon"));
                }
                each(json, name)?;
                if json.accept(b'}') {
                    return Ok(());
                }
                if !json.accept(b',') {
                    return Err(json.expected("a comma or the end of the object"));
                }
            }
        })
    }
    /// Reads a list: `each` must read an item.
    pub(super) fn items(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.inside(|json| {
            if !json.accept(b'[') {
                return Err(json.expected("a list"));
            }
            if json.accept(b']') {
                return Ok(());
            }
            loop {
                each(json)?;
                if json.accept(b']') {
                    return Ok(());
                }
                if !json.accept(b',') {
                    return Err(json.expected("a comma or the end of the list"));
                }
            }
        })
    }
    /// Reads a text.
    pub(super) fn text(&mut self) -> Result<String, Fault> {
        if !self.accept(b'"') {
            return Err(self.expected("a text"));
        }
        let mut text = Vec::new();
        loop {
            let plain = self.text[self.at..].iter().take_while(|&&b| b != b'"' && b != b'\\' && b >= 0x20).count();
            text.extend_from_slice(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(text).map_err(|_| damaged("a text of the JSON is not UTF-8"));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escaped()?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return Err(self.expected("the end of a text")),
            }
        }
    }
    fn escaped(&mut self) -> Result<char, Fault> {
        let Some(&byte) = self.text.get(self.at) else { return Err(self.expected("an escape")) };
        let c = match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        if !self.word("\\u") {
                            return Err(self.expected("the second half of a character"));
                        }
                        let second = self.hex()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(self.expected("the second half of a character"));
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                return char::from_u32(code).ok_or_else(|| self.expected("a character"));
            }
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(c)
    }
    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let number = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        let number = number.ok_or_else(|| self.expected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(number)
    }
    /// Reads a whole number that is not negative.
    pub(super) fn count(&mut self) -> Result<u64, Fault> {
        self.next();
        let start = self.at;
        match self.number()? {
            Single::Integer(number) if number >= 0 => Ok(number as u64),
            _ => {
                self.at = start;
                Err(self.expected("a whole number from 0 to 2^63 - 1"))
            }
        }
    }
    fn number(&mut self) -> Result<Single, Fault> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let literal = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let bare = literal.strip_prefix('-').unwrap_or(literal);
        let (mantissa, exponent) = match bare.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
            None => (bare, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let sound = digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(digits);
        if !sound {
            return Err(self.expected("a number"));
        }
        let number = match literal.parse::<i64>() {
            Ok(number) if literal != "-0" => Single::Integer(number),
            _ => match literal.parse::<f64>() {
                Ok(number) if number.is_finite() => Single::Number(number),
                _ => return Err(self.expected("a number that is not too large")),
            },
        };
        self.at += length;
        Ok(number)
    }
    /// Reads anything and forgets it.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        match self.next() {
            Some(b'{') => self.fields(|json, _| json.skip()),
            Some(b'[') => self.items(|json| json.skip()),
            Some(b'"') => self.text().map(drop),
            _ => self.single().map(drop),
        }
    }
    /// Reads a number or a word.
    pub(super) fn single(&mut self) -> Result<Single, Fault> {
        match self.next() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') if self.word("true") => Ok(Single::Flag(true)),
            Some(b'f') if self.word("false") => Ok(Single::Flag(false)),
            Some(b'n') if self.word("null") => Ok(Single::Null),
            _ => Err(self.expected("a value")),
        }
    }
}

/// Writes a text in quotes.
pub(super) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Writes a finite number so that it is read back as the same one, and never as a whole number.
pub(super) fn write_number(out: &mut String, number: f64) {
    out.push_str(&format!("{number:?}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Single, Fault> {
        let mut reader = Reader::new(text.as_bytes());
        let single = reader.single()?;
        reader.end()?;
        Ok(single)
    }

    fn skip(text: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(text);
        reader.skip()?;
        reader.end()
    }

    #[test]
    fn what_is_json_is_read() {
        assert_eq!(read(" -25 ").unwrap(), Single::Integer(-25));
        assert_eq!(read("-2.5e1").unwrap(), Single::Number(-25.0));
        assert_eq!(read("true").unwrap(), Single::Flag(true));
        assert_eq!(read("null").unwrap(), Single::Null);
        assert_eq!(read("9223372036854775808").unwrap(), Single::Number(9223372036854775808.0));
        let text = Reader::new(b" \"a\\u00e9\\ud83d\\ude00\\n/\\/\"").text().unwrap();
        assert_eq!(text, "a\u{e9}\u{1f600}\n//");
        for text in ["{}", "[]", "{\"a\":{},\"b\":[1,2.5,\"c\",{\"d\":null}]}", "[ [ ] , false ]"] {
            assert!(skip(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        let texts = [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "--1",
            "-",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\n\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "[1] 2",
            "{1:2}",
            "'a'",
            "NaN",
            "1e999",
            "[1 2]",
            "\"\\u+123\"",
            "\"\\u12",
            "{\"a\" 1}",
            "{\"a\"}",
            &deep,
        ];
        for text in texts {
            assert!(skip(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(skip(b"\"\xff\"").is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "quote \" slash \\ line \n bell \u{7} snow \u{2603}";
        let mut out = String::new();
        write_text(&mut out, text);
        assert_eq!(Reader::new(out.as_bytes()).text().unwrap(), text);
        for number in [0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, f64::MIN, 123456789.125] {
            let mut out = String::new();
            write_number(&mut out, number);
            let Single::Number(back) = read(&out).unwrap() else { panic!("{out} is read as a whole number") };
            assert_eq!(back.to_bits(), number.to_bits());
        }
    }
}
