//! Splits, image transforms, statistics and padding, against what can be counted or computed otherwise.

use chainrule::data::{
    Affine, Batch, Chance, Collate, Concat, Dataset, Example, Examples, Folds, Loader, Ragged, Rows, Scaling, Split,
    Statistics, Subset, Transform,
};
use chainrule::io::{npy, npz};
use chainrule::{DType, Error, GridSample, Interpolation, Random, Resize, Result, State, Tensor, threads};
use std::sync::Arc;

fn rows(len: usize) -> Rows {
    Rows::new(&Tensor::arange(len)).expect("rows")
}

/// Do the parts hold each of `len` items once?
fn partition<'a>(parts: impl IntoIterator<Item = &'a [usize]>, len: usize) -> bool {
    let mut all: Vec<usize> = parts.into_iter().flatten().copied().collect();
    all.sort_unstable();
    all == (0..len).collect::<Vec<_>>()
}

fn times(indices: &[usize], labels: &[i64], label: i64) -> usize {
    indices.iter().filter(|&&item| labels[item] == label).count()
}

#[test]
fn parts_have_the_sizes_of_their_shares() {
    for (len, shares, sizes) in [
        (10, [0.8, 0.1, 0.1], [8, 1, 1]),
        (1000, [0.7, 0.15, 0.15], [700, 150, 150]),
        (7, [0.5, 0.25, 0.25], [3, 2, 2]),
        (3, [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0], [1, 1, 1]),
        (100, [0.29, 0.0, 0.71], [29, 0, 71]),
        (0, [0.8, 0.1, 0.1], [0, 0, 0]),
    ] {
        let split = Split::shares(shares).with_seed(3);
        let parts = split.indices(len).unwrap();
        assert_eq!(parts.each_ref().map(Vec::len), sizes, "{len}");
        assert!(partition(parts.iter().map(Vec::as_slice), len));
        assert_eq!(parts, split.indices(len).unwrap());
    }
    let one = Split::shares([0.5, 0.5]).indices(100).unwrap();
    assert_ne!(one, Split::shares([0.5, 0.5]).with_seed(1).indices(100).unwrap());
    let [a, b] = Split::counts([90, 5]).indices(100).unwrap();
    assert!(a.len() == 90 && b.len() == 5 && b.iter().all(|item| !a.contains(item)));
    for wrong in [[0.5, 0.6], [1.5, -0.5], [f64::NAN, 1.0], [0.0, 0.0], [f64::INFINITY, 0.0]] {
        assert!(Split::shares(wrong).indices(10).unwrap_err().what().contains("shares"));
    }
    let error = Split::shares([0.99, 0.01]).indices(10).unwrap_err();
    assert!(error.what().contains("a share of 0.01 of 10 items is none"), "{error}");
    assert!(Split::counts([usize::MAX, 2]).indices(10).is_err() && Split::counts([6, 5]).indices(10).is_err());
}

#[test]
fn stratified_parts_have_the_classes_of_the_whole() {
    let labels: Vec<i64> = (0..997).map(|i| if i % 50 == 0 { 7 } else { (i % 7 == 0) as i64 }).collect();
    let tensor = Tensor::from_slice(&labels, [997]).unwrap();
    let parts = Split::shares([0.7, 0.2, 0.1]).stratified(&tensor).with_seed(5).indices(997).unwrap();
    assert_eq!(parts.each_ref().map(Vec::len), [698, 199, 100]);
    assert!(partition(parts.iter().map(Vec::as_slice), 997));
    for label in [0, 1, 7] {
        let all = labels.iter().filter(|&&other| other == label).count();
        for (part, share) in parts.iter().zip([0.7, 0.2, 0.1]) {
            let found = times(part, &labels, label) as f64;
            assert!((found - share * all as f64).abs() < 1.5, "{found} of {all} for {share}");
        }
    }
    let counts = Split::counts([100, 50]).stratified(&tensor).indices(997).unwrap();
    assert_eq!(counts.each_ref().map(Vec::len), [100, 50]);
    assert!(Split::shares([0.5, 0.5]).stratified(&tensor).indices(998).unwrap_err().what().contains("997 labels"));
    assert!(Split::shares([0.5, 0.5]).stratified(&Tensor::zeros([4])).indices(4).is_err());
}

