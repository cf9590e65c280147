//! A first walk: making tensors, looking at them, cutting and joining them, computing with them, and what happens when
//! something does not fit.
//!
//! ```sh
//! cargo run --example 01_tensors
//! ```

use chainrule::{DType, Index, Pad, Result, Tensor, step};

fn main() -> Result<()> {
    heading("A tensor is numbers in some shape");
    let x = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    show("x", &x);
    let [rows, columns] = x.dims()?;
    println!("{rows} rows, {columns} columns, element type {}\n", x.dtype()?);
    show("Tensor::zeros([2, 2])", &Tensor::zeros([2, 2]));
    show("Tensor::linspace(0.0, 1.0, 5)", &Tensor::linspace(0.0, 1.0, 5));
    let count = Tensor::arange(12).reshape([3, 4]);
    show("count = Tensor::arange(12).reshape([3, 4])", &count);

    heading("Computing: element by element, smaller shapes repeat along larger ones");
    show("&x * 10.0 + 1.0", &(&x * 10.0 + 1.0));
    let row = Tensor::from([100.0, 200.0, 300.0]);
    show("&x + &row", &(&x + &row));
    let column = Tensor::from([[0.5], [2.0]]);
    show("&x * &column", &(&x * &column));
    show("x.sum_over(0), the columns", &x.sum_over(0));
    show("x.mean(), one number", &x.mean());
    show("x.matmul(&x.t())", &x.matmul(&x.t()));

    heading("Parts are views: no number is copied");
    show("count.slice(1), a row", &count.slice(1));
    show("count.slice((.., -1)), the last column", &count.slice((.., -1)));
    show("count.slice((1.., ..2)), a corner", &count.slice((1.., ..2)));
    show("count.slice((.., step(.., -2))), every other column, backward", &count.slice((.., step(.., -2))));
    show("count.slice((0, Index::NewAxis)), a row as a matrix", &count.slice((0, Index::NewAxis)));
    println!("the transposed shares the memory: {}\n", count.t().shares_memory(&count));
    show("count.diagonal(0, 0, 1)", &count.diagonal(0, 0, 1));
    let [left, right] = count.parts(-1);
    show("let [left, right] = count.parts(-1); right", &right);

    heading("Putting together");
    show("Tensor::cat(&[&right, &left], 1)", &Tensor::cat(&[&right, &left], 1));
    show("Tensor::stack(&[&row, &row], 0)", &Tensor::stack(&[&row, &row], 0));
    show("left.pad(&[(1, 0), (1, 1)], Pad::Constant(-1.0))", &left.pad(&[(1, 0), (1, 1)], Pad::Constant(-1.0)));
    show("Tensor::from([1, 2]).repeat([2, 2])", &Tensor::from([1, 2]).repeat([2, 2]));
    show(
        "count.slice_assign((.., 0), &Tensor::from([7, 8, 9]))",
        &count.slice_assign((.., 0), &Tensor::from([7, 8, 9])),
    );

    heading("Eight element types; two of them meet in the one with room for both");
    let integers = Tensor::from([1, 2, 3]);
    show("integers.to_dtype(DType::F16)", &integers.to_dtype(DType::F16));
    println!(
        "i64 and f16 meet in {}, bf16 and f16 in {}\n",
        DType::I64.promote(DType::F16),
        DType::BF16.promote(DType::F16)
    );

    heading("Large tensors show their corners");
    show("Tensor::arange(1_000_000).reshape([1000, 1000])", &Tensor::arange(1_000_000).reshape([1000, 1000]));

    heading("What does not fit becomes a failed tensor, and its error says what to do");
    let failed = (&x + Tensor::from([1.0, 2.0])).reshape([6]) * 2.0;
    println!("{failed}\n");
    println!("The failure flowed through reshape and the product; where numbers are read, it is an Err:");
    println!("failed.item().is_err() = {}", failed.item().is_err());
    Ok(())
}

fn heading(text: &str) {
    println!("\n--- {text} ---\n");
}

fn show(what: &str, tensor: &Tensor) {
    println!("{what}\n{tensor}\n");
}
