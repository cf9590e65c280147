//! Data bent in a thousand ways, arrays of IDX, tables of CSV, pictures: no panic, no hang, no more memory than its size explains.
//!
//! As `hostile_files`: some seconds by default, more by `CHAINRULE_FUZZ`, and a third must get past the outer structure.

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/archive.rs"]
mod archive;
#[path = "common/bend.rs"]
mod bend;
#[path = "common/guard.rs"]
mod guard;

use allocator::{Counting, most_during};
use bend::{Random, bend, bend_words, hold};
use chainrule::data::{Csv, Fill, Kind, Table, idx};
use chainrule::{DType, Error, Tensor};
use std::fs;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Arrays of every element type.
fn arrays() -> Vec<Vec<u8>> {
    let path = std::env::temp_dir().join(format!("chainrule-hostile-{}.idx", std::process::id()));
    let numbers = Tensor::arange(24);
    let mut files: Vec<Vec<u8>> = [
        numbers.reshape([24]).to_dtype(DType::U8),
        numbers.reshape([2, 3, 4]).to_dtype(DType::U8),
        numbers.reshape([4, 6]).to_dtype(DType::I32),
        numbers.reshape([1, 2, 2, 6]).to_dtype(DType::F32),
        numbers.reshape([3, 8]).to_dtype(DType::F64),
        Tensor::zeros([5, 0]).to_dtype(DType::F32),
    ]
    .iter()
    .map(|tensor| {
        idx::save(&path, tensor).unwrap();
        fs::read(&path).unwrap()
    })
    .collect();
    fs::remove_file(&path).unwrap();
    files.push(vec![0, 0, 0x09, 1, 0, 0, 0, 3, 0x80, 0, 0x7f]);
    files.push(vec![0, 0, 0x0b, 1, 0, 0, 0, 2, 0x80, 0, 0x7f, 0xff]);
    files
}

/// Changes a size, the element type, the number of axes or the numbers; most of the time the file's length then fits.
fn bend_idx(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let axes = file[3] as usize;
    let mut numbers = file.split_off(4 + 4 * axes);
    match random.below(8) {
        0 => {
            file.extend(numbers);
            bend(random, &mut file);
            return file;
        }
        1 => bend(random, &mut numbers),
        2 => {
            // Another number of axes.
            file[3] = random.below(18) as u8;
            file.truncate(4);
            for _ in 0..file[3] {
                let size = *random.one(&[&0u32, &1, &1, &1, &2, &3, &0x1_0000, &u32::MAX]);
                file.extend(size.to_be_bytes());
            }
        }
        3 => file[2] = *random.one(&[&0x08, &0x09, &0x0b, &0x0c, &0x0d, &0x0e, &0x0a, &0xff]),
        4 => numbers.iter_mut().for_each(|byte| *byte = random.bits() as u8),
        _ => {
            let at = 4 + 4 * random.below(axes);
            let small = random.below(40) as u32;
            let size = *random.one(&[&small, &small, &0, &0x7fff_ffff, &0x8000_0000, &u32::MAX]);
            file[at..at + 4].copy_from_slice(&size.to_be_bytes());
        }
    }
    let sizes = file[4..].chunks(4).map(|size| u32::from_be_bytes(size.try_into().unwrap()) as usize);
    let count = sizes.fold(1, usize::saturating_mul);
    let width = [1, 1, 1, 2, 4, 4, 8].get((file[2] as usize).wrapping_sub(8)).copied().unwrap_or(1);
    if count < 1 << 12 && random.below(8) > 0 {
        numbers.resize(count * width, 0x55);
    }
    file.extend(numbers);
    file
}

fn read_idx(bytes: &[u8]) -> Option<Error> {
    match idx::from_bytes(bytes) {
        Ok(array) => {
            let numbers = array.to_vec::<f64>().unwrap();
            assert_eq!(numbers.len(), array.count().unwrap());
            None
        }
        Err(error) => Some(error),
    }
}

#[test]
fn idx_files() {
    hold("idx", arrays(), bend_idx, read_idx, |error| {
        ["two zero bytes", "too few", "inside its header", "no element type", "axes"]
            .iter()
            .any(|words| error.contains(words))
    });
}

