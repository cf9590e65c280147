//! Deep Q-learning: a network learns a game from nothing but playing it.
//!
//! ```text
//! cargo run --release --example 16_dqn
//! cargo run --release --features cuda --example 16_dqn -- --device cuda
//! ```
//!
//! Apples (`o`) and stones (`#`) fall; a basket (`U`) moves left, right, or stays. An apple caught is a point, a stone caught
//! ends the game. Not everything can be caught, so a good player looks ahead. How good one can be at most is computed too: by
//! dynamic programming, for a player who knows all that will ever fall.
//!
//! The network says for each move what it is worth: the points that follow, later ones counting less. What it says of a move
//! should agree with the points it brings and what is said of the best next move:
//!
//! ```text
//! Q(seen, move)  →  points + 0.95 · max over moves of Q'(next, move)
//! ```
//!
//! - Moments of play are remembered and learnt from in random order: neighbouring ones are too alike.
//! - `Q'` is a copy of the network that stands still for a while: a goal that moves with each step is hard to reach.
//!   `clone` makes it; the numbers are shared until the network changes.
//! - At first most moves are left to chance, later few are.
//!
//! Mnih, Kavukcuoglu, Silver and others, "Human-level control through deep reinforcement learning", 2015.
//!
//! It prints (ten seconds; the picture shows six moments of a game, one after the other):
//!
//! ```text
//! move  10000    58 % left to chance     5.1 points in 100 moves
//! move  20000    17 % left to chance    12.4 points in 100 moves
//! move  30000     3 % left to chance    19.8 points in 100 moves
//! move  40000     3 % left to chance    20.1 points in 100 moves
//! move  50000     3 % left to chance    20.7 points in 100 moves
//! move  60000     3 % left to chance    20.4 points in 100 moves
//! |         |  |     o   |  |         |  | o       |  |         |  |   #     |
//! |#        |  |         |  |     o   |  |         |  | o       |  |         |
//! |         |  |#        |  |         |  |     o   |  |         |  | o       |
//! |        o|  |         |  |#        |  |         |  |     o   |  |         |
//! |         |  |        o|  |         |  |#        |  |         |  |     o   |
//! |      o  |  |         |  |        o|  |         |  |#        |  |         |
//! |         |  |      o  |  |         |  |        o|  |         |  |#        |
//! |____U____|  |_____U___|  |______U__|  |_______U_|  |________U|  |_______U_|
//! points in a game, on average: 1.7 before, 21.2 after, 22.0 if one knew the future
//! ```

mod common;

use chainrule::loss::huber_loss;
use chainrule::nn::{Init, Layer, Linear, Module, Relu, Sequential};
use chainrule::optim::{Adam, Optimizer};
use chainrule::{Device, Random, Result, Tensor, no_grad};

const WIDTH: usize = 9;
const HEIGHT: usize = 8;
/// Moves of a game, unless a stone ends it.
const LENGTH: usize = 100;
/// Left, stay, right.
const MOVES: usize = 3;
/// Numbers that a player sees: where the basket is, and what is on each place above it.
const SIGHT: usize = WIDTH + WIDTH * (HEIGHT - 1);

/// A game in progress. What falls is left to its chance alone, not to what the player does.
struct Game {
    chance: Random,
    time: usize,
    basket: usize,
    /// Row after row from the top: 1 an apple, -1 a stone, 0 nothing.
    above: [[i8; WIDTH]; HEIGHT - 1],
    over: bool,
}

