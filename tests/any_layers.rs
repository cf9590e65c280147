//! Layers with sizes and options drawn at random, most of them wrong, on tensors that fit most of the time: a layer answers, or
//! says what is wrong. One that answers has gradients in the shapes of its parameters, goes on from its state with the same
//! bits, can be frozen, summed up and printed.

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/chance.rs"]
mod chance;
#[path = "common/guard.rs"]
mod guard;

use allocator::Counting;
use chainrule::nn::*;
use chainrule::{DType, Interpolation, Resize, Result, Tensor, evaluating, no_grad};
use chance::{Attempt, Chance, search};
use std::fmt::Debug;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Everything that one does to a model, around a forward pass.
fn learns<M: Module + Clone + Debug>(mut model: M, c: &mut Chance, forward: impl Fn(&M) -> Tensor) -> Result<()> {
    let _ = (format!("{model:?}"), model.parameter_count());
    let output = forward(&model).checked()?;
    if output.is_tracked() {
        let gradients = output.square().sum().backward()?;
        for (name, parameter) in model.parameters() {
            if let Some(gradient) = gradients.get(parameter) {
                assert_eq!(gradient.shape()?, parameter.shape()?, "the gradient of {name}");
                assert_eq!(gradient.dtype()?, parameter.dtype()?, "the gradient of {name}");
            }
        }
    }
    match c.below(4) {
        0 => goes_on(&model, &forward),
        1 => {
            let summed = summary(&model, &forward)?;
            assert_eq!(summed.parameters(), model.parameter_count());
            let _ = summed.to_string();
            Ok(())
        }
        2 => {
            model.freeze();
            let frozen = forward(&model).checked()?;
            if frozen.is_tracked() {
                let gradients = frozen.square().sum().backward()?;
                let learnt = model.parameters().into_iter().find(|(_, parameter)| gradients.get(parameter).is_some());
                assert!(learnt.is_none(), "{learnt:?} is frozen and has a gradient");
            }
            model.unfreeze_matching(c.one(&["*", "", "*weight", "0.*", "**", "bias*"]));
            Ok(())
        }
        _ => {
            model.cast(c.one(&[DType::F64, DType::BF16, DType::F16, DType::F32, DType::I64, DType::Bool]))?;
            let _ = forward(&model).checked()?;
            Ok(())
        }
    }
}

/// A copy with the state of a model, or its tensors, says what the model says.
fn goes_on<M: Module + Clone>(model: &M, forward: impl Fn(&M) -> Tensor) -> Result<()> {
    let said = |model: &M| no_grad(|| evaluating(|| forward(model))).checked();
    // A model may answer without a part of it that has failed.
    let (state, tensors) = (model.state()?, model.tensors()?);
    let (mut copy, mut loaded) = (model.clone(), model.clone());
    copy.load_state(&state).expect("its own state");
    let _ = loaded.load_tensors(tensors).strict().expect("its own tensors");
    let bits = |tensor: Tensor| Ok(tensor.to_vec::<f64>()?.into_iter().map(f64::to_bits).collect::<Vec<_>>());
    let first = bits(said(model)?)?;
    assert_eq!(first, bits(said(&copy)?)?, "after its own state");
    assert_eq!(first, bits(said(&loaded)?)?, "after its own tensors");
    Ok(())
}

/// A layer, alone or among others.
fn layer(layer: impl Layer + Clone + Debug + 'static, sizes: &[usize], c: &mut Chance) -> Result<()> {
    let x = c.fitting(sizes);
    of(layer, &x, c)
}

fn of(layer: impl Layer + Clone + Debug + 'static, x: &Tensor, c: &mut Chance) -> Result<()> {
    let model = match c.below(4) {
        0 => Sequential::new().then(Residual::new(layer)).then_named(c.one(&["a", "", "0", "a.b"]), Relu),
        1 => Sequential::new().then(layer).then(BatchNorm2d::new(2, &mut c.init())).truncated(c.count(3)),
        2 => Sequential::new().then(Sequential::new().then(layer)).then(Relu),
        _ => Sequential::new().then(layer),
    };
    learns(model, c, |model| model.forward(x))
}

