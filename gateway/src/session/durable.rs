//! Durable frames of one socket: one outstanding per channel, the others wait in order.
//!
//! Order of acknowledgements is order of positions only because the next frame of a channel is not sent before
//! the one before it came back (reliability page: 2,000 inversions a kill were measured otherwise).

use super::{Action, Done, error_frame};
use protocol::codes::ErrorCode;
use protocol::frames::Form;
use protocol::frames::server::{Ack, Durability};
use protocol::ids::{ChannelId, ClientMsgId, Ref};
use protocol::limits;
use protocol::message::Message;
use protocol::requests::{Answer, CommandAnswer, CommandRequest};
use std::collections::{BTreeMap, VecDeque};

pub(super) const MAY_NOT_SEND: &str = "You don't have permission to send messages to this channel";

/// A plain message on its way to the log.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) message: Message,
    pub(crate) content_hash: u32,
}

/// What is durable about a frame.
#[derive(Debug)]
pub(super) enum Work {
    Append(Box<Append>),
    Command(Box<CommandRequest>),
}

/// What the answer needs to know of the frame.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reference: Option<Ref>,
    pub(super) client_msg_id: Option<ClientMsgId>,
}

#[derive(Default)]
pub(super) struct Durable {
    lanes: BTreeMap<ChannelId, Lane>,
    /// Frames that wait, over all lanes; at most [`limits::DURABLE_FRAMES_QUEUED_MAX`], then `rate_limited`.
    waiting: usize,
}

struct Lane {
    outstanding: Asked,
    waiting: VecDeque<(Asked, Work)>,
}

impl Durable {
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Starts the work, or lets it wait its turn.
    ///
    /// # Errors
    /// What was asked, when too much waits.
    pub(super) fn push(
        &mut self,
        channel: ChannelId,
        asked: Asked,
        work: Work,
        actions: &mut Vec<Action>,
    ) -> Result<(), Asked> {
        match self.lanes.get_mut(&channel) {
            None => {
                self.lanes.insert(channel.clone(), Lane { outstanding: asked, waiting: VecDeque::new() });
                actions.push(start(channel, work));
            }
            Some(_) if self.waiting >= limits::DURABLE_FRAMES_QUEUED_MAX => return Err(asked),
            Some(lane) => {
                lane.waiting.push_back((asked, work));
                self.waiting += 1;
            }
        }
        Ok(())
    }

    /// Refuses what waits in a channel: the user is no member any more. What is out may be logged already.
    pub(super) fn refuse_waiting(&mut self, channel: &ChannelId, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(channel) else { return };
        self.waiting -= lane.waiting.len();
        let refused = |(asked, _): (Asked, Work)| failure(ErrorCode::PermissionDenied, asked.reference);
        actions.extend(lane.waiting.drain(..).map(refused));
    }

    /// Answers the outstanding frame of a channel and starts the next. When the log could not be reached,
    /// whatever waits behind fails too: it was certainly not appended, and must not overtake a resend.
    pub(super) fn on_done(&mut self, done: Done, form: Form, actions: &mut Vec<Action>) {
        let Some(mut lane) = self.lanes.remove(&done.channel) else { return };
        let unreachable = matches!(done.result, Err(ErrorCode::Unavailable | ErrorCode::UnknownOutcome));
        answer(lane.outstanding, &done.channel, done.result, form, actions);
        if unreachable {
            self.waiting -= lane.waiting.len();
            let behind = lane.waiting.drain(..);
            actions.extend(behind.map(|(asked, _)| failure(ErrorCode::Unavailable, asked.reference)));
        }
        if let Some((asked, work)) = lane.waiting.pop_front() {
            self.waiting -= 1;
            lane.outstanding = asked;
            actions.push(start(done.channel.clone(), work));
            self.lanes.insert(done.channel, lane);
        }
    }
}

fn start(channel: ChannelId, work: Work) -> Action {
    match work {
        Work::Append(append) => Action::Append(append),
        Work::Command(request) => Action::Command { channel, request },
    }
}

fn answer(
    asked: Asked,
    channel: &ChannelId,
    result: Answer<CommandAnswer>,
    form: Form,
    actions: &mut Vec<Action>,
) {
    match result {
        Ok(done) if form == Form::V1 => actions.push(Action::Send(
            Ack {
                r#ref: asked.reference,
                client_msg_id: asked.client_msg_id,
                message_id: done.message_id,
                channel_id: channel.clone(),
                epoch: done.position.epoch,
                seq: done.position.seq,
                durability: Durability::Logged,
                duplicate: done.duplicate,
            }
            .into(),
        )),
        Ok(_) => {}
        Err(code) => actions.push(failure(code, asked.reference)),
    }
}

/// The old consumer's texts where it had one.
fn failure(code: ErrorCode, reference: Option<Ref>) -> Action {
    let text = match code {
        ErrorCode::PermissionDenied => MAY_NOT_SEND,
        ErrorCode::Unavailable
        | ErrorCode::UnknownOutcome
        | ErrorCode::Internal
        | ErrorCode::UnknownMessage => "Failed to send message",
        other => other.text(),
    };
    error_frame(code, text.to_owned(), reference)
}
