//! What all scenarios are told.

use crate::token::Signer;
use anyhow::{Context, bail};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Args, Debug, Clone)]
pub(crate) struct Common {
    /// Where the gateway listens; only addresses of this machine (127.0.0.0/8) are taken
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub(crate) target: SocketAddr,
    /// The path of the WebSocket
    #[arg(long, default_value = "/ws/chat/")]
    pub(crate) path: String,
    /// A file with the key that tokens are signed with, such as data/development.key
    #[arg(long)]
    pub(crate) key_file: Option<PathBuf>,
    /// Processes of the server, whose CPU and memory are counted
    #[arg(long = "server-pid")]
    pub(crate) server_pids: Vec<u32>,
    /// Source addresses, 127.0.0.1 and on: one address has too few ports for many connections
    #[arg(long, default_value_t = 4)]
    pub(crate) sources: u8,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 200)]
    pub(crate) handshakes: usize,
    /// Milliseconds between two looks at the sockets. More makes the client cheaper and its latencies useless: for
    /// runs that are about the server's CPU and would make the client the bottleneck
    #[arg(long, default_value_t = 0)]
    pub(crate) look_every_ms: u64,
    /// Users are PREFIX-u0 and on, rooms PREFIX-r0 and on, as `standalone seed` makes them; user i is in room
    /// i modulo the number of rooms. The default is the scenario's name
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 128)]
    pub(crate) payload: usize,
    /// Where to write the result as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Where connections go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    path: String,
}

impl Common {
    /// Returns where connections go.
    ///
    /// # Errors
    /// When the address is not of this machine.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        if !crate::engine::is_loopback(self.target) {
            bail!("--target {}: load goes to 127.0.0.0/8 only", self.target);
        }
        Ok(Target { address: self.target, path: self.path.clone() })
    }

    /// Returns who signs tokens.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub(crate) fn signer(&self) -> anyhow::Result<Signer> {
        let file = self.key_file.as_ref().context("--key-file is needed to sign tokens")?;
        let key = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Signer::new(&key))
    }

    /// Returns a user's id.
    pub(crate) fn user(&self, scenario: &str, index: usize) -> String {
        format!("{}-u{index}", self.prefix.as_deref().unwrap_or(scenario))
    }

    /// Returns a room's id.
    pub(crate) fn room(&self, scenario: &str, index: usize) -> String {
        format!("{}-r{index}", self.prefix.as_deref().unwrap_or(scenario))
    }
}

impl Target {
    /// Returns the request of a handshake.
    pub(crate) fn handshake(&self, token: &str, resume: bool) -> String {
        let Self { address, path } = self;
        let query = if resume { "?resume=1" } else { "" };
        format!(
            "GET {path}{query} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: safeshipper.v1.json\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    }
}
