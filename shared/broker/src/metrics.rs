//! Every metric of the broker, named once.

/// Entries appended.
pub(crate) const APPENDED: &str = "broker_appended_total";
/// Appends that were recognised as duplicates.
pub(crate) const DUPLICATES: &str = "broker_duplicates_total";
/// Requests in one commit of the embedded log.
pub(crate) const COMMIT_SIZE: &str = "broker_commit_entries";
/// Seconds that one commit of the embedded log took, fsync included.
pub(crate) const COMMIT_SECONDS: &str = "broker_commit_seconds";
/// Commits of the embedded log that failed.
pub(crate) const COMMITS_FAILED: &str = "broker_commits_failed_total";
/// Entries that were purged.
pub(crate) const PURGED: &str = "broker_purged_total";
/// Live copies dropped because a subscriber's queue was full.
pub(crate) const LIVE_DROPPED: &str = "broker_live_dropped_total";
/// Ephemeral events dropped because a subscriber's queue was full.
pub(crate) const EPHEMERAL_DROPPED: &str = "broker_ephemeral_dropped_total";
/// Announcements dropped because a subscriber's queue was full.
pub(crate) const CONTROL_DROPPED: &str = "broker_control_dropped_total";
/// When a digest of changed heads was heard last, in seconds since 1970: older than a few seconds, and nobody tells them.
pub(crate) const DIGEST_HEARD: &str = "broker_digest_heard_timestamp_seconds";
/// Connections made to NATS.
pub(crate) const CONNECTS: &str = "broker_connects_total";
/// Appends that were sent once more, because no final answer came.
pub(crate) const APPENDS_AGAIN: &str = "broker_appends_again_total";
/// Answers dropped because too many waited for the connection.
pub(crate) const REPLIES_DROPPED: &str = "broker_replies_dropped_total";
