//! Keys and values that a generation keeps from step to step.

use crate::device::copy::Arrange;
use crate::device::{Value, on};
use crate::error::{Error, Fault, Result};
use crate::layout::{Layout, Shape};
use crate::tensor::Tensor;

/// The keys and values of the positions so far, for one attention layer and one caller.
///
/// It belongs to whoever generates, not to the model: a frozen model serves any number of them, on any threads. New
/// positions are written into room that is there already; when it runs out, it is doubled. A failed tensor is refused.
///
/// ```
/// use chainrule::nn::{Init, KvCache, Masks, MultiheadAttention};
/// use chainrule::{Tensor, no_grad};
/// let attention = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
/// let mut cache = KvCache::new();
/// for _ in 0..3 {
///     no_grad(|| attention.attend_cached(&Tensor::ones([1, 1, 8]), &mut cache, &Masks::new())).checked()?;
/// }
/// assert_eq!(cache.len(), 3);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    /// Keys and values, `[examples, heads, room, width]` each.
    stored: Option<[Value; 2]>,
    length: usize,
    room: usize,
}

/// Room for so many positions at least.
const ROOM: usize = 32;

impl KvCache {
    /// Empty, and grows as it is used.
    ///
    /// ```
    /// assert!(chainrule::nn::KvCache::new().is_empty());
    /// ```
    pub fn new() -> KvCache {
        KvCache::default()
    }
    /// Empty; room for so many positions is made with the first.
    ///
    /// ```
    /// assert_eq!(chainrule::nn::KvCache::with_room(1024).len(), 0);
    /// ```
    pub fn with_room(positions: usize) -> KvCache {
        KvCache { room: positions, ..KvCache::default() }
    }
    /// How many positions it holds.
    pub fn len(&self) -> usize {
        self.length
    }
    /// Does it hold none?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// For how many positions there is room before it grows.
    ///
    /// ```
    /// assert_eq!(chainrule::nn::KvCache::new().room(), 0);
    /// ```
    pub fn room(&self) -> usize {
        match &self.stored {
            Some([keys, _]) => keys.dims().get(2).copied().unwrap_or(0),
            None => 0,
        }
    }
    /// Forgets what stands behind the first `length` positions; the room stays.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
    /// Forgets everything, also how many examples there were.
    pub fn clear(&mut self) {
        self.stored = None;
        self.length = 0;
    }
    /// The keys so far, `[examples, heads, positions, width]`.
    pub fn keys(&self) -> Option<Tensor> {
        self.look(0)
    }
    /// The values so far.
    pub fn values(&self) -> Option<Tensor> {
        self.look(1)
    }
    fn look(&self, which: usize) -> Option<Tensor> {
        let value = self.stored.as_ref()?.get(which)?;
        let layout = first(value.layout(), self.length)?;
        value.with_layout(layout).ok().map(Tensor::from_value)
    }
    /// Adds the keys and values of new positions, `[examples, heads, positions, width]`; gives all so far. On an error it
    /// stays as it was.
    ///
    /// ```
    /// use chainrule::{Tensor, nn::KvCache};
    /// let mut cache = KvCache::new();
    /// let (keys, values) = cache.append(&Tensor::ones([1, 2, 3, 4]), &Tensor::ones([1, 2, 3, 4]))?;
    /// assert_eq!(keys.dims()?, [1, 2, 3, 4]);
    /// assert!(cache.append(&Tensor::ones([2, 2, 1, 4]), &Tensor::ones([2, 2, 1, 4])).is_err());
    /// # let _ = values;
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let (new_keys, new_values) = (keys.value()?, values.value()?);
        if let Err(fault) = self.write(new_keys, new_values) {
            return Err(Error::new("cache", fault));
        }
        match (self.keys(), self.values()) {
            (Some(keys), Some(values)) => Ok((keys, values)),
            _ => Err(Error::new("cache", Fault::defect("what was written is not there"))),
        }
    }
    fn write(&mut self, keys: &Value, values: &Value) -> std::result::Result<(), Fault> {
        let (&[examples, heads, count, _], &[other_examples, other_heads, other, _]) = (keys.dims(), values.dims())
        else {
            let what = format!("keys {:?} and values {:?}", keys.dims(), values.dims());
            return Err(Fault::shape(what, "a cache takes [examples, heads, positions, width]"));
        };
        if (examples, heads, count) != (other_examples, other_heads, other) {
            let what = format!("keys {:?} and values {:?} differ", keys.dims(), values.dims());
            return Err(Fault::shape(what, "every key has a value: only the last sizes may differ"));
        }
        let mut stored = self.stored.as_ref();
        if self.length == 0 && stored.is_some_and(|stored| stored.iter().zip([keys, values]).any(|(a, b)| !alike(a, b)))
        {
            stored = None;
        }
        if let Some(stored) = stored {
            for (old, new) in stored.iter().zip([keys, values]) {
                if !alike(old, new) {
                    let what = format!(
                        "the cache holds {:?} {}, the new positions are {:?} {}",
                        old.dims(),
                        old.dtype(),
                        new.dims(),
                        new.dtype()
                    );
                    let help = "one cache serves one layer and the same examples: clear() it for others, reorder() it to choose among them";
                    return Err(Fault::shape(what, help));
                }
            }
        }
        let length = self.length.saturating_add(count);
        let grown = match stored {
            Some(_) if length <= self.room() => None,
            Some([old_keys, old_values]) => {
                let room = length.max(self.room().saturating_mul(2));
                Some([grow(old_keys, self.length, room)?, grow(old_values, self.length, room)?])
            }
            None => {
                let room = length.max(self.room).max(ROOM);
                Some([grow(keys, 0, room)?, grow(values, 0, room)?])
            }
        };
        if let Some(grown) = grown {
            self.stored = Some(grown);
        }
        if let Some(stored) = &mut self.stored {
            for (old, new) in stored.iter_mut().zip([keys, values]) {
                let part = part(old.layout(), self.length, count)
                    .ok_or_else(|| Fault::defect("a cache of fewer than three axes"))?;
                on!(old.device(), overwrite(old, &part, new))?;
            }
        }
        self.length = length;
        Ok(())
    }
    /// Goes on with these examples, each once, several times or not at all: after a step of a beam search.
    ///
    /// ```
    /// use chainrule::{Tensor, nn::KvCache};
    /// let mut cache = KvCache::new();
    /// let keys = Tensor::from([1.0, 2.0]).reshape([2, 1, 1, 1]);
    /// cache.append(&keys, &keys)?;
    /// cache.reorder(&Tensor::from([1, 1, 0]))?;
    /// assert_eq!(cache.keys().unwrap().to_vec::<f32>()?, [2.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn reorder(&mut self, examples: &Tensor) -> Result<()> {
        let room = self.room();
        let (Some(keys), Some(values)) = (self.keys(), self.values()) else {
            return examples.value().map(drop);
        };
        let (keys, values) = (keys.index_select(0, examples).checked()?, values.index_select(0, examples).checked()?);
        let grown = [keys.value()?, values.value()?].map(|value| grow(value, self.length, room));
        match grown {
            [Ok(keys), Ok(values)] => {
                self.stored = Some([keys, values]);
                Ok(())
            }
            [Err(fault), _] | [_, Err(fault)] => Err(Error::new("cache", fault)),
        }
    }
}

