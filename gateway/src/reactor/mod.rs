//! One core's part of a gateway: its connections and its part of the hub, in one thread, without locks.
//!
//! Here the decisions of `session` become subscriptions, calls and bytes. Architecture Invariant: nothing of a
//! reactor is touched by another thread; what comes from outside comes by its two queues.

mod act;
mod asks;
mod calls;
mod checks;
mod entropy;
mod leaving;
mod renewals;
mod sweep;
mod take;
mod told;
mod users;
#[cfg(test)]
mod world;

use crate::auth::{AuthError, Verified};
use crate::connection::{Connection, Fresh, Life};
use crate::echo;
use crate::hub::{ConnectionId, Hub};
use crate::outbox::Flushed;
use crate::session::{Farewell, Input, Moment, Session};
use crate::upstream::{BATCHES, ReactorId, Tell};
use crate::websocket::decoder::{Limits, PROTOCOL};
use crate::websocket::encoder;
pub use leaving::ShedRuns;
pub(crate) use leaving::{Shed, Sheds};

use asks::Asks;
use broker::Broker;
use entropy::Entropy;
use protocol::codes::CloseCode;
use protocol::frames::client::Token;
use runtime::shutdown::Shutdown;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use users::Users;

/// Bytes read from a socket at once: one frame of the largest kind.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Milliseconds that a client has to answer our close frame, and we to send what is left.
const CLOSE_MS: u64 = 2_000;

/// How long an acknowledgement waits for the event that it acknowledges, which is on its way to the same socket: one
/// write instead of two. It comes within 0.2 ms unless the socket is not Live.
const EVENT_WAIT: Duration = Duration::from_millis(1);

/// What all reactors of a gateway know.
pub(crate) struct Common {
    pub(crate) config: crate::config::Config,
    pub(crate) keys: Arc<crate::auth::Keys>,
    /// Whom DEBUG hands out tokens for.
    pub(crate) dev_users: Vec<protocol::claims::Profile>,
    pub(crate) admission: crate::admission::Admission,
    pub(crate) broker: Broker,
    pub(crate) sheds: Arc<Sheds>,
    pub(crate) shutdown: Shutdown,
}

/// One core's part of the gateway.
pub(crate) struct Reactor {
    pub(crate) id: ReactorId,
    pub(crate) common: Arc<Common>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    connections: RefCell<HashMap<ConnectionId, Rc<Connection>>>,
    next_connection: Cell<u64>,
    hub: RefCell<Hub<Rc<Connection>>>,
    users: RefCell<Users>,
    /// Places for questions of the directory about sockets that are open.
    renewals: Semaphore,
    /// Told when announcements may have been lost.
    in_doubt: Notify,
    asks: Asks,
    /// Sockets that got something in this turn; each is written to once at its end.
    dirty: RefCell<Vec<Rc<Connection>>>,
    /// Told when a socket is on that list outside a turn.
    late: Notify,
    entropy: RefCell<Entropy>,
    draining: Cell<bool>,
}

