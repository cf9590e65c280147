//! PNG files, of every kind.
//!
//! Chunks with checksums; the pixels are one zlib stream of rows, each of which says how its bytes were made differences of
//! those beside and above. An interlaced picture is seven smaller ones, one after another.

use super::exif::orientation;
use super::pixels::{Pixels, within};
use crate::error::Fault;
use crate::io::place::{damaged, foreign};
use crate::io::zip::{DEFLATE_RATIO, crc32};

/// How every file of this kind begins.
pub(super) const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What a pixel is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Colour {
    Grey,
    Rgb,
    Palette,
    GreyAlpha,
    RgbAlpha,
}

struct Header {
    width: usize,
    height: usize,
    /// Bits of a sample.
    depth: usize,
    colour: Colour,
    interlaced: bool,
}

/// Where the pixels of a pass stand: the first column and row, and the steps between them.
type Pass = [usize; 4];
const WHOLE: &[Pass] = &[[0, 0, 1, 1]];
const INTERLACED: &[Pass] =
    &[[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

impl Header {
    fn read(data: &[u8]) -> Result<Header, Fault> {
        let &[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, compression, filter, interlaced] = data else {
            return Err(damaged(format!("a header of {} bytes, not of 13", data.len())));
        };
        let colour = match (colour, depth) {
            (0, 1 | 2 | 4 | 8 | 16) => Colour::Grey,
            (2, 8 | 16) => Colour::Rgb,
            (3, 1 | 2 | 4 | 8) => Colour::Palette,
            (4, 8 | 16) => Colour::GreyAlpha,
            (6, 8 | 16) => Colour::RgbAlpha,
            _ => return Err(damaged(format!("no picture has colours of kind {colour} with {depth} bits"))),
        };
        if compression != 0 || filter != 0 || interlaced > 1 {
            let what = format!("pixels packed in the unknown way {compression}, {filter}, {interlaced}");
            return Err(damaged(what));
        }
        let (width, height) = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
        Ok(Header {
            width: width as usize,
            height: height as usize,
            depth: usize::from(depth),
            colour,
            interlaced: interlaced == 1,
        })
    }
    fn samples(&self) -> usize {
        match self.colour {
            Colour::Grey | Colour::Palette => 1,
            Colour::GreyAlpha => 2,
            Colour::Rgb => 3,
            Colour::RgbAlpha => 4,
        }
    }
    /// The passes that have pixels: each with its height, its width, and the bytes of a row.
    fn passes(&self) -> impl Iterator<Item = (Pass, usize, usize, usize)> {
        let passes = if self.interlaced { INTERLACED } else { WHOLE };
        passes.iter().filter_map(|pass| {
            let [x, y, dx, dy] = *pass;
            let height = self.height.saturating_sub(y).div_ceil(dy);
            let width = self.width.saturating_sub(x).div_ceil(dx);
            let bytes = (width * self.samples() * self.depth).div_ceil(8);
            (height * width > 0).then_some((*pass, height, width, bytes))
        })
    }
}

/// The parts of a file that matter here.
struct Parts<'a> {
    header: Header,
    palette: &'a [[u8; 3]],
    packed: Vec<&'a [u8]>,
    exif: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(file: &'a [u8], most: usize) -> Result<Parts<'a>, Fault> {
        let mut rest = file.get(MAGIC.len()..).unwrap_or_default();
        let (mut header, mut palette, mut packed, mut exif): (_, &[_], _, &[u8]) = (None, &[], Vec::new(), &[]);
        loop {
            let (name, data, after) = chunk(rest).ok_or_else(|| damaged("the file ends before its last chunk"))?;
            rest = after.ok_or_else(|| damaged(format!("the chunk {} does not have its checksum", shown(name))))?;
            match (name, &header) {
                (b"IHDR", None) => {
                    let read = Header::read(data)?;
                    within(read.height, read.width, most)?;
                    header = Some(read);
                }
                (_, None) => return Err(damaged(format!("the file begins with the chunk {}", shown(name)))),
                (b"PLTE", Some(_)) => match data.as_chunks() {
                    (colours, []) if (1..=256).contains(&colours.len()) => palette = colours,
                    _ => return Err(damaged(format!("a palette of {} bytes", data.len()))),
                },
                (b"IDAT", Some(_)) => packed.push(data),
                (b"eXIf", Some(_)) => exif = data,
                (b"IEND", _) => break,
                // A capital letter says that the picture cannot be understood without this chunk.
                ([first, ..], Some(_)) if first.is_ascii_uppercase() => {
                    let what = format!("the picture needs a chunk {}, which is not known", shown(name));
                    return Err(foreign(what, "write it as a plain PNG"));
                }
                _ => {}
            }
        }
        let header = header.ok_or_else(|| damaged("the file has no header"))?;
        Ok(Parts { header, palette, packed, exif })
    }
}

/// A chunk: its name, what it holds, and what follows if its checksum is right.
type Chunk<'a> = (&'a [u8; 4], &'a [u8], Option<&'a [u8]>);

/// The first chunk.
fn chunk(file: &[u8]) -> Option<Chunk<'_>> {
    let (length, rest) = file.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (name, _) = rest.split_first_chunk::<4>()?;
    let (summed, rest) = rest.split_at_checked(length.checked_add(4)?)?;
    let (sum, after) = rest.split_first_chunk::<4>()?;
    let is_right = !crc32(!0, summed) == u32::from_be_bytes(*sum);
    Some((name, summed.get(4..)?, is_right.then_some(after)))
}

