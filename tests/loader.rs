//! Loaders: batches depend on seed and epoch only, and whatever goes wrong with an item is an error that names it.

use chainrule::data::{
    Balanced, Batch, ByLength, Chance, Collate, Dataset, Examples, Listed, Loader, Order, Rows, Shuffled, Stratified,
    Weighted,
};
use chainrule::{
    DType, Device, Error, ErrorKind, Fault, Random, Result, State, Tensor, detect_anomalies, is_recording,
    thread_count, threads,
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Items that do what a test wants of them: `[index, a random number]` where all is well.
#[derive(Clone)]
struct Items {
    len: usize,
    item: Arc<dyn Fn(usize) -> Result<()> + Send + Sync>,
}

fn items(len: usize, item: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Items {
    Items { len, item: Arc::new(item) }
}

impl Dataset for Items {
    type Item = Tensor;
    fn len(&self) -> usize {
        self.len
    }
    fn item(&self, index: usize, chance: &mut Random) -> Result<Tensor> {
        (self.item)(index)?;
        // A product that is large enough to be cut among threads.
        let noise = Tensor::uniform([300, 300], 0.0..1.0, chance);
        Ok(Tensor::stack(&[Tensor::scalar(index as f64), noise.matmul(&noise).sum()], 0))
    }
}

fn numbers(loader: &Loader<impl Dataset<Item = Tensor> + 'static>, epoch: u64) -> Vec<Vec<f64>> {
    loader.epoch(epoch).map(|batch| batch.and_then(|batch| batch.to_vec::<f64>()).expect("a batch")).collect()
}

#[test]
fn batches_do_not_depend_on_workers_or_threads() {
    let loader = Loader::new(items(23, |_| Ok(())), 4).shuffled(3);
    for epoch in [0, 1] {
        let expected = numbers(&loader, epoch);
        assert_eq!(expected.len(), 6);
        for workers in [1, 2, 3, 8, usize::MAX] {
            let other = loader.clone().with_workers(workers).with_ahead(workers % 5);
            let found = threads(1 + workers % 3, || numbers(&other, epoch));
            assert_eq!(found, expected, "{workers} workers");
        }
    }
    assert_ne!(numbers(&loader, 0), numbers(&loader, 1));
    assert_ne!(numbers(&loader, 0), numbers(&loader.clone().with_seed(4), 0));
}

/// Not a test: what the test below runs in processes of their own, with other numbers of threads.
#[test]
#[ignore = "run by another"]
fn child() {
    let loader = Loader::new(items(23, |_| Ok(())), 4).shuffled(3).with_workers(2);
    println!("batches {:?}", numbers(&loader, 5));
}

#[test]
fn batches_do_not_depend_on_the_process() {
    let run = |threads: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "child", "--nocapture"]).env("CHAINRULE_THREADS", threads);
        let output = command.output().expect("a process");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.strip_prefix("batches ").map(str::to_string)).expect("batches")
    };
    let own = Loader::new(items(23, |_| Ok(())), 4).shuffled(3);
    let expected = format!("{:?}", numbers(&own, 5));
    assert!(["1", "2", "5"].iter().all(|threads| run(threads) == expected));
}

