//! From numbers to places on an axis, with marks at round numbers.

/// An axis: the numbers it shows, evenly or by their logarithms.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    marks: Vec<(f64, String)>,
}

impl Scale {
    /// An axis for these numbers with about so many marks. What is not finite is left out, and what is not positive from a
    /// logarithmic one.
    pub(super) fn new(numbers: impl Iterator<Item = f64>, logarithmic: bool, wanted: usize) -> Scale {
        let mut range: Option<(f64, f64)> = None;
        for number in numbers.filter(|number| number.is_finite() && !(logarithmic && *number <= 0.0)) {
            let (low, high) = range.unwrap_or((number, number));
            range = Some((low.min(number), high.max(number)));
        }
        let (low, high) = range.unwrap_or(if logarithmic { (1.0, 10.0) } else { (0.0, 1.0) });
        if logarithmic { Scale::of_logarithms(low, high, wanted) } else { Scale::even(low, high, wanted) }
    }
    fn even(low: f64, high: f64, wanted: usize) -> Scale {
        // The range of f64 is wider than f64: far out, and for a single number, there is a way to its neighbours.
        let span = high / 2.0 - low / 2.0;
        let (low, high) = match span {
            span if span > low.abs().max(high.abs()) * 1e-12 && span > 1e-290 => (low, high),
            _ if low.abs().max(high.abs()) < 1e-290 => (-0.5, 0.5),
            _ => ((low - low.abs() * 0.05).max(f64::MIN), (high + high.abs() * 0.05).min(f64::MAX)),
        };
        let rough = (high / 2.0 - low / 2.0) / wanted.max(1) as f64 * 2.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|round| round * decade).find(|step| *step >= rough * 0.999);
        let step = step.filter(|step| step.is_finite() && *step > 0.0).unwrap_or(rough);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let count = (last - first).min(100.0) as usize;
        let marks: Vec<(f64, String)> =
            (0..=count).map(|at| (first + at as f64) * step).map(|number| (number, label(number, step))).collect();
        // A round number beyond the last one there is stays outside.
        let finite = |round: f64, own: f64| if round.is_finite() { round } else { own };
        let (low, high) = (low.min(finite(first * step, low)), high.max(finite(last * step, high)));
        Scale { low, high, logarithmic: false, marks }
    }
    fn of_logarithms(low: f64, high: f64, wanted: usize) -> Scale {
        let (from, to) =
            if low == high { (low.log10() - 0.3, high.log10() + 0.3) } else { (low.log10(), high.log10()) };
        let (first, last) = (from.floor() as i32, to.ceil() as i32);
        let every = ((last - first) as usize / wanted.max(1)).max(1);
        let inner: &[f64] = match last - first {
            0..=2 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let mut marks = Vec::new();
        for decade in (first..=last).step_by(every) {
            for round in inner {
                let number = round * 10f64.powi(decade);
                if number.is_finite() && (from - 1e-9..=to + 1e-9).contains(&number.log10()) {
                    marks.push((number, label(number, number)));
                }
            }
        }
        Scale { low: from, high: to, logarithmic: true, marks }
    }
    /// Where a number lies, 0 at the beginning of the axis and 1 at its end; none where it lies nowhere.
    pub(super) fn place(&self, number: f64) -> Option<f64> {
        let number = if self.logarithmic { number.log10() } else { number };
        // halves, so that the widest of ranges does not overflow
        let place = (number / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        place.is_finite().then_some(place)
    }
    /// The round numbers, and how they are written.
    pub(super) fn marks(&self) -> &[(f64, String)] {
        &self.marks
    }
}

/// A round number, with as many places as steps of this size need.
fn label(number: f64, step: f64) -> String {
    let largest = number.abs().max(step.abs());
    let places = (-step.abs().log10().floor()).max(0.0) as usize;
    match largest {
        0.0 => "0".to_string(),
        _ if number == 0.0 => "0".to_string(),
        largest if !(1e-4..1e15).contains(&largest) => format!("{number:.0e}"),
        largest if largest >= 1e6 && step >= 1e4 => format!("{}M", trimmed(number / 1e6, 2)),
        largest if largest >= 1e4 && step >= 1e2 => format!("{}k", trimmed(number / 1e3, 1)),
        _ => format!("{number:.places$}"),
    }
}

fn trimmed(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, logarithmic: bool) -> Vec<String> {
        let scale = Scale::new([low, high, f64::NAN].into_iter(), logarithmic, 5);
        scale.marks().iter().map(|(_, label)| label.clone()).collect()
    }

    #[test]
    fn marks_are_round() {
        assert_eq!(labels(0.0, 1.0, false), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.013, 2.31, false), ["0", "0.5", "1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(labels(0.0, 46900.0, false), ["0", "10k", "20k", "30k", "40k", "50k"]);
        assert_eq!(labels(0.0, 9.4e6, false), ["0", "2M", "4M", "6M", "8M", "10M"]);
        assert_eq!(labels(1e-3, 1.0, true), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels(0.3, 3.0, true), ["0.5", "1", "2"]);
        assert_eq!(labels(0.97, 0.99, false), ["0.970", "0.975", "0.980", "0.985", "0.990"]);
    }

    #[test]
    fn any_range_has_places() {
        let all = [0.0, 1.0, -1.0, 1e-300, 1e300, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, 0.3];
        for low in all {
            for high in all {
                for logarithmic in [false, true] {
                    let scale = Scale::new([low, high].into_iter(), logarithmic, 5);
                    assert!(scale.marks().len() <= 120, "{low} {high}");
                    for number in [low, high] {
                        match scale.place(number) {
                            Some(place) => assert!((-1e-9..=1.0 + 1e-9).contains(&place), "{low} {high}: {place}"),
                            None => assert!(logarithmic && number <= 0.0, "{low} {high} {number}"),
                        }
                    }
                }
            }
        }
        assert!(Scale::new(std::iter::empty(), false, 5).place(0.5).is_some());
    }
}
