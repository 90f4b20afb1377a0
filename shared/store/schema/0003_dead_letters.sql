-- Entries of the log that a role gave up: nobody else keeps them, and an operator decides what becomes of them.
CREATE TABLE dead_letters (
    role TEXT NOT NULL,
    channel TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    envelope BLOB NOT NULL
);
CREATE UNIQUE INDEX dead_letters_place ON dead_letters (role, channel, epoch, seq);
