//! Files compressed by gzip, as far as files of numbers need them: one stream, whose size something inside of it says.
//!
//! What comes out is limited before memory is asked for: the caller looks at the first bytes and says how many there must
//! be, the file's last four bytes must agree, and deflate cannot make more than some thousand bytes of one.

use super::place::{damaged, foreign};
use super::zip::{DEFLATE_RATIO, crc32, inflate};
use crate::error::Fault;

/// How every file of this kind begins.
pub(crate) const MAGIC: &[u8] = &[0x1f, 0x8b];
const DEFLATED: u8 = 8;
/// Bits of a header's flags.
const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const UNKNOWN: u8 = 0xe0;

/// A file's parts.
struct Parts<'a> {
    packed: &'a [u8],
    checksum: u32,
    /// The size of what comes out, modulo 2³².
    size: u32,
}

impl Parts<'_> {
    fn of(file: &[u8]) -> Result<Parts<'_>, Fault> {
        let short = || damaged("the compressed file is too short for its header");
        let (head, mut rest) = file.split_first_chunk::<10>().ok_or_else(short)?;
        let [first, second, method, flags, ..] = *head;
        if [first, second] != MAGIC {
            return Err(damaged("the file does not begin as gzip's do"));
        }
        if method != DEFLATED || flags & UNKNOWN != 0 {
            return Err(foreign("the file is compressed in an unknown way", "compress it with gzip, or not at all"));
        }
        if flags & EXTRA != 0 {
            let (size, after) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            rest = after.get(usize::from(u16::from_le_bytes(*size))..).ok_or_else(short)?;
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                let end = rest.iter().position(|&byte| byte == 0).ok_or_else(short)?;
                rest = rest.get(end + 1..).ok_or_else(short)?;
            }
        }
        if flags & HEADER_CHECKSUM != 0 {
            rest = rest.get(2..).ok_or_else(short)?;
        }
        let (rest, size) = rest.split_last_chunk::<4>().ok_or_else(short)?;
        let (packed, checksum) = rest.split_last_chunk::<4>().ok_or_else(short)?;
        Ok(Parts { packed, checksum: u32::from_le_bytes(*checksum), size: u32::from_le_bytes(*size) })
    }
}

/// What was compressed. `size` says from the first bytes (at most `START`, fewer in a shorter file) how many there are in
/// all; a file that says otherwise is refused before memory is asked for.
pub(crate) fn unpack(file: &[u8], size: impl FnOnce(&[u8]) -> Result<u64, Fault>) -> Result<Vec<u8>, Fault> {
    let parts = Parts::of(file)?;
    let mut start = [0; START];
    let count = first_bytes(parts.packed, &mut start)?;
    let size = size(start.get(..count).unwrap_or_default())?;
    if size as u32 != parts.size || size / DEFLATE_RATIO > parts.packed.len() as u64 {
        let what = format!("the header inside speaks of {size} bytes, the compressed file of {}", parts.size);
        return Err(damaged(what));
    }
    let bytes = inflate(parts.packed, size)?;
    if !crc32(!0, &bytes) != parts.checksum {
        return Err(damaged("what was unpacked does not have its checksum"));
    }
    Ok(bytes)
}

/// How many bytes `unpack` shows at most before it unpacks all.
pub(crate) const START: usize = 64;

#[cfg(feature = "deflate")]
fn first_bytes(packed: &[u8], start: &mut [u8]) -> Result<usize, Fault> {
    use miniz_oxide::inflate::TINFLStatus::{Done, HasMoreOutput};
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, _, count) = decompress(&mut Box::<DecompressorOxide>::default(), packed, start, 0, flags);
    match status {
        Done | HasMoreOutput => Ok(count),
        _ => Err(damaged("the compressed file cannot be unpacked")),
    }
}

#[cfg(not(feature = "deflate"))]
fn first_bytes(_: &[u8], _: &mut [u8]) -> Result<usize, Fault> {
    Err(foreign("the file is compressed", "build chainrule with its feature \"deflate\", or unpack it with gunzip"))
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use super::*;

    /// As gzip would write it, with every part a header can have.
    fn pack(bytes: &[u8], flags: u8) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        if flags & EXTRA != 0 {
            file.extend([3, 0, 7, 7, 7]);
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                file.extend(b"name\0");
            }
        }
        if flags & HEADER_CHECKSUM != 0 {
            file.extend([1, 2]);
        }
        file.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
        file.extend((!crc32(!0, bytes)).to_le_bytes());
        file.extend((bytes.len() as u32).to_le_bytes());
        file
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for bytes in [vec![], vec![7; 10], (0..100_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect::<Vec<u8>>()]
        {
            for flags in [0, EXTRA, NAME, COMMENT, HEADER_CHECKSUM, EXTRA | NAME | COMMENT | HEADER_CHECKSUM] {
                let unpacked = unpack(&pack(&bytes, flags), |start| {
                    assert_eq!(start, &bytes[..bytes.len().min(START)]);
                    Ok(bytes.len() as u64)
                });
                assert_eq!(unpacked.expect("bytes"), bytes);
            }
        }
    }

    #[test]
    fn what_was_changed_is_refused() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        let file = pack(&bytes, NAME);
        let all = |_: &[u8]| Ok(bytes.len() as u64);
        for length in 0..file.len() {
            assert!(unpack(&file[..length], all).is_err(), "{length} bytes");
        }
        // Date, level and system, the letters of the name, and what fills up the last compressed byte are read by nobody.
        for at in (0..file.len()).filter(|at| !(4..14).contains(at) && at + 9 != file.len()) {
            let mut bent = file.clone();
            bent[at] ^= 0x10;
            assert!(unpack(&bent, all).is_err(), "byte {at}");
        }
        let fault = unpack(&file, |_| Ok(1 << 40)).expect_err("too many");
        assert!(fault.what().contains("speaks of 1099511627776"), "{}", fault.what());
    }
}
