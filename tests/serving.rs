//! The server of `examples/14_serve`: no answer is lost or mixed up, and nothing a client does takes it down.
#![allow(dead_code, missing_docs, unreachable_pub)] // the files are the example's

#[path = "../examples/14_serve/batcher.rs"]
mod batcher;
#[path = "../examples/common/mod.rs"]
mod common;
#[path = "../examples/14_serve/http.rs"]
mod http;
#[path = "../examples/14_serve/load.rs"]
mod load;
#[path = "../examples/14_serve/metrics.rs"]
mod metrics;
#[path = "../examples/14_serve/model.rs"]
mod model;
#[path = "../examples/14_serve/server.rs"]
mod server;

use batcher::Rules;
use http::Limits;
use load::{Client, Questions, request};
use model::{Chances, Classifier, PIXELS, Picture, read_picture, write_picture};
use server::{Server, Settings};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// A model that has learnt nothing: its answers differ as those of any other, and it is there at once.
fn untrained() -> Classifier {
    Classifier::ready(None, 0).expect("a model")
}

fn serve(
    settings: Settings,
    answer: impl Fn(&[Picture]) -> Result<Vec<Chances>, String> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    Server::start(listener, settings, answer).expect("a server")
}

fn serve_model(settings: Settings) -> Server {
    let model = untrained();
    serve(settings, move |pictures| model.classify(pictures).map_err(|error| error.to_string()))
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(address).expect("a connection")
}

fn is_well(address: SocketAddr) -> bool {
    let said = connect(address).send(&request("GET", "/health", "")).expect("an answer");
    said.status == 200 && said.body.contains("ok")
}

/// The text of a picture whose first pixel is this.
fn picture(first: f32) -> String {
    let mut pixels = [0.0; PIXELS];
    pixels[0] = first;
    write_picture(&pixels)
}

#[test]
fn a_picture_has_the_same_answer_in_any_company() {
    let model = untrained();
    let pixels = common::pictures(70, 9).expect("pictures").0.to_vec::<f32>().expect("numbers");
    let pictures: Vec<Picture> = pixels.chunks(PIXELS).map(<[f32]>::to_vec).collect();
    let bits = |answers: Vec<Chances>| -> Vec<Vec<u32>> {
        answers.iter().map(|chances| chances.iter().map(|chance| chance.to_bits()).collect()).collect()
    };
    let expected = bits(model.classify(&pictures).expect("answers"));
    assert_eq!(expected.iter().collect::<HashSet<_>>().len(), 70, "the pictures have different answers");
    for size in 1..=pictures.len() {
        for start in [0, pictures.len() - size] {
            let found = bits(model.classify(&pictures[start..start + size]).expect("answers"));
            assert!(found == expected[start..start + size], "{size} pictures from number {start} on");
        }
    }
}

