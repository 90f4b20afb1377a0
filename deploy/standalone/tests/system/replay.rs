//! Whether what a store says of its events is what a replay of them says.

use protocol::envelope::Envelope;
use protocol::ids::{Epoch, Position};
use runtime::shutdown::Shutdown;
use rusqlite::Connection;
use std::path::Path;
use store::{Event, Sqlite, Store};

/// What follows from events; how far people have read, and who they are, does not.
const PROJECTIONS: [&str; 6] =
    ["messages", "message_changes", "reactions", "commanded", "channels", "members"];

/// Events of one batch.
const BATCH: usize = 500;

/// Asserts that a store's projections are those of a store that gets the same events once and in order.
pub(crate) async fn projections_are_those_of_a_replay(file: &Path) {
    let kept = Connection::open(file).unwrap();
    let events = events(&kept);
    assert!(!events.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let replayed = folder.path().join("store.db");
    let store = Store::Sqlite(Sqlite::open(&replayed, &Shutdown::new()).unwrap());
    for batch in events.chunks(BATCH) {
        store.apply(batch.to_vec()).await.unwrap();
    }
    store.close().await;
    let replayed = Connection::open(replayed).unwrap();
    for table in PROJECTIONS {
        let (kept, replayed) = (rows(&kept, table), rows(&replayed, table));
        assert_eq!(kept.len(), replayed.len(), "{table}");
        for (kept, replayed) in kept.iter().zip(&replayed) {
            assert_eq!(kept, replayed, "{table}");
        }
    }
}

fn events(store: &Connection) -> Vec<Event> {
    let mut select = store.prepare("SELECT epoch, seq, envelope FROM events ORDER BY epoch, seq").unwrap();
    let event = |row: &rusqlite::Row<'_>| {
        let (epoch, bytes): (String, Vec<u8>) = (row.get(0)?, row.get(2)?);
        let position = Position { epoch: Epoch::parse(&epoch).unwrap(), seq: row.get(1)? };
        Ok(Event { position, envelope: Envelope::decode(&bytes).unwrap() })
    };
    select.query_map([], event).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A table's rows, each with its columns by name, in the order of all of them.
fn rows(store: &Connection, table: &str) -> Vec<String> {
    let mut select = store.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let names: Vec<String> = select.column_names().map(str::to_owned).collect();
    let row = |row: &rusqlite::Row<'_>| {
        let column = |(at, name)| Ok(format!("{name}={:?}", row.get_ref(at)?));
        names.iter().enumerate().map(column).collect::<Result<Vec<_>, rusqlite::Error>>()
    };
    let mut rows: Vec<String> =
        select.query_map([], row).unwrap().map(|row| row.unwrap().join(" ")).collect();
    rows.sort();
    rows
}
