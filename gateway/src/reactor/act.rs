//! What a session decided is done.

use super::Reactor;
use crate::connection::{Connection, Life, Opening};
use crate::hub::{Joined, Push};
use crate::outbox::Urgent;
use crate::session::{Action, Input};
use crate::upstream::pages::Start;
use crate::upstream::{Ask, PageAsked};
use crate::websocket::encoder;
use protocol::frames::server::{ChannelHead, Lagging, ServerFrame};
use protocol::ids::{ChannelId, Position};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

impl Reactor {
    /// Lets a session decide and does what it says, until nothing more follows. Nothing is written yet: whoever
    /// calls this flushes the connection, or marks it dirty inside a turn.
    pub(super) fn decide(self: &Rc<Self>, connection: &Rc<Connection>, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let actions = connection.session.borrow_mut().on(input, self.moment());
            for action in actions {
                self.act(connection, action, &mut inputs);
            }
        }
    }

    fn act(self: &Rc<Self>, connection: &Rc<Connection>, action: Action, inputs: &mut VecDeque<Input>) {
        match action {
            Action::Send(frame) => Self::send(connection, &frame),
            Action::Verify { token, resume } => {
                let outcome = self.verify_token(&token.0).map_err(|error| error.close_code());
                inputs.push_back(Input::Verified { outcome, resume });
            }
            Action::Subscribe(channels) => self.subscribe(connection, channels),
            Action::Join(channel) => {
                if let Some(cursor) = self.join(connection, &channel) {
                    inputs.push_back(Input::Joined(channel, cursor));
                }
            }
            Action::Leave(channel) => self.leave(connection, channel),
            Action::GoLive(channels) => {
                let mut hub = self.hub.borrow_mut();
                channels.iter().for_each(|channel| hub.set(channel, connection.id, Push::Live));
            }
            Action::Hold(channel) => self.hub.borrow_mut().set(&channel, connection.id, Push::Held),
            Action::Resume { channel, position } => {
                inputs.extend(self.resume(connection, channel, position));
            }
            Action::TellLagging(channels) => self.tell_lagging(connection, channels),
            Action::AskDirectory(profile) => {
                connection.take_seat(&profile.id);
                self.users
                    .borrow_mut()
                    .add(connection.user.get_or_init(|| profile.id.clone()), connection.id);
                self.ask_directory(connection, profile);
            }
            Action::History(request) => {
                connection.outbox.borrow_mut().await_page();
                self.ask_history(connection, request);
            }
            Action::MarkRead { asked, request } => self.mark_read(connection, asked, *request),
            Action::Append(append) => self.append(connection, *append),
            Action::Command { channel, request } => self.command(connection, channel, *request),
            Action::Publish(ephemeral) => self.publish(ephemeral),
            Action::Close(code) => self.close(connection, code),
        }
    }

    fn send(connection: &Connection, frame: &ServerFrame) {
        if let ServerFrame::Error(error) = frame {
            metrics::counter!(crate::metrics::FRAMES_REFUSED, "code" => error.code.as_str()).increment(1);
        }
        match frame.encode(connection.dialect.form()) {
            Ok(Some(json)) if connection.life.get() == Life::Open => {
                let (mut outbox, bytes) =
                    (connection.outbox.borrow_mut(), encoder::frame(connection.dialect, &json));
                match frame {
                    ServerFrame::Reconnect(_) => outbox.push_urgent(Urgent::Reconnect, bytes),
                    _ => outbox.push_answer(bytes),
                }
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a frame cannot be encoded"),
        }
    }

    fn tell_lagging(&self, connection: &Connection, channels: Vec<ChannelId>) {
        let hub = self.hub.borrow();
        let head = |channel_id: ChannelId| {
            let position = hub.cursor(&channel_id)?.clone();
            Some(ChannelHead { channel_id, position })
        };
        let channels = channels.into_iter().filter_map(head).collect();
        Self::send(connection, &Lagging { channels }.into());
    }

    fn subscribe(self: &Rc<Self>, connection: &Rc<Connection>, channels: Vec<ChannelId>) {
        let missing: HashSet<_> =
            channels.iter().filter(|channel| self.join(connection, channel).is_none()).cloned().collect();
        if missing.is_empty() {
            self.all_subscribed(connection, channels);
        } else {
            *connection.opening.borrow_mut() = Some(Opening { channels, missing });
        }
    }

    /// Adds a socket to a channel as Held; returns the cursor when it is known here.
    fn join(&self, connection: &Rc<Connection>, channel: &ChannelId) -> Option<Position> {
        let joined = self.hub.borrow_mut().join(channel, connection.id, connection.clone());
        match joined {
            Joined::Known(cursor) => Some(cursor),
            Joined::Waiting => None,
            Joined::First(ticket) => {
                self.asks.push(Ask::Subscribe { reactor: self.id, channel: channel.clone(), ticket });
                None
            }
        }
    }

    fn leave(&self, connection: &Rc<Connection>, channel: ChannelId) {
        if self.hub.borrow_mut().leave(&channel, connection.id) {
            self.asks.push(Ask::Unsubscribe { reactor: self.id, channel });
        }
    }

    /// Asks for a page, unless nothing happened since: most channels of a reconnect are quiet.
    fn resume(&self, connection: &Rc<Connection>, channel: ChannelId, position: Position) -> Option<Input> {
        let mut hub = self.hub.borrow_mut();
        if hub.cursor(&channel) == Some(&position) {
            hub.set(&channel, connection.id, Push::Live);
            return Some(Input::Resumed { channel, live: true });
        }
        if !hub.holds(&channel, connection.id) {
            return Some(Input::Resumed { channel, live: false });
        }
        connection.outbox.borrow_mut().await_page();
        let (reactor, connection, dialect) = (self.id, connection.id, connection.dialect);
        let start = Start { channel, position };
        self.asks.push(Ask::Page(PageAsked { reactor, connection, dialect, start, alone: false }));
        None
    }
}
