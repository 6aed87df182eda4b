-- Queues are emptied as fast as they fill, and what is deleted is read past until it is vacuumed: so they are vacuumed by the number
-- of dead rows, not by their share of a table that is empty most of the time, and without pauses. drizzle-kit knows no such
-- settings; a service's migrations hold a copy of this file, as of sent.sql.
ALTER TABLE "outbox" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
--> statement-breakpoint
ALTER TABLE "outbox_local" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
--> statement-breakpoint
ALTER TABLE "outbox_delayed" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
