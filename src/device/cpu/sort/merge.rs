//! One long row sorted by all threads: blocks are sorted, then neighbours merged, pieces of each merge on their own.

use super::super::parallel;
use super::Packed;
use crate::error::Fault;

/// A row longer than this is sorted by all threads together ...
pub(super) const LONG: usize = 64 * 1024;
/// ... where there are fewer rows than this.
pub(super) const FEW: usize = 16;
/// Elements of a block that is sorted at once, and of a piece of a merge.
const BLOCK: usize = 32 * 1024;

/// Room for `size` numbers.
pub(super) fn reserve<P: Packed>(size: usize) -> Result<Vec<P>, Fault> {
    let mut room = Vec::new();
    room.try_reserve_exact(size)
        .map_err(|_| Fault::memory(format!("no room to sort {size} elements"), "sort fewer"))?;
    room.resize(size, P::default());
    Ok(room)
}

/// Different numbers in order.
pub(super) fn sort<P: Packed>(mut from: Vec<P>) -> Result<Vec<P>, Fault> {
    parallel::chunks(&mut from, BLOCK, 16, |_, block| block.sort_unstable());
    let mut to = reserve::<P>(from.len())?;
    let mut run = BLOCK;
    while run < from.len() {
        let source = &from;
        parallel::chunks(&mut to, BLOCK, 4, |piece, out| {
            let start = piece * BLOCK;
            let first = start / (2 * run) * (2 * run);
            let middle = (first + run).min(source.len());
            let end = (first + 2 * run).min(source.len());
            merge(&source[first..middle], &source[middle..end], start - first, out);
        });
        std::mem::swap(&mut from, &mut to);
        run *= 2;
    }
    Ok(from)
}

/// Elements `skip ..` of what two ascending rows give when merged.
fn merge<P: Packed>(left: &[P], right: &[P], skip: usize, out: &mut [P]) {
    // How many of the first `skip` come from the left: the least count whose next is not smaller than what the right
    // has given. All elements differ, so there is one.
    let (mut low, mut high) = (skip.saturating_sub(right.len()), skip.min(left.len()));
    while low < high {
        let middle = (low + high) / 2;
        if left[middle] < right[skip - middle - 1] {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let (mut left, mut right) = (left[low..].iter().peekable(), right[skip - low..].iter().peekable());
    for to in out {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a < b => left.next(),
            (_, Some(_)) => right.next(),
            _ => left.next(),
        };
        if let Some(&next) = next {
            *to = next;
        }
    }
}