/// Not a test: what the test below runs in a process where a thread asks for more stack than there are addresses.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
#[ignore = "run by another"]
fn child_without_threads() {
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "a thread can be started: that tests nothing");
    let loader = Loader::new(items(23, |_| Ok(())), 4).shuffled(3);
    assert_eq!(numbers(&loader.clone().with_workers(3), 1), numbers(&loader, 1));
    // Its errors are those of a loader without workers.
    let failing = Loader::new(items(4, |index| if index == 2 { panic!("no third") } else { Ok(()) }), 1);
    assert_eq!(outcomes(&failing.clone().with_workers(2)), outcomes(&failing));
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn where_no_thread_can_be_started_it_loads_without() {
    let child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["child_without_threads", "--exact", "--ignored", "--test-threads=1"])
        .env("RUST_MIN_STACK", (1u64 << 60).to_string())
        .env("CHAINRULE_THREADS", "1")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_function_over_batches_sees_them_whole_and_draws_its_own() {
    let examples = Examples::new(&Tensor::arange(23).reshape([23, 1]), &Tensor::arange(23)).unwrap();
    let marked = examples.clone().map_batches(|batch, chance| {
        let (size, number) = (batch.target.count()? as f64, chance.uniform());
        Ok(Batch { input: batch.input.to_dtype(DType::F64) * 0.0 + number, target: batch.target * 100.0 + size })
    });
    assert_eq!((marked.len(), marked.dataset().len()), (23, 23));
    let loader = Loader::new(marked, 5).shuffled(2);
    let all = |workers, epoch| -> Vec<(f64, Vec<f64>)> {
        let batches = loader.clone().with_workers(workers).epoch(epoch);
        let pair = |batch: Batch| (batch.input.mean().item().unwrap(), batch.target.to_vec().unwrap());
        batches.map(|batch| pair(batch.unwrap())).collect()
    };
    let first = all(0, 0);
    assert_eq!(first, all(3, 0));
    let plain = Loader::new(examples, 5).shuffled(2);
    for ((_, targets), batch) in first.iter().zip(plain.epoch(0)) {
        let plain = batch.unwrap().target.to_vec::<f64>().unwrap();
        assert_eq!(*targets, plain.iter().map(|x| 100.0 * x + plain.len() as f64).collect::<Vec<_>>());
    }
    // Another number for each batch of each epoch.
    let mut drawn: Vec<f64> = first.iter().chain(&all(0, 1)).map(|(number, _)| *number).collect();
    drawn.sort_by(f64::total_cmp);
    drawn.dedup();
    assert_eq!(drawn.len(), 10);
    // What goes wrong names the batch.
    let failing = Loader::new(
        Rows::new(&Tensor::arange(4)).unwrap().map_batches(|_, _| Err(Error::new("mix", Fault::value("no", "")))),
        2,
    );
    let error = failing.epoch(0).next().unwrap().unwrap_err();
    assert!(error.what().contains("batch 0 of epoch 0 (items 0, 1): no"), "{error}");
}

#[test]
fn items_are_loaded_apart_from_what_is_around() {
    for workers in [0, 2] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let own = seen.clone();
        let dataset = items(4, move |_| {
            // Inside of detect_anomalies this would fail.
            let nan = Tensor::from([-1.0]).sqrt().to_vec::<f32>()?;
            own.lock().unwrap().push((is_recording(), thread_count(), nan[0].is_nan()));
            Ok(())
        });
        let loader = Loader::new(dataset, 2).with_workers(workers);
        detect_anomalies(|| assert_eq!(threads(3, || loader.epoch(0).filter(Result::is_ok).count()), 2));
        let counts = if cfg!(feature = "parallel") && workers == 0 { 3 } else { 1 };
        assert_eq!(*seen.lock().unwrap(), [(false, counts, true); 4]);
    }
}

/// The outcome of every batch: its first number, or what the error says.
fn outcomes(loader: &Loader<Items>) -> Vec<String> {
    let outcome = |batch: Result<Tensor>| match batch {
        Ok(batch) => batch.to_vec::<f64>().expect("numbers")[0].to_string(),
        Err(error) => error.what().to_string(),
    };
    loader.epoch(2).map(outcome).collect()
}