fn shown(name: &[u8; 4]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

/// Reads a picture of up to so many pixels.
pub(super) fn read(file: &[u8], most: usize) -> Result<Pixels, Fault> {
    let Parts { header, palette, packed, exif } = Parts::of(file, most)?;
    if header.colour == Colour::Palette && palette.is_empty() {
        return Err(damaged("the picture has no palette"));
    }
    let mut rows = inflate(&header, &packed)?;
    let channels = if matches!(header.colour, Colour::Grey | Colour::GreyAlpha) { 1 } else { 3 };
    let mut pixels = Pixels::new(channels, header.height, header.width);
    // Bytes of a pixel, or one where it has fewer bits: so far apart are those that filters compare.
    let step = (header.samples() * header.depth).div_ceil(8);
    let mut rest = rows.as_mut_slice();
    for (pass, height, width, bytes) in header.passes() {
        let (own, after) = rest.split_at_mut_checked(height * (1 + bytes)).ok_or_else(short)?;
        rest = after;
        let mut above = vec![0; bytes];
        let mut line = vec![0; width * header.samples()];
        for (number, row) in own.chunks_exact_mut(1 + bytes).enumerate() {
            let Some((filter, row)) = row.split_first_mut() else { continue };
            match step {
                1 => restore::<1>(*filter, &above, row)?,
                2 => restore::<2>(*filter, &above, row)?,
                3 => restore::<3>(*filter, &above, row)?,
                4 => restore::<4>(*filter, &above, row)?,
                6 => restore::<6>(*filter, &above, row)?,
                _ => restore::<8>(*filter, &above, row)?,
            }
            above.copy_from_slice(row);
            samples(&header, row, &mut line);
            place(&mut pixels, pass, number, &header, palette, &line)?;
        }
    }
    Ok(pixels.upright(orientation(exif)))
}

#[cold]
fn short() -> Fault {
    damaged("the pixels cannot be unpacked to as many as the header says")
}

/// The filtered rows of all passes.
fn inflate(header: &Header, packed: &[&[u8]]) -> Result<Vec<u8>, Fault> {
    let size: usize = header.passes().map(|(_, height, _, bytes)| height * (1 + bytes)).sum();
    let given = packed.iter().map(|piece| piece.len() as u64).sum::<u64>();
    // Memory is not asked for what cannot come.
    if size as u64 / DEFLATE_RATIO > given {
        return Err(short());
    }
    let mut rows = vec![0; size];
    match miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut rows, packed.iter().copied(), true, false) {
        Ok(count) if count == size => Ok(rows),
        _ => Err(short()),
    }
}

