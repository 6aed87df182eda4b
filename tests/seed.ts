/** What the chance of a test file begins with: drawn anew, or `SEED` of the environment, which repeats a run whose seed a failure or its output names. */
export const seed = Number(process.env.SEED || Math.floor(Math.random() * 2 ** 31));
if (!Number.isInteger(seed)) throw new Error(`SEED wants a whole number, not '${process.env.SEED}'`);