#[test]
fn an_item_that_fails_or_panics_is_named() {
    let dataset = items(8, |index| match index {
        3 => Err(Error::new("picture", Fault::value("no picture", "make one"))),
        4 => panic!("item {index} makes a panic"),
        5 => std::panic::panic_any(5),
        _ => Ok(()),
    });
    for workers in [0, 1, 3] {
        let loader = Loader::new(dataset.clone(), 2).with_workers(workers);
        let expected = [
            "0",
            "item 3, in batch 1 of epoch 2: no picture",
            "item 4, in batch 2 of epoch 2: a panic: item 4 makes a panic",
            "6",
        ];
        assert_eq!(outcomes(&loader), expected);
        let error = loader.epoch(0).find_map(Result::err).expect("an error");
        assert_eq!((error.operation(), error.help()), ("picture", "make one"));
        let text = error.to_string();
        assert!(text.contains("tests/loader.rs") && !text.contains("src/"), "{text}");
        let alone = Loader::new(dataset.clone(), 1).with_order(Listed::new(vec![7, 5])).with_workers(workers);
        assert_eq!(outcomes(&alone)[1], "item 5, in batch 1 of epoch 2: a panic: without words");
    }
}

/// A dataset whose batches are made at once, and fail.
struct Broken;

impl Dataset for Broken {
    type Item = Tensor;
    fn len(&self) -> usize {
        40
    }
    fn item(&self, index: usize, _: &mut Random) -> Result<Tensor> {
        // Shapes that cannot be stacked.
        Ok(Tensor::zeros([index]))
    }
}

/// As it is, without a word of its own.
struct AtOnce;

impl Dataset for AtOnce {
    type Item = Tensor;
    fn len(&self) -> usize {
        40
    }
    fn item(&self, _: usize, _: &mut Random) -> Result<Tensor> {
        Ok(Tensor::zeros([1]))
    }
    fn batch(&self, _: &[usize], _: &Chance) -> Result<Tensor> {
        Tensor::from_vec(vec![0.0f32], [2])
    }
}

#[test]
fn a_batch_that_fails_as_a_whole_lists_its_items() {
    for workers in [0, 2] {
        let error = Loader::new(Broken, 3).with_workers(workers).epoch(0).find_map(Result::err).expect("an error");
        assert!(error.what().starts_with("batch 0 of epoch 0 (items 0, 1, 2): "), "{error}");
        assert!(error.to_string().contains("tests/loader.rs"), "{error}");
        let error = Loader::new(AtOnce, 20).with_workers(workers).epoch(0).find_map(Result::err).expect("an error");
        assert!(error.what().contains("12, 13, 14, 15, ...): 1 numbers do not fill"), "{error}");
    }
}

#[test]
fn an_item_that_hangs_is_named_and_ends_the_epoch() {
    let dataset = items(8, |index| {
        if index == 5 {
            sleep(Duration::from_secs(20));
        }
        Ok(())
    });
    for workers in [1, 3] {
        let loader = Loader::new(dataset.clone(), 2).with_workers(workers).with_patience(Duration::from_millis(1500));
        let began = Instant::now();
        let mut epoch = loader.epoch(0);
        assert!(epoch.next().unwrap().is_ok() && epoch.next().unwrap().is_ok());
        let error = epoch.next().unwrap().expect_err("it hangs");
        assert_eq!(error.what(), "item 5, in batch 2 of epoch 0: it takes longer than 1.5s");
        assert!(error.to_string().contains("tests/loader.rs"), "{error}");
        // What has been loaded counts still: a state can be saved, to go on with this batch.
        assert_eq!(epoch.state().unwrap().get("batch").unwrap().integer().unwrap(), 2);
        assert!(epoch.next().is_none());
        drop(epoch);
        assert!(began.elapsed() < Duration::from_secs(15), "nobody waits for it");
    }
}

#[test]
fn many_items_that_are_each_fast_enough_are_not_slow() {
    let dataset = items(8, |_| {
        sleep(Duration::from_millis(300));
        Ok(())
    });
    let loader = Loader::new(dataset, 8).with_workers(1).with_patience(Duration::from_secs(2));
    assert!(loader.epoch(0).all(|batch| batch.is_ok()));
}

