//! Messages on their way to being acknowledged: each exactly once, told by its `client_msg_id`.

use crate::content::Content;
use crate::report::Report;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::collections::HashMap;

/// How an acknowledgement names its message.
const NAME: &[u8] = b"\"client_msg_id\":\"";

/// What was sent, and which of it is acknowledged.
pub(crate) struct Acks {
    /// Told from all other runs: a server still knows the `client_msg_id`s of the one before, or has yet to deliver
    /// its messages.
    pub(crate) run: u32,
    /// Per sender: when its messages that are not acknowledged yet were due, by their numbers.
    waiting: Vec<HashMap<u32, u64>>,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    /// Acknowledgements of what does not wait for one: second ones, and those of somebody else's message.
    unknown: u64,
}

impl Acks {
    pub(crate) fn new(senders: usize) -> Self {
        let now = clock_gettime(ClockId::Realtime);
        let milliseconds = now.tv_sec * 1_000 + now.tv_nsec / 1_000_000;
        // They come round after 50 days.
        Self {
            run: milliseconds as u32,
            waiting: vec![HashMap::new(); senders],
            sent: 0,
            acked: 0,
            unknown: 0,
        }
    }

    /// Returns a message of this run.
    pub(crate) fn content(&self, sender: usize, number: u32, due_ns: u64) -> Content {
        Content { run: self.run, sender: u32::try_from(sender).unwrap_or(0), number, due_ns }
    }

    /// Returns the frame that sends a message, which waits for its acknowledgement from now on.
    pub(crate) fn send(&mut self, content: Content, room: &str, payload_bytes: usize) -> String {
        self.waiting[content.sender as usize].insert(content.number, content.due_ns);
        self.sent += 1;
        frame(content, room, payload_bytes).to_string()
    }

    /// Returns the frame that sends a message again which is not acknowledged yet.
    pub(crate) fn resend(content: Content, room: &str, payload_bytes: usize) -> String {
        let mut frame = frame(content, room, payload_bytes);
        frame["retry"] = true.into();
        frame.to_string()
    }

    /// Takes an acknowledgement that came to a sender; returns when its message was due.
    pub(crate) fn take(&mut self, sender: usize, json: &[u8]) -> Option<u64> {
        let named = name(json).and_then(|id| self.number(sender, id));
        let due_ns = named.and_then(|number| self.waiting.get_mut(sender)?.remove(&number));
        match due_ns {
            Some(_) => self.acked += 1,
            None => self.unknown += 1,
        }
        due_ns
    }

    /// Returns how many messages nobody acknowledged.
    pub(crate) fn lost(&self) -> u64 {
        self.waiting.iter().map(|waiting| waiting.len() as u64).sum()
    }

    /// Demands one acknowledgement for each message.
    pub(crate) fn judge(&self, report: &mut Report) {
        let (lost, unknown) = (self.lost(), self.unknown);
        report.set("sent", self.sent);
        report.set("acknowledged", self.acked);
        report.set("acknowledgements_lost", lost);
        report.set("acknowledgements_unknown", unknown);
        report.demand(lost == 0, format!("{lost} of {} messages were not acknowledged", self.sent));
        report.demand(unknown == 0, format!("{unknown} acknowledgements were of no message that waited"));
    }

    /// Reads the number from a `client_msg_id` of this run and sender.
    fn number(&self, sender: usize, id: &str) -> Option<u32> {
        let (of, number) = id.rsplit_once('-')?;
        let (when, of) = of.rsplit_once('-')?;
        let (run, _due) = when.split_once('-')?;
        number.parse().ok().filter(|_| run == self.run.to_string() && of == sender.to_string())
    }
}

fn frame(content: Content, room: &str, payload_bytes: usize) -> Value {
    let Content { run, sender, number, due_ns } = content;
    // The time comes first, as in the ids of real clients: stores keep them in their order.
    let (id, content) = (format!("{run}-{due_ns:013x}-{sender}-{number}"), content.write(payload_bytes));
    json!({"type": "send_message", "channel_id": room, "content": content, "client_msg_id": id})
}

/// Finds the `client_msg_id` in a frame.
pub(crate) fn name(json: &[u8]) -> Option<&str> {
    let rest = &json[memchr::memmem::find(json, NAME)? + NAME.len()..];
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends three messages of two senders; returns their names.
    fn sent() -> (Acks, [String; 3]) {
        let mut acks = Acks::new(2);
        let names = [(0, 0), (0, 1), (1, 0)].map(|(sender, number)| {
            let content = acks.content(sender, number, 100 + u64::from(number));
            name(acks.send(content, "room", 64).as_bytes()).unwrap().to_owned()
        });
        (acks, names)
    }

    fn ack(name: &str) -> Vec<u8> {
        format!(r#"{{"type":"ack","client_msg_id":"{name}","seq":1}}"#).into_bytes()
    }

    #[test]
    fn each_message_is_acknowledged_once_in_any_order() {
        let (mut acks, [first, second, other]) = sent();
        assert_eq!(acks.take(0, &ack(&second)), Some(101));
        assert_eq!((acks.acked, acks.lost()), (1, 2));
        assert_eq!(acks.take(1, &ack(&other)), Some(100));
        assert_eq!(acks.take(0, &ack(&first)), Some(100));
        assert_eq!((acks.sent, acks.acked, acks.lost(), acks.unknown), (3, 3, 0, 0));
    }

    #[test]
    fn what_is_sent_again_is_the_same_message_and_says_so() {
        let mut acks = Acks::new(1);
        let content = acks.content(0, 0, 100);
        let (first, again) = (acks.send(content, "room", 64), Acks::resend(content, "room", 64));
        let [mut first, mut again] = [first, again].map(|text| serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!((first["retry"].take(), again["retry"].take()), (Value::Null, true.into()));
        assert_eq!(first, again);
        assert_eq!((acks.sent, acks.lost()), (1, 1));
    }

    #[test]
    fn what_acknowledges_nothing_is_counted() {
        let (mut acks, [first, _, other]) = sent();
        acks.take(0, &ack(&first));
        let foreign = format!("1{first}");
        let wrong = [ack(&first), ack(&other), ack(&foreign), ack("x"), br#"{"type":"ack"}"#.to_vec()];
        for frame in wrong {
            assert_eq!(acks.take(0, &frame), None, "{}", String::from_utf8_lossy(&frame));
        }
        assert_eq!((acks.acked, acks.lost(), acks.unknown), (1, 2, 5));
    }
}
