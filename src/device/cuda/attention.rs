//! Attention in tiles: `kernels/attention.cu`.

use super::Cuda;
use super::lacking::lacks;
use super::launch::{Launch, THREADS};
use super::module::Source;
use super::rows::beside;
use crate::device::Value;
use crate::device::attention::{Attend, Attended, Attending, AttentionGradients};
use crate::device::copy::Arrange;
use crate::device::random::threshold;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const ATTENTION: Source = Source { name: "attention", text: include_str!("../../../kernels/ptx/attention.ptx") };

/// Queries, and keys, of a tile.
const TILE: usize = 32;
/// The widest row of queries, keys or values.
const WIDEST: usize = 128;
/// Blocks along the second axis of a grid.
const MOST: usize = 65_535;

/// A call of one of the kernels: its operands, where their matrices begin, and what is computed beside them.
struct Problem<'a> {
    query: &'a Value,
    key: &'a Value,
    value: &'a Value,
    mask: Option<Value>,
    /// Matrices of keys, and those of queries that share one.
    matrices: usize,
    groups: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
    words: Vec<u64>,
}

/// The axes before the last two, and the steps along these two.
fn matrices(x: &Value) -> Result<(Layout, [isize; 2]), Fault> {
    let (&[ref batch @ .., _, _], &[ref strides @ .., row, column]) = (x.dims(), x.layout().strides()) else {
        return Err(Fault::defect("attention over fewer than two axes"));
    };
    Ok((Layout::from_parts(Shape::new(batch)?, strides, 0), [row, column]))
}

impl<'a> Problem<'a> {
    fn new(
        cuda: Cuda,
        [query, key, value]: [&'a Value; 3],
        mask: Option<&Value>,
        how: Attending,
    ) -> Result<Problem<'a>, Fault> {
        if !query.dtype().is_float() {
            let what = format!("attention over {}", query.dtype());
            return Err(Fault::dtype(what, "convert to a float first, with to_dtype(DType::F32)"));
        }
        let defect = || Fault::defect(format!("attention over {:?} and {:?}", query.dims(), value.dims()));
        let &[ref batch @ .., groups, queries, width] = query.dims() else { return Err(defect()) };
        let &[.., keys, value_width] = value.dims() else { return Err(defect()) };
        let count = batch.iter().product::<usize>();
        if width.max(value_width) > WIDEST {
            return Err(lacks(&format!("attention with rows of more than {WIDEST} numbers")));
        }
        if count * groups > MOST {
            return Err(lacks(&format!("attention over more than {MOST} matrices")));
        }
        let mask = match mask {
            Some(mask) if mask.dtype() != DType::Bool => Some(cuda.cast(mask, query.dtype())?),
            given => given.cloned(),
        };
        let kind = mask.as_ref().map_or(0u64, |mask| if mask.dtype() == DType::Bool { 1 } else { 2 });
        let mut words: Vec<u64> = [groups, queries, keys, width, value_width].map(|size| size as u64).to_vec();
        for operand in [Some(query), Some(key), Some(value), mask.as_ref()] {
            let steps = operand.map(matrices).transpose()?.map_or([0, 0], |(_, steps)| steps);
            words.extend(steps.map(|step| step as u64));
        }
        let (rate, draw) = match how.dropout {
            Some((rate, draw)) => (rate, super::random::words(draw)?),
            None => (0.0, [0; 3]),
        };
        // Where all are dropped nothing is left to be multiplied.
        let kept = if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 };
        words.extend([how.scale.to_bits(), kept.to_bits(), threshold(rate)]);
        words.extend(draw);
        words.extend([how.causal as u64 | kind << 32, how.dropout.is_some() as u64]);
        Ok(Problem { query, key, value, mask, matrices: count, groups, queries, keys, width, value_width, words })
    }
    fn kernel(&self, cuda: Cuda, name: &str) -> Result<Launch, Fault> {
        let kernel = cuda.kernel(&ATTENTION, &format!("{name}_{}", self.query.dtype()))?;
        Ok(cuda.call(kernel))
    }
    fn operands(&self, call: Launch) -> Launch {
        call.read(self.query).read(self.key).read(self.value).option(self.mask.as_ref())
    }
    /// The numbers and the four views: the last arguments.
    fn how(&self, call: Launch) -> Result<Launch, Fault> {
        let mut call = call.block(&self.words);
        for operand in [Some(self.query), Some(self.key), Some(self.value), self.mask.as_ref()] {
            let batch = match operand {
                Some(operand) => matrices(operand)?.0,
                None => Layout::contiguous(Shape::new(&[])?),
            };
            call = call.view(&batch);
        }
        Ok(call)
    }
    /// Bytes of shared memory: tiles of so many rows of the width, and of the values' width, and of scores.
    fn shared(&self, wide: usize, of_values: usize, scores: usize) -> usize {
        let numbers = TILE * (wide * (self.width + 1) + of_values * (self.value_width + 1) + scores * (TILE + 1));
        numbers * beside(self.query.dtype()).size()
    }
}

