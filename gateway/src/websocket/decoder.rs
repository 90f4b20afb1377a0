//! Client frames to messages, one frame a call.
//!
//! Unmasking happens in the caller's buffer, and an unfragmented message borrows from it: the hot path neither
//! allocates nor copies. It is not a buffer: the caller keeps what was not consumed and comes back with more.
//!
//! Invariant: a frame is judged by its header before its payload has arrived, so what is refused is never
//! waited for; and bytes are unmasked only when their frame is complete, so never twice.

use super::{CONTROL_BYTES_MAX, Opcode, Violation};
use protocol::limits;
use std::borrow::Cow;

/// What one look at the received bytes led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The frame is not complete; come back with the same bytes and more.
    Incomplete,
    /// One frame was taken from the front.
    Frame {
        /// Bytes to drop from the front of the buffer.
        consumed: usize,
        /// The message that the frame completed; none when it is a fragment and was kept.
        message: Option<Incoming<'a>>,
    },
}

/// A message from the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Ping(&'a [u8]),
    Pong,
    /// The client's code and reason, if it gave any.
    Close(Option<(u16, &'a str)>),
}

/// What one message may cost.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Bytes of a message, over all of its fragments.
    pub(crate) message_bytes: usize,
    /// Fragments of a message.
    pub(crate) fragments: usize,
    /// Milliseconds from the first fragment to the last.
    pub(crate) fragments_ms: u64,
}

/// The protocol's.
pub(crate) const PROTOCOL: Limits = Limits {
    message_bytes: limits::FRAME_BYTES_MAX,
    fragments: limits::FRAGMENTS_MAX,
    fragments_ms: limits::FRAGMENTS_TIME_MS,
};

/// The state between frames: one pointer, null unless a fragmented message is on its way.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    partial: Option<Box<Partial>>,
}

/// A fragmented message so far.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    payload: Vec<u8>,
    /// Bytes at the front of `payload` that are known to be UTF-8; stays 0 for binary.
    valid_bytes: usize,
    fragments: usize,
    started_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// What a frame says about itself before its mask and payload.
struct Head {
    fin: bool,
    opcode: Opcode,
    /// Bytes before the mask.
    head_bytes: usize,
    payload_bytes: u64,
}

const MASK_BYTES: usize = 4;

