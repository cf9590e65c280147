//! Long graphs on a small stack, and a training loop of many steps that grows neither memory nor time.

use chainrule::{Parameter, Random, Tensor, device, live_nodes};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LENGTH: usize = 300_000;

/// These tests run one after another: they count what is alive, and time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs on a thread with a stack of 2 MiB.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let _alone = alone();
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no overflow, no panic");
}

fn chain(x: &Tensor) -> Tensor {
    let mut y = x * 1.0;
    for _ in 0..LENGTH / 2 {
        y = (&y * 0.999_99 + 1e-6) + 0.0;
    }
    y
}

#[test]
fn a_long_chain_goes_backward_and_drops() {
    on_a_small_stack(|| {
        let x = Tensor::from([1.0, 2.0]).variable();
        let y = chain(&x);
        assert!(live_nodes() >= LENGTH);
        let gradients = y.sum().backward().expect("gradients");
        let slope = gradients.of(&x).expect("its gradient").to_vec::<f32>().expect("numbers");
        let expected = (0.999_99f64).powi(LENGTH as i32 / 2);
        assert!((slope[0] as f64 / expected - 1.0).abs() < 1e-2, "{slope:?} for {expected}");
        drop(y);
    });
}

#[test]
fn a_long_chain_that_never_went_backward_drops() {
    on_a_small_stack(|| drop(chain(&Tensor::from([1.0, 2.0]).variable())));
}

#[test]
fn a_long_chain_drops_where_a_gradient_was_recorded() {
    on_a_small_stack(|| {
        let x = Tensor::from([1.0, 2.0]).variable();
        let mut y = x.clone();
        for _ in 0..20_000 {
            y = (&y * &y) * 0.5 + 0.5;
        }
        let gradients = y.sum().backward_recorded().expect("gradients");
        let slope = gradients.of(&x).expect("its gradient").sum();
        drop((gradients, y));
        assert!(slope.backward().is_ok());
    });
}

#[test]
fn a_wide_graph_is_not_quadratic() {
    let _alone = alone();
    let start = Instant::now();
    let x = Tensor::scalar(1.0).variable();
    let branches: Vec<Tensor> = (0..80_000).map(|i| &x * i as f64).collect();
    let mut sums = branches;
    while sums.len() > 1 {
        sums = sums.chunks(2).map(|pair| pair[1..].iter().fold(pair[0].clone(), |a, b| &a + b)).collect();
    }
    let gradients = sums[0].backward().expect("gradients");
    let slope = gradients.of(&x).expect("its gradient").item().expect("a number");
    assert!((slope / 3_199_960_000.0 - 1.0).abs() < 1e-4, "{slope}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_hundred_thousand_steps_grow_nothing() {
    let _alone = alone();
    let mut random = Random::new(1);
    let mut layer = |outputs, inputs| {
        let weight = Parameter::new(Tensor::normal([outputs, inputs], 0.0, 0.5, &mut random));
        (weight, Parameter::new(Tensor::zeros([outputs])))
    };
    let ((mut w1, mut b1), (mut w2, mut b2)) = (layer(16, 2), layer(1, 16));
    let x = Tensor::from([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let target = Tensor::from([[0.0], [1.0], [1.0], [0.0]]);
    let mut step = || {
        let hidden = x.linear(&w1, Some(&b1)).tanh();
        let loss = (hidden.linear(&w2, Some(&b2)) - &target).square().mean();
        let gradients = loss.backward().expect("gradients");
        for parameter in [&mut w1, &mut b1, &mut w2, &mut b2] {
            let gradient = gradients.of(parameter).expect("its gradient").clone();
            gradient
                .with_slice(|slope: &[f32]| {
                    let descend = |numbers: &mut [f32]| {
                        numbers.iter_mut().zip(slope).for_each(|(number, slope)| *number -= 0.1 * slope);
                    };
                    parameter.update(descend).expect("an update");
                })
                .expect("dense numbers");
        }
        loss
    };
    let mut best = Vec::new();
    let mut held = Vec::new();
    let mut last = 1.0;
    for _ in 0..10 {
        // The best hundred of ten thousand: what else runs on the machine does not count.
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..100 {
            let start = Instant::now();
            for _ in 0..100 {
                last = step().item().expect("a loss");
            }
            times.push(start.elapsed());
        }
        best.push(times.into_iter().min().expect("a time"));
        let memory = device::memory();
        held.push((live_nodes(), memory.in_use, memory.held));
    }
    println!("a step takes {:?} at first, {:?} at last; loss {last:.1e}", best[0] / 100, best[9] / 100);
    assert!(last < 1e-3, "it learns: {last}");
    assert!(best[9] < best[0] * 3 / 2 + Duration::from_micros(500), "time per hundred steps grows: {best:?}");
    assert!(held.iter().all(|now| now == &held[0]), "nodes, bytes in use, bytes held: {held:?}");
    assert_eq!(chainrule::shared_updates(), 0, "every update was in place");
}