fn activation(c: &mut Chance) -> Sequential {
    let (a, b, axis, init) = (c.real(&[0.1, 0.5, 3.0]), c.real(&[-0.5, 0.5, 4.0]), c.axis(), &mut c.init());
    let layers = Sequential::new();
    match c.below(27) {
        0 => layers.then(Celu::new(a)),
        1 => layers.then(Elu::new(a)),
        2 => layers.then(Gelu::exact()).then(Gelu::tanh()),
        3 => layers.then(Glu::new(axis)),
        4 => layers.then(Hardshrink::new(a)),
        5 => layers.then(Hardsigmoid).then(Hardswish),
        6 => layers.then(Hardtanh::new(a, b)),
        7 => layers.then(LeakyRelu::new(a)),
        8 => layers.then(LogSigmoid).then(Mish),
        9 => layers.then(LogSoftmax::new(axis)),
        10 => layers.then(PRelu::new(c.one(&[1, 1, 2, 3, 0, usize::MAX]), init)),
        11 => layers.then(RRelu::new(a, b, init)),
        12 => layers.then(Relu6).then(Selu),
        13 => layers.then(Sigmoid).then(Silu),
        14 => layers.then(Softmax::new(axis)),
        15 => layers.then(Softmax2d),
        16 => layers.then(Softmin::new(axis)),
        17 => layers.then(Softplus::new(a, b)),
        18 => layers.then(Softshrink::new(a)),
        19 => layers.then(Softsign).then(Tanh).then(Tanhshrink),
        20 => layers.then(Threshold::new(a, b)),
        21 => layers.then(Identity),
        22 => layers.then(Map::new("halved", |x: &Tensor| x * 0.5)),
        _ => layers.then(Relu),
    }
}

fn arranged(c: &mut Chance) -> Sequential {
    let (borders, number, factor) = (c.some(1..=6, -2, 3), c.real(&[0.5, -1.0]), c.size(3));
    let layers = Sequential::new();
    match c.below(24) {
        0 => layers.then(ZeroPad1d::new(borders)),
        1 => layers.then(ZeroPad2d::new(borders)),
        2 => layers.then(ZeroPad3d::new(borders)),
        3 => layers.then(ConstantPad1d::new(borders, number)),
        4 => layers.then(ConstantPad2d::new(borders, number)),
        5 => layers.then(ConstantPad3d::new(borders, number)),
        6 => layers.then(ReflectionPad1d::new(borders)),
        7 => layers.then(ReflectionPad2d::new(borders)),
        8 => layers.then(ReflectionPad3d::new(borders)),
        9 => layers.then(ReplicationPad1d::new(borders)),
        10 => layers.then(ReplicationPad2d::new(borders)),
        11 => layers.then(CircularPad1d::new(borders)),
        12 => layers.then(CircularPad2d::new(borders)),
        13 => layers.then(Flatten::new().with_axes(c.axis(), c.axis())),
        14 => layers.then(Unflatten::new(c.axis(), borders)),
        15 => layers.then(PixelShuffle::new(factor)),
        16 => layers.then(PixelUnshuffle::new(factor)),
        17 => layers.then(ChannelShuffle::new(factor)),
        18 => layers.then(Unfold::new(c.pool())),
        19 => layers.then(Fold::new(borders, c.pool())),
        20 => layers.then(Upsample::new(
            Resize::by(c.real(&[0.5, 2.0, 1.5])).mode(c.one(&[Interpolation::Nearest, Interpolation::Linear])),
        )),
        21 => layers.then(ReplicationPad3d::new(borders)),
        22 => layers.then(CircularPad3d::new(borders)),
        _ => layers.then(Upsample::new(Resize::to(borders))),
    }
}

/// A pooling for each number of axes.
macro_rules! pooled {
    ($c:ident, $Max:ident $Average:ident $Power:ident $AdaptiveMax:ident $AdaptiveAverage:ident $Unpool:ident, $ranks:expr) => {{
        let (x, window, stride) = ($c.tensor($ranks), $c.each(3), $c.each(3));
        match $c.below(6) {
            0 => {
                let max = $Max::new(window).with_stride(stride).with_padding($c.each(1)).with_dilation($c.each(2));
                of(if $c.coin() { max.with_ceil() } else { max }, &x, $c)
            }
            1 => {
                let average = $Average::new(window).with_stride(stride).with_padding($c.some(1..=2, 0, 1));
                let average = if $c.coin() { average.with_divisor($c.real(&[1.0, 3.0])) } else { average };
                of(if $c.coin() { average.without_counting_padding() } else { average.with_ceil() }, &x, $c)
            }
            2 => {
                let power = $Power::new($c.real(&[1.0, 2.0, 3.0]), window).with_stride(stride);
                of(if $c.coin() { power.with_ceil() } else { power }, &x, $c)
            }
            3 => of($AdaptiveMax::new($c.some(1..=3, 0, 5)), &x, $c),
            4 => of($AdaptiveAverage::new($c.some(1..=3, 0, 5)), &x, $c),
            _ => {
                let pool = $Max::new(window.clone()).with_stride(stride.clone());
                let [most, positions] = pool.forward_with_positions(&x);
                let positions = if $c.once_in(4) { $c.positions(1..=4) } else { positions };
                let back = $Unpool::new(window).with_stride(stride).with_padding($c.each(1));
                let back = if $c.coin() {
                    back.forward(&most, &positions)
                } else {
                    back.forward_to(&most, &positions, $c.some(1..=3, 1, 6))
                };
                back.square().sum().backward().map(drop)
            }
        }
    }};
}

