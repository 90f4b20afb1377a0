//! Sending clients away at a pace: all of them when the process stops, some of them when others have room.

use super::Reactor;
use crate::connection::Connection;
use crate::session::{Farewell, Input};
use protocol::codes::CloseCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How long acknowledgements and goodbyes may take beyond the drain's window. Chosen: above `CLOSE_MS`, below what
/// a process waits for its reactors.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Between two looks at how many connections a drain has left.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// A wish to have fewer clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shed {
    /// How many of them, 1 to 100.
    pub(crate) percent: u32,
    /// Over how long.
    pub(crate) window: Duration,
}

impl Reactor {
    /// Tells every client when to come back and closes it when that time has come. Who then still waits for an
    /// acknowledgement gets a moment more.
    pub(crate) async fn drain(self: &Rc<Self>, window: Duration) {
        self.draining.set(true);
        let began = Instant::now();
        self.send_away(self.all(), window, Farewell::Restart).await;
        while !self.connections.borrow().is_empty() && began.elapsed() < window + DRAIN_GRACE {
            sleep(DRAIN_LOOK).await;
        }
        for connection in self.all() {
            self.close(&connection, CloseCode::Restart);
        }
    }

    /// Sends some clients elsewhere whenever somebody asks for it; never ends while the gateway serves.
    pub(crate) async fn shed(self: Rc<Self>) {
        let mut sheds = self.common.sheds.clone();
        while sheds.changed().await.is_ok() {
            let Some(Shed { percent, window }) = *sheds.borrow_and_update() else { continue };
            let all = self.all();
            let count = (all.len() * percent as usize).div_ceil(100);
            tracing::info!(reactor = self.id, count, of = all.len(), "clients are sent elsewhere");
            // Whichever: a map's order says nothing about them.
            let some = all.into_iter().take(count).collect();
            self.send_away(some, window, Farewell::Rebalance).await;
        }
        // Nobody can ask any more.
        std::future::pending().await
    }

    /// Spreads goodbyes over `window`: a fleet beside us gets its share of clients at each moment, and nobody waits
    /// outside.
    async fn send_away(self: &Rc<Self>, connections: Vec<Rc<Connection>>, window: Duration, why: Farewell) {
        let began = Instant::now();
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        let share = |n: usize| window * u32::try_from(n).unwrap_or(u32::MAX) / count;
        for (n, connection) in connections.iter().enumerate() {
            let after_ms = u64::try_from(share(n).as_millis()).unwrap_or(u64::MAX);
            self.drive(connection, Input::Drain { after_ms, why });
        }
        for (n, connection) in connections.iter().enumerate() {
            if began + share(n) > Instant::now() {
                sleep_until(began + share(n)).await;
            }
            self.drive(connection, Input::Depart(why));
        }
    }
}
