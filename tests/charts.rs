//! Charts are sound SVG whatever they are given. With `CHAINRULE_CHARTS=folder` they are left there to be looked at.

use chainrule::explain::chart::{Distributions, HeatMap, Histogram, LineChart, Picture, Tiles};
use chainrule::{Random, Result, Tensor};

/// The names of the elements of an XML text, if it is well formed: every element closed, every attribute quoted, no bare
/// `&` or `<`.
fn elements(xml: &str) -> Result<Vec<String>, String> {
    let (mut open, mut found, mut rest) = (Vec::new(), Vec::new(), xml.trim_end());
    while !rest.is_empty() {
        let (text, tag) = rest.split_once('<').ok_or("text after the end")?;
        for (at, _) in text.match_indices('&') {
            let entity = text[at..].split_once(';').ok_or("a bare &")?.0;
            if !["&amp", "&lt", "&gt", "&quot"].contains(&entity) {
                return Err(format!("the entity {entity}"));
            }
        }
        if open.is_empty() && !text.is_empty() {
            return Err(format!("{text:?} outside"));
        }
        let (tag, after) = tag.split_once('>').ok_or("an open tag")?;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name.to_string()) {
                return Err(format!("</{name}> closes something else"));
            }
        } else {
            let name = tag.split(' ').next().unwrap_or(tag).trim_end_matches('/').to_string();
            if tag.matches('"').count() % 2 != 0 || ["NaN", "inf"].iter().any(|word| tag.contains(word)) {
                return Err(format!("the attributes of <{tag}>"));
            }
            if !tag.ends_with('/') {
                open.push(name.clone());
            }
            found.push(name);
        }
        rest = after;
    }
    if open.is_empty() { Ok(found) } else { Err(format!("{open:?} left open")) }
}

fn sound(name: &str, picture: &Picture) -> Vec<String> {
    let svg = picture.svg();
    if let Ok(folder) = std::env::var("CHAINRULE_CHARTS") {
        picture.save(std::path::Path::new(&folder).join(format!("{name}.svg"))).unwrap();
    }
    assert!(picture.width().is_finite() && picture.height().is_finite());
    elements(&svg).unwrap_or_else(|error| panic!("{name}: {error}\n{svg}"))
}

fn count(elements: &[String], name: &str) -> usize {
    elements.iter().filter(|element| *element == name).count()
}

#[test]
fn lines_of_a_training() {
    let noisy =
        |step: usize| (step as f64, 2.3 * (-(step as f64) / 90.0).exp() + 0.08 * ((step * 7919) % 100) as f64 / 100.0);
    let chart = LineChart::new("Loss")
        .with_axes("step", "cross entropy")
        .with_faint_line((0..600).map(noisy))
        .with_line(
            "training, mean of the epoch",
            (1..=6).map(|e| (100.0 * e as f64, 2.3 * (-(e as f64) * 1.1).exp() + 0.04)),
        )
        .with_line("validation loss", (1..=6).map(|e| (100.0 * e as f64, 2.3 * (-(e as f64)).exp() + 0.09)));
    let accuracy = LineChart::new("Validation")
        .with_axes("step", "share")
        .with_line("accuracy", (1..=6).map(|e| (100.0 * e as f64, 1.0 - 0.4 * (-(e as f64)).exp())))
        .with_line("top-3 accuracy", (1..=6).map(|e| (100.0 * e as f64, 1.0 - 0.1 * (-(e as f64)).exp())));
    let rate = LineChart::new("rate").with_logarithmic().with_size(720.0, 220.0);
    let rate = rate.with_line("", (0..600).map(|step| (step as f64, 0.01 * (-(step as f64) / 150.0).exp())));
    let found = sound("training", &chart.picture().above(accuracy.picture()).above(rate.picture()));
    assert_eq!(count(&found, "polyline"), 6);
    // the epochs are few enough to be marked
    assert_eq!(count(&found, "circle"), 24);
}

#[test]
fn a_heat_map_of_mistakes() {
    let rows: Vec<Vec<f64>> = (0..10)
        .map(|meant| {
            (0..10)
                .map(|said| {
                    if meant == said {
                        960.0 + meant as f64
                    } else {
                        ((meant * 3 + said * 5) % 7 * ((meant + said) % 3)) as f64
                    }
                })
                .collect()
        })
        .collect();
    let names = (0..10).map(|class| class.to_string());
    let found = sound(
        "digits",
        &HeatMap::new("Confusion", &rows).with_names(names.clone(), names).with_axes("said", "meant").picture(),
    );
    assert_eq!(count(&found, "rect"), 101);
    let clothes =
        ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
    sound(
        "clothes",
        &HeatMap::new("Confusion", &rows).with_names(clothes, clothes).with_axes("said", "meant").picture(),
    );
    let shares: Vec<Vec<f64>> =
        rows[..3].iter().map(|row| row[..3].iter().map(|count| count / 970.0).collect()).collect();
    sound("shares", &HeatMap::new("", &shares).with_names(["a", "b", "c"], ["a", "b", "c"]).picture());
    let many: Vec<Vec<f64>> =
        (0..100).map(|meant| (0..100).map(|said| if meant == said { 90.0 } else { 0.1 }).collect()).collect();
    let names = || (0..100).map(|class| format!("class {class}"));
    sound("many", &HeatMap::new("A hundred classes", &many).with_names(names(), names()).picture());
}