#[test]
fn a_group_is_on_one_side() {
    let groups: Vec<i64> = (0..500).map(|i| (i * 7919 % 61) / 3).collect();
    let tensor = Tensor::from_slice(&groups, [500]).unwrap();
    for seed in 0..5 {
        let parts = Split::shares([0.6, 0.2, 0.2]).grouped(&tensor).with_seed(seed).indices(500).unwrap();
        assert!(partition(parts.iter().map(Vec::as_slice), 500));
        for group in 0..=20 {
            let sides = parts.iter().filter(|part| times(part, &groups, group) > 0).count();
            assert_eq!(sides, 1, "group {group}");
        }
        for (part, wanted) in parts.iter().zip([300usize, 100, 100]) {
            assert!(part.len().abs_diff(wanted) <= 25, "{} for {wanted}", part.len());
        }
    }
    // Few large groups: no part stays empty.
    let few = Tensor::from_vec((0..100i64).map(|i| i / 20).collect::<Vec<_>>(), [100]).unwrap();
    let parts = Split::shares([0.8, 0.1, 0.1]).grouped(&few).indices(100).unwrap();
    assert_eq!(parts.map(|part| part.len()), [60, 20, 20]);
    let two = Tensor::from([0, 0, 1, 1]);
    let error = Split::shares([0.5, 0.25, 0.25]).grouped(&two).indices(4).unwrap_err();
    assert!(error.what().contains("2 groups for 3 parts"), "{error}");
}

#[test]
fn in_order_of_time_the_past_comes_first() {
    assert_eq!(Split::shares([0.75, 0.25]).in_order().indices(4).unwrap(), [vec![0, 1, 2], vec![3]]);
    let times = Tensor::from([3.0, 1.0, 2.0, 0.0]);
    assert_eq!(Split::shares([0.5, 0.5]).by_time(&times).indices(4).unwrap(), [vec![3, 1], vec![2, 0]]);
    let error = Split::shares([0.5, 0.5]).by_time(&Tensor::from([0.0, f32::NAN])).indices(2).unwrap_err();
    assert!(error.what().contains("item 1 is NaN"), "{error}");
    let folds = Folds::new(2).in_order().of(rows(7)).unwrap();
    let sides: Vec<(&[usize], &[usize])> =
        folds.iter().map(|fold| (fold.train.indices(), fold.test.indices())).collect();
    assert_eq!(sides, [(&[0, 1, 2][..], &[3, 4][..]), (&[0, 1, 2, 3, 4], &[5, 6])]);
}

#[test]
fn folds_are_a_partition() {
    let labels: Vec<i64> = (0..103).map(|i| (i % 4 == 0) as i64).collect();
    let tensor = Tensor::from_slice(&labels, [103]).unwrap();
    let groups = Tensor::from_vec((0..103i64).map(|i| i / 9).collect::<Vec<_>>(), [103]).unwrap();
    for folds in [Folds::new(5), Folds::new(5).stratified(&tensor), Folds::new(5).grouped(&groups), Folds::new(103)] {
        let folds = folds.with_seed(2).of(rows(103)).unwrap();
        assert!(partition(folds.iter().map(|fold| fold.test.indices()), 103));
        for fold in &folds {
            assert!(partition([fold.train.indices(), fold.test.indices()], 103));
            assert!(fold.train.indices().is_sorted());
        }
    }
    for fold in Folds::new(5).stratified(&tensor).of(rows(103)).unwrap() {
        assert!((5..=6).contains(&times(fold.test.indices(), &labels, 1)));
    }
    for count in [0, 1, 104, usize::MAX] {
        assert!(Folds::new(count).of(rows(103)).is_err() && Folds::new(count).in_order().of(rows(103)).is_err());
    }
}

