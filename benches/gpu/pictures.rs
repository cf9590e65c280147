//! Convolutions of the sizes that networks for pictures have, both ways, and the whole of such a network.

use crate::kind::{BF16, F32, TF32};
use crate::measure::{Bench, Work};
use crate::normal;
use chainrule::{Conv, Result};

/// Pictures, channels, size, results, kernel, stride, groups.
const SHAPES: [(&str, [usize; 7]); 6] = [
    ("3x3_64", [64, 64, 56, 64, 3, 1, 1]),
    ("3x3_256", [64, 256, 14, 256, 3, 1, 1]),
    ("1x1_256", [64, 256, 56, 64, 1, 1, 1]),
    ("7x7_3", [64, 3, 224, 64, 7, 2, 1]),
    ("3x3_128_stride2", [64, 128, 56, 256, 3, 2, 1]),
    ("depthwise_3x3_256", [64, 256, 28, 256, 3, 1, 256]),
];

pub(crate) fn all(bench: &Bench) -> Result<()> {
    for kind in [F32, TF32, BF16] {
        for (name, shape) in SHAPES {
            let [forward, both] = ["", "_both_ways"].map(|way| format!("convolution_{}_{name}{way}", kind.name));
            if !bench.wants(&forward) {
                continue;
            }
            let [pictures, channels, size, results, kernel, stride, groups] = shape;
            let (pictures, size) = (bench.size(pictures, 1), bench.size(size, size.min(9)));
            let (channels, results, groups) = (
                bench.size(channels, channels.min(4)),
                bench.size(results, results.min(4)),
                bench.size(groups, groups.min(4)),
            );
            let x = normal(bench, &[pictures, channels, size, size], kind.dtype)?;
            let weight = normal(bench, &[results, channels / groups, kernel, kernel], kind.dtype)?;
            let how = Conv::new().stride(stride).padding(kernel / 2).groups(groups);
            let y = x.conv2d(&weight, None, how).checked()?;
            let work = 2.0 * (y.count()? * channels / groups * kernel * kernel) as f64;
            // Each number of a depthwise result takes nine products: memory is its limit.
            let limited = |passes: usize, times: f64| match groups {
                1 => Work::Arithmetic(times * work, kind.unit),
                _ => Work::Bytes(passes * kind.dtype.size() * x.count().unwrap_or(0)),
            };
            bench.run(&forward, limited(2, 1.0), || kind.within(|| x.conv2d(&weight, None, how).checked()))?;
            let (x, weight) = (x.clone().variable(), weight.variable());
            bench.run(&both, limited(6, 3.0), || {
                let gradients = kind.within(|| x.conv2d(&weight, None, how).backward_from(&y))?;
                Ok(gradients.of(&weight)?.clone())
            })?;
        }
    }
    Ok(())
}
