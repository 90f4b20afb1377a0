//! The other end of the socket.

use protocol::ids::Seq;
use serde_json::Value;
use std::collections::BTreeMap;

/// A client that holds the server to the protocol: whatever comes must be the next event.
#[derive(Default)]
pub(super) struct Client {
    /// Per channel: the start, then each event.
    pub(super) seen: BTreeMap<String, Vec<Seq>>,
    /// Channels that it shall resume.
    pub(super) resumes: Vec<String>,
    pub(super) laggings: usize,
}

impl Client {
    pub(super) fn hear(&mut self, frame: &Value) {
        let channel = || frame["channel_id"].as_str().unwrap().to_owned();
        match frame["type"].as_str().unwrap() {
            "chat_message" => self.take(channel(), frame),
            "resumed" => {
                assert_eq!(frame["reset"], false);
                frame["events"].as_array().unwrap().iter().for_each(|event| self.take(channel(), event));
                if frame["more"] == true {
                    self.resumes.push(channel());
                }
            }
            "lagging" => {
                self.laggings += 1;
                let channels = frame["channels"].as_array().unwrap().iter();
                self.resumes.extend(channels.map(|one| one["channel_id"].as_str().unwrap().to_owned()));
            }
            "resume_done" => {}
            other => panic!("{other}"),
        }
    }

    fn take(&mut self, channel: String, event: &Value) {
        let seen = self.seen.get_mut(&channel).unwrap();
        assert_eq!(event["prev"].as_u64(), seen.last().copied(), "the chain is unbroken");
        seen.push(event["seq"].as_u64().unwrap());
    }
}

/// Takes one whole frame off the wire.
pub(super) fn next_frame(wire: &mut Vec<u8>) -> Option<Value> {
    let (header, length) = match *wire.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(wire.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(wire.get(2..10)?.try_into().unwrap())).unwrap()),
        short => (2, usize::from(short)),
    };
    let frame = serde_json::from_slice(wire.get(header..header + length)?).unwrap();
    wire.drain(..header + length);
    Some(frame)
}