#[cfg(feature = "deflate")]
mod compressed {
    use super::*;
    use archive::crc32;
    use miniz_oxide::deflate::compress_to_vec;
    use miniz_oxide::inflate::decompress_to_vec_with_limit;

    /// Where the compressed bytes begin in files of `pack`.
    const HEADER: usize = 10;

    /// A gzip file of what is packed already, with the checksum and the size of what comes out.
    fn around(packed: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        file.extend(packed);
        file.extend(crc32(bytes).to_le_bytes());
        file.extend((bytes.len() as u32).to_le_bytes());
        file
    }

    fn pack(bytes: &[u8]) -> Vec<u8> {
        around(&compress_to_vec(bytes, 6), bytes)
    }

    fn unpack(file: &[u8]) -> Vec<u8> {
        decompress_to_vec_with_limit(&file[HEADER..file.len() - 8], 1 << 20).unwrap()
    }

    /// Changes the file, what is packed in it, or how it is packed; checksum and size are mended but for the first.
    fn bend_gzip(random: &mut Random, file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        match random.below(6) {
            0 => {
                bend(random, &mut file);
                file
            }
            1 => {
                // The parts that a header may have.
                let parts: [(u8, &[u8]); 4] = [(2, b"\0\0"), (4, b"\x02\0ab"), (8, b"name\0"), (16, b"words\0")];
                let (flag, part) = parts[random.below(4)];
                file[3] = flag;
                let mut part = part.to_vec();
                if random.below(2) == 0 {
                    bend(random, &mut part);
                }
                file.splice(HEADER..HEADER, part);
                file
            }
            2 => {
                let mut packed = file[HEADER..file.len() - 8].to_vec();
                bend(random, &mut packed);
                match decompress_to_vec_with_limit(&packed, 1 << 16) {
                    Ok(bytes) => around(&packed, &bytes),
                    Err(_) => around(&packed, &unpack(&file)),
                }
            }
            _ => pack(&bend_idx(random, &unpack(&file))),
        }
    }

    #[test]
    fn files() {
        let seeds = arrays().iter().map(|file| pack(file)).collect();
        hold("gzip", seeds, bend_gzip, read_idx, |error| {
            ["too short for its header", "unknown way", "two zero bytes", "cannot be unpacked", "checksum", "speaks of"]
                .iter()
                .any(|words| error.contains(words))
        });
    }

    #[test]
    fn a_bomb_is_small() {
        // A header of 4 GB in a kilobyte; an honest trailer over a stream that goes on and on; the reverse.
        let header = [0, 0, 8, 1, 0xff, 0xff, 0xff, 0xf0];
        let long = [&[0, 0, 8, 1, 0, 0, 0, 8][..], &vec![7; 64 << 20]].concat();
        let packed = compress_to_vec(&long, 6);
        let mut claims = pack(&header);
        let end = claims.len();
        claims[end - 4..].copy_from_slice(&0xffff_fff8_u32.to_le_bytes());
        for file in [claims, around(&packed, &long[..16]), around(&packed[..1000], &long)] {
            let (outcome, most) = most_during(|| guard::guarded(|| read_idx(&file)));
            assert!(outcome.unwrap().is_some(), "a bomb is read");
            assert!(most < 1 << 20, "{most} bytes for {}", file.len());
        }
        // What is honest is read, however much smaller it became.
        let honest = [&[0, 0, 8, 1, 0, 16, 0, 0][..], &vec![7; 1 << 20]].concat();
        assert!(read_idx(&pack(&honest)).is_none());
    }
}

#[cfg(feature = "images")]
mod pictures {
    use super::*;
    use archive::crc32;
    use bend::hold_within;
    use chainrule::data::image;
    use miniz_oxide::deflate::compress_to_vec_zlib;
    use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

