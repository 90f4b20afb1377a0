//! Tells gateways whose memberships changed, as soon as the directory would say so, and again each second for a while.
//!
//! Again, because an announcement may get lost and the sockets of a removed member must not go on. Architecture
//! Invariant: what is announced was read from the store after the change, so whoever asks then gets no less.

use broker::Broker;
use protocol::control::{CONTROL_USERS_MAX, Control};
use protocol::envelope::{Fact, Kind};
use protocol::ids::{ChannelId, UserId};
use protocol::limits::ANNOUNCED_MEMBERS_MAX;
use protocol::requests::MembershipsVersion;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use store::{Event, Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two digests. Architecture page: changes take effect within 2 s, so one that got lost has a second chance.
const PACE: Duration = Duration::from_secs(1);

/// How long a change is told. Chosen: a gateway that lost one digest hears nine more.
const TOLD: Duration = Duration::from_secs(10);

/// Users who are told again; who changes beyond that is told once. Chosen: a company that moves in at once.
const TOLD_MAX: usize = 10_000;

/// Batches that wait to be announced; then persistence waits, too: the store that it writes is the one read here.
pub(crate) const QUEUE: usize = 64;

/// Whose memberships some events are about.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    users: BTreeSet<UserId>,
    /// Channels that were described; a member who was stored before that learns of them only now.
    channels: BTreeSet<ChannelId>,
}

impl Touched {
    /// Looks at events; most of them are messages and touch nobody.
    pub(crate) fn by(events: &[Event]) -> Self {
        let mut touched = Self::default();
        for envelope in events.iter().map(|event| &event.envelope).filter(|one| one.kind != Kind::Message) {
            match envelope.fact() {
                Ok(Fact::MemberAdded(member) | Fact::MemberRemoved(member)) => {
                    touched.users.insert(member.user.id);
                }
                Ok(Fact::ChannelUpdated(_)) => {
                    touched.channels.insert(envelope.channel_id.clone());
                }
                Ok(
                    Fact::Message(_)
                    | Fact::MessageUpdated(_)
                    | Fact::MessageDeleted(_)
                    | Fact::ReactionUpdated(_),
                )
                | Err(_) => {}
            }
        }
        touched
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.users.is_empty() && self.channels.is_empty()
    }
}

/// Runs until nobody is left who says what was touched.
pub(crate) async fn run(broker: Broker, store: Store, mut touched: mpsc::Receiver<Touched>) {
    let mut announcing = Announcing { broker, store, due: Touched::default(), told: HashMap::new() };
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel safe: a receiver and a clock.
        tokio::select! {
            more = touched.recv() => match more {
                None => return,
                Some(more) => {
                    announcing.due.users.extend(more.users);
                    announcing.due.channels.extend(more.channels);
                }
            },
            _ = pace.tick() => announcing.tell_again().await,
        }
        if let Err(error) = announcing.tell().await {
            tracing::warn!(%error, "who became or is no member any more cannot be told yet");
        }
    }
}

struct Announcing {
    broker: Broker,
    store: Store,
    /// What was touched and is not told at all yet.
    due: Touched,
    /// What was told, and when for the first time that the broker took it.
    told: HashMap<UserId, (MembershipsVersion, Instant)>,
}

impl Announcing {
    /// Reads how things stand and tells it. What cannot be read stays due.
    async fn tell(&mut self) -> Result<(), StoreError> {
        while let Some(channel) = self.due.channels.first().cloned() {
            let members = self.store.ever_members(&channel, ANNOUNCED_MEMBERS_MAX).await?;
            self.due.users.extend(members);
            self.due.channels.remove(&channel);
        }
        while !self.due.users.is_empty() {
            let users: Vec<UserId> = self.due.users.iter().take(CONTROL_USERS_MAX).cloned().collect();
            let versions = self.store.versions(&users).await?;
            for user in &users {
                self.due.users.remove(user);
            }
            let now = Instant::now();
            for (user, version) in &versions {
                if self.told.len() < TOLD_MAX || self.told.contains_key(user) {
                    self.told.insert(user.clone(), (*version, now));
                }
            }
            self.announce(&versions).await;
        }
        Ok(())
    }

    async fn tell_again(&mut self) {
        self.told.retain(|_, (_, since)| since.elapsed() < TOLD);
        let told: Vec<_> = self.told.iter().map(|(user, (version, _))| (user.clone(), *version)).collect();
        for some in told.chunks(CONTROL_USERS_MAX) {
            self.announce(some).await;
        }
    }

    /// Tells some. What went nowhere counts as not told yet.
    async fn announce(&mut self, versions: &[(UserId, MembershipsVersion)]) {
        let Err(error) = self.broker.announce(Control::Memberships(versions.to_vec())).await else { return };
        tracing::debug!(%error, "memberships cannot be announced now");
        let now = Instant::now();
        for (user, _) in versions {
            if let Some((_, since)) = self.told.get_mut(user) {
                *since = now;
            }
        }
    }
}
