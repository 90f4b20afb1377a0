//! What one socket may do and what it is told: a pure state machine, `on(input, moment) -> actions`.
//!
//! It is not the socket (`connection`), not the set of subscribers (`hub`) and not the log (`upstream`): it
//! decides, they act. Architecture Invariant: no I/O, no clock, no randomness of its own.

mod channels;
mod commands;
mod durable;
mod faults;
mod memberships;
mod open;
mod pages;
mod reading;
mod typing;

#[cfg(test)]
pub(crate) mod tests;

use crate::auth::Verified;
use channels::Channels;
use durable::Durable;
use faults::Faults;
use memberships::{JoinedBy, Joining};
use pages::Pages;
use protocol::claims::Profile;
use protocol::codec::Decoded;
use protocol::codes::{CloseCode, ErrorCode};
use protocol::ephemeral::Ephemeral;
use protocol::frames::Form;
use protocol::frames::client::Token;
use protocol::frames::error::FrameError;
use protocol::frames::server::{self, ServerFrame};
use protocol::ids::{ChannelId, Position, Ref, SessionId, UserId};
use protocol::limits;
use protocol::message::Sender;
use protocol::requests::{Answer, CommandAnswer, CommandRequest, HistoryAnswer, HistoryRequest};
use protocol::requests::{MembershipsVersion, SessionAnswer};
use protocol::requests::{ReadAnswer, ReadRequest};
use std::sync::Arc;
use typing::Typing;

/// The outer world at one instant: all that a decision may depend on beside its input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Milliseconds since 1970: for what clients and tokens are told.
    pub(crate) unix_ms: u64,
    /// Milliseconds since the process started, of a clock that never jumps: for how long something takes.
    pub(crate) up_ms: u64,
    /// Fresh randomness, for at most one id.
    pub(crate) random: [u8; 10],
}

/// What happened to a session.
#[derive(Debug)]
pub(crate) enum Input {
    /// The credential was judged; `resume` is the client's wish to start Held.
    Verified { outcome: Result<Verified, CloseCode>, resume: bool },
    /// The directory answered `AskDirectory`.
    Directory(Answer<SessionAnswer>),
    /// The directory says where the user may listen now.
    Memberships(Arc<SessionAnswer>),
    /// Each channel of `Subscribe` has a cursor at the hub.
    Subscribed(Vec<(ChannelId, Position)>),
    /// The channel of `Join` has a cursor at the hub.
    Joined(ChannelId, Position),
    /// The hub could not subscribe to a channel.
    SubscribeFailed(ChannelId),
    /// The client sent something.
    Frame(Decoded),
    /// A durable command came to an end.
    Done(Done),
    /// The worker answered `MarkRead`.
    MarkedRead { asked: Reading, result: Answer<ReadAnswer> },
    /// The worker answered `History`.
    History(Answer<HistoryAnswer>),
    /// A page of `Resume` is in the outbox; `live` when it was the last one.
    Resumed { channel: ChannelId, live: bool },
    /// The outbox had no room for an event of this channel, which is not pushed from here on.
    Overflowed(ChannelId),
    /// The outbox has room for a page.
    Room,
    /// About a second went by.
    Tick,
    /// The server stops; the client shall come back after this many milliseconds, and is served until then.
    Drain { after_ms: u64, why: Farewell },
    /// The time that `Drain` named has come.
    Depart(Farewell),
    /// The socket is gone.
    Gone,
}

/// The end of a durable command.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None` for a frame that named none.
    pub(crate) channel: Option<ChannelId>,
    pub(crate) result: Answer<CommandAnswer>,
}

/// What to do about it.
#[derive(Debug)]
pub(crate) enum Action {
    /// Put a frame into the outbox.
    Send(ServerFrame),
    /// Judge a credential and answer with `Verified`.
    Verify { token: Token, resume: bool },
    /// Ask the directory and answer with `Directory`.
    AskDirectory(Profile),
    /// Subscribe Held at the hub and answer with `Subscribed` when all have a cursor.
    Subscribe(Vec<ChannelId>),
    /// Subscribe Held at the hub and answer with `Joined`.
    Join(ChannelId),
    /// End a subscription.
    Leave(ChannelId),
    /// Push events of these channels from the cursor just named on.
    GoLive(Vec<ChannelId>),
    /// Stop pushing events of this channel.
    Hold(ChannelId),
    /// Put the events after a position into the outbox and answer with `Resumed`.
    Resume { channel: ChannelId, position: Position },
    /// Say that these channels are not pushed, and where they stand.
    TellLagging(Vec<ChannelId>),
    /// Ask a worker to keep how far the user has read, and answer with `MarkedRead`.
    MarkRead { asked: Reading, request: Box<ReadRequest> },
    /// Ask for a page and answer with `History`.
    History(HistoryRequest),
    /// Append to the log and answer with `Done`.
    Append(Box<durable::Append>),
    /// Ask the `commands` role and answer with `Done`; the client need not have named a channel.
    Command { channel: Option<ChannelId>, request: Box<CommandRequest> },
    /// Tell the others.
    Publish(Ephemeral),
    /// Say why and close.
    Close(CloseCode),
}