#[test]
fn a_dropped_epoch_ends_its_threads_after_the_items_in_hand() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (b, e) = (begun.clone(), ended.clone());
    let dataset = items(1000, move |_| {
        b.fetch_add(1, SeqCst);
        sleep(Duration::from_millis(20));
        e.fetch_add(1, SeqCst);
        Ok(())
    });
    let loader = Loader::new(dataset, 100).with_workers(4);
    let epoch = loader.epoch(0);
    while begun.load(SeqCst) < 4 {
        sleep(Duration::from_millis(1));
    }
    drop(epoch);
    // All have ended: none is in hand, and far fewer than the batches in hand were loaded.
    let count = begun.load(SeqCst);
    assert_eq!(count, ended.load(SeqCst));
    sleep(Duration::from_millis(100));
    assert_eq!(count, begun.load(SeqCst));
    assert!(count < 100, "{count}");
}

/// How many threads this process has.
fn thread_total() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

#[test]
fn many_epochs_leave_no_threads_behind() {
    let dataset = Rows::new(&Tensor::arange(50)).unwrap();
    for round in 0..400u64 {
        let workers = 1 + round as usize % 8;
        let loader = Loader::new(dataset.clone(), 1 + round as usize % 3).shuffled(round).with_workers(workers);
        let mut epoch = loader.epoch(round);
        if round % 2 == 0 {
            // Left in the middle.
            let _ = epoch.nth(round as usize % 10).unwrap().unwrap();
        } else {
            let mut all: Vec<i64> = epoch.flat_map(|batch| batch.unwrap().to_vec::<i64>().unwrap()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..50).collect::<Vec<i64>>());
        }
    }
    // Other tests run beside this one, with at most a few dozen; a leak would be some two thousand.
    assert!(thread_total().is_none_or(|total| total < 200), "{:?}", thread_total());
}

#[test]
fn an_epoch_goes_on_in_the_middle_with_the_same_chance() {
    let loader = Loader::new(items(30, |_| Ok(())), 4).shuffled(u64::MAX);
    let expected = numbers(&loader, 7);
    for workers in [0, 2] {
        let loader = loader.clone().with_workers(workers);
        for batch in 0..=expected.len() {
            let mut epoch = loader.epoch(7);
            for _ in 0..batch {
                let _ = epoch.next().unwrap().unwrap();
            }
            let state = epoch.state().unwrap();
            let rest: Vec<Vec<f64>> =
                loader.resume(&state).unwrap().map(|batch| batch.unwrap().to_vec::<f64>().unwrap()).collect();
            assert_eq!(rest, expected[batch..]);
        }
    }
}

#[test]
fn a_state_of_another_loader_is_refused() {
    let rows = |count| Rows::new(&Tensor::arange(count)).unwrap();
    let loader = || Loader::new(rows(20), 4).shuffled(7);
    let state = loader().epoch(3).state().unwrap();
    let refused = |loader: Loader<Rows>, state: &State| match loader.resume(state) {
        Ok(epoch) => panic!("{epoch:?}"),
        Err(error) => error.to_string(),
    };
    for (other, words) in [
        (loader().with_seed(8), &["seed is 8, it was 7"][..]),
        (Loader::new(rows(21), 4).shuffled(7), &["items is 21, it was 20"]),
        (Loader::new(rows(20), 5).shuffled(9), &["size is 5, it was 4", "seed is 9, it was 7"]),
        (loader().drop_last(), &["drop_last is true, it was false"]),
        (loader().with_order(Listed::new((0..20).collect())), &["the items come in another order (Listed)"]),
    ] {
        let text = refused(other, &state);
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(text.contains("tests/loader.rs"), "{text}");
    }
    for (name, number) in [("batch", -1), ("batch", 6), ("batch", i64::MAX), ("epoch", -3), ("size", i64::MIN)] {
        let mut damaged = state.clone();
        damaged.insert(name, State::Integer(number)).unwrap();
        let text = refused(loader(), &damaged);
        assert!(text.contains(&number.to_string()), "{text}");
    }
    let mut damaged = state.clone();
    damaged.insert("order", State::Text("any".into())).unwrap();
    assert!(refused(loader(), &damaged).contains("a integer was expected"), "{}", refused(loader(), &damaged));
    assert!(refused(loader(), &State::tree()).contains("there is nothing named"));
    let mut last = state.clone();
    last.insert("epoch", State::Integer(i64::MAX)).unwrap();
    assert!(loader().resume(&last).is_err(), "another epoch has another order");
    assert!(loader().epoch(u64::MAX).state().is_err());
}

