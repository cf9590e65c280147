//! Tensors of 2^32 elements on a GPU: refused with a sentence where a kernel divides, taken elsewhere. On a driver that computes nothing
//! (`benches/host/driver.c`), whose memory is addresses alone.
#![cfg(all(feature = "cuda-unversioned", target_os = "linux"))]

use chainrule::nn::{BatchNorm1d, Init, Layer};
use chainrule::{DType, Device, Result, Tensor, evaluating};
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "CHAINRULE_INSIDE";

/// Runs the calling test again in a process that finds that driver; true in there.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nothing-{test}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/host/driver.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-w", "-o"]).arg(folder.join("libcuda.so.1")).arg(source);
    assert!(compiler.status().expect("a C compiler, which Rust's linker needs too").success());
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").env("LD_LIBRARY_PATH", folder);
    assert!(again.status().expect("it runs again").success());
    false
}

#[test]
fn dense_ones_are_refused_where_a_kernel_divides() -> Result<()> {
    if !inside("dense_ones_are_refused_where_a_kernel_divides") {
        return Ok(());
    }
    let device = Device::cuda(0)?;
    let one = Tensor::from(1.0).to_dtype(DType::BF16).to(device);
    let x = one.expand([1usize << 20, 1 << 12]).contiguous().checked()?;
    let norm = BatchNorm1d::new(1 << 12, &mut Init::on(&device));
    for refused in [evaluating(|| norm.forward(&x)), x.tril(0)] {
        let text = refused.error().map(ToString::to_string).unwrap_or_default();
        for word in ["a tensor of 4294967296 elements", "takes up to 4294967295", "narrow"] {
            assert!(text.contains(word), "should say {word:?}: {text}");
        }
    }
    // More rows than that, and fewer.
    let rows = x.reshape([1usize << 32, 1]).softmax(1).checked().unwrap_err().to_string();
    assert!(rows.contains("of 4294967296 elements"), "{rows}");
    for taken in [&x + 1.0, x.softmax(1), x.sum(), x.to_dtype(DType::U8), x.narrow(0, 0, 1 << 19).tril(0)] {
        taken.checked().map(drop)?;
    }
    Ok(())
}
