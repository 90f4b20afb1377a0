//! The people of an outage: whoever the server drops comes back as the protocol page asks, and resumes.

use super::writers::Writers;
use super::{Options, SCENARIO};
use crate::engine::{Happened, Load, Outgoing};
use crate::options::Arrival;
use crate::scenario::follow::Followers;
use crate::scenario::{Counted, Presence, is, nanos};
use crate::stats::Latency;
use runtime::backoff::{Backoff, random};
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// Full jitter: below the first at the first attempt, twice as much at each further one, at most the second, and from
/// the beginning again after the third of stability. Protocol page.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
const STABLE: Duration = Duration::from_secs(30);

/// Before a message is sent again that the server did not take, unless it says otherwise.
const RESEND: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct Reconnect {
    after_ms: u64,
}

#[derive(Deserialize)]
struct Refused<'a> {
    code: &'a str,
    retry_after_ms: Option<u64>,
}

/// Where somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connects for the first time: Coming => There.
    Coming,
    /// There => Returning when the server drops the connection, => Away when it must not come back.
    There { since_ns: u64 },
    /// On the way back, refused as often as it takes: Returning => Resuming when the server says who is there.
    Returning,
    /// Asking for what was missed: Resuming => There when all of it came, => Returning when it is lost again.
    Resuming,
    /// For good.
    Away,
}

struct Person {
    stage: Stage,
    /// When the connection was lost that it comes back from.
    dropped_ns: u64,
    /// When the server wants it back.
    asked_back_ns: Option<u64>,
    hops: usize,
    backoff: Backoff,
}

pub(super) struct People<'a> {
    options: &'a Options,
    pub(super) presence: Presence,
    pub(super) followers: Followers,
    pub(super) writers: Writers<'a>,
    people: Vec<Person>,
    /// Who comes again, and when.
    again: BinaryHeap<Reverse<(u64, usize)>>,
    /// Connections that the server dropped.
    pub(super) dropped: usize,
    last_drop_ns: u64,
    /// How many of them are not back yet.
    pub(super) away: usize,
    /// How the dropped ones ended: the close code, or `lost`.
    pub(super) ends: BTreeMap<String, usize>,
    /// Handshakes that no server took.
    pub(super) refused: usize,
    /// Sockets that a server took and lost again before they had resumed.
    pub(super) lost_resuming: usize,
    /// From the drop until all that was missed is there.
    pub(super) resume: Latency,
}

