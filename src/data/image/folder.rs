//! A folder of pictures whose folders are the classes.

use super::pixels::Pixels;
use super::{MOST_PIXELS, open};
use crate::data::progress::watched;
use crate::data::subset::no_item;
use crate::data::{Batch, Chance, Collate, Dataset, Example};
use crate::device::Random;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::io::place::{Place, foreign, system};
use crate::layout::put_in_order;
use crate::ops::{Interpolation, Resize};
use crate::tensor::{Tensor, no_grad};
use std::fs;
use std::path::{Path, PathBuf};

/// The pictures below a folder: each folder in it is a class, and the pictures in that, at any depth, are its examples.
///
/// Classes and files come sorted by name. Files that do not end in `.png`, `.jpg` or `.jpeg`, and whatever begins with a
/// dot, are passed over; what is in the files is only looked at when they are loaded. A class without a picture is an
/// error.
///
/// ```
/// use chainrule::{Tensor, data::{Dataset, image}};
/// # let root = std::env::temp_dir().join("chainrule-image-folder");
/// # for file in ["cat/1.png", "cat/2.png", "dog/more/1.png"] {
/// #     std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
/// #     image::save(root.join(file), &Tensor::ones([5, 4]))?;
/// # }
/// let pictures = image::folder(&root)?.grey();
/// assert_eq!((pictures.classes(), pictures.len()), (&["cat".to_string(), "dog".to_string()][..], 3));
/// assert_eq!(pictures.labels(), &Tensor::from([0, 0, 1]));
/// assert!(pictures.file(2).unwrap().ends_with("dog/more/1.png"));
/// # std::fs::remove_dir_all(&root).ok();
/// # Ok::<(), chainrule::Error>(())
/// ```
#[track_caller]
pub fn folder(path: impl AsRef<Path>) -> Result<Folder> {
    let place = Place::of("image", path.as_ref());
    let found = list(path.as_ref());
    let (classes, files) = found.map_err(|(path, fault)| match path {
        Some(path) => Place::of("image", &path).error(fault),
        None => place.error(fault),
    })?;
    let numbers: Vec<i64> = files.iter().map(|(_, class)| *class as i64).collect();
    let labels = Tensor::from_slice(&numbers, [numbers.len()])?;
    Ok(Folder { classes, files, labels, channels: 3, size: Size::Own, most: MOST_PIXELS })
}

/// Pictures of several classes; [`folder`] finds them. An item is an [`Example`]: the picture, f32 from 0 to 1,
/// `[3, height, width]` unless it is to be grey, and the number of its class.
///
/// A file is read when its item is asked for, so workers of a loader do it ahead of the training.
#[derive(Clone, Debug)]
pub struct Folder {
    classes: Vec<String>,
    files: Vec<(PathBuf, usize)>,
    labels: Tensor,
    channels: usize,
    size: Size,
    most: usize,
}

/// The size that pictures are brought to.
#[derive(Clone, Copy, Debug)]
enum Size {
    Own,
    Whole(usize, usize),
    Middle(usize, usize),
}

impl Folder {
    /// The names of the classes, by their numbers.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }
    /// The class of each picture, i64: what balanced and stratified orders and splits ask for.
    pub fn labels(&self) -> &Tensor {
        &self.labels
    }
    /// The file of a picture.
    pub fn file(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|(path, _)| path.as_path())
    }
    /// Pictures of one channel instead of three.
    pub fn grey(self) -> Folder {
        Folder { channels: 1, ..self }
    }
    /// All in one size, each stretched to it as a whole; smaller ones are averages of what they cover.
    ///
    /// ```
    /// use chainrule::{Random, Tensor, data::{Dataset, image}};
    /// # let root = std::env::temp_dir().join("chainrule-image-resized");
    /// # std::fs::create_dir_all(root.join("class")).unwrap();
    /// # image::save(root.join("class/1.png"), &Tensor::ones([30, 40]))?;
    /// let pictures = image::folder(&root)?.resized(8, 8);
    /// assert_eq!(pictures.item(0, &mut Random::new(1))?.input.dims()?, [3, 8, 8]);
    /// # std::fs::remove_dir_all(&root).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn resized(self, height: usize, width: usize) -> Folder {
        Folder { size: Size::Whole(height, width), ..self }
    }
    /// All in one size, each with its proportions: the largest part in its middle that has those of this size, enlarged or
    /// made smaller to it.
    ///
    /// ```
    /// use chainrule::{Random, Tensor, data::{Dataset, image}};
    /// # let root = std::env::temp_dir().join("chainrule-image-cropped");
    /// # std::fs::create_dir_all(root.join("class")).unwrap();
    /// # image::save(root.join("class/1.png"), &Tensor::ones([30, 40]))?;
    /// let pictures = image::folder(&root)?.cropped(8, 8);
    /// assert_eq!(pictures.item(0, &mut Random::new(1))?.input.dims()?, [3, 8, 8]);
    /// # std::fs::remove_dir_all(&root).ok();
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn cropped(self, height: usize, width: usize) -> Folder {
        Folder { size: Size::Middle(height, width), ..self }
    }
    /// A file of more pixels is an error before memory is asked for them; [`MOST_PIXELS`] unless this says otherwise.
    pub fn with_most_pixels(self, most: usize) -> Folder {
        Folder { most, ..self }
    }

    #[track_caller]
    fn example(&self, index: usize) -> Result<Example> {
        let Some((path, class)) = self.files.get(index) else {
            return Err(no_item("image", index, self.files.len()));
        };
        let place = Place::of("image", path);
        let picture = open(path, self.most).and_then(|pixels| {
            let pixels = pixels.with_channels(self.channels);
            self.size.of(&pixels)
        });
        Ok(Example { input: picture.map_err(|fault| place.error(fault))?, target: Tensor::new(*class as i64) })
    }
}

