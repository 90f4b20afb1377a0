-- Up to where a shard of the log, in one of its lives, was applied. A row is written only after everything that it
-- speaks of, and with it made durable; times counts how often, so that each time something is written.
CREATE TABLE reached (
    epoch TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    times INTEGER NOT NULL
);
CREATE UNIQUE INDEX reached_shard ON reached (epoch, shard);
