//! `floor`: what delivering costs at least. One thread, epoll, one `write` of the same number of bytes for each
//! delivery, and no protocol: a message goes to every connection of its room as it came.

use crate::acks;
use crate::content::Content;
use crate::report::say;
use crate::token;
use crate::wire;
use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

const LISTENER: Token = Token(usize::MAX);

/// A handshake's proof for the one key that this tool's client sends.
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: safeshipper.v1.json\r\n\r\n";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where to listen; only addresses of this machine
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Bytes of a delivery, frame header included: what a run against the real server reported
    #[arg(long, default_value_t = 650)]
    bytes: usize,
    /// Rooms that the users of a run are shared out to, as `seed` does it
    #[arg(long, default_value_t = 1)]
    rooms: usize,
}

struct Client {
    stream: TcpStream,
    partial: Vec<u8>,
    /// Its place in `rooms`, once it has said who it is.
    room: Option<usize>,
}

struct Floor {
    clients: Vec<Option<Client>>,
    rooms: Vec<Room>,
    bytes: usize,
}

#[derive(Default, Clone)]
struct Room {
    /// Places in `clients`.
    members: Vec<usize>,
    seq: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        crate::engine::is_loopback(options.listen),
        "--listen takes addresses of 127.0.0.0/8 only"
    );
    let mut listener = TcpListener::bind(options.listen)?;
    say(&format!("floor listens on {}, {} bytes a delivery", listener.local_addr()?, options.bytes));
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let rooms = vec![Room::default(); options.rooms.max(1)];
    let mut floor = Floor { clients: Vec::new(), rooms, bytes: options.bytes };
    let mut events = Events::with_capacity(4_096);
    let mut scratch = vec![0; 64 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener, &poll)?;
            } else {
                floor.read(event.token().0, &mut scratch)?;
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> anyhow::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            poll.registry().register(&mut stream, Token(self.clients.len()), Interest::READABLE)?;
            self.clients.push(Some(Client { stream, partial: Vec::new(), room: None }));
        }
    }

    fn read(&mut self, index: usize, scratch: &mut [u8]) -> anyhow::Result<()> {
        loop {
            let Some(client) = &mut self.clients[index] else { return Ok(()) };
            match client.stream.read(scratch) {
                Ok(0) => {
                    self.clients[index] = None;
                    return Ok(());
                }
                Ok(read) => client.partial.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => {
                    self.clients[index] = None;
                    return Ok(());
                }
            }
            self.take(index)?;
        }
    }

    fn take(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(room) = self.enter(index)? else { return Ok(()) };
        let Some(client) = &mut self.clients[index] else { return Ok(()) };
        let mut partial = std::mem::take(&mut client.partial);
        let mut used = 0;
        while let Some((payload, size)) = masked(&partial[used..]) {
            used += size;
            if let Some(content) = Content::find(payload) {
                self.deliver((index, room), content, acks::name(payload).unwrap_or_default())?;
            }
        }
        partial.drain(..used);
        if let Some(client) = &mut self.clients[index] {
            client.partial = partial;
        }
        Ok(())
    }

    /// Answers the handshake when it is whole; returns the client's room from then on.
    fn enter(&mut self, index: usize) -> anyhow::Result<Option<usize>> {
        let Some(client) = &mut self.clients[index] else { return Ok(None) };
        if client.room.is_none() {
            let Some(end) = wire::head_end(&client.partial) else { return Ok(None) };
            let user = if self.rooms.len() > 1 { token::user_of(&client.partial[..end])? } else { 0 };
            client.partial.drain(..end);
            let room = user % self.rooms.len();
            client.room = Some(room);
            self.rooms[room].members.push(index);
            let mut answer = ACCEPTED.to_vec();
            wire::write_unmasked(wire::TEXT, br#"{"type":"connection_established"}"#, &mut answer);
            client.stream.write_all(&answer)?;
        }
        Ok(client.room)
    }

    /// One `write` for each connection of the room, and an acknowledgement.
    fn deliver(&mut self, (from, room): (usize, usize), content: Content, name: &str) -> anyhow::Result<()> {
        let room = &mut self.rooms[room];
        let prev = room.seq;
        room.seq += 1;
        let frame = delivery(content, (room.seq, prev), self.bytes);
        for member in &room.members {
            let Some(client) = &mut self.clients[*member] else { continue };
            // A client that takes nothing would make this more than a floor.
            let written = client.stream.write(&frame)?;
            anyhow::ensure!(written == frame.len(), "a client is too slow for the floor");
        }
        let mut ack = Vec::new();
        let json = format!(r#"{{"type":"ack","client_msg_id":"{name}"}}"#);
        wire::write_unmasked(wire::TEXT, json.as_bytes(), &mut ack);
        if let Some(client) = &mut self.clients[from] {
            client.stream.write_all(&ack)?;
        }
        Ok(())
    }
}

/// Reads a client frame whose mask is all zeros, as this tool writes them.
fn masked(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        short @ 0..=125 => (2, usize::from(short)),
        _ => return None,
    };
    let size = head + 4 + length;
    Some((bytes.get(head + 4..size)?, size))
}

/// A frame that the client reads as a message, of exactly `bytes` if its fields leave room.
fn delivery(content: Content, (seq, prev): (u64, u64), bytes: usize) -> Vec<u8> {
    let make = |padding: usize| {
        let text = content.write(0);
        let json = format!(
            r#"{{"type":"chat_message","seq":{seq},"prev":{prev},"message":{{"content":"{text}","pad":"{}"}}}}"#,
            "x".repeat(padding)
        );
        let mut frame = Vec::with_capacity(bytes + 16);
        wire::write_unmasked(wire::TEXT, json.as_bytes(), &mut frame);
        frame
    };
    let bare = make(0).len();
    let frame = make(bytes.saturating_sub(bare));
    // A longer header takes its bytes from the padding.
    let over = frame.len().saturating_sub(bytes);
    if over == 0 { frame } else { make(bytes.saturating_sub(bare + over)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_has_the_size_that_was_asked_for() {
        let content = Content { run: 0, sender: 1, number: 2, due_ns: 3 };
        for bytes in [200, 250, 650, 4_000] {
            let frame = delivery(content, (9, 8), bytes);
            assert_eq!(frame.len(), bytes);
            let read = wire::read(&frame).unwrap();
            assert_eq!(Content::find(read.payload), Some(content));
            assert_eq!(crate::content::place(read.payload), Some((9, 8)));
        }
    }

    #[test]
    fn client_frames_are_read_back() {
        let mut bytes = Vec::new();
        wire::write(wire::TEXT, &[b'x'; 300], &mut bytes);
        assert_eq!(masked(&bytes), Some((&[b'x'; 300][..], bytes.len())));
        assert_eq!(masked(&bytes[..100]), None);
    }
}
