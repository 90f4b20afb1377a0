-- Up to where a store that lacked what the log once gave it is filled again, by shard and life of the log: written
-- before the log is asked for all of it once more, and gone when it has come.
CREATE TABLE filling (
    epoch TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL
);
CREATE UNIQUE INDEX filling_shard ON filling (epoch, shard);
