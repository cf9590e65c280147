//! Small grey pictures of six shapes, drawn with chance: place, size, brightness, noise.

use chainrule::{Random, Result, Tensor};

/// What is on a picture, by its class.
pub const CLASSES: [&str; 6] = ["disc", "ring", "square", "cross", "stripes", "checks"];

const SIDE: usize = 20;

/// `count` pictures `[count, 1, 20, 20]` and their classes.
pub fn pictures(count: usize, seed: u64) -> Result<(Tensor, Tensor)> {
    let mut random = Random::new(seed);
    let (mut pixels, mut classes) = (Vec::with_capacity(count * SIDE * SIDE), Vec::with_capacity(count));
    for _ in 0..count {
        let class = random.below(CLASSES.len() as u64) as usize;
        let mut between = |low: f64, high: f64| low + (high - low) * random.uniform();
        let (x, y, size) = (between(7.0, 12.0), between(7.0, 12.0), between(4.0, 7.0));
        let (light, phase, noise) = (between(0.4, 1.0), between(0.0, 4.0), between(0.05, 0.35));
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (dx, dy) = (column as f64 - x, row as f64 - y);
                let (far, square) = (dx.hypot(dy), dx.abs().max(dy.abs()));
                let band = |along: f64| (along + phase).rem_euclid(4.0) < 2.0;
                let inside = match class {
                    0 => far < size,
                    1 => far < size && far > 0.55 * size,
                    2 => square < 0.85 * size,
                    3 => square < size && dx.abs().min(dy.abs()) < 0.3 * size,
                    4 => square < size && band(dx),
                    _ => square < size && band(dx) != band(dy),
                };
                let value = if inside { light } else { 0.0 };
                pixels.push((value + noise * (random.uniform() + random.uniform() - 1.0)) as f32);
            }
        }
        classes.push(class as i64);
    }
    Ok((Tensor::from_vec(pixels, [count, 1, SIDE, SIDE])?, Tensor::from_vec(classes, [count])?))
}
