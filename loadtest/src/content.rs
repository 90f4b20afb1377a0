//! What a load message says: which run sent it and who, its number, and when it should have been sent.

/// How each content begins; nothing else in a frame looks like it.
const MARK: &[u8] = b"\"content\":\"lt ";

/// One message of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// The run: a message that is late may come to the one after.
    pub(crate) run: u32,
    /// The sender's index.
    pub(crate) sender: u32,
    /// Its messages, counted from 0.
    pub(crate) number: u32,
    /// Nanoseconds of the run's clock at which the message was due, whenever it was really sent.
    pub(crate) due_ns: u64,
}

impl Content {
    /// Writes it with padding, `bytes` long in all unless its fields need more.
    pub(crate) fn write(&self, bytes: usize) -> String {
        let Self { run, sender, number, due_ns } = self;
        let mut text = format!("lt {run} {sender} {number} {due_ns} ");
        while text.len() + 1 < bytes {
            text.push('.');
        }
        text.push('!');
        text
    }

    /// Finds it in a frame's JSON.
    pub(crate) fn find(json: &[u8]) -> Option<Self> {
        let at = memchr::memmem::find(json, MARK)? + MARK.len();
        let mut rest = &json[at..];
        let run = u32::try_from(number(&mut rest)?).ok()?;
        let sender = u32::try_from(number(&mut rest)?).ok()?;
        let count = u32::try_from(number(&mut rest)?).ok()?;
        Some(Self { run, sender, number: count, due_ns: number(&mut rest)? })
    }
}

/// Reads digits and the space behind them.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let end = memchr::memchr(b' ', rest)?;
    let value = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    *rest = &rest[end + 1..];
    Some(value)
}

/// Reads an event's place, its seq and prev, from the head of its frame.
pub(crate) fn place(json: &[u8]) -> Option<(u64, u64)> {
    Some((field(json, b"\"seq\":")?, field(json, b"\"prev\":")?))
}

fn field(json: &[u8], name: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(json, name)? + name.len();
    let digits = json[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&json[at..at + digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let content = Content { run: 1, sender: 7, number: 123, due_ns: 9_876_543_210 };
        let text = content.write(128);
        assert_eq!(text.len(), 128);
        let json =
            format!(r#"{{"type":"chat_message","seq":17,"prev":16,"message":{{"content":"{text}"}}}}"#);
        assert_eq!(Content::find(json.as_bytes()), Some(content));
        assert_eq!(place(json.as_bytes()), Some((17, 16)));
        assert_eq!(Content::find(br#"{"content":"hello"}"#), None);
        assert_eq!(Content::find(br#"{"content":"lt 1 7 "#), None);
        assert!(content.write(1).ends_with('!'));
    }
}