impl Decoder {
    /// Takes the first frame of `bytes`, which start at a frame's boundary and may hold a part of a frame, one
    /// or several. `now_ms` is any clock that does not go back.
    ///
    /// # Errors
    /// [`Violation`] when the client broke the framing. The decoder is of no use afterwards.
    pub(crate) fn next<'a>(
        &mut self,
        bytes: &'a mut [u8],
        limits: &Limits,
        now_ms: u64,
    ) -> Result<Step<'a>, Violation> {
        if let Some(violation) = self.overdue(limits, now_ms) {
            return Err(violation);
        }
        let Some(head) = Head::parse(bytes)? else { return Ok(Step::Incomplete) };
        let payload_bytes = self.admit(&head, limits)?;
        let payload_at = head.head_bytes + MASK_BYTES;
        let consumed = payload_at + payload_bytes;
        let Some(frame) = bytes.get_mut(head.head_bytes..consumed) else { return Ok(Step::Incomplete) };
        let Some((mask, payload)) = frame.split_first_chunk_mut::<MASK_BYTES>() else {
            return Ok(Step::Incomplete);
        };
        unmask(payload, *mask);
        let message = self.take(&head, payload, now_ms)?;
        Ok(Step::Frame { consumed, message })
    }

    /// Returns the violation of a fragmented message that has been on its way for too long: for the sweep,
    /// because a client that has gone silent causes no call of [`Self::next`].
    pub(crate) fn overdue(&self, limits: &Limits, now_ms: u64) -> Option<Violation> {
        let partial = self.partial.as_ref()?;
        let age_ms = now_ms.saturating_sub(partial.started_ms);
        (age_ms > limits.fragments_ms).then_some(Violation::FragmentsTooSlow)
    }

    /// Judges a header by the message it belongs to and returns the payload's length.
    fn admit(&self, head: &Head, limits: &Limits) -> Result<usize, Violation> {
        let already_bytes = match (&self.partial, head.opcode) {
            (None, Opcode::Continuation) => return Err(Violation::ContinuationWithoutStart),
            (Some(_), Opcode::Text | Opcode::Binary) => return Err(Violation::MessageWithinMessage),
            (Some(partial), Opcode::Continuation) if partial.fragments >= limits.fragments => {
                return Err(Violation::TooManyFragments);
            }
            (Some(partial), Opcode::Continuation) => partial.payload.len(),
            _ => 0,
        };
        let payload_bytes = usize::try_from(head.payload_bytes).map_err(|_| Violation::TooBig)?;
        if payload_bytes > limits.message_bytes - already_bytes {
            return Err(Violation::TooBig);
        }
        Ok(payload_bytes)
    }

    /// Takes an admitted frame's unmasked payload.
    fn take<'a>(
        &mut self,
        head: &Head,
        payload: &'a [u8],
        now_ms: u64,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        match head.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping(payload))),
            Opcode::Pong => Ok(Some(Incoming::Pong)),
            Opcode::Close => Ok(Some(Incoming::Close(close_reason(payload)?))),
            Opcode::Text if head.fin => Ok(Some(Incoming::Text(utf8(payload)?.into()))),
            Opcode::Binary if head.fin => Ok(Some(Incoming::Binary(payload.into()))),
            Opcode::Text => self.start(Kind::Text, payload, now_ms),
            Opcode::Binary => self.start(Kind::Binary, payload, now_ms),
            Opcode::Continuation => self.go_on(head.fin, payload),
        }
    }

    /// No message => a message on its way.
    fn start<'a>(
        &mut self,
        kind: Kind,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        let mut partial =
            Partial { kind, payload: Vec::new(), valid_bytes: 0, fragments: 0, started_ms: now_ms };
        partial.append(payload)?;
        self.partial = Some(Box::new(partial));
        Ok(None)
    }

    /// A message on its way => still on its way, or complete.
    fn go_on<'a>(&mut self, fin: bool, payload: &[u8]) -> Result<Option<Incoming<'a>>, Violation> {
        let mut partial = self.partial.take().ok_or(Violation::ContinuationWithoutStart)?;
        partial.append(payload)?;
        if fin {
            return partial.complete().map(Some);
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

impl Partial {
    /// Appends a fragment; text that cannot become UTF-8 any more is refused at once.
    fn append(&mut self, fragment: &[u8]) -> Result<(), Violation> {
        self.fragments += 1;
        self.payload.extend_from_slice(fragment);
        if self.kind == Kind::Text {
            match str::from_utf8(&self.payload[self.valid_bytes..]) {
                Ok(text) => self.valid_bytes += text.len(),
                Err(cut) if cut.error_len().is_none() => self.valid_bytes += cut.valid_up_to(),
                Err(_) => return Err(Violation::NotUtf8),
            }
        }
        Ok(())
    }

    fn complete<'a>(self) -> Result<Incoming<'a>, Violation> {
        match self.kind {
            Kind::Binary => Ok(Incoming::Binary(self.payload.into())),
            Kind::Text => match String::from_utf8(self.payload) {
                Ok(text) => Ok(Incoming::Text(text.into())),
                Err(_) => Err(Violation::NotUtf8),
            },
        }
    }
}

impl Head {
    /// Reads a header; none when it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let opcode = Opcode::parse(first & 0x0F).ok_or(Violation::UnknownOpcode)?;
        let fin = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & 0x7F;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Violation::LongControl);
        }
        let Some((payload_bytes, length_bytes)) = payload_length(short, rest)? else { return Ok(None) };
        Ok(Some(Self { fin, opcode, head_bytes: 2 + length_bytes, payload_bytes }))
    }
}

/// Reads the payload's length, and how many bytes its extended form takes; none when they are not all there.
fn payload_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, length_bytes, smallest) = match short {
        126 => {
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), 2, 126)
        }
        127 => {
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), 8, 0x1_0000)
        }
        short => (u64::from(short), 0, 0),
    };
    if length >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    if length < smallest {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(Some((length, length_bytes)))
}

/// Reverses the mask eight bytes at a time; the compiler makes wider steps of it.
fn unmask(payload: &mut [u8], mask: [u8; MASK_BYTES]) {
    let [a, b, c, d] = mask;
    let mask_word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ mask_word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

fn utf8(payload: &[u8]) -> Result<&str, Violation> {
    str::from_utf8(payload).map_err(|_| Violation::NotUtf8)
}

/// Reads a close frame's payload.
fn close_reason(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::CloseTruncated),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::CloseCodeInvalid);
            }
            Ok(Some((code, utf8(reason)?)))
        }
    }
}

/// Whether a close code may stand in a close frame: RFC 6455 section 7.4 and the registry (1012 to 1014 were
/// added there); 1004 to 1006 and 1015 only ever describe what no frame said.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
