//! The stand-in driver: a `libcuda.so.1` that runs the very kernels of `kernels/` on the CPU, every access to memory judged.
//! Tests build it with g++, once for each state of its sources; the library knows nothing of it.
//!
//! A test that goes through the library begins with `if !emulator::inside("its name") { return; }`. One that looks at kernels
//! alone uses [`call`].
#![allow(dead_code, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs, thread};

pub mod call;

/// Set in the process that runs on the stand-in driver.
const INSIDE: &str = "EMULATOR_INSIDE";

const ALWAYS: &[&str] = &[
    "-std=c++17",
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-DEMULATED",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-Wno-unused-variable",
    "-Werror",
];
/// Of the driver itself.
const DRIVER: &[&str] = &["-O2"];
/// Accesses are reported to the driver's own hooks: it is linked without the compiler's libraries.
const KERNELS: &[&str] =
    &["-O1", "-fsanitize=thread,alignment,bounds-strict,shift,integer-divide-by-zero,signed-integer-overflow"];

/// Its own calls are found at once, so that what the loader is asked for is what the library asks for.
const LINKED: &[&str] = &["-shared", "-Wl,-soname,libcuda.so.1", "-Wl,-z,defs", "-Wl,-Bsymbolic"];

/// Runs the calling test again in a process that finds the stand-in driver before any other. True in that process; the
/// outer one asserts that the inner one passed, and gets false. `REQUIRE_CUDA=1` runs on the machine's own driver instead, where a GPU that
/// is missing is a failure.
pub fn inside(test: &str) -> bool {
    inside_with(test, &[])
}

/// The same, with settings of the stand-in driver.
pub fn inside_with(test: &str, settings: &[(&str, &str)]) -> bool {
    is_inside() || {
        again(test, settings).unwrap_or_else(|said| panic!("{said}"));
        false
    }
}

/// Does this process have the driver that it is to run on?
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some() || is_real()
}

/// Runs a test of this program on the stand-in driver, in a process of its own. Gives the kernels that it launched, or nothing where there can
/// be no such driver; what a test said that failed is the error.
pub fn again(test: &str, settings: &[(&str, &str)]) -> Result<Option<BTreeSet<String>>, String> {
    let folder = match library() {
        Ok(folder) => folder,
        Err(reason) => {
            eprintln!("{test} is skipped: {reason}");
            return Ok(None);
        }
    };
    let launched = folder.join(format!("launched-{}-{}", std::process::id(), test.replace(':', "-")));
    let mut paths = vec![folder];
    paths.extend(env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths));
    let output = Command::new(env::current_exe().expect("a test has a program"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .env("EMULATOR_LAUNCHED", &launched)
        .envs(settings.iter().copied())
        .env("LD_LIBRARY_PATH", env::join_paths(paths).expect("paths without colons"))
        .output()
        .expect("a test can be run again");
    // Nothing is written where nothing was launched.
    let names = fs::read_to_string(&launched).unwrap_or_default().lines().map(str::to_string).collect();
    let _ = fs::remove_file(launched);
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    match (output.status.success(), said.contains("1 passed")) {
        (true, true) => Ok(Some(names)),
        (true, false) => Err(format!("{test} is no test of this program\n{said}")),
        (false, _) => Err(said),
    }
}

/// Is it the machine's own driver?
pub fn is_real() -> bool {
    env::var_os("REQUIRE_CUDA").is_some()
}

/// The folder with `libcuda.so.1`, or why there is none. Run with `EMULATOR=fast` it judges nothing but what faults.
pub fn library() -> Result<PathBuf, String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    build()
}

fn build() -> Result<PathBuf, String> {
    let version = Command::new("g++")
        .arg("--version")
        .output()
        .map_err(|_| "there is no g++ to build the stand-in driver with")?;
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (kernels, own) = (home.join("kernels"), home.join("tests/emulator"));
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // What compiles every unit.
    let mut common = DefaultHasher::new();
    version.stdout.hash(&mut common);
    ALWAYS.hash(&mut common);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;

    let mut all = common.clone();
    LINKED.hash(&mut all);
    let mut units = Vec::new();
    let driver = files(&own, &["cpp"]).into_iter().map(|source| (source, DRIVER));
    let compiled = files(&kernels, &["cu"]).into_iter().chain(files(&own, &["cu"])).map(|source| (source, KERNELS));
    for (source, flags) in driver.chain(compiled) {
        let mut hash = common.clone();
        flags.hash(&mut hash);
        for part in with_headers(&source, &[&own, &kernels]) {
            read(&part).hash(&mut hash);
        }
        let name = format!("{}-{:016x}.o", source.file_stem().unwrap_or_default().to_string_lossy(), hash.finish());
        name.hash(&mut all);
        units.push((source, flags, folder.join(name)));
    }
    let place = folder.join(format!("{:016x}", all.finish()));
    if place.join("libcuda.so.1").exists() {
        return Ok(place);
    }

    // The largest first, on all cores.
    units.sort_by_key(|(source, ..)| std::cmp::Reverse(fs::metadata(source).map_or(0, |about| about.len())));
    let open = Mutex::new(units.iter().filter(|(.., object)| !object.exists()).collect::<Vec<_>>().into_iter());
    let next = || open.lock().expect("no builder panics").next();
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                while let Some((source, flags, object)) = next() {
                    let mut compile = Command::new("g++");
                    compile.args(ALWAYS).args(*flags).arg("-I").arg(&own).arg("-I").arg(&kernels);
                    compile.args(["-x", "c++", "-c"]).arg(source);
                    if let Err(failure) = finish(compile, object) {
                        failures.lock().expect("no builder panics").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no builder panics");
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    fs::create_dir_all(&place).map_err(|e| format!("{}: {e}", place.display()))?;
    let mut link = Command::new("g++");
    link.args(LINKED).args(units.iter().map(|(.., object)| object)).arg("-ldl");
    finish(link, &place.join("libcuda.so.1")).unwrap_or_else(|failure| panic!("{failure}"));
    Ok(place)
}

/// A file and those that it includes, of these folders.
fn with_headers(source: &Path, folders: &[&Path]) -> Vec<PathBuf> {
    let mut found = vec![source.to_path_buf()];
    let mut next = 0;
    while next < found.len() {
        let text = fs::read_to_string(&found[next]).unwrap_or_else(|e| panic!("{}: {e}", found[next].display()));
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("#include \"")?.split('"').next());
        for file in names.flat_map(|name| folders.iter().map(move |folder| folder.join(name))).filter(|f| f.exists()) {
            if !found.contains(&file) {
                found.push(file);
            }
        }
        next += 1;
    }
    found
}

/// Runs a compiler whose result appears whole or not at all: several tests may build at once.
fn finish(mut command: Command, result: &Path) -> Result<(), String> {
    let draft = result.with_extension(format!("draft{}", std::process::id()));
    let output = command.arg("-o").arg(&draft).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?}\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    fs::rename(&draft, result).map_err(|e| e.to_string())
}

fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found: Vec<PathBuf> = list.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| ends.iter().any(|wanted| end == *wanted)));
    found.sort();
    found
}
