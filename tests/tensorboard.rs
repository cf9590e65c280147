//! Event files are read back by a reader of our own, and by TensorBoard where Python has it.
#![cfg(feature = "tensorboard")]

use chainrule::data::{Batch, Examples, Loader};
use chainrule::nn::{Init, Linear};
use chainrule::optim::Sgd;
use chainrule::train::{EventFile, Progress, Trainer};
use chainrule::{ErrorKind, Result, Tensor, mse_loss};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("chainrule-events-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A field of a message: a whole number, eight or four bytes, or bytes.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Whole(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(Vec<u8>),
}

impl Field {
    fn bytes(&self) -> &[u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            other => panic!("{other:?} is not bytes"),
        }
    }
    fn fields(&self) -> BTreeMap<u64, Vec<Field>> {
        fields(self.bytes())
    }
    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
    fn number(&self) -> f64 {
        match self {
            Field::Whole(number) => *number as f64,
            Field::Eight(bytes) => f64::from_le_bytes(*bytes),
            Field::Four(bytes) => f32::from_le_bytes(*bytes) as f64,
            Field::Bytes(_) => panic!("bytes are no number"),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        self.bytes().chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Field>> {
    let mut found: BTreeMap<u64, Vec<Field>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Whole(varint(&mut bytes)),
            1 => Field::Eight(take(&mut bytes, 8).try_into().unwrap()),
            2 => {
                let length = varint(&mut bytes) as usize;
                Field::Bytes(take(&mut bytes, length).to_vec())
            }
            5 => Field::Four(take(&mut bytes, 4).try_into().unwrap()),
            kind => panic!("kind {kind}"),
        };
        found.entry(key >> 3).or_default().push(field);
    }
    found
}

/// CRC-32C by a table, masked.
fn masked(bytes: &[u8]) -> u32 {
    let table: Vec<u32> =
        (0..256u32).map(|n| (0..8).fold(n, |c, _| if c & 1 == 1 { c >> 1 ^ 0x82f63b78 } else { c >> 1 })).collect();
    let sum = !bytes.iter().fold(!0u32, |sum, byte| table[(sum as u8 ^ byte) as usize] ^ sum >> 8);
    sum.rotate_right(15).wrapping_add(0xa282ead8)
}

/// The events of a file, their checksums checked.
fn events(path: &Path) -> Vec<BTreeMap<u64, Vec<Field>>> {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut found) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let length = take(&mut rest, 8);
        assert_eq!(take(&mut rest, 4), masked(length).to_le_bytes());
        let event = take(&mut rest, u64::from_le_bytes(length.try_into().unwrap()) as usize);
        assert_eq!(take(&mut rest, 4), masked(event).to_le_bytes());
        found.push(fields(event));
    }
    found
}

/// Step, tag and value of a summary.
fn value(event: &BTreeMap<u64, Vec<Field>>) -> (u64, String, BTreeMap<u64, Vec<Field>>) {
    let value = event[&5][0].fields()[&1][0].fields();
    (event[&2][0].number() as u64, value[&1][0].text(), value)
}

fn write_all(folder: &Path) -> Result<PathBuf> {
    let mut file = EventFile::create(folder)?;
    file.scalar("loss", 300, 0.125)?;
    file.text("notes", 1, "**first** try \u{e9}")?;
    let numbers = Tensor::from([-2.0, -0.5, 0.0, 0.5, 0.5, 3.0, f32::NAN, f32::INFINITY]);
    file.histogram("weight", 2, &numbers)?;
    file.histogram("none", 2, &Tensor::zeros([0]))?;
    let image = Tensor::linspace(0.0, 1.0, 3 * 5 * 7).reshape([3, 5, 7]);
    file.image("picture", 3, &image)?;
    file.image("grey", 3, &(Tensor::ones([4, 6]) * 0.5))?;
    file.flush()?;
    Ok(file.path().to_path_buf())
}

