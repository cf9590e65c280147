//! Tables: named columns of numbers, texts and categories, as CSV files hold them.

use super::csv::write_line;
use super::{Categories, Csv};
use crate::error::{Error, Fault, Result};
use crate::io::numbers::put;
use crate::io::place::Place;
use crate::io::{atomic, tensors::shown};
use crate::layout::sort_numbers;
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// A table in memory: columns with names, rows of texts, some of which are numbers and some of which are missing.
///
/// ```
/// use chainrule::data::{Examples, Fill, Table};
/// let table = Table::parse("\
/// height,weight,kind
/// 20,4.5,cat
/// 60,,dog
/// 25,5.5,cat
/// ")?;
/// let table = table.filled("weight", Fill::Mean)?;
/// let inputs = table.numbers(["height", "weight"])?;
/// assert_eq!(inputs.to_vec::<f32>()?, [20.0, 4.5, 60.0, 5.0, 25.0, 5.5]);
/// let kinds = table.categories("kind")?;
/// assert_eq!((kinds.names(), kinds.codes().to_vec::<i64>()?), (&["cat".to_string(), "dog".to_string()][..], vec![0, 1, 0]));
/// let examples = Examples::new(&inputs, kinds.codes())?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone)]
pub struct Table {
    names: Vec<String>,
    places: HashMap<String, usize>,
    /// All fields, row by row, one after another; `ends` says where each ends.
    text: String,
    ends: Vec<u32>,
    /// The line of the file in which each row begins, 0 for one that was made here.
    lines: Vec<u32>,
    missing: Vec<String>,
}

/// What takes the place of a missing value.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// The mean of the column's numbers.
    Mean,
    /// Their median.
    Median,
    /// This number.
    Number(f64),
    /// This text.
    Text(String),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every value that is there is a number.
    Numbers,
    /// Some are not, or there is none.
    Texts,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    table: &'a Table,
    row: usize,
}

impl Row<'_> {
    /// The text in a column; `""` where there is no such column.
    pub fn text(&self, name: &str) -> &str {
        self.table.places.get(name).and_then(|&column| self.table.field(self.row, column)).unwrap_or_default()
    }
    /// The number in a column; NaN where it is missing, or no number.
    pub fn number(&self, name: &str) -> f64 {
        self.text(name).trim().parse().unwrap_or(f64::NAN)
    }
    /// Is the value of a column missing?
    pub fn is_missing(&self, name: &str) -> bool {
        self.table.is_missing(self.text(name))
    }
}

#[cold]
#[track_caller]
fn refuse(what: String, help: impl Into<String>) -> Error {
    Error::new("table", Fault::value(what, help))
}

