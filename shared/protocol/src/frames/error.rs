//! Why a client frame is refused, in the old consumer's words where it had any.

use crate::codes::ErrorCode;
use std::borrow::Cow;

/// Why a client frame was refused, and what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// What a program acts on.
    pub code: ErrorCode,
    /// What a person reads.
    pub text: Cow<'static, str>,
    /// Whether the old consumer said nothing here.
    pub silent_on_classic: bool,
}

impl FrameError {
    pub(crate) fn new(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), silent_on_classic: false }
    }

    pub(super) fn missing(text: &'static str) -> Self {
        Self::new(ErrorCode::MissingField, text)
    }

    pub(super) fn invalid(field: &str) -> Self {
        Self::new(ErrorCode::InvalidFrame, format!("Invalid field: {field}"))
    }

    pub(super) fn too_large(field: &str) -> Self {
        Self::new(ErrorCode::TooLarge, format!("Too large: {field}"))
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(ErrorCode::Unsupported, format!("Not supported by this server yet: {what}"))
    }

    pub(crate) fn unknown(kind: &str) -> Self {
        let shown: String = kind.chars().take(ECHO_CHARS_MAX).collect();
        Self::new(ErrorCode::UnknownType, format!("Unknown message type: {shown}"))
    }
}

/// Characters of an unknown type that are said back. Chosen: nobody's own name for a type is longer.
const ECHO_CHARS_MAX: usize = 64;
