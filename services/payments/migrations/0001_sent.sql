-- What the broker has acknowledged, kept for a set time, so that a receiver can fetch what it never got. In parts by the day
-- (UTC), because dropping a part costs nothing and deleting its rows would. drizzle-kit knows neither parts nor functions,
-- so this file is their only source: createMessagingTables (testing.ts) runs it, and a service's migrations hold a copy of
-- it, made with `npx drizzle-kit generate --custom --name sent` and this text as its content. A later change is a new
-- file beside this one.
CREATE TABLE "sent" (
	"id" bigint NOT NULL,
	"topic" text NOT NULL,
	"msg_key" text NOT NULL,
	"event_id" uuid NOT NULL,
	"key_seq" bigint NOT NULL,
	"type" text NOT NULL,
	"payload" json NOT NULL,
	"headers" json NOT NULL,
	"sent_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"xid" xid8 DEFAULT pg_current_xact_id() NOT NULL
) PARTITION BY RANGE ("sent_at");
--> statement-breakpoint
-- Takes what no day takes: a row must never be refused because nobody made a part for it in time.
CREATE TABLE "sent_default" PARTITION OF "sent" DEFAULT;
--> statement-breakpoint
CREATE INDEX "sent_id" ON "sent" USING btree ("id");
--> statement-breakpoint
CREATE INDEX "sent_xid" ON "sent" USING btree ("xid","id");
--> statement-breakpoint
CREATE INDEX "sent_key" ON "sent" USING btree ("topic","msg_key","key_seq");
--> statement-breakpoint
-- Makes the parts of today and of the next two days, and forgets what is older than so many days. The application may change
-- no table, so this runs as the owner, who made it; only the application's role can reach the schema it is in. It waits for
-- nobody longer than a second: what it did not get to is done the next time.
CREATE FUNCTION "rotate_sent"("keep_days" integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
SET timezone = 'UTC'
AS $rotate$
DECLARE
	today date := current_date;
	first_day date;
	day date;
	part text;
BEGIN
	IF keep_days IS NULL OR keep_days < 1 THEN
		RAISE EXCEPTION 'rotate_sent keeps at least one day, not %', keep_days USING ERRCODE = '22023';
	END IF;
	IF NOT pg_try_advisory_xact_lock(7005, 0) THEN
		RETURN; -- another replica is at it
	END IF;
	first_day := today - keep_days;

	FOR day IN SELECT today + n FROM generate_series(0, 2) AS n LOOP
		part := 'sent_' || to_char(day, 'YYYYMMDD');
		CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
		-- Attached, not made in its place: that would lock "sent" against every writer.
		EXECUTE format('CREATE TABLE public.%I (LIKE public.sent INCLUDING DEFAULTS INCLUDING INDEXES)', part);
		-- What the default part has of this day must move, and no more may come until the new part is there to take it.
		LOCK TABLE public.sent_default IN ACCESS EXCLUSIVE MODE;
		EXECUTE format(
			'WITH moved AS (DELETE FROM public.sent_default WHERE sent_at >= %L AND sent_at < %L RETURNING *) '
			'INSERT INTO public.%I SELECT * FROM moved',
			day::timestamptz, (day + 1)::timestamptz, part);
		EXECUTE format('ALTER TABLE public.sent ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
			part, day::timestamptz, (day + 1)::timestamptz);
	END LOOP;

	DELETE FROM public.sent_default WHERE sent_at < first_day::timestamptz;

	FOR part IN
		SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'public.sent'::regclass AND c.relname ~ '^sent_[0-9]{8}$'
			AND c.relname < 'sent_' || to_char(first_day, 'YYYYMMDD')
	LOOP
		EXECUTE format('DROP TABLE public.%I', part);
	END LOOP;
END
$rotate$;
