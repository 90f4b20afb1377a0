//! The scenarios, and what they share: users that connect, and what the server says first.

mod crowd;
mod follow;
pub(crate) mod hostile;
pub(crate) mod idle;
pub(crate) mod outage;
pub(crate) mod sends;
pub(crate) mod steady;
pub(crate) mod storm;
pub(crate) mod visit;

use crate::acks::Acks;
use crate::engine::{Engine, Load};
use crate::options::{Arrival, Common};
use crate::report::{Report, say};
use crate::verify::Faults;
use anyhow::bail;
use std::time::Duration;

/// How long the server may take for one more handshake before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two lines of progress.
pub(crate) const PROGRESS: Duration = Duration::from_secs(1);

/// Whether a frame is of this type; servers write `type` first.
pub(crate) fn is(json: &[u8], kind: &str) -> bool {
    json.strip_prefix(b"{\"type\":\"").is_some_and(|rest| {
        rest.strip_prefix(kind.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"'))
    })
}

/// Who is there, and who was turned away.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    pub(crate) established: usize,
    /// Who was let in, but is no member of the room that it should hear.
    strangers: usize,
    /// Sockets that ended, with the close code or the status of the refusal.
    pub(crate) gone: Vec<(usize, Option<u16>)>,
    /// `error` frames.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Presence {
    /// Takes the first frame of somebody who should hear a room. A server that is none of ours names no channels.
    pub(crate) fn welcome(&mut self, json: &[u8], room: &str) {
        let has = |what: &str| memchr::memmem::find(json, what.as_bytes()).is_some();
        self.established += 1;
        self.strangers += usize::from(has(r#""channels":["#) && !has(&format!(r#""channel_id":"{room}""#)));
    }

    pub(crate) fn error(&mut self, json: &[u8]) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| String::from_utf8_lossy(json).into_owned());
    }
}

/// Reports and demands what every run with messages must show: each acknowledged once, delivered to everybody once
/// and in order, no errors, nobody lost.
///
/// # Errors
/// Never in practice: what is reported is plain.
pub(crate) fn judge(
    report: &mut Report,
    presence: &Presence,
    faults: Faults,
    acks: &Acks,
) -> anyhow::Result<()> {
    acks.judge(report);
    report.set("faults", serde_json::to_value(faults)?);
    report.set("errors", presence.errors);
    report.set("first_error", presence.first_error.clone());
    report.set("sockets_lost", presence.gone.len());
    report.demand(faults.none(), format!("messages were lost, repeated or reordered: {faults:?}"));
    report.demand(presence.errors == 0, "the server answered with errors");
    report.demand(presence.gone.is_empty(), "sockets were lost");
    Ok(())
}

/// A load whose sockets are counted.
pub(crate) trait Counted: Load {
    fn presence(&self) -> &Presence;
}

/// Connects users `from..to`, so many at a time, and waits until each heard `connection_established`.
///
/// # Errors
/// When one is refused, or nothing moves any more.
pub(crate) fn connect(
    engine: &mut Engine,
    load: &mut impl Counted,
    common: &Common,
    scenario: &str,
    (from, to): (usize, usize),
) -> anyhow::Result<()> {
    let signer = common.signer()?;
    let before = load.presence().established;
    let patience = nanos(PATIENCE);
    let (mut begun, mut moved, mut told) = (from, engine.now_ns(), engine.now_ns());
    loop {
        let done = load.presence().established - before;
        if let Some((socket, code)) = load.presence().gone.first() {
            bail!("socket {socket} was turned away ({code:?}): are its users seeded, and is the key right?");
        }
        let strangers = load.presence().strangers;
        if strangers > 0 {
            bail!("{strangers} of {done} users are no members of their rooms: are they seeded, and stored?");
        }
        if done == to - from {
            return Ok(());
        }
        while begun < to && begun - from - done < common.handshakes {
            engine.connect(begun, &signer.token(&common.user(scenario, begun))?, Arrival::Fresh)?;
            begun += 1;
        }
        let now = engine.now_ns();
        engine.turn(load, now + 50_000_000)?;
        if load.presence().established - before > done {
            moved = engine.now_ns();
        }
        if engine.now_ns() - moved > patience {
            bail!("{done} of {} connections were established, then none for {PATIENCE:?}", to - from);
        }
        if engine.now_ns() - told > nanos(PROGRESS) {
            told = engine.now_ns();
            say(&format!("connecting: {done} of {}", to - from));
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
