//! HTTP/1.1 as far as a service needs it: requests read within limits of size and time, answers written in one piece.
//!
//! Whatever comes in ends in a request, in a refusal that says what to send instead, or in a closed connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How much and how long a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the request line and the headers.
    pub head: usize,
    /// Bytes of a body.
    pub body: usize,
    /// How long a connection may rest between two requests.
    pub idle: Duration,
    /// How long a request may take from its first byte to its last, and how long a client may take to accept an answer.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head: 8 << 10, body: 64 << 10, idle: Duration::from_secs(30), request: Duration::from_secs(5) }
    }
}

/// What a client wants.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
    /// Will the client send another one on this connection?
    pub keep_alive: bool,
}

/// Why no request came.
#[derive(Debug)]
pub enum Trouble {
    /// The client has gone, or has nothing to say.
    Gone,
    /// What it sent is not taken. Where its next request would begin is unknown, so the connection ends with this answer.
    Refused(Response),
}

/// The statuses that are used, with their names.
pub const STATUSES: [(u16, &str); 13] = [
    (200, "OK"),
    (400, "Bad Request"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (408, "Request Timeout"),
    (411, "Length Required"),
    (413, "Content Too Large"),
    (417, "Expectation Failed"),
    (431, "Request Header Fields Too Large"),
    (500, "Internal Server Error"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
];

/// What the client gets.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    kind: &'static str,
    body: String,
    /// A header of this answer alone, with its line end.
    header: &'static str,
}

impl Response {
    /// Something well-formed: 200.
    pub fn json(body: String) -> Response {
        Response { status: 200, kind: "application/json", body, header: "" }
    }
    /// A table for people and for Prometheus: 200.
    pub fn text(body: String) -> Response {
        Response { status: 200, kind: "text/plain; charset=utf-8", body, header: "" }
    }
    /// What is wrong, and what to send instead.
    pub fn error(status: u16, what: &str, help: &str) -> Response {
        let body = format!("{{\"error\":{},\"help\":{}}}\n", quoted(what), quoted(help));
        Response { status, kind: "application/json", body, header: "" }
    }
    /// The same with a header, such as `"Retry-After: 1\r\n"`.
    pub fn with_header(self, header: &'static str) -> Response {
        Response { header, ..self }
    }
    /// Writes head and body at once: two small packets would wait for each other.
    pub fn write(&self, mut stream: &TcpStream, keep_alive: bool) -> io::Result<()> {
        let Response { status, kind, body, header } = self;
        let name = STATUSES.iter().find(|(number, _)| number == status).map_or("", |(_, name)| name);
        let (length, after) = (body.len(), if keep_alive { "keep-alive" } else { "close" });
        let answer = format!(
            "HTTP/1.1 {status} {name}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: {after}\r\n{header}\r\n{body}"
        );
        stream.write_all(answer.as_bytes())
    }
}

/// A text in JSON's quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// A client's connection and what has come from it but was not asked for yet.
pub struct Connection<'a> {
    stream: &'a TcpStream,
    limits: Limits,
    waiting: Vec<u8>,
    timeout: Option<Duration>,
}

