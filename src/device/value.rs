//! A value: numbers in a buffer, seen through a layout. It has no history.

use super::stored::{Held, Stored};
use super::{Buffer, Device};
use crate::error::Fault;
use crate::layout::{DType, Element, Layout, Shape};
use std::fmt;

/// Numbers without a history: what kernels and operations see. One pointer; clones share it.
#[derive(Clone)]
pub struct Value(Held);

/// A value's elements with their strides, for loops that follow them.
#[derive(Clone, Copy)]
pub struct Strided<'a, T> {
    /// All elements of the buffer.
    pub data: &'a [T],
    /// Which of them, in which order; every position lies inside `data`.
    pub layout: &'a Layout,
}

/// An element of which only the size is known: it can be moved or cleared and no more. So whatever it means, it stays
/// an element of its type.
pub(in crate::device) trait Word: Copy + Default + Send + Sync {}

/// Bits that nobody looks into.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(in crate::device) struct Opaque<U>(U);
impl Word for Opaque<u8> {}
impl Word for Opaque<u16> {}
impl Word for Opaque<u32> {}
impl Word for Opaque<u64> {}

/// Runs `$body` with `$W` the word of an element's size: what only moves elements needs code for four sizes.
macro_rules! by_size {
    ($dtype:expr, $W:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $W = $crate::device::Opaque<u8>;
                $body
            }
            2 => {
                type $W = $crate::device::Opaque<u16>;
                $body
            }
            4 => {
                type $W = $crate::device::Opaque<u32>;
                $body
            }
            _ => {
                type $W = $crate::device::Opaque<u64>;
                $body
            }
        }
    };
}
pub(in crate::device) use by_size;

