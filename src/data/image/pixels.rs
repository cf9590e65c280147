//! A picture that has been read: bytes, channel after channel.

use crate::device::Value;
use crate::error::Fault;
use crate::io::place::foreign;
use crate::layout::Shape;
use crate::tensor::Tensor;

/// One channel (grey) or three (red, green, blue), each row by row.
pub(super) struct Pixels {
    pub(super) bytes: Vec<u8>,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Pixels {
    /// Black. The size has been looked at.
    pub(super) fn new(channels: usize, height: usize, width: usize) -> Pixels {
        Pixels { bytes: vec![0; channels * height * width], channels, height, width }
    }
    /// As bytes, `[channels, height, width]`.
    pub(super) fn bytes(&self) -> Result<Tensor, Fault> {
        let shape = Shape::new(&[self.channels, self.height, self.width])?;
        Ok(Tensor::from_value(Value::build::<u8>(shape, |out| out.copy_from_slice(&self.bytes))?))
    }
    /// As floats from 0 to 1, `[channels, height, width]`.
    pub(super) fn floats(&self) -> Result<Tensor, Fault> {
        let shape = Shape::new(&[self.channels, self.height, self.width])?;
        let fill =
            |out: &mut [f32]| out.iter_mut().zip(&self.bytes).for_each(|(x, &byte)| *x = f32::from(byte) / 255.0);
        Ok(Tensor::from_value(Value::build::<f32>(shape, fill)?))
    }
    /// The right way up, where it stands as Exif's `orientation` says: 1 as it is, 2 mirrored, 3 upside down, 4 both; from 5 to 8
    /// rows are columns, too.
    pub(super) fn upright(self, orientation: u16) -> Pixels {
        let (height, width, lies) = (self.height, self.width, orientation >= 5);
        let (down, right) = (matches!(orientation, 3 | 4 | 6 | 7), matches!(orientation, 2 | 3 | 7 | 8));
        if !(lies || down || right) {
            return self;
        }
        let (to_height, to_width) = if lies { (width, height) } else { (height, width) };
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for plane in self.bytes.chunks_exact(height * width) {
            for y in 0..to_height {
                bytes.extend((0..to_width).map(|x| {
                    let (row, column) = if lies { (x, y) } else { (y, x) };
                    let row = if down { height - 1 - row } else { row };
                    plane[row * width + if right { width - 1 - column } else { column }]
                }));
            }
        }
        Pixels { bytes, channels: self.channels, height: to_height, width: to_width }
    }
    /// With one channel or three. Grey is what the eye makes of colours: 0.299 red, 0.587 green, 0.114 blue.
    pub(super) fn with_channels(mut self, channels: usize) -> Pixels {
        let count = self.height * self.width;
        match (self.channels, channels) {
            (3, 1) => {
                let (red, rest) = self.bytes.split_at_mut(count);
                let (green, blue) = rest.split_at(count);
                for ((red, &green), &blue) in red.iter_mut().zip(green).zip(blue) {
                    // In 2⁻¹⁶, which add up to one.
                    let sum = 19595 * u32::from(*red) + 38470 * u32::from(green) + 7471 * u32::from(blue);
                    *red = ((sum + (1 << 15)) >> 16) as u8;
                }
                self.bytes.truncate(count);
                self.channels = 1;
            }
            (1, 3) => {
                self.bytes = self.bytes.repeat(3);
                self.channels = 3;
            }
            _ => {}
        }
        self
    }
}

/// A picture has a size, and it is not larger than it may be.
pub(super) fn within(height: usize, width: usize, most: usize) -> Result<(), Fault> {
    match height.checked_mul(width) {
        Some(0) => Err(crate::io::place::damaged(format!("a picture of {width} times {height} pixels"))),
        // The bytes of a row in bits, or of all pixels in 16 bits, must be numbers too.
        Some(count) if count <= most.min(usize::MAX >> 8) => Ok(()),
        _ => {
            let what = format!("a picture of {width} times {height} pixels, {most} may be");
            Err(foreign(what, "make it smaller, or, in a folder, allow more: with_most_pixels(..)"))
        }
    }
}
