//! Files bent in a thousand ways: no panic, no hang, no more memory than their size explains.
//!
//! A run of some seconds by default; `CHAINRULE_FUZZ=1000000 cargo test --test hostile_files` bends so many files of each
//! format. At least a third must get past the outer structure, or the test fails: bending only headers finds nothing.

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/archive.rs"]
mod archive;
#[path = "common/bend.rs"]
mod bend;
#[allow(dead_code)]
#[path = "../src/io/checksum.rs"]
mod checksum;
#[path = "common/guard.rs"]
mod guard;

use allocator::{Counting, most_during};
use archive::{unzip, zip};
use bend::{Random, Read, bend, bend_words, hold};
use chainrule::io::{Tensors, checkpoint, npy, npz, pytorch, safetensors};
use chainrule::{DType, Error, State, Tensor};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn look(tensors: Tensors) {
    for (_, tensor) in &tensors {
        if tensor.count().unwrap() < 1 << 16 {
            let numbers = tensor.to_vec::<f64>().unwrap();
            assert_eq!(numbers.len(), tensor.count().unwrap());
        }
    }
}

fn some_tensors() -> Vec<(String, Tensor)> {
    let numbers = Tensor::from([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
    let kinds = [DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U8, DType::Bool];
    let mut tensors: Vec<_> = kinds.iter().map(|&kind| (format!("layer.{kind}"), numbers.to_dtype(kind))).collect();
    tensors.push(("empty".to_string(), Tensor::zeros([0, 4])));
    tensors
}

const SAFETENSORS_WORDS: &[&str] = &[
    "F64",
    "F32",
    "BF16",
    "F16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U16",
    "U8",
    "BOOL",
    "F8_E4M3",
    "F8_E5M2",
    "F4",
    "dtype",
    "shape",
    "data_offsets",
    "__metadata__",
    "layer.f32",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "[]",
    "{}",
    "null",
    "\\u0041",
];

/// Splits a safetensors file, changes its header or its numbers, and puts it together with the right length.
fn bend_safetensors(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (mut header, mut data) = (file[8..8 + size].to_vec(), file[8 + size..].to_vec());
    match random.below(8) {
        0 => {
            bend(random, &mut file);
            return file;
        }
        1 => bend(random, &mut header),
        2 => bend(random, &mut data),
        3 => data.truncate(random.below(data.len())),
        _ => bend_words(random, &mut header, SAFETENSORS_WORDS),
    }
    file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}

#[test]
fn safetensors_files() {
    let mut tensors = Tensors::new();
    some_tensors().into_iter().for_each(|(name, tensor)| tensors.insert(name, tensor).unwrap());
    let plain = tensors.to_bytes().unwrap();
    tensors.metadata_mut().insert("format".into(), "pt".into());
    hold(
        "safetensors",
        vec![plain, tensors.to_bytes().unwrap()],
        bend_safetensors,
        |bytes| safetensors::from_bytes(bytes).map(look).err(),
        |error| ["JSON", "header", "too few"].iter().any(|words| error.contains(words)),
    );
}

/// As a safetensors file, with the checksum mended most of the time.
fn bend_checkpoint(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let words =
        [SAFETENSORS_WORDS, &["tree", "tensor", "number", "true", "1.5", "\\\"", "\"a\"", "[[[[", "a.0"]].concat();
    let mut file = file.to_vec();
    let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    if random.below(3) > 0 {
        let mut header = file[8..8 + size].to_vec();
        bend_words(random, &mut header, &words);
        file = [&(header.len() as u64).to_le_bytes()[..], &header, &file[8 + size..]].concat();
    } else {
        file = bend_safetensors(random, &file);
    }
    let mark = b"\"checksum\":\"";
    if let Some(at) = file.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len())
        && file.len() >= at + 16
        && random.below(8) > 0
    {
        file[at..at + 16].fill(b'0');
        let mut sum = checksum::Checksum::new();
        sum.take(&file);
        file[at..at + 16].copy_from_slice(format!("{:016x}", sum.sum()).as_bytes());
    }
    file
}

#[test]
fn checkpoint_files() {
    let tensors = some_tensors().into_iter().map(|(name, tensor)| (name, State::Tensor(tensor))).collect();
    let list =
        State::List(vec![State::Flag(true), State::Number(f64::NAN), State::Number(0.5), State::Text("a".into())]);
    let state = State::Tree(BTreeMap::from([
        ("model".to_string(), State::Tree(tensors)),
        ("a".to_string(), State::List(vec![State::Tensor(Tensor::from([1, 2])), list])),
        ("step".to_string(), State::Integer(3)),
    ]));
    let path = std::env::temp_dir().join(format!("chainrule-hostile-{}.checkpoint", std::process::id()));
    checkpoint::save(&path, &state).unwrap();
    let seed = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let read: Read = |bytes| match checkpoint::from_bytes(bytes) {
        Ok(state) => {
            // Two tensors may have one path in a tree that was bent: that is an error too.
            Tensors::from_state(&state).map(look).ok();
            None
        }
        Err(error) => Some(error),
    };
    hold("checkpoint", vec![seed], bend_checkpoint, read, |error| {
        ["JSON", "header", "too few", "checksum", "not a checkpoint"].iter().any(|words| error.contains(words))
    });
}

const NPY_WORDS: &[&str] = &[
    "<f8",
    "<f4",
    ">f4",
    "<f2",
    "|b1",
    "|u1",
    "<i8",
    ">i2",
    "<u4",
    "<u8",
    "|i1",
    "|O",
    "<U3",
    "<c8",
    "True",
    "False",
    "descr",
    "shape",
    "fortran_order",
    "(",
    ")",
    ",",
    "(2, 3)",
    "(6,)",
    "()",
    "'",
    "{",
    "}",
    "[('a', '<f4')]",
];

fn bend_npy(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let size = u16::from_le_bytes([file[8], file[9]]) as usize;
    match random.below(8) {
        0 => bend(random, &mut file),
        1 | 2 => {
            let mut data = file.split_off(10 + size);
            bend(random, &mut data);
            file.extend(data);
        }
        _ => {
            let mut header = file[10..10 + size].to_vec();
            bend_words(random, &mut header, NPY_WORDS);
            let data = file.split_off(10 + size);
            file.truncate(8);
            // The same in a later version, at times.
            match random.below(4) {
                0 => {
                    file[6] = 2 + random.below(2) as u8;
                    file.extend((header.len() as u32).to_le_bytes());
                }
                _ => file.extend((header.len() as u16).to_le_bytes()),
            }
            file.extend(header);
            file.extend(data);
        }
    }
    file
}

#[test]
fn npy_files() {
    let kinds = some_tensors().into_iter().filter(|(name, _)| !name.contains("bf16"));
    hold(
        "npy",
        kinds.map(|(_, tensor)| npy::to_bytes(&tensor).unwrap()).collect(),
        bend_npy,
        |bytes| {
            let mut tensors = Tensors::new();
            match npy::from_bytes(bytes) {
                Ok(tensor) => tensors.insert("x", tensor).map(|()| look(tensors)).err(),
                Err(error) => Some(error),
            }
        },
        |error| ["header", "too few", "does not begin", "version"].iter().any(|words| error.contains(words)),
    );
}

fn is_outer_zip(error: &str) -> bool {
    ["archive", "the member", "directory"].iter().any(|words| error.contains(words))
}

fn bend_npz(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if random.below(3) == 0 {
        bend(random, &mut file);
        return file;
    }
    let mut members = unzip(&file);
    let which = random.below(members.len());
    let changed = bend_npy(random, &members[which].1);
    members[which].1 = changed;
    zip(&members)
}

#[test]
fn npz_files() {
    let arrays = || some_tensors().into_iter().filter(|(name, _)| !name.contains("bf16"));
    let seeds = vec![npz::to_bytes(arrays()).unwrap(), npz::to_bytes(arrays().take(2)).unwrap()];
    hold("npz", seeds, bend_npz, |bytes| npz::from_bytes(bytes).map(look).err(), is_outer_zip);
}

/// Compressed archives can only be bent from outside.
#[test]
#[cfg(feature = "deflate")]
fn compressed_npz_files() {
    let path = std::env::temp_dir().join(format!("chainrule-hostile-{}.npz", std::process::id()));
    npz::save_compressed(&path, [("x", Tensor::zeros([20, 20])), ("y", Tensor::arange(30))]).unwrap();
    let seed = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let bend: fn(&mut Random, &[u8]) -> Vec<u8> = |random, file| {
        let mut file = file.to_vec();
        bend(random, &mut file);
        file
    };
    hold(
        "compressed",
        vec![seed],
        bend,
        |bytes| npz::from_bytes(bytes).map(look).err(),
        |error| is_outer_zip(error) && !["checksum", "unpacked"].iter().any(|words| error.contains(words)),
    );
}

/// The instructions of pickles, and pieces that are hard to read.
const PICKLE_PIECES: &[&[u8]] = &[
    b"]",
    b"}",
    b")",
    b"(",
    b"N",
    b"t",
    b"l",
    b"d",
    b"\x85",
    b"\x86",
    b"\x87",
    b"a",
    b"e",
    b"s",
    b"u",
    b"R",
    b"b",
    b"Q",
    b".",
    b"0",
    b"1",
    b"2",
    b"q\x01",
    b"h\x01",
    b"h\x02h\x03",
    b"\x94",
    b"\x93",
    b"K\x00",
    b"J\xff\xff\xff\xff",
    b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"X\xff\xff\xff\xff",
    b"r\xff\xff\xff\xff",
    b"(lp",
    b"cos\nsystem\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nLongStorage\n",
    b"ctorch\nBoolStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch.storage\nUntypedStorage\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
];

fn bend_pickle(random: &mut Random, pickle: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        if random.below(3) == 0 {
            bend(random, pickle);
        } else if !pickle.is_empty() {
            let piece = *random.one(&PICKLE_PIECES.iter().collect::<Vec<_>>());
            let at = random.below(pickle.len());
            let over = random.below(2) * piece.len().min(pickle.len() - at);
            pickle.splice(at..at + over, piece.iter().copied());
        }
    }
}

