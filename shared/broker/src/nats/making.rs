//! Making the log's streams and checking those that are there.

use super::OpenError;
use super::options::NatsOptions;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use protocol::ids::Epoch;
use protocol::subjects::{SHARDS, Shard, nats};

/// The configuration of a shard's stream.
pub(super) fn wanted(options: &NatsOptions, shard: Shard) -> Config {
    Config {
        name: nats::stream(shard),
        description: Some("SafeShipper: the log of one shard".to_owned()),
        subjects: vec![nats::log_pattern(shard)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: options.max_bytes,
        num_replicas: options.replicas,
        duplicate_window: options.dedup_window,
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
    let same = found.republish == wanted.republish
        && found.allow_direct
        && found.discard == wanted.discard
        && found.num_replicas == wanted.num_replicas
        && found.duplicate_window == wanted.duplicate_window
        && found.max_bytes == wanted.max_bytes;
    if same {
        return Ok(info);
    }
    tracing::warn!(stream = name, "the configuration of a stream is brought up to date");
    context.update_stream(wanted).await.map_err(|error| failed(error.into()))
}

fn is_not_found(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::context::GetStreamErrorKind::JetStream;
    matches!(error.kind(), JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

/// The life of a stream: when it was made, by the server's clock, and what divides it.
pub(super) fn epoch_of(info: &Info) -> Epoch {
    let made = info.created.unix_timestamp_nanos();
    let text = format!("{} {made} {SHARDS}", info.config.name);
    let digest = protocol::subjects::dedup_key([&text, "", ""]);
    let ms = u64::try_from(made / 1_000_000).unwrap_or_default();
    Epoch::new(ms, u32::try_from(digest & u128::from(u32::MAX)).unwrap_or_default())
}
