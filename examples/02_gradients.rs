//! Backpropagation built from scratch in some sixty lines, then the real one, which agrees.
//!
//! ```text
//! cargo run --example 02_gradients
//! ```
//!
//! It prints:
//!
//! ```text
//! by our own tape:   loss 0.142960   dw -0.310799   db -0.621599
//! by chainrule:      loss 0.142960   dw -0.310799   db -0.621599
//! by differences:    loss 0.142960   dw -0.310799   db -0.621599
//! ```

use chainrule::Tensor;

// ---- the tape: every number that was computed, and how ------------------------------------------------------------

/// How a number was computed from older ones, with the local derivative for each.
struct Entry {
    inputs: Vec<(usize, f64)>,
}

/// Numbers in the order they were computed.
#[derive(Default)]
struct Tape {
    values: Vec<f64>,
    entries: Vec<Entry>,
}

/// A number on the tape.
#[derive(Clone, Copy)]
struct Var(usize);

impl Tape {
    fn push(&mut self, value: f64, inputs: Vec<(usize, f64)>) -> Var {
        self.values.push(value);
        self.entries.push(Entry { inputs });
        Var(self.values.len() - 1)
    }
    fn value(&self, x: Var) -> f64 {
        self.values[x.0]
    }
    fn leaf(&mut self, value: f64) -> Var {
        self.push(value, vec![])
    }
    /// d(a + b) = da + db
    fn add(&mut self, a: Var, b: Var) -> Var {
        self.push(self.value(a) + self.value(b), vec![(a.0, 1.0), (b.0, 1.0)])
    }
    /// d(a · b) = b · da + a · db
    fn mul(&mut self, a: Var, b: Var) -> Var {
        let (x, y) = (self.value(a), self.value(b));
        self.push(x * y, vec![(a.0, y), (b.0, x)])
    }
    /// d tanh(a) = (1 - tanh²(a)) · da
    fn tanh(&mut self, a: Var) -> Var {
        let y = self.value(a).tanh();
        self.push(y, vec![(a.0, 1.0 - y * y)])
    }
    /// The chain rule: from the newest number to the oldest, each hands its gradient on to what it was computed from,
    /// times the local derivative. Where paths meet, gradients add up.
    fn backward(&self, loss: Var) -> Vec<f64> {
        let mut gradients = vec![0.0; self.values.len()];
        gradients[loss.0] = 1.0;
        for at in (0..=loss.0).rev() {
            for &(input, derivative) in &self.entries[at].inputs {
                gradients[input] += gradients[at] * derivative;
            }
        }
        gradients
    }
}

// ---- one neuron: loss = (tanh(w · x + b) - target)² ----------------------------------------------------------------

const X: f64 = 0.5;
const TARGET: f64 = 0.8;
const W: f64 = 0.7;
const B: f64 = 0.1;

fn by_tape() -> (f64, f64, f64) {
    let mut tape = Tape::default();
    let (x, w, b) = (tape.leaf(X), tape.leaf(W), tape.leaf(B));
    let minus_target = tape.leaf(-TARGET);
    let wx = tape.mul(w, x);
    let sum = tape.add(wx, b);
    let y = tape.tanh(sum);
    let difference = tape.add(y, minus_target);
    let loss = tape.mul(difference, difference);
    let gradients = tape.backward(loss);
    (tape.value(loss), gradients[w.0], gradients[b.0])
}

fn by_chainrule() -> chainrule::Result<(f64, f64, f64)> {
    let w = Tensor::new(W).variable();
    let b = Tensor::new(B).variable();
    let y = (&w * X + &b).tanh();
    let loss = (y - TARGET).square();
    let gradients = loss.backward()?;
    Ok((loss.item()?, gradients.of(&w)?.item()?, gradients.of(&b)?.item()?))
}

fn by_differences() -> (f64, f64, f64) {
    let loss = |w: f64, b: f64| ((w * X + b).tanh() - TARGET).powi(2);
    let h = 1e-6;
    let dw = (loss(W + h, B) - loss(W - h, B)) / (2.0 * h);
    let db = (loss(W, B + h) - loss(W, B - h)) / (2.0 * h);
    (loss(W, B), dw, db)
}

fn main() -> chainrule::Result<()> {
    let print =
        |by: &str, (loss, dw, db): (f64, f64, f64)| println!("{by:<18} loss {loss:.6}   dw {dw:.6}   db {db:.6}");
    print("by our own tape:", by_tape());
    print("by chainrule:", by_chainrule()?);
    print("by differences:", by_differences());
    Ok(())
}