fn bend_pytorch(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if !file.starts_with(b"PK") {
        bend_pickle(random, &mut file);
        return file;
    }
    if random.below(8) == 0 {
        bend(random, &mut file);
        return file;
    }
    let mut members = unzip(&file);
    if random.below(6) == 0 {
        let which = random.below(members.len());
        bend(random, &mut members[which].1);
    } else if let Some((_, pickle)) = members.iter_mut().find(|(name, _)| name.ends_with("data.pkl")) {
        bend_pickle(random, pickle);
    }
    zip(&members)
}

fn read_pytorch(bytes: &[u8]) -> Option<Error> {
    match pytorch::from_bytes(bytes) {
        Ok(state) => {
            Tensors::from_state(&state).map(look).ok();
            None
        }
        Err(error) => Some(error),
    }
}

#[test]
fn pytorch_files() {
    let files =
        ["checkpoint.pt", "checkpoint_protocol4.pt", "views.pt", "kinds.pt", "state_dict.pt", "checkpoint_old.pt"];
    let seeds = files.iter().map(|name| fs::read(format!("tests/fixtures/{name}")).unwrap()).collect();
    hold("pytorch", seeds, bend_pytorch, read_pytorch, is_outer_zip);
}

#[test]
fn keys_that_become_one_name_are_an_error() {
    let pickle = |second: &[u8]| [b"\x80\x02}(K\x00K\x01X\x01\0\0\0", second, b"K\x02u."].concat();
    assert!(read_pytorch(&around(&pickle(b"1"))).is_none());
    assert!(read_pytorch(&around(&pickle(b"0"))).is_some_and(|error| error.to_string().contains("two entries")));
}

