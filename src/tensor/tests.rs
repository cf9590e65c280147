//! The engine on two operations of its own: a product and a total.

use super::*;
use crate::error::{ErrorKind, Fault};
use crate::layout::Shape;

/// Elementwise product of equal shapes, or of a single number and anything.
#[derive(Debug)]
struct Product;

impl Op for Product {
    fn name(&self) -> &'static str {
        "product"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let shape = inputs[0].shape().broadcast(inputs[1].shape())?;
        let read = |i: usize| -> Result<Vec<f64>, Fault> {
            let spread = inputs[i].with_layout(inputs[i].layout().expanded(&shape)?)?;
            let dense = dense_as(&spread, crate::layout::DType::F64)?;
            Ok(dense.dense::<f64>()?.to_vec())
        };
        let (a, b) = (read(0)?, read(1)?);
        one(Value::build::<f64>(shape, |out| (0..out.len()).for_each(|i| out[i] = a[i] * b[i]))?)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        apply(Product, [&arriving[0], &call.input(1 - which)])
    }
    fn saves(&self, which: usize) -> Saves {
        Saves::input(1 - which)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂a = ∂L/∂y · b"
    }
    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }
}

fn product(a: &Tensor, b: &Tensor) -> Tensor {
    apply(Product, [a, b])
}

/// Splits a pair of numbers.
#[derive(Debug)]
struct Pair;

impl Op for Pair {
    fn name(&self) -> &'static str {
        "pair"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0].dense::<f64>()?;
        let single = |x: f64| Value::build::<f64>(Shape::new(&[])?, |out| out[0] = x);
        Ok(smallvec::smallvec![single(x[0])?, single(x[1])?])
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        let read = || Ok([arriving[0].item()?, arriving[1].item()?]);
        read().map_or_else(Tensor::failed, Tensor::new)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "both gradients side by side"
    }
}

fn number(x: f64) -> Tensor {
    Tensor::new(x)
}

#[test]
fn a_tensor_is_small() {
    assert!(size_of::<Tensor>() <= 48, "{}", size_of::<Tensor>());
}

#[test]
fn products_have_gradients_of_every_order() -> Result<()> {
    let x = number(2.0).variable();
    let cube = product(&product(&x, &x), &x);
    let first = cube.backward_recorded()?;
    assert_eq!(first.of(&x)?.item()?, 12.0);
    let second = first.of(&x)?.backward_recorded()?;
    assert_eq!(second.of(&x)?.item()?, 12.0);
    assert_eq!(second.len(), 1, "the hidden seed is no leaf of the user's");
    let third = second.of(&x)?.backward()?;
    assert_eq!(third.of(&x)?.item()?, 6.0);
    Ok(())
}

#[test]
fn a_broadcast_is_undone() -> Result<()> {
    let scale = number(3.0).variable();
    let x = Tensor::new([1.0, 2.0]).variable();
    let gradients = product(&scale, &x).backward_from(&Tensor::new([1.0, 10.0]))?;
    assert_eq!(gradients.of(&scale)?.item()?, 21.0);
    assert_eq!(gradients.of(&x)?.to_vec::<f64>()?, [3.0, 30.0]);
    Ok(())
}

#[test]
fn an_unused_result_sends_zeros() -> Result<()> {
    let x = Tensor::new([5.0, 7.0]).variable();
    let [first, _second] = apply_many(Pair, &[&x]);
    assert_eq!(product(&first, &first).backward()?.of(&x)?.to_vec::<f64>()?, [10.0, 0.0]);
    Ok(())
}

#[test]
fn a_graph_is_walked_once_unless_kept() -> Result<()> {
    let x = number(2.0).variable();
    let y = product(&x, &x);
    y.keep_graph().backward()?;
    y.backward()?;
    let error = y.backward().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gradient);
    assert!(error.to_string().contains("keep_graph()"), "{error}");
    Ok(())
}

#[test]
fn chosen_gradients_walk_through_each_other() -> Result<()> {
    let x = number(3.0).variable();
    let hidden = product(&x, &x);
    let y = product(&hidden, &number(2.0));
    let gradients = y.gradients_of(&[&hidden, &x])?;
    assert_eq!((gradients[0].item()?, gradients[1].item()?), (2.0, 12.0));
    let other = number(1.0).variable();
    let error = product(&x, &x).gradients_of(&[&other]).unwrap_err();
    assert!(error.what().contains("took no part"), "{error}");
    Ok(())
}

