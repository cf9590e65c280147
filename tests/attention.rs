//! Attention layers: masks, heads, positions, caches, threads; each held against something computed another way.

use chainrule::nn::{
    Init, KvCache, Layer, Masks, Module, MultiheadAttention, MultiheadAttentionOptions, Sampler, Transformer,
    TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer, alibi_slopes,
    causal_mask,
};
use chainrule::{DType, ErrorKind, Random, Result, Rotary, Tensor, evaluating, gradcheck, no_grad};

fn init(seed: u64) -> Init {
    Init::new().seed(seed).dtype(DType::F64)
}

fn normal(sizes: &[usize], seed: u64) -> Tensor {
    Tensor::normal_of(DType::F64, sizes, 0.0, 1.0, &mut Random::new(seed))
}

/// Gives every parameter random numbers: biases start at zero, and would hide a mistake.
fn stirred<M: Module>(mut model: M) -> M {
    let mut random = Random::new(99);
    for (_, parameter) in model.parameters_mut() {
        let sizes = parameter.shape().expect("a parameter");
        parameter.set(&Tensor::normal_of(DType::F64, sizes, 0.0, 0.4, &mut random)).expect("the same shape");
    }
    model
}

#[track_caller]
fn close(a: &Tensor, b: &Tensor) {
    let (shape, other) = (a.shape().expect("computed"), b.shape().expect("computed"));
    assert_eq!(shape, other);
    let worst = (a - b).abs().max().item().unwrap_or(0.0);
    assert!(worst < 1e-12, "they differ by {worst}");
}

fn layer(options: MultiheadAttentionOptions) -> MultiheadAttention {
    stirred(options.with_batch_first().build(&mut init(1)))
}

/// The textbook, head by head: the oracle of the layer, with scores to add.
fn textbook(
    layer: &MultiheadAttention,
    x: &Tensor,
    heads: usize,
    groups: usize,
    add: Option<&Tensor>,
) -> Result<Tensor> {
    let parameters = layer.parameters();
    let of =
        |name: &str| parameters.iter().find(|(found, _)| found == name).map(|(_, p)| Tensor::clone(p)).expect("a name");
    let [examples, length, width] = x.dims()?;
    let head = width / heads;
    let all = x.matmul(&of("in_proj_weight").transpose(0, 1)) + of("in_proj_bias");
    let mut outs = Vec::new();
    for example in 0..examples {
        let all = all.select(0, example);
        let mut columns = Vec::new();
        for h in 0..heads {
            let shared = h / groups;
            let keys = width / groups;
            let query = all.narrow(1, h * head, head);
            let key = all.narrow(1, width + shared * head, head);
            let value = all.narrow(1, width + keys + shared * head, head);
            let mut scores = query.matmul(&key.transpose(0, 1)) / (head as f64).sqrt();
            if let Some(add) = add {
                scores = scores + add.expand([heads, length, length]).select(0, h);
            }
            columns.push(scores.softmax(-1).matmul(&value));
        }
        outs.push(Tensor::cat(&columns, 1));
    }
    Ok(Tensor::stack(&outs, 0).matmul(&of("out_proj.weight").transpose(0, 1)) + of("out_proj.bias"))
}

fn lower(length: usize) -> Tensor {
    Tensor::full([length, length], 0.0, DType::F64).masked_fill(&causal_mask(length), f64::NEG_INFINITY)
}

#[test]
fn equals_the_textbook() -> Result<()> {
    let x = normal(&[2, 5, 12], 3);
    for (heads, groups) in [(3, 1), (4, 2), (6, 6), (1, 1)] {
        let layer = layer(MultiheadAttention::options(12, heads).with_key_heads(heads / groups));
        close(&layer.forward(&x), &textbook(&layer, &x, heads, groups, None)?);
        let causal = textbook(&layer, &x, heads, groups, Some(&lower(5)))?;
        close(&layer.attend(&x, &x, &x, &Masks::new().causal()), &causal);
        close(&layer.attend(&x, &x, &x, &Masks::new().scores(&causal_mask(5))), &causal);
        close(&layer.attend(&x, &x, &x, &Masks::new().scores(&lower(5))), &causal);
        let (out, weights) = layer.attend_with_weights(&x, &x, &x, &Masks::new().causal(), false);
        close(&out, &causal);
        assert_eq!(weights.dims()?, [2, heads, 5, 5]);
        close(&weights.sum_over(-1), &Tensor::full([2, heads, 5], 1.0, DType::F64));
        assert_eq!(weights.masked_select(&causal_mask(5).expand([2, heads, 5, 5])).abs().max().item()?, 0.0);
    }
    Ok(())
}