impl Reactor {
    pub(crate) fn new(
        id: ReactorId,
        common: Arc<Common>,
        asks: mpsc::Sender<crate::upstream::Ask>,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            common,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            hub: RefCell::new(Hub::new()),
            users: RefCell::default(),
            renewals: Semaphore::new(renewals::AT_ONCE),
            in_doubt: Notify::new(),
            asks: Asks::new(asks),
            dirty: RefCell::default(),
            late: Notify::new(),
            entropy: RefCell::default(),
            draining: Cell::new(false),
        })
    }

    /// Does what upstream tells until it ends.
    pub(crate) async fn hear(self: Rc<Self>, mut tells: mpsc::Receiver<Vec<Tell>>) {
        while let Some(batch) = tells.recv().await {
            self.told(batch);
            // Whatever is there already goes into the same turn: coalescing follows load, up to a full queue.
            for _ in 1..BATCHES {
                let Ok(batch) = tells.try_recv() else { break };
                self.told(batch);
            }
            self.flush_dirty();
            if !tells.is_empty() {
                // Sockets that are read, and swept, get their turn.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes a socket whose handshake is done.
    pub(crate) fn open(self: &Rc<Self>, fresh: Fresh, credential: Option<Token>, resume: bool) {
        let moment = self.moment();
        let id = ConnectionId(self.next_connection.replace(self.next_connection.get() + 1));
        let session = Session::new(fresh.dialect.form(), moment);
        tracing::debug!(session = %session.id(), dialect = ?fresh.dialect, "socket open");
        let connection = Rc::new(Connection::new(id, session, fresh, moment.up_ms));
        connection.ping_ms.set(moment.up_ms + self.ping_interval_ms());
        self.connections.borrow_mut().insert(id, connection.clone());
        metrics::gauge!(crate::metrics::CONNECTIONS).increment(1.0);
        if let Some(token) = credential {
            let outcome = self.verify_token(&token.0).map_err(|error| error.close_code());
            self.drive(&connection, Input::Verified { outcome, resume });
        }
        if self.draining.get() {
            self.drive(&connection, Input::Depart(Farewell::Restart));
        }
        self.common.shutdown.spawn_local("connection", connection.run(self.clone()));
    }

    /// Lets a session decide and does what it says, until nothing more follows; then writes.
    pub(crate) fn drive(self: &Rc<Self>, connection: &Rc<Connection>, input: Input) {
        self.decide(connection, input);
        self.flush(connection);
    }

    /// Writes what waits for a socket. What the socket does not take is written when it is writable again.
    pub(crate) fn flush(self: &Rc<Self>, connection: &Rc<Connection>) {
        connection.dirty.set(false);
        if connection.life.get() == Life::Gone {
            return;
        }
        loop {
            match connection.write() {
                Flushed::Broken => return self.end(connection),
                Flushed::Blocked => return connection.wake(),
                Flushed::Empty => {}
            }
            match connection.life.get() {
                Life::Closing { .. } => return connection.end_writing(),
                Life::Leaving { .. } => return self.end(connection),
                Life::Gone => return,
                Life::Open => {}
            }
            if !self.start_page(connection) {
                break;
            }
        }
        connection.listen_again();
    }

    /// Starts the pages of a socket with room for them; returns whether that put something into the outbox. Pages
    /// of quiet channels are over at once and put nothing there.
    fn start_page(self: &Rc<Self>, connection: &Rc<Connection>) -> bool {
        let has_room = || connection.outbox.borrow().has_room_for_page();
        while has_room() && connection.session.borrow().wants_room() {
            self.decide(connection, Input::Room);
            if !connection.outbox.borrow().is_empty() {
                return true;
            }
        }
        false
    }

    fn flush_dirty(self: &Rc<Self>) {
        let dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        for connection in &dirty {
            self.flush(connection);
        }
        // The list's memory is kept for the next turn, unless closing a socket has begun a new one.
        let mut list = self.dirty.borrow_mut();
        if list.is_empty() {
            *list = dirty;
            list.clear();
        }
    }

    /// Writes what [`Self::flush_late`] left, unless a turn did so before; never ends.
    pub(crate) async fn flush_left(self: Rc<Self>) {
        loop {
            self.late.notified().await;
            tokio::time::sleep(EVENT_WAIT).await;
            self.flush_dirty();
        }
    }

    /// Writes to a socket together with the event that it is pushed next, or a moment later.
    fn flush_late(&self, connection: &Rc<Connection>) {
        self.mark_dirty(connection);
        self.late.notify_one();
    }

    /// Puts a socket on the list that the end of this turn writes to. Only inside a turn of [`Self::hear`], or by
    /// [`Self::flush_late`]: the list keeps the socket open.
    fn mark_dirty(&self, connection: &Rc<Connection>) {
        if !connection.dirty.replace(true) {
            self.dirty.borrow_mut().push(connection.clone());
        }
    }

    /// Says why and closes. The client has a moment to answer.
    pub(crate) fn close(self: &Rc<Self>, connection: &Rc<Connection>, code: CloseCode) {
        if connection.life.get() != Life::Open {
            return;
        }
        metrics::counter!(crate::metrics::CLOSED, "code" => code.as_u16().to_string()).increment(1);
        tracing::debug!(session = %connection.session.borrow().id(), code = code.as_u16(), "closing a socket");
        self.part(connection, code == CloseCode::TooSlow, encoder::close(code), |until_ms| Life::Closing {
            until_ms,
        });
    }

    /// Answers the client's close frame.
    fn answer_close(self: &Rc<Self>, connection: &Rc<Connection>, frame: bytes::Bytes) {
        self.part(connection, false, frame, |until_ms| Life::Leaving { until_ms });
    }

    fn part(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        too_slow: bool,
        last_frame: bytes::Bytes,
        life: impl FnOnce(u64) -> Life,
    ) {
        connection.life.set(life(runtime::clock::uptime_ms() + CLOSE_MS));
        self.decide(connection, Input::Gone);
        connection.outbox.borrow_mut().push_last(last_frame, too_slow);
        *connection.unread.borrow_mut() = Vec::new();
        self.flush(connection);
        connection.wake();
    }

    /// Forgets a connection whose socket has nothing more to give or take. The client sees the end now, even
    /// while a call that is out still holds the connection.
    pub(crate) fn end(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.life.replace(Life::Gone) != Life::Gone {
            connection.end_writing();
            self.decide(connection, Input::Gone);
            self.connections.borrow_mut().remove(&connection.id);
            if let Some(seat) = connection.seat.get() {
                seat.give_back();
            }
            if let Some(user) = connection.user.get() {
                self.users.borrow_mut().remove(user, connection.id);
            }
            metrics::gauge!(crate::metrics::CONNECTIONS).decrement(1.0);
            connection.wake();
        }
    }

    /// Judges a credential as of now.
    pub(crate) fn verify_token(&self, token: &str) -> Result<Verified, AuthError> {
        self.common.keys.verify(token, runtime::clock::now_unix_ms() / 1_000)
    }

    /// Whether the process stops: no socket may open any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// What one message of a client may cost.
    fn message_limits(&self) -> &'static Limits {
        if self.common.config.echo { &echo::LIMITS } else { &PROTOCOL }
    }

    fn moment(&self) -> Moment {
        Moment {
            unix_ms: runtime::clock::now_unix_ms(),
            up_ms: runtime::clock::uptime_ms(),
            random: self.entropy.borrow_mut().ten(),
        }
    }
}
