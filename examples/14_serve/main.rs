//! A model behind a network address: many clients, one frozen model, requests answered in batches.
//!
//! ```text
//! cargo run --release --example 14_serve                   # a demonstration: serves, sends itself requests, stops
//! cargo run --release --example 14_serve -- serve          # serves until Enter is pressed
//! cargo run --release --example 14_serve -- load --requests 100000 --connections 64        # in another terminal
//! curl --data @picture.json http://127.0.0.1:8014/predict        # {"pixels": [400 numbers]}
//! curl http://127.0.0.1:8014/metrics
//! ```
//!
//! `serve` takes `--address`, `--weights FILE` (instead of a second's training), `--batch 32`, `--wait 2` (milliseconds that
//! the first of a batch waits for company), `--queue 256`, `--threads`, `--most-connections 512`. `load` takes `--address`,
//! `--weights`, `--requests`, `--connections`. It exits with 1 if an answer was lost, or was not the one that belongs to its
//! request: it has a copy of the model, and compares to the last bit.
//!
//! - `http`: requests within limits, answers; `server`: a thread for each connection;
//! - `batcher`: the queue, and the threads that answer batches; `model`: what is served;
//! - `metrics`: what the server tells of itself; `load`: the clients.
//!
//! The demonstration prints (four seconds; ports, times and memory differ from run to run):
//!
//! ```text
//! 3654 parameters, 99.8 % of new pictures are told right
//! serving at 127.0.0.1:33157: batches of 32 or 2ms, 2 threads, a queue of 256
//! 20000 requests over 64 connections, 1000 different
//!   answered 20000, refused 0, lost 0, mixed 0, wrong 0
//!   0.9 s, 21492 answers a second
//!   latency: half within 2.88 ms, 95 % 4.46 ms, 99 % 5.24 ms, all 24.0 ms
//!   memory of the server: 43.0 MB before, 47.0 MB after
//! stopped: 21002 answers, 0 refused, 31.8 requests in a batch, 0 connections left
//! more clients than the queue has room for:
//! serving at 127.0.0.1:40471: batches of 8 or 2ms, 2 threads, a queue of 8
//! 5000 requests over 64 connections, 1000 different
//!   answered 2318, refused 2682, lost 0, mixed 0, wrong 0
//!   0.4 s, 5162 answers a second
//!   latency: half within 2.62 ms, 95 % 11.53 ms, 99 % 15.73 ms, all 19.7 ms
//!   memory of the server: 47.0 MB before, 47.1 MB after
//! stopped: 2389 answers, 2863 refused, 8.0 requests in a batch, 0 connections left
//! no answer was lost, none was mixed up
//! ```

#![allow(unreachable_pub)] // these files are one program

mod batcher;
#[path = "../common/mod.rs"]
mod common;
mod http;
mod load;
mod metrics;
mod model;
mod server;

use batcher::Rules;
use load::Questions;
use model::Classifier;
use server::{Server, Settings};
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