#[test]
fn every_way_to_project_gives_the_same() -> Result<()> {
    let layer = layer(MultiheadAttention::options(6, 2));
    let x = normal(&[2, 4, 6], 1);
    let (y, z) = (&x * 1.0, &x * 1.0);
    let at_once = layer.forward(&x);
    close(&at_once, &layer.attend(&x, &y, &y, &Masks::new()));
    close(&at_once, &layer.attend(&x, &y, &z, &Masks::new()));
    // The other order of axes, and a single example without its axis.
    let swapped = MultiheadAttention::options(6, 2).build(&mut init(1));
    let swapped = stirred(swapped);
    close(&at_once, &swapped.forward(&x.transpose(0, 1)).transpose(0, 1));
    close(&at_once.select(0, 0), &layer.forward(&x.select(0, 0)));
    let (_, weights) =
        layer.attend_with_weights(&x.select(0, 0), &y.select(0, 0), &z.select(0, 0), &Masks::new(), true);
    assert_eq!(weights.dims()?, [4, 4]);
    // Separate weights, the same numbers.
    let mut apart =
        MultiheadAttention::options(6, 2).with_key_width(6).with_value_width(6).with_batch_first().build(&mut init(2));
    let _ = apart.load_tensors(layer.tensors()?).strict()?;
    close(&at_once, &apart.forward(&x));
    Ok(())
}

#[test]
fn padding_is_as_if_it_was_not_there() -> Result<()> {
    let layer = layer(MultiheadAttention::options(6, 3));
    let x = normal(&[2, 5, 6], 4);
    let padding = Tensor::from([[false, false, false, true, true], [false, true, false, false, false]]);
    let masks = Masks::new().padding(&padding);
    let padded = layer.attend(&x, &x, &x, &masks);
    let short = x.slice((0..1, 0..3));
    close(&padded.slice((0..1, 0..3)), &layer.forward(&short));
    let kept = x.slice((1..2,)).index_select(1, &Tensor::from([0, 2, 3, 4]));
    close(&padded.slice((1..2,)).index_select(1, &Tensor::from([0, 2, 3, 4])), &layer.forward(&kept));
    close(&layer.attend_with_weights(&x, &x, &x, &masks, true).0, &padded);
    // With a causal mask of numbers, and one for each head of each example.
    let both = masks.clone().scores(&lower(5));
    close(&layer.attend(&x, &x, &x, &both), &layer.attend(&x, &x, &x, &masks.clone().causal()));
    let each = causal_mask(5).expand([6, 5, 5]);
    close(&layer.attend(&x, &x, &x, &masks.clone().scores(&each)), &layer.attend(&x, &x, &x, &masks.causal()));
    Ok(())
}

#[test]
fn who_sees_nothing_gets_nothing() -> Result<()> {
    let layer = layer(MultiheadAttention::options(6, 3));
    let x = normal(&[1, 3, 6], 5).variable();
    let blind = Tensor::from([[true, true, true], [false, true, false], [false, false, false]]);
    for mask in [blind.clone(), Tensor::full([3, 3], 0.0, DType::F64).masked_fill(&blind, f64::NEG_INFINITY)] {
        let masks = Masks::new().scores(&mask);
        let (out, weights) = layer.attend_with_weights(&x, &x, &x, &masks, false);
        close(&layer.attend(&x, &x, &x, &masks), &out);
        assert_eq!(weights.slice((.., .., 0)).abs().max().item()?, 0.0);
        let bias = layer.out_proj.bias.as_deref().expect("a bias");
        close(&out.slice((0, 0)), &(bias * 1.0));
        for result in [out.sum(), layer.attend(&x, &x, &x, &masks).sum()] {
            let gradient = result.backward()?.of(&x)?.clone();
            assert!(gradient.to_vec::<f64>()?.iter().all(|g| g.is_finite()));
        }
    }
    Ok(())
}

