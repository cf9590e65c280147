//! A small language of our own: sentences that agree in number, so that what a model has learnt can be counted.

use chainrule::Random;

const NUMBERS: [&str; 5] = ["one", "two", "three", "four", "seven"];
const COLOURS: [&str; 6] = ["red", "green", "grey", "tiny", "sleepy", "brave"];
const ANIMALS: [&str; 6] = ["fox", "owl", "cat", "crow", "frog", "hare"];
const VERBS: [&str; 6] = ["follow", "greet", "fear", "see", "help", "tease"];

fn plural(animal: &str) -> String {
    if animal.ends_with('x') { format!("{animal}es") } else { format!("{animal}s") }
}

fn group(random: &mut Random, text: &mut String) -> bool {
    let mut pick = |from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    let number = pick(&NUMBERS);
    text.push_str(number);
    text.push(' ');
    if pick(&["yes", "no"]) == "yes" {
        text.push_str(pick(&COLOURS));
        text.push(' ');
    }
    let animal = pick(&ANIMALS);
    let one = number == "one";
    text.push_str(&if one { animal.to_string() } else { plural(animal) });
    one
}

/// `count` sentences, a line each: "two tiny owls see one brave fox."
pub fn sentences(count: usize, seed: u64) -> String {
    let (mut random, mut text) = (Random::new(seed), String::new());
    for _ in 0..count {
        let one = group(&mut random, &mut text);
        let verb = VERBS[random.below(VERBS.len() as u64) as usize];
        text.push_str(&if one { format!(" {verb}s ") } else { format!(" {verb} ") });
        group(&mut random, &mut text);
        text.push_str(".\n");
    }
    text
}

/// Is this line a sentence of the language?
pub fn is_sentence(line: &str) -> bool {
    let Some(line) = line.strip_suffix('.') else { return false };
    let mut words = line.split(' ').peekable();
    let mut take_group = |last: bool| -> Option<(bool, Option<&str>)> {
        let number = words.next().filter(|word| NUMBERS.contains(word))?;
        words.next_if(|word| COLOURS.contains(word));
        let (one, animal) = (number == "one", words.next()?);
        let fits = ANIMALS.iter().any(|name| if one { *name == animal } else { plural(name) == animal });
        if !fits {
            return None;
        }
        let next = words.next();
        (last == next.is_none()).then_some((one, next))
    };
    let Some((one, Some(verb))) = take_group(false) else { return false };
    let agrees = VERBS.iter().any(|name| if one { verb.strip_suffix('s') == Some(name) } else { verb == *name });
    agrees && take_group(true).is_some()
}
