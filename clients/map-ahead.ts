/**
 * Maps items in their order while up to `ahead` of them are under way at a time. The first failure is thrown
 * when its turn comes; nothing further is started then.
 */
export async function* mapAhead<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  ahead: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = [];
  for await (const item of items) {
    const result = map(item);
    // The failure is met where the result is awaited, perhaps much later; until then it is not unhandled.
    result.catch(() => {});
    underWay.push(result);
    if (underWay.length >= ahead) yield await (underWay.shift() as Promise<R>);
  }
  yield* underWay;
}