/// A convolution, or a transposed one, for each number of axes; also by a reweighted kernel.
macro_rules! convolution {
    ($c:ident, $Conv:ident $Transposed:ident, $axes:literal) => {{
        let groups = $c.one(&[1, 1, 1, 1, 2, 3, 0, usize::MAX]);
        let scale = groups.clamp(1, 3);
        let (inputs, outputs) = ($c.size(3).saturating_mul(scale), $c.size(3).saturating_mul(scale));
        let kernel = $c.each(3);
        let mut sizes = vec![$c.size(2), inputs];
        sizes.extend((0..$axes).map(|_| 1 + $c.below(6)));
        if $c.once_in(6) {
            sizes.remove(0);
        }
        let (stride, dilation) = ($c.each(2), $c.each(2));
        match $c.below(5) {
            0 | 1 => {
                let mut options = $Conv::options(inputs, outputs, kernel).with_groups(groups);
                options = options.with_stride(stride).with_dilation(dilation).with_padding_mode($c.pad());
                options = if $c.once_in(4) { options.with_same_padding() } else { options.with_padding($c.each(2)) };
                options = if $c.coin() { options.without_bias() } else { options };
                options = if $c.once_in(4) { options.with_exact_sums() } else { options };
                let conv = options.build(&mut $c.init());
                layer(conv, &sizes, $c)
            }
            2 => {
                let (conv, init) = ($Conv::new(inputs, outputs, kernel, &mut $c.init()), &mut $c.init());
                match $c.coin() {
                    true => layer(WeightNorm::new(conv), &sizes, $c),
                    false => layer(SpectralNorm::new(conv, init).with_steps($c.below(3)), &sizes, $c),
                }
            }
            3 => {
                let turned = $Transposed::new(inputs, outputs, kernel, &mut $c.init());
                let (x, target) = ($c.fitting(&sizes), $c.some(1..=3, 1, 8));
                learns(turned, $c, |turned| turned.forward_to(&x, &target))
            }
            _ => {
                let mut options = $Transposed::options(inputs, outputs, kernel).with_groups(groups);
                options = options.with_stride(stride).with_dilation(dilation).with_padding($c.some(1..=2, 0, 2));
                options = options.with_output_padding($c.some(1..=2, 0, 1));
                let conv = options.build(&mut $c.init());
                layer(conv, &sizes, $c)
            }
        }
    }};
}

/// A norm over batches or instances for each number of axes.
macro_rules! normed {
    ($c:ident, $Batch:ident $Instance:ident, $axes:literal) => {{
        let channels = $c.size(4);
        let mut sizes = vec![1 + $c.below(3), channels];
        sizes.extend((0..$axes).map(|_| 1 + $c.below(4)));
        if $c.coin() {
            let mut options = $Batch::options(channels).with_epsilon($c.real(&[1e-5, 1e-3]));
            options = if $c.coin() { options.with_momentum($c.rate()) } else { options.with_cumulative_average() };
            options = if $c.once_in(3) { options.without_affine() } else { options };
            options = if $c.once_in(3) { options.without_running_statistics() } else { options };
            let norm = options.build(&mut $c.init());
            layer(norm, &sizes, $c)
        } else {
            let mut options = $Instance::options(channels).with_epsilon($c.real(&[1e-5, 1e-3]));
            options = if $c.coin() { options.with_affine() } else { options };
            options = if $c.coin() { options.with_running_statistics() } else { options };
            let norm = options.build(&mut $c.init());
            layer(norm, &sizes, $c)
        }
    }};
}

