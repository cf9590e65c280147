//! Rows of the family `factor`: linear algebra.

use super::*;

/// Numbers added to the diagonal, so that every view is a matrix far from singular.
fn sound(x: &Tensor) -> Tensor {
    let (rows, columns) = (x.size(-2).unwrap_or(0), x.size(-1).unwrap_or(0));
    if rows.saturating_mul(columns) > 1 << 20 {
        return x.clone();
    }
    let mut steps = Vec::new();
    for row in 0..rows {
        steps.extend((0..columns).map(|column| if row == column { 5.0 + row as f64 } else { 0.0 }));
    }
    let steps = beside(x, Tensor::from_vec(steps, [rows, columns]).unwrap_or_else(Tensor::failed));
    x + steps.to_dtype(x.dtype().unwrap_or(DType::F32))
}

pub fn rows() -> Vec<Row> {
    let rows = vec![
        row("qr", |x| sound(&x[0]).qr())
            .on([real([3, 3])])
            .on([real([5, 3])])
            .on([real([3, 5])])
            .on([real([2, 4, 2])])
            .on([real([1, 1])])
            .on([real([0, 3])])
            .on([real([2, 0])])
            .on([real([0, 2, 2])])
            .wrong(ErrorKind::Shape, &["has 1 axes", "rows and columns"], || Tensor::zeros([3]).qr())
            .wrong(ErrorKind::Value, &["qr: the matrix is singular"], || {
                let (q, _) = Tensor::zeros([3, 2]).variable().qr();
                q.sum().backward()
            })
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([[1, 2]]).qr()),
        row("qr multiplied", |x| {
            let (q, r) = sound(&x[0]).qr();
            q.matmul(&r)
        })
        .on([real([4, 3])])
        .on([real([2, 2, 3])])
        .on([real([40, 35])])
        .definition(|x| sound(&x[0])),
        row("solve_lower", |x| sound(&x[0]).solve_lower(&x[1]))
            .on([real([3, 3]), real([3, 2])])
            .on([real([3, 3]), real([3])])
            .on([real([2, 1, 3, 3]), real([4, 3, 1])])
            .on([real([40, 40]), real([40, 2])])
            .on([real([0, 0]), real([0, 2])])
            .on([real([2, 2]), real([2, 0])])
            .definition(|x| substituted(&sound(&x[0]), &x[1], true))
            .wrong(ErrorKind::Value, &["matrix [1] of the batch is singular", "[2, 2] of its diagonal is 0"], || {
                let a = Tensor::from([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).diagonal_matrix(0);
                a.solve_lower(&Tensor::zeros([3, 1]))
            })
            .wrong(ErrorKind::Shape, &["not square: 2 × 3", "least_squares"], || {
                Tensor::zeros([2, 3]).solve_lower(&Tensor::zeros([2, 3]))
            })
            .wrong(ErrorKind::Shape, &["the left side has 2 rows, the right side 3"], || {
                Tensor::eye(2).solve_lower(&Tensor::zeros([3, 1]))
            })
            .wrong(ErrorKind::Shape, &["do not broadcast"], || {
                Tensor::ones([2, 1, 1]).solve_lower(&Tensor::ones([3, 1, 1]))
            })
            .wrong(ErrorKind::DType, &["f32 and f64"], || {
                Tensor::eye(2).solve_lower(&Tensor::eye(2).to_dtype(DType::F64))
            }),
        row("solve_upper", |x| sound(&x[0]).solve_upper(&x[1]))
            .on([real([3, 3]), real([3, 2])])
            .on([real([3, 3]), real([3])])
            .on([real([2, 3, 3]), real([3, 4])])
            .on([real([40, 40]), real([40, 1])])
            .definition(|x| substituted(&sound(&x[0]), &x[1], false)),
        row("solve", |x| sound(&x[0]).solve(&x[1]))
            .on([real([3, 3]), real([3, 2])])
            .on([real([3, 3]), real([3])])
            .on([real([2, 3, 3]), real([2, 3])])
            .on([real([2, 1, 3, 3]), real([4, 3, 1])])
            .on([real([3, 3]), real([2, 3, 1])])
            .on([real([40, 40]), real([40, 2])])
            .on([real([0, 0]), real([0, 2])])
            .on([real([2, 2]), real([2, 0])])
            .definition(|x| {
                let a = sound(&x[0]);
                let vector = match (a.shape(), x[1].shape()) {
                    (Ok(a), Ok(b)) => b.len() == 1 || b.len() + 1 == a.len() && a[..b.len()] == b[..],
                    _ => false,
                };
                let b = if vector { x[1].unsqueeze(-1) } else { x[1].clone() };
                let solved = eliminated(&a).matmul(&b);
                if vector { solved.squeeze_axes(-1) } else { solved }
            })
            .wrong(ErrorKind::Value, &["the matrix is singular: pivot 1 is 0", "pseudo_inverse"], || {
                Tensor::ones([2, 2]).solve(&Tensor::ones([2]))
            })
            .wrong(ErrorKind::Shape, &["not square: 2 × 3"], || Tensor::zeros([2, 3]).solve(&Tensor::zeros([2])))
            .wrong(ErrorKind::Shape, &["an operand has 0 axes"], || Tensor::eye(1).solve(&Tensor::scalar(1.0))),
        row("inverse", |x| sound(&x[0]).inverse())
            .on([real([3, 3])])
            .on([real([2, 1, 2, 2])])
            .on([real([37, 37])])
            .on([real([1, 1])])
            .on([real([0, 0])])
            .on([real([0, 3, 3])])
            .definition(|x| eliminated(&sound(&x[0])))
            .wrong(ErrorKind::Value, &["matrix [1, 0] of the batch is singular"], || {
                Tensor::cat(&[Tensor::eye(2).expand([1, 2, 2, 2]), Tensor::zeros([1, 2, 2, 2])], 0).inverse()
            })
            .wrong(ErrorKind::Shape, &["not square: 2 × 3"], || Tensor::zeros([2, 3]).inverse())
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([[1, 2], [3, 4]]).inverse()),
        row("determinant", |x| sound(&x[0]).determinant())
            .on([real([3, 3])])
            .on([real([2, 2, 2])])
            .on([real([1, 1])])
            .on([real([0, 0])])
            .on([real([0, 3, 3])])
            .definition(|x| expanded(&sound(&x[0])))
            .wrong(ErrorKind::Shape, &["has 1 axes"], || Tensor::zeros([3]).determinant()),
        row("log_determinant", |x| sound(&x[0]).flip(-1).log_determinant())
            .on([real([3, 3])])
            .on([real([2, 2, 2])])
            .on([real([12, 12])])
            .on([real([0, 0])])
            .definition(|x| {
                // Turning columns around exchanges pairs of them.
                let pairs = x[0].size(-1).unwrap_or(0) / 2;
                let value = expanded(&sound(&x[0])) * if pairs % 2 == 0 { 1.0 } else { -1.0 };
                (value.sign(), value.abs().ln())
            })
            .wrong(ErrorKind::Shape, &["not square"], || Tensor::zeros([2, 3]).log_determinant()),
        row("cholesky", |x| definite(&x[0]).cholesky())
            .on([real([3, 3])])
            .on([real([2, 4, 4])])
            .on([real([9, 9])])
            .on([real([1, 1])])
            .on([real([0, 0])])
            .definition(|x| banachiewicz(&definite(&x[0])))
            .wrong(ErrorKind::Value, &["matrix [1] of the batch is not positive definite", "order 2"], || {
                Tensor::from([[1.0, 1.0], [1.0, -1.0]]).diagonal_matrix(0).cholesky()
            })
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([[1]]).cholesky()),
        row("cholesky_solve", |x| definite(&x[0]).cholesky().cholesky_solve(&x[1]))
            .on([real([3, 3]), real([3, 2])])
            .on([real([2, 2, 2]), real([2])])
            .definition(|x| {
                let vector = x[1].rank().is_ok_and(|rank| rank == 1);
                let b = if vector { x[1].unsqueeze(-1) } else { x[1].clone() };
                let solved = eliminated(&definite(&x[0])).matmul(&b);
                if vector { solved.squeeze_axes(-1) } else { solved }
            }),
        row("determinant of a singular matrix", |x| x[0].determinant())
            .on([real([3, 3]).values(&[1.0, 2.0, 3.0, 0.5, -1.0, 2.0, 2.0, 4.0, 6.0])])
            .on([real([2, 2]).values(&[0.0])])
            .definition(|x| expanded(&x[0]))
            .no_second("is singular")
            .no_forward("is singular"),
        row("svd", |x| sound(&x[0]).svd())
            .on([real([3, 3])])
            .on([real([5, 3])])
            .on([real([2, 3, 4])])
            .on([real([1, 1])])
            .on([real([0, 3])])
            .on([real([2, 0])])
            .wrong(ErrorKind::Value, &["matrix [0] of the batch holds numbers that are not finite"], || {
                (Tensor::ones([2, 2, 2]) * f64::NAN).svd().0
            })
            .wrong(ErrorKind::Shape, &["has 1 axes"], || Tensor::zeros([3]).svd().0)
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([[1]]).svd().0),
        row("svd multiplied", |x| {
            let (u, values, vt) = sound(&x[0]).svd();
            (u * values.unsqueeze(-2)).matmul(&vt)
        })
        .on([real([4, 3])])
        .on([real([2, 2, 3])])
        .on([real([20, 17])])
        .definition(|x| sound(&x[0])),
        row("singular_values", |x| sound(&x[0]).singular_values())
            .on([real([3, 4])])
            .on([real([2, 4, 2])])
            .on([real([0, 2])]),
        row("symmetric_eigen", |x| symmetric(&x[0]).symmetric_eigen())
            .on([real([3, 3])])
            .on([real([2, 4, 4])])
            .on([real([1, 1])])
            .on([real([0, 0])])
            .wrong(ErrorKind::Value, &["not finite"], || (Tensor::eye(2) / 0.0).symmetric_eigen().0)
            .wrong(ErrorKind::Shape, &["not square: 2 × 3"], || Tensor::zeros([2, 3]).symmetric_eigen().0)
            .wrong(ErrorKind::DType, &["i64"], || Tensor::from([[1]]).symmetric_eigen().0),
        row("symmetric_eigen multiplied", |x| {
            let (values, vectors) = symmetric(&x[0]).symmetric_eigen();
            (&vectors * values.unsqueeze(-2)).matmul(&vectors.transpose(-2, -1))
        })
        .on([real([4, 4])])
        .on([real([2, 3, 3])])
        .on([real([20, 20])])
        .definition(|x| symmetric(&x[0])),
        row("symmetric_eigenvalues", |x| symmetric(&x[0]).symmetric_eigenvalues())
            .on([real([3, 3])])
            .on([real([2, 2, 2])]),
        row("pseudo_inverse", |x| sound(&x[0]).pseudo_inverse())
            .on([real([3, 3])])
            .on([real([4, 2])])
            .on([real([2, 2, 3])])
            .on([real([0, 3])])
            .on([real([2, 0])])
            .definition(|x| {
                // (Aᵀ A)⁻¹ Aᵀ for tall matrices, Aᵀ (A Aᵀ)⁻¹ for wide ones.
                let a = sound(&x[0]);
                let turned = a.transpose(-2, -1);
                let tall = a.size(-2).unwrap_or(0) >= a.size(-1).unwrap_or(0);
                if tall {
                    eliminated(&turned.matmul(&a)).matmul(&turned)
                } else {
                    turned.matmul(&eliminated(&a.matmul(&turned)))
                }
            })
            .wrong(ErrorKind::Value, &["not finite"], || (Tensor::eye(2) / 0.0).pseudo_inverse()),
        row("least_squares", |x| sound(&x[0]).least_squares(&x[1]))
            .on([real([5, 3]), real([5, 2])])
            .on([real([5, 3]), real([5])])
            .on([real([2, 3, 4]), real([2, 3, 1])])
            .on([real([3, 3]), real([3, 1])])
            .definition(|x| {
                let vector = x[1].rank().is_ok_and(|rank| rank == 1);
                let b = if vector { x[1].unsqueeze(-1) } else { x[1].clone() };
                let solved = sound(&x[0]).pseudo_inverse().matmul(&b);
                if vector { solved.squeeze_axes(-1) } else { solved }
            })
            .wrong(ErrorKind::Value, &["is singular", "pseudo_inverse"], || {
                Tensor::zeros([3, 2]).least_squares(&Tensor::ones([3]))
            })
            .wrong(ErrorKind::Shape, &["has 1 axes"], || Tensor::zeros([3]).least_squares(&Tensor::ones([3]))),
        row("matrix_rank", |x| x[0].matrix_rank())
            .on([real([3, 2])])
            .on([real([2, 2, 2])])
            .no_gradient("its result is a count"),
    ];
    // What is added to the diagonal is rounded too.
    rows.into_iter().map(Row::composed).collect()
}

