//! One slow socket in two busy channels: whatever order appends, queues, pages, the client and its socket take
//! turns in, the client sees each channel's log, each event once, in order, in an unbroken chain of `prev`.
//!
//! Tail, pages, hub, session and outbox are the real ones; what joins them in `upstream` and `reactor` is repeated
//! here in its few lines, with every queue between them under the test's control.

mod client;

use crate::hub::{ConnectionId, Hub, Joined, Push};
use crate::outbox::{Flushed, Outbox};
use crate::session::{Action, Input, Session};
use crate::upstream::event::Event;
use crate::upstream::pages::shared::{Shared, Turn};
use crate::upstream::pages::{Draft, Place, Start};
use crate::upstream::tail::{Next, Tail};
use crate::upstream::{Page, PageAsked};
use crate::websocket::encoder;
use broker::{Entry, LogPage};
use client::{Client, next_frame};
use proptest::prelude::*;
use protocol::codec;
use protocol::envelope::{Envelope, Kind, Logged};
use protocol::frames::server::{ChannelHead, Lagging};
use protocol::frames::{Dialect, Form};
use protocol::ids::{ChannelId, Epoch, MessageId, Position, Seq, UserId};
use protocol::time::Timestamp;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

const ID: ConnectionId = ConnectionId(1);

/// Entries of one read of the log.
const READ_ENTRIES: usize = 7;

/// Bytes that the kernel holds at most for the socket here.
const ROOM_MAX: usize = 300_000;

/// Where the two channels stand when the session opens.
const STARTS: [(&str, Seq); 2] = [("a", 3), ("b", 5)];

#[derive(Debug, Clone)]
enum Step {
    /// Somebody appends so many bytes; upstream hears of it.
    Append { channel: usize, bytes: usize },
    /// Upstream does the next thing on the reactor's list.
    Tell,
    /// The log answers the oldest read.
    Read,
    /// The reactor takes the next thing from its queue.
    Take,
    /// The socket has room for so many bytes more.
    Write(usize),
    /// The client answers what it was told.
    Answer,
    /// Other channels need the memory of this one's ring.
    RingGoes(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let append = |bytes| (0_usize..2, bytes).prop_map(|(channel, bytes)| Step::Append { channel, bytes });
    prop_oneof![
        4 => append(1_usize..2_000),
        4 => append(20_000_usize..60_000),
        10 => Just(Step::Tell),
        4 => Just(Step::Read),
        10 => Just(Step::Take),
        3 => (1_usize..80_000).prop_map(Step::Write),
        4 => Just(Step::Answer),
        1 => (0_usize..2).prop_map(Step::RingGoes),
    ]
}

/// What upstream tells, as it waits in the reactor's queue.
enum Told {
    Event(Arc<Event>),
    Behind(ChannelId, Seq),
    Page(ChannelId, Page),
}

enum Todo {
    News(ChannelId),
    Page(PageAsked),
}

struct Channel {
    log: Vec<(Seq, Envelope)>,
    tail: Tail,
    sent: Seq,
}

struct World {
    seq: Seq,
    channels: BTreeMap<ChannelId, Channel>,
    todo: VecDeque<Todo>,
    pages: Shared,
    reads: VecDeque<Draft>,
    queue: VecDeque<Told>,
    hub: Hub<()>,
    session: Session,
    outbox: Outbox,
    /// Bytes that the socket has room for.
    room: usize,
    wire: Vec<u8>,
    client: Client,
}

fn epoch() -> Epoch {
    Epoch::parse("e").unwrap()
}

fn envelope(channel: &ChannelId, bytes: usize) -> Envelope {
    Envelope {
        kind: Kind::Message,
        channel_id: channel.clone(),
        by: UserId::parse("u").unwrap(),
        at: Timestamp::from_unix_ms(1),
        message_id: MessageId::parse("m").unwrap(),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(),
    }
}

/// Takes what `room` allows.
fn socket<'a>(
    room: &'a mut usize,
    wire: &'a mut Vec<u8>,
) -> impl FnMut(&[io::IoSlice<'_>]) -> io::Result<usize> + 'a {
    move |slices| {
        let taken: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(*room).collect();
        *room -= taken.len();
        wire.extend_from_slice(&taken);
        if taken.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken.len()) }
    }
}

