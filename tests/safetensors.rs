//! The safetensors format, held against the reference reader and writer, and against files that break its rules.

use chainrule::io::{Tensors, safetensors as ours};
use chainrule::{DType, ErrorKind, Tensor};
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::path::PathBuf;

/// A file of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("chainrule-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn all_kinds() -> Vec<(String, Tensor)> {
    let numbers = Tensor::from([[0.0, 1.0, -2.5], [3.0, 100.0, 1e-3]]);
    let kinds = [DType::Bool, DType::U8, DType::F16, DType::BF16, DType::I32, DType::F32, DType::I64, DType::F64];
    let mut tensors: Vec<_> = kinds.iter().map(|&kind| (format!("x.{kind}"), numbers.to_dtype(kind))).collect();
    tensors.push(("empty".into(), Tensor::zeros([3, 0, 2])));
    tensors.push(("single \"quoted\" \u{e9}".into(), Tensor::scalar(7.0)));
    tensors.push(("view".into(), numbers.t()));
    tensors
}

#[test]
fn every_element_type_comes_back() {
    let tensors = all_kinds();
    let bytes = ours::to_bytes(tensors.iter().map(|(name, tensor)| (name, tensor))).unwrap();
    let back = ours::from_bytes(&bytes).unwrap();
    assert!(back.names().eq(tensors.iter().map(|(name, _)| name.as_str())), "the order is kept");
    for (name, tensor) in &tensors {
        assert_eq!(back.get(name).unwrap(), tensor, "{name}");
    }
}

#[test]
fn the_reference_reader_reads_what_we_write() {
    let tensors = all_kinds();
    let bytes = ours::to_bytes(tensors.iter().map(|(name, tensor)| (name, tensor))).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), tensors.len());
    for (name, tensor) in &tensors {
        let view = read.tensor(name).unwrap();
        assert_eq!(view.shape(), &tensor.shape().unwrap()[..]);
        let from_start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(from_start % tensor.dtype().unwrap().size(), 0, "{name} is not aligned");
        if tensor.dtype().unwrap() == DType::F32 {
            let numbers: Vec<u8> = tensor.to_vec::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(view.data(), numbers);
        }
    }
}

#[test]
fn we_read_what_the_reference_writer_writes() {
    let floats: Vec<u8> = [1.5f32, -2.0, f32::NAN, f32::INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
    let shorts: Vec<u8> = [-300i16, 300].iter().flat_map(|x| x.to_le_bytes()).collect();
    let tiny = [0x38u8, 0xb8];
    let views = [
        ("floats", TensorView::new(Dtype::F32, vec![2, 2], &floats).unwrap()),
        ("shorts", TensorView::new(Dtype::I16, vec![2], &shorts).unwrap()),
        ("tiny", TensorView::new(Dtype::F8_E4M3, vec![2], &tiny).unwrap()),
    ];
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
    let tensors = ours::from_bytes(&bytes).unwrap();
    let numbers = tensors.get("floats").unwrap().to_vec::<f32>().unwrap();
    assert!(numbers.iter().flat_map(|x| x.to_le_bytes()).eq(floats.iter().copied()), "bit for bit, NaN too");
    assert_eq!(tensors.get("shorts").unwrap(), &Tensor::new([-300i32, 300]));
    assert_eq!(tensors.get("tiny").unwrap(), &Tensor::from([1.0, -1.0]));
    assert_eq!(tensors.metadata()["format"], "pt");
}

/// The reference files, where they are at hand: read, written and read again, each tensor with the bytes it had.
#[test]
fn reference_files_make_the_round_trip() {
    let folder = std::env::var("CHAINRULE_REFERENCE").unwrap_or_else(|_| "../shared/reference".into());
    let mut files = vec![PathBuf::from("tests/reference_excerpt/excerpt.safetensors")];
    for part in ["models", "cases", "minilm"] {
        let Ok(entries) = fs::read_dir(format!("{folder}/{part}")) else { continue };
        files.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|end| end == "safetensors")),
        );
    }
    let scratch = Scratch::new("round.safetensors");
    for path in &files {
        let tensors = ours::load(path).unwrap();
        tensors.save(&scratch.0).unwrap();
        let (before, after) = (fs::read(path).unwrap(), fs::read(&scratch.0).unwrap());
        let before = safetensors::SafeTensors::deserialize(&before).unwrap();
        let after = safetensors::SafeTensors::deserialize(&after).unwrap();
        assert!(!before.is_empty() && before.len() == after.len(), "{path:?}");
        for (name, view) in before.tensors() {
            let other = after.tensor(&name).unwrap();
            assert!(view.dtype() == other.dtype() && view.shape() == other.shape(), "{path:?} {name}");
            assert!(view.data() == other.data(), "{path:?} {name}: other bytes");
        }
        let file = ours::open(path).unwrap();
        assert!(file.names().eq(tensors.names()) && file.metadata() == tensors.metadata());
        if let Some((name, tensor)) = tensors.iter().last() {
            assert_eq!(file.shape(name).unwrap(), tensor.shape().unwrap());
            assert_eq!(file.read(name).unwrap().to_vec::<f64>().unwrap().len(), tensor.count().unwrap());
        }
    }
}

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(std::iter::repeat_n(1, data));
    bytes
}

