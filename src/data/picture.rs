//! One image, and what is done to its numbers.

use crate::device::Random;

/// An image as it passes from step to step: channel after channel, row after row.
#[derive(Default)]
pub(super) struct Picture {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixels: Vec<f32>,
    /// Where the next image is built.
    spare: Vec<f32>,
    /// Where the pixels of a row come from.
    found: Vec<Found>,
}

/// A place between four pixels.
struct Found {
    left: i32,
    upper: i32,
    /// How near it is to those on the right, and to those below.
    right_part: f32,
    lower_part: f32,
}

/// Where an image is looked at: turned by an angle, sheared, `scale` times as large, moved.
pub(super) struct Placement {
    /// Clockwise, in radians.
    pub(super) angle: f64,
    /// Of the rows against each other, in radians.
    pub(super) shear: f64,
    pub(super) scale: f64,
    /// Down and to the right, in pixels.
    pub(super) moved: (f64, f64),
}

impl Picture {
    /// Takes the numbers of another image.
    pub(super) fn set(&mut self, pixels: &[f32], [channels, height, width]: [usize; 3]) {
        (self.channels, self.height, self.width) = (channels, height, width);
        self.pixels.clear();
        self.pixels.extend_from_slice(pixels);
    }
    fn plane(&self) -> usize {
        self.height * self.width
    }
    /// The part of this size whose upper left corner stands at a place, `fill` where that is outside.
    pub(super) fn window(&mut self, (top, left): (isize, isize), (height, width): (usize, usize), fill: f32) {
        self.spare.clear();
        self.spare.resize(self.channels * height * width, fill);
        // The columns that both have: from `from` on in this image, from `to` on in the part.
        let (from, to) = (left.max(0) as usize, (-left).max(0) as usize);
        let shared = self.width.saturating_sub(from).min(width.saturating_sub(to));
        for channel in 0..self.channels {
            for row in 0..height {
                let source = top + row as isize;
                if source < 0 || source >= self.height as isize || shared == 0 {
                    continue;
                }
                let own = (channel * self.height + source as usize) * self.width + from;
                let other = (channel * height + row) * width + to;
                self.spare[other..other + shared].copy_from_slice(&self.pixels[own..own + shared]);
            }
        }
        std::mem::swap(&mut self.pixels, &mut self.spare);
        (self.height, self.width) = (height, width);
    }
    /// Mirrored from left to right.
    pub(super) fn mirror(&mut self) {
        self.pixels.chunks_exact_mut(self.width.max(1)).for_each(<[f32]>::reverse);
    }
    /// Mirrored from top to bottom.
    pub(super) fn turn_over(&mut self) {
        let (plane, width) = (self.plane(), self.width);
        for plane in self.pixels.chunks_exact_mut(plane.max(1)) {
            for row in 0..self.height / 2 {
                let (above, below) = plane.split_at_mut((self.height - 1 - row) * width);
                above[row * width..][..width].swap_with_slice(&mut below[..width]);
            }
        }
    }
    /// Placed anew about its centre, between pixels linearly.
    pub(super) fn place(&mut self, placement: &Placement, fill: f32) {
        let (height, width) = (self.height, self.width);
        // A border of `fill`, so that every place has four neighbours; places further outside are moved onto the border.
        let (rows, columns) = (height + 3, width + 3);
        self.spare.clear();
        self.spare.resize(self.channels * rows * columns, fill);
        for channel in 0..self.channels {
            for row in 0..height {
                let (own, other) = ((channel * height + row) * width, (channel * rows + row + 1) * columns + 1);
                self.spare[other..other + width].copy_from_slice(&self.pixels[own..own + width]);
            }
        }
        // What stands at a place of the result is looked up: undo the move, the turn, the shear, the scale.
        let (sin, cos) = placement.angle.sin_cos();
        let (shear, scale) = (placement.shear.tan(), placement.scale.recip());
        let across = [(cos - shear * -sin) * scale, (sin - shear * cos) * scale];
        let down = [-sin * scale, cos * scale];
        let (centre_y, centre_x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        for row in 0..height {
            let y = row as f64 - centre_y - placement.moved.0;
            let x = -centre_x - placement.moved.1;
            let start_x = (across[0] * x + across[1] * y + centre_x + 1.0) as f32;
            let start_y = (down[0] * x + down[1] * y + centre_y + 1.0) as f32;
            let (step_x, step_y) = (across[0] as f32, down[0] as f32);
            // First where each pixel is found, in a loop that is computed several at a time; then the pixels.
            self.found.clear();
            self.found.extend((0..width).map(|column| {
                let x = (start_x + step_x * column as f32).max(0.0).min(width as f32 + 1.0);
                let y = (start_y + step_y * column as f32).max(0.0).min(height as f32 + 1.0);
                let (left, upper) = (x as i32, y as i32);
                Found { left, upper, right_part: x - left as f32, lower_part: y - upper as f32 }
            }));
            for channel in 0..self.channels {
                let plane = &self.spare[channel * rows * columns..][..rows * columns];
                let row = &mut self.pixels[(channel * height + row) * width..][..width];
                for (pixel, found) in row.iter_mut().zip(&self.found) {
                    let around = &plane[found.upper as usize * columns + found.left as usize..][..columns + 2];
                    let (above, below) = (&around[..2], &around[columns..columns + 2]);
                    let above = above[0] + (above[1] - above[0]) * found.right_part;
                    let below = below[0] + (below[1] - below[0]) * found.right_part;
                    *pixel = above + (below - above) * found.lower_part;
                }
            }
        }
    }
    /// A rectangle of one number.
    pub(super) fn erase(&mut self, (top, left): (usize, usize), (height, width): (usize, usize), fill: f32) {
        for channel in 0..self.channels {
            for row in top..top + height {
                let start = (channel * self.height + row) * self.width + left;
                self.pixels[start..start + width].fill(fill);
            }
        }
    }
    pub(super) fn mean(&self) -> f32 {
        let sum: f64 = self.pixels.iter().map(|&pixel| pixel as f64).sum();
        (sum / self.pixels.len().max(1) as f64) as f32
    }
    pub(super) fn each(&mut self, change: impl Fn(f32) -> f32) {
        self.pixels.iter_mut().for_each(|pixel| *pixel = change(*pixel));
    }
    /// `(x - shift) · factor` with those of each channel.
    pub(super) fn scale_channels(&mut self, shifts_and_factors: &[(f32, f32)]) {
        let plane = self.plane().max(1);
        let channels = self.pixels.chunks_exact_mut(plane);
        for (channel, &(shift, factor)) in channels.zip(shifts_and_factors.iter().cycle()) {
            channel.iter_mut().for_each(|pixel| *pixel = (*pixel - shift) * factor);
        }
    }
}

/// A number between these two.
pub(super) fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}