#[test]
fn cuts_are_remembered() -> Result<()> {
    let (x, w) = (number(3.0).variable(), number(2.0).variable());
    let hidden = product(&x, &x).detach();
    let gradients = product(&product(&hidden, &hidden), &w).backward()?;
    assert_eq!(gradients.cuts().len(), 1);
    assert_eq!(gradients.cuts()[0].reason, "detach");
    let error = gradients.of(&x).unwrap_err().to_string();
    assert!(error.contains("cut by detach at src"), "{error}");
    let error = no_grad(|| product(&x, &x)).backward().unwrap_err();
    assert!(error.help().contains("no_grad"), "{error}");
    Ok(())
}

#[test]
fn a_checkpoint_gives_the_same_gradients_and_keeps_less() -> Result<()> {
    let (x, w) = (number(1.5).variable(), number(-2.0).variable());
    let block = || {
        let y = product(&x, &w);
        product(&product(&y, &y), &y)
    };
    let plain = block().backward()?;
    let result = checkpoint(block);
    assert_eq!(result.item()?, -27.0);
    let replayed = result.backward()?;
    assert_eq!(plain.of(&x)?.item()?, replayed.of(&x)?.item()?);
    assert_eq!(plain.of(&w)?.item()?, replayed.of(&w)?.item()?);
    let second = checkpoint(block).backward_recorded()?.of(&x)?.backward()?;
    assert_eq!(second.of(&x)?.item()?, 6.0 * 1.5 * -8.0);
    Ok(())
}

#[test]
fn forward_mode_agrees() -> Result<()> {
    let (x, along) = (Tensor::new([1.0, 2.0]), Tensor::new([1.0, -1.0]));
    let (y, slope) = jvp(|x| product(&product(&x[0], &x[0]), &x[0]), &[&x], &[&along])?;
    assert_eq!(y.to_vec::<f64>()?, [1.0, 8.0]);
    assert_eq!(slope.to_vec::<f64>()?, [3.0, -12.0]);
    Ok(())
}

#[test]
fn names_pass_and_errors_are_the_callers() {
    let weight = Parameter::new(Tensor::new([1.0, 2.0]));
    weight.set_name("encoder.weight");
    let failed = product(&weight, &Tensor::new([1.0, 2.0, 3.0]));
    let text = failed.error().unwrap().to_string();
    assert!(text.contains("left   encoder.weight  [2] f64"), "{text}");
    assert!(product(&failed, &weight).error().is_some());
}

#[test]
fn an_update_is_in_place_unless_shared() -> Result<()> {
    let mut weight = Parameter::new(Tensor::new([1.0, 2.0]));
    let before = shared_updates();
    weight.update(|x: &mut [f64]| x[0] = 5.0)?;
    assert_eq!(shared_updates(), before);
    let kept = weight.detach();
    weight.update(|x: &mut [f64]| x[0] = 6.0)?;
    assert_eq!((kept.to_vec::<f64>()?[0], weight.to_vec::<f64>()?[0]), (5.0, 6.0));
    Ok(())
}

#[test]
fn a_long_chain_walks_and_drops_on_a_small_stack() {
    let work = || {
        let x = number(1.0).variable();
        let mut y = x.clone();
        for _ in 0..300_000 {
            y = product(&y, &x);
        }
        assert_eq!(y.keep_graph().backward()?.of(&x)?.item()?, 300_001.0);
        drop(y);
        Ok::<(), Error>(())
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_hook_sees_the_gradient() -> Result<()> {
    let x = number(2.0).variable();
    let y = product(&x.on_gradient(|g| product(g, &Tensor::new(10.0))), &number(3.0));
    assert_eq!(y.backward()?.of(&x)?.item()?, 30.0);
    Ok(())
}

#[test]
fn a_recording_knows_where_operands_come_from() {
    let x = number(2.0).variable();
    let ((), recording) = record(|| {
        let y = product(&x, &number(3.0));
        let _ = product(&y, &y);
    });
    assert_eq!(recording.steps().len(), 2);
    assert!(matches!(recording.sources(0)[..], [Source::Leaf { .. }, Source::Data]));
    let first = Source::Step { step: 0, output: 0 };
    assert_eq!(recording.sources(1), [first.clone(), first]);
}