#[test]
fn absurd_sizes_are_no_trouble() {
    let rows = || Rows::new(&Tensor::arange(5)).unwrap();
    let all = |loader: &Loader<Rows>| loader.epoch(0).filter(Result::is_ok).count();
    assert_eq!(all(&Loader::new(rows(), usize::MAX)), 1);
    assert_eq!(all(&Loader::new(rows(), usize::MAX).drop_last()), 0);
    assert!(Loader::new(rows(), 2).epoch_from(0, usize::MAX).next().is_none());
    assert_eq!(all(&Loader::new(rows(), 2).with_workers(4).with_ahead(0).with_patience(Duration::MAX)), 3);
    let mut nothing = Loader::new(rows(), 0).epoch(0);
    assert!(nothing.next().unwrap().unwrap_err().to_string().contains("tests/loader.rs"));
    assert!(nothing.next().is_none());
    let mut endless = Loader::new(items(usize::MAX, |_| Ok(())), 1).epoch(0);
    assert!(endless.next().unwrap().unwrap_err().what().contains("no memory"));
    assert!(endless.next().is_none());
    let few = Loader::new(items(usize::MAX, |_| Ok(())), 2).with_order(Listed::new(vec![usize::MAX - 1, 3]));
    assert_eq!(few.epoch(0).filter(Result::is_ok).count(), 1);
    let mut outside = Loader::new(rows(), 2).with_order(Listed::new(vec![0, 5])).epoch(0);
    assert!(outside.next().unwrap().unwrap_err().what().contains("Listed takes item 5, the dataset has 5"));
}

#[test]
fn debug_shows_what_matters() {
    let loader = Loader::new(Rows::new(&Tensor::arange(5)).unwrap(), 2).shuffled(7).with_workers(2);
    let expected = "Loader { items: 5, size: 2, seed: 7, order: Shuffled, drop_last: false, workers: 2 }";
    assert_eq!(format!("{loader:?}"), expected);
    let mut epoch = loader.epoch(1);
    let _ = epoch.next().unwrap().unwrap();
    assert_eq!(format!("{epoch:?}"), "Epoch { number: 1, batch: 1, of: 3 }");
}

#[test]
fn an_item_drawn_again_has_other_chances() {
    let loader = Loader::new(items(2, |_| Ok(())), 2).with_order(Listed::new(vec![1, 1, 1, 0])).with_seed(3);
    let drawn = numbers(&loader, 0).concat();
    let own: Vec<f64> = drawn.chunks(2).filter(|pair| pair[0] == 1.0).map(|pair| pair[1]).collect();
    assert!(own.len() == 3 && own[0] != own[1] && own[1] != own[2] && own[0] != own[2], "{own:?}");
    assert_eq!(numbers(&loader.clone().with_workers(2), 0).concat(), drawn);
}

fn counts(order: &[usize], labels: &[i64]) -> Vec<usize> {
    let mut counts = vec![0; 1 + *labels.iter().max().unwrap() as usize];
    order.iter().for_each(|&item| counts[labels[item] as usize] += 1);
    counts
}

fn is_permutation(order: &[usize], len: usize) -> bool {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    sorted == (0..len).collect::<Vec<_>>()
}

/// Four classes of very different sizes, mixed.
fn uneven() -> Vec<i64> {
    (0..1000)
        .map(|i| {
            if i % 100 == 7 {
                3
            } else if i % 10 == 3 {
                2
            } else {
                (i % 3 == 0) as i64
            }
        })
        .collect()
}

