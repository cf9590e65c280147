//! Numbers from one GPU to another: in the order of both, without a wait of the program, and as right as where they came from.

use super::emulator;
use chainrule::{DType, Device, Input, Random, Result, Tensor};

/// Two GPUs, in the process that runs on the stand-in driver, or on a machine that has them.
fn two(test: &str) -> Option<[Device; 2]> {
    let is_there = emulator::inside_with(&format!("between::{test}"), &[("EMULATOR_DEVICES", "2")]);
    if !is_there || Device::count() < 2 {
        return None;
    }
    Some([0, 1].map(|number| Device::cuda(number).unwrap_or_else(|error| panic!("{error}"))))
}

#[test]
fn numbers_arrive_with_their_strides_and_gradients_go_back() -> Result<()> {
    let Some([a, b]) = two("numbers_arrive_with_their_strides_and_gradients_go_back") else { return Ok(()) };
    let here = Tensor::normal([6, 5, 4], 0.0, 1.0, &mut Random::new(1));
    let there = here.to(a);
    for view in [|x: &Tensor| x.clone(), |x: &Tensor| x.permute([2, 0, 1]), |x: &Tensor| x.narrow(1, 2, 2)] {
        let arrived = view(&there).to(b);
        assert_eq!(arrived.device()?, b);
        assert_eq!(arrived, view(&here).to(b));
    }
    assert_eq!(Tensor::zeros([0, 3]).to(a).to(b).to_vec::<f32>()?, [0.0f32; 0]);
    let whole = Tensor::arange(300).to(a).to(b);
    assert_eq!((whole.dtype()?, whole.to_vec::<i64>()?[299]), (DType::I64, 299));

    let x = there.variable();
    let loss = (x.to(b) * 3.0).sum();
    let gradient = loss.backward()?.of(&x)?.clone();
    assert_eq!((loss.device()?, gradient.device()?), (b, a));
    assert_eq!(gradient, Tensor::full([6, 5, 4], 3.0, DType::F32).to(a));
    Ok(())
}

#[test]
fn a_copy_waits_for_neither_gpu_and_keeps_the_order_of_both() -> Result<()> {
    let Some([a, b]) = two("a_copy_waits_for_neither_gpu_and_keeps_the_order_of_both") else { return Ok(()) };
    let (reads, waits) = (a.reads() + b.reads(), a.waits() + b.waits());
    // What was called on b still reads a block that it has let go of, and into which the copy goes.
    let old = Tensor::ones([1000]).to(b);
    let doubled = &old * 2.0;
    drop(old);
    let x = Tensor::full([1000], 5.0, DType::F32).to(a);
    let arrived = x.to(b);
    // The block that it came from is used again at once.
    drop(x);
    let other = Tensor::full([1000], 7.0, DType::F32).to(a);
    let tripled = &arrived * 3.0;
    assert_eq!((a.reads() + b.reads(), a.waits() + b.waits()), (reads, waits));
    // a goes as far as it can before b does anything; b knows nothing of a but what it waits for.
    assert_eq!(other.to_vec::<f32>()?, [7.0; 1000]);
    assert_eq!(tripled.to_vec::<f32>()?, [15.0; 1000]);
    assert_eq!(doubled.to_vec::<f32>()?, [2.0; 1000]);
    // To and fro, each on the numbers of the other.
    let mut x = Tensor::ones([3]).to(a);
    for round in 0..10 {
        x = (x + 1.0).to(if round % 2 == 0 { b } else { a });
    }
    assert_eq!(x.to_vec::<f32>()?, [11.0; 3]);
    Ok(())
}

#[test]
fn what_a_check_finds_on_one_gpu_is_told_where_another_is_read() -> Result<()> {
    let Some([a, b]) = two("what_a_check_finds_on_one_gpu_is_told_where_another_is_read") else { return Ok(()) };
    let table = Tensor::ones([4, 2]).to(a);
    let rows = |id: i64| table.index_select(0, &Tensor::from([0, id]).to(a));
    // A number and many, read now and later.
    let wrong = rows(7).to(b);
    let sum = (&wrong * 2.0).sum();
    assert!(sum.item().unwrap_err().to_string().contains('7'));
    assert!(wrong.to_vec::<f32>().is_err());
    let wrong = rows(9).to(b).expand([600, 2, 2]).contiguous();
    assert!(wrong.to_vec::<f32>().unwrap_err().to_string().contains('9'));
    let later = rows(8).to(b).sum().read_later();
    assert!(later.item().unwrap_err().to_string().contains('8'));
    // By way of b and back.
    let back = rows(6).to(b).to(a);
    assert!(back.sum().item().unwrap_err().to_string().contains('6'));
    // What is right then is right again.
    assert_eq!(rows(3).to(b).sum().item()?, 4.0);
    Ok(())
}

#[test]
fn a_captured_step_takes_numbers_of_another_gpu_by_its_inputs() -> Result<()> {
    let Some([a, b]) = two("a_captured_step_takes_numbers_of_another_gpu_by_its_inputs") else { return Ok(()) };
    let x = Input::new(a, &Tensor::zeros([3]));
    let mut step = a.capture(|| Ok(x.tensor() * 2.0));
    for number in 0..4 {
        x.set(&Tensor::full([3], number as f64, DType::F32).to(b))?;
        assert_eq!(step.replay()?.to_vec::<f32>()?, [2.0 * number as f32; 3]);
    }
    let other = Tensor::ones([3]).to(b);
    let mut copies = a.capture(|| Ok(other.to(a) * 2.0));
    let _ = copies.replay()?;
    let said = copies.replay().unwrap_err().to_string();
    assert!(said.contains("copies numbers from one GPU to another") && said.contains("Input"), "{said}");
    Ok(())
}
