//! Pictures: against what Pillow reads from the same files, and folders of them through a loader.
#![cfg(feature = "images")]

use chainrule::data::{Balanced, Dataset, Loader, Split, Transform, image};
use chainrule::io::npz;
use chainrule::{DType, ErrorKind, Random, Tensor};
use std::fs;
use std::path::{Path, PathBuf};

const PICTURES: &str = "tests/fixtures/pictures";

/// A folder of its own for a test, gone at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("chainrule-pictures-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }
    /// A file of the fixtures, under another name.
    fn put(&self, name: &str, fixture: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(Path::new(PICTURES).join(fixture), path).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn apart(a: &Tensor, b: &Tensor) -> (f64, f64) {
    let apart = (a.to_dtype(DType::F64) - b.to_dtype(DType::F64)).abs();
    (apart.max().item().unwrap(), apart.mean().item().unwrap())
}

#[test]
fn pixels_are_those_that_pillow_reads() {
    let expected = npz::load(format!("{PICTURES}/pixels.npz")).unwrap();
    let (mut png, mut jpeg) = (0, 0);
    for entry in fs::read_dir(PICTURES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let Some(end) = ["png", "jpg"].into_iter().find(|end| name.ends_with(end)) else { continue };
        let (read, expected) = (image::load(&path).unwrap(), expected.get(&name).unwrap());
        assert_eq!(read.dtype().unwrap(), DType::U8);
        assert_eq!(read.shape().unwrap(), expected.shape().unwrap(), "{name}");
        if end == "png" {
            assert_eq!(&read, expected, "{name}");
            png += 1;
            continue;
        }
        // The standard leaves the last bit of the transform to the decoder, and how colours of few samples are spread.
        let (most, mean) = apart(&read, expected);
        assert!(most <= 5.0 && mean < 0.8, "{name}: {most} at most, {mean} on average");
        jpeg += 1;
    }
    assert_eq!((png, jpeg), (20, 8));
}

#[test]
fn what_is_written_is_read_back() {
    let place = Place::new("written");
    let path = place.0.join("a.png");
    let mut random = Random::new(3);
    for sizes in [[1, 1, 1], [3, 1, 1], [1, 7, 300], [3, 41, 19]] {
        let picture = Tensor::uniform(sizes, 0.0..256.0, &mut random).to_dtype(DType::U8);
        image::save(&path, &picture).unwrap();
        assert_eq!(image::load(&path).unwrap(), picture);
        image::save(&path, &(picture.to_dtype(DType::F32) / 255.0)).unwrap();
        assert_eq!(image::load(&path).unwrap(), picture);
    }
    for sizes in [&[2, 4, 4][..], &[4], &[1, 0, 4], &[1, 1, 4, 4]] {
        assert_eq!(image::save(&path, &Tensor::zeros(sizes)).unwrap_err().kind(), ErrorKind::Shape, "{sizes:?}");
    }
    assert_eq!(image::save(&path, &Tensor::from([[1, 2]])).unwrap_err().kind(), ErrorKind::DType);
    assert!(image::save("/nowhere/at/all.png", &Tensor::from([[1.0]])).is_err());
}

#[test]
fn a_folder_is_read_in_order_by_any_number_of_workers() {
    let place = Place::new("folder");
    for (name, fixture) in [
        ("b/2.png", "colour8.png"),
        ("b/1.JPG", "colour444.jpg"),
        ("b/deep/er/0.jpeg", "grey.jpg"),
        ("a/10.png", "grey4.png"),
        ("a/9.png", "palette8.png"),
        ("a/.hidden.png", "grey8.png"),
        (".thumbnails/1.png", "grey8.png"),
        ("preview.png", "grey8.png"),
    ] {
        place.put(name, fixture);
    }
    fs::write(place.0.join("a/notes.txt"), "not a picture").unwrap();
    let pictures = image::folder(&place.0).unwrap();
    assert_eq!(pictures.classes(), ["a", "b"]);
    let files: Vec<_> = (0..5).map(|index| pictures.file(index).unwrap().strip_prefix(&place.0).unwrap()).collect();
    assert_eq!(files, ["a/10.png", "a/9.png", "b/1.JPG", "b/2.png", "b/deep/er/0.jpeg"].map(Path::new));
    assert!(pictures.file(5).is_none());
    assert_eq!(pictures.labels(), &Tensor::from([0, 0, 1, 1, 1]));

    let all = |loader: Loader<image::Folder>| loader.epoch(0).next().unwrap().unwrap();
    let batch = all(Loader::new(pictures.clone(), 5));
    assert_eq!(batch.input.dims().unwrap(), [5, 3, 13, 21]);
    assert_eq!(batch.input.dtype().unwrap(), DType::F32);
    assert_eq!(batch.target, Tensor::from([0, 0, 1, 1, 1]));
    let own = |name: &str| image::load(format!("{PICTURES}/{name}")).unwrap().to_dtype(DType::F32) / 255.0;
    assert_eq!(batch.input.select(0, 3), own("colour8.png"));
    assert_eq!(batch.input.select(0, 0), own("grey4.png").expand([3, 13, 21]));
    let grey = all(Loader::new(pictures.clone().grey(), 5)).input;
    let expected = npz::load(format!("{PICTURES}/pixels.npz")).unwrap();
    let expected = expected.get("colour8.png as grey").unwrap();
    assert_eq!((grey.select(0, 3) * 255.0).round().to_dtype(DType::U8), *expected);

    let augmented = pictures.clone().resized(12, 9).transformed(Transform::new().flip().crop(12, 9, 2));
    let loader = Loader::new(augmented, 2).with_order(Balanced::new(pictures.labels()).unwrap()).with_seed(5);
    let batches = |workers| {
        let epoch = loader.clone().with_workers(workers).epoch(1);
        epoch.map(|batch| batch.map(|batch| (batch.input, batch.target))).collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(batches(0), batches(3));
    let [train, rest] = Split::shares([0.6, 0.4]).stratified(pictures.labels()).of(pictures).unwrap();
    assert_eq!((train.len(), rest.len()), (3, 2));
}

#[test]
fn sizes_are_those_asked_for() {
    let place = Place::new("sizes");
    // A picture that is black on the left, white on the right.
    let half = Tensor::zeros([1, 10, 20]).slice_assign((.., .., 10..), &Tensor::ones([1, 10, 10]));
    fs::create_dir_all(place.0.join("a")).unwrap();
    image::save(place.0.join("a/1.png"), &half).unwrap();
    let chance = &mut Random::new(1);
    let folder = image::folder(&place.0).unwrap().grey();
    let whole = folder.clone().resized(2, 2).item(0, chance).unwrap().input;
    assert!(whole.select(2, 0).max().item().unwrap() < 0.3 && whole.select(2, 1).min().item().unwrap() > 0.7);
    for (height, width) in [(5, 5), (40, 8), (3, 30), (1, 1), (10, 20)] {
        let middle = folder.clone().cropped(height, width).item(0, chance).unwrap().input;
        assert_eq!(middle.dims().unwrap(), [1, height, width]);
        // The border stays in the middle.
        let mean = middle.mean().item().unwrap();
        assert!((0.4..=0.6).contains(&mean), "{height} x {width}: {mean}");
    }
    assert!(
        folder.clone().resized(0, 4).item(0, chance).is_ok_and(|example| example.input.count().unwrap() == 0)
            || folder.clone().resized(0, 4).item(0, chance).is_err()
    );
    assert!(folder.resized(usize::MAX, 4).item(0, chance).is_err());
}

#[test]
fn errors_name_the_file_and_say_what_to_do() {
    let place = Place::new("errors");
    let error = |text: &str, error: chainrule::Error| {
        assert!(error.to_string().contains(text), "{text}: {error}");
    };
    error("no folder of a class", image::folder(&place.0).unwrap_err());
    error("cannot be read", image::folder(place.0.join("missing")).unwrap_err());
    fs::create_dir_all(place.0.join("empty")).unwrap();
    let none = image::folder(&place.0).unwrap_err();
    assert!(none.to_string().contains("has no picture") && none.to_string().contains("empty"), "{none}");
    place.put("empty/1.png", "colour8.png");
    place.put("empty/2.png", "interlaced_one_pixel.png");
    let file = fs::read(format!("{PICTURES}/colour420.jpg")).unwrap();
    fs::write(place.0.join("empty/3.png"), &file[..file.len() / 2]).unwrap();
    fs::write(place.0.join("empty/4.png"), "text").unwrap();

    let pictures = image::folder(&place.0).unwrap();
    let of = |indices: Vec<usize>| {
        let subset = chainrule::data::Subset::new(pictures.clone(), indices).unwrap();
        Loader::new(subset, 8).with_workers(1).epoch(0).next().unwrap().unwrap_err()
    };
    let sizes = of(vec![0, 1]);
    for text in ["different sizes", "1.png is", "2.png is", "[3, 13, 21]", "[3, 1, 1]", "resized(height, width)"] {
        assert!(sizes.to_string().contains(text), "{text}: {sizes}");
    }
    let short = of(vec![0, 2]);
    assert!(short.to_string().contains("3.png") && short.to_string().contains("item 1, in batch 0"), "{short}");
    assert!(short.location().file().ends_with("pictures.rs"), "{short}");
    error("neither a PNG nor a JPEG", of(vec![3]));
    let large = pictures.with_most_pixels(272).item(0, &mut Random::new(1)).unwrap_err();
    error("21 times 13 pixels, 272 may be", large);
    #[cfg(unix)]
    {
        for back in [place.0.clone(), place.0.join("empty")] {
            let link = place.0.join("empty/back");
            std::os::unix::fs::symlink(back, &link).unwrap();
            error("folders inside each other", image::folder(&place.0).unwrap_err());
            fs::remove_file(link).unwrap();
        }
        // A link to pictures elsewhere is followed.
        std::os::unix::fs::symlink(Path::new(PICTURES).canonicalize().unwrap(), place.0.join("linked")).unwrap();
        let all = image::folder(&place.0).unwrap();
        assert_eq!((all.classes(), all.len()), (&["empty".to_string(), "linked".to_string()][..], 4 + 28));
    }
}

/// A chunk with its checksum.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let summed = [&name[..], data].concat();
    let sum = !summed.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    });
    [&(data.len() as u32).to_be_bytes()[..], &summed, &sum.to_be_bytes()].concat()
}

