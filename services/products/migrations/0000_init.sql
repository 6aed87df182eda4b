CREATE TABLE "dead_letter" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "dead_letter_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"topic" text NOT NULL,
	"event_id" text NOT NULL,
	"type" text,
	"msg_key" text,
	"reason" text NOT NULL,
	"detail" text NOT NULL,
	"body" "bytea" NOT NULL,
	"headers" jsonb NOT NULL,
	"attempts" integer NOT NULL,
	"died_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "dead_letter_event" UNIQUE("topic","event_id")
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
CREATE TABLE "outbox_sequence" (
	"topic" text NOT NULL,
	"msg_key" text NOT NULL,
	"last" bigint NOT NULL,
	CONSTRAINT "outbox_sequence_topic_msg_key_pk" PRIMARY KEY("topic","msg_key")
);
--> statement-breakpoint
CREATE TABLE "product_prices" (
	"sku" text NOT NULL,
	"effective_on" date NOT NULL,
	"version" integer NOT NULL,
	"unit_price" bigint NOT NULL,
	"currency" text NOT NULL,
	"recorded_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "product_prices_sku_version_pk" PRIMARY KEY("sku","version"),
	CONSTRAINT "product_prices_unit_price" CHECK ("product_prices"."unit_price" > 0)
);
--> statement-breakpoint
CREATE TABLE "products" (
	"sku" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"status" text NOT NULL,
	"version" integer NOT NULL,
	"unit_price" bigint NOT NULL,
	"currency" text NOT NULL,
	"effective_on" date NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "products_status" CHECK ("products"."status" in ('active', 'retired')),
	CONSTRAINT "products_unit_price" CHECK ("products"."unit_price" > 0)
);
--> statement-breakpoint
ALTER TABLE "product_prices" ADD CONSTRAINT "product_prices_sku_products_sku_fk" FOREIGN KEY ("sku") REFERENCES "public"."products"("sku") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "inbox_received_at" ON "inbox" USING brin ("received_at");--> statement-breakpoint
CREATE INDEX "outbox_slot" ON "outbox" USING btree ("slot","id");--> statement-breakpoint
CREATE INDEX "product_prices_by_day" ON "product_prices" USING btree ("sku","effective_on","version");