impl Attend for Cuda {
    fn attend(
        &self,
        query: &Value,
        key: &Value,
        value: &Value,
        mask: Option<&Value>,
        how: Attending,
    ) -> Result<Attended, Fault> {
        let problem = Problem::new(*self, [query, key, value], mask, how)?;
        let Problem { queries, value_width, .. } = problem;
        let rows = &query.dims()[..query.rank() - 1];
        let out = self.blank(Shape::new(&[rows, &[value_width]].concat())?, query.dtype())?;
        let statistics = || self.blank(Shape::new(rows)?, beside(query.dtype()));
        let (maxima, shares) = (statistics()?, statistics()?);
        let call = problem.operands(problem.kernel(*self, "attend")?).write(&out).write(&maxima).write(&shares);
        let blocks = [queries.div_ceil(TILE), problem.matrices * problem.groups, 1];
        problem.how(call)?.grid(blocks, THREADS, problem.shared(2, 1, 1))?;
        Ok(Attended { out, maxima, shares })
    }

    fn attend_gradient(
        &self,
        query: &Value,
        key: &Value,
        value: &Value,
        mask: Option<&Value>,
        attended: &Attended,
        arriving: &Value,
        how: Attending,
        mask_too: bool,
    ) -> Result<AttentionGradients, Fault> {
        let dtype = query.dtype();
        if dtype.is_half() {
            // The rounded result would do, but the unrounded one is right.
            let wide = |x: &Value| self.cast(x, DType::F32);
            let [query, key, value, arriving] = [wide(query)?, wide(key)?, wide(value)?, wide(arriving)?];
            let attended = self.attend(&query, &key, &value, mask, how)?;
            let wide = self.attend_gradient(&query, &key, &value, mask, &attended, &arriving, how, mask_too)?;
            return Ok(AttentionGradients {
                query: self.cast(&wide.query, dtype)?,
                key: self.cast(&wide.key, dtype)?,
                value: self.cast(&wide.value, dtype)?,
                mask: wide.mask.map(|mask| self.cast(&mask, dtype)).transpose()?,
            });
        }
        let problem = Problem::new(*self, [query, key, value], mask, how)?;
        let Problem { queries, keys, value_width, .. } = problem;
        let g = self.contiguous(&self.cast(arriving, dtype)?)?;
        let out = self.contiguous(&attended.out)?;
        let like = |x: &Value| self.blank(*x.shape(), dtype);
        let (for_query, for_key, for_value) = (like(query)?, like(key)?, like(value)?);
        let rows = &query.dims()[..query.rank() - 1];
        let for_mask = match mask_too {
            true => Some(self.blank(Shape::new(&[rows, &[keys]].concat())?, dtype)?),
            false => None,
        };
        let products = self.blank(Shape::new(rows)?, beside(dtype))?;
        let call = problem.kernel(*self, "attend_products")?.read(&g).read(&out).write(&products);
        let call = call.long(products.count() as i64).long(value_width as i64);
        call.grid([products.count().div_ceil(8), 1, 1], THREADS, 0)?;
        let shared = problem.shared(2, 2, 2);
        let arrived = |call: Launch| {
            problem.operands(call).read(&g).read(&attended.maxima).read(&attended.shares).read(&products)
        };
        let call = arrived(problem.kernel(*self, "attend_query")?).write(&for_query).option(for_mask.as_ref());
        let blocks = [queries.div_ceil(TILE), problem.matrices * problem.groups, 1];
        problem.how(call)?.grid(blocks, THREADS, shared)?;
        let call = arrived(problem.kernel(*self, "attend_key")?).write(&for_key).write(&for_value);
        problem.how(call)?.grid([keys.div_ceil(TILE), problem.matrices, 1], THREADS, shared)?;
        Ok(AttentionGradients { query: for_query, key: for_key, value: for_value, mask: for_mask })
    }
}
