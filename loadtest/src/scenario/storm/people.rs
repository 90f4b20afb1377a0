//! The people of a storm: who is there, who comes back, and what each has seen.

use super::{Options, SCENARIO};
use crate::acks::Acks;
use crate::engine::{Happened, Load, Outgoing};
use crate::scenario::follow::Followers;
use crate::scenario::{Counted, Presence, is, nanos};
use crate::stats::Latency;
use std::collections::VecDeque;
use std::time::Duration;

/// Before a refused client comes again; clients of their own would jitter more.
const AGAIN: Duration = Duration::from_millis(250);

/// Where somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connected: There => Returning when the connection drops.
    There,
    /// On the way back, refused as often as it takes: Returning => Resuming when the server says who is there.
    Returning,
    /// Asking for what was missed: Resuming => There when all of it came.
    Resuming,
}

pub(super) struct People<'a> {
    pub(super) options: &'a Options,
    pub(super) presence: Presence,
    pub(super) followers: Followers,
    pub(super) stages: Vec<Stage>,
    pub(super) back: usize,
    /// Who comes again, and when.
    pub(super) again: VecDeque<(u64, usize)>,
    /// Handshakes under way.
    handshakes: usize,
    /// Handshakes that the server did not take.
    pub(super) refused: usize,
    /// Sockets that the server took and lost again before they had resumed.
    pub(super) lost_resuming: u64,
    pub(super) acks: Acks,
    pub(super) ack_latency: Latency,
}

impl<'a> People<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let users = options.connections + options.writers;
        let acks = Acks::new(options.writers);
        Self {
            options,
            presence: Presence::default(),
            followers: Followers::new(&options.common, SCENARIO, (options.rooms, users), acks.run),
            stages: vec![Stage::There; users],
            back: 0,
            again: VecDeque::new(),
            handshakes: 0,
            refused: 0,
            lost_resuming: 0,
            acks,
            ack_latency: Latency::new(),
        }
    }

    /// Takes the next one whose time has come, as long as there may be one more handshake.
    pub(super) fn who_comes(&mut self, now_ns: u64) -> Option<usize> {
        let (at_ns, socket) = self.again.front().copied()?;
        if at_ns > now_ns || self.handshakes >= self.options.common.handshakes {
            return None;
        }
        self.again.pop_front();
        self.handshakes += 1;
        Some(socket)
    }

    fn established(&mut self, socket: usize, json: &[u8], out: &mut Outgoing) {
        if self.stages[socket] == Stage::Returning {
            self.stages[socket] = Stage::Resuming;
            self.handshakes -= 1;
            return out.send(socket, self.followers.resume(socket));
        }
        self.presence.welcome(json, &self.followers.room(socket));
        self.followers.begin(socket, json);
    }

    fn resumed(&mut self, socket: usize, json: &[u8], out: &mut Outgoing) {
        if let Some(more) = self.followers.page(socket, json) {
            out.send(socket, more);
        }
    }

    fn resume_done(&mut self, socket: usize) {
        if self.stages[socket] == Stage::Resuming {
            self.stages[socket] = Stage::There;
            self.back += 1;
        }
    }

    fn acknowledged(&mut self, socket: usize, json: &[u8], now_ns: u64) {
        let writer = socket.checked_sub(self.options.connections);
        if let Some(due_ns) = writer.and_then(|writer| self.acks.take(writer, json)) {
            self.ack_latency.record(now_ns.saturating_sub(due_ns));
        }
    }

    fn gone(&mut self, socket: usize, code: Option<u16>, now_ns: u64) {
        match self.stages[socket] {
            Stage::There => return self.presence.gone.push((socket, code)),
            Stage::Returning => {
                self.handshakes -= 1;
                self.refused += 1;
            }
            Stage::Resuming => self.lost_resuming += 1,
        }
        self.stages[socket] = Stage::Returning;
        self.again.push_back((now_ns + nanos(AGAIN), socket));
    }
}

impl Load for People<'_> {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing) {
        match happened {
            Happened::Gone(code) => self.gone(socket, *code, now_ns),
            Happened::Frame(json) if is(json, "chat_message") => self.followers.event(socket, json),
            Happened::Frame(json) if is(json, "ack") => self.acknowledged(socket, json, now_ns),
            Happened::Frame(json) if is(json, "resumed") => self.resumed(socket, json, out),
            Happened::Frame(json) if is(json, "resume_done") => self.resume_done(socket),
            Happened::Frame(json) if is(json, "connection_established") => {
                self.established(socket, json, out)
            }
            Happened::Frame(json) if is(json, "error") => self.presence.error(json),
            Happened::Frame(_) => {}
        }
    }
}

impl Counted for People<'_> {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    /// Once, whatever ended while it came back counted as refused, and no run could fail by it.
    #[test]
    fn who_is_taken_and_lost_again_was_not_refused() {
        let words = ["test", "--connections", "1", "--rooms", "1", "--writers", "1"];
        let arguments = Arguments::parse_from(words);
        let (mut people, mut out) = (People::new(&arguments.options), Outgoing::default());
        let established = br#"{"type":"connection_established","channels":[]}"#;
        let events = [
            // What happens, and then: refused, lost while resuming, back.
            (Happened::Gone(Some(503)), (1, 0, 0)),
            (Happened::Frame(established), (1, 0, 0)),
            (Happened::Gone(None), (1, 1, 0)),
            (Happened::Gone(None), (2, 1, 0)),
            (Happened::Frame(established), (2, 1, 0)),
            (Happened::Frame(br#"{"type":"resume_done","ref":"r"}"#), (2, 1, 1)),
        ];
        people.stages[0] = Stage::Returning;
        people.again.push_back((0, 0));
        for (happened, counted) in events {
            if let Some(socket) = people.who_comes(nanos(AGAIN) + 1) {
                assert_eq!((socket, people.handshakes), (0, 1));
            }
            people.on(0, &happened, 1, &mut out);
            assert_eq!((people.refused, people.lost_resuming, people.back), counted, "{happened:?}");
        }
        assert_eq!((people.again.len(), people.handshakes, people.presence.gone.len()), (0, 0, 0));
        people.on(0, &Happened::Gone(None), 1, &mut out);
        assert_eq!(people.presence.gone, [(0, None)], "he was back");
    }
}
