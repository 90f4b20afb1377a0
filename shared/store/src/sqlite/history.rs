//! Pages of stored messages.

use super::ask::position;
use super::changes::{COLUMNS, JOINED, placed};
use crate::StoreError;
use protocol::ids::{ChannelId, MessageId, Position};
use protocol::requests::{HistoryAnswer, HistoryRange, HistoryRequest, PlacedMessage};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Which way a page is read from its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The newest before the bound.
    Back,
    /// The oldest after the bound.
    Forth,
}

pub(super) fn page(connection: &Connection, request: &HistoryRequest) -> Result<HistoryAnswer, StoreError> {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let read = Read { connection, channel: &request.channel_id, thread: request.thread_id.as_ref() };
    match &request.range {
        HistoryRange::Newest => read.page(Direction::Back, None, limit),
        HistoryRange::Before(bound) => read.page(Direction::Back, Some(bound), limit),
        HistoryRange::After(bound) => read.page(Direction::Forth, Some(bound), limit),
        HistoryRange::Around(id) => read.around(id, limit),
    }
}

struct Read<'a> {
    connection: &'a Connection,
    channel: &'a ChannelId,
    thread: Option<&'a MessageId>,
}

impl Read<'_> {
    fn page(
        &self,
        direction: Direction,
        bound: Option<&Position>,
        limit: usize,
    ) -> Result<HistoryAnswer, StoreError> {
        let mut messages = self.read(direction, bound, limit + 1)?;
        let more = messages.len() > limit;
        messages.truncate(limit);
        if direction == Direction::Back {
            messages.reverse();
        }
        Ok(HistoryAnswer { messages, more })
    }

    /// A message and its neighbours: nothing when the message is not in this channel.
    fn around(&self, id: &MessageId, limit: usize) -> Result<HistoryAnswer, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT epoch, seq FROM messages WHERE id = ?1 AND channel = ?2")?;
        let mut rows = select.query([id.as_str(), self.channel.as_str()])?;
        let Some(row) = rows.next()? else {
            return Ok(HistoryAnswer { messages: Vec::new(), more: false });
        };
        let at = position(row, 0, 1)?;
        // The message itself stands first in what lies after its predecessor.
        let mut page = self.page(Direction::Back, Some(&at), (limit - 1) / 2)?;
        let before = Position { epoch: at.epoch.clone(), seq: at.seq.saturating_sub(1) };
        let newer = self.page(Direction::Forth, Some(&before), limit - page.messages.len())?;
        page.more |= newer.more;
        page.messages.extend(newer.messages);
        Ok(page)
    }

    fn read(
        &self,
        direction: Direction,
        bound: Option<&Position>,
        count: usize,
    ) -> Result<Vec<PlacedMessage>, StoreError> {
        let mut sql = format!("SELECT {COLUMNS} FROM {JOINED} WHERE messages.channel = ?1");
        let mut values = vec![Value::from(self.channel.as_str().to_owned())];
        if let Some(bound) = bound {
            let compares = if direction == Direction::Back { "<" } else { ">" };
            sql.push_str(&format!(" AND (messages.epoch, messages.seq) {compares} (?2, ?3)"));
            let seq = i64::try_from(bound.seq).unwrap_or(i64::MAX);
            values.extend([Value::from(bound.epoch.as_str().to_owned()), Value::from(seq)]);
        }
        if let Some(thread) = self.thread {
            values.push(Value::from(thread.as_str().to_owned()));
            sql.push_str(&format!(" AND (thread = ?{0} OR id = ?{0})", values.len()));
        }
        let order = if direction == Direction::Back { "DESC" } else { "ASC" };
        values.push(Value::from(i64::try_from(count).unwrap_or(i64::MAX)));
        sql.push_str(&format!(
            " ORDER BY messages.epoch {order}, messages.seq {order} LIMIT ?{}",
            values.len()
        ));
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        let mut messages = Vec::new();
        while let Some(row) = rows.next()? {
            messages.push(placed(row)?);
        }
        Ok(messages)
    }
}
