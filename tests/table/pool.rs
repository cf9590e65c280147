//! Rows of the family `pool`.

use super::*;
use chainrule::ErrorKind::{Index as Outside, Shape, Value};
use chainrule::{Interpolation, Pool, Resize};

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
            .wrong(Shape, &["the input has 2 axes"], move || zeros(&[3, 3]).unfold(2)),
        row("fold", |x| x[0].fold([3, 4], Pool::new(2)))
            .on([real([2, 8, 6])])
            .wrong(Shape, &["multiple of 4", "their last 6", "2 height x 3 width"], move || {
                zeros(&[1, 8, 5]).fold([3, 4], 2)
            })
            .wrong(Value, &["4 spatial sizes"], move || zeros(&[1, 8, 5]).fold([3, 4, 2, 2], 2)),
    ]
}
