//! Files that NumPy and PyTorch wrote, number by number; `tests/fixtures/make.py` made them.

use chainrule::io::{self, npy, npz, pytorch};
use chainrule::{DType, ErrorKind, State, Tensor};

fn fixture(name: &str) -> String {
    format!("tests/fixtures/{name}")
}

/// What make.py calls `numbers`.
fn numbers() -> Tensor {
    Tensor::new([[-3.0f64, 4.0, 11.0], [18.0, 25.0, 32.0]])
}

#[test]
fn numpy_arrays_of_every_kind_and_order_are_read() {
    let held = [
        ("f2", DType::F16),
        ("f4", DType::F32),
        ("f8", DType::F64),
        ("i1", DType::I32),
        ("i2", DType::I32),
        ("i4", DType::I32),
        ("i8", DType::I64),
    ];
    for file in ["little.npz", "big.npz"] {
        let arrays = npz::load(fixture(file)).unwrap();
        assert_eq!(arrays.len(), held.len());
        for (name, dtype) in held {
            assert_eq!(arrays.get(name).unwrap(), &numbers().to_dtype(dtype), "{file} {name}");
        }
    }
    let unsigned = npz::load(fixture("unsigned.npz")).unwrap();
    let held = [("u1", DType::U8), ("u2", DType::I32), ("u4", DType::I64), ("u8", DType::I64), ("bool", DType::Bool)];
    for (name, dtype) in held {
        assert_eq!(unsigned.get(name).unwrap(), &numbers().abs().to_dtype(dtype), "{name}");
    }
    for file in ["version2.npy", "version3.npy"] {
        assert_eq!(npy::load(fixture(file)).unwrap(), numbers().to_dtype(DType::F32), "{file}");
    }
    assert_eq!(npy::load(fixture("single.npy")).unwrap(), Tensor::scalar(2.5));
    assert_eq!(npy::load(fixture("empty.npy")).unwrap(), Tensor::zeros([0, 3]));
    let fortran = npy::load(fixture("fortran.npy")).unwrap();
    assert_eq!(fortran, Tensor::arange(24).to_dtype(DType::F32).reshape([2, 3, 4]));
}

#[test]
fn numpy_archives_are_read_stored_and_compressed() {
    let stored = npz::load(fixture("stored.npz")).unwrap();
    assert_eq!(stored.get("x").unwrap(), &numbers().to_dtype(DType::F32));
    assert_eq!(stored.get("y").unwrap(), &Tensor::from([0, 1, 2]));
    let deflated = npz::load(fixture("deflated.npz"));
    if cfg!(feature = "deflate") {
        assert_eq!(deflated.unwrap().get("x").unwrap(), &Tensor::zeros([50, 50]));
        let error = npz::load_up_to(fixture("deflated.npz"), 5000).unwrap_err().to_string();
        assert!(error.contains("5000 may be") && error.contains("larger limit"), "{error}");
    } else {
        assert!(deflated.unwrap_err().help().contains("feature \"deflate\""));
    }
}

#[test]
fn numpy_arrays_that_are_no_numbers_are_refused_by_name() {
    for (file, words) in [
        ("record.npy", "records"),
        ("complex.npy", "complex numbers"),
        ("text.npy", "texts"),
        ("object.npy", "Python objects"),
    ] {
        let error = npy::load(fixture(file)).unwrap_err();
        assert!(error.to_string().contains(words) && error.to_string().contains(file), "{error}");
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}

#[test]
fn what_we_write_for_numpy_is_read_back() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::I64, DType::I32, DType::U8, DType::Bool] {
        let tensor = numbers().abs().to_dtype(dtype);
        assert_eq!(npy::from_bytes(&npy::to_bytes(&tensor).unwrap()).unwrap(), tensor, "{dtype}");
        assert_eq!(npy::from_bytes(&npy::to_bytes(&tensor.t()).unwrap()).unwrap(), tensor.t(), "{dtype}");
    }
    for sizes in [&[][..], &[1], &[5], &[0], &[2, 1, 3, 1, 2, 1, 1, 2]] {
        let tensor = Tensor::ones(sizes);
        assert_eq!(npy::from_bytes(&npy::to_bytes(&tensor).unwrap()).unwrap(), tensor);
    }
    let bytes = npy::to_bytes(&Tensor::zeros([2])).unwrap();
    assert_eq!(bytes.len() % 64, 8, "the numbers begin at a multiple of 64");
    assert!(npy::to_bytes(&numbers().to_dtype(DType::BF16)).unwrap_err().to_string().contains("bf16"));
    let bytes = npz::to_bytes([("a.b", numbers()), ("c", Tensor::from([1, 2]))]).unwrap();
    let back = npz::from_bytes(&bytes).unwrap();
    assert_eq!(back.get("a.b").unwrap(), &numbers());
    assert!(back.names().eq(["a.b", "c"]));
    assert!(npz::to_bytes([("x", numbers()), ("x", numbers())]).is_err());
}

