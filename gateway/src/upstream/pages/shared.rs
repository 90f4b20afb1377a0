//! One look and one encoding for everybody who goes on from the same position: pure.
//!
//! When a gateway dies its sockets come back together, and most of one channel stand at the same place. What was
//! found after a position never changes, so it is kept for a moment; a page is told to another reader only when it is
//! the very page that would be made for him. Those of a quiet channel may stand at many places behind its last event:
//! one of them looks, and the others wait whether nothing follows there for them, too. Invariant: whoever asks is
//! answered once, or told to wait for a look that is under way.

#[cfg(test)]
mod tests;

use super::super::budget::Budget;
use super::super::tail::Tail;
use super::super::{Page, PageAsked};
use super::{Draft, Made, Outcome, Place, Start};
use protocol::ids::{ChannelId, Position, Seq};
use std::collections::HashMap;

/// Bytes that is kept of what was found and of pages, nearly and at most. Chosen: the storm of a gateway's sockets
/// brings some dozens of full pages.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Milliseconds for which a page is kept that nobody asks for. Protocol page: the cap of a client's reconnect delay.
const KEPT_MS: u64 = 30_000;

/// Bytes of an entry beside what was found. Reckoned, rounded up.
const ENTRY_BYTES: usize = 1_024;

/// What is known after each position that somebody asked for lately.
pub(crate) struct Shared {
    entries: HashMap<Start, Entry>,
    budget: Budget<Start>,
    /// The first look into each channel of those that are under way.
    scouts: HashMap<ChannelId, Scout>,
}

/// A look for which those wait who stand elsewhere in the channel.
struct Scout {
    position: Position,
    waiting: Vec<PageAsked>,
}

/// Who waited for a look.
pub(crate) struct Waited {
    /// At its position.
    pub(crate) there: Vec<PageAsked>,
    /// Elsewhere in the channel, who is furthest behind first: when nothing follows there, nothing does for the others.
    pub(crate) elsewhere: Vec<PageAsked>,
}

/// Looking => Known when the look ends, Known => Looking when it does not suffice.
enum Entry {
    /// These wait.
    Looking(Vec<PageAsked>),
    /// A page for each dialect, the one that was made last.
    Known { draft: Draft, made: Vec<Made> },
}

/// What becomes of a question for a page.
pub(crate) enum Turn {
    Page(Page),
    /// Somebody looks already: [`Shared::came`] says when to ask again.
    Waits,
    /// Look there, and hand in the draft at [`Shared::came`].
    Look(Draft, Place),
}

impl Default for Shared {
    fn default() -> Self {
        Self { entries: HashMap::new(), budget: Budget::new(BYTES_MAX, KEPT_MS), scouts: HashMap::new() }
    }
}

impl Shared {
    /// Answers a reader whose reactor was told everything up to `sent`.
    pub(crate) fn page(&mut self, asked: PageAsked, tail: &Tail, sent: Seq, now_ms: u64) -> Turn {
        let start = asked.start.clone();
        let fresh = || Entry::Known { draft: Draft::new(start.clone()), made: Vec::new() };
        match self.entries.remove(&start).unwrap_or_else(fresh) {
            Entry::Looking(mut waiting) => {
                waiting.push(asked);
                self.entries.insert(start, Entry::Looking(waiting));
                Turn::Waits
            }
            Entry::Known { mut draft, mut made } => {
                if draft.forget_deleted(tail) {
                    made.clear();
                }
                draft.skip_quiet(tail);
                let here = Position { epoch: tail.epoch().clone(), seq: sent };
                let dialect = asked.dialect;
                if let Some(same) = made.iter().find(|made| made.fits(dialect, &here)) {
                    let page = same.page.clone();
                    self.keep(start, Entry::Known { draft, made }, now_ms);
                    return Turn::Page(page);
                }
                match draft.finish(tail, sent, dialect) {
                    Outcome::Done(new) => {
                        metrics::counter!(crate::metrics::PAGES_ENCODED).increment(1);
                        let page = new.page.clone();
                        made.retain(|old| old.dialect != dialect);
                        made.push(new);
                        self.keep(start, Entry::Known { draft, made }, now_ms);
                        Turn::Page(page)
                    }
                    Outcome::Look(place) => {
                        self.budget.forget(&start);
                        let Some(asked) = self.scout(&draft, place, asked) else { return Turn::Waits };
                        self.entries.insert(start, Entry::Looking(vec![asked]));
                        Turn::Look(draft, place)
                    }
                }
            }
        }
    }

    /// Lets somebody wait for a first look from elsewhere in the channel; gives back who is to look himself.
    fn scout(&mut self, draft: &Draft, place: Place, asked: PageAsked) -> Option<PageAsked> {
        if asked.alone || !draft.is_unasked() || place != Place::Log {
            return Some(asked);
        }
        if let Some(scout) = self.scouts.get_mut(draft.channel()) {
            scout.waiting.push(asked);
            return None;
        }
        let scout = Scout { position: draft.start.position.clone(), waiting: Vec::new() };
        self.scouts.insert(draft.channel().clone(), scout);
        Some(asked)
    }

    /// Takes a draft back after a look; returns who waited for it and asks again now. There was no answer when it has
    /// failed: then it is not kept.
    pub(crate) fn came(&mut self, draft: Draft, now_ms: u64) -> Waited {
        let start = draft.start.clone();
        let there = match self.entries.remove(&start) {
            Some(Entry::Looking(waiting)) => waiting,
            Some(Entry::Known { .. }) | None => Vec::new(),
        };
        let is_scout = self.scouts.get(&start.channel).is_some_and(|scout| scout.position == start.position);
        let scout = if is_scout { self.scouts.remove(&start.channel) } else { None };
        let mut elsewhere = scout.map(|scout| scout.waiting).unwrap_or_default();
        elsewhere.iter_mut().for_each(|asked| asked.alone = draft.leaves_alone(&asked.start.position));
        elsewhere.sort_by_key(|asked| asked.start.position.seq);
        self.keep(start, Entry::Known { draft, made: Vec::new() }, now_ms);
        Waited { there, elsewhere }
    }

    /// Keeps what can be used again.
    fn keep(&mut self, start: Start, entry: Entry, now_ms: u64) {
        let Entry::Known { draft, made } = &entry else { return };
        let is_worthless = |made: &Made| matches!(made.page, Page::Failed);
        if draft.has_failed() || made.iter().any(is_worthless) {
            self.budget.forget(&start);
            return;
        }
        let bytes = ENTRY_BYTES + draft.bytes() + made.iter().map(Made::bytes).sum::<usize>();
        self.budget.hold(&start, bytes, now_ms);
        self.entries.insert(start, entry);
    }

    /// Lets go what is too much, or was kept for long enough.
    pub(crate) fn drop_old(&mut self, now_ms: u64) {
        while let Some(start) = self.budget.surplus(now_ms) {
            self.entries.remove(&start);
        }
    }
}