#[test]
fn subsets_and_concatenations_give_the_items_they_name() {
    let subset = Subset::new(rows(10), vec![7, 3, 3]).unwrap();
    let chance = Chance::new(0, 0);
    assert_eq!(subset.batch(&[2, 0], &chance).unwrap().to_vec::<i64>().unwrap(), [3, 7]);
    assert_eq!(subset.item(1, &mut chance.of(1)).unwrap().item().unwrap(), 3.0);
    assert!(Subset::new(rows(10), vec![10]).is_err() && subset.item(3, &mut chance.of(0)).is_err());
    let all = Concat::new(vec![rows(2), rows(0), rows(3)]);
    let found: Vec<Tensor> = Loader::new(all.clone(), 2).epoch(0).collect::<Result<_>>().unwrap();
    let found: Vec<i64> = found.iter().flat_map(|batch| batch.to_vec::<i64>().unwrap()).collect();
    assert_eq!((all.len(), found), (5, vec![0, 1, 0, 1, 2]));
    assert!(all.item(5, &mut chance.of(0)).is_err() && Concat::<Rows>::new(Vec::new()).is_empty());
    // Datasets of several kinds.
    let mixed: Vec<Arc<dyn Dataset<Item = Tensor>>> = vec![Arc::new(subset), Arc::new(rows(1))];
    assert_eq!(Concat::new(mixed).len(), 4);
}

fn image(channels: usize, height: usize, width: usize) -> Tensor {
    Tensor::uniform([channels, height, width], 0.0..1.0, &mut Random::new(9))
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("numbers")
}

#[test]
fn crops_show_a_part_of_the_image_with_its_border() {
    let x = image(2, 5, 7);
    let transform = Transform::new().fill(9.0).crop(4, 6, 2);
    let padded = x.pad(&[(2, 2), (2, 2)], chainrule::Pad::Zeros);
    let outside = Tensor::ones([2, 5, 7]).pad(&[(2, 2), (2, 2)], chainrule::Pad::Zeros);
    let padded = padded + (outside * -1.0 + 1.0) * 9.0;
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let cropped = transform.image(&x, &mut Random::new(seed)).unwrap();
        let place = (0..6)
            .flat_map(|top| (0..6).map(move |left| (top, left)))
            .find(|&(top, left)| padded.narrow(1, top, 4).narrow(2, left, 6) == cropped);
        places.insert(place.expect("it is a part"));
    }
    assert_eq!(places.len(), 36, "every place comes");
    let centre = Transform::new().centre_crop(3, 3).image(&x, &mut Random::new(0)).unwrap();
    assert_eq!(centre, x.slice((.., 1..4, 2..5)));
}

#[test]
fn flips_come_every_other_time() {
    let x = image(2, 4, 3);
    let count = |transform: Transform, other: Tensor| {
        let changed = (0..200).filter(|&seed| {
            let found = transform.image(&x, &mut Random::new(seed)).unwrap();
            assert!(found == x || found == other);
            found == other
        });
        assert!((70..130).contains(&changed.count()));
    };
    count(Transform::new().flip(), x.flip(-1));
    count(Transform::new().flip_upright(), x.flip(-2));
}

