//! Rows of the family `pool`.

use super::*;
use chainrule::ErrorKind::{Index as Outside, Shape, Value};
use chainrule::{GridSample, Interpolation, Pad, Pool, Resize};

fn resize(name: &'static str, resize: Resize) -> Row {
    row(name, move |x| x[0].interpolate(resize))
}

pub fn rows() -> Vec<Row> {
    let zeros = |sizes: &[usize]| Tensor::zeros(sizes);
    vec![
        row("max_pool1d", |x| x[0].max_pool1d(Pool::new(3).stride(2).padding(1).ceil()))
            .on([real([2, 3, 8]).distinct()])
            .on([real([0, 3, 8])])
            .on([real([3, 4]).distinct()])
            .wrong(Value, &["a window of 0"], move || zeros(&[1, 1, 4]).max_pool1d(0))
            .wrong(Value, &["a padding of 2 for windows of 3", "at most half a window, 1"], move || {
                zeros(&[1, 1, 9]).max_pool1d(Pool::new(3).padding(2))
            }),
        row("max_pool1d over the end", |x| x[0].max_pool1d(Pool::new(5).stride(4).ceil()))
            .on([real([2, 3, 2]).distinct()])
            .on([real([2, 3, 4]).distinct()])
            .definition(|x| x[0].max_over(2).unsqueeze(2))
            .wrong(Shape, &["the kernel is larger than the input", "7 over a width of 5"], move || {
                zeros(&[1, 1, 3]).max_pool1d(Pool::new(7).stride(3).ceil())
            }),
        row("max_pool2d", |x| x[0].max_pool2d(2))
            .on([real([2, 3, 4, 5]).distinct()])
            .on([real([1, 2, 2, 2]).distinct()])
            .wrong(Shape, &["the input has 2 axes", "[batch, channels, height, width]"], move || {
                zeros(&[4, 4]).max_pool2d(2)
            })
            .wrong(Shape, &["the kernel is larger than the input", "5 over a height of 4"], move || {
                zeros(&[1, 1, 4, 9]).max_pool2d(5)
            })
            .wrong(ErrorKind::DType, &["i64 elements"], move || {
                zeros(&[1, 1, 4, 4]).to_dtype(DType::I64).max_pool2d(2)
            }),
        row("max_pool2d dilated", |x| x[0].max_pool2d(Pool::new([2, 3]).stride([1, 2]).dilation([2, 1]).padding([0, 1])))
            .on([real([2, 2, 5, 7]).distinct()]),
        row("max_pool3d", |x| x[0].max_pool3d(Pool::new([1, 2, 2]).stride(1)))
            .on([real([1, 2, 2, 3, 3]).distinct()]),
        row("max_pool2d_with_positions", |x| x[0].max_pool2d_with_positions(2))
            .on([real([1, 2, 4, 4]).distinct()]),
        row("max_unpool2d", |x| x[0].max_unpool2d(&x[1], [4, 5]))
            .on([real([2, 3, 2, 2]), index([2, 3, 2, 2], 20)])
            .wrong(Outside, &["position 16 in a volume of 16"], move || {
                zeros(&[1, 1, 1, 1]).max_unpool2d(&Tensor::full([1, 1, 1, 1], 16.0, DType::I64), 4)
            })
            .wrong(Shape, &["values of", "positions of"], move || {
                zeros(&[1, 1, 1, 1]).max_unpool2d(&Tensor::full([1, 1, 2, 1], 1.0, DType::I64), 4)
            }),
        row("average_pool1d", |x| x[0].average_pool1d(Pool::new(3).stride(2).padding(1).ceil()))
            .on([real([2, 3, 8])])
            .on([real([0, 3, 8])])
            .wrong(Value, &["a divisor of 0"], move || zeros(&[1, 1, 4]).average_pool1d(Pool::new(2).divisor(0.0))),
        row("average_pool1d over the end", |x| x[0].average_pool1d(Pool::new(5).stride(4).ceil()))
            .on([real([2, 3, 2])])
            .on([real([2, 3, 4])])
            .definition(|x| x[0].mean_over(2).unsqueeze(2)),
        row("average_pool2d", |x| x[0].average_pool2d(Pool::new([2, 3]).padding([1, 1]).without_padding()))
            .on([real([2, 3, 4, 5])])
            .on([real([1, 1, 1, 3])]),
        row("average_pool2d plain", |x| x[0].average_pool2d(2))
            .on([real([2, 3, 4, 6])])
            .definition(|x| {
                let windows = x[0].reshape([2, 3, 2, 2, 3, 2]);
                windows.sum_over([3, 5]) * 0.25
            }),
        row("average_pool3d", |x| x[0].average_pool3d(Pool::new(2).stride(1).divisor(3.0)))
            .on([real([1, 2, 2, 3, 3])]),
        row("adaptive_max_pool1d", |x| x[0].adaptive_max_pool1d(3)).on([real([2, 2, 7]).distinct()]),
        row("adaptive_max_pool2d", |x| x[0].adaptive_max_pool2d([2, 5])).on([real([1, 2, 5, 3]).distinct()]),
        row("adaptive_max_pool1d with positions", |x| x[0].adaptive_max_pool1d_with_positions(3))
            .on([real([2, 2, 7]).distinct()])
            .on([real([2, 2]).distinct()])
            .on([real([0, 2, 7])]),
        row("adaptive_max_pool2d with positions", |x| x[0].adaptive_max_pool2d_with_positions([2, 5]))
            .on([real([1, 2, 5, 3]).distinct()])
            .on([real([2, 3, 4]).distinct()])
            // Each winner is where its position says.
            .definition(|x| {
                let [_, positions] = x[0].adaptive_max_pool2d_with_positions([2, 5]);
                let flat = x[0].flatten_axes(-2, -1).gather(-1, &positions.flatten_axes(-2, -1));
                [flat.unflatten(-1, [2, 5]), positions]
            })
            .wrong(Shape, &["the height is 0"], move || zeros(&[1, 2, 0, 3]).adaptive_max_pool2d_with_positions(2)),
        row("adaptive_max_pool3d with positions", |x| x[0].adaptive_max_pool3d_with_positions([1, 2, 2]))
            .on([real([1, 2, 3, 3, 2]).distinct()])
            .wrong(Shape, &["the input has 2 axes"], move || zeros(&[2, 3]).adaptive_max_pool3d_with_positions(2))
            .wrong(Value, &["2 numbers for the number of windows of 3 axes"], move || {
                zeros(&[1, 1, 2, 2, 2]).adaptive_max_pool3d_with_positions([2, 2])
            }),
        row("adaptive_average_pool1d", |x| x[0].adaptive_average_pool1d(4))
            .on([real([2, 2, 7])])
            .wrong(Shape, &["the width is 0"], move || zeros(&[1, 2, 0]).adaptive_average_pool1d(3)),
        row("adaptive_average_pool2d", |x| x[0].adaptive_average_pool2d(1))
            .on([real([2, 3, 4, 5])])
            .definition(|x| x[0].sum_keep([2, 3]) * 0.05),
        resize("interpolate nearest", Resize::to([3, 7]))
            .on([real([1, 2, 5, 4])])
            .wrong(Shape, &["the input has 2 axes"], move || zeros(&[4, 4]).interpolate(Resize::to(2)))
            .wrong(Value, &["2 factors for 1 axes"], move || {
                zeros(&[1, 1, 4]).interpolate(Resize::by_each(&[1.0, 2.0]))
            })
            .wrong(Value, &["a factor of 0.1 takes the width of 4 to 0"], move || {
                zeros(&[1, 1, 4]).interpolate(Resize::by(0.1))
            })
            .wrong(Value, &["a factor of NaN"], move || zeros(&[1, 1, 4]).interpolate(Resize::by(f64::NAN)))
            .wrong(Value, &["a size of 0"], move || zeros(&[1, 1, 4]).interpolate(Resize::to(0)))
            .wrong(Value, &["align_corners with Nearest"], move || {
                zeros(&[1, 1, 4]).interpolate(Resize::to(3).align_corners())
            })
            .wrong(ErrorKind::Memory, &["more elements than memory"], move || {
                zeros(&[1, 1, 4, 4, 4]).interpolate(Resize::to(1 << 22))
            }),
        resize("interpolate nearest exact", Resize::to(5).mode(Interpolation::NearestExact)).on([real([1, 2, 7])]),
        resize("interpolate linear", Resize::to([3, 7]).mode(Interpolation::Linear)).on([real([1, 2, 5, 4])]),
        resize("interpolate corners", Resize::to([2, 3, 4]).mode(Interpolation::Linear).align_corners())
            .on([real([1, 1, 3, 2, 2])]),
        resize("interpolate cubic", Resize::by(1.7).mode(Interpolation::Cubic)).on([real([1, 2, 3, 4])]),
        resize("interpolate area", Resize::by(0.5).mode(Interpolation::Area)).on([real([1, 2, 5, 4])]),
        resize("interpolate antialias", Resize::to(4).mode(Interpolation::Linear).antialias())
            .on([real([1, 2, 8])])
            .definition(|x| {
                // Every result averages four elements as [1, 3, 3, 1]; at the ends what is there.
                let ends = [3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0];
                let mut weights = [[0.0; 8]; 4];
                for (i, &weight) in ends.iter().enumerate() {
                    (weights[0][i], weights[3][7 - i]) = (weight, weight);
                }
                for (row, first) in [(1, 1), (2, 3)] {
                    for (i, weight) in [0.125, 0.375, 0.375, 0.125].into_iter().enumerate() {
                        weights[row][first + i] = weight;
                    }
                }
                let weights = Tensor::from_vec(weights.concat(), [4, 8]).unwrap_or_else(Tensor::failed);
                x[0].matmul(&weights.t().to_dtype(x[0].dtype().unwrap_or(DType::F32)))
            })
            .wrong(Value, &["antialias with Area"], move || {
                zeros(&[1, 1, 4]).interpolate(Resize::to(3).mode(Interpolation::Area).antialias())
            }),
        resize("interpolate antialias cubic", Resize::by(0.4).mode(Interpolation::Cubic).antialias())
            .on([real([1, 2, 7, 6])]),
        resize("interpolate antialias larger", Resize::to([5, 3]).mode(Interpolation::Linear).antialias())
            .on([real([1, 1, 3, 3])])
            .definition(|x| x[0].interpolate(Resize::to([5, 3]).mode(Interpolation::Linear))),
        row("lp_pool1d", |x| x[0].lp_pool1d(2.5, Pool::new(3).stride(2)))
            .on([real([2, 2, 7]).positive()])
            .on([real([1, 1, 3]).positive()])
            .composed()
            .definition(|x| x[0].pow(2.5).average_pool1d(Pool::new(3).stride(2).divisor(1.0)).pow(0.4))
            .wrong(Value, &["a kernel of 0"], move || zeros(&[1, 1, 4]).lp_pool1d(2.0, 0)),
        row("lp_pool2d", |x| x[0].lp_pool2d(3.0, [2, 3]))
            .on([real([2, 2, 4, 6]).positive()])
            .composed()
            .definition(|x| x[0].pow(3.0).average_pool2d(Pool::new([2, 3]).divisor(1.0)).pow(1.0 / 3.0))
            .wrong(Shape, &["the input has 2 axes"], move || zeros(&[4, 4]).lp_pool2d(2.0, 2)),
        row("lp_pool3d", |x| x[0].lp_pool3d(2.0, 2)).on([real([1, 2, 2, 4, 2]).positive()]).composed(),
        row("grid_sample", |x| x[0].grid_sample(&x[1], GridSample::new()))
            .on([real([2, 3, 3, 4]), places([2, 2, 5, 2])])
            .on([real([1, 1, 3, 4]), places([1, 1, 1, 2])])
            .on([real([0, 2, 3, 4]), places([0, 2, 2, 2])])
            .on([real([1, 2, 3, 4]), places([1, 0, 2, 2])])
            .definition(|x| sampled(x, false, |at, _| at.clone(), line))
            .wrong(Shape, &["the input has 3 axes"], move || {
                zeros(&[1, 2, 3]).grid_sample(&zeros(&[1, 2, 2]), GridSample::new())
            })
            .wrong(Shape, &["the grid is [2, 4, 4, 2]", "[batch, height, width, 2]", "batch of 1"], move || {
                zeros(&[1, 1, 3, 3]).grid_sample(&zeros(&[2, 4, 4, 2]), GridSample::new())
            })
            .wrong(Shape, &["no elements to read"], move || {
                zeros(&[1, 1, 0, 3]).grid_sample(&zeros(&[1, 4, 4, 2]), GridSample::new())
            })
            .wrong(Value, &["sampling with Area"], move || {
                let area = GridSample::new().mode(Interpolation::Area);
                zeros(&[1, 1, 3, 3]).grid_sample(&zeros(&[1, 4, 4, 2]), area)
            })
            .wrong(Value, &["padding with Circular"], move || {
                let circular = GridSample::new().padding(Pad::Circular);
                zeros(&[1, 1, 3, 3]).grid_sample(&zeros(&[1, 4, 4, 2]), circular)
            })
            .wrong(Value, &["cubic sampling of volumes"], move || {
                let cubic = GridSample::new().mode(Interpolation::Cubic);
                zeros(&[1, 1, 3, 3, 3]).grid_sample(&zeros(&[1, 4, 4, 4, 3]), cubic)
            })
            .wrong(ErrorKind::DType, &["f32 and f64"], move || {
                zeros(&[1, 1, 3, 3]).grid_sample(&zeros(&[1, 4, 4, 2]).to_dtype(DType::F64), GridSample::new())
            }),
        row("grid_sample border", |x| x[0].grid_sample(&x[1], GridSample::new().padding(Pad::Replicate)))
            .on([real([2, 3, 3, 4]), places([2, 2, 5, 2])])
            .definition(|x| sampled(x, false, |at, size| at.clamp(0.0, size - 1.0), line)),
        row("grid_sample reflection", |x| x[0].grid_sample(&x[1], GridSample::new().padding(Pad::Reflect)))
            .on([real([2, 3, 3, 4]), places([2, 2, 5, 2])])
            .definition(|x| {
                // Mirrored at the outer edges, once on each side; then there is nothing beyond the last centres.
                let mirrored = |at: &Tensor, size: f64| {
                    let folded = (at + 0.5).abs() - 0.5;
                    ((size - 1.0) - (((size - 1.0) - folded + 0.5).abs() - 0.5)).clamp(0.0, size - 1.0)
                };
                sampled(x, false, mirrored, line)
            }),
        row("grid_sample reflection of corners", |x| {
            x[0].grid_sample(&x[1], GridSample::new().padding(Pad::Reflect).align_corners())
        })
        .on([real([2, 3, 3, 4]), places([2, 2, 5, 2])])
        .definition(|x| {
            sampled(x, true, |at, size| (size - 1.0) - ((size - 1.0) - at.abs()).abs(), line)
        }),
        row("grid_sample nearest", |x| x[0].grid_sample(&x[1], GridSample::new().mode(Interpolation::Nearest)))
            .on([real([2, 3, 3, 4]), places([2, 2, 5, 2])])
            .definition(|x| sampled(x, false, |at, _| at.clone(), |t| t.abs().less(0.5).to_dtype(t.dtype().unwrap_or(DType::F32)))),
        row("grid_sample cubic", |x| x[0].grid_sample(&x[1], GridSample::new().mode(Interpolation::Cubic)))
            .on([real([2, 3, 3, 4]), places([2, 2, 5, 2])])
            .definition(|x| sampled(x, false, |at, _| at.clone(), keys)),
        row("grid_sample cubic border", |x| {
            let form = GridSample::new().mode(Interpolation::Cubic).padding(Pad::Replicate).align_corners();
            x[0].grid_sample(&x[1], form)
        })
        .on([real([2, 2, 3, 4]), places([2, 2, 5, 2])])
        .definition(|x| {
            // As if the outer elements went on.
            let wide = x[0].pad(&[(4, 4), (4, 4)], Pad::Replicate);
            let scaled = |axis: usize, size: f64| (x[1].select(-1, axis) * ((size - 1.0) / (size + 7.0))).unsqueeze(-1);
            let grid = Tensor::cat(&[scaled(0, 4.0), scaled(1, 3.0)], -1);
            sampled(&[wide, grid], true, |at, _| at.clone(), keys)
        }),
        row("grid_sample volume", |x| x[0].grid_sample(&x[1], GridSample::new().align_corners()))
            .on([real([2, 2, 3, 3, 4]), places([2, 1, 2, 3, 3])])
            .definition(|x| sampled(x, true, |at, _| at.clone(), line)),
        row("grid_sample volume nearest", |x| {
            x[0].grid_sample(&x[1], GridSample::new().mode(Interpolation::Nearest).padding(Pad::Reflect))
        })
        .on([real([1, 2, 3, 3, 4]), places([1, 2, 2, 2, 3])]),
        row("affine_grid", |x| x[0].affine_grid([3, 4], true))
            .on([real([2, 2, 3])])
            .on([real([0, 2, 3])])
            .composed()
            .definition(|x| {
                let dtype = x[0].dtype().unwrap_or(DType::F32);
                let of = |axis| x[0].select(-1, axis).unsqueeze(1).unsqueeze(1);
                let steps = |count: usize| -> Tensor {
                    let steps: Vec<f64> = (0..count).map(|i| 2.0 * i as f64 / (count - 1) as f64 - 1.0).collect();
                    Tensor::from_vec(steps, [count]).unwrap_or_else(Tensor::failed).to_dtype(dtype)
                };
                let (across, down) = (steps(4).reshape([1, 1, 4, 1]), steps(3).reshape([1, 3, 1, 1]));
                of(0) * across + of(1) * down + of(2)
            })
            .wrong(Shape, &["maps [2, 2, 3] for a grid [3, 4, 5]"], move || zeros(&[2, 2, 3]).affine_grid([3, 4, 5], true))
            .wrong(ErrorKind::DType, &["i64"], move || {
                zeros(&[2, 2, 3]).to_dtype(DType::I64).affine_grid([3, 4], true)
            }),
        row("affine_grid volume", |x| x[0].affine_grid([2, 1, 3], false)).on([real([2, 3, 4])]).composed(),
        row("pixel_shuffle", |x| x[0].pixel_shuffle(2))
            .on([real([2, 8, 2, 3])])
            .on([real([4, 1, 1])])
            .dtypes(ALL)
            .wrong(Shape, &["6 channels", "multiple of 4"], move || zeros(&[1, 6, 2, 2]).pixel_shuffle(2))
            .wrong(Value, &["a factor of 0"], move || zeros(&[1, 6, 2, 2]).pixel_shuffle(0)),
        row("pixel_unshuffle", |x| x[0].pixel_unshuffle(2))
            .on([real([2, 2, 4, 6])])
            .dtypes(ALL)
            .wrong(Shape, &["3 x 2 pixels"], move || zeros(&[1, 6, 3, 2]).pixel_unshuffle(2)),
        row("channel_shuffle", |x| x[0].channel_shuffle(2))
            .on([real([2, 4, 3])])
            .dtypes(ALL)
            .wrong(Shape, &["3 groups do not divide 4"], move || zeros(&[1, 4, 2]).channel_shuffle(3)),
        row("unfold", |x| x[0].unfold(Pool::new(2).stride(2).padding(1)))
            .on([real([2, 2, 3, 4])])
            .on([real([1, 2, 5])])
            .on([real([1, 1, 2, 2, 2])])
            .dtypes(ALL)
            .wrong(Shape, &["the kernel is larger than the input"], move || zeros(&[1, 1, 3]).unfold(4))
            .on([real([2, 5])])
            .wrong(Shape, &["the input has 1 axes", "2 to 5"], move || zeros(&[3]).unfold(2)),
        row("unfold without a batch", |x| x[0].unfold(Pool::new([2, 3]).padding([1, 0])))
            .on([real([2, 3, 4])])
            .on([real([2, 2, 3, 4])])
            .dtypes(ALL)
            .definition(|x| {
                let whole = if x[0].rank().unwrap_or(0) == 3 { x[0].unsqueeze(0) } else { x[0].clone() };
                let columns = whole.unfold(Pool::new([2, 3]).padding([1, 0]));
                if x[0].rank().unwrap_or(0) == 3 { columns.select(0, 0) } else { columns }
            })
            .wrong(Value, &["3 numbers for the window of 1 axes"], move || zeros(&[3, 4, 5]).unfold([2, 2, 2])),
        row("unfold of a volume without a batch", |x| x[0].unfold([2, 1, 2])).on([real([2, 2, 3, 2])]),
        row("fold without a batch", |x| x[0].fold([3, 4], Pool::new(2)))
            .on([real([8, 6])])
            .on([real([0, 6])])
            .definition(|x| x[0].unsqueeze(0).fold([3, 4], Pool::new(2)).select(0, 0))
            .wrong(Shape, &["the columns have 4 axes", "or 2 without"], move || zeros(&[1, 1, 8, 6]).fold([3, 4], 2)),
        row("fold", |x| x[0].fold([3, 4], Pool::new(2)))
            .on([real([2, 8, 6])])
            .wrong(Shape, &["multiple of 4", "their last 6", "2 height x 3 width"], move || {
                zeros(&[1, 8, 5]).fold([3, 4], 2)
            })
            .wrong(Value, &["4 spatial sizes"], move || zeros(&[1, 8, 5]).fold([3, 4, 2, 2], 2)),
    ]
}

