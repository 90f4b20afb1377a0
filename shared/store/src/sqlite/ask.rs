//! Questions about channels, members, users and single messages.

use super::reads;
use crate::{Sent, StoreError};
use protocol::claims::Profile;
use protocol::envelope::{ChannelType, Role};
use protocol::ids::{ChannelId, ClientMsgId, Epoch, MessageId, Position, Seq, UserId};
use protocol::message::Sender;
use protocol::requests::{Membership, MembershipsVersion, SessionAnswer};
use protocol::subjects::Shard;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

/// Reads a column that holds a word of a closed set.
fn word<T: DeserializeOwned>(text: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| StoreError::Corrupt("word"))
}

/// Reads two columns that hold a position.
pub(super) fn position(row: &Row<'_>, epoch: usize, seq: usize) -> Result<Position, StoreError> {
    let epoch: String = row.get(epoch)?;
    let epoch = Epoch::parse(&epoch).map_err(|_| StoreError::Corrupt("epoch"))?;
    Ok(Position { epoch, seq: row.get(seq)? })
}

pub(super) fn reached(connection: &Connection, shard: Shard, epoch: &Epoch) -> Result<Seq, StoreError> {
    let seq = connection
        .prepare_cached("SELECT seq FROM reached WHERE epoch = ?1 AND shard = ?2")?
        .query_row(params![epoch.as_str(), shard.0], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or_default())
}

pub(super) fn head(connection: &Connection, channel: &ChannelId) -> Result<Option<Position>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT epoch, seq FROM events WHERE channel = ?1 ORDER BY epoch DESC, seq DESC LIMIT 1",
    )?;
    let mut rows = select.query([channel.as_str()])?;
    rows.next()?.map(|row| position(row, 0, 1)).transpose()
}

pub(super) fn membership(
    connection: &Connection,
    channel: &ChannelId,
    user: &UserId,
) -> Result<Option<Role>, StoreError> {
    let role: Option<String> = connection
        .prepare_cached("SELECT role FROM members WHERE channel = ?1 AND user = ?2 AND active = 1")?
        .query_row([channel.as_str(), user.as_str()], |row| row.get(0))
        .optional()?;
    role.map(word).transpose()
}

/// Returns what a client's own id was used for: a message, or a change of one.
pub(super) fn sent(
    connection: &Connection,
    channel: &ChannelId,
    sender: &UserId,
    id: &ClientMsgId,
) -> Result<Option<Sent>, StoreError> {
    const IN_EACH: [&str; 2] = [
        "SELECT epoch, seq, id, content_hash FROM messages
         WHERE channel = ?1 AND sender = ?2 AND client_msg_id = ?3 ORDER BY epoch, seq LIMIT 1",
        "SELECT epoch, seq, message, content_hash FROM commanded
         WHERE channel = ?1 AND sender = ?2 AND client_msg_id = ?3 ORDER BY epoch, seq LIMIT 1",
    ];
    for sql in IN_EACH {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([channel.as_str(), sender.as_str(), id.as_str()])?;
        if let Some(row) = rows.next()? {
            let message_id: String = row.get(2)?;
            let message_id = MessageId::parse(&message_id).map_err(|_| StoreError::Corrupt("message id"))?;
            let position = position(row, 0, 1)?;
            return Ok(Some(Sent { position, message_id, content_hash: row.get(3)? }));
        }
    }
    Ok(None)
}

/// Whether a user is known just so.
pub(super) fn knows(connection: &Connection, profile: &Profile) -> Result<bool, StoreError> {
    let Profile { id, name, email, role, company } = profile;
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM users WHERE id = ?1 AND (name, email, role, company) = (?2, ?3, ?4, ?5)",
        )?
        .exists(params![id.as_str(), name, email, role, company])?)
}