fn row_norm(c: &mut Chance) -> Result<()> {
    let sizes = c.sizes(1..=3);
    let last = &sizes[c.below(sizes.len())..];
    let epsilon = c.real(&[1e-5, 1e-3, 0.0]);
    let plain = c.once_in(3);
    match c.below(4) {
        0 => {
            let options = LayerNorm::options(last).with_epsilon(epsilon);
            let options = if plain { options.without_affine() } else { options };
            let norm = if c.coin() { options.without_bias() } else { options }.build(&mut c.init());
            layer(norm, &sizes, c)
        }
        1 => {
            let options = RmsNorm::options(last);
            let options = if c.coin() { options.with_epsilon(epsilon) } else { options };
            let norm = if plain { options.without_affine() } else { options }.build(&mut c.init());
            layer(norm, &sizes, c)
        }
        2 => {
            let (groups, each) = (c.size(3), c.size(3));
            let channels = groups.saturating_mul(each);
            let options = GroupNorm::options(groups, channels).with_epsilon(epsilon);
            let norm = if plain { options.without_affine() } else { options }.build(&mut c.init());
            layer(norm, &[2, channels, 3], c)
        }
        _ => {
            let mut norm = LocalResponseNorm::new(c.size(5));
            if c.coin() {
                (norm.alpha, norm.beta, norm.k) = (c.real(&[1e-4, 1.0]), c.real(&[0.75]), c.real(&[1.0, 2.0]));
            }
            layer(norm, &[2, 4, 3], c)
        }
    }
}

fn dropped(c: &mut Chance) -> Result<()> {
    let (x, rate, init) = (c.tensor(0..=5), c.rate(), &mut c.init());
    match c.below(5) {
        0 => of(Dropout::new(rate, init), &x, c),
        1 => of(Dropout1d::new(rate, init), &x, c),
        2 => of(Dropout2d::new(rate, init), &x, c),
        3 => of(Dropout3d::new(rate, init), &x, c),
        _ => of(AlphaDropout::new(rate, init), &x, c),
    }
}

fn table(c: &mut Chance) -> Result<()> {
    let (count, size, init) = (c.size(6), c.size(4), &mut c.init());
    let ids = c.sizes(0..=3);
    let ids = c.whole(&ids, count);
    match c.below(5) {
        0 => {
            let options = Embedding::options(count, size);
            let options = if c.coin() { options.with_padding(c.number(-7, 7)) } else { options };
            of(options.build(init), &ids, c)
        }
        1 => {
            let mut table = Embedding::from_table(c.fitting(&[count, size]));
            table.limit_norms(c.real(&[1.0, 0.5]))?;
            of(table, &ids, c)
        }
        2 => {
            let bag = EmbeddingBag::new(count, size, c.one(&[Bag::Sum, Bag::Mean, Bag::Max]), init);
            of(bag, &ids, c)
        }
        3 => {
            let bag = EmbeddingBag::new(count, size, c.one(&[Bag::Sum, Bag::Mean, Bag::Max]), init);
            let (numbers, starts) = (c.below(6), c.below(4));
            let starts = c.whole(&[starts], numbers);
            let starts = if c.coin() { starts.sort(0, false).0 } else { starts };
            let starts = if c.coin() { starts.clamp(0.0, 0.0) } else { starts };
            let numbers = c.whole(&[numbers], count);
            learns(bag, c, |bag| bag.forward_from(&numbers, &starts))
        }
        _ => {
            let positions = match c.coin() {
                true => PositionalEncoding::sinusoidal(count, size),
                false => PositionalEncoding::learned(count, size, init),
            };
            layer(positions, &[2, 1 + c.below(3), size], c)
        }
    }
}

fn paired(c: &mut Chance) -> Result<()> {
    let x = c.tensor(0..=3);
    let y = c.like(&x);
    let last = |x: &Tensor| x.shape().ok().and_then(|shape| shape.last().copied()).unwrap_or(1);
    match c.below(3) {
        0 => {
            let bilinear = Bilinear::new(last(&x), last(&y), c.size(3), &mut c.init());
            learns(if c.coin() { bilinear.without_bias() } else { bilinear }, c, |model| model.forward(&x, &y))
        }
        1 => CosineSimilarity { axis: c.axis() }.forward(&x, &y).square().sum().backward().map(drop),
        _ => PairwiseDistance { order: c.real(&[1.0, 2.0, 3.0]) }.forward(&x, &y).square().sum().backward().map(drop),
    }
}

