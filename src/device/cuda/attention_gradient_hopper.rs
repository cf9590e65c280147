//! The gradient of attention of 16-bit floats on compute capability 9.0: `kernels/attention_gradient_hopper.cu`. Operands are brought by copies of
//! whole boxes; what does not lie for them is copied first.

use super::Cuda;
use super::attention::{Problem, Way, matrices as matrices_of};
use super::attention_hopper::{Lying, hides_at_most};
use super::launch::Launch;
use super::matmul_hopper::GENERATION;
use super::module::{Source, source};
use crate::device::Value;
use crate::device::attention::{Attended, Attending};
use crate::device::copy::Arrange;
use crate::error::Fault;

const SOURCE: Source = source!("attention_gradient_hopper");

/// Threads of a block.
const THREADS: usize = 384;
/// Lines that a block has for itself.
const OWN: usize = 128;

/// One of the two passes.
struct Pass {
    name: &'static str,
    /// Matrices whose lines blocks have, and how many lines these have.
    matrices: usize,
    lines: usize,
    /// Lines of the boxes of queries and of keys.
    boxes: [usize; 2],
    /// Lines that pass by at a time, in how many stages, and what each of these has beside them, in bytes.
    passing: usize,
    stages: usize,
    beside: usize,
}

/// An operand, and how it lies.
struct Brought {
    value: Value,
    lying: Lying,
}

impl Brought {
    fn new(cuda: Cuda, x: &Value) -> Result<Brought, Fault> {
        if let Some(lying) = Lying::of(x) {
            return Ok(Brought { value: x.clone(), lying });
        }
        let value = cuda.duplicate(x)?;
        let lying =
            Lying::of(&value).ok_or_else(|| Fault::defect("dense matrices that do not lie for copies of boxes"))?;
        Ok(Brought { value, lying })
    }
    fn give(&self, call: Launch, lines: usize) -> Launch {
        call.boxes(&self.value, &self.lying.boxes(&self.value, lines))
    }
}

/// The width that these kernels take a problem's rows for, if the problem is one for them.
pub(super) fn width(cuda: Cuda, problem: &Problem<'_>, how: Attending, mask_too: bool) -> Option<usize> {
    let Way::Tensor(wide @ (64 | 128)) = problem.way else { return None };
    let plain = problem.query.dtype().is_half() && hides_at_most(problem, how) && !mask_too;
    let whole = problem.width.is_multiple_of(8) && problem.value_width.is_multiple_of(8);
    // The kernels count lines and matrices in 32 bits.
    let matrices = problem.matrices.saturating_mul(problem.groups);
    let fits = matrices > 0 && matrices.max(problem.queries).max(problem.keys) < i32::MAX as usize / 2;
    (plain && whole && fits && cuda.0.generation == GENERATION).then_some(wide)
}

/// The gradients of queries, keys and values, from what arrived (`g`, dense) and its products with the result.
pub(super) fn gradients(
    cuda: Cuda,
    problem: &Problem<'_>,
    wide: usize,
    attended: &Attended,
    [g, products]: [&Value; 2],
    [for_query, for_key, for_value]: [&Value; 3],
) -> Result<(), Fault> {
    let operands = [problem.query, problem.key, problem.value, g];
    let [q, k, v, g] = operands.map(|x| Brought::new(cuda, x));
    let [q, k, v, g] = [q?, k?, v?, g?];
    let launch = |pass: Pass, results: &[&Value]| {
        let masked = if problem.mask.is_some() { "_masked" } else { "" };
        let name = format!("attend_{}{masked}_hopper_{wide}_{}", pass.name, problem.query.dtype());
        let call = cuda.call(cuda.kernel(&SOURCE, &name)?);
        let call = call.read(&attended.maxima).read(&attended.shares).read(products);
        let call = results.iter().fold(call, |call, result| call.write(result));
        let call = problem.mask.iter().fold(call, |call, mask| call.read(mask)).block(&problem.words);
        let call = [&q, &k, &v, &g].iter().fold(call, |call, x| call.int(x.lying.heads()));
        let call = match &problem.mask {
            Some(mask) => call.view(&matrices_of(mask)?.0),
            None => call,
        };
        let [of_queries, of_keys] = pass.boxes;
        let call = g.give(v.give(k.give(q.give(call, of_queries), of_keys), of_keys), of_queries);
        // Two matrices of lines of its own and two of those that pass, in numbers of two bytes; barriers.
        let shared =
            4 * wide * (OWN + pass.stages * pass.passing) + pass.stages * pass.beside + 8 * (1 + 4 * pass.stages);
        call.grid([pass.lines.div_ceil(OWN) * pass.matrices, 1, 1], THREADS, shared)
    };
    let Problem { matrices, groups, queries, keys, .. } = *problem;
    let (name, boxes) = ("query", [OWN, 128]);
    let pass = Pass { name, matrices: matrices * groups, lines: queries, boxes, passing: 128, stages: 2, beside: 0 };
    launch(pass, &[for_query])?;
    // Beside queries stand two numbers of f32 for each.
    let (name, boxes) = ("key", [64, OWN]);
    let pass = Pass { name, matrices, lines: keys, boxes, passing: 64, stages: 4, beside: 8 * 64 };
    launch(pass, &[for_key, for_value])
}
