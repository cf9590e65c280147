//! The page of a report: charts below each other, readable on light and on dark pages, with nothing but a browser.

use super::Observed;
use crate::error::Result;
use crate::explain::chart::{Distributions, LineChart, Picture, Tiles, escaped};
use crate::nn::Module;
use crate::train::History;
use std::fmt::Write;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;max-width:960px;margin:0 auto;\
padding:16px;background:#fff;color:#1f2328}\
h1{font-size:22px}h2{font-size:17px;margin:28px 0 6px;border-bottom:1px solid #d1d9e0;padding-bottom:4px}\
p{color:#59636e;margin:4px 0}svg{max-width:100%;height:auto;display:block;margin:6px 0}\
.scroll{overflow-x:auto}pre{font-size:13px;line-height:1.35}\
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}h2{border-color:#30363d}p{color:#9aa4af}}\
@media print{h2{break-after:avoid}svg{break-inside:avoid}}";

/// Lines in one chart.
const LINES: usize = 8;
/// Panels in one chart.
const PANELS: usize = 12;

/// The page. `drawn` are pictures of the model and of metrics, each with its heading.
pub(in crate::train) fn html<M: Module>(
    history: &History,
    observed: &Observed,
    model: &M,
    drawn: &[(String, String)],
) -> Result<String> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>A training</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>A training</h1>\n"
    );
    if let Some((epoch, measure, number)) = history.best() {
        let epochs = match history.epochs().len() {
            1 => "1 epoch".to_string(),
            count => format!("{count} epochs"),
        };
        let text = format!("{epochs}; best in epoch {epoch}: {measure} {number:.5}");
        let _ = writeln!(page, "<p>{}</p>", escaped(&text));
    }
    section(&mut page, "Curves", "", [history.curves().svg()]);
    for (name, svg) in drawn {
        section(&mut page, name, "", [svg.clone()]);
    }
    section(
        &mut page,
        "Gradients, layer by layer",
        "The root of the mean square, by logarithms. Layers that stay far below the others learn little; a line that climbs \
         steeply is about to explode.",
        lines(observed, "gradient", |layer| layer.gradients.points()).iter().map(Picture::svg),
    );
    section(
        &mut page,
        "Weights, layer by layer",
        "The root of the mean square of the numbers themselves.",
        lines(observed, "weight", |layer| layer.weights.points()).iter().map(Picture::svg),
    );
    section(
        &mut page,
        "How the weights are spread",
        "At the ends of epochs: the earlier ones faint, the last one filled.",
        spreads(observed).iter().map(Picture::svg),
    );
    if let Some((name, tiles)) = filters(model) {
        let text = format!("{name}: blue above zero, orange below.");
        section(&mut page, "Filters of the first convolution", &text, [tiles.picture().svg()]);
    }
    let _ = writeln!(
        page,
        "<h2>Epochs</h2>\n<div class=\"scroll\"><pre>{}</pre></div>",
        escaped_lines(&history.to_string())
    );
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn section(page: &mut String, title: &str, text: &str, pictures: impl IntoIterator<Item = String>) {
    let mut pictures = pictures.into_iter().peekable();
    if pictures.peek().is_none() {
        return;
    }
    let _ = writeln!(page, "<h2>{}</h2>", escaped(title));
    if !text.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escaped(text));
    }
    for picture in pictures {
        page.push_str(&picture);
    }
}

/// Line by line, for lines end in it.
fn escaped_lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// A few layers in each chart.
fn lines(observed: &Observed, what: &str, points: impl Fn(&super::Layer) -> Vec<(f64, f64)>) -> Vec<Picture> {
    let charts = observed.layers.chunks(LINES).map(|layers| {
        let chart = LineChart::new("").with_axes("step", what).with_logarithmic();
        layers.iter().fold(chart, |chart, layer| chart.with_line(&layer.name, points(layer))).picture()
    });
    charts.collect()
}

fn spreads(observed: &Observed) -> Vec<Picture> {
    let charts = observed.layers.chunks(PANELS).map(|layers| {
        layers
            .iter()
            .fold(Distributions::new(""), |chart, layer| chart.with_panel(&layer.name, &layer.spread))
            .picture()
    });
    charts.collect()
}

/// The weights of a convolution over pictures: the first parameter of four axes that reads one channel or three.
fn filters<M: Module>(model: &M) -> Option<(String, Tiles)> {
    let found = model
        .parameters()
        .into_iter()
        .find(|(_, parameter)| parameter.shape().is_ok_and(|shape| matches!(*shape, [_, 1 | 3, 2..=16, 2..=16])));
    let (name, parameter) = found?;
    Tiles::new("", &parameter.detach()).ok().map(|tiles| (name, tiles))
}