impl World {
    fn new() -> Self {
        let mut hub = Hub::new();
        let mut channels = BTreeMap::new();
        for (id, start) in STARTS {
            let id = ChannelId::parse(id).unwrap();
            let Joined::First(ticket) = hub.join(&id, ID, ()) else { panic!("a new channel") };
            hub.subscribed(&id, ticket, Position { epoch: epoch(), seq: start });
            hub.set(&id, ID, Push::Live);
            let mut tail = Tail::starting(epoch());
            tail.start(start);
            channels.insert(id, Channel { log: Vec::new(), tail, sent: start });
        }
        Self {
            seq: 5,
            channels,
            todo: VecDeque::new(),
            pages: Shared::default(),
            reads: VecDeque::new(),
            queue: VecDeque::new(),
            hub,
            session: crate::session::tests::open(Form::V1, false),
            outbox: Outbox::default(),
            room: 0,
            wire: Vec::new(),
            client: Client {
                seen: STARTS.map(|(id, start)| (id.to_owned(), vec![start])).into(),
                ..Client::default()
            },
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { channel, bytes } => self.append(channel, bytes),
            Step::Tell => self.tell(),
            Step::Read => self.read(),
            Step::Take => self.take(),
            Step::Write(bytes) => self.write(bytes),
            Step::Answer => self.answer(),
            Step::RingGoes(channel) => self.channels.values_mut().nth(channel).unwrap().tail.drop_ring(),
        }
    }

    fn append(&mut self, channel: usize, bytes: usize) {
        let (id, channel) = self.channels.iter_mut().nth(channel).unwrap();
        self.seq += 1;
        let prev = channel.tail.cursor();
        let envelope = envelope(id, bytes);
        channel.log.push((self.seq, envelope.clone()));
        assert_eq!(channel.tail.on_live(Logged { seq: self.seq, prev, envelope }), Next::Nothing);
        self.todo.push_back(Todo::News(id.clone()));
    }

    fn tell(&mut self) {
        match self.todo.pop_front() {
            None => {}
            Some(Todo::News(id)) => {
                let channel = self.channels.get_mut(&id).unwrap();
                match channel.tail.after(channel.sent) {
                    Some(events) => self.queue.extend(events.cloned().map(Told::Event)),
                    None => self.queue.push_back(Told::Behind(id, channel.tail.cursor())),
                }
                channel.sent = channel.tail.cursor();
            }
            Some(Todo::Page(asked)) => {
                let id = asked.start.channel.clone();
                let channel = &self.channels[&id];
                match self.pages.page(asked, &channel.tail, channel.sent, 0) {
                    Turn::Page(page) => self.queue.push_back(Told::Page(id, page)),
                    Turn::Look(draft, Place::Log) => self.reads.push_back(draft),
                    Turn::Look(_, Place::Worker) | Turn::Waits => panic!("one socket, and all is in the log"),
                }
            }
        }
    }

    fn read(&mut self) {
        let Some(draft) = self.reads.pop_front() else { return };
        let log = &self.channels[draft.channel()].log;
        let rest: Vec<_> = log.iter().filter(|(seq, _)| *seq > draft.reached()).collect();
        let entry = |(seq, envelope): &&(Seq, Envelope)| Entry {
            channel: envelope.channel_id.clone(),
            seq: *seq,
            envelope: envelope.encode().unwrap().into(),
        };
        let entries = rest.iter().take(READ_ENTRIES).map(entry).collect();
        let head = log.last().map_or(0, |(seq, _)| *seq);
        let page = LogPage { entries, head, end: rest.len() <= READ_ENTRIES, floor: 0 };
        let draft = draft.with_log(Ok(page));
        draft.teach(&mut self.channels.get_mut(draft.channel()).unwrap().tail);
        let waiting = self.pages.came(draft, 0).there;
        self.todo.extend(waiting.into_iter().map(Todo::Page));
    }

    fn take(&mut self) {
        match self.queue.pop_front() {
            None => {}
            Some(Told::Event(event)) => {
                let pushed = self.hub.advance(event.channel(), event.seq()).count();
                if pushed == 1 {
                    let frame = event.frame(Dialect::V1Json).unwrap().clone();
                    let pushed = self.outbox.push_event(frame, socket(&mut self.room, &mut self.wire));
                    if pushed.is_err() {
                        assert_eq!(self.room, 0, "a socket that takes something has not overflowed");
                        self.overflowed(event.channel());
                    }
                }
            }
            Some(Told::Behind(channel, cursor)) => {
                let missed = self.hub.advance(&channel, cursor).count();
                (0..missed).for_each(|_| self.overflowed(&channel));
            }
            Some(Told::Page(channel, page)) => {
                self.outbox.page_came();
                assert!(self.session.awaits_page(&channel));
                let (frame, live) = match page {
                    Page::Last(frame) => (frame, true),
                    Page::More(frame) => (Some(frame), false),
                    Page::Failed => panic!("the log was there"),
                };
                if live {
                    self.hub.set(&channel, ID, Push::Live);
                }
                frame.into_iter().for_each(|frame| self.outbox.push_answer(frame));
                self.decide(Input::Resumed { channel, live });
            }
        }
        self.room();
    }

