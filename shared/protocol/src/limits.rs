//! Every limit of the protocol, each with its unit and the reason for its value.
//!
//! A limit lives here when a client can notice it; capacities of internal queues live beside their queue.

/// Bytes of one client frame; above it the socket closes with 1009. Chosen: the largest content (32 KiB) and
/// metadata (8 KiB) fit with room to spare.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Characters of a message's content after stripping. Protocol page.
pub const CONTENT_CHARS_MAX: usize = 8_000;

/// Bytes of a message's content in UTF-8. Protocol page: 8,000 characters of four bytes each.
pub const CONTENT_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a message's metadata as JSON. Protocol page.
pub const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Nesting levels of metadata, the outermost object counted. Protocol page: bounds recursion in every client.
pub const METADATA_LEVELS_MAX: usize = 8;

/// Characters of a location's name. Chosen: a street address with its company fits.
pub const LOCATION_NAME_CHARS_MAX: usize = 255;

/// Users that one message may mention. Chosen: above it a channel-wide notice is meant.
pub const MENTIONED_USERS_MAX: usize = 50;

/// Bytes of one reaction in UTF-8. Protocol page: an emoji of several code points fits.
pub const REACTION_BYTES_MAX: usize = 32;

/// Different reactions of one user to one message. Protocol page.
pub const REACTIONS_PER_USER_MAX: usize = 20;

/// Different reactions to one message. Chosen: nobody reads more, and each event says how often each is there.
pub const REACTIONS_PER_MESSAGE_MAX: usize = 50;

/// Users that are named beside the count of a reaction. Chosen: what a tooltip shows; the count says the rest.
pub const REACTORS_SHOWN_MAX: usize = 20;

/// Fragments of one WebSocket message. Protocol page: a client has no reason for more.
pub const FRAGMENTS_MAX: usize = 64;

/// Milliseconds from the first to the last fragment of one message. Protocol page.
pub const FRAGMENTS_TIME_MS: u64 = 10_000;

/// Pings and pongs of one client in about a second, WebSocket's and the protocol's own; above it the socket closes
/// with 4501. Chosen: a client needs one in 25 s, and a debugging loop is no flood yet.
pub const PINGS_PER_SECOND_MAX: u32 = 100;

/// Channels that one socket may be subscribed to. Protocol page.
pub const CHANNELS_PER_SOCKET_MAX: usize = 1_000;

/// Channels listed in `connection_established`; the rest follows in `channel_list`. Protocol page.
pub const CHANNELS_IN_FIRST_FRAME: usize = 200;

/// Positions in one `resume` frame. Protocol page: 400 ids and epochs fit into one frame.
pub const RESUME_CHANNELS_MAX: usize = 400;

/// Bytes of waiting server frames per socket. Protocol page.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// Part of the outbox, in bytes, that pushed events may fill; answers have the rest. Architecture page.
pub const OUTBOX_EVENT_BYTES_MAX: usize = 192 * 1024;

/// Bytes after which a page of `resumed` or `history` is cut and says `more`. Protocol page.
pub const PAGE_BYTES_MAX: usize = 128 * 1024;

/// Messages of one `history` answer when the client names no limit. Protocol page.
pub const HISTORY_LIMIT_DEFAULT: u32 = 50;

/// Messages of one `history` answer at most. Protocol page.
pub const HISTORY_LIMIT_MAX: u32 = 200;

/// Durable frames (appends and commands) that may wait per connection before `rate_limited`. Protocol page.
pub const DURABLE_FRAMES_QUEUED_MAX: usize = 32;

/// Bytes of an HTTP handshake's header. Protocol page.
pub const HANDSHAKE_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Milliseconds in which the handshake's header must be complete. Protocol page.
pub const HANDSHAKE_HEADER_TIME_MS: u64 = 5_000;

/// Milliseconds from the upgrade to the first `authenticate`. Protocol page.
pub const AUTHENTICATE_TIME_MS: u64 = 10_000;

/// Milliseconds after which channels that no `resume` named go on from their first position. Protocol page.
pub const RESUME_WAIT_MS: u64 = 10_000;

/// Milliseconds that a channel may stay unpushed without a `resume` before 4009. Protocol page.
pub const HELD_TIME_MS: u64 = 60_000;

/// Milliseconds between two pings to a quiet client, before jitter. Protocol page: never the 30 or 60 s of proxies.
pub const HEARTBEAT_MS: u64 = 25_000;

/// Milliseconds after which a typing indicator expires by itself. Protocol page.
pub const TYPING_EXPIRES_MS: u64 = 5_000;

/// Milliseconds between two `typing_start` of one user in one channel. Protocol page.
pub const TYPING_START_INTERVAL_MS: u64 = 2_000;

/// Typing frames a second and channel that a gateway sends on. Protocol page: the first thing to be shed.
pub const TYPING_PER_CHANNEL_PER_SECOND: u32 = 5;

/// Members above which joins and leaves of subscriptions are not announced. Protocol page: the fan-out grows
/// with the square of the room.
pub const ANNOUNCED_MEMBERS_MAX: u32 = 100;

/// Members above which nobody is told how far others have read. Protocol page: the fan-out grows with the square of the
/// room.
pub const RECEIPTS_MEMBERS_MAX: u32 = 50;

/// Frames `mark_read` of one socket that may be out at once, then `rate_limited`. Chosen: a client that opens all its
/// windows at once.
pub const READS_OUTSTANDING_MAX: u32 = 16;

/// Unread messages are counted up to here. Reliability page: a badge never shows more.
pub const UNREAD_MAX: u32 = 999;

/// Seconds that clocks may differ when `exp` is checked. Protocol page.
pub const TOKEN_LEEWAY_S: u64 = 5;

/// Frames answered with an error after which a socket closes with 4501. Chosen: a client under development survives an
/// afternoon, an abusive loop does not survive a second.
pub const ERRORS_PER_SOCKET_MAX: u32 = 100;

/// Frames answered with `rate_limited` after which a socket closes with 4505. Chosen: a client that sends all that it
/// kept during a long absence survives, an endless loop does not survive some seconds.
pub const RATE_LIMITED_PER_SOCKET_MAX: u32 = 1_000;

/// Milliseconds in which one such frame of each kind is forgiven. Chosen.
pub const ERROR_FORGIVEN_MS: u64 = 1_000;

/// Milliseconds that a socket lives at most (12 hours), also one whose token cannot be refreshed. Protocol page.
pub const SESSION_MAX_MS: u64 = 12 * 60 * 60 * 1_000;

/// Connections of one user to one gateway; the one that was idle for longest is closed with 4505 beyond. Protocol page;
/// loopback is exempt in DEBUG.
pub const CONNECTIONS_PER_USER_MAX: u32 = 10;

/// Connections of one client address. Protocol page; loopback is exempt in DEBUG.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 1_000;
