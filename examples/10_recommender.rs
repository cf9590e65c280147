//! A recommender: who would like what, learnt from stars that people gave to some films.
//!
//! ```text
//! cargo run --release --example 10_recommender
//! cargo run --release --features cuda --example 10_recommender -- --device cuda
//! ```
//!
//! Each person and each film is a point in a space of tastes; how well they fit is the product of the two, plus how generous the
//! person and how good the film is. Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", 2009.
//!
//! The stars are made here, from tastes that the model never sees: six kinds of films, people who like one or two of them.
//!
//! It prints (some three seconds):
//!
//! ```text
//! 600 people, 240 films, 21600 stars
//! always 3.15 stars: off by 1.068
//! epoch  6   off by 0.602
//! epoch 12   off by 0.507
//! epoch 18   off by 0.495
//! 100 % of the films have their nearest film in their own kind
//! person 0 would like: crime 187, crime 139, crime 31, crime 163, crime 19
//! person 1 would like: space 2, space 50, space 218, space 224, space 104
//! person 2 would like: animals 107, animals 125, animals 83, animals 17, animals 149
//! ```

mod common;

use chainrule::data::{Loader, Rows};
use chainrule::loss::mse_loss;
use chainrule::nn::{Embedding, Init, Initial, Layer, Module};
use chainrule::optim::{AdamW, Optimizer};
use chainrule::{Random, Result, Tensor, module, no_grad};

const PEOPLE: usize = 600;
const FILMS: usize = 240;
const KINDS: [&str; 6] = ["comedy", "crime", "space", "romance", "history", "animals"];
const WIDTH: usize = 16;

/// Stars from 1 to 5, in one list: who, what, how many.
struct Stars {
    people: Vec<i64>,
    films: Vec<i64>,
    stars: Vec<f32>,
}

impl Stars {
    fn new() -> Stars {
        Stars { people: Vec::new(), films: Vec::new(), stars: Vec::new() }
    }
    fn push(&mut self, person: usize, film: usize, stars: f32) {
        self.people.push(person as i64);
        self.films.push(film as i64);
        self.stars.push(stars);
    }
    fn len(&self) -> usize {
        self.stars.len()
    }
    /// Three columns side by side, a dataset of triples.
    fn rows(self) -> Result<(Rows, Rows, Rows)> {
        let count = self.len();
        Ok((
            Rows::new(&Tensor::from_vec(self.people, [count])?)?,
            Rows::new(&Tensor::from_vec(self.films, [count])?)?,
            Rows::new(&Tensor::from_vec(self.stars, [count])?)?,
        ))
    }
}

/// The kind of a film: which shelf it stands on. Only the one who makes the stars knows it.
fn kind(film: usize) -> usize {
    film % KINDS.len()
}

/// Who watched what, and liked it how much; every tenth star is held back for the test.
fn watched(seed: u64) -> (Stars, Stars) {
    let mut random = Random::new(seed);
    let quality: Vec<f64> = (0..FILMS).map(|_| random.uniform() - 0.5).collect();
    let (mut seen, mut unseen) = (Stars::new(), Stars::new());
    for person in 0..PEOPLE {
        let (first, second) = (random.below(6) as usize, random.below(6) as usize);
        let generous = 0.8 * (random.uniform() - 0.5);
        // No film twice: the step and the number of films have no divisor in common.
        let (start, step) = (random.below(FILMS as u64) as usize, [7, 11, 13, 17, 19][random.below(5) as usize]);
        for nth in 0..40 {
            let film = (start + nth * step) % FILMS;
            let taste = match kind(film) {
                kind if kind == first => 1.7,
                kind if kind == second => 0.9,
                kind if (kind + 3) % 6 == first => -1.4,
                _ => -0.4,
            };
            let noise = 0.7 * (random.uniform() + random.uniform() - 1.0);
            let stars = (3.2 + taste + generous + quality[film] + noise).round().clamp(1.0, 5.0);
            let to = if nth % 10 == 9 { &mut unseen } else { &mut seen };
            to.push(person, film, stars as f32);
        }
    }
    (seen, unseen)
}

/// Two tables of tastes, two of habits, and the average star.
struct Recommender {
    people: Embedding,
    films: Embedding,
    generous: Embedding,
    good: Embedding,
    average: f64,
}
module!(Recommender { people, films, generous, good; average });

