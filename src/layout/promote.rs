//! Which element type two different ones make together: the one table.

use super::dtype::DType;

impl DType {
    /// The element type in which two tensors meet, as in PyTorch: the kind bool < integer < float decides first, then
    /// the size; bf16 and f16 meet in f32, since neither holds the other.
    ///
    /// |      | f64 | f32 | bf16 | f16  | i64  | i32  | u8   | bool |
    /// |------|-----|-----|------|------|------|------|------|------|
    /// | f64  | f64 | f64 | f64  | f64  | f64  | f64  | f64  | f64  |
    /// | f32  | f64 | f32 | f32  | f32  | f32  | f32  | f32  | f32  |
    /// | bf16 | f64 | f32 | bf16 | f32  | bf16 | bf16 | bf16 | bf16 |
    /// | f16  | f64 | f32 | f32  | f16  | f16  | f16  | f16  | f16  |
    /// | i64  | f64 | f32 | bf16 | f16  | i64  | i64  | i64  | i64  |
    /// | i32  | f64 | f32 | bf16 | f16  | i64  | i32  | i32  | i32  |
    /// | u8   | f64 | f32 | bf16 | f16  | i64  | i32  | u8   | u8   |
    /// | bool | f64 | f32 | bf16 | f16  | i64  | i32  | u8   | bool |
    ///
    /// A Rust number beside a tensor (`x * 2.0`) never changes a float tensor's type; beside an integer tensor a float
    /// gives f32.
    ///
    /// ```
    /// use chainrule::DType;
    /// assert_eq!(DType::I64.promote(DType::F16), DType::F16);
    /// assert_eq!(DType::BF16.promote(DType::F16), DType::F32);
    /// assert_eq!(DType::U8.promote(DType::I32), DType::I32);
    /// ```
    pub const fn promote(self, other: DType) -> DType {
        use DType::*;
        match (self, other) {
            (F64, _) | (_, F64) => F64,
            (F32, _) | (_, F32) | (BF16, F16) | (F16, BF16) => F32,
            (BF16, _) | (_, BF16) => BF16,
            (F16, _) | (_, F16) => F16,
            (I64, _) | (_, I64) => I64,
            (I32, _) | (_, I32) => I32,
            (U8, _) | (_, U8) => U8,
            (Bool, Bool) => Bool,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_table_is_the_code() {
        let rows = include_str!("promote.rs").lines().filter_map(|line| line.trim().strip_prefix("/// | "));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
        let named = |name: &str| {
            use DType::*;
            [F64, F32, BF16, F16, I64, I32, U8, Bool].into_iter().find(|dtype| dtype.name() == name)
        };
        let head: Vec<DType> = rows[0].iter().filter_map(|name| named(name)).collect();
        let mut compared = 0;
        for row in &rows {
            let Some(left) = named(row[0]) else { continue };
            for (right, cell) in head.iter().zip(&row[1..]) {
                assert_eq!(left.promote(*right).name(), *cell, "{left} and {right}");
                compared += 1;
            }
        }
        assert_eq!(compared, 64);
    }
}
