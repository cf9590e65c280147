//! The environment variables: what they do, and that a wrong one is an error at the first operation.

use chainrule::device::simd_level;
use chainrule::{Tensor, thread_count};
use std::process::Command;

/// Not a test: what the tests below run in a process of its own, with other settings.
#[test]
#[ignore = "run by the others"]
fn child() {
    println!("level {:?}, {} threads", simd_level().map(|level| level.name()), thread_count());
    match (Tensor::ones([3]) * 2.0).to_vec::<f32>() {
        Ok(numbers) => println!("computed {numbers:?}"),
        Err(error) => println!("refused {error}"),
    }
}

fn with(name: &str, value: &str) -> String {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(name, value)
        .output()
        .expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_level_can_be_forced() {
    let text = with("CHAINRULE_SIMD", "portable");
    assert!(text.contains("level Ok(\"portable\")") && text.contains("computed [2.0, 2.0, 2.0]"), "{text}");
}

#[test]
fn a_wrong_level_is_an_error_of_the_first_operation() {
    let text = with("CHAINRULE_SIMD", "sse9");
    assert!(text.contains("refused ones: CHAINRULE_SIMD is \"sse9\""), "{text}");
    assert!(text.contains("portable, avx2 or avx512") && text.contains("tests/settings.rs"), "{text}");
}

#[test]
fn threads_can_be_set() {
    if cfg!(feature = "parallel") {
        assert!(with("CHAINRULE_THREADS", "3").contains("3 threads"));
    }
    let text = with("CHAINRULE_THREADS", "many");
    assert!(text.contains("refused ones: CHAINRULE_THREADS is \"many\""), "{text}");
}
