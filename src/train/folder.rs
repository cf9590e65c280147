//! The files of a training: its checkpoints, its history, its pictures.

use crate::error::{Error, ErrorKind, Fault, Result};
use crate::io::{Checkpoint, checkpoint};
use std::path::{Path, PathBuf};

/// Makes a folder, and those above it.
#[track_caller]
pub(super) fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let what = format!("the folder {} cannot be made: {error}", folder.display());
        Error::new("trainer", Fault::new(ErrorKind::Io, what, "give a folder that may be written to"))
    })
}

/// Where a training leaves its files.
#[derive(Clone, Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// All it takes to go on.
    pub(super) fn last(&self) -> PathBuf {
        self.0.join("last.checkpoint")
    }
    /// The model of the best epoch.
    pub(super) fn best(&self) -> PathBuf {
        self.0.join("best.checkpoint")
    }
    /// The last checkpoint; none where the training has not begun yet.
    pub(super) fn begun(&self) -> Result<Option<Checkpoint>> {
        let last = self.last();
        if !last.exists() && !checkpoint::backup(&last).exists() {
            return Ok(None);
        }
        Checkpoint::load(last).map(Some)
    }
}
