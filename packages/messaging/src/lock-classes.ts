/**
 * Classes of this package's advisory locks, the first of their two numbers. A lock belongs to one database, so services on one
 * server do not meet.
 */
export const LOCKS = {
  /** Slots of the outbox, by number: who holds one publishes its messages. */
  relaySlot: 7001,
  /** Slots of the messages to oneself. */
  localSlot: 7002,
  /** The sessions that share in the slots, by the process id of their backend. */
  relayAlive: 7003,
  localAlive: 7004,
  /** 7005 is taken by rotate_sent, see sent.sql. */
  /** The move of delayed messages that are due. */
  release: 7006,
} as const;
