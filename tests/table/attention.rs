//! Rows of the family `attention`.

use super::*;
use chainrule::{Attention, Random, Rotary, RotaryScaling};

/// The definition a student would write, for any options.
fn plain(x: &[Tensor], scale: f64, causal: bool, mask: Option<&Tensor>) -> Tensor {
    let (queries, keys) = (x[0].size(-2).unwrap_or(0), x[1].size(-2).unwrap_or(0));
    let dtype = x[0].dtype().unwrap_or(DType::F64);
    let mut scores = (&x[0] * scale).matmul(&x[1].transpose(-1, -2));
    if let Some(mask) = mask {
        scores = scores + mask;
    }
    if causal {
        let above: Vec<f64> =
            (0..queries * keys).map(|at| if at % keys > at / keys { f64::NEG_INFINITY } else { 0.0 }).collect();
        scores = scores + Tensor::from_vec(above, [queries, keys]).unwrap_or_else(Tensor::failed).to_dtype(dtype);
    }
    let weights = scores.exp();
    (&weights / weights.sum_keep(-1)).matmul(&x[2])
}

/// Rotation in plain operations: `x · cos + (x, its pairs exchanged and one of each negated) · sin`.
fn turned(x: &Tensor, first: usize, base: f64, fraction: f64, interleaved: bool) -> Tensor {
    turned_at(x, first, fraction, interleaved, |i, pairs| base.powf(-(i as f64) / pairs as f64))
}

/// The same with a speed for each pair.
fn turned_at(x: &Tensor, first: usize, fraction: f64, interleaved: bool, speed: impl Fn(usize, usize) -> f64) -> Tensor {
    let (positions, width) = (x.size(-2).unwrap_or(0), x.size(-1).unwrap_or(0));
    let pairs = (fraction * width as f64) as usize / 2;
    let angle = |p: usize, i: usize| (first + p) as f64 * speed(i, pairs);
    let pair = |j: usize| if interleaved { j / 2 } else { j % pairs };
    let table = |f: fn(f64) -> f64| -> Tensor {
        let numbers = (0..positions * 2 * pairs).map(|at| f(angle(at / (2 * pairs), pair(at % (2 * pairs))))).collect();
        Tensor::from_vec(numbers, [positions, 2 * pairs]).unwrap_or_else(Tensor::failed)
    };
    let dtype = x.dtype().unwrap_or(DType::F64);
    let (head, rest) = (x.narrow(-1, 0, 2 * pairs), x.narrow(-1, 2 * pairs, width - 2 * pairs));
    let exchanged = if interleaved {
        let [a, b] = head.unflatten(-1, [pairs, 2]).parts(-1);
        Tensor::cat(&[-b, a], -1).flatten_axes(-2, -1)
    } else {
        let [a, b] = head.parts(-1);
        Tensor::cat(&[-b, a], -1)
    };
    let head = head * table(f64::cos).to_dtype(dtype) + exchanged * table(f64::sin).to_dtype(dtype);
    Tensor::cat(&[head, rest], -1)
}