#[test]
fn a_png_is_refused_for_what_is_wrong_with_it() {
    let header = |width: u32, height: u32, rest: [u8; 5]| {
        chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &rest].concat())
    };
    let file = |chunks: &[Vec<u8>]| [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat();
    let rows = |bytes: &[u8]| chunk(b"IDAT", &miniz_oxide::deflate::compress_to_vec_zlib(bytes, 6));
    let (grey, end) = (header(2, 1, [8, 0, 0, 0, 0]), chunk(b"IEND", b""));
    let good = file(&[grey.clone(), rows(&[0, 7, 9]), end.clone()]);
    assert_eq!(image::from_bytes(&good).unwrap().to_vec::<u8>().unwrap(), [7, 9]);
    let said = |file: Vec<u8>, text: &str| {
        let error = image::from_bytes(&file).expect_err(text).to_string();
        assert!(error.contains(text), "{text}: {error}");
    };
    for length in 8..good.len() {
        said(good[..length].to_vec(), "ends before its last chunk");
    }
    for at in 8..good.len() {
        let mut bent = good.clone();
        bent[at] ^= 0x20;
        assert!(image::from_bytes(&bent).is_err(), "byte {at}");
    }
    said(file(&[rows(&[0, 7, 9]), end.clone()]), "begins with the chunk \"IDAT\"");
    said(file(&[header(0, 1, [8, 0, 0, 0, 0]), end.clone()]), "0 times 1");
    said(file(&[header(1 << 20, 1 << 20, [8, 0, 0, 0, 0]), end.clone()]), "67108864 may be");
    said(file(&[header(8192, 8192, [8, 2, 0, 0, 0]), rows(&[0; 100]), end.clone()]), "cannot be unpacked");
    said(file(&[header(2, 1, [3, 0, 0, 0, 0]), end.clone()]), "kind 0 with 3 bits");
    said(file(&[header(2, 1, [8, 0, 0, 0, 2]), end.clone()]), "unknown way 0, 0, 2");
    said(file(&[grey.clone(), rows(&[0, 7]), end.clone()]), "cannot be unpacked");
    said(file(&[grey.clone(), rows(&[0, 7, 8, 9]), end.clone()]), "cannot be unpacked");
    said(file(&[grey.clone(), end.clone()]), "cannot be unpacked");
    said(file(&[grey.clone(), rows(&[5, 7, 9]), end.clone()]), "unknown way 5");
    said(file(&[grey, chunk(b"NEWS", b"x"), end.clone()]), "needs a chunk \"NEWS\"");
    let palette = header(2, 1, [8, 3, 0, 0, 0]);
    said(file(&[palette.clone(), rows(&[0, 0, 1]), end.clone()]), "no palette");
    said(file(&[palette.clone(), chunk(b"PLTE", b"abcd"), end.clone()]), "a palette of 4 bytes");
    let two = chunk(b"PLTE", b"abcdef");
    said(file(&[palette.clone(), two.clone(), rows(&[0, 0, 2]), end.clone()]), "colour 2 of a palette of 2");
    let read = image::from_bytes(&file(&[palette, two, rows(&[0, 1, 0]), end])).unwrap();
    assert_eq!(read.to_vec::<u8>().unwrap(), b"daebfc");
}

