//! Zip archives, as far as files of arrays need them: members that are stored or deflated, also in the 64-bit form.
//!
//! An archive is read from its directory at the end. Nothing it says is believed: members must lie inside the file and apart
//! from each other, bear names that stay in the archive, be as long as they say and have their checksum. How much may come
//! out of compressed members is limited before any memory is asked for.

use super::numbers::put;
use super::place::{damaged, foreign};
use super::source::Source;
use super::tensors::shown;
use crate::error::Fault;
use crate::layout::put_in_order;
use std::collections::HashMap;
use std::io::Write;

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_PLACE: u32 = 0x0706_4b50;
const DIRECTORY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END_SIZE: usize = 22;
const DIRECTORY_SIZE: usize = 46;
const LOCAL_SIZE: u64 = 30;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Deflate cannot make more than this many bytes of one.
pub(crate) const DEFLATE_RATIO: u64 = 1032;

/// A file inside an archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    method: u16,
    checksum: u32,
    packed: u64,
    /// How many bytes it has when unpacked.
    pub(super) size: u64,
    /// Where its bytes begin.
    start: u64,
}

/// An archive whose directory has been read and found sound.
pub(super) struct Archive<'a> {
    source: &'a dyn Source,
    members: Vec<Member>,
    places: HashMap<String, usize>,
    /// How many unpacked bytes may still be made.
    room: u64,
}

/// Numbers, least significant byte first, from the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (first, rest) =
            self.0.split_first_chunk::<N>().ok_or_else(|| damaged("a record of the archive is too short"))?;
        self.0 = rest;
        Ok(*first)
    }
    fn u16(&mut self) -> Result<u16, Fault> {
        self.take().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Fault> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Fault> {
        self.take().map(u64::from_le_bytes)
    }
}

/// What the records at the end say of the directory.
struct Directory {
    start: u64,
    size: u64,
    count: u64,
}

impl Directory {
    fn find(source: &dyn Source) -> Result<Directory, Fault> {
        let length = source.length();
        // The end record is followed by a comment of at most 64 KiB.
        let tail_size = length.min(END_SIZE as u64 + 0xffff);
        let tail_start = length - tail_size;
        let tail = source.bytes(tail_start, tail_size)?;
        let mark = END.to_le_bytes();
        let ends = |at: usize| {
            let record = tail.get(at..at + END_SIZE)?;
            let comment = u16::from_le_bytes([*record.get(20)?, *record.get(21)?]) as usize;
            (record.starts_with(&mark) && at + END_SIZE + comment == tail.len()).then_some(record)
        };
        let at = (0..tail.len()).rev().find(|&at| ends(at).is_some());
        let Some((at, record)) = at.and_then(|at| Some((at, ends(at)?))) else {
            return Err(damaged("the archive has no directory at its end"));
        };
        let mut fields = Fields(record);
        fields.u32()?;
        let (disk, first_disk) = (fields.u16()?, fields.u16()?);
        fields.u16()?;
        let (count, size, start) = (fields.u16()?, fields.u32()?, fields.u32()?);
        let end = tail_start + at as u64;
        let is_full = count == u16::MAX || size == u32::MAX || start == u32::MAX;
        if is_full && let Some(large) = Directory::find_64(source, end)? {
            return Ok(large);
        }
        if disk != 0 || first_disk != 0 {
            return Err(foreign("the archive is a part of several", "join them to one file"));
        }
        Directory { start: start.into(), size: size.into(), count: count.into() }.before(end)
    }
    /// The record of the 64-bit form, if there is one.
    fn find_64(source: &dyn Source, end: u64) -> Result<Option<Directory>, Fault> {
        let Some(place) = end.checked_sub(20) else { return Ok(None) };
        let bytes = source.bytes(place, 20)?;
        let mut fields = Fields(&bytes);
        if fields.u32()? != END_64_PLACE {
            return Ok(None);
        }
        fields.u32()?;
        let at = fields.u64()?;
        if at > place {
            return Err(damaged("the archive's directory lies behind its end"));
        }
        let record = source.bytes(at, 56)?;
        let mut fields = Fields(&record);
        if fields.u32()? != END_64 {
            return Err(damaged("the archive's 64-bit directory is not where it should be"));
        }
        fields.take::<20>()?;
        fields.u64()?;
        let (count, size, start) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Directory { start, size, count }.before(at).map(Some)
    }
    /// The directory must end where the records begin, or before.
    fn before(self, end: u64) -> Result<Directory, Fault> {
        match self.start.checked_add(self.size) {
            // Every entry has a length of its own, so no more of them fit.
            Some(last) if last <= end && self.count <= self.size / DIRECTORY_SIZE as u64 => Ok(self),
            _ => Err(damaged("the archive's directory does not lie inside the file")),
        }
    }
}