impl Table {
    /// Reads a CSV file; [`Csv`] has the choices.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let error = Table::read("no such file.csv").unwrap_err();
    /// assert!(error.to_string().contains("no such file.csv"));
    /// ```
    #[track_caller]
    pub fn read(path: impl AsRef<Path>) -> Result<Table> {
        Csv::new().read(path)
    }
    /// Reads a text as a CSV file holds it.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// assert_eq!(Table::parse("a\tb\n1\t2\n")?.names(), ["a", "b"]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Table> {
        Csv::new().parse(text)
    }
    /// A table of a matrix, whose columns get these names: to write results.
    ///
    /// ```
    /// use chainrule::{Tensor, data::Table};
    /// let table = Table::of_numbers(["x", "y"], &Tensor::from([[1.0, 0.5], [2.0, f32::NAN]]))?;
    /// assert_eq!(table.to_csv(), "x,y\n1,0.5\n2,\n");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn of_numbers<N: AsRef<str>>(names: impl IntoIterator<Item = N>, numbers: &Tensor) -> Result<Table> {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_string()).collect();
        let [_, columns] = numbers.dims()?;
        if columns != names.len() || columns == 0 {
            let what = format!("{} names for {columns} columns", names.len());
            return Err(refuse(what, "give each column of the matrix a name"));
        }
        let failed = |fault| Error::new("table", fault);
        let mut table = Table::empty(vec![String::new()]);
        table.name(names).map_err(failed)?;
        for row in numbers.to_vec::<f64>()?.chunks(columns) {
            for &number in row {
                // The shortest text that reads as the same f32 is that of the f32.
                let text = match (number.is_nan(), f64::from(number as f32) == number) {
                    (true, _) => String::new(),
                    (_, true) => format!("{}", number as f32),
                    _ => format!("{number}"),
                };
                table.push(&text).map_err(failed)?;
            }
            table.end_row(0);
        }
        Ok(table)
    }
    pub(super) fn empty(missing: Vec<String>) -> Table {
        let (names, places, text) = (Vec::new(), HashMap::new(), String::new());
        Table { names, places, text, ends: Vec::new(), lines: Vec::new(), missing }
    }
    pub(super) fn name(&mut self, names: Vec<String>) -> Result<(), Fault> {
        for (place, name) in names.iter().enumerate() {
            if self.places.insert(name.clone(), place).is_some() {
                let help = "rename one, or read the table without_header() if the first line is no line of names";
                return Err(Fault::value(format!("two columns are named {:?}", shown(name)), help));
            }
        }
        self.names = names;
        Ok(())
    }
    pub(super) fn push(&mut self, field: &str) -> Result<(), Fault> {
        self.text.push_str(field);
        let end = u32::try_from(self.text.len());
        self.ends.push(end.map_err(|_| Fault::memory("a table of more than 4 GiB", "split it into several"))?);
        Ok(())
    }
    pub(super) fn end_row(&mut self, line: u32) {
        self.lines.push(line);
    }
    fn field(&self, row: usize, column: usize) -> Option<&str> {
        if column >= self.names.len() {
            return None;
        }
        let place = row.checked_mul(self.names.len())?.checked_add(column)?;
        let start = place.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start as usize..*self.ends.get(place)? as usize)
    }
    fn is_missing(&self, field: &str) -> bool {
        self.missing.iter().any(|word| word == field.trim())
    }
    #[track_caller]
    fn place(&self, name: &str) -> Result<usize> {
        match self.places.get(name) {
            Some(&place) => Ok(place),
            None => {
                let names: Vec<String> = self.names.iter().take(20).map(|name| format!("{:?}", shown(name))).collect();
                let what = format!("there is no column {:?}", shown(name));
                Err(refuse(what, format!("the columns are {}", names.join(", "))))
            }
        }
    }
    /// Where a row stands, for errors.
    fn line(&self, row: usize) -> String {
        match self.lines.get(row) {
            Some(&line) if line > 0 => format!("line {line}"),
            _ => format!("row {row}"),
        }
    }
    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
    /// The text of a field.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// assert_eq!(Table::parse("a,b\n1,two\n")?.text(0, "b")?, "two");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn text(&self, row: usize, name: &str) -> Result<&str> {
        let column = self.place(name)?;
        self.field(row, column).ok_or_else(|| {
            let what = format!("there is no row {row}, there are {}", self.len());
            Error::new("table", Fault::index(what, "rows are counted from 0 on"))
        })
    }
    /// The texts of a column, missing ones as they stand there.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// assert_eq!(Table::parse("a\nx\ny\n")?.texts("a")?, ["x", "y"]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn texts(&self, name: &str) -> Result<Vec<&str>> {
        let column = self.place(name)?;
        Ok((0..self.len()).map(|row| self.field(row, column).unwrap_or_default()).collect())
    }
    /// How many values of a column are missing.
    #[track_caller]
    pub fn missing(&self, name: &str) -> Result<usize> {
        Ok(self.texts(name)?.into_iter().filter(|field| self.is_missing(field)).count())
    }
    /// Does a column hold numbers?
    ///
    /// ```
    /// use chainrule::data::{Kind, Table};
    /// let table = Table::parse("a,b\n1,2\n,x\n")?;
    /// assert_eq!((table.kind("a")?, table.kind("b")?), (Kind::Numbers, Kind::Texts));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn kind(&self, name: &str) -> Result<Kind> {
        let mut present = self.texts(name)?.into_iter().filter(|field| !self.is_missing(field)).peekable();
        let some = present.peek().is_some();
        Ok(if some && present.all(|field| number(field).is_some()) { Kind::Numbers } else { Kind::Texts })
    }
    #[track_caller]
    fn column(&self, name: &str) -> Result<Vec<f64>> {
        let fields = self.texts(name)?.into_iter().enumerate();
        let numbers = fields.map(|(row, field)| match number(field) {
            _ if self.is_missing(field) => Ok(f64::NAN),
            Some(number) => Ok(number),
            None => Err((row, field)),
        });
        match numbers.collect::<Result<_, _>>() {
            Ok(numbers) => Ok(numbers),
            Err((row, field)) => {
                let what = format!("{}, column {:?}: {:?} is no number", self.line(row), shown(name), shown(field));
                let help = "take categories() for texts; words for missing values are given to Csv::with_missing";
                Err(refuse(what, help))
            }
        }
    }
    /// Columns of numbers as a matrix `[rows, columns]`, f32; what is missing is NaN.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let table = Table::parse("a,b\n1,2\n3,x\n")?;
    /// assert_eq!(table.numbers(["a"])?.to_vec::<f32>()?, [1.0, 3.0]);
    /// let error = table.numbers(["a", "b"]).unwrap_err();
    /// assert_eq!(error.what(), "line 3, column \"b\": \"x\" is no number");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn numbers<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Tensor> {
        let mut columns = Vec::new();
        for name in names {
            columns.push(self.column(name.as_ref())?);
        }
        let mut numbers = Vec::with_capacity(columns.len() * self.len());
        for row in 0..self.len() {
            numbers.extend(columns.iter().filter_map(|column| column.get(row)).map(|&number| number as f32));
        }
        Tensor::from_vec(numbers, [self.len(), columns.len()])
    }
    /// The different texts of a column, in alphabetical order, and for each row the number of its text. A missing value is
    /// an error: fill it or drop the row first.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let coats = Table::parse("coat\nwhite\nblack\nwhite\n")?.categories("coat")?;
    /// assert_eq!(coats.codes().to_vec::<i64>()?, [1, 0, 1]);
    /// assert_eq!(coats.one_hot().to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn categories(&self, name: &str) -> Result<Categories> {
        let mut names = self.texts(name)?;
        names.sort_unstable();
        names.dedup();
        names.retain(|text| !self.is_missing(text));
        self.categories_among(name, &names)
    }
    /// As [`categories`](Table::categories), with names that are known already: those of the training data. Any other text
    /// is an error.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let seen = Table::parse("coat\nwhite\nblack\n")?.categories("coat")?;
    /// let new = Table::parse("coat\nwhite\n")?.categories_among("coat", seen.names())?;
    /// assert_eq!(new.codes().to_vec::<i64>()?, [1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn categories_among<N: AsRef<str>>(&self, name: &str, names: &[N]) -> Result<Categories> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_string()).collect();
        let codes: HashMap<&str, i64> = names.iter().zip(0..).map(|(name, code)| (name.as_str(), code)).collect();
        let fields = self.texts(name)?.into_iter().enumerate();
        let found = fields.map(|(row, field)| codes.get(field).copied().ok_or((row, field)));
        match found.collect::<Result<Vec<i64>, _>>() {
            Ok(numbers) => Ok(Categories::new(names, Tensor::from_vec(numbers, [self.len()])?)),
            Err((row, field)) => {
                let what = format!("{}, column {:?}: {:?}", self.line(row), shown(name), shown(field));
                Err(match self.is_missing(field) {
                    true => refuse(what + " is missing", "drop such rows with without_missing, or fill them"),
                    false => refuse(what + " is none of the categories", "the categories are those that were given"),
                })
            }
        }
    }
    /// The rows for which `keep` says yes.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let adults = Table::parse("name,age\nAda,36\nTim,9\n")?.filter(|row| row.number("age") >= 18.0);
    /// assert_eq!(adults.texts("name")?, ["Ada"]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn filter(&self, keep: impl Fn(Row<'_>) -> bool) -> Table {
        let mut table =
            Table { names: self.names.clone(), places: self.places.clone(), ..Table::empty(self.missing.clone()) };
        for (row, &line) in self.lines.iter().enumerate().filter(|(row, _)| keep(Row { table: self, row: *row })) {
            for column in 0..self.names.len() {
                // No more text than before.
                let _ = table.push(self.field(row, column).unwrap_or_default());
            }
            table.end_row(line);
        }
        table
    }
    /// The rows in which none of these columns is missing.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// assert_eq!(Table::parse("a,b\n1,\n2,3\n")?.without_missing(["a", "b"])?.len(), 1);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn without_missing<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Table> {
        let mut columns = Vec::new();
        for name in names {
            columns.push(self.place(name.as_ref())?);
        }
        let has = |row: usize, column: usize| self.field(row, column).is_some_and(|field| !self.is_missing(field));
        Ok(self.filter(|row| columns.iter().all(|&column| has(row.row, column))))
    }
    /// The same table, with the missing values of a column filled.
    ///
    /// ```
    /// use chainrule::data::{Fill, Table};
    /// let table = Table::parse("a\n1\nNA\n2\n9\n")?.filled("a", Fill::Median)?;
    /// assert_eq!(table.texts("a")?, ["1", "2", "2", "9"]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn filled(&self, name: &str, fill: Fill) -> Result<Table> {
        let filled = self.place(name)?;
        let with = match fill {
            Fill::Text(text) => text,
            Fill::Number(number) => format!("{number}"),
            Fill::Mean | Fill::Median => {
                let mut numbers = self.column(name)?;
                numbers.retain(|number| number.is_finite());
                let Some(number) = middle(numbers, fill == Fill::Mean) else {
                    let what = format!("the column {:?} has no numbers", shown(name));
                    return Err(refuse(what, "give a number to fill with"));
                };
                number.to_string()
            }
        };
        let mut table =
            Table { names: self.names.clone(), places: self.places.clone(), ..Table::empty(self.missing.clone()) };
        for (row, &line) in self.lines.iter().enumerate() {
            for column in 0..self.names.len() {
                let field = self.field(row, column).unwrap_or_default();
                let field = if column == filled && self.is_missing(field) { &with } else { field };
                table.push(field).map_err(|fault| Error::new("table", fault))?;
            }
            table.end_row(line);
        }
        Ok(table)
    }
    /// The text of a CSV file: separated by commas, in quotes where they are needed.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let text = "a,b\n\"x,y\",2\n";
    /// assert_eq!(Table::parse(text)?.to_csv(), text);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn to_csv(&self) -> String {
        let mut text = String::new();
        if !self.names.is_empty() {
            write_line(self.names.iter().map(String::as_str), &mut text);
        }
        for row in 0..self.len() {
            let fields = (0..self.names.len()).map(|column| self.field(row, column).unwrap_or_default());
            write_line(fields, &mut text);
        }
        text
    }
    /// Writes a CSV file, which is there whole or not at all.
    ///
    /// ```
    /// use chainrule::data::Table;
    /// let path = std::env::temp_dir().join("chainrule-table.csv");
    /// Table::parse("a\n1\n")?.save(&path)?;
    /// assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n1\n");
    /// # std::fs::remove_file(&path).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let place = Place::of("csv", path.as_ref());
        let text = self.to_csv();
        let written = atomic::write(path.as_ref(), |out| put(out, text.as_bytes()), |_| Ok(()));
        written.map_err(|fault| place.error(fault))
    }
}

