//! Zip archives taken apart and put together, with the right checksums.
#![allow(dead_code, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

/// The members of an archive of ours or of PyTorch, all stored.
pub fn unzip(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number = |at: usize, size: usize| (0..size).fold(0, |sum, i| sum | (archive[at + i] as usize) << (8 * i));
    let end = archive.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    let large = archive.windows(4).rposition(|window| window == b"PK\x06\x06");
    let (count, mut at) = match large {
        Some(large) => (number(large + 32, 8), number(large + 48, 8)),
        None => (number(end + 10, 2), number(end + 16, 4)),
    };
    let mut members = Vec::new();
    for _ in 0..count {
        let (name, extra, comment) = (number(at + 28, 2), number(at + 30, 2), number(at + 32, 2));
        let (mut size, mut start) = (number(at + 24, 4), number(at + 42, 4));
        let field = at + 46 + name + 4;
        if size == u32::MAX as usize {
            (size, start) = (number(field, 8), number(field + 16, 8));
        }
        let data = start + 30 + number(start + 26, 2) + number(start + 28, 2);
        let name_text = String::from_utf8(archive[at + 46..at + 46 + name].to_vec()).unwrap();
        members.push((name_text, archive[data..data + size].to_vec()));
        at += 46 + name + extra + comment;
    }
    members
}

pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ byte as u32, |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

/// An archive with the right checksums.
pub fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let start = archive.len() as u32;
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for number in [crc32(bytes), bytes.len() as u32, bytes.len() as u32, name.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(bytes);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size, count) = (archive.len() as u32, directory.len() as u32, members.len() as u16);
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend(size.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}
