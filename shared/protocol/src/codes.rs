//! Codes that clients act on: error codes and WebSocket close codes, with their policy.

use serde::{Deserialize, Serialize};

/// Why a client frame was refused; the protocol page lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant's meaning is its fixed text below")]
pub enum ErrorCode {
    InvalidJson,
    InvalidFrame,
    UnknownType,
    MissingField,
    TooLarge,
    UnknownChannel,
    UnknownMessage,
    PermissionDenied,
    RateLimited,
    NotAuthenticated,
    TokenExpired,
    InvalidToken,
    Unavailable,
    UnknownOutcome,
    Unsupported,
    Conflict,
    Internal,
}

impl ErrorCode {
    /// Returns the code as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidFrame => "invalid_frame",
            Self::UnknownType => "unknown_type",
            Self::MissingField => "missing_field",
            Self::TooLarge => "too_large",
            Self::UnknownChannel => "unknown_channel",
            Self::UnknownMessage => "unknown_message",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::NotAuthenticated => "not_authenticated",
            Self::TokenExpired => "token_expired",
            Self::InvalidToken => "invalid_token",
            Self::Unavailable => "unavailable",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Unsupported => "unsupported",
            Self::Conflict => "conflict",
            Self::Internal => "internal",
        }
    }

    /// Returns the text a client shows when nothing more precise is known.
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidJson => "Invalid JSON format",
            Self::InvalidFrame => "Invalid frame",
            Self::UnknownType => "Unknown message type",
            Self::MissingField => "A required field is missing",
            Self::TooLarge => "Too large",
            Self::UnknownChannel => "Unknown channel",
            Self::UnknownMessage => "Unknown message",
            Self::PermissionDenied => "Permission denied",
            Self::RateLimited => "Too many frames; slow down",
            Self::NotAuthenticated => "Authenticate first",
            Self::TokenExpired => "The token has expired",
            Self::InvalidToken => "The token is not valid",
            Self::Unavailable => "Temporarily unavailable; try again",
            Self::UnknownOutcome => "The outcome is not known; send again with retry",
            Self::Unsupported => "Not supported by this server yet",
            Self::Conflict => "This id was already used for something else",
            Self::Internal => "Internal server error",
        }
    }

    /// Returns what a socket is closed with that gets this answer too often; `None` where the client is not at fault,
    /// or is old and names what we do not know.
    pub fn closes_when_repeated(self) -> Option<CloseCode> {
        match self {
            Self::InvalidJson
            | Self::InvalidFrame
            | Self::MissingField
            | Self::TooLarge
            | Self::UnknownChannel
            | Self::UnknownMessage
            | Self::PermissionDenied
            | Self::NotAuthenticated
            | Self::TokenExpired
            | Self::InvalidToken
            | Self::Conflict => Some(CloseCode::ProtocolAbuse),
            Self::RateLimited => Some(CloseCode::LimitsExceeded),
            Self::UnknownType
            | Self::Unsupported
            | Self::Unavailable
            | Self::UnknownOutcome
            | Self::Internal => None,
        }
    }
}

/// Why the server closes a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant's meaning is its fixed reason below")]
pub enum CloseCode {
    Normal,
    GoingAway,
    ProtocolError,
    UnsupportedData,
    InvalidPayload,
    MessageTooBig,
    InternalError,
    Restart,
    Overloaded,
    TokenExpired,
    TooManyConnections,
    TooSlow,
    PositionLost,
    Rebalance,
    NoHeartbeat,
    NotAuthenticatedInTime,
    InvalidCredential,
    ProtocolAbuse,
    Revoked,
    LimitsExceeded,
}

impl CloseCode {
    /// Returns the number in the close frame: RFC 6455 section 7.4 below 4000, ours from there.
    pub fn as_u16(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidPayload => 1007,
            Self::MessageTooBig => 1009,
            Self::InternalError => 1011,
            Self::Restart => 1012,
            Self::Overloaded => 1013,
            Self::TokenExpired => 4001,
            Self::TooManyConnections => 4008,
            Self::TooSlow => 4009,
            Self::PositionLost => 4010,
            Self::Rebalance => 4011,
            Self::NoHeartbeat => 4012,
            Self::NotAuthenticatedInTime => 4013,
            Self::InvalidCredential => 4500,
            Self::ProtocolAbuse => 4501,
            Self::Revoked => 4502,
            Self::LimitsExceeded => 4505,
        }
    }

    /// Returns the reason in the close frame and the label of the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going away",
            Self::ProtocolError => "protocol error",
            Self::UnsupportedData => "unsupported data",
            Self::InvalidPayload => "invalid payload",
            Self::MessageTooBig => "message too big",
            Self::InternalError => "internal error",
            Self::Restart => "restart",
            Self::Overloaded => "overloaded",
            Self::TokenExpired => "token expired",
            Self::TooManyConnections => "Rate limit exceeded",
            Self::TooSlow => "too slow",
            Self::PositionLost => "position lost",
            Self::Rebalance => "rebalance",
            Self::NoHeartbeat => "no heartbeat",
            Self::NotAuthenticatedInTime => "not authenticated in time",
            Self::InvalidCredential => "invalid credential",
            Self::ProtocolAbuse => "protocol abuse",
            Self::Revoked => "revoked",
            Self::LimitsExceeded => "limits exceeded",
        }
    }
}

/// Whether a client that saw this close code (or none: 1005, 1006) reconnects by itself and resumes.
pub fn reconnects_after(code: u16) -> bool {
    matches!(code, 4000..=4499 | 1001 | 1005 | 1006 | 1011 | 1012 | 1013)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_back_exactly_when_the_protocol_page_says_so() {
        for code in [CloseCode::Restart, CloseCode::TooSlow, CloseCode::TokenExpired, CloseCode::Overloaded] {
            assert!(reconnects_after(code.as_u16()), "{code:?}");
        }
        for code in
            [CloseCode::Normal, CloseCode::InvalidCredential, CloseCode::MessageTooBig, CloseCode::Revoked]
        {
            assert!(!reconnects_after(code.as_u16()), "{code:?}");
        }
    }
}
