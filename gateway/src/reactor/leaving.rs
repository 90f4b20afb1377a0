//! Sending clients away at a pace: all of them when the process stops, some of them when others have room.

use super::Reactor;
use crate::connection::Connection;
use crate::session::{Farewell, Input};
use protocol::codes::CloseCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

/// How long acknowledgements and goodbyes may take beyond the drain's window. Chosen: above `CLOSE_MS`, below what
/// a process waits for its reactors.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Between two looks at how many connections a drain has left.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Sockets that are written to before others get their turn. Chosen: some tenths of a millisecond.
const SLICE: usize = 32;

/// A wish to have fewer clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shed {
    /// How many of them, 1 to 100.
    pub(crate) percent: u32,
    /// Over how long.
    pub(crate) window: Duration,
}

/// Clients are being sent elsewhere already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("clients are being sent elsewhere already")]
pub struct ShedRuns;

/// The wish to have fewer clients, on its way to every reactor: the next one waits until all have done it.
pub(crate) struct Sheds {
    wish: watch::Sender<Option<Shed>>,
    reactors: usize,
    /// Reactors that have not done it yet.
    busy: AtomicUsize,
}

impl Sheds {
    pub(crate) fn new(reactors: usize) -> Self {
        Self { wish: watch::Sender::new(None), reactors, busy: AtomicUsize::new(0) }
    }

    /// Tells every reactor.
    ///
    /// # Errors
    /// [`ShedRuns`] while the wish before is not done.
    pub(crate) fn ask(&self, shed: Shed) -> Result<(), ShedRuns> {
        let free = self.busy.compare_exchange(0, self.reactors, Ordering::AcqRel, Ordering::Acquire);
        free.map_err(|_| ShedRuns)?;
        self.wish.send_replace(Some(shed));
        Ok(())
    }

    /// One reactor has done it.
    fn done(&self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }
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
        let mut wishes = self.common.sheds.wish.subscribe();
        // What was asked for before this reactor ran is to be done, too.
        wishes.mark_changed();
        while wishes.changed().await.is_ok() {
            let Some(Shed { percent, window }) = *wishes.borrow_and_update() else { continue };
            let all = self.all();
            let count = (all.len() * percent as usize).div_ceil(100);
            tracing::info!(reactor = self.id, count, of = all.len(), "clients are sent elsewhere");
            // Whichever: a map's order says nothing about them.
            let some = all.into_iter().take(count).collect();
            self.send_away(some, window, Farewell::Rebalance).await;
            self.common.sheds.done();
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
            if n % SLICE == 0 {
                yield_now().await;
            }
            let after_ms = u64::try_from(share(n).as_millis()).unwrap_or(u64::MAX);
            self.drive(connection, Input::Drain { after_ms, why });
        }
        for (n, connection) in connections.iter().enumerate() {
            if began + share(n) > Instant::now() {
                sleep_until(began + share(n)).await;
            } else if n % SLICE == 0 {
                yield_now().await;
            }
            self.drive(connection, Input::Depart(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Life;
    use crate::reactor::world::reactor;
    use std::cell::Cell;
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    #[tokio::test]
    async fn whoever_else_has_something_to_do_gets_a_turn_between_goodbyes() {
        const SLICES: usize = 8;
        let data = tempfile::tempdir().unwrap();
        let test = async {
            let (reactor, _clients) = reactor(&data, SLICES * SLICE).await;
            let turns = Rc::new(Cell::new(0));
            let counted = turns.clone();
            reactor.common.shutdown.spawn_local("others", async move {
                loop {
                    counted.set(counted.get() + 1);
                    yield_now().await;
                }
            });
            yield_now().await;
            let before = turns.get();
            // All at once: no pause of the window's gives them a turn.
            reactor.send_away(reactor.all(), Duration::ZERO, Farewell::Rebalance).await;
            let turns = turns.get() - before;
            assert!(
                turns >= 2 * SLICES,
                "{turns} turns: one for each slice that is told, and that is closed"
            );
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_shed_is_done_before_another_is_taken() {
        let (data, wish) =
            (tempfile::tempdir().unwrap(), |percent, ms| Shed { percent, window: Duration::from_millis(ms) });
        let test = async {
            let (reactor, _clients) = reactor(&data, 4).await;
            let common = reactor.common.clone();
            common.sheds.ask(wish(50, 200)).unwrap();
            assert_eq!(common.sheds.ask(wish(100, 0)), Err(ShedRuns), "nobody has begun");
            common.shutdown.spawn_local("shed", reactor.clone().shed());
            let began = Instant::now();
            while common.sheds.ask(wish(100, 0)).is_err() {
                sleep(Duration::from_millis(1)).await;
            }
            // The last of two has half of the window.
            assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
            let open = || reactor.all().iter().filter(|one| one.life.get() == Life::Open).count();
            let all_gone = async {
                while open() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(10), all_gone).await.expect("the second one is done, too");
        };
        LocalSet::new().run_until(test).await;
    }
}
