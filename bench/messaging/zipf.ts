/**
 * Draws from 0 to `n - 1`, the number k with a share proportional to 1 / (k + 1): few keys have most of the messages,
 * as it is with customers and products (Zipf's law with exponent 1).
 */
export function zipf(n: number, random: () => number): () => number {
  const upTo: number[] = [];
  let sum = 0;
  for (let k = 0; k < n; k += 1) {
    sum += 1 / (k + 1);
    upTo.push(sum);
  }
  return () => {
    const at = random() * sum;
    let [low, high] = [0, n - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((upTo[middle] as number) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}
