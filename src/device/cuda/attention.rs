//! Attention in tiles: `kernels/attention.cu`; for floats of 16 bits, and f32 that may be rounded, `kernels/attention_tensor.cuh`; and on compute
//! capability 9.0 what `attention_hopper.rs` (forward) and `attention_gradient_hopper.rs` take.

use super::Cuda;
use super::attention_gradient_hopper;
use super::attention_hopper::Boxed;
use super::lacking::lacks;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use super::rows::beside;
use crate::device::attention::{Attend, Attended, Attending, AttentionGradients};
use crate::device::copy::Arrange;
use crate::device::random::threshold;
use crate::device::{MatmulPrecision, Value, matmul_precision};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const ATTENTION: Source = source!("attention");

/// On tensor cores: 16-bit floats, sums in f32.
const TENSOR: Source = source!("attention_tensor");

/// The same of f32, rounded to 11 bits.
const ROUNDED: Source = source!("attention_tf32");

/// Queries, and keys, of a tile of the ordinary kernels.
const TILE: usize = 32;
/// They take rows by slabs of so many numbers.
const SLAB: usize = 128;

/// Queries and keys, and twice the numbers of a row, from which on tiles of tensor cores are filled.
const FILLED: usize = 64;

/// The three passes over scores.
#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Query,
    Key,
}

/// Which kernels do it.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Ordinary arithmetic units.
    Plain,
    /// Tensor cores, for rows of at most so many numbers.
    Tensor(usize),
}

impl Way {
    /// Tensor cores take weights and slopes that are rounded, to 16 bits or to the 11 of tf32, which f32 has to be allowed. A few scores, or
    /// short rows, would not fill their tiles: those are not rounded.
    fn of(dtype: DType, [queries, keys, width, value_width]: [usize; 4]) -> Way {
        let widest = width.max(value_width);
        let filled = queries.min(keys) >= FILLED && width.min(value_width) >= FILLED / 2;
        let widths: &[usize] = match dtype {
            _ if !filled => &[],
            DType::BF16 | DType::F16 => &[64, 128, 256],
            DType::F32 if matmul_precision() != MatmulPrecision::Exact => &[64, 128],
            _ => &[],
        };
        widths.iter().find(|&&wide| widest <= wide).map_or(Way::Plain, |&wide| Way::Tensor(wide))
    }
    /// Lines that a block has for itself, and how many of the others pass by at a time, on tensor cores.
    fn lines(dtype: DType, wide: usize, pass: Pass) -> (usize, usize) {
        match (pass, wide) {
            (Pass::Forward, 64) => (128, 64),
            (Pass::Forward, 128) if dtype == DType::F32 => (128, 16),
            (Pass::Forward, 128) => (128, 32),
            (Pass::Query | Pass::Key, 128) if dtype == DType::F32 => (64, 16),
            (Pass::Forward, _) => (64, 32),
            (Pass::Query, 64) => (128, 32),
            (Pass::Query, 128) | (Pass::Key, 64) => (128, 16),
            (Pass::Key, 128) => (64, 32),
            _ => (64, 16),
        }
    }
}

/// A call of one of the kernels: its operands, where their matrices begin, and what is computed beside them.
pub(super) struct Problem<'a> {
    pub(super) query: &'a Value,
    pub(super) key: &'a Value,
    pub(super) value: &'a Value,
    pub(super) mask: Option<Value>,
    /// Matrices of keys, and those of queries that share one.
    pub(super) matrices: usize,
    pub(super) groups: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
    pub(super) value_width: usize,
    pub(super) way: Way,
    /// `struct Attention` of the kernels.
    pub(super) words: Vec<u64>,
}

