//! What people thought: a network reads short reviews, word by word, and says whether they are kind.
//!
//! ```text
//! cargo run --release --example 13_sentiment
//! cargo run --release --example 13_sentiment -- "the soup was not warm at all"
//! ```
//!
//! Two networks learn the same reviews. One sees which words there are, not in which order; the other reads them in both
//! directions (GRU). Reviews turn on their last clause and on little words ("not", "but"), so the order matters.
//!
//! The reviews are made here by a small grammar; those of the test were not seen.
//!
//! It prints (some five seconds):
//!
//! ```text
//! 3000 reviews of 48 words, 765 new ones to be judged by
//!   kind: we feared some unkind fire and were wrong
//!   unkind: the waiter was not generous at all
//!   unkind: the waiter was not friendly at all and we never found the room fresh
//! as a heap of words: 59.9 % understood
//! word after word:    100.0 % understood
//!   kind with 100 %: the bed was not dreadful at all
//!   kind with   0 %: the view was charming but the waiter was rude
//! ```

mod common;

use chainrule::data::{Collate, Dataset, Loader};
use chainrule::loss::binary_cross_entropy_with_logits;
use chainrule::nn::{Embedding, Gru, Init, Layer, Linear, Module, Sequence};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{DType, Device, Random, Result, Tensor, module, no_grad};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

const GOOD: [&str; 10] =
    ["warm", "lovely", "bright", "delicious", "charming", "quiet", "fresh", "friendly", "splendid", "generous"];
const BAD: [&str; 10] =
    ["cold", "dreadful", "gloomy", "bitter", "rude", "noisy", "stale", "unkind", "shabby", "stingy"];
const THINGS: [&str; 12] =
    ["soup", "room", "host", "garden", "breakfast", "music", "bread", "waiter", "view", "bed", "fire", "coffee"];

/// One clause, kind or not.
fn clause(kind: bool, random: &mut Random) -> String {
    let mut pick = |from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    let (thing, same, other) =
        if kind { (pick(&THINGS), pick(&GOOD), pick(&BAD)) } else { (pick(&THINGS), pick(&BAD), pick(&GOOD)) };
    match pick(&["plain", "plain", "not", "never", "hoped"]) {
        "plain" => format!("the {thing} was {same}"),
        "not" => format!("the {thing} was not {other} at all"),
        "never" => format!("we never found the {thing} {other}"),
        _ if kind => format!("we feared some {other} {thing} and were wrong"),
        _ => format!("we hoped for some {other} {thing} and were wrong"),
    }
}

/// A review of one clause, or of two; what comes after a "but" is what the guest means.
fn review(random: &mut Random) -> (String, bool) {
    let kind = random.below(2) == 1;
    let text = match random.below(3) {
        0 => clause(kind, random),
        1 => format!("{} and {}", clause(kind, random), clause(kind, random)),
        _ => format!("{} but {}", clause(!kind, random), clause(kind, random)),
    };
    (text, kind)
}

/// Words by their numbers; 0 is what no review has, 1 any word that no review of the training has.
struct Dictionary(HashMap<String, i64>);

impl Dictionary {
    fn of(texts: &[(String, bool)]) -> Dictionary {
        let words: BTreeSet<&str> = texts.iter().flat_map(|(text, _)| text.split_whitespace()).collect();
        Dictionary(words.into_iter().map(str::to_string).zip(2..).collect())
    }
    fn read(&self, text: &str) -> Vec<i64> {
        text.split_whitespace().map(|word| self.0.get(word).copied().unwrap_or(1)).collect()
    }
}

/// A review in numbers.
struct Review {
    words: Vec<i64>,
    kind: bool,
}

/// Reviews of different lengths in one tensor: the shorter ones are filled up, and the lengths say where they end.
struct Reviews {
    words: Tensor,
    lengths: Vec<usize>,
    kind: Tensor,
}