fn number(field: &str) -> Option<f64> {
    field.trim().parse().ok()
}

/// Mean or median.
fn middle(mut numbers: Vec<f64>, mean: bool) -> Option<f64> {
    let count = numbers.len();
    if mean {
        // Each share is small where the sum might not be finite.
        return (count > 0).then(|| numbers.iter().map(|number| number / count as f64).sum());
    }
    sort_numbers(&mut numbers);
    let upper = *numbers.get(count / 2)?;
    let lower = if count.is_multiple_of(2) { *numbers.get(count / 2 - 1)? } else { upper };
    Some(lower / 2.0 + upper / 2.0)
}

/// One line for each column: its name, what it holds, how many values are missing, and the first one.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rows, {} columns", self.len(), self.names.len())?;
        let width = self.names.iter().map(|name| shown(name).chars().count()).max().unwrap_or(0);
        for name in &self.names {
            let (Ok(kind), Ok(missing)) = (self.kind(name), self.missing(name)) else { continue };
            let kind = if kind == Kind::Numbers { "numbers" } else { "texts  " };
            let first = self.text(0, name).map(shown).unwrap_or_default();
            writeln!(f, "{:width$}  {kind}  {missing:6} missing   {first}", shown(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let texts = ["", " x", "a,b", "line\nbreak", "\"", "é", "1;2", "\r"];
        let mut table = Table::empty(vec![]);
        table.name(vec!["\u{feff}one".into(), "t\"wo".into()]).expect("names");
        for row in texts.chunks(2) {
            row.iter().for_each(|text| table.push(text).expect("a field"));
            table.end_row(0);
        }
        let back = Csv::new().parse(table.to_csv()).expect("a table");
        assert_eq!(back.names(), table.names());
        assert_eq!((&back.text, &back.ends), (&table.text, &table.ends));
        let mut narrow = Table::empty(vec![]);
        narrow.name(vec!["only".into()]).expect("a name");
        for text in ["", "1", ""] {
            narrow.push(text).expect("a field");
            narrow.end_row(0);
        }
        assert_eq!(Csv::new().parse(narrow.to_csv()).expect("a table").texts("only").expect("texts"), ["", "1", ""]);
    }

    #[test]
    fn missing_values_are_counted_filled_and_refused() {
        let table = Table::parse("a,b,c\n1,x,\n,y,\n4,,\n7,x,\n").expect("a table");
        let counts: Vec<usize> = ["a", "b", "c"].map(|name| table.missing(name).expect("a count")).to_vec();
        assert_eq!(counts, [1, 1, 4]);
        assert!(table.numbers(["a"]).expect("numbers").to_vec::<f32>().expect("f32")[1].is_nan());
        let filled = |fill| table.filled("a", fill).expect("a table").text(1, "a").expect("a text").to_string();
        assert_eq!(
            [Fill::Mean, Fill::Median, Fill::Number(0.5), Fill::Text("?".into())].map(filled),
            ["4", "4", "0.5", "?"]
        );
        assert!(table.filled("c", Fill::Mean).expect_err("no numbers").what().contains("no numbers"));
        let error = table.categories("b").expect_err("one is missing");
        assert_eq!(error.what(), "line 4, column \"b\": \"\" is missing");
        assert_eq!(table.without_missing(["a", "b"]).expect("a table").len(), 2);
        let error = table.categories_among("b", &["x"]).expect_err("y");
        assert!(error.what().contains("\"y\" is none"), "{error}");
        assert!(table.numbers(["nope"]).expect_err("no column").help().contains("\"a\", \"b\", \"c\""));
        assert!(format!("{table:?}").contains("numbers       1 missing"), "{table:?}");
        assert!(table.text(9, "a").is_err());
    }
}
