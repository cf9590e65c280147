//! The pictures of the course (`docs/course`), each computed by this crate: checks that those in the repository are what the
//! code makes, or draws them again.
//!
//! ```text
//! cargo run --example 19_course_pictures
//! cargo run --example 19_course_pictures -- --write
//! ```
//!
//! A chapter shows a picture by `![what it shows][name]` and ends with `[name]: images/name.svg`, which is for readers of the file.
//! Its page in the documentation has no such file beside it: `images/NN_chapter.md`, written here too, holds the same pictures as
//! data, and `src/course.rs` puts that before the chapter.
//!
//! It prints:
//!
//! ```text
//! 37 pictures are what the code makes
//! ```

mod craft;
mod curve;
mod drawing;
mod graph;
mod inside;
mod judgement;
mod learning;
mod networks;
mod recurrence;

use chainrule::Result;
use chainrule::device::{SimdLevel, force_simd_level};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, process};

/// A picture of a chapter.
struct Shown {
    /// The chapter's file without its ending: `03_chain_rule`.
    chapter: &'static str,
    name: &'static str,
    svg: String,
}

/// No picture has more bytes.
const MOST: usize = 30_000;

fn main() -> Result<()> {
    // The last bits depend on the instruction set, and so might a tenth of a pixel: every machine can do this one.
    force_simd_level(SimdLevel::Portable).map_err(|fault| chainrule::Error::new("course", fault))?;
    let mut shown = learning::pictures()?;
    shown.extend(networks::pictures()?);
    shown.extend(recurrence::pictures()?);
    shown.extend(craft::pictures()?);
    shown.extend(judgement::pictures()?);
    shown.extend(inside::pictures()?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/course/images");
    let files = files(&shown);
    if std::env::args().any(|argument| argument == "--write") {
        for (name, text) in &files {
            let path = folder.join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    let mut wrong = differences(&folder, &files);
    for picture in &shown {
        wrong.extend(missing(&folder, picture));
    }
    if wrong.is_empty() {
        println!("{} pictures are what the code makes", shown.len());
        return Ok(());
    }
    for line in wrong {
        eprintln!("{line}");
    }
    process::exit(1)
}

/// Every file of the folder: the pictures, and for each chapter the same ones as data.
fn files(shown: &[Shown]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for picture in shown {
        let Shown { chapter, name, svg } = picture;
        let definitions: &mut String = files.entry(format!("{chapter}.md")).or_default();
        let _ = writeln!(definitions, "[{name}]: data:image/svg+xml;base64,{}", base64(svg.as_bytes()));
        files.insert(format!("{name}.svg"), svg.clone());
    }
    files
}

/// Where the folder is not what the code makes.
fn differences(folder: &Path, files: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, text) in files {
        let write = "cargo run --example 19_course_pictures -- --write";
        match fs::read_to_string(folder.join(name)) {
            Ok(there) if there == *text => {}
            Ok(_) => wrong.push(format!("{name} is no longer what the code makes: {write}")),
            Err(error) => wrong.push(format!("{name}: {error}: {write}")),
        }
        if name.ends_with(".svg") && text.len() > MOST {
            wrong.push(format!("{name} has {} bytes, more than {MOST}", text.len()));
        }
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for name in entries.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        if !files.contains_key(&name) {
            wrong.push(format!("{name} is made by no code"));
        }
    }
    wrong
}

/// What a chapter lacks of a picture: the place where it is shown, or the file's path at its end.
fn missing(folder: &Path, picture: &Shown) -> Vec<String> {
    let path: PathBuf = folder.join(format!("../{}.md", picture.chapter));
    let text = fs::read_to_string(path).unwrap_or_default();
    let name = picture.name;
    [format!("][{name}]"), format!("\n[{name}]: images/{name}.svg\n")]
        .into_iter()
        .filter(|wanted| !text.contains(wanted))
        .map(|wanted| format!("{}.md lacks {:?}", picture.chapter, wanted.trim()))
        .collect()
}

/// Three bytes become four letters of six bits each.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
