//! A server answers from many threads: public types may go to other threads, and every thread computes the same bytes.

use chainrule::{Random, Tensor, no_grad, threads};

#[test]
fn public_types_are_send_and_sync() {
    fn both<T: Send + Sync>() {}
    both::<chainrule::Tensor>();
    both::<chainrule::Value>();
    both::<chainrule::Parameter>();
    both::<chainrule::Gradients>();
    both::<chainrule::Recording>();
    both::<chainrule::Step>();
    both::<chainrule::State>();
    both::<chainrule::Cut>();
    both::<chainrule::Error>();
    both::<chainrule::Fault>();
    both::<chainrule::ErrorKind>();
    both::<chainrule::Operand>();
    both::<chainrule::Device>();
    both::<chainrule::DType>();
    both::<chainrule::Shape>();
    both::<chainrule::Layout>();
    both::<chainrule::Random>();
    both::<chainrule::Draw>();
    both::<chainrule::Profile>();
    both::<chainrule::device::Buffer>();
    both::<chainrule::device::Memory>();
    both::<chainrule::device::OperationProfile>();
    both::<chainrule::device::SimdLevel>();
    both::<chainrule::GradientCheck>();
    both::<chainrule::Attention>();
    both::<chainrule::Conv>();
    both::<chainrule::Pad>();
    both::<chainrule::Unique>();
    both::<Box<dyn chainrule::op::Op>>();
}

#[test]
fn layers_are_send_and_sync() {
    use chainrule::nn::*;
    fn both<T: Send + Sync>() {}
    macro_rules! all {
        ($($Layer:ty)*) => { $(both::<$Layer>();)* };
    }
    all! {
        Init Initial Load Path<'static> Summary Sequential Box<dyn Layer> Box<dyn Module> Running<Tensor> Running<Random>
        Linear Bilinear Identity Residual<Linear> Flatten Unflatten Upsample Fold Unfold
        Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d ConvOptions<Conv2d>
        BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d NormOptions<BatchNorm1d>
        LayerNorm GroupNorm RmsNorm LocalResponseNorm RowNormOptions<LayerNorm>
        MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LpPool1d LpPool2d LpPool3d
        MaxUnpool1d MaxUnpool2d MaxUnpool3d
        AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d
        WeightNorm<Linear> SpectralNorm<Conv2d> Embedding EmbeddingBag EmbeddingOptions PositionalEncoding
        Dropout Dropout1d Dropout2d Dropout3d AlphaDropout
        Relu Relu6 Selu Sigmoid LogSigmoid Tanh Silu Mish Hardsigmoid Hardswish Tanhshrink Softsign LeakyRelu Elu Celu
        Hardtanh Hardshrink Softshrink Softplus Threshold Gelu PRelu RRelu Softmax LogSoftmax Softmin Glu Softmax2d
        ZeroPad2d ConstantPad2d ReflectionPad2d ReplicationPad2d CircularPad2d
        PixelShuffle PixelUnshuffle ChannelShuffle CosineSimilarity PairwiseDistance
    }
}

/// Batch norms, dropouts and a random slope: all that behaves otherwise in training.
fn random_model() -> chainrule::nn::Sequential {
    use chainrule::nn::*;
    let init = &mut Init::new().seed(3);
    Sequential::new()
        .then(Conv2d::new(2, 6, 3, init))
        .then(BatchNorm2d::new(6, init))
        .then(RRelu::new(0.1, 0.3, init))
        .then(Dropout2d::new(0.5, init))
        .then(InstanceNorm2d::options(6).with_affine().with_running_statistics().build(init))
        .then(Flatten::new())
        .then(Linear::new(6 * 36, 10, init))
        .then(BatchNorm1d::options(10).with_cumulative_average().build(init))
        .then(AlphaDropout::new(0.2, init))
        .then(Dropout::new(0.2, init))
        .named()
}

