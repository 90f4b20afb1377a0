//! Pages of `resumed`: what happened in a channel after a position, as one frame for everybody who stands there.
//!
//! The ring has it, or else the log, or else a worker, who has the store. Invariant: a page goes on exactly where its
//! reader stands, without a gap, and all its events are of the life of the log in which it ends.

mod graves;
pub(crate) mod shared;
#[cfg(test)]
mod tests;

use super::Page;
use super::envelopes::{decode, decoded};
use super::quiet::Quiet;
use super::tail::Tail;
use crate::websocket::encoder;
use broker::{LogPage, ReadError};
use graves::Graves;
use protocol::codec::{PageEnding, encode_event, encode_resumed};
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Kind, Logged};
use protocol::frames::{Dialect, Form};
use protocol::ids::{ChannelId, Epoch, MessageId, Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;
use protocol::requests::{Answer, DeletedAnswer, DeletedRequest, EventsAnswer, EventsPage, EventsRequest};
use protocol::time::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// Bytes of an envelope beside its body: its ids and its record. Reckoned, rounded up.
const ENVELOPE_BYTES: usize = 512;

/// Where somebody goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Start {
    pub(crate) channel: ChannelId,
    pub(crate) position: Position,
}

/// What happened after a position, as far as it was looked for.
pub(crate) struct Draft {
    start: Start,
    /// The life of the log that `read` and `reached` belong to.
    epoch: Epoch,
    read: Vec<(Seq, Envelope)>,
    /// Everything between the start and here is in `read`.
    reached: Seq,
    found: Found,
    /// Deletions that the channel's tail had seen when somebody began to look.
    deletions: u64,
    /// Messages in `read` that were deleted after `reached`, and when.
    buried: HashMap<MessageId, Timestamp>,
}

/// What was said where somebody looked.
enum Found {
    /// Nobody looked: the ring may reach back to the position.
    Unasked,
    /// Everything up to the log's head.
    Everything,
    /// More than a page follows after `reached`.
    More,
    /// The log was purged beyond `reached`: the store has what is missing.
    Purged,
    /// Nobody knows the position.
    Unknown,
    /// There was no answer.
    Nothing,
}

/// Who may know more than the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Log,
    Worker,
}

/// What becomes of a draft.
pub(crate) enum Outcome {
    Done(Made),
    /// Look there for what happened after `reached`.
    Look(Place),
}

/// A page, and for whom it holds.
pub(crate) struct Made {
    pub(crate) page: Page,
    dialect: Dialect,
    /// Where its readers' reactor was when it was made.
    here: Position,
    /// Where it ends.
    end: Position,
}

impl Made {
    /// Whether it is the page, too, for a reader of this dialect whose reactor was told everything up to `here`.
    fn fits(&self, dialect: Dialect, here: &Position) -> bool {
        let holds = match self.page {
            // Nothing that happens later changes what lies before its end.
            Page::More(_) => self.end.epoch != here.epoch || self.end.seq <= here.seq,
            Page::Last(_) => self.here == *here,
            Page::Failed => false,
        };
        holds && self.dialect == dialect
    }

    fn bytes(&self) -> usize {
        match &self.page {
            Page::Last(Some(frame)) | Page::More(frame) => frame.len(),
            Page::Last(None) | Page::Failed => 0,
        }
    }
}

impl Draft {
    pub(crate) fn new(start: Start) -> Self {
        let Position { epoch, seq } = start.position.clone();
        let (read, found, buried) = (Vec::new(), Found::Unasked, HashMap::new());
        Self { start, epoch, read, reached: seq, found, deletions: 0, buried }
    }

    /// Begins anew when a message was deleted since somebody looked: what was read may show it.
    fn forget_deleted(&mut self, tail: &Tail) -> bool {
        let stale = self.deletions != tail.deletions();
        if stale {
            *self = Self { deletions: tail.deletions(), ..Self::new(self.start.clone()) };
        }
        stale
    }

    /// Returns what a worker is asked when there is more than a page: which of the messages in it were deleted later.
    pub(super) fn question_of_deleted(&self) -> Option<DeletedRequest> {
        let shows = |envelope: &Envelope| matches!(envelope.kind, Kind::Message | Kind::MessageUpdated);
        let shown = self.read.iter().filter(|(_, envelope)| shows(envelope));
        let messages: BTreeSet<MessageId> = shown.map(|(_, envelope)| envelope.about()).collect();
        let asks = matches!(self.found, Found::More) && !messages.is_empty();
        let channel_id = self.start.channel.clone();
        asks.then(|| DeletedRequest { channel_id, messages: messages.into_iter().collect() })
    }