    fn fixtures(end: &str) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> =
            fs::read_dir("tests/fixtures/pictures").unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|own| own == end));
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    fn read_picture(bytes: &[u8]) -> Option<Error> {
        match image::from_bytes(bytes) {
            Ok(picture) => {
                let [channels, height, width] = picture.dims().unwrap();
                assert!(matches!(channels, 1 | 3));
                assert_eq!(picture.to_vec::<u8>().unwrap().len(), channels * height * width);
                None
            }
            Err(error) => {
                // What panics inside of a decoder is an error; but none is known.
                assert!(!error.what().contains("the decoder gives up"), "{error}");
                Some(error)
            }
        }
    }

    type Chunk = ([u8; 4], Vec<u8>);

    /// The chunks of a sound PNG, what is packed in one piece.
    fn chunks(file: &[u8]) -> Vec<Chunk> {
        let (mut chunks, mut at): (Vec<Chunk>, _) = (Vec::new(), 8);
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            let name: [u8; 4] = file[at + 4..at + 8].try_into().unwrap();
            let data = &file[at + 8..at + 8 + length];
            match chunks.last_mut() {
                Some((last, packed)) if *last == name && &name == b"IDAT" => packed.extend(data),
                _ => chunks.push((name, data.to_vec())),
            }
            at += 12 + length;
        }
        chunks
    }

    fn joined(chunks: &[Chunk]) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (name, data) in chunks {
            let summed = [&name[..], data].concat();
            file.extend((data.len() as u32).to_be_bytes());
            file.extend(&summed);
            file.extend(crc32(&summed).to_be_bytes());
        }
        file
    }

    /// Changes the file, its chunks, what they hold, the rows that are packed in it; checksums are mended but for the first.
    fn bend_png(random: &mut Random, file: &[u8]) -> Vec<u8> {
        let mut chunks = chunks(file);
        let place = random.below(chunks.len());
        match random.below(8) {
            0 => {
                let mut file = file.to_vec();
                bend(random, &mut file);
                return file;
            }
            1 => bend(random, &mut chunks[place].1),
            2 => {
                // Other chunks, or in another order.
                let other = random.below(chunks.len());
                match random.below(4) {
                    0 => drop(chunks.remove(place)),
                    1 => chunks.swap(place, other),
                    2 => {
                        let copy = chunks[other].clone();
                        chunks.insert(place, copy);
                    }
                    _ => {
                        let names: [&[u8; 4]; 6] = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"NEWS"];
                        chunks[place].0 = *random.one(&names);
                    }
                }
            }
            3 | 4 => {
                // A size, or what a pixel is made of.
                let header = &mut chunks[0].1;
                let at = random.below(9);
                match at {
                    0 => header[random.below(8)] = random.bits() as u8,
                    1 | 2 => header[4 * at - 1] = random.below(40) as u8,
                    _ => {
                        header[8] = *random.one(&[&1, &2, &4, &8, &16, &3]);
                        header[9] = random.below(8) as u8;
                        header[12] = random.below(3) as u8;
                    }
                }
            }
            _ => {
                let packed = &mut chunks.iter_mut().find(|(name, _)| name == b"IDAT").unwrap().1;
                if random.below(3) == 0 {
                    bend(random, packed);
                } else {
                    let mut rows = decompress_to_vec_zlib_with_limit(packed, 1 << 16).unwrap();
                    let size = rows.len();
                    bend(random, &mut rows);
                    if random.below(4) > 0 {
                        rows.resize(size, 1);
                    }
                    *packed = compress_to_vec_zlib(&rows, 6);
                }
            }
        }
        joined(&chunks)
    }

    /// A byte of deflate makes at most 1032, and each of them eight pixels of one bit.
    const OF_A_BYTE: usize = 1032 * 10;

    #[test]
    fn png_files() {
        hold_within(OF_A_BYTE, "png", fixtures("png"), bend_png, read_picture, |error| {
            ["neither a PNG", "ends before its last chunk", "does not have its checksum", "begins with the chunk"]
                .iter()
                .any(|words| error.contains(words))
        });
    }

    /// Changes bytes of the tables, of the frame, or of the packed pixels.
    fn bend_jpeg(random: &mut Random, file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        let marks = |file: &[u8], wanted: fn(u8) -> bool| -> Vec<usize> {
            (0..file.len() - 1).filter(|&at| file[at] == 0xff && wanted(file[at + 1])).collect()
        };
        match random.below(6) {
            0 => bend(random, &mut file),
            1 => {
                // A frame: precision, sizes, how its components are sampled.
                let frame = marks(&file, |mark| matches!(mark, 0xc0..=0xc2))[0];
                let at = frame + 4 + random.below(12);
                let any = random.bits() as u8;
                file[at] = *random.one(&[&0, &1, &2, &8, &0x11, &0x22, &0x41, &0x44, &0xff, &any]);
            }
            2 => {
                // A mark becomes another.
                let marks = marks(&file, |mark| mark >= 0xc0);
                let at = marks[random.below(marks.len())];
                file[at + 1] = *random.one(&[&0xc0, &0xc2, &0xc4, &0xd0, &0xd9, &0xda, &0xdb, &0xdd, &0xee]);
            }
            3 => {
                // A table, or the header of a scan.
                let tables = marks(&file, |mark| matches!(mark, 0xc4 | 0xda | 0xdb | 0xdd));
                let at = tables[random.below(tables.len())] + 2 + random.below(20);
                if at < file.len() {
                    file[at] = random.bits() as u8;
                }
            }
            _ => {
                let scan = marks(&file, |mark| mark == 0xda)[0] + 12;
                let mut pixels = file.split_off(scan);
                bend(random, &mut pixels);
                file.extend(pixels);
            }
        }
        file
    }

    /// A bit makes a block of 64 pixels at least; of each there are three bytes, and as many coefficients on the way.
    const OF_A_BLOCK: usize = 8 * 64 * 3 * 6;

    #[test]
    fn jpeg_files() {
        hold_within(OF_A_BLOCK, "jpeg", fixtures("jpg"), bend_jpeg, read_picture, |error| {
            error.contains("neither a PNG")
        });
    }

    #[test]
    fn a_bomb_is_small() {
        let header = |width: u32, height: u32| {
            let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
            (*b"IHDR", header)
        };
        let (end, zeros) = ((*b"IEND", Vec::new()), (*b"IDAT", compress_to_vec_zlib(&vec![0; 16 << 20], 6)));
        for (width, height) in [(8000, 8000), (u32::MAX, u32::MAX), (1, u32::MAX), (20_000, 20_000), (10, 10)] {
            let file = joined(&[header(width, height), zeros.clone(), end.clone()]);
            let (outcome, most) = most_during(|| guard::guarded(|| read_picture(&file)));
            assert!(outcome.unwrap().is_some(), "a bomb of {width} times {height} is read");
            assert!(most < 1 << 20, "{most} bytes for {}", file.len());
        }
        // What is honest is read, however much smaller it became.
        let rows = vec![0; 1024 * (1 + 3 * 1024)];
        assert!(
            read_picture(&joined(&[header(1024, 1024), (*b"IDAT", compress_to_vec_zlib(&rows, 6)), end])).is_none()
        );
    }
}