impl Game {
    fn new(seed: u64) -> Game {
        let above = [[0; WIDTH]; HEIGHT - 1];
        Game { chance: Random::new(seed), time: 0, basket: WIDTH / 2, above, over: false }
    }
    /// The row that comes down to the basket, where something new may appear at the top: every other move.
    fn fall(&mut self) -> [i8; WIDTH] {
        let mut new = [0; WIDTH];
        if self.time.is_multiple_of(2) {
            let column = self.chance.below(WIDTH as u64) as usize;
            new[column] = if self.chance.below(3) == 0 { -1 } else { 1 };
        }
        self.time += 1;
        let down = self.above[HEIGHT - 2];
        self.above.rotate_right(1);
        self.above[0] = new;
        down
    }
    /// Moves the basket; says how many points that brings.
    fn play(&mut self, direction: usize) -> f32 {
        self.basket = moved(self.basket, direction);
        let met = self.fall()[self.basket];
        self.over = met < 0 || self.time == LENGTH;
        f32::from(met.max(0))
    }
    /// What the player sees.
    fn seen(&self) -> Vec<f32> {
        let basket = (0..WIDTH).map(|column| f32::from(u8::from(column == self.basket)));
        basket.chain(self.above.iter().flatten().map(|&thing| f32::from(thing))).collect()
    }
    /// The game as lines of text.
    fn picture(&self) -> Vec<String> {
        let things =
            |row: &[i8; WIDTH]| row.iter().map(|thing| [' ', 'o', '#'][thing.rem_euclid(3) as usize]).collect();
        let basket = (0..WIDTH).map(|column| if column == self.basket { 'U' } else { '_' }).collect();
        let lines: Vec<String> = self.above.iter().map(things).chain([basket]).collect();
        lines.iter().map(|line| format!("|{line}|")).collect()
    }
}

/// The basket's column after a move: the walls hold it.
fn moved(basket: usize, direction: usize) -> usize {
    (basket + direction).saturating_sub(1).min(WIDTH - 1)
}

/// The points of a player who knows all that will fall: from the last move backwards, what each column is worth.
fn best_possible(seed: u64) -> f32 {
    let mut game = Game::new(seed);
    let rows: Vec<[i8; WIDTH]> = (0..LENGTH).map(|_| game.fall()).collect();
    let mut worth = [0.0f32; WIDTH];
    for row in rows.iter().rev() {
        let there = |column: usize| if row[column] < 0 { 0.0 } else { f32::from(row[column]) + worth[column] };
        let best = |column| (0..MOVES).map(|direction| there(moved(column, direction))).fold(0.0, f32::max);
        worth = std::array::from_fn(best);
    }
    worth[WIDTH / 2]
}

/// A moment of a game: what was seen, what was done, and what came of it.
struct Moment {
    seen: Vec<f32>,
    direction: usize,
    points: f32,
    next: Vec<f32>,
    over: bool,
}

/// The latest moments.
struct Memory {
    moments: Vec<Moment>,
    next: usize,
}

impl Memory {
    const ROOM: usize = 20_000;

    fn add(&mut self, moment: Moment) {
        if self.moments.len() < Memory::ROOM {
            self.moments.push(moment);
        } else {
            self.moments[self.next] = moment;
        }
        self.next = (self.next + 1) % Memory::ROOM;
    }
    /// Some of them, by chance.
    fn some(&self, count: usize, chance: &mut Random) -> Vec<&Moment> {
        (0..count).map(|_| &self.moments[chance.below(self.moments.len() as u64) as usize]).collect()
    }
}

/// A network that plays, and where it computes.
#[derive(Clone)]
struct Player {
    network: Sequential,
    device: Device,
}

impl Player {
    fn new(device: Device, seed: u64) -> Player {
        let mut init = Init::on(&device).seed(seed);
        let network = Sequential::new()
            .then(Linear::new(SIGHT, 128, &mut init))
            .then(Relu)
            .then(Linear::new(128, 64, &mut init))
            .then(Relu)
            .then(Linear::new(64, MOVES, &mut init))
            .named();
        Player { network, device }
    }
    /// What each move is worth, in each of the moments that are seen.
    fn worth(&self, seen: Vec<f32>) -> Result<Tensor> {
        let moments = seen.len() / SIGHT;
        Ok(self.network.forward(&Tensor::from_vec(seen, [moments, SIGHT])?.to(self.device)))
    }
    /// What it holds to be the best move.
    fn best_move(&self, game: &Game) -> Result<usize> {
        let worth = no_grad(|| self.worth(game.seen())?.checked())?;
        Ok(worth.argmax().item()? as usize)
    }
}

