-- contract: the version before looks without it too, only longer
DROP INDEX "repair_missing_of";--> statement-breakpoint
ALTER TABLE "repair_cursor" ADD COLUMN "passed_at" timestamp with time zone;--> statement-breakpoint
-- locks: what is missing is noted in the background, and by the round after if not by this one
CREATE INDEX "repair_missing_oldest" ON "repair_missing" USING btree ("topic","sender","noticed_at","sent_id");