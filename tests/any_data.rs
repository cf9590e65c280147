//! Datasets, loaders, tables, statistics and numbers out of nothing with settings drawn at random, most of them wrong: they answer, or
//! say what is wrong.

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/chance.rs"]
mod chance;
#[path = "common/guard.rs"]
mod guard;

use allocator::Counting;
use chainrule::data::*;
use chainrule::{DType, Random, Result, Tensor};
use chance::{Attempt, Chance, search};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn examples(c: &mut Chance) -> Result<Examples> {
    let count = 1 + c.below(9);
    let (x, y) = (c.fitting(&[count, 2]), c.fitting(&[count, 1]));
    Examples::new(&x, &y)
}

/// An order of any kind over a number of items.
fn ordered<D: Dataset + 'static>(c: &mut Chance, loader: Loader<D>, count: usize) -> Result<Loader<D>> {
    let labels = c.whole(&[count], 3);
    Ok(match c.below(8) {
        0 => loader.shuffled(c.below(3) as u64),
        1 => loader.with_order(Listed::new((0..c.below(9)).map(|_| c.count(count + 1)).collect())),
        2 => {
            let weighted = data_weighted(&c.fitting(&[count]).abs())?;
            let weighted = if c.coin() { weighted.with_count(c.count(20)) } else { weighted };
            loader.with_order(if c.coin() { weighted.without_replacement() } else { weighted })
        }
        3 => {
            let balanced = Balanced::new(&labels)?;
            loader.with_order(if c.coin() { balanced.with_count(c.count(20)) } else { balanced })
        }
        4 => loader.with_order(Stratified::new(&labels)?),
        5 => loader.with_order(ByLength::new((0..count).map(|_| c.count(9)).collect()).with_pool(c.count(4))),
        _ => loader,
    })
}

fn data_weighted(weights: &Tensor) -> Result<chainrule::data::Weighted> {
    chainrule::data::Weighted::new(weights)
}

fn loaded(c: &mut Chance) -> Result<()> {
    let examples = examples(c)?;
    let count = examples.len();
    let loader = Loader::new(examples, c.size(5)).with_seed(c.below(3) as u64);
    let loader = ordered(c, loader, count)?;
    let loader = if c.coin() { loader.drop_last() } else { loader };
    let loader = if c.once_in(20) { loader.with_workers(c.size(3)).with_ahead(c.count(4)) } else { loader };
    let (promised, epoch) = (loader.len(), c.steps(3));
    // Orders may be longer than any list: a part is enough.
    let batches = loader.epoch(epoch).take(20).collect::<Result<Vec<_>>>()?;
    if promised <= 20 {
        assert_eq!(batches.len(), promised, "as many batches as the loader promised");
    }
    let mut walk = loader.epoch_from(epoch, c.count(4));
    let _ = walk.next().transpose()?;
    let state = walk.state()?;
    let _ = loader.resume(&state)?.next().transpose()?;
    Ok(())
}

/// Parts of datasets, and several as one, however many items they speak of.
fn joined(c: &mut Chance) -> Result<()> {
    let (first, second) = (c.size(9), c.size(9));
    let among = |c: &mut Chance, items: usize| if c.once_in(12) { c.count(9) } else { c.below(items.clamp(1, 9)) };
    let all = Concat::new(vec![builtin::Digits::new(first), builtin::Digits::new(second)]);
    let _ = (all.len(), all.parts().len());
    let loader = Loader::new(all, c.size(5));
    let loader = if c.coin() { loader.shuffled(1) } else { loader };
    let _ = (loader.len(), loader.is_empty());
    let _ = loader.epoch(c.steps(3)).take(2).collect::<Result<Vec<_>>>()?;
    let part = Subset::new(builtin::Digits::new(first), vec![among(c, first); 1 + c.below(3)])?;
    let chosen = Subset::new(part, vec![among(c, 1); 1 + c.below(3)])?;
    chosen.batch(&[among(c, 1)], &chainrule::data::Chance::new(1, c.steps(2))).map(drop)
}

