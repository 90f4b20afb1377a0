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
    pub(super) what: What,
    pub(super) reference: Option<Ref>,
    pub(super) client_msg_id: Option<ClientMsgId>,
}

/// What kind of frame it is, for the words of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Send,
    Change,
    React,
}

#[derive(Default)]
pub(super) struct Durable {
    lanes: BTreeMap<ChannelId, Lane>,
    /// A frame that names no channel, when one is out: then nothing else is.
    anywhere: Option<Asked>,
    /// Frames that wait for one that names no channel, in order; the first one of them waits for all lanes.
    behind: VecDeque<(Option<ChannelId>, Asked, Work)>,
    /// Frames that wait in lanes.
    waiting: usize,
}

struct Lane {
    outstanding: Asked,
    waiting: VecDeque<(Asked, Work)>,
}

impl Durable {
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.anywhere.is_none()
    }

    /// Starts the work, or lets it wait its turn. What names no channel may be of any, and waits for all.
    ///
    /// # Errors
    /// What was asked, when more than [`limits::DURABLE_FRAMES_QUEUED_MAX`] wait.
    pub(super) fn push(
        &mut self,
        channel: Option<ChannelId>,
        asked: Asked,
        work: Work,
        actions: &mut Vec<Action>,
    ) -> Result<(), Asked> {
        let free = match &channel {
            Some(channel) => !self.lanes.contains_key(channel),
            None => self.lanes.is_empty(),
        };
        let passes = self.anywhere.is_none() && self.behind.is_empty();
        if !(passes && free) && self.waiting + self.behind.len() >= limits::DURABLE_FRAMES_QUEUED_MAX {
            return Err(asked);
        }
        match channel {
            Some(channel) if passes => self.enter(channel, asked, work, actions),
            None if passes && free => self.start_anywhere(asked, work, actions),
            channel => self.behind.push_back((channel, asked, work)),
        }
        Ok(())
    }

    fn enter(&mut self, channel: ChannelId, asked: Asked, work: Work, actions: &mut Vec<Action>) {
        match self.lanes.get_mut(&channel) {
            None => {
                self.lanes.insert(channel.clone(), Lane { outstanding: asked, waiting: VecDeque::new() });
                actions.push(start(Some(channel), work));
            }
            Some(lane) => {
                lane.waiting.push_back((asked, work));
                self.waiting += 1;
            }
        }
    }

    fn start_anywhere(&mut self, asked: Asked, work: Work, actions: &mut Vec<Action>) {
        self.anywhere = Some(asked);
        actions.push(start(None, work));
    }

    /// Lets go what waited for a frame that names no channel, up to the next one.
    fn let_go(&mut self, actions: &mut Vec<Action>) {
        while self.anywhere.is_none() {
            match self.behind.pop_front() {
                Some((Some(channel), asked, work)) => self.enter(channel, asked, work, actions),
                Some((None, asked, work)) if self.lanes.is_empty() => {
                    self.start_anywhere(asked, work, actions);
                }
                Some(first) => return self.behind.push_front(first),
                None => return,
            }
        }
    }

    /// Refuses what waits in a channel: the user is no member any more. What is out may be logged already.
    pub(super) fn refuse_waiting(&mut self, channel: &ChannelId, actions: &mut Vec<Action>) {
        let waiting = self.take_waiting(channel);
        actions.extend(waiting.into_iter().map(|asked| failure(ErrorCode::PermissionDenied, asked)));
    }

    /// Takes what waits in a channel, wherever.
    fn take_waiting(&mut self, channel: &ChannelId) -> Vec<Asked> {
        let lane = self.lanes.get_mut(channel);
        let mut taken: Vec<Asked> =
            lane.map(|lane| lane.waiting.drain(..).map(|(asked, _)| asked).collect()).unwrap_or_default();
        self.waiting -= taken.len();
        let (of_it, others): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.behind).into_iter().partition(|(of, ..)| of.as_ref() == Some(channel));
        self.behind = others;
        taken.extend(of_it.into_iter().map(|(_, asked, _)| asked));
        taken
    }

    /// Answers the outstanding frame of a channel and starts the next. When the log could not be reached,
    /// whatever waits behind fails too: it was certainly not appended, and must not overtake a resend.
    pub(super) fn on_done(&mut self, done: Done, form: Form, actions: &mut Vec<Action>) {
        let Done { channel, result } = done;
        let unreachable = matches!(result, Err(ErrorCode::Unavailable | ErrorCode::UnknownOutcome));
        let mut failed = Vec::new();
        match channel {
            Some(channel) => {
                if unreachable {
                    failed = self.take_waiting(&channel);
                }
                let Some(mut lane) = self.lanes.remove(&channel) else { return };
                answer(lane.outstanding, result, form, actions);
                if let Some((asked, work)) = lane.waiting.pop_front() {
                    self.waiting -= 1;
                    lane.outstanding = asked;
                    actions.push(start(Some(channel.clone()), work));
                    self.lanes.insert(channel, lane);
                }
            }
            None => {
                let Some(asked) = self.anywhere.take() else { return };
                answer(asked, result, form, actions);
                if unreachable {
                    failed = self.behind.drain(..).map(|(_, asked, _)| asked).collect();
                }
            }
        }
        actions.extend(failed.into_iter().map(|asked| failure(ErrorCode::Unavailable, asked)));
        self.let_go(actions);
    }
}

fn start(channel: Option<ChannelId>, work: Work) -> Action {
    match work {
        Work::Append(append) => Action::Append(append),
        Work::Command(request) => Action::Command { channel, request },
    }
}

fn answer(asked: Asked, result: Answer<CommandAnswer>, form: Form, actions: &mut Vec<Action>) {
    match result {
        Ok(done) if form == Form::V1 => actions.push(Action::Send(
            Ack {
                r#ref: asked.reference,
                client_msg_id: asked.client_msg_id,
                message_id: done.message_id,
                channel_id: done.channel_id,
                epoch: done.position.epoch,
                seq: done.position.seq,
                durability: Durability::Logged,
                duplicate: done.duplicate,
            }
            .into(),
        )),
        Ok(_) => {}
        // The old consumer said nothing here.
        Err(ErrorCode::UnknownMessage) if form == Form::Classic && asked.what == What::React => {}
        Err(code) => actions.push(failure(code, asked)),
    }
}

/// The old consumer's texts where it had one.
fn failure(code: ErrorCode, asked: Asked) -> Action {
    let failed = match code {
        ErrorCode::Unavailable | ErrorCode::UnknownOutcome | ErrorCode::Internal => true,
        ErrorCode::UnknownMessage => asked.what == What::Send,
        ErrorCode::PermissionDenied => asked.what == What::React,
        _ => false,
    };
    let text = match asked.what {
        What::Send if code == ErrorCode::PermissionDenied => MAY_NOT_SEND,
        What::Send if failed => "Failed to send message",
        What::React if failed => "Failed to update reaction",
        What::Send | What::Change | What::React => code.text(),
    };
    error_frame(code, text.to_owned(), asked.reference)
}