#[test]
fn a_jpeg_that_is_cut_short_is_no_picture() {
    for name in ["colour420.jpg", "grey.jpg", "progressive.jpg", "restarts.jpg"] {
        let file = fs::read(format!("{PICTURES}/{name}")).unwrap();
        for length in 0..file.len() {
            assert!(image::from_bytes(&file[..length]).is_err(), "{name}: {length} of {} bytes", file.len());
        }
    }
    // A size that so few bytes cannot have.
    let mut file = fs::read(format!("{PICTURES}/grey.jpg")).unwrap();
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    file[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0xff, 0x1f, 0xff]);
    let error = image::from_bytes(&file).unwrap_err().to_string();
    assert!(error.contains("do not make 8191 times 8191 pixels"), "{error}");
}

/// Exif data with this number as the orientation, behind another entry.
fn exif(orientation: u16, small_end_first: bool) -> Vec<u8> {
    let two = |x: u16| if small_end_first { x.to_le_bytes() } else { x.to_be_bytes() };
    let four = |x: u32| if small_end_first { x.to_le_bytes() } else { x.to_be_bytes() };
    let mut data = if small_end_first { b"II".to_vec() } else { b"MM".to_vec() };
    data.extend(two(42));
    data.extend(four(8));
    data.extend(two(2));
    for (tag, number) in [(0x0100, 21), (0x0112, orientation)] {
        data.extend([two(tag), two(3)].concat());
        data.extend(four(1));
        data.extend([two(number), [0; 2]].concat());
    }
    data.extend(four(0));
    data
}