fn entry(name: &str, kind: &str, shape: &str, start: u64, end: u64) -> String {
    format!("\"{name}\":{{\"dtype\":\"{kind}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
}

#[test]
fn files_that_break_the_rules_are_refused_with_words() {
    let one = |kind: &str, shape: &str, start, end| format!("{{{}}}", entry("x", kind, shape, start, end));
    let two = |a: String, b: String| format!("{{{a},{b}}}");
    let huge = u64::MAX / 2;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "too few"),
        ("a header longer than the file", (1000u64).to_le_bytes().to_vec(), "the header should have 1000 bytes"),
        ("a header of all bytes", u64::MAX.to_le_bytes().to_vec(), "the header should have"),
        ("no object", file("[]", 0), "does not begin"),
        ("white space first", file(" {}", 0), "does not begin"),
        ("text after the header", file("{}{}", 0), "the end was expected"),
        ("bytes nobody owns", file("{}", 4), "the tensors end"),
        ("cut", file(&one("F32", "[2]", 0, 8), 7), "the tensors end"),
        ("a gap at the start", file(&one("F32", "[1]", 4, 8), 8), "gap"),
        ("overlap", file(&two(entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12)), 12), "overlap"),
        ("the same bytes", file(&two(entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 0, 8)), 8), "overlap"),
        ("a gap", file(&two(entry("a", "U8", "[1]", 0, 1), entry("b", "U8", "[1]", 2, 3)), 3), "gap"),
        ("backward", file(&one("F32", "[1]", 8, 4), 8), "needs 4"),
        ("too many bytes", file(&one("F32", "[1]", 0, 8), 8), "needs 4"),
        ("a wrong element type", file(&one("F64", "[1]", 0, 4), 4), "needs 8"),
        ("an unknown element type", file(&one("C64", "[1]", 0, 8), 8), "C64"),
        ("twice the same name", file(&two(entry("a", "U8", "[1]", 0, 1), entry("a", "U8", "[1]", 1, 2)), 2), "twice"),
        ("sizes that overflow", file(&one("F32", "[4294967296,4294967296]", 0, 0), 0), "more elements"),
        ("sizes hidden by a zero", file(&one("F32", "[0,4611686018427387904,4]", 0, 0), 0), "more elements"),
        ("offsets that overflow", file(&one("U8", "[1]", huge, huge + 1), 1), "expected at byte"),
        ("more sizes than axes", file(&one("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1), 1), "more than 8"),
        ("three offsets", file("{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1), "more than 2"),
        ("one offset", file("{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1), "lacks"),
        ("a negative size", file(&one("U8", "[-1]", 0, 1), 1), "whole number"),
        ("half a size", file(&one("U8", "[1.5]", 0, 1), 1), "whole number"),
        ("no shape", file("{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1), "lacks"),
        (
            "two shapes",
            file("{\"x\":{\"shape\":[1],\"shape\":[1],\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1),
            "two shape",
        ),
        ("metadata that are no texts", file("{\"__metadata__\":{\"a\":1}}", 0), "a text was expected"),
        ("deep", file(&format!("{{\"x\":{{\"y\":{}", "[".repeat(5000)), 0), "deep"),
    ];
    for (what, bytes, words) in cases {
        let error = ours::from_bytes(&bytes).map(|_| ()).expect_err(what);
        assert!(error.to_string().contains(words), "{what}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Memory), "{what}: {error}");
        assert!(error.location().file().contains("tests"), "{what}: {error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let tensors = all_kinds();
    let bytes = ours::to_bytes(tensors.iter().map(|(name, tensor)| (name, tensor))).unwrap();
    for length in 0..bytes.len() {
        assert!(ours::from_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn wrong_calls_are_errors_that_name_the_file() {
    let nowhere = std::env::temp_dir().join("chainrule-no-such-folder").join("x.safetensors");
    for error in [
        ours::load(&nowhere).unwrap_err(),
        ours::open(&nowhere).unwrap_err(),
        ours::save(&nowhere, [("x", Tensor::zeros([1]))]).unwrap_err(),
        ours::load(std::env::temp_dir()).unwrap_err(),
        ours::save(std::env::temp_dir(), [("x", Tensor::zeros([1]))]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(std::env::temp_dir().to_str().unwrap()), "{error}");
    }
    let failed = Tensor::zeros([2]) + Tensor::zeros([3]);
    assert_eq!(ours::to_bytes([("x", failed)]).unwrap_err().operation(), "add");
    assert!(ours::to_bytes([("x", Tensor::zeros([1])), ("x", Tensor::zeros([1]))]).is_err());
    assert!(ours::to_bytes([("__metadata__", Tensor::zeros([1]))]).is_err());
}

#[test]
fn tensors_keep_order_and_can_be_renamed() {
    let mut tensors = Tensors::new();
    for name in ["model.b", "model.a", "step"] {
        tensors.insert(name, Tensor::scalar(1.0)).unwrap();
    }
    assert!(tensors.insert("step", Tensor::scalar(2.0)).is_err());
    assert_eq!(tensors.get("step").unwrap().item().unwrap(), 1.0);
    assert!(tensors.under("model.").names().eq(["b", "a"]));
    assert!(tensors.renamed(|_| Some("x".into())).is_err());
    let error = tensors.get("modell.a").unwrap_err().to_string();
    assert!(error.contains("model.a") && error.contains("tests"), "{error}");
}