fn divided(c: &mut Chance) -> Result<()> {
    let count = 1 + c.below(12);
    let examples = Rows::new(&Tensor::arange(count))?;
    let labels = c.whole(&[count], 3);
    if c.coin() {
        let mut split = match c.coin() {
            true => Split::shares([c.rate(), c.rate()]),
            false => Split::counts([c.count(count + 1), c.count(count + 1)]),
        };
        split = match c.below(5) {
            0 => split.stratified(&labels),
            1 => split.grouped(&labels),
            2 => split.in_order(),
            3 => split.by_time(&c.fitting(&[count])),
            _ => split.with_seed(c.below(5) as u64),
        };
        let parts = split.indices(count)?;
        let mut all: Vec<usize> = parts.concat();
        let total = all.len();
        all.sort_unstable();
        all.dedup();
        assert!(all.len() == total && all.iter().all(|&index| index < count), "{parts:?} of {count}");
        return split.of(examples).map(drop);
    }
    let mut folds = Folds::new(c.size(4));
    folds = match c.below(5) {
        0 => folds.stratified(&labels),
        1 => folds.grouped(&labels),
        2 => folds.in_order(),
        3 => folds.by_time(&c.fitting(&[count])),
        _ => folds,
    };
    folds.of(examples).map(drop)
}

fn changed(c: &mut Chance) -> Result<()> {
    let mut transform = Transform::new();
    for _ in 0..1 + c.below(2) {
        let (height, width, number) = (c.size(6), c.size(6), c.real(&[0.1, 10.0]));
        transform = match c.below(13) {
            0 => transform.crop(height, width, c.count(3)),
            1 => transform.centre_crop(height, width),
            2 => transform.resize(height, width),
            3 => transform.flip(),
            4 => transform.flip_upright(),
            5 => transform.rotate(number),
            6 => {
                let affine = Affine::new().rotate(number).shift(c.rate()).shear(c.real(&[5.0]));
                transform.affine(affine.scale(c.real(&[0.5])..c.real(&[1.5])))
            }
            7 => transform.erase(c.rate(), c.rate()),
            8 => transform.brightness(number),
            9 => transform.contrast(number),
            10 => transform.noise(number),
            11 => {
                let list: Vec<f32> = (0..c.below(4)).map(|_| c.real(&[0.5]) as f32).collect();
                transform.normalize(&list, &list)
            }
            _ => transform.fill(number as f32),
        };
    }
    let images = c.tensor(3..=4);
    if images.rank()? == 3 {
        return transform.image(&images, &mut Random::new(1)).map(drop);
    }
    let chances: Vec<Random> = (0..images.size(0)?).map(|seed| Random::new(seed as u64)).collect();
    transform.images(&images, &chances).map(drop)
}

fn padded(c: &mut Chance) -> Result<()> {
    let mut items = Vec::new();
    for _ in 0..1 + c.below(3) {
        let (length, width) = (c.below(4), 1 + usize::from(c.once_in(20)));
        let item = Ragged::new(&c.of(&[length, width])).with_padding(c.real(&[0.0, -1.0]));
        items.push(if c.once_in(4) { item.in_front() } else { item });
    }
    let padded = Ragged::collate(items)?;
    let mask = padded.mask()?;
    assert_eq!(mask.shape()?[..], padded.values.shape()?[..2]);
    Ok(())
}

fn tabled(c: &mut Chance) -> Result<()> {
    let fields = ["1", "2.5", "nan", "", "x", "\"a,b\"", "-inf", "1e999", "NA", "\"", "ä", " 3 "];
    let mut text = String::new();
    let columns = 1 + c.below(3);
    for row in 0..c.below(6) {
        for column in 0..columns {
            let field = if row == 0 { ["a", "b", "a", ""][c.below(4).min(column)] } else { c.one(&fields) };
            text.push_str(field);
            text.push(if column + 1 == columns { '\n' } else { c.one(&[',', ',', ',', ';', '\t']) });
        }
    }
    let csv = Csv::new().with_missing(["NA", ""]);
    let csv = if c.once_in(4) { csv.with_separator(c.one(&[',', ';', '"', '\n', 'ä', '\0'])) } else { csv };
    let table = if c.once_in(3) { csv.without_header() } else { csv }.parse(&text)?;
    let name = table.names().first().cloned().unwrap_or_default();
    let _ = (table.kind(&name)?, table.missing(&name)?, table.text(c.count(4), &name).is_ok());
    let filled = table.filled(&name, if c.coin() { Fill::Mean } else { Fill::Number(c.real(&[0.5])) })?;
    let _ = (filled.numbers([&name])?, table.categories(&name)?.one_hot());
    let again = Table::parse(table.to_csv())?;
    assert_eq!(again.len(), table.len(), "written and read: {:?}", table.to_csv());
    Ok(())
}

