//! As much of a WebSocket client as the load needs, as cheap as it can be.

/// A frame of the server, in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes of the frame, header included.
    pub(crate) size: usize,
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Reads the first frame of `bytes`; none when it is not complete. Servers neither mask nor, here, fragment.
pub(crate) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (head, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let size = head + length;
    Some(Frame { opcode: bytes[0] & 0x0f, payload: bytes.get(head..size)?, size })
}

/// Appends a client frame. The mask is all zeros: it costs nothing here and is as valid as any.
pub(crate) fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, 0x80, payload.len(), out);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Appends a server frame, for `floor`.
pub(crate) fn write_unmasked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, 0, payload.len(), out);
    out.extend_from_slice(payload);
}

fn header(opcode: u8, mask: u8, length: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        out.push(mask | short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(mask | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(mask | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// Where an HTTP head ends, if it does.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_are_read_however_they_are_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70_000), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            payloads.iter().for_each(|payload| write_unmasked(TEXT, payload, &mut bytes));
            let cut = cut.index(bytes.len());
            let (mut whole, mut at) = (Vec::new(), 0);
            for end in [cut, bytes.len()] {
                while let Some(frame) = read(&bytes[at..end]) {
                    whole.push(frame.payload.to_vec());
                    at += frame.size;
                }
            }
            prop_assert_eq!(whole, payloads);
            prop_assert_eq!(at, bytes.len());
        }
    }

    #[test]
    fn client_frames_are_masked() {
        let mut out = Vec::new();
        write(PONG, b"hi", &mut out);
        assert_eq!(out, [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(head_end(b"HTTP/1.1 101\r\n\r\nx"), Some(16));
    }
}
