//! Files that are there whole or not at all.
//!
//! What is written goes to a temporary file in the same folder; when it is safe on the disk, it takes the name of the
//! file, and the folder is made safe too. Whoever reads sees the old file or the new one. The writer holds a lock on its
//! temporary file; one without a lock was left behind by a process that died, and the next writer removes it.

use super::place::{foreign, system};
use crate::error::Fault;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of a temporary file's name.
const ENDING: &str = ".partial";

/// Writes a file that is there whole or not at all. `before` runs when the new file is safe and the old one still there.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), Fault>,
    before: impl FnOnce(&Path) -> Result<(), Fault>,
) -> Result<(), Fault> {
    // Through a link, the file it leads to is replaced, not the link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        let what = if path.is_dir() { "this is a folder" } else { "this is not a plain file" };
        return Err(foreign(what, "give the path of a file"));
    }
    let Some(name) = path.file_name() else { return Err(foreign("the path names no file", "end it with a name")) };
    let (folder, name) = (folder_of(path), name.to_string_lossy().into_owned());
    remove_stale(folder, &name);
    let (file, temporary) = create(folder, &name)?;
    let written = (|| {
        let mut out = BufWriter::with_capacity(1 << 17, file);
        fill(&mut out)?;
        let file = out.into_inner().map_err(|error| system("it cannot be written", error.error()))?;
        if let Some(old) = old {
            // Who may read the old file may read the new one; a system without such rights keeps its own.
            let _ = file.set_permissions(old.permissions());
        }
        file.sync_all().map_err(|error| system("it cannot be made safe on the disk", &error))?;
        before(path)?;
        fs::rename(&temporary, path).map_err(|error| system("the new file cannot take its name", &error))?;
        drop(file);
        sync_folder(folder)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A temporary file that this process has locked.
fn create(folder: &Path, name: &str) -> Result<(File, PathBuf), Fault> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut last = None;
    for _ in 0..100 {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".{name}.{}-{count}{ENDING}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => {
                // Where the file system has no locks, nobody takes the file for a stale one either.
                let _ = file.lock();
                // Between its making and its lock another writer may have taken it for a stale one.
                if temporary.exists() {
                    return Ok((file, temporary));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(system("a temporary file cannot be made in its folder", &error)),
        }
    }
    let error = last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into());
    Err(system("a temporary file cannot be made in its folder", &error))
}

/// Removes the temporary files of this name whose writers are gone.
fn remove_stale(folder: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let start = format!(".{name}.");
    for entry in entries.flatten() {
        let other = entry.file_name();
        let Some(middle) =
            other.to_str().and_then(|other| other.strip_prefix(&start)).and_then(|rest| rest.strip_suffix(ENDING))
        else {
            continue;
        };
        let ours = middle.split_once('-').is_some_and(|(process, count)| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits(process) && digits(count)
        });
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes the names in a folder safe on the disk.
#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> Result<(), Fault> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        // Some file systems have no such thing for folders.
        Err(error) if !matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Err(system("its folder cannot be made safe on the disk", &error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a folder safe on the disk: elsewhere than on Unix the system does it by itself.
#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> Result<(), Fault> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::numbers::put;

    #[test]
    #[cfg(unix)]
    fn links_lead_on_rights_stay_and_what_is_no_file_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("chainrule-links-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, link, socket) = (folder.join("x.bin"), folder.join("link"), folder.join("socket"));
        write(&path, |out| put(out, b"old"), |_| Ok(())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, |out| put(out, b"new"), |_| Ok(())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(write(&socket, |out| put(out, b"new"), |_| Ok(())).unwrap_err().what().contains("plain file"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("chainrule-atomic-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.bin");
        write(&path, |out| put(out, b"old"), |_| Ok(())).unwrap();
        let failed = write(
            &path,
            |out| {
                put(out, b"half of the new")?;
                Err(Fault::value("planted", ""))
            },
            |_| Ok(()),
        );
        assert_eq!(failed.unwrap_err().what(), "planted");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

        // One left behind goes with the next write; one that its writer holds stays, and so do foreign files.
        let (stale, held, foreign) = (".x.bin.1-1.partial", ".x.bin.1-2.partial", ".x.bin.notes.partial");
        for name in [stale, held, foreign] {
            fs::write(folder.join(name), b"?").unwrap();
        }
        let holder = OpenOptions::new().write(true).open(folder.join(held)).unwrap();
        holder.lock().unwrap();
        write(&path, |out| put(out, b"new"), |_| Ok(())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!folder.join(stale).exists() && folder.join(held).exists() && folder.join(foreign).exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