#[test]
fn every_stratified_batch_has_the_proportions_of_the_whole() {
    let labels = uneven();
    let whole = counts(&(0..1000).collect::<Vec<_>>(), &labels);
    let order = Stratified::new(&Tensor::from_vec(labels.clone(), [1000]).unwrap()).unwrap();
    for size in [1, 7, 32, 100, 1000, usize::MAX] {
        let indices = order.indices_in_batches(1000, size, &Chance::new(1, 5)).unwrap();
        assert!(is_permutation(&indices, 1000));
        for batch in indices.chunks(size) {
            for (found, all) in counts(batch, &labels).iter().zip(&whole) {
                let share = batch.len() as f64 * *all as f64 / 1000.0;
                assert!((*found as f64 - share).abs() < 1.5, "{found} of {share} in {size}");
            }
        }
    }
    let other = order.indices_in_batches(1000, 32, &Chance::new(1, 6)).unwrap();
    assert_ne!(other, order.indices_in_batches(1000, 32, &Chance::new(1, 5)).unwrap());
    // Classes of one item each meet others in each epoch.
    let single = Stratified::new(&Tensor::arange(12)).unwrap();
    let first = |epoch| {
        let mut batch = single.indices_in_batches(12, 4, &Chance::new(1, epoch)).unwrap()[..4].to_vec();
        batch.sort_unstable();
        batch
    };
    assert!((1..5).any(|epoch| first(epoch) != first(0)));
}

#[test]
fn balanced_epochs_take_each_class_and_each_of_its_items_equally_often() {
    let labels = uneven();
    let tensor = Tensor::from_vec(labels.clone(), [1000]).unwrap();
    let order = Balanced::new(&tensor).unwrap();
    let indices = order.indices(1000, &Chance::new(1, 0)).unwrap();
    assert_eq!(counts(&indices, &labels), [250; 4]);
    for batch in indices.chunks(16) {
        assert!(counts(batch, &labels).iter().all(|&count| count.abs_diff(batch.len() / 4) <= 1));
    }
    let mut times = vec![0; 1000];
    indices.iter().for_each(|&item| times[item] += 1);
    assert!((0..1000).filter(|&item| labels[item] == 3).all(|item| times[item] == 25));
    assert!((0..1000).filter(|&item| labels[item] == 0).all(|item| times[item] <= 1));
    assert_eq!(order.with_count(6).indices(1000, &Chance::new(1, 0)).unwrap().len(), 6);
    let none = Balanced::new(&Tensor::arange(0)).unwrap().with_count(9);
    assert_eq!((none.indices(0, &Chance::new(1, 0)).unwrap().len(), none.count(0)), (0, 0));
    let error = Balanced::new(&tensor).unwrap().indices(999, &Chance::new(1, 0)).unwrap_err();
    assert!(error.what().contains("1000 labels for 999 items"), "{error}");
    assert!(Balanced::new(&Tensor::zeros([3])).is_err() && Balanced::new(&Tensor::zeros([3, 1])).is_err());
}

#[test]
fn weights_decide_how_often() {
    let weights = Tensor::new([1e308f64, 0.0, 3e307, 7e307]);
    let order = Weighted::new(&weights).unwrap().with_count(20_000);
    let drawn = order.indices(4, &Chance::new(5, 0)).unwrap();
    for (item, expected) in [(0, 10_000.0), (1, 0.0), (2, 3_000.0), (3, 7_000.0)] {
        let found = drawn.iter().filter(|&&index| index == item).count() as f64;
        assert!((found - expected).abs() <= 3.5 * f64::sqrt(expected), "{item}: {found}");
    }
    // Without replacement: the first drawn is as likely as its weight, and none comes twice.
    let once = Weighted::new(&weights).unwrap().without_replacement().with_count(3);
    let mut first = [0; 4];
    for epoch in 0..4000 {
        let drawn = once.indices(4, &Chance::new(5, epoch)).unwrap();
        let mut sorted = drawn.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 2, 3]);
        first[drawn[0]] += 1;
    }
    assert!((1900..2100).contains(&first[0]) && (520..680).contains(&first[2]), "{first:?}");
    assert!(once.with_count(4).indices(4, &Chance::new(5, 0)).unwrap_err().what().contains("3 weigh more than 0"));
    for wrong in [[1.0, -1.0], [f32::NAN, 1.0], [1.0, f32::INFINITY], [0.0, 0.0]] {
        let error = Weighted::new(&Tensor::from(wrong)).unwrap_err();
        assert!(error.what().contains("weighs"), "{error}");
    }
    assert!(Weighted::new(&Tensor::zeros([0])).is_err() && Weighted::new(&Tensor::ones([2, 2])).is_err());
    let error = Weighted::new(&weights).unwrap().indices(5, &Chance::new(5, 0)).unwrap_err();
    assert!(error.what().contains("4 weights for 5 items"), "{error}");
}