#[test]
fn placed_images_are_those_of_grid_sample() {
    // The same map, drawn here as the transform draws it, in the coordinates of affine_grid: from -1 to 1 along each side.
    let affine = Affine::new().rotate(30.0).shear(10.0).shift(0.2).scale(0.7..1.4);
    for (seed, (height, width)) in [(9, 9), (6, 11), (28, 28), (1, 5)].into_iter().enumerate() {
        let x = image(3, height, width);
        let found = Transform::new().affine(affine.clone()).image(&x, &mut Random::new(seed as u64)).unwrap();
        let mut chance = Random::new(seed as u64).split();
        let mut between = |low: f64, high: f64| low + (high - low) * chance.uniform();
        let (angle, shear) = (between(-30.0, 30.0).to_radians(), between(-10.0, 10.0).to_radians());
        let (down, right) = (between(-0.2, 0.2) * height as f64, between(-0.2, 0.2) * width as f64);
        let scale = between(0.7, 1.4);
        // Forward: scale, shear, turn. The grid holds the inverse.
        let (sin, cos, tan) = (angle.sin(), angle.cos(), shear.tan());
        let forward = [[scale * cos, scale * (tan * cos - sin)], [scale * sin, scale * (tan * sin + cos)]];
        let determinant = forward[0][0] * forward[1][1] - forward[0][1] * forward[1][0];
        let inverse = [
            [forward[1][1] / determinant, -forward[0][1] / determinant],
            [-forward[1][0] / determinant, forward[0][0] / determinant],
        ];
        let (w, h) = (width as f64 / 2.0, height as f64 / 2.0);
        let moved = |row: [f64; 2]| -(row[0] * right + row[1] * down);
        let map = Tensor::new([[
            [inverse[0][0], inverse[0][1] * h / w, moved(inverse[0]) / w],
            [inverse[1][0] * w / h, inverse[1][1], moved(inverse[1]) / h],
        ]]);
        let grid = map.affine_grid([height, width], false).to_dtype(DType::F32);
        let expected = x.unsqueeze(0).grid_sample(&grid, GridSample::new()).select(0, 0);
        let difference = (&found - &expected).abs().max().item().unwrap();
        assert!(difference < 2e-5, "{height} x {width}: {difference}");
    }
    let turned = Transform::new().affine(Affine::new().scale(1.0..1.0)).image(&image(1, 4, 4), &mut Random::new(1));
    assert_eq!(turned.unwrap(), image(1, 4, 4));
}

#[test]
fn what_is_erased_is_a_rectangle() {
    let x = image(2, 20, 30);
    let mut erased = 0;
    for seed in 0..300 {
        let found = Transform::new().fill(-1.0).erase(0.5, 0.3).image(&x, &mut Random::new(seed)).unwrap();
        let (found, x) = (numbers(&found), numbers(&x));
        let gone: Vec<usize> = (0..found.len()).filter(|&i| found[i] != x[i]).collect();
        assert!(gone.iter().all(|&i| found[i] == -1.0) && gone.len() <= 600 * 2 * 4 / 10);
        if let (Some(first), Some(last)) = (gone.first(), gone.iter().rfind(|&&i| i < 600)) {
            let (h, w) = (last / 30 - first / 30 + 1, last % 30 + 1 - first % 30);
            assert_eq!(gone.len(), 2 * h * w);
            erased += 1;
        }
    }
    assert!((110..190).contains(&erased), "{erased}");
}

#[test]
fn light_contrast_noise_and_scale_do_what_they_say() {
    let x = image(2, 16, 16);
    let change = |transform: Transform| transform.image(&x, &mut Random::new(4)).unwrap();
    let brighter = change(Transform::new().brightness(0.4)) / &x;
    let factor = brighter.mean().item().unwrap();
    assert!((0.6..1.4).contains(&factor) && brighter.std().item().unwrap() < 1e-6);
    let contrast = change(Transform::new().contrast(0.5));
    assert!((contrast.mean() - x.mean()).abs().item().unwrap() < 1e-5);
    let wider = contrast.std().item().unwrap() / x.std().item().unwrap();
    assert!((0.5..1.5).contains(&wider) && (wider - 1.0).abs() > 1e-3);
    let noise = change(Transform::new().noise(0.1)) - &x;
    assert!((noise.std().item().unwrap() - 0.1).abs() < 0.012 && noise.mean().item().unwrap().abs() < 0.02);
    let scaled = change(Transform::new().normalize(&[0.5, 0.25], &[2.0, 0.5]));
    let expected = Tensor::cat(&[(x.narrow(0, 0, 1) - 0.5) / 2.0, (x.narrow(0, 1, 1) - 0.25) / 0.5], 0);
    assert!((scaled - expected).abs().max().item().unwrap() < 1e-6);
    let resized = change(Transform::new().flip().resize(8, 5).noise(0.0));
    let resize = Resize::to([8, 5]).mode(Interpolation::Linear).antialias();
    let [a, b] = [x.clone(), x.flip(-1)].map(|x| x.unsqueeze(0).interpolate(resize).select(0, 0));
    assert!(resized == a || resized == b);
}

