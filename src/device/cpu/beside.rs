//! What was made of a block's numbers and is kept beside them until they change: weights as products read them.
//!
//! Whoever wants a form says by a key which it is. Numbers that are used once for each change, as in training, keep nothing: a form is
//! kept when it is wanted a second time in a row. Every way to write a block goes through [`Buffer::elements_mut`], which
//! forgets first, and so does a block that nobody holds any more: a form cannot be of other numbers than those it stands beside.

use crate::device::Buffer;
use crate::error::Fault;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Which form: of what kind, of which numbers of the block, in what order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::device) struct Key {
    pub(in crate::device) kind: &'static str,
    pub(in crate::device) numbers: [isize; 8],
}

/// The form that is kept beside a block, and which one was wanted last.
#[derive(Default)]
pub(in crate::device) struct Beside {
    /// 0: none yet.
    wanted: AtomicU64,
    form: OnceLock<Box<Form>>,
}

struct Form {
    key: Key,
    buffer: Buffer,
}

// Said outright, as nothing shows a form half made: to find it out by looking would go in circles, from block to form to block.
impl UnwindSafe for Form {}
impl RefUnwindSafe for Form {}

/// Bytes of all forms, and the most that they may be. (They are buffers, so [`memory`](super::memory::memory) counts them as in use.)
static KEPT: AtomicUsize = AtomicUsize::new(0);
const MOST: usize = 256 << 20;

impl Beside {
    /// The form of this key, of so many bytes, if it is kept or was wanted last time, too: then it is made. Otherwise whoever wants it
    /// does without.
    pub(in crate::device) fn kept(
        &self,
        key: Key,
        bytes: usize,
        make: impl FnOnce(&mut Buffer) -> Result<(), Fault>,
    ) -> Option<&Buffer> {
        let same = |form: &'_ Form| form.key == key;
        if let Some(form) = self.form.get() {
            return same(form).then_some(&form.buffer);
        }
        let name = key.name();
        if self.wanted.swap(name, Relaxed) != name || KEPT.load(Relaxed).saturating_add(bytes) > MOST {
            return None;
        }
        // Where memory is short nothing is kept.
        let mut buffer = Buffer::new(bytes).ok()?;
        make(&mut buffer).ok()?;
        KEPT.fetch_add(bytes, Relaxed);
        // Another thread may have been faster: then this one is dropped.
        let _ = self.form.set(Box::new(Form { key, buffer }));
        self.form.get().filter(|form| same(form)).map(|form| &form.buffer)
    }
    /// Was no form wanted since the numbers changed?
    #[inline]
    pub(super) fn is_clean(&self) -> bool {
        self.wanted.load(Relaxed) == 0
    }
    /// The numbers are about to change.
    #[cold]
    pub(super) fn forget(&mut self) {
        *self = Beside::default();
    }
}

impl Key {
    /// Never 0.
    fn name(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish() | 1
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.buffer.bytes(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { kind: "test", numbers: [0; 8] };

    fn first(buffer: &Buffer, key: Key, value: u8) -> Option<u8> {
        let make = |form: &mut Buffer| {
            form.fresh::<u8>(100)?.fill(value);
            Ok(())
        };
        buffer.beside().kept(key, 100, make).map(|form| form.elements::<u8>()[0])
    }

    #[test]
    fn a_form_is_kept_from_the_second_time_on_until_its_numbers_change() {
        let other = Key { kind: "other", ..KEY };
        let mut numbers = Buffer::new(300_000).unwrap();
        assert_eq!([first(&numbers, KEY, 1), first(&numbers, other, 2), first(&numbers, KEY, 3)], [None; 3]);
        let kept = KEPT.load(Relaxed);
        assert_eq!([first(&numbers, KEY, 4), first(&numbers, KEY, 5)], [Some(4); 2]);
        assert!(KEPT.load(Relaxed) >= kept + 100);
        assert_eq!(first(&numbers, other, 6), None, "there is room for one");
        assert_eq!(first(&numbers.clone(), KEY, 7), Some(4), "a clone has the same numbers");
        numbers.elements_mut::<u8>().unwrap()[0] = 1;
        assert_eq!([first(&numbers, KEY, 8), first(&numbers, KEY, 9)], [None, Some(9)]);
        // A block that comes back from the cache has other numbers.
        let place = numbers.elements::<u8>().as_ptr();
        drop(numbers);
        let again = Buffer::new(300_000).unwrap();
        if again.elements::<u8>().as_ptr() == place {
            assert_eq!(first(&again, KEY, 10), None);
        }
    }
}
