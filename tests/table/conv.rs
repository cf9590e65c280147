//! Rows of the family `conv`.

use super::*;
use chainrule::ErrorKind::{Shape, Value};
use chainrule::{Conv, Pool};

/// A convolution as a product of its weight with columns.
fn by_columns(x: &[Tensor], windows: Pool, groups: usize) -> Tensor {
    Tensor::compute(|| {
        let columns = x[0].unfold(windows);
        let [batch, rows, places] = columns.dims()?;
        let weight = x[1].shape()?;
        let (outputs, depth) = (weight[0], rows / groups);
        let columns = columns.reshape([batch, groups, depth, places]);
        let weight = x[1].reshape([groups, outputs / groups, depth]);
        let y = weight.matmul(&columns).reshape([batch, outputs, places]);
        Ok(match x.get(2) {
            Some(bias) => y + bias.reshape([outputs, 1]),
            None => y,
        })
    })
}

fn three(x: &[Tensor]) -> (&Tensor, &Tensor, Option<&Tensor>) {
    (&x[0], &x[1], x.get(2))
}

pub fn rows() -> Vec<Row> {
    let zeros = |sizes: &[usize]| Tensor::zeros(sizes);
    vec![
        row("conv1d", |x| {
            let (x, weight, bias) = three(x);
            x.conv1d(weight, bias, Conv::new().stride(2).padding(1))
        })
        .on([real([2, 3, 8]), real([4, 3, 3]), real([4])])
        .on([real([1, 2, 5]), real([3, 2, 1])])
        .on([real([0, 2, 5]), real([3, 2, 2]), real([3])])
        .on([real([1, 1, 1]), real([1, 1, 1])])
        .definition(|x| by_columns(x, Pool::new(x[1].shape().map_or(1, |s| s[2])).stride(2).padding(1), 1))
        .wrong(Shape, &["the input has 1 axes", "[batch, channels, width]"], || {
            Tensor::zeros([5]).conv1d(&Tensor::zeros([1, 1, 2]), None, Conv::new())
        })
        .wrong(Shape, &["the kernel is larger than the input", "7 over a width of 5"], move || {
            zeros(&[1, 1, 5]).conv1d(&zeros(&[1, 1, 7]), None, Conv::new())
        }),
        row("conv2d", |x| {
            let (x, weight, bias) = three(x);
            x.conv2d(weight, bias, Conv::new().padding(1))
        })
        .on([real([2, 3, 5, 4]), real([4, 3, 3, 3]), real([4])])
        .on([real([5, 2, 3, 3]), real([6, 2, 1, 2])])
        .on([real([2, 1, 1, 1]), real([1, 1, 2, 3]), real([1])])
        .on([real([1, 3, 20, 21]), real([5, 3, 3, 3])])
        .large(HALVES, [real([2, 3, 6, 5]), real([70, 3, 3, 3]), real([70])])
        .large(HALVES, [real([1, 70, 3, 4]), real([5, 70, 2, 2])])
        .rounded([real([2, 3, 6, 5]).short(), real([70, 3, 3, 3]).short(), real([70]).short()])
        .rounded([real([1, 70, 3, 4]).short(), real([5, 70, 2, 2]).short()])
        .definition(|x| {
            let kernel = x[1].shape().map_or(vec![1, 1], |s| s[2..].to_vec());
            let y = by_columns(x, Pool::new(kernel).padding(1), 1);
            let wanted = x[0].conv2d(&x[1], None, Conv::new().padding(1));
            Tensor::compute(|| Ok(y.reshape(wanted.shape()?)))
        })
        .wrong(Shape, &["the input has 3 channels, the weight expects 4 (2 groups x 2)"], move || {
            zeros(&[1, 3, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().groups(2))
        })
        .wrong(Shape, &["3 groups do not divide 4 channels"], move || {
            zeros(&[1, 6, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().groups(3))
        })
        .wrong(Value, &["0 groups"], move || {
            zeros(&[1, 6, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().groups(0))
        })
        .wrong(Value, &["a stride of 0"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().stride([1, 0]))
        })
        .wrong(Value, &["a padding of -1"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().padding(-1))
        })
        .wrong(Value, &["3 numbers for the stride of 2 axes"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().stride([1, 2, 3]))
        })
        .wrong(Value, &["same padding with a stride of 2"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().same().stride(2))
        })
        .wrong(Value, &["output padding in a convolution"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().output_padding(1))
        })
        .wrong(Value, &["a dilation of"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), None, Conv::new().dilation(i64::MAX))
        })
        .wrong(Shape, &["the bias has the shape [3]", "[4]"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]), Some(&zeros(&[3])), Conv::new())
        })
        .wrong(Shape, &["the weight has 3 axes", "outputs, inputs / groups, height, width"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3]), None, Conv::new())
        })
        .wrong(Shape, &["the kernel has no elements"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 0, 3]), None, Conv::new())
        })
        .wrong(ErrorKind::DType, &["the element types differ: f32 and f64"], move || {
            zeros(&[1, 2, 8, 8]).conv2d(&zeros(&[4, 2, 3, 3]).to_dtype(DType::F64), None, Conv::new())
        })
        .wrong(ErrorKind::DType, &["i64 elements"], move || {
            let x = zeros(&[1, 2, 8, 8]).to_dtype(DType::I64);
            x.conv2d(&zeros(&[4, 2, 3, 3]).to_dtype(DType::I64), None, Conv::new())
        }),
        row("conv2d same", |x| x[0].conv2d(&x[1], None, Conv::new().same().dilation([1, 2])))
            .on([real([2, 2, 4, 5]), real([3, 2, 2, 3])])
            .on([real([2, 4, 4]), real([3, 2, 2, 3])]),
        row("conv2d grouped", |x| {
            let (x, weight, bias) = three(x);
            x.conv2d(weight, bias, Conv::new().groups(2).stride([2, 1]).dilation([1, 2]).padding([0, 2]))
        })
        .on([real([2, 4, 5, 4]), real([6, 2, 2, 3]), real([6])])
        .on([real([1, 2, 3, 3]), real([2, 1, 3, 1])])
        .definition(|x| {
            let kernel = x[1].shape().map_or(vec![1, 1], |s| s[2..].to_vec());
            let windows = Pool::new(kernel).stride([2, 1]).dilation([1, 2]).padding([0, 2]);
            let y = by_columns(x, windows, 2);
            let conv = Conv::new().groups(2).stride([2, 1]).dilation([1, 2]).padding([0, 2]);
            Tensor::compute(|| Ok(y.reshape(x[0].conv2d(&x[1], None, conv).shape()?)))
        }),
        row("conv2d depthwise", |x| x[0].conv2d(&x[1], None, Conv::new().groups(3).padding(1)))
            .on([real([2, 3, 4, 5]), real([3, 1, 3, 3])])
            .on([real([1, 3, 2, 35]), real([6, 1, 3, 3])]),
        row("conv3d", |x| {
            let (x, weight, bias) = three(x);
            x.conv3d(weight, bias, Conv::new().stride([1, 2, 1]).padding([1, 0, 1]))
        })
        .on([real([1, 2, 2, 3, 3]), real([3, 2, 2, 2, 3]), real([3])]),
        row("conv_transpose1d", |x| {
            let (x, weight, bias) = three(x);
            x.conv_transpose1d(weight, bias, Conv::new().stride(2).padding(1).output_padding(1))
        })
        .on([real([2, 3, 4]), real([3, 2, 3]), real([2])])
        .on([real([0, 3, 4]), real([3, 2, 3])])
        .wrong(Shape, &["the input has 2 channels, the weight takes 3"], move || {
            zeros(&[1, 2, 8]).conv_transpose1d(&zeros(&[3, 2, 3]), None, Conv::new())
        })
        .wrong(Value, &["an output padding of 2", "stride of 2"], move || {
            zeros(&[1, 3, 8]).conv_transpose1d(&zeros(&[3, 2, 3]), None, Conv::new().stride(2).output_padding(2))
        })
        .wrong(Value, &["same padding in a transposed convolution"], move || {
            zeros(&[1, 3, 8]).conv_transpose1d(&zeros(&[3, 2, 3]), None, Conv::new().same())
        })
        .wrong(Shape, &["a width of -3"], move || {
            zeros(&[1, 3, 2]).conv_transpose1d(&zeros(&[3, 2, 2]), None, Conv::new().padding(3))
        }),
        row("conv_transpose2d", |x| {
            let (x, weight, bias) = three(x);
            x.conv_transpose2d(weight, bias, Conv::new().stride([2, 3]).padding(1).dilation([1, 2]).groups(2))
        })
        .on([real([2, 4, 3, 2]), real([4, 2, 2, 3]), real([4])])
        .on([real([1, 2, 1, 2]), real([2, 1, 3, 2])]),
        row("conv_transpose3d", |x| x[0].conv_transpose3d(&x[1], None, Conv::new().stride(2)))
            .on([real([1, 2, 2, 1, 2]), real([2, 2, 2, 2, 1])]),
    ]
}
