/**
 * A decimal text (`4.15`, `12`, `0.5`) as pence, exactly: no binary fraction is involved, and a part of a penny
 * is told, not rounded. A negative number keeps its sign. Above 2^53 the result is no longer exact, but larger
 * than any price.
 */
export function parsePence(text: string): number | 'not-a-number' | 'fraction' {
  const [, sign, pounds, decimals = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (pounds === undefined) return 'not-a-number';
  const significant = decimals.replace(/0+$/, '');
  if (significant.length > 2 && sign === '') return 'fraction';
  const pence = Number(pounds + significant.slice(0, 2).padEnd(2, '0'));
  return sign === '-' ? -pence : pence;
}