fn everything() -> Transform {
    let affine = Affine::new().rotate(10.0).scale(0.9..1.1);
    let transform = Transform::new().crop(12, 12, 2).flip().affine(affine).brightness(0.2).contrast(0.2).noise(0.1);
    transform.resize(9, 9).erase(0.5, 0.2).flip_upright().normalize(&[0.5], &[0.25])
}

#[test]
fn a_batch_is_changed_as_its_items_are() {
    let examples = Examples::new(&Tensor::uniform([40, 3, 12, 12], 0.0..1.0, &mut Random::new(2)), &Tensor::arange(40));
    let dataset = examples.unwrap().transformed(everything());
    let (indices, chance) = ([3, 17, 3, 0], Chance::new(5, 6));
    let batch = dataset.batch(&indices, &chance).unwrap();
    for (place, (&index, mut chance)) in indices.iter().zip(chance.of_each(&indices)).enumerate() {
        assert_eq!(dataset.item(index, &mut chance).unwrap().input, batch.input.select(0, place as isize));
    }
    assert_ne!(batch.input.select(0, 0), batch.input.select(0, 2), "drawn twice, changed otherwise");
    for count in [2, 4] {
        assert_eq!(threads(count, || dataset.batch(&indices, &chance)).unwrap().input, batch.input);
    }
    // By workers, in the middle of an epoch, and in another process alike: the same pictures.
    let loader = Loader::new(dataset, 7).shuffled(3);
    let all = |epoch: &mut dyn Iterator<Item = Result<Batch>>| -> Vec<Vec<f32>> {
        epoch.map(|batch| numbers(&batch.unwrap().input)).collect()
    };
    let expected = all(&mut loader.epoch(1));
    for workers in [0, 1, 3] {
        let loader = loader.clone().with_workers(workers);
        assert_eq!(all(&mut loader.epoch(1)), expected);
        let mut epoch = loader.epoch(1);
        assert_eq!(all(&mut epoch.by_ref().take(2)), expected[..2]);
        let state = epoch.state().unwrap();
        drop(epoch);
        assert_eq!(all(&mut loader.resume(&state).unwrap()), expected[2..]);
    }
    assert_ne!(all(&mut loader.epoch(2)), expected);
}

#[test]
fn images_of_other_forms_and_absurd_steps_are_errors() {
    let (x, mut chance) = (image(2, 8, 8), Random::new(1));
    let mut refuse = |transform: Transform, x: &Tensor, words: &str| {
        let error: Error = transform.image(x, &mut chance).expect_err(words);
        assert!(error.to_string().contains(words) && error.to_string().contains("tests/data.rs"), "{error}");
    };
    refuse(Transform::new(), &Tensor::zeros([8, 8]), "not [channels, height, width]");
    refuse(Transform::new(), &Tensor::zeros([1, 1, 8, 8]), "not [channels, height, width]");
    refuse(Transform::new().crop(9, 8, 0), &x, "a crop of 9 x 8 from 8 x 8");
    refuse(Transform::new().crop(usize::MAX, 8, usize::MAX), &x, "a crop of");
    refuse(Transform::new().centre_crop(4, 9), &x, "a crop of 4 x 9");
    refuse(Transform::new().centre_crop(4, 4).crop(5, 5, 0), &x, "from 4 x 4");
    refuse(Transform::new().rotate(f64::NAN), &x, "a rotation of NaN");
    refuse(Transform::new().affine(Affine::new().scale(0.0..1.0)), &x, "a scale of 0.0..1.0");
    refuse(Transform::new().affine(Affine::new().shift(-0.1)), &x, "a shift by a share of -0.1");
    refuse(Transform::new().erase(1.5, 0.1), &x, "a chance of 1.5");
    refuse(Transform::new().brightness(2.0), &x, "a change of 2");
    refuse(Transform::new().noise(-1.0), &x, "noise of -1");
    refuse(Transform::new().normalize(&[0.5; 3], &[1.0]), &x, "3 means and 1 deviations for 2 channels");
    refuse(Transform::new().normalize(&[0.5], &[0.0]), &x, "a deviation of 0");
    refuse(Transform::new().resize(0, 5), &x, "interpolate");
    let error = Transform::new().images(&Tensor::zeros([2, 1, 4, 4]), &[Random::new(1)]).unwrap_err();
    assert!(error.what().contains("1 streams of chance for 2 images"), "{error}");
    assert!(Transform::new().images(&Tensor::zeros([4]), &[]).is_err());
    // What has no pixels is no trouble.
    for empty in [[0, 1, 4, 4], [2, 0, 4, 4], [2, 1, 0, 4], [2, 1, 4, 0]] {
        let chances = vec![Random::new(1); empty[0]];
        let steps = Transform::new().flip().flip_upright().rotate(10.0).erase(1.0, 0.5).contrast(0.5).noise(1.0);
        assert_eq!(steps.images(&Tensor::zeros(empty), &chances).unwrap().dims().unwrap(), empty);
    }
    let bytes = Tensor::full([1, 2, 2], 255.0, DType::U8);
    let scaled = Transform::new().normalize(&[0.0], &[255.0]).image(&bytes, &mut Random::new(1)).unwrap();
    assert_eq!((scaled.dtype().unwrap(), numbers(&scaled)), (DType::F32, vec![1.0; 4]));
}

