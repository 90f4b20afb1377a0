//! Where values come from, and the one tree that they form.

use super::Faults;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;

/// Well-known variables and their place in the tree. Product page, "Names that others rely on".
const WELL_KNOWN: &[(&str, &str)] = &[
    ("SECRET_KEY", "auth.secret_key"),
    ("JWT_SIGNING_KEY", "auth.jwt_signing_key"),
    ("DEBUG", "debug"),
    ("REDIS_URL", "redis.url"),
    ("NATS_URL", "nats.url"),
    ("BROKER", "broker"),
    ("LISTEN", "listen"),
    ("ADMIN_LISTEN", "admin_listen"),
    ("DATA_DIR", "data_dir"),
    ("SCYLLA_NODES", "scylla.nodes"),
    ("LOG", "log"),
    ("CORS_ALLOWED_ORIGINS", "cors_allowed_origins"),
];

/// Everything else in the environment: `SAFESHIPPER__SECTION__KEY`.
const PREFIX: &str = "SAFESHIPPER__";

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Option(&'static str),
    Environment(String),
    DotEnv(String),
    File,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => write!(f, "option {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::DotEnv(name) => write!(f, "{name} in .env"),
            Self::File => f.write_str("configuration file"),
        }
    }
}

/// A value as written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// All values as written, by their place in the tree.
#[derive(Clone, Default)]
pub struct Source {
    pub(super) values: BTreeMap<String, Written>,
}

impl Source {
    /// Sets a value by an option of the command line, which wins over everything else.
    pub fn set(&mut self, place: &str, option: &'static str, text: String) {
        self.values.insert(place.to_owned(), Written { text, origin: Origin::Option(option) });
    }

    /// Reads the file named by `CONFIG`, `.env` in the working folder and the environment.
    ///
    /// # Errors
    /// [`Faults`] when a file cannot be read.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn load() -> Result<Self, Faults> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let dot_env = match fs::read_to_string(".env") {
            Ok(text) => parse_dot_env(&text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Faults::one(format!(".env cannot be read: {error}"))),
        };
        let named = |pairs: &[(String, String)]| {
            pairs.iter().find(|(name, _)| name == "CONFIG").map(|(_, value)| value.clone())
        };
        let file = match named(&environment).or_else(|| named(&dot_env)) {
            Some(path) => Some(fs::read_to_string(&path).map_err(|error| {
                Faults::one(format!("configuration file {path} (from CONFIG) cannot be read: {error}"))
            })?),
            None => None,
        };
        Self::from_parts(file.as_deref(), &dot_env, &environment)
    }

    /// Makes the tree from the parts; what [`Source::load`] does after reading.
    ///
    /// # Errors
    /// [`Faults`] when the file is no TOML.
    pub fn from_parts(
        file: Option<&str>,
        dot_env: &[(String, String)],
        environment: &[(String, String)],
    ) -> Result<Self, Faults> {
        let mut source = Self::default();
        if let Some(text) = file {
            let table: toml::Table = text
                .parse()
                .map_err(|error| Faults::one(format!("configuration file is no TOML: {error}")))?;
            source.flatten("", &table);
        }
        source.overlay(dot_env, Origin::DotEnv);
        source.overlay(environment, Origin::Environment);
        Ok(source)
    }

    fn flatten(&mut self, prefix: &str, table: &toml::Table) {
        for (key, value) in table {
            let place = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let text = match value {
                toml::Value::Table(inner) => {
                    self.flatten(&place, inner);
                    continue;
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(items) => {
                    let texts =
                        items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned));
                    texts.collect::<Vec<_>>().join(",")
                }
                other => other.to_string(),
            };
            self.values.insert(place, Written { text, origin: Origin::File });
        }
    }

    fn overlay(&mut self, pairs: &[(String, String)], origin: fn(String) -> Origin) {
        for (name, value) in pairs {
            let known = WELL_KNOWN
                .iter()
                .find(|(variable, _)| variable == name)
                .map(|(_, place)| (*place).to_owned());
            let place = known.or_else(|| Some(name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".")));
            // An empty variable is how shells and compose files say "not set".
            if let Some(place) = place.filter(|_| !value.is_empty()) {
                self.values.insert(place, Written { text: value.clone(), origin: origin(name.clone()) });
            }
        }
    }
}

/// Reads `KEY=value` lines; `export `, comments and quotes as shells have them.
fn parse_dot_env(text: &str) -> Result<Vec<(String, String)>, Faults> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim().trim_start_matches("export ").trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(Faults::one(format!(".env line {} is not KEY=value", number + 1)));
        };
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote));
        let value = quoted.map_or_else(|| value.split(" #").next().unwrap_or("").trim(), |(inner, _)| inner);
        pairs.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_wins_over_dot_env_and_that_over_the_file() {
        let file = "log = 'file'\ndata_dir = 'file'\nlisten = 'file'\n[limits]\na = 1\nlist = ['x', 'y']";
        let dot_env = pairs(&[("LOG", "dot"), ("DATA_DIR", "dot"), ("SAFESHIPPER__LIMITS__B", "2")]);
        let source =
            Source::from_parts(Some(file), &dot_env, &pairs(&[("LOG", "env"), ("PATH", "/bin")])).unwrap();
        let all: Vec<_> =
            source.values.iter().map(|(place, value)| (place.as_str(), value.text.as_str())).collect();
        let expected = [
            ("data_dir", "dot"),
            ("limits.a", "1"),
            ("limits.b", "2"),
            ("limits.list", "x,y"),
            ("listen", "file"),
            ("log", "env"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn dot_env_is_read_as_shells_have_it() {
        let text = "# comment\n\nexport DEBUG=True\nLOG = info # all\nSECRET_KEY=\"a # b\"\nA='q'\n";
        let expected = pairs(&[("DEBUG", "True"), ("LOG", "info"), ("SECRET_KEY", "a # b"), ("A", "q")]);
        assert_eq!(parse_dot_env(text).unwrap(), expected);
        assert!(parse_dot_env("nonsense").is_err());
    }
}
