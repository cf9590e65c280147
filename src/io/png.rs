//! Pictures as PNG files: what is drawn for a look, and what is kept as data.

use super::zip::crc32;

/// Rows of pixels of 1 or 3 channels.
pub(crate) fn encode(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend_from_slice(&(width as u32).to_be_bytes());
    header.extend_from_slice(&(height as u32).to_be_bytes());
    // eight bits of grey or of each colour; the only compression, filter and order there are
    header.extend_from_slice(&[8, if channels == 1 { 0 } else { 2 }, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    let mut rows = Vec::with_capacity(pixels.len() + height);
    for row in pixels.chunks((width * channels).max(1)) {
        rows.push(0); // no filter
        rows.extend_from_slice(row);
    }
    chunk(&mut png, b"IDAT", &packed(&rows));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], bytes: &[u8]) {
    png.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    let begin = png.len();
    png.extend_from_slice(name);
    png.extend_from_slice(bytes);
    let sum = !crc32(!0, png.get(begin..).unwrap_or_default());
    png.extend_from_slice(&sum.to_be_bytes());
}

/// A zlib stream, compressed.
#[cfg(feature = "deflate")]
fn packed(bytes: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(bytes, super::zip::LEVEL)
}

/// A zlib stream of blocks that are not compressed.
#[cfg(not(feature = "deflate"))]
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = bytes.chunks(u16::MAX as usize);
    let last = blocks.len();
    for (at, block) in blocks.enumerate() {
        stream.push((at + 1 == last) as u8);
        let length = block.len() as u16;
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    stream.extend_from_slice(&(b << 16 | a).to_be_bytes());
    stream
}
