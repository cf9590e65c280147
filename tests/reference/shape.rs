//! Reference names of the family `shape`.

use super::*;
use chainrule::{Index, Pad, step};

pub fn call(case: &Case) -> Option<Results> {
    let x = case.operands.first().map(|operand| &operand.tensor)?;
    let axis = |name: &str| case.int(name);
    Some(match case.op {
        "reshape" => one(x.reshape(case.ints("shape"))),
        "flatten" => one(x.flatten_axes(case.int_or("start_dim", 0), case.int_or("end_dim", -1))),
        "transpose" => one(x.transpose(axis("dim0"), axis("dim1"))),
        "permute" => one(x.permute(case.ints("dims"))),
        "unsqueeze" => one(x.unsqueeze(axis("dim"))),
        "squeeze" if case.has("dim") => one(x.squeeze_axes(case.ints("dim"))),
        "squeeze" => one(x.squeeze()),
        "narrow" => one(x.narrow(axis("dim"), case.int("start"), case.int("length") as usize)),
        "slice" => {
            let mut indices = vec![Index::ALL; axis("dim").rem_euclid(x.rank().ok()? as isize) as usize];
            let end = |name: &str| case.has(name).then(|| case.int(name));
            indices.push(match (end("start"), end("stop")) {
                (Some(start), Some(stop)) => step(start..stop, case.int_or("step", 1)),
                (Some(start), None) => step(start.., case.int_or("step", 1)),
                (None, Some(stop)) => step(..stop, case.int_or("step", 1)),
                (None, None) => step(.., case.int_or("step", 1)),
            });
            one(x.slice(indices))
        }
        "select" => one(x.select(axis("dim"), case.int("index"))),
        "cat" => one(Tensor::cat(&case.all(), case.int_or("dim", 0))),
        "stack" => one(Tensor::stack(&case.all(), case.int_or("dim", 0))),
        "chunk" => list(x.chunk(case.int("chunks") as usize, case.int_or("dim", 0)).ok()?),
        "split" => {
            let sizes = case.ints("split_size_or_sections");
            let dim = case.int_or("dim", 0);
            match case.attributes["split_size_or_sections"].is_array() {
                true => list(x.split_sizes(&sizes.iter().map(|&size| size as usize).collect::<Vec<_>>(), dim).ok()?),
                false => list(x.split(sizes[0] as usize, dim).ok()?),
            }
        }
        "pad" | "pad_mode" => {
            let flat = case.ints("pad");
            let borders: Vec<(isize, isize)> = flat.chunks(2).rev().map(|pair| (pair[0], pair[1])).collect();
            one(x.pad(
                &borders,
                match case.text_or("mode", "constant") {
                    "reflect" => Pad::Reflect,
                    "replicate" => Pad::Replicate,
                    "circular" => Pad::Circular,
                    _ => Pad::Constant(case.float_or("value", 0.0)),
                },
            ))
        }
        "flip" => one(x.flip(case.ints("dims"))),
        "roll" if case.has("dims") => one(x.roll(case.ints("shifts"), case.ints("dims"))),
        "roll" => one(x.flatten().roll(case.ints("shifts"), 0).reshape(x.shape().ok()?)),
        "repeat" => one(x.repeat(case.ints("repeats"))),
        "repeat_interleave" => one(x.repeat_interleave(case.int("repeats") as usize, axis("dim"))),
        "expand" => one(x.expand(case.ints("size"))),
        "tril" => one(x.tril(case.int_or("diagonal", 0))),
        "triu" => one(x.triu(case.int_or("diagonal", 0))),
        "diagonal" => one(x.diagonal(case.int_or("offset", 0), case.int_or("dim1", 0), case.int_or("dim2", 1))),
        _ => return None,
    })
}
