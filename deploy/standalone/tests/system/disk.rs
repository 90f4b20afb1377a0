//! What a power cut would leave of some files, rebuilt from a trace of the system calls that wrote them.
//!
//! The harshest disk that keeps its word: of each file there is what was written before its last sync began, and
//! nothing else.

use std::collections::HashMap;
use std::path::Path;

/// The calls that a trace must have, for strace's `-e`; strings must be whole and in hexadecimal where they are
/// no text (`-x`).
pub(crate) const CALLS: &str = "trace=pwrite64,ftruncate,fdatasync,fsync";

/// Files by name.
#[derive(Default)]
pub(crate) struct Disk {
    files: HashMap<String, File>,
    /// The syncs under way, by thread: which file, and what it held when the sync began.
    syncing: HashMap<String, (String, Vec<u8>)>,
}

#[derive(Default)]
struct File {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl Disk {
    /// Plays one line of a trace; returns the name of a file that this made durable.
    pub(crate) fn play(&mut self, line: &str) -> Option<String> {
        let (thread, call) = line.split_once(' ')?;
        let call = call.trim_start();
        if call.starts_with("<... f") && call.contains("sync resumed>") {
            return self.synced(thread, call);
        }
        let (kind, arguments) = call.split_once('(')?;
        let (path, rest) = arguments.split_once('<')?.1.split_once('>')?;
        let name = path.rsplit('/').next()?.to_owned();
        match kind {
            "pwrite64" => self.write(name, rest.strip_prefix(", ")?),
            "ftruncate" => {
                let length = rest.strip_prefix(", ")?.split(')').next()?.parse().unwrap();
                self.files.entry(name).or_default().written.resize(length, 0);
            }
            "fsync" | "fdatasync" => {
                let held = self.files.get(&name).map(|file| file.written.clone()).unwrap_or_default();
                self.syncing.insert(thread.to_owned(), (name, held));
                return self.synced(thread, call);
            }
            _ => {}
        }
        None
    }

    /// Ends a thread's sync if this is its end.
    fn synced(&mut self, thread: &str, call: &str) -> Option<String> {
        if !call.ends_with("= 0") {
            return None;
        }
        let (name, held) = self.syncing.remove(thread)?;
        self.files.entry(name.clone()).or_default().synced = held;
        Some(name)
    }

    fn write(&mut self, name: String, arguments: &str) {
        let (bytes, rest) = quoted(arguments);
        let mut numbers = rest.split([',', ')', ' ', '<']).filter_map(|word| word.parse::<usize>().ok());
        let (length, offset) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!(bytes.len(), length, "the trace has every byte");
        let written = &mut self.files.entry(name).or_default().written;
        written.resize(written.len().max(offset + length), 0);
        written[offset..offset + length].copy_from_slice(&bytes);
    }

    /// Writes into `folder` what a power cut would leave of a file, unless that is nothing.
    pub(crate) fn leave(&self, name: &str, folder: &Path) {
        if let Some(file) = self.files.get(name).filter(|file| !file.synced.is_empty()) {
            std::fs::write(folder.join(name), &file.synced).unwrap();
        }
    }
}

/// Reads a string as strace writes it; returns its bytes and what follows it.
fn quoted(text: &str) -> (Vec<u8>, &str) {
    let inner = text.strip_prefix('"').expect("a string");
    let (mut bytes, mut at) = (Vec::new(), 0);
    let raw = inner.as_bytes();
    loop {
        match (raw[at], raw.get(at + 1).copied()) {
            (b'"', _) => return (bytes, &inner[at + 1..]),
            (b'\\', Some(b'x')) => {
                bytes.push(u8::from_str_radix(&inner[at + 2..at + 4], 16).unwrap());
                at += 4;
            }
            (b'\\', Some(b'0'..=b'7')) => {
                let octal =
                    raw[at + 1..].iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                bytes.push(u8::from_str_radix(&inner[at + 1..=at + octal], 8).unwrap());
                at += 1 + octal;
            }
            (b'\\', Some(escaped)) => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'v' => 0x0b,
                    b'f' => 0x0c,
                    other => other,
                });
                at += 2;
            }
            (byte, _) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
}