/// What a program ends with when something is wrong with its surroundings: a port, a file, an argument.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("serve") => serve(&arguments).map(|()| true),
        Some("load") => load(&arguments),
        _ => demonstrate(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The value after `--name`, or another one.
fn option<T: FromStr>(arguments: &[String], name: &str, otherwise: T) -> Outcome<T> {
    let Some(place) = arguments.iter().position(|argument| argument == name) else { return Ok(otherwise) };
    let value = arguments.get(place + 1).and_then(|value| value.parse().ok());
    value.ok_or_else(|| {
        format!("{name} wants a value of another form: see the head of examples/14_serve/main.rs").into()
    })
}

fn weights(arguments: &[String]) -> Outcome<Option<PathBuf>> {
    let path: PathBuf = option(arguments, "--weights", PathBuf::new())?;
    Ok(Some(path).filter(|path| path != Path::new("")))
}

fn model(arguments: &[String]) -> Outcome<Classifier> {
    Ok(Classifier::ready(weights(arguments)?.as_deref(), common::steps(300, 30))?)
}

fn settings(arguments: &[String]) -> Outcome<Settings> {
    let usual = Settings::default();
    let Rules { batch, wait, queue, threads } = usual.rules;
    let wait = option(arguments, "--wait", wait.as_secs_f64() * 1e3)?;
    let rules = Rules {
        batch: option(arguments, "--batch", batch)?,
        wait: Duration::try_from_secs_f64(wait / 1e3)?,
        queue: option(arguments, "--queue", queue)?,
        threads: option(arguments, "--threads", threads)?,
    };
    Ok(Settings { rules, connections: option(arguments, "--most-connections", usual.connections)?, ..usual })
}

fn address(arguments: &[String]) -> Outcome<SocketAddr> {
    option(arguments, "--address", SocketAddr::from(([127, 0, 0, 1], 8014)))
}

/// One model, asked by however many threads there are.
fn start(model: Classifier, address: SocketAddr, settings: Settings) -> Outcome<Server> {
    let listener = TcpListener::bind(address).map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let Rules { batch, wait, queue, threads } = settings.rules;
    let answer = move |pictures: &[model::Picture]| model.classify(pictures).map_err(|error| error.to_string());
    let server = Server::start(listener, settings, answer)?;
    println!("serving at {}: batches of {batch} or {wait:?}, {threads} threads, a queue of {queue}", server.address());
    Ok(server)
}

fn stop(server: Server) -> bool {
    let metrics = server.metrics();
    let told = format!(
        "{} answers, {} refused, {:.1} requests in a batch",
        metrics.count(200),
        metrics.count(503),
        metrics.average_batch()
    );
    let left = server.stop();
    println!("stopped: {told}, {left} connections left");
    left == 0
}

fn serve(arguments: &[String]) -> Outcome<()> {
    let server = start(model(arguments)?, address(arguments)?, settings(arguments)?)?;
    println!("Enter stops it");
    if std::io::stdin().read_line(&mut String::new())? == 0 {
        // Nobody sits at a keyboard: it serves until it is killed.
        loop {
            std::thread::park();
        }
    }
    stop(server);
    Ok(())
}

/// The second process. Says whether all answers were right, or refused in good order.
fn load(arguments: &[String]) -> Outcome<bool> {
    let address = address(arguments)?;
    let (requests, connections) = (option(arguments, "--requests", 20_000)?, option(arguments, "--connections", 64)?);
    let questions = Questions::new(&model(arguments)?, common::steps(1000, 200))?;
    if let Err(error) = load::Client::connect(address) {
        let help = "start one: cargo run --release --example 14_serve -- serve";
        return Err(format!("no server answers at {address} ({error}); {help}").into());
    }
    // What the threads of all connections take is there before it is measured.
    let warm = load::run(address, &questions, requests / 20, connections);
    let before = load::metric(address, "resident_bytes");
    println!("{requests} requests over {connections} connections, {} different", questions.len());
    let figures = load::run(address, &questions, requests, connections);
    println!("{}", figures.report());
    if let (Some(before), Some(after)) = (before, load::metric(address, "resident_bytes")) {
        println!("  memory of the server: {:.1} MB before, {:.1} MB after", before / 1e6, after / 1e6);
    }
    Ok(warm.sound() && figures.sound())
}

/// Serves, and lets a second process send requests: as many as the queue holds, then far more than it holds.
fn demonstrate(arguments: &[String]) -> Outcome<bool> {
    let trained = model(arguments)?;
    let (count, right) = (trained.parameter_count(), trained.accuracy(500)?);
    println!("{count} parameters, {right:.1} % of new pictures are told right");
    let file = std::env::temp_dir().join(format!("chainrule-serve-{}.safetensors", std::process::id()));
    trained.save(&file)?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let requests = option(arguments, "--requests", common::steps(20_000, 1000))?;
    let connections = option(arguments, "--connections", common::steps(64, 16))?;

    let round = |settings: Settings, requests: usize| -> Outcome<bool> {
        let server = start(Classifier::ready(Some(&file), 0)?, anywhere, settings)?;
        let mut second = Command::new(std::env::current_exe()?);
        let named = |second: &mut Command, name: &str, value: &dyn ToString| {
            second.arg(name).arg(value.to_string());
        };
        second.arg("load").arg("--weights").arg(&file);
        named(&mut second, "--address", &server.address());
        named(&mut second, "--requests", &requests);
        named(&mut second, "--connections", &connections);
        let sound = second.status()?.success();
        Ok(stop(server) && sound)
    };
    let usual = settings(arguments)?;
    let done = round(usual, requests).and_then(|sound| {
        println!("more clients than the queue has room for:");
        let queue = (connections / 8).max(1);
        let rules = Rules { queue, batch: queue, ..usual.rules };
        Ok(round(Settings { rules, ..usual }, requests / 4)? && sound)
    });
    let _ = std::fs::remove_file(&file);
    let sound = done?;
    println!("{}", if sound { "no answer was lost, none was mixed up" } else { "NOT every answer was right" });
    Ok(sound)
}
