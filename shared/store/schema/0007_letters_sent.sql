-- Who sent what was put aside, and under which id of his own: sent once more, it is known again.
ALTER TABLE dead_letters ADD COLUMN sender TEXT;
ALTER TABLE dead_letters ADD COLUMN client_msg_id TEXT;
UPDATE dead_letters
    SET sender = json_extract(CAST(envelope AS TEXT), '$.by'),
        client_msg_id = json_extract(CAST(envelope AS TEXT), '$.client_msg_id')
    WHERE json_valid(CAST(envelope AS TEXT));
CREATE INDEX dead_letters_sent ON dead_letters (client_msg_id, channel, sender) WHERE client_msg_id IS NOT NULL;
