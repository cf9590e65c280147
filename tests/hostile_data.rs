//! Data bent in a thousand ways, arrays of IDX and tables of CSV: no panic, no hang, no more memory than its size explains.
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
