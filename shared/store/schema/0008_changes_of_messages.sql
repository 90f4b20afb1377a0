-- What became of a message, beside what was written: each change with the place of the event that says it, so that
-- events may come in any order, before the message, too. The highest place holds; a deletion holds for ever.
CREATE TABLE message_changes (
    message TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    edit_epoch TEXT,
    edit_seq INTEGER,
    edit TEXT,
    pin_epoch TEXT,
    pin_seq INTEGER,
    pinned INTEGER,
    deleted_at_ms INTEGER,
    reactions TEXT
);

CREATE TABLE reactions (
    message TEXT NOT NULL,
    user TEXT NOT NULL,
    reaction TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    active INTEGER NOT NULL
);
CREATE UNIQUE INDEX reactions_one ON reactions (message, user, reaction);

-- What a client's own id was used for, of whatever is no message: those have an index of their own.
CREATE TABLE commanded (
    client_msg_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    sender TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    message TEXT NOT NULL,
    content_hash INTEGER NOT NULL
);
CREATE UNIQUE INDEX commanded_once ON commanded (client_msg_id, channel, sender, epoch, seq);
