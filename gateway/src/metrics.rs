//! Every metric of a gateway, named once. Label sets are closed: codes and forms, never a channel or a user.

use metrics::{describe_counter, describe_gauge};

/// Sockets open now.
pub(crate) const CONNECTIONS: &str = "gateway_connections";
/// Sockets closed, by close code.
pub(crate) const CLOSED: &str = "gateway_closed_total";
/// Handshakes refused, by code.
pub(crate) const REFUSED: &str = "gateway_handshakes_refused_total";
/// Client frames taken.
pub(crate) const FRAMES_IN: &str = "gateway_frames_in_total";
/// Client frames refused, by code.
pub(crate) const FRAMES_REFUSED: &str = "gateway_frames_refused_total";
/// Frames put into outboxes for an event.
pub(crate) const DELIVERIES: &str = "gateway_deliveries_total";
/// Times that a socket had no room for an event and stopped being pushed a channel.
pub(crate) const OVERFLOWS: &str = "gateway_overflows_total";
/// Durable frames sent to the log or a worker, by outcome.
pub(crate) const DURABLE: &str = "gateway_durable_total";
/// Times that live copies were lost on their way and the log was asked.
pub(crate) const LIVE_LOST: &str = "gateway_live_lost_total";
/// Reads of the log to repair a channel.
pub(crate) const LOG_READS: &str = "gateway_log_reads_total";
/// Reads of the log to repair a channel that failed and are tried again.
pub(crate) const LOG_READS_FAILED: &str = "gateway_log_reads_failed_total";
/// Looks for what a page of `resumed` needs and no ring has, by where: the log, or a worker.
pub(crate) const PAGE_LOOKS: &str = "gateway_page_looks_total";
/// Pages of `resumed` that were encoded; sockets that resume from one position share them.
pub(crate) const PAGES_ENCODED: &str = "gateway_pages_encoded_total";
/// Pages of `resumed` that were told to sockets.
pub(crate) const PAGES_TOLD: &str = "gateway_pages_told_total";
/// Followed channels whose log began anew.
pub(crate) const LIVES: &str = "gateway_channels_begun_anew_total";
/// Typing and the like that was shed.
pub(crate) const PASSING_DROPPED: &str = "gateway_passing_dropped_total";
/// Announcements that were dropped because a reactor was behind.
pub(crate) const CONTROLS_DROPPED: &str = "gateway_controls_dropped_total";
/// Times that the directory was asked again about a user with open sockets.
pub(crate) const RENEWALS: &str = "gateway_renewals_total";

/// Users whose newest state of memberships was asked for, because an announcement may have been lost.
pub(crate) const VERSIONS_CHECKED: &str = "gateway_versions_checked_total";

/// Tells the recorder what each metric means.
pub(crate) fn describe() {
    describe_gauge!(CONNECTIONS, "Sockets open now");
    describe_counter!(CLOSED, "Sockets closed, by close code");
    describe_counter!(REFUSED, "Handshakes refused, by code");
    describe_counter!(FRAMES_IN, "Client frames taken");
    describe_counter!(FRAMES_REFUSED, "Client frames refused, by code");
    describe_counter!(DELIVERIES, "Frames put into outboxes for an event");
    describe_counter!(
        OVERFLOWS,
        "Times that a socket had no room for an event and stopped being pushed a channel"
    );
    describe_counter!(DURABLE, "Durable frames sent to the log or a worker, by outcome");
    describe_counter!(LIVE_LOST, "Losses of live copies that were noticed and repaired from the log");
    describe_counter!(LOG_READS, "Reads of the log to repair a channel");
    describe_counter!(
        LOG_READS_FAILED,
        "Reads of the log to repair a channel that failed and are tried again"
    );
    describe_counter!(PAGE_LOOKS, "Looks for what a page of resumed needs and no ring has, by where");
    describe_counter!(PAGES_ENCODED, "Pages of resumed that were encoded; sockets share them");
    describe_counter!(PAGES_TOLD, "Pages of resumed that were told to sockets");
    describe_counter!(LIVES, "Followed channels whose log began anew");
    describe_counter!(PASSING_DROPPED, "Typing and the like that was shed");
    describe_counter!(CONTROLS_DROPPED, "Announcements that were dropped because a reactor was behind");
    describe_counter!(VERSIONS_CHECKED, "Users whose newest state of memberships was asked for");
    describe_counter!(RENEWALS, "Times that the directory was asked again about a user with open sockets");
}
