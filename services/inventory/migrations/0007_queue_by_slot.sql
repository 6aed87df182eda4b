-- contract: an old version does not name it, and reads a slot by the key that takes its place
DROP INDEX "outbox_slot";--> statement-breakpoint
-- contract: an old version does not name it
DROP INDEX "outbox_local_slot";--> statement-breakpoint
-- contract: no statement of an old version names it or has an ON CONFLICT; removing by id alone it looks in every slot, or reads the whole queue, which is short but for a backlog
ALTER TABLE "outbox" DROP CONSTRAINT "outbox_pkey";--> statement-breakpoint
-- contract: as above
ALTER TABLE "outbox_local" DROP CONSTRAINT "outbox_local_pkey";--> statement-breakpoint
-- contract: ids come from one sequence, so no two rows of an old version have the same; built under a lock, on a queue that is short
ALTER TABLE "outbox" ADD CONSTRAINT "outbox_pkey" PRIMARY KEY("slot","id");--> statement-breakpoint
-- contract: as above
ALTER TABLE "outbox_local" ADD CONSTRAINT "outbox_local_pkey" PRIMARY KEY("slot","id");