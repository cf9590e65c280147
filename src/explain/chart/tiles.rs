//! Small pictures side by side: what filters look for.

use super::{Anchor, Picture, short, text, width_of};
use crate::error::{Error, Fault, Result};
use crate::layout::DType;
use crate::tensor::Tensor;
use std::fmt::Write;

/// Small pictures in rows: the filters of a first convolution, the digits that a model draws. A picture of one channel is
/// blue above zero and orange below, one of three has its colours.
///
/// ```
/// use chainrule::explain::chart::Tiles;
/// use chainrule::{Random, Tensor};
/// let filters = Tensor::normal([8, 1, 5, 5], 0.0, 1.0, &mut Random::new(1));
/// assert!(Tiles::new("What it looks for", &filters)?.picture().svg().contains("looks for"));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tiles {
    title: String,
    channels: usize,
    size: (usize, usize),
    tiles: Vec<Vec<f64>>,
}

/// There are never more tiles than this, nor more pixels in a row or column of one.
const MOST: usize = 64;

impl Tiles {
    /// Of `[count, rows, columns]` or `[count, channels, rows, columns]`: one channel, three colours, or of other numbers of
    /// channels their mean. The first 64 are shown.
    #[track_caller]
    pub fn new(title: impl Into<String>, pictures: &Tensor) -> Result<Tiles> {
        let shape = pictures.shape()?;
        let pictures = match shape.len() {
            3 => pictures.unsqueeze(1),
            4 if !matches!(shape[1], 1 | 3) => pictures.mean_keep(1),
            4 => pictures.clone(),
            _ => {
                let what = format!("tiles of a tensor of shape {shape:?}");
                let help = "give [count, rows, columns] or [count, channels, rows, columns]";
                return Err(Error::new("tiles", Fault::shape(what, help)));
            }
        };
        let [count, channels, rows, columns] = pictures.dims()?;
        if rows > MOST || columns > MOST {
            let what = format!("tiles of {rows} by {columns} pixels");
            return Err(Error::new("tiles", Fault::shape(what, "they are meant to be small: at most 64 by 64")));
        }
        let shown = pictures.narrow(0, 0, count.min(MOST)).to_dtype(DType::F64).to_vec::<f64>()?;
        let tiles = shown.chunks((channels * rows * columns).max(1)).map(<[f64]>::to_vec).collect();
        Ok(Tiles { title: title.into(), channels, size: (rows, columns), tiles })
    }
    /// The tiles as they are drawn.
    pub fn picture(&self) -> Picture {
        let (rows, columns) = self.size;
        let pixel = (56.0 / rows.max(columns).max(1) as f64).clamp(2.0, 10.0).floor();
        let (wide, high) = (columns as f64 * pixel + 8.0, rows as f64 * pixel + 8.0);
        let across = ((700.0 / wide) as usize).clamp(1, 16);
        let finite = || self.tiles.iter().flatten().copied().filter(|x| x.is_finite());
        let largest = finite().fold(0.0, |a: f64, b| a.max(b.abs()));
        let (low, top_number) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let mut body = String::new();
        let top = if self.title.is_empty() { 8.0 } else { 40.0 };
        if !self.title.is_empty() {
            text(&mut body, "ink", (20.0, 26.0), 15.0, Anchor::Start, " font-weight=\"600\"", &self.title);
        }
        for (at, tile) in self.tiles.iter().enumerate() {
            let (left, up) = (20.0 + (at % across) as f64 * wide, top + (at / across) as f64 * high);
            for place in 0..rows * columns {
                let channel = |c: usize| tile.get(c * rows * columns + place).copied().unwrap_or(f64::NAN);
                let fill = match self.channels {
                    3 => [0, 1, 2].map(channel).map(|x| level(x, low, top_number)),
                    _ => signed(channel(0), largest),
                };
                let [x, y] =
                    [left + (place % columns) as f64 * pixel, up + (place / columns) as f64 * pixel].map(short);
                let [red, green, blue] = fill;
                let size = short(pixel);
                let _ = write!(
                    body,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{size}\" height=\"{size}\" fill=\"#{red:02x}{green:02x}{blue:02x}\"/>"
                );
            }
        }
        let width = 40.0 + wide * self.tiles.len().clamp(1, across) as f64;
        let height = top + self.tiles.len().div_ceil(across) as f64 * high + 12.0;
        Picture { width: width.max(width_of(&self.title, 16.0) + 40.0), height, body }
    }
}

/// A colour's part between the least and the greatest number.
fn level(x: f64, low: f64, high: f64) -> u8 {
    let share = (x / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    (share.clamp(0.0, 1.0) * 255.0) as u8
}

/// White at zero, blue above, orange below, grey where there is no number.
fn signed(x: f64, largest: f64) -> [u8; 3] {
    if x.is_nan() {
        return [140, 149, 159];
    }
    let share = if largest > 0.0 { (x.abs() / largest).min(1.0) } else { 0.0 };
    let end: [f64; 3] = if x >= 0.0 { [47.0, 111.0, 181.0] } else { [224.0, 112.0, 40.0] };
    end.map(|end| (255.0 + (end - 255.0) * share) as u8)
}
