//! One socket: its bytes in and out. What they mean is decided by `session`, acted on by `reactor`.
//!
//! A connection belongs to one reactor and never leaves its thread. While idle it owns no buffer, no timer and
//! one small task.

use crate::admission::Admitted;
use crate::hub::ConnectionId;
use crate::outbox::{Flushed, Full, Outbox};
use crate::reactor::Reactor;
use crate::seats::Seat;
use crate::session::Session;
use crate::websocket::decoder::Decoder;
use bytes::Bytes;
use protocol::frames::Dialect;
use protocol::ids::{ChannelId, UserId};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Reads of one socket before the others get their turn.
const READS_PER_TURN: usize = 4;

/// One socket and what belongs to it.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) dialect: Dialect,
    pub(crate) session: RefCell<Session>,
    pub(crate) outbox: RefCell<Outbox>,
    pub(crate) decoder: RefCell<Decoder>,
    /// Bytes that came and could not be handled yet: part of a frame, or frames that wait their turn.
    pub(crate) unread: RefCell<Vec<u8>>,
    /// Whether `unread` begins with something that could be handled as soon as reading may go on.
    pub(crate) paused: Cell<bool>,
    /// Whether the task sleeps without listening to the client.
    deaf: Cell<bool>,
    /// Channels whose cursor the opening still waits for.
    pub(crate) opening: RefCell<Option<Opening>>,
    pub(crate) life: Cell<Life>,
    /// Whether the reactor has it on its list of sockets to flush.
    pub(crate) dirty: Cell<bool>,
    /// Uptime in ms when the client was last heard.
    pub(crate) heard_ms: Cell<u64>,
    /// Uptime in ms when it is pinged next.
    pub(crate) ping_ms: Cell<u64>,
    /// Pings and pongs of the client since the last sweep.
    pub(crate) pings: Cell<u32>,
    socket: TcpStream,
    wake: Notify,
    /// The connection's place among all, given back when it is dropped.
    admitted: Admitted,
    /// Whose it is, once a token said so.
    pub(crate) user: OnceCell<UserId>,
    /// Its place among those of its user.
    pub(crate) seat: OnceCell<Seat>,
}

/// The subscriptions that `connection_established` waits for.
pub(crate) struct Opening {
    pub(crate) channels: Vec<ChannelId>,
    pub(crate) missing: HashSet<ChannelId>,
}

/// Open => Closing by a close frame of ours, => Leaving by one of the client's; both => Gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Frames go both ways.
    Open,
    /// Our close frame is out or waits in the outbox; the client has until this uptime in ms to answer.
    Closing { until_ms: u64 },
    /// The client's close frame was answered: the end follows the last byte, or this uptime in ms.
    Leaving { until_ms: u64 },
    /// Nothing more happens.
    Gone,
}

/// A socket fresh from its handshake.
pub(crate) struct Fresh {
    pub(crate) socket: TcpStream,
    pub(crate) dialect: Dialect,
    /// Bytes that came behind the handshake.
    pub(crate) unread: Vec<u8>,
    pub(crate) admitted: Admitted,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, session: Session, fresh: Fresh, now_ms: u64) -> Self {
        Self {
            id,
            dialect: fresh.dialect,
            session: RefCell::new(session),
            outbox: RefCell::default(),
            decoder: RefCell::default(),
            paused: Cell::new(!fresh.unread.is_empty()),
            unread: RefCell::new(fresh.unread),
            deaf: Cell::new(false),
            opening: RefCell::new(None),
            life: Cell::new(Life::Open),
            dirty: Cell::new(false),
            heard_ms: Cell::new(now_ms),
            ping_ms: Cell::new(now_ms),
            pings: Cell::new(0),
            socket: fresh.socket,
            wake: Notify::new(),
            admitted: fresh.admitted,
            user: OnceCell::new(),
            seat: OnceCell::new(),
        }
    }

    /// Takes a seat, now that it is known whose connection it is.
    pub(crate) fn take_seat(&self, user: &UserId) {
        if let Some(seat) = self.admitted.seat(user, self.heard_ms.get()) {
            self.seat.get_or_init(|| seat);
        }
    }

    /// Moves bytes until the connection is gone.
    pub(crate) async fn run(self: Rc<Self>, reactor: Rc<Reactor>) {
        while self.life.get() != Life::Gone {
            if self.may_go_on() {
                reactor.take(&self, &mut []);
                reactor.flush(&self);
            }
            // Both arms are cancel safe: readiness is not consumed by waiting for it, a wake is kept.
            tokio::select! {
                ready = self.ready() => match ready {
                    Ok(ready) => self.turn(ready, &reactor),
                    Err(_) => reactor.end(&self),
                },
                () = self.wake.notified() => {}
            }
        }
    }

    async fn ready(&self) -> io::Result<Ready> {
        let (reads, writes) = (self.may_read(), !self.outbox.borrow().is_empty());
        self.deaf.set(!reads);
        match (reads, writes) {
            (true, true) => self.socket.ready(Interest::READABLE | Interest::WRITABLE).await,
            (true, false) => self.socket.ready(Interest::READABLE).await,
            (false, true) => self.socket.ready(Interest::WRITABLE).await,
            (false, false) => std::future::pending().await,
        }
    }

    fn turn(self: &Rc<Self>, ready: Ready, reactor: &Rc<Reactor>) {
        if ready.is_readable() || ready.is_read_closed() {
            self.read(reactor);
        }
        reactor.flush(self);
    }

    /// Reads into the reactor's scratch buffer and handles what came.
    fn read(self: &Rc<Self>, reactor: &Rc<Reactor>) {
        let mut scratch = reactor.scratch.borrow_mut();
        for _ in 0..READS_PER_TURN {
            if !self.may_read() {
                return;
            }
            match self.socket.try_read(&mut scratch) {
                Ok(0) => return reactor.end(self),
                Ok(read) => reactor.take(self, &mut scratch[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return reactor.end(self),
            }
        }
    }

    /// Whether bytes of the client may be taken now. After our close frame they are read and thrown away, so
    /// that the client gets to see the close frame instead of a reset.
    pub(crate) fn may_read(&self) -> bool {
        match self.life.get() {
            Life::Open => self.session.borrow().takes_frames() && self.outbox.borrow().takes_answers(),
            Life::Closing { .. } => true,
            Life::Leaving { .. } | Life::Gone => false,
        }
    }

    /// Whether reading was paused and may go on with what is here already.
    fn may_go_on(&self) -> bool {
        self.paused.get() && self.may_read()
    }

    /// Wakes the task when it does not listen although it may.
    pub(crate) fn listen_again(&self) {
        if (self.paused.get() || self.deaf.get()) && self.may_read() {
            self.wake();
        }
    }

    /// Queues a pushed event; writes before only when there is no room else.
    ///
    /// # Errors
    /// [`Full`] when the socket takes no more just now.
    pub(crate) fn push_event(&self, frame: Bytes) -> Result<(), Full> {
        self.outbox.borrow_mut().push_event(frame, |slices| self.socket.try_write_vectored(slices))
    }

    /// Writes as much as the socket takes.
    pub(crate) fn write(&self) -> Flushed {
        self.outbox.borrow_mut().flush(|slices| self.socket.try_write_vectored(slices))
    }

    /// Lets the task look around: there is something to write, or reading may go on.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that no more bytes follow.
    pub(crate) fn end_writing(&self) {
        if let Err(error) = socket2::SockRef::from(&self.socket).shutdown(Shutdown::Write) {
            tracing::debug!(%error, "a socket was gone before its end was announced");
        }
    }
}
