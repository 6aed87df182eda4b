CREATE TABLE "inbox_failing" (
	"topic" text NOT NULL,
	"event_id" text NOT NULL,
	"sender" text NOT NULL,
	"msg_key" text NOT NULL,
	"key_seq" bigint NOT NULL,
	"passed" boolean NOT NULL,
	"body" "bytea" NOT NULL,
	"headers" jsonb NOT NULL,
	"tries" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"why" text NOT NULL,
	"set_aside_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "inbox_failing_topic_event_id_pk" PRIMARY KEY("topic","event_id")
);
--> statement-breakpoint
CREATE INDEX "inbox_failing_due" ON "inbox_failing" USING btree ("topic","due_at");--> statement-breakpoint
CREATE INDEX "inbox_failing_tries" ON "inbox_failing" USING btree ("topic","tries","due_at");--> statement-breakpoint
CREATE INDEX "inbox_failing_key" ON "inbox_failing" USING btree ("topic","sender","msg_key","key_seq");