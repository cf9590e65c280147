//! The model that is served: which of six shapes is on a small picture. And how pictures and answers look as text.

use super::common;
use chainrule::loss::cross_entropy;
use chainrule::nn::{Conv2d, Flatten, Init, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Result, Tensor, io, no_grad, threads};
use std::path::Path;

/// Pixels of a picture: 20 rows of 20.
pub const PIXELS: usize = 400;
/// A pixel lies between minus this and this, so that no sum overflows.
const BRIGHTEST: f32 = 10.0;

/// What a client sends, row after row.
pub type Picture = Vec<f32>;
/// What it gets: how likely each class is.
pub type Chances = Vec<f32>;

/// A small convolution network.
pub struct Classifier {
    network: Sequential,
}

impl Classifier {
    /// One that has learnt nothing yet.
    pub fn new(seed: u64) -> Classifier {
        let init = &mut Init::new().seed(seed);
        let conv = |inputs, outputs, init: &mut Init| Conv2d::options(inputs, outputs, 3).with_padding(1).build(init);
        let network = Sequential::new()
            .then(conv(1, 8, init))
            .then(Relu)
            .then(MaxPool2d::new(2))
            .then(conv(8, 16, init))
            .then(Relu)
            .then(MaxPool2d::new(2))
            .then(Flatten::new())
            .then(Linear::new(16 * 25, common::CLASSES.len(), init))
            .named();
        Classifier { network }
    }
    /// The numbers of a file, or a second's training where there is none. Frozen, as a model that is served should be: it
    /// records nothing, and any number of threads may ask it.
    pub fn ready(weights: Option<&Path>, steps: usize) -> Result<Classifier> {
        let mut model = Classifier::new(1);
        match weights {
            Some(path) => io::load_model(path, &mut model.network)?.strict().map(drop)?,
            None => model.train(steps)?,
        }
        model.network.freeze();
        Ok(model)
    }
    fn train(&mut self, steps: usize) -> Result<()> {
        let (count, batch) = (2000, 40);
        let (images, labels) = common::pictures(count, 1)?;
        let mut optimizer = AdamW::new(4e-3);
        for step in 0..steps {
            let at = step * batch % count;
            let loss = cross_entropy(&self.network.forward(&images.narrow(0, at, batch)), &labels.narrow(0, at, batch));
            optimizer.step(&mut self.network, &loss.backward()?)?;
        }
        Ok(())
    }
    /// Writes the numbers, for another process to load.
    pub fn save(&self, path: &Path) -> Result<()> {
        io::save_model(path, &self.network)
    }
    /// How many numbers were learnt.
    pub fn parameter_count(&self) -> usize {
        self.network.parameter_count()
    }
    /// The share of new pictures that it tells right, in percent.
    pub fn accuracy(&self, count: usize) -> Result<f64> {
        let (images, labels) = common::pictures(count, 2)?;
        common::accuracy(&no_grad(|| self.network.forward(&images)), &labels)
    }
    /// The chances for each picture. A picture's answer does not depend on its company, to the last bit: a row of a matrix
    /// product is added up in the same order whatever rows stand beside it. A row all alone is not: a matrix times a vector
    /// takes a quicker way, which adds in another order. So a lone picture is given company.
    pub fn classify(&self, pictures: &[Picture]) -> Result<Vec<Chances>> {
        let rows = pictures.len().max(2);
        let pixels: Vec<f32> = pictures.iter().cycle().take(rows).flatten().copied().collect();
        // Each batch stays on the thread that answers it: several of them are what keeps all cores busy.
        let chances = threads(1, || {
            let pictures = Tensor::from_vec(pixels, [rows, 1, 20, 20])?;
            self.network.forward(&pictures).softmax(-1).to_vec::<f32>()
        })?;
        Ok(chances.chunks(common::CLASSES.len()).take(pictures.len()).map(<[f32]>::to_vec).collect())
    }
}

/// Reads a picture: `{"pixels": [0.1, 0.2, ...]}`, or the numbers alone with commas or blanks between them. The error says
/// what is wrong with it.
pub fn read_picture(body: &[u8]) -> Result<Picture, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not text".to_string())?.trim();
    let picture = match text.strip_prefix('{') {
        Some(object) => {
            let list = list_of(object).ok_or("the object is not of this form: {\"pixels\": [numbers]}")?;
            numbers(list.split(','))?
        }
        None => numbers(text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()))?,
    };
    match picture.len() {
        PIXELS => Ok(picture),
        count => Err(format!("there are {count} numbers, and a picture has {PIXELS}")),
    }
}

/// What every refused picture is told.
pub const PICTURE_HELP: &str =
    "send {\"pixels\": [...]} or the numbers alone: 20 rows of 20, from 0 (dark) to 1 (bright), separated by commas";

/// What stands in the brackets of `"pixels": [ ... ] }`.
fn list_of(object: &str) -> Option<&str> {
    let list = object.trim_start().strip_prefix("\"pixels\"")?.trim_start().strip_prefix(':')?.trim_start();
    list.strip_prefix('[')?.strip_suffix('}')?.trim_end().strip_suffix(']')
}

fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Result<Picture, String> {
    let mut picture = Vec::with_capacity(PIXELS);
    for (place, word) in words.map(str::trim).enumerate() {
        if place == PIXELS {
            return Err(format!("there are more than {PIXELS} numbers"));
        }
        // Rust's own reader also takes words such as `inf`.
        let plain = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
        let number: Option<f32> = word.parse().ok().filter(|_| plain);
        let Some(number) = number.filter(|number| number.abs() <= BRIGHTEST) else {
            let shown: String = word.chars().take(20).collect();
            return Err(format!("number {} is `{shown}`, no number from -10 to 10", place + 1));
        };
        picture.push(number);
    }
    Ok(picture)
}

/// A picture as a client sends it.
pub fn write_picture(pixels: &[f32]) -> String {
    let numbers: Vec<String> = pixels.iter().map(|pixel| format!("{pixel:.2}")).collect();
    format!("{{\"pixels\":[{}]}}", numbers.join(","))
}

/// An answer as a client gets it. Floats are written so that they are read back as the same bits.
pub fn write_answer(chances: &[f32]) -> String {
    let best = (0..chances.len()).max_by(|&a, &b| chances[a].total_cmp(&chances[b])).unwrap_or(0);
    let listed: Vec<String> =
        common::CLASSES.iter().zip(chances).map(|(name, chance)| format!("\"{name}\":{chance}")).collect();
    format!("{{\"class\":\"{}\",\"chances\":{{{}}}}}\n", common::CLASSES[best], listed.join(","))
}