impl<'a> Archive<'a> {
    /// Reads the directory. `room` limits how many bytes all compressed members together may become.
    pub(super) fn open(source: &'a dyn Source, room: u64) -> Result<Archive<'a>, Fault> {
        let directory = Directory::find(source)?;
        let bytes = source.bytes(directory.start, directory.size)?;
        let mut fields = Fields(&bytes);
        let mut archive = Archive { source, members: Vec::new(), places: HashMap::new(), room };
        for _ in 0..directory.count {
            let member = Member::read(&mut fields)?;
            if archive.places.insert(member.name.clone(), archive.members.len()).is_some() {
                return Err(damaged(format!("the archive has two members named {:?}", shown(&member.name))));
            }
            archive.members.push(member);
        }
        archive.place_members(directory.start)?;
        Ok(archive)
    }
    /// Finds where each member's bytes begin: no two may share any, which is how small archives pretend to be vast.
    fn place_members(&mut self, directory: u64) -> Result<(), Fault> {
        let source = self.source;
        let mut order: Vec<&mut Member> = self.members.iter_mut().collect();
        put_in_order(&mut order, &|a, b| a.start.cmp(&b.start));
        let mut free = 0;
        for member in order {
            if member.start < free {
                return Err(damaged(format!("the member {:?} overlaps another", shown(&member.name))));
            }
            let header = source.bytes(member.start, LOCAL_SIZE)?;
            let mut fields = Fields(&header);
            let mark = fields.u32()?;
            fields.u16()?;
            let (flags, method) = (fields.u16()?, fields.u16()?);
            fields.take::<16>()?;
            let (name, extra) = (fields.u16()?, fields.u16()?);
            let is_named = source.bytes(member.start + LOCAL_SIZE, name.into())? == member.name.as_bytes();
            if mark != LOCAL || method != member.method || flags & 1 != 0 || !is_named {
                return Err(damaged(format!("the member {:?} is not where the directory says", shown(&member.name))));
            }
            member.start += LOCAL_SIZE + u64::from(name) + u64::from(extra);
            free = match member.start.checked_add(member.packed) {
                Some(end) if end <= directory => end,
                _ => return Err(damaged(format!("the member {:?} does not end in time", shown(&member.name)))),
            };
        }
        Ok(())
    }
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.places.get(name).and_then(|&place| self.members.get(place))
    }
    /// A member as something to read from: in place where it is stored, else unpacked. Its checksum has been found right.
    pub(super) fn read(&mut self, name: &str) -> Result<Content<'a>, Fault> {
        let Some(member) = self.member(name).cloned() else {
            return Err(damaged(format!("the archive has no member {:?}", shown(name))));
        };
        let content = if member.method == STORED {
            Content::Stored { source: self.source, start: member.start, size: member.size }
        } else {
            if member.size > self.room {
                let what = format!("{:?} would unpack to {} bytes, {} may be", shown(name), member.size, self.room);
                return Err(foreign(what, "if the file can be trusted, read it with a larger limit"));
            }
            self.room -= member.size;
            let packed = self.source.bytes(member.start, member.packed)?;
            Content::Unpacked(inflate(&packed, member.size)?)
        };
        if content.checksum()? != member.checksum {
            return Err(damaged(format!("the member {:?} does not have its checksum", shown(name))));
        }
        Ok(content)
    }
}

