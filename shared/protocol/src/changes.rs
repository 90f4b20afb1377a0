//! What becomes of a message after it was written: edits, pins, deletion and reactions.
//!
//! Each change is absolute: it says how something is from now on, not what to do with how it was. Of two changes of
//! one thing the one with the higher position holds, in whatever order they come; a deletion holds for ever.

use crate::ids::{MessageId, Position, UserId};
use crate::limits::REACTORS_SHOWN_MAX;
use crate::message::{Message, Metadata};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of `message_updated`: a message, and what about it is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageUpdate {
    /// Where the message stands.
    pub of: Position,
    /// What is new; of everything else `message` says how it was when this was decided.
    pub changed: Changed,
    /// The message as it is now.
    pub message: Message,
}

/// What about a message is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// `content`, `mentioned_users` and `edited_at`.
    Content,
    /// `is_pinned`.
    Pinned,
}

/// The body of `message_deleted`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageDeletion {
    /// Where the message stands.
    pub of: Position,
    /// The message.
    pub message_id: MessageId,
}

/// The body of `reaction_updated`: the envelope says whose reaction it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReactionChange {
    /// Where the message stands.
    pub of: Position,
    /// The message.
    pub message_id: MessageId,
    /// Mostly an emoji.
    pub reaction: String,
    /// Whether it is there from now on.
    pub action: ReactionAction,
    /// How often each reaction of the message is there now.
    pub counts: BTreeMap<String, u32>,
}

/// What became of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the protocol page's words")]
pub enum ReactionAction {
    Added,
    Removed,
}

/// One reaction of a message, with who reacted so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// Mostly an emoji.
    pub reaction: String,
    /// How many reacted so.
    pub count: u32,
    /// Those who did first, at most [`REACTORS_SHOWN_MAX`].
    pub users: Vec<UserId>,
}

impl Message {
    /// Takes what an update says is new; nothing of a deleted message is ever new.
    pub fn update(&mut self, update: &MessageUpdate) {
        if self.deleted_at.is_some() {
            return;
        }
        match update.changed {
            Changed::Content => {
                self.content.clone_from(&update.message.content);
                self.mentioned_users.clone_from(&update.message.mentioned_users);
                self.edited_at = update.message.edited_at;
            }
            Changed::Pinned => self.is_pinned = update.message.is_pinned,
        }
    }

    /// Leaves what a deleted message still shows: that somebody wrote, when, and where in which thread.
    pub fn bury(&mut self, at: Timestamp) {
        let Self { id, channel_id, sender, message_type, created_at, reply_to, thread_id, .. } = self.clone();
        *self = Self {
            id,
            channel_id,
            sender,
            content: String::new(),
            message_type,
            created_at,
            reply_to,
            thread_id,
            is_emergency: self.is_emergency,
            priority: self.priority,
            metadata: Metadata::default(),
            latitude: None,
            longitude: None,
            location_name: None,
            captured_at: None,
            client_msg_id: self.client_msg_id.take(),
            mentioned_users: Vec::new(),
            edited_at: None,
            deleted_at: Some(at),
            is_pinned: false,
            reactions: Vec::new(),
        };
    }

    /// Takes a change of a reaction, by `user`.
    pub fn react(&mut self, user: &UserId, change: &ReactionChange) {
        if self.deleted_at.is_some() {
            return;
        }
        let named = |one: &Reaction| one.reaction == change.reaction;
        if !self.reactions.iter().any(named) {
            let reaction = change.reaction.clone();
            self.reactions.push(Reaction { reaction, count: 0, users: Vec::new() });
        }
        for one in &mut self.reactions {
            one.count = change.counts.get(&one.reaction).copied().unwrap_or_default();
            if named(one) {
                one.users.retain(|known| known != user);
                if change.action == ReactionAction::Added && one.users.len() < REACTORS_SHOWN_MAX {
                    one.users.push(user.clone());
                }
            }
        }
        self.reactions.retain(|one| one.count > 0);
    }
}