pub(super) fn session(connection: &Connection, user: &UserId) -> Result<Option<SessionAnswer>, StoreError> {
    let known: Option<(String, String)> = connection
        .prepare_cached("SELECT name, email FROM users WHERE id = ?1")?
        .query_row([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((name, _address)) = known else { return Ok(None) };
    // Addresses are shown to others only where the operator wants it; nobody can want it yet.
    let sender = Sender { id: user.clone(), name, email: String::new() };
    // Who was removed counts, too: the version says what it was made of, and only grows.
    let mut select = connection.prepare_cached(
        "SELECT channel, role, active, changes FROM members WHERE user = ?1 ORDER BY channel",
    )?;
    let mut rows = select.query([user.as_str()])?;
    let (mut version, mut channels) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        let channel: String = row.get(0)?;
        let Some(described) = described(connection, &channel)? else { continue };
        version += described.changes + row.get::<_, MembershipsVersion>(3)?;
        if row.get(2)? {
            let channel_id = ChannelId::parse(&channel).map_err(|_| StoreError::Corrupt("channel id"))?;
            channels.push(membership_of(connection, user, channel_id, (word(row.get(1)?)?, described))?);
        }
    }
    Ok(Some(SessionAnswer { sender, version, channels }))
}

/// Sums up, without reading the channels, what [`session`] sums up.
pub(super) fn versions(
    connection: &Connection,
    users: Vec<UserId>,
) -> Result<Vec<(UserId, MembershipsVersion)>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT coalesce(sum(members.changes + channels.changes), 0)
         FROM members JOIN channels ON channels.id = members.channel WHERE members.user = ?1",
    )?;
    let version = |user: UserId| {
        let version = select.query_row([user.as_str()], |row| row.get(0))?;
        Ok((user, version))
    };
    users.into_iter().map(version).collect()
}

pub(super) fn ever_members(
    connection: &Connection,
    channel: &ChannelId,
    limit: u32,
) -> Result<Vec<UserId>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT user FROM members WHERE channel = ?1 ORDER BY user LIMIT ?2")?;
    let mut rows = select.query(params![channel.as_str(), limit])?;
    let mut users = Vec::new();
    while let Some(row) = rows.next()? {
        let user: String = row.get(0)?;
        users.push(UserId::parse(&user).map_err(|_| StoreError::Corrupt("user id"))?);
    }
    Ok(users)
}

struct Described {
    name: String,
    channel_type: ChannelType,
    changes: MembershipsVersion,
}

/// Counts the members of a channel, up to a limit.
pub(super) fn count_members(
    connection: &Connection,
    channel: &ChannelId,
    limit: u32,
) -> Result<u32, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM members WHERE channel = ?1 AND active = 1 LIMIT ?2)",
        )?
        .query_row(params![channel.as_str(), limit], |row| row.get(0))?)
}

/// Describes a channel; `None` when its description is not known yet.
fn described(connection: &Connection, channel: &str) -> Result<Option<Described>, StoreError> {
    let row: Option<(String, String, MembershipsVersion)> = connection
        .prepare_cached("SELECT name, channel_type, changes FROM channels WHERE id = ?1")?
        .query_row([channel], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((name, channel_type, changes)) = row else { return Ok(None) };
    Ok(Some(Described { name, channel_type: word(channel_type)?, changes }))
}

fn membership_of(
    connection: &Connection,
    user: &UserId,
    channel_id: ChannelId,
    (role, described): (Role, Described),
) -> Result<Membership, StoreError> {
    let Described { name, channel_type, .. } = described;
    let members = connection
        .prepare_cached("SELECT count(*) FROM members WHERE channel = ?1 AND active = 1")?
        .query_row([channel_id.as_str()], |row| row.get(0))?;
    let read = reads::of(connection, &channel_id, user)?;
    let unread = reads::unread(connection, &channel_id, read.as_ref())?;
    let muted_until = None;
    Ok(Membership { channel_id, name, channel_type, role, members, muted_until, read, unread })
}