impl<'a> People<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let count = options.connections + options.writers;
        let writers = Writers::new(options);
        let person = || Person {
            stage: Stage::Coming,
            dropped_ns: 0,
            asked_back_ns: None,
            hops: 0,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
        };
        Self {
            options,
            presence: Presence::default(),
            followers: Followers::new(&options.common, SCENARIO, (options.rooms, count), writers.acks.run),
            writers,
            people: (0..count).map(|_| person()).collect(),
            again: BinaryHeap::new(),
            dropped: 0,
            last_drop_ns: 0,
            away: 0,
            ends: BTreeMap::new(),
            refused: 0,
            lost_resuming: 0,
            resume: Latency::new(),
        }
    }

    /// Takes the next one whose time has come: who it is, and how it comes.
    pub(super) fn who_comes(&mut self, now_ns: u64) -> Option<(usize, Arrival)> {
        let Reverse((at_ns, socket)) = *self.again.peek()?;
        if at_ns > now_ns {
            return None;
        }
        self.again.pop();
        let person = &mut self.people[socket];
        person.hops += 1;
        Some((socket, Arrival::Resuming { hops: person.hops }))
    }

    /// Returns the sockets at which a writer sends something now, and what.
    pub(super) fn what_is_sent(&mut self, now_ns: u64) -> Vec<(usize, String)> {
        let mut sent = Vec::new();
        for writer in 0..self.options.writers {
            let socket = self.options.connections + writer;
            if matches!(self.people[socket].stage, Stage::There { .. }) {
                let message = self.writers.next(writer, &self.followers.room(socket), now_ns);
                sent.extend(message.map(|message| (socket, message)));
            }
        }
        sent
    }

    /// Whether as many were dropped as should be, all are back, and nobody was dropped for a while.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        let quiet = now_ns >= self.last_drop_ns + nanos(Duration::from_secs(self.options.seconds));
        self.dropped >= self.options.drops && self.away == 0 && quiet
    }

    /// Whether anything that was due is not acknowledged, or not with everybody.
    pub(super) fn waits(&self) -> bool {
        self.writers.unfinished() > 0 || self.followers.missing(&self.writers.sent) > 0
    }

    pub(super) fn count_missing(&mut self) {
        self.followers.faults.missing = self.followers.missing(&self.writers.sent);
    }

    /// The writer's number, if this is one.
    fn writer(&self, socket: usize) -> Option<usize> {
        socket.checked_sub(self.options.connections)
    }

    fn established(&mut self, socket: usize, json: &[u8], now_ns: u64, out: &mut Outgoing) {
        let person = &mut self.people[socket];
        if person.stage == Stage::Returning {
            person.stage = Stage::Resuming;
            out.send(socket, self.followers.resume(socket));
        } else {
            person.stage = Stage::There { since_ns: now_ns };
            self.presence.welcome(json, &self.followers.room(socket));
            self.followers.begin(socket, json);
        }
    }

    fn resume_done(&mut self, socket: usize, now_ns: u64) {
        let person = &mut self.people[socket];
        if person.stage != Stage::Resuming {
            return;
        }
        person.stage = Stage::There { since_ns: now_ns };
        self.resume.record(now_ns.saturating_sub(person.dropped_ns));
        self.away -= 1;
        if let Some(writer) = self.writer(socket) {
            self.writers.back(writer, now_ns);
        }
    }

    fn reconnect(&mut self, socket: usize, json: &[u8], now_ns: u64) {
        if let Ok(Reconnect { after_ms }) = serde_json::from_slice(json) {
            self.people[socket].asked_back_ns = Some(now_ns + nanos(Duration::from_millis(after_ms)));
        }
    }

    /// What is not taken now, or may have been, is sent once more; everything else is a fault.
    fn error(&mut self, socket: usize, json: &[u8], now_ns: u64) {
        let refused = serde_json::from_slice::<Refused<'_>>(json).ok();
        let transient = refused.filter(|refused| ["unavailable", "unknown_outcome"].contains(&refused.code));
        match (self.writer(socket), transient) {
            (Some(writer), Some(refused)) => {
                let pause = refused.retry_after_ms.map_or(RESEND, Duration::from_millis);
                self.writers.again(writer, now_ns + nanos(pause));
            }
            _ => self.presence.error(json),
        }
    }

    fn gone(&mut self, socket: usize, code: Option<u16>, now_ns: u64) {
        let person = &mut self.people[socket];
        match person.stage {
            Stage::Coming | Stage::Away => return self.presence.gone.push((socket, code)),
            Stage::There { since_ns } => {
                self.dropped += 1;
                self.away += 1;
                (self.last_drop_ns, person.dropped_ns) = (now_ns, now_ns);
                *self.ends.entry(code.map_or("lost".to_owned(), |code| code.to_string())).or_default() += 1;
                if now_ns >= since_ns + nanos(STABLE) {
                    person.backoff.reset();
                }
            }
            Stage::Returning => self.refused += 1,
            Stage::Resuming => self.lost_resuming += 1,
        }
        if !may_come_back(code) {
            person.stage = Stage::Away;
            return self.presence.gone.push((socket, code));
        }
        person.stage = Stage::Returning;
        let at_ns = match person.asked_back_ns.take() {
            Some(at_ns) => at_ns.max(now_ns),
            None => now_ns + nanos(person.backoff.next(random())),
        };
        self.again.push(Reverse((at_ns, socket)));
    }
}

/// Whether a client tries again after this close code or status. Protocol page, "Close codes" and "Refusals".
fn may_come_back(code: Option<u16>) -> bool {
    !matches!(code, Some(1000 | 1002 | 1003 | 1007..=1009 | 4500..=4999 | 400..=428 | 430..=499))
}

impl Load for People<'_> {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing) {
        let json = match happened {
            Happened::Frame(json) => *json,
            Happened::Gone(code) => return self.gone(socket, *code, now_ns),
        };
        if is(json, "chat_message") {
            self.followers.event(socket, json);
        } else if is(json, "ack") {
            if let Some(writer) = self.writer(socket) {
                self.writers.acknowledged(writer, json, now_ns);
            }
        } else if is(json, "resumed") {
            let more = self.followers.page(socket, json);
            more.into_iter().for_each(|more| out.send(socket, more));
        } else if is(json, "resume_done") {
            self.resume_done(socket, now_ns);
        } else if is(json, "connection_established") {
            self.established(socket, json, now_ns, out);
        } else if is(json, "reconnect") {
            self.reconnect(socket, json, now_ns);
        } else if is(json, "lagging") || is(json, "resync") {
            out.send(socket, self.followers.resume(socket));
        } else if is(json, "error") {
            self.error(socket, json, now_ns);
        }
    }
}

impl Counted for People<'_> {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

#[cfg(test)]
mod tests;
