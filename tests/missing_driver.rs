//! Every way in which NVIDIA's driver can be missing is a sentence, and never a panic: held against small libraries that are
//! built here, each wrong in one way.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

use chainrule::{Device, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The functions that the library looks for: the quoted names in the file that looks for them.
fn functions() -> Vec<&'static str> {
    let text = include_str!("../src/device/cuda/driver/presence.rs");
    let is_name = |part: &&str| part.strip_prefix("cu").is_some_and(|rest| rest.starts_with(char::is_uppercase));
    let mut names: Vec<&str> = text.split('"').filter(is_name).collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// A library that says so of every function, but for those written out in `own`; those in `without` are left out.
fn library(folder: &Path, answer: u32, own: &str, without: &str) {
    let mut code = own.to_string();
    for name in functions().into_iter().filter(|name| !own.contains(&format!("int {name}(")) && *name != without) {
        code += &format!("int {name}(void) {{ return {answer}; }}\n");
    }
    let source = folder.join("fake.c");
    std::fs::write(&source, code).expect("a file");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-w", "-o"]).arg(folder.join("libcuda.so.1")).arg(source);
    assert!(compiler.status().expect("a C compiler, which Rust's linker needs too").success());
}

const VERSION: &str = "int cuDriverGetVersion(int *version) { *version = 12020; return 0; }\n";
const NAMES: &str = "int cuGetErrorName(int code, const char **name) { *name = \"NAME\"; return 0; }\n\
                     int cuGetErrorString(int code, const char **text) { *text = \"in words\"; return 0; }\n";

/// What a program says that finds only the libraries of this folder.
fn said(folder: &Path) -> String {
    let search = format!("{}:{}", folder.display(), std::env::var("LD_LIBRARY_PATH").unwrap_or_default());
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["asked_by_the_others", "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", search)
        .output()
        .expect("it runs again");
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
    text
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("driver-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[track_caller]
fn check(folder: &Path, words: &[&str]) {
    let text = said(folder);
    for word in words {
        assert!(text.contains(word), "should say {word:?}: {text}");
    }
}

/// Runs in a process of its own, since the driver is looked for once.
#[test]
#[ignore = "the other tests run it with a driver of theirs"]
fn asked_by_the_others() {
    match Device::cuda(0) {
        Ok(device) => println!("there is {}", device.name()),
        Err(error) => {
            assert_eq!((error.kind(), Device::best()), (ErrorKind::Device, Device::Cpu));
            assert_eq!(Device::why_not_cuda().map(|why| why.what().to_string()).as_deref(), Some(error.what()));
            assert!(error.location().file().contains("missing_driver") && !error.help().is_empty(), "{error}");
            println!("{error}");
        }
    }
}

#[test]
fn no_library() {
    let folder = folder("none");
    let text = said(&folder);
    // On a machine with a driver that one is found.
    let there = text.contains("there is ") && !text.contains("there is no NVIDIA driver");
    assert!(there || text.contains("cannot open shared object file") && text.contains("525 or newer"), "{text}");
}

#[test]
fn no_device() {
    let folder = folder("no-device");
    library(&folder, 100, &format!("{VERSION}{NAMES}"), "");
    check(&folder, &["the driver finds no such GPU", "in words", "CUDA_VISIBLE_DEVICES"]);
}

#[test]
fn no_device_counted() {
    let folder = folder("none-counted");
    let count = "int cuDeviceGetCount(int *count) { *count = 0; return 0; }\n";
    library(&folder, 0, &format!("{VERSION}{NAMES}{count}"), "");
    check(&folder, &["the driver finds no GPU", "nvidia-smi"]);
}

#[test]
fn a_stub_for_linking() {
    let folder = folder("stub");
    library(&folder, 34, "", "");
    check(&folder, &["a stub for linking", "take the toolkit's folder of stubs off the search path"]);
}

#[test]
fn an_old_driver() {
    let folder = folder("old");
    let version = "int cuDriverGetVersion(int *version) { *version = 11040; return 0; }\n";
    library(&folder, 0, &format!("{version}{NAMES}"), "cuModuleLoadDataEx");
    check(&folder, &["too old: it knows CUDA 11.4, the kernels need 12.0", "525 or newer"]);
}

/// Whichever function of its list it lacks.
#[test]
fn a_broken_library() {
    let broken = folder("broken");
    for missing in functions() {
        let defines = |line: &&str| !line.contains(&format!("int {missing}("));
        let own: Vec<&str> = VERSION.lines().chain(NAMES.lines()).filter(defines).collect();
        library(&broken, 0, &own.join("\n"), missing);
        check(&broken, &["no driver that can be used", &format!("it has no function {missing}")]);
    }
}

#[test]
fn a_text_for_a_library() {
    let text = folder("text");
    std::fs::write(text.join("libcuda.so.1"), "no library").expect("a file");
    check(&text, &["there is no NVIDIA driver", "525 or newer"]);
}

#[test]
fn an_old_gpu() {
    let folder = folder("old-gpu");
    let own = "int cuDeviceGetCount(int *count) { *count = 1; return 0; }\n\
               int cuDeviceGetName(char *name, int size, int device) { name[0] = 'T'; name[1] = 0; return 0; }\n\
               int cuDeviceGetAttribute(int *number, int which, int device) { *number = which == 75 ? 7 : 5; return 0; }\n";
    library(&folder, 0, &format!("{VERSION}{NAMES}{own}"), "");
    let text = said(&folder);
    assert!(text.contains("T is of compute capability 7.5, the kernels need 8.0"), "{text}");
}
