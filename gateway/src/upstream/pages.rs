//! Pages of `resumed`: what happened in a channel after a position, as one frame for one socket.

#[cfg(test)]
mod tests;

use super::envelopes::decoded;
use super::tail::Tail;
use super::{Page, PageAsked};
use crate::websocket::encoder;
use broker::{LogPage, ReadError};
use protocol::codec::{PageEnding, encode_event, encode_resumed};
use protocol::envelope::{Envelope, Logged};
use protocol::frames::Form;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;

/// A page on its way: what was read of the log so far.
pub(crate) struct Draft {
    asked: PageAsked,
    read: Vec<(Seq, Envelope)>,
    /// Everything in `(asked.position, reached]` is in `read`.
    reached: Seq,
    found: Found,
}

/// What the log said.
enum Found {
    /// It was not asked: the ring may reach back to the position.
    Unasked,
    /// It gave everything up to its head.
    Everything,
    /// It has more than a page after `reached`.
    More,
    /// It was purged beyond the position, or ends before it: it is not the log that the client saw.
    Elsewhere,
    /// It could not be read.
    Nothing,
}

/// What becomes of a draft.
pub(crate) enum Outcome {
    Done(Page),
    /// The ring does not reach back to `reached`: read the log from there.
    Read(Draft),
}

impl Draft {
    pub(crate) fn new(asked: PageAsked) -> Self {
        let reached = asked.position.seq;
        Self { asked, read: Vec::new(), reached, found: Found::Unasked }
    }

    pub(crate) fn asked(&self) -> &PageAsked {
        &self.asked
    }

    pub(crate) fn channel(&self) -> &ChannelId {
        &self.asked.channel
    }

    /// Returns after which position the log is to be read.
    pub(crate) fn reached(&self) -> Seq {
        self.reached
    }

    /// Takes a page of the log after `reached`.
    pub(crate) fn with(mut self, page: Result<LogPage, ReadError>) -> Self {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, channel = %self.asked.channel, "the log cannot be read for a resume");
                self.found = Found::Nothing;
                return self;
            }
        };
        if page.floor > self.reached || page.head < self.asked.position.seq {
            self.found = Found::Elsewhere;
            return self;
        }
        let last = page.entries.last().map_or(self.reached, |entry| entry.seq);
        self.read.extend(decoded(page.entries));
        self.reached = if page.end { page.head.max(last) } else { last };
        self.found = if page.end { Found::Everything } else { Found::More };
        self
    }

    /// Makes the page for a reactor that was told everything up to `sent`.
    pub(crate) fn finish(self, tail: &Tail, sent: Seq) -> Outcome {
        let here = Position { epoch: tail.epoch().clone(), seq: sent };
        let asked_here = self.asked.position.epoch == here.epoch;
        let page = match self.found {
            _ if !asked_here => self.frame(&[], &here, PageEnding::Reset),
            Found::Nothing => Page::Failed,
            Found::Elsewhere => self.frame(&[], &here, PageEnding::Reset),
            // An acknowledgement may be ahead of what came here; a position of another log looks the same.
            Found::Unasked if self.reached > tail.cursor() => return Outcome::Read(self),
            _ if self.reached >= sent => self.cut(Vec::new(), here),
            Found::More => {
                let reached = Position { seq: self.reached, ..here };
                self.cut_more(reached)
            }
            Found::Unasked | Found::Everything => match tail.after(self.reached) {
                None => return Outcome::Read(self),
                Some(events) => {
                    let newer = events.filter(|event| event.seq() <= sent);
                    let newer = newer.map(|event| (event.seq(), event.logged.envelope.clone())).collect();
                    self.cut(newer, here)
                }
            },
        };
        Outcome::Done(page)
    }

    /// Encodes what was read and what is newer, up to `here` and within a page's bytes: the last page, if all fits.
    fn cut(mut self, newer: Vec<(Seq, Envelope)>, here: Position) -> Page {
        self.read.retain(|(seq, _)| *seq <= here.seq);
        self.read.extend(newer);
        match self.encode(&here.epoch) {
            Encoded { cut_after: Some(seq), events } => {
                self.frame(&events, &Position { seq, ..here }, PageEnding::More)
            }
            Encoded { events, .. } if events.is_empty() => Page::Last(None),
            Encoded { events, .. } => self.frame(&events, &here, PageEnding::Last),
        }
    }

    /// Encodes what was read up to `reached`, behind which the log has more.
    fn cut_more(self, reached: Position) -> Page {
        let Encoded { events, cut_after } = self.encode(&reached.epoch);
        let seq = cut_after.unwrap_or(reached.seq);
        self.frame(&events, &Position { seq, ..reached }, PageEnding::More)
    }

    /// Encodes what fits into a page; each event's `prev` is the one before it in the page, the first one's the
    /// position that was asked for.
    fn encode(&self, epoch: &Epoch) -> Encoded {
        let (mut events, mut bytes, mut prev) = (Vec::new(), 0, self.asked.position.seq);
        for (seq, envelope) in &self.read {
            let logged = Logged { seq: *seq, prev, envelope: envelope.clone() };
            let Ok(Some(json)) = encode_event(epoch, &logged, Form::V1) else { continue };
            if bytes + json.len() > PAGE_BYTES_MAX && !events.is_empty() {
                return Encoded { events, cut_after: Some(prev) };
            }
            bytes += json.len();
            prev = *seq;
            events.push(json);
        }
        Encoded { events, cut_after: None }
    }

    fn frame(&self, events: &[String], position: &Position, ending: PageEnding) -> Page {
        let json = encode_resumed(&self.asked.channel, position, events, ending);
        let frame = encoder::frame(self.asked.dialect, &json);
        if ending == PageEnding::More { Page::More(frame) } else { Page::Last(Some(frame)) }
    }
}

/// Events of a page; `cut_after` is the last one when not all fitted.
struct Encoded {
    events: Vec<String>,
    cut_after: Option<Seq>,
}
