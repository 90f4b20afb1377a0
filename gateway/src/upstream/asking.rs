//! What upstream asks the log, each question with a deadline.

use broker::{Broker, LogPage, ReadError, ReadLimit};
use protocol::ids::{ChannelId, Seq};
use protocol::limits::PAGE_BYTES_MAX;
use std::time::Duration;
use tokio::time::timeout;

/// What one read of the log brings at most: a page.
pub(super) const READ: ReadLimit = ReadLimit { entries: 512, bytes: PAGE_BYTES_MAX };

/// How long the broker may take for one of upstream's questions; then it counts as not answered. Chosen: a
/// person who opens a channel waits as long.
const DEADLINE: Duration = Duration::from_secs(5);

/// Reads the log after a position. The head first: after a loss most channels turn out to have missed nothing.
pub(super) async fn newer(
    broker: &Broker,
    channel: &ChannelId,
    after: Seq,
) -> Result<Option<LogPage>, ReadError> {
    let head = in_time(broker.head(channel)).await?;
    if head.seq <= after {
        return Ok(None);
    }
    in_time(broker.read(channel, after, READ)).await.map(Some)
}

pub(super) async fn in_time<T>(question: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    timeout(DEADLINE, question).await.unwrap_or_else(|late| Err(ReadError::Failed(late.to_string())))
}