fn masks(c: &mut Chance, queries: usize, keys: usize, batch: usize) -> Masks {
    let mut masks = Masks::new();
    if c.once_in(3) {
        let scores = c.fitting(&[queries, keys]);
        masks = masks.scores(&if c.coin() { scores.to_dtype(DType::Bool) } else { scores });
    }
    if c.once_in(3) {
        masks = masks.padding(&c.fitting(&[batch, keys]).to_dtype(DType::Bool));
    }
    if c.once_in(3) { masks.causal() } else { masks }
}

fn rotary(c: &mut Chance) -> Rotary {
    let factor = c.real(&[1.0, 2.0, 8.0]);
    let how = Rotary::new().with_base(c.real(&[10_000.0, 2.0])).with_fraction(c.real(&[1.0, 0.5]));
    let how = if c.coin() { how.interleaved() } else { how };
    match c.below(4) {
        0 => how.with_scaling(RotaryScaling::Linear { factor }),
        3 => {
            let (low, high, original) = (c.real(&[1.0]), c.real(&[4.0]), c.size(8));
            how.with_scaling(RotaryScaling::Llama3 { factor, low, high, original })
        }
        1 => how.with_scaling(RotaryScaling::Ntk { factor }),
        _ => how,
    }
}

/// An attention and the width of what it takes.
fn attention(c: &mut Chance) -> (MultiheadAttention, usize) {
    let heads = c.size(3);
    let width = heads.saturating_mul(c.size(2).saturating_mul(2));
    let mut options = MultiheadAttention::options(width, heads).with_dropout(c.real(&[0.0, 0.0, 0.5]));
    for option in 0..8 {
        if c.once_in(5) {
            options = match option {
                0 => options.with_key_width(c.size(4)),
                1 => options.with_value_width(c.size(4)),
                2 => options.with_key_heads(c.size(3)),
                3 => options.without_bias(),
                4 => options.with_extra_key(),
                5 => options.with_zero_key(),
                6 => options.with_rotary(rotary(c)),
                _ => options.with_alibi(),
            };
        }
    }
    let options = if c.coin() { options.with_batch_first() } else { options };
    (options.build(&mut c.init()), width)
}

fn attended(c: &mut Chance) -> Result<()> {
    let (attention, width) = attention(c);
    let (queries, keys, batch) = (1 + c.below(4), 1 + c.below(4), 1 + c.below(3));
    let masks = masks(c, queries, keys, batch);
    let query = c.fitting(&[queries, batch, width]);
    let (key, value) = if c.coin() {
        (query.clone(), query.clone())
    } else {
        (c.fitting(&[keys, batch, width]), c.fitting(&[keys, batch, width]))
    };
    match c.below(3) {
        0 => learns(attention, c, |attention| attention.forward(&query)),
        1 => learns(attention, c, |attention| attention.attend(&query, &key, &value, &masks)),
        _ => {
            let mean = c.coin();
            learns(attention, c, |attention| {
                let (output, weights) = attention.attend_with_weights(&query, &key, &value, &masks, mean);
                output.sum() + weights.sum()
            })
        }
    }
}

/// A text that grows, and is cut, sorted and begun anew on the way.
fn cached(c: &mut Chance) -> Result<()> {
    let (attention, width) = attention(c);
    let mut cache = if c.coin() { KvCache::new() } else { KvCache::with_room(c.count(9)) };
    let batch = 1 + c.below(2);
    let mut answers = Err(chainrule::Error::new("cached", chainrule::Fault::value("nothing was asked", "ask")));
    for _ in 0..4 {
        let before = cache.len();
        let outcome = match c.below(8) {
            0 => {
                cache.truncate(c.count(6));
                Ok(())
            }
            1 => cache.reorder(&c.whole(&[batch], batch)),
            2 => {
                cache.clear();
                Ok(())
            }
            3 => cache.append(&c.fitting(&[batch, 2, 3, 4]), &c.fitting(&[batch, 2, 3, 4])).map(drop),
            4 => {
                let (query, memory) = (c.fitting(&[2, batch, width]), c.fitting(&[3, batch, width]));
                let masks = masks(c, 2, 3, batch);
                no_grad(|| attention.attend_memory(&query, &memory, &mut cache, &masks)).checked().map(drop)
            }
            _ => {
                let (steps, total) = (1 + c.below(3), before + 1);
                let (input, masks) = (c.fitting(&[steps, batch, width]), masks(c, steps, total, batch));
                let output = no_grad(|| attention.attend_cached(&input, &mut cache, &masks)).checked();
                if output.is_err() {
                    assert_eq!(cache.len(), before, "the cache moved though its step failed");
                }
                output.map(drop)
            }
        };
        assert!(cache.is_empty() || cache.len() <= cache.room(), "{} positions in {}", cache.len(), cache.room());
        let _ = (cache.keys(), cache.values());
        match outcome {
            Err(error) if c.once_in(4) => return Err(error),
            Err(_) => {}
            Ok(()) => answers = Ok(()),
        }
    }
    answers
}

