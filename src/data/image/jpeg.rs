//! JPEG files, through the crate `zune-jpeg`.

use super::exif::orientation;
use super::pixels::{Pixels, within};
use crate::error::Fault;
use crate::io::place::damaged;
use std::panic::catch_unwind;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// How every file of this kind begins.
pub(super) const MAGIC: &[u8] = &[0xff, 0xd8, 0xff];

/// After this mark come pixels.
const SCAN: u8 = 0xda;
const END: [u8; 2] = [0xff, 0xd9];

/// A block of 8 times 8 pixels takes a bit at least.
const PIXELS_OF_A_BYTE: usize = 8 * 64;

/// Reads a picture of up to so many pixels.
pub(super) fn read(file: &[u8], most: usize) -> Result<Pixels, Fault> {
    // Should the decoder panic on a file, then that file cannot be read, and nothing else has happened.
    catch_unwind(|| decode(file, most)).unwrap_or_else(|_| Err(damaged("the decoder gives up")))
}

/// Does the mark of the end follow the first pixels? A mark cannot stand in packed pixels. The decoder does not miss it where
/// only the last rows are cut off.
fn ends(file: &[u8]) -> bool {
    let mut rest = file.get(2..).unwrap_or_default();
    // Parts before the pixels say how long they are; a small picture in one of them has an end of its own.
    while let [0xff, mark, high, low, ..] = *rest
        && mark != SCAN
    {
        let length = if mark == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        rest = rest.get(length..).unwrap_or_default();
    }
    rest.windows(2).rev().any(|pair| pair == END)
}

fn decode(file: &[u8], most: usize) -> Result<Pixels, Fault> {
    // What is cut short is an error, not a picture with a grey end.
    let options = DecoderOptions::default().set_strict_mode(true);
    let options = options.set_max_width(usize::from(u16::MAX)).set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let wrong = |error: zune_jpeg::errors::DecodeErrors| damaged(format!("{error}"));
    decoder.decode_headers().map_err(wrong)?;
    let Some(info) = decoder.info() else { return Err(damaged("the picture has no header")) };
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    within(height, width, most)?;
    if !ends(file) {
        return Err(damaged("the file ends before its picture does"));
    }
    if height * width / PIXELS_OF_A_BYTE > file.len() {
        return Err(damaged(format!("{} bytes do not make {width} times {height} pixels", file.len())));
    }
    let (channels, colours) = if info.components == 1 { (1, ColorSpace::Luma) } else { (3, ColorSpace::RGB) };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let bytes = decoder.decode().map_err(wrong)?;
    let orientation = decoder.exif().map_or(1, |data| orientation(data));
    if bytes.len() != channels * height * width {
        return Err(damaged("the picture has another size than its header says"));
    }
    if channels == 1 {
        return Ok(Pixels { bytes, channels, height, width }.upright(orientation));
    }
    let mut pixels = Pixels::new(channels, height, width);
    for (channel, plane) in pixels.bytes.chunks_exact_mut(height * width).enumerate() {
        plane.iter_mut().zip(bytes.iter().skip(channel).step_by(3)).for_each(|(to, from)| *to = *from);
    }
    Ok(pixels.upright(orientation))
}
