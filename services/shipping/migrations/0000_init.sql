CREATE TABLE "consumer_run" (
	"id" uuid PRIMARY KEY NOT NULL,
	"instance" text NOT NULL,
	"beat_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"found_dead_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "dead_letter" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "dead_letter_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"topic" text NOT NULL,
	"event_id" text NOT NULL,
	"type" text,
	"msg_key" text,
	"sender" text,
	"key_seq" bigint,
	"holds_key" boolean DEFAULT false NOT NULL,
	"state" text DEFAULT 'waiting' NOT NULL,
	"reason" text NOT NULL,
	"detail" text NOT NULL,
	"body" "bytea" NOT NULL,
	"headers" jsonb NOT NULL,
	"attempts" integer NOT NULL,
	"died_at" timestamp with time zone DEFAULT now() NOT NULL,
	"resolved_at" timestamp with time zone,
	CONSTRAINT "dead_letter_event" UNIQUE("topic","event_id")
);
--> statement-breakpoint
CREATE TABLE "dead_letter_action" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "dead_letter_action_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"dead_letter_id" bigint NOT NULL,
	"at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"note" text NOT NULL,
	"before" "bytea"
);
--> statement-breakpoint
CREATE TABLE "idempotency_key" (
	"actor" text NOT NULL,
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"resource" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_key_actor_key_pk" PRIMARY KEY("actor","key")
);
--> statement-breakpoint
CREATE TABLE "inbox" (
	"topic" text NOT NULL,
	"event_id" text NOT NULL,
	"outcome" text NOT NULL,
	"received_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_topic_event_id_pk" PRIMARY KEY("topic","event_id")
);
--> statement-breakpoint
CREATE TABLE "inbox_key" (
	"topic" text NOT NULL,
	"sender" text NOT NULL,
	"msg_key" text NOT NULL,
	"last_seq" bigint NOT NULL,
	"waiting" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "inbox_key_topic_sender_msg_key_pk" PRIMARY KEY("topic","sender","msg_key")
);
--> statement-breakpoint
CREATE TABLE "inbox_parked" (
	"topic" text NOT NULL,
	"sender" text NOT NULL,
	"msg_key" text NOT NULL,
	"seq" bigint NOT NULL,
	"event_id" text NOT NULL,
	"body" "bytea",
	"headers" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"parked_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_parked_topic_sender_msg_key_seq_pk" PRIMARY KEY("topic","sender","msg_key","seq")
);
--> statement-breakpoint
CREATE TABLE "inbox_start" (
	"topic" text NOT NULL,
	"event_id" text NOT NULL,
	"starts" integer NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_start_topic_event_id_pk" PRIMARY KEY("topic","event_id")
);
--> statement-breakpoint
CREATE TABLE "outbox" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "outbox_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"slot" smallint NOT NULL,
	"topic" text NOT NULL,
	"msg_key" text NOT NULL,
	"event_id" uuid NOT NULL,
	"key_seq" bigint NOT NULL,
	"type" text NOT NULL,
	"payload" json NOT NULL,
	"headers" json NOT NULL,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "outbox_slot_range" CHECK ("slot" >= 0 AND "slot" < 16)
);
--> statement-breakpoint
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
CREATE TABLE "outbox_sequence" (
	"topic" text NOT NULL,
	"msg_key" text NOT NULL,
	"last" bigint NOT NULL,
	CONSTRAINT "outbox_sequence_topic_msg_key_pk" PRIMARY KEY("topic","msg_key")
);
--> statement-breakpoint
CREATE TABLE "repair_cursor" (
	"topic" text NOT NULL,
	"sender" text NOT NULL,
	"since" text,
	"target" text,
	"after" text,
	"lease_until" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "repair_cursor_topic_sender_pk" PRIMARY KEY("topic","sender")
);
--> statement-breakpoint
CREATE TABLE "repair_missing" (
	"topic" text NOT NULL,
	"event_id" text NOT NULL,
	"sender" text NOT NULL,
	"sent_id" bigint NOT NULL,
	"noticed_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "repair_missing_topic_event_id_pk" PRIMARY KEY("topic","event_id")
);
--> statement-breakpoint
CREATE TABLE "shipments" (
	"order_id" text PRIMARY KEY NOT NULL,
	"id" text,
	"status" text NOT NULL,
	"lines" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"packages" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"amendments" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"carrier" text,
	"tracking" text,
	"created_at" timestamp (3) with time zone,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "shipments_status" CHECK ("shipments"."status" in ('none', 'preparing', 'handed_over', 'delivered', 'lost', 'cancelled')),
	CONSTRAINT "shipments_id" CHECK ("shipments"."id" is not null or "shipments"."status" in ('none', 'cancelled')),
	CONSTRAINT "shipments_created_at" CHECK (("shipments"."created_at" is null) = ("shipments"."id" is null)),
	CONSTRAINT "shipments_carrier" CHECK (("shipments"."carrier" is not null) = ("shipments"."status" in ('handed_over', 'delivered', 'lost')))
);
--> statement-breakpoint
ALTER TABLE "dead_letter_action" ADD CONSTRAINT "dead_letter_action_dead_letter_id_dead_letter_id_fk" FOREIGN KEY ("dead_letter_id") REFERENCES "public"."dead_letter"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "dead_letter_waiting" ON "dead_letter" USING btree ("id") WHERE "dead_letter"."state" = 'waiting';--> statement-breakpoint
CREATE INDEX "dead_letter_action_of" ON "dead_letter_action" USING btree ("dead_letter_id","id");--> statement-breakpoint
CREATE INDEX "idempotency_key_created_at" ON "idempotency_key" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "inbox_received_at" ON "inbox" USING brin ("received_at");--> statement-breakpoint
CREATE INDEX "inbox_key_waiting" ON "inbox_key" USING btree ("topic","sender","msg_key") WHERE "inbox_key"."waiting" > 0;--> statement-breakpoint
CREATE INDEX "outbox_slot" ON "outbox" USING btree ("slot","id");--> statement-breakpoint
CREATE INDEX "outbox_delayed_due" ON "outbox_delayed" USING btree ("due_at","id");--> statement-breakpoint
CREATE INDEX "outbox_local_slot" ON "outbox_local" USING btree ("slot","id");--> statement-breakpoint
CREATE INDEX "repair_missing_of" ON "repair_missing" USING btree ("topic","sender","sent_id");--> statement-breakpoint
CREATE UNIQUE INDEX "shipments_id" ON "shipments" USING btree ("id");--> statement-breakpoint
CREATE INDEX "shipments_by_status" ON "shipments" USING btree ("status","id");