//! A variational autoencoder: it draws digits that nobody wrote.
//!
//! ```text
//! cargo run --release --example 15_vae
//! cargo run --release --features cuda --example 15_vae -- --device cuda
//! ```
//!
//! An encoder says for each picture where it lies in a space of twelve numbers: a place and how sure it is of it. A decoder draws the
//! picture for a place. Since places are blurred and kept near zero, any place near zero is some digit. Kingma and Welling,
//! "Auto-encoding variational Bayes", 2013.
//!
//! It prints (some ten seconds):
//!
//! ```text
//! 12000 digits, 411944 parameters
//! epoch  3   249.2 nats for a digit not seen
//! epoch  6   244.0 nats for a digit not seen
//! epoch  9   242.4 nats for a digit not seen
//! epoch 12   241.4 nats for a digit not seen
//! (digits as they are, as they come out, that nobody wrote, and on the way from one to another)
//! ```
//!
//! Most of these nats are noise of the paper, which nothing can describe.

mod common;

use chainrule::data::builtin::Digits;
use chainrule::data::{Loader, Rows};
use chainrule::loss::binary_cross_entropy_with_logits;
use chainrule::nn::{AdaptiveAvgPool2d, Init, Layer, Linear, Module};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Random, Result, Tensor, module, no_grad};

const PIXELS: usize = 28 * 28;
const PLACE: usize = 12;

struct Vae {
    look: Linear,
    mean: Linear,
    log_variance: Linear,
    imagine: Linear,
    draw: Linear,
}
module!(Vae { look, mean, log_variance, imagine, draw });

impl Vae {
    fn new(init: &mut Init) -> Vae {
        Vae {
            look: Linear::new(PIXELS, 256, init),
            mean: Linear::new(256, PLACE, init),
            log_variance: Linear::new(256, PLACE, init),
            imagine: Linear::new(PLACE, 256, init),
            draw: Linear::new(256, PIXELS, init),
        }
        .named()
    }
    /// Where pictures lie, and the logarithm of how blurred that is.
    fn encode(&self, pictures: &Tensor) -> (Tensor, Tensor) {
        let seen = self.look.forward(&pictures.reshape([-1, PIXELS as isize])).relu();
        (self.mean.forward(&seen), self.log_variance.forward(&seen))
    }
    /// The pictures of places, as logits of ink.
    fn decode(&self, places: &Tensor) -> Tensor {
        self.draw.forward(&self.imagine.forward(places).relu())
    }
    /// What a picture costs to describe, in nats: its place, and what the drawing misses.
    fn cost(&self, pictures: &Tensor, random: &mut Random) -> Tensor {
        let (mean, log_variance) = self.encode(pictures);
        // Chance stands beside the numbers that are learnt, so that gradients pass it by.
        let noise = mean.normal_like(0.0, 1.0, random);
        let places = &mean + (&log_variance * 0.5).exp() * noise;
        let missed = binary_cross_entropy_with_logits(&self.decode(&places), &pictures.reshape([-1, PIXELS as isize]));
        let far = (mean.square() + log_variance.exp() - &log_variance - 1.0).sum_over(-1).mean() * 0.5;
        missed * PIXELS as f64 + far
    }
}

fn main() -> Result<()> {
    let device = common::device()?;
    let drawn =
        |count, seed| -> Result<Tensor> { Digits::new(count).with_seed(seed).examples()?.input().to(device).checked() };
    let pictures = drawn(common::steps(12_000, 256), 1)?;
    let unseen = drawn(1000, 2)?;
    let mut model = Vae::new(&mut Init::on(&device).seed(1));
    println!("{} digits, {} parameters", pictures.size(0)?, model.parameter_count());

    let loader = Loader::new(Rows::new(&pictures)?, 64).shuffled(1).drop_last();
    let mut optimizer = Adam::new(2e-3);
    let mut random = Random::new(1);
    let mut last = f64::NAN;
    for epoch in 1..=common::steps(12, 1) {
        for batch in loader.epoch(epoch as u64) {
            let cost = model.cost(&batch?, &mut random);
            optimizer.step(&mut model, &cost.backward()?)?;
        }
        last = no_grad(|| model.cost(&unseen, &mut Random::new(0)).item())?;
        if epoch % 3 == 0 {
            println!("epoch {epoch:2}   {last:.1} nats for a digit not seen");
        }
    }

    model.freeze();
    no_grad(|| {
        let given = unseen.narrow(0, 0, 5);
        println!("five digits, as they are:");
        show(&given)?;
        println!("as they come out of {PLACE} numbers:");
        show(&model.decode(&model.encode(&given).0).sigmoid())?;
        println!("digits that nobody wrote:");
        show(&model.decode(&Tensor::normal([5, PLACE], 0.0, 0.8, &mut Random::new(3)).to(device)).sigmoid())?;
        println!("from one digit to another:");
        let [from, to] = [0, 1].map(|nth| model.encode(&given.narrow(0, nth, 1)).0);
        let way: Vec<Tensor> = (0..5).map(|step| &from + (&to - &from) * (f64::from(step) / 4.0)).collect();
        show(&model.decode(&Tensor::cat(&way, 0)).sigmoid())
    })?;
    assert!(common::quick() || last < 246.0, "it has not learnt to draw");
    Ok(())
}

/// Pictures beside each other, in characters that are twice as high as wide.
fn show(pictures: &Tensor) -> Result<()> {
    let (height, width) = (10, 20);
    let small = AdaptiveAvgPool2d::new([height, width]).forward(&pictures.reshape([-1, 1, 28, 28]));
    let small = small.squeeze_axes(1).transpose(0, 1).reshape([height as isize, -1]).to_vec::<f32>()?;
    for row in small.chunks(5 * width) {
        let ink = |&value: &f32| b" .:-=+*#%@"[(value * 10.0).clamp(0.0, 9.0) as usize] as char;
        println!("{}", row.iter().map(ink).collect::<String>().trim_end());
    }
    Ok(())
}
