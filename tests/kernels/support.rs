//! What the checks of kernels share: random numbers, launches in every order, walks through views.

use crate::emulator::call::{Argument, Buffer, Emulator, Plain, View};
use half::{bf16, f16};

/// In which threads run: results must be the same bits in all of them.
pub(crate) const ORDERS: [&str; 3] = ["forward", "reverse", "7"];

/// Launches a kernel in every order and gives what it wrote. The address of its output follows those of the inputs.
pub(crate) fn launch<T: Plain>(
    name: &str,
    grid: [usize; 3],
    inputs: &[Argument],
    count: usize,
    numbers: &[Argument],
) -> Option<Vec<T>> {
    in_every_order(|emulator| {
        let output = emulator.unwritten::<T>(count);
        let mut arguments = inputs.to_vec();
        arguments.push(output.argument());
        arguments.extend_from_slice(numbers);
        run(emulator, name, grid, &arguments);
        vec![output]
    })
    .map(|found| found[0].read())
}

/// Runs some launches in every order of threads: their outputs have the same bits each time. Gives the last ones.
pub(crate) fn in_every_order(launches: impl Fn(&Emulator) -> Vec<Buffer>) -> Option<Vec<Buffer>> {
    let mut first: Option<Vec<Vec<u8>>> = None;
    let mut last = Vec::new();
    for order in ORDERS {
        let emulator = Emulator::new()?;
        emulator.order(order);
        last = launches(&emulator);
        let found: Vec<Vec<u8>> = last.iter().map(|buffer| buffer.read()).collect();
        match &first {
            None => first = Some(found),
            Some(first) => assert!(*first == found, "other bits where threads run {order}"),
        }
    }
    Some(last)
}

/// A launch of 256 threads a block, against which nothing may be said.
pub(crate) fn run(emulator: &Emulator, name: &str, grid: [usize; 3], arguments: &[Argument]) {
    emulator.launch(name, grid, 256, 0, arguments).unwrap_or_else(|said| panic!("{said}"));
}

/// A buffer that outlives the lock of the emulator it was made with.
pub(crate) fn given<T: Plain>(numbers: &[T]) -> Option<Buffer> {
    Some(Emulator::new()?.buffer(numbers))
}

/// `struct Shares` of `kernels/fold.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Shares {
    pub(crate) results: i64,
    pub(crate) length: i64,
    pub(crate) pieces: i32,
    pub(crate) lanes: i32,
    pub(crate) adjacent: i32,
    pub(crate) pad: i32,
}
impl Plain for Shares {}

impl Shares {
    pub(crate) fn new(results: usize, length: usize, pieces: i32, lanes: i32, adjacent: i32) -> Shares {
        Shares { results: results as i64, length: length as i64, pieces, lanes, adjacent, pad: 0 }
    }
    pub(crate) fn grid(&self) -> [usize; 3] {
        [(self.results as usize * self.lanes as usize).div_ceil(256).max(1), self.pieces as usize, 1]
    }
}

/// Repeatable random numbers.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Between -1 and 1.
    pub(crate) fn number(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
    pub(crate) fn list<T: Number>(&mut self, count: usize) -> Vec<T> {
        (0..count).map(|_| T::from_f64(self.number() * if T::WHOLE { 100.0 } else { 1.0 })).collect()
    }
}

/// An element type with its name in kernels.
pub(crate) trait Number: Plain + PartialEq + std::fmt::Debug {
    const NAME: &'static str;
    const WHOLE: bool = false;
    /// How far two roundings of it may be apart, relatively.
    const CLOSE: f64 = 0.0;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    /// A whole number as it wraps in this type; floats stay.
    fn wrapped(self, x: f64) -> f64 {
        x
    }
}
macro_rules! numbers {
    ($($t:ty, $name:literal, $whole:literal, $close:expr;)*) => { $( impl Number for $t {
        const NAME: &'static str = $name;
        const WHOLE: bool = $whole;
        const CLOSE: f64 = $close;
        fn from_f64(x: f64) -> $t { x as $t }
        fn to_f64(self) -> f64 { self as f64 }
        fn wrapped(self, x: f64) -> f64 { if $whole { x as i64 as $t as f64 } else { x } }
    } )* };
}
numbers! {
    f64, "f64", false, 1e-13;
    f32, "f32", false, 2e-6;
    i64, "i64", true, 0.0;
    i32, "i32", true, 0.0;
    u8, "u8", true, 0.0;
}
macro_rules! halves {
    ($($t:ty, $name:literal, $close:expr;)*) => { $( impl Number for $t {
        const NAME: &'static str = $name;
        const CLOSE: f64 = $close;
        fn from_f64(x: f64) -> $t { <$t>::from_f32(x as f32) }
        fn to_f64(self) -> f64 { self.to_f32() as f64 }
    } )* };
}
halves! { bf16, "bf16", 0.008; f16, "f16", 0.001; }

/// Asserts that numbers are near each other: by `CLOSE` of their type, relative to the larger of 1 and the number itself.
pub(crate) fn near<T: Number>(what: &str, found: &[T], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let found = found.to_f64();
        let close = (found - expected).abs() <= T::CLOSE * expected.abs().max(1.0);
        assert!(
            close || found == expected || found.is_nan() && expected.is_nan(),
            "{what}, number {at}: {found} instead of {expected}"
        );
    }
}

/// The places of all elements of a view, in row-major order.
pub(crate) fn places(view: &View) -> Vec<i64> {
    let mut list = vec![0];
    for axis in 0..view.rank as usize {
        list =
            list.iter().flat_map(|&place| (0..view.sizes[axis]).map(move |i| place + i * view.strides[axis])).collect();
    }
    list
}
pub(crate) fn count(view: &View) -> usize {
    places(view).len()
}
pub(crate) fn blocks(count: usize) -> [usize; 3] {
    [count.div_ceil(1024).clamp(1, 65536), 1, 1]
}

/// `struct Window` of `kernels/volume.cuh`; a kernel of 0 shares all elements out evenly.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) size: i32,
    pub(crate) count: i32,
    pub(crate) kernel: i32,
    pub(crate) stride: i32,
    pub(crate) before: i32,
    pub(crate) dilation: i32,
}
