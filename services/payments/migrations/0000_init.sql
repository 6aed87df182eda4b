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
CREATE TABLE "payment_operations" (
	"key" text PRIMARY KEY NOT NULL,
	"position" bigint GENERATED ALWAYS AS IDENTITY (sequence name "payment_operations_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"payment_id" text NOT NULL,
	"order_id" text NOT NULL,
	"kind" text NOT NULL,
	"refund_id" text,
	"ask" integer NOT NULL,
	"amount" bigint NOT NULL,
	"token" text,
	"state" text NOT NULL,
	"reason" text,
	"attempts" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"context" jsonb,
	"requested_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"settled_at" timestamp (3) with time zone,
	CONSTRAINT "payment_operations_kind" CHECK ("payment_operations"."kind" in ('authorise', 'capture', 'void', 'refund')),
	CONSTRAINT "payment_operations_state" CHECK ("payment_operations"."state" in ('pending', 'succeeded', 'refused')),
	CONSTRAINT "payment_operations_settled" CHECK (("payment_operations"."state" = 'pending') = ("payment_operations"."settled_at" is null)),
	CONSTRAINT "payment_operations_refund" CHECK (("payment_operations"."kind" = 'refund') = ("payment_operations"."refund_id" is not null)),
	CONSTRAINT "payment_operations_amount" CHECK ("payment_operations"."amount" >= 0)
);
--> statement-breakpoint
CREATE TABLE "payments" (
	"id" text PRIMARY KEY NOT NULL,
	"order_id" text NOT NULL,
	"status" text NOT NULL,
	"authorised" bigint DEFAULT 0 NOT NULL,
	"captured" bigint DEFAULT 0 NOT NULL,
	"refunded" bigint DEFAULT 0 NOT NULL,
	"void_postponed" boolean DEFAULT false NOT NULL,
	"authorisation_id" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "payments_order_id_unique" UNIQUE("order_id"),
	CONSTRAINT "payments_status" CHECK ("payments"."status" in ('none', 'authorising', 'authorised', 'declined', 'capturing', 'captured', 'voiding', 'voided')),
	CONSTRAINT "payments_balance" CHECK (0 <= "payments"."refunded" and "payments"."refunded" <= "payments"."captured" and "payments"."captured" <= "payments"."authorised")
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
ALTER TABLE "dead_letter_action" ADD CONSTRAINT "dead_letter_action_dead_letter_id_dead_letter_id_fk" FOREIGN KEY ("dead_letter_id") REFERENCES "public"."dead_letter"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "payment_operations" ADD CONSTRAINT "payment_operations_payment_id_payments_id_fk" FOREIGN KEY ("payment_id") REFERENCES "public"."payments"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "dead_letter_waiting" ON "dead_letter" USING btree ("id") WHERE "dead_letter"."state" = 'waiting';--> statement-breakpoint
CREATE INDEX "dead_letter_action_of" ON "dead_letter_action" USING btree ("dead_letter_id","id");--> statement-breakpoint
CREATE INDEX "inbox_received_at" ON "inbox" USING brin ("received_at");--> statement-breakpoint
CREATE INDEX "inbox_key_waiting" ON "inbox_key" USING btree ("topic","sender","msg_key") WHERE "inbox_key"."waiting" > 0;--> statement-breakpoint
CREATE INDEX "outbox_slot" ON "outbox" USING btree ("slot","id");--> statement-breakpoint
CREATE INDEX "outbox_delayed_due" ON "outbox_delayed" USING btree ("due_at","id");--> statement-breakpoint
CREATE INDEX "outbox_local_slot" ON "outbox_local" USING btree ("slot","id");--> statement-breakpoint
CREATE INDEX "payment_operations_due" ON "payment_operations" USING btree ("due_at") WHERE "payment_operations"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "payment_operations_of" ON "payment_operations" USING btree ("payment_id","position");--> statement-breakpoint
CREATE INDEX "repair_missing_of" ON "repair_missing" USING btree ("topic","sender","sent_id");