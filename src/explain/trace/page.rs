//! A trace as one page: markup, style, script and data in a single file.

use super::Trace;
use crate::explain::chart::escaped;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn html(trace: &Trace, title: &str) -> String {
    // The data comes last: nothing that it holds is taken for a mark.
    let page = PAGE.replace("{{title}}", &escaped(title)).replace("{{style}}", STYLE).replace("{{script}}", SCRIPT);
    match page.split_once("{{data}}") {
        Some((before, after)) => [before, &trace.json(), after].concat(),
        None => page,
    }
}