#[test]
fn mapped_items_draw_from_their_own_stream() {
    let noisy = rows(20).map(|x, chance| Ok(x.to_dtype(DType::F64) + chance.uniform()));
    let once: Vec<Tensor> = Loader::new(noisy, 4).shuffled(1).epoch(3).collect::<Result<_>>().unwrap();
    for number in once.iter().flat_map(|batch| batch.to_vec::<f64>().unwrap()) {
        let expected = number.floor() + Chance::new(1, 3).of(number as usize).uniform();
        assert_eq!(number, expected);
    }
}

#[test]
fn statistics_are_exact() {
    // Far from zero, where the difference of two large sums would be noise.
    let x = Tensor::new([[1e9f64 + 1.0, 3.0, -7.5], [1e9 + 3.0, 3.0, 0.5], [1e9 + 5.0, 3.0, 1.0]]);
    let statistics = Statistics::of(&x, 1).unwrap();
    assert_eq!((statistics.count(), statistics.mean()), (3, vec![1e9 + 3.0, 3.0, -2.0]));
    let deviation = statistics.deviation();
    assert_eq!((deviation[0], deviation[1]), ((8.0f64 / 3.0).sqrt(), 0.0));
    assert!((deviation[2] - 45.5f64.sqrt() / 3f64.sqrt()).abs() < 1e-14, "{deviation:?}");
    assert_eq!((statistics.low(), statistics.high()), (&[1e9 + 1.0, 3.0, -7.5][..], &[1e9 + 5.0, 3.0, 1.0][..]));

    // Of channels; in one pass over a dataset; of parts that are merged.
    let images = Tensor::normal([50, 3, 5, 4], 2.0, 3.0, &mut Random::new(8));
    let whole = Statistics::of(&images, -3).unwrap();
    for channel in 0..3 {
        let own = images.narrow(1, channel, 1).to_vec::<f64>().unwrap();
        let mean = own.iter().sum::<f64>() / 1000.0;
        let deviation = (own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1000.0).sqrt();
        assert!((whole.mean()[channel] - mean).abs() < 1e-13);
        assert!((whole.deviation()[channel] - deviation).abs() < 1e-13);
    }
    let examples = Examples::new(&images, &Tensor::zeros([50])).unwrap();
    let passed = Statistics::of_dataset(&examples, -3, |Example { input, .. }| input).unwrap();
    let mut merged = Statistics::of(&images.narrow(0, 0, 1), -3).unwrap();
    merged.merge(&Statistics::of(&images.narrow(0, 1, 49), -3).unwrap()).unwrap();
    for other in [passed, merged] {
        assert_eq!((other.count(), other.low(), other.high()), (1000, whole.low(), whole.high()));
        for (a, b) in other.deviation().iter().chain(&other.mean()).zip(whole.deviation().iter().chain(&whole.mean())) {
            assert!((a - b).abs() < 1e-13);
        }
    }
    // A constant that no float holds exactly has no deviation.
    assert_eq!(Statistics::of(&Tensor::full([1000, 1], 0.1, DType::F64), -1).unwrap().deviation(), [0.0]);
    assert_eq!(Statistics::of(&Tensor::from([[1, 2], [3, 6]]), 0).unwrap().mean(), [1.5, 4.5]);
    for (wrong, words) in [(f32::NAN, "column 1"), (f32::INFINITY, "column 1")] {
        let error = Statistics::of(&Tensor::from([[1.0, 2.0], [0.0, wrong]]), -1).unwrap_err();
        assert!(error.what().contains(words) && error.to_string().contains("tests/data.rs"), "{error}");
    }
    assert!(Statistics::of(&Tensor::scalar(1.0), -1).is_err() && Statistics::of(&Tensor::ones([2]), 1).is_err());
    assert!(Statistics::of_dataset(&rows(0), -1, |x| x).is_err() && whole.clone().merge(&statistics_of(2)).is_err());
}

