//! A thread for each connection: it reads requests, asks the batcher, writes answers.
//!
//! What is bounded: connections, requests that wait, bytes and seconds of a request. What is beyond a bound is refused with
//! 503 and `Retry-After`, at once.

use super::batcher::{Batcher, Rules};
use super::http::{self, Connection, Limits, Request, Response, Trouble};
use super::metrics::Metrics;
use super::model::{Chances, PICTURE_HELP, Picture, read_picture, write_answer};
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How requests are put together.
    pub rules: Rules,
    /// What a client may send.
    pub limits: Limits,
    /// Connections at the same time.
    pub connections: usize,
    /// How long an answer may take once its request has been taken.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            rules: Rules::default(),
            limits: Limits::default(),
            connections: 512,
            patience: Duration::from_secs(10),
        }
    }
}

/// A server that runs until it is stopped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: JoinHandle<()>,
}

struct Shared {
    settings: Settings,
    batcher: Batcher<Picture, Chances>,
    metrics: Arc<Metrics>,
    stopping: AtomicBool,
    /// The open connections, to wake those that wait for a request when the server stops.
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    one_closed: Condvar,
}

impl Server {
    /// Serves a model behind this listener; `answer` gives a result for each picture, in their order.
    pub fn start(
        listener: TcpListener,
        settings: Settings,
        answer: impl Fn(&[Picture]) -> Result<Vec<Chances>, String> + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let metrics = Arc::new(Metrics::default());
        let counted = metrics.clone();
        let batcher = Batcher::start(settings.rules, move |pictures: Vec<Picture>| {
            counted.batch(pictures.len());
            answer(&pictures)
        })?;
        let shared = Arc::new(Shared {
            settings,
            batcher,
            metrics,
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
            one_closed: Condvar::new(),
        });
        let address = listener.local_addr()?;
        let at_door = shared.clone();
        let door = thread::Builder::new().name("door".into()).spawn(move || at_door.welcome(&listener))?;
        Ok(Server { address, shared, door })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// What has happened so far.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Takes no more connections, answers every request that has arrived, and ends. Says how many connections did not end
    /// in time: none, unless a client takes seconds to accept its answer.
    pub fn stop(self) -> usize {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The door waits for a visitor.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        let _ = self.door.join();
        let mut open = lock(&self.shared.open);
        for stream in open.values() {
            // Who waits for a request now reads an end; who is being answered still is.
            let _ = stream.shutdown(Shutdown::Read);
        }
        let until = Instant::now() + self.shared.settings.patience + self.shared.settings.limits.request;
        while !open.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            open = self.shared.one_closed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let left = open.len();
        drop(open);
        self.shared.batcher.close();
        left
    }
}

impl Shared {
    /// Lets clients in until the server stops.
    fn welcome(self: &Arc<Shared>, listener: &TcpListener) {
        for (number, stream) in (0..).zip(listener.incoming()) {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            // Too many open files, or a client that has gone already: neither ends the service.
            let Ok(stream) = stream else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let stream = Arc::new(stream);
            let mut open = lock(&self.open);
            if open.len() >= self.settings.connections {
                drop(open);
                self.turn_away(&stream);
                continue;
            }
            open.insert(number, stream.clone());
            self.batcher.clients(open.len());
            drop(open);
            let place = Place { shared: self.clone(), number };
            // Such a thread reads and writes; the model runs elsewhere, so a small stack is enough.
            let thread = thread::Builder::new().name(format!("connection {number}")).stack_size(256 << 10);
            let visit = move || place.shared.visit(&stream);
            if thread.spawn(visit).is_err() {
                self.metrics.turned_away.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// There is no thread for this client, so nothing is done that could wait for it.
    fn turn_away(&self, stream: &TcpStream) {
        self.metrics.turned_away.fetch_add(1, Ordering::Relaxed);
        if stream.set_nonblocking(true).is_ok() {
            let _ = busy("there are too many connections").write(stream, false);
            let _ = stream.shutdown(Shutdown::Write);
            // What has come already is read: closing with unread bytes could overtake the answer.
            let mut stream = stream;
            let _ = io::Read::read(&mut stream, &mut [0; 8 << 10]);
        }
    }

    /// A connection from its first request to its last.
    fn visit(&self, stream: &TcpStream) {
        let Ok(mut connection) = Connection::new(stream, self.settings.limits) else { return };
        loop {
            let (response, keep_alive) = match connection.request() {
                Ok(request) => {
                    let response = self.respond(&request);
                    (response, request.keep_alive && !self.stopping.load(Ordering::SeqCst))
                }
                Err(Trouble::Refused(response)) => (response, false),
                Err(Trouble::Gone) => return,
            };
            self.metrics.answered(response.status);
            if response.write(stream, keep_alive).is_err() {
                return;
            }
            if !keep_alive {
                return http::close(stream);
            }
        }
    }

    fn respond(&self, request: &Request) -> Response {
        let path = request.path.split('?').next().unwrap_or_default();
        match (request.method.as_str(), path) {
            ("POST", "/predict") => self.predict(&request.body),
            ("GET", "/health") => Response::json("{\"status\":\"ok\"}\n".to_string()),
            ("GET", "/metrics") => Response::text(self.metrics.page(self.batcher.waiting(), lock(&self.open).len())),
            (_, "/predict") => Response::error(405, "this wants POST", PICTURE_HELP).with_header("Allow: POST\r\n"),
            (_, "/health" | "/metrics") => {
                Response::error(405, "this wants GET", "GET has no body").with_header("Allow: GET\r\n")
            }
            _ => Response::error(404, "there is nothing here", "POST /predict, GET /health or GET /metrics"),
        }
    }

    fn predict(&self, body: &[u8]) -> Response {
        let began = Instant::now();
        let picture = match read_picture(body) {
            Ok(picture) => picture,
            Err(what) => return Response::error(400, &what, PICTURE_HELP),
        };
        let Some(answer) = self.batcher.submit(picture) else {
            return busy("too many requests are waiting");
        };
        let response = match answer.recv_timeout(self.settings.patience) {
            Ok(Ok(chances)) => Response::json(write_answer(&chances)),
            Ok(Err(why)) => Response::error(500, &why, "the request was fine; the server's log knows more"),
            Err(_) => Response::error(504, "the model takes too long", "try again later"),
        };
        self.metrics.took(began.elapsed());
        response
    }
}

/// Better refused now than answered too late.
fn busy(what: &str) -> Response {
    Response::error(503, what, "try again after a second").with_header("Retry-After: 1\r\n")
}

/// A connection's place among the open ones, given back however its thread ends.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.shared.open);
        open.remove(&self.number);
        self.shared.batcher.clients(open.len());
        self.shared.one_closed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
