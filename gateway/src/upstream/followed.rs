//! One channel that some reactor of this gateway hears.

use super::ReactorId;
use super::tail::Tail;
use super::typing::Typing;
use crate::hub::Ticket;
use protocol::ids::Seq;
use runtime::backoff::Backoff;
use std::time::Duration;

/// Below how much the first try to read a log again waits that could not be read, and how far that bound doubles.
/// Chosen: the channels of a busy gateway do not flood a log that is in trouble, and a person still waits for it.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A channel that somebody hears.
pub(super) struct Followed {
    /// Tells this following of a channel from an earlier one, for answers that come late.
    pub(super) generation: u64,
    pub(super) tail: Tail,
    pub(super) started: bool,
    pub(super) readers: Vec<Reader>,
    /// Between tries to read a log that cannot be read.
    pub(super) retry: Backoff,
    pub(super) typing: Typing,
}

impl Followed {
    pub(super) fn new(generation: u64, tail: Tail, reader: Reader) -> Self {
        let retry = Backoff::new(RETRY.0, RETRY.1);
        Self { generation, tail, started: false, readers: vec![reader], retry, typing: Typing::default() }
    }
}

/// A reactor that hears it.
pub(super) struct Reader {
    pub(super) reactor: ReactorId,
    pub(super) ticket: Ticket,
    /// Up to where the reactor was told; `None` until its subscription is answered.
    pub(super) sent: Option<Seq>,
    /// News of this channel are on the reactor's list.
    pub(super) listed: bool,
}