const TABLES: [&str; 6] = [
    "a,b,c\n1,2.5,x\n3,,y\n-4,1e3,x\n",
    "name;\"a note\";price\r\nAda;\"one; \"\"two\"\"\";3,5\r\n\r\nTim;\"line\nbreak\";NA\r\n",
    "\u{feff}k\u{e9}y\twert\n\u{20ac}\tnull\n\u{1f600}\t\"\"\n",
    "only\n1\n\"\"\nNaN\n",
    "a|b|c|d\n1|2|3|4\n5|6|7|8\n9|10|11|12",
    "a,a b,\" c \"\n0,0,0\n",
];

const WORDS: [&str; 24] = [
    ",", ";", "\t", "|", "\n", "\r\n", "\r", "\"", "\"\"", "\"\"\"", ",,", "\n\n", "NA", "nan", "inf", "1e999", "a",
    "x", "-", ".", " ", "\u{feff}", "\u{e9}", "\0",
];

fn bend_csv(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    match random.below(4) {
        0 => bend(random, &mut file),
        1 => {
            let word = *random.one(&WORDS.iter().collect::<Vec<_>>());
            let at = random.below(file.len() + 1);
            file.splice(at..at, word.bytes());
        }
        2 => {
            // Fields in quotes, with something in them: as many columns as before.
            let word = *random.one(&WORDS.iter().collect::<Vec<_>>());
            let quoted = format!("\"{}\"", word.replace('"', "\"\""));
            let ends = |byte: &u8| b",;|\t\r\n".contains(byte);
            let starts: Vec<usize> = (1..file.len()).filter(|&at| ends(&file[at - 1]) && !ends(&file[at])).collect();
            let at = starts[random.below(starts.len())];
            let end = (at..file.len()).find(|&at| ends(&file[at])).unwrap_or(file.len());
            file.splice(at..end, quoted.bytes());
        }
        _ => bend_words(random, &mut file, &WORDS),
    }
    file
}