pub(crate) use durable::Append;
pub(crate) use reading::Reading;

/// The state of one socket's conversation.
pub(crate) struct Session {
    form: Form,
    id: SessionId,
    phase: Phase,
    /// Who it is, once the directory said so.
    user: Option<Arc<Sender>>,
    /// Unix ms after which the token is worthless, leeway included.
    expires_at_ms: u64,
    /// Uptime in ms after which the socket has lived long enough.
    ends_at_ms: u64,
    /// Which state of the user's memberships `channels` is.
    version: MembershipsVersion,
    channels: Channels,
    /// Channels that wait for their cursor: at most one that the client asked for, and those that were added.
    joining: Vec<Joining>,
    durable: Durable,
    pages: Pages,
    /// Frames `mark_read` that are out.
    reads: u32,
    typing: Typing,
    faults: Faults,
}

/// How far the conversation has come; inputs that do not fit their phase are ignored.
enum Phase {
    /// AwaitingToken => Opening by `authenticate`, => Closed by time.
    AwaitingToken { until_ms: u64 },
    /// Opening => Subscribing when the directory answers.
    Opening { resume: bool },
    /// Subscribing => Open when each channel has a cursor.
    Subscribing { resume: bool },
    /// Open => Draining by `Depart`, => Closed by either side.
    Open,
    /// Draining => Closed when nothing durable is outstanding.
    Draining(Farewell),
    /// Nothing more is said.
    Closed,
}

/// Why a gateway sends clients away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// It stops.
    Restart,
    /// Others have room.
    Rebalance,
}

impl Farewell {
    fn reason(self) -> server::ReconnectReason {
        match self {
            Self::Restart => server::ReconnectReason::Restart,
            Self::Rebalance => server::ReconnectReason::Rebalance,
        }
    }

    fn close_code(self) -> CloseCode {
        match self {
            Self::Restart => CloseCode::Restart,
            Self::Rebalance => CloseCode::Rebalance,
        }
    }
}

impl Session {
    /// Makes a session that waits for `Verified` or, as v1, for an `authenticate` frame.
    pub(crate) fn new(form: Form, moment: Moment) -> Self {
        Self {
            form,
            id: SessionId::v7(moment.unix_ms, &moment.random),
            phase: Phase::AwaitingToken { until_ms: moment.up_ms + limits::AUTHENTICATE_TIME_MS },
            expires_at_ms: u64::MAX,
            ends_at_ms: moment.up_ms + limits::SESSION_MAX_MS,
            user: None,
            version: 0,
            channels: Channels::default(),
            joining: Vec::new(),
            durable: Durable::default(),
            pages: Pages::default(),
            reads: 0,
            typing: Typing::default(),
            faults: Faults::new(moment.up_ms),
        }
    }

    /// Returns the id under which this conversation is logged.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the user, once the directory said who he is.
    pub(crate) fn user_id(&self) -> Option<&UserId> {
        self.user.as_ref().map(|user| &user.id)
    }

    /// Whether client frames can be handled now; else they wait unread, so that none is answered too early.
    pub(crate) fn takes_frames(&self) -> bool {
        let opening = matches!(self.phase, Phase::Opening { .. } | Phase::Subscribing { .. });
        !opening && !self.joining.iter().any(|joining| matches!(joining.by, JoinedBy::Client(_)))
    }

    /// Returns which state of the user's memberships this is; `None` while the session is not open.
    pub(crate) fn version(&self) -> Option<MembershipsVersion> {
        matches!(self.phase, Phase::Open | Phase::Draining(_)).then_some(self.version)
    }

    /// Whether the page of a `resume` that is on its way is still wanted.
    pub(crate) fn awaits_page(&self, channel: &ChannelId) -> bool {
        self.pages.awaits(channel)
    }

    /// Whether a page waits for room in the outbox.
    pub(crate) fn wants_room(&self) -> bool {
        self.pages.wants_room()
    }

