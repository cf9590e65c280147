//! Where a file was asked for: what its errors say.

use crate::error::{Error, ErrorKind, Fault, Operand};
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// The call that reads or writes, the file it is about, and the caller's line.
pub(crate) struct Place {
    operation: &'static str,
    file: Option<PathBuf>,
    at: &'static Location<'static>,
}

impl Place {
    #[track_caller]
    pub(crate) fn of(operation: &'static str, path: &Path) -> Place {
        Place { operation, file: Some(path.to_path_buf()), at: Location::caller() }
    }
    #[track_caller]
    pub(crate) fn bytes(operation: &'static str) -> Place {
        Place { operation, file: None, at: Location::caller() }
    }
    #[cold]
    pub(crate) fn error(&self, fault: Fault) -> Error {
        let file = self.file.as_ref().map(|path| Operand {
            role: "file".into(),
            name: None,
            what: path.display().to_string(),
        });
        Error::with(self.operation, fault, file.into_iter().collect(), self.at)
    }
}

/// What a file holds is not what it should hold.
#[cold]
pub(crate) fn damaged(what: impl Into<String>) -> Fault {
    let help = "the file is damaged, cut short, or of another kind: fetch or write it again";
    Fault::new(ErrorKind::Io, what, help)
}

/// A file is sound, and holds something that is not read here.
#[cold]
pub(crate) fn foreign(what: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new(ErrorKind::Io, what, help)
}

/// The system could not do something with a file.
#[cold]
pub(crate) fn system(doing: &str, error: &io::Error) -> Fault {
    let help = match error.kind() {
        io::ErrorKind::NotFound => {
            let folder = std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
            format!("check the path; a relative one begins at {folder}")
        }
        io::ErrorKind::PermissionDenied => "this user may not do that there".into(),
        io::ErrorKind::StorageFull => "free some space, or write to another disk".into(),
        io::ErrorKind::UnexpectedEof => "the file ends too early: it was cut short, or is being changed".into(),
        _ => String::new(),
    };
    Fault::new(ErrorKind::Io, format!("{doing}: {error}"), help)
}
