//! The log forgets what is old and stored; clients notice nothing, whoever is killed meanwhile.

use crate::client::{Arrival, Client};
use crate::fleet::Fleet;
use crate::kill_client::CHANNELS;
use crate::server::DEADLINE;
use crate::store_lost::{FILES, chat, histories, remove_store};
use crate::system::{Mode, System};
use broker::{Broker, Nats, NatsOptions, ReadLimit};
use protocol::ids::ChannelId;
use runtime::shutdown::Shutdown;
use runtime::stop;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Sqlite, Store};

/// How long an entry of a log on NATS is kept here, and a dedup key remembered.
const KEPT: Duration = Duration::from_secs(1);

/// Copies the store of a server that has stopped; what a WAL held may have been moved into the database.
fn copy_store(from: &Path, to: &Path) {
    for file in FILES.iter().filter(|file| from.join(file).exists()) {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// Waits until the store has all of the log for good.
fn acknowledged(data: &Path) {
    let began = Instant::now();
    let acknowledged = "SELECT (SELECT max(id) FROM log) IN (SELECT floor FROM consumers)";
    while !ask::<bool>(data, acknowledged) {
        assert!(began.elapsed() < DEADLINE, "not everything is acknowledged");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As if all of it had been said long ago.
fn age(data: &Path) {
    let log = Connection::open(data.join("log/log.db")).unwrap();
    log.execute_batch("UPDATE log SET ts = ts - 80 * 3600 * 1000").unwrap();
}

/// Asks the log's file for one value.
fn ask<T: FromSql>(data: &Path, question: &str) -> T {
    let log = Connection::open_with_flags(data.join("log/log.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    log.busy_timeout(DEADLINE).unwrap();
    log.query_row(question, [], |row| row.get(0)).unwrap()
}

/// Waits until the log has less than so many entries.
async fn below(log: &Log<'_>, count: usize) {
    let began = Instant::now();
    loop {
        let entries = log.entries().await;
        if entries < count {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{entries} entries are not purged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A log that can be looked into.
enum Log<'a> {
    /// The file of a standalone process, in its folder.
    File(&'a Path),
    /// On NATS.
    Nats(&'a Broker),
}

impl Log<'_> {
    async fn entries(&self) -> usize {
        match self {
            Self::File(data) => ask(data, "SELECT count(*) FROM log"),
            Self::Nats(broker) => {
                let (all, mut entries) = (ReadLimit { entries: usize::MAX, bytes: usize::MAX }, 0);
                for channel in CHANNELS.map(|name| ChannelId::parse(name).unwrap()) {
                    entries += broker.read(&channel, 0, all).await.unwrap().entries.len();
                }
                entries
            }
        }
    }
}

fn start(mode: Mode, data: &Path) -> System {
    tokio::task::block_in_place(|| match mode {
        Mode::Embedded => System::start(mode, data),
        Mode::Nats | Mode::Cluster => {
            let kept = KEPT.as_millis().to_string();
            let settings = [("SAFESHIPPER__NATS__DEDUP_WINDOW_MS", &*kept)];
            System::Fleet(Fleet::start_with(1, data, &settings))
        }
    })
}

fn stop(system: System) {
    tokio::task::block_in_place(|| system.stop());
}

/// Whether somebody dies while the log is purged.
#[derive(PartialEq)]
enum Meanwhile {
    Nothing,
    Kill,
}

/// Waits until the log has forgotten everything, and returns the system that runs then.
async fn purged(system: System, data: &Path, meanwhile: Meanwhile) -> System {
    match system {
        System::Embedded(_) => purged_file(system, data, meanwhile).await,
        System::Fleet(fleet) => purged_nats(fleet, data, meanwhile).await,
    }
}

/// All that the log has becomes old, and the server purges it when it has started again.
async fn purged_file(system: System, data: &Path, meanwhile: Meanwhile) -> System {
    tokio::task::block_in_place(|| acknowledged(data));
    stop(system);
    let log = Log::File(data);
    let all = log.entries().await;
    age(data);
    let mut system = start(Mode::Embedded, data);
    if meanwhile == Meanwhile::Kill {
        below(&log, all).await;
        tokio::task::block_in_place(|| system.kill("standalone", data));
    }
    below(&log, 1).await;
    system
}

/// Another worker, in this process, keeps the log for a shorter time than an operator can ask for.
async fn purged_nats(fleet: Fleet, data: &Path, meanwhile: Meanwhile) -> System {
    let shutdown = Shutdown::new();
    let options = NatsOptions { dedup_window: Some(KEPT), ..NatsOptions::new(fleet.nats()) };
    let broker = Broker::Nats(Nats::connect(options, &shutdown).await.unwrap());
    let store = Store::Sqlite(Sqlite::open(&data.join("store.db"), &shutdown).unwrap());
    let log = Log::Nats(&broker);
    let all = log.entries().await;
    let config = worker::Config { roles: vec![worker::Role::Persistence], log_retention: KEPT };
    worker::start(&config, &broker, &store, &shutdown).await.unwrap();
    if meanwhile == Meanwhile::Kill {
        below(&log, all).await;
        tokio::task::block_in_place(|| fleet.kill("worker-1"));
    }
    below(&log, 1).await;
    shutdown.trigger();
    let closings: Vec<stop::Closing<'_>> =
        vec![("broker", Box::pin(broker.drain())), ("store", Box::pin(store.close()))];
    stop::wait_and_stop(&shutdown, stop::Config::at_once(), closings).await;
    assert!(!shutdown.has_failed());
    System::Fleet(fleet)
}

/// Connects with a position and returns what it is told of the channel since, page after page.
async fn resumed(to: SocketAddr, channel: &str, mut place: (Value, Value)) -> Vec<Value> {
    let mut client = Client::connect(to, "driver-2", Arrival::Resuming).await.unwrap();
    client.expect("connection_established").await;
    let mut ids = Vec::new();
    loop {
        let point = json!({"channel_id": channel, "epoch": place.0, "seq": place.1});
        client.send(json!({"type": "resume", "channels": [point], "last": true})).await.unwrap();
        let page = client.expect("resumed").await;
        assert_eq!((&page["channel_id"], &page["reset"]), (&json!(channel), &json!(false)), "{page}");
        ids.extend(page["events"].as_array().unwrap().iter().map(|event| event["message"]["id"].clone()));
        place = (page["epoch"].clone(), page["seq"].clone());
        if page["more"] == false {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_purged_is_missed_by_nobody_whoever_is_killed_meanwhile() {
    is_missed_by_nobody(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_on_nats_that_is_purged_is_missed_by_nobody_whoever_is_killed_meanwhile() {
    is_missed_by_nobody(Mode::Nats).await;
}

async fn is_missed_by_nobody(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = start(mode, data.path());
    let (here, there) = system.two_gateways();
    let first = chat(here, 600).await;
    let before = histories(there).await;
    let (mut client, _) = Client::arrive(here, "driver-2").await;
    let old = client.whole_history("general").await;
    let old = old.iter().find(|one| one["id"] == first[0]).unwrap();
    let old = (old["epoch"].clone(), old["seq"].clone());
    drop(client);

    let mut system = purged(system, data.path(), Meanwhile::Kill).await;
    let (here, there) = system.two_gateways();
    assert_eq!(histories(here).await, before);
    let since: Vec<Value> =
        before["general"].iter().skip_while(|id| **id != first[0]).skip(1).cloned().collect();
    assert_eq!(since.len(), 299);
    let asked = || system.count(data.path(), "worker_requests_answered_total{role=\"events\"}");
    let asked_before = asked();
    assert_eq!(resumed(there, "general", old.clone()).await, since);
    assert!(asked() > asked_before, "no gateway knows what the log has forgotten");

    let later = chat(here, 20).await;
    let victim = if mode == Mode::Embedded { "standalone" } else { "worker-2" };
    tokio::task::block_in_place(|| system.kill(victim, data.path()));
    let (here, there) = system.two_gateways();
    let now = histories(here).await;
    for (channel, history) in &before {
        assert!(now[channel].starts_with(history), "what is new comes behind what is old");
    }
    assert!(later.iter().all(|id| now.values().any(|history| history.contains(id))));
    assert_eq!(resumed(there, "general", old).await.len(), 309);
    stop(system);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_lost_after_a_purge_is_missed_loudly() {
    is_missed_loudly(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_a_fleet_that_is_lost_after_a_purge_is_missed_loudly() {
    is_missed_loudly(Mode::Nats).await;
}

async fn is_missed_loudly(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = start(mode, data.path());
    chat(system.gateways()[0], 20).await;
    let system = purged(system, data.path(), Meanwhile::Nothing).await;
    let acked = chat(system.gateways()[0], 10).await;
    stop(system);
    let kept = tempfile::tempdir().unwrap();
    copy_store(data.path(), kept.path());
    remove_store(data.path());
    // It starts, since the log has something still, and says what is wrong.
    let system = start(mode, data.path());
    let said = System::said(mode, data.path());
    assert!(said.contains("history has a hole"), "{said}");
    stop(system);
    remove_store(data.path());
    copy_store(kept.path(), data.path());
    let system = start(mode, data.path());
    let histories = histories(system.two_gateways().1).await;
    assert!(acked.iter().all(|id| histories.values().any(|history| history.contains(id))));
    stop(system);
}
