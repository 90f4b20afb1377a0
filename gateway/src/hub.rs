//! Which sockets of one reactor hear which channel, and up to where each channel is known here.
//!
//! It holds no bytes and knows no broker. Architecture Invariant: a member is pushed exactly the events after
//! the position at which it went Live, because cursor, state and events change in one thread in one order.

use indexmap::IndexMap;
use protocol::ids::{ChannelId, Position, Seq};
use std::collections::HashMap;

/// Names a connection of this reactor; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Names one subscription of this reactor, so that the answer to an earlier one is not taken for it.
pub(crate) type Ticket = u64;

/// Whether a member is pushed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    /// Subscribed, not pushed: a page goes before. A channel that is Lagging is held, too.
    Held,
    /// Pushed every event after the cursor at which it went Live.
    Live,
}

/// The channels of one reactor and their members; `M` is the member's handle.
pub(crate) struct Hub<M> {
    rooms: HashMap<ChannelId, Room<M>>,
    tickets: Ticket,
}

struct Room<M> {
    ticket: Ticket,
    /// Up to where this reactor has seen the channel; `None` until the subscription is answered.
    cursor: Option<Position>,
    members: IndexMap<ConnectionId, (M, Push)>,
}

/// What a join found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The channel is known here up to this position.
    Known(Position),
    /// The subscription is asked for already.
    Waiting,
    /// Nobody was here: subscribe at upstream, under this ticket.
    First(Ticket),
}

impl<M: Clone> Hub<M> {
    pub(crate) fn new() -> Self {
        Self { rooms: HashMap::new(), tickets: 0 }
    }

    /// Adds a member as Held; one that is here already stays as it is.
    pub(crate) fn join(&mut self, channel: &ChannelId, id: ConnectionId, member: M) -> Joined {
        if let Some(room) = self.rooms.get_mut(channel) {
            room.members.entry(id).or_insert((member, Push::Held));
            return room.cursor.clone().map_or(Joined::Waiting, Joined::Known);
        }
        self.tickets += 1;
        let members = IndexMap::from([(id, (member, Push::Held))]);
        self.rooms.insert(channel.clone(), Room { ticket: self.tickets, cursor: None, members });
        Joined::First(self.tickets)
    }

    /// Removes a member; returns whether the room is empty now and upstream shall be told.
    pub(crate) fn leave(&mut self, channel: &ChannelId, id: ConnectionId) -> bool {
        let Some(room) = self.rooms.get_mut(channel) else { return false };
        room.members.swap_remove(&id);
        room.members.is_empty() && self.rooms.remove(channel).is_some()
    }