#[test]
fn added_keys_are_seen_by_all() -> Result<()> {
    let x = normal(&[2, 4, 6], 6);
    let options = || MultiheadAttention::options(6, 2);
    let layer = layer(options().with_zero_key().with_extra_key());
    let everything = Masks::new().scores(&Tensor::full([4, 4], 1.0, DType::Bool));
    let (out, weights) = layer.attend_with_weights(&x, &x, &x, &everything, true);
    assert_eq!(weights.dims()?, [2, 4, 6]);
    close(&weights.sum_over(-1), &Tensor::full([2, 4], 1.0, DType::F64));
    assert_eq!(weights.narrow(2, 0, 4).abs().max().item()?, 0.0);
    close(&layer.attend(&x, &x, &x, &everything), &out);
    for masks in
        [Masks::new(), Masks::new().causal(), Masks::new().causal().padding(&Tensor::full([2, 4], 0.0, DType::Bool))]
    {
        close(&layer.attend(&x, &x, &x, &masks), &layer.attend_with_weights(&x, &x, &x, &masks, true).0);
    }
    Ok(())
}

#[test]
fn rotation_tells_distances_only() -> Result<()> {
    for how in [Rotary::new(), Rotary::new().interleaved(), Rotary::new().with_fraction(0.5).with_base(100.0)] {
        let (query, key) = (normal(&[1, 8], 7), normal(&[1, 8], 8));
        let score = |at: usize, other: usize| (query.rotary(at, how) * key.rotary(other, how)).sum().item();
        for (at, other) in [(0, 0), (3, 1), (2, 9)] {
            let here = score(at, other)?;
            assert!((here - score(at + 17, other + 17)?).abs() < 1e-12);
            assert!((here - score(at + 1, other)?).abs() > 1e-3);
        }
        // A turn keeps lengths.
        let turned = normal(&[3, 5, 8], 9).rotary(4, how);
        close(&turned.square().sum_over(-1), &normal(&[3, 5, 8], 9).square().sum_over(-1));
    }
    // The layer's answers do not depend on where a text begins.
    let layer = layer(MultiheadAttention::options(8, 2).with_rotary(Rotary::new()));
    let x = normal(&[1, 6, 8], 10);
    let front = Tensor::full([1, 6], 0.0, DType::Bool).slice_assign((.., 0..2), &Tensor::from([true]));
    let late = layer.attend(&x, &x, &x, &Masks::new().padding(&front)).narrow(1, 2, 4);
    close(&late, &layer.forward(&x.narrow(1, 2, 4)));
    Ok(())
}