/// Makes bytes of the differences in a row. `N` is how far apart the bytes are that are compared.
fn restore<const N: usize>(filter: u8, above: &[u8], row: &mut [u8]) -> Result<(), Fault> {
    let mut left = [0; N];
    match filter {
        0 => {}
        1 => {
            for pixel in row.chunks_mut(N) {
                for (byte, left) in pixel.iter_mut().zip(&mut left) {
                    *byte = byte.wrapping_add(*left);
                    *left = *byte;
                }
            }
        }
        2 => row.iter_mut().zip(above).for_each(|(byte, above)| *byte = byte.wrapping_add(*above)),
        3 => {
            for (pixel, above) in row.chunks_mut(N).zip(above.chunks(N)) {
                for ((byte, above), left) in pixel.iter_mut().zip(above).zip(&mut left) {
                    *byte = byte.wrapping_add(((u16::from(*left) + u16::from(*above)) / 2) as u8);
                    *left = *byte;
                }
            }
        }
        4 => {
            let mut corner = [0; N];
            for (pixel, above) in row.chunks_mut(N).zip(above.chunks(N)) {
                for (((byte, above), left), corner) in pixel.iter_mut().zip(above).zip(&mut left).zip(&mut corner) {
                    *byte = byte.wrapping_add(nearest(*left, *above, *corner));
                    (*left, *corner) = (*byte, *above);
                }
            }
        }
        unknown => return Err(damaged(format!("a row is filtered in the unknown way {unknown}"))),
    }
    Ok(())
}

/// Which of three neighbours is nearest to what a plane through them would say.
#[inline]
fn nearest(left: u8, above: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(above), i16::from(corner));
    let (to_left, to_above, to_corner) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_left <= to_above && to_left <= to_corner {
        left
    } else if to_above <= to_corner {
        above
    } else {
        corner
    }
}

/// The samples of a row, a byte each: of 16 bits the upper eight.
fn samples(header: &Header, row: &[u8], line: &mut [u8]) {
    match header.depth {
        16 => line.iter_mut().zip(row.chunks_exact(2)).for_each(|(sample, pair)| *sample = pair[0]),
        8 => line.copy_from_slice(row),
        depth => {
            let (mask, in_byte) = ((1u8 << depth) - 1, 8 / depth);
            for (samples, &byte) in line.chunks_mut(in_byte).zip(row) {
                for (number, sample) in samples.iter_mut().enumerate() {
                    *sample = (byte >> (8 - depth * (number + 1))) & mask;
                }
            }
            if header.colour == Colour::Grey {
                line.iter_mut().for_each(|sample| *sample *= 255 / mask);
            }
        }
    }
}

/// Puts a row of a pass where it belongs.
fn place(
    pixels: &mut Pixels,
    [x, y, dx, dy]: Pass,
    number: usize,
    header: &Header,
    palette: &[[u8; 3]],
    line: &[u8],
) -> Result<(), Fault> {
    let (count, width, step) = (pixels.height * pixels.width, pixels.width, header.samples());
    let begin = (y + dy * number) * width;
    for (channel, plane) in pixels.bytes.chunks_exact_mut(count).enumerate() {
        let row = plane.get_mut(begin..begin + width).ok_or_else(short)?;
        let row = row.iter_mut().skip(x).step_by(dx);
        if header.colour != Colour::Palette {
            row.zip(line.iter().skip(channel).step_by(step)).for_each(|(pixel, sample)| *pixel = *sample);
            continue;
        }
        for (pixel, &sample) in row.zip(line) {
            let colour = palette
                .get(usize::from(sample))
                .ok_or_else(|| damaged(format!("a pixel has colour {sample} of a palette of {}", palette.len())))?;
            *pixel = colour[channel];
        }
    }
    Ok(())
}