#[test]
fn what_is_written_is_read_back() -> Result<()> {
    let folder = Folder::new("all");
    let events = events(&write_all(&folder.0)?);
    assert_eq!(events.len(), 7);
    assert_eq!(events[0][&3][0].text(), "brain.Event:2");
    assert!(events[0][&1][0].number() > 1.6e9);
    let (step, tag, loss) = value(&events[1]);
    assert_eq!((step, tag.as_str(), loss[&2][0].number()), (300, "loss", 0.125));
    let (_, tag, text) = value(&events[2]);
    assert_eq!((tag.as_str(), text[&8][0].fields()[&8][0].text()), ("notes", "**first** try \u{e9}".to_string()));
    let (_, tag, weight) = value(&events[3]);
    let histogram = weight[&5][0].fields();
    let single = |field| histogram[&field][0].number();
    assert_eq!((tag.as_str(), single(1), single(2), single(3), single(4)), ("weight", -2.0, 3.0, 6.0, 1.5));
    assert_eq!(single(5), 4.0 + 0.25 + 0.5 + 9.0);
    let (limits, counts) = (histogram[&6][0].numbers(), histogram[&7][0].numbers());
    assert_eq!((limits.len(), counts.iter().sum::<f64>()), (counts.len(), 6.0));
    assert!(limits.is_sorted() && counts[0] == 1.0 && *counts.last().unwrap() == 1.0);
    // Each number lies in the bucket whose limit it does not pass.
    let of = |number: f64| counts[limits.iter().position(|limit| number <= *limit).unwrap()];
    assert_eq!([-2.0, -0.5, 0.0, 0.5, 3.0].map(of), [1.0, 1.0, 1.0, 2.0, 1.0]);
    let (_, tag, picture) = value(&events[5]);
    let image = picture[&4][0].fields();
    assert_eq!((tag.as_str(), [1, 2, 3].map(|field| image[&field][0].number())), ("picture", [5.0, 7.0, 3.0]));
    assert!(image[&4][0].bytes().starts_with(b"\x89PNG\r\n\x1a\n"));

    let mut file = EventFile::create(&folder.0)?;
    for sizes in [vec![], vec![3], vec![2, 4, 4], vec![0, 4], vec![1, 1, 1, 1]] {
        assert_eq!(file.image("x", 0, &Tensor::zeros(sizes)).unwrap_err().kind(), ErrorKind::Shape);
    }
    let failed = Tensor::zeros([2]) + Tensor::zeros([3]);
    assert_eq!(file.histogram("x", 0, &failed).unwrap_err().operation(), "add");
    fs::write(folder.0.join("file"), "?").unwrap();
    assert_eq!(EventFile::create(folder.0.join("file")).map(drop).unwrap_err().kind(), ErrorKind::Io);
    Ok(())
}

#[test]
fn a_training_is_told_step_by_step() -> Result<()> {
    let folder = Folder::new("training");
    let loader = Loader::new(Examples::new(&Tensor::ones([8, 2]), &Tensor::ones([8, 1]))?, 4);
    let mut model = Linear::new(2, 1, &mut Init::new().seed(1));
    let mut trainer: Trainer<Linear, Batch> = Trainer::supervised(mse_loss);
    trainer = trainer.with_epochs(2).with_progress(Progress::Quiet).with_tensorboard(&folder.0);
    let history = trainer.fit(&mut model, &mut Sgd::new(0.1), &loader)?;
    let file = fs::read_dir(&folder.0).unwrap().next().unwrap().unwrap().path();
    let events = events(&file);
    assert_eq!(events[1][&7][0].fields()[&1][0], Field::Whole(1));
    let told: Vec<(u64, String, f64)> =
        events[2..].iter().map(value).map(|(step, tag, value)| (step, tag, value[&2][0].number())).collect();
    let losses: Vec<f64> = told.iter().filter(|(_, tag, _)| tag == "step/loss").map(|(.., loss)| *loss).collect();
    assert_eq!(losses, history.steps().iter().map(|(_, loss)| *loss as f32 as f64).collect::<Vec<f64>>());
    let epochs: Vec<u64> = told.iter().filter(|(_, tag, _)| tag == "epoch/loss").map(|(step, ..)| *step).collect();
    assert_eq!(epochs, [2, 4]);
    Ok(())
}

const READER: &str = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'tensors': 0, 'images': 0, 'histograms': 0, 'scalars': 0})
events.Reload()
tags = events.Tags()
print(sorted(tags['scalars']), sorted(tags['histograms']), sorted(tags['images']), sorted(tags['tensors']))
loss = events.Scalars('loss')[0]
print(loss.step, loss.value)
weight = events.Histograms('weight')[0].histogram_value
print(weight.min, weight.max, weight.num, sum(weight.bucket))
image = events.Images('picture')[0]
print(image.width, image.height)
tensor = events.Tensors('notes')[0].tensor_proto
print(tensor.string_val[0].decode())
";

/// The Python that has TensorBoard: the one of `CHAINRULE_PYTHON`, or the system's.
#[test]
fn tensorboard_reads_it() -> Result<()> {
    let python = std::env::var("CHAINRULE_PYTHON").unwrap_or("python3".to_string());
    let has_it = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no tensorboard");
        return Ok(());
    }
    let folder = Folder::new("python");
    write_all(&folder.0)?;
    let output = Command::new(&python).args(["-c", READER]).arg(&folder.0).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let expected = "['loss'] ['none', 'weight'] ['grey', 'picture'] ['notes']
300 0.125
-2.0 3.0 6.0 6.0
7 5
**first** try \u{e9}
";
    assert_eq!(said, expected, "{errors}");
    Ok(())
}
