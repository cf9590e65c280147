//! The house keeps its order: floors, lengths of files, where `unsafe` may stand, and what no file may say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Floors from the lowest up; a folder uses only folders before it, and `error`.
const FLOORS: &[&str] = &[
    "error", "layout", "formula", "device", "tensor", "ops", "nn", "loss", "optim", "io", "data", "explain", "train",
    "course",
];
/// No file has more lines of code than this, and most have fewer than `USUAL`.
const LONGEST: usize = 700;
const USUAL: usize = 400;
/// Promises, and names of what a file is not about.
const BANNED: &[&str] = &["todo", "fixme", "xxx", "blazing"];

struct File {
    /// From the crate's folder, with forward slashes.
    path: String,
    text: String,
    code: Vec<(usize, String)>,
}

impl File {
    fn floor(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs"))
    }
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files of some folders; those named `tests.rs` hold the tests of the module beside them.
fn files(folders: &[&str]) -> Vec<File> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| home().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(place) = open.pop() {
        if place.is_dir() {
            open.extend(
                fs::read_dir(&place).expect("a folder is readable").map(|entry| entry.expect("an entry").path()),
            );
        } else if place.extension().is_some_and(|end| end == "rs") && !place.ends_with("tests.rs") {
            let path = place.strip_prefix(home()).expect("it is ours").to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&place).expect("a source file is text");
            let code = code(&text);
            found.push(File { path, text, code });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The lines that are code, with their numbers: no comments, no docs, and nothing of a `#[cfg(test)]` item.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut in_block = false;
    // Inside an item under `#[cfg(test)]`: the depth of braces, once the first has opened.
    let mut test: Option<(i32, bool)> = None;
    for (number, line) in text.lines().enumerate() {
        let mut kept = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            if in_block {
                match rest.find("*/") {
                    Some(end) => (in_block, rest) = (false, &rest[end + 2..]),
                    None => rest = "",
                }
            } else {
                let (comment, block) = (find_outside_text(rest, "//"), find_outside_text(rest, "/*"));
                match (comment, block) {
                    (Some(c), b) if b.is_none_or(|b| c < b) => {
                        kept.push_str(&rest[..c]);
                        rest = "";
                    }
                    (_, Some(b)) => {
                        kept.push_str(&rest[..b]);
                        (in_block, rest) = (true, &rest[b + 2..]);
                    }
                    _ => {
                        kept.push_str(rest);
                        rest = "";
                    }
                }
            }
        }
        let kept = kept.trim().to_string();
        if test.is_none() && kept.starts_with("#[cfg(test)]") {
            test = Some((0, false));
        }
        if let Some((depth, opened)) = &mut test {
            let bare = without_text(&kept);
            *depth += bare.matches('{').count() as i32 - bare.matches('}').count() as i32;
            *opened |= bare.contains('{');
            if *opened && *depth <= 0 || !*opened && bare.ends_with(';') {
                test = None;
            }
        } else if !kept.is_empty() {
            lines.push((number + 1, kept));
        }
    }
    lines
}

/// Where `what` stands outside of a text in quotes.
fn find_outside_text(line: &str, what: &str) -> Option<usize> {
    without_text(line).find(what)
}

/// The line with what stands in quotes blanked out, byte for byte.
fn without_text(line: &str) -> String {
    let mut bytes = line.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => {
                bytes[at + 1] = b' ';
                at += 2;
            }
            b'\'' if bytes.get(at + 1) == Some(&b'\\') && bytes.get(at + 3) == Some(&b'\'') => {
                (bytes[at + 1], bytes[at + 2]) = (b' ', b' ');
                at += 3;
            }
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    if bytes[at] == b'\\' && at + 1 < bytes.len() {
                        bytes[at] = b' ';
                        at += 1;
                    }
                    bytes[at] = b' ';
                    at += 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn report(lines: Vec<String>) {
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn a_folder_uses_only_floors_below_it() {
    let mut lines = Vec::new();
    let all = files(&["src"]);
    let exported = exported(&all.iter().find(|file| file.path == "src/lib.rs").expect("the crate has a root").code);
    for file in all {
        let floor = file.floor().unwrap_or_default().to_string();
        if floor == "lib" {
            continue;
        }
        let Some(height) = FLOORS.iter().position(|name| *name == floor) else {
            lines.push(format!(
                "{}: {floor} is no floor of the house; the floors are {}",
                file.path,
                FLOORS.join(", ")
            ));
            continue;
        };
        for (number, line) in &file.code {
            for used in used_floors(line) {
                let used = exported.get(&used).unwrap_or(&used);
                if FLOORS.iter().position(|name| name == used).is_some_and(|other| other > height) {
                    lines.push(format!("{}:{number}: src/{floor} may not use src/{used}", file.path));
                }
            }
        }
    }
    report(lines);
}

/// What the root gives out under a shorter name, `crate::Tensor`, and the floor it comes from.
fn exported(root: &[(usize, String)]) -> BTreeMap<String, String> {
    let text: String = root.iter().map(|(_, line)| line.as_str()).collect();
    let mut found = BTreeMap::new();
    for list in text.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        let Some((floor, names)) = list.split_once("::") else { continue };
        for name in names.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty()) {
            found.insert(name.to_string(), floor.to_string());
        }
    }
    found
}

