//! A role whose loop ends while the process runs stops the process.

use crate::world::World;
use worker::Role::{Commands, Directory, History, Persistence};

#[tokio::test]
async fn a_role_that_ends_too_early_stops_the_process() {
    for role in [Persistence, Directory, History, Commands] {
        let world = World::new();
        let worker = world.start(&[role]).await;
        world.broker.drain().await;
        worker.failed().await;
    }
}
