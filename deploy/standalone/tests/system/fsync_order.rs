//! An acknowledgement leaves the process only after its message is on the disk: seen in the system calls.

use crate::client::Client;
use crate::server::{Server, prepared};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::process::Command;

const SENDERS: usize = 4;
const MESSAGES: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_follows_the_sync_of_its_group() {
    let data = tempfile::tempdir().unwrap();
    let trace = data.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-y",
        "-s",
        "200000",
        "-e",
        "trace=pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg",
    ]);
    strace.arg("-o").arg(&trace).arg(env!("CARGO_BIN_EXE_standalone"));
    let server = Server::spawn(prepared(strace, data.path()), data.path());
    let senders: Vec<_> = (0..SENDERS).map(|n| tokio::spawn(send_all(n, server.listen))).collect();
    for sender in senders {
        sender.await.unwrap();
    }
    server.terminate_children();
    assert!(server.wait().success());
    judge(&std::fs::read_to_string(&trace).unwrap());
}

async fn send_all(sender: usize, to: std::net::SocketAddr) {
    let (mut client, _) = Client::open(to, "driver-1").await;
    for n in 0..MESSAGES {
        let name = name(sender, n);
        let frame =
            json!({"type": "send_message", "channel_id": "general", "content": "x", "client_msg_id": name});
        client.send(frame).await.unwrap();
        assert_eq!(client.expect("ack").await["client_msg_id"], name);
    }
}

fn name(sender: usize, n: usize) -> String {
    format!("traced-{sender}-{n}-end")
}

/// Walks through the trace: written to the log's WAL => synced => acknowledged, for each message.
fn judge(trace: &str) {
    let names: Vec<String> = (0..SENDERS).flat_map(|s| (0..MESSAGES).map(move |n| name(s, n))).collect();
    let (mut written, mut synced, mut acked) = (HashSet::new(), HashSet::new(), HashSet::new());
    // What was written before a sync began, by the thread that is in it.
    let mut in_sync: HashMap<&str, HashSet<&str>> = HashMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        let mentions = || names.iter().map(String::as_str).filter(|name| line.contains(name));
        if call.starts_with("pwrite64(") && call.contains("/log/") && call.contains("-wal>") {
            written.extend(mentions());
        } else if is_wal_sync(call) {
            in_sync.insert(thread, written.clone());
            if call.ends_with("= 0") {
                synced.extend(in_sync.remove(thread).unwrap());
            }
        } else if call.contains("sync resumed>") && call.ends_with("= 0") {
            synced.extend(in_sync.remove(thread).unwrap_or_default());
        } else if call.contains(r#"{\"type\":\"ack\""#) {
            for name in mentions() {
                assert!(synced.contains(name), "{name} was acknowledged before it was synced: {call:.300}");
                acked.insert(name);
            }
        }
    }
    assert_eq!(acked.len(), names.len(), "the trace shows every acknowledgement");
}

fn is_wal_sync(call: &str) -> bool {
    let sync = call.starts_with("fdatasync(") || call.starts_with("fsync(");
    sync && call.contains("/log/") && call.contains("-wal>")
}