fn planned<L>(c: &mut Chance, mut options: TransformerOptions<L>) -> TransformerOptions<L> {
    options = options.with_feedforward(c.size(6)).with_dropout(c.real(&[0.0, 0.1]));
    for option in 0..7 {
        if c.once_in(4) {
            options = match option {
                0 => {
                    options.with_activation(c.one(&[Tensor::relu as fn(&Tensor) -> Tensor, Tensor::gelu, |x| x.sum()]))
                }
                1 => options.with_norm_first(),
                2 => options.without_bias(),
                3 => options.with_epsilon(c.real(&[1e-5])),
                4 => options.with_key_heads(c.size(2)),
                5 => options.with_rotary(rotary(c)),
                _ => options.with_alibi(),
            };
        }
    }
    options.with_batch_first()
}

fn transformed(c: &mut Chance) -> Result<()> {
    let heads = c.size(2);
    let width = heads.saturating_mul(2);
    let (batch, long, short, count) = (1 + c.below(2), 1 + c.below(3), 1 + c.below(3), c.count(3));
    let (text, memory) = (c.fitting(&[batch, long, width]), c.fitting(&[batch, short, width]));
    let (own, other) = (masks(c, long, long, batch), masks(c, long, short, batch));
    match c.below(5) {
        0 => {
            let layer = planned(c, TransformerEncoderLayer::options(width, heads)).build(&mut c.init());
            learns(layer, c, |layer| layer.forward_masked(&text, &own))
        }
        1 => {
            let options = planned(c, TransformerEncoderLayer::options(width, heads));
            let encoder = TransformerEncoder::new(options, count, &mut c.init());
            let encoder = if c.coin() { encoder.with_norm(LayerNorm::new(width, &mut c.init())) } else { encoder };
            let mut caches = encoder.caches();
            if c.once_in(8) {
                caches.push(KvCache::new());
            }
            let step = no_grad(|| evaluating(|| encoder.forward_cached(&text, &mut caches, &own)));
            learns(encoder, c, |encoder| encoder.forward_masked(&text, &own))?;
            step.checked().map(drop)
        }
        2 => {
            let layer = planned(c, TransformerDecoderLayer::options(width, heads)).build(&mut c.init());
            learns(layer, c, |layer| layer.forward(&text, &memory, &own, &other))
        }
        3 => {
            let options = planned(c, TransformerDecoderLayer::options(width, heads));
            let decoder = TransformerDecoder::new(options, count, &mut c.init());
            let mut caches = decoder.caches();
            for _ in 0..2 {
                let _ = no_grad(|| decoder.forward_cached(&text, &memory, &mut caches, &own, &other));
                for cache in &mut caches {
                    cache.truncate(c.count(3));
                    let _ = cache.reorder(&c.whole(&[batch], batch));
                }
            }
            learns(decoder, c, |decoder| decoder.forward(&text, &memory, &own, &other))
        }
        _ => {
            let model =
                planned(c, Transformer::options(width, heads)).with_layers(count, c.count(3)).build(&mut c.init());
            learns(model, c, |model| model.forward(&memory, &text, &Masks::new(), &own, &other))
        }
    }
}

fn stacked<L>(c: &mut Chance, mut options: RecurrentOptions<L>) -> RecurrentOptions<L> {
    options = if c.coin() { options.with_layers(c.size(3)) } else { options };
    for option in 0..4 {
        if c.once_in(4) {
            options = match option {
                0 => options.with_bidirectional(),
                1 => options.with_batch_first(),
                2 => options.with_dropout(c.rate()),
                _ => options.without_bias(),
            };
        }
    }
    options
}

