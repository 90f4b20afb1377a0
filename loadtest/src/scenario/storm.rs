//! `storm`: everybody loses the connection at once, comes back and resumes, while others go on writing.

use super::{Counted, DRAIN, PROGRESS, Presence, connect, is, nanos, seconds};
use crate::content::{self, Content};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::Common;
use crate::process;
use crate::report::{Report, Verdict, say};
use crate::verify::{Faults, Seen};
use anyhow::bail;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::time::Duration;

const SCENARIO: &str = "storm";

/// Before a refused client comes again; clients of their own would jitter more.
const AGAIN: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Connections that drop
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Rooms; one more user in each of the first ones writes and stays
    #[arg(long, default_value_t = 1_000)]
    rooms: usize,
    /// Users that write and stay, one in each of the first rooms
    #[arg(long, default_value_t = 50)]
    writers: usize,
    /// Messages a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Seconds of writing before and after the drop
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds that may pass until all are back and resumed before the run is given up
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Miss (exit 99) above so many seconds
    #[arg(long)]
    max_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Established {
    channels: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    channel_id: String,
    epoch: String,
    seq: u64,
}

#[derive(Deserialize)]
struct Resumed<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    seq: u64,
    more: bool,
    reset: bool,
}

struct Storm<'a> {
    options: &'a Options,
    presence: Presence,
    seen: Vec<Seen>,
    epoch: String,
    /// Who comes back and has not resumed yet.
    resuming: Vec<bool>,
    back: usize,
    /// Who was refused, and when he comes again.
    again: VecDeque<(u64, usize)>,
    refused: u64,
    resets: u64,
    faults: Faults,
    delivered: u64,
}

impl Storm<'_> {
    fn resume(&self, socket: usize) -> String {
        let room = self.options.common.room(SCENARIO, socket % self.options.rooms);
        let position = json!({"channel_id": room, "epoch": self.epoch, "seq": self.seen[socket].last_seq()});
        json!({"type": "resume", "channels": [position], "last": true, "ref": "r"}).to_string()
    }

    fn established(&mut self, socket: usize, json: &[u8], out: &mut Outgoing) {
        self.presence.established += 1;
        if self.resuming[socket] {
            return out.send(socket, self.resume(socket));
        }
        let Ok(Established { channels }) = serde_json::from_slice(json) else { return };
        let room = self.options.common.room(SCENARIO, socket % self.options.rooms);
        if let Some(entry) = channels.into_iter().find(|entry| entry.channel_id == room) {
            self.seen[socket].stands_at(entry.seq);
            self.epoch = entry.epoch;
        }
    }

    fn event(&mut self, socket: usize, json: &[u8]) {
        if let (Some(content), Some(place)) = (Content::find(json), content::place(json)) {
            self.delivered += 1;
            self.seen[socket].take(content, place, &mut self.faults);
        }
    }

    fn resumed(&mut self, socket: usize, json: &[u8], out: &mut Outgoing) {
        let Ok(page) = serde_json::from_slice::<Resumed<'_>>(json) else { return };
        self.resets += u64::from(page.reset);
        for event in page.events {
            self.event(socket, event.get().as_bytes());
        }
        if page.more {
            self.seen[socket].stands_at(page.seq);
            out.send(socket, self.resume(socket));
        }
    }

    fn gone(&mut self, socket: usize, code: Option<u16>, now_ns: u64) {
        if self.resuming[socket] {
            self.refused += 1;
            self.again.push_back((now_ns + nanos(AGAIN), socket));
        } else {
            self.presence.gone.push((socket, code));
        }
    }
}

impl Load for Storm<'_> {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing) {
        match happened {
            Happened::Gone(code) => self.gone(socket, *code, now_ns),
            Happened::Frame(json) if is(json, "chat_message") => self.event(socket, json),
            Happened::Frame(json) if is(json, "resumed") => self.resumed(socket, json, out),
            Happened::Frame(json) if is(json, "resume_done") => {
                if std::mem::take(&mut self.resuming[socket]) {
                    self.back += 1;
                }
            }
            Happened::Frame(json) if is(json, "connection_established") => {
                self.established(socket, json, out)
            }
            Happened::Frame(json) if is(json, "error") => self.presence.error(json),
            Happened::Frame(_) => {}
        }
    }
}

impl Counted for Storm<'_> {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

/// Messages at a steady rate, from the writers in turn.
struct Writing {
    sent: Vec<u32>,
    count: u64,
    began_ns: u64,
}