/// A symmetric matrix whose eigenvalues lie apart.
fn symmetric(x: &Tensor) -> Tensor {
    let sum = (x + x.transpose(-2, -1)) * 0.25;
    sound(&(sum + x.matmul(&x.zeros_like())))
}

/// A symmetric positive definite matrix.
fn definite(x: &Tensor) -> Tensor {
    sound(&x.matmul(&x.transpose(-2, -1)))
}

/// The determinant by Laplace's expansion, without dividing; large ones by elimination without exchanges.
fn expanded(a: &Tensor) -> Tensor {
    let size = a.size(-1).unwrap_or(0);
    if size == 0 {
        return a.sum_over([-2, -1]) + 1.0;
    }
    if size > 4 {
        let pivot = a.narrow(-1, 0, 1).narrow(-2, 0, 1);
        let rest = size - 1;
        let factors = a.narrow(-2, 1, rest).narrow(-1, 0, 1) / &pivot;
        let smaller = a.narrow(-2, 1, rest).narrow(-1, 1, rest) - factors * a.narrow(-2, 0, 1).narrow(-1, 1, rest);
        return pivot.squeeze_axes([-2, -1]) * expanded(&smaller);
    }
    let mut sum: Option<Tensor> = None;
    for column in 0..size {
        let minor = a.narrow(-2, 1, size - 1);
        let others: Vec<i64> = (0..size as i64).filter(|&j| j != column as i64).collect();
        let minor = if others.is_empty() {
            minor.narrow(-1, 0, 0)
        } else {
            minor.index_select(-1, &Tensor::from_slice(&others, [others.len()]).unwrap_or_else(Tensor::failed))
        };
        let own = a.narrow(-2, 0, 1).narrow(-1, column, 1).squeeze_axes([-2, -1]);
        let term = own * expanded(&minor) * if column % 2 == 0 { 1.0 } else { -1.0 };
        sum = Some(match sum {
            Some(sum) => sum + term,
            None => term,
        });
    }
    sum.unwrap_or_else(|| a.clone())
}