fn check_checkpoint(state: &State) {
    let get = |name: &str| state.get(name).unwrap();
    assert_eq!(get("epoch").integer().unwrap(), 3);
    assert_eq!(get("loss").number().unwrap(), 0.25);
    assert_eq!(get("note").text().unwrap(), "caf\u{e9}");
    assert!(get("done").flag().unwrap());
    assert!(state.get("nothing").is_err(), "None is left out");
    assert_eq!(get("sizes").list().unwrap()[1].integer().unwrap(), 3);
    assert_eq!(get("list").list().unwrap()[2].text().unwrap(), "three");
    let weight = get("model").get("fc.weight").unwrap().tensor().unwrap();
    assert_eq!(weight, &Tensor::from([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]));
    let first = get("optimizer").get("state").unwrap().get("0").unwrap();
    assert_eq!(first.get("exp_avg").unwrap().tensor().unwrap().dims().unwrap(), [2, 3]);
    assert_eq!(first.get("step").unwrap().tensor().unwrap().item().unwrap(), 1.0);
    let group = &get("optimizer").get("param_groups").unwrap().list().unwrap()[0];
    assert_eq!(group.get("lr").unwrap().number().unwrap(), 0.5);
}

#[test]
fn pytorch_checkpoints_keep_their_form() {
    for file in ["checkpoint.pt", "checkpoint_old.pt", "checkpoint_protocol4.pt"] {
        check_checkpoint(&pytorch::load(fixture(file)).unwrap());
        let tensors = io::load(fixture(file)).unwrap();
        assert_eq!(tensors.get("model.fc.bias").unwrap(), &Tensor::from([1.0, 2.0]), "{file}");
        assert!(tensors.contains("optimizer.state.1.exp_avg_sq"), "{file}");
    }
    let tensors = pytorch::load_tensors(fixture("state_dict.pt")).unwrap();
    assert!(tensors.names().eq(["bias", "weight"]));
}

#[test]
fn pytorch_views_share_their_storage() {
    let tensors = pytorch::load_tensors(fixture("views.pt")).unwrap();
    let get = |name: &str| tensors.get(name).unwrap();
    let base = Tensor::arange(12).to_dtype(DType::F32).reshape([3, 4]);
    assert_eq!(get("base"), &base);
    assert_eq!(get("parameter"), &base);
    assert_eq!(get("transposed"), &base.t());
    assert_eq!(get("row"), &Tensor::from([4.0, 5.0, 6.0, 7.0]));
    assert_eq!(get("column"), &Tensor::from([2.0, 6.0, 10.0]));
    assert_eq!(get("expanded"), &Tensor::zeros([2, 2]));
    assert_eq!(get("empty"), &Tensor::zeros([0, 3]));
    assert_eq!(get("single"), &Tensor::scalar(7.0));
    assert!(get("base").shares_memory(get("transposed")) && get("base").shares_memory(get("row")));
}

#[test]
fn pytorch_tensors_of_every_kind_are_read() {
    let tensors = pytorch::load_tensors(fixture("kinds.pt")).unwrap();
    assert_eq!(tensors.len(), 15);
    let held = [
        ("float64", DType::F64),
        ("float32", DType::F32),
        ("float16", DType::F16),
        ("bfloat16", DType::BF16),
        ("float8_e4m3fn", DType::F32),
        ("float8_e5m2", DType::F32),
        ("int64", DType::I64),
        ("int32", DType::I32),
        ("int16", DType::I32),
        ("int8", DType::I32),
        ("uint8", DType::U8),
        ("uint16", DType::I32),
        ("uint32", DType::I64),
        ("uint64", DType::I64),
        ("bool", DType::Bool),
    ];
    for (name, dtype) in held {
        assert_eq!(tensors.get(name).unwrap(), &Tensor::from([0, 1, 3]).to_dtype(dtype), "{name}");
    }
}

#[test]
fn pytorch_files_that_want_code_are_refused_by_name() {
    let error = pytorch::load(fixture("whole_model.pt")).unwrap_err().to_string();
    assert!(error.contains("torch.nn.modules.linear.Linear") && error.contains("state_dict"), "{error}");
    let error = pytorch::load(fixture("complex.pt")).unwrap_err().to_string();
    assert!(error.contains("ComplexFloatStorage"), "{error}");
}

#[test]
fn a_file_is_known_by_what_it_holds() {
    assert!(io::load(fixture("fortran.npy")).unwrap().contains("array"));
    assert!(io::load(fixture("stored.npz")).unwrap().contains("x"));
    assert!(io::load("tests/reference_excerpt/excerpt.safetensors").unwrap().len() > 1);
    let error = io::load(fixture("make.py")).unwrap_err().to_string();
    assert!(error.contains("no known format") && error.contains("tests/foreign_files.rs"), "{error}");
    assert!(npz::load(fixture("state_dict.pt")).unwrap_err().to_string().contains("data.pkl"));
    assert!(pytorch::load(fixture("stored.npz")).unwrap_err().to_string().contains("torch.save"));
}

/// Every file, cut at every length, is an error.
#[test]
fn files_cut_anywhere_are_errors() {
    let mut count = 0;
    for entry in std::fs::read_dir("tests/fixtures").unwrap() {
        let path = entry.unwrap().path();
        // what lies in folders has tests of its own
        if path.is_dir() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let read = |bytes: &[u8]| match path.extension().and_then(|end| end.to_str()) {
            Some("npy") => npy::from_bytes(bytes).map(drop),
            Some("npz") => npz::from_bytes(bytes).map(drop),
            _ => pytorch::from_bytes(bytes).map(drop),
        };
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{path:?} {length}");
            count += 1;
        }
    }
    assert!(count > 20_000, "{count}");
}