    /// Takes a worker's answer to that; without one nothing can be shown.
    pub(super) fn with_deleted(mut self, answer: Answer<DeletedAnswer>) -> Self {
        match answer {
            Ok(DeletedAnswer { deleted }) => self.buried = deleted.into_iter().collect(),
            Err(code) => {
                tracing::warn!(code = code.as_str(), channel = %self.start.channel, "no worker says what was deleted");
                self.found = Found::Nothing;
            }
        }
        self
    }

    pub(crate) fn channel(&self) -> &ChannelId {
        &self.start.channel
    }

    /// Returns after which position the log is to be read.
    pub(crate) fn reached(&self) -> Seq {
        self.reached
    }

    /// Returns what a worker is asked by somebody who follows the channel up to `head`.
    pub(super) fn question(&self, head: Position) -> EventsRequest {
        let after = Position { epoch: self.epoch.clone(), seq: self.reached };
        EventsRequest { channel_id: self.start.channel.clone(), after, head }
    }

    /// Whether there was no answer: nobody can be told anything, and the next one looks again.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.found, Found::Nothing)
    }

    /// Whether a worker has what is missing, because the log was purged.
    pub(super) fn is_purged(&self) -> bool {
        matches!(self.found, Found::Purged)
    }

    /// Whether nobody looked yet.
    fn is_unasked(&self) -> bool {
        matches!(self.found, Found::Unasked)
    }

    /// Goes on to where it is known that nothing follows.
    fn skip_quiet(&mut self, tail: &Tail) {
        if self.epoch != *tail.epoch() || !matches!(self.found, Found::Unasked | Found::Everything) {
            return;
        }
        if let Some(up_to) = tail.quiet_after(self.reached) {
            (self.reached, self.found) = (up_to, Found::Everything);
        }
    }

    /// Tells a channel's tail of the stretch behind the last event that was found.
    pub(crate) fn teach(&self, tail: &mut Tail) {
        let after = self.read.last().map_or_else(|| self.begins(), |(seq, _)| *seq);
        if matches!(self.found, Found::Everything) && self.epoch == *tail.epoch() && after < self.reached {
            tail.learn(Quiet { after, up_to: self.reached });
        }
    }

    /// Whether what was found is no answer for somebody who stands there: there is something that follows, or nobody
    /// knows.
    fn leaves_alone(&self, position: &Position) -> bool {
        self.has_failed() || self.read.last().is_some_and(|(seq, _)| position.seq < *seq)
    }

    /// Returns where it begins in its life of the log.
    fn begins(&self) -> Seq {
        if self.epoch == self.start.position.epoch { self.start.position.seq } else { 0 }
    }

    fn envelopes(&self) -> impl Iterator<Item = (Seq, &Envelope)> {
        self.read.iter().map(|(seq, envelope)| (*seq, envelope))
    }

    /// Returns the bytes that it holds, nearly and at most.
    fn bytes(&self) -> usize {
        self.read.iter().map(|(_, envelope)| envelope.body.get().len() + ENVELOPE_BYTES).sum()
    }

    /// Takes a page of the log after `reached`.
    pub(crate) fn with_log(mut self, page: Result<LogPage, ReadError>) -> Self {
        self.found = match page {
            Err(error) => {
                tracing::warn!(%error, channel = %self.start.channel, "the log cannot be read for a resume");
                Found::Nothing
            }
            Ok(page) if page.head < self.reached => Found::Unknown,
            Ok(page) if page.floor > self.reached => Found::Purged,
            Ok(page) => {
                let last = page.entries.last().map_or(self.reached, |entry| entry.seq);
                let reached = if page.end { page.head.max(last) } else { last };
                self.take(decoded(page.entries), reached, !page.end)
            }
        };
        self
    }

    /// Takes a worker's answer.
    pub(crate) fn with_answer(mut self, answer: Result<EventsAnswer, ErrorCode>) -> Self {
        self.found = match answer {
            Err(code) => {
                tracing::warn!(code = code.as_str(), channel = %self.start.channel, "no worker answers a resume");
                Found::Nothing
            }
            Ok(EventsAnswer::Unknown) => Found::Unknown,
            Ok(EventsAnswer::Page(page)) if page.epoch < self.epoch => Found::Unknown,
            Ok(EventsAnswer::Page(EventsPage { epoch, events, reached, more })) => {
                if epoch != self.epoch {
                    (self.epoch, self.reached) = (epoch, 0);
                }
                let channel = &self.start.channel;
                let read = events.iter().filter_map(|event| {
                    Some((event.seq, decode(channel, event.seq, event.envelope.get().as_bytes())?))
                });
                let read = read.collect();
                self.take(read, reached, more)
            }
        };
        self
    }

    fn take(&mut self, read: Vec<(Seq, Envelope)>, reached: Seq, more: bool) -> Found {
        if more && reached <= self.reached {
            tracing::warn!(channel = %self.start.channel, "there is more, but nothing came");
            return Found::Nothing;
        }
        (self.read, self.reached) = (read, reached);
        if more { Found::More } else { Found::Everything }
    }

    /// Makes the page for readers whose reactor was told everything up to `sent`.
    pub(crate) fn finish<'a>(&'a self, tail: &'a Tail, sent: Seq, dialect: Dialect) -> Outcome {
        let here = Position { epoch: tail.epoch().clone(), seq: sent };
        let lives_now = self.epoch == here.epoch;
        let making = Making { draft: self, dialect, here };
        Outcome::Done(match self.found {
            Found::Nothing => making.failed(),
            Found::Unknown => making.frame(&[], None, PageEnding::Reset),
            Found::Purged => return Outcome::Look(Place::Worker),
            Found::Unasked if !lives_now => return Outcome::Look(Place::Worker),
            Found::More if !lives_now => making.more(),
            // The log began anew while somebody looked.
            Found::Everything if !lives_now => making.failed(),
            // An acknowledgement may be ahead of what came here; a position of another log looks the same.
            Found::Unasked if self.reached > tail.cursor() => return Outcome::Look(Place::Log),
            _ if self.reached >= sent => making.last(std::iter::empty()),
            Found::More => making.more(),
            Found::Unasked | Found::Everything => match tail.after(self.reached) {
                Some(events) => making.last(events.map(|event| (event.seq(), &event.logged.envelope))),
                None if self.read.is_empty() => return Outcome::Look(Place::Log),
                // The ring moves on faster than the log is read: there is a page already, and the client asks on.
                None => making.more(),
            },
        })
    }
}

