//! A forecast: how much water a small town will use in each hour of tomorrow.
//!
//! ```text
//! cargo run --release --example 12_forecast
//! cargo run --release --features cuda --example 12_forecast -- --device cuda
//! ```
//!
//! A recurrent network (GRU) reads two weeks, a day at each step, and says the next day at once. What it must beat is what anyone
//! would say: as much as in the same hour of the week before.
//!
//! The hours are made here: mornings and evenings, weekends, a sports ground, warm spells that come and go, noise. Time is split in order: what
//! is forecast lies after everything that was learnt from.
//!
//! It prints (some five seconds):
//!
//! ```text
//! 13440 hours: 10393 windows to learn from, 2329 to be judged by
//! as yesterday: off by 1.98; as a week ago: off by 1.38 m³
//! epoch 2   off by 1.04 m³
//! epoch 4   off by 1.01 m³
//! epoch 6   off by 0.96 m³
//! epoch 8   off by 0.95 m³
//! (a day as it was and as it was forecast)
//! ```

mod common;

use chainrule::data::{Dataset, Example, Loader};
use chainrule::loss::smooth_l1_loss;
use chainrule::nn::{Gru, Init, Layer, Linear, Module};
use chainrule::optim::schedule::{OneCycle, Schedule};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Random, Result, Tensor, module, no_grad};

const DAY: usize = 24;
const WEEK: usize = 7 * DAY;
/// What the network reads.
const PAST: usize = 2 * WEEK;

/// Cubic metres of water in each hour.
fn town(hours: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let (mut warm, mut values) = (0.0, Vec::with_capacity(hours));
    for hour in 0..hours {
        let (clock, weekday) = ((hour % DAY) as f64, hour / DAY % 7);
        let peak = |at: f64, width: f64| (-((clock - at) / width).powi(2)).exp();
        // People get up late at weekends, and water their gardens in the evening when it is warm.
        let morning = if weekday < 5 { 1.4 * peak(7.0, 1.6) } else { 1.1 * peak(10.0, 2.4) };
        warm = 0.995 * warm + 0.06 * (random.uniform() - 0.5);
        let garden = (1.0 + 2.5 * warm).max(0.0) * peak(20.0, 2.0);
        // The sports ground drinks on two days, at noon on one and in the night on the other.
        let sports = if weekday == 1 {
            peak(12.0, 1.5)
        } else if weekday == 4 {
            peak(2.0, 1.5)
        } else {
            0.0
        };
        let noise = 0.12 * (random.uniform() + random.uniform() - 1.0);
        let value = 1.0 + morning + 0.5 * peak(13.0, 2.5) + garden + 0.9 * sports + 0.4 * warm + noise;
        values.push((10.0 * value) as f32);
    }
    values
}

/// Two weeks of hours and the day after them, from any hour on.
#[derive(Clone)]
struct Windows {
    hours: Tensor,
    count: usize,
}

impl Windows {
    fn new(hours: &[f32]) -> Result<Windows> {
        let count = (hours.len() + 1).saturating_sub(PAST + DAY);
        Ok(Windows { hours: Tensor::from_slice(hours, [hours.len()])?, count })
    }
}

impl Dataset for Windows {
    type Item = Example;
    fn len(&self) -> usize {
        self.count
    }
    fn item(&self, index: usize, _: &mut Random) -> Result<Example> {
        Ok(Example { input: self.hours.narrow(0, index, PAST), target: self.hours.narrow(0, index + PAST, DAY) })
    }
}

/// Reads the past, says how the next day differs from the same day of last week.
struct Forecaster {
    read: Gru,
    say: Linear,
    mean: f64,
    deviation: f64,
}
module!(Forecaster { read, say; mean, deviation });

impl Layer for Forecaster {
    fn forward(&self, past: &Tensor) -> Tensor {
        let days = ((past - self.mean) / self.deviation).reshape([-1, (PAST / DAY) as isize, DAY as isize]);
        let read = self.read.forward(&days).output.select(1, -1);
        self.say.forward(&read) * self.deviation + day_before(past, WEEK)
    }
}

/// The day that lies so many hours before the day to be forecast.
fn day_before(past: &Tensor, hours: usize) -> Tensor {
    past.narrow(1, PAST - hours, DAY)
}

/// By how much forecasts are off, on average.
fn off(loader: &Loader<Windows>, forecast: impl Fn(&Tensor) -> Tensor) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for batch in loader.epoch(0) {
        let batch = batch?;
        let difference = no_grad(|| forecast(&batch.input)) - &batch.target;
        sum += difference.abs().sum().item()?;
        count += difference.count()?;
    }
    Ok(sum / count as f64)
}

fn main() -> Result<()> {
    let hours = town(WEEK * common::steps(80, 20), 1);
    // The last fifth is not seen; a window of the test may begin where the training ends.
    let split = hours.len() * 4 / 5;
    let (seen, unseen) = (Windows::new(&hours[..split])?, Windows::new(&hours[split..])?);
    println!("{} hours: {} windows to learn from, {} to be judged by", hours.len(), seen.len(), unseen.len());

    let device = common::device()?;
    let mut init = Init::on(&device).seed(1);
    let mut model = Forecaster {
        read: Gru::options(DAY, 64).with_batch_first().build(&mut init),
        say: Linear::new(64, DAY, &mut init),
        mean: seen.hours.mean().item()?,
        deviation: seen.hours.std().item()?,
    }
    .named();

    let loader = Loader::new(seen, 64).shuffled(1).drop_last().on(device);
    let test = Loader::new(unseen, 64).on(device);
    let last_week = off(&test, |past| day_before(past, WEEK))?;
    let yesterday = off(&test, |past| day_before(past, DAY))?;
    println!("as yesterday: off by {yesterday:.2}; as a week ago: off by {last_week:.2} m³");

    let epochs = common::steps(8, 1);
    let mut optimizer = AdamW::new(4e-3);
    let mut schedule = OneCycle::new(4e-3, (epochs * loader.len()) as u64).start(&mut optimizer);
    let mut by_model = f64::INFINITY;
    for epoch in 1..=epochs {
        for batch in loader.epoch(epoch as u64) {
            let batch = batch?;
            let loss = smooth_l1_loss(&model.forward(&batch.input), &batch.target);
            let mut gradients = loss.backward()?;
            gradients.clip_norm(1.0)?;
            optimizer.step(&mut model, &gradients)?;
            schedule.step(&mut optimizer);
        }
        by_model = off(&test, |past| model.forward(past))?;
        if epoch % 2 == 0 {
            println!("epoch {epoch}   off by {by_model:.2} m³");
        }
    }

    model.freeze();
    let example = test.dataset().item(common::steps(300, 0), &mut Random::new(0))?;
    let forecast = no_grad(|| model.forward(&example.input.unsqueeze(0).to(device)));
    draw(&example.target.to_vec()?, &forecast.reshape(-1).to_vec()?);
    assert!(common::quick() || by_model < 0.75 * last_week, "the forecast is no better than last week's hours");
    Ok(())
}

/// A day as it was (`o`) and as it was forecast (`*`, `@` where both are), hour by hour.
fn draw(real: &[f32], forecast: &[f32]) {
    for (hour, (real, forecast)) in real.iter().zip(forecast).enumerate() {
        let [real_at, forecast_at] = [real, forecast].map(|value| (1.5 * value).clamp(0.0, 70.0) as usize);
        let mut line = vec![' '; real_at.max(forecast_at) + 1];
        line[forecast_at] = '*';
        line[real_at] = if real_at == forecast_at { '@' } else { 'o' };
        println!("{hour:2} h |{}", line.iter().collect::<String>());
    }
}
