//! A checkpoint is there whole or not at all, whenever its writer dies and whatever happens to the file.

use chainrule::io::{self, Checkpoint, Tensors, checkpoint};
use chainrule::nn::{Init, Linear, Module};
use chainrule::{State, Tensor};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("chainrule-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
    fn file(&self) -> PathBuf {
        self.0.join("run.checkpoint")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tree(entries: impl IntoIterator<Item = (&'static str, State)>) -> State {
    State::Tree(entries.into_iter().map(|(name, state)| (name.to_string(), state)).collect())
}

fn everything() -> State {
    tree([
        ("flag", State::Flag(true)),
        ("integers", State::List([i64::MIN, -1, 0, i64::MAX].map(State::Integer).into())),
        ("numbers", State::List([0.0, -0.0, 0.1, 1e300, 5e-324, f64::INFINITY, f64::NAN].map(State::Number).into())),
        ("text", State::Text("quote \" line \n snow \u{2603}".into())),
        ("empty", State::List(vec![])),
        ("no tree", tree([])),
        ("a.b", State::Tensor(Tensor::from([1.0, 2.0]))),
        ("a", tree([("b", State::Tensor(Tensor::from([[1, 2], [3, 4]]).t()))])),
        ("__metadata__", State::Tensor(Tensor::scalar(3.0))),
        ("\u{e9}\"", State::List(vec![State::Tensor(Tensor::zeros([0, 2])), State::Tensor(Tensor::from([true]))])),
    ])
}

fn equal(a: &State, b: &State) -> bool {
    match (a, b) {
        (State::Flag(a), State::Flag(b)) => a == b,
        (State::Integer(a), State::Integer(b)) => a == b,
        (State::Number(a), State::Number(b)) => a.to_bits() == b.to_bits(),
        (State::Text(a), State::Text(b)) => a == b,
        (State::Tensor(a), State::Tensor(b)) => a == b,
        (State::List(a), State::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (State::Tree(a), State::Tree(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((m, a), (n, b))| m == n && equal(a, b))
        }
        _ => false,
    }
}

#[test]
fn a_tree_of_everything_comes_back() {
    let folder = Folder::new("everything");
    checkpoint::save(folder.file(), &everything()).unwrap();
    let loaded = checkpoint::load(folder.file()).unwrap();
    assert!(equal(&loaded.state, &everything()) && loaded.warning.is_none());
    for single in [State::Integer(7), State::Tensor(Tensor::from([1, 2])), State::List(vec![])] {
        checkpoint::save(folder.file(), &single).unwrap();
        assert!(equal(&checkpoint::load(folder.file()).unwrap().state, &single));
    }
}

#[test]
fn other_tools_see_the_tensors() {
    let folder = Folder::new("tools");
    let model = Linear::new(3, 2, &mut Init::new());
    Checkpoint::new().with("model", model.state().unwrap()).save(folder.file()).unwrap();
    let bytes = fs::read(folder.file()).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("model.tensors.weight").unwrap().shape(), [2, 3]);
    let tensors: Tensors = io::load(folder.file()).unwrap().under("model.tensors.");
    let mut other = Linear::new(3, 2, &mut Init::new().seed(9));
    assert!(other.load_tensors(tensors).strict().is_ok());
    assert_eq!(other.tensors().unwrap(), model.tensors().unwrap());
}

#[test]
fn any_changed_byte_is_noticed_and_the_backup_taken() {
    let folder = Folder::new("damage");
    let path = folder.file();
    checkpoint::save(&path, &State::Integer(1)).unwrap();
    checkpoint::save(&path, &everything()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 0x20;
        assert!(checkpoint::from_bytes(&bent).is_err(), "byte {at} of {}", bytes.len());
        assert!(checkpoint::from_bytes(&bytes[..at]).is_err(), "{at} bytes of {}", bytes.len());
    }
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let loaded = checkpoint::load(&path).unwrap();
    assert_eq!(loaded.state.integer().unwrap(), 1);
    assert!(loaded.warning.unwrap().contains("the one before it"));
    // A torn file does not take the place of the sound backup.
    checkpoint::save(&path, &State::Integer(3)).unwrap();
    assert_eq!(checkpoint::load(&path).unwrap().state.integer().unwrap(), 3);
    assert_eq!(checkpoint::load(checkpoint::backup(&path)).unwrap().state.integer().unwrap(), 1);
    fs::remove_file(&path).unwrap();
    assert_eq!(checkpoint::load(&path).unwrap().state.integer().unwrap(), 1);
    fs::remove_file(checkpoint::backup(&path)).unwrap();
    assert!(checkpoint::load(&path).unwrap_err().to_string().contains("run.checkpoint"));
}

#[test]
fn wrong_calls_are_errors() {
    let folder = Folder::new("wrong");
    let path = folder.file();
    let failed =
        State::Tree(BTreeMap::from([("x".to_string(), State::Tensor(Tensor::zeros([2]) + Tensor::zeros([3])))]));
    assert_eq!(checkpoint::save(&path, &failed).unwrap_err().operation(), "add");
    assert!(!path.exists());
    Tensors::from_state(&everything()).unwrap_err(); // two tensors would be named a.b
    let mut tensors = Tensors::new();
    tensors.insert("x", Tensor::zeros([2])).unwrap();
    tensors.save(&path).unwrap();
    assert!(checkpoint::load(&path).unwrap_err().to_string().contains("not a checkpoint"));
    checkpoint::save(&path, &State::Integer(1)).unwrap();
    assert!(Checkpoint::load(&path).unwrap_err().to_string().contains("no sections"));
    let checkpoint = Checkpoint::new().with("model", State::Integer(1));
    assert!(checkpoint.get("modell").unwrap_err().to_string().contains("the sections are: model"));
}

/// What the child of the next test does; alone it does nothing.
#[test]
fn child_that_saves_without_end() {
    let Ok(path) = std::env::var("CHAINRULE_CHECKPOINT_CHILD") else { return };
    let start = checkpoint::load(&path).map_or(0, |loaded| loaded.state.get("step").unwrap().integer().unwrap());
    for step in start + 1.. {
        checkpoint::save(&path, &at_step(step)).unwrap();
    }
}

const NUMBERS: usize = 4 << 20;

fn at_step(step: i64) -> State {
    let numbers = |offset| State::Tensor(Tensor::full([NUMBERS / 2], (step + offset) as f64, chainrule::DType::F32));
    tree([("step", State::Integer(step)), ("first", numbers(0)), ("last", numbers(1))])
}

/// The first temporary file in a folder that has any bytes.
fn partial(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut files = entries.flatten().map(|entry| entry.path());
    files.find(|path| {
        path.extension().is_some_and(|end| end == "partial") && fs::metadata(path).is_ok_and(|file| file.len() > 0)
    })
}

/// A writer is killed again and again in the middle of a save: some complete checkpoint always loads, and never an older
/// one than before.
#[test]
fn a_writer_killed_at_any_moment_leaves_a_whole_checkpoint() {
    const KILLS: usize = 50;
    let folder = Folder::new("killed");
    let path = folder.file();
    checkpoint::save(&path, &at_step(0)).unwrap();
    let (mut landed, mut newest, mut rounds) = (0, 0, 0);
    let start = Instant::now();
    while landed < KILLS {
        rounds += 1;
        assert!(rounds < 20 * KILLS && start.elapsed() < Duration::from_secs(600), "{landed} kills in {rounds} rounds");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_saves_without_end", "--exact", "--nocapture"])
            .env("CHAINRULE_CHECKPOINT_CHILD", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // What an earlier child left behind is not this one's.
        let own = format!(".{}-", child.id());
        let begun = Instant::now();
        let is_own = |file: &PathBuf| file.to_string_lossy().contains(&own);
        while !partial(&folder.0).as_ref().is_some_and(is_own) {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            assert!(begun.elapsed() < Duration::from_secs(60), "the child writes nothing");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(700 * (rounds as u64 * 7 % 23)));
        child.kill().unwrap();
        child.wait().unwrap();
        // Its file is still there: it died after the first byte and before the new name.
        landed += partial(&folder.0).as_ref().is_some_and(is_own) as usize;

        let state = checkpoint::load(&path).unwrap().state;
        let step = state.get("step").unwrap().integer().unwrap();
        assert!(step >= newest, "step {step} after {newest}");
        newest = step;
        for (name, offset) in [("first", 0), ("last", 1)] {
            let tensor = state.get(name).unwrap().tensor().unwrap();
            let whole =
                tensor.with_slice(|x: &[f32]| x.len() == NUMBERS / 2 && x.iter().all(|&x| x == (step + offset) as f32));
            assert!(whole.unwrap(), "{name} at step {step}");
        }
    }
    // The next save clears what the killed ones left.
    checkpoint::save(&path, &at_step(newest + 1)).unwrap();
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    println!("{landed} of {rounds} kills landed in the middle of a save; {newest} saves were complete");
}

#[test]
#[cfg(unix)]
fn a_link_to_a_checkpoint_finds_its_backup() {
    let (folder, other) = (Folder::new("linked"), Folder::new("links"));
    let link = other.0.join("latest");
    checkpoint::save(folder.file(), &State::Integer(1)).unwrap();
    std::os::unix::fs::symlink(folder.file(), &link).unwrap();
    checkpoint::save(&link, &State::Integer(2)).unwrap();
    assert_eq!(checkpoint::load(&link).unwrap().state.integer().unwrap(), 2);
    fs::write(folder.file(), "damaged").unwrap();
    let loaded = checkpoint::load(&link).unwrap();
    assert_eq!((loaded.state.integer().unwrap(), loaded.warning.is_some()), (1, true));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}