impl Value {
    /// A new row-major value on the CPU; `fill` writes every element (it finds old numbers there, not zeros).
    pub fn build<T: Element>(shape: Shape, fill: impl FnOnce(&mut [T])) -> Result<Value, Fault> {
        let mut value = Value::blank(shape, T::DTYPE);
        // SAFETY: `blank` made it.
        if let Some(out) = unsafe { Value::numbers(&mut value) } {
            fill(out);
        }
        value
    }
    /// As [`build`](Value::build), where filling can fail.
    pub fn try_build<T: Element>(
        shape: Shape,
        fill: impl FnOnce(&mut [T]) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        let mut value = Value::blank(shape, T::DTYPE);
        // SAFETY: `blank` made it.
        let filled = unsafe { Value::numbers(&mut value) }.map(fill);
        if let Some(Err(fault)) = filled {
            value = Err(fault);
        }
        value
    }
    // What stands before filling knows nothing of the loop that fills: it is compiled once, not for each loop.
    /// A new row-major value on the CPU whose elements are still to be written, every one: it shows old numbers (of
    /// booleans, some).
    #[inline(never)]
    pub(in crate::device) fn blank(shape: Shape, dtype: DType) -> Result<Value, Fault> {
        let mut buffer = Buffer::new(shape.count() * dtype.size())?;
        buffer.refresh(dtype)?;
        Ok(Value(Held::new(Stored::new(buffer, Layout::contiguous(shape), dtype))))
    }
    /// The numbers of a blank value. (`Arc::get_mut` would ask by atomic operations whether it has one holder.)
    ///
    /// # Safety
    /// [`blank`](Value::blank) made it just now: nobody else holds it.
    #[inline(never)]
    unsafe fn numbers<T: Element>(value: &mut Result<Value, Fault>) -> Option<&mut [T]> {
        let value = value.as_mut().ok()?;
        // SAFETY: as the caller vouches.
        unsafe { value.0.surely_unshared() }.buffer_mut().elements_mut()
    }
    /// Numbers that stand in a buffer already, through a layout that lies inside of it.
    pub(in crate::device) fn within(buffer: Buffer, layout: Layout, dtype: DType) -> Result<Value, Fault> {
        let whole = Layout::contiguous(Shape::new(&[buffer.bytes() / dtype.size()])?);
        Value(Held::new(Stored::new(buffer, whole, dtype))).with_layout(layout)
    }
    /// A new value on the CPU of one number everywhere, in the given element type.
    pub fn full(shape: Shape, dtype: DType, number: f64) -> Result<Value, Fault> {
        crate::layout::dispatch!(dtype, T => Value::build::<T>(shape, |out| out.fill(T::from_f64(number))))
    }
    /// A new row-major value on a device, with any numbers in it.
    pub(crate) fn room(device: Device, shape: Shape, dtype: DType) -> Result<Value, Fault> {
        match device {
            Device::Cpu => Value::blank(shape, dtype),
            #[cfg(feature = "cuda-unversioned")]
            // Kernels of steps load states that they only write, and nothing may be read that nobody wrote.
            Device::Cuda(cuda) => cuda.full(shape, dtype, 0.0),
        }
    }
    /// A new value of one number everywhere, on a device.
    pub fn full_on(device: Device, shape: Shape, dtype: DType, number: f64) -> Result<Value, Fault> {
        match device {
            Device::Cpu => Value::full(shape, dtype, number),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.full(shape, dtype, number),
        }
    }
    /// The same numbers on a device; shares memory where they are there already. Strides stay where that moves no more than
    /// the numbers themselves.
    pub fn to(&self, device: Device) -> Result<Value, Fault> {
        match (self.device(), device) {
            (Device::Cpu, Device::Cpu) => Ok(self.clone()),
            #[cfg(feature = "cuda-unversioned")]
            (Device::Cpu, Device::Cuda(cuda)) => cuda.take_in(self),
            #[cfg(feature = "cuda-unversioned")]
            (Device::Cuda(cuda), Device::Cpu) => cuda.bring_back(self),
            #[cfg(feature = "cuda-unversioned")]
            (Device::Cuda(from), Device::Cuda(to)) if from == to => Ok(self.clone()),
            #[cfg(feature = "cuda-unversioned")]
            (Device::Cuda(from), Device::Cuda(to)) => to.take_over(self, from),
        }
    }
    /// The buffer.
    pub(in crate::device) fn buffer(&self) -> &Buffer {
        self.0.buffer()
    }
    /// The first and the last element that a layout reaches, counted from the buffer's start.
    pub(in crate::device) fn reach(layout: &Layout) -> (isize, isize) {
        let (mut first, mut last) = (layout.offset() as isize, layout.offset() as isize);
        for (&size, &stride) in layout.dims().iter().zip(layout.strides()) {
            let reach = stride.saturating_mul(size.max(1) as isize - 1);
            first = first.saturating_add(reach.min(0));
            last = last.saturating_add(reach.max(0));
        }
        (first, last)
    }
    /// The same numbers through another layout. It must stay inside the buffer; one that does not is a defect.
    pub fn with_layout(&self, layout: Layout) -> Result<Value, Fault> {
        let elements = self.0.buffer().bytes() / self.dtype().size();
        let (first, last) = Value::reach(&layout);
        if layout.count() > 0 && (first < 0 || last as usize >= elements) {
            return Err(Fault::defect(format!("a view reaches {first}..={last} of {elements} elements")));
        }
        Ok(Value(Held::new(Stored::new(self.0.buffer().clone(), layout, self.dtype()))))
    }
    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }
    /// The layout.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }
    /// The shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.0.layout.shape()
    }
    /// The sizes.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.0.layout.dims()
    }
    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.0.layout.rank()
    }
    /// The number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.0.layout.count()
    }
    /// Where it lives.
    #[inline]
    pub fn device(&self) -> Device {
        self.0.buffer().device()
    }
    /// Are the elements dense and in row-major order?
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.0.layout.is_contiguous()
    }
    /// Do both show the same buffer?
    pub fn shares_memory(&self, other: &Value) -> bool {
        self.0.buffer().same(other.0.buffer())
    }
    /// The elements of a dense, row-major value; `None` where the layout or the element type is another.
    #[inline]
    pub fn slice<T: Element>(&self) -> Option<&[T]> {
        if T::DTYPE != self.dtype() || !self.is_contiguous() {
            return None;
        }
        let count = self.count();
        if count == 0 {
            return Some(&[]);
        }
        let start = self.0.layout.offset();
        self.0.buffer().elements::<T>().get(start..start + count)
    }
    /// The elements of a value that the caller made dense and of this type; a `Fault` that names the defect otherwise.
    #[inline]
    pub fn dense<T: Element>(&self) -> Result<&[T], Fault> {
        self.slice().ok_or_else(|| self.not_dense(T::DTYPE))
    }
    /// The elements with their strides; a `Fault` where the element type is another.
    #[inline]
    pub fn strided<T: Element>(&self) -> Result<Strided<'_, T>, Fault> {
        if T::DTYPE != self.dtype() || self.device() != Device::Cpu {
            return Err(self.not_of(T::DTYPE));
        }
        Ok(Strided { data: self.0.buffer().elements(), layout: &self.0.layout })
    }
    #[cold]
    fn not_dense(&self, expected: DType) -> Fault {
        if self.device() != Device::Cpu {
            return self.not_here();
        }
        Fault::defect(format!("a dense {expected} was expected, this is {:?} {:?}", self.dtype(), self.layout()))
    }
    #[cold]
    fn not_of(&self, expected: DType) -> Fault {
        if self.device() != Device::Cpu {
            return self.not_here();
        }
        Fault::defect(format!("{expected} was expected, this is {}", self.dtype()))
    }
    #[cold]
    fn not_here(&self) -> Fault {
        Fault::device(
            format!("this is computed on the CPU only, and the numbers are on {}", self.device()),
            "move the tensor to the CPU with to(Device::Cpu)",
        )
    }
    /// The elements of two values of one type as words: those of `to`, which nobody else holds and which is dense, for
    /// writing, and those of `from` with their strides.
    pub(in crate::device) fn words<'a, W: Word>(
        to: &'a mut Value,
        from: &'a Value,
    ) -> Result<(&'a mut [W], Strided<'a, W>), Fault> {
        let dtype = from.dtype();
        if to.dtype() != dtype || dtype.size() != size_of::<W>() || !to.is_contiguous() {
            return Err(to.not_dense(dtype));
        }
        if to.device() != Device::Cpu || from.device() != Device::Cpu {
            return Err(if to.device() != Device::Cpu { to.not_here() } else { from.not_here() });
        }
        let (start, count) = (to.0.layout.offset(), to.count());
        let out = to.own_bytes().ok_or_else(|| Fault::defect("a value to be written is shared"))?;
        let data = from.0.buffer().elements::<u8>();
        // SAFETY: a buffer is aligned to 64 bytes and holds elements of the size of `W`; any bits are a word. What is
        // written are words read from elements of the same type, or cleared ones, so the elements stay what they are.
        let (out, data) = unsafe {
            let out = std::slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len() / size_of::<W>());
            (out, std::slice::from_raw_parts(data.as_ptr().cast(), data.len() / size_of::<W>()))
        };
        let out = if count == 0 { &mut [] } else { &mut out[start..start + count] };
        Ok((out, Strided { data, layout: &from.0.layout }))
    }
    /// As [`words`](Value::words), where both are dense.
    pub(in crate::device) fn dense_words<'a, W: Word>(
        to: &'a mut Value,
        from: &'a Value,
    ) -> Result<(&'a mut [W], &'a [W]), Fault> {
        if !from.is_contiguous() {
            return Err(from.not_dense(from.dtype()));
        }
        let (out, Strided { data, layout }) = Value::words(to, from)?;
        let start = if layout.count() == 0 { 0 } else { layout.offset() };
        Ok((out, &data[start..start + layout.count()]))
    }
    /// All bytes of the buffer, where nobody else holds it.
    pub(in crate::device) fn own_bytes(&mut self) -> Option<&mut [u8]> {
        self.0.unshared()?.buffer_mut().elements_mut()
    }
    /// Can it be written in place: does nobody else hold the buffer, and is the layout dense?
    pub(crate) fn is_writable(&mut self) -> bool {
        self.is_contiguous() && self.own_bytes().is_some()
    }
    /// The elements for writing in place, where nobody else holds the buffer and the layout is dense.
    pub fn unshared<T: Element>(&mut self) -> Option<&mut [T]> {
        if T::DTYPE != self.dtype() || !self.is_contiguous() {
            return None;
        }
        let (start, count) = (self.0.layout.offset(), self.count());
        let stored = self.0.unshared()?;
        stored.buffer_mut().elements_mut::<T>()?.get_mut(start..start + count)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value {:?} {}", self.dims(), self.dtype())
    }
}
