//! Groups that share the log: who has which entry, and what was acknowledged.

use super::orders::Writer;
use super::reader::{Readers, Row};
use super::schema::{self, State};
use crate::consume::{ConsumeError, Delivery, DeliveryId, Group};
use crate::log::ReadError;
use protocol::ids::Epoch;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{RangeBounds, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

pub(super) struct Groups {
    epoch: Epoch,
    known: Mutex<HashMap<String, Arc<Shared>>>,
    committed: watch::Receiver<i64>,
    readers: Readers,
    ack_wait: Duration,
}

/// What the members of one group share.
struct Shared {
    sharing: Mutex<Sharing>,
    /// Told when somebody gave entries back.
    released: Notify,
}

/// One group's state. Everything up to `floor` is acknowledged; above it, up to `taken`, an entry is either in
/// `out` or acknowledged.
struct Sharing {
    floor: i64,
    taken: i64,
    out: BTreeMap<i64, Out>,
    members: u64,
}

/// An entry that some member has, or that waits to be delivered again (`member` is `None`).
struct Out {
    member: Option<u64>,
    until: Instant,
    attempts: u32,
}

/// One member of a group.
pub struct EmbeddedConsumer {
    group: Group,
    member: u64,
    shared: Arc<Shared>,
    epoch: Epoch,
    committed: watch::Receiver<i64>,
    stopped: watch::Receiver<bool>,
    readers: Readers,
    writer: Writer,
    ack_wait: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change below is a handful of map operations that do not panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Groups {
    pub(super) fn new(
        connection: &Connection,
        state: &State,
        committed: watch::Receiver<i64>,
        readers: Readers,
        ack_wait: Duration,
    ) -> Result<Self, rusqlite::Error> {
        let mut known = HashMap::new();
        let mut names = connection.prepare("SELECT name FROM consumers")?;
        for name in names.query_map([], |row| row.get::<_, String>(0))? {
            let name = name?;
            let floor = schema::floor(connection, &name)?.unwrap_or(0);
            known.insert(name, Arc::new(Shared::after(floor)));
        }
        Ok(Self { epoch: state.epoch.clone(), known: Mutex::new(known), committed, readers, ack_wait })
    }

    pub(super) fn join(
        &self,
        group: Group,
        writer: Writer,
        stopped: watch::Receiver<bool>,
    ) -> EmbeddedConsumer {
        let mut known = lock(&self.known);
        let shared = known.entry(group.to_string()).or_insert_with(|| Arc::new(Shared::after(0))).clone();
        let member = {
            let mut sharing = lock(&shared.sharing);
            sharing.members += 1;
            sharing.members
        };
        EmbeddedConsumer {
            group,
            member,
            shared,
            epoch: self.epoch.clone(),
            committed: self.committed.clone(),
            stopped,
            readers: self.readers.clone(),
            writer,
            ack_wait: self.ack_wait,
        }
    }
}

impl Groups {
    /// Returns the id up to which a group has acknowledged everything.
    pub(super) fn floor(&self, group: Group) -> i64 {
        lock(&self.known).get(&group.to_string()).map_or(0, |shared| lock(&shared.sharing).floor)
    }

    /// Lets a group begin at the first entry again.
    pub(super) fn begin_again(&self, group: Group) {
        lock(&self.known).insert(group.to_string(), Arc::new(Shared::after(0)));
    }
}

impl Shared {
    fn after(floor: i64) -> Self {
        let sharing = Sharing { floor, taken: floor, out: BTreeMap::new(), members: 0 };
        Self { sharing: Mutex::new(sharing), released: Notify::new() }
    }

    /// Lets others have what a member did not acknowledge of these ids.
    fn release(&self, member: u64, ids: impl RangeBounds<i64>) {
        lock(&self.sharing).release(member, ids);
        self.released.notify_waiters();
    }
}

impl Sharing {
    /// Takes an unbroken range of ids for a member: what must be delivered again first, else what nobody had
    /// yet.
    fn take(
        &mut self,
        member: u64,
        max: usize,
        committed: i64,
        until: Instant,
    ) -> Option<RangeInclusive<i64>> {
        let now = Instant::now();
        let again = |out: &Out| out.member.is_none() || out.until <= now;
        let mut due = self.out.iter_mut().filter(|(_, out)| again(out)).peekable();
        if let Some(first) = due.peek().map(|(id, _)| **id) {
            let mut last = first;
            // Only neighbours: what lies between others is acknowledged or still with its member.
            for (id, out) in
                due.zip(first..).take(max).take_while(|((id, _), next)| *id == next).map(|(due, _)| due)
            {
                *out = Out { member: Some(member), until, attempts: out.attempts + 1 };
                last = *id;
            }
            return Some(first..=last);
        }
        let first = self.taken + 1;
        let last = committed.min(self.taken.saturating_add(i64::try_from(max).unwrap_or(i64::MAX)));
        if first > last {
            return None;
        }
        self.taken = last;
        self.out.extend((first..=last).map(|id| (id, Out { member: Some(member), until, attempts: 1 })));
        Some(first..=last)
    }

    /// Forgets acknowledged entries; returns the floor when it rose.
    fn ack(&mut self, ids: &[DeliveryId]) -> Option<i64> {
        for DeliveryId(id) in ids {
            self.out.remove(id);
        }
        let floor = self.out.first_key_value().map_or(self.taken, |(first, _)| first - 1);
        (floor > self.floor).then(|| {
            self.floor = floor;
            floor
        })
    }

    /// Passes over what nobody had yet: it was purged.
    fn pass_over(&mut self, upto: i64) {
        self.taken = upto.max(self.taken);
    }

    fn release(&mut self, member: u64, ids: impl RangeBounds<i64>) {
        let has = self.out.range_mut(ids).map(|(_, out)| out).filter(|out| out.member == Some(member));
        has.for_each(|out| out.member = None);
    }

    /// Lets a member have what it has for longer.
    fn keep(&mut self, member: u64, until: Instant) {
        let has = self.out.values_mut().filter(|out| out.member == Some(member));
        has.for_each(|out| out.until = until);
    }

    /// Returns when the first of the entries that are out has been kept too long.
    fn due(&self) -> Option<Instant> {
        self.out.values().map(|out| out.until).min()
    }
}

impl EmbeddedConsumer {
    pub(crate) async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ConsumeError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            if *self.stopped.borrow() {
                return Err(ConsumeError::Closed);
            }
            // Whatever happens from here on wakes the wait below.
            let released = self.shared.released.notified();
            let committed = *self.committed.borrow_and_update();
            let until = Instant::now() + self.ack_wait;
            let (range, due) = {
                let mut sharing = lock(&self.shared.sharing);
                (sharing.take(self.member, max.max(1), committed, until), sharing.due())
            };
            if let Some(range) = range {
                match self.read(range).await? {
                    // All of it was purged; what lies behind it was not.
                    found if found.is_empty() => continue,
                    found => return Ok(found),
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            let wake = due.map_or(deadline, |due| deadline.min(due.into()));
            // All four are cancel safe: nothing is taken while waiting.
            tokio::select! {
                changed = self.committed.changed() => if changed.is_err() { return Err(ConsumeError::Closed) },
                () = released => {}
                () = tokio::time::sleep_until(wake) => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(ConsumeError::Closed),
            }
        }
    }

    async fn read(&self, range: RangeInclusive<i64>) -> Result<Vec<Delivery>, ConsumeError> {
        let rows = match self.rows(&range).await {
            Ok(rows) => rows,
            Err(error) => {
                // Earlier batches are still with this member.
                self.shared.release(self.member, range);
                return Err(match error {
                    ReadError::Closed => ConsumeError::Closed,
                    other => ConsumeError::Failed(other.to_string()),
                });
            }
        };
        let sharing = lock(&self.shared.sharing);
        let mine = |row: Row| {
            let out = sharing.out.get(&row.id).filter(|out| out.member == Some(self.member))?;
            let (id, epoch) = (DeliveryId(row.id), self.epoch.clone());
            Some(Delivery { id, epoch, entry: row.entry, attempts: out.attempts })
        };
        Ok(rows.into_iter().filter_map(mine).collect())
    }

    /// Reads what is in a range; what was purged of it counts as acknowledged.
    async fn rows(&self, range: &RangeInclusive<i64>) -> Result<Vec<Row>, ReadError> {
        let committed = *self.committed.borrow();
        let rows = self.readers.ids(*range.start(), *range.end()).await?;
        if i64::try_from(rows.len()).is_ok_and(|count| count > range.end() - range.start()) {
            return Ok(rows);
        }
        let there: HashSet<i64> = rows.iter().map(|row| row.id).collect();
        let purged: Vec<_> = range.clone().filter(|id| !there.contains(id)).map(DeliveryId).collect();
        if rows.is_empty() {
            // A group that comes late need not look at all that was purged.
            let next = self.readers.next(*range.end()).await?;
            lock(&self.shared.sharing).pass_over(next.map_or(committed, |next| next - 1));
        }
        self.ack(&purged);
        Ok(rows)
    }

    pub(crate) fn keep(&self) {
        lock(&self.shared.sharing).keep(self.member, Instant::now() + self.ack_wait);
    }

    pub(crate) fn ack(&self, ids: &[DeliveryId]) {
        if let Some(floor) = lock(&self.shared.sharing).ack(ids) {
            self.writer.floor(self.group, floor);
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.shared.release(self.member, ..);
    }
}
