-- locks: dead letters are few, and those that wait and hold a key fewer
CREATE INDEX "dead_letter_holding" ON "dead_letter" USING btree ("topic","msg_key") WHERE "dead_letter"."state" = 'waiting' AND "dead_letter"."holds_key";--> statement-breakpoint
-- locks: who sends later waits until it is built, which is a sort of the deadlines that are there
CREATE INDEX "outbox_delayed_of_key" ON "outbox_delayed" USING btree ("msg_key","due_at");--> statement-breakpoint
-- contract: an old version does not name it; its purge reads the table in its place, or is late by a roll-out
DROP INDEX "idempotency_key_created_at";--> statement-breakpoint
-- contract: as above
DROP INDEX "inbox_received_at";--> statement-breakpoint
-- contract: an old version does not name it, and finds a key by the index that takes its place above
DROP INDEX "outbox_delayed_key";