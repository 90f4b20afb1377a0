//! A client that writes as fast as acknowledgements allow, changes what it wrote, says what it has read, is thrown out,
//! comes back and resumes.

use crate::client::{Arrival, Client};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Error;

/// The channels of a development system.
pub(crate) const CHANNELS: [&str; 2] = ["general", "emergency"];

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(30);

/// What the test tells its clients.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// Write.
    Write,
    /// Begin nothing more, finish what is out.
    Finish,
    /// End when the channels stand here.
    Until(HashMap<String, u64>),
}

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Name of the message and its seq, in the order of acknowledgements.
    pub(crate) acked: Vec<(String, u64)>,
    /// The seqs of all acknowledgements, of changes, too.
    pub(crate) order: Vec<u64>,
    /// What became of messages, by their names.
    pub(crate) changed: HashMap<String, Changed>,
    /// Per channel: the last seq that was acknowledged as read.
    pub(crate) read: HashMap<String, u64>,
    /// Per channel: each durable event's seq and message name (empty for other events), in the order they came.
    pub(crate) seen: HashMap<String, Vec<(u64, String)>>,
    /// Where each channel stood when the client first came.
    pub(crate) began: HashMap<String, u64>,
    /// How often it tried to connect.
    pub(crate) connects: usize,
    /// How often it came back.
    pub(crate) resumed: usize,
}

/// What became of a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) edited: bool,
    /// How often its writer reacted to it, which is there after odd times.
    pub(crate) toggles: u32,
}

/// What is out: its name, what it does, and whether it was sent before.
struct Pending {
    name: String,
    task: Task,
    sent_before: bool,
}

/// What a writer does, to the last message that it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Write,
    Edit,
    Toggle,
    Read,
}

/// What follows each message, by turns.
const FOLLOWS: [&[Task]; 5] = [
    &[],
    &[Task::Edit],
    &[Task::Toggle, Task::Read],
    &[Task::Toggle, Task::Toggle],
    &[Task::Edit, Task::Toggle],
];

/// Who a writer is.
pub(crate) fn user_of(number: usize) -> &'static str {
    ["driver-1", "driver-2", "dispatcher-1", "safety-1"][number % 4]
}

pub(crate) struct Writer {
    pub(crate) user: &'static str,
    pub(crate) number: usize,
    /// Where gateways are: each connection goes to the next one.
    gateways: Vec<SocketAddr>,
    phase: watch::Receiver<Phase>,
    /// Reports what it has acknowledged so far.
    progress: watch::Sender<usize>,
    record: Record,
    /// Per channel: the life of its log, and up to where it was seen.
    epochs: HashMap<String, String>,
    positions: HashMap<String, u64>,
    pending: Option<Pending>,
    written: usize,
    /// The id and seq of the last message that was acknowledged, and how much of what follows it was begun.
    last: Option<(String, u64)>,
    followed: usize,
}

impl Writer {
    pub(crate) fn new(
        number: usize,
        gateways: Vec<SocketAddr>,
        phase: watch::Receiver<Phase>,
    ) -> (Self, watch::Receiver<usize>) {
        let (progress, seen) = watch::channel(0);
        let writer = Self {
            user: user_of(number),
            number,
            gateways,
            phase,
            progress,
            record: Record::default(),
            epochs: HashMap::new(),
            positions: HashMap::new(),
            pending: None,
            written: 0,
            last: None,
            followed: 0,
        };
        (writer, seen)
    }