impl Writing {
    /// Sends what is due by now.
    fn pump(&mut self, engine: &mut Engine, options: &Options) {
        loop {
            let due_ns = self.began_ns + (self.count as f64 * 1e9 / options.rate) as u64;
            if due_ns > engine.now_ns() {
                return;
            }
            let writer = usize::try_from(self.count).unwrap_or(0) % options.writers;
            let content =
                Content { sender: u32::try_from(writer).unwrap_or(0), number: self.sent[writer], due_ns };
            let room = options.common.room(SCENARIO, writer);
            let content = content.write(options.common.payload);
            let message = json!({"type": "send_message", "channel_id": room, "content": content});
            engine.send(options.connections + writer, &message.to_string());
            self.sent[writer] += 1;
            self.count += 1;
        }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    if options.writers > options.rooms || !options.connections.is_multiple_of(options.rooms) {
        bail!("storm needs as many rooms as writers, and as many connections in each room");
    }
    let (common, users) = (&options.common, options.connections + options.writers);
    let mut engine = Engine::new(common, users)?;
    let mut storm = Storm {
        options,
        presence: Presence::default(),
        seen: (0..users).map(|_| Seen::default()).collect(),
        epoch: String::new(),
        resuming: vec![false; users],
        back: 0,
        again: VecDeque::new(),
        refused: 0,
        resets: 0,
        faults: Faults::default(),
        delivered: 0,
    };
    connect(&mut engine, &mut storm, common, SCENARIO, (0, users))?;
    let mut writing = Writing { sent: vec![0; options.writers], count: 0, began_ns: engine.now_ns() };
    write_for(&mut engine, &mut storm, &mut writing)?;
    let before = process::usage(&common.server_pids)?;
    let took_ns = drop_all(&mut engine, &mut storm, &mut writing)?;
    let cpu_s = process::usage(&common.server_pids)?.cpu_s - before.cpu_s;
    write_for(&mut engine, &mut storm, &mut writing)?;
    settle(&mut engine, &mut storm, &writing)?;
    let mut report = Report::new(SCENARIO);
    report.set("connections", options.connections);
    report.set("back", storm.back);
    report.figure("seconds_until_all_resumed", seconds(took_ns));
    report.figure("server_cpu_s", cpu_s);
    report.set("handshakes_refused", storm.refused);
    report.set("resets", storm.resets);
    report.set("sent", writing.count);
    report.set("delivered", storm.delivered);
    report.set("faults", serde_json::to_value(storm.faults)?);
    report.at_most("seconds_until_all_resumed", seconds(took_ns), options.max_seconds);
    report.demand(storm.back == options.connections, "not everybody came back");
    report.demand(
        storm.faults.none(),
        format!("messages were lost, repeated or reordered: {:?}", storm.faults),
    );
    report.demand(storm.resets == 0, "positions were forgotten");
    report.demand(storm.presence.gone.is_empty(), "sockets were lost besides");
    report.demand(storm.presence.errors == 0, "the server answered with errors");
    report.finish(common.json.as_deref())
}

fn write_for(engine: &mut Engine, storm: &mut Storm<'_>, writing: &mut Writing) -> anyhow::Result<()> {
    let until_ns = engine.now_ns() + nanos(Duration::from_secs(storm.options.seconds));
    while engine.now_ns() < until_ns {
        writing.pump(engine, storm.options);
        let soon = engine.now_ns() + 5_000_000;
        engine.turn(storm, soon)?;
    }
    Ok(())
}

/// Drops all but the writers and brings them back as fast as the server takes them; returns how long it took.
fn drop_all(engine: &mut Engine, storm: &mut Storm<'_>, writing: &mut Writing) -> anyhow::Result<u64> {
    let options = storm.options;
    let signer = options.common.signer()?;
    let began_ns = engine.now_ns();
    for socket in 0..options.connections {
        engine.drop_socket(socket);
        storm.resuming[socket] = true;
    }
    storm.again = (0..options.connections).map(|socket| (0, socket)).collect();
    let (mut begun, mut told_ns) = (0_usize, began_ns);
    let handshakes_before = storm.presence.established;
    while storm.back < options.connections {
        let now_ns = engine.now_ns();
        if now_ns - began_ns > nanos(Duration::from_secs(options.patience)) {
            break;
        }
        loop {
            let done =
                storm.presence.established - handshakes_before + usize::try_from(storm.refused).unwrap_or(0);
            let under_way = begun.saturating_sub(done);
            let Some((_, socket)) = storm.again.front().copied().filter(|(at_ns, _)| *at_ns <= now_ns) else {
                break;
            };
            if under_way >= options.common.handshakes {
                break;
            }
            storm.again.pop_front();
            engine.connect(socket, &signer.token(&options.common.user(SCENARIO, socket))?, true)?;
            begun += 1;
        }
        writing.pump(engine, options);
        engine.turn(storm, now_ns + 2_000_000)?;
        if now_ns - told_ns > nanos(PROGRESS) {
            told_ns = now_ns;
            say(&format!("back: {} of {}, refused {}", storm.back, options.connections, storm.refused));
        }
    }
    Ok(engine.now_ns() - began_ns)
}

/// Waits until everything arrived, and counts what did not.
fn settle(engine: &mut Engine, storm: &mut Storm<'_>, writing: &Writing) -> anyhow::Result<()> {
    let options = storm.options;
    let missing = |storm: &Storm<'_>| -> u64 {
        let of = |(user, seen): (usize, &Seen)| {
            let writer =
                if user < options.connections { user % options.rooms } else { user - options.connections };
            let sent = writing.sent.get(writer).copied().unwrap_or_default();
            seen.missing(u32::try_from(writer).unwrap_or(0), sent)
        };
        storm.seen.iter().enumerate().map(of).sum()
    };
    let until_ns = engine.now_ns() + nanos(DRAIN);
    while missing(storm) > 0 && engine.now_ns() < until_ns {
        let soon = engine.now_ns() + 100_000_000;
        engine.turn(storm, soon)?;
    }
    storm.faults.missing = missing(storm);
    Ok(())
}
