//! A load generator for any RESP server: SETs (or GETs) at a fixed rate, whatever the server does (open loop), or as fast
//! as a fixed number of requests under way allows (closed loop). Prints one line of JSON.
//!
//! ```text
//! load --connect 127.0.0.1:7101 [--op set|get] [--connections 64] [--depth 1] [--rate N] [--seconds 5]
//!      [--count N] [--keys 100000] [--value 100] [--sequential] [--windows MS]
//! ```
//!
//! In the open loop a request's latency counts from the moment it was due, not from when it could be sent: a stall is
//! charged to every request that fell into it. `--windows 1000` adds the maximum of each second to the output.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use quorate::rng::Rng;

struct Options {
    connect: SocketAddr,
    read: bool,
    connections: usize,
    depth: usize,
    rate: Option<f64>,
    seconds: f64,
    count: Option<u64>,
    keys: u64,
    value: usize,
    sequential: bool,
    windows_ms: Option<u64>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut o = Options {
        connect: "127.0.0.1:7101".parse()?,
        read: false,
        connections: 64,
        depth: 1,
        rate: None,
        seconds: 5.0,
        count: None,
        keys: 100_000,
        value: 100,
        sequential: false,
        windows_ms: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--connect" => o.connect = value()?.parse()?,
            "--op" => o.read = value()? == "get",
            "--connections" => o.connections = value()?.parse()?,
            "--depth" => o.depth = value()?.parse()?,
            "--rate" => o.rate = Some(value()?.parse()?),
            "--seconds" => o.seconds = value()?.parse()?,
            "--count" => o.count = Some(value()?.parse()?),
            "--keys" => o.keys = value()?.parse()?,
            "--value" => o.value = value()?.parse()?,
            "--sequential" => o.sequential = true,
            "--windows" => o.windows_ms = Some(value()?.parse()?),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    Ok(o)
}

struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    due: VecDeque<Instant>,
}

impl Client {
    fn flush(&mut self) -> std::io::Result<()> {
        let mut written = 0;
        while written < self.output.len() {
            match self.socket.write(&self.output[written..]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        self.output.drain(..written);
        Ok(())
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 1 << 16];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// The length of the first whole reply, and whether it is an error; `None` when it is not whole yet.
fn reply(input: &[u8]) -> Option<(usize, bool)> {
    let line = input.windows(2).position(|w| w == b"\r\n")? + 2;
    match input[0] {
        b'$' => {
            let len: i64 = std::str::from_utf8(&input[1..line - 2]).ok()?.parse().ok()?;
            let whole = if len < 0 { line } else { line + len as usize + 2 };
            (input.len() >= whole).then_some((whole, false))
        }
        kind => Some((line, kind == b'-')),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let o = options()?;
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    for i in 0..o.connections {
        let socket = std::net::TcpStream::connect(o.connect)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(i), Interest::READABLE | Interest::WRITABLE)?;
        clients.push(Client { socket, input: Vec::new(), output: Vec::new(), due: VecDeque::new() });
    }

    let mut rng = Rng::new(1);
    let value = "v".repeat(o.value);
    let mut request = |n: u64, out: &mut Vec<u8>| {
        let key = format!("key:{:012}", if o.sequential { n % o.keys } else { rng.below(o.keys) });
        let written = if o.read {
            write!(out, "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len())
        } else {
            write!(out, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())
        };
        written.expect("writing to a Vec cannot fail");
    };

    let start = Instant::now();
    let end = start + Duration::from_secs_f64(o.seconds);
    let limit = o.count.unwrap_or(u64::MAX);
    let (mut sent, mut done, mut errors) = (0u64, 0u64, 0u64);
    let mut latencies = Vec::new();
    let mut windows: Vec<f64> = Vec::new();
    let mut first_error = None;
    let mut events = Events::with_capacity(1024);
    loop {
        let now = Instant::now();
        let sending = sent < limit && (o.count.is_some() || now < end);
        if !sending
            && (done == sent || now > end + Duration::from_secs(10))
            && (o.count.is_none() || done == sent)
        {
            break;
        }
        if sending {
            match o.rate {
                Some(rate) => {
                    let target = ((now - start).as_secs_f64() * rate) as u64;
                    while sent < target.min(limit) {
                        let client = &mut clients[sent as usize % o.connections];
                        request(sent, &mut client.output);
                        client.due.push_back(start + Duration::from_secs_f64(sent as f64 / rate));
                        sent += 1;
                    }
                }
                None => {
                    for client in &mut clients {
                        while client.due.len() < o.depth && sent < limit {
                            request(sent, &mut client.output);
                            client.due.push_back(now);
                            sent += 1;
                        }
                    }
                }
            }
        }
        for client in &mut clients {
            if !client.output.is_empty() {
                client.flush()?;
            }
        }
        poll.poll(&mut events, Some(Duration::from_millis(if o.rate.is_some() { 1 } else { 100 })))?;
        let now = Instant::now();
        for event in &events {
            let client = &mut clients[event.token().0];
            if event.is_writable() {
                client.flush()?;
            }
            if !event.is_readable() {
                continue;
            }
            client.fill()?;
            let mut at = 0;
            while let Some((len, error)) = reply(&client.input[at..]).filter(|_| at < client.input.len()) {
                if error {
                    errors += 1;
                    first_error.get_or_insert_with(|| {
                        String::from_utf8_lossy(&client.input[at..at + len]).trim().to_owned()
                    });
                }
                at += len;
                done += 1;
                let due = client.due.pop_front().ok_or("a reply without a request")?;
                let latency = (now - due).as_secs_f64() * 1e3;
                latencies.push(latency);
                if let Some(ms) = o.windows_ms {
                    let window = ((due - start).as_millis() as u64 / ms) as usize;
                    windows.resize(windows.len().max(window + 1), 0.0);
                    windows[window] = windows[window].max(latency);
                }
            }
            client.input.drain(..at);
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    latencies.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| latencies.get(((latencies.len() as f64 - 1.0) * q) as usize).copied().unwrap_or(0.0);
    let list: Vec<String> = windows.iter().map(|w| format!("{w:.2}")).collect();
    println!(
        "{{\"done\": {done}, \"lost\": {}, \"errors\": {errors}, \"first_error\": {:?}, \"seconds\": {elapsed:.3}, \"rate\": {:.0}, \
         \"p50_ms\": {:.3}, \"p99_ms\": {:.3}, \"p999_ms\": {:.3}, \"max_ms\": {:.3}, \"windows_max_ms\": [{}]}}",
        sent - done,
        first_error.unwrap_or_default(),
        done as f64 / elapsed,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        list.join(", ")
    );
    Ok(())
}
