//! The channels of one user: as small as can be, because every idle socket holds them.

use protocol::ids::ChannelId;
use protocol::limits;
use protocol::requests::Membership;

/// A channel of the user: his membership, and whether this socket listens.
pub(super) struct Channel {
    pub(super) membership: Membership,
    pub(super) subscribed: bool,
}

impl Channel {
    fn id(&self) -> &ChannelId {
        &self.membership.channel_id
    }
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

    /// Takes the memberships as they are now; returns the channels that are new, of which the socket hears nothing
    /// yet, and those that are gone. A new one that finds no place on this socket is left out.
    pub(super) fn renew(&mut self, memberships: &[Membership]) -> (Vec<ChannelId>, Vec<Channel>) {
        let before = std::mem::replace(self, Self::new(memberships.to_vec()));
        let known = self.iter().filter(|channel| before.contains(channel.id())).count();
        let mut places = limits::CHANNELS_PER_SOCKET_MAX.saturating_sub(known);
        let (mut added, mut left_out) = (Vec::new(), 0);
        let mut kept = std::mem::take(&mut self.0).into_vec();
        kept.retain_mut(|channel| {
            if let Some(known) = before.get(channel.id()) {
                channel.subscribed = known.subscribed;
                return true;
            }
            channel.subscribed = false;
            let room = places > 0;
            if room {
                places -= 1;
                added.push(channel.id().clone());
            }
            left_out += usize::from(!room);
            room
        });
        if left_out > 0 {
            tracing::warn!(left_out, "a user has more channels than one socket may hear");
        }
        self.0 = kept.into();
        let gone = before.0.into_iter().filter(|channel| !self.contains(channel.id())).collect();
        (added, gone)
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
