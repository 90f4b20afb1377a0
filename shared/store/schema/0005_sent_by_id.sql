-- Ids of clients begin with the time, so new rows of this index lie side by side, whoever writes in whatever channel.
DROP INDEX messages_sent;
CREATE INDEX messages_sent ON messages (client_msg_id, channel, sender) WHERE client_msg_id IS NOT NULL;
