//! Pages of `resumed`: what happened in a channel after a position, as one frame for one socket.

use super::envelopes::decoded;
use super::tail::Tail;
use super::{Page, PageAsked};
use crate::websocket::encoder;
use broker::{LogPage, ReadError};
use protocol::codec::{PageEnding, encode_event, encode_resumed};
use protocol::envelope::{Envelope, Logged};
use protocol::frames::Form;
use protocol::ids::{Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;

/// A page on its way: what was read of the log so far.
pub(crate) struct Draft {
    pub(super) asked: PageAsked,
    read: Vec<(Seq, Envelope)>,
    /// Everything in `(asked.position, reached]` is in `read`.
    pub(super) reached: Seq,
    found: Found,
}

/// What the log said.
enum Found {
    /// It was not asked, or it gave everything up to its head.
    Everything,
    /// It has more than a page after `reached`.
    More,
    /// It was purged beyond the position.
    Purged,
    /// It could not be read.
    Nothing,
}

/// What becomes of a draft.
pub(super) enum Outcome {
    Done(Page),
    /// The ring does not reach back to `reached`: read the log from there.
    Read(Draft),
}

impl Draft {
    pub(super) fn new(asked: PageAsked) -> Self {
        let reached = asked.position.seq;
        Self { asked, read: Vec::new(), reached, found: Found::Everything }
    }

    /// Takes a page of the log after `reached`.
    pub(super) fn with(mut self, page: Result<LogPage, ReadError>) -> Self {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, channel = %self.asked.channel, "the log cannot be read for a resume");
                self.found = Found::Nothing;
                return self;
            }
        };
        if page.floor > self.reached {
            self.found = Found::Purged;
            return self;
        }
        let last = page.entries.last().map_or(self.reached, |entry| entry.seq);
        self.read.extend(decoded(page.entries));
        self.reached = if page.end { page.head.max(last) } else { last };
        self.found = if page.end { Found::Everything } else { Found::More };
        self
    }

    /// Makes the page for a reactor that was told everything up to `sent`.
    pub(super) fn finish(self, tail: &Tail, sent: Seq) -> Outcome {
        let here = Position { epoch: tail.epoch().clone(), seq: sent };
        let asked_here = self.asked.position.epoch == here.epoch;
        let page = match self.found {
            _ if !asked_here => self.frame(&[], &here, PageEnding::Reset),
            Found::Nothing => Page::Failed,
            Found::Purged => self.frame(&[], &here, PageEnding::Reset),
            Found::More => self.cut(Vec::new(), here, false),
            Found::Everything if self.reached >= sent => self.cut(Vec::new(), here, true),
            Found::Everything => match tail.after(self.reached) {
                None => return Outcome::Read(self),
                Some(events) => {
                    let newer = events.filter(|event| event.seq() <= sent);
                    let newer = newer.map(|event| (event.seq(), event.logged.envelope.clone())).collect();
                    self.cut(newer, here, true)
                }
            },
        };
        Outcome::Done(page)
    }

    /// Encodes what was read and what is newer, up to `here` and within a page's bytes; each event's `prev` is
    /// the one before it in the page, the first one's the position that was asked for.
    fn cut(mut self, newer: Vec<(Seq, Envelope)>, here: Position, complete: bool) -> Page {
        let entries: Vec<_> = std::mem::take(&mut self.read)
            .into_iter()
            .filter(|(seq, _)| *seq <= here.seq)
            .chain(newer)
            .collect();
        let (mut events, mut bytes) = (Vec::new(), 0);
        let (mut prev, mut full) = (self.asked.position.seq, false);
        for (seq, envelope) in entries {
            let logged = Logged { seq, prev, envelope };
            let Ok(Some(json)) = encode_event(&here.epoch, &logged, Form::V1) else { continue };
            if bytes + json.len() > PAGE_BYTES_MAX && !events.is_empty() {
                full = true;
                break;
            }
            bytes += json.len();
            prev = seq;
            events.push(json);
        }
        match (full || !complete, events.is_empty()) {
            (true, _) => self.frame(&events, &Position { seq: prev, ..here }, PageEnding::More),
            (false, true) => Page::Last(None),
            (false, false) => self.frame(&events, &here, PageEnding::Last),
        }
    }

    fn frame(&self, events: &[String], position: &Position, ending: PageEnding) -> Page {
        let frame = encoder::text(&encode_resumed(&self.asked.channel, position, events, ending));
        if ending == PageEnding::More { Page::More(frame) } else { Page::Last(Some(frame)) }
    }
}
