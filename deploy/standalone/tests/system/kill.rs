//! `kill -9` loses nothing that was acknowledged, repeats nothing and reorders nothing.

use crate::client::Client;
use crate::kill_client::{CHANNELS, Changed, Phase, Record, Writer, user_of};
use crate::replay::projections_are_those_of_a_replay;
use crate::system::{Mode, System};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

const CLIENTS: usize = 20;

/// Kills, unless `KILL_ROUNDS` says how many.
const ROUNDS: usize = 5;

/// How long one round, with its part of the end, may take.
const ROUND_DEADLINE: Duration = Duration::from_secs(48);

/// Who dies, in this order, when there is more than one process.
fn victims(mode: Mode) -> [&'static str; 5] {
    match mode {
        Mode::Embedded => ["standalone"; 5],
        Mode::Nats => ["gateway-1", "worker-1", "nats", "gateway-2", "worker-2"],
        Mode::Cluster => ["nats-1", "gateway-1", "nats-2", "worker-1", "nats-3"],
    }
}

async fn in_time(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let rounds = std::env::var("KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let deadline = ROUND_DEADLINE * u32::try_from(rounds).unwrap();
    let kills = kills(mode, data.path(), rounds);
    tokio::time::timeout(deadline, kills).await.expect("the kill test takes too long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives_kills_exactly_once_and_in_order() {
    in_time(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives_kills_of_gateways_workers_and_the_nats_server() {
    in_time(Mode::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives_kills_of_the_servers_of_a_cluster() {
    in_time(Mode::Cluster).await;
}

async fn kills(mode: Mode, data: &Path, rounds: usize) {
    let mut system = tokio::task::block_in_place(|| System::start(mode, data));
    let gateways = system.gateways();
    let (phase, phases) = watch::channel(Phase::Write);
    let mut progress = Vec::new();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (writer, acked) = Writer::new(number, gateways.clone(), phases.clone());
        progress.push(acked);
        clients.push(tokio::spawn(writer.run()));
    }
    for round in 0..rounds {
        everybody_goes_on(&mut progress).await;
        tokio::time::sleep(random_time()).await;
        // Clients go on meanwhile.
        tokio::task::block_in_place(|| system.kill(victims(mode)[round % 5], data));
    }
    everybody_goes_on(&mut progress).await;
    phase.send_replace(Phase::Finish);
    let (mut reader, _) = Client::arrive(gateways[0], "safety-1").await;
    let history = settled_history(&mut reader).await;
    let heads = history.iter().map(|(id, log)| (id.clone(), *log.keys().last().unwrap())).collect();
    phase.send_replace(Phase::Until(heads));
    let mut records = Vec::new();
    for client in clients {
        records.push(client.await.unwrap());
    }
    let shown = what_became(&mut reader).await;
    for (number, record) in records.iter().enumerate() {
        if mode == Mode::Embedded {
            assert_eq!(record.resumed, rounds, "each kill was everybody's");
        }
        judge(record, &history);
        judge_changes(record, &shown);
        judge_reads(gateways[0], user_of(number), record).await;
    }
    let total: usize = records.iter().map(|record| record.acked.len()).sum();
    let changed: usize = records.iter().map(|record| record.changed.len()).sum();
    assert!(total > CLIENTS * rounds && changed > CLIENTS, "the clients hardly wrote: {total}, {changed}");
    tokio::task::block_in_place(|| system.stop());
    projections_are_those_of_a_replay(&data.join("store.db")).await;
}

/// Waits until each client had another acknowledgement.
async fn everybody_goes_on(progress: &mut [watch::Receiver<usize>]) {
    for acked in progress {
        acked.mark_unchanged();
        acked.changed().await.expect("a client has failed");
    }
}

/// When a kill comes: any time between at once and 600 ms.
fn random_time() -> Duration {
    let mut byte = [0];
    getrandom::fill(&mut byte).unwrap();
    Duration::from_millis(u64::from(byte[0]) * 600 / 255)
}

type History = HashMap<String, BTreeMap<u64, String>>;

/// The whole history, as soon as it says the same twice: what was out when writing ended is then in it.
async fn settled_history(reader: &mut Client) -> History {
    let mut before = History::new();
    loop {
        let now = read_history(reader).await;
        if now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn read_history(reader: &mut Client) -> History {
    let mut history = History::new();
    for channel in CHANNELS {
        let messages = reader.whole_history(channel).await;
        let count = messages.len();
        let log: BTreeMap<_, _> =
            messages.iter().map(|one| (one["seq"].as_u64().unwrap(), name(one).to_owned())).collect();
        assert_eq!(log.len(), count, "no seq twice in {channel}");
        assert!(messages.is_sorted_by_key(|one| one["seq"].as_u64()), "history is ascending");
        history.insert(channel.to_owned(), log);
    }
    history
}

/// The name of a message: an edit puts something behind it.
fn name(message: &Value) -> &str {
    message["content"].as_str().unwrap().trim_end_matches('+')
}

/// What became of each message, by its name.
async fn what_became(reader: &mut Client) -> HashMap<String, Changed> {
    let mut became = HashMap::new();
    for channel in CHANNELS {
        for message in reader.whole_history(channel).await {
            let edited = message["content"].as_str().unwrap().ends_with('+');
            let reactions = message["reactions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let toggles = reactions.iter().map(|one| one["count"].as_u64().unwrap()).sum::<u64>();
            let changed = Changed { edited, toggles: u32::try_from(toggles).unwrap() };
            became.insert(name(&message).to_owned(), changed);
        }
    }
    became
}

/// What became of each message is what was acknowledged: a toggle that was sent twice was done once.
fn judge_changes(record: &Record, shown: &HashMap<String, Changed>) {
    for (name, _) in &record.acked {
        let Changed { edited, toggles } = record.changed.get(name).copied().unwrap_or_default();
        let there = Changed { edited, toggles: toggles % 2 };
        assert_eq!(shown[name], there, "{name}");
    }
    assert!(record.order.is_sorted(), "changes are acknowledged in the order of the log, too");
}

/// What was acknowledged as read is read, whoever is asked.
async fn judge_reads(gateway: SocketAddr, user: &str, record: &Record) {
    let (_client, first) = Client::arrive(gateway, user).await;
    for channel in first["channels"].as_array().unwrap() {
        let acked = record.read.get(channel["channel_id"].as_str().unwrap()).copied();
        assert!(acked <= channel["read"]["seq"].as_u64(), "{user}: {channel}");
    }
}

fn judge(record: &Record, history: &History) {
    for (name, seq) in &record.acked {
        let places: Vec<_> = history
            .values()
            .flat_map(|log| log.iter().filter(|(_, content)| *content == name))
            .map(|(place, _)| *place)
            .collect();
        assert_eq!(places, [*seq], "{name} is in history exactly once, where its acknowledgement said");
    }
    assert!(record.acked.is_sorted_by_key(|(_, seq)| *seq), "acknowledgements are in the order of the log");
    for (channel, log) in history {
        let began = record.began[channel];
        let seen = record.seen.get(channel).map(Vec::as_slice).unwrap_or_default();
        let messages: Vec<_> = seen.iter().filter(|(_, name)| !name.is_empty()).cloned().collect();
        let logged: Vec<_> =
            log.iter().filter(|(seq, _)| **seq > began).map(|(seq, name)| (*seq, name.clone())).collect();
        assert_eq!(messages, logged, "a client of {channel} saw each message once, in order");
    }
}
