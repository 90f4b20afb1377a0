//! Staged shutdown, and every task tracked by its name.
//!
//! Stages come in the order of the architecture page: not ready, then the sockets, then the workers, then the
//! broker. Each component awaits its stage; whoever runs the process moves from stage to stage when what belongs
//! to the one before has ended.

use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far a process is on its way out; stages only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything works.
    Running,
    /// Running => NotReady: readiness is withdrawn, load balancers look elsewhere, service goes on.
    NotReady,
    /// NotReady => Draining: no new connections, clients are told to come back.
    Draining,
    /// Draining => Finishing: no socket is left; workers finish what they hold.
    Finishing,
    /// Finishing => Closing: nobody asks any more; the broker and the stores close.
    Closing,
}

/// The shutdown of one process; cheap to clone.
#[derive(Clone)]
pub struct Shutdown(Arc<Shared>);

struct Shared {
    stage: watch::Sender<Stage>,
    asked: watch::Sender<bool>,
    failed: AtomicBool,
    tasks: Mutex<BTreeMap<u64, String>>,
    changed: watch::Sender<u64>,
}

/// Keeps a name among the tracked tasks until it is dropped.
pub struct Tracked {
    shared: Arc<Shared>,
    id: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Makes the shutdown of a process that runs.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            stage: watch::Sender::new(Stage::Running),
            asked: watch::Sender::new(false),
            failed: AtomicBool::new(false),
            tasks: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }

    /// Asks the process to stop; whoever runs it moves through the stages.
    pub fn trigger(&self) {
        self.0.asked.send_replace(true);
    }

    /// Asks the process to stop because something broke: it will exit with a failure.
    pub fn fail(&self) {
        self.0.failed.store(true, Ordering::SeqCst);
        self.trigger();
    }

    /// Whether something broke.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::SeqCst)
    }

    /// Waits until the process was asked to stop. Cancel safe.
    pub async fn triggered(&self) {
        let mut asked = self.0.asked.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _asked = asked.wait_for(|asked| *asked).await;
    }

    /// Moves on to a stage; going back is ignored.
    pub fn enter(&self, stage: Stage) {
        let moved = self.0.stage.send_if_modified(|current| {
            let further = stage > *current;
            if further {
                *current = stage;
            }
            further
        });
        if moved {
            tracing::info!(?stage, "stopping");
        }
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        *self.0.stage.borrow()
    }

    /// Waits until a stage is reached or passed. Cancel safe.
    pub async fn reached(&self, stage: Stage) {
        let mut stages = self.0.stage.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _stage = stages.wait_for(|current| *current >= stage).await;
    }

    /// Names something that runs, until the guard is dropped.
    pub fn track(&self, name: &str) -> Tracked {
        let mut id = 0;
        self.0.changed.send_modify(|count| {
            *count += 1;
            id = *count;
        });
        self.tasks().insert(id, name.to_owned());
        Tracked { shared: self.0.clone(), id }
    }

    /// Spawns a tracked task on the current runtime. A task that panics stops the process.
    ///
    /// # Panics
    /// Outside a runtime.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        let (tracked, shutdown, name) = (self.track(name), self.clone(), name.to_owned());
        let handle = tokio::spawn(task);
        tokio::spawn(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                tracing::error!(task = name, "a task panicked; the process stops");
                shutdown.fail();
            }
            drop(tracked);
        });
    }

    /// Spawns a task on this thread's `LocalSet`: one of many that belong to something tracked. A task that panics
    /// stops the process, because nobody knows what it left half done.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns locally")]
    pub fn spawn_local(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        let shutdown = self.clone();
        // Not an async block: that would keep room for the task twice, and there is one for each socket.
        tokio::task::spawn_local(AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            if ended.is_err() {
                tracing::error!(task = name, "a task panicked; the process stops");
                shutdown.fail();
            }
        }));
    }

    /// Spawns a tracked thread. One that panics or returns an error stops the process.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn spawn_thread(
        &self,
        name: &str,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (tracked, shutdown) = (self.track(name), self.clone());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let name = thread::current().name().unwrap_or_default().to_owned();
            match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(thread = name, %error, "a thread failed; the process stops");
                    shutdown.fail();
                }
                Err(_panic) => {
                    tracing::error!(thread = name, "a thread panicked; the process stops");
                    shutdown.fail();
                }
            }
            drop(tracked);
        })?;
        Ok(())
    }

    /// Waits until nothing whose name starts with one of `prefixes` runs any more (all, when there are none).
    ///
    /// # Errors
    /// The names of what still runs at the deadline.
    pub async fn ended(&self, prefixes: &[&str], deadline: Duration) -> Result<(), Vec<String>> {
        let mut changed = self.0.changed.subscribe();
        let wait = changed.wait_for(|_| self.running(prefixes).is_empty());
        let ended = tokio::time::timeout(deadline, wait).await.is_ok();
        if ended { Ok(()) } else { Err(self.running(prefixes)) }
    }

    fn running(&self, prefixes: &[&str]) -> Vec<String> {
        let matches =
            |name: &&String| prefixes.is_empty() || prefixes.iter().any(|start| name.starts_with(start));
        self.tasks().values().filter(matches).cloned().collect()
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        // A list of names cannot be left half changed by a panic elsewhere.
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the process on SIGTERM or SIGINT; a second signal ends it at once with exit code 130.
    ///
    /// # Errors
    /// The system's, when it takes no handler.
    pub fn on_signals(&self) -> io::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.clone();
        self.spawn_untracked(async move {
            for first in [true, false] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if first {
                    shutdown.trigger();
                }
            }
            std::process::exit(130);
        });
        Ok(())
    }

    /// The signal watcher outlives everything else, so it is not waited for.
    #[expect(clippy::disallowed_methods, reason = "the one task that nobody waits for")]
    fn spawn_untracked(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.remove(&self.id);
        drop(tasks);
        self.shared.changed.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn stages_only_rise_and_wake_whoever_waits() {
        let shutdown = Shutdown::new();
        let waiter = shutdown.clone();
        shutdown.spawn("waiter", async move { waiter.reached(Stage::Draining).await });
        assert_eq!(shutdown.ended(&[], Duration::from_millis(20)).await, Err(vec!["waiter".to_owned()]));
        shutdown.enter(Stage::Finishing);
        shutdown.enter(Stage::NotReady);
        assert_eq!(shutdown.stage(), Stage::Finishing);
        assert_eq!(shutdown.ended(&[], DEADLINE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_stops_the_process_with_failure() {
        let shutdown = Shutdown::new();
        shutdown.spawn("broken", async { panic!("as the test wants") });
        shutdown.triggered().await;
        assert!(shutdown.has_failed());
        let local = Shutdown::new();
        let set = tokio::task::LocalSet::new();
        set.run_until(async { local.spawn_local("broken", async { panic!("as the test wants") }) }).await;
        set.run_until(local.triggered()).await;
        assert!(local.has_failed());
        let threaded = Shutdown::new();
        threaded.spawn_thread("broken", || Err(io::Error::other("as the test wants"))).unwrap();
        threaded.triggered().await;
        assert!(threaded.has_failed());
        assert_eq!(threaded.ended(&[], DEADLINE).await, Ok(()));
    }

    #[tokio::test]
    async fn waiting_can_be_for_some_names_only() {
        let shutdown = Shutdown::new();
        let kept = shutdown.track("worker-1");
        assert_eq!(shutdown.ended(&["reactor-"], DEADLINE).await, Ok(()));
        drop(kept);
        assert_eq!(shutdown.ended(&["worker-"], DEADLINE).await, Ok(()));
    }
}