fn recurrent(c: &mut Chance) -> Result<()> {
    let (inputs, hidden, steps, batch) = (c.size(3), c.size(3), c.below(4), c.below(3));
    let x = if c.once_in(5) { c.fitting(&[steps, inputs]) } else { c.fitting(&[steps, batch, inputs]) };
    let mut sequence = Sequence::new();
    let states = 1 + c.below(2);
    if c.once_in(3) {
        sequence = sequence.hidden(&c.fitting(&[states, batch, hidden]));
    }
    if c.once_in(3) {
        sequence = sequence.cell(&c.fitting(&[states, batch, hidden]));
    }
    if c.once_in(3) {
        let lengths: Vec<usize> = (0..batch).map(|_| c.count(steps + 1)).collect();
        sequence = sequence.lengths(&lengths);
    }
    match c.below(4) {
        0 => {
            let options = stacked(c, Rnn::options(inputs, hidden));
            let rnn = if c.coin() { options.with_relu() } else { options }.build(&mut c.init());
            learns(rnn, c, |rnn| rnn.forward_with(&x, &sequence).output)
        }
        1 => {
            let gru = stacked(c, Gru::options(inputs, hidden)).build(&mut c.init());
            learns(gru, c, |gru| gru.forward_with(&x, &sequence).output)
        }
        _ => {
            let options = stacked(c, Lstm::options(inputs, hidden));
            let lstm = if c.coin() { options.with_projection(c.size(3)) } else { options }.build(&mut c.init());
            learns(lstm, c, |lstm| {
                let LstmOutput { output, hidden, cell } = lstm.forward_with(&x, &sequence);
                output.sum() + hidden.sum() + cell.sum()
            })
        }
    }
}

fn cell(c: &mut Chance) -> Result<()> {
    let (inputs, hidden, batch) = (c.size(3), c.size(3), c.below(3));
    let (x, state, memory) = (c.fitting(&[batch, inputs]), c.fitting(&[batch, hidden]), c.fitting(&[batch, hidden]));
    match c.below(3) {
        0 => {
            let cell = RnnCell::new(inputs, hidden, &mut c.init());
            learns(if c.coin() { cell.with_relu() } else { cell }, c, |cell| cell.forward(&x, &state))
        }
        1 => {
            let cell = GruCell::new(inputs, hidden, &mut c.init());
            learns(if c.coin() { cell.without_bias() } else { cell }, c, |cell| cell.forward(&x, &state))
        }
        _ => {
            let cell = LstmCell::new(inputs, hidden, &mut c.init());
            learns(cell, c, |cell| {
                let [hidden, memory] = cell.forward(&x, &state, &memory);
                hidden.sum() + memory.sum()
            })
        }
    }
}

fn begun(c: &mut Chance) -> Result<()> {
    let sizes = if c.once_in(12) { vec![c.size(4), c.size(4)] } else { c.sizes(0..=4) };
    let (gain, fan) = (c.real(&[1.0, gain("relu"), leaky_gain(0.1)]), c.one(&[Fan::In, Fan::Out]));
    let (low, high) = (c.real(&[-1.0, 0.0]), c.real(&[1.0, 0.5]));
    let law = match c.below(13) {
        0 => Initial::Constant(gain),
        1 => Initial::Uniform { low, high },
        2 => Initial::Normal { mean: low, deviation: high },
        3 => Initial::TruncatedNormal { mean: c.real(&[0.0, 0.5]), deviation: c.real(&[1.0, 0.1]), low, high },
        4 => Initial::XavierUniform { gain },
        5 => Initial::XavierNormal { gain },
        6 => Initial::KaimingUniform { gain, fan },
        7 => Initial::KaimingNormal { gain, fan },
        8 => Initial::Within { size: c.size(5) },
        9 => Initial::Orthogonal { gain },
        10 => Initial::Eye,
        11 => Initial::Dirac { groups: c.size(3) },
        _ => Initial::Sparse { sparsity: c.rate(), deviation: high },
    };
    let made = c.init().tensor(sizes.as_slice(), law).checked()?;
    assert_eq!(made.shape()?.to_vec(), sizes);
    Ok(())
}