impl<'a> Connection<'a> {
    /// Over a connected stream.
    pub fn new(stream: &'a TcpStream, limits: Limits) -> io::Result<Connection<'a>> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limits.request))?;
        Ok(Connection { stream, limits, waiting: Vec::new(), timeout: None })
    }

    /// The next request.
    pub fn request(&mut self) -> Result<Request, Trouble> {
        if self.waiting.is_empty() && !self.read(self.limits.idle).is_ok_and(|count| count > 0) {
            return Err(Trouble::Gone);
        }
        // From here on the clock runs, however the bytes trickle in: a timeout for each read alone would let a client that
        // sends a byte now and then keep its thread for ever.
        let until = Instant::now() + self.limits.request;
        let head = loop {
            match find(&self.waiting, b"\r\n\r\n") {
                Some(end) if end <= self.limits.head => break end,
                None if self.waiting.len() <= self.limits.head => self.more(until)?,
                _ => {
                    return Err(refused(
                        431,
                        "the headers are too long",
                        "a request needs a line and a length, no more",
                    ));
                }
            }
        };
        let Head { method, path, length, keep_alive, expects } = Head::parse(&self.waiting[..head], self.limits.body)?;
        let (start, end) = (head + 4, head + 4 + length);
        if expects && self.waiting.len() < end {
            let mut stream = self.stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Trouble::Gone)?;
        }
        while self.waiting.len() < end {
            self.more(until)?;
        }
        let body = self.waiting[start..end].to_vec();
        self.waiting.drain(..end);
        Ok(Request { method, path, body, keep_alive })
    }

    /// Waits for more of a request that has begun.
    fn more(&mut self, until: Instant) -> Result<(), Trouble> {
        let left = until.saturating_duration_since(Instant::now());
        let late = || refused(408, "the request did not arrive in time", "send it in one piece");
        if left.is_zero() {
            return Err(late());
        }
        match self.read(left) {
            Ok(0) => Err(Trouble::Gone),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(late()),
            Err(_) => Err(Trouble::Gone),
        }
    }

    fn read(&mut self, timeout: Duration) -> io::Result<usize> {
        if self.timeout != Some(timeout) {
            self.stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
            self.timeout = Some(timeout);
        }
        let mut bytes = [0; 8 << 10];
        let mut stream = self.stream;
        loop {
            match stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.waiting.extend_from_slice(&bytes[..count]);
                    return Ok(count);
                }
            }
        }
    }
}

/// Ends a connection so that its last answer arrives: a close with unread bytes would reset it. What is still coming is read
/// for a moment.
pub fn close(mut stream: &TcpStream) {
    let until = Instant::now() + Duration::from_millis(200);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let mut bytes = [0; 8 << 10];
    while Instant::now() < until && stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

fn refused(status: u16, what: &str, help: &str) -> Trouble {
    Trouble::Refused(Response::error(status, what, help))
}

/// Where `what` begins in `bytes`.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The request line and the headers that matter.
struct Head {
    method: String,
    path: String,
    length: usize,
    keep_alive: bool,
    /// Does the client ask whether it may send its body?
    expects: bool,
}

impl Head {
    fn parse(bytes: &[u8], most: usize) -> Result<Head, Trouble> {
        let form = "a request begins with a line such as: POST /predict HTTP/1.1";
        let text = std::str::from_utf8(bytes).map_err(|_| refused(400, "the headers are not text", form))?;
        let mut lines = text.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let &[method, path, version] = first.as_slice() else {
            return Err(refused(400, "this is no request line", form));
        };
        let keep_alive = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err(refused(505, "this server speaks HTTP/1.1", form)),
        };
        let mut head = Head { method: method.into(), path: path.into(), length: 0, keep_alive, expects: false };
        let mut length = None;
        for line in lines {
            let (name, value) =
                line.split_once(':').ok_or_else(|| refused(400, "a header without a colon", "Name: value"))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let number = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()));
                    let wrong = || refused(400, "the length is no number", "Content-Length: the body's bytes, once");
                    let number: usize =
                        number.filter(|&number| length.is_none_or(|n| n == number)).ok_or_else(wrong)?;
                    length = Some(number);
                }
                // Two ways to say where a body ends are a way to smuggle a second request past whoever stands before us.
                "transfer-encoding" => {
                    return Err(refused(
                        411,
                        "bodies in chunks are not taken",
                        "send Content-Length and the whole body",
                    ));
                }
                "connection" if value.eq_ignore_ascii_case("close") => head.keep_alive = false,
                "connection" if value.eq_ignore_ascii_case("keep-alive") => head.keep_alive = true,
                "expect" if value.eq_ignore_ascii_case("100-continue") => head.expects = true,
                "expect" => return Err(refused(417, "only 100-continue can be expected", "leave the header out")),
                _ => {}
            }
        }
        if length.is_none() && method == "POST" {
            return Err(refused(411, "a POST without a length", "Content-Length: how many bytes the body has"));
        }
        head.length = length.unwrap_or(0);
        if head.length > most {
            let what = format!("a body of {} bytes; at most {most} are taken", head.length);
            return Err(refused(413, &what, "send one picture in each request"));
        }
        Ok(head)
    }
}
