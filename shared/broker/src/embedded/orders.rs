//! What the writer's thread is asked to do, and how much of it may wait.

use super::purge::Old;
use crate::append::{Append, AppendError, Appended};
use crate::consume::Group;
use crate::purge::PurgeError;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Appends that wait for the writer; beyond it callers wait for a place, up to `PLACE_WAIT`.
const PLACES: usize = 8_192;

/// How long a caller waits for a place before it hears `Unavailable`. Chosen: four commits of a bad disk.
const PLACE_WAIT: Duration = Duration::from_secs(2);

/// Orders that wait. Each append has a place, and of the other three orders one each waits at most: it is never full.
const ORDERS: usize = PLACES + 3;

/// The thread's front; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    orders: Sender<Order>,
    places: Arc<Semaphore>,
    /// One place.
    purges: Arc<Semaphore>,
    floors: Arc<Floors>,
    stopping: Arc<AtomicBool>,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

/// The thread's end of it.
pub(super) struct Orders {
    pub(super) queue: Receiver<Order>,
    pub(super) floors: Arc<Floors>,
    /// Dropped last of all.
    _end: watch::Sender<()>,
}

pub(super) enum Order {
    Append(Box<Waiting>),
    /// Groups have acknowledged something.
    Floors,
    Purge(Purging),
    /// Finish what came before, then end.
    Stop,
}

/// Entries to be deleted, whose caller waits.
pub(super) struct Purging {
    pub(super) old: Vec<Old>,
    pub(super) answer: oneshot::Sender<Result<(), PurgeError>>,
    _place: OwnedSemaphorePermit,
}

/// An append whose caller waits.
pub(super) struct Waiting {
    pub(super) append: Append,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
    _place: OwnedSemaphorePermit,
}

#[cfg(test)]
impl Waiting {
    /// An append and where its answer arrives.
    pub(super) async fn of(append: Append) -> (Self, oneshot::Receiver<Result<Appended, AppendError>>) {
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("a place");
        let (answer, answered) = oneshot::channel();
        (Self { append, answer, _place: place }, answered)
    }
}

/// Up to where groups have acknowledged everything, as far as that is not written yet. A group has one place: its
/// newest floor replaces the one before.
#[derive(Default)]
pub(super) struct Floors {
    newest: Mutex<HashMap<Group, i64>>,
    /// The order to look here waits in the queue.
    told: AtomicBool,
}

impl Floors {
    fn lock(&self) -> MutexGuard<'_, HashMap<Group, i64>> {
        // A map of numbers cannot be left half changed by a panic elsewhere.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a floor down; returns whether the writer has to be told.
    fn put(&self, group: Group, floor: i64) -> bool {
        let mut newest = self.lock();
        let known = newest.entry(group).or_insert(floor);
        *known = floor.max(*known);
        drop(newest);
        !self.told.swap(true, Ordering::SeqCst)
    }

    /// The order was taken: what is put down from here on needs another one.
    pub(super) fn heard(&self) {
        self.told.store(false, Ordering::SeqCst);
    }

    pub(super) fn take(&self) -> HashMap<Group, i64> {
        std::mem::take(&mut *self.lock())
    }

    /// Puts down again what could not be written.
    pub(super) fn put_back(&self, floors: HashMap<Group, i64>) {
        let mut newest = self.lock();
        for (group, floor) in floors {
            let known = newest.entry(group).or_insert(floor);
            *known = floor.max(*known);
        }
    }
}

/// Makes both ends.
pub(super) fn orders() -> (Writer, Orders) {
    let (orders, queue) = crossbeam_channel::bounded(ORDERS);
    let (end, ended) = watch::channel(());
    let (floors, places) = (Arc::<Floors>::default(), Arc::new(Semaphore::new(PLACES)));
    let purges = Arc::new(Semaphore::new(1));
    let writer = Writer { orders, places, purges, floors: floors.clone(), stopping: Arc::default(), ended };
    (writer, Orders { queue, floors, _end: end })
}

impl Writer {
    pub(super) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let place = tokio::time::timeout(PLACE_WAIT, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(AppendError::Unavailable) };
        if self.stopping.load(Ordering::SeqCst) {
            return Err(AppendError::Closed);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Box::new(Waiting { append, answer, _place: place });
        self.orders.try_send(Order::Append(waiting)).map_err(|error| match error {
            TrySendError::Full(_) => AppendError::Unavailable,
            TrySendError::Disconnected(_) => AppendError::Closed,
        })?;
        // The writer answers each order that it took, and drops those behind the stop unread. A writer that
        // broke instead may have committed what it did not answer.
        let unanswered =
            || if self.stopping.load(Ordering::SeqCst) { AppendError::Closed } else { AppendError::Unknown };
        answered.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Has entries deleted with one of the next commits.
    pub(super) async fn purge(&self, old: Vec<Old>) -> Result<(), PurgeError> {
        let place = self.purges.clone().acquire_owned().await.map_err(|_| PurgeError::Closed)?;
        if self.stopping.load(Ordering::SeqCst) {
            return Err(PurgeError::Closed);
        }
        let (answer, answered) = oneshot::channel();
        let purging = Purging { old, answer, _place: place };
        self.orders.try_send(Order::Purge(purging)).map_err(|_| PurgeError::Closed)?;
        answered.await.unwrap_or(Err(PurgeError::Closed))
    }

    pub(super) fn floor(&self, group: Group, floor: i64) {
        if self.floors.put(group, floor) {
            // After the stop the entries simply come again.
            let _stopped = self.orders.try_send(Order::Floors);
        }
    }

    /// Waits until everything that was ordered is done and the thread has ended.
    pub(super) async fn stop(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            // A thread that is gone already has nothing left to finish.
            let _gone = self.orders.try_send(Order::Stop);
        }
        let mut ended = self.ended.clone();
        // Nothing is ever sent: only the end is awaited.
        while ended.changed().await.is_ok() {}
    }
}