impl Collate for Review {
    type Batch = Reviews;
    fn collate(items: Vec<Review>) -> Result<Reviews> {
        let lengths: Vec<usize> = items.iter().map(|review| review.words.len().max(1)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(1);
        let padding = |review: &Review| std::iter::repeat_n(0, longest - review.words.len());
        let words = items.iter().flat_map(|review| review.words.iter().copied().chain(padding(review))).collect();
        let kind: Vec<f32> = items.iter().map(|review| f32::from(review.kind)).collect();
        Ok(Reviews {
            words: Tensor::from_vec(words, [items.len(), longest])?,
            lengths,
            kind: Tensor::from_vec(kind, [items.len()])?,
        })
    }
    fn to_device(batch: Reviews, device: Device) -> Result<Reviews> {
        Ok(Reviews { words: batch.words.to(device), kind: batch.kind.to(device), ..batch })
    }
}

struct Collection {
    texts: Vec<(String, bool)>,
    dictionary: Arc<Dictionary>,
}

impl Dataset for Collection {
    type Item = Review;
    fn len(&self) -> usize {
        self.texts.len()
    }
    fn item(&self, index: usize, _: &mut Random) -> Result<Review> {
        let (text, kind) = &self.texts[index];
        Ok(Review { words: self.dictionary.read(text), kind: *kind })
    }
}

/// Reads a review in order where it has a recurrent layer, as a heap of words where not.
struct Critic {
    embed: Embedding,
    read: Option<Gru>,
    say: Linear,
}
module!(Critic { embed, read, say });

impl Critic {
    fn new(words: usize, in_order: bool, init: &mut Init) -> Critic {
        let read = in_order.then(|| Gru::options(24, 24).with_bidirectional().with_batch_first().build(init));
        let width = if in_order { 48 } else { 24 };
        Critic {
            embed: Embedding::options(words, 24).with_padding(0).build(init),
            read,
            say: Linear::new(width, 1, init),
        }
        .named()
    }
    /// Above zero where a review is kind.
    fn forward(&self, reviews: &Reviews) -> Tensor {
        let words = self.embed.forward(&reviews.words);
        let read = match &self.read {
            Some(gru) => {
                let hidden = gru.forward_with(&words, &Sequence::new().lengths(&reviews.lengths)).hidden;
                // Where each direction has come to: `[2, batch, 24]`.
                Tensor::cat(&[hidden.select(0, 0), hidden.select(0, 1)], -1)
            }
            None => words.sum_over(1),
        };
        self.say.forward(&read).squeeze_axes(-1)
    }
}

/// Trains for some epochs; the share of the test's reviews that it understands, in percent.
fn train(model: &mut Critic, [seen, unseen]: [&Loader<Collection>; 2], epochs: usize) -> Result<f64> {
    let mut optimizer = AdamW::new(4e-3);
    for epoch in 0..epochs as u64 {
        for batch in seen.epoch(epoch) {
            let batch = batch?;
            let loss = binary_cross_entropy_with_logits(&model.forward(&batch), &batch.kind);
            optimizer.step(model, &loss.backward()?)?;
        }
    }
    model.freeze();
    let mut right = 0.0;
    for batch in unseen.epoch(0) {
        let batch = batch?;
        let kind = no_grad(|| model.forward(&batch)).greater(0.0).to_dtype(DType::F32);
        right += kind.equal(&batch.kind).to_dtype(DType::F64).sum().item()?;
    }
    Ok(100.0 * right / unseen.dataset().len() as f64)
}

fn main() -> Result<()> {
    let mut random = Random::new(1);
    let mut made = |count| (0..count).map(|_| review(&mut random)).collect::<Vec<_>>();
    let (seen, mut unseen) = (made(common::steps(3000, 64)), made(1000));
    let known: HashSet<&str> = seen.iter().map(|(text, _)| text.as_str()).collect();
    unseen.retain(|(text, _)| !known.contains(text.as_str()));
    let dictionary = Arc::new(Dictionary::of(&seen));
    let words = dictionary.0.len() + 2;
    println!("{} reviews of {} words, {} new ones to be judged by", seen.len(), words - 2, unseen.len());
    for (text, kind) in &seen[..3] {
        println!("  {}: {text}", if *kind { "kind" } else { "unkind" });
    }

    let device = common::device()?;
    let seen = Loader::new(Collection { texts: seen, dictionary: dictionary.clone() }, 32).shuffled(1).on(device);
    let unseen = Loader::new(Collection { texts: unseen, dictionary: dictionary.clone() }, 256).on(device);
    let mut init = Init::on(&device).seed(1);
    let (mut heap, mut ordered) = (Critic::new(words, false, &mut init), Critic::new(words, true, &mut init));
    let epochs = common::steps(8, 1);
    let by_heap = train(&mut heap, [&seen, &unseen], epochs)?;
    println!("as a heap of words: {by_heap:.1} % understood");
    let in_order = train(&mut ordered, [&seen, &unseen], epochs)?;
    println!("word after word:    {in_order:.1} % understood");

    let given = common::rest();
    let own = ["the bed was not dreadful at all", "the view was charming but the waiter was rude"];
    let texts = if given.is_empty() { own.map(str::to_string).to_vec() } else { given };
    for text in texts {
        let review = Review::collate(vec![Review { words: dictionary.read(&text), kind: false }])?;
        let review = Review::to_device(review, device)?;
        let chance = no_grad(|| ordered.forward(&review).sigmoid().item())?;
        println!("  kind with {:3.0} %: {text}", 100.0 * chance);
    }
    assert!(common::quick() || (in_order > 97.0 && by_heap < 90.0), "the order of words was not learnt");
    Ok(())
}
