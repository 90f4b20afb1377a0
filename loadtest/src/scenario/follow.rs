//! Members who follow a room each: where they stand, what they missed, and whether each message came once.

use crate::content::{self, Content};
use crate::options::Common;
use crate::verify::{Faults, Seen};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Of a `connection_established`: where its channels stand.
#[derive(Deserialize)]
pub(super) struct Established {
    pub(super) channels: Vec<Entry>,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) channel_id: String,
    pub(super) epoch: String,
    seq: u64,
}

/// Of a `resumed`: what came after a position.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    pub(super) seq: u64,
    pub(super) more: bool,
    pub(super) reset: bool,
}

/// Everybody: member i is in room i modulo the number of rooms.
pub(crate) struct Followers {
    common: Common,
    scenario: &'static str,
    run: u32,
    seen: Vec<Seen>,
    /// Per room.
    epochs: Vec<String>,
    /// Messages of this run.
    pub(crate) delivered: u64,
    /// Positions that the server did not know any more.
    pub(crate) resets: u64,
    pub(crate) faults: Faults,
}

impl Followers {
    pub(crate) fn new(
        common: &Common,
        scenario: &'static str,
        (rooms, members): (usize, usize),
        run: u32,
    ) -> Self {
        Self {
            common: common.clone(),
            scenario,
            run,
            seen: (0..members).map(|_| Seen::default()).collect(),
            epochs: vec![String::new(); rooms],
            delivered: 0,
            resets: 0,
            faults: Faults::default(),
        }
    }

    /// Returns the id of a member's room.
    pub(crate) fn room(&self, member: usize) -> String {
        self.common.room(self.scenario, member % self.epochs.len())
    }

    /// Takes the first frame of a member who came without a position.
    pub(crate) fn begin(&mut self, member: usize, json: &[u8]) {
        let Ok(Established { channels }) = serde_json::from_slice(json) else { return };
        let id = self.room(member);
        if let Some(entry) = channels.into_iter().find(|entry| entry.channel_id == id) {
            self.seen[member].stands_at(entry.seq);
            let room = member % self.epochs.len();
            self.epochs[room] = entry.epoch;
        }
    }

    /// Returns the frame that asks for what a member missed.
    pub(crate) fn resume(&self, member: usize) -> String {
        let epoch = &self.epochs[member % self.epochs.len()];
        let seq = self.seen[member].last_seq();
        let position = json!({"channel_id": self.room(member), "epoch": epoch, "seq": seq});
        json!({"type": "resume", "channels": [position], "last": true, "ref": "r"}).to_string()
    }

    /// Takes a page of what was missed; returns the frame that asks for the next one, if there is one.
    pub(crate) fn page(&mut self, member: usize, json: &[u8]) -> Option<String> {
        let page = serde_json::from_slice::<Page<'_>>(json).ok()?;
        self.resets += u64::from(page.reset);
        for event in page.events {
            self.event(member, event.get().as_bytes());
        }
        page.more.then(|| {
            self.seen[member].stands_at(page.seq);
            self.resume(member)
        })
    }

    /// Takes an event; whatever is no message of this run still has its place.
    pub(crate) fn event(&mut self, member: usize, json: &[u8]) {
        let Some(place) = content::place(json) else { return };
        let content = Content::find(json).filter(|content| content.run == self.run);
        self.delivered += u64::from(content.is_some());
        self.seen[member].take(content, place, &mut self.faults);
    }

    /// Counts what never came, over all members, when the n-th writer has sent `sent[n]` messages into the n-th room.
    pub(crate) fn missing(&self, sent: &[u32]) -> u64 {
        let of = |(member, seen): (usize, &Seen)| {
            let writer = member % self.epochs.len();
            let sent = sent.get(writer).copied().unwrap_or_default();
            seen.missing(u32::try_from(writer).unwrap_or(0), sent)
        };
        self.seen.iter().enumerate().map(of).sum()
    }
}
