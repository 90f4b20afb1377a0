//! What upstream tells becomes frames in outboxes and changes in the hub.

use super::Reactor;
use crate::connection::{Connection, Life};
use crate::hub::{Push, Ticket};
use crate::session::Input;
use crate::upstream::event::{Event, Passing};
use crate::upstream::{Page, Tell};
use protocol::codes::CloseCode;
use protocol::ephemeral::Doing;
use protocol::ids::{ChannelId, Position, Seq};
use std::rc::Rc;

/// Sockets of a channel closed before others get their turn. Chosen: some tenths of a millisecond.
const CLOSED_PER_TURN: usize = 32;

impl Reactor {
    pub(super) fn told(self: &Rc<Self>, batch: Vec<Tell>) {
        for tell in batch {
            match tell {
                Tell::Event(event) => self.push_event(&event),
                Tell::Passing(passing) => self.push_passing(&passing),
                Tell::Control(control) => self.controlled(&control),
                Tell::Lost => self.in_doubt.notify_one(),
                Tell::Subscribed { channel, ticket, cursor } => self.subscribed(&channel, ticket, &cursor),
                Tell::Failed { channel, ticket } => {
                    let waiting = self.hub.borrow_mut().failed(&channel, ticket);
                    for connection in waiting {
                        self.drive(&connection, Input::SubscribeFailed(channel.clone()));
                    }
                }
                Tell::AnotherLife { channel, ticket } => self.another_life(&channel, ticket),
                Tell::Behind { channel, cursor } => self.behind(&channel, cursor),
                Tell::Page { connection, channel, page } => {
                    let connection = self.connections.borrow().get(&connection).cloned();
                    if let Some(connection) = connection {
                        self.page(&connection, channel, page);
                    }
                }
            }
        }
    }

    /// The hot path: one reference-counted frame into each member's outbox, written at the end of the turn.
    fn push_event(self: &Rc<Self>, event: &Event) {
        let mut full = Vec::new();
        {
            let mut hub = self.hub.borrow_mut();
            let mut pushed = 0;
            for connection in hub.advance(event.channel(), event.seq()) {
                let Some(frame) = event.frame(connection.dialect) else { continue };
                match connection.push_event(frame.clone()) {
                    Ok(()) => {
                        self.mark_dirty(connection);
                        pushed += 1;
                    }
                    Err(crate::outbox::Full) => full.push(connection.clone()),
                }
            }
            metrics::counter!(crate::metrics::DELIVERIES).increment(pushed);
        }
        self.overflowed(event.channel(), &full);
    }

    /// These sockets miss an event: nothing more of the channel is pushed to them until they resume it.
    fn overflowed(self: &Rc<Self>, channel: &ChannelId, connections: &[Rc<Connection>]) {
        for connection in connections {
            metrics::counter!(crate::metrics::OVERFLOWS).increment(1);
            self.hub.borrow_mut().set(channel, connection.id, Push::Held);
            self.decide(connection, Input::Overflowed(channel.clone()));
            self.mark_dirty(connection);
        }
    }

    /// Nobody hears of his own typing; how far he has read his other sockets hear.
    fn push_passing(self: &Rc<Self>, passing: &Passing) {
        let hub = self.hub.borrow();
        for connection in hub.live(&passing.ephemeral.channel_id) {
            let own = connection.session.borrow().user_id() == Some(&passing.ephemeral.user_id)
                && !matches!(passing.ephemeral.doing, Doing::Read(_));
            if let (false, Some(frame)) = (own, passing.frame(connection.dialect)) {
                connection.outbox.borrow_mut().push_passing(passing.key(), frame.clone());
                self.mark_dirty(connection);
            }
        }
    }

    fn subscribed(self: &Rc<Self>, channel: &ChannelId, ticket: Ticket, cursor: &Position) {
        let waiting = self.hub.borrow_mut().subscribed(channel, ticket, cursor.clone());
        for connection in waiting {
            if !self.opened(&connection, channel) {
                self.drive(&connection, Input::Joined(channel.clone(), cursor.clone()));
            }
        }
    }

    /// Counts a cursor that an opening waits for; returns whether one did.
    fn opened(self: &Rc<Self>, connection: &Rc<Connection>, channel: &ChannelId) -> bool {
        let mut opening = connection.opening.borrow_mut();
        let Some(waiting) = opening.as_mut() else { return false };
        waiting.missing.remove(channel);
        if waiting.missing.is_empty() {
            let channels = opening.take().map(|opening| opening.channels).unwrap_or_default();
            drop(opening);
            self.all_subscribed(connection, channels);
        }
        true
    }

    /// Each channel of an opening has a cursor: the session says where everything stands as of now.
    pub(super) fn all_subscribed(self: &Rc<Self>, connection: &Rc<Connection>, channels: Vec<ChannelId>) {
        let heads = {
            let hub = self.hub.borrow();
            let head = |channel: ChannelId| hub.cursor(&channel).cloned().map(|cursor| (channel, cursor));
            channels.into_iter().filter_map(head).collect()
        };
        self.drive(connection, Input::Subscribed(heads));
        self.renew_opened(connection);
    }

    /// This reactor missed events that nobody keeps for it: its sockets in the channel resume from the log.
    fn behind(self: &Rc<Self>, channel: &ChannelId, cursor: Seq) {
        tracing::warn!(%channel, "a reactor fell behind its ring; its sockets resume");
        let missed: Vec<_> = self.hub.borrow_mut().advance(channel, cursor).cloned().collect();
        self.overflowed(channel, &missed);
    }

    /// Whatever the sockets of this channel were told of its positions is in doubt: they come back and resume.
    fn another_life(self: &Rc<Self>, channel: &ChannelId, ticket: Ticket) {
        let members = self.hub.borrow_mut().restart(channel, ticket);
        let reactor = self.clone();
        self.common.shutdown.spawn_local("position-lost", async move {
            for some in members.chunks(CLOSED_PER_TURN) {
                some.iter().for_each(|connection| reactor.close(connection, CloseCode::PositionLost));
                tokio::task::yield_now().await;
            }
        });
    }

    /// A page that its session does not wait for any more is nobody's; the session still hears that it came.
    fn page(self: &Rc<Self>, connection: &Rc<Connection>, channel: ChannelId, page: Page) {
        connection.outbox.borrow_mut().page_came();
        let wanted = connection.life.get() == Life::Open && connection.session.borrow().awaits_page(&channel);
        let live = match (wanted, page) {
            (true, Page::Failed) => return self.close(connection, CloseCode::Overloaded),
            (true, Page::Last(frame)) => {
                self.hub.borrow_mut().set(&channel, connection.id, Push::Live);
                frame.into_iter().for_each(|frame| connection.outbox.borrow_mut().push_answer(frame));
                true
            }
            (true, Page::More(frame)) => {
                connection.outbox.borrow_mut().push_answer(frame);
                false
            }
            (false, _) => false,
        };
        self.decide(connection, Input::Resumed { channel, live });
        self.mark_dirty(connection);
    }
}
