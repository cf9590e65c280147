//! Rows of the family `norm`.

use super::*;

/// `(x - mean) / √(variance + ε)` over some axes.
fn standard(x: &Tensor, axes: &[usize], epsilon: f64) -> Tensor {
    let centred = x - x.mean_keep(axes);
    let spread = (centred.square().mean_keep(axes) + epsilon).sqrt();
    centred / spread
}

/// One number for each channel, to broadcast against `[batch, channels, pixels]`.
fn channels(x: &Tensor) -> Tensor {
    x.reshape([1, -1, 1])
}

pub fn rows() -> Vec<Row> {
    let zeros = |sizes: &[usize]| Tensor::zeros(sizes);
    vec![
        row("layer_norm", |x| x[0].layer_norm(1, Some(&x[1]), Some(&x[2]), 1e-5))
            .on([real([3, 5]), real([5]), real([5])])
            .on([real([40, 6]), real([6]), real([6])])
            .on([real([2, 700]), real([700]), real([700])])
            .on([real([0, 5]), real([5]), real([5])])
            .large(FLOATS, [real([8200, 5]), real([5]), real([5])])
            .definition(|x| standard(&x[0], &[1], 1e-5) * &x[1] + &x[2])
            .wrong(ErrorKind::Shape, &["weight", "[4]", "[5]"], move || {
                zeros(&[2, 5]).layer_norm(1, Some(&zeros(&[4])), None, 1e-5)
            })
            .wrong(ErrorKind::Shape, &["last 3 axes", "rank 2"], move || zeros(&[2, 5]).layer_norm(3, None, None, 1e-5)),
        row("layer_norm plain", |x| x[0].layer_norm(2, None, None, 1e-5))
            .on([real([3, 2, 4])])
            .definition(|x| standard(&x[0], &[1, 2], 1e-5)),
        row("layer_norm of two axes", |x| x[0].layer_norm(2, Some(&x[1]), None, 1e-5))
            .on([real([3, 2, 4]), real([2, 4])])
            .definition(|x| standard(&x[0], &[1, 2], 1e-5) * &x[1]),
        row("rms_norm", |x| x[0].rms_norm(1, Some(&x[1]), 1e-5))
            .on([real([3, 5]), real([5])])
            .on([real([2, 700]), real([700])])
            .definition(|x| &x[0] / (x[0].square().mean_keep(1) + 1e-5).sqrt() * &x[1])
            .wrong(ErrorKind::Shape, &["last 0 axes"], move || zeros(&[2, 5]).rms_norm(0, None, 1e-5)),
        row("group_norm", |x| x[0].group_norm(2, Some(&x[1]), Some(&x[2]), 1e-5))
            .on([real([3, 4, 5]), real([4]), real([4])])
            .on([real([2, 2, 30]), real([2]), real([2])])
            .definition(|x| {
                let dims = x[0].shape().map(|shape| shape.to_vec()).unwrap_or_default();
                let grouped = x[0].reshape([dims[0], 2, dims[1] / 2 * dims[2]]);
                standard(&grouped, &[2], 1e-5).reshape(&dims) * channels(&x[1]) + channels(&x[2])
            })
            .wrong(ErrorKind::Shape, &["5 channels", "2 equal groups"], move || {
                zeros(&[2, 5, 3]).group_norm(2, None, None, 1e-5)
            })
            .wrong(ErrorKind::Shape, &["no channels"], move || zeros(&[5]).group_norm(1, None, None, 1e-5)),
        row("group_norm without pixels", |x| x[0].group_norm(2, Some(&x[1]), None, 1e-5))
            .on([real([3, 6]), real([6])])
            .definition(|x| standard(&x[0].reshape([3, 2, 3]), &[2], 1e-5).reshape([3, 6]) * &x[1]),
        row("instance_norm", |x| x[0].instance_norm(Some(&x[1]), Some(&x[2]), 1e-5))
            .on([real([2, 3, 7]), real([3]), real([3])])
            .definition(|x| standard(&x[0], &[2], 1e-5) * channels(&x[1]) + channels(&x[2])),
        row("batch_norm", |x| x[0].batch_norm(Some(&x[1]), Some(&x[2]), 1e-5).0)
            .on([real([3, 2, 4]), real([2]), real([2])])
            .on([real([2, 3, 40]), real([3]), real([3])])
            .definition(|x| standard(&x[0], &[0, 2], 1e-5) * channels(&x[1]) + channels(&x[2]))
            .wrong(ErrorKind::Shape, &["one number", "no spread"], move || zeros(&[1, 3]).batch_norm(None, None, 1e-5).0)
            .wrong(ErrorKind::Shape, &["bias", "[2]", "[3]"], move || {
                zeros(&[4, 3]).batch_norm(None, Some(&zeros(&[2])), 1e-5).0
            }),
        row("batch_norm without pixels", |x| x[0].batch_norm(Some(&x[1]), None, 0.1).0)
            .on([real([6, 3]).distinct(), real([3])]) // of equal numbers only the rounding would be compared
            .definition(|x| standard(&x[0], &[0], 0.1) * &x[1]),
        row("batch_norm_with", |x| x[0].batch_norm_with(&x[1], &x[2], Some(&x[3]), Some(&x[4]), 1e-5))
            .on([real([3, 2, 4]), real([2]).constant(), real([2]).positive().constant(), real([2]), real([2])])
            .on([real([3, 2, 4]), real([2]), real([2]).positive(), real([2]), real([2])])
            .definition(|x| {
                let spread = (channels(&x[2]) + 1e-5).sqrt();
                (&x[0] - channels(&x[1])) / spread * channels(&x[3]) + channels(&x[4])
            })
            .wrong(ErrorKind::Shape, &["variance", "[2]"], move || {
                zeros(&[4, 3]).batch_norm_with(&zeros(&[3]), &zeros(&[2]), None, None, 1e-5)
            }),
        row("local_response_norm", |x| x[0].local_response_norm(3, 0.5, 0.75, 1.0))
            .on([real([2, 5, 3])])
            .composed()
            .wrong(ErrorKind::Shape, &["local_response_norm", "rank 2"], move || {
                zeros(&[2, 3]).local_response_norm(3, 0.5, 0.75, 1.0)
            })
            .wrong(ErrorKind::Value, &["window of 0"], move || zeros(&[2, 3, 1]).local_response_norm(0, 0.5, 0.75, 1.0)),
    ]
}