/// Do both have the same examples, heads and width?
fn alike(a: &Value, b: &Value) -> bool {
    let same = |at: usize| a.dims().get(at) == b.dims().get(at);
    same(0) && same(1) && same(3) && a.dtype() == b.dtype()
}

/// The first positions (axis 2) of a value in a value with more room.
fn grow(value: &Value, length: usize, room: usize) -> std::result::Result<Value, Fault> {
    let mut sizes = value.dims().to_vec();
    if let Some(size) = sizes.get_mut(2) {
        *size = room;
    }
    let shape = Shape::new(&sizes)?;
    let missing = || Fault::defect("a cache of fewer than three axes");
    let old = value.with_layout(first(value.layout(), length).ok_or_else(missing)?)?;
    let part = first(&Layout::contiguous(shape), length).ok_or_else(missing)?;
    on!(value.device(), place(&old, shape, &part, 0.0))
}

fn first(layout: &Layout, length: usize) -> Option<Layout> {
    part(layout, 0, length)
}

/// `length` positions of axis 2, which lie inside.
fn part(layout: &Layout, start: usize, length: usize) -> Option<Layout> {
    let mut sizes = layout.dims().to_vec();
    *sizes.get_mut(2)? = length;
    let offset = layout.offset() as isize + start as isize * layout.strides().get(2)?;
    Some(Layout::from_parts(Shape::new(&sizes).ok()?, layout.strides(), usize::try_from(offset).ok()?))
}
