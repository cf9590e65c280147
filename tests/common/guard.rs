//! A guard against panics, and one report of everything that failed.
#![allow(dead_code, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

use chainrule::Error;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic becomes its text and its place.
pub fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                return usual(panic);
            }
            let place = panic.location().map(|place| place.to_string()).unwrap_or_default();
            PLACE.with(|last| *last.borrow_mut() = place);
        }));
    });
    let before = QUIET.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)");
        format!("panicked: {said} at {}", PLACE.take())
    })
}

/// Fails with all lines at once.
pub fn report(lines: Vec<String>) {
    assert!(lines.is_empty(), "\n{} failures\n{}\n", lines.len(), lines.join("\n"));
}

/// An error on one line.
pub fn one_line(error: &Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
