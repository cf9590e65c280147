//! Memory: graphs die when they should, long loops grow nothing, and beyond the limit an operation fails, not the process.

use chainrule::device::{memory, release_cached, reset_peak, set_memory_limit};
use chainrule::nn::{Init, Layer, Linear, Module};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{ErrorKind, Tensor, live_nodes, shared_updates};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Tests that count what is alive run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Nodes and bytes that `work` leaves behind.
fn left_by(work: impl FnOnce()) -> (isize, isize) {
    let before = (live_nodes() as isize, memory().in_use as isize);
    work();
    (live_nodes() as isize - before.0, memory().in_use as isize - before.1)
}

fn network(x: &Tensor, weight: &Tensor) -> Tensor {
    let hidden = (x.matmul(weight) * 0.1).exp();
    (&hidden * &hidden + x).sum()
}

#[test]
fn graphs_leave_nothing() {
    let _alone = alone();
    let (x, weight) = (Tensor::ones([8, 8]), Tensor::ones([8, 8]).variable());
    assert_eq!(left_by(|| drop(network(&x, &weight))), (0, 0), "never walked");
    assert_eq!(left_by(|| drop(network(&x, &weight).backward().unwrap())), (0, 0), "walked");
    assert_eq!(left_by(|| drop(network(&x, &weight).backward_recorded().unwrap())), (0, 0), "walked and recorded");
    assert_eq!(
        left_by(|| {
            let loss = network(&x, &weight);
            drop(loss.keep_graph().backward().unwrap());
            drop(loss.backward().unwrap());
            assert!(loss.backward().is_err(), "walked twice without being kept");
        }),
        (0, 0),
        "kept and walked again"
    );
    assert_eq!(left_by(|| drop(network(&x, &weight).gradients_of(&[&weight]).unwrap())), (0, 0), "one gradient");
    let failed = left_by(|| drop(network(&Tensor::ones([3, 3]), &weight).backward().unwrap_err()));
    assert_eq!(failed, (0, 0), "failed");
    let (nodes, bytes) = left_by(|| std::mem::forget(network(&x, &weight)));
    assert!(nodes > 0 && bytes > 0, "the count sees what is left: {nodes} nodes, {bytes} bytes");
}

#[test]
fn walking_frees_what_was_saved() {
    let _alone = alone();
    let weight = Tensor::ones([64, 64]).variable();
    let x = Tensor::ones([64, 64]);
    let mut y = x.matmul(&weight);
    for _ in 0..50 {
        y = (y * 0.01).exp();
    }
    let loss = y.sum();
    drop(y);
    let before = memory().in_use;
    let gradients = loss.backward().unwrap();
    // 50 saved results of 16 kB went; the loss itself is still held.
    assert!(memory().in_use + 40 * 16_384 < before, "{} then {}", before, memory().in_use);
    drop(gradients);
}

#[test]
fn a_long_loop_grows_nothing() {
    let _alone = alone();
    let (x, weight) = (Tensor::ones([8, 8]), Tensor::ones([8, 8]).variable());
    let mut seen = Vec::new();
    for step in 0..2000 {
        let gradients = network(&x, &weight).backward().unwrap();
        assert!(gradients.get(&weight).is_some());
        if step % 500 == 499 {
            drop(gradients);
            let now = memory();
            seen.push((live_nodes(), now.in_use, now.held));
        }
    }
    // What is held may shrink: a thread of a test that ended gives its blocks back.
    let grows_nothing = |now: &(usize, usize, usize)| (now.0, now.1) == (seen[0].0, seen[0].1) && now.2 <= seen[0].2;
    assert!(seen.iter().all(grows_nothing), "nodes, bytes in use, bytes held: {seen:?}");
}