#[test]
fn no_answer_is_lost_or_mixed_up() {
    let questions = Questions::new(&untrained(), 300).expect("questions");
    assert!(questions.len() > 250);
    // Batches that are full at once, batches that wait, a batch for each request.
    for (batch, wait, threads, connections) in [(8, 1, 2, 32), (64, 2, 3, 24), (1, 0, 2, 8)] {
        let rules = Rules { batch, wait: Duration::from_millis(wait), threads, ..Rules::default() };
        let server = serve_model(Settings { rules, ..Settings::default() });
        // Connections that send nothing: nobody can tell that they will not, so deadlines are what ends a wait.
        let idle: Vec<Client> = (0..3).map(|_| connect(server.address())).collect();
        let figures = load::run(server.address(), &questions, 2000, connections);
        assert!(figures.sound() && figures.right.load(Relaxed) == 2000, "{}", figures.report());
        assert_eq!(server.metrics().count(200), 2000);
        if batch > 1 {
            assert!(server.metrics().average_batch() > 2.0, "{}", server.metrics().average_batch());
        }
        drop(idle);
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn the_clients_notice_answers_that_are_exchanged() {
    let (model, questions) = (untrained(), Questions::new(&untrained(), 100).expect("questions"));
    let server = serve(Settings::default(), move |pictures| {
        let mut answers = model.classify(pictures).map_err(|error| error.to_string())?;
        answers.rotate_left(1);
        Ok(answers)
    });
    let figures = load::run(server.address(), &questions, 300, 8);
    assert!(!figures.sound() && figures.mixed.load(Relaxed) > 100, "{}", figures.report());
    server.stop();
}

#[test]
fn what_is_too_much_is_refused_at_once() {
    let model = untrained();
    let questions = Questions::new(&model, 200).expect("questions");
    let rules = Rules { batch: 2, queue: 4, threads: 1, ..Rules::default() };
    let server = serve(Settings { rules, ..Settings::default() }, move |pictures| {
        sleep(Duration::from_millis(4));
        model.classify(pictures).map_err(|error| error.to_string())
    });
    let figures = load::run(server.address(), &questions, 600, 24);
    let (right, refused) = (figures.right.load(Relaxed), figures.refused.load(Relaxed));
    assert!(figures.sound() && right + refused == 600, "{}", figures.report());
    assert!(right > 50 && refused > 50, "{}", figures.report());
    assert_eq!(server.metrics().count(503), refused);
    assert!(is_well(server.address()));
    // When it is over, everybody is served again.
    let figures = load::run(server.address(), &questions, 20, 2);
    assert_eq!(figures.right.load(Relaxed), 20);
    assert_eq!(server.stop(), 0);
}

#[test]
fn too_many_connections_are_turned_away() {
    let server = serve_model(Settings { connections: 4, ..Settings::default() });
    let mut inside: Vec<Client> = (0..4).map(|_| connect(server.address())).collect();
    for client in &mut inside {
        assert_eq!(client.send(&request("GET", "/health", "")).expect("an answer").status, 200);
    }
    let said = connect(server.address()).read().expect("an answer");
    assert_eq!(said.status, 503);
    assert!(said.head.contains("Retry-After: 1") && said.body.contains("too many connections"));
    drop(inside);
    // Their threads need a moment to see that they have gone.
    let until = Instant::now() + Duration::from_secs(5);
    let let_in = || connect(server.address()).send(&request("GET", "/health", "")).is_ok_and(|said| said.status == 200);
    while !let_in() {
        assert!(Instant::now() < until, "nobody is let in any more");
        sleep(Duration::from_millis(10));
    }
    server.stop();
}

#[test]
fn a_wrong_picture_is_told_what_is_wrong() {
    let server = serve_model(Settings::default());
    let mut client = connect(server.address());
    let numbers = |count: usize| vec!["0.5"; count].join(",");
    let with = |word: &str| format!("{{\"pixels\":[{},{word},{}]}}", numbers(16), numbers(383));
    let wrong = [
        (String::new(), "there are 0 numbers, and a picture has 400"),
        (numbers(399), "there are 399 numbers"),
        (numbers(401), "more than 400 numbers"),
        ("[]".into(), "number 1 is `[]`"),
        ("{}".into(), "the object is not of this form"),
        ("{\"pixels\":[]}".into(), "number 1 is ``"),
        (format!("{{\"pixel\":[{}]}}", numbers(400)), "the object is not of this form"),
        (with("\\\"a\\\""), "number 17 is"),
        (with("nan"), "number 17 is `nan`"),
        (with("inf"), "number 17 is `inf`"),
        (with("1e30"), "number 17 is `1e30`"),
        (with("1e999"), "number 17 is `1e999`"),
        (with("[1]"), "number 17 is `[1]`"),
        (with("1 2"), "number 17 is `1 2`"),
        (with(""), "number 17 is ``"),
    ];
    for (body, what) in wrong {
        let said = client.send(&request("POST", "/predict", &body)).expect("an answer");
        assert_eq!(said.status, 400, "{body}");
        assert!(said.body.contains(what) && said.body.contains("20 rows of 20"), "{body}: {}", said.body);
        assert!(serde_json::from_str::<serde_json::Value>(&said.body).is_ok(), "{}", said.body);
    }
    // The connection is as good as before, and pictures come in several forms.
    let blanks = vec!["5e-1"; 400].join(" \r\n ");
    let spaced = format!(" {{ \"pixels\" : [ {} ] }} ", vec!["0.5"; 400].join(" , "));
    let expected = client.send(&request("POST", "/predict", &numbers(400))).expect("an answer").body;
    assert!(serde_json::from_str::<serde_json::Value>(&expected).expect("it is JSON")["chances"]["disc"].is_f64());
    for body in [blanks, spaced, with("0.5")] {
        let said = client.send(&request("POST", "/predict", &body)).expect("an answer");
        assert_eq!((said.status, said.body), (200, expected.clone()));
    }
    server.stop();
}

#[test]
fn a_wrong_request_gets_its_status_and_takes_nothing_down() {
    let server = serve_model(Settings::default());
    let post = |headers: &str| format!("POST /predict HTTP/1.1\r\n{headers}\r\n\r\n");
    let wrong = [
        ("hello\r\n\r\n".to_string(), 400),
        ("\r\n\r\n".into(), 400),
        ("GET /health\r\n\r\n".into(), 400),
        ("GET  /health HTTP/1.1\r\n\r\n".into(), 400),
        ("GET /health HTTP/3\r\n\r\n".into(), 505),
        ("GET /health HTTP/1.1\r\nno colon\r\n\r\n".into(), 400),
        ("GET /nothing HTTP/1.1\r\n\r\n".into(), 404),
        ("PUT /predict HTTP/1.1\r\n\r\n".into(), 405),
        ("POST /health HTTP/1.1\r\nContent-Length: 0\r\n\r\n".into(), 405),
        (post("Host: x"), 411),
        (post("Content-Length: -1"), 400),
        (post("Content-Length: +1"), 400),
        (post("Content-Length: 99999999999999999999999"), 400),
        (post("Content-Length: 18446744073709551615"), 413),
        (post("Content-Length: 65537"), 413),
        (post("Content-Length: 1\r\nContent-Length: 2"), 400),
        (post("Transfer-Encoding: chunked"), 411),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked"), 411),
        (post("Content-Length: 5\r\nExpect: magic"), 417),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000)), 431),
        (format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(9000)), 431),
    ];
    for (text, status) in &wrong {
        let shown: String = text.chars().take(60).collect();
        let said = connect(server.address()).send(text.as_bytes()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(said.status, *status, "{shown}");
        assert!(said.body.contains("\"help\""), "{shown}: {}", said.body);
    }
    assert_eq!(connect(server.address()).send(b"GET /\xff HTTP/1.1\r\n\r\n").expect("an answer").status, 400);
    // A client that asks before it sends its body, one that does not want to stay, and one that does not wait for answers.
    let body = picture(1.0);
    let mut client = connect(server.address());
    let asking = format!("POST /predict HTTP/1.1\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len());
    client.write(asking.as_bytes()).expect("it is sent");
    sleep(Duration::from_millis(20));
    client.write(body.as_bytes()).expect("it is sent");
    assert_eq!(client.read().expect("an answer").status, 200);
    let two = [request("POST", "/predict", &picture(1.0)), request("POST", "/predict", &picture(5.0))].concat();
    let (first, second) = (client.send(&two).expect("an answer"), client.read().expect("an answer"));
    assert!(first.status == 200 && second.status == 200 && first.body != second.body);
    let said = client.send(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").expect("an answer");
    assert!(said.head.contains("Connection: close") && client.read().is_err());
    assert!(is_well(server.address()));
    assert_eq!(server.stop(), 0);
}

#[test]
fn noise_is_survived() {
    let server = serve_model(Settings { limits: short(), ..Settings::default() });
    let sound = request("POST", "/predict", &picture(1.0));
    let clients: Vec<_> = (0..10)
        .map(|client| {
            let (sound, address) = (sound.clone(), server.address());
            thread::spawn(move || (0..30).filter(|round| survives(address, &sound, 30 * client + round)).count())
        })
        .collect();
    let answered: usize = clients.into_iter().map(|client| client.join().expect("no panic")).sum();
    assert!(answered > 100, "{answered}");
    assert!(is_well(server.address()));
    assert_eq!(connect(server.address()).send(&sound).expect("an answer").status, 200);
    assert_eq!(server.stop(), 0);
}

/// Sends a request with some of its bytes changed, lost or added; says whether there was an answer to it.
fn survives(address: SocketAddr, sound: &[u8], seed: u64) -> bool {
    let (mut random, mut bytes) = (chainrule::Random::new(seed), sound.to_vec());
    for _ in 0..=random.below(4) {
        // Most of it in the headers, which are a small part of the request.
        let reach = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(70) };
        let at = random.below(reach as u64) as usize;
        match random.below(5) {
            0 => bytes.truncate(at.max(1)),
            1 | 2 => bytes[at] = random.below(256) as u8,
            _ => bytes.insert(at, b"\r\n :0"[random.below(5) as usize]),
        }
    }
    connect(address).send(&bytes).is_ok()
}

/// For clients that are slow on purpose.
fn short() -> Limits {
    Limits { idle: Duration::from_millis(150), request: Duration::from_millis(250), ..Limits::default() }
}

#[test]
fn slow_clients_lose_their_connection_and_nobody_else() {
    let server = serve_model(Settings { limits: short(), ..Settings::default() });
    let address = server.address();
    thread::scope(|scope| {
        // Nothing at all.
        scope.spawn(|| assert!(connect(address).read().is_err()));
        // A part of the headers, then nothing; a part of the body, then nothing.
        for part in ["POST /predict HT", "POST /predict HTTP/1.1\r\nContent-Length: 500\r\n\r\n0.5,0.5"] {
            scope.spawn(move || assert_eq!(connect(address).send(part.as_bytes()).expect("an answer").status, 408));
        }
        // A byte now and then, each in time: together they are not.
        scope.spawn(|| {
            let (mut stream, began) = (TcpStream::connect(address).expect("a connection"), Instant::now());
            stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            while stream.write_all(b"G").is_ok() && !stream.read(&mut [0; 1000]).is_ok_and(|count| count == 0) {
                assert!(began.elapsed() < Duration::from_secs(5), "it may go on for ever");
            }
        });
        // Meanwhile the others are served.
        scope.spawn(|| {
            let mut client = connect(address);
            for _ in 0..30 {
                assert_eq!(client.send(&request("POST", "/predict", &picture(2.0))).expect("an answer").status, 200);
                sleep(Duration::from_millis(10));
            }
        });
    });
    assert!(server.metrics().count(408) >= 2);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_panic_or_an_error_of_the_model_is_an_answer() {
    let server = serve(Settings::default(), |pictures| {
        let asked = |number: f32| pictures.iter().any(|picture| picture[0] == number);
        assert!(!asked(7.0), "asked to");
        match asked(8.0) {
            true => Err("no \"idea\"\n".to_string()),
            false if asked(9.0) => Ok(Vec::new()),
            false => Ok(pictures.iter().map(|picture| vec![picture[0]; 6]).collect()),
        }
    });
    let mut client = connect(server.address());
    for round in 0..5 {
        for (number, what) in [(7.0, "panicked"), (8.0, "no \\\"idea\\\"\\u000a"), (9.0, "0 answers to 1 requests")] {
            let said = client.send(&request("POST", "/predict", &picture(number))).expect("an answer");
            assert_eq!(said.status, 500, "round {round}");
            assert!(said.body.contains(what), "{}", said.body);
        }
        assert_eq!(client.send(&request("POST", "/predict", &picture(1.0))).expect("an answer").status, 200);
    }
    assert_eq!(server.metrics().count(500), 15);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_model_that_hangs_does_not_keep_its_clients() {
    let settings = Settings { patience: Duration::from_millis(100), ..Settings::default() };
    let server = serve(settings, |pictures| {
        sleep(Duration::from_millis(if pictures[0][0] == 1.0 { 600 } else { 0 }));
        Ok(pictures.iter().map(|_| vec![0.0; 6]).collect())
    });
    let mut client = connect(server.address());
    assert_eq!(client.send(&request("POST", "/predict", &picture(1.0))).expect("an answer").status, 504);
    // Later the same connection gets its own answer, not the one that came too late.
    sleep(Duration::from_millis(600));
    assert_eq!(client.send(&request("POST", "/predict", &picture(2.0))).expect("an answer").status, 200);
    server.stop();
}

#[test]
fn stopping_answers_what_has_been_taken() {
    let model = untrained();
    let questions = Questions::new(&model, 200).expect("questions");
    let server = serve(Settings::default(), move |pictures| {
        sleep(Duration::from_millis(3));
        model.classify(pictures).map_err(|error| error.to_string())
    });
    let address = server.address();
    let figures = thread::scope(|scope| {
        let clients = scope.spawn(|| load::run(address, &questions, 3000, 16));
        let began = Instant::now();
        while server.metrics().count(200) < 200 {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not answer");
            sleep(Duration::from_millis(5));
        }
        let began = Instant::now();
        assert_eq!(server.stop(), 0);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        clients.join().expect("no panic")
    });
    // Whoever came too late found nobody; no answer was wrong, and those that had been taken were given.
    let (right, lost) = (figures.right.load(Relaxed), figures.lost.load(Relaxed));
    assert_eq!((figures.mixed.load(Relaxed), figures.wrong.load(Relaxed)), (0, 0));
    assert!(right >= 200 && lost > 50 && right + lost + figures.refused.load(Relaxed) == 3000, "{}", figures.report());
    assert!(Client::connect(address).and_then(|mut client| client.send(&request("GET", "/health", ""))).is_err());
}

#[test]
fn percentiles_are_near_the_numbers() {
    let histogram = metrics::Histogram::default();
    for number in 1..=100_000u64 {
        histogram.add(number);
    }
    for share in [0.001, 0.01, 0.5, 0.95, 0.99, 1.0] {
        let (found, exact) = (histogram.percentile(share) as f64, share * 100_000.0);
        assert!(found >= exact && found <= 1.0625 * exact, "{share}: {found}");
    }
    histogram.add(u64::MAX);
    assert_eq!((histogram.count(), histogram.most(), histogram.percentile(1.0)), (100_001, u64::MAX, u64::MAX));
    assert_eq!(metrics::Histogram::default().percentile(0.5), 0);
}

#[test]
fn a_written_picture_is_read_as_it_was() {
    let pixels: Vec<f32> = (0..PIXELS).map(|i| i as f32 / 100.0 - 1.0).collect();
    let read = read_picture(write_picture(&pixels).as_bytes()).expect("a picture");
    assert!(read.iter().zip(&pixels).all(|(a, b)| (a - b).abs() < 1e-6));
}
