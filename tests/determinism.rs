//! The same bytes for any number of threads, by kernels that really share their work.
//!
//! `CHAINRULE_DIGEST=file` writes a digest of all results where the file is missing and compares where it is there: so
//! a build without threads is held against one with them.

use chainrule::device::cpu::parallel::{splits, surely_split};
use chainrule::loss::{CrossEntropy, Reduction, cross_entropy, ctc_loss};
use chainrule::nn::{
    BatchNorm2d, Conv2d, Dropout2d, Embedding, Flatten, Init, Layer, Linear, Lstm, Masks, MaxPool2d, Module, Path,
    Relu, Sequential, TransformerEncoderLayer, Visit, VisitMut,
};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Attention, Conv, DType, Draw, Parameter, Random, Recurrence, Tensor, module, threads};
use std::fmt::Write;

/// What is computed, by name; each gives some tensors.
type Case = (&'static str, fn() -> Vec<Tensor>);

const DRAW: Draw = Draw { seed: 5, stream: 0, number: 0 };

fn normal<const N: usize>(sizes: [usize; N], number: u64) -> Tensor {
    Tensor::normal(sizes, 0.0, 1.0, &mut Random::resume(Draw { number, ..DRAW }))
}

/// A value and the gradients of its leaves.
fn with_gradients(leaves: &[&Tensor], result: Tensor) -> Vec<Tensor> {
    // Unlike weights for the elements, so that each counts.
    let weights = result.uniform_like(-1.0..1.0, &mut Random::resume(DRAW));
    let gradients = result.backward_from(&weights).unwrap_or_else(|error| panic!("{error}"));
    let mut all = vec![result];
    all.extend(leaves.iter().map(|leaf| gradients.of(leaf).unwrap_or_else(|error| panic!("{error}")).clone()));
    all
}

fn cases() -> Vec<Case> {
    vec![
        ("sum of 10 million", || {
            let x = normal([10_000_000], 1);
            vec![x.sum(), x.mean(), x.max(), x.var()]
        }),
        ("sum of 10 million in f64", || vec![normal([10_000_000], 1).to_dtype(DType::F64).sum()]),
        ("sums over each axis", || {
            let x = normal([300, 40, 500], 2).variable();
            let mut all = with_gradients(&[&x], x.sum_over([0, 2]));
            all.extend([x.sum_over(0), x.sum_over(1), x.sum_over(2), x.max_over(1), x.var_over([0, 1])]);
            all
        }),
        ("pointwise with a broadcast", || {
            let (x, row) = (normal([700, 900], 3).variable(), normal([900], 4).variable());
            with_gradients(&[&x, &row], (&x * &row + 1.0).exp() / (x.square() + 2.0))
        }),
        ("a transposed copy", || vec![normal([900, 800], 5).transpose(0, 1) * 1.0]),
        ("cat and pad", || vec![Tensor::cat(&[&normal([600, 300], 6), &normal([600, 500], 7)], 1)]),
        ("matmul", || {
            let (a, b) = (normal([300, 400], 8).variable(), normal([400, 350], 9).variable());
            with_gradients(&[&a, &b], a.matmul(&b))
        }),
        ("matmul in batches", || {
            let (a, b) = (normal([20, 60, 70], 10).variable(), normal([20, 70, 80], 11).variable());
            with_gradients(&[&a, &b], a.matmul(&b))
        }),
        ("matmul of a long inner size", || vec![normal([8, 100_000], 12).matmul(&normal([100_000, 8], 13))]),
        ("random numbers", || {
            let x = normal([1000, 1001], 14);
            let mut random = Random::resume(DRAW);
            vec![
                x.uniform_like(0.0..1.0, &mut random),
                Tensor::integers([1_000_000], 0..1000, &mut random),
                Tensor::bernoulli([1_000_000], 0.3, &mut random),
                Tensor::permutation(100_000, &mut random),
                x.square().multinomial_repeated(10, &mut random),
            ]
        }),
        ("dropout", || {
            let x = normal([1000, 1001], 15).variable();
            with_gradients(&[&x], x.dropout(0.3, DRAW) + x.transpose(0, 1).dropout(0.5, DRAW).transpose(0, 1))
        }),
        ("dropout of channels", || {
            let x = normal([100, 64, 200], 16).variable();
            with_gradients(&[&x], x.dropout_channels(0.3, DRAW))
        }),
        ("cross entropy of rows and of columns", || {
            let (rows, columns) = (normal([600, 900], 50).variable(), normal([6, 40, 3000], 51).variable());
            let classes = |below: i64, shape: &[usize]| Tensor::integers(shape, 0..below, &mut Random::resume(DRAW));
            let each = CrossEntropy::new().with_label_smoothing(0.1).with_reduction(Reduction::None);
            let mut all = with_gradients(&[&rows], each.of(&rows, &classes(900, &[600])));
            all.extend(with_gradients(&[&columns], each.of(&columns, &classes(40, &[6, 3000]))));
            all.extend(with_gradients(&[&rows], cross_entropy(&rows, &classes(900, &[600]))));
            all
        }),
        ("Fourier transforms of many signals, of columns, of one long signal and of a prime length", || {
            let [many, columns] = [normal([300, 400], 53).variable(), normal([6, 96, 300], 54).variable()];
            let [long, prime] = [normal([1 << 18], 55).variable(), normal([40, 1009], 56).variable()];
            let mut all = with_gradients(&[&many], many.rfft(1));
            all.extend(with_gradients(&[&columns], columns.rfft(1)));
            all.extend(with_gradients(&[&long], long.rfft(0)));
            all.extend(with_gradients(&[&prime], prime.rfft(1)));
            all
        }),
        ("ctc_loss", || {
            let x = normal([60, 40, 30], 52).variable();
            let targets = Tensor::integers([40, 10], 1..30, &mut Random::resume(DRAW));
            let lengths = |length: i64| Tensor::full([40], length as f64, DType::I64);
            with_gradients(&[&x], ctc_loss(&x, &targets, &lengths(60), &lengths(10)))
        }),
        ("sort and top k of rows, and of one long row", || {
            let (rows, long) = (normal([600, 700], 40).variable(), normal([500_000], 41));
            let mut all = with_gradients(&[&rows], rows.sort(0, false).0 + rows.sort(1, true).0);
            let ((top, places), (sorted, positions)) = (rows.topk(20, 1, true), long.sort(0, false));
            all.extend([top, places, sorted, positions, long.argsort(0, true)]);
            all
        }),
        ("scatter with repeated positions", || {
            let (base, source) = (normal([50, 400], 42).variable(), normal([900, 400], 43).variable());
            let index = Tensor::integers([900, 400], 0..50, &mut Random::resume(DRAW));
            let mut all = with_gradients(&[&base, &source], base.scatter_add(0, &index, &source));
            let last = base.scatter(0, &index, &source);
            all.extend([last, base.gather(0, &index), base.index_select(1, &Tensor::arange(300))]);
            all
        }),
        ("embedding with repeated words", || {
            let table = normal([1000, 64], 44).variable();
            let words = Tensor::integers([40, 128], 0..300, &mut Random::resume(DRAW));
            with_gradients(&[&table], words.embedding(&table))
        }),
        ("what is found", || {
            let x = normal([1_000_000], 45);
            vec![x.nonzero(), x.histogram(50, -3.0, 3.0)]
        }),
        ("attention", || {
            let [q, k, v] = [46, 47, 48].map(|number| normal([2, 4, 150, 32], number).variable());
            let options = Attention::new().causal(true).dropout(0.1, DRAW);
            with_gradients(&[&q, &k, &v], q.scaled_dot_product_attention(&k, &v, &options))
        }),
        ("attention of one matrix", || {
            let [q, k, v] = [49, 50, 51].map(|number| normal([600, 16], number).variable());
            with_gradients(&[&q, &k, &v], q.scaled_dot_product_attention(&k, &v, &Attention::new()))
        }),
        ("linear algebra", || {
            let x = normal([3, 90, 70], 42).variable();
            let square = || x.transpose(1, 2).matmul(&x);
            let mut all = with_gradients(&[&x], square().inverse());
            all.extend(with_gradients(&[&x], x.qr().0));
            all.extend(with_gradients(&[&x], x.svd().1));
            all.extend(with_gradients(&[&x], square().symmetric_eigen().0));
            all.extend(with_gradients(&[&x], square().cholesky()));
            all
        }),
        ("recurrent layers", || {
            let x = normal([30, 70, 24], 63).variable();
            let state = normal([70, 40], 64).variable();
            let lengths: Vec<usize> = (0..70).map(|i| i * 7 % 31).collect();
            let mut all = Vec::new();
            for gates in [4, 3, 1] {
                let weight = |columns: usize, number: u64| (normal([gates * 40, columns], number) * 0.2).variable();
                let (input, hidden) = (weight(24, 65), weight(40, 66));
                let biases = [67, 68].map(|number| normal([gates * 40], number).variable());
                let weights = Recurrence::new(&input, &hidden).biases(&biases[0], &biases[1]);
                let weights = if gates == 3 { weights.reversed(true).lengths(&lengths) } else { weights };
                let output = match gates {
                    4 => x.lstm(&state, &state, &weights)[0].clone(),
                    3 => x.gru(&state, &weights)[0].clone(),
                    _ => x.rnn_tanh(&state, &weights)[0].clone(),
                };
                all.extend(with_gradients(&[&x, &state, &input, &hidden, &biases[0], &biases[1]], output));
            }
            all
        }),
        ("softmax", || {
            let x = normal([2000, 500], 40).variable();
            let mut all = with_gradients(&[&x], x.softmax(-1));
            all.extend(with_gradients(&[&x], x.log_softmax(0)));
            all
        }),
        ("layer norm", || {
            let (x, weight) = (normal([2000, 500], 41).variable(), normal([500], 42).variable());
            let bias = normal([500], 43).variable();
            with_gradients(&[&x, &weight, &bias], x.layer_norm(1, Some(&weight), Some(&bias), 1e-5))
        }),
        ("batch norm", || {
            let (x, weight) = (normal([64, 30, 16, 16], 44).variable(), normal([30], 45).variable());
            let bias = normal([30], 46).variable();
            let (y, mean, variance) = x.batch_norm(Some(&weight), Some(&bias), 1e-5);
            let mut all = with_gradients(&[&x, &weight, &bias], y);
            all.extend([mean, variance]);
            all
        }),
        ("cumulative sums", || {
            let x = normal([1000, 700], 47).variable();
            let mut all = with_gradients(&[&x], x.cumulative_sum(0));
            all.extend([x.cumulative_sum(1), x.flatten().cumulative_sum(0)]);
            all
        }),
        ("sort and top-k", || {
            let x = normal([300, 3000], 48).variable();
            let (sorted, order) = x.sort(-1, false);
            let mut all = with_gradients(&[&x], sorted);
            let (best, places) = x.topk(20, 0, true);
            all.extend([order, best, places, x.flatten().argsort(0, true)]);
            all
        }),
        ("gather and scatter with repeated positions", || {
            let x = normal([1000, 300], 49).variable();
            let index = Tensor::integers([4000, 300], 0..1000, &mut Random::resume(DRAW));
            let chosen = x.gather(0, &index);
            let mut all = with_gradients(&[&x], chosen.clone());
            all.push(x.scatter_add(0, &index, &chosen.detach()));
            all
        }),
        ("embedding with repeated positions", || {
            let table = normal([50, 64], 50).variable();
            let words = Tensor::integers([200, 100], 0..50, &mut Random::resume(DRAW));
            with_gradients(&[&table], words.embedding(&table))
        }),
        ("attention", || {
            let [q, k, v] = [51, 52, 53].map(|number| normal([2, 8, 160, 32], number).variable());
            let options = Attention::new().causal(true).dropout(0.1, DRAW);
            with_gradients(&[&q, &k, &v], q.scaled_dot_product_attention(&k, &v, &options))
        }),
        ("convolution and pooling", || {
            let (x, weight) = (normal([4, 8, 40, 40], 60).variable(), normal([16, 8, 3, 3], 61).variable());
            let bias = normal([16], 62).variable();
            let y = x.conv2d(&weight, Some(&bias), Conv::new().padding(1));
            let mut all = with_gradients(&[&x, &weight, &bias], y);
            all.extend(with_gradients(&[&x], x.max_pool2d(2)));
            all
        }),
        ("a training with dropout", || {
            let mut weights: Vec<Parameter> = [(64, 256), (256, 256), (256, 10)]
                .iter()
                .enumerate()
                .map(|(i, &(rows, columns))| Parameter::new(normal([rows, columns], 20 + i as u64) * 0.1))
                .collect();
            let (mut random, x, target) = (Random::new(9), normal([200, 64], 30), normal([200, 10], 31));
            let mut losses = Vec::new();
            for _ in 0..10 {
                let hidden = x.matmul(&weights[0]).tanh().dropout(0.2, random.draw());
                let hidden = hidden.matmul(&weights[1]).tanh().dropout(0.2, random.draw());
                let loss = (hidden.matmul(&weights[2]) - &target).square().mean();
                let gradients = loss.backward().unwrap_or_else(|error| panic!("{error}"));
                for weight in &mut weights {
                    let gradient = gradients.of(weight).unwrap_or_else(|error| panic!("{error}"));
                    let step = (&weight.detach() - &(gradient * 0.1)).to_vec::<f32>().expect("numbers");
                    weight.update(|numbers: &mut [f32]| numbers.copy_from_slice(&step)).expect("an update");
                }
                losses.push(loss);
            }
            losses.extend(weights.iter().map(|weight| weight.detach()));
            losses
        }),
        ("a training of convolutions with batch norm", || {
            let init = &mut Init::new().seed(3);
            let conv =
                |inputs, outputs, init: &mut Init| Conv2d::options(inputs, outputs, 3).with_padding(1).build(init);
            let model = Sequential::new()
                .then(conv(3, 16, init))
                .then(BatchNorm2d::new(16, init))
                .then(Relu)
                .then(MaxPool2d::new(2))
                .then(conv(16, 24, init))
                .then(BatchNorm2d::new(24, init))
                .then(Dropout2d::new(0.2, init))
                .then(Flatten::new())
                .then(Linear::new(24 * 64, 10, init));
            let (x, classes) = (normal([32, 3, 16, 16], 70), Tensor::integers([32], 0..10, &mut Random::new(71)));
            trained(model, |model| cross_entropy(&model.forward(&x), &classes))
        }),
        ("a training of an LSTM", || {
            let init = &mut Init::new().seed(4);
            let model = Reader {
                embed: Embedding::new(200, 48, init),
                read: Lstm::options(48, 96).with_layers(2).with_batch_first().with_dropout(0.2).build(init),
                head: Linear::new(96, 10, init),
            };
            let words = Tensor::integers([64, 20], 0..40, &mut Random::new(72));
            let classes = Tensor::integers([64], 0..10, &mut Random::new(73));
            trained(model, |model| {
                let read = model.read.forward(&model.embed.forward(&words)).output;
                cross_entropy(&model.head.forward(&read.select(1, -1)), &classes)
            })
        }),
        ("a training of a GPT with dropout", || {
            let init = &mut Init::new().seed(5);
            let block = TransformerEncoderLayer::options(64, 4).with_norm_first().with_batch_first().with_dropout(0.1);
            let model = Sequential::new()
                .then(Embedding::new(100, 64, init))
                .then(Causal(block.clone().build(init)))
                .then(Causal(block.build(init)))
                .then(Linear::new(64, 100, init));
            let words = Tensor::integers([8, 65], 0..100, &mut Random::new(74));
            let (input, target) = (words.narrow(1, 0, 64), words.narrow(1, 1, 64).reshape(-1));
            trained(model, |model| cross_entropy(&model.forward(&input).reshape([512, 100]), &target))
        }),
    ]
}

struct Reader {
    embed: Embedding,
    read: Lstm,
    head: Linear,
}
module!(Reader { embed, read, head });

/// A transformer's layer in which no position sees a later one.
#[derive(Clone, Debug)]
struct Causal(TransformerEncoderLayer);

impl Module for Causal {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        self.0.visit(path, visitor);
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        self.0.visit_mut(path, visitor);
    }
}