fn chosen(c: &mut Chance) -> Result<()> {
    let scores = c.tensor(0..=3);
    let mut sampler = Sampler::new(1).with_temperature(c.real(&[0.0, 0.5, 1.0, 2.0]));
    if c.coin() {
        sampler = sampler.with_top_k(c.size(4));
    }
    if c.coin() {
        sampler = sampler.with_top_p(c.real(&[0.1, 0.9, 1.0]));
    }
    let tokens = sampler.choose(&scores)?.to_vec::<i64>()?;
    let bound = scores.shape()?.last().copied().unwrap_or(0) as i64;
    assert!(tokens.iter().all(|token| (0..bound).contains(token)), "{tokens:?} of {bound}");
    Ok(())
}

const LAYERS: &[Attempt<Result<()>>] = &[
    ("activation", |c| {
        let (layers, x) = (activation(c), c.tensor(0..=4));
        of(layers, &x, c)
    }),
    ("arrangement", |c| {
        let (layers, x) = (arranged(c), c.tensor(1..=5));
        of(layers, &x, c)
    }),
    ("linear", |c| {
        let (inputs, outputs, init) = (c.size(4), c.size(4), &mut c.init());
        let linear = Linear::new(inputs, outputs, init);
        match c.below(4) {
            0 => layer(linear.without_bias(), &[2, inputs], c),
            1 => layer(WeightNorm::new(linear), &[2, inputs], c),
            2 => layer(SpectralNorm::new(linear, init).with_steps(c.below(3)), &[2, inputs], c),
            _ => layer(linear, &[2, 1, inputs], c),
        }
    }),
    ("in_turn", |c| {
        let (inputs, outputs, init) = (c.size(3), c.size(3), &mut c.init());
        let conv = Conv2d::new(inputs, outputs, c.each(3), init);
        let (norm, rest) = (BatchNorm2d::new(outputs, init), activation(c));
        let x = c.fitting(&[1, inputs, 4, 4]);
        let layers: [&dyn Layer; 4] = [&conv, &norm, &Relu, &rest];
        let plain = no_grad(|| evaluating(|| layers.iter().fold(x.clone(), |x, layer| layer.forward(&x))));
        let joined = no_grad(|| evaluating(|| in_turn(&x, &layers[..])));
        assert_eq!(plain.error().is_some(), joined.error().is_some(), "{plain:?} but in turn {joined:?}");
        assert_eq!(plain.shape().ok(), joined.shape().ok());
        in_turn(&x, &layers[c.below(4)..]).square().sum().backward().map(drop)
    }),
    ("embedding", table),
    ("pairs", paired),
    ("dropout", dropped),
    ("initial", begun),
    ("sampler", chosen),
];

const WINDOWS: &[Attempt<Result<()>>] = &[
    ("conv1d", |c| convolution!(c, Conv1d ConvTranspose1d, 1)),
    ("conv2d", |c| convolution!(c, Conv2d ConvTranspose2d, 2)),
    ("conv3d", |c| convolution!(c, Conv3d ConvTranspose3d, 3)),
    ("pool1d", |c| pooled!(c, MaxPool1d AvgPool1d LpPool1d AdaptiveMaxPool1d AdaptiveAvgPool1d MaxUnpool1d, 2..=3)),
    ("pool2d", |c| pooled!(c, MaxPool2d AvgPool2d LpPool2d AdaptiveMaxPool2d AdaptiveAvgPool2d MaxUnpool2d, 3..=4)),
    ("pool3d", |c| pooled!(c, MaxPool3d AvgPool3d LpPool3d AdaptiveMaxPool3d AdaptiveAvgPool3d MaxUnpool3d, 4..=5)),
    ("norm1d", |c| normed!(c, BatchNorm1d InstanceNorm1d, 1)),
    ("norm2d", |c| normed!(c, BatchNorm2d InstanceNorm2d, 2)),
    ("norm3d", |c| normed!(c, BatchNorm3d InstanceNorm3d, 3)),
    ("row norm", row_norm),
];

const TEXTS: &[Attempt<Result<()>>] = &[
    ("attention", attended),
    ("attention with a cache", cached),
    ("causal mask", |c| causal_mask(c.size(5)).checked().map(drop)),
    ("transformer", transformed),
    ("recurrent", recurrent),
    ("cell", cell),
];

#[test]
fn layers() {
    search(LAYERS, |result| vec![result]);
}

#[test]
fn layers_that_slide_and_norm() {
    search(WINDOWS, |result| vec![result]);
}

#[test]
fn layers_that_read_texts() {
    search(TEXTS, |result| vec![result]);
}
