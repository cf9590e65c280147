//! Rows of the family `shape`.

use super::*;
use ErrorKind::{Index as Outside, Shape, Value};
use chainrule::{Index, Pad, step};

pub fn rows() -> Vec<Row> {
    let grid = || [real([3, 4])];
    let cube = || [real([2, 3, 4])];
    vec![
        // Other shapes.
        row("reshape", |x| x[0].reshape([2, -1]))
            .on(cube())
            .on([real([2])])
            .on([real([0, 2])])
            .on([real([4, 1, 2])])
            .dtypes(ALL)
            .wrong(Shape, &["5 does not divide 12"], || Tensor::zeros([3, 4]).reshape([5, -1]))
            .wrong(Shape, &["12 elements [3, 4]", "which holds 10"], || Tensor::zeros([3, 4]).reshape([5, 2]))
            .wrong(Shape, &["more than one -1"], || Tensor::zeros([3, 4]).reshape([-1, -1]))
            .wrong(Shape, &["a size of -2"], || Tensor::zeros([3, 4]).reshape([-2, 6])),
        row("flatten", |x| x[0].flatten()).unary(real([])).dtypes(ALL),
        row("flatten_axes", |x| x[0].flatten_axes(1, -1))
            .on(cube())
            .on([real([2, 1])])
            .on([real([0, 3, 2])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].flatten_axes(axis, axis))
            .wrong(Shape, &["the first comes after the last"], || Tensor::zeros([3, 4]).flatten_axes(1, 0)),
        row("unflatten", |x| x[0].unflatten(-1, [2, -1]))
            .on(cube())
            .on([real([0, 2])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].unflatten(axis, [-1]))
            .wrong(Shape, &["3 does not divide 4"], || Tensor::zeros([4]).unflatten(0, [3, -1])),
        row("unsqueeze", |x| x[0].unsqueeze([0, -1]))
            .unary(real([]))
            .dtypes(ALL)
            .wrong(Shape, &["axis 4"], || Tensor::zeros([2, 3]).unsqueeze(4)),
        row("squeeze", |x| x[0].squeeze()).unary(real([])).on([real([1, 3, 1, 2])]).dtypes(ALL),
        row("squeeze_axes", |x| x[0].squeeze_axes(0))
            .on([real([1, 3])])
            .on([real([2, 3])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].squeeze_axes(axis)),
        row("at_least_rank", |x| x[0].at_least_rank(2))
            .unary(real([]))
            .dtypes(ALL)
            .wrong(Shape, &["9 axes"], || Tensor::zeros([2]).at_least_rank(9)),
        row("contiguous", |x| x[0].contiguous())
            .unary(real([]))
            .dtypes(ALL)
            .large(ALL, [real([2, 17, 40])])
            .large(ALL, [real([30, 60])]),
        row("mesh", |x| Tensor::mesh([&x[0], &x[1]])).on([real([2]), real([3])]).on([real([1]), real([0])]).dtypes(ALL),
        // Views.
        row("permute", |x| x[0].permute([2, 0, 1]))
            .on(cube())
            .on([real([1, 0, 2])])
            .dtypes(ALL)
            .wrong(Shape, &["2 axes in [1, 0] for a tensor of rank 3"], || Tensor::zeros([2, 3, 4]).permute([1, 0]))
            .wrong(Shape, &["axis 0 is given more than once"], || Tensor::zeros([2, 3]).permute([0, 0])),
        row("transpose", |x| x[0].transpose(0, -1))
            .on(cube())
            .on(grid())
            .on([real([0, 3])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].transpose(0, axis)),
        row("t", |x| x[0].t()).on(cube()).on(grid()).dtypes(ALL).wrong(Shape, &["rank 1"], || Tensor::zeros([3]).t()),
        row("move_axis", |x| x[0].move_axis([0, 1], [-1, 0]))
            .on(cube())
            .dtypes(ALL)
            .axis(|x, axis| x[0].move_axis(axis, 0))
            .wrong(Shape, &["2 axes to 1 positions"], || Tensor::zeros([2, 3]).move_axis([0, 1], 0)),
        row("flip", |x| x[0].flip([0, -1]))
            .on(cube())
            .on(grid())
            .on([real([0, 3])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].flip(axis)),
        row("rot90", |x| x[0].rot90(3, 0, 1)).on(grid()).dtypes(ALL).axis(|x, axis| x[0].rot90(1, 0, axis)),
        row("expand", |x| x[0].expand([2, -1, 3]))
            .on([real([4, 1])])
            .on([real([1, 0, 3])])
            .dtypes(ALL)
            .wrong(Shape, &["fewer axes"], || Tensor::zeros([2, 3]).expand([3]))
            .wrong(Shape, &["does not expand"], || Tensor::zeros([2, 3]).expand([2, 4])),
        row("broadcast", |x| Tensor::broadcast([&x[0], &x[1]])).on([real([3, 1]), real([4])]).dtypes(ALL).wrong(
            Shape,
            &["do not broadcast", "3 and 4"],
            || Tensor::broadcast([&Tensor::zeros([3]), &Tensor::zeros([4])]),
        ),
        row("diagonal", |x| x[0].diagonal(1, 0, -1))
            .on(cube())
            .on(grid())
            .on([real([1, 1])])
            .on([real([0, 3])])
            .dtypes(ALL)
            .wrong(Shape, &["given more than once"], || Tensor::zeros([2, 2]).diagonal(0, 1, -1)),
        // Parts.
        row("slice", |x| x[0].slice((1.., -1, step(.., -2))))
            .on([real([3, 2, 5])])
            .on([real([1, 1, 1])])
            .dtypes(ALL)
            .wrong(Shape, &["3 indices for a tensor of rank 2"], || Tensor::zeros([2, 3]).slice((0, 0, 0)))
            .wrong(Outside, &["index 3 is out of range for axis 1 of size 3"], || Tensor::zeros([2, 3]).slice((.., 3)))
            .wrong(Value, &["a step of 0"], || Tensor::zeros([2]).slice(step(.., 0))),
        row("slice new axes", |x| x[0].slice((Index::NewAxis, Index::Rest, 0..2))).on(cube()).dtypes(ALL),
        row("slice_assign", |x| x[0].slice_assign((.., 1..3), &x[1]))
            .on([real([3, 4]), real([3, 2])])
            .on([real([3, 4]), real([2])])
            .on([real([2, 4, 2]), real([])])
            .dtypes(ALL)
            .wrong(Shape, &["[3] does not expand to"], || Tensor::zeros([2, 2]).slice_assign(0, &Tensor::zeros([3]))),
        row("narrow", |x| x[0].narrow(1, 1, 2))
            .on(cube())
            .on([real([0, 3])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].narrow(axis, 0, 0))
            .wrong(Outside, &["3 positions from 2 of axis 0, which has 4"], || Tensor::zeros([4]).narrow(0, 2, 3))
            .wrong(Outside, &["axis 0, which has 4"], || Tensor::zeros([4]).narrow(0, -5, 1)),
        row("select", |x| x[0].select(-2, -1))
            .on(cube())
            .on(grid())
            .dtypes(ALL)
            .axis(|x, axis| x[0].select(axis, 0))
            .wrong(Outside, &["index 4 is out of range"], || Tensor::zeros([4]).select(0, 4))
            .wrong(Outside, &["the axis is empty"], || Tensor::zeros([0]).select(0, 0)),
        row("parts", |x| x[0].parts::<2>(-1))
            .on(cube())
            .on([real([0])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].parts::<1>(axis))
            .wrong(Shape, &["does not divide into 2 equal parts"], || Tensor::zeros([3]).parts::<2>(0)),
        row("chunk", |x| x[0].chunk(3, 1))
            .on([real([2, 5])])
            .on([real([2, 0])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].chunk(2, axis))
            .wrong(Value, &["no parts"], || Tensor::zeros([3]).chunk(0, 0)),
        row("split", |x| x[0].split(2, 0))
            .on([real([5, 2])])
            .on([real([0, 2])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].split(1, axis))
            .wrong(Value, &["parts of size 0"], || Tensor::zeros([3]).split(0, 0)),
        row("split_sizes", |x| x[0].split_sizes(&[1, 0, 3], 1)).on(grid()).dtypes(ALL).wrong(
            Shape,
            &["add up to 5, axis 0 has size 3"],
            || Tensor::zeros([3]).split_sizes(&[2, 3], 0),
        ),
        row("split_at", |x| x[0].split_at(&[1, -1], 1))
            .on(grid())
            .dtypes(ALL)
            .wrong(Value, &["do not ascend"], || Tensor::zeros([3]).split_at(&[2, 1], 0)),
        row("unbind", |x| x[0].unbind(-1)).on(grid()).dtypes(ALL).axis(|x, axis| x[0].unbind(axis)),
        // Together.
        row("cat", |x| Tensor::cat(x, -1))
            .on([real([2, 3]), real([2, 1]), real([2, 0])])
            .on([real([2, 2])])
            .on([real([3]), real([2])])
            .dtypes(ALL)
            .axis(|x, axis| Tensor::cat(&[&x[0]], axis))
            .wrong(Shape, &["the sizes along axis 1 differ: 2 in input 0, 3 in input 1"], || {
                Tensor::cat(&[Tensor::zeros([1, 2]), Tensor::zeros([1, 3])], 0)
            })
            .wrong(Shape, &["input 0 has rank 1, input 1 has rank 2"], || {
                Tensor::cat(&[Tensor::zeros([1]), Tensor::zeros([1, 3])], 0)
            })
            .wrong(Value, &["no tensors"], || Tensor::cat::<Tensor>(&[], 0)),
        row("stack", |x| Tensor::stack(x, -1))
            .on([real([2, 3]), real([2, 3])])
            .on([real([]), real([])])
            .on([real([0]), real([0])])
            .dtypes(ALL)
            .wrong(Shape, &["the shapes differ: [2] in input 0, [3] in input 1"], || {
                Tensor::stack(&[Tensor::zeros([2]), Tensor::zeros([3])], 0)
            })
            .wrong(Shape, &["axis 3"], || Tensor::stack(&[Tensor::zeros([2])], 3)),
        row("hstack", |x| Tensor::hstack(x)).on([real([2, 3]), real([2, 1])]).on([real([2]), real([])]).dtypes(ALL),
        row("vstack", |x| Tensor::vstack(x)).on([real([2, 3]), real([1, 3])]).on([real([2]), real([2])]).dtypes(ALL),
        row("block_diagonal", |x| Tensor::block_diagonal(x)).on([real([2, 3]), real([1, 2]), real([])]).dtypes(ALL),
        row("differences", |x| x[0].differences(2, -1))
            .on([real([2, 5])])
            .on([real([2, 1])])
            .on([real([2, 0])])
            .composed()
            .definition(|x| {
                let (size, part) = (x[0].size(-1).unwrap_or(0), |from, count| x[0].narrow(-1, from, count));
                match size {
                    0..3 => part(0, 0),
                    _ => part(2, size - 2) - part(1, size - 2) * 2.0 + part(0, size - 2),
                }
            })
            .axis(|x, axis| x[0].differences(1, axis)),
        row("trapezoid", |x| x[0].trapezoid(0.5, 0))
            .on([real([4, 3])])
            .on([real([1])])
            .on([real([0, 2])])
            .composed()
            .axis(|x, axis| x[0].trapezoid(1.0, axis)),
        row("piecewise_linear", |x| x[0].piecewise_linear(&x[1], &x[2]))
            .on([real([2, 4]).away_from(&[-1.0, 0.0, 1.5]), real([3]).values(&[-1.0, 0.0, 1.5]), real([3])])
            .on([real([5]).away_from(&[0.5]), real([1]).values(&[0.5]), real([1])])
            .on([real([0]), real([2]).values(&[0.0, 1.0]), real([2])])
            .composed()
            .wrong(Shape, &["points of shape [2]", "values of shape [3]"], || {
                Tensor::zeros([2]).piecewise_linear(&Tensor::zeros([2]), &Tensor::zeros([3]))
            })
            .wrong(Shape, &["at least one"], || {
                Tensor::zeros([2]).piecewise_linear(&Tensor::zeros([0]), &Tensor::zeros([0]))
            }),
        row("sliding_windows", |x| x[0].sliding_windows(0, 2, 2))
            .on([real([5, 3])])
            .on([real([2])])
            .on([real([2, 2, 2])])
            .dtypes(ALL)
            .definition(|x| {
                let count = x[0].size(0).unwrap_or(0) / 2;
                let windows: Vec<Tensor> = (0..count).map(|i| x[0].narrow(0, 2 * i, 2).move_axis(0, -1)).collect();
                Tensor::stack(&windows, 0)
            })
            .axis(|x, axis| x[0].sliding_windows(axis, 1, 1))
            .wrong(Value, &["windows of 4 elements", "an axis of 3"], || Tensor::zeros([3]).sliding_windows(0, 4, 1))
            .wrong(Value, &["0 apart"], || Tensor::zeros([3]).sliding_windows(0, 1, 0)),
        row("cross", |x| x[0].cross(&x[1], 1))
            .on([real([2, 3]), real([2, 3])])
            .on([real([2, 3, 4]), real([1, 3, 4])])
            .composed()
            .wrong(Shape, &["2 elements along axis -1"], || Tensor::zeros([2]).cross(&Tensor::zeros([2]), -1)),
        row("cartesian_product", |x| Tensor::cartesian_product(&[&x[0], &x[1], &x[2]]))
            .on([real([2]), real([1]), real([3])])
            .on([real([2]), real([0]), real([3])])
            .dtypes(ALL)
            .wrong(Shape, &["an operand has 2 axes"], || Tensor::cartesian_product(&[&Tensor::zeros([2, 2])]))
            .wrong(Value, &["0 vectors"], || Tensor::cartesian_product(&[])),
        row("combinations", |x| x[0].combinations(2, false))
            .on([real([4])])
            .on([real([1])])
            .on([real([0])])
            .dtypes(ALL)
            .wrong(Shape, &["the input has 2 axes"], || Tensor::zeros([2, 2]).combinations(1, false))
            .wrong(ErrorKind::Memory, &["combinations of 20 of 100"], || Tensor::zeros([100]).combinations(20, true)),
        row("combinations repeated", |x| x[0].combinations(3, true)).on([real([3])]).dtypes(ALL),
        row("vandermonde", |x| x[0].vandermonde(4, true))
            .on([real([3])])
            .on([real([2]).values(&[0.0, 1.0])])
            .on([real([0])])
            .composed()
            .definition(|x| {
                let x = &x[0];
                Tensor::stack(&[&(x * 0.0 + 1.0), x, &(x * x), &(x * x * x)], 1)
            })
            .wrong(Shape, &["the input has 2 axes"], || Tensor::zeros([2, 2]).vandermonde(1, false)),
        row("renormalize", |x| x[0].renormalize(2.0, 0, 1.5))
            .on([real([3, 4])])
            .on([real([2, 2, 3])])
            .composed()
            .axis(|x, axis| x[0].renormalize(2.0, axis, 1.0))
            .wrong(Value, &["order 0"], || Tensor::zeros([2, 2]).renormalize(0.0, 0, 1.0)),
        row("roll", |x| x[0].roll([1, -5], [0, 1]))
            .on(grid())
            .on([real([0, 3])])
            .on([real([1, 1])])
            .dtypes(ALL)
            .axis(|x, axis| x[0].roll(1, axis))
            .wrong(Value, &["2 shifts for 1 axes"], || Tensor::zeros([3]).roll([1, 2], 0)),
        row("repeat", |x| x[0].repeat([2, 1, 3]))
            .on([real([2, 2])])
            .on([real([])])
            .on([real([2, 0, 1])])
            .dtypes(ALL)
            .composed()
            .wrong(Shape, &["a size of -1"], || Tensor::zeros([3]).repeat(-1)),
        row("repeat_interleave", |x| x[0].repeat_interleave(3, 0))
            .on(grid())
            .on([real([0])])
            .dtypes(ALL)
            .composed()
            .axis(|x, axis| x[0].repeat_interleave(2, axis)),
        // Borders and triangles.
        row("pad", |x| x[0].pad(&[(1, 0), (2, -1)], Pad::Constant(3.0)))
            .on(cube())
            .on([real([0, 2])])
            .dtypes(ALL)
            .wrong(Shape, &["2 borders for a tensor of rank 1"], || {
                Tensor::zeros([3]).pad(&[(1, 1), (1, 1)], Pad::Zeros)
            })
            .wrong(Shape, &["crop more than axis 0 has: 3"], || Tensor::zeros([3]).pad(&[(-2, -2)], Pad::Zeros)),
        row("pad reflect", |x| x[0].pad(&[(2, 1), (3, 1)], Pad::Reflect))
            .on([real([2, 3, 4])])
            .dtypes(ALL)
            .composed()
            .wrong(Shape, &["a border of 3 around axis 0 of size 3"], || {
                Tensor::zeros([3]).pad(&[(3, 0)], Pad::Reflect)
            })
            .wrong(Value, &["a border of -1"], || Tensor::zeros([3]).pad(&[(-1, 0)], Pad::Reflect)),
        row("pad replicate", |x| x[0].pad(&[(2, 1), (0, 3)], Pad::Replicate))
            .on([real([3, 4])])
            .on([real([1, 1])])
            .dtypes(ALL)
            .composed()
            .wrong(Shape, &["around an axis that has elements"], || Tensor::zeros([0]).pad(&[(1, 0)], Pad::Replicate)),
        row("pad circular", |x| x[0].pad(&[(2, 1), (0, 4)], Pad::Circular))
            .on([real([3, 4])])
            .dtypes(ALL)
            .composed()
            .wrong(Shape, &["a border of 4 around axis 0 of size 3"], || {
                Tensor::zeros([3]).pad(&[(4, 0)], Pad::Circular)
            }),
        row("tril", |x| x[0].tril(-1)).on(cube()).on([real([4, 2])]).on([real([0, 3])]).dtypes(ALL).wrong(
            Shape,
            &["rank 1", "matrix"],
            || Tensor::zeros([3]).tril(0),
        ),
        row("triu", |x| x[0].triu(1)).on(cube()).on([real([4, 2])]).on([real([3, 0])]).dtypes(ALL),
        row("diagonal_matrix", |x| x[0].diagonal_matrix(-1))
            .on([real([3])])
            .on([real([2, 3])])
            .on([real([0])])
            .dtypes(ALL)
            .wrong(Shape, &["at least one axis"], || Tensor::zeros(()).diagonal_matrix(0)),
        row("to_dtype", |x| x[0].to_dtype(DType::F64)).unary(real([])).dtypes(ALL).composed(),
        row("to_dtype each", |x| ALL.iter().map(|&dtype| x[0].to_dtype(dtype)).collect::<Vec<_>>())
            .large(ALL, [real([70])]),
    ]
}