    fn overflowed(&mut self, channel: &ChannelId) {
        self.hub.set(channel, ID, Push::Held);
        self.decide(Input::Overflowed(channel.clone()));
    }

    fn room(&mut self) {
        while self.outbox.has_room_for_page() && self.session.wants_room() {
            self.decide(Input::Room);
        }
    }

    fn decide(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.session.on(input, crate::session::tests::at(0)) {
                inputs.extend(self.act(action));
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Send(frame) => {
                self.outbox.push_answer(encoder::text(&frame.encode(Form::V1).unwrap().unwrap()));
            }
            Action::TellLagging(channels) => {
                let position = |id: &ChannelId| self.hub.cursor(id).unwrap().clone();
                let head = |id: ChannelId| ChannelHead { position: position(&id), channel_id: id };
                let lagging = Lagging { channels: channels.into_iter().map(head).collect() };
                self.outbox.push_answer(encoder::text(&serde_json::to_string(&lagging).unwrap()));
            }
            Action::Hold(channel) => self.hub.set(&channel, ID, Push::Held),
            Action::Resume { channel, position } if self.hub.cursor(&channel) == Some(&position) => {
                self.hub.set(&channel, ID, Push::Live);
                return Some(Input::Resumed { channel, live: true });
            }
            Action::Resume { channel, position } => {
                self.outbox.await_page();
                let start = Start { channel, position };
                let dialect = Dialect::V1Json;
                let asked = PageAsked { reactor: 0, connection: ID, dialect, start, alone: false };
                self.todo.push_back(Todo::Page(asked));
            }
            other => panic!("{other:?}"),
        }
        None
    }

    fn write(&mut self, bytes: usize) {
        self.room = ROOM_MAX.min(self.room + bytes);
        let flushed = self.outbox.flush(socket(&mut self.room, &mut self.wire));
        assert_ne!(flushed, Flushed::Broken);
        self.room();
        while let Some(frame) = next_frame(&mut self.wire) {
            self.client.hear(&frame);
        }
    }

    /// The client asks for what it was told that it misses, all in one frame.
    fn answer(&mut self) {
        let channels: Vec<_> = std::mem::take(&mut self.client.resumes)
            .into_iter()
            .map(|id| json!({"epoch": "e", "seq": self.client.seen[&id].last(), "channel_id": id}))
            .collect();
        if !channels.is_empty() && self.session.takes_frames() {
            let frame = json!({"type": "resume", "channels": channels}).to_string();
            self.decide(Input::Frame(codec::decode(&frame, Form::V1)));
            self.room();
        }
    }

    /// Lets everything come to rest, as it does when the client takes everything.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let busy = !(self.todo.is_empty()
                && self.reads.is_empty()
                && self.queue.is_empty()
                && self.outbox.is_empty()
                && self.client.resumes.is_empty());
            if !busy {
                return;
            }
            for step in [Step::Tell, Step::Read, Step::Take, Step::Write(100_000), Step::Answer] {
                self.step(&step);
            }
        }
        panic!("nothing comes to rest");
    }
}

/// Plays the steps, lets the world come to rest and compares; returns how often the client lagged.
fn play(steps: &[Step]) -> usize {
    let mut world = World::new();
    steps.iter().for_each(|step| world.step(step));
    world.settle();
    for (id, channel) in &world.channels {
        let log: Vec<_> = channel.log.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(world.client.seen[id.as_str()][1..], log);
        let cursor = world.hub.cursor(id).unwrap().seq;
        assert_eq!(world.hub.advance(id, cursor + 1).count(), 1, "the channel is live again");
    }
    world.client.laggings
}

proptest! {
    #[test]
    fn a_slow_client_sees_each_log_once_in_order(steps in prop::collection::vec(step(), 1..400)) {
        play(&steps);
    }
}

#[test]
fn a_client_that_takes_nothing_lags_and_catches_up_from_the_log() {
    let mut steps = Vec::new();
    for _ in 0..40 {
        steps.extend([Step::Append { channel: 0, bytes: 30_000 }, Step::Tell, Step::Take]);
    }
    assert!(play(&steps) > 0, "the outbox overflows");
    let far_behind: Vec<_> = (0..40).map(|_| Step::Append { channel: 0, bytes: 30_000 }).collect();
    assert!(play(&far_behind) > 0, "the ring moves on");
}
