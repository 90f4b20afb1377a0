//! What becomes of a message: edits, pins, deletion and reactions.

use super::{By, Commands, same};
use crate::serving::unavailable;
use crate::tail::Tail;
use protocol::changes::{Changed, MessageDeletion, MessageUpdate, Reaction, ReactionAction, ReactionChange};
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Fact, Kind, Role};
use protocol::frames::changing::{Change, ChangeMessage};
use protocol::ids::{ChannelId, MessageId, Position, Seq, UserId};
use protocol::limits::{REACTIONS_PER_MESSAGE_MAX, REACTIONS_PER_USER_MAX};
use protocol::message::Message;
use protocol::permissions::{Action, allows};
use protocol::requests::{Answer, CommandAnswer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use store::StoredMessage;

/// How often a change is decided anew because its channel moved on. Architecture page; an edit is then `unavailable`.
const DECISIONS: usize = 8;

/// How long a message whose channel nobody named may take to be stored. Chosen: persistence lags by a fraction of it.
const STORED_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Commands {
    pub(super) async fn change(&self, by: By, change: ChangeMessage) -> Answer<CommandAnswer> {
        let channel = match &change.channel_id {
            Some(channel) => channel.clone(),
            None => self.channel_of(&change.message_id).await?,
        };
        let _turn = self.turns.of(&channel).await;
        for attempt in 1..=DECISIONS {
            let (envelope, head) = match self.decide(&by, &change, &channel).await? {
                Decision::Known(answer) => return Ok(answer),
                Decision::Append(envelope, head) => (envelope, head),
            };
            let expect = match envelope.kind {
                // It holds whatever came meanwhile.
                Kind::MessageDeleted => None,
                // A count that is off for a moment is better than none.
                Kind::ReactionUpdated if attempt == DECISIONS => None,
                _ => Some(head),
            };
            if let Some(answer) = self.append(*envelope, expect).await? {
                return Ok(answer);
            }
        }
        Err(ErrorCode::Unavailable)
    }

    /// Decides by how the channel stands now.
    async fn decide(
        &self,
        by: &By,
        change: &ChangeMessage,
        channel: &ChannelId,
    ) -> Result<Decision, ErrorCode> {
        let tail = Tail::read(&self.broker, &self.store, channel).await?;
        let Some(role) = self.role(channel, &by.sender.id, &tail).await? else {
            // Whoever did not name the channel must not learn that there is such a message.
            let named = change.channel_id.is_some();
            return Err(if named { ErrorCode::PermissionDenied } else { ErrorCode::UnknownMessage });
        };
        let content_hash = change.content_hash();
        let id = change.client_msg_id.as_ref();
        if change.retry
            && let Some(sent) = self.sent((channel, &by.sender.id), id, &tail).await?
        {
            return same(channel.clone(), sent, content_hash).map(Decision::Known);
        }
        let found = self.message(&change.message_id, channel, &tail).await?;
        if found.message.deleted_at.is_some() {
            return Err(ErrorCode::UnknownMessage);
        }
        let (kind, body) = match &change.change {
            Change::Edit { content, mentioned_users } => edit(by, role, found, (content, mentioned_users))?,
            Change::Delete => delete(by, role, found)?,
            Change::Pin(pinned) => pin(role, found, *pinned)?,
            Change::React(reaction) => {
                permit(role, Action::Write)?;
                let mine = self.reactions_of(&found.message.id, &by.sender.id, &tail).await?;
                react(&mine, found, reaction.clone())?
            }
        };
        let envelope = Envelope {
            kind,
            channel_id: channel.clone(),
            by: by.sender.id.clone(),
            at: by.at,
            message_id: by.event_id.clone(),
            client_msg_id: change.client_msg_id.clone(),
            content_hash,
            body,
        };
        Ok(Decision::Append(Box::new(envelope), tail.head.seq))
    }

    /// Finds the channel of a message whose channel nobody named; it may have been written this moment.
    async fn channel_of(&self, message: &MessageId) -> Result<ChannelId, ErrorCode> {
        let found = async {
            loop {
                let found = self.store.message(message).await.map_err(|error| unavailable(&error))?;
                match found {
                    Some(found) => return Ok(found.message.channel_id),
                    None => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(STORED_WITHIN, found).await.unwrap_or(Err(ErrorCode::UnknownMessage))
    }

    /// Returns how a user reacts to a message now.
    async fn reactions_of(
        &self,
        message: &MessageId,
        user: &UserId,
        tail: &Tail,
    ) -> Result<Vec<String>, ErrorCode> {
        let stored = self.store.reactions_of(message, user).await;
        let mut mine = stored.map_err(|error| unavailable(&error))?;
        for (_, _, fact) in tail.facts().filter(|(_, envelope, _)| envelope.by == *user) {
            if let Fact::ReactionUpdated(change) = fact
                && change.message_id == *message
            {
                mine.retain(|known| *known != change.reaction);
                if change.action == ReactionAction::Added {
                    mine.push(change.reaction.clone());
                }
            }
        }
        Ok(mine)
    }
}

/// What a change comes to.
enum Decision {
    /// It was done before.
    Known(CommandAnswer),
    /// This, if the channel still stands where it was decided.
    Append(Box<Envelope>, Seq),
}

/// The kind and the body of an event.
type Decided = (Kind, Box<serde_json::value::RawValue>);

fn decided(kind: Kind, body: &impl Serialize) -> Result<Decided, ErrorCode> {
    Ok((kind, serde_json::value::to_raw_value(body).map_err(|_| ErrorCode::Internal)?))
}

fn permit(role: Role, action: Action) -> Result<(), ErrorCode> {
    if allows(Some(role), action) { Ok(()) } else { Err(ErrorCode::PermissionDenied) }
}

fn edit(
    by: &By,
    role: Role,
    found: StoredMessage,
    (content, mentioned_users): (&str, &Option<Vec<UserId>>),
) -> Result<Decided, ErrorCode> {
    permit(role, Action::EditOwn)?;
    let StoredMessage { position: of, mut message } = found;
    if message.sender.id != by.sender.id {
        return Err(ErrorCode::PermissionDenied);
    }
    content.clone_into(&mut message.content);
    message.mentioned_users = mentioned_users.clone().unwrap_or(message.mentioned_users);
    message.edited_at = Some(by.at);
    updated(of, Changed::Content, message)
}

/// Reactions have events of their own.
fn updated(of: Position, changed: Changed, mut message: Message) -> Result<Decided, ErrorCode> {
    message.reactions = Vec::new();
    decided(Kind::MessageUpdated, &MessageUpdate { of, changed, message })
}

fn delete(by: &By, role: Role, found: StoredMessage) -> Result<Decided, ErrorCode> {
    let StoredMessage { position: of, message } = found;
    let own = message.sender.id == by.sender.id;
    permit(role, if own { Action::DeleteOwn } else { Action::DeleteAny })?;
    decided(Kind::MessageDeleted, &MessageDeletion { of, message_id: message.id })
}

fn pin(role: Role, found: StoredMessage, pinned: bool) -> Result<Decided, ErrorCode> {
    permit(role, Action::Pin)?;
    let StoredMessage { position: of, mut message } = found;
    message.is_pinned = pinned;
    updated(of, Changed::Pinned, message)
}

/// Adds a reaction, or removes it when it is among those of the user.
fn react(mine: &[String], found: StoredMessage, reaction: String) -> Result<Decided, ErrorCode> {
    let StoredMessage { position: of, message } = found;
    let action = if mine.contains(&reaction) { ReactionAction::Removed } else { ReactionAction::Added };
    let is_new = !message.reactions.iter().any(|one| one.reaction == reaction);
    let too_many = mine.len() >= REACTIONS_PER_USER_MAX
        || is_new && message.reactions.len() >= REACTIONS_PER_MESSAGE_MAX;
    if action == ReactionAction::Added && too_many {
        return Err(ErrorCode::TooLarge);
    }
    let known = message.reactions.into_iter();
    let mut counts: BTreeMap<String, u32> =
        known.map(|Reaction { reaction, count, .. }| (reaction, count)).collect();
    let count = counts.entry(reaction.clone()).or_default();
    *count = match action {
        ReactionAction::Added => *count + 1,
        ReactionAction::Removed => count.saturating_sub(1),
    };
    counts.retain(|_, count| *count > 0);
    let change = ReactionChange { of, message_id: message.id, reaction, action, counts };
    decided(Kind::ReactionUpdated, &change)
}
