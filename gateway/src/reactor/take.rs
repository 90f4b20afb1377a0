//! Bytes of a client become frames, frames become inputs of its session.

use super::Reactor;
use crate::connection::{Connection, Life};
use crate::echo;
use crate::outbox::Urgent;
use crate::session::Input;
use crate::websocket::decoder::{Incoming, Step};
use crate::websocket::{Violation, encoder};
use protocol::codec::{self, Decoded};
use protocol::codes::CloseCode;
use protocol::frames::Dialect;
use protocol::frames::client::ClientFrame;
use protocol::limits::PINGS_PER_SECOND_MAX;
use std::rc::Rc;

impl Reactor {
    /// Takes bytes that came; whatever cannot be handled now is kept with the connection.
    pub(crate) fn take(self: &Rc<Self>, connection: &Rc<Connection>, bytes: &mut [u8]) {
        if connection.life.get() != Life::Open {
            return;
        }
        connection.heard_ms.set(runtime::clock::uptime_ms());
        let mut unread = std::mem::take(&mut *connection.unread.borrow_mut());
        if unread.is_empty() {
            let used = self.take_frames(connection, bytes);
            unread.extend_from_slice(&bytes[used..]);
        } else {
            unread.extend_from_slice(bytes);
            let used = self.take_frames(connection, &mut unread);
            unread.drain(..used);
            if unread.is_empty() {
                unread = Vec::new();
            }
        }
        if connection.life.get() == Life::Open {
            *connection.unread.borrow_mut() = unread;
        }
    }

    /// Handles frame after frame while the connection may be read; returns the bytes used.
    fn take_frames(self: &Rc<Self>, connection: &Rc<Connection>, bytes: &mut [u8]) -> usize {
        let now_ms = runtime::clock::uptime_ms();
        let mut used = 0;
        connection.paused.set(false);
        while used < bytes.len() && connection.life.get() == Life::Open {
            if !connection.may_read() {
                connection.paused.set(true);
                break;
            }
            let step =
                connection.decoder.borrow_mut().next(&mut bytes[used..], self.message_limits(), now_ms);
            match step {
                Ok(Step::Incomplete) => break,
                Ok(Step::Frame { consumed, message }) => {
                    used += consumed;
                    if let Some(message) = message {
                        self.take_message(connection, message);
                    }
                }
                Err(violation) => {
                    self.violated(connection, &violation);
                    return bytes.len();
                }
            }
        }
        used
    }

    fn take_message(self: &Rc<Self>, connection: &Rc<Connection>, message: Incoming<'_>) {
        if self.common.config.echo && echo::answer(connection, &message) {
            return;
        }
        match message {
            Incoming::Text(text) if connection.dialect != Dialect::V1MessagePack => {
                self.take_frame(connection, codec::decode(&text, connection.dialect.form()));
            }
            Incoming::Binary(bytes) if connection.dialect == Dialect::V1MessagePack => {
                self.take_frame(connection, codec::decode_msgpack(&bytes));
            }
            Incoming::Text(_) | Incoming::Binary(_) => self.close(connection, CloseCode::UnsupportedData),
            Incoming::Ping(payload) => {
                if self.floods(connection) {
                    return;
                }
                connection.outbox.borrow_mut().push_urgent(Urgent::Pong, encoder::pong(payload));
            }
            Incoming::Pong => {
                self.floods(connection);
            }
            Incoming::Close(said) => {
                self.answer_close(connection, encoder::close_answer(said.map(|(code, _)| code)));
            }
        }
    }

    /// Counts a ping or pong; closes and returns true when they are too many. They cost little each and nothing
    /// else limits them.
    fn floods(self: &Rc<Self>, connection: &Rc<Connection>) -> bool {
        connection.pings.set(connection.pings.get() + 1);
        let floods = connection.pings.get() > PINGS_PER_SECOND_MAX;
        if floods {
            self.close(connection, CloseCode::ProtocolAbuse);
        }
        floods
    }

    fn take_frame(self: &Rc<Self>, connection: &Rc<Connection>, decoded: Decoded) {
        metrics::counter!(crate::metrics::FRAMES_IN).increment(1);
        if matches!(decoded.frame, Ok(ClientFrame::Ping)) {
            if self.floods(connection) {
                return;
            }
        } else if let Some(seat) = connection.seat.get() {
            seat.use_at(connection.heard_ms.get());
        }
        self.decide(connection, Input::Frame(decoded));
    }

    pub(super) fn violated(self: &Rc<Self>, connection: &Rc<Connection>, violation: &Violation) {
        tracing::debug!(
            session = %connection.session.borrow().id(),
            violation = violation.metric_label(),
            "a client broke the WebSocket protocol"
        );
        self.close(connection, violation.close_code());
    }
}
