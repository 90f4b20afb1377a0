//! All client sockets of a run in one thread: epoll, one read buffer, no allocation per delivery.

use crate::options::{Arrival, Common, Gateways};
use crate::wire;
use anyhow::{Context, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use socket2::{Domain, Socket as RawSocket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes read at once.
const SCRATCH_BYTES: usize = 256 * 1024;

/// The timer's token; sockets have their index.
const TIMER: Token = Token(usize::MAX);

/// What happened at a socket.
#[derive(Debug)]
pub(crate) enum Happened<'a> {
    /// The server sent a text frame.
    Frame(&'a [u8]),
    /// The socket is gone: the close code, or the status of a refused handshake.
    Gone(Option<u16>),
}

/// What a scenario makes of it.
pub(crate) trait Load {
    /// Handles what happened at a socket, `now_ns` on the run's clock; may queue frames.
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing);
}

/// Frames to be sent when the handler returns.
#[derive(Default)]
pub(crate) struct Outgoing(Vec<(usize, String)>);

impl Outgoing {
    pub(crate) fn send(&mut self, socket: usize, json: String) {
        self.0.push((socket, json));
    }

    /// Returns the frames, each with its socket.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.0)
    }
}

enum State {
    /// The request waits to be written, or its answer to be read.
    Handshake,
    Open,
}

/// How far a socket is read, which says once that there is something: edge-triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// A short read shows that it is empty: what comes later says so itself.
    Short,
    /// Its end came together with what is to be read, and will not be said again.
    End,
}

struct Socket {
    stream: TcpStream,
    state: State,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

/// The sockets and their poll.
pub(crate) struct Engine {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    sockets: Vec<Option<Socket>>,
    scratch: Vec<u8>,
    began: Instant,
    gateways: Gateways,
    sources: u8,
    /// Between two looks at the sockets; 0 looks as soon as something came.
    pace_ns: u64,
    looked_ns: u64,
    connects: usize,
    /// Bytes of text frames that came.
    pub(crate) bytes: u64,
}

impl Engine {
    /// Makes room for so many sockets, one for each user; user i is in room i modulo `rooms`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(common: &Common, sockets: usize, rooms: usize) -> anyhow::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(4_096));
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events,
            timer,
            sockets: (0..sockets).map(|_| None).collect(),
            scratch: vec![0; SCRATCH_BYTES],
            began: Instant::now(),
            gateways: common.gateways(rooms),
            sources: common.sources,
            pace_ns: common.look_every_ms * 1_000_000,
            looked_ns: 0,
            connects: 0,
            bytes: 0,
        })
    }

    /// Returns nanoseconds of the run's clock.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Begins a handshake; what becomes of it comes as the first frame, or as `Gone`.
    ///
    /// # Errors
    /// The system's, when it gives no socket.
    pub(crate) fn connect(&mut self, index: usize, token: &str, arrival: Arrival) -> anyhow::Result<()> {
        let source = 1 + u8::try_from(self.connects % usize::from(self.sources)).unwrap_or(0);
        self.connects += 1;
        let raw = RawSocket::new(Domain::IPV4, Type::STREAM, None).context("no socket")?;
        raw.set_nonblocking(true)?;
        raw.set_tcp_nodelay(true)?;
        raw.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)).into())?;
        let target = self.gateways.target(index, arrival);
        match raw.connect(&target.address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                bail!("cannot connect to {}: {error}", target.address)
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(raw.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        let unsent = target.handshake(token, arrival != Arrival::Fresh).into_bytes();
        self.sockets[index] = Some(Socket { stream, state: State::Handshake, partial: Vec::new(), unsent });
        Ok(())
    }

    /// Drops a socket without a word, as a network does.
    pub(crate) fn drop_socket(&mut self, index: usize) {
        self.sockets[index] = None;
    }

    /// Sends a frame now, or as soon as the socket takes it.
    pub(crate) fn send(&mut self, index: usize, json: &str) {
        if let Some(socket) = &mut self.sockets[index] {
            wire::write(wire::TEXT, json.as_bytes(), &mut socket.unsent);
            socket.flush();
        }
    }

    /// Handles what is there, waiting at most until `until_ns`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn turn(&mut self, load: &mut impl Load, until_ns: u64) -> io::Result<()> {
        if !self.may_look(until_ns) {
            return Ok(());
        }
        let wait = until_ns.saturating_sub(self.now_ns());
        if wait == 0 {
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        } else {
            // epoll counts milliseconds; a message that is due earlier must not wait for them.
            self.arm(wait)?;
            self.poll.poll(&mut self.events, None)?;
        }
        let sockets = self.events.iter().filter(|event| event.token() != TIMER);
        let ready: Vec<(usize, Option<Until>)> =
            sockets.map(|event| (event.token().0, Until::of(event))).collect();
        let mut out = Outgoing::default();
        for (index, until) in ready {
            if let Some(socket) = &mut self.sockets[index] {
                socket.flush();
            }
            if let Some(until) = until {
                self.read(index, until, load, &mut out);
            }
            for (index, json) in out.0.drain(..) {
                self.send(index, &json);
            }
        }
        Ok(())
    }

    /// Sleeps until it is time to look at the sockets, at most until `until_ns`; returns whether it is.
    fn may_look(&mut self, until_ns: u64) -> bool {
        let (now, next) = (self.now_ns(), self.looked_ns + self.pace_ns);
        if now < next {
            std::thread::sleep(Duration::from_nanos(next.min(until_ns).saturating_sub(now)));
        }
        let looks = next <= self.now_ns();
        if looks {
            self.looked_ns = self.now_ns();
        }
        looks
    }

    fn arm(&self, wait_ns: u64) -> io::Result<()> {
        let wait = Duration::from_nanos(wait_ns.min(1_000_000_000));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let timer = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }

    fn read(&mut self, index: usize, until: Until, load: &mut impl Load, out: &mut Outgoing) {
        loop {
            let Some(socket) = &mut self.sockets[index] else { return };
            let read = match socket.stream.read(&mut self.scratch) {
                Ok(0) => return self.gone(index, None, load, out),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.gone(index, None, load, out),
            };
            let scratch = std::mem::take(&mut self.scratch);
            let ended = self.take(index, &scratch[..read], load, out);
            self.scratch = scratch;
            if let Some(code) = ended {
                return self.gone(index, code, load, out);
            }
            if read < SCRATCH_BYTES && until == Until::Short {
                return;
            }
        }
    }

    /// Takes bytes of a socket; returns its close code when it ends.
    fn take(
        &mut self,
        index: usize,
        new: &[u8],
        load: &mut impl Load,
        out: &mut Outgoing,
    ) -> Option<Option<u16>> {
        let now_ns = self.now_ns();
        let socket = self.sockets[index].as_mut()?;
        let mut kept = std::mem::take(&mut socket.partial);
        let joined = !kept.is_empty();
        if joined {
            kept.extend_from_slice(new);
        }
        let mut bytes = if joined { &kept[..] } else { new };
        if matches!(socket.state, State::Handshake) {
            let Some(end) = wire::head_end(bytes) else {
                socket.partial = bytes.to_vec();
                return None;
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let status = bytes.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
                return Some(status);
            }
            socket.state = State::Open;
            bytes = &bytes[end..];
        }
        while let Some(frame) = wire::read(bytes) {
            match frame.opcode {
                wire::TEXT => {
                    self.bytes += frame.size as u64;
                    load.on(index, &Happened::Frame(frame.payload), now_ns, out);
                }
                wire::PING => wire::write(wire::PONG, frame.payload, &mut socket.unsent),
                wire::CLOSE => {
                    return Some(frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
                }
                _ => {}
            }
            bytes = &bytes[frame.size..];
        }
        socket.partial = bytes.to_vec();
        socket.flush();
        None
    }

    fn gone(&mut self, index: usize, code: Option<u16>, load: &mut impl Load, out: &mut Outgoing) {
        self.sockets[index] = None;
        load.on(index, &Happened::Gone(code), self.now_ns(), out);
    }
}

