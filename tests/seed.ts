/** What the chance of a test file begins with: drawn anew, or `SEED` of the environment, which repeats a run whose seed a failure or its output names. */
export const seed = whole('SEED', process.env.SEED || Math.floor(Math.random() * 2 ** 31));

/** How often something is done: the number of the environment by this name, or `usual`. Not 0: what is done no time passes. */
export function times(name: 'ROUNDS' | 'RUNS', usual: number): number {
  return whole(name, process.env[name] || usual, 1);
}

function whole(name: string, value: string | number, least = 0): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= least) return number;
  throw new Error(`${name} wants a whole number, ${least} or more, not '${value}'`);
}
