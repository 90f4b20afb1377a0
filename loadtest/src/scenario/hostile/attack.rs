//! The attackers: one thread that does to each socket what its kind does, until the server has ended it.

use super::{Options, SCENARIO};
use crate::options::Arrival;
use crate::wire;
use anyhow::{Context, anyhow};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two turns of all attackers.
const TURN: Duration = Duration::from_millis(50);

/// Turns between two bytes of a slow header: a second.
const SLOW_TURNS: usize = 20;

/// Attackers that connect in one turn.
const CONNECTS: usize = 100;

/// Pings of one attacker in one turn.
const PINGS: usize = 1_000;

/// Fragments of one attacker in one turn.
const FRAGMENTS: usize = 10;

/// The receive buffer of who never reads: it is full at once.
const DEAF_BUFFER_BYTES: usize = 4_096;

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sends frames without a mask.
    Unmasked,
    /// Sends one message in fragments that never end.
    Fragments,
    /// Sends pings as fast as it can.
    Pings,
    /// Is a member like the honest ones, and never reads.
    Deaf,
    /// Sends its request a byte a second.
    SlowHeader,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Unmasked, Self::Fragments, Self::Pings, Self::Deaf, Self::SlowHeader];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unmasked => "unmasked",
            Self::Fragments => "fragments",
            Self::Pings => "pings",
            Self::Deaf => "deaf",
            Self::SlowHeader => "slow_header",
        }
    }

    /// Returns what it sends in its n-th turn, the first one aside.
    fn bytes(self, turn: usize, request: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Unmasked => wire::write_unmasked(wire::TEXT, br#"{"type":"ping"}"#, &mut bytes),
            Self::Fragments if turn == 1 => bytes.extend_from_slice(&[0x01, 0x81, 0, 0, 0, 0, b'x']),
            Self::Fragments => bytes.extend([0x00, 0x81, 0, 0, 0, 0, b'x'].repeat(FRAGMENTS)),
            Self::Pings => (0..PINGS).for_each(|_| wire::write(wire::PING, b"are you there?", &mut bytes)),
            Self::SlowHeader if turn.is_multiple_of(SLOW_TURNS) => {
                bytes.extend(request.as_bytes().get(turn / SLOW_TURNS));
            }
            Self::Deaf | Self::SlowHeader => {}
        }
        bytes
    }
}

struct Attacker {
    kind: Kind,
    address: SocketAddr,
    request: String,
    state: State,
    unsent: Vec<u8>,
}

enum State {
    /// It connects in this turn.
    Waits(usize),
    /// It has done so many turns.
    Attacks(TcpStream, usize),
    Ended,
}

/// All attackers, at work until they are stopped.
pub(super) struct Attack {
    ended: Arc<[AtomicUsize; Kind::ALL.len()]>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Attack {
    /// Lets them begin, a hundred in each turn.
    ///
    /// # Errors
    /// When the tokens or the thread cannot be made.
    pub(super) fn start(options: &Options) -> anyhow::Result<Self> {
        let gateways = options.common.gateways(1);
        let signer = options.common.signer()?;
        let mut attackers = Vec::new();
        for n in 0..options.attackers {
            let user = options.connections + n;
            let (token, target) =
                (signer.token(&options.common.user(SCENARIO, user))?, gateways.target(user, Arrival::Fresh));
            for kind in Kind::ALL {
                let request = target.handshake(&token, false);
                let state = State::Waits(attackers.len() / CONNECTS);
                attackers.push(Attacker {
                    kind,
                    address: target.address,
                    request,
                    state,
                    unsent: Vec::new(),
                });
            }
        }
        let (ended, stop) = (Arc::<[AtomicUsize; 5]>::default(), Arc::<AtomicBool>::default());
        let (ends, stopped) = (ended.clone(), stop.clone());
        let work = move || {
            let mut scratch = vec![0; 64 * 1024];
            for turn in 0.. {
                for attacker in &mut attackers {
                    if attacker.turn(turn, &mut scratch)? {
                        ends[attacker.kind as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(TURN);
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("attackers".to_owned()).spawn(work)?;
        Ok(Self { ended, stop, thread })
    }

    /// Ends it; returns how many of each kind had noticed their end. Who never reads does not notice.
    ///
    /// # Errors
    /// When an attacker could not connect.
    pub(super) fn stop(self) -> anyhow::Result<[(Kind, usize); Kind::ALL.len()]> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the attackers' thread panicked"))??;
        Ok(Kind::ALL.map(|kind| (kind, self.ended[kind as usize].load(Ordering::Relaxed))))
    }
}

impl Attacker {
    fn connect(&self) -> anyhow::Result<TcpStream> {
        let raw = Socket::new(Domain::IPV4, Type::STREAM, None).context("no socket")?;
        if self.kind == Kind::Deaf {
            raw.set_recv_buffer_size(DEAF_BUFFER_BYTES)?;
        }
        raw.connect(&self.address.into()).context("an attacker cannot connect")?;
        raw.set_nonblocking(true)?;
        Ok(raw.into())
    }

    /// Does what is due in the attack's n-th turn; returns whether the socket has ended in it.
    fn turn(&mut self, now: usize, scratch: &mut [u8]) -> anyhow::Result<bool> {
        if matches!(self.state, State::Waits(turn) if turn == now) {
            self.state = State::Attacks(self.connect()?, 0);
        }
        let State::Attacks(socket, turn) = &mut self.state else { return Ok(false) };
        if *turn == 0 && self.kind != Kind::SlowHeader {
            self.unsent.extend_from_slice(self.request.as_bytes());
        } else if self.unsent.is_empty() {
            self.unsent = self.kind.bytes(*turn, &self.request);
        }
        *turn += 1;
        let ended = write(socket, &mut self.unsent) || self.kind != Kind::Deaf && read(socket, scratch);
        if ended {
            self.state = State::Ended;
        }
        Ok(ended)
    }
}

/// Writes what the socket takes; returns whether it is broken.
fn write(socket: &mut TcpStream, unsent: &mut Vec<u8>) -> bool {
    while !unsent.is_empty() {
        match socket.write(unsent) {
            Ok(written) => drop(unsent.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
    false
}

/// Reads what is there and throws it away; returns whether that was the end.
fn read(socket: &mut TcpStream, scratch: &mut [u8]) -> bool {
    loop {
        match socket.read(scratch) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}