impl Until {
    /// Returns how far a socket is to be read after this, if at all.
    fn of(event: &Event) -> Option<Self> {
        if event.is_read_closed() || event.is_error() {
            return Some(Self::End);
        }
        event.is_readable().then_some(Self::Short)
    }
}

impl Socket {
    /// Writes what waits; a broken socket shows itself when it is read.
    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether an address is of this machine: load goes nowhere else.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::net::TcpListener;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        common: Common,
    }

    #[derive(Default)]
    struct Heard {
        frames: Vec<String>,
        gone: bool,
    }

    impl Load for Heard {
        fn on(&mut self, _: usize, happened: &Happened<'_>, _: u64, _: &mut Outgoing) {
            match happened {
                Happened::Frame(json) => self.frames.push(String::from_utf8_lossy(json).into_owned()),
                Happened::Gone(_) => self.gone = true,
            }
        }
    }

    /// Once, the loss went unnoticed: a short read was taken for all that there was.
    #[test]
    fn an_end_that_comes_together_with_data_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let arguments = Arguments::parse_from(["test", "--url", &url]);
        let mut engine = Engine::new(&arguments.common, 1, 1).unwrap();
        engine.connect(0, "token", Arrival::Fresh).unwrap();
        let mut server = listener.accept().unwrap().0;
        let mut heard = Heard::default();
        let soon = engine.now_ns() + 1_000_000_000;
        engine.turn(&mut heard, soon).unwrap();
        let mut request = [0; 4_096];
        assert!(server.read(&mut request).unwrap() > 0, "the request is read, or the end would be a reset");
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        wire::write_unmasked(wire::TEXT, b"hello", &mut answer);
        server.write_all(&answer).unwrap();
        drop(server);
        // Data and end may come as two events; an end that came with the data comes only once.
        let until = engine.now_ns() + 5_000_000_000;
        while !heard.gone && engine.now_ns() < until {
            let soon = engine.now_ns() + 100_000_000;
            engine.turn(&mut heard, soon).unwrap();
        }
        assert_eq!((heard.frames, heard.gone), (vec!["hello".to_owned()], true));
    }
}