/// The inverse by elimination of one column after the other, without exchanges: for matrices heavy on the diagonal.
fn eliminated(a: &Tensor) -> Tensor {
    let size = a.size(-1).unwrap_or(0);
    let mut left = a.clone();
    let mut right = Tensor::eye(size).to_dtype(a.dtype().unwrap_or(DType::F32)) + a * 0.0;
    for i in 0..size {
        let keep = Tensor::from_vec((0..size).map(|row| (row != i) as u8 as f64).collect::<Vec<_>>(), [size, 1])
            .unwrap_or_else(Tensor::failed)
            .to_dtype(a.dtype().unwrap_or(DType::F32));
        let own = Tensor::full_like(&keep, 1.0) - &keep;
        let pivot = left.narrow(-2, i, 1).narrow(-1, i, 1);
        let (row, inverse) = (left.narrow(-2, i, 1) / &pivot, right.narrow(-2, i, 1) / &pivot);
        let factors = left.narrow(-1, i, 1) * &keep;
        left = &left * &keep + &own * &row - &factors * &row;
        right = &right * &keep + &own * &inverse - &factors * &inverse;
    }
    right
}

/// Cholesky's triangle, one element after the other.
fn banachiewicz(a: &Tensor) -> Tensor {
    let size = a.size(-1).unwrap_or(0);
    // As the gradient is shared by both triangles, so is what is read.
    let a = (a + a.transpose(-2, -1)) * 0.5;
    let at = |x: &Tensor, i: usize, j: usize| x.narrow(-2, i, 1).narrow(-1, j, 1);
    let mut rows: Vec<Vec<Tensor>> = Vec::new();
    for i in 0..size {
        let mut row: Vec<Tensor> = Vec::new();
        for (j, above) in rows.iter().enumerate() {
            let rest = row.iter().zip(above).fold(at(&a, i, j), |rest, (x, y)| rest - x * y);
            row.push(rest / &above[j]);
        }
        let square = row.iter().fold(at(&a, i, i), |rest, x| rest - x.square());
        row.push(square.sqrt());
        rows.push(row);
    }
    let rows: Vec<Tensor> = rows
        .into_iter()
        .map(|mut row| {
            let zero = row[0].zeros_like();
            row.resize(size, zero);
            Tensor::cat(&row, -1)
        })
        .collect();
    if rows.is_empty() { a } else { Tensor::cat(&rows, -2) }
}

/// A triangular system, one unknown after the other.
fn substituted(a: &Tensor, b: &Tensor, lower: bool) -> Tensor {
    let vector = b.rank().is_ok_and(|rank| rank == 1);
    let b = if vector { b.unsqueeze(-1) } else { b.clone() };
    let size = a.size(-1).unwrap_or(0);
    let at = |x: &Tensor, i: usize| x.narrow(-2, i, 1);
    let order: Vec<usize> = if lower { (0..size).collect() } else { (0..size).rev().collect() };
    let mut found: Vec<(usize, Tensor)> = Vec::new();
    for &i in &order {
        let row = at(a, i);
        let mut rest = at(&b, i);
        for (j, x) in &found {
            rest = rest - row.narrow(-1, *j, 1) * x;
        }
        found.push((i, rest / row.narrow(-1, i, 1)));
    }
    found.sort_by_key(|(i, _)| *i);
    let rows: Vec<Tensor> = found.into_iter().map(|(_, x)| x).collect();
    let x = if rows.is_empty() { b } else { Tensor::cat(&rows, -2) };
    if vector { x.squeeze_axes(-1) } else { x }
}
