//! An autoencoder that hears when a machine sounds wrong, though it has only ever heard it run well.
//!
//! ```text
//! cargo run --release --example 11_autoencoder
//! ```
//!
//! The network must pass 64 samples of vibration through four numbers and give them back. It learns to do so for the sounds
//! it knows; what it cannot give back is something it does not know. Nobody shows it a fault.
//!
//! The sounds are made here: a shaft with its overtone at any phase, load and a little noise. Faults: a knock, a loose part that
//! rattles, a worn bearing (another overtone), a sensor that sticks.
//!
//! It prints (some ten seconds):
//!
//! ```text
//! ```

mod common;

use chainrule::data::{Loader, Rows};
use chainrule::loss::mse_loss;
use chainrule::nn::{Gelu, Init, Layer, Linear, Module, Sequential};
use chainrule::optim::schedule::{Cosine, Schedule};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Random, Result, Tensor, no_grad};

const SAMPLES: usize = 64;
const FAULTS: [&str; 4] = ["knock", "rattle", "bearing", "stuck"];

/// Sounds of the machine, `[count, 64]`; with this fault, where one is named.
fn sounds(count: usize, fault: Option<&str>, random: &mut Random) -> Result<Tensor> {
    let mut samples = Vec::with_capacity(count * SAMPLES);
    for _ in 0..count {
        let mut between = |low: f64, high: f64| low + (high - low) * random.uniform();
        let (phase, load, overtone) = (between(0.0, 6.28), between(0.6, 1.2), between(0.2, 0.4));
        let (at, strength, length) = (between(8.0, 56.0), between(0.5, 1.0), between(8.0, 20.0));
        let mut last = 0.0;
        for sample in 0..SAMPLES {
            let time = sample as f64;
            let turn = 2.0 * std::f64::consts::PI * time / 32.0 + phase;
            let mut value = load * (turn.sin() + overtone * (2.0 * turn + 1.0).sin());
            let near = (time - at).abs();
            match fault {
                Some("knock") => value += 1.5 * strength * (-near).exp() * if sample % 2 == 0 { 1.0 } else { -1.0 },
                Some("rattle") if near < length => value += 0.5 * strength * between(-1.0, 1.0),
                Some("bearing") => value += 0.25 * strength * (5.3 * turn).sin(),
                Some("stuck") if time > at => value = last,
                _ => {}
            }
            last = value;
            samples.push((value + 0.08 * (between(0.0, 1.0) + between(0.0, 1.0) - 1.0)) as f32);
        }
    }
    Tensor::from_vec(samples, [count, SAMPLES])
}

fn autoencoder(init: &mut Init) -> Sequential {
    let sizes = [SAMPLES, 48, 24, 4, 24, 48, SAMPLES];
    let mut model = Sequential::new();
    for (nth, pair) in sizes.windows(2).enumerate() {
        model = model.then(Linear::new(pair[0], pair[1], init));
        // Neither the four numbers nor the answer are bent.
        if nth != 2 && nth != 5 {
            model = model.then(Gelu::new());
        }
    }
    model.named()
}

/// How far what comes out is from what went in, for each sound.
fn strangeness(model: &Sequential, sounds: &Tensor) -> Tensor {
    no_grad(|| (model.forward(sounds) - sounds).square().mean_over(-1))
}