/// The axes before the last two, and the steps along these two.
pub(super) fn matrices(x: &Value) -> Result<(Layout, [isize; 2]), Fault> {
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
        if queries.max(keys) > i32::MAX as usize {
            return Err(lacks("attention over more than 2^31 queries or keys"));
        }
        let way = Way::of(query.dtype(), [queries, keys, width, value_width]);
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
        Ok(Problem { query, key, value, mask, matrices: count, groups, queries, keys, width, value_width, way, words })
    }
    fn kernel(&self, cuda: Cuda, pass: Pass) -> Result<Launch, Fault> {
        let name = match pass {
            Pass::Forward => "attend",
            Pass::Query => "attend_query",
            Pass::Key => "attend_key",
        };
        let dtype = self.query.dtype();
        let kernel = match self.way {
            Way::Plain => cuda.kernel(&ATTENTION, &format!("{name}_{dtype}"))?,
            Way::Tensor(wide) => {
                let source = if dtype == DType::F32 { &ROUNDED } else { &TENSOR };
                cuda.kernel(source, &format!("{name}_tensor_{wide}_{dtype}"))?
            }
        };
        Ok(cuda.call(kernel))
    }
    fn operands(&self, call: Launch) -> Launch {
        call.read(self.query).read(self.key).read(self.value).option(self.mask.as_ref())
    }
    /// Launches it with the numbers and the four views as its last arguments.
    fn launch(&self, call: Launch, pass: Pass) -> Result<(), Fault> {
        let mut call = call.block(&self.words);
        for operand in [Some(self.query), Some(self.key), Some(self.value), self.mask.as_ref()] {
            let batch = match operand {
                Some(operand) => matrices(operand)?.0,
                None => Layout::contiguous(Shape::new(&[])?),
            };
            call = call.view(&batch);
        }
        let (lines, matrices) = match pass {
            Pass::Key => (self.keys, self.matrices),
            Pass::Forward | Pass::Query => (self.queries, self.matrices * self.groups),
        };
        match self.way {
            Way::Plain => {
                let slabs = |width: usize| width.div_ceil(SLAB);
                let [w, v] = [self.width, self.value_width].map(|width| width.min(SLAB) + 1);
                let (written, numbers) = match pass {
                    Pass::Forward => (slabs(self.value_width), 2 * w + v + TILE + 1),
                    Pass::Query => (slabs(self.width), 2 * (w + v + TILE + 1)),
                    Pass::Key => (slabs(self.width.max(self.value_width)), 2 * (w + v + TILE + 1)),
                };
                let shared = TILE * numbers * beside(self.query.dtype()).size();
                call.grid([lines.div_ceil(TILE) * matrices, written, 1], THREADS, shared)
            }
            Way::Tensor(wide) => {
                let (dtype, line) = (self.query.dtype(), wide * self.query.dtype().size());
                let (own, passing) = Way::lines(dtype, wide, pass);
                let shared = match pass {
                    Pass::Forward => line * (own + 2 * passing),
                    Pass::Query => line * (2 * own + 4 * passing) + 8 * own,
                    Pass::Key => line * (2 * own + 4 * passing) + 16 * passing,
                };
                let parts = if matches!(pass, Pass::Key) && wide == 256 { 2 } else { 1 };
                call.grid([lines.div_ceil(own) * matrices, parts, 1], THREADS / 2, shared)
            }
        }
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
        let value_width = problem.value_width;
        let rows = &query.dims()[..query.rank() - 1];
        let out = self.blank(Shape::new(&[rows, &[value_width]].concat())?, query.dtype())?;
        let statistics = || self.blank(Shape::new(rows)?, beside(query.dtype()));
        let attended = Attended { out, maxima: statistics()?, shares: statistics()? };
        if let Some(boxed) = Boxed::of(*self, &problem, how) {
            self.attend_boxes(&problem, &boxed, &attended, how)?;
            return Ok(attended);
        }
        let call = problem.operands(problem.kernel(*self, Pass::Forward)?);
        let call = call.write(&attended.out).write(&attended.maxima).write(&attended.shares);
        problem.launch(call, Pass::Forward)?;
        Ok(attended)
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
        let problem = Problem::new(*self, [query, key, value], mask, how)?;
        if dtype.is_half() && matches!(problem.way, Way::Plain) {
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
        let Problem { keys, value_width, .. } = problem;
        let g = self.contiguous(&self.cast(arriving, dtype)?)?;
        let out = self.contiguous(&self.cast(&attended.out, dtype)?)?;
        let like = |x: &Value| self.blank(*x.shape(), dtype);
        let (for_query, for_key, for_value) = (like(query)?, like(key)?, like(value)?);
        let rows = &query.dims()[..query.rank() - 1];
        let for_mask = match mask_too {
            true => Some(self.blank(Shape::new(&[rows, &[keys]].concat())?, dtype)?),
            false => None,
        };
        let products = self.blank(Shape::new(rows)?, beside(dtype))?;
        let call = self.call(self.kernel(&ATTENTION, &format!("attend_products_{dtype}"))?);
        let call = call.read(&g).read(&out).write(&products);
        let call = call.long(products.count() as i64).long(value_width as i64);
        call.grid([products.count().div_ceil(8), 1, 1], THREADS, 0)?;
        if let Some(wide) = attention_gradient_hopper::width(*self, &problem, how, mask_too) {
            let results = [&for_query, &for_key, &for_value];
            attention_gradient_hopper::gradients(*self, &problem, wide, attended, [&g, &products], results)?;
            return Ok(AttentionGradients { query: for_query, key: for_key, value: for_value, mask: None });
        }
        let arrived = |pass: Pass| {
            let call = problem.operands(problem.kernel(*self, pass)?).read(&g);
            Ok::<Launch, Fault>(call.read(&attended.maxima).read(&attended.shares).read(&products))
        };
        problem.launch(arrived(Pass::Query)?.write(&for_query).option(for_mask.as_ref()), Pass::Query)?;
        problem.launch(arrived(Pass::Key)?.write(&for_key).write(&for_value), Pass::Key)?;
        Ok(AttentionGradients { query: for_query, key: for_key, value: for_value, mask: for_mask })
    }
}