    /// Runs until the channels stand where the test says that they end.
    pub(crate) async fn run(mut self) -> Record {
        loop {
            match self.one_socket().await {
                Ok(()) => return self.record,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn one_socket(&mut self) -> Result<(), Error> {
        let arrival = if self.positions.is_empty() { Arrival::Fresh } else { Arrival::Resuming };
        let gateway = self.gateways[(self.number + self.record.connects) % self.gateways.len()];
        self.record.connects += 1;
        let mut client = Client::connect(gateway, self.user, arrival).await?;
        let first = client.receive().await?;
        assert_eq!(first["type"], "connection_established", "{first}");
        if arrival == Arrival::Fresh {
            self.begin(&first);
        } else {
            self.catch_up(&mut client).await?;
            self.record.resumed += 1;
        }
        if let Some(pending) = &mut self.pending {
            pending.sent_before = true;
            self.write_pending(&mut client).await?;
        }
        let mut phase = self.phase.clone();
        loop {
            if self.pending.is_none() && *phase.borrow() == Phase::Write {
                self.pending = Some(self.next());
                self.write_pending(&mut client).await?;
            }
            if self.is_done(&phase.borrow()) {
                return Ok(());
            }
            tokio::select! {
                frame = client.receive() => self.take(&mut client, &frame?).await?,
                changed = phase.changed() => changed.expect("the test outlives its clients"),
            }
        }
    }

    /// Says what to do next: what follows the last message, or another one.
    fn next(&mut self) -> Pending {
        let follows = FOLLOWS[self.written % FOLLOWS.len()];
        let task = match (&self.last, follows.get(self.followed)) {
            (Some(_), Some(task)) => *task,
            _ => Task::Write,
        };
        if task == Task::Write {
            (self.written, self.followed) = (self.written + 1, 0);
        } else {
            self.followed += 1;
        }
        let followed = if task == Task::Write { String::new() } else { format!("-{}", self.followed) };
        let name = format!("w{}-{}{followed}", self.number, self.written);
        Pending { name, task, sent_before: false }
    }

    fn channel(&self) -> &'static str {
        CHANNELS[self.number / 4 % CHANNELS.len()]
    }

    fn begin(&mut self, first: &Value) {
        for channel in first["channels"].as_array().unwrap() {
            let id = channel["channel_id"].as_str().unwrap().to_owned();
            self.epochs.insert(id.clone(), channel["epoch"].as_str().unwrap().to_owned());
            let seq = channel["seq"].as_u64().unwrap();
            self.record.began.insert(id.clone(), seq);
            self.positions.insert(id, seq);
        }
        assert_eq!(self.positions.len(), CHANNELS.len());
    }

    async fn catch_up(&mut self, client: &mut Client) -> Result<(), Error> {
        self.resume(client, CHANNELS.to_vec()).await?;
        loop {
            let frame = client.receive().await?;
            if frame["type"] == "resume_done" {
                return Ok(());
            }
            self.take(client, &frame).await?;
        }
    }

    async fn resume(&self, client: &mut Client, channels: Vec<&str>) -> Result<(), Error> {
        let point = |id: &str| json!({"channel_id": id, "epoch": self.epochs[id], "seq": self.positions[id]});
        let channels: Vec<_> = channels.into_iter().map(point).collect();
        client.send(json!({"type": "resume", "channels": channels, "last": true})).await
    }

    async fn write_pending(&self, client: &mut Client) -> Result<(), Error> {
        let Some(Pending { name, task, sent_before }) = &self.pending else { return Ok(()) };
        let (message, seq) = self.last.clone().unwrap_or_default();
        let mut frame = match task {
            Task::Write => json!({"type": "send_message", "content": name}),
            Task::Edit => {
                let (written, _) = name.rsplit_once('-').unwrap();
                json!({"type": "edit_message", "message_id": message, "content": format!("{written}+")})
            }
            Task::Toggle => {
                json!({"type": "react_to_message", "message_id": message, "reaction": format!("r{}", self.number)})
            }
            Task::Read => {
                let read_up_to = json!({"epoch": self.epochs[self.channel()], "seq": seq});
                json!({"type": "mark_read", "read_up_to": read_up_to})
            }
        };
        frame["ref"] = json!(name);
        frame["channel_id"] = json!(self.channel());
        if *task != Task::Read {
            frame["client_msg_id"] = json!(name);
            frame["retry"] = json!(sent_before);
        }
        client.send(frame).await
    }

    async fn take(&mut self, client: &mut Client, frame: &Value) -> Result<(), Error> {
        match frame["type"].as_str().unwrap() {
            "ack" => self.acked(frame),
            "messages_marked_read" if frame["ref"].is_string() => self.acked(frame),
            "chat_message" | "message_updated" | "reaction_update" | "member_added" | "member_removed"
            | "channel_updated" => self.see(frame),
            "resumed" => {
                assert_eq!(frame["reset"], false, "{frame}");
                for event in frame["events"].as_array().unwrap() {
                    self.see(event);
                }
                let id = frame["channel_id"].as_str().unwrap();
                assert_eq!(frame["seq"], self.positions[id], "a page ends where its last event is");
                if frame["more"] == true {
                    self.resume(client, vec![id]).await?;
                }
            }
            "error" => {
                assert!(
                    ["unavailable", "unknown_outcome"].contains(&frame["code"].as_str().unwrap()),
                    "{frame}"
                );
                if let Some(pending) = &mut self.pending {
                    pending.sent_before = true;
                }
                tokio::time::sleep(AGAIN).await;
                self.write_pending(client).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn acked(&mut self, frame: &Value) {
        let Pending { name, task, .. } = self.pending.take().expect("only what is out is acknowledged");
        assert_eq!(frame["ref"], name);
        let written = self.record.acked.last().map(|(written, _)| written.clone()).unwrap_or_default();
        if task == Task::Read {
            let seq = frame["read_up_to"]["seq"].as_u64().unwrap();
            assert!(Some(seq) >= self.last.as_ref().map(|(_, seq)| *seq), "{frame}");
            self.record.read.insert(self.channel().to_owned(), seq);
            return;
        }
        assert_eq!(frame["client_msg_id"], name);
        let seq = frame["seq"].as_u64().unwrap();
        self.record.order.push(seq);
        match task {
            Task::Write => {
                self.last = Some((frame["message_id"].as_str().unwrap().to_owned(), seq));
                self.record.acked.push((name, seq));
                self.progress.send_replace(self.record.acked.len());
            }
            Task::Edit => self.record.changed.entry(written).or_default().edited = true,
            Task::Toggle => self.record.changed.entry(written).or_default().toggles += 1,
            Task::Read => {}
        }
    }

    /// Each event goes on exactly where the one before ended: neither gap nor repetition nor another order.
    fn see(&mut self, event: &Value) {
        let id = event["channel_id"].as_str().unwrap();
        let position = self.positions.get_mut(id).expect("an event of a channel of mine");
        assert_eq!(
            (&event["epoch"], &event["prev"]),
            (&json!(self.epochs[id]), &json!(*position)),
            "{event}"
        );
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > *position, "{event}");
        *position = seq;
        let written = event["type"] == "chat_message";
        let name = if written { event["message"]["content"].as_str().unwrap() } else { "" };
        self.record.seen.entry(id.to_owned()).or_default().push((seq, name.to_owned()));
    }

    fn is_done(&self, phase: &Phase) -> bool {
        let Phase::Until(heads) = phase else { return false };
        self.pending.is_none() && heads.iter().all(|(id, seq)| self.positions[id] >= *seq)
    }
}