impl Size {
    fn of(self, pixels: &Pixels) -> Result<Tensor, Fault> {
        let picture = pixels.floats()?;
        let own = [pixels.height, pixels.width];
        let (part, wanted) = match self {
            Size::Own => return Ok(picture),
            Size::Whole(height, width) => (own, [height, width]),
            // The part is taken first: a narrow picture is not enlarged only to be cut.
            Size::Middle(height, width) => (middle(own, [height, width]), [height, width]),
        };
        let picture = no_grad(|| {
            let [top, left] = [0, 1].map(|axis| (own[axis] - part[axis]) / 2);
            let part_of_it = picture.narrow(1, top, part[0]).narrow(2, left, part[1]);
            if part == wanted {
                return part_of_it.contiguous();
            }
            let resize = Resize::to(wanted).mode(Interpolation::Linear).antialias();
            part_of_it.unsqueeze(0).interpolate(resize).select(0, 0)
        });
        picture.checked().map_err(|error| Fault::new(error.kind(), error.what(), error.help()))
    }
}

/// The largest part that has the proportions of another size.
fn middle(own: [usize; 2], wanted: [usize; 2]) -> [usize; 2] {
    let by = (wanted[0] as f64 / own[0] as f64).max(wanted[1] as f64 / own[1] as f64);
    [0, 1].map(|axis| ((wanted[axis] as f64 / by).round() as usize).clamp(1, own[axis]))
}

impl Dataset for Folder {
    type Item = Example;
    fn len(&self) -> usize {
        self.files.len()
    }
    #[track_caller]
    fn item(&self, index: usize, _: &mut Random) -> Result<Example> {
        self.example(index)
    }
    #[track_caller]
    fn batch(&self, indices: &[usize], _: &Chance) -> Result<Batch> {
        let examples = watched(indices.iter(), |&index| self.example(index))?;
        let shapes = examples.iter().map(|example| example.input.shape()).collect::<Result<Vec<_>>>()?;
        if let Some(other) = shapes.iter().position(|shape| *shape != shapes[0]) {
            let shown = |place: usize| -> String {
                let name = indices.get(place).and_then(|&index| self.file(index)).unwrap_or(Path::new(""));
                format!("{} is {:?}", name.display(), shapes[place])
            };
            let what = format!("pictures of different sizes in a batch: {}, {}", shown(0), shown(other));
            let help = "bring them to one size: resized(height, width) or cropped(height, width)";
            return Err(Error::new("image", Fault::new(ErrorKind::Shape, what, help)));
        }
        Example::collate(examples)
    }
}

/// More folders inside each other are taken for a link that leads back. (Systems follow some forty links, and then say that
/// nothing is there.)
const DEEPEST: usize = 32;

/// The classes, and the files with the numbers of their classes.
type Found = (Vec<String>, Vec<(PathBuf, usize)>);
/// What is wrong, and with which file if not with the folder itself.
type Wrong = (Option<PathBuf>, Fault);

fn list(root: &Path) -> Result<Found, Wrong> {
    let (mut classes, mut files) = (Vec::new(), Vec::new());
    let entries = entries(root).map_err(|fault| (None, fault))?;
    for (path, _) in entries.into_iter().filter(|(_, is_folder)| *is_folder) {
        let before = files.len();
        below(&path, classes.len(), 1, &mut files)?;
        if files.len() == before {
            let help = "remove the folder, or put pictures into it that end in .png, .jpg or .jpeg";
            return Err((Some(path), foreign("the folder of this class has no picture", help)));
        }
        classes.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    if classes.is_empty() {
        let help = "put the pictures of each class into a folder of its own: root/class/picture.png";
        return Err((None, foreign("there is no folder of a class in this folder", help)));
    }
    Ok((classes, files))
}

/// The pictures in a folder and in the folders in it.
fn below(folder: &Path, class: usize, depth: usize, files: &mut Vec<(PathBuf, usize)>) -> Result<(), Wrong> {
    let inside = |fault| (Some(folder.to_path_buf()), fault);
    if depth > DEEPEST {
        let what = format!("more than {DEEPEST} folders inside each other");
        return Err(inside(foreign(what, "remove the link that leads back to a folder above")));
    }
    for (path, is_folder) in entries(folder).map_err(inside)? {
        if is_folder {
            below(&path, class, depth + 1, files)?;
        } else if is_picture(&path) {
            files.push((path, class));
        }
    }
    Ok(())
}

/// What is in a folder and not hidden, sorted by name; and whether it is a folder, or a link to one.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, bool)>, Fault> {
    let failed = |error| system("the folder cannot be read", &error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            let is_folder = if kind.is_symlink() { path.is_dir() } else { kind.is_dir() };
            entries.push((path, is_folder));
        }
    }
    put_in_order(&mut entries, &|(a, _), (b, _)| a.file_name().cmp(&b.file_name()));
    Ok(entries)
}

fn is_picture(path: &Path) -> bool {
    let end = path.extension().unwrap_or_default().to_string_lossy();
    ["png", "jpg", "jpeg"].iter().any(|known| end.eq_ignore_ascii_case(known))
}
