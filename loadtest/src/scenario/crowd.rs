//! People in rooms who are sent messages at a steady rate, whatever the server does, and what they saw.

use super::{Counted, PROGRESS, Presence, is, nanos};
use crate::acks::Acks;
use crate::content::{self, Content};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::{Common, Gateways};
use crate::report::{Report, say};
use crate::stats::Latency;
use crate::verify::{Faults, Seen};
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
    plan: Plan,
    common: Common,
    gateways: Gateways,
    acks: Acks,
    /// Messages due before this are warm-up.
    pub(crate) measured_from_ns: u64,
    pub(crate) delivered: u64,
    /// Deliveries of messages that were sent at another gateway.
    delivered_across: u64,
    pub(crate) latency: Latency,
    pub(crate) ack_latency: Latency,
    /// The longest that a delivery or an acknowledgement took, warm-up included.
    slowest_ns: u64,
    pub(crate) faults: Faults,
}

impl Load for Crowd {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, _: &mut Outgoing) {
        let json = match happened {
            Happened::Frame(json) => *json,
            Happened::Gone(code) => return self.presence.gone.push((socket, *code)),
        };
        if is(json, "chat_message") {
            self.on_message(socket, json, now_ns);
        } else if is(json, "ack") {
            let Some(due_ns) = self.acks.take(socket, json) else { return };
            let took_ns = now_ns.saturating_sub(due_ns);
            self.slowest_ns = self.slowest_ns.max(took_ns);
            if due_ns >= self.measured_from_ns {
                self.ack_latency.record(took_ns);
            }
        } else if is(json, "connection_established") {
            let room = self.common.room(self.plan.scenario, socket % self.plan.rooms);
            self.presence.welcome(json, &room);
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
    pub(crate) fn new(plan: &Plan, common: &Common) -> Self {
        Self {
            presence: Presence::default(),
            seen: (0..plan.users).map(|_| Seen::default()).collect(),
            plan: *plan,
            common: common.clone(),
            gateways: common.gateways(plan.rooms),
            acks: Acks::new(plan.senders),
            measured_from_ns: u64::MAX,
            delivered: 0,
            delivered_across: 0,
            latency: Latency::new(),
            ack_latency: Latency::new(),
            slowest_ns: 0,
            faults: Faults::default(),
        }
    }

    fn on_message(&mut self, socket: usize, json: &[u8], now_ns: u64) {
        let content = Content::find(json).filter(|content| content.run == self.acks.run);
        self.seen[socket].take(content, content::place(json).unwrap_or_default(), &mut self.faults);
        let Some(content) = content else { return };
        self.delivered += 1;
        let across = self.gateways.index(socket) != self.gateways.index(content.sender as usize);
        self.delivered_across += u64::from(across);
        let took_ns = now_ns.saturating_sub(content.due_ns);
        self.slowest_ns = self.slowest_ns.max(took_ns);
        if content.due_ns >= self.measured_from_ns {
            self.latency.record(took_ns);
        }
    }

    /// Reports and demands what every run must show, and that nothing took longer than it may.
    ///
    /// # Errors
    /// Never in practice: what is reported is plain.
    pub(crate) fn judge(&self, report: &mut Report, common: &Common) -> anyhow::Result<()> {
        report.set("gateways", self.gateways.count());
        report.set("delivered", self.delivered);
        report.set("delivered_across_gateways", self.delivered_across);
        super::judge(report, &self.presence, self.faults, &self.acks)?;
        let slowest_ms = self.slowest_ns as f64 / 1e6;
        report.figure("slowest_ms", slowest_ms);
        report.at_most("slowest_ms", slowest_ms, Some(common.max_latency_ms));
        Ok(())
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

    /// Sends so many seconds' messages, each at its time, and tells how it goes.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn send_for(
        &mut self,
        engine: &mut Engine,
        crowd: &mut Crowd,
        seconds: u64,
    ) -> anyhow::Result<()> {
        let end = self.count + (self.plan.rate * seconds as f64).round() as u64;
        let mut told_ns = engine.now_ns();
        while self.count < end {
            self.send_one(engine, crowd)?;
            if engine.now_ns() - told_ns > nanos(PROGRESS) {
                told_ns = engine.now_ns();
                let (sent, acked, delivered) = (self.count, crowd.acks.acked, crowd.delivered);
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
        let content = crowd.acks.content(sender, number, due_ns);
        let room = self.common.room(scenario, sender % rooms);
        let message = crowd.acks.send(content, &room, self.common.payload);
        engine.send(sender, &message);
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
        let until_ns = engine.now_ns() + nanos(Duration::from_secs(self.common.drain));
        let waits = |crowd: &Crowd| crowd.delivered < expected || crowd.acks.lost() > 0;
        while waits(crowd) && engine.now_ns() < until_ns {
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
