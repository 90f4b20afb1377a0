//! People in rooms who are sent messages at a steady rate, whatever the server does, and what they saw.

use super::{Counted, DRAIN, PROGRESS, Presence, is, nanos};
use crate::content::{self, Content};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::Common;
use crate::report::{Report, say};
use crate::stats::Latency;
use crate::verify::{Faults, Seen};
use serde_json::json;
use std::collections::VecDeque;
use std::time::Duration;

/// Who is there and what is sent: user i is in room i modulo `rooms`, message k is sent by user k modulo `senders`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) scenario: &'static str,
    pub(crate) users: usize,
    pub(crate) rooms: usize,
    pub(crate) senders: usize,
    pub(crate) rate: f64,
}

/// Everybody, and what they saw.
pub(crate) struct Crowd {
    pub(crate) presence: Presence,
    pub(crate) seen: Vec<Seen>,
    /// Per sender: when its messages that are not acknowledged yet were due.
    unacknowledged: Vec<VecDeque<u64>>,
    /// Messages due before this are warm-up.
    pub(crate) measured_from_ns: u64,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) latency: Latency,
    pub(crate) ack_latency: Latency,
    pub(crate) faults: Faults,
}

impl Load for Crowd {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, _: &mut Outgoing) {
        let json = match happened {
            Happened::Frame(json) => *json,
            Happened::Gone(code) => return self.presence.gone.push((socket, *code)),
        };
        if is(json, "chat_message") {
            let Some(content) = Content::find(json) else { return };
            let place = content::place(json).unwrap_or_default();
            self.seen[socket].take(content, place, &mut self.faults);
            self.delivered += 1;
            if content.due_ns >= self.measured_from_ns {
                self.latency.record(now_ns.saturating_sub(content.due_ns));
            }
        } else if is(json, "ack") {
            self.acked += 1;
            let due = self.unacknowledged.get_mut(socket).and_then(VecDeque::pop_front);
            if let Some(due_ns) = due.filter(|due_ns| *due_ns >= self.measured_from_ns) {
                self.ack_latency.record(now_ns.saturating_sub(due_ns));
            }
        } else if is(json, "connection_established") {
            self.presence.established += 1;
        } else if is(json, "error") {
            self.presence.error(json);
        }
    }
}

impl Counted for Crowd {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

impl Crowd {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            presence: Presence::default(),
            seen: (0..plan.users).map(|_| Seen::default()).collect(),
            unacknowledged: vec![VecDeque::new(); plan.senders],
            measured_from_ns: u64::MAX,
            delivered: 0,
            acked: 0,
            latency: Latency::new(),
            ack_latency: Latency::new(),
            faults: Faults::default(),
        }
    }

    /// Demands what every run must show: each message once and in order, no errors, nobody lost.
    pub(crate) fn judge(&self, report: &mut Report) {
        let told = format!("messages were lost, repeated or reordered: {:?}", self.faults);
        report.demand(self.faults.none(), told);
        report.demand(self.presence.errors == 0, "the server answered with errors");
        report.demand(self.presence.gone.is_empty(), "sockets were lost");
    }
}

/// Messages, each due at its time.
pub(crate) struct Stream {
    plan: Plan,
    common: Common,
    start_ns: u64,
    /// Messages sent so far, and of each sender.
    count: u64,
    sent: Vec<u32>,
}

impl Stream {
    pub(crate) fn new(plan: &Plan, common: &Common, engine: &Engine) -> Self {
        let start_ns = engine.now_ns() + 10_000_000;
        Self { plan: *plan, common: common.clone(), start_ns, count: 0, sent: vec![0; plan.senders] }
    }

    /// When the next message is due, on the run's clock.
    pub(crate) fn due_ns(&self) -> u64 {
        self.start_ns + (self.count as f64 * 1e9 / self.plan.rate) as u64
    }

    /// Sends so many messages, each at its time, and tells how it goes.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn send(&mut self, engine: &mut Engine, crowd: &mut Crowd, count: u64) -> anyhow::Result<()> {
        let end = self.count + count;
        let mut told_ns = engine.now_ns();
        while self.count < end {
            self.send_one(engine, crowd)?;
            if engine.now_ns() - told_ns > nanos(PROGRESS) {
                told_ns = engine.now_ns();
                let (sent, acked, delivered) = (self.count, crowd.acked, crowd.delivered);
                say(&format!("sent {sent}, acknowledged {acked}, delivered {delivered}"));
            }
        }
        Ok(())
    }

    /// Sends the next message at its time.
    fn send_one(&mut self, engine: &mut Engine, crowd: &mut Crowd) -> anyhow::Result<()> {
        let due_ns = self.due_ns();
        engine.turn(crowd, 0)?;
        while engine.now_ns() < due_ns {
            engine.turn(crowd, due_ns)?;
        }
        let Plan { scenario, rooms, senders, .. } = self.plan;
        let sender = usize::try_from(self.count).unwrap_or(0) % senders;
        let number = self.sent[sender];
        let content = Content { sender: u32::try_from(sender).unwrap_or(0), number, due_ns };
        crowd.unacknowledged[sender].push_back(due_ns);
        let room = self.common.room(scenario, sender % rooms);
        let content = content.write(self.common.payload);
        let message = json!({"type": "send_message", "channel_id": room, "content": content});
        engine.send(sender, &message.to_string());
        self.sent[sender] += 1;
        self.count += 1;
        Ok(())
    }

    /// Waits for what is under way, and a moment for what should not come.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn drain(&self, engine: &mut Engine, crowd: &mut Crowd) -> anyhow::Result<()> {
        let Plan { users, rooms, .. } = self.plan;
        let members = |room: usize| ((users + rooms - 1 - room) / rooms) as u64;
        let sent = self.sent.iter().enumerate();
        let expected: u64 = sent.map(|(sender, count)| u64::from(*count) * members(sender % rooms)).sum();
        let until_ns = engine.now_ns() + nanos(DRAIN);
        while crowd.delivered < expected && engine.now_ns() < until_ns {
            let soon = engine.now_ns() + 20_000_000;
            engine.turn(crowd, soon)?;
        }
        // A second copy of something would come about now.
        let until_ns = engine.now_ns() + nanos(Duration::from_millis(200));
        while engine.now_ns() < until_ns {
            engine.turn(crowd, until_ns)?;
        }
        Ok(())
    }

    /// Counts what never came, over all receivers.
    pub(crate) fn missing(&self, crowd: &Crowd) -> u64 {
        let rooms = self.plan.rooms;
        let of = |(user, seen): (usize, &Seen)| -> u64 {
            let heard = (0..self.plan.senders).filter(|sender| sender % rooms == user % rooms);
            heard.map(|sender| seen.missing(u32::try_from(sender).unwrap_or(0), self.sent[sender])).sum()
        };
        crowd.seen.iter().enumerate().map(of).sum()
    }
}
