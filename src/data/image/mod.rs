//! Pictures: PNG and JPEG files, one by one or a folder of them (feature `images`).
//!
//! A picture is `[channels, height, width]`, one channel where it is grey and three where it has colours. Files are hostile
//! until they are read: what is damaged, cut short, or larger than it may be is an error that names the file.
//!
//! ```
//! use chainrule::data::{Loader, Split, Transform, Dataset, image};
//! # use chainrule::Tensor;
//! # let root = std::env::temp_dir().join("chainrule-image-tour");
//! # for (class, number) in [("ant", 0), ("ant", 1), ("bee", 0)] {
//! #     std::fs::create_dir_all(root.join(class)).unwrap();
//! #     image::save(root.join(class).join(format!("{number}.png")), &Tensor::zeros([3, 40, 60]))?;
//! # }
//! // root/ant/*.png, root/bee/*.jpg, ...
//! let pictures = image::folder(&root)?.cropped(32, 32);
//! assert_eq!(pictures.classes(), ["ant", "bee"]);
//!
//! let train = pictures.transformed(Transform::new().flip().normalize(&[0.5], &[0.25]));
//! let loader = Loader::new(train, 2).shuffled(7).with_workers(2);
//! let batch = loader.epoch(0).next().unwrap()?;
//! assert_eq!((batch.input.dims()?, batch.target.dims()?), ([2, 3, 32, 32], [2]));
//! # std::fs::remove_dir_all(&root).ok();
//! # Ok::<(), chainrule::Error>(())
//! ```

mod exif;
mod folder;
mod jpeg;
mod pixels;
mod png;

pub use folder::{Folder, folder};

use crate::error::{Error, Fault, Result};
use crate::io::place::{Place, foreign};
use crate::io::source::{OpenFile, Source};
use crate::layout::DType;
use crate::tensor::{Tensor, no_grad};
use pixels::Pixels;
use std::path::Path;

/// A picture may have so many pixels unless somebody says otherwise: 8192 times 8192.
pub const MOST_PIXELS: usize = 1 << 26;

/// Reads a picture of up to [`MOST_PIXELS`]: u8, `[channels, height, width]`. PNG and JPEG are told apart by what the file
/// holds, not by its name.
///
/// ```
/// use chainrule::{DType, data::image};
/// let picture = image::load("tests/fixtures/pictures/colour420.jpg")?;
/// assert_eq!((picture.dims()?, picture.dtype()?), ([3, 13, 21], DType::U8));
/// assert_eq!(image::load("tests/fixtures/pictures/grey16.png")?.dims()?, [1, 13, 21]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// Any PNG is read (palettes, 1 to 16 bits, interlaced); of 16 bits the upper eight are kept, and what a picture says of
/// transparency is left out. JPEG is read baseline and progressive. What a camera wrote beside the pixels (Exif) about which
/// way is up is done: height and width are those of the picture as it is looked at.
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Tensor> {
    let place = Place::of("image", path.as_ref());
    let picture = open(path.as_ref(), MOST_PIXELS).and_then(|pixels| pixels.bytes());
    picture.map_err(|fault| place.error(fault))
}

/// Reads a picture whose file stands in memory.
///
/// ```
/// use chainrule::data::image;
/// let file = std::fs::read("tests/fixtures/pictures/grey8.png").unwrap();
/// assert_eq!(image::from_bytes(&file)?.dims()?, [1, 13, 21]);
/// assert!(image::from_bytes(&file[..300]).is_err());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn from_bytes(bytes: &[u8]) -> Result<Tensor> {
    let place = Place::bytes("image");
    read(bytes, MOST_PIXELS).and_then(|pixels| pixels.bytes()).map_err(|fault| place.error(fault))
}

/// Writes a picture as PNG: `[channels, height, width]` with 1 or 3 channels, or `[height, width]`; bytes, or floats from 0
/// to 1. The file is there whole or not at all.
///
/// ```
/// use chainrule::{Tensor, data::image};
/// let path = std::env::temp_dir().join("chainrule-image.png");
/// image::save(&path, &Tensor::from([[0.0, 0.5, 1.0]]))?;
/// assert_eq!(image::load(&path)?.to_vec::<u8>()?, [0, 128, 255]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn save(path: impl AsRef<Path>, picture: &Tensor) -> Result<()> {
    let (shape, dtype) = (picture.shape()?, picture.dtype()?);
    let (channels, height, width) = match shape[..] {
        [height, width] => (1, height, width),
        [channels @ (1 | 3), height, width] => (channels, height, width),
        _ => (0, 0, 0),
    };
    let largest = i32::MAX as usize;
    if channels * height.min(largest) * width.min(largest) == 0 || height.max(width) > largest {
        let what = format!("no picture has the sizes {shape:?}");
        return Err(Error::new("image", Fault::shape(what, "give [channels, height, width], 1 or 3 channels")));
    }
    let rows = no_grad(|| picture.reshape([channels, height, width]).permute([1, 2, 0]));
    let pixels: Vec<u8> = match dtype {
        DType::U8 => rows.to_vec::<u8>()?,
        dtype if dtype.is_float() => {
            let numbers = rows.to_vec::<f64>()?;
            numbers.iter().map(|number| (number.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
        }
        dtype => {
            let what = format!("a picture of {dtype}");
            return Err(Error::new("image", Fault::dtype(what, "give bytes (u8), or floats from 0 to 1")));
        }
    };
    let file = crate::io::png::encode(width, height, channels, &pixels);
    crate::io::write_file("image", path.as_ref(), &file)
}

fn open(path: &Path, most: usize) -> Result<Pixels, Fault> {
    let file = OpenFile::open(path)?;
    // What is no picture is not read to its end.
    let mut start = [0; 8];
    let count = file.length().min(8) as usize;
    file.read(0, start.get_mut(..count).unwrap_or_default())?;
    kind(&start)?;
    read(&file.bytes(0, file.length())?, most)
}

enum Kind {
    Png,
    Jpeg,
}

fn kind(start: &[u8]) -> Result<Kind, Fault> {
    if start.starts_with(png::MAGIC) {
        return Ok(Kind::Png);
    }
    if start.starts_with(jpeg::MAGIC) {
        return Ok(Kind::Jpeg);
    }
    Err(foreign("the file is neither a PNG nor a JPEG", "write the picture as one of them; its name is not looked at"))
}

fn read(file: &[u8], most: usize) -> Result<Pixels, Fault> {
    match kind(file)? {
        Kind::Png => png::read(file, most),
        Kind::Jpeg => jpeg::read(file, most),
    }
}
