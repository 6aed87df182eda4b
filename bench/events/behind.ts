/** How many events a stream's snapshot is behind it: 50 to 100, one stream with another, and never before its first event. */
export const behind = (stream: number, length: number) => Math.min(length - 1, 50 + ((stream * 7) % 51));