    /// Takes one input and says what follows from it.
    pub(crate) fn on(&mut self, input: Input, moment: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Verified { outcome, resume } => self.on_verified(outcome, resume, &mut actions),
            Input::Directory(answer) => self.on_directory(answer, &mut actions),
            Input::Memberships(answer) => self.on_memberships(&answer, &mut actions),
            Input::Subscribed(heads) => self.on_subscribed(&heads, moment, &mut actions),
            Input::Joined(channel, head) => self.on_joined(&channel, head, &mut actions),
            Input::SubscribeFailed(channel) => self.on_subscribe_failed(&channel, &mut actions),
            Input::Frame(decoded) => self.on_frame(decoded, moment, &mut actions),
            Input::Done(done) => self.on_done(done, &mut actions),
            Input::MarkedRead { asked, result } => self.on_marked_read(asked, result, &mut actions),
            Input::History(answer) => self.pages.on_history(answer, &mut actions),
            Input::Resumed { channel, live } => {
                self.pages.on_resumed(&channel, live, moment.up_ms, &mut actions);
            }
            Input::Overflowed(channel) => self.on_overflowed(channel, moment, &mut actions),
            Input::Room => self.pages.on_room(&mut actions),
            Input::Tick => self.on_tick(moment, &mut actions),
            Input::Drain { after_ms, why } => self.on_drain(after_ms, why, &mut actions),
            Input::Depart(why) => self.on_depart(why, &mut actions),
            Input::Gone => self.on_gone(&mut actions),
        }
        if let Some(Action::Close(_)) = actions.last() {
            self.phase = Phase::Closed;
        }
        actions
    }

    fn on_done(&mut self, done: Done, actions: &mut Vec<Action>) {
        let refused = done.result.as_ref().err().copied();
        self.durable.on_done(done, self.form, actions);
        if let Some(code) = refused.and_then(|code| self.faults.count(code)) {
            return actions.push(Action::Close(code));
        }
        if let Phase::Draining(why) = self.phase
            && self.durable.is_idle()
        {
            actions.push(Action::Close(why.close_code()));
        }
    }

    fn on_tick(&mut self, moment: Moment, actions: &mut Vec<Action>) {
        let now = moment.up_ms;
        self.faults.forgive(now);
        let close = match &self.phase {
            Phase::AwaitingToken { until_ms } if now >= *until_ms => Some(CloseCode::NotAuthenticatedInTime),
            Phase::Closed => None,
            _ if now >= self.ends_at_ms || moment.unix_ms >= self.expires_at_ms => {
                Some(CloseCode::TokenExpired)
            }
            _ => self.pages.overdue(now),
        };
        if let Some(code) = close {
            actions.push(Action::Close(code));
            return;
        }
        if let (Phase::Open, Some(user)) = (&self.phase, &self.user) {
            self.typing.expire(&user.id, now, actions);
            self.pages.on_tick(now);
            self.join_again(actions);
        }
    }

    /// A v1 client catches up by itself; a classic one knows no other way than a new socket.
    fn on_overflowed(&mut self, channel: ChannelId, moment: Moment, actions: &mut Vec<Action>) {
        match self.form {
            Form::V1 => self.pages.overflowed(channel, moment.up_ms),
            Form::Classic => actions.push(Action::Close(CloseCode::TooSlow)),
        }
    }

    fn on_drain(&mut self, after_ms: u64, why: Farewell, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Open) {
            let reason = why.reason();
            actions.push(Action::Send(server::Reconnect { after_ms, reason }.into()));
        }
    }

    fn on_depart(&mut self, why: Farewell, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Draining(why);
        }
        if self.durable.is_idle() && !matches!(self.phase, Phase::Closed) {
            actions.push(Action::Close(why.close_code()));
        }
    }

    fn on_gone(&mut self, actions: &mut Vec<Action>) {
        if let Some(user) = &self.user {
            self.typing.stop_all(&user.id, actions);
        }
        let channels = std::mem::take(&mut self.channels);
        let heard = channels.iter().filter(|channel| channel.subscribed);
        let heard = heard.map(|channel| channel.membership.channel_id.clone());
        let joining = std::mem::take(&mut self.joining).into_iter().map(|joining| joining.channel);
        actions.extend(heard.chain(joining).map(Action::Leave));
        self.phase = Phase::Closed;
    }

    /// Answers a refused frame; a client that never stops sending such is closed.
    fn refuse(&mut self, error: FrameError, reference: Option<Ref>, actions: &mut Vec<Action>) {
        let silent = error.silent_on_classic && self.form == Form::Classic;
        if !silent {
            actions.push(error_frame(error.code, error.text.into_owned(), reference));
        }
        actions.extend(self.faults.count(error.code).map(Action::Close));
    }
}

fn error_frame(code: ErrorCode, text: String, reference: Option<Ref>) -> Action {
    // Only what passes by itself names a time: chosen, the backoff of the protocol page starts at 500 ms.
    let retry_after_ms = matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited).then_some(1_000);
    Action::Send(server::Error { code, message: text, r#ref: reference, retry_after_ms }.into())
}