impl Recommender {
    fn new(average: f64, init: &mut Init) -> Result<Recommender> {
        let mut model = Recommender {
            people: Embedding::new(PEOPLE, WIDTH, init),
            films: Embedding::new(FILMS, WIDTH, init),
            generous: Embedding::new(PEOPLE, 1, init),
            good: Embedding::new(FILMS, 1, init),
            average,
        };
        // Nobody has a taste yet.
        for table in [&mut model.people, &mut model.films, &mut model.generous, &mut model.good] {
            let start = init.tensor(table.weight.shape()?, Initial::Normal { mean: 0.0, deviation: 0.1 });
            table.weight.set(&start)?;
        }
        Ok(model.named())
    }
    /// The stars that each of `people` would give to the film beside them.
    fn forward(&self, people: &Tensor, films: &Tensor) -> Tensor {
        let fit = (self.people.forward(people) * self.films.forward(films)).sum_over(-1);
        fit + (self.generous.forward(people) + self.good.forward(films)).squeeze_axes(-1) + self.average
    }
    /// The films that a person would give most stars.
    fn best(&self, person: i64, count: usize) -> Result<Vec<i64>> {
        let device = self.films.weight.device()?;
        let person = Tensor::from([person]).expand([FILMS]).to(device);
        let (_, best) = self.forward(&person, &Tensor::arange(FILMS).to(device)).topk(count, 0, true);
        best.to_vec()
    }
    /// The share of films whose nearest other film, by the angle between their points, is of their kind: nobody told the
    /// model that there are kinds.
    fn kinds_found(&self) -> Result<f64> {
        let points = self.films.weight.normalize(2.0, 1);
        let likeness = points.matmul(&points.transpose(0, 1)) - Tensor::eye(FILMS).to(points.device()?) * 2.0;
        let nearest = likeness.argmax_over(1).to_vec::<i64>()?;
        let found = nearest.iter().enumerate().filter(|&(film, &other)| kind(film) == kind(other as usize)).count();
        Ok(found as f64 / FILMS as f64)
    }
}

fn main() -> Result<()> {
    let (seen, unseen) = watched(1);
    println!("{PEOPLE} people, {FILMS} films, {} stars", seen.len());
    let average = seen.stars.iter().map(|&stars| f64::from(stars)).sum::<f64>() / seen.len() as f64;
    let device = common::device()?;
    let (test_people, test_films, test_stars) = unseen.rows()?;
    let [test_people, test_films, test_stars] =
        [test_people, test_films, test_stars].map(|rows| rows.tensor().to(device));
    let error = |guess: &Tensor| Ok::<f64, chainrule::Error>(mse_loss(guess, &test_stars).item()?.sqrt());
    let always = error(&test_stars.full_like(average))?;
    println!("always {average:.2} stars: off by {always:.3}");

    let mut model = Recommender::new(average, &mut Init::on(&device).seed(1))?;
    let mut optimizer = AdamW::new(5e-3).with_weight_decay(0.2);
    let loader = Loader::new(seen.rows()?, 256).shuffled(1).on(device);
    let mut off = always;
    let epochs = common::steps(18, 1);
    for epoch in 1..=epochs {
        for batch in loader.epoch(epoch as u64) {
            let (people, films, stars) = batch?;
            let loss = mse_loss(&model.forward(&people, &films), &stars);
            optimizer.step(&mut model, &loss.backward()?)?;
        }
        off = error(&no_grad(|| model.forward(&test_people, &test_films)))?;
        if epoch % 6 == 0 {
            println!("epoch {epoch:2}   off by {off:.3}");
        }
    }

    model.freeze();
    let kinds = model.kinds_found()?;
    println!("{:.0} % of the films have their nearest film in their own kind", 100.0 * kinds);
    for person in 0..3 {
        let names: Vec<String> =
            model.best(person, 5)?.iter().map(|&film| format!("{} {film}", KINDS[kind(film as usize)])).collect();
        println!("person {person} would like: {}", names.join(", "));
    }
    assert!(common::quick() || (off < 0.7 * always && kinds > 0.8), "the tastes were not found");
    Ok(())
}
