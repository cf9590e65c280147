//! Matrix products: square, skinny, many small ones.

use crate::kind::{BF16, F16, F32, Kind, TF32};
use crate::measure::{Bench, Work};
use crate::normal;
use chainrule::Result;

const SKINNY: [[usize; 4]; 4] = [[1, 1, 4096, 4096], [1, 16, 4096, 4096], [1, 128, 4096, 16384], [96, 1024, 64, 1024]];

pub(crate) fn all(bench: &Bench) -> Result<()> {
    for kind in [F32, TF32, BF16, F16] {
        for size in [1024, 2048, 4096, 8192] {
            one(bench, &format!("product_{}_{size}", kind.name), kind, [1, size, size, size])?;
        }
        for sizes in SKINNY {
            let [batch, rows, shared, columns] = sizes;
            one(bench, &format!("product_{}_{batch}x[{rows}x{shared}x{columns}]", kind.name), kind, sizes)?;
        }
    }
    Ok(())
}

fn one(bench: &Bench, name: &str, kind: Kind, sizes: [usize; 4]) -> Result<()> {
    if !bench.wants(name) {
        return Ok(());
    }
    let [batch, m, k, n] = sizes.map(|size| bench.size(size, size.div_ceil(64)));
    let (left, right) = (normal(bench, &[batch, m, k], kind.dtype)?, normal(bench, &[batch, k, n], kind.dtype)?);
    let count = 2.0 * (batch * m * k) as f64 * n as f64;
    // One row with a matrix reads each number once: memory is its roof.
    let work = match sizes[1] {
        1 => Work::Bytes(batch * k * n * kind.dtype.size()),
        _ => Work::Arithmetic(count, kind.unit),
    };
    bench.run(name, work, || kind.within(|| left.matmul(&right).checked()))
}
