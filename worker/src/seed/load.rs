//! Users and rooms for load tests: real members in real channels, named so that the load tool finds them.

use super::{Fact, append};
use crate::start::caught_up;
use anyhow::Context;
use broker::Broker;
use clap::Args;
use futures_util::future::try_join_all;
use protocol::envelope::{ChannelFacts, ChannelType, Envelope, Kind, MemberFacts, Role};
use protocol::ids::{ChannelId, UserId};
use protocol::message::Sender;
use std::time::Duration;
use store::Store;

/// Appends under way at once: they share commits, and are fewer than a shard on NATS has places for.
const AT_ONCE: usize = 200;

/// How long the store may take to have it all.
const DEADLINE: Duration = Duration::from_secs(300);

/// What to make. User i is a member of room i modulo the number of rooms.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Users are PREFIX-u0 and on, rooms PREFIX-r0 and on
    #[arg(long, default_value = "load")]
    prefix: String,
    /// Users
    #[arg(long)]
    users: usize,
    /// Rooms
    #[arg(long, default_value_t = 1)]
    rooms: usize,
}

/// Makes what is missing and waits until the store has it; returns how many events that took.
///
/// # Errors
/// What log or store refused, or that the store did not catch up in time.
pub async fn load(broker: &Broker, store: &Store, plan: &Plan) -> anyhow::Result<usize> {
    let rooms = plan.rooms.max(1);
    let mut events = Vec::new();
    for room in 0..rooms {
        let channel = plan.channel(room)?;
        if store.head(&channel).await?.is_none() {
            let facts = ChannelFacts { name: format!("Load {room}"), channel_type: ChannelType::General };
            events.push(plan.event(&channel, "channel", Kind::ChannelUpdated, &facts)?);
        }
    }
    for user in 0..plan.users {
        let (id, channel) = (plan.user(user)?, plan.channel(user % rooms)?);
        if store.membership(&channel, &id).await?.is_none() {
            let user = Sender { name: id.as_str().to_owned(), id, email: String::new() };
            let facts = MemberFacts { user, role: Role::Member };
            events.push(plan.event(&channel, facts.user.id.as_str(), Kind::MemberAdded, &facts)?);
        }
    }
    for some in events.chunks(AT_ONCE) {
        try_join_all(some.iter().map(|event| append(broker, event))).await?;
    }
    for room in 0..rooms {
        caught_up(broker, store, &plan.channel(room)?, DEADLINE).await?;
    }
    Ok(events.len())
}

impl Plan {
    fn user(&self, index: usize) -> anyhow::Result<UserId> {
        UserId::parse(&format!("{}-u{index}", self.prefix)).context("--prefix makes no user id")
    }

    fn channel(&self, index: usize) -> anyhow::Result<ChannelId> {
        ChannelId::parse(&format!("{}-r{index}", self.prefix)).context("--prefix makes no channel id")
    }

    fn event<T: serde::Serialize>(
        &self,
        channel: &ChannelId,
        name: &str,
        kind: Kind,
        body: &T,
    ) -> anyhow::Result<Envelope> {
        let at_ms = runtime::clock::now_unix_ms();
        let (channel, by) = (channel.as_str(), self.user(0)?);
        super::fact(Fact { channel, name, by: by.as_str(), kind, at_ms }, body)
    }
}
