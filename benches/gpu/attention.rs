//! Attention, forward and both ways.

use crate::kind::{BF16, F32, TF32};
use crate::measure::{Bench, Work};
use crate::normal;
use chainrule::{Attention, Result};

pub(crate) fn all(bench: &Bench) -> Result<()> {
    for kind in [F32, TF32, BF16] {
        for (time, head) in [(1024, 64), (1024, 128), (4096, 128), (16384, 128)] {
            for causal in [false, true] {
                let causally = if causal { "_causal" } else { "" };
                let name = format!("attention_{}_{time}x{head}{causally}", kind.name);
                if !bench.wants(&name) {
                    continue;
                }
                let (time, heads) = (bench.size(time, 40), bench.size(16, 2));
                // 16 384 tokens whatever their length.
                let batch = bench.size(16384 / time.max(1), 1);
                let sizes = [batch, heads, time, head];
                let how = Attention::new().causal(causal);
                let some = || normal(bench, &sizes, kind.dtype);
                let [q, k, v, arriving] = [some()?, some()?, some()?, some()?];
                let count = 4.0 * (batch * heads * time) as f64 * (time * head) as f64 * if causal { 0.5 } else { 1.0 };
                bench.run(&name, Work::Arithmetic(count, kind.unit), || {
                    kind.within(|| q.scaled_dot_product_attention(&k, &v, &how).checked())
                })?;
                let [q, k, v] = [q, k, v].map(|part| part.variable());
                // Backward takes five products where forward takes two.
                bench.run(&format!("{name}_both_ways"), Work::Arithmetic(3.5 * count, kind.unit), || {
                    let both = || q.scaled_dot_product_attention(&k, &v, &how).backward_from(&arriving);
                    let gradients = kind.within(both)?;
                    Ok(gradients.of(&q)?.clone())
                })?;
            }
        }
    }
    Ok(())
}