impl Member {
    fn read(fields: &mut Fields<'_>) -> Result<Member, Fault> {
        if fields.u32()? != DIRECTORY {
            return Err(damaged("the archive's directory breaks off"));
        }
        fields.u32()?; // the versions it was made by and needs
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.u32()?; // date and time
        let checksum = fields.u32()?;
        let (mut packed, mut size) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        fields.take::<8>()?; // disk and attributes
        let mut start = u64::from(fields.u32()?);
        let mut part = |length: u16| {
            let (part, rest) = fields
                .0
                .split_at_checked(length.into())
                .ok_or_else(|| damaged("an entry of the archive's directory is too short"))?;
            fields.0 = rest;
            Ok(part)
        };
        let (name, mut extra, _) = (part(name)?, Fields(part(extra)?), part(comment)?);
        // The first extra field of kind 1 holds, in this order, the numbers that do not fit 32 bits.
        while let (Ok(kind), Ok(length)) = (extra.u16(), extra.u16()) {
            let Some((field, rest)) = extra.0.split_at_checked(length.into()) else { break };
            extra.0 = rest;
            if kind == 1 {
                let mut field = Fields(field);
                for number in [&mut size, &mut packed, &mut start] {
                    if *number == u64::from(u32::MAX) {
                        *number = field.u64()?;
                    }
                }
                break;
            }
        }
        let name = String::from_utf8(name.to_vec()).map_err(|_| damaged("a member's name is not UTF-8"))?;
        let member = Member { name, method, checksum, packed, size, start };
        member.check(flags)?;
        Ok(member)
    }
    fn check(&self, flags: u16) -> Result<(), Fault> {
        let name = shown(&self.name);
        let strange = |part: &str| part == ".." || part.contains(['\\', '\0', ':']);
        if self.name.is_empty() || self.name.starts_with('/') || self.name.split('/').any(strange) {
            return Err(damaged(format!("a member of the archive bears the name {name:?}")));
        }
        if flags & 1 != 0 {
            return Err(foreign(format!("the member {name:?} is encrypted"), "write the file without a password"));
        }
        match self.method {
            STORED if self.packed == self.size => Ok(()),
            STORED => Err(damaged(format!("the stored member {name:?} has two sizes"))),
            DEFLATED if self.size / DEFLATE_RATIO <= self.packed => Ok(()),
            DEFLATED => {
                let what = format!("{name:?} says that its {} bytes become {}", self.packed, self.size);
                Err(damaged(what))
            }
            method => {
                let what = format!("the member {name:?} is compressed by method {method}");
                Err(foreign(what, "write the file without compression, or with the usual one (deflate)"))
            }
        }
    }
}

/// The bytes of a member.
pub(super) enum Content<'a> {
    /// They stand in the archive as they are.
    Stored { source: &'a dyn Source, start: u64, size: u64 },
    /// They have been unpacked.
    Unpacked(Vec<u8>),
}

impl Content<'_> {
    fn checksum(&self) -> Result<u32, Fault> {
        match self {
            Content::Unpacked(bytes) => Ok(!crc32(!0, bytes)),
            Content::Stored { source, start, size } => {
                let mut block = vec![0; (*size).min(1 << 16) as usize];
                let (mut at, mut sum) = (0, !0);
                while at < *size {
                    let count = (size - at).min(block.len() as u64);
                    let Some(block) = block.get_mut(..count as usize) else { break };
                    source.read(start + at, block)?;
                    sum = crc32(sum, block);
                    at += count;
                }
                Ok(!sum)
            }
        }
    }
}

impl Source for Content<'_> {
    fn length(&self) -> u64 {
        match self {
            Content::Stored { size, .. } => *size,
            Content::Unpacked(bytes) => bytes.len() as u64,
        }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Fault> {
        match self {
            Content::Unpacked(bytes) => bytes.as_slice().read(at, into),
            Content::Stored { source, start, .. } => {
                self.reaches(at, into.len() as u64)?;
                source.read(start + at, into)
            }
        }
    }
}

#[cfg(feature = "deflate")]
pub(crate) fn inflate(packed: &[u8], size: u64) -> Result<Vec<u8>, Fault> {
    let wrong = || damaged("a compressed member of the archive cannot be unpacked to the size it should have");
    let size = usize::try_from(size).map_err(|_| wrong())?;
    let mut bytes = vec![0; size];
    let pieces = std::iter::once(packed);
    match miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut bytes, pieces, false, true) {
        Ok(count) if count == size => Ok(bytes),
        _ => Err(wrong()),
    }
}

#[cfg(not(feature = "deflate"))]
pub(crate) fn inflate(_: &[u8], _: u64) -> Result<Vec<u8>, Fault> {
    Err(foreign("a member of the archive is compressed", "build chainrule with its feature \"deflate\""))
}

/// Between fast and small: what zip programs take when they are not told.
#[cfg(feature = "deflate")]
pub(super) const LEVEL: u8 = 6;

#[cfg(feature = "deflate")]
fn deflate(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    Ok(miniz_oxide::deflate::compress_to_vec(bytes, LEVEL))
}

