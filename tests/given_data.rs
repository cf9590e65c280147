//! Data that others publish, read as it comes: MNIST and Fashion-MNIST, three tables, a text; and a network on one of them.
//!
//! The files are not kept here: they are looked for in the folder `data` beside `CHAINRULE_REFERENCE` (by default
//! `../shared/data`). Where one is missing, the test says so.

use chainrule::data::{
    Alphabet, Dataset, Examples, Fill, Kind, Loader, Scaling, Split, Table, Windows, idx, read_text,
};
use chainrule::nn::{Init, Layer, Linear, Relu, Sequential};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{DType, Result, Tensor, mse_loss, no_grad};
use std::fs;
use std::path::{Path, PathBuf};

fn given(name: &str) -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = std::env::var_os("CHAINRULE_REFERENCE").map(PathBuf::from);
    let beside = reference.and_then(|folder| folder.parent().map(Path::to_path_buf));
    let found = Some(beside.unwrap_or_else(|| home.join("../shared")).join("data").join(name));
    let found = found.filter(|path| path.exists());
    if found.is_none() {
        println!("{name}: skipped: not here");
    }
    found
}

fn near(found: f64, wanted: f64, tolerance: f64) {
    assert!((found - wanted).abs() <= tolerance, "{found}, not {wanted}");
}

#[test]
#[cfg(feature = "deflate")]
fn pictures_have_the_published_means() -> Result<()> {
    for (name, means) in [("mnist", [0.1307, 0.1325]), ("fashion-mnist", [0.2860, 0.2868])] {
        let Some(path) = given(name) else { continue };
        let folder = idx::folder(path)?;
        for (examples, count, mean) in [(&folder.train, 60_000, means[0]), (&folder.test, 10_000, means[1])] {
            let (pictures, labels) = (examples.input(), examples.target());
            assert_eq!((pictures.dims()?, labels.dims()?), ([count, 1, 28, 28], [count]));
            assert_eq!((pictures.dtype()?, labels.dtype()?), (DType::F32, DType::I64));
            near(pictures.mean().item()?, mean, 5e-5);
            assert_eq!((pictures.min().item()?, pictures.max().item()?), (0.0, 1.0));
            let mut times = [0; 10];
            labels.to_vec::<i64>()?.into_iter().for_each(|label| times[label as usize] += 1);
            assert!(times.iter().all(|&times| times > count / 12 && times < count / 8), "{times:?}");
        }
    }
    Ok(())
}

#[test]
fn tables_have_the_rows_and_gaps_they_are_known_for() -> Result<()> {
    if let Some(path) = given("tabular/iris.csv") {
        let table = Table::read(path)?;
        assert_eq!((table.len(), table.names().len()), (150, 5));
        let species = table.categories("species")?;
        assert_eq!(species.names(), ["setosa", "versicolor", "virginica"]);
        assert_eq!(species.one_hot().sum_over(0).to_vec::<f32>()?, [50.0; 3]);
        let numbers = table.numbers(&table.names()[..4])?;
        assert_eq!(numbers.dims()?, [150, 4]);
        for (column, mean) in numbers.mean_over(0).to_vec::<f64>()?.into_iter().zip([5.8433, 3.0573, 3.758, 1.1993]) {
            near(column, mean, 1e-4);
        }
        assert!(table.numbers(["species"]).is_err());
    }
    if let Some(path) = given("tabular/california_housing.csv") {
        let table = Table::read(path)?;
        assert_eq!((table.len(), table.names().len()), (20640, 10));
        for name in table.names() {
            assert_eq!(table.missing(name)?, if name == "total_bedrooms" { 207 } else { 0 }, "{name}");
            let kind = if name == "ocean_proximity" { Kind::Texts } else { Kind::Numbers };
            assert_eq!(table.kind(name)?, kind, "{name}");
        }
        let places = table.categories("ocean_proximity")?;
        assert_eq!(places.names(), ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]);
        assert_eq!(places.one_hot().sum_over(0).to_vec::<f32>()?, [9136.0, 6551.0, 5.0, 2290.0, 2658.0]);
        let filled = table.filled("total_bedrooms", Fill::Median)?;
        assert_eq!((filled.missing("total_bedrooms")?, filled.text(290, "total_bedrooms")?), (0, "435"));
        assert_eq!(table.without_missing(["total_bedrooms"])?.len(), 20433);
    }
    if let Some(path) = given("tabular/mpg.csv") {
        let table = Table::read(path)?;
        assert_eq!((table.len(), table.missing("horsepower")?), (398, 6));
        assert_eq!(table.categories("origin")?.names(), ["europe", "japan", "usa"]);
        assert_eq!(table.numbers(["horsepower"])?.is_nan().count_nonzero().item()?, 6.0);
        assert_eq!(Table::parse(table.to_csv())?.texts("name")?, table.texts("name")?);
    }
    Ok(())
}

#[test]
fn a_text_has_its_characters() -> Result<()> {
    let Some(path) = given("tinyshakespeare/input.txt") else { return Ok(()) };
    let text = read_text(path)?;
    let alphabet = Alphabet::of(&text);
    assert_eq!((text.len(), alphabet.len()), (1_115_394, 65));
    assert!(alphabet.characters().starts_with(&['\n', ' ', '!', '$', '&']) && alphabet.number('z') == Some(64));
    let numbers = alphabet.encode(&text)?;
    assert_eq!(alphabet.decode(&numbers)?, text);
    let windows = Windows::of_numbers(numbers, 64)?;
    let last = windows.item(windows.len() - 1, &mut chainrule::Random::new(0))?;
    assert!(text.ends_with(&alphabet.decode(&last.target.to_vec::<i64>()?)?));
    Ok(())
}