/// An archive of PyTorch around a pickle.
fn around(pickle: &[u8]) -> Vec<u8> {
    zip(&[("x/data.pkl".to_string(), pickle.to_vec()), ("x/data/0".to_string(), vec![0; 64])])
}

#[test]
fn pickle_bombs_are_small() {
    // Lists of lists of lists, each ten times the one before: a billion things of two hundred bytes.
    let mut laughs = b"\x80\x02".to_vec();
    laughs.extend(b"](NNNNNNNNNNeq\x00");
    for level in 0..9u8 {
        laughs.extend(b"](");
        laughs.extend([b'h', level].repeat(10));
        laughs.extend([b'e', b'q', level + 1]);
    }
    laughs.push(b'.');
    // A text of a megabyte, named a hundred thousand times.
    let mut texts = b"\x80\x02(X\x00\x00\x10\x00".to_vec();
    texts.extend(vec![b'a'; 1 << 20]);
    texts.extend(b"q\x00");
    texts.extend(b"h\x00".repeat(100_000));
    texts.extend(b"l.");
    // As deep as can be, and circular.
    let mut deep = b"\x80\x02]q\x00".to_vec();
    deep.extend(b"\x85".repeat(1 << 20));
    deep.push(b'.');
    let circular = b"\x80\x02]q\x00h\x00a.".to_vec();
    // A vast number of axes, sizes, places.
    let tensor = |offset: &[u8], sizes: &[u8], strides: &[u8]| {
        let storage: &[u8] = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuK\x10tQ";
        [b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(", storage, offset, sizes, strides, b"\x89NtR."].concat()
    };
    let huge: &[u8] = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let absurd = [
        tensor(huge, b"K\x01\x85", b"K\x01\x85"),
        tensor(b"K\x00", &[huge, b"\x85"].concat(), b"K\x00\x85"),
        tensor(b"K\x00", &[huge, huge, b"\x86"].concat(), b"K\x00K\x00\x86"),
        tensor(b"K\x00", b"K\x02\x85", &[huge, b"\x85"].concat()),
        tensor(b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
        tensor(b"K\x00", b"K\x11\x85", b"K\x01\x85"),
        tensor(b"K\x0f", b"K\x02\x85", b"K\x01\x85"),
        tensor(b"K\x00", b"J\x00\x00\x00\x40\x85", b"K\x00\x85"),
        tensor(b"K\x00", b"(KKKKKKKKKKKKKKKKKKt", b"(KKKKKKKKKKKKKKKKKKt"),
        tensor(b"K\x00", b"K\x02\x85", b"K\x01K\x01\x86"),
    ];
    let sound = around(&tensor(b"K\x00", b"K\x04K\x04\x86", b"K\x04K\x01\x86"));
    assert!(read_pytorch(&sound).is_none(), "{:?}", read_pytorch(&sound));
    for (number, pickle) in [laughs, texts, deep, circular].iter().chain(&absurd).enumerate() {
        let file = around(pickle);
        let start = Instant::now();
        let (outcome, most) = most_during(|| guard::guarded(|| read_pytorch(&file)));
        assert!(outcome.unwrap().is_some(), "bomb {number} is read");
        assert!(most < 100 * file.len() + (32 << 20), "bomb {number}: {most} bytes for {}", file.len());
        assert!(start.elapsed() < Duration::from_secs(10), "bomb {number}");
    }
}

#[test]
fn a_zip_bomb_is_small() {
    // A member that says it becomes a terabyte; one that says a thousand bytes become a million and a half.
    let array = npy::to_bytes(&Tensor::zeros([4])).unwrap();
    let archive = zip(&[("x.npy".to_string(), array)]);
    for size in [u32::MAX - 1, 1_500_000] {
        let mut bomb = archive.clone();
        let end = bomb.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        bomb[8] = 8;
        bomb[end + 10] = 8;
        bomb[end + 24..end + 28].copy_from_slice(&size.to_le_bytes());
        let (outcome, most) = most_during(|| guard::guarded(|| npz::from_bytes(&bomb).map(drop)));
        let error = outcome.unwrap().unwrap_err().to_string();
        assert!(most < 1 << 20 && error.contains("says that its"), "{most} {error}");
    }
}
