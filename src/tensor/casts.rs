//! Casts that autocast keeps: in one scope the numbers of a parameter or variable are cast once.
//!
//! Each use is still a node of its own, so gradients add up in the parameter's type. What was cast is held with its cast: so it cannot
//! change in place, unless who changes it asks for that first, [`forget`].

use super::{Tensor, own};
use crate::device::{Value, capture};
use crate::layout::DType;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;

/// What is kept in a scope.
struct Kept {
    /// The captured step that was being recorded when it began. Another one would find what it did not cast.
    step: Option<u64>,
    /// By identity and type.
    casts: HashMap<(u64, DType), Cast>,
}

struct Cast {
    from: Value,
    to: Value,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Runs `work`, which keeps its casts until it ends; inside of another scope until that ends.
pub(super) fn keeping<R>(work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            KEPT.take();
        }
    }
    if KEPT.with_borrow(Option::is_some) {
        return work();
    }
    KEPT.set(Some(Kept { step: capture::recording(), casts: HashMap::new() }));
    let _end = End;
    work()
}

/// The tensor in another type.
pub(super) fn cast(tensor: &Tensor, dtype: DType, at: &'static Location<'static>) -> Tensor {
    let leaf = tensor.history.node().filter(|node| node.is_leaf());
    let (Some(leaf), Ok(from)) = (leaf, &tensor.value) else { return own::cast(tensor, dtype, None, at) };
    let key = (leaf.id, dtype);
    let known = in_scope(|casts| casts.get(&key).filter(|cast| cast.is_of(from)).map(|cast| cast.to.clone()));
    if let Some(known) = known.flatten() {
        return own::cast(tensor, dtype, Some(known), at);
    }
    let cast = own::cast(tensor, dtype, None, at);
    if let Ok(to) = &cast.value {
        in_scope(|casts| {
            if casts.len() == casts.capacity() {
                // Before it grows: what nobody else holds is not asked for again.
                casts.retain(|_, cast| !cast.from.is_writable());
            }
            casts.insert(key, Cast { from: from.clone(), to: to.clone() });
        });
    }
    cast
}

/// Lets go of the casts of what is to be changed in place.
#[cold]
pub(super) fn forget(value: &Value) {
    KEPT.with_borrow_mut(|kept| {
        if let Some(kept) = kept {
            kept.casts.retain(|_, cast| !cast.from.shares_memory(value));
        }
    });
}

fn in_scope<R>(look: impl FnOnce(&mut HashMap<(u64, DType), Cast>) -> R) -> Option<R> {
    let step = capture::recording();
    KEPT.with_borrow_mut(|kept| kept.as_mut().filter(|kept| kept.step == step).map(|kept| look(&mut kept.casts)))
}

impl Cast {
    fn is_of(&self, value: &Value) -> bool {
        self.from.shares_memory(value) && self.from.layout() == value.layout()
    }
}
