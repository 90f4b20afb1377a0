//! What time does to connections: one sweep a second over all of them, instead of a timer for each.

use super::Reactor;
use crate::connection::{Connection, Life};
use crate::outbox::Urgent;
use crate::seats::Seat;
use crate::session::Input;
use crate::websocket::encoder;
use protocol::codes::CloseCode;
use protocol::limits::HEARTBEAT_MS;
use std::rc::Rc;
use std::time::Duration;

/// Between two sweeps. Limits counted in seconds are kept to about this.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections looked at before others get their turn. Chosen: a tenth of a millisecond.
const SLICE: usize = 256;

impl Reactor {
    pub(crate) async fn sweep(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for some in self.all().chunks(SLICE) {
                let now_ms = runtime::clock::uptime_ms();
                some.iter().for_each(|connection| self.sweep_one(connection, now_ms));
                // Whoever has something to say does not wait for the whole sweep.
                tokio::task::yield_now().await;
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().values().cloned().collect()
    }

    fn sweep_one(self: &Rc<Self>, connection: &Rc<Connection>, now_ms: u64) {
        match connection.life.get() {
            Life::Open => {}
            Life::Closing { until_ms } | Life::Leaving { until_ms } if now_ms >= until_ms => {
                return self.end(connection);
            }
            Life::Closing { .. } | Life::Leaving { .. } | Life::Gone => return,
        }
        connection.pings.set(0);
        if connection.seat.get().is_some_and(Seat::is_lost) {
            return self.close(connection, CloseCode::LimitsExceeded);
        }
        let overdue = connection.decoder.borrow().overdue(self.message_limits(), now_ms);
        if let Some(violation) = overdue {
            return self.violated(connection, &violation);
        }
        if now_ms >= connection.heard_ms.get() + 2 * HEARTBEAT_MS {
            return self.close(connection, CloseCode::NoHeartbeat);
        }
        if now_ms >= connection.ping_ms.get() {
            connection.ping_ms.set(now_ms + self.ping_interval_ms());
            connection.outbox.borrow_mut().push_urgent(Urgent::Ping, encoder::ping());
        }
        if !self.common.config.echo {
            self.drive(connection, Input::Tick);
        }
    }

    /// The protocol page's 25 s, jittered by 2 s so that a fleet's pings do not march in step.
    pub(super) fn ping_interval_ms(&self) -> u64 {
        let [low, high, ..] = self.entropy.borrow_mut().ten();
        HEARTBEAT_MS - 2_000 + u64::from(u16::from_le_bytes([low, high])) % 4_001
    }
}
