//! `faulty`: a proxy before a server that breaks what passes, so that it can be seen whether a run tells.

use crate::content::Content;
use crate::report::say;
use crate::scenario::is;
use crate::wire;
use clap::Args;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 * 1024;

#[derive(Args, Debug, Clone)]
pub(crate) struct Options {
    /// Where to listen; only addresses of this machine
    #[arg(long, default_value = "127.0.0.1:9200")]
    listen: SocketAddr,
    /// The server behind it; only addresses of this machine
    #[arg(long, default_value = "127.0.0.1:8000")]
    target: SocketAddr,
    #[command(flatten)]
    fault: Fault,
    /// Milliseconds of a stall
    #[arg(long, default_value_t = 2_000)]
    stall_ms: u64,
}

/// What is done to deliveries, or to acknowledgements, each counted over all sockets.
#[derive(Args, Debug, Clone)]
#[group(required = true, multiple = false)]
struct Fault {
    /// Drop each N-th delivery
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    drop_every: Option<u64>,
    /// Drop the N-th acknowledgement
    #[arg(long, value_name = "N")]
    drop_ack_nth: Option<u64>,
    /// Send the N-th delivery twice
    #[arg(long, value_name = "N")]
    repeat_nth: Option<u64>,
    /// Send the N-th delivery behind the next one of its socket
    #[arg(long, value_name = "N")]
    swap_nth: Option<u64>,
    /// From the N-th delivery on, send nothing for --stall-ms
    #[arg(long, value_name = "N")]
    stall_nth: Option<u64>,
}

/// What all sockets share.
struct Proxy {
    fault: Fault,
    stall: Duration,
    deliveries: AtomicU64,
    acks: AtomicU64,
    stalls_until: OnceLock<Instant>,
}

/// What becomes of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is nothing that faults are done to.
    Pass,
    /// A delivery passes, and with it the one that waited for it.
    Deliver,
    Drop,
    Repeat,
    /// It waits for the next one of its socket.
    Swap,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    for address in [options.listen, options.target] {
        anyhow::ensure!(crate::engine::is_loopback(address), "{address}: only addresses of 127.0.0.0/8");
    }
    let listener = TcpListener::bind(options.listen)?;
    say(&format!("faulty listens on {}", listener.local_addr()?));
    let proxy = Arc::new(Proxy {
        fault: options.fault.clone(),
        stall: Duration::from_millis(options.stall_ms),
        deliveries: AtomicU64::new(0),
        acks: AtomicU64::new(0),
        stalls_until: OnceLock::new(),
    });
    for client in listener.incoming() {
        let (client, server) = (client?, TcpStream::connect(options.target)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        // Two threads for each socket: it is no server for many.
        std::thread::spawn(move || {
            let _either_side_ended = io::copy(&mut from_client, &mut to_server);
            let _gone_already = to_server.shutdown(Shutdown::Both);
        });
        let proxy = proxy.clone();
        std::thread::spawn(move || {
            let _either_side_ended = proxy.relay(&server, &client);
            let _gone_already = client.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

impl Proxy {
    /// Passes on what the server says, but for what the fault does to it.
    fn relay(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let (mut bytes, mut scratch) = (Vec::new(), vec![0; SCRATCH_BYTES]);
        let mut held = Vec::new();
        let mut open = false;
        loop {
            match server.read(&mut scratch) {
                Ok(0) => return Ok(()),
                Ok(read) => bytes.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            let mut out = Vec::new();
            if !open {
                let Some(end) = wire::head_end(&bytes) else { continue };
                out.extend(bytes.drain(..end));
                open = true;
            }
            while let Some(frame) = wire::read(&bytes) {
                let (fate, size) = (self.fate(&frame), frame.size);
                let whole: Vec<u8> = bytes.drain(..size).collect();
                match fate {
                    Fate::Drop => {}
                    Fate::Swap => held = whole,
                    Fate::Repeat => out.extend(whole.repeat(2)),
                    Fate::Pass => out.extend(whole),
                    Fate::Deliver => {
                        out.extend(whole);
                        out.append(&mut held);
                    }
                }
            }
            if let Some(until) = self.stalls_until.get() {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            client.write_all(&out)?;
        }
    }

    fn fate(&self, frame: &wire::Frame<'_>) -> Fate {
        if frame.opcode != wire::TEXT {
            Fate::Pass
        } else if is(frame.payload, "ack") {
            let nth = self.acks.fetch_add(1, Ordering::Relaxed) + 1;
            if self.fault.drop_ack_nth == Some(nth) { Fate::Drop } else { Fate::Pass }
        } else if Content::find(frame.payload).is_some() {
            self.fate_of_delivery(self.deliveries.fetch_add(1, Ordering::Relaxed) + 1)
        } else {
            Fate::Pass
        }
    }

    fn fate_of_delivery(&self, nth: u64) -> Fate {
        let fault = &self.fault;
        if fault.stall_nth == Some(nth) {
            self.stalls_until.get_or_init(|| Instant::now() + self.stall);
        }
        if fault.drop_every.is_some_and(|every| nth.is_multiple_of(every)) {
            Fate::Drop
        } else if fault.repeat_nth == Some(nth) {
            Fate::Repeat
        } else if fault.swap_nth == Some(nth) {
            Fate::Swap
        } else {
            Fate::Deliver
        }
    }
}
