//! Bytes at a position: of a file, or of memory.

use super::place::{damaged, foreign, system};
use crate::error::Fault;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Something that can be read at any position.
pub(crate) trait Source: Send + Sync {
    /// How many bytes there are.
    fn length(&self) -> u64;
    /// Fills `into` with the bytes from `at` on.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// So many bytes from `at` on. They are there before memory is asked for.
    fn bytes(&self, at: u64, count: u64) -> Result<Vec<u8>, Fault> {
        self.reaches(at, count)?;
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| damaged(format!("{count} bytes in one piece")))?];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }
    /// Are so many bytes there?
    fn reaches(&self, at: u64, count: u64) -> Result<(), Fault> {
        match at.checked_add(count) {
            Some(end) if end <= self.length() => Ok(()),
            _ => Err(damaged(format!("bytes {at} and {count} more are needed, there are {}", self.length()))),
        }
    }
}

impl Source for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.reaches(at, into.len() as u64)?;
        let at = at as usize; // inside a slice
        into.copy_from_slice(&self[at..at + into.len()]);
        Ok(())
    }
}

/// An open file, as long as it was when it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: Mutex<File>,
    length: u64,
}

impl OpenFile {
    pub(crate) fn open(path: &Path) -> Result<OpenFile, Fault> {
        let kind = std::fs::metadata(path).map_err(|error| system("it cannot be opened", &error))?;
        if !kind.is_file() {
            let what = if kind.is_dir() { "this is a folder" } else { "this is not a plain file" };
            return Err(foreign(what, "give the path of a file"));
        }
        let file = File::open(path).map_err(|error| system("it cannot be opened", &error))?;
        let length = file.metadata().map_err(|error| system("its length cannot be read", &error))?.len();
        Ok(OpenFile { file: Mutex::new(file), length })
    }
}

impl Source for OpenFile {
    fn length(&self) -> u64 {
        self.length
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.reaches(at, into.len() as u64)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(into));
        read.map_err(|error| system("it cannot be read", &error))
    }
}
