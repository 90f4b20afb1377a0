//! Making the log's streams and checking those that are there.

use super::OpenError;
use super::options::NatsOptions;
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use protocol::ids::Epoch;
use protocol::subjects::{SHARDS, Shard, nats};
use std::time::Duration;

/// How long new streams remember a dedup key when nobody says otherwise. Reliability page.
const DEDUP_WINDOW: Duration = Duration::from_secs(120);

/// The configuration of a shard's stream when it is made.
pub(super) fn wanted(options: &NatsOptions, shard: Shard) -> Config {
    Config {
        name: nats::stream(shard),
        description: Some("SafeShipper: the log of one shard".to_owned()),
        subjects: vec![nats::log_pattern(shard)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: options.max_bytes.unwrap_or(-1),
        num_replicas: options.replicas.unwrap_or(1),
        duplicate_window: options.dedup_window.unwrap_or(DEDUP_WINDOW),
        allow_direct: true,
        republish: Some(Republish {
            source: nats::log_pattern(shard),
            destination: nats::live_pattern(shard),
            headers_only: false,
        }),
        ..Config::default()
    }
}

/// Returns a stream's state; makes it when it is missing.
pub(super) async fn there(context: &Context, wanted: &Config) -> Result<Info, OpenError> {
    let failed = |source: async_nats::Error| OpenError::Stream { name: wanted.name.clone(), source };
    match context.get_stream(&wanted.name).await {
        Ok(stream) => Ok(stream.cached_info().clone()),
        Err(error) if is_not_found(&error) => {
            // Another process may be making the same one: then it is there, and as wanted.
            let made = context.get_or_create_stream(wanted.clone()).await;
            Ok(made.map_err(|error| failed(error.into()))?.cached_info().clone())
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// Returns a stream's state once it is the log's, and brings what may be changed on a living one up to date. Once, at
/// the start of a process: an operator who changes it meanwhile has the last word until then.
pub(super) async fn checked(
    context: &Context,
    options: &NatsOptions,
    shard: Shard,
) -> Result<Info, OpenError> {
    let wanted = wanted(options, shard);
    let name = wanted.name.clone();
    let failed = |source: async_nats::Error| OpenError::Stream { name: name.clone(), source };
    let info = there(context, &wanted).await?;
    let found = &info.config;
    let fixed = [
        ("retention", found.retention == wanted.retention),
        ("storage", found.storage == wanted.storage),
        ("max_age", found.max_age.is_zero()),
        ("subjects", found.subjects == wanted.subjects),
        ("max_messages_per_subject", found.max_messages_per_subject <= 0),
    ];
    if let Some((what, _)) = fixed.iter().find(|(_, holds)| !holds) {
        return Err(OpenError::Foreign { name: name.clone(), what });
    }
    let asked_for = asked_for(found, &wanted, options);
    if asked_for == *found {
        return Ok(info);
    }
    tracing::warn!(stream = name, "the configuration of a stream is brought up to date");
    context.update_stream(asked_for).await.map_err(|error| failed(error.into()))
}

/// What the log needs, and what this process's operator said; all else stays as it is. A process that was told nothing
/// of copies or limits, such as one that lists dead letters, takes none away.
fn asked_for(found: &Config, wanted: &Config, options: &NatsOptions) -> Config {
    Config {
        republish: wanted.republish.clone(),
        allow_direct: true,
        discard: wanted.discard,
        num_replicas: options.replicas.unwrap_or(found.num_replicas),
        max_bytes: options.max_bytes.unwrap_or(found.max_bytes),
        duplicate_window: options.dedup_window.unwrap_or(found.duplicate_window),
        ..found.clone()
    }
}

fn is_not_found(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Whether the server said that it will never have such a stream.
pub(super) fn is_final(error: &async_nats::Error) -> bool {
    const FINAL: [ErrorCode; 4] = [
        // More copies than one on a server that is in no cluster.
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
        ErrorCode::STREAM_INVALID_CONFIG,
        ErrorCode::STREAM_NAME_EXIST,
        ErrorCode::STREAM_SUBJECT_OVERLAP,
    ];
    let said = match (error.downcast_ref::<GetStreamError>(), error.downcast_ref::<CreateStreamError>()) {
        (Some(error), _) => match error.kind() {
            GetStreamErrorKind::JetStream(error) => Some(error.error_code()),
            _ => None,
        },
        (_, Some(error)) => match error.kind() {
            CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
            _ => None,
        },
        _ => None,
    };
    said.is_some_and(|code| FINAL.contains(&code))
}

/// The life of a stream: when it was made, by the server's clock, and what divides it.
pub(super) fn epoch_of(info: &Info) -> Epoch {
    let made = info.created.unix_timestamp_nanos();
    let text = format!("{} {made} {SHARDS}", info.config.name);
    let digest = protocol::subjects::dedup_key([&text, "", ""]);
    let ms = u64::try_from(made / 1_000_000).unwrap_or_default();
    Epoch::new(ms, u32::try_from(digest & u128::from(u32::MAX)).unwrap_or_default())
}
