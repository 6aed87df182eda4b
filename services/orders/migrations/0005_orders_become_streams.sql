-- What an order is, is in its events from here on (docs/adr/0017-orders-are-events.md). The rows of the release before become streams,
-- with the events that can be told from them: what is not known (who answered, in which order) is not made up, and the command of
-- each is TakeOver. The tables stay, for looking things up, and are dropped in a later release.
--
-- The release before would go on writing the old rows while it is replaced, and what it writes there nobody would ever see: an order
-- accepted and lost. So it is stopped first, and if it is not it is refused here: it can read its rows, and change none. A message
-- that it cannot handle for that reason is delivered again, to the new release. `npm run generate` and drizzle-kit know nothing of this.
-- contract: the release before may not write any more, see above
LOCK TABLE "orders", "order_lines" IN EXCLUSIVE MODE;
--> statement-breakpoint
-- contract: only the new release knows this table
INSERT INTO "streams" ("stream_id", "type", "version", "last_at")
SELECT "id", 'order', CASE "status" WHEN 'placed' THEN 1 ELSE 2 END, "updated_at" FROM "orders" ORDER BY "id";
--> statement-breakpoint
-- contract: only the new release knows this table
INSERT INTO "events" ("stream_id", "version", "event_id", "type", "schema_version", "data", "meta", "at")
WITH "old" AS (
  SELECT o.*,
    to_char(o."placed_at" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "placed_text",
    to_char(o."updated_at" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "updated_text",
    (
      SELECT jsonb_agg(jsonb_build_object('sku', l."sku", 'quantity', l."quantity",
        'unitPrice', jsonb_build_object('amount', l."unit_price", 'currency', o."currency")) ORDER BY l."position")
      FROM "order_lines" l WHERE l."order_id" = o."id"
    ) AS "lines"
  FROM "orders" o
), "happened" AS (
  SELECT "id", 1 AS "version", 'OrderPlaced' AS "type", "actor", "customer_id", "placed_at" AS "at", jsonb_build_object(
    'orderId', "id", 'actor', "actor", 'customerId', "customer_id", 'lines', "lines",
    'total', jsonb_build_object('amount', "total_amount", 'currency', "currency"),
    -- What an order has that names nothing to pay with.
    'paymentToken', 'tok_ok', 'at', "placed_text") AS "data"
  FROM "old"
  UNION ALL
  -- Without a payment: it was the end of an order, nobody held money or packed. See OrderConfirmed in order-events.ts.
  SELECT "id", 2, 'OrderConfirmed', 'system', "customer_id", "updated_at", jsonb_build_object('at', "updated_text")
  FROM "old" WHERE "status" = 'confirmed'
  UNION ALL
  SELECT "id", 2, 'OrderRejected', 'system', "customer_id", "updated_at",
    jsonb_build_object('reason', 'out_of_stock', 'short', "short_lines", 'at', "updated_text")
  FROM "old" WHERE "status" = 'rejected'
  UNION ALL
  SELECT "id", 2, 'OrderCancelled', 'system', "customer_id", "updated_at", jsonb_build_object('reason', "cancel_reason",
    'cause', CASE "cancel_reason" WHEN 'no stock was set aside in time' THEN 'overdue' ELSE 'customer' END,
    'at', "updated_text")
  FROM "old" WHERE "status" = 'cancelled'
)
SELECT "id", "version", gen_random_uuid(), "type", 1, jsonb_strip_nulls("data"),
  jsonb_strip_nulls(jsonb_build_object('actor', "actor", 'customerId', "customer_id", 'command', 'TakeOver')), "at"
FROM "happened" ORDER BY "at", "id", "version";
--> statement-breakpoint
-- contract: the release before may not write any more, see above
DO $$
DECLARE
  "user" name;
BEGIN
  FOR "user" IN
    SELECT DISTINCT grantee FROM information_schema.role_table_grants
    WHERE table_schema = 'public' AND table_name IN ('orders', 'order_lines') AND grantee <> current_user
  LOOP
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON "orders", "order_lines" FROM %I', "user");
  END LOOP;
END $$;
