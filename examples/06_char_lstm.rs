//! An LSTM that learns to write, character by character.
//!
//! ```text
//! cargo run --release --example 06_char_lstm
//! cargo run --release --example 06_char_lstm -- --data book.txt
//! cargo run --release --features cuda --example 06_char_lstm -- --device cuda
//! ```
//!
//! Without a file it learns a small language whose sentences agree in number ("one owl sees two brave cats."), so that what
//! it has learnt can be counted: how many of the lines it writes are sentences of that language.
//!
//! It prints (some ten seconds):
//!
//! ```text
//! 132318 characters, 24 different
//! 218904 parameters
//! step    0   loss 3.1622
//! step  100   loss 0.4739
//! step  200   loss 0.4080
//! step  300   loss 0.4084
//! step  400   loss 0.4026
//!   two green owls follow four grey frogs.
//!   four cats follow two frogs.
//!   two frogs follow two owls.
//!   two green crows tease two foxes.
//!   one owl fears two hares.
//! 47 of 47 lines are sentences of the language (100 %)
//! ```

mod common;

use chainrule::data::{Alphabet, Loader, Windows};
use chainrule::loss::cross_entropy;
use chainrule::nn::{Embedding, Init, Layer, Linear, Lstm, LstmOutput, Module, Sequence};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Random, Result, Tensor, module, no_grad};

/// Characters become vectors, two LSTM layers read them, a linear layer says what comes next.
struct Writer {
    embed: Embedding,
    lstm: Lstm,
    head: Linear,
}
module!(Writer { embed, lstm, head });

impl Writer {
    fn new(characters: usize, init: &mut Init) -> Writer {
        Writer {
            embed: Embedding::new(characters, 32, init),
            lstm: Lstm::options(32, 128).with_layers(2).with_batch_first().build(init),
            head: Linear::new(128, characters, init),
        }
        .named()
    }
    /// Scores for what follows each of `text` `[batch, time]`, and the state to go on from.
    fn forward(&self, text: &Tensor, start: &Sequence) -> (Tensor, Sequence) {
        let LstmOutput { output, hidden, cell } = self.lstm.forward_with(&self.embed.forward(text), start);
        (self.head.forward(&output), Sequence::new().hidden(&hidden).cell(&cell))
    }
    /// Goes on from a beginning, one character after another; each is drawn by its chance at this temperature.
    fn write(&self, alphabet: &Alphabet, count: usize, temperature: f64, random: &mut Random) -> Result<String> {
        let mut characters = vec![alphabet.number('\n').unwrap_or(0)];
        let mut state = Sequence::new();
        for _ in 0..count {
            let last =
                Tensor::from_slice(&characters[characters.len() - 1..], [1, 1])?.to(self.head.weight.device()?);
            let (scores, next) = self.forward(&last, &state);
            let chances = (scores.reshape(-1) / temperature).softmax(-1);
            characters.push(chances.multinomial(1, random).item()? as i64);
            state = next;
        }
        alphabet.decode(&characters[1..])
    }
}

fn main() -> Result<()> {
    let text = common::text()?;
    let alphabet = Alphabet::of(&text);
    let characters = alphabet.encode(&text)?;
    println!("{} characters, {} different", characters.len(), alphabet.len());
    let device = common::device()?;
    let mut model = Writer::new(alphabet.len(), &mut Init::on(&device).seed(1));
    println!("{} parameters", model.parameter_count());

    let mut optimizer = Adam::new(4e-3);
    let loader = Loader::new(Windows::of_numbers(characters, 64)?, 32).shuffled(1).on(device);
    let steps = common::steps(400, 20);
    for (step, batch) in (0..).flat_map(|epoch| loader.epoch(epoch)).take(steps + 1).enumerate() {
        let batch = batch?;
        let (scores, _) = model.forward(&batch.input, &Sequence::new());
        let loss = cross_entropy(&scores.transpose(1, 2), &batch.target);
        let mut gradients = loss.backward()?;
        let _norm = gradients.clip_norm_unread(1.0, 2.0)?;
        optimizer.step(&mut model, &gradients)?;
        if step % (steps / 4) == 0 {
            println!("step {step:4}   loss {:.4}", loss.item()?);
        }
    }

    model.freeze();
    let written = no_grad(|| model.write(&alphabet, common::steps(1500, 200), 0.5, &mut Random::new(1)))?;
    common::show(&written, common::steps(80, 0) as f64)
}
