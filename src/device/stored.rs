//! What a value points to, and the shells it comes in: a thread keeps those that nobody holds any more for its next
//! values, so that a small operation asks nothing of the heap.

use super::Buffer;
use crate::layout::{DType, Layout};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// A buffer, seen through a layout.
pub(super) struct Stored {
    /// There as long as somebody holds it; an idle shell has none.
    buffer: Option<Buffer>,
    pub(super) layout: Layout,
    pub(super) dtype: DType,
}

impl Stored {
    pub(super) fn new(buffer: Buffer, layout: Layout, dtype: DType) -> Stored {
        Stored { buffer: Some(buffer), layout, dtype }
    }
    /// The buffer.
    #[inline]
    pub(super) fn buffer(&self) -> &Buffer {
        // SAFETY: only `Held::drop` takes it, which is the last to see a `Stored` before `Held::new` fills it again.
        unsafe { self.buffer.as_ref().unwrap_unchecked() }
    }
    /// The buffer, for writing.
    #[inline]
    pub(super) fn buffer_mut(&mut self) -> &mut Buffer {
        // SAFETY: as above.
        unsafe { self.buffer.as_mut().unwrap_unchecked() }
    }
}

/// One pointer to what is stored; clones share it.
#[derive(Clone)]
pub(super) struct Held(ManuallyDrop<Arc<Stored>>);

/// Shells that a thread keeps.
const MOST: usize = 256;

thread_local! {
    static IDLE: RefCell<Vec<Arc<Stored>>> = const { RefCell::new(Vec::new()) };
}

impl Held {
    pub(super) fn new(stored: Stored) -> Held {
        let shell = IDLE.try_with(|idle| idle.try_borrow_mut().ok()?.pop()).ok().flatten();
        let Some(mut shell) = shell else { return Held(ManuallyDrop::new(Arc::new(stored))) };
        // SAFETY: nobody else holds an idle shell.
        *unsafe { alone(&mut shell) } = stored;
        Held(ManuallyDrop::new(shell))
    }
    /// What is stored, where nobody else holds it.
    #[inline]
    pub(super) fn unshared(&mut self) -> Option<&mut Stored> {
        Arc::get_mut(&mut self.0)
    }
    /// What is stored, without asking who holds it. (`Arc::get_mut` asks by atomic operations.)
    ///
    /// # Safety
    /// Nobody else holds it.
    #[inline]
    pub(super) unsafe fn surely_unshared(&mut self) -> &mut Stored {
        // SAFETY: passed on to the caller.
        unsafe { alone(&mut self.0) }
    }
}

/// What only one pointer points to.
///
/// # Safety
/// There is no other.
#[inline]
unsafe fn alone(stored: &mut Arc<Stored>) -> &mut Stored {
    // SAFETY: there is one pointer to it, which is borrowed for writing here.
    unsafe { &mut *Arc::as_ptr(stored).cast_mut() }
}

impl Deref for Held {
    type Target = Stored;
    #[inline]
    fn deref(&self) -> &Stored {
        &self.0
    }
}

impl Drop for Held {
    // Values are dropped in thousands of places.
    #[inline(never)]
    fn drop(&mut self) {
        // Where two clones are dropped at the same moment neither is the last: then the shell goes to the system.
        let last = Arc::strong_count(&self.0) == 1;
        // SAFETY: taken once, here; `self` is not used again.
        let mut shell = unsafe { ManuallyDrop::take(&mut self.0) };
        if !last {
            return;
        }
        // What others did with it before they let go is done now.
        fence(Ordering::Acquire);
        // SAFETY: this is the last pointer, and no weak ones are ever made.
        drop(unsafe { alone(&mut shell) }.buffer.take());
        // A value in another thread-local variable may be dropped after this one is gone: `try_with`.
        let _ = IDLE.try_with(|idle| match idle.try_borrow_mut() {
            Ok(mut idle) if idle.len() < MOST => idle.push(shell),
            _ => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bytes: usize) -> Held {
        Held::new(Stored::new(
            Buffer::new(bytes).unwrap(),
            Layout::contiguous(crate::layout::Shape::new(&[bytes]).unwrap()),
            DType::U8,
        ))
    }

    #[test]
    fn a_shell_comes_back() {
        let first = held(10);
        let shell = Arc::as_ptr(&first.0);
        let second = first.clone();
        drop(first);
        assert_ne!(Arc::as_ptr(&held(20).0), shell, "somebody still holds it");
        drop(second);
        let again = held(30);
        assert_eq!((Arc::as_ptr(&again.0), again.buffer().bytes()), (shell, 30));
    }

    #[test]
    fn clones_may_go_at_the_same_time() {
        for _ in 0..200 {
            let (first, barrier) = (held(64), &std::sync::Barrier::new(2));
            let second = first.clone();
            std::thread::scope(|scope| {
                for one in [first, second] {
                    scope.spawn(move || {
                        barrier.wait();
                        drop(one);
                    });
                }
            });
        }
    }
}