#[test]
fn a_frozen_model_answers_the_same_bytes_and_stays_as_it_is() {
    use chainrule::nn::{Layer, Module};
    let mut model = random_model();
    let x = Tensor::normal([4, 2, 8, 8], 1.0, 2.0, &mut Random::new(4));
    for _ in 0..3 {
        let _ = model.forward(&x);
    }
    model.freeze();
    let state = |model: &chainrule::nn::Sequential| format!("{:?}", model.state().expect("a state"));
    let numbers = |model: &chainrule::nn::Sequential| -> Vec<Vec<u64>> {
        let tensors = model.tensors().expect("tensors");
        let bits = |x: Tensor| x.to_dtype(chainrule::DType::F64).to_vec::<f64>().expect("numbers");
        tensors.into_iter().map(|(_, x)| bits(x).into_iter().map(f64::to_bits).collect()).collect()
    };
    let answer = |model: &chainrule::nn::Sequential| -> Vec<u32> {
        model.forward(&x).to_vec::<f32>().expect("numbers").into_iter().map(f32::to_bits).collect()
    };
    let (before, numbers_before, expected) = (state(&model), numbers(&model), answer(&model));
    let serve = |model: &chainrule::nn::Sequential| {
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (answer, expected) = (&answer, &expected);
                scope.spawn(move || {
                    for _ in 0..5 {
                        let answer = match worker % 4 {
                            0 => answer(model),
                            1 => no_grad(|| answer(model)),
                            2 => chainrule::training(|| answer(model)),
                            _ => threads(3, || chainrule::evaluating(|| answer(model))),
                        };
                        assert!(&answer == expected, "worker {worker}");
                    }
                });
            }
        });
    };
    serve(&model);
    no_grad(|| serve(&model));
    chainrule::training(|| serve(&model));
    assert_eq!(state(&model), before);
    assert!(numbers(&model) == numbers_before);
    // In training the same model does change, so that the comparison means something.
    model.unfreeze();
    assert!(answer(&model) != expected);
    assert!(state(&model) != before || numbers(&model) != numbers_before);
}

/// Reads a text and goes on with it: recurrent layers, attention, dropout; the cache belongs to whoever asks.
struct Speaker {
    embed: chainrule::nn::Embedding,
    read: chainrule::nn::Lstm,
    look: chainrule::nn::MultiheadAttention,
    drop: chainrule::nn::Dropout,
    head: chainrule::nn::Linear,
}
chainrule::module!(Speaker { embed, read, look, drop, head });

impl Speaker {
    fn new() -> Speaker {
        use chainrule::nn::*;
        let init = &mut Init::new().seed(5);
        Speaker {
            embed: Embedding::new(13, 16, init),
            read: Lstm::options(16, 16).with_layers(2).with_batch_first().with_dropout(0.4).build(init),
            look: MultiheadAttention::options(16, 4).with_batch_first().with_dropout(0.3).build(init),
            drop: Dropout::new(0.3, init),
            head: Linear::new(16, 13, init),
        }
        .named()
    }
    /// The scores after each of twelve tokens, a token at a time.
    fn speak(&self) -> Vec<u32> {
        use chainrule::nn::{KvCache, Layer, LstmOutput, Masks, Sequence};
        let (mut cache, mut start, mut bits) = (KvCache::new(), Sequence::new(), Vec::new());
        for step in 0..12 {
            let token = Tensor::new([[step % 13i64]]);
            let LstmOutput { output, hidden, cell } = self.read.forward_with(&self.embed.forward(&token), &start);
            let found = self.look.attend_cached(&self.drop.forward(&output), &mut cache, &Masks::new());
            let scores = self.head.forward(&(output + found));
            bits.extend(scores.to_vec::<f32>().expect("numbers").into_iter().map(f32::to_bits));
            start = Sequence::new().hidden(&hidden).cell(&cell);
        }
        bits
    }
}

#[test]
fn a_frozen_speaker_with_a_cache_says_the_same_on_every_thread() {
    use chainrule::nn::Module;
    let mut model = Speaker::new();
    model.freeze();
    let state = |model: &Speaker| format!("{:?}", model.state().expect("a state"));
    let (before, expected) = (state(&model), model.speak());
    let serve = || {
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (model, expected) = (&model, &expected);
                scope.spawn(move || {
                    let said = match worker % 4 {
                        0 => model.speak(),
                        1 => no_grad(|| model.speak()),
                        2 => chainrule::training(|| model.speak()),
                        _ => chainrule::evaluating(|| model.speak()),
                    };
                    assert!(&said == expected, "worker {worker}");
                });
            }
        });
    };
    serve();
    no_grad(serve);
    chainrule::training(serve);
    assert_eq!(state(&model), before);
    model.unfreeze();
    assert!(model.speak() != expected, "in training dropout changes what it says");
}

