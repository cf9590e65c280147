//! How a training shows where it stands: one line that changes on a terminal, one line for each epoch elsewhere.

use super::history::{EpochRecord, shown};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What is shown of a training, on standard error: nothing of it mixes with what the program prints.
///
/// ```
/// use chainrule::nn::{Layer, Linear};
/// use chainrule::train::{Progress, Trainer};
/// use chainrule::{Tensor, mse_loss};
/// let trainer = Trainer::new(|model: &Linear, (x, y): &(Tensor, Tensor)| mse_loss(&model.forward(x), y));
/// let trainer = trainer.with_progress(Progress::Quiet);
/// # let _ = trainer;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar where standard error is a terminal, a line for each epoch where it is not.
    #[default]
    Auto,
    /// A line that shows batch, loss, items a second and time left, drawn anew at most ten times a second.
    Bar,
    /// A line for each epoch.
    Lines,
    /// Nothing.
    Quiet,
}

/// Draws at most so often.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows where a training stands.
pub(super) struct Reporter {
    progress: Progress,
    epochs: u64,
    batches: u64,
    /// When the epoch began, or was taken up again, and with which batch.
    begun: Instant,
    from: u64,
    items: u64,
    drawn: Option<Instant>,
    /// A bar stands on the terminal's last line.
    open: bool,
    /// What the last epoch's validation said.
    last: String,
    /// How long the batches of this epoch took.
    trained: Duration,
    /// The steps so far, where a step takes several batches.
    pub(super) steps: Option<u64>,
}

/// What a bar shows.
#[derive(Clone, Debug)]
struct Moment<'m> {
    epoch: u64,
    epochs: u64,
    batch: u64,
    batches: u64,
    /// Steps, where they are fewer than batches.
    steps: Option<u64>,
    loss: f64,
    /// Items in a second.
    speed: f64,
    /// Seconds to the end of the training.
    left: f64,
    /// What the last epoch's validation said.
    last: &'m str,
}

impl Reporter {
    pub(super) fn new(progress: Progress, epochs: u64, batches: u64) -> Reporter {
        let progress = match progress {
            Progress::Auto if is_drawn_on() => Progress::Bar,
            Progress::Auto => Progress::Lines,
            other => other,
        };
        Reporter {
            progress,
            epochs,
            batches,
            begun: Instant::now(),
            from: 0,
            items: 0,
            drawn: None,
            open: false,
            last: String::new(),
            trained: Duration::ZERO,
            steps: None,
        }
    }
    /// An epoch begins with this batch.
    pub(super) fn begin(&mut self, batch: u64) {
        (self.begun, self.from, self.items) = (Instant::now(), batch, 0);
    }
    /// So many batches of an epoch are done.
    pub(super) fn batch(&mut self, epoch: u64, batch: u64, items: usize, loss: f64) {
        let now = Instant::now();
        self.items += items as u64;
        self.trained = now - self.begun;
        if self.progress != Progress::Bar || self.drawn.is_some_and(|drawn| now - drawn < PAUSE) {
            return;
        }
        self.drawn = Some(now);
        let elapsed = self.trained.as_secs_f64();
        let still = self.epochs.saturating_sub(epoch) * self.batches + self.batches.saturating_sub(batch);
        let moment = Moment {
            epoch,
            epochs: self.epochs,
            batch,
            batches: self.batches,
            steps: self.steps,
            loss,
            speed: self.items as f64 / elapsed.max(1e-9),
            left: elapsed / (batch - self.from.min(batch)).max(1) as f64 * still as f64,
            last: &self.last,
        };
        self.draw(&line(&moment, width()));
    }
    /// An epoch has ended.
    pub(super) fn epoch(&mut self, record: &EpochRecord, is_best: bool) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let speed = self.items as f64 / self.trained.as_secs_f64().max(1e-9);
        let best = if is_best { "  best" } else { "" };
        let digits = self.epochs.to_string().len();
        let measures = record.measures.iter().filter(|(name, _)| *name != "rate");
        let measures: Vec<String> = measures.map(|(name, number)| format!("{name} {}", shown(number))).collect();
        // The training loss stands in the bar anyway; of the others there is room for one: the first metric, if there is any.
        self.last = measures.get(2).or(measures.get(1)).cloned().unwrap_or_default();
        self.note(&format!(
            "epoch {:>digits$}/{}  {}  {}  {}/s{best}",
            record.epoch,
            self.epochs,
            measures.join("  "),
            clock(seconds),
            grouped(speed)
        ));
    }
    /// The model was validated between two steps, which took so long.
    pub(super) fn look(&mut self, record: &EpochRecord, is_best: bool, took: Duration) {
        self.begun += took;
        let measures = record.measures.iter().filter(|(name, _)| *name != "rate" && *name != "loss");
        let measures: Vec<String> = measures.map(|(name, number)| format!("{name} {}", shown(number))).collect();
        self.last = measures.get(1).or(measures.first()).cloned().unwrap_or_default();
        let best = if is_best { "  best" } else { "" };
        self.note(&format!("step {}  {}{best}", grouped(record.step as f64), measures.join("  ")));
    }
    /// A line that stays.
    pub(super) fn note(&mut self, text: &str) {
        if self.progress == Progress::Quiet {
            return;
        }
        let clear = if std::mem::take(&mut self.open) { "\r\x1b[K" } else { "" };
        // That nobody can read it any more does not end a training.
        let _ = writeln!(std::io::stderr(), "{clear}{text}");
    }
    fn draw(&mut self, text: &str) {
        self.open = true;
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "\r{text}\x1b[K").and_then(|()| out.flush());
    }
}