    /// Takes the answer to a subscription; returns who waits for it. An old ticket's answer is nobody's.
    pub(crate) fn subscribed(&mut self, channel: &ChannelId, ticket: Ticket, cursor: Position) -> Vec<M> {
        match self.rooms.get_mut(channel) {
            Some(room) if room.ticket == ticket => {
                room.cursor = Some(cursor);
                room.members.values().map(|(member, _)| member.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Takes the cursor back until the subscription is answered again; returns everybody, who is Held from now on.
    pub(crate) fn restart(&mut self, channel: &ChannelId, ticket: Ticket) -> Vec<M> {
        let Some(room) = self.rooms.get_mut(channel).filter(|room| room.ticket == ticket) else {
            return Vec::new();
        };
        room.cursor = None;
        let held = |(member, push): &mut (M, Push)| {
            *push = Push::Held;
            member.clone()
        };
        room.members.values_mut().map(held).collect()
    }

    /// Gives a subscription up; returns who waited for it.
    pub(crate) fn failed(&mut self, channel: &ChannelId, ticket: Ticket) -> Vec<M> {
        match self.rooms.get(channel) {
            Some(room) if room.ticket == ticket => {
                let room = self.rooms.remove(channel);
                room.into_iter()
                    .flat_map(|room| room.members.into_values())
                    .map(|(member, _)| member)
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns up to where the channel is known here.
    pub(crate) fn cursor(&self, channel: &ChannelId) -> Option<&Position> {
        self.rooms.get(channel)?.cursor.as_ref()
    }

    /// Whether the socket is a member of the channel.
    pub(crate) fn holds(&self, channel: &ChannelId, id: ConnectionId) -> bool {
        self.rooms.get(channel).is_some_and(|room| room.members.contains_key(&id))
    }

    /// Sets whether a member is pushed events from now on.
    pub(crate) fn set(&mut self, channel: &ChannelId, id: ConnectionId, push: Push) {
        if let Some((_, state)) = self.rooms.get_mut(channel).and_then(|room| room.members.get_mut(&id)) {
            *state = push;
        }
    }

    /// Moves the cursor to an event and returns who is pushed it: nobody when it was seen here before, or when
    /// it belongs to a subscription that has ended.
    pub(crate) fn advance(&mut self, channel: &ChannelId, seq: Seq) -> impl Iterator<Item = &M> {
        let room = self.rooms.get_mut(channel).and_then(|room| {
            let cursor = room.cursor.as_mut().filter(|cursor| cursor.seq < seq)?;
            cursor.seq = seq;
            Some(&*room)
        });
        room.into_iter().flat_map(Room::live)
    }

    /// Returns who is pushed what is not logged.
    pub(crate) fn live(&self, channel: &ChannelId) -> impl Iterator<Item = &M> {
        self.rooms.get(channel).into_iter().flat_map(Room::live)
    }
}

impl<M> Room<M> {
    fn live(&self) -> impl Iterator<Item = &M> {
        self.members.values().filter(|(_, push)| *push == Push::Live).map(|(member, _)| member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::Epoch;

    fn at(seq: Seq) -> Position {
        Position { epoch: Epoch::parse("e").unwrap(), seq }
    }

    fn pushed(hub: &mut Hub<u64>, channel: &ChannelId, seq: Seq) -> Vec<u64> {
        hub.advance(channel, seq).copied().collect()
    }

    #[test]
    fn the_answer_to_an_ended_subscription_is_nobodys() {
        let (mut hub, channel) = (Hub::new(), ChannelId::parse("general").unwrap());
        let Joined::First(old) = hub.join(&channel, ConnectionId(1), 1) else { panic!("first") };
        assert!(hub.leave(&channel, ConnectionId(1)));
        let Joined::First(new) = hub.join(&channel, ConnectionId(2), 2) else { panic!("first again") };
        assert!(hub.subscribed(&channel, old, at(5)).is_empty());
        assert_eq!(hub.cursor(&channel), None);
        assert_eq!(hub.join(&channel, ConnectionId(3), 3), Joined::Waiting);
        assert_eq!(hub.subscribed(&channel, new, at(7)), [2, 3]);
        assert_eq!(hub.join(&channel, ConnectionId(4), 4), Joined::Known(at(7)));
    }

    #[test]
    fn a_channel_that_begins_anew_pushes_nobody_who_knew_it_before() {
        let (mut hub, channel) = (Hub::new(), ChannelId::parse("general").unwrap());
        let Joined::First(ticket) = hub.join(&channel, ConnectionId(1), 1) else { panic!("first") };
        hub.subscribed(&channel, ticket, at(7));
        hub.set(&channel, ConnectionId(1), Push::Live);
        assert!(hub.restart(&channel, ticket + 1).is_empty(), "of another subscription");
        assert_eq!(pushed(&mut hub, &channel, 8), [1]);
        assert_eq!(hub.restart(&channel, ticket), [1]);
        assert_eq!(hub.join(&channel, ConnectionId(2), 2), Joined::Waiting);
        let reborn = Position { epoch: Epoch::parse("later").unwrap(), seq: 2 };
        assert_eq!(hub.subscribed(&channel, ticket, reborn), [1, 2]);
        hub.set(&channel, ConnectionId(2), Push::Live);
        assert_eq!(pushed(&mut hub, &channel, 3), [2], "a lower seq is news in another life");
    }

    #[test]
    fn only_live_members_are_pushed_and_each_event_once() {
        let (mut hub, channel) = (Hub::new(), ChannelId::parse("general").unwrap());
        let Joined::First(ticket) = hub.join(&channel, ConnectionId(1), 1) else { panic!("first") };
        hub.subscribed(&channel, ticket, at(7));
        hub.join(&channel, ConnectionId(2), 2);
        assert_eq!(pushed(&mut hub, &channel, 8), [0_u64; 0]);
        hub.set(&channel, ConnectionId(1), Push::Live);
        assert_eq!(pushed(&mut hub, &channel, 8), [0_u64; 0], "seen before");
        assert_eq!(pushed(&mut hub, &channel, 9), [1]);
        hub.set(&channel, ConnectionId(2), Push::Live);
        hub.set(&channel, ConnectionId(1), Push::Held);
        assert_eq!(pushed(&mut hub, &channel, 12), [2]);
        assert_eq!(hub.cursor(&channel), Some(&at(12)));
    }
}