/// Looks at all that a table gives, and holds it against what it writes.
fn look(table: &Table) {
    let _ = format!("{table:?}");
    let back = Csv::new().parse(table.to_csv()).unwrap();
    assert_eq!(back.names(), table.names());
    assert_eq!(back.len(), table.len());
    for name in table.names() {
        let texts = table.texts(name).unwrap();
        assert_eq!(texts.len(), table.len());
        assert_eq!(texts, back.texts(name).unwrap());
        let missing = table.missing(name).unwrap();
        assert!(missing <= table.len());
        let kind = table.kind(name).unwrap();
        assert_eq!(table.numbers([name]).is_ok(), kind == Kind::Numbers || missing == table.len());
        assert_eq!(table.categories(name).is_ok(), missing == 0);
        let rest = table.without_missing([name]).unwrap();
        assert_eq!(rest.len(), table.len() - missing);
        assert!(rest.categories(name).unwrap().one_hot().value().is_ok());
        for fill in [Fill::Mean, Fill::Median, Fill::Number(-0.0), Fill::Text("\"\n".into())] {
            if let Ok(filled) = table.filled(name, fill) {
                assert_eq!(filled.missing(name).unwrap(), 0);
            }
        }
    }
}

#[test]
fn csv_texts() {
    let seeds = TABLES.iter().map(|text| text.as_bytes().to_vec()).collect();
    let read: bend::Read = |bytes| {
        // Other ways to read it must end as well.
        for csv in [Csv::new().without_header(), Csv::new().with_separator('a'), Csv::new().with_missing(["x", "1"])] {
            if let Ok(table) = csv.parse(bytes) {
                let _ = (format!("{table:?}"), table.to_csv());
            }
        }
        Table::parse(bytes).map(|table| look(&table)).err()
    };
    hold("csv", seeds, bend_csv, read, |error| {
        ["UTF-8", "never closed", "closing quote", "two columns"].iter().any(|words| error.contains(words))
    });
}

/// Texts that are all of one thing take no more than their length explains.
#[test]
fn long_texts_are_read_in_linear_time() {
    const COUNT: usize = 300_000;
    let repeated = |before: &str, part: &str| format!("{before}{}", part.repeat(COUNT));
    let numbered = |end: &str| (0..COUNT).map(|number| format!("\"{number}\"{end}")).collect::<String>();
    let texts = [
        repeated("", ","),
        repeated("", "\n"),
        repeated("", "\r"),
        repeated("a\n", "\"\"\n"),
        repeated("a\n", "\"\","),
        repeated("a\n", "1\n"),
        repeated("a\n\"", "\"\""),
        repeated("a\n\"", "\"\"\n"),
        repeated("", "\"\","),
        repeated("", "\u{feff}"),
        numbered(",") + "\"x\"\n",
        numbered("\n"),
    ];
    for text in texts {
        let start = Instant::now();
        let (outcome, most) = most_during(|| guard::guarded(|| Table::parse(&text).map(|table| table.len())));
        let (begin, time) = (&text[..12], start.elapsed());
        outcome.unwrap_or_else(|panic| panic!("{begin:?}: {panic}")).ok();
        assert!(most < 100 * text.len() + (1 << 20), "{begin:?}: {most} bytes for {}", text.len());
        assert!(time < Duration::from_secs(10), "{begin:?} takes {time:?}");
    }
}