fn measured(c: &mut Chance) -> Result<()> {
    let x = c.tensor(0..=4);
    let scaling = match c.below(3) {
        0 => Scaling::standard(&x, c.axis())?,
        1 => Scaling::min_max(&x, c.axis())?,
        _ => {
            let mut all = Statistics::of(&x, c.axis())?;
            all.merge(&Statistics::of(&c.like(&x), c.axis())?)?;
            let _ = (all.count(), all.deviation());
            Scaling::standard_of(&all)
        }
    };
    let mut other = scaling.clone();
    other.load_state(&scaling.state()?).expect("its own state");
    let y = c.like(&x);
    let there = other.undo(&other.apply(&y)).checked()?;
    assert_eq!(there.shape()?, y.shape()?);
    Ok(())
}

fn found(c: &mut Chance) -> Result<()> {
    let (first, second) = (examples(c)?, examples(c)?);
    let report = check(&[("train", &first), (c.one(&["test", "train", ""]), &second)])?;
    let _ = (report.to_string(), report.is_clean(), report.rare());
    suspicious(&c.tensor(0..=1), c.count(4)).map(drop)
}

fn made(c: &mut Chance) -> Result<()> {
    let (count, classes, noise) = (c.size(9), c.size(3), c.real(&[0.1, 0.0]));
    match c.below(8) {
        0 => builtin::spirals(count, classes, noise, 1).map(drop),
        1 => builtin::moons(count, noise, 1).map(drop),
        2 => builtin::circles(count, c.rate(), noise, 1).map(drop),
        3 => builtin::blobs(count, classes, noise, 1).map(drop),
        4 => {
            let waves = builtin::Waves::new(classes, count).with_seasons(c.real(&[24.0]), c.real(&[7.0]));
            waves.with_trend(noise).with_noise(noise).tensor().map(drop)
        }
        5 => {
            let digits = builtin::Digits::new(count.min(3));
            let _ = (digits.label(c.count(9)), digits.pixels(c.count(9)));
            digits.examples().map(drop)
        }
        6 => {
            let text = builtin::prose(count.min(9), 1);
            let alphabet = Alphabet::of(&text);
            let numbers = alphabet.encode(&text)?;
            let windows = Windows::of_numbers(numbers, c.size(6))?.with_stride(c.size(3));
            let (first, _) = windows.split(c.rate())?;
            let _ = first.item(c.count(4), &mut Random::new(1));
            alphabet.decode(&[c.one(&[0, 1, -1, i64::MAX, i64::MIN])]).map(drop)
        }
        _ => Windows::of_bytes(vec![7u8; count.min(9)], c.size(4))?.item(c.count(4), &mut Random::new(1)).map(drop),
    }
}

/// Numbers out of nothing.
fn created(c: &mut Chance) -> Result<()> {
    let sizes = if c.once_in(6) { vec![c.size(4), c.size(4)] } else { c.sizes(0..=3) };
    let (low, high, random) = (c.real(&[0.0, -1.0]), c.real(&[1.0, 2.0]), &mut Random::new(c.below(9) as u64));
    let whole = [0, 1, -1, i64::MAX, i64::MIN];
    let sizes = sizes.as_slice();
    let tensor = match c.below(9) {
        0 => Tensor::uniform(sizes, low..high, random),
        1 => Tensor::normal(sizes, low, high, random),
        2 => Tensor::integers(sizes, c.one(&whole)..c.one(&whole), random),
        3 => Tensor::full(sizes, high, c.one(&[DType::F32, DType::I64, DType::Bool, DType::U8, DType::BF16])),
        4 => return Tensor::range_step(low, high, c.real(&[0.1, -0.5])).checked().map(drop),
        5 => return Tensor::linspace(low, high, c.size(5)).checked().map(drop),
        6 => return Tensor::logspace(low, high, c.size(5), c.real(&[10.0])).checked().map(drop),
        7 => return Tensor::eye(c.size(5)).checked().map(drop),
        _ => return Tensor::arange(c.size(5)).checked().map(drop),
    };
    assert_eq!(tensor.checked()?.shape()?.to_vec(), sizes);
    Ok(())
}

const DATA: &[Attempt<Result<()>>] = &[
    ("loader", loaded),
    ("split", divided),
    ("joined", joined),
    ("transform", changed),
    ("padded", padded),
    ("table", tabled),
    ("statistics", measured),
    ("check", found),
    ("built in", made),
    ("created", created),
];

#[test]
fn data() {
    search(DATA, |result| vec![result]);
}
