//! Every metric of a worker, named once. Labels are roles, never a channel or a user.

/// Events written to the store.
pub(crate) const PERSISTED: &str = "worker_persisted_total";
/// Batches that failed and were tried again, by role.
pub(crate) const RETRIED: &str = "worker_batches_retried_total";
/// Entries that cannot be read and were skipped.
pub(crate) const SKIPPED: &str = "worker_entries_skipped_total";
/// Requests answered, by role.
pub(crate) const ANSWERED: &str = "worker_requests_answered_total";
/// Requests not worked on because their asker had given up, by role.
pub(crate) const ABANDONED: &str = "worker_requests_abandoned_total";
