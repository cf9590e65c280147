//! Attention, forward and both ways.

use crate::measure::{Bench, Unit, Work};
use crate::normal;
use chainrule::{Attention, DType, Result};

pub(crate) fn all(bench: &Bench) -> Result<()> {
    for (kind, dtype, unit) in [("f32", DType::F32, Unit::F32), ("bf16", DType::BF16, Unit::Half)] {
        for (time, head) in [(1024, 64), (1024, 128), (4096, 128), (16384, 128)] {
            for causal in [false, true] {
                let name = format!("attention_{kind}_{time}x{head}{}", if causal { "_causal" } else { "" });
                if !bench.wants(&name) {
                    continue;
                }
                let (time, heads) = (bench.size(time, 40), bench.size(16, 2));
                // 16 384 tokens whatever their length.
                let batch = bench.size(16384 / time.max(1), 1);
                let sizes = [batch, heads, time, head];
                let how = Attention::new().causal(causal);
                let [q, k, v] =
                    [normal(bench, &sizes, dtype)?, normal(bench, &sizes, dtype)?, normal(bench, &sizes, dtype)?];
                let count = 4.0 * (batch * heads * time) as f64 * (time * head) as f64 * if causal { 0.5 } else { 1.0 };
                bench.run(&name, Work::Arithmetic(count, unit), || {
                    q.scaled_dot_product_attention(&k, &v, &how).checked()
                })?;
                let arriving = normal(bench, &sizes, dtype)?;
                let [q, k, v] = [q, k, v].map(|part| part.variable());
                // Backward takes five products where forward takes two.
                bench.run(&format!("{name}_both_ways"), Work::Arithmetic(3.5 * count, unit), || {
                    let gradients = q.scaled_dot_product_attention(&k, &v, &how).backward_from(&arriving)?;
                    Ok(gradients.of(&q)?.clone())
                })?;
            }
        }
    }
    Ok(())
}
