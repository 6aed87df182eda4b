/** An event or a command: what it is called, and what it says. */
export interface Tagged {
  type: string;
}

/**
 * The rules of one thing whose history is its truth, as pure functions: time, ids and prices are arguments, and nothing is read or
 * written (the decider of Jérémie Chassaing, https://thinkbeforecoding.com/post/2021/12/17/functional-event-sourcing-decider).
 *
 * @example
 * const counter: Decider<number, { type: 'Add'; n: number }, { type: 'Added'; n: number }> = {
 *   initialState: () => 0,
 *   decide: ({ n }) => (n === 0 ? [] : [{ type: 'Added', n }]),
 *   evolve: (sum, { n }) => sum + n,
 * };
 */
export interface Decider<State, Command, Event extends Tagged> {
  /** What there is before the first event. */
  initialState(): State;
  /** What a command makes happen in this state; no events: it changes nothing. Throws when a rule forbids it. */
  decide(command: Command, state: State): Event[];
  /** The state after an event. Never throws, as the event has happened; one that it does not know leaves the state as it is. */
  evolve(state: State, event: Event): State;
}

/** The state after these events. */
export function fold<State, Event extends Tagged>(
  { evolve }: Pick<Decider<State, never, Event>, 'evolve'>,
  state: State,
  events: Iterable<Event>,
): State {
  let current = state;
  for (const event of events) current = evolve(current, event);
  return current;
}
