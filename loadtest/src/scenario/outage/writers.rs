//! The writers of an outage: each message at its time, the next one after the acknowledgement of the one before, and
//! what a lost connection left open once more.

use super::Options;
use crate::acks::Acks;
use crate::content::Content;
use crate::stats::Latency;
use std::collections::VecDeque;

/// One writer.
#[derive(Default)]
struct Lane {
    /// When messages were due that are not sent yet.
    due: VecDeque<u64>,
    /// The message that is not acknowledged yet.
    open: Option<Content>,
    /// When the open message is to be sent once more.
    again_ns: Option<u64>,
    /// When it came back the last time: what was due before is late by the outage.
    back_ns: u64,
}

pub(super) struct Writers<'a> {
    options: &'a Options,
    began_ns: u64,
    count: u64,
    lanes: Vec<Lane>,
    /// Messages of each writer that were sent.
    pub(super) sent: Vec<u32>,
    pub(super) acks: Acks,
    /// Messages that were sent once more.
    pub(super) resent: u64,
    /// Of messages whose writer was there from when they were due.
    pub(super) latency: Latency,
    /// Of all others.
    pub(super) late: Latency,
}

impl<'a> Writers<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let count = options.writers;
        Self {
            options,
            began_ns: 0,
            count: 0,
            lanes: (0..count).map(|_| Lane::default()).collect(),
            sent: vec![0; count],
            acks: Acks::new(count),
            resent: 0,
            latency: Latency::new(),
            late: Latency::new(),
        }
    }

    /// The first message is due now.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
    }

    /// Gives the messages that are due by now to the writers in turn.
    pub(super) fn fall_due(&mut self, now_ns: u64) {
        loop {
            let due_ns = self.began_ns + (self.count as f64 * 1e9 / self.options.rate) as u64;
            if due_ns > now_ns {
                return;
            }
            let writer = usize::try_from(self.count).unwrap_or(0) % self.lanes.len();
            self.lanes[writer].due.push_back(due_ns);
            self.count += 1;
        }
    }

    /// Returns what a writer who is there sends now, if anything.
    pub(super) fn next(&mut self, writer: usize, room: &str, now_ns: u64) -> Option<String> {
        let (lane, payload) = (&mut self.lanes[writer], self.options.common.payload);
        if let Some(open) = lane.open {
            lane.again_ns.take_if(|again_ns| *again_ns <= now_ns)?;
            self.resent += 1;
            // Whatever comes of it, it was not acknowledged at the first attempt.
            lane.back_ns = now_ns;
            return Some(Acks::resend(open, room, payload));
        }
        let content = self.acks.content(writer, self.sent[writer], lane.due.pop_front()?);
        lane.open = Some(content);
        self.sent[writer] += 1;
        Some(self.acks.send(content, room, payload))
    }

    /// Takes an acknowledgement that came to a writer.
    pub(super) fn acknowledged(&mut self, writer: usize, json: &[u8], now_ns: u64) {
        let Some(due_ns) = self.acks.take(writer, json) else { return };
        let lane = &mut self.lanes[writer];
        (lane.open, lane.again_ns) = (None, None);
        let latency = if due_ns >= lane.back_ns { &mut self.latency } else { &mut self.late };
        latency.record(now_ns.saturating_sub(due_ns));
    }

    /// What is open is sent once more at this time, by the one who is there then.
    pub(super) fn again(&mut self, writer: usize, at_ns: u64) {
        let lane = &mut self.lanes[writer];
        lane.again_ns = lane.open.map(|_| at_ns);
    }

    /// A writer is there again.
    pub(super) fn back(&mut self, writer: usize, now_ns: u64) {
        self.lanes[writer].back_ns = now_ns;
        self.again(writer, now_ns);
    }

    /// Returns how many messages were due and are not acknowledged.
    pub(super) fn unfinished(&self) -> u64 {
        self.count - self.acks.acked
    }
}