/// Places of a grid, not near those where a sampling has a kink or jumps.
fn places<const N: usize>(sizes: [usize; N]) -> Input {
    let mut away = vec![0.0];
    for kink in [0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.75, 1.0, 1.25, 4.0 / 3.0] {
        away.extend([kink, -kink]);
    }
    real(sizes).between(-1.5, 1.5).away_from(&away)
}

/// The weight of an element at a distance: on a line.
fn line(t: &Tensor) -> Tensor {
    (1.0 - t.abs()).relu()
}

/// The weight of an element at a distance: on Keys' cubic.
fn keys(t: &Tensor) -> Tensor {
    const A: f64 = -0.75;
    let t = t.abs();
    let near = ((&t * (A + 2.0)) - (A + 3.0)) * t.square() + 1.0;
    let far = ((&t * A - 5.0 * A) * &t + 8.0 * A) * &t - 4.0 * A;
    t.less(1.0).choose(near, t.less(2.0).choose(far, 0.0))
}

/// A sampling as sums over all elements: along each axis a matrix of weights, by the distance from a place.
fn sampled(
    x: &[Tensor],
    align_corners: bool,
    inside: impl Fn(&Tensor, f64) -> Tensor,
    weight: impl Fn(&Tensor) -> Tensor,
) -> Tensor {
    let (Ok(sizes), Ok(grid), Ok(dtype)) = (x[0].shape(), x[1].shape(), x[0].dtype()) else { return x[0].clone() };
    let axes = sizes.len() - 2;
    let count: usize = grid[1..=axes].iter().product();
    let flat = x[1].reshape([grid[0], count, axes]);
    let weights: Vec<Tensor> = (0..axes)
        .map(|axis| {
            let size = sizes[2 + axis] as f64;
            let place = flat.select(-1, axes - 1 - axis);
            let at = if align_corners { (place + 1.0) * ((size - 1.0) / 2.0) } else { (place + 1.0) * (size / 2.0) - 0.5 };
            let elements = Tensor::arange(sizes[2 + axis]).to_dtype(dtype);
            weight(&(inside(&at, size).unsqueeze(-1) - elements))
        })
        .collect();
    let sums = match &weights[..] {
        [y, x_] => Tensor::einsum("nchw,nph,npw->ncp", &[&x[0], y, x_]),
        [z, y, x_] => Tensor::einsum("ncdhw,npd,nph,npw->ncp", &[&x[0], z, y, x_]),
        _ => return x[0].clone(),
    };
    sums.reshape(&[&sizes[..2], &grid[1..=axes]].concat()[..])
}