/// So many queries and two keys more, of which each sees some two thirds.
fn hidden(queries: usize, width: usize) -> [Input; 4] {
    let seen = real([queries, queries + 2]).values(&[1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    let keys = || real([queries + 2, width]);
    [real([queries, width]), keys(), keys(), seen.constant()]
}

pub fn rows() -> Vec<Row> {
    let attend = |x: &[Tensor], options: Attention| x[0].scaled_dot_product_attention(&x[1], &x[2], &options);
    let x = || Tensor::zeros([2, 3, 4]);
    let none = || Attention::new();
    vec![
        row("scaled_dot_product_attention", move |x| attend(x, Attention::new()))
            .on([real([2, 3, 4]), real([2, 5, 4]), real([2, 5, 2])])
            .on([real([2, 1, 3, 4]), real([3, 5, 4]), real([1, 5, 4])])
            .on([real([0, 4]), real([2, 4]), real([2, 3])])
            .on([real([2, 70, 3]), real([2, 140, 3]), real([2, 140, 2])])
            .large(HALVES, [real([2, 66, 40]), real([2, 70, 40]), real([2, 70, 64])])
            .large(HALVES, [real([65, 72]), real([64, 72]), real([64, 104])])
            .large(HALVES, [real([66, 136]), real([70, 136]), real([70, 130])])
            .rounded([real([66, 40]).short(), real([70, 40]).short(), real([70, 36]).short()])
            .rounded([real([65, 72]).short(), real([66, 72]).short(), real([66, 68]).short()])
            .keeps_fewer_bits()
            .definition(|x| {
                let width = x[0].size(-1).unwrap_or(1) as f64;
                plain(x, 1.0 / width.sqrt(), false, None)
            })
            .wrong(ErrorKind::Shape, &["the queries have width 4, the keys 5"], move || {
                x().scaled_dot_product_attention(&Tensor::zeros([2, 3, 5]), &x(), &none())
            })
            .wrong(ErrorKind::Shape, &["3 keys and 2 values"], move || {
                x().scaled_dot_product_attention(&x(), &Tensor::zeros([2, 2, 4]), &none())
            })
            .wrong(ErrorKind::Shape, &["the keys have 1 axes"], move || {
                x().scaled_dot_product_attention(&Tensor::zeros([4]), &x(), &none())
            })
            .wrong(ErrorKind::Shape, &["do not broadcast"], move || {
                let other = Tensor::zeros([3, 3, 4]);
                x().scaled_dot_product_attention(&other, &other, &none())
            })
            .wrong(ErrorKind::DType, &["the keys are f64, the queries f32"], move || {
                x().scaled_dot_product_attention(&x().to_dtype(DType::F64), &x(), &none())
            })
            .wrong(ErrorKind::DType, &["attention over i64"], move || {
                let whole = x().to_dtype(DType::I64);
                whole.scaled_dot_product_attention(&whole, &whole, &none())
            })
            .wrong(ErrorKind::Shape, &["the mask [3, 2]", "[2, 3, 3]"], move || {
                let mask = Tensor::zeros([3, 2]);
                x().scaled_dot_product_attention(&x(), &x(), &none().mask(&mask))
            })
            .wrong(ErrorKind::DType, &["the mask is i64"], move || {
                let mask = Tensor::zeros([3, 3]).to_dtype(DType::I64);
                x().scaled_dot_product_attention(&x(), &x(), &none().mask(&mask))
            })
            .wrong(ErrorKind::Shape, &["3 heads of queries do not share 2"], || {
                let (queries, keys) = (Tensor::zeros([3, 2, 4]), Tensor::zeros([2, 2, 4]));
                queries.scaled_dot_product_attention(&keys, &keys, &Attention::new().grouped(true))
            })
            .wrong(ErrorKind::Value, &["a dropout rate of 2"], move || {
                let draw = Random::new(1).draw();
                x().scaled_dot_product_attention(&x(), &x(), &Attention::new().dropout(2.0, draw))
            }),
        // One key has all the weight: the gradient for queries and keys is zero.
        row("scaled_dot_product_attention of one key", move |x| attend(x, Attention::new())).on([
            real([3, 4]),
            real([1, 4]),
            real([1, 1]),
        ]),
        row("scaled_dot_product_attention causal", move |x| attend(x, Attention::new().causal(true).scale(0.7)))
            .on([real([2, 5, 3]), real([2, 3, 3]), real([2, 3, 2])])
            .on([real([2, 3, 3]), real([2, 5, 3]), real([2, 5, 2])])
            .on([real([2, 130, 2]), real([2, 150, 2]), real([2, 150, 2])])
            .large(HALVES, [real([70, 64]), real([130, 64]), real([130, 32])])
            .large(HALVES, [real([130, 36]), real([66, 36]), real([66, 33])])
            .keeps_fewer_bits()
            .definition(|x| plain(x, 0.7, true, None)),
        row("scaled_dot_product_attention masked", move |x| attend(x, Attention::new().mask(&x[3]).scale(0.5)))
            .on([real([2, 2, 3, 4]), real([2, 2, 5, 4]), real([2, 2, 5, 2]), real([2, 1, 3, 5])])
            .on([real([2, 3, 4]), real([2, 5, 4]), real([2, 5, 2]), real([3, 5])])
            .large(HALVES, [real([65, 40]), real([67, 40]), real([67, 32]), real([65, 67])])
            .large(HALVES, [real([64, 72]), real([66, 72]), real([66, 48]), real([64, 66])])
            .keeps_fewer_bits()
            .definition(|x| plain(x, 0.5, false, Some(&x[3]))),
        row("scaled_dot_product_attention boolean mask", move |x| {
            let mask = x[3].to_dtype(DType::Bool);
            attend(x, Attention::new().mask(&mask))
        })
        // The second query sees nothing.
        .on([
            real([2, 3, 4]),
            real([2, 2, 4]),
            real([2, 2, 2]),
            real([3, 2]).values(&[1.0, 0.0, 0.0, 0.0, 1.0, 1.0]).constant(),
        ])
        .large(HALVES, hidden(65, 40))
        .large(HALVES, hidden(64, 72))
        .keeps_fewer_bits(),
        row("scaled_dot_product_attention grouped", move |x| attend(x, Attention::new().grouped(true).causal(true)))
            .on([real([2, 6, 3, 2]), real([2, 2, 3, 2]), real([2, 2, 3, 4])])
            .on([real([4, 3, 2]), real([1, 3, 2]), real([1, 3, 4])])
            .large(HALVES, [real([4, 65, 48]), real([2, 65, 48]), real([2, 65, 40])])
            .keeps_fewer_bits(),
        row("scaled_dot_product_attention grouped mask", move |x| {
            attend(x, Attention::new().grouped(true).mask(&x[3]))
        })
        .on([real([2, 4, 3, 2]), real([2, 2, 3, 2]), real([2, 2, 3, 1]), real([4, 3, 1])]),
        row("scaled_dot_product_attention dropout", move |x| {
            attend(x, Attention::new().dropout(0.4, Random::new(7).draw()))
        })
        .on([real([2, 5, 3]), real([2, 70, 3]), real([2, 70, 2])])
        .large(HALVES, [real([64, 32]), real([70, 32]), real([70, 40])])
        .keeps_fewer_bits()
        .definition(|x| {
            let weights = (&x[0] * (1.0 / 3f64.sqrt())).matmul(&x[1].transpose(-1, -2)).exp();
            let weights = &weights / weights.sum_keep(-1);
            weights.dropout(0.4, Random::new(7).draw()).matmul(&x[2])
        }),
        row("rotary", |x| x[0].rotary(3, Rotary::new()))
            .on([real([2, 3, 4])])
            .on([real([5, 6])])
            .on([real([2, 0, 3, 4])])
            .on([real([0, 4])])
            .on([real([700, 2, 3, 16])])
            .definition(|x| turned(&x[0], 3, 10_000.0, 1.0, false))
            .wrong(ErrorKind::Shape, &["1 axes have no positions"], || Tensor::zeros([4]).rotary(0, Rotary::new()))
            .wrong(ErrorKind::Shape, &["3 of 3 numbers do not fall into pairs"], || {
                Tensor::zeros([2, 3]).rotary(0, Rotary::new())
            })
            .wrong(ErrorKind::Value, &["a fraction of 2"], || {
                Tensor::zeros([2, 4]).rotary(0, Rotary::new().with_fraction(2.0))
            })
            .wrong(ErrorKind::DType, &["i64 numbers cannot be turned"], || {
                Tensor::zeros([2, 4]).to_dtype(DType::I64).rotary(0, Rotary::new())
            }),
        row("rotary interleaved", |x| x[0].rotary(0, Rotary::new().interleaved().with_base(100.0)))
            .on([real([2, 3, 4])])
            .on([real([1, 40, 2])])
            .definition(|x| turned(&x[0], 0, 100.0, 1.0, true)),
        row("rotary of a part", |x| x[0].rotary(1, Rotary::new().with_fraction(0.5)))
            .on([real([2, 3, 8])])
            .on([real([3, 2, 4])])
            .definition(|x| turned(&x[0], 1, 10_000.0, 0.5, false)),
        row("rotary interleaved part", |x| x[0].rotary(1, Rotary::new().with_fraction(0.25).interleaved()))
            .on([real([2, 3, 16])])
            .definition(|x| turned(&x[0], 1, 10_000.0, 0.25, true)),
        row("rotary slowed", |x| {
            let scaling = RotaryScaling::Linear { factor: 4.0 };
            x[0].rotary(5, Rotary::new().with_scaling(scaling))
        })
        .on([real([2, 3, 8])])
        .definition(|x| turned_at(&x[0], 5, 1.0, false, |i, pairs| 0.25 * 10_000f64.powf(-(i as f64) / pairs as f64)))
        .wrong(ErrorKind::Value, &["Linear { factor: 0.0 }", "above 0"], || {
            Tensor::zeros([2, 4]).rotary(0, Rotary::new().with_scaling(RotaryScaling::Linear { factor: 0.0 }))
        })
        .wrong(ErrorKind::Value, &["low: 4.0", "below high"], || {
            let scaling = RotaryScaling::Llama3 { factor: 8.0, low: 4.0, high: 4.0, original: 8192 };
            Tensor::zeros([2, 4]).rotary(0, Rotary::new().with_scaling(scaling))
        }),
        row("rotary with a greater base", |x| {
            x[0].rotary(5, Rotary::new().with_scaling(RotaryScaling::Ntk { factor: 4.0 }))
        })
        .on([real([2, 3, 8])])
        .on([real([2, 2])])
        // The slowest pair turns a quarter as fast.
        .definition(|x| {
            turned_at(&x[0], 5, 1.0, false, |i, pairs| {
                let share = i as f64 / (pairs.max(2) - 1) as f64;
                10_000f64.powf(-(i as f64) / pairs as f64) * 0.25f64.powf(share)
            })
        }),
        row("rotary of Llama 3", |x| {
            let scaling = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64 };
            x[0].rotary(70, Rotary::new().with_base(500.0).interleaved().with_scaling(scaling))
        })
        .on([real([2, 3, 16])])
        .on([real([40, 32])])
        .definition(|x| {
            turned_at(&x[0], 70, 1.0, true, |i, pairs| {
                let speed = 500f64.powf(-(i as f64) / pairs as f64);
                let length = std::f64::consts::TAU / speed;
                if length < 64.0 / 4.0 {
                    speed
                } else if length > 64.0 {
                    speed / 8.0
                } else {
                    let smooth = (64.0 / length - 1.0) / 3.0;
                    (1.0 - smooth) * speed / 8.0 + smooth * speed
                }
            })
        }),
        row("rotary of YaRN", |x| {
            let scaling = RotaryScaling::Yarn { factor: 4.0, original: 2048 };
            x[0].rotary(3000, Rotary::new().with_scaling(scaling))
        })
        .on([real([2, 3, 16])])
        .on([real([40, 64])])
        .definition(|x| {
            let width = x[0].size(-1).unwrap_or(0) as f64;
            let pair = |times: f64| width * (2048.0 / (times * std::f64::consts::TAU)).ln() / (2.0 * 10_000f64.ln());
            let (fast, slow) = (pair(32.0).floor(), pair(1.0).ceil());
            let turned = turned_at(&x[0], 3000, 1.0, false, |i, pairs| {
                let speed = 10_000f64.powf(-(i as f64) / pairs as f64);
                let ramp = ((i as f64 - fast) / (slow - fast)).clamp(0.0, 1.0);
                speed / 4.0 * ramp + speed * (1.0 - ramp)
            });
            turned * (0.1 * 4f64.ln() + 1.0)
        })
        .wrong(ErrorKind::Value, &["original: 0", "original positions"], || {
            let scaling = RotaryScaling::Yarn { factor: 4.0, original: 0 };
            Tensor::zeros([2, 4]).rotary(0, Rotary::new().with_scaling(scaling))
        }),
    ]
}