/// A page that is being made.
struct Making<'a> {
    draft: &'a Draft,
    dialect: Dialect,
    here: Position,
}

impl<'a> Making<'a> {
    fn failed(self) -> Made {
        Made { page: Page::Failed, dialect: self.dialect, end: self.here.clone(), here: self.here }
    }

    /// Encodes what was read and what is newer, up to `here` and within a page's bytes: the last page, if all fits.
    fn last(self, newer: impl Iterator<Item = (Seq, &'a Envelope)>) -> Made {
        let Encoded { events, cut_after } = self.encode(self.draft.envelopes().chain(newer), self.here.seq);
        if cut_after.is_some() {
            return self.frame(&events, cut_after, PageEnding::More);
        }
        if events.is_empty() && self.here.epoch == self.draft.start.position.epoch {
            return Made {
                page: Page::Last(None),
                dialect: self.dialect,
                end: self.here.clone(),
                here: self.here,
            };
        }
        self.frame(&events, None, PageEnding::Last)
    }

    /// Encodes what was read up to `reached`, behind which there is more.
    fn more(self) -> Made {
        let Encoded { events, cut_after } = self.encode(self.draft.envelopes(), Seq::MAX);
        let end = cut_after.unwrap_or(self.draft.reached);
        self.frame(&events, Some(end), PageEnding::More)
    }

    /// Encodes what fits into a page; each event's `prev` is the one before it in the page, the first one's the
    /// position that was asked for, or the beginning of a life that came after it.
    /// What is behind `last` is shown to nobody yet, but what it says was deleted is not shown either.
    fn encode(&self, envelopes: impl Iterator<Item = (Seq, &'a Envelope)>, last: Seq) -> Encoded {
        let epoch = &self.draft.epoch;
        let mut prev = self.draft.begins();
        let (mut events, mut bytes) = (Vec::new(), 0);
        let envelopes: Vec<_> = envelopes.collect();
        let graves = Graves::of(&self.draft.buried, &envelopes);
        for (seq, envelope) in envelopes.into_iter().filter(|(seq, _)| *seq <= last) {
            let logged = Logged { seq, prev, envelope: graves.shown(envelope) };
            let Ok(Some(json)) = encode_event(epoch, &logged, Form::V1) else { continue };
            if bytes + json.len() > PAGE_BYTES_MAX && !events.is_empty() {
                return Encoded { events, cut_after: Some(prev) };
            }
            bytes += json.len();
            prev = seq;
            events.push(json);
        }
        Encoded { events, cut_after: None }
    }

    /// Makes the frame of a page that ends at `end` of the draft's life, or at `here`.
    fn frame(self, events: &[String], end: Option<Seq>, ending: PageEnding) -> Made {
        let Self { draft, dialect, here } = self;
        let end = end.map_or_else(|| here.clone(), |seq| Position { epoch: draft.epoch.clone(), seq });
        let json = encode_resumed(&draft.start.channel, &end, events, ending);
        let frame = encoder::frame(dialect, &json);
        let page = if ending == PageEnding::More { Page::More(frame) } else { Page::Last(Some(frame)) };
        Made { page, dialect, here, end }
    }
}

/// Events of a page; `cut_after` is the last one when not all fitted.
struct Encoded {
    events: Vec<String>,
    cut_after: Option<Seq>,
}
