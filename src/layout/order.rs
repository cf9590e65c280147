//! Things put in order. A sort is a lot of code, and a sort for each kind of thing and comparison is as much again: here is the
//! one for positions, and all else follows them.

use std::cmp::Ordering;

/// The numbers below `count` in the order that `compare` gives them; equals stay as they are.
pub(crate) fn order_of(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

/// Puts things in the order that `compare` gives them; equals stay as they are.
pub(crate) fn put_in_order<T>(things: &mut Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) {
    let order = order_of(things.len(), &|a, b| compare(&things[a], &things[b]));
    let mut places: Vec<Option<T>> = things.drain(..).map(Some).collect();
    things.extend(order.into_iter().filter_map(|place| places[place].take()));
}

/// Puts numbers in ascending order, NaN at the ends.
pub(crate) fn sort_numbers(numbers: &mut [f64]) {
    numbers.sort_unstable_by(f64::total_cmp);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_stay_as_they_are() {
        let words = ["to", "a", "be", "or", "not", "be"];
        assert_eq!(order_of(words.len(), &|a, b| words[a].len().cmp(&words[b].len())), [1, 0, 2, 3, 5, 4]);
        let mut things: Vec<(usize, &str)> = words.iter().copied().enumerate().collect();
        put_in_order(&mut things, &|a, b| a.1.cmp(b.1));
        assert_eq!(things, [(1, "a"), (2, "be"), (5, "be"), (4, "not"), (3, "or"), (0, "to")]);
    }
}