/// The floors named by the `crate::` and `$crate::` paths of a line, lists in braces too.
fn used_floors(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').map(|item| word(item.trim()))),
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn files_are_short() {
    let mut lines = Vec::new();
    let all = files(&["src", "tests", "benches", "examples"]);
    let long: Vec<&File> = all.iter().filter(|file| file.code.len() > USUAL).collect();
    for file in all.iter().filter(|file| file.code.len() > LONGEST) {
        lines.push(format!(
            "{} has {} lines of code, more than {LONGEST}: tell two stories in two files",
            file.path,
            file.code.len()
        ));
    }
    if long.len() * 10 > all.len() {
        let names: Vec<String> = long.iter().map(|file| format!("{} ({})", file.path, file.code.len())).collect();
        lines.push(format!(
            "{} of {} files have more than {USUAL} lines of code: {}",
            long.len(),
            all.len(),
            names.join(", ")
        ));
    }
    report(lines);
}

#[test]
fn unsafe_stands_under_device_only() {
    let mut lines = Vec::new();
    for file in files(&["src", "examples", "tests"]) {
        // A counting allocator and a library opened by name cannot be written without.
        let exempt = ["tests/architecture.rs", "tests/common/allocator.rs", "tests/emulator/call.rs"]
            .contains(&file.path.as_str());
        if file.path.starts_with("src/device/") || exempt {
            continue;
        }
        for (number, line) in &file.code {
            let bare = without_text(line);
            let mut words = bare.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == "unsafe") {
                lines.push(format!("{}:{number}: unsafe may stand under src/device only", file.path));
            }
        }
    }
    report(lines);
}

#[test]
fn a_file_begins_with_what_it_is() {
    let mut lines = Vec::new();
    for file in files(&["src", "tests", "benches", "examples"]) {
        if !file.text.starts_with("//! ") {
            lines.push(format!("{}: begins without a sentence on what it is", file.path));
        }
    }
    report(lines);
}

#[test]
fn no_file_says_what_it_should_not() {
    let mut lines = Vec::new();
    for file in files(&["src", "tests", "benches", "examples"]) {
        if file.path == "tests/architecture.rs" {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
            for banned in BANNED.iter().filter(|banned| words.contains(banned)) {
                lines.push(format!("{}:{}: says {banned:?}", file.path, number + 1));
            }
        }
    }
    report(lines);
}

/// The reader of sources is itself held to an example, so that the checks above can fail.
#[test]
fn the_reader_of_sources_can_tell_code_from_the_rest() {
    let text = "//! A file.\nuse crate::{ops::x, error}; // crate::nn\nlet a = \"// no comment { \"; /* crate::nn\n */ b();\n\
                #[cfg(test)]\nmod tests {\n    use crate::train;\n}\nlet c = '{';\n";
    let code = code(text);
    let lines: Vec<usize> = code.iter().map(|(number, _)| *number).collect();
    assert_eq!(lines, [2, 3, 4, 9]);
    assert_eq!(used_floors(&code[0].1), ["ops", "error"]);
    assert_eq!(used_floors("$crate::device::Value"), ["device"]);
    let root = [(1, "pub use tensor::{Tensor, jvp};".to_string()), (2, "pub use error::Fault;".to_string())];
    assert_eq!(exported(&root)["jvp"], "tensor");
    assert_eq!(exported(&root)["Fault"], "error");
    let floors: BTreeMap<&str, usize> = FLOORS.iter().enumerate().map(|(height, name)| (*name, height)).collect();
    assert!(floors["device"] < floors["ops"]);
}
