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
use tokio::time::Instant;

/// Between two sweeps. Limits counted in seconds are kept to about this.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections looked at before others get their turn. Chosen: a tenth of a millisecond.
const SLICE: usize = 256;

/// How long acknowledgements and goodbyes may take beyond the drain's window. Chosen: above `CLOSE_MS`, below what
/// a process waits for its reactors.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Between two looks at how many connections a drain has left.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

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

    fn all(&self) -> Vec<Rc<Connection>> {
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

    /// Tells every client when to come back, spread over `window`, and closes it when that time has come: a fleet
    /// beside us gets its share of clients at each moment, and nobody waits outside. Who then still waits for an
    /// acknowledgement gets a moment more.
    pub(crate) async fn drain(self: &Rc<Self>, window: Duration) {
        self.draining.set(true);
        let began = Instant::now();
        let connections = self.all();
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        let share = |n: usize| window * u32::try_from(n).unwrap_or(u32::MAX) / count;
        for (n, connection) in connections.iter().enumerate() {
            let after_ms = u64::try_from(share(n).as_millis()).unwrap_or(u64::MAX);
            self.drive(connection, Input::Drain { after_ms });
        }
        for (n, connection) in connections.iter().enumerate() {
            if began + share(n) > Instant::now() {
                tokio::time::sleep_until(began + share(n)).await;
            }
            self.drive(connection, Input::Depart);
        }
        drop(connections);
        while !self.connections.borrow().is_empty() && began.elapsed() < window + DRAIN_GRACE {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        for connection in self.all() {
            self.close(&connection, CloseCode::Restart);
        }
    }
}
