//! Pages of one socket: `resume` and `fetch_history` are answered one at a time, each when the outbox has room.
//!
//! A channel is Live => Held by `resume`, Live => Lagging when the outbox overflows, Held or Lagging => Live by the
//! last page of a `resume`.

#[cfg(test)]
mod tests;

use super::Action;
use protocol::codec::encode_placed;
use protocol::codes::{CloseCode, ErrorCode};
use protocol::frames::server::{History, ResumeDone};
use protocol::ids::{ChannelId, Position, Ref};
use protocol::limits;
use protocol::requests::{Answer, HistoryAnswer, HistoryRequest};
use std::collections::{BTreeMap, VecDeque};

/// `fetch_history` frames that may wait per socket, then `rate_limited`. Chosen: a page shows one channel.
const HISTORY_WAITING_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Pages {
    waiting: VecDeque<Page>,
    histories: usize,
    in_flight: Option<Flight>,
    /// First positions of channels that no `resume` named yet, after a connect with `resume`.
    unnamed: BTreeMap<ChannelId, Position>,
    /// Uptime in ms from which `unnamed` go on by themselves.
    unnamed_until_ms: u64,
    /// Channels that are not pushed and wait for the client's next `resume`, with the uptime in ms since when.
    held: BTreeMap<ChannelId, u64>,
    /// Channels that stopped being pushed, of which the client was not told yet.
    lagging: Vec<ChannelId>,
}

enum Page {
    History { reference: Option<Ref>, request: HistoryRequest },
    Resume { channel: ChannelId, position: Position },
    ResumeDone { reference: Option<Ref> },
}

enum Flight {
    /// `wanted` until the user is no member any more.
    History { reference: Option<Ref>, channel: ChannelId, wanted: bool },
    /// `wanted` until the channel is left: the page is then nobody's, even if the channel is joined again.
    Resume { channel: ChannelId, wanted: bool },
}

impl Pages {
    pub(super) fn wants_room(&self) -> bool {
        self.in_flight.is_none() && !(self.waiting.is_empty() && self.lagging.is_empty())
    }

    /// The channel is Lagging: the client is told as soon as it takes something again.
    pub(super) fn overflowed(&mut self, channel: ChannelId, now: u64) {
        self.held.insert(channel.clone(), now);
        self.lagging.push(channel);
    }

    /// The socket starts Held in these channels, until `resume` names them or time runs out.
    pub(super) fn await_resume(&mut self, heads: BTreeMap<ChannelId, Position>, now: u64) {
        self.unnamed = heads;
        self.unnamed_until_ms = now + limits::RESUME_WAIT_MS;
    }

    pub(super) fn resume(&mut self, channel: ChannelId, position: Position, actions: &mut Vec<Action>) {
        self.unnamed.remove(&channel);
        self.held.remove(&channel);
        self.lagging.retain(|lagging| *lagging != channel);
        actions.push(Action::Hold(channel.clone()));
        self.waiting.push_back(Page::Resume { channel, position });
    }

    /// The client named all that it wanted: the others go on from where they stood.
    pub(super) fn resume_unnamed(&mut self) {
        let unnamed = std::mem::take(&mut self.unnamed).into_iter();
        self.waiting.extend(unnamed.map(|(channel, position)| Page::Resume { channel, position }));
    }

    pub(super) fn resume_done(&mut self, reference: Option<Ref>) {
        self.waiting.push_back(Page::ResumeDone { reference });
    }

    /// Whether another batch of `resume` may wait: each channel once, with room for the frames between.
    pub(super) fn takes_resume(&self) -> bool {
        self.waiting.len() < 2 * limits::CHANNELS_PER_SOCKET_MAX
    }

    pub(super) fn history(
        &mut self,
        reference: Option<Ref>,
        request: HistoryRequest,
    ) -> Result<(), ErrorCode> {
        if self.histories >= HISTORY_WAITING_MAX {
            return Err(ErrorCode::RateLimited);
        }
        self.histories += 1;
        self.waiting.push_back(Page::History { reference, request });
        Ok(())
    }

