//! Several processes on one file, as the workers of one host have it.

use crate::facts::{added, at, channel, id, plain, removed, said, user};
use crate::history::newest;
use crate::world::{LAYOUTS, Sqlite, World};
use protocol::envelope::Role;
use protocol::ids::{Epoch, Position, Seq};
use protocol::subjects::Shard;
use runtime::shutdown::Shutdown;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use store::{Event, PageLimit, Store};

/// Tells a process that it is one of the others, what it does and in which file.
const PEER: &str = "STORE_CONTRACT_PEER";

/// The test whose process becomes one of the others when [`PEER`] is set.
const DOOR: &str = "processes::processes_that_write_the_same_see_the_same";

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// Events of the story that several processes write.
const STORY: Seq = 240;

/// Another process; killed when dropped.
struct Peer(Child);

impl Peer {
    fn start(does: &str, file: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", DOOR, "--nocapture"])
            .env(PEER, format!("{does} {}", file.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Lets it end, if it goes on until then, and waits; all that it asserts must have held.
    fn end(mut self) {
        drop(self.0.stdin.take());
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < DEADLINE, "the other process does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(self.0.try_wait().unwrap().unwrap().success(), "the other process saw something else");
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

/// A store that another process writes and reads all the time, in a channel of its own.
pub(crate) struct Beside {
    world: Sqlite,
    peer: Peer,
}

impl Beside {
    pub(crate) async fn new() -> Self {
        let world = Sqlite::new();
        let peer = Peer::start("noise", &world.file());
        let store = world.open().await;
        let (began, mut heard) = (Instant::now(), None);
        while heard.is_none() {
            assert!(began.elapsed() < DEADLINE, "the other process writes nothing");
            heard = store.head(&channel("noise")).await.unwrap();
        }
        Self { world, peer }
    }

    pub(crate) fn end(self) {
        self.peer.end();
    }
}

impl World for Beside {
    async fn open(&self) -> Store {
        self.world.open().await
    }
}

/// What this process is to do as one of the others.
#[expect(clippy::disallowed_methods, reason = "a process of this test is told by it which one it is")]
fn task() -> Option<(String, PathBuf)> {
    let told = std::env::var(PEER).ok()?;
    let (does, file) = told.split_once(' ').unwrap();
    Some((does.to_owned(), file.into()))
}

fn open(file: &Path) -> Store {
    Store::Sqlite(store::Sqlite::open(file, &Shutdown::new()).unwrap())
}

async fn act(does: &str, file: &Path) {
    let store = open(file);
    match does {
        "noise" => noise(&store).await,
        "backwards" => tell(&store, (1..=STORY).rev().collect()).await,
        // Whoever ran before wrote some of it.
        "forwards" => tell(&store, (1..=STORY).collect()).await,
        name => store.apply(vec![message(name, 1)]).await.unwrap(),
    }
    store.close().await;
}

/// A message whose id is no other's.
fn message(to: &str, seq: Seq) -> Event {
    said(to, seq, |message| message.id = id(&format!("{to}-{seq}")))
}

/// Writes and reads one channel until whoever started this process lets it end.
async fn noise(store: &Store) {
    let ended = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
    let (here, epoch) = (channel("noise"), Epoch::new(500, 9));
    let mut seq = 0;
    while !ended.is_finished() {
        seq += 1;
        let position = Position { epoch: epoch.clone(), seq };
        let event = Event { position: position.clone(), ..message("noise", seq) };
        store.apply(vec![event]).await.unwrap();
        assert_eq!(store.head(&here).await.unwrap(), Some(position.clone()), "a process reads what it wrote");
        assert_eq!(
            newest(store, "noise", 3).await.0,
            (seq.saturating_sub(2).max(1)..=seq).collect::<Vec<_>>()
        );
        if seq % 8 == 0 {
            store.make_durable(&[(Shard(9), position)]).await.unwrap();
            assert_eq!(store.reached(Shard(9), &epoch).await.unwrap(), seq);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An event of the story that everybody writes: messages, and a member who comes and goes.
fn event(seq: Seq) -> Event {
    match seq % 6 {
        0 => added("general", seq, "driver-1", if seq == STORY { Role::Owner } else { Role::Member }),
        3 => removed("general", seq, "driver-1"),
        _ => plain("general", seq),
    }
}

/// Writes the story in this order, a few events at a time; the head never goes back meanwhile.
async fn tell(store: &Store, order: Vec<Seq>) {
    let mut highest = 0;
    for some in order.chunks(7) {
        store.apply(some.iter().map(|seq| event(*seq)).collect()).await.unwrap();
        store.make_durable(&[(Shard(3), at(*some.iter().max().unwrap()))]).await.unwrap();
        let head = store.head(&channel("general")).await.unwrap().unwrap().seq;
        assert!(head >= highest && some.iter().all(|seq| *seq <= head), "{head} after {highest}");
        let reached = store.reached(Shard(3), &at(0).epoch).await.unwrap();
        assert!(some.iter().all(|seq| *seq <= reached));
        highest = head;
    }
}

/// The whole story is there, once, and what follows from it.
async fn told(store: &Store) {
    let limit = PageLimit { entries: 1_000, bytes: usize::MAX };
    let page = store.events(&channel("general"), &at(0), limit).await.unwrap().unwrap();
    let seqs: Vec<Seq> = page.events.iter().map(|event| event.position.seq).collect();
    assert_eq!(seqs, (1..=STORY).collect::<Vec<_>>());
    let messages: Vec<Seq> = (1..=STORY).filter(|seq| seq % 3 != 0).collect();
    assert_eq!(newest(store, "general", 1_000).await, (messages, false));
    let role = store.membership(&channel("general"), &user("driver-1")).await.unwrap();
    assert_eq!(role, Some(Role::Owner), "the newest word counts, whoever wrote it");
    assert_eq!(store.reached(Shard(3), &at(0).epoch).await.unwrap(), STORY);
}

#[tokio::test]
async fn processes_that_write_the_same_see_the_same() {
    if let Some((does, file)) = task() {
        return act(&does, &file).await;
    }
    let world = Sqlite::new();
    let store = world.open().await;
    let peers = ["backwards", "forwards"].map(|does| Peer::start(does, &world.file()));
    // From the middle to both ends.
    let order = (0..STORY).map(|n| if n % 2 == 0 { STORY / 2 - n / 2 } else { STORY / 2 + 1 + n / 2 });
    tell(&store, order.collect()).await;
    peers.into_iter().for_each(Peer::end);
    told(&store).await;
    told(&world.open().await).await;
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_whole_and_goes_on() {
    let world = Sqlite::new();
    let store = world.open().await;
    let (mut last, began) = (0, Instant::now());
    for n in 0..5 {
        let peer = Peer::start("forwards", &world.file());
        let goal = (last + 20).min(STORY - 20) + n;
        while last < goal {
            assert!(began.elapsed() < DEADLINE, "{last} of {goal}");
            let head = store.head(&channel("general")).await.unwrap().map_or(0, |head| head.seq);
            assert!(head >= last, "a head never goes back");
            last = head;
        }
        peer.kill();
        let limit = PageLimit { entries: 1_000, bytes: usize::MAX };
        let page = store.events(&channel("general"), &at(0), limit).await.unwrap().unwrap();
        let seqs: Vec<Seq> = page.events.iter().map(|event| event.position.seq).collect();
        assert!(
            seqs.len().is_multiple_of(7) || seqs.len() as Seq == STORY,
            "batches are whole: {}",
            seqs.len()
        );
        let messages: Vec<Seq> = seqs.iter().copied().filter(|seq| seq % 3 != 0).collect();
        assert_eq!(newest(&store, "general", 1_000).await.0, messages, "and so is what follows from them");
        store.apply(vec![message("other", n + 1)]).await.unwrap();
    }
    Peer::start("forwards", &world.file()).end();
    told(&store).await;
}

#[tokio::test]
async fn processes_that_start_at_once_make_one_layout() {
    for earlier in 0..=LAYOUTS.len() {
        let world = Sqlite::new();
        world.make(earlier);
        let names: Vec<String> = (0..6).map(|n| format!("peer-{n}")).collect();
        let peers: Vec<Peer> = names.iter().map(|name| Peer::start(name, &world.file())).collect();
        let store = world.open().await;
        store.apply(vec![message("here", 1)]).await.unwrap();
        peers.into_iter().for_each(Peer::end);
        for name in names.iter().map(String::as_str).chain(["here"]) {
            assert_eq!(newest(&store, name, 9).await, (vec![1], false), "{name}");
        }
    }
}
