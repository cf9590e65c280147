//! How fast one GPU is, against what it could be at most, and beside PyTorch on the same GPU (`benches/peers/gpu_pytorch.py`, under the
//! same names).
//!
//! ```text
//! cargo bench --features cuda --bench gpu                                  # everything
//! cargo bench --features cuda --bench gpu -- --only product_bf16,train_    # names that begin so
//! cargo bench --features cuda --bench gpu -- --seconds 0.2 --device cuda:1
//! cargo bench --features cuda --bench gpu -- --quick                       # small sizes: does everything run?
//! cargo bench --features cuda --bench gpu -- --check FOLDER                # what the first steps of trainings give
//! ```
//!
//! Each workload is a line of JSON: the median and the lowest time of a step in microseconds; TFLOP/s where arithmetic is the
//! limit, GB/s where memory is; and the share of the roof. The roof of memory is a copy of the same card in the same run; that of
//! arithmetic is what the card's maker states, where the card is known here (else there is no share). Without a GPU it says why there is none, and
//! measures nothing. `--check` writes what each network starts from into a folder, for others to start from, and tells the first losses in place of how
//! long steps take.
//!
//! - `kind`: the numbers; `measure`: how a time is taken on a device that works behind the program's back.
//! - `products`, `moved` (whatever memory limits), `order` (sorts and what runs or adds up along an axis), `pictures` (convolutions), `attention`, `training` (whole steps).
#![allow(missing_docs)] // a benchmark is no library

mod attention;
mod kind;
mod measure;
mod moved;
mod order;
mod pictures;
mod products;
#[path = "../workloads/start.rs"]
mod start;
mod training;

use chainrule::{DType, Device, Random, Result, Tensor};
use measure::Bench;

fn main() -> Result<()> {
    let Some(bench) = Bench::asked()? else { return Ok(()) };
    moved::all(&bench)?;
    order::all(&bench)?;
    products::all(&bench)?;
    pictures::all(&bench)?;
    attention::all(&bench)?;
    training::all(&bench)
}

/// Normal numbers on the device.
fn normal(bench: &Bench, sizes: &[usize], dtype: DType) -> Result<Tensor> {
    Tensor::normal(sizes, 0.0, 1.0, &mut Random::new(1)).to(bench.device).to_dtype(dtype).checked()
}

/// Whole numbers below a bound.
fn numbers(sizes: &[usize], bound: i64, device: Device) -> Result<Tensor> {
    let count = sizes.iter().product::<usize>() as i64;
    Tensor::from_vec((0..count).map(|i| (i * 7919 + 3) % bound).collect::<Vec<i64>>(), sizes)?.to(device).checked()
}