#[test]
fn batches_of_many_threads_are_all_counted() {
    use chainrule::nn::{BatchNorm1d, Init, Layer};
    let layer = BatchNorm1d::options(3).with_cumulative_average().build(&mut Init::new().dtype(chainrule::DType::F64));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let layer = &layer;
            scope.spawn(move || {
                for _ in 0..20 {
                    let x = Tensor::normal([6, 3], 0.0, 1.0, &mut Random::new(worker)).to_dtype(chainrule::DType::F64);
                    let _ = layer.forward(&x);
                }
            });
        }
    });
    let count = layer.num_batches_tracked.as_ref().expect("it is tracked").get().item().expect("a number");
    assert_eq!(count, 160.0);
    // Whatever their order, the average over all is that of the eight batches.
    let mut mean = Tensor::zeros([3]).to_dtype(chainrule::DType::F64);
    for worker in 0..8 {
        let x = Tensor::normal([6, 3], 0.0, 1.0, &mut Random::new(worker)).to_dtype(chainrule::DType::F64);
        mean = mean + x.mean_over(0) / 8.0;
    }
    let found = layer.running_mean.as_ref().expect("it is tracked").get();
    assert!((found - mean).abs().max().item().expect("a number") < 1e-12);
}

/// A small model: a matrix product, a curve, a softmax of sorts, a sum.
struct Model {
    first: Tensor,
    second: Tensor,
}

impl Model {
    fn new() -> Model {
        let mut random = Random::new(3);
        Model {
            first: Tensor::normal([64, 200], 0.0, 0.1, &mut random).variable(),
            second: Tensor::normal([200, 10], 0.0, 0.1, &mut random).variable(),
        }
    }
    fn answer(&self, x: &Tensor) -> Vec<u32> {
        let hidden = x.matmul(&self.first).exp();
        let scores = hidden.matmul(&self.second).exp();
        let shares = &scores / scores.sum_keep(-1);
        shares.to_vec::<f32>().expect("numbers").into_iter().map(f32::to_bits).collect()
    }
}

#[test]
fn eight_threads_answer_the_same_bytes() {
    let model = Model::new();
    let before = model.first.to_vec::<f32>().expect("numbers");
    let x = Tensor::normal([100, 64], 0.0, 1.0, &mut Random::new(4));
    let expected = threads(1, || no_grad(|| model.answer(&x)));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (model, x, expected) = (&model, &x, &expected);
            scope.spawn(move || {
                for _ in 0..10 {
                    // With and without a scope of one's own, on one thread and on several.
                    let answer = match worker % 4 {
                        0 => model.answer(x),
                        1 => no_grad(|| model.answer(x)),
                        2 => threads(1, || model.answer(x)),
                        _ => threads(3, || no_grad(|| model.answer(x))),
                    };
                    assert!(&answer == expected, "worker {worker}");
                }
            });
        }
    });
    assert_eq!(model.first.to_vec::<f32>().expect("numbers"), before);
}

#[test]
fn tensors_and_graphs_may_go_to_another_thread() {
    let model = Model::new();
    let x = Tensor::ones([4, 64]);
    let loss = x.matmul(&model.first).matmul(&model.second).sum();
    let here = x.matmul(&model.first).matmul(&model.second).sum().backward().expect("gradients");
    let first = model.first.clone();
    let there = std::thread::spawn(move || {
        let gradients = loss.backward().expect("gradients");
        gradients.of(&first).expect("its gradient").clone()
    });
    let there = there.join().expect("no panic");
    let here = here.of(&model.first).expect("its gradient");
    assert_eq!(here.to_vec::<f32>().expect("numbers"), there.to_vec::<f32>().expect("numbers"));
}