fn statistics_of(columns: usize) -> Statistics {
    Statistics::of(&Tensor::ones([1, columns]), -1).expect("statistics")
}

#[test]
fn scalings_go_there_and_back() {
    let x = Tensor::normal([200, 3], 5.0, 2.0, &mut Random::new(1)) * Tensor::from([1.0, 0.0, 100.0]);
    let scaling = Scaling::standard(&x, -1).unwrap();
    let scaled = scaling.apply(&x);
    let statistics = Statistics::of(&scaled, -1).unwrap();
    for (column, deviation) in [1.0, 0.0, 1.0].into_iter().enumerate() {
        assert!(statistics.mean()[column].abs() < 1e-6 && (statistics.deviation()[column] - deviation).abs() < 1e-6);
    }
    assert!((scaling.undo(&scaled) - &x).abs().max().item().unwrap() < 1e-4);
    // A single row, as one comes to a model that serves.
    assert_eq!(scaling.apply(&x.select(0, 7)), scaled.select(0, 7));
    let unit = Scaling::min_max(&x, -1).unwrap();
    let statistics = Statistics::of(&unit.apply(&x), -1).unwrap();
    assert_eq!((statistics.low(), statistics.high()), (&[0.0; 3][..], &[1.0, 0.0, 1.0][..]));
    // Gradients pass.
    let input = x.variable();
    let gradients = scaling.undo(&scaling.apply(&input)).sum().backward().unwrap();
    assert!((gradients.of(&input).unwrap() - 1.0).abs().max().item().unwrap() < 1e-5);

    let state = scaling.state().unwrap();
    let mut loaded = Scaling::default();
    loaded.load_state(&state).unwrap();
    assert_eq!(loaded, scaling);
    for wrong in [Tensor::from([1.0, 0.0, 1.0]), Tensor::from([1.0, f32::NAN, 1.0]), Tensor::ones([2])] {
        let mut damaged = state.clone();
        damaged.insert("divisor", State::Tensor(wrong)).unwrap();
        assert!(loaded.load_state(&damaged).is_err() && loaded == scaling);
    }
    assert!(loaded.load_state(&State::tree()).is_err());
    let error = scaling.apply(&Tensor::ones([2, 4])).checked().unwrap_err();
    assert!(error.what().contains("3 columns were scaled") && error.to_string().contains("tests/data.rs"), "{error}");
    assert!(Scaling::default().apply(&Tensor::ones([2])).checked().is_err());
    let none = Scaling::standard(&Tensor::ones([0, 2]), -1).unwrap();
    assert_eq!((none.shift(), none.divisor()), (&[0.0; 2][..], &[1.0; 2][..]));
}

