//! Making the connection: addresses, credentials, TLS, and whether the server is one that can carry the log.

use super::OpenError;
use super::link::{Carries, Signals};
use super::options::NatsOptions;
use async_nats::{Client, ConnectOptions, ServerAddr};
use runtime::backoff::{below, random};
use std::sync::Arc;
use std::time::Duration;

/// More than two unanswered pings end a connection: a dead server is noticed after 4 to 6 s (reliability page).
const PING: Duration = Duration::from_secs(2);

/// Between two tries to reconnect, at most; a fleet comes back spread over it.
const RECONNECT_MAX_MS: u64 = 2_000;

/// How long one server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// Oldest servers that keep interest while subscribers come and go (reliability page).
const OLDEST: [(i64, i64, i64); 2] = [(2, 12, 10), (2, 14, 2)];

/// Connects to one of the servers and checks it.
pub(super) async fn connect(options: &NatsOptions, signals: Arc<Signals>) -> Result<Client, OpenError> {
    let servers: Result<Vec<ServerAddr>, _> =
        options.url.split(',').map(|url| url.trim().parse::<ServerAddr>()).collect();
    let servers = servers.map_err(|error| OpenError::Options(format!("an address of NATS_URL: {error}")))?;
    let url = servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
    let url = url.collect::<Vec<_>>().join(", ");
    let connected = settings(options, signals).await?.connect(servers).await;
    let client = connected.map_err(|source| OpenError::Connect { url, source })?;
    let info = client.server_info();
    if !info.jetstream {
        return Err(OpenError::NoJetStream);
    }
    if !is_new_enough(&info.version) {
        return Err(OpenError::TooOld { found: info.version });
    }
    Ok(client)
}

async fn settings(options: &NatsOptions, signals: Arc<Signals>) -> Result<ConnectOptions, OpenError> {
    let name = match signals.carries {
        Carries::Everything => options.name.clone(),
        Carries::Passing => format!("{}-passing", options.name),
    };
    let mut settings = ConnectOptions::new()
        .name(name)
        .ping_interval(PING)
        .connection_timeout(CONNECT)
        .subscription_capacity(options.live_queue)
        .skip_subject_validation(true)
        .reconnect_delay_callback(delay)
        .event_callback(move |event| {
            signals.on(&event);
            std::future::ready(())
        });
    if let Some((user, password)) = &options.login {
        settings = settings.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(token) = &options.token {
        settings = settings.token(token.expose().to_owned());
    }
    if let Some(file) = &options.credentials {
        let text = tokio::fs::read_to_string(file).await;
        let text = text.map_err(|error| OpenError::Options(format!("{}: {error}", file.display())))?;
        settings = settings
            .credentials(&text)
            .map_err(|error| OpenError::Options(format!("{}: {error}", file.display())))?;
    }
    if let Some(file) = &options.ca_file {
        settings = settings.add_root_certificates(file.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &options.client_certificate {
        settings = settings.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
    }
    Ok(settings)
}

/// At once the first time, then at random below a bound: a server that comes back is not met by all at one moment.
fn delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let bound = 50_u64.saturating_mul(1 << attempts.min(10)).min(RECONNECT_MAX_MS);
    below(Duration::from_millis(bound), random())
}

fn is_new_enough(version: &str) -> bool {
    let number = |part: Option<&str>| {
        let digits: String = part.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    let mut parts = version.splitn(3, '.');
    let found: (i64, i64, i64) = (number(parts.next()), number(parts.next()), number(parts.next()));
    let [patched, newer] = OLDEST;
    found >= newer || ((found.0, found.1) == (patched.0, patched.1) && found >= patched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_lose_interest_are_refused() {
        for good in ["2.12.10", "2.12.11", "2.14.2", "2.14.10", "2.15.0-RC.1", "2.15.2", "3.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["2.9.10", "2.12.9", "2.13.4", "2.14.1", "2.14", "1.4.1", "", "dev"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn reconnects_come_at_once_and_then_spread() {
        assert_eq!(delay(1), Duration::ZERO);
        for attempts in 2..100 {
            assert!(delay(attempts) < Duration::from_millis(RECONNECT_MAX_MS));
        }
    }
}