impl Layer for Causal {
    fn forward(&self, input: &Tensor) -> Tensor {
        self.0.forward_masked(input, &Masks::new().causal())
    }
}

/// Four steps; the losses and all the model has become.
fn trained<M: Module>(mut model: M, loss: impl Fn(&M) -> Tensor) -> Vec<Tensor> {
    let (mut optimizer, mut all) = (AdamW::new(0.01), Vec::new());
    for _ in 0..4 {
        let loss = loss(&model);
        let gradients = loss.backward().unwrap_or_else(|error| panic!("{error}"));
        optimizer.step(&mut model, &gradients).unwrap_or_else(|error| panic!("{error}"));
        all.push(loss);
    }
    all.extend(model.tensors().unwrap_or_else(|error| panic!("{error}")).into_iter().map(|(_, tensor)| tensor));
    all
}

/// The bytes of the results, as one number each (FNV-1a of the bits).
fn digest(tensors: Vec<Tensor>) -> Vec<u64> {
    let bits = |tensor: &Tensor| -> Result<Vec<u64>, chainrule::Error> {
        Ok(match tensor.dtype()? {
            DType::F64 => tensor.to_vec::<f64>()?.into_iter().map(f64::to_bits).collect(),
            DType::I64 => tensor.to_vec::<i64>()?.into_iter().map(|x| x as u64).collect(),
            _ => tensor.to_dtype(DType::F32).to_vec::<f32>()?.into_iter().map(|x| x.to_bits() as u64).collect(),
        })
    };
    let fold = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    let digest = |tensor: Tensor| bits(&tensor).map(|bits| bits.into_iter().fold(0xcbf2_9ce4_8422_2325, fold));
    tensors.into_iter().map(|tensor| digest(tensor).unwrap_or_else(|error| panic!("{error}"))).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let (mut wrong, mut whole) = (String::new(), String::new());
    for (name, case) in cases() {
        let alone = digest(threads(1, case));
        let _ = writeln!(whole, "{name}: {alone:x?}");
        for count in [2, 3, 8] {
            let before = splits();
            let shared = digest(threads(count, case));
            let ordinary = splits() - before;
            let sure = digest(threads(count, || surely_split(case)));
            if shared != alone || sure != alone {
                let _ = writeln!(wrong, "{name}: {count} threads give other bytes than one");
            }
            if cfg!(feature = "parallel") && ordinary == 0 {
                let _ = writeln!(wrong, "{name}: ran in one piece with {count} threads");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    if let Ok(file) = std::env::var("CHAINRULE_DIGEST") {
        match std::fs::read_to_string(&file) {
            Ok(other) => assert_eq!(whole, other, "another build gives other bytes"),
            Err(_) => std::fs::write(&file, whole).expect("the digest's file"),
        }
    }
}
