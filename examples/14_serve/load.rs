//! The other side: many clients at once, each of which knows what answer its requests must get.

use super::common;
use super::http::find;
use super::metrics::Histogram;
use super::model::{Classifier, PIXELS, read_picture, write_answer, write_picture};
use chainrule::Result;
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Requests with the answers that belong to them.
pub struct Questions {
    requests: Vec<Vec<u8>>,
    answers: Vec<String>,
    /// All of the answers.
    known: HashSet<String>,
}

impl Questions {
    /// Pictures no two of which have the same answer, and what a copy of the model says to them.
    ///
    /// The texts are compared, so the server must give the same bits. It does, though it puts each picture into batches of
    /// other sizes and with other pictures than are put together here: see `Classifier::classify`.
    pub fn new(model: &Classifier, count: usize) -> Result<Questions> {
        let pixels = common::pictures(count, 3)?.0.to_vec::<f32>()?;
        let bodies: Vec<String> = pixels.chunks(PIXELS).map(write_picture).collect();
        let pictures: Vec<Vec<f32>> = bodies.iter().filter_map(|body| read_picture(body.as_bytes()).ok()).collect();
        let mut questions = Questions { requests: Vec::new(), answers: Vec::new(), known: HashSet::new() };
        for (bodies, pictures) in bodies.chunks(50).zip(pictures.chunks(50)) {
            for (body, chances) in bodies.iter().zip(model.classify(pictures)?) {
                let answer = write_answer(&chances);
                // A picture whose answer another one has too could be exchanged for it unnoticed.
                if questions.known.insert(answer.clone()) {
                    questions.requests.push(request("POST", "/predict", body));
                    questions.answers.push(answer);
                }
            }
        }
        Ok(questions)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }
}

/// What became of the requests.
#[derive(Default)]
pub struct Figures {
    /// Answered with what belongs to the request.
    pub right: AtomicU64,
    /// Answered with what belongs to another request.
    pub mixed: AtomicU64,
    /// Answered with something else.
    pub wrong: AtomicU64,
    /// Refused with 503 and told to come again.
    pub refused: AtomicU64,
    /// Neither answered nor refused.
    pub lost: AtomicU64,
    /// Nanoseconds from the first byte of a request to the last of its right answer.
    latency: Histogram,
    /// How long all of it took.
    pub seconds: f64,
}

impl Figures {
    /// Was every request answered rightly, or refused in good order?
    pub fn sound(&self) -> bool {
        [&self.mixed, &self.wrong, &self.lost].iter().all(|count| count.load(Relaxed) == 0)
    }
    /// What came of it, in three lines.
    pub fn report(&self) -> String {
        let count = |count: &AtomicU64| count.load(Relaxed);
        let milliseconds = |share| self.latency.percentile(share) as f64 / 1e6;
        format!(
            "  answered {}, refused {}, lost {}, mixed {}, wrong {}\n  {:.1} s, {:.0} answers a second\n  latency: half within {:.2} ms, 95 % {:.2} ms, 99 % {:.2} ms, all {:.1} ms",
            count(&self.right),
            count(&self.refused),
            count(&self.lost),
            count(&self.mixed),
            count(&self.wrong),
            self.seconds,
            count(&self.right) as f64 / self.seconds.max(1e-9),
            milliseconds(0.5),
            milliseconds(0.95),
            milliseconds(0.99),
            self.latency.most() as f64 / 1e6,
        )
    }
}

/// Sends so many requests over so many connections, the next one of each as soon as the last is answered.
pub fn run(address: SocketAddr, questions: &Questions, requests: u64, connections: usize) -> Figures {
    let (figures, next, began) = (Figures::default(), AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..connections {
            let client = || {
                let mut client = None;
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= requests {
                        return;
                    }
                    // Neighbours in time are no neighbours in the list: a step that shares no divisor with most lengths.
                    let which = (number as usize).wrapping_mul(7919) % questions.len().max(1);
                    figures.ask(address, &mut client, questions, which);
                }
            };
            if thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, client).is_err() {
                eprintln!("a client could not be started: the others do its work");
            }
        }
    });
    // What no client was left to send is missing all the same.
    let done = [&figures.right, &figures.mixed, &figures.wrong, &figures.refused, &figures.lost];
    let done: u64 = done.iter().map(|count| count.load(Relaxed)).sum();
    figures.lost.fetch_add(requests.saturating_sub(done), Relaxed);
    Figures { seconds: began.elapsed().as_secs_f64(), ..figures }
}

impl Figures {
    /// One request, over the connection that is open or a new one.
    fn ask(&self, address: SocketAddr, client: &mut Option<Client>, questions: &Questions, which: usize) {
        let began = Instant::now();
        let answer = match client {
            Some(client) => client.send(&questions.requests[which]),
            None => Client::connect(address).and_then(|new| client.insert(new).send(&questions.requests[which])),
        };
        let Ok(answer) = answer else {
            self.lost.fetch_add(1, Relaxed);
            *client = None;
            return;
        };
        let count = match answer.status {
            200 if answer.body == questions.answers[which] => {
                self.latency.add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
                &self.right
            }
            200 if questions.known.contains(&answer.body) => &self.mixed,
            503 if answer.head.contains("\r\nRetry-After: ") => &self.refused,
            _ => &self.wrong,
        };
        count.fetch_add(1, Relaxed);
        if answer.status == 503 {
            // A client waits the second that it is told; one that measures overload comes back sooner.
            thread::sleep(Duration::from_millis(5));
        }
        if answer.head.contains("\r\nConnection: close") {
            *client = None;
        }
    }
}

/// What a server has said.
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A connection as a client sees it.
pub struct Client {
    stream: TcpStream,
    waiting: Vec<u8>,
}

impl Client {
    /// Connects; nothing on this connection waits longer than ten seconds.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let patience = Duration::from_secs(10);
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, waiting: Vec::new() })
    }
    /// Sends bytes as they are and waits for what is said to them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<Said> {
        self.write(bytes)?;
        self.read()
    }
    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
    /// The next answer.
    pub fn read(&mut self) -> io::Result<Said> {
        let end = loop {
            match find(&self.waiting, b"\r\n\r\n") {
                // Only that the body may come: the answer is still to follow.
                Some(end) if self.waiting.starts_with(b"HTTP/1.1 100 ") => drop(self.waiting.drain(..end + 4)),
                Some(end) => break end,
                None => self.more()?,
            }
        };
        let head = String::from_utf8_lossy(&self.waiting[..end]).into_owned();
        let field =
            |name| head.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok());
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (Some(status), Some(length)) = (status, field("Content-Length:")) else {
            return Err(io::Error::new(ErrorKind::InvalidData, "this is no answer"));
        };
        let (start, length): (usize, usize) = (end + 4, length);
        while self.waiting.len() < start + length {
            self.more()?;
        }
        let body = String::from_utf8_lossy(&self.waiting[start..start + length]).into_owned();
        self.waiting.drain(..start + length);
        Ok(Said { status, head, body })
    }
    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 8 << 10];
        match self.stream.read(&mut bytes)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.waiting.extend_from_slice(&bytes[..count]);
                Ok(())
            }
        }
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A number that the server tells of itself.
pub fn metric(address: SocketAddr, name: &str) -> Option<f64> {
    let page = Client::connect(address).and_then(|mut client| client.send(&request("GET", "/metrics", ""))).ok()?.body;
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