#[test]
fn examples_come_from_numpys_files() {
    let folder = std::env::temp_dir().join(format!("chainrule-numpy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (x, bytes) = (Tensor::new([[0.5f64, 1.0], [2.0, 3.0], [4.0, -1.0]]), Tensor::from([[1], [2], [255]]));
    let archive = folder.join("set.npz");
    let bytes = bytes.to_dtype(DType::U8);
    let (labels, prices) = (Tensor::new([0i32, 2, 1]), Tensor::new([1.5f64, 2.5, 3.5]));
    let arrays =
        [("x", &x), ("bytes", &bytes), ("labels", &labels), ("prices", &prices), ("one", &Tensor::from([1.0]))];
    npz::save(&archive, arrays).unwrap();
    for (input, target, types) in [
        ("x", "labels", (DType::F32, DType::I64)),
        ("bytes", "prices", (DType::U8, DType::F32)),
        ("labels", "bytes", (DType::I64, DType::I64)),
    ] {
        let examples = Examples::from_npz(&archive, input, target).unwrap();
        assert_eq!((examples.input().dtype().unwrap(), examples.target().dtype().unwrap()), types);
        assert_eq!(examples.len(), 3);
    }
    let examples = Examples::from_npz(&archive, "x", "labels").unwrap();
    assert_eq!((examples.input(), examples.target()), (&x.to_dtype(DType::F32), &Tensor::from([0, 2, 1])));
    for (input, target, words) in
        [("x", "y", "no tensor named \"y\""), ("x", "one", "3 inputs and 1 targets"), ("none", "x", "none")]
    {
        let error = Examples::from_npz(&archive, input, target).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("set.npz"), "{error}");
    }
    let (first, second) = (folder.join("x.npy"), folder.join("y.npy"));
    npy::save(&first, &x).unwrap();
    npy::save(&second, &labels).unwrap();
    let same = Examples::from_npy(&first, &second).unwrap();
    assert_eq!((same.input(), same.target()), (examples.input(), examples.target()));
    npy::save(&second, &Tensor::from([1])).unwrap();
    let error = Examples::from_npy(&first, &second).unwrap_err();
    assert!(error.to_string().contains("y.npy") && error.location().file().ends_with("data.rs"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn sequences_are_padded_to_the_longest() {
    let items = |front: bool| -> Vec<Ragged> {
        let item = |time: usize| {
            let item = Ragged::new(&(Tensor::arange(time * 2).reshape([time, 2]) + 1)).with_padding(-1.0);
            if front { item.in_front() } else { item }
        };
        vec![item(1), item(3), item(0)]
    };
    let behind = Ragged::collate(items(false)).unwrap();
    assert_eq!((behind.values.dims().unwrap(), &behind.lengths[..]), ([3, 3, 2], &[1, 3, 0][..]));
    let expected = [1, 2, -1, -1, -1, -1, 1, 2, 3, 4, 5, 6, -1, -1, -1, -1, -1, -1];
    assert_eq!(behind.values.to_vec::<i64>().unwrap(), expected);
    let mask = [true, false, false, true, true, true, false, false, false];
    assert_eq!(behind.mask().unwrap().to_vec::<bool>().unwrap(), mask);
    let front = Ragged::collate(items(true)).unwrap();
    assert_eq!(front.values.to_vec::<i64>().unwrap()[..6], [-1, -1, -1, -1, 1, 2]);
    assert_eq!(front.mask().unwrap().to_vec::<bool>().unwrap()[..3], [false, false, true]);

    let ones = |sizes: &[usize]| Ragged::new(&Tensor::ones(sizes));
    for (other, words) in [
        (ones(&[2, 3]), "sequence 1 is [2, 3] f32, the first [1, 2] f32"),
        (ones(&[]), "sequence 1 is []"),
        (Ragged::new(&Tensor::from([[1, 2]])), "i64"),
        (ones(&[2, 2]).with_padding(1.0), "padded otherwise"),
        (ones(&[2, 2]).in_front(), "padded otherwise"),
    ] {
        let error = Ragged::collate(vec![ones(&[1, 2]), other]).unwrap_err();
        assert!(error.what().contains(words) && error.to_string().contains("tests/data.rs"), "{error}");
    }
    assert!(Ragged::collate(Vec::new()).is_err() && Ragged::collate(vec![ones(&[])]).is_err());
}
