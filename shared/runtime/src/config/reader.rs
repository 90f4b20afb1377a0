//! Typed getters that remember which keys exist and what was wrong.

use super::Source;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A text that no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for whoever signs or connects with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has faults:\n{}", .0.join("\n"))]
pub struct Faults(Vec<String>);

impl Faults {
    /// The exit code of a process whose configuration is wrong: EX_USAGE of sysexits.h.
    pub const EXIT_CODE: u8 = 64;

    /// Makes faults of one line.
    pub fn one(fault: impl Into<String>) -> Self {
        Self(vec![fault.into()])
    }

    /// Returns the lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

/// A type that a value can be read as; the error says what was expected.
pub trait FromValue: Sized {
    /// Whether messages must not show the value.
    const SECRET: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    /// What was expected instead.
    fn from_value(text: &str) -> Result<Self, String>;
}

macro_rules! parsed {
    ($($kind:ty => $expected:literal),*) => {
        $(impl FromValue for $kind {
            fn from_value(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| $expected.to_owned())
            }
        })*
    };
}

parsed!(u64 => "a whole number", u32 => "a whole number", usize => "a whole number", SocketAddr => "ADDRESS:PORT");

impl FromValue for bool {
    fn from_value(text: &str) -> Result<Self, String> {
        match text.trim() {
            "1" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err("true or false".to_owned()),
        }
    }
}

impl FromValue for String {
    fn from_value(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromValue for PathBuf {
    fn from_value(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl FromValue for Secret {
    const SECRET: bool = true;

    fn from_value(text: &str) -> Result<Self, String> {
        // A blank key is public; whoever wrote one meant to fill it in.
        if text.trim().is_empty() { Err("a text that is not blank".to_owned()) } else { Ok(Self::new(text)) }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    const SECRET: bool = T::SECRET;

    fn from_value(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| T::from_value(item).map_err(|expected| format!("a list, each {expected}"))).collect()
    }
}

/// Reads a source; the end is [`Reader::finish`].
pub struct Reader {
    source: Source,
    known: BTreeSet<String>,
    left: BTreeSet<String>,
    faults: Vec<String>,
}

impl Reader {
    /// Starts to read a source.
    pub fn new(source: Source) -> Self {
        Self { source, known: BTreeSet::new(), left: BTreeSet::new(), faults: Vec::new() }
    }

    /// Returns the value at a place of the tree, or the default; a value that cannot be read is a fault.
    pub fn get<T: FromValue>(&mut self, place: &str, default: T) -> T {
        self.get_opt(place).unwrap_or(default)
    }

    /// Returns the value at a place of the tree, if there is one; a value that cannot be read is a fault.
    pub fn get_opt<T: FromValue>(&mut self, place: &str) -> Option<T> {
        self.known.insert(place.to_owned());
        let written = self.source.values.get(place)?;
        match T::from_value(&written.text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let shown = if T::SECRET { "***" } else { &written.text };
                self.faults.push(format!("{place} = {shown:?} ({}): expected {expected}", written.origin));
                None
            }
        }
    }

    /// Returns a time whose key ends in its unit (`…_ms` or `…_s`).
    pub fn get_duration(&mut self, place: &str, default: Duration) -> Duration {
        let unit = if place.ends_with("_ms") { Duration::from_millis } else { Duration::from_secs };
        self.get_opt::<u64>(place).map_or(default, unit)
    }

    /// Notes a fault that only the component can see.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Leaves whole sections to other processes that read the same file.
    pub fn leave(&mut self, sections: &[&str]) {
        self.left.extend(sections.iter().map(|section| (*section).to_owned()));
    }

    /// Leaves all but these sections to other processes: for a program that needs little of what they are told.
    pub fn leave_all_but(&mut self, sections: &[&str]) {
        let present = self.source.values.keys().map(|place| section(place));
        self.left.extend(present.filter(|present| !sections.contains(present)).map(str::to_owned));
    }

    /// Ends the reading: whatever was wrong, and every key that nobody asked for with the nearest known one.
    ///
    /// # Errors
    /// [`Faults`], all of them at once.
    pub fn finish(mut self) -> Result<(), Faults> {
        for (place, written) in &self.source.values {
            if !self.known.contains(place) && !self.left.contains(section(place)) {
                let nearest = self.known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, place));
                let hint = nearest.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
                self.faults.push(format!("{place} ({}): unknown key{hint}", written.origin));
            }
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Faults(self.faults)) }
    }
}

fn section(place: &str) -> &str {
    place.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(file: &str) -> Reader {
        Reader::new(Source::from_parts(Some(file), &[], &[]).unwrap())
    }

    #[test]
    fn all_faults_come_at_once_and_secrets_never_show() {
        let file = "debug = 'perhaps'\nlisten = 'here'\n[limits]\nframes_maks = 3\n[auth]\nkeys = 'hunter2,'";
        let mut reader = reader(file);
        assert!(reader.get("debug", true));
        assert_eq!(reader.get_opt::<SocketAddr>("listen"), None);
        assert_eq!(reader.get("limits.frames_max", 5_u32), 5);
        assert_eq!(reader.get::<Vec<Secret>>("auth.keys", Vec::new())[0].expose(), "hunter2");
        reader.fault("something else");
        let faults = reader.finish().unwrap_err();
        assert_eq!(faults.lines().len(), 4, "{faults}");
        let all = faults.to_string();
        assert!(all.contains("did you mean limits.frames_max?"), "{all}");
        assert!(!all.contains("hunter2"), "{all}");
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }

    #[test]
    fn sections_of_other_processes_are_left_to_them() {
        let mut reader = reader("[worker]\nroles = 'history'\n[gatway]\nx = 1");
        reader.leave(&["worker"]);
        assert_eq!(reader.finish().unwrap_err().lines().len(), 1, "a section of nobody is a fault");
    }

    #[test]
    fn who_needs_little_says_nothing_of_the_rest() {
        let mut reader = reader("debug = 'perhaps'\nlog = 'x'\n[store]\nfiel = 'y'\n[gatway]\nx = 1");
        reader.leave_all_but(&["log", "store"]);
        assert_eq!(reader.get_opt::<String>("log").as_deref(), Some("x"));
        assert_eq!(reader.get_opt::<String>("store.file"), None);
        let faults = reader.finish().unwrap_err();
        assert_eq!(faults.lines().len(), 1, "{faults}");
        assert!(faults.to_string().contains("did you mean store.file?"), "{faults}");
    }

    #[test]
    fn times_have_their_unit_in_the_key() {
        let mut reader = reader("a_ms = 5\nb_s = 5");
        assert_eq!(reader.get_duration("a_ms", Duration::ZERO), Duration::from_millis(5));
        assert_eq!(reader.get_duration("b_s", Duration::ZERO), Duration::from_secs(5));
        assert_eq!(reader.finish(), Ok(()));
    }
}