#[test]
fn anything_can_be_drawn() {
    let hostile = "<script>&\"'</text>\u{0}\u{1b}[31m\n\u{202e}日本語 \u{1f600}".repeat(5);
    let numbers = [f64::NAN, f64::INFINITY, f64::MIN, f64::MAX, 0.0, -0.0, 5e-324, 1e300, -3.5];
    for logarithmic in [false, true] {
        for across in numbers {
            for up in numbers {
                let chart = LineChart::new(&hostile).with_axes(&hostile, &hostile).with_size(across, up);
                let chart = if logarithmic { chart.with_logarithmic() } else { chart };
                let chart = chart.with_line(&hostile, [(across, up), (1.0, 2.0), (up, across)]).with_line("", []);
                sound("hostile", &chart.picture());
            }
        }
    }
    let rows: Vec<Vec<f64>> = (0..numbers.len()).map(|row| numbers[..row].to_vec()).collect();
    sound(
        "uneven",
        &HeatMap::new(&hostile, &rows).with_names([&hostile], [&hostile]).with_axes(&hostile, &hostile).picture(),
    );
    sound("no rows", &HeatMap::new("", &[]).with_shades(&[vec![2.0]]).picture());
    sound("no lines", &LineChart::new("").picture());
}

#[test]
fn many_points_make_a_small_file_that_shows_the_extremes() {
    let spike = |at: usize| (at as f64, if at == 77_777 { 9.0 } else { (at % 10) as f64 / 10.0 });
    let picture = LineChart::new("Spike").with_line("x", (0..200_000).map(spike)).picture();
    sound("spike", &picture);
    let svg = picture.svg();
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
    // The spike is the highest point: it reaches the mark 10 by nine tenths.
    let lowest = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
    let heights: Vec<f64> = lowest.split(' ').map(|pair| pair.split_once(',').unwrap().1.parse().unwrap()).collect();
    let (top, bottom) =
        heights.iter().fold((f64::MAX, 0.0), |(top, bottom): (f64, f64), y| (top.min(*y), bottom.max(*y)));
    assert!(bottom - top > 150.0, "{top} {bottom}");
}

#[test]
fn spreads_of_any_numbers() {
    let spread = |numbers: &[f64]| Histogram::of(numbers.iter().copied(), 10);
    let wave: Vec<f64> = (0..500).map(|i| (i as f64 * 0.37).sin()).collect();
    let chart = Distributions::new("Weights & others")
        .with_panel("wave", &(1..20).map(|k| Histogram::of(wave.iter().map(|x| x * k as f64), 40)).collect::<Vec<_>>())
        .with_panel("one number", &[spread(&[3.0, 3.0])])
        .with_panel("none", &[])
        .with_panel("nothing finite", &[spread(&[f64::NAN, f64::INFINITY])])
        .with_panel("the widest", &[spread(&[f64::MIN, 0.0, f64::MAX])])
        .with_panel("a name that is far too long for the place that it has", &[spread(&[1.0, 2.0])]);
    let found = sound("spreads", &chart.picture());
    assert_eq!(count(&found, "path"), 8, "of the wave every third, and one more");
    sound("spreads of nothing", &Distributions::new("").picture());
    let all = Histogram::of(wave.iter().copied(), 7);
    assert_eq!(all.counts.iter().sum::<f64>(), 500.0);
}

#[test]
fn tiles_of_any_pictures() -> Result<()> {
    let random = |dims: [usize; 4]| Tensor::normal(dims, 0.0, 1.0, &mut Random::new(1));
    let tiles = |tensor: &Tensor| -> Result<usize> {
        Ok(count(&sound("tiles", &Tiles::new("Filters", tensor)?.picture()), "rect"))
    };
    let page = 1;
    assert_eq!(tiles(&random([8, 1, 5, 5]))?, page + 8 * 25);
    assert_eq!(tiles(&random([3, 3, 4, 6]))?, page + 3 * 24);
    assert_eq!(tiles(&random([3, 16, 3, 3]))?, page + 3 * 9);
    assert_eq!(tiles(&random([100, 1, 3, 3]))?, page + 64 * 9);
    assert_eq!(tiles(&random([2, 1, 3, 3]).select(1, 0))?, page + 2 * 9);
    assert_eq!(tiles(&Tensor::zeros([0, 1, 3, 3]))?, page);
    assert_eq!(tiles(&(random([2, 1, 3, 3]) / 0.0))?, page + 18);
    assert!(tiles(&Tensor::ones([3, 3])).is_err() && tiles(&random([1, 1, 65, 2])).is_err());
    assert!(tiles(&Tensor::ones([2]).matmul(&Tensor::ones([3]))).is_err());
    Ok(())
}
