//! Matrix products: square, skinny, many small ones.

use crate::measure::{Bench, Unit, Work};
use crate::normal;
use chainrule::{DType, Result};

pub(crate) fn all(bench: &Bench) -> Result<()> {
    for (kind, dtype, unit) in
        [("f32", DType::F32, Unit::F32), ("bf16", DType::BF16, Unit::Half), ("f16", DType::F16, Unit::Half)]
    {
        for size in [1024, 2048, 4096, 8192] {
            one(bench, &format!("product_{kind}_{size}"), dtype, unit, [1, size, size, size])?;
        }
        for [batch, rows, shared, columns] in
            [[1, 1, 4096, 4096], [1, 16, 4096, 4096], [1, 128, 4096, 16384], [96, 1024, 64, 1024]]
        {
            let name = format!("product_{kind}_{batch}x[{rows}x{shared}x{columns}]");
            one(bench, &name, dtype, unit, [batch, rows, shared, columns])?;
        }
    }
    Ok(())
}

fn one(bench: &Bench, name: &str, dtype: DType, unit: Unit, sizes: [usize; 4]) -> Result<()> {
    if !bench.wants(name) {
        return Ok(());
    }
    let [batch, m, k, n] = sizes.map(|size| bench.size(size, size.div_ceil(64)));
    let (left, right) = (normal(bench, &[batch, m, k], dtype)?, normal(bench, &[batch, k, n], dtype)?);
    let count = 2.0 * (batch * m * k) as f64 * n as f64;
    // One row with a matrix reads each number once: memory is its roof.
    let work = if m == 1 { Work::Bytes(batch * k * n * dtype.size()) } else { Work::Arithmetic(count, unit) };
    bench.run(name, work, || left.matmul(&right).checked())
}
