//! Arguments drawn at random, most of them wrong: an operation answers or says what is wrong, forward and backward, and never panics.

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/chance.rs"]
mod chance;
#[path = "common/guard.rs"]
mod guard;

use allocator::Counting;
use chainrule::{
    Attention, Device, GridSample, Interpolation, Random, Recurrence, Resize, Result, Rotary, Stft, Tensor, loss, step,
};
use chance::{Attempt, Chance, search};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn convolution(c: &mut Chance, axes: usize, turned: bool) -> Vec<Tensor> {
    let rank = axes + 2;
    let least = rank - c.below(2);
    let (x, mut kernel) = (c.tensor(least..=rank), c.sizes(rank..=rank));
    let channels = x.shape().map_or(1, |shape| shape.get(shape.len().wrapping_sub(axes + 1)).copied().unwrap_or(1));
    if c.below(6) > 0 {
        kernel[usize::from(!turned)] = channels;
        kernel[2..].iter_mut().for_each(|taps| *taps = (*taps).clamp(1, 3));
    }
    let (weight, conv) = (c.of(&kernel), c.conv());
    let bias = if c.below(4) == 0 { Some(c.tensor(1..=1)) } else { None };
    let (x, bias) = (&x, bias.as_ref());
    vec![match (axes, turned) {
        (1, false) => x.conv1d(&weight, bias, conv),
        (2, false) => x.conv2d(&weight, bias, conv),
        (_, false) => x.conv3d(&weight, bias, conv),
        (1, true) => x.conv_transpose1d(&weight, bias, conv),
        (2, true) => x.conv_transpose2d(&weight, bias, conv),
        (_, true) => x.conv_transpose3d(&weight, bias, conv),
    }]
}

fn pair((first, second): (Tensor, Tensor)) -> Vec<Tensor> {
    vec![first, second]
}