#[cfg(not(feature = "deflate"))]
fn deflate(_: &[u8]) -> Result<Vec<u8>, Fault> {
    Err(foreign("compression is not built in", "build chainrule with its feature \"deflate\""))
}

/// The checksum of zip: eight tables take eight bytes at a step.
pub(crate) fn crc32(mut sum: u32, bytes: &[u8]) -> u32 {
    static TABLES: [[u32; 256]; 8] = tables();
    let table = |which: usize, byte: u32| TABLES[which][(byte & 255) as usize];
    let (blocks, rest) = bytes.as_chunks::<8>();
    for &[a, b, c, d, e, f, g, h] in blocks {
        let first = sum ^ u32::from_le_bytes([a, b, c, d]);
        let second = u32::from_le_bytes([e, f, g, h]);
        sum = table(7, first) ^ table(6, first >> 8) ^ table(5, first >> 16) ^ table(4, first >> 24);
        sum ^= table(3, second) ^ table(2, second >> 8) ^ table(1, second >> 16) ^ table(0, second >> 24);
    }
    for &byte in rest {
        sum = (sum >> 8) ^ table(0, sum ^ u32::from(byte));
    }
    sum
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let (mut sum, mut bit) = (i as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        tables[0][i] = sum;
        i += 1;
    }
    let mut which = 1;
    while which < 8 {
        let mut i = 0;
        while i < 256 {
            let before: u32 = tables[which - 1][i];
            tables[which][i] = (before >> 8) ^ tables[0][(before & 255) as usize];
            i += 1;
        }
        which += 1;
    }
    tables
}