#[test]
fn beyond_the_limit_an_operation_fails() {
    let _alone = alone();
    release_cached();
    let before = memory();
    set_memory_limit(before.held + (4 << 20));
    let small = Tensor::ones([1000]);
    let large = Tensor::ones([1 << 20, 4]);
    let after = &large + 1.0;
    let gone = Tensor::ones([1 << 19]);
    drop(gone);
    // 2 MB lie idle in the cache now: they are given back before anything is refused.
    let other = Tensor::ones([(1 << 19) + (1 << 18)]);
    set_memory_limit(before.limit);
    let error = large.error().expect("16 MB do not fit into 4");
    assert_eq!(error.kind(), ErrorKind::Memory);
    let text = error.to_string();
    assert!(text.contains("no memory for 16.8 MB") && text.contains("the limit is"), "{text}");
    assert!(text.contains("tests/memory.rs"), "{text}");
    assert_eq!(after.error().map(|error| error.operation()), Some("ones"), "the error flows on");
    assert!(small.error().is_none() && other.error().is_none(), "what fits goes on");
    assert!(Tensor::ones([1 << 20, 4]).error().is_none(), "and all is well under the old limit");
}

#[test]
fn what_a_long_transform_takes_beside_is_counted() {
    let _alone = alone();
    // Of 65536 numbers it takes half a megabyte and more, of a prime number of them some twenty times as much.
    for (length, room) in [(65_536, 1 << 20), (65_537, 8 << 20)] {
        let x = Tensor::ones([length, 2]);
        release_cached();
        let before = memory();
        set_memory_limit(before.held + room);
        let failed = x.fft(0);
        set_memory_limit(before.limit);
        assert_eq!(failed.error().map(|error| error.kind()), Some(ErrorKind::Memory), "{length}");
        assert!(x.fft(0).error().is_none(), "{length}");
        drop((x, failed));
    }
}

#[test]
fn absurd_sizes_are_errors() {
    let _alone = alone();
    for sizes in [vec![isize::MAX], vec![1 << 40, 1 << 40], vec![1 << 45], vec![0, isize::MAX, 3]] {
        let error = Tensor::zeros(sizes.clone()).error().cloned().expect("no machine has this");
        assert_eq!(error.kind(), ErrorKind::Memory, "{sizes:?}: {error}");
    }
    let wide = Tensor::zeros([1usize << 20, 1]) + Tensor::zeros([1usize << 25]);
    assert_eq!(wide.error().expect("2^45 numbers").kind(), ErrorKind::Memory);
}

#[test]
fn the_cache_can_be_emptied_and_the_peak_begun_anew() {
    let _alone = alone();
    drop(Tensor::ones([1 << 20]));
    assert!(memory().idle() >= 4 << 20);
    // What the thread of a test just done keeps for itself goes back when that thread ends, a moment later.
    let emptied = (0..1000).any(|_| {
        release_cached();
        memory().idle() == 0 || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    });
    assert!(emptied, "{}", memory());
    reset_peak();
    let start = memory().in_use;
    drop(Tensor::ones([1 << 20]));
    let now = memory();
    assert!(now.peak >= start + (4 << 20) && now.in_use <= start, "{now}");
    assert!(drop_and_reuse() > now.hits);
}

fn drop_and_reuse() -> u64 {
    drop(Tensor::ones([100]));
    drop(Tensor::ones([100]));
    memory().hits
}

#[test]
fn a_long_training_grows_nothing_and_copies_nothing() {
    let _alone = alone();
    let mut model = Linear::new(3, 2, &mut Init::new()).named();
    let mut optimizer = AdamW::new(0.01);
    let x = Tensor::ones([4, 3]);
    let step = |model: &mut Linear, optimizer: &mut AdamW| {
        let gradients = model.forward(&x).square().mean().backward().unwrap();
        optimizer.step(model, &gradients).unwrap();
    };
    step(&mut model, &mut optimizer);
    let copies = shared_updates();
    assert_eq!(left_by(|| (0..100).for_each(|_| step(&mut model, &mut optimizer))), (0, 0));
    assert_eq!(shared_updates(), copies);
}