/// The four files of a folder, plain, compressed, and under the names with a dot.
#[test]
fn a_folder_is_read_as_it_was_written() -> Result<()> {
    let path = std::env::temp_dir().join(format!("chainrule-given-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    let pictures = |count: usize| (Tensor::arange(count * 15) % 256).reshape([count, 3, 5]).to_dtype(DType::U8);
    let labels = |count: usize| (Tensor::arange(count) % 10).to_dtype(DType::U8);
    let name = |part: &str, what: &str, axes: u8, dash: &str| format!("{part}-{what}{dash}idx{axes}-ubyte");
    let sets = [("train", 40), ("t10k", 7)];
    let check = || -> Result<()> {
        let folder = idx::folder(&path)?;
        for (examples, count) in [(&folder.train, 40), (&folder.test, 7)] {
            let wanted = pictures(count).to_dtype(DType::F32).reshape([count, 1, 3, 5]) / 255.0;
            assert_eq!(examples.input(), &wanted);
            assert_eq!(examples.target(), &labels(count).to_dtype(DType::I64));
        }
        Ok(())
    };
    for dash in ["-", "."] {
        for (part, count) in sets {
            idx::save(path.join(name(part, "images", 3, dash)), &pictures(count))?;
            idx::save(path.join(name(part, "labels", 1, dash)), &labels(count))?;
        }
        check()?;
        #[cfg(feature = "deflate")]
        for (part, _) in sets {
            // The labels alone, then the pictures too.
            for (what, axes) in [("labels", 1), ("images", 3)] {
                let plain = path.join(name(part, what, axes, dash));
                let packed = path.join(name(part, what, axes, dash) + ".gz");
                fs::write(packed, gzip(&fs::read(&plain).unwrap())).unwrap();
                fs::remove_file(plain).unwrap();
                check()?;
            }
        }
        let files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 4);
        files.into_iter().for_each(|file| fs::remove_file(file).unwrap());
    }
    assert!(idx::folder(&path).unwrap_err().to_string().contains("train-images-idx3-ubyte"));
    fs::remove_dir_all(&path).unwrap();
    Ok(())
}

#[cfg(feature = "deflate")]
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    file.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    file.extend(archive::crc32(bytes).to_le_bytes());
    file.extend((bytes.len() as u32).to_le_bytes());
    file
}

#[cfg(feature = "deflate")]
#[path = "common/archive.rs"]
mod archive;

/// The root of the mean squared error on the test part after some epochs, in units of the target's deviation.
fn trained(model: &mut Sequential, train: &Examples, test: &Examples, epochs: u64) -> Result<f64> {
    let loader = Loader::new(train.clone(), 256).shuffled(1);
    let mut optimizer = AdamW::new(0.004);
    for epoch in 0..epochs {
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let loss = mse_loss(&model.forward(&batch.input), &batch.target);
            optimizer.step(model, &loss.backward()?)?;
        }
    }
    let loss = no_grad(|| mse_loss(&model.forward(test.input()), test.target()));
    Ok(loss.item()?.sqrt())
}

#[test]
fn a_network_values_houses_better_than_a_line() -> Result<()> {
    let Some(path) = given("tabular/california_housing.csv") else { return Ok(()) };
    let table = Table::read(path)?.filled("total_bedrooms", Fill::Median)?;
    let columns: Vec<&String> = table
        .names()
        .iter()
        .filter(|name| !["median_house_value", "ocean_proximity"].contains(&name.as_str()))
        .collect();
    let (numbers, places) = (table.numbers(&columns)?, table.categories("ocean_proximity")?.one_hot());
    let values = table.numbers(["median_house_value"])?;

    let parts = Split::shares([0.8, 0.2]).with_seed(4).indices(table.len())?;
    let [train, test] = parts.map(|part| {
        let rows = part.iter().map(|&row| row as i64).collect::<Vec<i64>>();
        Tensor::from_slice(&rows, [rows.len()])
    });
    let (train, test) = (train?, test?);
    // Both scales are learnt from the training part alone.
    let of = |x: &Tensor, rows: &Tensor| x.index_select(0, rows);
    let inputs = Scaling::standard(&of(&numbers, &train), -1)?;
    let targets = Scaling::standard(&of(&values, &train), -1)?;
    let part = |rows: &Tensor| {
        let input = Tensor::cat(&[&inputs.apply(&of(&numbers, rows)), &of(&places, rows)], 1);
        Examples::new(&input, &targets.apply(&of(&values, rows)))
    };
    let (train, test) = (part(&train)?, part(&test)?);
    assert_eq!((train.input().dims()?, test.len()), ([16512, 13], 4128));

    let mut init = Init::new().seed(6);
    let mut line = Sequential::new().then(Linear::new(13, 1, &mut init));
    let mut network = Sequential::new()
        .then(Linear::new(13, 64, &mut init))
        .then(Relu)
        .then(Linear::new(64, 64, &mut init))
        .then(Relu)
        .then(Linear::new(64, 1, &mut init));
    let by_line = trained(&mut line, &train, &test, 20)?;
    let by_network = trained(&mut network, &train, &test, 20)?;
    println!("from a line {by_line:.3}, from a network {by_network:.3}");
    // Least squares leave a root of 0.60 of the deviation; a line that was not trained would make any network look good.
    near(by_line, 0.6, 0.03);
    assert!(by_network <= 0.85 * by_line, "{by_network} is not clearly below {by_line}");
    Ok(())
}
