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
    // As whole numbers, for which there is a sort already.
    const SIGN: u64 = 1 << 63;
    let mut ranks: Vec<u64> = numbers.iter().map(|x| x.to_bits()).collect();
    for rank in &mut ranks {
        *rank ^= if *rank & SIGN == 0 { SIGN } else { u64::MAX };
    }
    ranks.sort_unstable();
    for (number, rank) in numbers.iter_mut().zip(ranks) {
        *number = f64::from_bits(rank ^ if rank & SIGN == 0 { u64::MAX } else { SIGN });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_from_nan_to_nan() {
        let infinity = f64::INFINITY;
        let mut numbers = [2.5, -0.0, f64::NAN, -infinity, 0.0, -2.5, infinity, -f64::NAN, 1e-310, -1e300];
        let mut wanted = numbers;
        wanted.sort_by(f64::total_cmp);
        sort_numbers(&mut numbers);
        assert_eq!(numbers.map(f64::to_bits), wanted.map(f64::to_bits));
    }

    #[test]
    fn equals_stay_as_they_are() {
        let words = ["to", "a", "be", "or", "not", "be"];
        assert_eq!(order_of(words.len(), &|a, b| words[a].len().cmp(&words[b].len())), [1, 0, 2, 3, 5, 4]);
        let mut things: Vec<(usize, &str)> = words.iter().copied().enumerate().collect();
        put_in_order(&mut things, &|a, b| a.1.cmp(b.1));
        assert_eq!(things, [(1, "a"), (2, "be"), (5, "be"), (4, "not"), (3, "or"), (0, "to")]);
    }
}
