//! Every metric of a worker, named once. Labels are roles, never a channel or a user.

/// Events written to the store.
pub(crate) const PERSISTED: &str = "worker_persisted_total";
/// Batches that failed and were tried again, by role.
pub(crate) const RETRIED: &str = "worker_batches_retried_total";
/// Entries that could not be handled and were put aside, by role.
pub(crate) const DEAD_LETTERS: &str = "worker_dead_letters_total";
/// Requests answered, by role.
pub(crate) const ANSWERED: &str = "worker_requests_answered_total";
/// Requests not worked on because their asker had given up, by role.
pub(crate) const ABANDONED: &str = "worker_requests_abandoned_total";
