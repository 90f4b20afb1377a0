//! Tells members up to where others have read: at most once a second for each of them and channel.

use broker::Broker;
use bytes::Bytes;
use protocol::ephemeral::{Doing, Ephemeral};
use protocol::ids::{ChannelId, Position, UserId};
use protocol::requests;
use runtime::shutdown::{Shutdown, Stage};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// Between two times that somebody is told of one reader. Protocol page.
const PACE: Duration = Duration::from_secs(1);

/// Receipts that wait to be taken. Chosen: a shift that comes back from its break.
pub(crate) const QUEUE: usize = 1_024;

/// Readers who wait to be told of; beyond it the newest are shed. Chosen: a second of a busy worker.
const WAITING_MAX: usize = 10_000;

/// Somebody has read a channel up to here.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) channel_id: ChannelId,
    pub(crate) user_id: UserId,
    pub(crate) read: Position,
}

/// Runs until the workers' stage of the shutdown: what is not told then is in the store.
pub(crate) async fn run(broker: Broker, mut receipts: mpsc::Receiver<Receipt>, shutdown: Shutdown) {
    let mut waiting: HashMap<(ChannelId, UserId), Position> = HashMap::new();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel safe: a receiver, a clock, a watched stage.
        tokio::select! {
            receipt = receipts.recv() => match receipt {
                Some(Receipt { channel_id, user_id, read }) => {
                    let key = (channel_id, user_id);
                    // Of two that come in the wrong order the further one is told.
                    let further = waiting.get(&key).is_none_or(|known| *known < read);
                    if further && (waiting.len() < WAITING_MAX || waiting.contains_key(&key)) {
                        waiting.insert(key, read);
                    }
                }
                None => return,
            },
            _ = pace.tick(), if !waiting.is_empty() => tell(&broker, &mut waiting).await,
            () = shutdown.reached(Stage::Finishing) => return,
        }
    }
}

async fn tell(broker: &Broker, waiting: &mut HashMap<(ChannelId, UserId), Position>) {
    for ((channel_id, user_id), read) in waiting.drain() {
        let ephemeral = Ephemeral { channel_id, user_id, doing: Doing::Read(read) };
        let Ok(payload) = requests::encode(&ephemeral) else { continue };
        if let Err(error) = broker.publish(&ephemeral.channel_id, Bytes::from(payload)).await {
            tracing::debug!(%error, "a receipt was not published");
        }
    }
}
