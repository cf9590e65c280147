//! What the checks of kernels share: random numbers, launches in every order, walks through views.

use crate::emulator::call::{Argument, Buffer, Emulator, Plain, View, bytes};
use half::{bf16, f16};

/// In which threads run: results must be the same bits in all of them.
pub const ORDERS: [&str; 3] = ["forward", "reverse", "7"];

/// Launches a kernel in every order and gives what it wrote. `outputs` makes fresh output buffers; their addresses follow
/// the inputs'.
pub fn launch<T: Plain + PartialEq + std::fmt::Debug>(
    name: &str,
    grid: [usize; 3],
    inputs: &[Argument],
    count: usize,
    numbers: &[Argument],
) -> Option<Vec<T>> {
    let mut first: Option<Vec<T>> = None;
    for order in ORDERS {
        let emulator = Emulator::new()?;
        emulator.order(order);
        let output = emulator.unwritten::<T>(count);
        let mut arguments = inputs.to_vec();
        arguments.push(output.argument());
        arguments.extend_from_slice(numbers);
        if let Err(said) = emulator.launch(name, grid, 256, 0, &arguments) {
            panic!("{name}: {said}");
        }
        let found = output.read::<T>();
        match &first {
            None => first = Some(found),
            Some(first) => assert!(same_bits(first, &found), "{name}: other numbers where threads run {order}"),
        }
    }
    first
}

fn same_bits<T: Plain>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| bytes(a) == bytes(b))
}

/// A buffer that outlives the lock of the emulator it was made with.
pub fn given<T: Plain>(numbers: &[T]) -> Option<Buffer> {
    Some(Emulator::new()?.buffer(numbers))
}

/// Repeatable random numbers.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Between -1 and 1.
    pub fn number(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
    pub fn list<T: Number>(&mut self, count: usize) -> Vec<T> {
        (0..count).map(|_| T::from_f64(self.number() * if T::WHOLE { 100.0 } else { 1.0 })).collect()
    }
}

/// An element type with its name in kernels.
pub trait Number: Plain + PartialEq + std::fmt::Debug {
    const NAME: &'static str;
    const WHOLE: bool = false;
    /// How far two roundings of it may be apart, relatively.
    const CLOSE: f64 = 0.0;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
}
macro_rules! numbers {
    ($($t:ty, $name:literal, $whole:literal, $close:expr;)*) => { $( impl Number for $t {
        const NAME: &'static str = $name;
        const WHOLE: bool = $whole;
        const CLOSE: f64 = $close;
        fn from_f64(x: f64) -> $t { x as $t }
        fn to_f64(self) -> f64 { self as f64 }
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
pub fn near<T: Number>(what: &str, found: &[T], expected: &[f64]) {
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
pub fn places(view: &View) -> Vec<i64> {
    let mut list = vec![0];
    for axis in 0..view.rank as usize {
        list =
            list.iter().flat_map(|&place| (0..view.sizes[axis]).map(move |i| place + i * view.strides[axis])).collect();
    }
    list
}
pub fn count(view: &View) -> usize {
    places(view).len()
}
pub fn blocks(count: usize) -> [usize; 3] {
    [count.div_ceil(1024).clamp(1, 65536), 1, 1]
}
