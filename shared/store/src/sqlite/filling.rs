//! Marks of a store that is being filled: up to where it should have the log.

use super::ask::position;
use super::write::synced;
use crate::StoreError;
use protocol::ids::Position;
use protocol::subjects::Shard;
use rusqlite::{Connection, TransactionBehavior, params};

pub(super) fn begin(connection: &mut Connection, upto: &[(Shard, Position)]) -> Result<(), StoreError> {
    synced(connection, |connection| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (shard, position) in upto {
            transaction
                .prepare_cached(
                    "INSERT INTO filling (epoch, shard, seq) VALUES (?1, ?2, ?3)
                     ON CONFLICT (epoch, shard) DO UPDATE SET seq = max(seq, excluded.seq)",
                )?
                .execute(params![position.epoch.as_str(), shard.0, position.seq])?;
        }
        Ok(transaction.commit()?)
    })
}

pub(super) fn marks(connection: &Connection) -> Result<Vec<(Shard, Position)>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT shard, epoch, seq FROM filling ORDER BY epoch, shard")?;
    let mut rows = select.query([])?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        marks.push((Shard(row.get(0)?), position(row, 1, 2)?));
    }
    Ok(marks)
}

pub(super) fn end(connection: &mut Connection, upto: &[(Shard, Position)]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (shard, position) in upto {
        transaction
            .prepare_cached("DELETE FROM filling WHERE epoch = ?1 AND shard = ?2 AND seq <= ?3")?
            .execute(params![position.epoch.as_str(), shard.0, position.seq])?;
    }
    Ok(transaction.commit()?)
}