#[test]
fn alibi_follows_its_formula() -> Result<()> {
    assert_eq!(alibi_slopes(8)[..3], [0.5, 0.25, 0.125]);
    // Of six heads: those of four, then the first and third of eight.
    assert_eq!(alibi_slopes(6), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
    assert!(alibi_slopes(0).is_empty());
    let layer = layer(MultiheadAttention::options(12, 4).with_alibi());
    let x = normal(&[2, 5, 12], 11);
    let mut falls = Vec::new();
    for slope in alibi_slopes(4) {
        for i in 0..5i32 {
            for j in 0..5i32 {
                falls.push(-slope * f64::from((i - j).abs()));
            }
        }
    }
    let falls = Tensor::from_vec(falls, [4, 5, 5])?;
    close(&layer.forward(&x), &textbook(&layer, &x, 4, 1, Some(&falls))?);
    let causal = layer.attend(&x, &x, &x, &Masks::new().causal());
    close(&causal, &textbook(&layer, &x, 4, 1, Some(&(falls + lower(5))))?);
    close(&causal, &layer.attend_with_weights(&x, &x, &x, &Masks::new().causal(), true).0);
    Ok(())
}

#[test]
fn gradients_through_the_layers() -> Result<()> {
    let x = normal(&[2, 3, 4], 12);
    let memory = normal(&[2, 5, 4], 13);
    let padding = Tensor::from([[false, false, true, false, false], [false, true, false, false, false]]);
    let layer = layer(MultiheadAttention::options(4, 2).with_key_heads(1).with_extra_key().with_rotary(Rotary::new()));
    let attend = |x: &[Tensor]| layer.attend(&x[0], &x[1], &x[1], &Masks::new().padding(&padding).causal());
    gradcheck(attend, &[&x, &memory])?;
    let encoder = TransformerEncoderLayer::options(4, 2).with_feedforward(5).with_activation(Tensor::gelu).with_alibi();
    let encoder = stirred(encoder.with_batch_first().with_norm_first().with_dropout(0.0).build(&mut init(2)));
    gradcheck(|x| encoder.forward_masked(&x[0], &Masks::new().causal()), &[&x])?;
    let decoder = TransformerDecoderLayer::options(4, 2).with_feedforward(5).with_activation(Tensor::tanh);
    let decoder = stirred(decoder.with_batch_first().with_dropout(0.0).build(&mut init(3)));
    let masks = Masks::new().padding(&padding);
    gradcheck(|x| decoder.forward(&x[0], &x[1], &Masks::new().causal(), &masks), &[&x, &memory])?;
    Ok(())
}

#[test]
fn every_parameter_gets_its_gradient() -> Result<()> {
    let options = Transformer::options(8, 2).with_layers(2, 2).with_feedforward(12).with_batch_first();
    let model = options.build(&mut init(4));
    let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2 * 12 + 2 + 2 * 18 + 2);
    for name in
        ["encoder.layers.1.norm2.bias", "encoder.norm.weight", "decoder.layers.0.multihead_attn.out_proj.weight"]
    {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    let (source, target) = (normal(&[2, 5, 8], 14), normal(&[2, 3, 8], 15));
    let out = model.forward(&source, &target, &Masks::new(), &Masks::new().causal(), &Masks::new());
    let gradients = out.square().sum().backward()?;
    for (name, parameter) in model.parameters() {
        assert!(gradients.get(parameter).is_some(), "{name} has no gradient");
    }
    // Dropout drops, and another draw drops others; evaluated, it does not.
    let run = || model.forward(&source, &target, &Masks::new(), &Masks::new().causal(), &Masks::new());
    assert_ne!(run().to_vec::<f64>()?, run().to_vec::<f64>()?);
    assert_eq!(evaluating(run).to_vec::<f64>()?, evaluating(run).to_vec::<f64>()?);
    Ok(())
}

#[test]
fn layers_start_as_they_should() -> Result<()> {
    let layer = MultiheadAttention::new(64, 4, &mut init(5));
    let weight = layer.parameters()[0].1.to_vec::<f64>()?;
    let bound = (6.0 / (64.0 + 192.0f64)).sqrt();
    let largest = weight.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert!(largest <= bound && largest > 0.98 * bound, "{largest} of {bound}");
    let out = layer.out_proj.weight.abs().max().item()?;
    assert!(out <= 0.125 && out > 0.12, "{out}");
    for bias in [layer.in_proj_bias.as_deref(), layer.out_proj.bias.as_deref()] {
        assert_eq!(bias.expect("a bias").abs().max().item()?, 0.0);
    }
    Ok(())
}

/// A model of the shape of GPT-2: tokens and places as vectors, causal layers, scores for the next token.
struct Gpt {
    tokens: Tensor,
    places: Option<Tensor>,
    body: TransformerEncoder,
}

impl Gpt {
    fn new(form: usize) -> Gpt {
        let options = TransformerEncoderLayer::options(16, 4).with_feedforward(32).with_activation(Tensor::gelu_tanh);
        let options = options.with_norm_first().with_batch_first();
        let options = match form {
            0 => options,
            1 => options.with_rotary(Rotary::new()).with_key_heads(2),
            _ => options.with_alibi().with_key_heads(1),
        };
        let body = TransformerEncoder::new(options, 3, &mut init(6));
        let mut body = stirred(body.with_norm(chainrule::nn::LayerNorm::new(16, &mut init(7))));
        body.freeze();
        let places = (form == 0).then(|| normal(&[64, 16], 17));
        Gpt { tokens: normal(&[50, 16], 16), places, body }
    }
    /// Scores for the token after each of these, `[examples, positions, 50]`; the first stands at `past`.
    fn scores(&self, tokens: &Tensor, past: usize, run: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let mut x = tokens.embedding(&self.tokens);
        if let (Some(places), Ok(length)) = (&self.places, tokens.size(1)) {
            x = x + places.narrow(0, past, length);
        }
        run(&x).matmul(&self.tokens.transpose(0, 1))
    }
    fn whole(&self, tokens: &Tensor) -> Tensor {
        self.scores(tokens, 0, |x| self.body.forward_masked(x, &Masks::new().causal()))
    }
    fn next(&self, tokens: &Tensor, caches: &mut [KvCache]) -> Tensor {
        let past = caches.first().map_or(0, KvCache::len);
        self.scores(tokens, past, |x| self.body.forward_cached(x, caches, &Masks::new()))
    }
    /// Twenty tokens more, chosen by the sampler.
    fn write(&self, start: &Tensor, mut sampler: Sampler, cached: bool) -> Result<Vec<i64>> {
        let mut text = start.clone();
        let mut caches = self.body.caches();
        let mut fresh = start.clone();
        for _ in 0..20 {
            let scores = if cached { self.next(&fresh, &mut caches) } else { self.whole(&text) };
            fresh = sampler.choose(&scores.select(1, -1))?.unsqueeze(1);
            text = Tensor::cat(&[&text, &fresh], 1);
        }
        text.to_vec()
    }
}

#[test]
fn generation_with_a_cache_equals_that_without() -> Result<()> {
    let start = Tensor::from([[3, 1, 4], [1, 5, 9]]);
    for form in 0..3 {
        let model = Gpt::new(form);
        let samplers: [fn() -> Sampler; 3] = [
            Sampler::greedy,
            || Sampler::new(11).with_temperature(3.0),
            || Sampler::new(12).with_temperature(2.0).with_top_k(20).with_top_p(0.9),
        ];
        for sampler in samplers {
            let text = model.write(&start, sampler(), true)?;
            assert_eq!(text, model.write(&start, sampler(), false)?, "form {form}, {:?}", sampler());
            let mut different = text.clone();
            different.sort_unstable();
            different.dedup();
            assert!(different.len() > 4, "a text of {different:?} tells nothing");
        }
        // In pieces of several tokens, the same numbers.
        let text = Tensor::arange(12).reshape([1, 12]);
        let whole = model.whole(&text);
        let mut caches = model.body.caches();
        let mut parts = Vec::new();
        for (start, length) in [(0, 5), (5, 1), (6, 4), (10, 2)] {
            parts.push(model.next(&text.narrow(1, start, length), &mut caches));
        }
        let parts = Tensor::cat(&parts, 1);
        let worst = (&parts - &whole).abs().max().item()?;
        assert!(worst < 1e-11 * whole.abs().max().item()?, "form {form}: {worst}");
    }
    Ok(())
}

#[test]
fn a_cache_forgets_and_goes_back() -> Result<()> {
    let model = Gpt::new(1);
    let text = Tensor::from([[1, 2, 3, 4], [5, 6, 7, 8]]);
    let mut caches = model.body.caches();
    let first = model.next(&text, &mut caches);
    // Back by two tokens, and on with the same.
    caches.iter_mut().for_each(|cache| cache.truncate(2));
    let again = model.next(&text.narrow(1, 2, 2), &mut caches);
    close(&first.narrow(1, 2, 2), &again);
    // The second example twice: a beam search.
    for cache in &mut caches {
        cache.reorder(&Tensor::from([1, 1, 0]))?;
    }
    let next = model.next(&Tensor::from([[9], [10], [11]]), &mut caches);
    let texts = Tensor::from([[5, 6, 7, 8, 9], [5, 6, 7, 8, 10], [1, 2, 3, 4, 11]]);
    close(&next, &model.whole(&texts).narrow(1, 4, 1));
    assert!(caches.iter_mut().all(|cache| cache.reorder(&Tensor::from([7])).is_err() && cache.len() == 5));
    caches.iter_mut().for_each(KvCache::clear);
    close(&model.next(&text, &mut caches), &first);
    Ok(())
}

#[test]
fn a_cache_refuses_what_failed() -> Result<()> {
    let model = Gpt::new(0);
    let mut caches = model.body.caches();
    let _ = model.next(&Tensor::from([[1, 2, 3]]), &mut caches).checked()?;
    let before = caches[0].keys().expect("keys").to_vec::<f64>()?;
    let failed = Tensor::zeros([2]).reshape([3]);
    assert!(model.body.forward_cached(&failed, &mut caches, &Masks::new()).error().is_some());
    // Another number of examples, and a mask that does not fit.
    assert!(model.next(&Tensor::from([[1], [2]]), &mut caches).error().is_some());
    let masks = Masks::new().padding(&Tensor::from([[false; 9]]));
    assert!(model.body.forward_cached(&normal(&[1, 1, 16], 1), &mut caches, &masks).error().is_some());
    assert!(model.body.forward_cached(&normal(&[1, 1, 16], 1), &mut caches[..2], &Masks::new()).error().is_some());
    assert!(caches.iter().all(|cache| cache.len() == 3));
    // A first step that fails leaves nothing behind, not even how many examples there were.
    let (mut fresh, mut memory) = (KvCache::new(), KvCache::new());
    let layer = layer(MultiheadAttention::options(6, 2));
    let x = normal(&[2, 3, 6], 2);
    let wrong = Masks::new().padding(&Tensor::from([[false; 9]]));
    assert!(layer.attend_cached(&x, &mut fresh, &wrong).error().is_some() && fresh.is_empty());
    assert!(layer.attend_memory(&x, &x, &mut memory, &wrong).error().is_some() && memory.is_empty());
    close(&layer.attend_cached(&x.narrow(0, 1, 1), &mut fresh, &Masks::new()).narrow(1, 0, 1), &{
        let first = x.slice((1..2, 0..1));
        layer.forward(&first)
    });
    close(
        &layer.attend_memory(&x.narrow(0, 1, 1), &x.narrow(0, 1, 1), &mut memory, &Masks::new()),
        &layer.forward(&x.narrow(0, 1, 1)),
    );
    assert_eq!(caches[0].keys().expect("keys").to_vec::<f64>()?, before);
    Ok(())
}

#[test]
fn a_cache_grows_in_place() -> Result<()> {
    let one = normal(&[1, 1, 1, 4], 20);
    let place = |cache: &KvCache| cache.keys().expect("keys").with_slice(|numbers: &[f64]| numbers.as_ptr() as usize);
    let mut cache = KvCache::with_room(100);
    let (mut places, mut rooms) = (Vec::new(), Vec::new());
    for step in 0..250 {
        let (keys, values) = cache.append(&(&one * step as f64), &one)?;
        assert_eq!((keys.dims()?, values.dims()?), ([1, 1, step + 1, 4], [1, 1, step + 1, 4]));
        drop((keys, values));
        places.push(place(&cache)?);
        rooms.push(cache.room());
    }
    // The room of the beginning, then twice that, and again: in between nothing moves.
    rooms.dedup();
    assert_eq!(rooms, [100, 200, 400]);
    places.dedup();
    assert_eq!(places.len(), 3);
    // Somebody holds what the cache holds: it goes on in a copy, and what they hold stays.
    let held = cache.keys().expect("keys");
    let before = held.to_vec::<f64>()?;
    cache.truncate(10);
    let _ = cache.append(&(&one * -7.0), &one)?;
    assert_eq!(held.to_vec::<f64>()?, before);
    let keys = cache.keys().expect("keys");
    assert_eq!(keys.size(2)?, 11);
    for (step, factor) in [(0, 0.0), (9, 9.0), (10, -7.0)] {
        close(&keys.narrow(2, step, 1), &(&one * factor));
    }
    Ok(())
}

#[test]
fn a_decoder_generates_as_it_reads() -> Result<()> {
    for first in [false, true] {
        let options =
            TransformerDecoderLayer::options(8, 2).with_feedforward(16).with_rotary(Rotary::new().interleaved());
        let options = if first { options.with_norm_first() } else { options };
        let mut decoder = stirred(TransformerDecoder::new(options, 2, &mut init(8)));
        decoder.freeze();
        let (target, memory) = (normal(&[6, 2, 8], 21), normal(&[5, 2, 8], 22));
        let padding = Masks::new().padding(&Tensor::from([[false, false, true, true, true], [false; 5]]));
        let whole = decoder.forward(&target, &memory, &Masks::new().causal(), &padding);
        let mut caches = decoder.caches();
        for at in 0..6 {
            let token = target.narrow(0, at, 1);
            let next = decoder.forward_cached(&token, &memory, &mut caches, &Masks::new(), &padding);
            close(&next, &whole.narrow(0, at, 1));
        }
        // Back to the fourth token, the examples exchanged.
        for cache in &mut caches {
            cache.truncate(4);
            cache.reorder(&Tensor::from([1, 0]))?;
            assert!(cache.reorder(&Tensor::from([2])).is_err() && cache.len() == 4 && cache.memory.len() == 5);
        }
        let swapped = Tensor::from([1, 0]);
        let padding = Masks::new().padding(&Tensor::from([[false; 5], [false, false, true, true, true]]));
        let tokens = target.narrow(0, 4, 2).index_select(1, &swapped);
        let next = decoder.forward_cached(&tokens, &memory, &mut caches, &Masks::new(), &padding);
        close(&next, &whole.narrow(0, 4, 2).index_select(1, &swapped));
    }
    Ok(())
}

#[test]
fn all_of_it_goes_to_other_threads() {
    fn both<T: Send + Sync>() {}
    both::<MultiheadAttention>();
    both::<KvCache>();
    both::<Masks>();
    both::<Sampler>();
    both::<Transformer>();
    both::<MultiheadAttentionOptions>();
}

#[test]
fn a_frozen_model_serves_any_thread() -> Result<()> {
    let model = Gpt::new(1);
    let start = Tensor::from([[3, 1, 4]]);
    let sampler = || Sampler::new(5).with_temperature(2.0);
    let expected = model.write(&start, sampler(), true)?;
    let texts: Vec<Result<Vec<i64>>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8).map(|_| scope.spawn(|| model.write(&start, sampler(), true))).collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    });
    for text in texts {
        assert_eq!(text?, expected);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_said() {
    let x = Tensor::zeros([2, 3, 8]);
    let good = MultiheadAttention::options(8, 2).with_batch_first().build(&mut Init::new());
    let said = |tensor: Tensor, kind: ErrorKind, words: &str| {
        let error = tensor.error().expect("it fails").clone();
        assert!(error.kind() == kind && error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains("tests/attention.rs") && !error.to_string().contains("src/"), "{error}");
    };
    let shape = ErrorKind::Shape;
    said(MultiheadAttention::new(8, 3, &mut Init::new()).forward(&x), shape, "8 does not divide into 3 heads");
    said(MultiheadAttention::new(8, 0, &mut Init::new()).forward(&x), shape, "into 0 heads");
    let shared = MultiheadAttention::options(8, 4).with_key_heads(3).build(&mut Init::new());
    said(shared.forward(&x), shape, "4 heads of queries do not share 3");
    said(good.forward(&Tensor::zeros([2, 3, 7])), shape, "in_proj_weight");
    said(good.forward(&Tensor::zeros([7])), shape, "1 axes");
    said(good.attend(&x, &Tensor::zeros([2, 8]), &x, &Masks::new()), shape, "the keys have 2 axes");
    let masked = |masks: Masks| good.attend(&x, &x, &x, &masks);
    said(masked(Masks::new().padding(&Tensor::from([[false, true]]))), shape, "for 2 examples of 3 keys");
    said(masked(Masks::new().scores(&Tensor::zeros([3, 4]))), shape, "3 queries and 3 keys");
    said(masked(Masks::new().scores(&Tensor::zeros([3, 3, 3]))), shape, "2 examples of 2 heads");
    said(masked(Masks::new().scores(&Tensor::from([[1, 0, 1]]))), ErrorKind::DType, "a mask of i64 numbers");
    let turning = MultiheadAttention::options(8, 2).with_rotary(Rotary::new()).build(&mut Init::new());
    let turning = |x: &Tensor, masks: &Masks| turning.attend_memory(x, x, &mut KvCache::new(), masks);
    let odd = MultiheadAttention::options(6, 2).with_rotary(Rotary::new()).build(&mut Init::new());
    said(odd.forward(&Tensor::zeros([1, 1, 6])), shape, "3 of 3 numbers do not fall into pairs");
    let wild = MultiheadAttention::options(8, 2).with_dropout(1.5).build(&mut Init::new());
    said(wild.forward(&x), ErrorKind::Value, "1.5");
    let masks = Masks::new();
    said(turning(&x, &masks), ErrorKind::Value, "without rotary");
    let absurd = TransformerEncoderLayer::new(usize::MAX, 2, &mut Init::new());
    assert!(absurd.forward(&x).error().is_some());
}

#[test]
fn samplers_draw_by_chance() -> Result<()> {
    let scores = Tensor::new([1f64, 3.0, 2.0, -1.0]);
    let row = scores.expand([20_000, 4]);
    let shares = |mut sampler: Sampler| -> Result<Vec<f64>> {
        let mut counts = vec![0.0; 4];
        for token in sampler.choose(&row)?.to_vec::<i64>()? {
            counts[token as usize] += 1.0 / 20_000.0;
        }
        Ok(counts)
    };
    let near = |found: Vec<f64>, wanted: [f64; 4]| {
        let weights: Vec<f64> = wanted.iter().map(|w| w / wanted.iter().sum::<f64>()).collect();
        assert!(
            found.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 0.015 && (*b > 0.0 || *a == 0.0)),
            "{found:?}, not {weights:?}"
        );
    };
    let e = |x: f64| x.exp();
    near(shares(Sampler::new(1))?, [e(1.0), e(3.0), e(2.0), e(-1.0)]);
    near(shares(Sampler::new(2).with_temperature(2.0))?, [e(0.5), e(1.5), e(1.0), e(-0.5)]);
    near(shares(Sampler::new(3).with_top_k(2))?, [0.0, e(3.0), e(2.0), 0.0]);
    // 3 and 2 have 0.90 of the chances together, 3 alone 0.66.
    near(shares(Sampler::new(4).with_top_p(0.8))?, [0.0, e(3.0), e(2.0), 0.0]);
    near(shares(Sampler::new(5).with_top_p(0.5))?, [0.0, 1.0, 0.0, 0.0]);
    near(shares(Sampler::new(6).with_top_p(0.95).with_top_k(2))?, [0.0, e(3.0), e(2.0), 0.0]);
    near(shares(Sampler::greedy())?, [0.0, 1.0, 0.0, 0.0]);
    for sampler in
        [Sampler::new(1).with_temperature(-1.0), Sampler::new(1).with_top_k(0), Sampler::new(1).with_top_p(0.0)]
    {
        assert_eq!(sampler.clone().choose(&scores).map(drop).unwrap_err().kind(), ErrorKind::Value);
    }
    let nan = Tensor::new([1f64, f64::NAN]);
    assert!(Sampler::greedy().choose(&nan).is_err() && Sampler::greedy().choose(&Tensor::zeros([3, 0])).is_err());
    assert!(no_grad(|| Sampler::greedy().choose(&Tensor::scalar(1.0))).is_err());
    Ok(())
}
