//! The channels of one user: as small as can be, because every idle socket holds them.

use protocol::ids::ChannelId;
use protocol::requests::Membership;

/// A channel of the user: his membership, and whether this socket listens.
pub(super) struct Channel {
    pub(super) membership: Membership,
    pub(super) subscribed: bool,
}

/// Sorted by id, without room for more: membership changes rarely, sockets are many.
#[derive(Default)]
pub(super) struct Channels(Box<[Channel]>);

impl Channels {
    /// Takes the memberships; the socket listens to all of them.
    pub(super) fn new(mut memberships: Vec<Membership>) -> Self {
        memberships.sort_by(|a, b| a.channel_id.cmp(&b.channel_id));
        memberships.dedup_by(|a, b| a.channel_id == b.channel_id);
        let subscribed = |membership| Channel { membership, subscribed: true };
        Self(memberships.into_iter().map(subscribed).collect())
    }

    pub(super) fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.place(id).map(|at| &self.0[at])
    }

    pub(super) fn get_mut(&mut self, id: &ChannelId) -> Option<&mut Channel> {
        self.place(id).map(|at| &mut self.0[at])
    }

    pub(super) fn contains(&self, id: &ChannelId) -> bool {
        self.place(id).is_some()
    }

    /// Returns all of them, in order of their ids.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Channel> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn place(&self, id: &ChannelId) -> Option<usize> {
        self.0.binary_search_by(|channel| channel.membership.channel_id.cmp(id)).ok()
    }
}