/// How far what is said of some moments is from what should be said of them.
fn loss(player: &Player, still: &Player, moments: &[&Moment]) -> Result<Tensor> {
    let numbers = |of: fn(&Moment) -> f32| -> Result<Tensor> {
        let list = moments.iter().map(|moment| of(moment)).collect();
        Ok(Tensor::from_vec(list, [moments.len()])?.to(player.device))
    };
    let sights = |of: fn(&Moment) -> &[f32]| moments.iter().flat_map(|moment| of(moment)).copied().collect();
    let directions = moments.iter().map(|moment| moment.direction as i64).collect();
    let directions = Tensor::from_vec(directions, [moments.len(), 1])?.to(player.device);
    let said = player.worth(sights(|moment| &moment.seen))?.gather(1, &directions).reshape(-1);
    let goal = no_grad(|| -> Result<Tensor> {
        let (best, _) = still.worth(sights(|moment| &moment.next))?.max_along(1);
        // Nothing follows the end of a game.
        let goes_on = numbers(|moment| if moment.over { 0.0 } else { 1.0 })?;
        Ok(numbers(|moment| moment.points)? + best * goes_on * 0.95)
    })?;
    Ok(huber_loss(&said, &goal))
}

/// The points of a game played as the network says.
fn played(player: &Player, seed: u64) -> Result<f32> {
    let (mut game, mut points) = (Game::new(seed), 0.0);
    while !game.over {
        points += game.play(player.best_move(&game)?);
    }
    Ok(points)
}

/// The average over games that were not learnt from.
fn average(of: impl Fn(u64) -> Result<f32>) -> Result<f32> {
    let games = common::steps(100, 5) as u64;
    Ok((0..games).map(|seed| of(1_000_000 + seed)).sum::<Result<f32>>()? / games as f32)
}

fn learn(device: Device, moves: usize, seed: u64) -> Result<Player> {
    let (mut player, mut chance) = (Player::new(device, seed), Random::new(seed));
    let mut still = player.clone();
    let mut optimizer = Adam::new(5e-4);
    let mut memory = Memory { moments: Vec::new(), next: 0 };
    let (mut game, mut games, mut points) = (Game::new(0), 0, 0.0);
    for step in 0..moves {
        let left_to_chance = (1.0 - 2.5 * step as f64 / moves as f64).max(0.03);
        let direction = if chance.uniform() < left_to_chance {
            chance.below(MOVES as u64) as usize
        } else {
            player.best_move(&game)?
        };
        let (seen, brought) = (game.seen(), game.play(direction));
        points += brought;
        // The clock is not seen, and its end is not the player's doing: what would have followed counts.
        let over = game.over && game.time < LENGTH;
        memory.add(Moment { seen, direction, points: brought, next: game.seen(), over });
        if game.over {
            games += 1;
            game = Game::new(games);
        }
        if step >= 500 && step % 2 == 0 {
            let loss = loss(&player, &still, &memory.some(64, &mut chance))?;
            let mut gradients = loss.backward()?;
            gradients.clip_norm(10.0)?;
            optimizer.step(&mut player.network, &gradients)?;
        }
        if step % 1000 == 0 {
            still = player.clone();
        }
        if (step + 1) % (moves / 6) == 0 {
            println!(
                "move {:6}   {:3.0} % left to chance   {:5.1} points in 100 moves",
                step + 1,
                100.0 * left_to_chance,
                points * 600.0 / moves as f32
            );
            points = 0.0;
        }
    }
    Ok(player)
}

fn main() -> Result<()> {
    let device = common::device()?;
    let untaught = Player::new(device, 1);
    let before = average(|seed| played(&untaught, seed))?;
    let possible = average(|seed| Ok(best_possible(seed)))?;
    let player = learn(device, common::steps(60_000, 1200), 1)?;
    let after = average(|seed| played(&player, seed))?;

    // Six moments of a game, side by side.
    let mut game = Game::new(1_000_000);
    let mut pictures = Vec::new();
    for time in 0..36 {
        if time >= 30 {
            pictures.push(game.picture());
        }
        game.play(player.best_move(&game)?);
    }
    for line in 0..HEIGHT {
        println!("{}", pictures.iter().map(|picture| picture[line].as_str()).collect::<Vec<_>>().join("  "));
    }
    println!(
        "points in a game, on average: {before:.1} before, {after:.1} after, {possible:.1} if one knew the future"
    );
    assert!(common::quick() || after > 0.85 * possible, "the game was not learnt");
    Ok(())
}
