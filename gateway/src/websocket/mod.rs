//! The server's side of RFC 6455 framing: bytes in, messages out, and back.
//!
//! It is not a connection: it does no I/O, reads no clock, and never answers a ping or a close by itself; the
//! connection decides what a message leads to. Extensions are not spoken, so every reserved bit is a fault.
//!
//! Invariants: no heap memory is held per socket except while a fragmented message is on its way, and no
//! client makes the caller buffer more than one frame: `limits::FRAME_BYTES_MAX` behind 14 bytes of header.

pub(crate) mod decoder;
pub(crate) mod encoder;

#[cfg(test)]
mod conformance;

use protocol::codes::CloseCode;

/// Bytes of a control frame's payload at most. RFC 6455 section 5.5.
const CONTROL_BYTES_MAX: usize = 125;

/// The four bits that say what a frame is. RFC 6455 section 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    fn parse(bits: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == bits)
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// How a client broke the framing; the socket is of no use afterwards and is closed with [`Self::close_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("client frame is not masked")]
    Unmasked,
    #[error("reserved bit is set")]
    ReservedBit,
    #[error("opcode is unknown")]
    UnknownOpcode,
    #[error("control frame is fragmented")]
    FragmentedControl,
    #[error("control frame is longer than 125 bytes")]
    LongControl,
    #[error("payload length is not in its shortest form")]
    LengthNotMinimal,
    #[error("payload length has its top bit set")]
    LengthTopBit,
    #[error("continuation without a message to continue")]
    ContinuationWithoutStart,
    #[error("new message within a fragmented one")]
    MessageWithinMessage,
    #[error("close frame has half a code")]
    CloseTruncated,
    #[error("close code may not be sent")]
    CloseCodeInvalid,
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("message is too big")]
    TooBig,
    #[error("message has too many fragments")]
    TooManyFragments,
    #[error("fragments come too slowly")]
    FragmentsTooSlow,
}

impl Violation {
    /// Returns the code to close the socket with.
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::InvalidPayload,
            Self::TooBig => CloseCode::MessageTooBig,
            Self::TooManyFragments | Self::FragmentsTooSlow => CloseCode::ProtocolAbuse,
            Self::Unmasked
            | Self::ReservedBit
            | Self::UnknownOpcode
            | Self::FragmentedControl
            | Self::LongControl
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::ContinuationWithoutStart
            | Self::MessageWithinMessage
            | Self::CloseTruncated
            | Self::CloseCodeInvalid => CloseCode::ProtocolError,
        }
    }

    /// Returns the label under which the violation is counted.
    pub(crate) fn metric_label(self) -> &'static str {
        match self {
            Self::Unmasked => "unmasked",
            Self::ReservedBit => "reserved_bit",
            Self::UnknownOpcode => "unknown_opcode",
            Self::FragmentedControl => "fragmented_control",
            Self::LongControl => "long_control",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthTopBit => "length_top_bit",
            Self::ContinuationWithoutStart => "continuation_without_start",
            Self::MessageWithinMessage => "message_within_message",
            Self::CloseTruncated => "close_truncated",
            Self::CloseCodeInvalid => "close_code_invalid",
            Self::NotUtf8 => "not_utf8",
            Self::TooBig => "too_big",
            Self::TooManyFragments => "too_many_fragments",
            Self::FragmentsTooSlow => "fragments_too_slow",
        }
    }
}