const ATTEMPTS: &[Attempt<Vec<Tensor>>] = &[
    ("conv1d", |c| convolution(c, 1, false)),
    ("conv2d", |c| convolution(c, 2, false)),
    ("conv3d", |c| convolution(c, 3, false)),
    ("conv_transpose1d", |c| convolution(c, 1, true)),
    ("conv_transpose2d", |c| convolution(c, 2, true)),
    ("conv_transpose3d", |c| convolution(c, 3, true)),
    ("max_pool1d", |c| vec![c.tensor(2..=3).max_pool1d(c.pool())]),
    ("max_pool2d", |c| vec![c.tensor(3..=4).max_pool2d(c.pool())]),
    ("max_pool3d", |c| vec![c.tensor(4..=5).max_pool3d(c.pool())]),
    ("average_pool1d", |c| vec![c.tensor(2..=3).average_pool1d(c.pool())]),
    ("average_pool2d", |c| vec![c.tensor(3..=4).average_pool2d(c.pool())]),
    ("average_pool3d", |c| vec![c.tensor(4..=5).average_pool3d(c.pool())]),
    ("lp_pool2d", |c| vec![c.tensor(3..=4).lp_pool2d(c.one(&[1.0, 2.0, 3.0, 0.0]), c.pool())]),
    ("adaptive_average_pool2d", |c| vec![c.tensor(3..=4).adaptive_average_pool2d(c.some(1..=2, 0, 6))]),
    ("adaptive_max_pool2d", |c| vec![c.tensor(3..=4).adaptive_max_pool2d(c.some(1..=2, 0, 6))]),
    ("unfold", |c| vec![c.tensor(3..=4).unfold(c.pool())]),
    ("fold", |c| vec![c.tensor(2..=3).fold(c.some(2..=2, 1, 3), c.pool())]),
    ("unfold and fold", |c| {
        let (x, pool) = (c.tensor(4..=4), c.pool());
        let sizes = x.shape().map_or(vec![], |shape| shape.iter().map(|&size| size as isize).collect());
        vec![x.unfold(pool).fold(&sizes[sizes.len().min(2)..], pool)]
    }),
    ("interpolate", |c| {
        let modes = [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic, Interpolation::Area];
        let resize = if c.coin() {
            Resize::to(c.some(1..=3, 0, 7))
        } else {
            Resize::by(c.one(&[0.5, 1.0, 1.7, 3.0, 0.0, -1.0]))
        };
        let mut resize = resize.mode(c.one(&modes));
        if c.coin() {
            resize = resize.align_corners();
        }
        if c.below(3) == 0 {
            resize = resize.antialias();
        }
        vec![c.tensor(2..=5).interpolate(resize)]
    }),
    ("grid_sample", |c| {
        let (x, mut grid) = (c.tensor(4..=4), c.sizes(4..=4));
        if c.below(4) > 0 {
            (grid[0], grid[3]) = (x.shape().map_or(1, |shape| shape[0]), 2);
        }
        let modes = [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic];
        vec![x.grid_sample(&c.of(&grid), GridSample::new().mode(c.one(&modes)).padding(c.pad()))]
    }),
    ("pad", |c| {
        let borders: Vec<(isize, isize)> = (0..c.below(4)).map(|_| (c.number(-3, 5), c.number(-3, 5))).collect();
        vec![c.tensor(0..=4).pad(&borders, c.pad())]
    }),
    ("roll", |c| vec![c.tensor(0..=4).roll(c.some(0..=2, -7, 7), c.some(0..=2, -3, 3).as_slice())]),
    ("reshape", |c| vec![c.tensor(0..=4).reshape(c.some(0..=4, -1, 6))]),
    ("flatten_axes", |c| vec![c.tensor(0..=4).flatten_axes(c.axis(), c.axis())]),
    ("unflatten", |c| vec![c.tensor(0..=3).unflatten(c.axis(), c.some(0..=3, -1, 4))]),
    ("expand", |c| vec![c.tensor(0..=3).expand(c.some(0..=4, -1, 5))]),
    ("permute", |c| vec![c.tensor(0..=4).permute(c.some(0..=4, -4, 4).as_slice())]),
    ("slice", |c| {
        let (from, to, by) = (c.number(-6, 6), c.number(-6, 6), c.number(-3, 3));
        vec![c.tensor(0..=3).slice((step(from..to, by), ..))]
    }),
    ("narrow", |c| vec![c.tensor(0..=3).narrow(c.axis(), c.count(6), c.count(6))]),
    ("select", |c| vec![c.tensor(0..=3).select(c.axis(), c.number(-6, 6))]),
    ("repeat", |c| vec![c.tensor(0..=3).repeat(c.some(0..=4, 0, 3))]),
    ("repeat_interleave", |c| vec![c.tensor(0..=3).repeat_interleave(c.count(4), c.axis())]),
    ("diagonal", |c| vec![c.tensor(0..=4).diagonal(c.number(-6, 6), c.axis(), c.axis())]),
    ("diagonal_matrix", |c| vec![c.tensor(0..=3).diagonal_matrix(c.number(-4, 4))]),
    ("tril", |c| vec![c.tensor(0..=3).tril(c.number(-7, 7)), c.tensor(2..=3).triu(c.number(-7, 7))]),
    ("cat", |c| {
        let x = c.tensor(0..=3);
        vec![Tensor::cat(&[x.clone(), c.like(&x), c.like(&x)], c.axis())]
    }),
    ("stack", |c| {
        let x = c.tensor(0..=3);
        vec![Tensor::stack(&[x.clone(), c.like(&x)], c.axis())]
    }),
    ("sliding_windows", |c| vec![c.tensor(0..=3).sliding_windows(c.axis(), c.count(5), c.count(4))]),
    ("differences", |c| vec![c.tensor(0..=3).differences(c.count(4), c.axis())]),
    ("sort", |c| pair(c.tensor(0..=3).sort(c.axis(), c.coin()))),
    ("topk", |c| pair(c.tensor(0..=3).topk(c.count(6), c.axis(), c.coin()))),
    ("kth_value", |c| pair(c.tensor(0..=3).kth_value(c.count(6), c.axis()))),
    ("quantile", |c| vec![c.tensor(0..=3).quantile(c.one(&[0.0, 0.3, 1.0, 1.5, f64::NAN]), c.axis())]),
    ("mode", |c| pair(c.tensor(0..=3).mode(c.axis()))),
    ("cumulative", |c| {
        let (x, axis) = (c.tensor(0..=3), c.axis());
        vec![x.cumulative_sum(axis), x.cumulative_prod(axis), x.cumulative_logsumexp(axis), x.cumulative_max(axis).0]
    }),
    ("sums", |c| {
        let (x, axes) = (c.tensor(0..=4), c.some(0..=3, -4, 4));
        vec![x.sum_over(axes.as_slice()), x.mean_over(axes.as_slice()), x.var_over(axes.as_slice())]
    }),
    ("extremes", |c| {
        let (x, axis) = (c.tensor(0..=3), c.axis());
        vec![x.max_over(axis), x.argmax_over(axis), x.logsumexp_over(axis), x.prod_over(axis)]
    }),
    ("softmax", |c| {
        let (x, axis) = (c.tensor(0..=3), c.axis());
        vec![x.softmax(axis), x.log_softmax(axis), x.glu(axis), x.normalize(2.0, axis)]
    }),
    ("gather", |c| vec![c.tensor(0..=3).gather(c.axis(), &c.positions(0..=3))]),
    ("index_select", |c| vec![c.tensor(0..=3).index_select(c.axis(), &c.positions(0..=2))]),
    ("take", |c| vec![c.tensor(0..=3).take(&c.positions(0..=3))]),
    ("scatter_add", |c| {
        let (x, positions) = (c.tensor(1..=2), c.positions(1..=2));
        let source = c.like(&positions);
        vec![x.scatter_add(c.axis(), &positions, &source), x.scatter(c.axis(), &positions, &source)]
    }),
    ("index_add", |c| {
        let (x, axis) = (c.tensor(1..=2), c.number(-1, 1));
        let count = x.shape().map_or(0, |shape| shape[axis.unsigned_abs().min(shape.len() - 1)]);
        let positions = Tensor::integers([count], 0..1, &mut c.random);
        vec![x.index_add(axis, &positions, &c.like(&x)), x.index_add(c.axis(), &c.positions(1..=1), &c.like(&x))]
    }),
    ("index_put", |c| {
        let (x, rows, columns) = (c.tensor(0..=3), c.positions(0..=2), c.positions(0..=2));
        vec![x.index_put(&[&rows, &columns], &c.tensor(0..=2)), x.index(&[&rows, &columns])]
    }),
    ("one_hot", |c| vec![c.positions(0..=3).one_hot(c.count(6)), c.positions(0..=1).bincount(c.count(5))]),
    ("matmul", |c| vec![c.tensor(0..=4).matmul(&c.tensor(0..=4))]),
    ("matmul that fits", |c| {
        let (x, mut other) = (c.tensor(1..=4), c.sizes(2..=4));
        let inner = x.shape().map_or(1, |shape| shape[shape.len() - 1]);
        let place = other.len() - 2;
        other[place] = inner;
        vec![x.matmul(&c.of(&other))]
    }),
    ("einsum", |c| {
        let forms = [
            "ij,jk->ik",
            "ii->i",
            "ii",
            "i,i->",
            "...i,...i->...",
            "ij->ji",
            "b...,...b",
            "ij,",
            "->",
            "ij,kj->",
            "q->qq",
        ];
        vec![Tensor::einsum(c.one(&forms), &[&c.tensor(0..=3), &c.tensor(0..=3)])]
    }),
    ("linear", |c| {
        let x = c.tensor(0..=3);
        let last = x.shape().map_or(1, |shape| shape.last().copied().unwrap_or(1));
        let rows = c.below(5);
        vec![x.linear(&c.of(&[rows, last]), Some(&c.of(&[rows]))), x.linear(&c.tensor(0..=3), None)]
    }),
    ("attention", |c| {
        let query = c.tensor(2..=4);
        let (keys, values) = (c.like(&query), c.like(&query));
        let mut options = Attention::new().causal(c.coin()).grouped(c.coin());
        if c.coin() {
            options = options.mask(&c.tensor(0..=4));
        }
        vec![query.scaled_dot_product_attention(&keys, &values, &options)]
    }),
    ("norms", |c| {
        let x = c.tensor(0..=4);
        vec![x.layer_norm(c.count(5), None, None, 1e-5), x.group_norm(c.count(4), None, None, 1e-5)]
    }),
    ("embedding", |c| {
        vec![c.tensor(2..=2).embedding(&c.positions(0..=3)), c.tensor(0..=3).embedding(&c.positions(0..=3))]
    }),
    ("linear algebra", |c| {
        let x = c.tensor(0..=4);
        vec![x.inverse(), x.determinant(), x.cholesky(), x.solve(&c.tensor(0..=3)), x.matrix_power(c.number(-2, 3))]
    }),
    ("products of shapes", |c| {
        let (x, y) = (c.tensor(0..=3), c.tensor(0..=3));
        vec![x.kron(&y), x.outer(&y), x.cross(&y, c.axis()), x.tensordot(&y, c.axis(), c.axis()), &x + &y]
    }),
    ("pixels", |c| vec![c.tensor(1..=4).pixel_shuffle(c.count(4)), c.tensor(1..=4).pixel_unshuffle(c.count(4))]),
    ("losses", |c| {
        let x = c.tensor(0..=3);
        let (y, z) = (c.like(&x), c.like(&x));
        let signs = y.sign();
        vec![
            loss::mse_loss(&x, &y),
            loss::huber_loss(&x, &y),
            loss::kl_div(&x, &y),
            loss::dice_loss(&x, &y),
            loss::binary_cross_entropy_with_logits(&x, &y),
            loss::gaussian_nll_loss(&x, &y, &z),
            loss::triplet_margin_loss(&x, &y, &z),
            loss::cosine_embedding_loss(&x, &y, &signs),
            loss::margin_ranking_loss(&x, &y, &signs),
            loss::distillation_loss(&x, &y),
            loss::info_nce_loss(&x, &y),
            loss::nt_xent_loss(&x, &y),
            loss::multilabel_soft_margin_loss(&x, &y),
        ]
    }),
    ("losses of classes", |c| {
        let (x, targets) = (c.tensor(1..=3), c.positions(0..=2));
        let rows: Vec<usize> = x.shape().map_or(vec![], |shape| shape.iter().take(1).copied().collect());
        let fitting = Tensor::integers(rows.as_slice(), 0..1, &mut c.random);
        vec![
            loss::cross_entropy(&x, &fitting),
            loss::cross_entropy(&x, &targets),
            loss::cross_entropy(&x, &c.like(&x)),
            loss::nll_loss(&x, &fitting),
            loss::focal_loss(&x, &fitting),
            loss::multi_margin_loss(&x, &fitting),
            loss::multilabel_margin_loss(&x, &targets),
        ]
    }),
    ("ctc_loss", |c| {
        let (logits, targets) = (c.tensor(3..=3), c.positions(2..=2));
        let batch = logits.shape().map_or(0, |shape| shape[1]);
        let [long, short] = [4, 3].map(|most| Tensor::integers([batch], 0..most, &mut c.random));
        vec![loss::ctc_loss(&logits, &targets, &long, &short)]
    }),
    ("recurrent", |c| {
        let (inputs, width, gates) = (c.below(4), c.below(4), c.one(&[4, 3, 1, 2]));
        let weights = Recurrence::new(&c.of(&[gates * width, inputs]), &c.of(&[gates * width, width]));
        let (steps, batch) = (c.below(4), c.below(3));
        let x = if c.below(4) > 0 { c.of(&[steps, batch, inputs]) } else { c.tensor(1..=4) };
        let state = c.of(&[batch, width]);
        let mut all = x.lstm(&state, &state, &weights).to_vec();
        all.extend(x.gru(&state, &weights));
        all.extend(x.rnn_tanh(&state, &weights));
        all.push(x.gru_cell(&state, &weights));
        all
    }),
    ("rotary", |c| vec![c.tensor(1..=4).rotary(c.count(9), Rotary::new())]),
    ("fourier", |c| {
        let (x, axis) = (c.tensor(0..=3), c.axis());
        let mut sizes = c.sizes(0..=2);
        sizes.push(2);
        let pairs = c.of(&sizes);
        vec![x.rfft(axis), pairs.fft(axis), pairs.ifft(axis), pairs.irfft(axis, c.count(9)), x.rfft2(), pairs.fft2()]
    }),
    ("stft", |c| {
        let (size, hop) = (c.count(6), c.count(4));
        let how = Stft::new(size).hop(hop).padding(c.pad());
        let x = c.tensor(1..=2);
        let spectrum = x.stft(&how);
        let again = spectrum.istft(&how, if c.coin() { Some(c.count(9)) } else { None });
        vec![spectrum, again]
    }),
    ("draws", |c| {
        let (x, count) = (c.tensor(0..=2).abs(), c.count(5));
        let mut random = Random::new(1);
        vec![
            x.multinomial(count, &mut random),
            x.multinomial_repeated(count, &mut random),
            x.poisson(&mut random),
            x.clamp(0.0, 1.0).flip_coins(&mut random),
            x.shuffled(c.axis(), &mut random),
            x.dropout(c.one(&[0.0, 0.5, 1.0, 1.5]), random.draw()),
        ]
    }),
    ("many kinds", |c| vec![c.tensor(0..=2).to(Device::Cpu), c.tensor(0..=3).at_least_rank(c.count(12))]),
];

/// The answers' numbers and slopes, as far as there are any.
fn slopes(results: Vec<Tensor>) -> Vec<Result<()>> {
    let slopes = |result: Tensor| match result.checked()? {
        result if result.is_tracked() => result.square().sum().backward().map(drop),
        _ => Ok(()),
    };
    results.into_iter().map(slopes).collect()
}

#[test]
fn an_answer_or_an_error() {
    search(ATTEMPTS, slopes);
}