    pub(super) fn forget(&mut self, channel: &ChannelId) {
        self.unnamed.remove(channel);
        self.held.remove(channel);
        self.lagging.retain(|lagging| lagging != channel);
        self.waiting.retain(|page| !matches!(page, Page::Resume { channel: named, .. } if named == channel));
        if let Some(Flight::Resume { channel: flying, wanted }) = &mut self.in_flight {
            *wanted &= flying != channel;
        }
    }

    /// No history of this channel is given any more, whenever it was asked for.
    pub(super) fn refuse_history(&mut self, channel: &ChannelId, actions: &mut Vec<Action>) {
        let histories = &mut self.histories;
        self.waiting.retain_mut(|page| match page {
            Page::History { reference, request } if request.channel_id == *channel => {
                *histories -= 1;
                actions.push(refused(ErrorCode::UnknownChannel, reference.take()));
                false
            }
            _ => true,
        });
        if let Some(Flight::History { channel: flying, wanted, .. }) = &mut self.in_flight {
            *wanted &= flying != channel;
        }
    }

    pub(super) fn awaits(&self, channel: &ChannelId) -> bool {
        matches!(&self.in_flight, Some(Flight::Resume { channel: flying, wanted: true }) if flying == channel)
    }

    pub(super) fn on_room(&mut self, actions: &mut Vec<Action>) {
        if !self.lagging.is_empty() {
            actions.push(Action::TellLagging(std::mem::take(&mut self.lagging)));
        }
        while self.in_flight.is_none() {
            match self.waiting.pop_front() {
                None => return,
                Some(Page::ResumeDone { reference }) => {
                    actions.push(Action::Send(ResumeDone { r#ref: reference }.into()));
                }
                Some(Page::Resume { channel, position }) => {
                    self.in_flight = Some(Flight::Resume { channel: channel.clone(), wanted: true });
                    actions.push(Action::Resume { channel, position });
                }
                Some(Page::History { reference, request }) => {
                    self.histories -= 1;
                    let channel = request.channel_id.clone();
                    self.in_flight = Some(Flight::History { reference, channel, wanted: true });
                    actions.push(Action::History(request));
                }
            }
        }
    }

    pub(super) fn on_history(&mut self, answer: Answer<HistoryAnswer>, actions: &mut Vec<Action>) {
        let Some(Flight::History { reference, channel, wanted }) = self.in_flight.take() else { return };
        let answer = if wanted { answer } else { Err(ErrorCode::UnknownChannel) };
        let encoded = answer.and_then(|page| {
            let messages: Result<Vec<_>, _> = page.messages.iter().map(encode_placed).collect();
            messages.map(|messages| (messages, page.more)).map_err(|_| ErrorCode::Internal)
        });
        actions.push(match encoded {
            Ok((messages, more)) => {
                Action::Send(History { r#ref: reference, channel_id: channel, messages, more }.into())
            }
            Err(code) => refused(code, reference),
        });
    }

    /// A page came; unless it was the last one, the channel hangs on the client from now on. One that was resumed once
    /// more meanwhile is not Live before that page has come, too.
    pub(super) fn on_resumed(
        &mut self,
        channel: &ChannelId,
        live: bool,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let again = |page: &Page| matches!(page, Page::Resume { channel: named, .. } if named == channel);
        if live && self.waiting.iter().any(again) {
            actions.push(Action::Hold(channel.clone()));
        }
        if !live && self.awaits(channel) {
            self.held.insert(channel.clone(), now);
        }
        self.in_flight
            .take_if(|flight| matches!(flight, Flight::Resume { channel: flying, .. } if flying == channel));
    }

    pub(super) fn on_tick(&mut self, now: u64) {
        if !self.unnamed.is_empty() && now >= self.unnamed_until_ms {
            self.resume_unnamed();
        }
    }

    /// Returns how to close a socket that lets a channel hang.
    pub(super) fn overdue(&self, now: u64) -> Option<CloseCode> {
        let overdue = self.held.values().any(|since| now >= since + limits::HELD_TIME_MS);
        overdue.then_some(CloseCode::TooSlow)
    }
}

fn refused(code: ErrorCode, reference: Option<Ref>) -> Action {
    super::error_frame(code, code.text().to_owned(), reference)
}