#[test]
fn similar_lengths_share_a_batch() {
    let lengths: Vec<usize> = (0..1003).map(|i| i * 7919 % 200).collect();
    let padded = |order: &[usize]| -> usize {
        let batch = |batch: &[usize]| batch.len() * batch.iter().map(|&item| lengths[item]).max().unwrap();
        order.chunks(10).map(batch).sum()
    };
    let order = ByLength::new(lengths.clone());
    let (first, second) = (Chance::new(1, 0), Chance::new(1, 1));
    let sorted = order.indices_in_batches(1003, 10, &first).unwrap();
    assert!(is_permutation(&sorted, 1003));
    let total: usize = lengths.iter().sum();
    let shuffled = padded(&Shuffled.indices(1003, &first).unwrap());
    assert!(padded(&sorted) < total * 103 / 100 && shuffled > total * 17 / 10);
    // Other batches in each epoch, and not from short to long.
    let other = order.indices_in_batches(1003, 10, &second).unwrap();
    let has = |order: &[usize], batch: &[usize]| order.chunks(10).any(|other| other == batch);
    assert!(sorted.chunks(10).filter(|batch| has(&other, batch)).count() < 10);
    let means: Vec<usize> = sorted.chunks(10).map(|batch| lengths[batch[0]]).collect();
    assert!(means.windows(2).filter(|pair| pair[0] > pair[1]).count() > 20);
    assert!(is_permutation(&order.clone().with_pool(0).indices(1003, &first).unwrap(), 1003));
    assert!(order.indices(4, &first).unwrap_err().what().contains("1003 lengths for 4 items"));
}

#[test]
fn a_loader_may_go_to_another_thread() {
    fn shareable<T: Send + Sync>(_: &T) {}
    fn sendable<T: Send>(_: &T) {}
    let loader = Loader::new(Examples::new(&Tensor::zeros([4, 2]), &Tensor::arange(4)).unwrap(), 2).with_workers(1);
    shareable(&loader);
    sendable(&loader.epoch(0));
}

/// An item whose batch does not say how it goes to a device.
#[derive(Clone)]
struct Word;

impl Collate for Word {
    type Batch = usize;
    fn collate(items: Vec<Word>) -> Result<usize> {
        Ok(items.len())
    }
}

#[test]
fn a_batch_that_cannot_go_to_a_device_is_refused() -> Result<()> {
    let loader = Loader::new(vec![Word; 5], 2).on(Device::Cpu);
    let error = loader.epoch(0).next().expect("a batch").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("usize does not say how it goes to a device (cpu)"), "{error}");
    assert!(error.to_string().contains("Collate::to_device"), "{error}");
    // Pairs, triples and words go part by part.
    let items = vec![(1.0f32, "a".to_string(), true); 3];
    let (numbers, words, flags) = Loader::new(items, 3).on(Device::Cpu).epoch(0).next().expect("a batch")?;
    assert_eq!((numbers.dims()?, words.len(), flags.dims()?), ([3], 3, [3]));
    Ok(())
}
