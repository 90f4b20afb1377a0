-- Up to where members have read a channel: no events, so this is all there is of it. Positions only rise.
CREATE TABLE reads (
    channel TEXT NOT NULL,
    user TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL
);
CREATE UNIQUE INDEX reads_user ON reads (user, channel);