/// A file with Exif data in it.
fn with_exif(file: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = file.to_vec();
    if file.starts_with(b"\xff\xd8") {
        let mut part = vec![0xff, 0xe1];
        part.extend((data.len() as u16 + 8).to_be_bytes());
        part.extend(b"Exif\0\0");
        part.extend(data);
        out.splice(2..2, part);
        return out;
    }
    // Behind the magic and the header of 13 bytes.
    let mut part = [b"eXIf", data].concat();
    let sum = !part.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (if sum & 1 == 1 { 0xedb8_8320 } else { 0 }))
    });
    part.extend(sum.to_be_bytes());
    part.splice(0..0, (data.len() as u32).to_be_bytes());
    out.splice(33..33, part);
    out
}

#[test]
fn a_picture_is_the_right_way_up() {
    for name in ["colour444.jpg", "grey.jpg", "progressive.jpg", "colour8.png", "interlaced_palette4.png"] {
        let file = fs::read(format!("{PICTURES}/{name}")).unwrap();
        let plain = image::from_bytes(&file).unwrap();
        let (mirrored, turned) = (plain.flip(2), plain.transpose(1, 2));
        let upright = [
            plain.clone(),
            mirrored.clone(),
            mirrored.flip(1),
            plain.flip(1),
            turned.clone(),
            turned.flip(2),
            turned.flip([1, 2]),
            turned.flip(1),
        ];
        for (orientation, upright) in (1..).zip(&upright) {
            for small_end_first in [true, false] {
                let read = image::from_bytes(&with_exif(&file, &exif(orientation, small_end_first))).unwrap();
                assert_eq!(&read, upright, "{name}, orientation {orientation}");
            }
        }
        for orientation in [0, 9, 256, u16::MAX] {
            assert_eq!(image::from_bytes(&with_exif(&file, &exif(orientation, true))).unwrap(), plain);
        }
    }
}

#[test]
fn what_is_wrong_beside_a_picture_does_it_no_harm() {
    let mut random = Random::new(11);
    for name in ["grey.jpg", "grey8.png"] {
        let file = fs::read(format!("{PICTURES}/{name}")).unwrap();
        let plain = image::from_bytes(&file).unwrap();
        let good = exif(6, false);
        let read = |data: &[u8]| image::from_bytes(&with_exif(&file, data)).unwrap();
        for length in 0..good.len() {
            let picture = read(&good[..length]);
            assert!(picture == plain || picture == plain.transpose(1, 2).flip(2), "{name} cut at {length}");
        }
        for _ in 0..400 {
            let mut data = good.clone();
            for _ in 0..3 {
                let at = (random.uniform() * data.len() as f64) as usize;
                data[at] = (random.uniform() * 256.0) as u8;
            }
            assert_eq!(read(&data).count().unwrap(), plain.count().unwrap());
        }
        // A list that says it stands at the end of the address space, and one of as many entries as can be said.
        assert_eq!(read(&[b"MM\0\x2a".as_slice(), &[0xff; 12]].concat()), plain);
        assert_eq!(read(&[b"II\x2a\0\x08\0\0\0\xff\xff".as_slice(), &[0x12; 40]].concat()), plain);
    }
}
