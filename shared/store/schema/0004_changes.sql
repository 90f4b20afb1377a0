-- changes counts the events that made a row what it is, each once, in whatever order they come: it only grows.
ALTER TABLE channels ADD COLUMN changes INTEGER NOT NULL DEFAULT 1;
ALTER TABLE members ADD COLUMN changes INTEGER NOT NULL DEFAULT 1;
