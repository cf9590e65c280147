//! A small network that answers one question after another asks nothing of the heap: tensors and what surrounds them come
//! back from lists of the thread.

#[path = "common/allocator.rs"]
mod allocator;

use allocator::{Counting, asked_during};
use chainrule::nn::{Init, Layer, Linear, Module, Relu, Sequential, Tanh};
use chainrule::{Result, Tensor};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often the heap is asked in a hundred answers, after some that warm up.
fn asked(mut model: Sequential, inputs: usize) -> Result<usize> {
    model.freeze();
    let x = Tensor::ones([1, inputs]);
    let answers = |count| (0..count).try_for_each(|_| model.forward(&x).checked().map(drop));
    answers(10)?;
    let (done, asked) = asked_during(|| answers(100));
    done.map(|()| asked)
}

#[test]
fn the_counter_counts() {
    let (_, asked) = asked_during(|| std::hint::black_box(vec![1u8; 100]));
    assert_eq!(asked, 1);
}

#[test]
fn a_small_network_asks_for_nothing() -> Result<()> {
    let init = &mut Init::new();
    let small = Sequential::new()
        .then(Linear::new(4, 64, init))
        .then(Relu)
        .then(Linear::new(64, 64, init))
        .then(Tanh)
        .then(Linear::new(64, 2, init));
    assert_eq!(asked(small, 4)?, 0);
    let classifier = Sequential::new().then(Linear::new(784, 512, init)).then(Relu).then(Linear::new(512, 10, init));
    assert_eq!(asked(classifier, 784)?, 0);
    Ok(())
}