/// A bar left open would be overwritten by what the program prints next.
impl Drop for Reporter {
    fn drop(&mut self) {
        if self.open {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// Is standard error a terminal on which a line can be drawn anew?
fn is_drawn_on() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// How wide the terminal is, where it says so.
fn width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(80)
}

/// The bar as text, shorter than `width`: what does not fit is left out from the end, the bar itself takes what is left.
fn line(moment: &Moment<'_>, width: usize) -> String {
    let Moment { epoch, epochs, batch, batches, steps, loss, speed, left, last } = *moment;
    let start = format!("epoch {:>digits$}/{epochs} ", epoch, digits = epochs.to_string().len());
    let steps = steps.map_or(String::new(), |steps| format!(" (step {steps})"));
    let count = format!(" {batch:>digits$}/{batches}{steps}", digits = batches.to_string().len());
    let mut parts =
        vec![format!("loss {}", shown(loss)), format!("{}/s", grouped(speed)), format!("{} left", clock(left))];
    if !last.is_empty() {
        parts.push(format!("({last})"));
    }
    let room = width.saturating_sub(1);
    let length = |parts: &[String]| parts.iter().map(|part| part.chars().count() + 2).sum::<usize>();
    let fixed = start.len() + count.len();
    while !parts.is_empty() && fixed + length(&parts) > room {
        parts.pop();
    }
    let bar = room.saturating_sub(fixed + length(&parts)).min(30);
    let mut text = start;
    if bar >= 4 {
        let filled = (bar as u64 * batch.min(batches) / batches.max(1)) as usize;
        text.extend(std::iter::repeat_n('━', filled));
        text.extend(std::iter::repeat_n('╌', bar - filled));
    }
    text.push_str(&count);
    for part in parts {
        text.push_str("  ");
        text.push_str(&part);
    }
    text.chars().take(room).collect()
}

/// Seconds as a clock shows them.
fn clock(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_nan() || seconds >= 360_000.0 => "--:--".to_string(),
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds => {
            let whole = seconds.round() as u64;
            match (whole / 3600, whole / 60 % 60, whole % 60) {
                (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
                (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
            }
        }
    }
}

/// A whole number with its thousands apart; a small one with a place.
fn grouped(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_its_line() {
        let last = "validation loss 0.2  accuracy 0.95";
        let moment = Moment {
            epoch: 2,
            epochs: 10,
            batch: 123,
            batches: 469,
            steps: None,
            loss: 0.12345,
            speed: 12345.6,
            left: 75.2,
            last,
        };
        assert_eq!(
            line(&moment, 120),
            "epoch  2/10 ━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 123/469  loss 0.1235  12 346/s  1:15 left  (validation loss 0.2  accuracy 0.95)"
        );
        assert_eq!(
            line(&moment, 80),
            "epoch  2/10 ━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 123/469  loss 0.1235  12 346/s  1:15 left"
        );
        assert_eq!(line(&moment, 45), "epoch  2/10  123/469  loss 0.1235  12 346/s");
        let text = line(&Moment { steps: Some(148), ..moment.clone() }, 60);
        assert_eq!(text, "epoch  2/10 ━╌╌╌╌ 123/469 (step 148)  loss 0.1235  12 346/s");
        for width in 0..200 {
            for batches in [0, 1, 469] {
                let text = line(&Moment { batches, ..moment.clone() }, width);
                assert!(text.chars().count() < width.max(1), "{width}: {text:?}");
            }
        }
    }

    #[test]
    fn times_and_counts_are_read_at_a_glance() {
        let clocks = [0.04, 9.96, 59.6, 3599.7, 7265.0, f64::NAN, f64::INFINITY].map(clock);
        assert_eq!(clocks, ["0.0 s", "0:10", "1:00", "1:00:00", "2:01:05", "--:--", "--:--"]);
        assert_eq!([3.24, 999.6, 1234567.0].map(grouped), ["3.2", "1 000", "1 234 567"]);
    }
}