/// An archive being written, member by member; always in the form that allows 64-bit sizes.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    directory: Vec<u8>,
    count: u64,
    at: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Writer<'a> {
        Writer { out, directory: Vec::new(), count: 0, at: 0 }
    }
    /// Adds a member, compressed where that is asked for. `fill` hands over its bytes, and is called twice for a stored one:
    /// the checksum stands before the bytes.
    pub(super) fn add(
        &mut self,
        name: &str,
        compressed: bool,
        fill: impl Fn(&mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let name_size = u16::try_from(name.len()).map_err(|_| {
            Fault::value(format!("the name {:?} is too long for an archive", shown(name)), "shorten it")
        })?;
        let (mut size, mut sum, mut bytes) = (0u64, !0, Vec::new());
        fill(&mut |block| {
            size += block.len() as u64;
            sum = crc32(sum, block);
            if compressed {
                bytes.extend_from_slice(block);
            }
            Ok(())
        })?;
        if compressed {
            bytes = deflate(&bytes)?;
        }
        let packed = if compressed { bytes.len() as u64 } else { size };
        let method = if compressed { DEFLATED } else { STORED };

        // What both headers say alike; version 4.5 (64-bit sizes), names in UTF-8, no date (1980-01-01).
        let mut common = Vec::new();
        for number in [45u16, 1 << 11, method, 0, 0x21] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        for number in [!sum, u32::MAX, u32::MAX] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        common.extend_from_slice(&name_size.to_le_bytes());
        let start = self.at;

        let mut local = LOCAL.to_le_bytes().to_vec();
        local.extend_from_slice(&common);
        local.extend_from_slice(&20u16.to_le_bytes());
        local.extend_from_slice(name.as_bytes());
        local.extend_from_slice(&[1, 0, 16, 0]);
        local.extend_from_slice(&size.to_le_bytes());
        local.extend_from_slice(&packed.to_le_bytes());
        put(self.out, &local)?;
        if compressed {
            put(self.out, &bytes)?;
        } else {
            fill(&mut |block| put(self.out, block))?;
        }
        self.at += local.len() as u64 + packed;

        self.directory.extend_from_slice(&DIRECTORY.to_le_bytes());
        self.directory.extend_from_slice(&45u16.to_le_bytes());
        self.directory.extend_from_slice(&common);
        self.directory.extend_from_slice(&28u16.to_le_bytes());
        self.directory.extend_from_slice(&[0; 10]); // no comment, disk 0, no attributes
        self.directory.extend_from_slice(&u32::MAX.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.directory.extend_from_slice(&[1, 0, 24, 0]);
        for number in [size, packed, start] {
            self.directory.extend_from_slice(&number.to_le_bytes());
        }
        self.count += 1;
        Ok(())
    }
    /// Writes the directory.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let Writer { out, directory, count, at } = self;
        let size = directory.len() as u64;
        let mut end = directory;
        end.extend_from_slice(&END_64.to_le_bytes());
        end.extend_from_slice(&44u64.to_le_bytes());
        end.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, size, at] {
            end.extend_from_slice(&number.to_le_bytes());
        }
        end.extend_from_slice(&END_64_PLACE.to_le_bytes());
        end.extend_from_slice(&[0; 4]);
        end.extend_from_slice(&(at + size).to_le_bytes());
        end.extend_from_slice(&1u32.to_le_bytes());
        end.extend_from_slice(&END.to_le_bytes());
        end.extend_from_slice(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        end.extend_from_slice(&u32::MAX.to_le_bytes());
        end.extend_from_slice(&u32::MAX.to_le_bytes());
        end.extend_from_slice(&[0, 0]);
        put(out, &end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(!crc32(!0, b"123456789"), 0xcbf4_3926);
        assert_eq!(!crc32(!0, b""), 0);
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        assert_eq!(crc32(crc32(!0, &bytes[..333]), &bytes[333..]), crc32(!0, &bytes));
    }

    fn archive(compressed: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.add("a.bin", false, |sink| sink(b"stored")).unwrap();
        writer.add("folder/b.bin", compressed, |sink| (0..50).try_for_each(|_| sink(&[7; 100]))).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn content(content: Content<'_>) -> Vec<u8> {
        content.bytes(0, content.length()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for compressed in [false, cfg!(feature = "deflate")] {
            let bytes = archive(compressed);
            let source = &bytes[..];
            let mut archive = Archive::open(&source, 10_000).unwrap();
            let names: Vec<&str> = archive.members().iter().map(|member| member.name.as_str()).collect();
            assert_eq!(names, ["a.bin", "folder/b.bin"]);
            assert_eq!(content(archive.read("a.bin").unwrap()), b"stored");
            assert_eq!(content(archive.read("folder/b.bin").unwrap()), [7; 5000]);
            assert!(archive.read("c").is_err());
        }
    }

    #[test]
    fn an_archive_cut_or_bent_anywhere_is_an_error() {
        let bytes = archive(cfg!(feature = "deflate"));
        for length in 0..bytes.len() {
            assert!(Archive::open(&&bytes[..length], 10_000).is_err(), "{length}");
        }
        let all = |bytes: &[u8]| {
            let mut archive = Archive::open(&bytes, 10_000)?;
            archive.read("a.bin")?;
            archive.read("folder/b.bin").map(content)
        };
        assert_eq!(all(&bytes).unwrap(), [7; 5000]);
        // A byte that bears no meaning here may differ; what comes out may not.
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 0x41;
            assert!(all(&bent).is_err() || all(&bent).unwrap() == [7; 5000], "byte {at}");
        }
    }

    #[test]
    #[cfg(feature = "deflate")]
    fn what_unpacks_to_more_than_allowed_is_refused() {
        let bytes = archive(true);
        let source = &bytes[..];
        let mut archive = Archive::open(&source, 4_999).unwrap();
        assert!(archive.read("folder/b.bin").map(drop).unwrap_err().what().contains("5000 bytes, 4999 may be"));
        // The limit holds for all members together.
        let mut archive = Archive::open(&source, 9_999).unwrap();
        assert!(archive.read("folder/b.bin").is_ok() && archive.read("folder/b.bin").is_err());
    }

    #[test]
    fn names_that_leave_the_archive_are_refused() {
        for name in ["../x", "/etc/x", "a/../../x", "c:\\x", "a\\b", "", "a\0b"] {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            writer.add(name, false, |sink| sink(b"x")).unwrap();
            writer.finish().unwrap();
            assert!(
                Archive::open(&&bytes[..], 100).map(drop).unwrap_err().what().contains("bears the name"),
                "{name:?}"
            );
        }
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.add("x", false, |sink| sink(b"1")).unwrap();
        writer.add("x", false, |sink| sink(b"2")).unwrap();
        writer.finish().unwrap();
        assert!(Archive::open(&&bytes[..], 100).map(drop).unwrap_err().what().contains("two members"));
    }

    #[test]
    fn members_that_share_bytes_are_refused() {
        let mut bytes = archive(false);
        // Both entries of the directory point to the first member.
        let second = bytes.windows(12).rposition(|window| window == b"folder/b.bin").unwrap();
        let start = second + 12 + 4 + 16;
        bytes[start..start + 8].fill(0);
        assert!(Archive::open(&&bytes[..], 100).map(drop).unwrap_err().what().contains("overlaps"));
    }
}
