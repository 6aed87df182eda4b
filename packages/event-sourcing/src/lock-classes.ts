/** Classes of this package's advisory locks; those of messaging are 7001 to 7006. */
export const LOCKS = {
  /** Held by a transaction that condenses or restores, shared; alone by one that begins to build a read model. */
  condensing: 7101,
} as const;
