-- locks: who sends later waits until it is built, which is a sort of the deadlines that are there
CREATE INDEX "outbox_delayed_key" ON "outbox_delayed" USING btree ("msg_key");