CREATE TABLE "outbox_delayed" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "outbox_delayed_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"due_at" timestamp with time zone NOT NULL,
	"topic" text NOT NULL,
	"msg_key" text NOT NULL,
	"event_id" uuid NOT NULL,
	"type" text NOT NULL,
	"payload" json NOT NULL,
	"headers" json NOT NULL,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "outbox_local" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "outbox_local_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"slot" smallint NOT NULL,
	"msg_key" text NOT NULL,
	"event_id" uuid NOT NULL,
	"key_seq" bigint NOT NULL,
	"type" text NOT NULL,
	"payload" json NOT NULL,
	"headers" json NOT NULL,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "outbox_local_slot_range" CHECK ("slot" >= 0 AND "slot" < 16)
);
--> statement-breakpoint
ALTER TABLE "dead_letter" ADD COLUMN "sender" text;--> statement-breakpoint
ALTER TABLE "dead_letter" ADD COLUMN "key_seq" bigint;--> statement-breakpoint
ALTER TABLE "dead_letter" ADD COLUMN "holds_key" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "dead_letter" ADD COLUMN "state" text DEFAULT 'waiting' NOT NULL;--> statement-breakpoint
ALTER TABLE "dead_letter" ADD COLUMN "resolved_at" timestamp with time zone;--> statement-breakpoint
CREATE INDEX "outbox_delayed_due" ON "outbox_delayed" USING btree ("due_at","id");--> statement-breakpoint
CREATE INDEX "outbox_local_slot" ON "outbox_local" USING btree ("slot","id");--> statement-breakpoint
-- locks: dead letters are few, so it is built at once
CREATE INDEX "dead_letter_waiting" ON "dead_letter" USING btree ("id") WHERE "dead_letter"."state" = 'waiting';